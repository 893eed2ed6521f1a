"""Who dances: a photo, a video, or the run in which somebody was learnt, as the person that is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dance import dataset, person_files, picture, plugins, video
from dance.config import Plugin
from dance.geometry import even, letterbox, resized, resized_camera
from dance.types import Array, Frame, InputError, Person, Physique, Size, Track, View


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a photo or a video, to be looked at as often as wanted.

    size: (height, width) they have.  count: how many, as far as the file says.
    """

    path: Path
    photo: Frame | None
    size: Size
    count: int | None

    def read(self, inner: Size, canvas: Size) -> Iterator[Frame]:
        """Every picture made `inner` large, in the middle of the canvas with its border continued outwards."""
        frames = [_resized(self.photo, inner)] if self.photo else video.read(self.path, size=inner)
        for frame in frames:
            yield frame if inner == canvas else letterbox(frame, canvas)


def open_pictures(path: Path) -> Pictures:
    """The photo or video of that name. Raises InputError where it is neither."""
    if picture.is_picture(path):
        photo = picture.read(path)
        return Pictures(path, photo, photo.size, 1)
    info = video.probe(path)
    return Pictures(path, None, info.size, info.frames)


@dataclass(frozen=True, slots=True)
class Run:
    """A folder scripts/train.py has written: the learnt person, and what they were learnt with.

    generator: the plug-in that draws them.  settings: the training's config.  sha256: of what was learnt from.
    anybody: it has learnt to draw people it is shown a picture of, and knows no person.
    """

    folder: Path
    generator: str
    settings: Mapping[str, Any]
    sha256: str
    anybody: bool = False

    @property
    def weights(self) -> Path:
        return self.folder / dataset.GENERATOR

    def person(self) -> Person:
        """What was known of the person before training, in the size of the dataset. Raises InputError where nobody was."""
        require_person(self)
        return person_files.load(self.folder / dataset.PERSON)


def open_run(folder: Path) -> Run:
    """The run in the folder, whether or not it has weights yet. Raises InputError where there is none."""
    told = folder / dataset.RUN
    if not told.is_file():
        if (folder / dataset.FACTS).is_file():
            raise InputError(
                f"{folder}: is a dataset, nobody has been learnt from it yet: python scripts/train.py "
                f"configs/train/edn_cpu.yaml --set data={folder} --set output=RUN, then give RUN"
            )
        raise InputError(
            f"{folder}: is no trained run (it lacks {dataset.RUN}); a source is a photo, a video, "
            "or a folder made by scripts/train.py"
        )
    try:
        values = json.loads(told.read_text(encoding="utf-8"))
        settings = dict(values["config"])
        name, facts = settings["recipe"]["name"], values["dataset"]
        digest = facts["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{told}: is no readable {dataset.RUN} ({error})") from error
    # A recipe has the name of the generator it teaches.
    return Run(folder, str(name), settings, str(digest), anybody="reader" in facts)


def require_person(run: Run) -> None:
    """Raises InputError for a run that has learnt to draw anybody: it is weights, but no source."""
    if run.anybody:
        raise InputError(
            f"{run.folder}: knows no person, it has learnt to draw anybody: give a photo or a video as SOURCE, with "
            f"--config configs/video/{run.generator}.yaml --set generator.options.weights={run.weights}"
        )


def generator_of(run: Run, wanted: Plugin) -> Plugin:
    """The wanted generator with the run's weights, unless it names others or, like the puppet, needs none.

    Raises InputError where it would draw with weights of another generator, or the run has none yet, or no person.
    """
    require_person(run)
    options = plugins.load("dance.generators", wanted.name).Config
    if "weights" not in options.model_fields or wanted.options.get("weights") is not None:
        return wanted
    if wanted.name != run.generator:
        raise InputError(
            f"{run.folder}: has taught the generator {run.generator}, the config names {wanted.name}: "
            f"take --config configs/video/{run.generator}.yaml"
        )
    if not run.weights.is_file():
        raise InputError(
            f"{run.folder}: has no {dataset.GENERATOR} yet; training writes it at its first check: "
            "wait for it, or go on with --resume"
        )
    return wanted.model_copy(
        update={"options": {**wanted.options, "weights": str(run.weights)}}
    )  # fmt: skip


def inside(size: Size, canvas: Size, *, enlarge: bool) -> Size:
    """The largest size of these proportions that fits into the canvas; without `enlarge` at most the size itself."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    scale = scale if enlarge else min(1.0, scale)
    height, width = (
        min(whole, even(round(length * scale))) for length, whole in zip(size, canvas, strict=True)
    )
    return height, width


def placed(person: Person, inner: Size, canvas: Size) -> Person:
    """The person with every picture made `inner` large, in the middle of the canvas, as `Pictures.read` does."""
    if person.size == inner == canvas:
        return person
    views = []
    for view in person.views:
        frame = _in_canvas(replace(view.frame, alpha=view.alpha), inner, canvas)
        assert frame.alpha is not None
        pose = resized(view.pose, person.size, inner, canvas)
        views.append(View(replace(frame, alpha=None), pose, frame.alpha))
    plate = _in_canvas(Frame(person.plate), inner, canvas).rgb
    track = placed_track(person.track, inner, canvas)
    return Person(views, plate, track, _placed_physique(person, inner, canvas), person.light)


def _placed_physique(person: Person, inner: Size, canvas: Size) -> Physique | None:
    """The fitted body before the camera of the pictures made `inner` large; stances do not change with it."""
    if person.physique is None:
        return None
    camera = resized_camera(person.physique.camera, person.size, inner, canvas)
    return replace(person.physique, camera=camera)


def placed_track(track: Track, inner: Size, canvas: Size) -> Track:
    """The track of the same pictures made `inner` large, in the middle of the canvas."""
    poses = [resized(pose, track.size, inner, canvas) for pose in track.poses]
    return Track(poses, track.times, canvas, track.cuts)


def _in_canvas(frame: Frame, inner: Size, canvas: Size) -> Frame:
    frame = _resized(frame, inner)
    return frame if inner == canvas else letterbox(frame, canvas)


def _resized(frame: Frame, size: Size) -> Frame:
    if frame.size == size:
        return frame
    shrinks = size[0] < frame.size[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    rgb = np.asarray(cv2.resize(frame.rgb, size[::-1], interpolation=how))
    alpha: Array | None = None
    if frame.alpha is not None:
        alpha = np.clip(cv2.resize(frame.alpha, size[::-1], interpolation=how), 0, 1)
    return replace(frame, rgb=rgb, alpha=alpha)
