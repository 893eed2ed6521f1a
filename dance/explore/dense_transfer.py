"""Dense Pose Transfer: the person laid on an atlas of the body, the atlas made whole, and drawn on other bodies.

atlas.png: the whole atlas, 24 charts in 4 rows of 6, enlarged where texels are few, to be painted and given back.
atlas_seen.png: the texels that pictures show, grey where nothing was seen.  charts.png: which part each chart is.
drawn.png, a row for each pose: the given picture and its surface, the wanted surface, the atlas laid on it, the
predicted picture, both blended. With a painted atlas a second row shows what it changes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dance import draw
from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import dense_transfer
from dance.surface.charts import COLUMNS
from dance.surface.parts import PARTS
from dance.types import Array, Pose

_UNSEEN = 0.25  # the grey of texels that nobody saw, in [-1, 1]
_SIDE = 128  # pixels of a chart's side that can be painted


class Config(Options):
    """atlas: to draw with instead of what the person's pictures show: atlas.png, painted."""

    atlas: Path | None = Field(None, description="a painted atlas.png")


@torch.no_grad()
def explore(
    generator: dense_transfer.Transfer, subject: Subject, config: Config
) -> dict[str, Array]:
    """The atlases and a sheet; see the module. Raises InputError for an atlas that cannot be read."""
    frame = generator.architecture.frame
    whole = None
    if config.atlas is not None:
        side = generator.architecture.inpainting.side
        whole = dense_transfer.read_atlas(config.atlas, side).to(generator.device)
    code = generator.encode(subject.person)
    texture = code.texture
    painted = None if whole is None else replace(code, texture=replace(texture, whole=whole))
    rows: list[list[Cell | None]] = []
    matrices = single.windows(code.seen, frame, subject.poses)
    for pose, matrix in zip(subject.poses, matrices, strict=True):
        rows += _rows(generator, code, painted, pose, matrix)
    shown = texture.seen * texture.known + _UNSEEN * (1 - texture.known)
    return {
        "atlas.png": _enlarged(texture.whole),
        "atlas_seen.png": _enlarged(shown),
        "charts.png": _charts(_enlarged(texture.whole)),
        "drawn.png": pictures.sheet(rows),
    }


def _rows(
    generator: dense_transfer.Transfer,
    code: dense_transfer.Code,
    painted: dense_transfer.Code | None,
    pose: Pose,
    matrix: Array,
) -> list[list[Cell | None]]:
    wanted = generator.surface(code, pose, matrix)
    made = generator.synthesise(code, wanted)
    drawn = pictures.levels(made.picture)
    row: list[Cell | None] = [
        Cell("given", pictures.levels(code.seen.picture)),
        Cell("its surface", surface(code.surface)),
        Cell("wanted surface", surface(wanted)),
        Cell("atlas on it", pictures.levels(made.warped)),
        Cell("predicted", pictures.levels(made.predicted)),
        Cell("blended", drawn),
    ]
    if painted is None:
        return [row]
    again = generator.synthesise(painted, wanted)
    anew = pictures.levels(again.picture)
    return [
        row,
        [
            *(None, None),
            Cell("difference x 2", pictures.difference(drawn, anew)),
            Cell("painted: on it", pictures.levels(again.warped)),
            None,
            Cell("painted: blended", anew),
        ],
    ]


def surface(known: Tensor) -> Array:
    """A surface (1, 3, H, W), every part in a colour that grows lighter with U and V; black where there is no body."""
    part, u, v = known[0].cpu().numpy()
    number = part.round().astype(int)
    bright = (0.4 + 0.3 * u + 0.3 * v) * (number > 0)
    return np.asarray(pictures.hues(len(PARTS))[number] * bright[..., None], np.uint8)


def _enlarged(atlas: Tensor) -> Array:
    """An atlas (1, 3, 4 T, 6 T) as a picture, every texel a square where they are few."""
    times = max(1, round(_SIDE * COLUMNS / atlas.shape[-1]))
    return pictures.levels(atlas).repeat(times, 0).repeat(times, 1)


def _charts(atlas: Array) -> Array:
    """The picture of an atlas with the name of every chart."""
    out, side = atlas.copy(), atlas.shape[1] // COLUMNS
    for number, name in enumerate(PARTS[1:]):
        row, column = divmod(number, COLUMNS)
        tile = out[row * side : (row + 1) * side, column * side : (column + 1) * side]
        tile[:] = draw.text(tile, name)
    return out
