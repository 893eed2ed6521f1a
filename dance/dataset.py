"""The folder a person is learnt from: what is in it, and what is known of it. `prepare` writes it.

frames.mp4: the pictures, nearly lossless, quick to reach by number.  mattes.mp4: how much of each pixel
is the person's, as grey pictures.  track.npz: the smoothed poses in their pixels.  marks.npz: which
frames may be learnt from, and where faces are.  person: what a generator studies (`person_files`).
dataset.json: the facts; it is written last, so that a folder with it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dance.geometry import Reach
from dance.pose import tracks
from dance.types import Array, InputError, Size, Track

VERSION = 1
FACTS, PICTURES, MATTES = "dataset.json", "frames.mp4", "mattes.mp4"
TRACK, MARKS, PERSON = "track.npz", "marks.npz", "person"
# A training run's folder holds the person too, and beside it the weights to draw with and what was asked for.
GENERATOR = "generator.safetensors"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a dataset is made of.

    source, sha256: the video's name and its hash.  size: (height, width) of the pictures.
    usable: how many of its `frames` may be learnt from.  settings: what it was prepared with.
    """

    source: str
    sha256: str
    frames: int
    usable: int
    size: Size
    reach: Reach
    settings: Mapping[str, Any]
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that has been opened: the small things, and where the pictures are.

    usable: (T,) bool.  faces: (T, 4) float32, left, top, right, bottom; not a number where none is seen.
    """

    folder: Path
    facts: Facts
    track: Track
    usable: Array
    faces: Array

    @property
    def pictures(self) -> Path:
        return self.folder / PICTURES

    @property
    def mattes(self) -> Path:
        return self.folder / MATTES

    @property
    def person(self) -> Path:
        return self.folder / PERSON


def write_facts(folder: Path, facts: Facts) -> None:
    """Writes dataset.json aside and renames it: from then on the folder is a dataset."""
    aside = folder / f".{FACTS}.part"
    aside.write_text(json.dumps(asdict(facts), indent=2), encoding="utf-8")
    aside.replace(folder / FACTS)


def read_facts(folder: Path) -> Facts:
    """The facts of a dataset. Raises InputError where the folder is none, or of another version."""
    path = folder / FACTS
    if not path.is_file():
        raise InputError(
            f"{folder}: is no whole dataset (it lacks {FACTS}); make one: "
            f"python scripts/prepare_data.py person VIDEO {folder}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values["version"]
        if found != VERSION:
            raise InputError(
                f"{path}: has version {found}, this program reads {VERSION}; make it anew"
            )
        height, width = values["size"]
        return Facts(**values | {"size": (height, width), "reach": Reach(**values["reach"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no readable dataset.json ({error})") from error


def open_dataset(folder: Path) -> Dataset:
    """The dataset in the folder. Raises InputError where something of it is missing or does not fit."""
    facts = read_facts(folder)
    for name in (PICTURES, MATTES, TRACK, MARKS, PERSON):
        if not (folder / name).exists():
            raise InputError(f"{folder}: lacks {name}; prepare it again into another folder")
    track = tracks.load(folder / TRACK)
    usable, faces = read_marks(folder / MARKS)
    if not len(track) == len(usable) == facts.frames:
        raise InputError(
            f"{folder}: {len(track)} poses and {len(usable)} marks for {facts.frames} frames; "
            "prepare it again into another folder"
        )
    return Dataset(folder, facts, track, usable, faces)


def write_marks(path: Path, usable: Array, faces: Array) -> None:
    """Writes which frames may be learnt from and where faces are, aside, then renames."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        np.savez_compressed(file, usable=usable.astype(bool), faces=faces.astype(np.float32))
    aside.replace(path)


def read_marks(path: Path) -> tuple[Array, Array]:
    """What `write_marks` has written."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["usable"], file["faces"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: is no whole file of marks ({error})") from error
