"""Everybody Dance Now's stick pictures: what its networks are shown, in training and when drawing.

Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019), and the published drawing's numbers: on a white
picture 1080 high, with 4 pixels of half limb width, then resized with Lanczos to what the network takes.
Here the same drawing is made for any size, every stroke in proportion to the picture's height.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from dance import skeleton as sk
from dance.config import Options
from dance.types import Array, Pose, Size

Joints = Literal[18, 23, 25]
FacePoints = Literal[0, 8, 9, 22]

PUBLISHED_HEIGHT = 1080  # what every published stroke is measured in
_JOINT, _LIMB, _FACE, _KNUCKLE, _FINGER = 8, 4, 4, 3, 2  # radii and half widths
_FACE_DOT, _FACE_LINE = 2, 1
_SURE_HAND, _SURE_FACE = 0.05, 0.2
_FINE = 4  # bits of a pixel that points are drawn at

# The colour (R, G, B) of every joint.
_COLOURS: dict[int, tuple[tuple[float, float, float], ...]] = {
    18: (
        (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (0, 255, 170), (0, 255, 85),
        (0, 255, 0), (85, 255, 0), (170, 255, 0), (255, 255, 0), (255, 170, 0), (255, 85, 0),
        (255, 0, 0), (255, 0, 85), (255, 0, 170), (255, 0, 255), (170, 0, 255), (85, 0, 255),
    ),
    23: (
        (0, 0, 255), (0, 55, 255), (0, 110, 255), (0, 165, 255), (0, 215, 255), (0, 235, 255),
        (0, 255, 255), (0, 0, 255), (0, 255, 175), (0, 255, 85), (0, 255, 0), (85, 255, 0),
        (170, 255, 0), (128, 25, 25), (255, 85, 0), (255, 170, 0), (255, 212.5, 0), (255, 255, 0),
        (0, 0, 255), (255, 0, 255), (238, 130, 238), (226, 43, 138), (130, 0, 75),
    ),
    25: (
        (85, 0, 255), (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (0, 255, 170),
        (0, 255, 85), (0, 255, 0), (0, 0, 255), (85, 255, 0), (170, 255, 0), (255, 255, 0),
        (255, 170, 0), (255, 85, 0), (255, 0, 0), (170, 0, 255), (255, 0, 170), (255, 0, 255),
        (255, 0, 85), (255, 0, 0), (255, 0, 0), (255, 0, 0), (255, 255, 0), (255, 255, 0),
        (255, 255, 0),
    ),
}  # fmt: skip
# Drawn in this order, in the colour of the first joint.
_LIMBS: dict[int, tuple[tuple[int, int], ...]] = {
    18: (
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
        (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
    ),
    23: (
        (0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (10, 11),
        (10, 12), (7, 13), (13, 14), (14, 15), (15, 16), (15, 17), (0, 18), (18, 19), (19, 20),
        (18, 21), (21, 22),
    ),
    25: (
        (0, 1), (0, 15), (0, 16), (1, 2), (1, 5), (1, 8), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9),
        (8, 12), (9, 10), (10, 11), (11, 22), (11, 24), (12, 13), (13, 14), (14, 19), (14, 21),
        (15, 17), (16, 18), (19, 20), (22, 23),
    ),
}  # fmt: skip
COLOURS_18, LIMBS_18 = _COLOURS[18], _LIMBS[18]
_HAND_COLOURS = (
    (40, 53, 230), (64, 115, 231), (31, 136, 233), (13, 160, 213), (19, 200, 217), (35, 210, 170),
    (48, 228, 139), (45, 214, 83), (46, 192, 77), (133, 213, 83), (190, 223, 82), (197, 184, 80),
    (189, 140, 78), (208, 112, 86), (217, 73, 83), (183, 46, 123), (255, 102, 189), (232, 83, 218),
    (189, 65, 229), (141, 61, 236), (145, 102, 255),
)  # fmt: skip
# Each finger from its base to its tip, then the wrist to its base; in the colour of the second point.
_HAND_LIMBS = tuple(
    pair
    for base in (1, 5, 9, 13, 17)
    for pair in ((base, base + 1), (base + 1, base + 2), (base + 2, base + 3), (0, base))
)
_EIGHT = (27, 30, 8, 0, 16, 33, 68, 69)
_FACE_POINTS: dict[int, tuple[int, ...]] = {
    0: (),
    8: _EIGHT,
    9: (*_EIGHT, 62),
    22: (
        27, 30, 8, 0, 16, 31, 33, 35, 68, 69, 36, 39, 42, 45, 17, 21, 22, 26, 48, 51, 54, 57,
    ),
}  # fmt: skip
# Jaw, brows, nose, eyes and lips; the inner lips' last point is passed over, as published.
_FACE_LINES = tuple(
    pair
    for line in (
        range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36),
        (*range(36, 42), 36), (*range(42, 48), 42), (*range(48, 60), 48), (*range(60, 67), 60),
    )
    for pair in pairwise(line)
)  # fmt: skip


class LabelOptions(Options):
    """What the sticks show."""

    joints: Joints = Field(
        25, description="body joints: 25 or 18 of OpenPose, or 23 (without heels)"
    )
    hands: bool = Field(True, description="whether fingers are drawn")
    face: FacePoints = Field(8, description="how many points of the face are drawn: 0, 8, 9 or 22")
    detail: float = Field(2.0, ge=1, description="how much larger than needed the sticks are drawn")


def label(pose: Pose, size: Size, picture: Size, options: LabelOptions) -> Array:
    """The pose as EDN's label of (height, width) `size`: (H, W, 3) uint8 RGB, white where nothing is.

    The pose is in pixels of that size; `picture` is the (height, width) of the pictures the size is made from,
    whose proportions the strokes keep, as published labels are drawn before they are squeezed.
    """
    height, width = (
        round(size[0] * options.detail),
        round(size[0] * options.detail * picture[1] / picture[0]),
    )
    stretch = np.array([width / size[1], height / size[0]])
    # A pixel's centre is at a whole number, so that it moves by half a pixel more than its size.
    xy = (np.asarray(pose.xy, np.float64) + 0.5) * stretch - 0.5
    body, hands, face = _openpose(xy, np.asarray(pose.score, np.float64), options.joints)
    canvas = np.full((height, width, 3), 255, np.uint8)
    stroke = height / PUBLISHED_HEIGHT
    draw_body(canvas, body, stroke=stroke, fine=_FINE)
    if options.face:
        draw_face(canvas, face, options.face, stroke=stroke, fine=_FINE)
    if options.hands:
        for hand in hands:
            draw_hand(canvas, hand, stroke=stroke, fine=_FINE)
    return resize(canvas, size)


def resize(canvas: Array, size: Size) -> Array:
    """The drawing (H, W, 3) uint8 with Lanczos at (height, width) `size`."""
    small = Image.fromarray(canvas).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(small)


def draw_body(canvas: Array, points: Array, *, stroke: float = 1.0, fine: int = 0) -> None:
    """Draws 18, 23 or 25 joints (J, 3) of x, y, confidence into (H, W, 3) uint8; those of confidence 0 are left out.

    stroke: 1 for the published widths in pixels.  fine: bits of a pixel points are rounded to, 0 as published.
    """
    colours, seen = _COLOURS[len(points)], points[:, 2] > 0
    for point, colour, shown in zip(points, colours, seen, strict=True):
        if shown:
            _disc(canvas, point, _breadth(_JOINT, stroke), colour, fine)
    for a, b in _LIMBS[len(points)]:
        if seen[a] and seen[b]:
            _limb(canvas, points[a], points[b], _breadth(_LIMB, stroke), colours[a], fine)


def draw_face(
    canvas: Array, points: Array, count: int, *, stroke: float = 1.0, fine: int = 0
) -> None:
    """Draws 8, 9 or 22 of 70 face points (70, 3) in black, where they are confident on the whole."""
    if points[:, 2].mean() < _SURE_FACE:
        return
    for i in _FACE_POINTS[count]:
        if points[i, 2] > 0:
            _disc(canvas, points[i], _breadth(_FACE, stroke), (0, 0, 0), fine)


def draw_hand(canvas: Array, points: Array, *, stroke: float = 1.0, fine: int = 0) -> None:
    """Draws the confident ones of 21 points (21, 3) of a hand."""
    seen = points[:, 2] > _SURE_HAND
    for point, colour, shown in zip(points, _HAND_COLOURS, seen, strict=True):
        if shown:
            _disc(canvas, point, _breadth(_KNUCKLE, stroke), colour, fine)
    for a, b in _HAND_LIMBS:
        if seen[a] and seen[b]:
            _limb(canvas, points[a], points[b], _breadth(_FINGER, stroke), _HAND_COLOURS[b], fine)


def draw_face_dots(canvas: Array, points: Array) -> None:
    """Draws all confident ones of 70 face points (70, 3) as small black dots."""
    for point in points[points[:, 2] > 0]:
        _disc(canvas, point, _FACE_DOT, (0, 0, 0), 0)


def draw_face_lines(canvas: Array, points: Array) -> None:
    """Draws the outlines through 70 face points (70, 3) in white, for looking at, on a black canvas."""
    seen, white = points[:, 2] > 0, (255, 255, 255)
    for point in points[seen]:
        _disc(canvas, point, _FACE_DOT, white, 0)
    for a, b in _FACE_LINES:
        if seen[a] and seen[b]:
            _limb(canvas, points[a], points[b], _FACE_LINE, white, 0)


def published_face_anchor(points: Array) -> Array | None:
    """Where the face is by 18, 23 or 25 joints (J, 3): the nose, else the middle of the ears, else an ear; (x, y)."""
    nose, *ears = {18: (0, 16, 17), 23: (18, 20, 22), 25: (0, 17, 18)}[len(points)]
    if points[nose, 2] > 0:
        return np.asarray(points[nose, :2])
    seen = [points[ear, :2] for ear in ears if points[ear, 2] > 0]
    return np.asarray(np.mean(seen, axis=0)) if seen else None


def published_face_box(
    points: Array, canvas: Size, size: Size, side: int
) -> tuple[int, int, int, int] | None:
    """The published face square (top, bottom, left, right) in a picture of `size`; None without a face.

    points: joints (J, 3) in pixels of the canvas. A square of 140 pixels of a 1080 high canvas is clipped,
    brought to `size`, then grown or shrunk to `side`. What is drawn here uses `geometry.face_box`.
    """
    anchor = published_face_anchor(points)
    if anchor is None:
        return None
    half = 70 * canvas[0] / PUBLISHED_HEIGHT
    box = []
    for axis in (0, 1):
        low, high = anchor[1 - axis] - half, anchor[1 - axis] + half
        box += [
            int(value * size[axis] / canvas[axis])
            for value in (max(0.0, low), min(float(canvas[axis]), high))
        ]
    return square(box, size, side)


def square(box: Sequence[int], size: Size, side: int) -> tuple[int, int, int, int]:
    """The box (top, bottom, left, right) made `side` by `side` about its middle and pushed into the picture."""
    out = []
    for axis in (0, 1):
        low, high = int(box[2 * axis]), int(box[2 * axis + 1])
        end = high + (side - (high - low)) // 2
        start = min(max(end - side, 0), size[axis] - side)
        out += [start, start + side]
    top, bottom, left, right = out
    return top, bottom, left, right


def _openpose(xy: Array, score: Array, joints: int) -> tuple[Array, tuple[Array, Array], Array]:
    """133 joints as body (J, 3), right and left hand (21, 3), and 70 face points."""
    order = sk.OPENPOSE_18 if joints == 18 else sk.OPENPOSE_25
    points, scores = sk.to_openpose(xy, score, order)
    body = np.concatenate([points, scores[:, None]], 1)
    every = np.concatenate([xy, score[:, None]], 1)
    face = every[sk.FACE_SLICE]
    pupils = [np.append(eye[:, :2].mean(0), eye[:, 2].min()) for eye in (face[36:42], face[42:48])]
    hands = every[sk.RIGHT_HAND_SLICE], every[sk.LEFT_HAND_SLICE]
    return (
        body[list(sk.BODY_23_FROM_25)] if joints == 23 else body,
        hands,
        np.vstack([face, pupils]),
    )


def _breadth(published: float, stroke: float) -> float:
    """A radius at another scale. What cv2 fills reaches half a pixel beyond, which is to scale with the rest."""
    return max(0.0, (published + 0.5) * stroke - 0.5)


def _disc(
    canvas: Array, point: Array, radius: float, colour: tuple[float, float, float], fine: int
) -> None:
    x, y = _places(point, canvas, fine)
    grain = 1 << fine
    cv2.circle(canvas, (x, y), round(radius * grain), colour, cv2.FILLED, cv2.LINE_8, fine)


def _limb(
    canvas: Array, a: Array, b: Array, width: float, colour: tuple[float, float, float], fine: int
) -> None:
    """An ellipse from one joint to the other, blended with what is there."""
    grain = 1 << fine
    dx, dy = a[0] - b[0], a[1] - b[1]
    middle = _places((a + b) / 2, canvas, fine)
    axes = (int(np.hypot(dx, dy) / 2 * grain), round(width * grain))
    angle = int(np.degrees(np.arctan2(dy, dx)))
    outline = np.asarray(cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1))
    low, high = outline.min(0) // grain - 1, outline.max(0) // grain + 3
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, canvas.shape[1::-1])
    if left >= right or top >= bottom:
        return
    # Outside the ellipse blending changes nothing, so that only its box need be touched.
    part = canvas[top:bottom, left:right]
    filled = part.copy()
    cv2.fillConvexPoly(filled, outline - grain * np.array([left, top]), colour, cv2.LINE_8, fine)
    part[:] = cv2.addWeighted(part, 0.4, filled, 0.6, 0)


def _places(point: Array, canvas: Array, fine: int) -> tuple[int, int]:
    """The point in cv2's fixed-point pixels; far-off ones are brought nearer, where cv2 does not overflow."""
    limit = 8 * max(canvas.shape)
    x, y = np.clip(point[:2], -limit, limit) * (1 << fine)
    return int(x), int(y)
