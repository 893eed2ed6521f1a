"""Disentangled Person Image Generation: codes of foreground, background and pose, sampled, mixed and exchanged.

samples.png: rows of foregrounds, backgrounds (where the weights have a code for them) and poses drawn at random, each
with everything else as it is, then all at random; poses are shown above the pictures. With somebody else:
interpolation.png and interpolation.mp4, from the person to the other by foreground, by background, by pose (to the second
pose, or to the other's own) and by everything; clothes.png, what each of them looks like with parts of the other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dance import joint_maps
from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators import dpig
from dance.types import Array

log = logging.getLogger(__name__)

_FRAMES = 24  # of the video, from one person to the other


class Config(Options):
    """How many are drawn at random, from which noise, and in how many steps one person becomes another."""

    samples: int = Field(7, ge=1, le=64)
    steps: int = Field(7, ge=2, le=64)
    seed: int = 0
    spread: float = Field(0.2, gt=0, description="deviation of the noise; published: 0.2")


class Codes(NamedTuple):
    """What the networks make of somebody: appearance (1, embedding), and pose (1, pose_code)."""

    appearance: Tensor
    pose: Tensor


@torch.no_grad()
def explore(generator: dpig.DPIG, subject: Subject, config: Config) -> dict[str, Array]:
    """The sheets and the video; see the module."""
    a = generator.architecture
    code = generator.encode(subject.person)
    matrices = single.windows(code.seen, a.frame, subject.poses)
    xy, score = single.in_frame(subject.poses, matrices)
    if not a.background:
        log.info(
            "these weights have no code of the background: only foregrounds and poses are drawn"
        )
    made = {"samples.png": _samples(generator, code, (xy[0], score[0]), config)}
    if subject.other is None:
        return made
    theirs = generator.encode(subject.other)
    last = (xy[1], score[1]) if len(xy) > 1 else (theirs.seen.xy, theirs.seen.score)
    ends = [
        Codes(one.embedding, pose_code(generator, *pose))
        for one, pose in ((code, (xy[0], score[0])), (theirs, last))
    ]
    kinds = ["foreground", *(["background"] if a.background else []), "pose", "everything"]

    def between(kind: str, share: float) -> Cell:
        return Cell(f"{kind} {share:.0%}", interpolated(generator, *ends, kind=kind, share=share))

    shares = np.linspace(0, 1, config.steps).tolist()
    rows = [[between(kind, share) for share in shares] for kind in kinds]
    made["interpolation.png"] = pictures.sheet(rows)
    moving = [(1 - math.cos(math.pi * i / _FRAMES)) / 2 for i in range(2 * _FRAMES)]
    made["interpolation.mp4"] = np.stack(
        [pictures.sheet([[between(kind, share) for kind in kinds]]) for share in moving]
    )
    made["clothes.png"] = clothes(generator, code, theirs, (xy[0], score[0]))
    return made


def pose_code(generator: dpig.DPIG, xy: Array, score: Array) -> Tensor:
    """The code (1, pose_code) of a pose (18, 2) in the frame's pixels."""
    vector = joint_maps.to_vector(xy, score, generator.architecture.frame.size)
    given = torch.from_numpy(vector).float().flatten()[None].to(generator.device)
    return generator.coders.pose.encode(given)


def posed(generator: dpig.DPIG, code: Tensor) -> tuple[Array, Array]:
    """The pose of a code (1, pose_code): joints (18, 2) in the frame's pixels, and scores (18,)."""
    vector = generator.coders.pose.decode(code).view(joint_maps.JOINTS, 3).cpu().numpy()
    return joint_maps.from_vector(vector, generator.architecture.frame.size)


def drawn(generator: dpig.DPIG, appearance: Tensor, xy: Array, score: Array) -> Array:
    """The picture (H, W, 3) uint8 of a code (1, embedding) in a pose (18, 2)."""
    a = generator.architecture
    discs = nets.discs(xy[None], score[None], a.frame.size, a.radius, a.edge).to(generator.device)
    return pictures.levels(nets.with_matte(generator.network.decode(appearance, discs)))


def interpolated(
    generator: dpig.DPIG, first: Codes, last: Codes, *, kind: str, share: float
) -> Array:
    """The picture whose codes of one kind are so far on the way from the first to the last; others are the first's."""
    numbers = slice(0, generator.architecture.appearance)
    if kind == "background":
        numbers = slice(numbers.stop, None)
    appearance, pose = first.appearance.clone(), first.pose
    if kind == "everything":
        appearance = torch.lerp(first.appearance, last.appearance, share)
    elif kind != "pose":
        appearance[:, numbers] = torch.lerp(
            first.appearance[:, numbers], last.appearance[:, numbers], share
        )
    if kind in ("pose", "everything"):
        pose = torch.lerp(first.pose, last.pose, share)
    return drawn(generator, appearance, *posed(generator, pose))


def _samples(
    generator: dpig.DPIG, code: dpig.Code, pose: tuple[Array, Array], config: Config
) -> Array:
    a, coders, count = generator.architecture, generator.coders, config.samples
    random = torch.Generator().manual_seed(config.seed)

    def sampled(part: str) -> Sequence[Tensor]:
        codes = dpig.sample(coders, part, count, random, spread=config.spread)
        return torch.split(codes, 1)

    def row(words: str, pictured: Callable[[int], Array]) -> list[Cell]:
        return [Cell(words, pictured(i)) for i in range(count)]

    own = code.embedding
    fronts = sampled("foreground")
    poses = [posed(generator, one) for one in sampled("pose")]
    looks = [torch.cat([front, own[:, a.appearance :]], 1) for front in fronts]
    everything = looks
    figures = [pictures.joints(*one, a.frame.size) for one in poses]
    given = [
        Cell("given", pictures.levels(code.seen.picture)),
        Cell("wanted pose", pictures.joints(*pose, a.frame.size)),
        Cell("drawn", drawn(generator, own, *pose)),
        Cell("from its pose's code", drawn(generator, own, *posed(generator, pose_code(generator, *pose)))),
    ]  # fmt: skip
    rows = [given, row("foreground", lambda i: drawn(generator, looks[i], *pose))]
    if a.background:
        behind = sampled("background")
        others = [torch.cat([own[:, : a.appearance], one], 1) for one in behind]
        everything = [torch.cat(pair, 1) for pair in zip(fronts, behind, strict=True)]
        rows.append(row("background", lambda i: drawn(generator, others[i], *pose)))
    rows.append(row("", lambda i: figures[i]))
    rows.append(row("pose", lambda i: drawn(generator, own, *poses[i])))
    rows.append(row("everything", lambda i: drawn(generator, everything[i], *poses[i])))
    return pictures.sheet(rows)


def clothes(
    generator: dpig.DPIG, code: dpig.Code, theirs: dpig.Code, pose: tuple[Array, Array]
) -> Array:
    """Both people with parts of each other, in one pose of the frame's pixels: a row for each of them."""
    a = generator.architecture
    pieces = [*dpig.CLOTHES, *(["background"] if a.background else [])]
    rows = []
    for words, mine, other in (("", code, theirs), ("the other: ", theirs, code)):
        row = [
            Cell(f"{words}given", pictures.levels(mine.seen.picture)),
            Cell(f"{words}drawn", drawn(generator, mine.embedding, *pose)),
        ]
        for piece in pieces:
            mixed = dpig.exchanged(a, mine.embedding, other.embedding, [piece])
            row.append(Cell(f"exchanged: {piece}", drawn(generator, mixed, *pose)))
        both = dpig.exchanged(a, mine.embedding, other.embedding, ["upper", "lower"])
        rows.append([*row, Cell("upper and lower", drawn(generator, both, *pose))])
    return pictures.sheet(rows)
