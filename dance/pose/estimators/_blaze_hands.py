"""The hand network, started from BlazePose's wrists and knuckles.

The facts are those of mediapipe 0.10.21's holistic graph: a first region from wrist, index and little
finger, a small network that corrects it, then 21 landmarks. After Zhang et al., "MediaPipe Hands:
On-device Real-time Hand Tracking", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dance import geometry, skeleton
from dance.networks import Network
from dance.pose.estimators._blaze_landmarks import Landmarks, crop, inside_share, to_crop
from dance.types import Array, Pose, Region, Size

SIDE = 224
_CROP_SIDE = 256
POINTS = 21
_SCALE = 2.7
_SHIFT = 0.1  # of the side: regions are moved so far from the wrist towards the fingertips
_DEPTH = 0.4  # the network's depth is this much smaller than its width
_SURE = 0.5
_WRIST_SEEN = 0.1
_FAR = 0.35  # of the region's side: a hand whose wrist is further from the body's is another hand

# (wrist, index knuckle, little finger's knuckle) of the left and of the right hand
_SIDES = ((15, 19, 17), (16, 20, 18))


@dataclass(frozen=True, slots=True)
class Hand:
    """xy: (21, 2) picture pixels.  z: (21,) pixels and world: (21, 3) metres, both from the wrist.

    score: in [0, 1].
    """

    xy: Array
    z: Array
    world: Array
    score: float


def look(
    aim: Network, network: Network, rgb: Array, body: Landmarks
) -> tuple[Hand | None, Hand | None]:
    """The left and the right hand of a found person, None where it is not seen."""
    left, right = (_hand(aim, network, rgb, body, *side) for side in _SIDES)
    return left, right


def add(pose: Pose, hands: tuple[Hand | None, Hand | None], body: Landmarks, size: Size) -> Pose:
    """The pose with the fingers of the hands that are seen, joined to the body at the wrists."""
    assert pose.depth is not None and pose.world is not None
    xy, score, depth, world = (v.copy() for v in (pose.xy, pose.score, pose.depth, pose.world))
    parts = (skeleton.LEFT_HAND_SLICE, skeleton.RIGHT_HAND_SLICE)
    wrists = (skeleton.LEFT_WRIST, skeleton.RIGHT_WRIST)
    for hand, part, wrist in zip(hands, parts, wrists, strict=True):
        if hand is None:
            continue
        xy[part] = hand.xy
        score[part] = hand.score * inside_share(hand.xy, size, body.region)
        depth[part] = depth[wrist] + hand.z
        world[part] = world[wrist] + hand.world
    return replace(pose, xy=xy, score=score, depth=depth, world=world)


def _hand(
    aim: Network, network: Network, rgb: Array, body: Landmarks, wrist: int, index: int, little: int
) -> Hand | None:
    if body.score[wrist] < _WRIST_SEEN:
        return None
    middle = (2 * body.xy[index] + body.xy[little]) / 3
    first = _shifted(_between(middle, body.xy[wrist], _SCALE, towards=-1))
    region = _aimed(aim, rgb, first)
    points, presence, _, world = (o[0] for o in network(crop(rgb, region, SIDE)))
    if float(presence.item()) < _SURE:
        return None
    raw = points.reshape(POINTS, 3)
    xy = geometry.transform(raw[:, :2], geometry.invert(to_crop(region, SIDE)))
    if np.linalg.norm(xy[0] - body.xy[wrist]) > _FAR * region.side:
        return None
    cos, sin = np.cos(region.angle), np.sin(region.angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    metres = world.reshape(POINTS, 3) @ turn.T
    z = (raw[:, 2] - raw[0, 2]) * (region.side / SIDE / _DEPTH)
    return Hand(
        xy.astype(np.float32),
        z.astype(np.float32),
        (metres - metres[0]).astype(np.float32),
        float(presence.item()),
    )


def _aimed(aim: Network, rgb: Array, region: Region) -> Region:
    """The region corrected by a network that says where in it the hand's middle and rim are."""
    raw = aim(crop(rgb, region, _CROP_SIDE))[0].reshape(2, 2)
    centre, rim = geometry.transform(raw, geometry.invert(to_crop(region, _CROP_SIDE)))
    return _shifted(_between(centre, rim, 1.0, towards=-1))


def _between(centre: Array, rim: Array, scale: float, *, towards: int) -> Region:
    """The square around the circle about `centre` through `rim`; its up is towards (1) or away (-1)."""
    dx, dy = (float(d) for d in rim - centre)
    side = max(2 * scale * float(np.hypot(dx, dy)), 1.0)
    angle = float(np.arctan2(towards * dx, -towards * dy))
    return Region(float(centre[0]), float(centre[1]), side, angle)


def _shifted(region: Region) -> Region:
    step = _SHIFT * region.side
    return Region(
        region.x + step * float(np.sin(region.angle)),
        region.y - step * float(np.cos(region.angle)),
        region.side,
        region.angle,
    )
