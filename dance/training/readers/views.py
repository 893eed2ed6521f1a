"""Views of garments as MVC has them: a folder for every item, in it pictures of one person wearing it.

Liu, Chen, Chen: MVC, a dataset for view-invariant clothing retrieval (ICMR 2016). The joints of all pictures are in
joints.csv, see `joint_files`, by names such as ITEM/VIEW.jpg; a matte may lie beside a picture as VIEW_matte.png.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dance import joint_files
from dance.training.album import MATTE, Facts, Pick, Shot, apart, number
from dance.training.readers import _listed
from dance.types import Array, InputError

JOINTS = "joints.csv"
LAYOUT = f"views of garments ({JOINTS} and ITEM/VIEW.jpg)"


def recognises(folder: Path) -> bool:
    """Whether it has a list of joints."""
    return (folder / JOINTS).is_file()


@dataclass(frozen=True, eq=False)
class Album:
    """See `album.Album`; every item is a pick."""

    folder: Path
    facts: Facts
    files: Sequence[Path]
    joints: Array

    @property
    def person(self) -> None:
        return None

    def picks(self, held_out: float) -> tuple[list[Pick], list[Pick]]:
        """Items are held out whole."""
        items: dict[str, list[int]] = {}
        for n, path in enumerate(self.files):
            items.setdefault(path.parent.name, []).append(n)
        every = [Pick(number(item), tuple(shots)) for item, shots in items.items()]
        return apart([pick for pick in every if len(pick.shots) > 1], held_out)

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """Pictures with their joints and, where there are, mattes."""
        return [self._shot(n) for n in numbers]

    def _shot(self, n: int) -> Shot:
        rgb, matte = _listed.picture(self.files[n]), None
        if MATTE in self.facts.has:
            matte = _listed.picture(_matte(self.files[n]))[..., 0]
            if matte.shape != rgb.shape[:2]:
                raise InputError(f"{_matte(self.files[n])}: has another size than its picture")
        return Shot(rgb, _listed.pose_of(self.joints[n]), matte)


def read(folder: Path) -> Album:
    """All views. Raises InputError where pictures are missing, or only some have mattes."""
    path = folder / JOINTS
    raw = path.read_bytes()
    joints = joint_files.parse_joints(raw.decode(errors="replace"), str(path))
    files = [folder / name for name in joints]
    for file in files:
        if file.parent.parent != folder:
            raise InputError(f"{path}: names must be ITEM/VIEW.jpg, got {file.relative_to(folder)}")
        if not file.is_file():
            raise InputError(
                f"{folder}: lacks {file.relative_to(folder)}, whose joints {JOINTS} has"
            )
    if not files:
        raise InputError(f"{path}: names no pictures")
    mattes = sum(_matte(file).is_file() for file in files)
    if mattes not in (0, len(files)):
        raise InputError(
            f"{folder}: {mattes} of {len(files)} pictures have a matte; all or none must"
        )
    facts = Facts(
        "views", folder.name, hashlib.sha256(raw).hexdigest(), len(files), (MATTE,) * bool(mattes)
    )
    return Album(folder, facts, files, np.stack(list(joints.values())))


def _matte(picture: Path) -> Path:
    return picture.with_name(f"{picture.stem}_matte.png")
