"""A studied person as a folder of files, so that the study of a video is done once.

person.json: sizes and times, and where a 3-D body was fitted its shape and camera, and the light of its place.  track.npz: the poses of all studied pictures.  poses.npz: those of the
views, in their order.  plate.png, view_N.png and view_N_alpha.png (16 bit): the pictures.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dance.pose import tracks
from dance.types import Array, Camera, Frame, InputError, Light, Person, Physique, Track, View

VERSION = 1
_LEVELS = 65535


def save(person: Person, folder: Path) -> None:
    """Writes the person into the folder, aside, then renames: it is there whole or not at all.

    What was there before is replaced. Mattes keep 16 bits, everything else is exact.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        aside = Path(scratch) / "new"
        aside.mkdir()
        _write_png(aside / "plate.png", person.plate[..., ::-1])
        for i, view in enumerate(person.views):
            _write_png(aside / f"view_{i}.png", view.frame.rgb[..., ::-1])
            alpha = np.round(np.clip(view.alpha, 0, 1) * _LEVELS).astype(np.uint16)
            _write_png(aside / f"view_{i}_alpha.png", alpha)
        poses = [replace(view.pose, mask=None) for view in person.views]
        # A track's times rise; the views are in the order of their worth.
        numbers = [Fraction(i) for i in range(len(poses))]
        tracks.save(Track(poses, numbers, person.size), aside / "poses.npz")
        tracks.save(person.track, aside / "track.npz")
        facts: dict[str, Any] = {
            "version": VERSION,
            "views": [[v.frame.index, str(v.frame.time)] for v in person.views],
        }
        if person.physique is not None:
            facts["physique"] = _from_physique(person.physique)
        if person.light is not None:
            facts["light"] = _from_light(person.light)
        (aside / "person.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        if folder.exists():
            shutil.move(folder, Path(scratch) / "old")
        aside.replace(folder)


def load(folder: Path) -> Person:
    """The person `save` has written there. Raises InputError where a file is missing or damaged."""
    path = folder / "person.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["version"] != VERSION:
            raise InputError(
                f"{path}: has version {facts['version']}, this program reads {VERSION}"
            )
        told = [(int(index), Fraction(time)) for index, time in facts["views"]]
        physique = _physique(facts["physique"]) if "physique" in facts else None
        light = _light(facts["light"]) if "light" in facts else None
    except OSError as error:
        raise InputError(f"{folder}: holds no studied person ({error.strerror})") from error
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no readable person.json ({error})") from error
    poses = tracks.load(folder / "poses.npz").poses
    if len(poses) != len(told) or not told:
        raise InputError(
            f"{folder}: {len(told)} views and {len(poses)} poses; study the video again"
        )
    plate = _read_png(folder / "plate.png")[..., ::-1].copy()
    views = []
    for i, (pose, (index, time)) in enumerate(zip(poses, told, strict=True)):
        rgb = _read_png(folder / f"view_{i}.png")[..., ::-1].copy()
        alpha = _read_png(folder / f"view_{i}_alpha.png").astype(np.float32) / _LEVELS
        if rgb.shape != plate.shape or alpha.shape != plate.shape[:2]:
            raise InputError(f"{folder}: view_{i} has another size than plate.png")
        views.append(View(Frame(rgb, time, index), pose, alpha))
    return Person(views, plate, tracks.load(folder / "track.npz"), physique, light)


def _from_physique(physique: Physique) -> dict[str, Any]:
    x, y = physique.camera.centre
    return {
        "shape": [float(value) for value in physique.shape],
        "focal": float(physique.camera.focal),
        "centre": [float(x), float(y)],
        "sure": float(physique.sure),
    }


def _physique(values: Mapping[str, Any]) -> Physique:
    x, y = values["centre"]
    camera = Camera(float(values["focal"]), (float(x), float(y)))
    return Physique(np.array(values["shape"], np.float32), camera, float(values["sure"]))


def _from_light(light: Light) -> dict[str, Any]:
    towards, up = ([float(value) for value in way] for way in (light.towards, light.up))
    return {"towards": towards, "up": up, "share": light.share}


def _light(values: Mapping[str, Any]) -> Light:
    towards, up = (np.array(values[name], np.float32) for name in ("towards", "up"))
    return Light(towards, up, float(values["share"]))


def _write_png(path: Path, picture: Array) -> None:
    whole, coded = cv2.imencode(".png", picture)
    assert whole, f"{picture.shape} {picture.dtype} cannot be a PNG"
    path.write_bytes(coded.tobytes())


def _read_png(path: Path) -> Array:
    try:
        coded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    picture = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED) if len(coded) else None
    if picture is None:
        raise InputError(f"{path}: is no whole PNG picture")
    return np.asarray(picture)
