"""Where a view of the person that a network drew is put in the picture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dance.types import Array, Size

COLOURS = 3  # channels of a picture
# A matte's edge is a pixel or two of the view wide. From this enlargement on it is drawn in, down to a third.
_SOFT, _CRISP = 3.0, 3.0


def placed(picture: Tensor, matrix: Array, size: Size) -> Tensor:
    """The view (1, 4, h, w), colours and matte, at its place in a picture of `size`, (1, 4, H, W); clear around it.

    matrix: (2, 3) from pixels of the picture to those of the view; it turns nothing.
    Cubic both ways: made smaller it is averaged too.
    """
    scale = float(matrix[0, 0])
    assert scale > 0 and np.allclose(matrix[:, :2], scale * np.eye(2))
    across = _weights(size[1], picture.shape[3], float(matrix[0, 2]), scale)
    down = _weights(size[0], picture.shape[2], float(matrix[1, 2]), scale)
    (x, x_clear), (y, y_clear) = (
        [torch.from_numpy(w).to(picture) for w in one] for one in (across, down)
    )
    colours = y @ picture[:, :COLOURS] @ x.T
    matte = y_clear @ picture[:, COLOURS:] @ x_clear.T
    crisp = float(np.clip(1 / (scale * _SOFT), 1, _CRISP))
    return torch.cat([colours, ((matte - 0.5) * crisp + 0.5).clamp(0, 1)], 1)


def _weights(count: int, inside: int, shift: float, scale: float) -> tuple[Array, Array]:
    """How much of each of `inside` pixels of the view is in each of `count` pixels, (count, inside) float32, along one axis.

    Twice: where the view's border goes on for ever, and where there is nothing around it.
    """
    at = scale * np.arange(count) + shift
    wide = max(1.0, scale)
    pixels = np.floor(at - 2 * wide).astype(int)[:, None] + np.arange(1, int(np.ceil(4 * wide)) + 1)
    shares = _cubic((at[:, None] - pixels) / wide)
    shares /= shares.sum(1, keepdims=True)
    rows = np.broadcast_to(np.arange(count)[:, None], pixels.shape)
    kept, clear = np.zeros((2, count, inside), np.float32)
    np.add.at(kept, (rows, pixels.clip(0, inside - 1)), shares)
    there = (pixels >= 0) & (pixels < inside)
    clear[rows[there], pixels[there]] = shares[there]
    return kept, clear


def _cubic(x: Array) -> Array:
    """The weight of a pixel that far away (Keys 1981, a = -1/2)."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.asarray(np.where(x <= 1, inner, np.where(x < 2, outer, 0.0)))
