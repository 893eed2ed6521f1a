"""BlazePose's second network: one person's 33 landmarks inside a rotated region.

The facts (sizes, activations, refinement by heat maps, the next region) are those of mediapipe
0.10.21's pose landmark graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dance import geometry, skeleton
from dance.networks import Network
from dance.pose.estimators._blaze_detect import region_between
from dance.types import Array, Pose, Region, Size

SIDE = 256
_COUNT = 39  # 33 landmarks, then auxiliary ones: the first two give the next region
_LANDMARKS = 33
_PATCH = 7  # cells of the heat map a landmark is refined from
_SURE = 0.5  # a heat map whose peak is lower says nothing
_FADE = 0.02  # of the region's side: a joint this far outside the picture has score 0

_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 11, 12, 23, 24


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What the network says of one region.

    xy: (33, 2) picture pixels.  z: (33,) pixels from the mid-hip.  score: (33,) in [0, 1], visibility
    x presence.  world: (33, 3) metres.  presence: that of the person.  mask: (256, 256) of the region.
    """

    xy: Array
    z: Array
    score: Array
    world: Array
    presence: float
    region: Region
    next_region: Region
    mask: Array


def crop(rgb: Array, region: Region, side: int) -> Array:
    """The region upright, (1, side, side, 3) float32 in [0, 1]; beyond the picture its edge is repeated."""
    matrix = geometry.region_to_crop(region, side)
    picture = cv2.warpAffine(
        rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(np.multiply(picture[None], 1 / 255, dtype=np.float32))


def look(network: Network, rgb: Array, region: Region) -> Landmarks:
    """The landmarks of whoever is in the region, whether or not somebody is (see `presence`)."""
    outputs = {o.shape[1:]: o[0] for o in network(crop(rgb, region, SIDE))}
    raw = outputs[(_COUNT * 5,)].reshape(_COUNT, 5)
    xy = refine(raw[:, :2], outputs[(SIDE // 4, SIDE // 4, _COUNT)])
    back = geometry.invert(geometry.region_to_crop(region, SIDE))
    picture_xy = geometry.transform(xy, back)
    cos, sin = np.cos(region.angle), np.sin(region.angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return Landmarks(
        xy=picture_xy[:_LANDMARKS].astype(np.float32),
        z=(raw[:_LANDMARKS, 2] * (region.side / SIDE)).astype(np.float32),
        score=(_sigmoid(raw[:_LANDMARKS, 3]) * _sigmoid(raw[:_LANDMARKS, 4])).astype(np.float32),
        world=(outputs[(_COUNT * 3,)].reshape(_COUNT, 3)[:_LANDMARKS] @ turn.T).astype(np.float32),
        presence=float(outputs[(1,)][0]),
        region=region,
        next_region=region_between(picture_xy[_LANDMARKS], picture_xy[_LANDMARKS + 1]),
        mask=outputs[(SIDE, SIDE, 1)][..., 0],
    )


def refine(xy: Array, heat: Array) -> Array:
    """Landmarks (N, 2) in pixels of the crop, moved to the weighted middle of their heat maps (h, w, N).

    Only the 7 x 7 cells around a landmark count; one without a sure cell, or outside the crop, stays.
    """
    height, width, count = heat.shape
    share = SIDE / width
    column, row = np.floor(xy / share).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    reach = np.arange(_PATCH) - _PATCH // 2
    rows = np.where(inside, row, 0)[:, None, None] + reach[:, None]
    columns = np.where(inside, column, 0)[:, None, None] + reach
    exists = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    cells = heat[
        rows.clip(0, height - 1), columns.clip(0, width - 1), np.arange(count)[:, None, None]
    ]
    weight = np.where(exists, _sigmoid(cells), 0)
    total = weight.sum((1, 2))
    middle = np.stack([(weight * columns).sum((1, 2)), (weight * rows).sum((1, 2))], 1)
    sure = inside & (weight.max((1, 2)) >= _SURE)
    return np.where(sure[:, None], middle / np.maximum(total, 1e-9)[:, None] * share, xy)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))


def to_pose(found: Landmarks, size: Size, *, mask: bool) -> Pose:
    """The landmarks in the 133-joint skeleton; what BlazePose does not know has score 0."""
    outside = _outside(found.xy, size)
    inside = np.clip(1 - outside / (_FADE * found.region.side), 0, 1)
    score = skeleton.from_blazepose((found.score * inside).astype(np.float32))
    return Pose(
        xy=skeleton.from_blazepose(_coco_hips(found.xy)),
        score=score,
        depth=skeleton.from_blazepose(_coco_hips(found.z)),
        world=skeleton.from_blazepose(_coco_hips(found.world)),
        region=found.next_region,
        mask=_full_mask(found, size) if mask else None,
    )


def _coco_hips(values: Array) -> Array:
    return values


def _outside(xy: Array, size: Size) -> Array:
    """How far each point lies outside the picture, in pixels; 0 inside."""
    height, width = size
    far = np.maximum(np.maximum(-xy, xy - np.array([width - 1, height - 1])), 0)
    return np.asarray(np.hypot(far[:, 0], far[:, 1]))


def _full_mask(found: Landmarks, size: Size) -> Array:
    """The person mask at the picture's size; 0 beyond the region."""
    matrix = geometry.invert(geometry.region_to_crop(found.region, SIDE))
    height, width = size
    whole = cv2.warpAffine(_sigmoid(found.mask), matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(whole, np.float32)
