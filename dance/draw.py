"""What people and generators are shown: sticks over a picture, heat maps of joints, words on a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dance import skeleton
from dance.types import Array, Pose, Size

# Okabe and Ito's palette for colour-blind readers (2008): the person's left is warm, the right cold.
LEFT_ARM, LEFT_LEG = (230, 159, 0), (213, 94, 0)
RIGHT_ARM, RIGHT_LEG = (86, 180, 233), (0, 114, 178)
MIDDLE, FACE = (240, 228, 66), (255, 255, 255)

# Points of the 68-point face that are joined: jaw, brows, nose, eyes and lips (closed rings).
_FACE_LINES: tuple[tuple[int, int, bool], ...] = (
    (0, 17, False), (17, 22, False), (22, 27, False), (27, 31, False), (31, 36, False),
    (36, 42, True), (42, 48, True), (48, 60, True), (60, 68, True),
)  # fmt: skip
_SHIFT = 3  # cv2 takes points in eighths of a pixel, so that slow motion is drawn smoothly


def sticks(
    rgb: Array, pose: Pose, *, threshold: float = 0.05, thickness: int | None = None
) -> Array:
    """The picture (H, W, 3) with the pose drawn over it, nearest limbs last; joints scored up to `threshold` are left out."""
    out = np.ascontiguousarray(rgb).copy()
    height, width = out.shape[:2]
    line = thickness or max(2, round(min(height, width) / 150))
    seen = pose.score > threshold
    # Far-off points would overflow cv2's fixed point; where the line leaves the picture hardly moves.
    reach = 8 * max(height, width)
    scaled = np.round(np.clip(pose.xy, -reach, reach) * (1 << _SHIFT)).astype(np.int32)
    points: list[list[int]] = scaled.tolist()

    limbs = [(a, b) for a, b in skeleton.LIMBS if seen[a] and seen[b]]
    depth = pose.depth
    if depth is not None:
        limbs.sort(key=lambda ab: -float(depth[ab[0]] + depth[ab[1]]))
    for a, b in limbs:
        colour = limb_colour(a, b)
        cv2.line(out, points[a], points[b], (0, 0, 0), line + 2, cv2.LINE_AA, _SHIFT)
        cv2.line(out, points[a], points[b], colour, line, cv2.LINE_AA, _SHIFT)
    for joint in np.flatnonzero(seen[: skeleton.FEET_SLICE.stop]):
        _dot(out, points[joint], (line + 1) / 1.5, limb_colour(int(joint), int(joint)))

    thin = max(1, line // 2)
    for part, colour in (
        (skeleton.LEFT_HAND_SLICE, LEFT_ARM),
        (skeleton.RIGHT_HAND_SLICE, RIGHT_ARM),
    ):
        for a, b in skeleton.HAND_LIMBS:
            a, b = part.start + a, part.start + b
            if seen[a] and seen[b]:
                cv2.line(out, points[a], points[b], colour, thin, cv2.LINE_AA, _SHIFT)
    face = scaled[skeleton.FACE_SLICE]
    face_seen = seen[skeleton.FACE_SLICE]
    for first, end, closed in _FACE_LINES:
        if face_seen[first:end].all():
            cv2.polylines(out, [face[first:end]], closed, FACE, 1, cv2.LINE_AA, _SHIFT)
    if not face_seen.all():
        for point in face[face_seen].tolist():
            _dot(out, point, thin, FACE)
    return out


def limb_colour(a: int, b: int) -> tuple[int, int, int]:
    """The colour of the limb between two joints: warm on the person's left, cold on the right, yellow across."""
    sides = {skeleton.NAMES[joint].split("_")[0] for joint in (a, b)}
    leg = max(a, b) >= skeleton.LEFT_KNEE
    if sides == {"left"}:
        return LEFT_LEG if leg else LEFT_ARM
    if sides == {"right"}:
        return RIGHT_LEG if leg else RIGHT_ARM
    return MIDDLE


def text(
    rgb: Array, words: str, *, at: tuple[int, int] = (0, 0), height: int | None = None
) -> Array:
    """The picture with white outlined words, their top left corner at `at` (x, y) inside a margin.

    height: of a capital letter in pixels; by default one 36th of the picture's height, at least 11. Words too long for
    the picture are set smaller. Letters beyond ASCII, which not every OpenCV can draw, become "?".
    """
    out = np.ascontiguousarray(rgb).copy()
    letters = height or max(11, round(out.shape[0] / 36))
    margin = letters // 2
    ink = _lettering(words.encode("ascii", "replace").decode(), letters)
    room = out.shape[1] - at[0] - 2 * margin
    if ink.shape[1] > room > 0:
        high = max(1, round(ink.shape[0] * room / ink.shape[1]))
        ink = cv2.resize(ink, (room, high), interpolation=cv2.INTER_AREA)
    left, top = at[0] + margin, at[1] + margin
    under = out[top : top + ink.shape[0], left : left + ink.shape[1]]
    ink = ink[: under.shape[0], : under.shape[1]]
    if ink.size:
        edge = cv2.dilate(ink, np.ones((3, 3), np.uint8), iterations=max(1, letters // 12))
        shaded = under * (1 - edge[..., None] / 255.0)
        under[:] = np.maximum(shaded, ink[..., None])
    return out


def _lettering(words: str, letters: int) -> Array:
    """The words as (H, W) uint8 ink, capitals `letters` high, with room for an outline and for descenders."""
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, letters / 21.0  # capitals are 21 high at scale 1
    weight = max(1, round(letters / 9))
    (length, _), _ = cv2.getTextSize(words, font, scale, weight)
    room = max(2, letters // 4)
    ink = np.zeros((letters + letters // 2 + 2 * room, length + 2 * room), np.uint8)
    cv2.putText(ink, words, (room, room + letters), font, scale, 255, weight, cv2.LINE_AA)
    return ink


def discs(xy: Array, score: Array, size: Size, radius: float, edge: float = 0.0) -> Array:
    """One map per joint (J, H, W) float32: 1 within `radius` pixels of the joint, else 0; empty for unseen joints.

    edge: over so many pixels, half of them within the radius, it falls from 1 to 0.
    """
    apart = _squared_distances(xy, size)
    if not edge:
        return np.asarray((apart <= radius * radius) * _shown(score), np.float32)
    inside = np.clip(0.5 + (radius - np.sqrt(apart)) / edge, 0, 1)
    return np.asarray(inside * _shown(score), np.float32)


def gaussians(xy: Array, score: Array, size: Size, sigma: float) -> Array:
    """One map per joint (J, H, W) float32: exp(-d^2 / (2 sigma^2)) of the distance d in pixels; empty for unseen joints."""
    squared = _squared_distances(xy, size)
    return np.exp(-squared / (2 * sigma * sigma)).astype(np.float32) * _shown(score)


def _squared_distances(xy: Array, size: Size) -> Array:
    height, width = size
    dx = np.arange(width, dtype=np.float32) - xy[:, :1]
    dy = np.arange(height, dtype=np.float32) - xy[:, 1:]
    return np.asarray(dy[:, :, None] ** 2 + dx[:, None, :] ** 2)


def _shown(score: Array) -> Array:
    return np.asarray((score > 0).astype(np.float32)[:, None, None])


def _dot(out: Array, point: Sequence[int], radius: float, colour: tuple[int, int, int]) -> None:
    scaled = round(radius * (1 << _SHIFT))
    cv2.circle(out, point, scaled, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
