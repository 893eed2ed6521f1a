"""BlazePose's second network: one person's 33 landmarks inside a rotated region.

The facts (sizes, activations, refinement by heat maps, the next region) are those of mediapipe
0.10.21's pose landmark graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dance import geometry, skeleton
from dance.networks import Network
from dance.pose.estimators._blaze_detect import region_between
from dance.types import Array, Pose, Region, Size

SIDE = 256
MASK = (1, SIDE, SIDE, 1)
"""The shape of the network's person mask."""

_COUNT = 39  # 33 landmarks, then auxiliary ones: the first two give the next region
_LANDMARKS = 33
_PATCH = 7  # cells of the heat map a landmark is refined from
_SURE = 0.5  # a heat map whose peak is lower says nothing
_FADE = 0.02  # of the region's side: a joint this far outside the picture has score 0

# The landmark that takes a landmark's place in a mirrored picture.
_MIRROR = [
    0,
    4,
    5,
    6,
    1,
    2,
    3,
    8,
    7,
    10,
    9,
    *(i + (i % 2) * 2 - 1 for i in range(11, 33)),
    *range(33, 39),
]
_SHOULDERS, _HIPS = [11, 12], [23, 24]
# Two looks at people from the front are .01 to .05 torso lengths apart, at backs with the face in profile .07 to .3.
_AGREED = 0.06
_TURNS, _SCALES = (0.0, -0.2, 0.2), (1.0, 0.85, 1.2)
_HIPS_UP, _SHOULDERS_DOWN = 0.025, 0.03  # shares of the torso's length


# Landmarks (39, 4) as x, y, z in pixels of the crop and score, world (39, 3), presence, mask.
_Read = tuple[Array, Array, float, Array | None]


@dataclass(frozen=True, slots=True)
class _Toe:
    """The joints a small toe is guessed from; `side` makes the outward direction."""

    small: int
    big: int
    heel: int
    ankle: int
    side: int


_SMALL_TOES = (
    _Toe(
        skeleton.LEFT_SMALL_TOE, skeleton.LEFT_BIG_TOE, skeleton.LEFT_HEEL, skeleton.LEFT_ANKLE, -1
    ),
    _Toe(
        skeleton.RIGHT_SMALL_TOE,
        skeleton.RIGHT_BIG_TOE,
        skeleton.RIGHT_HEEL,
        skeleton.RIGHT_ANKLE,
        1,
    ),
)
_TOE = 0.09  # of the foot's length: so far is the small toe behind the big one, and beside it
_GUESSED = 0.5  # a guessed joint counts less


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What the network says of one region.

    xy: (33, 2) picture pixels.  z: (33,) pixels from the mid-hip.  score: (33,) in [0, 1], visibility
    x presence.  world: (33, 3) metres.  presence: that of the person.  mask: (256, 256) of the region,
    before the sigmoid; None where the network was made without it.
    """

    xy: Array
    z: Array
    score: Array
    world: Array
    presence: float
    region: Region
    next_region: Region
    mask: Array | None


def to_crop(region: Region, side: int) -> Array:
    """The (2, 3) map from picture to crop as mediapipe has it: the region's centre comes to side / 2."""
    matrix = geometry.region_to_crop(region, side)
    matrix[:, 2] += 0.5
    return matrix


def crop(rgb: Array, region: Region, side: int) -> Array:
    """The region upright, (1, side, side, 3) float32 in [0, 1]; beyond the picture its edge is repeated."""
    matrix = to_crop(region, side)
    picture = cv2.warpAffine(
        rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(np.multiply(picture[None], 1 / 255, dtype=np.float32))


def look(network: Network, rgb: Array, region: Region, *, mirror: bool = False) -> Landmarks:
    """The landmarks of whoever is in the region, whether or not somebody is (see `presence`).

    mirror: also look at the mirrored crop and give the mean of both; where they do not agree, regions about this one
    are tried, and the one is taken whose looks agree best. So people seen from behind are found as they stand.
    """
    if mirror:
        looks = _both(network, rgb, region)
        if _apart(*looks) > _AGREED:
            tried = [(region, looks)] + [(r, _both(network, rgb, r)) for r in _about(region)]
            region, looks = min(tried, key=lambda one: _apart(*one[1]))
        raw, world, presence, mask = _mean(*looks)
    else:
        raw, world, presence, mask = _read(network(crop(rgb, region, SIDE)))
    back = geometry.invert(to_crop(region, SIDE))
    xy = geometry.transform(raw[:, :2], back)
    cos, sin = np.cos(region.angle), np.sin(region.angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return Landmarks(
        xy=xy[:_LANDMARKS].astype(np.float32),
        z=(raw[:_LANDMARKS, 2] * (region.side / SIDE)).astype(np.float32),
        score=raw[:_LANDMARKS, 3].astype(np.float32),
        world=(world[:_LANDMARKS] @ turn.T).astype(np.float32),
        presence=presence,
        region=region,
        next_region=region_between(xy[_LANDMARKS], xy[_LANDMARKS + 1]),
        mask=mask,
    )


def _both(network: Network, rgb: Array, region: Region) -> tuple[_Read, _Read]:
    """What is read in the region's crop, and in the mirrored one, as if it had not been mirrored."""
    picture = crop(rgb, region, SIDE)
    raw, world, presence, mask = _read(network(np.ascontiguousarray(picture[:, :, ::-1])))
    back = None if mask is None else mask[:, ::-1]
    return _read(network(picture)), (_mirrored(raw, SIDE), _mirrored(world, 0), presence, back)


def _mean(one: _Read, other: _Read) -> _Read:
    mask = None if one[3] is None or other[3] is None else (one[3] + other[3]) / 2
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2, (one[2] + other[2]) / 2, mask


def _apart(one: _Read, other: _Read) -> float:
    """How far the landmarks of the body are from one another on average, in torso lengths."""
    a, b = one[0][:_LANDMARKS, :2], other[0][:_LANDMARKS, :2]
    torso = np.linalg.norm(sum(p[_SHOULDERS].mean(0) - p[_HIPS].mean(0) for p in (a, b)) / 2)
    far = np.linalg.norm(a - b, axis=1)[_SHOULDERS[0] :].mean()
    return float(far / max(torso, 1.0))


def _about(region: Region) -> list[Region]:
    """The region a little turned, smaller and larger."""
    return [
        replace(region, angle=region.angle + turn, side=region.side * scale)
        for turn in _TURNS
        for scale in _SCALES
        if (turn, scale) != (0.0, 1.0)
    ]


def _read(outputs: tuple[Array, ...]) -> _Read:
    """Landmarks (39, 4) as x, y, z in pixels of the crop and score, world (39, 3), presence, mask."""
    # Told apart by their shapes: the lite and heavy networks have the same ones.
    by_shape = {o.shape[1:]: o[0] for o in outputs}
    raw = by_shape[(_COUNT * 5,)].reshape(_COUNT, 5)
    score = _sigmoid(raw[:, 3]) * _sigmoid(raw[:, 4])
    xy = refine(raw[:, :2], by_shape[(SIDE // 4, SIDE // 4, _COUNT)])
    mask = by_shape.get(MASK[1:])
    return (
        np.concatenate([xy, raw[:, 2:3], score[:, None]], 1),
        by_shape[(_COUNT * 3,)].reshape(_COUNT, 3),
        float(by_shape[(1,)][0]),
        None if mask is None else mask[..., 0],
    )


def _mirrored(values: Array, width: float) -> Array:
    """Landmarks of a mirrored picture as landmarks of the picture; x runs from 0 to `width`."""
    out = values[_MIRROR].copy()
    out[:, 0] = width - out[:, 0]
    return out


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
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))))


def to_pose(found: Landmarks, size: Size, *, mask: bool) -> Pose:
    """The landmarks in the 133-joint skeleton; what BlazePose does not know has score 0."""
    inside = inside_share(found.xy, size, found.region)
    solid = to_joints(np.concatenate([found.xy, found.z[:, None]], 1))
    score = skeleton.from_blazepose((found.score * inside).astype(np.float32))
    for toe in _SMALL_TOES:
        score[toe.small] = _GUESSED * min(score[toe.big], score[toe.heel], score[toe.ankle])
    return Pose(
        xy=solid[:, :2].copy(),
        score=score,
        depth=solid[:, 2].copy(),
        world=to_joints(found.world),
        region=found.next_region,
        mask=_full_mask(found, size) if mask else None,
    )


def to_joints(points: Array) -> Array:
    """BlazePose's points (33, 3) as our joints (133, 3): COCO's shoulders and hips, small toes added.

    Its hips lie about 2.5 % of the torso below COCO's and its shoulders 3 % above; this was so for each
    of four rendered people of very different build, whose joints are known. Its depth axis has the
    scale of the others, so that the same rules hold in the picture and in the world.
    """
    joints = skeleton.from_blazepose(points)
    torso = (points[_SHOULDERS] - points[_HIPS]).mean(0)
    joints[[skeleton.LEFT_HIP, skeleton.RIGHT_HIP]] += _HIPS_UP * torso
    joints[[skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER]] -= _SHOULDERS_DOWN * torso
    for toe in _SMALL_TOES:
        foot = joints[toe.big] - joints[toe.heel]
        across = np.cross(foot, joints[toe.ankle] - joints[toe.heel])
        outwards = toe.side * across / max(float(np.linalg.norm(across)), 1e-9)
        joints[toe.small] = joints[toe.big] + _TOE * (np.linalg.norm(foot) * outwards - foot)
    return joints


def region_of(pose: Pose) -> Region:
    """Where to look for somebody of whom only joints are known, such as a pose from a file."""
    seen = pose.xy[pose.score > 0]
    box = geometry.joints_box(pose.xy, pose.score)
    if box is None:
        raise ValueError("a pose without any seen joint does not say where to look")
    hips, shoulders = (
        pose.xy[pair].mean(0) if (pose.score[pair] > 0).all() else None
        for pair in (
            [skeleton.LEFT_HIP, skeleton.RIGHT_HIP],
            [skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER],
        )
    )
    middle = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    centre = middle if hips is None else hips
    up = np.array([0.0, -1.0])
    if hips is not None and shoulders is not None and np.linalg.norm(shoulders - hips) > 1:
        up = (shoulders - hips) / np.linalg.norm(shoulders - hips)
    radius = float(np.linalg.norm(seen - centre, axis=1).max())
    return region_between(centre, centre + max(radius, 1.0) * up)


def inside_share(xy: Array, size: Size, region: Region) -> Array:
    """1 for points (N, 2) inside the picture, falling to 0 a little outside: those are invented."""
    height, width = size
    far = np.maximum(np.maximum(-xy, xy - np.array([width - 1, height - 1])), 0)
    return np.asarray(np.clip(1 - np.hypot(far[:, 0], far[:, 1]) / (_FADE * region.side), 0, 1))


def _full_mask(found: Landmarks, size: Size) -> Array:
    """The person mask at the picture's size; 0 beyond the region."""
    assert found.mask is not None, "the network was made without its mask"
    matrix = geometry.invert(to_crop(found.region, SIDE))
    height, width = size
    whole = cv2.warpAffine(_sigmoid(found.mask), matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(whole, np.float32)
