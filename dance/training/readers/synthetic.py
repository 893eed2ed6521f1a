"""Synthetic people: shards of takes that scripts/make_synthetic.py has written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dance import takes
from dance.takes import MANIFEST, Shards
from dance.training.album import LABELS, MATTE, SURFACE, Facts, Pick, Shot, apart
from dance.types import InputError

LAYOUT = f"a folder of shards with {MANIFEST} (scripts/make_synthetic.py)"
_MOST = 1000  # pictures of a take at most: shot n is picture n % 1000 of take n // 1000


def recognises(folder: Path) -> bool:
    """Whether it has a manifest, or shards."""
    return (folder / MANIFEST).is_file() or any(folder.glob("*.tar"))


@dataclass(frozen=True, eq=False)
class Album:
    """See `album.Album`; every take is a pick."""

    folder: Path
    facts: Facts
    shards: Sequence[Shards]

    @property
    def person(self) -> None:
        return None

    def picks(self, held_out: float) -> tuple[list[Pick], list[Pick]]:
        """People are held out whole."""
        every = [
            Pick(person, range(n * _MOST, n * _MOST + count))
            for n, (person, count) in enumerate(self._takes())
        ]
        return apart(every, held_out)

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """Pictures with everything known of them; a take is read once for all of its own."""
        read = {which: self._take(which) for which in {number // _MOST for number in numbers}}
        out = []
        for number in numbers:
            take, i = read[number // _MOST], number % _MOST
            out.append(Shot(take.pictures[i], take.pose(i), take.matte[i], take.labels[i], take.surface[i]))  # fmt: skip
        return out

    def _takes(self) -> list[tuple[int, int]]:
        return [pair for some in self.shards for pair in zip(some.people, some.lengths, strict=True)]  # fmt: skip

    def _take(self, number: int) -> takes.Take:
        for some in self.shards:
            if number < len(some):
                take: takes.Take = some[number]
                return take
            number -= len(some)
        raise AssertionError(f"there is no take {number} more")


def read(folder: Path) -> Album:
    """Pairs and clips, whichever there are. Raises InputError where the folder is not whole."""
    kinds = [kind for kind, entries in takes.read_manifest(folder)["shards"].items() if entries]
    if not kinds:
        raise InputError(f"{folder}: its {MANIFEST} names no shards; make it again")
    shards = [takes.open_shards(folder, kind) for kind in kinds]
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    pictures = sum(sum(some.lengths) for some in shards)
    facts = Facts("synthetic", folder.name, digest, pictures, (MATTE, LABELS, SURFACE))
    return Album(folder, facts, shards)
