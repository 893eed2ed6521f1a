"""Where a view of the person that a network drew is put in the picture."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor

from dance.types import Array, Size

COLOURS = 3  # channels of a picture


def placed(picture: Tensor, matrix: Array, size: Size) -> Tensor:
    """The view (1, 4, h, w), colours and matte, at its place in a picture of `size`, (1, 4, H, W); clear around it.

    matrix: (2, 3) from pixels of the picture to those of the view.
    """
    height, width = picture.shape[-2:]
    # From [-1, 1] across the large picture to [-1, 1] across the view, edges at pixels' outer edges.
    large = np.diag([size[1] / 2, size[0] / 2, 1.0])
    large[:2, 2] = (size[1] - 1) / 2, (size[0] - 1) / 2
    small = np.diag([width / 2, height / 2, 1.0])
    small[:2, 2] = (width - 1) / 2, (height - 1) / 2
    whole = np.linalg.inv(small) @ np.vstack([matrix, [0, 0, 1]]) @ large
    theta = torch.from_numpy(whole[:2]).to(picture)[None]
    grid = F.affine_grid(theta, [1, 1, *size], align_corners=False)
    colours, alpha = picture[:, :COLOURS], picture[:, COLOURS:]
    return torch.cat(
        [
            F.grid_sample(colours, grid, padding_mode="border", align_corners=False),
            F.grid_sample(alpha, grid, padding_mode="zeros", align_corners=False),
        ],
        1,
    )
