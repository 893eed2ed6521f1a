"""Data sets that say in text files which pictures are pairs and where the joints are, as PATN and GFLA hand them on.

Zhu et al., PATN (CVPR 2019); Ren et al., GFLA (CVPR 2020). For each of the parts train and test: a folder of
pictures of that name, a list of pairs and a list of joints, see `joint_files`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dance import joint_files, skeleton
from dance.training.album import Facts, Pick, Shot
from dance.types import Array, InputError, Pose, Size

log = logging.getLogger(__name__)

PARTS = ("train", "test")


@dataclass(frozen=True, slots=True)
class Lists:
    """How a data set names its lists.

    pairs, joints: names of files with {part} for train and test, any of them.  size: (height, width) of the
    pictures that the joints are of; square ones are cut to that.
    person: somebody's number by the name of a picture, None where it has none.
    """

    reader: str
    pairs: Sequence[str]
    joints: Sequence[str]
    size: Size
    person: Callable[[str], int | None]


def recognised(folder: Path, lists: Lists) -> bool:
    """Whether any of its lists is there."""
    names = [*lists.pairs, *lists.joints]
    return any((folder / name.format(part=part)).is_file() for name in names for part in PARTS)


@dataclass(frozen=True, eq=False)
class Album:
    """See `album.Album`: the published pairs of part train, and held out those of part test."""

    folder: Path
    facts: Facts
    size: Size
    files: Sequence[Path]
    joints: Array
    train: Sequence[Pick]
    test: Sequence[Pick]

    @property
    def person(self) -> None:
        return None

    def picks(self, held_out: float) -> tuple[Sequence[Pick], Sequence[Pick]]:
        """The published parts, whatever share is asked for; who is in both is not learnt from."""
        held = {pick.person for pick in self.test}
        learnt = [pick for pick in self.train if pick.person not in held]
        if len(learnt) < len(self.train):
            log.warning("%s: %d pairs of train show people of test and are left out", self.folder, len(self.train) - len(learnt))  # fmt: skip
        return learnt, self.test

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """Pictures with their joints."""
        return [_shot(self.files[n], self.joints[n], self.size) for n in numbers]


def read(folder: Path, lists: Lists) -> Album:
    """Everything the lists name. Raises InputError where a list, a picture or the joints of one are missing."""
    digest = hashlib.sha256()
    files: list[Path] = []
    every: list[Array] = []
    parts: list[list[Pick]] = []
    for part in PARTS:
        pairs_file = _found(folder, lists.pairs, part, "pairs")
        joints_file = _found(folder, lists.joints, part, "joints")
        texts = [_text(path, digest.update) for path in (pairs_file, joints_file)]
        pairs = joint_files.parse_pairs(texts[0], str(pairs_file))
        joints = joint_files.parse_joints(texts[1], str(joints_file))
        named = list(dict.fromkeys(name for pair in pairs for name in pair))
        _require(folder / part, named, joints, joints_file)
        places = {name: len(files) + i for i, name in enumerate(named)}
        files += [folder / part / name for name in named]
        every += [joints[name] for name in named]
        picks = []
        for source, target in pairs:
            person = lists.person(target)
            if person is None:
                raise InputError(
                    f"{pairs_file}: the name {target!r} does not tell whose picture it is"
                )
            picks.append(Pick(person, (places[source], places[target]), places[target]))
        if not picks:
            raise InputError(f"{pairs_file}: names no pairs")
        parts.append(picks)
    facts = Facts(lists.reader, folder.name, digest.hexdigest(), len(files))
    return Album(folder, facts, lists.size, files, np.stack(every), *parts)


def _found(folder: Path, names: Sequence[str], part: str, what: str) -> Path:
    paths = [folder / name.format(part=part) for name in names]
    for path in paths:
        if path.is_file():
            return path
    wanted = " or ".join(path.name for path in paths)
    raise InputError(f"{folder}: lacks the {what} of part {part} ({wanted})")


def _text(path: Path, told: Callable[[bytes], None]) -> str:
    raw = path.read_bytes()
    told(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text ({error})") from error


def _require(folder: Path, names: Sequence[str], joints: Mapping[str, Array], told: Path) -> None:
    unknown = [name for name in names if name not in joints]
    if unknown:
        raise InputError(f"{told}: has no joints of {unknown[0]} ({len(unknown)} pictures of pairs lack them)")  # fmt: skip
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    # A name may lead into folders of its own.
    missing = [name for name in names if name not in there and not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: lacks {missing[0]} ({len(missing)} of {len(names)} pictures that the lists name)")  # fmt: skip


def picture(path: Path) -> Array:
    """A picture file, (H, W, 3) uint8. Raises InputError where it is none."""
    try:
        coded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR) if len(coded) else None
    if bgr is None:
        raise InputError(f"{path}: is no whole picture")
    return np.asarray(bgr)[..., ::-1]


def pose_of(joints: Array, scale: tuple[float, float] = (1.0, 1.0)) -> Pose:
    """18 joints (18, 2), -1 where not seen, as a pose; scale: (x, y) from their pixels to the picture's."""
    seen = (joints >= 0).all(-1).astype(np.float32)
    xy = ((np.asarray(joints, np.float64) + 0.5) * scale - 0.5).astype(np.float32)
    return Pose(*skeleton.from_openpose(np.asarray(xy), np.asarray(seen), skeleton.OPENPOSE_18))


def _shot(path: Path, joints: Array, size: Size) -> Shot:
    rgb = picture(path)
    height, width = rgb.shape[:2]
    if height == width and size[0] != size[1]:
        # The joints are of the middle of square pictures, whose sides are empty.
        kept = round(height * size[1] / size[0])
        rgb = rgb[:, (width - kept) // 2 :][:, :kept]
    scale = rgb.shape[1] / size[1], height / size[0]
    return Shot(np.ascontiguousarray(rgb), pose_of(joints, scale))
