"""Boxes, crops and warps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from dance.types import Array, Box, Frame, Region, Size


def fit_inside(size: Size, longest: int) -> Size:
    """The size with its longer side at most `longest`, its proportions kept, both sides even and at least 2."""
    height, width = size
    scale = min(1.0, longest / max(height, width))
    limit = max(2, longest - longest % 2)
    return min(limit, even(round(height * scale))), min(limit, even(round(width * scale)))


def even(length: int) -> int:
    """The length, made even by adding 1 if need be; video codecs want even sides."""
    return max(2, length + length % 2)


def letterbox(frame: Frame, size: Size) -> Frame:
    """The frame in the middle of a larger canvas of that size, its border pixels continued outwards."""
    height, width = size
    top, left = (height - frame.size[0]) // 2, (width - frame.size[1]) // 2
    assert top >= 0 and left >= 0, f"a {frame.size} frame does not fit into {size}"
    borders = (top, height - frame.size[0] - top, left, width - frame.size[1] - left)
    rgb = cv2.copyMakeBorder(frame.rgb, *borders, cv2.BORDER_REPLICATE)
    alpha = frame.alpha
    if alpha is not None:
        alpha = np.asarray(cv2.copyMakeBorder(alpha, *borders, cv2.BORDER_CONSTANT, value=0))
    return replace(frame, rgb=np.asarray(rgb), alpha=alpha)


def joints_box(xy: Array, score: Array, *, threshold: float = 0.0) -> Box | None:
    """The box around all joints (J, 2) whose score is above the threshold; None where there is none."""
    points = xy[score > threshold]
    if not len(points):
        return None
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return Box(float(left), float(top), float(right), float(bottom))


def grow(box: Box, share: float) -> Box:
    """The box made larger by `share` of its width and height on each side."""
    dx, dy = share * box.width, share * box.height
    return Box(box.left - dx, box.top - dy, box.right + dx, box.bottom + dy)


def region_to_crop(region: Region, side: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The (2, 3) affine map from picture pixels to the `side` x `side` crop that shows the region upright."""
    scale = side / region.side
    cos, sin = np.cos(region.angle) * scale, np.sin(region.angle) * scale
    # Turning the picture by -angle brings the region's upward axis up; pixel centres are at whole numbers.
    centre = (side - 1) / 2
    return np.array(
        [
            [cos, sin, centre - cos * region.x - sin * region.y],
            [-sin, cos, centre + sin * region.x - cos * region.y],
        ]
    )


def transform(points: Array, matrix: Array) -> Array:
    """Points (..., 2) under a (2, 3) affine map."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: Array) -> Array:
    """The inverse of a (2, 3) affine map."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(matrix, np.float64)))
