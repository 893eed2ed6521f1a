"""Videos of people: a dataset of scripts/prepare_data.py, or a folder of such datasets, one for each person."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dance import dataset
from dance.dataset import FACTS, Dataset
from dance.training import data
from dance.training.album import MATTE, Facts, Pick, Shot, apart, number

LAYOUT = f"a dataset with {FACTS} or a folder of them (scripts/prepare_data.py person)"
_MEMORY = 256  # megabytes of decoded pictures each process keeps


def recognises(folder: Path) -> bool:
    """Whether it, or a folder in it, is a dataset."""
    return (folder / FACTS).is_file() or any(folder.glob(f"*/{FACTS}"))


@dataclass(frozen=True, eq=False)
class Album:
    """See `album.Album`; every frame that may be learnt from is to be drawn, from any other of the person."""

    folder: Path
    facts: Facts
    sets: Sequence[Dataset]

    @property
    def person(self) -> None:
        return None

    def picks(self, held_out: float) -> tuple[list[Pick], list[Pick]]:
        """People are held out whole; of a single one the end of the video, drawn from what comes before."""
        if len(self.sets) > 1:
            every = []
            for which, frames in enumerate(self._frames()):
                person = number(self.sets[which].folder.name)
                every += [Pick(person, frames, target) for target in frames if len(frames) > 1]
            return apart(every, held_out)
        (frames,) = self._frames()
        length = self.sets[0].facts.frames
        first = length - round(held_out * length)
        before = tuple(frame for frame in frames if frame < first)
        person = number(self.sets[0].folder.name)
        learnt = [Pick(person, before, target) for target in before if len(before) > 1]
        held = [Pick(person, (*before[:1], frame), frame) for frame in frames if frame >= first]
        return learnt, held if before else []

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """Frames, counted through all videos."""
        out = []
        ends = np.cumsum([some.facts.frames for some in self.sets])
        for wanted in numbers:
            which = int(np.searchsorted(ends, wanted, side="right"))
            some = self.sets[which]
            frame = wanted - int(ends[which]) + some.facts.frames
            (rgba,) = data.decoded(some, [frame], some.facts.size, _MEMORY)
            out.append(Shot(rgba[..., :3], some.track.poses[frame], rgba[..., 3]))
        return out

    def _frames(self) -> list[tuple[int, ...]]:
        """Of every video the frames that may be learnt from, counted through all of them."""
        out, first = [], 0
        for some in self.sets:
            good = [
                i for i in range(some.facts.frames) if some.usable[i] and some.track.poses[i].found
            ]
            out.append(tuple(first + i for i in good))
            first += some.facts.frames
        return out


def read(folder: Path) -> Album:
    """All datasets there. Raises InputError where one of them is not whole."""
    folders = [folder] if (folder / FACTS).is_file() else sorted(p.parent for p in folder.glob(f"*/{FACTS}"))  # fmt: skip
    sets = [dataset.open_dataset(each) for each in folders]
    digest = hashlib.sha256("\n".join(some.facts.sha256 for some in sets).encode()).hexdigest()
    usable = sum(some.facts.usable for some in sets)
    return Album(folder, Facts("prepared", folder.name, digest, usable, (MATTE,)), sets)
