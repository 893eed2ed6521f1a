"""What every part of a puppet looks like, also where the source picture does not show it."""

from __future__ import annotations

import cv2
import numpy as np

from dance.generators._puppet_figure import (
    CHEST,
    ENDS,
    FORE,
    HAND,
    HEAD,
    PELVIS,
    SHIN,
    THIGH,
    UPPER,
    Rest,
)
from dance.generators._puppet_parts import TRUNK, Parts, segment
from dance.skeleton import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER
from dance.types import Array

_THIGHS = (4, 8)
_PAD = 6  # transparent pixels around a texture, so that interpolation never reads beyond it


def texture(
    rgb: Array, alpha: Array, mine: Array, part: int, parts: Parts, rest: Rest, behind: Array | None
) -> tuple[tuple[Array, Array], Array]:
    """The premultiplied texture (h, w, 4) float32 of a part with its corner (x, y), and the pixels (H, W) it covers.

    behind: (H, W) bool, what of it has a back; the back's texture, as wide, then follows to the right.
    """
    hidden = _hidden(part, mine, parts, rest) & ~mine
    # A little of the neighbours it touches keeps the cut between two parts closed.
    rim = mine
    for _ in range(2):
        rim = rim | (cv2.dilate(rim.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & (
            alpha > 0.5
        )
    covered = mine | hidden | rim
    ys, xs = np.nonzero(covered)
    top, left = max(0, ys.min() - 2), max(0, xs.min() - 2)
    bottom, right = ys.max() + 3, xs.max() + 3
    window = np.s_[top:bottom, left:right]
    a = alpha[window]
    # Right beside what hides the part its colours are mixed with those in front.
    mixed = cv2.dilate(hidden[window].astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    known = mine[window] & (a > 0.95) & ~mixed
    if known.sum() < 8:
        known = mine[window]
    filled = spread_colours(rgb[window].astype(np.float32) / 255, known)
    opaque = np.where(hidden[window], 1.0, a)
    soft = cv2.GaussianBlur(covered[window].astype(np.float32), (0, 0), 0.8)
    opaque = (opaque * soft).astype(np.float32)
    out = np.dstack([filled * opaque[..., None], opaque])
    corner = np.array([left - _PAD, top - _PAD])
    out = np.pad(out, ((_PAD, _PAD), (_PAD, _PAD), (0, 0))).astype(np.float32)
    if behind is not None:
        back = _head_back(out, rest, corner) if part == 1 else out
        kept: Array = cv2.dilate(
            (behind | hidden)[window].astype(np.float32), np.ones((5, 5), np.uint8)
        )
        kept = np.pad(cv2.GaussianBlur(kept, (0, 0), 0.8), _PAD)
        out = np.concatenate([out, back * kept[..., None]], 1)
    return (out, corner), covered & (alpha > 0.004) | hidden


def spread_colours(rgb: Array, known: Array) -> Array:
    """The picture (h, w, 3) float32 with what is not known filled smoothly from what is (pull and push)."""
    levels: list[tuple[Array, Array]] = [
        (np.where(known[..., None], rgb, 0).astype(np.float32), known.astype(np.float32))
    ]
    while min(levels[-1][1].shape) > 1:
        colour, weight = levels[-1]
        down = cv2.pyrDown(weight)
        mixed = cv2.pyrDown(colour * weight[..., None]) / np.maximum(down, 1e-6)[..., None]
        levels.append((mixed, np.minimum(1.0, down * 4)))
    out = levels[-1][0]
    for colour, weight in reversed(levels[:-1]):
        up = cv2.pyrUp(out, dstsize=(colour.shape[1], colour.shape[0]))
        out = up + (colour - up) * np.minimum(1.0, weight)[..., None]
    return np.asarray(np.where(known[..., None], rgb, np.clip(out, 0, 1)))


def _hidden(part: int, mine: Array, parts: Parts, rest: Rest) -> Array:
    """Pixels (H, W) where the part must be, but the picture shows something in front of it."""
    height, width = parts.label.shape
    hull = np.zeros((height, width), np.uint8)
    xyz = rest.figure.xyz
    arms = [segment(side, bone) for side in (0, 1) for bone in (UPPER, FORE, HAND)]
    before = np.isin(parts.label, arms)
    if part == 0 or part in _THIGHS:
        # A hand at the hip leaves a bay in what it covers.
        size = 2 * max(1, round(0.12 * rest.torso)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        hull |= cv2.morphologyEx(mine.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    if part == 0:
        down = rest.start[PELVIS] - rest.start[CHEST]
        aside = np.array([down[1], -down[0]]) / np.hypot(*down) * 0.06 * rest.torso
        sign = 1.0 if (xyz[LEFT_SHOULDER, :2] - xyz[RIGHT_SHOULDER, :2]) @ aside > 0 else -1.0
        corners = [
            xyz[LEFT_SHOULDER, :2], xyz[LEFT_HIP, :2] + 1.5 * sign * aside,
            xyz[RIGHT_HIP, :2] - 1.5 * sign * aside, xyz[RIGHT_SHOULDER, :2],
        ]  # fmt: skip
        cv2.fillPoly(hull, [np.rint(corners).astype(np.int32)], 1)
        if abs(rest.shoulders.imag) > abs(rest.shoulders.real):
            # From the side an arm hides much of a trunk whose joints lie on one line.
            ys, xs = np.nonzero(parts.label == TRUNK)
            if len(ys):
                points = cv2.convexHull(np.stack([xs, ys], -1).astype(np.int32))
                cv2.fillConvexPoly(hull, points, 1)
        return np.asarray((hull > 0) & before)
    for side in (0, 1):
        for bone, number in ((THIGH, 4 + 4 * side), (SHIN, 5 + 4 * side)):
            i = segment(side, bone)
            if part != number or not parts.present[i]:
                continue
            a, b = (np.rint(xyz[p, :2]).astype(int) for p in ENDS[6 * side + bone])
            cv2.line(hull, a.tolist(), b.tolist(), 1, max(1, round(1.8 * float(parts.radius[i]))))
            mine = xyz[list(ENDS[6 * side + bone]), 2].mean()
            for rival in (THIGH, SHIN):
                ends = list(ENDS[6 * (1 - side) + rival])
                if xyz[ends, 2].mean() < mine - 0.1 * rest.torso:
                    before = before | (parts.label == segment(1 - side, rival))
            return np.asarray((hull > 0) & before)
    return hull > 0


def _head_back(front: Array, rest: Rest, corner: Array) -> Array:
    """A texture for the back of the head: its outline, filled with the hair on top and, below, what its sides show."""
    alpha = front[..., 3]
    solid = alpha > 0.5
    rows = np.flatnonzero(solid.any(1))
    if len(rows) < 8:
        return front.copy()
    eyes = rest.start[HEAD][1] - corner[1]
    top = int(rows[0])
    brow = int(np.clip(eyes - 0.5 * (eyes - top), top + 4, rows[-1]))
    nape = int(np.clip(eyes + 0.55 * (eyes - top), brow, rows[-1]))
    colour = front[..., :3] / np.maximum(front[..., 3:], 1e-3)
    out = front.copy()
    at = np.arange(front.shape[1])
    for y in range(top, int(rows[-1]) + 1):
        here = np.flatnonzero(solid[y])
        if not len(here):
            continue
        u = np.clip((at - here.mean()) / max(1.0, np.ptp(here) / 2), -1, 1)
        if y <= nape:
            from_row = round(top + 1 + (y - top) / max(1, nape - top) * (brow - top - 1))
            source = np.flatnonzero(solid[from_row])
            if not len(source):
                continue
            place = source.mean() + 0.8 * u * np.ptp(source) / 2
            line = colour[from_row, np.clip(np.rint(place), 0, len(at) - 1).astype(int)]
        else:
            # Beside the face there is hair if it is long, else the skin of the neck.
            inset = max(1, round(0.06 * np.ptp(here)))
            left, right = colour[y, here[0] + inset], colour[y, here[-1] - inset]
            line = left + (u[:, None] + 1) / 2 * (right - left)
        out[y, :, :3] = line * alpha[y, :, None]
    # Rows taken one by one leave stripes.
    low = cv2.GaussianBlur(out, (0, 0), 1.2)
    return np.asarray(low * (alpha / np.maximum(low[..., 3], 1e-3))[..., None])
