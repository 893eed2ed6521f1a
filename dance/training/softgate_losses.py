"""What Soft-Gated Warping-GAN's geometric matcher is taught by, and the pairs it is taught with.

Rocco, Arandjelović, Sivic: Convolutional neural network architecture for geometric matching (CVPR 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dance.generators import _softgate_match as match
from dance.generators._softgate_match import Move
from dance.types import Size

_POINTS = 20  # of a side of the square grid movements are compared on
# A pair shows the middle of a picture that its own mirror images surround by half its size on every side.
_AROUND, _CROP, _PADDING = 0.5, 9 / 16, 0.5


def grid_loss(move: Move, theta: Tensor, truth: Tensor) -> Tensor:
    """How far apart two thetas (B, n) move points: the mean squared distance over a grid, a scalar."""
    points = match.base_points((_POINTS, _POINTS)).to(theta)
    return (move(theta, points) - move(truth, points)).square().sum(-1).mean()


def pair(
    picture: Tensor, move: Move, theta: Tensor, size: Size, *, align_corners: bool = True
) -> tuple[Tensor, Tensor]:
    """The middle of pictures (B, C, H, W), and the same moved by a known theta: both (B, C, *size)."""
    wide = mirrored(picture)
    share = _CROP * _PADDING
    unmoved = match.base_points(size, align_corners=align_corners).to(picture)
    still = unmoved.view(1, *size, 2).expand(len(picture), -1, -1, -1)
    moved = match.grid(move, theta, size, align_corners=align_corners)
    source, target = (
        match.warp(wide, where * share, align_corners=align_corners) for where in (still, moved)
    )
    return source, target


def mirrored(picture: Tensor) -> Tensor:
    """The picture with half its size of mirror images around it, the outermost pixels twice."""
    for axis in (-2, -1):
        length = picture.shape[axis]
        around = int(length * _AROUND)
        before, behind = (
            picture.narrow(axis, 0, around),
            picture.narrow(axis, length - around, around),
        )
        picture = torch.cat([before.flip(axis), picture, behind.flip(axis)], axis)
    return picture
