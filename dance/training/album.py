"""Pictures of people to learn from, whoever made them: what the readers (`readers/*.py`) make of a folder.

An album is shots, pictures with what is known of them, and picks, which of them show the same person. A reader is a
file with `LAYOUT` (text: what its folders look like), `recognises(folder)` and `read(folder) -> Album`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dance import plugins
from dance.types import Array, InputError, Pose, Size

READERS = "dance.training.readers"
MATTE, LABELS, SURFACE = "matte", "labels", "surface"
"""What may be known of a shot beside its pose."""

_MIXING = 2654435761  # spreads people's numbers over 32 bits (Knuth)


@dataclass(frozen=True, eq=False, slots=True)
class Shot:
    """A picture of somebody.

    rgb: (H, W, 3) uint8.  pose: in its pixels.  matte: (H, W) uint8, how much of a pixel is theirs.
    labels: (H, W) uint8 of `surface.parsing.LABELS`.  surface: (H, W, 3) uint8, DensePose's part, U and V times 255.
    """

    rgb: Array
    pose: Pose
    matte: Array | None = None
    labels: Array | None = None
    surface: Array | None = None

    @property
    def size(self) -> Size:
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, slots=True)
class Pick:
    """Shots of one person in the same clothes, by their numbers in the album.

    target: the one that is to be drawn, of any of the others; None: any two of them.
    """

    person: int
    shots: Sequence[int]
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an album is made of; `sha256` is another for other data.  has: of MATTE, LABELS and SURFACE."""

    reader: str
    source: str
    sha256: str
    pictures: int
    has: tuple[str, ...] = ()


class Album(Protocol):
    """All that a folder holds; it can be sent to another process.  person: nobody is studied in it."""

    folder: Path
    facts: Facts

    @property
    def person(self) -> None: ...

    def picks(self, held_out: float) -> tuple[Sequence[Pick], Sequence[Pick]]:
        """What is learnt from and what is held out: no person is in both, unless there is only one."""
        ...

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """These shots. Raises InputError where a picture is missing or damaged."""
        ...


def open_album(folder: Path) -> Album:
    """What the reader that knows such folders makes of it. Raises InputError where none does, or something is missing."""
    readers = [plugins.load(READERS, name) for name in plugins.names(READERS)]
    for reader in readers:
        if reader.recognises(folder):
            album: Album = reader.read(folder)
            return album
    state = "no such folder" if not folder.is_dir() else "nothing here that can be learnt from"
    raise InputError(f"{folder}: {state}; known are {'; '.join(r.LAYOUT for r in readers)}")


def require(album: Album, what: Iterable[str], user: str) -> None:
    """Raises InputError where the album lacks something that `user`, a recipe, needs."""
    missing = [name for name in what if name not in album.facts.has]
    if missing:
        there = ", ".join(album.facts.has) or "poses alone"
        raise InputError(
            f"{album.folder}: its pictures ({album.facts.reader}) have no {' and no '.join(missing)}, which "
            f"{user} needs; they have {there}; scripts/make_synthetic.py makes pictures with everything"
        )


def number(name: str) -> int:
    """A person's number from their name."""
    return zlib.crc32(name.encode())


def is_held(person: int, share: float) -> bool:
    """Whether somebody is held out; the same however many others there are."""
    return _place(person) < share * 2**32


def _place(person: int) -> int:
    return (person * _MIXING) % 2**32


def apart(picks: Sequence[Pick], held_out: float) -> tuple[list[Pick], list[Pick]]:
    """Picks to learn from and held-out ones, no person in both; of two people or more at least one in each."""
    people = sorted({pick.person for pick in picks}, key=_place)
    held = {person for person in people if is_held(person, held_out)}
    if held_out and len(people) > 1:
        # Too few people for a share of them: the first or the last decides.
        held = (held or {people[0]}) - {people[-1]}
    return [p for p in picks if p.person not in held], [p for p in picks if p.person in held]
