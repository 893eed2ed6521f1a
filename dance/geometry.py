"""Boxes, crops and warps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from dance import skeleton
from dance.types import Array, Box, Camera, Frame, Pose, Region, Size


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


def resized(pose: Pose, old: Size, new: Size, canvas: Size | None = None) -> Pose:
    """The pose of a picture of size `old` made `new` large, there or in the middle of a canvas as `letterbox` has it."""
    canvas = canvas or new
    if old == new == canvas:
        return pose
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    corner = np.array([(canvas[1] - new[1]) // 2, (canvas[0] - new[0]) // 2])
    # Pixel centres are at whole numbers, so a picture begins at -1/2.
    xy = ((pose.xy + 0.5) * factor + corner - 0.5).astype(np.float32)
    depth = None if pose.depth is None else (pose.depth * factor[1]).astype(np.float32)
    return replace(pose, xy=xy, depth=depth, region=None, mask=None)


def resized_camera(camera: Camera, old: Size, new: Size, canvas: Size | None = None) -> Camera:
    """The camera of the picture made `new` large, there or in the middle of a canvas, as `resized` has its poses."""
    canvas = canvas or new
    if old == new == canvas:
        return camera
    factor = np.array([new[1] / old[1], new[0] / old[0]])
    corner = np.array([(canvas[1] - new[1]) // 2, (canvas[0] - new[0]) // 2])
    x, y = ((np.array(camera.centre) + 0.5) * factor + corner - 0.5).tolist()
    return Camera(camera.focal * float(factor[1]), (x, y))


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


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a person gets from the middle of their torso in a clip, in pixels of its pictures.

    torso: their median torso length, mid-shoulder to mid-hip.
    """

    left: float
    up: float
    right: float
    down: float
    torso: float


@dataclass(frozen=True, slots=True)
class Window:
    """A view that follows a person at a constant scale, whatever place of the picture they are at.

    size: (height, width) of the view.  scale: its pixels per pixel of a picture `picture` = (height,
    width) large.  anchor: where (x, y) in the view the middle of the torso is kept.
    The view depends on one pose alone, so that it is the same in training, in a stream and after a cut.
    """

    size: Size
    scale: float
    anchor: tuple[float, float]
    picture: Size

    def matrix(self, pose: Pose) -> Array:
        """The (2, 3) affine map from picture pixels to the view of that pose."""
        shift = np.array(self.anchor) - self.scale * torso_middle(pose)
        return np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]])

    def look(self, pose: Pose) -> Pose:
        """The pose in the view's pixels."""
        xy = transform(pose.xy, self.matrix(pose)).astype(np.float32)
        depth = None if pose.depth is None else (pose.depth * self.scale).astype(np.float32)
        return replace(pose, xy=xy, depth=depth, region=None, mask=None)


_TORSO = [
    skeleton.LEFT_SHOULDER,
    skeleton.RIGHT_SHOULDER,
    skeleton.LEFT_HIP,
    skeleton.RIGHT_HIP,
]


def torso_middle(pose: Pose) -> Array:
    """The middle (x, y) of shoulders and hips, of those seen; without them of all joints seen."""
    joints = [joint for joint in _TORSO if pose.score[joint] > 0]
    seen = pose.xy[joints] if joints else pose.xy[pose.score > 0]
    return np.asarray(seen.mean(0, dtype=np.float64) if len(seen) else np.zeros(2))


def torso_size(pose: Pose) -> float | None:
    """The torso's length in pixels, what leaning takes off it given back where depths are known; None where unseen."""
    if min(pose.score[_TORSO]) <= 0:
        return None
    across = [pose.xy] if pose.depth is None else [pose.xy, pose.depth[:, None]]
    points = np.concatenate(across, 1, dtype=np.float64)[_TORSO]
    return float(np.linalg.norm(points[:2].mean(0) - points[2:].mean(0)))


def reach(poses: Iterable[Pose], size: Size, *, threshold: float = 0.3) -> Reach:
    """How far the person gets over the poses of a clip in pictures of that size, hair and hands included.

    Poses without a torso are passed over; there must be one with it. What lies outside the picture is
    not known and does not count, so that half a person does not get a window for a whole one.
    """
    lows, highs, torsos, borders = [], [], [], []
    for pose in poses:
        if min(pose.score[_TORSO]) <= 0:
            continue
        middle = torso_middle(pose)
        points = pose.xy[pose.score > threshold]
        if not len(points):
            continue
        lows.append(points.min(0) - middle)
        highs.append(points.max(0) - middle)
        borders.append([*middle, *(np.array(size[::-1]) - middle)])
        shoulders, hips = pose.xy[_TORSO[:2]].mean(0), pose.xy[_TORSO[2:]].mean(0)
        torsos.append(float(np.linalg.norm(shoulders - hips)))
    assert lows, "no pose has a torso"
    torso = float(np.median(torsos))
    # A slip of the estimator in a picture or two must not make everybody small.
    low, high = np.percentile(lows, 0.5, axis=0), np.percentile(highs, 99.5, axis=0)
    # Hair above the eyes, fingers beyond the wrist, soles below the ankle, in torso lengths.
    wanted = np.array(
        [
            0.35 * torso - low[0], 0.55 * torso - low[1],
            0.35 * torso + high[0], 0.3 * torso + high[1],
        ]
    )  # fmt: skip
    # Half the time the picture reaches this far.
    left, up, right, down = np.maximum(
        np.minimum(wanted, np.median(borders, axis=0)), 0.5 * torso
    ).tolist()
    return Reach(left, up, right, down, torso)


def person_window(reach: Reach, picture: Size, height: int, *, multiple: int = 32) -> Window:
    """The window of that height that shows all the person reaches, as wide to the left as to the right.

    picture: the size the reach was measured in.  Both sides of the window are multiples of `multiple`.
    """
    assert height % multiple == 0, f"{height} is no multiple of {multiple}"
    scale = height / (reach.up + reach.down)
    half = max(reach.left, reach.right)
    width = max(multiple, multiple * int(np.ceil(2 * half * scale / multiple - 0.25)))
    return Window((height, width), scale, ((width - 1) / 2, scale * reach.up - 0.5), picture)


def face_box(pose: Pose, size: Size, side: int) -> tuple[int, int, int, int] | None:
    """The square (top, bottom, left, right) about the face, bottom and right exclusive, inside the picture.

    About the nose, else between the ears, else at the ear seen; None where none of them is in the picture.
    """
    ears = [j for j in (skeleton.LEFT_EAR, skeleton.RIGHT_EAR) if pose.score[j] > 0]
    joints = [skeleton.NOSE] if pose.score[skeleton.NOSE] > 0 else ears
    if not joints:
        return None
    x, y = pose.xy[joints].mean(0)
    height, width = size
    if not (0 <= x < width and 0 <= y < height) or side > min(size):
        return None
    top = int(np.clip(round(float(y)) - side // 2, 0, height - side))
    left = int(np.clip(round(float(x)) - side // 2, 0, width - side))
    return top, top + side, left, left + side
