"""Files of pictures with everything known of them: what `synthetic` writes and training reads.

A take is one person in one place, T pictures of them. Takes lie in shards, tar files as WebDataset has them: of the
take KEY there are KEY.json (its facts), KEY.npz (its arrays) and KEY.000.png, KEY.001.png, ... (its pictures).
manifest.json beside the shards says which there are; it is written last, so that a folder with it is whole.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dance.types import Array, Camera, InputError, Physique, Pose, Size, Stance

VERSION = 1
MANIFEST = "manifest.json"
_ARRAYS = (
    "xy",
    "score",
    "points",
    "matte",
    "labels",
    "surface",
    "turns",
    "root",
    "shape",
    "camera",
)
_PACKING = 3  # zlib's effort for pictures


@dataclass(frozen=True, eq=False)
class Take:
    """T pictures of one person, exact.

    key: its name.  facts: how it was made; "person" is a number, another for everybody.
    pictures: (T, H, W, 3) uint8.  xy: (T, 133, 2) float32 pixels.  score: (T, 133) float32, 1 seen, 0.5 hidden, 0 outside.
    points: (T, 133, 3) float32, the joints in camera axes, metres.
    matte: (T, H, W) uint8, how much of each pixel is the person's.
    labels: (T, H, W) uint8 of `surface.parsing.LABELS`.
    surface: (T, H, W, 3) uint8, DensePose's part, U and V of `surface.charts` times 255.
    turns (T, B, 3), root (T, 3), shape (S,) float32: the 3-D body, see `types.Stance` and `types.Physique`.
    camera: (T, 3) float32, focal length and centre x, y in pixels.
    """

    key: str
    facts: Mapping[str, Any]
    pictures: Array
    xy: Array
    score: Array
    points: Array
    matte: Array
    labels: Array
    surface: Array
    turns: Array
    root: Array
    shape: Array
    camera: Array

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> Size:
        return self.pictures.shape[1], self.pictures.shape[2]

    def pose(self, number: int) -> Pose:
        """The pose in a picture, with its stance; world joints and depths as `types.Pose` has them."""
        points, (focal, _, _) = self.points[number], self.camera[number]
        hips = points[11:13].mean(0)
        stance = Stance(
            self.turns[number], self.root[number], np.ones(len(self.turns[number]), np.float32)
        )
        depth = (points[:, 2] - hips[2]) * focal / max(float(hips[2]), 1e-3)
        return Pose(
            self.xy[number],
            self.score[number],
            depth=depth.astype(np.float32),
            world=points - hips,
            stance=stance,
        )

    def physique(self, number: int) -> Physique:
        """The shape of the body and the camera of a picture."""
        focal, x, y = self.camera[number].tolist()
        return Physique(self.shape, Camera(focal, (x, y)))


class Shards(Sequence[Take]):
    """All takes of one kind in a folder; any of them at once, and it can be sent to another process."""

    def __init__(self, folder: Path, kind: str, places: Sequence[tuple[str, str, Mapping[str, tuple[int, int]]]]) -> None:  # fmt: skip
        self.folder = folder
        self.kind = kind
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return Shards(self.folder, self.kind, self._places[number])
        shard, key, members = self._places[number]
        with (self.folder / shard).open("rb") as file:
            return _unpacked(self.folder / shard, key, _bytes(file, members))

    def facts(self, number: int) -> Mapping[str, Any]:
        """The facts of a take, without reading the rest of it."""
        shard, key, members = self._places[number]
        with (self.folder / shard).open("rb") as file:
            only = {"json": members["json"]} if "json" in members else {}
            return _facts(self.folder / shard, key, _bytes(file, only))

    @property
    def lengths(self) -> tuple[int, ...]:
        """The number of pictures of every take."""
        return tuple(
            sum(name.endswith(".png") for name in members) for _, _, members in self._places
        )

    @cached_property
    def people(self) -> tuple[int, ...]:
        """The person's number of every take."""
        return tuple(int(self.facts(n)["person"]) for n in range(len(self)))


def open_shards(folder: Path, kind: str) -> Shards:
    """The takes of a kind ("pairs" or "clips") in a folder. Raises InputError where it is not whole or has none."""
    known = read_manifest(folder)["shards"]
    names = [entry["name"] for entry in known.get(kind, ())]
    if not names:
        there = ", ".join(name for name, entries in known.items() if entries) or "nothing"
        raise InputError(f"{folder}: has no {kind}; it has {there}")
    places = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise InputError(f"{folder}: lacks {name}; make it again, what is there is kept")
        places += [(name, key, members) for key, members in _index(path).items()]
    return Shards(folder, kind, places)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is known of a folder of shards. Raises InputError where it is none, or not finished."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder}: is no whole folder of takes (it lacks {MANIFEST}); make one, or finish it: "
            f"python scripts/make_synthetic.py ASSETS {folder}"
        )
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, shards = values["version"], values["shards"]
        if not all(entry["name"] for entries in shards.values() for entry in entries):
            raise ValueError("a shard without a name")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is no readable manifest of takes ({error})") from error
    if version != VERSION:
        raise InputError(f"{path}: has version {version}, this program reads {VERSION}")
    return values


def write_shard(path: Path, takes: Iterable[Take]) -> None:
    """Writes takes into a tar file, aside, then renames it. The same takes make the same bytes."""
    aside = path.with_name(f".{path.name}.part")
    with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
        for take in takes:
            for name, data in _packed(take):
                info = tarfile.TarInfo(f"{take.key}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    aside.replace(path)


def keys(path: Path) -> list[str]:
    """The keys of the takes in a shard."""
    return list(_index(path))


def _packed(take: Take) -> Iterator[tuple[str, bytes]]:
    yield "json", json.dumps(take.facts, sort_keys=True).encode()
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{name: getattr(take, name) for name in _ARRAYS})
    yield "npz", arrays.getvalue()
    for number, picture in enumerate(take.pictures):
        done, data = cv2.imencode(
            ".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _PACKING]
        )
        assert done
        yield f"{number:03d}.png", data.tobytes()


def _unpacked(path: Path, key: str, members: Mapping[str, bytes]) -> Take:
    facts = _facts(path, key, members)
    try:
        with np.load(io.BytesIO(members["npz"]), allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
        pictures = [
            cv2.imdecode(np.frombuffer(members[f"{n:03d}.png"], np.uint8), cv2.IMREAD_COLOR)
            for n in range(len(arrays["xy"]))
        ]
        if not pictures or any(picture is None for picture in pictures):
            raise ValueError("a picture is damaged")
        rgb = np.stack([np.asarray(picture)[..., ::-1] for picture in pictures])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: the take {key} is damaged ({error})") from error
    return Take(key, facts, rgb, **arrays)


def _facts(path: Path, key: str, members: Mapping[str, bytes]) -> Mapping[str, Any]:
    try:
        found: dict[str, Any] = json.loads(members["json"])
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: the take {key} has no facts ({error})") from error
    return found


def _index(path: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Where in a tar file the members of every take are: by key, by the rest of the name, offset and length."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, rest = member.name.partition(".")
                found.setdefault(key, {})[rest] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: is no whole shard ({error})") from error
    return found


def _bytes(file: io.BufferedReader, members: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    out = {}
    for name, (offset, length) in members.items():
        file.seek(offset)
        out[name] = file.read(length)
    return out
