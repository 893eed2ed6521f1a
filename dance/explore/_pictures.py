"""How tensors become pictures to look at: colours, heat maps, regions, poses, and sheets of them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from dance import draw, sheets
from dance.generators._placed import COLOURS
from dance.geometry import transform
from dance.labels import COLOURS_18, LIMBS_18
from dance.types import Array, Pose, Size

_GREY = 208  # behind drawn people
_WIDTH = 176  # of a picture on a sheet
_DIM = 0.35  # how bright a picture stays under a heat map
_GOLDEN = 0.618034  # of the circle of hues, from one number's colour to the next


class Cell(NamedTuple):
    """A picture (H, W, 3) uint8 on a sheet, and what stands on it."""

    label: str
    picture: Array


def sheet(rows: Sequence[Sequence[Cell | None]], *, width: int = _WIDTH) -> Array:
    """The rows of pictures below each other; grey where there is none, and at the end of shorter rows."""
    columns = max(len(row) for row in rows)
    size = next(cell.picture.shape for row in rows for cell in row if cell is not None)
    blank = Cell("", np.full(size, 128, np.uint8))
    cells = [cell or blank for row in rows for cell in (*row, *[None] * (columns - len(row)))]
    return sheets.contact_sheet(
        [cell.picture for cell in cells], columns, width=width, labels=[c.label for c in cells]
    )


def levels(picture: Tensor) -> Array:
    """A picture (1, 3, H, W) in [-1, 1], with a matte in [0, 1] fourth on grey, as (H, W, 3) uint8."""
    assert len(picture) == 1
    colours = (picture[0, :COLOURS].clamp(-1, 1) + 1) * 127.5
    if picture.shape[1] > COLOURS:
        alpha = picture[0, COLOURS:].clamp(0, 1)
        colours = alpha * colours + (1 - alpha) * _GREY
    return _bytes(colours.movedim(0, -1))


def difference(first: Array, second: Array, *, times: float = 2.0) -> Array:
    """What the second picture (H, W, 3) has more (bright) or less (dark) than the first, so many times, about grey."""
    apart = second.astype(np.float32) - first
    return np.asarray(np.clip(np.rint(128 + times / 2 * apart), 0, 255), np.uint8)


def heat(values: Tensor, over: Array, *, top: float | None = None) -> Array:
    """A map (h, w) as heat over a picture (H, W, 3) in grey; `top` is its hottest, by default its maximum."""
    height, width = over.shape[:2]
    known = values.detach().float().cpu().numpy()
    scale = float(known.max()) if top is None else top
    cold = np.clip(known / max(scale, 1e-12), 0, 1)
    share = np.asarray(cv2.resize(cold, (width, height), interpolation=cv2.INTER_LINEAR))
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = _DIM * cv2.cvtColor(over, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    # Where nothing is hot the picture can be told.
    mixed = colours * share[..., None] + grey * (1 - share[..., None])
    return np.asarray(np.rint(mixed), np.uint8)


def regions(numbers: Tensor, size: Size) -> Array:
    """Numbers (h, w), each in a colour of its own, as (H, W, 3) uint8."""
    colours = hues(int(numbers.max()) + 1)[numbers.cpu().numpy()]
    return np.asarray(cv2.resize(colours, size[::-1], interpolation=cv2.INTER_NEAREST))


def hues(count: int) -> Array:
    """So many colours, neighbours far apart, (count, 3) uint8."""
    # Every other colour is darker, so that neighbours in the circle of hues can be told apart.
    rgb = [
        colorsys.hsv_to_rgb(i * _GOLDEN % 1, 0.75, 0.65 if i % 2 else 0.92) for i in range(count)
    ]
    return (np.array(rgb) * 255).astype(np.uint8)


def pose(wanted: Pose, matrix: Array, size: Size) -> Array:
    """The pose's sticks on black as they lie in the frame; matrix: (2, 3) from its pixels to the frame's."""
    black = np.zeros((*size, 3), np.uint8)
    xy = transform(np.asarray(wanted.xy, np.float64), matrix).astype(np.float32)
    return draw.sticks(black, Pose(xy, wanted.score), thickness=max(1, size[0] // 100))


def joints(xy: Array, score: Array, size: Size) -> Array:
    """OpenPose's 18 joints (18, 2) in the frame's pixels as a coloured figure on black."""
    out = np.zeros((*size, 3), np.uint8)
    places = np.clip(xy, -8 * max(size), 8 * max(size)).astype(int)
    wide = max(1, size[0] // 64)
    for i, (a, b) in enumerate(LIMBS_18):
        if score[a] > 0 and score[b] > 0:
            cv2.line(out, places[a].tolist(), places[b].tolist(), COLOURS_18[i], wide, cv2.LINE_AA)
    return out


def _bytes(values: Tensor) -> Array:
    return values.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
