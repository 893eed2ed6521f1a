"""PG2: the rough first stage, the difference the second adds, and the refined picture.

stages.png, a row for each pose: the given picture, the wanted pose, the coarse result, what the second stage changes
(twice as strong, about grey), the refined result.
"""

from __future__ import annotations

import torch

from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators import pg2
from dance.types import Array


class Config(Options):
    """There is nothing to choose."""


@torch.no_grad()
def explore(generator: pg2.PG2, subject: Subject, config: Config) -> dict[str, Array]:
    """One sheet; see the module."""
    a = generator.architecture
    seen = generator.encode(subject.person).seen
    rows = []
    matrices = single.windows(seen, a.frame, subject.poses)
    for pose, matrix in zip(subject.poses, matrices, strict=True):
        joints = single.in_frame([pose], [matrix])
        wanted = nets.discs(*joints, a.frame.size, a.radius, a.edge).to(generator.device)
        coarse, refined = (
            pictures.levels(nets.with_matte(made))
            for made in generator.network(seen.picture, wanted)
        )
        rows.append(
            [
                Cell("given", pictures.levels(seen.picture)),
                Cell("wanted pose", pictures.pose(pose, matrix, a.frame.size)),
                Cell("coarse", coarse),
                Cell("difference x 2", pictures.difference(coarse, refined)),
                Cell("refined", refined),
            ]
        )
    return {"stages.png": pictures.sheet(rows)}
