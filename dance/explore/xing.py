"""XingGAN: the candidates each stream paints, where each is seen, and the picture they add up to.

candidates_N.png of the N-th pose. Above: the given picture, the wanted pose, the result; which candidate is seen
most where (a colour each); how far the given picture itself is seen. Below: every candidate of the picture's stream,
under each where it is seen, from not at all (grey) to alone (bright), and its share of the person; then those of the
poses' stream.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import xing
from dance.types import Array, Pose


class Config(Options):
    """There is nothing to choose."""


@torch.no_grad()
def explore(generator: xing.XingGAN, subject: Subject, config: Config) -> dict[str, Array]:
    """One sheet for each pose; see the module."""
    a = generator.architecture
    code = generator.encode(subject.person)
    made = {}
    matrices = single.windows(code.seen, a.frame, subject.poses)
    for i, (pose, matrix) in enumerate(zip(subject.poses, matrices, strict=True)):
        made[f"candidates_{i + 1}.png"] = _sheet(
            painted(generator, code, pose, matrix),
            code.seen.picture,
            pictures.pose(pose, matrix, a.frame.size),
        )
    return made


def painted(generator: xing.XingGAN, code: xing.Code, pose: Pose, matrix: Array) -> xing.Painted:
    """The person in the pose, and of what they were made; matrix: (2, 3) from the pose's pixels to the frame's."""
    joints = single.in_frame([pose], [matrix])
    wanted = xing.maps(generator.architecture, *joints).to(generator.device)
    return generator.network.paint(code.seen.picture, torch.cat([code.pose, wanted], 1))


def _sheet(made: xing.Painted, given: Tensor, sticks: Array) -> Array:
    whole = made.picture
    if made.matte is not None:
        whole = torch.cat([whole, made.matte], 1)
    result = pictures.levels(whole)
    shares, size = made.shares[0], result.shape[:2]
    amounts = _amounts(made)
    top = [
        Cell("given", pictures.levels(given)),
        Cell("wanted pose", sticks),
        Cell("result", result),
        Cell("seen most", pictures.regions(shares.argmax(0), (size[0], size[1]))),
        Cell(f"the given one {amounts[-1]:.0%}", pictures.heat(shares[-1], result, top=1.0)),
    ]
    each = (len(shares) - 1) // 2
    rows = [top]
    for stream, first in (("picture", 0), ("poses", each)):
        numbers = range(first, first + each)
        rows.append(list(_candidates(made, numbers, stream)))
        rows.append(
            [
                Cell(f"share {amounts[n]:.0%}", pictures.heat(shares[n], result, top=1.0))
                for n in numbers
            ]
        )
    return pictures.sheet(rows)


def _candidates(made: xing.Painted, numbers: range, stream: str) -> Iterator[Cell]:
    for n in numbers:
        yield Cell(f"{stream} {n - numbers.start + 1}", pictures.levels(made.candidates[:, n]))


def _amounts(made: xing.Painted) -> list[float]:
    """How much of the person, else of the whole picture, each candidate makes up."""
    where = torch.ones_like(made.picture[:, :1]) if made.matte is None else made.matte
    found: list[float] = ((made.shares * where).sum((0, 2, 3)) / where.sum()).tolist()
    return found
