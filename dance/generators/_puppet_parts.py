"""Cuts a person's matte into segments of the body, along the silhouette and the edges in the picture."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from dance.generators._puppet_figure import (
    ENDS,
    FOOT,
    FORE,
    HAND,
    SHIN,
    THIGH,
    UPPER,
    Figure,
    Rest,
    middle,
)
from dance.skeleton import (
    LEFT_EAR,
    LEFT_EYE,
    LEFT_HEEL,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_SMALL_TOE,
    NOSE,
    RIGHT_EAR,
    RIGHT_EYE,
    RIGHT_HEEL,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_SMALL_TOE,
)
from dance.types import Array

TRUNK, HEAD = 0, 1
SEGMENTS = 14

# Half widths of dressed limbs, in torso lengths: where the matte shows none, and as the limit of what it shows.
_HALF = {UPPER: 0.115, FORE: 0.085, HAND: 0.085, THIGH: 0.17, SHIN: 0.115, FOOT: 0.1}
_EDGE = 14.0  # how much further an edge of full contrast is than a plain pixel
_HANDS = (4, 10)  # segments
_STRANGE = 11.0  # Lab units (lightness counts little) from an arm's colour


def segment(side: int, bone: int) -> int:
    """The number of a limb's segment; trunk is 0, head 1."""
    return 2 + 6 * side + bone


@dataclass(frozen=True, slots=True)
class Parts:
    """Which segment every pixel belongs to.

    label: (h, w) int8, -1 outside.  radius: (14,) half width of every segment in pixels.
    present: (14,) bool, whether the segment's bone is seen in the picture.
    skirt: (h, w) bool, the thighs' pixels that are one piece of cloth.
    """

    label: Array
    radius: Array
    present: Array
    skirt: Array


def cut(rgb: Array, alpha: Array, rest: Rest) -> Parts:
    """The parts of a matte (h, w) in [0, 1] over a picture (h, w, 3) uint8; the rest is in its pixels."""
    figure, torso = rest.figure, rest.torso
    inside = alpha > 0.5
    present = _present(figure)
    radius = _radii(inside, figure, torso, present)
    seeds = _seeds(alpha.shape, figure, torso, radius, present)
    domain = cv2.dilate((alpha > 0.02).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    smooth = cv2.bilateralFilter(np.ascontiguousarray(rgb), 7, 30, 3)
    colour = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    label = _spread(
        np.where(inside, seeds, -1).astype(np.int8), domain, inside, colour, _EDGE / 100
    )
    label[~domain] = -1
    _trim(label, colour, figure, torso, radius)
    _drop_crumbs(label)
    return Parts(label, radius, present, _skirt(label, colour, inside, figure, torso))


def _present(figure: Figure) -> Array:
    present = np.ones(SEGMENTS, bool)
    for side in (0, 1):
        for bone in range(6):
            a, b = ENDS[6 * side + bone]
            present[segment(side, bone)] = figure.seen[a] and (
                figure.seen[b] or bone in (HAND, FOOT)
            )
    return present


def _radii(inside: Array, figure: Figure, torso: float, present: Array) -> Array:
    """Half widths: from the bone to the nearer side of the matte, in the middle of the bone's length."""
    radius = np.zeros(SEGMENTS)
    radius[TRUNK], radius[HEAD] = 0.3 * torso, 0.2 * torso
    height, width = inside.shape
    steps = np.arange(1, max(2, int(0.5 * torso)))
    for side in (0, 1):
        for bone in range(6):
            typical = _HALF[bone] * torso
            i = segment(side, bone)
            radius[i] = typical
            a, b = (figure.xyz[p, :2] for p in ENDS[6 * side + bone])
            axis = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
            if not present[i] or bone in (HAND, FOOT) or np.hypot(*(b - a)) < typical:
                continue
            normal = np.array([-axis[1], axis[0]])
            found = []
            for share in np.linspace(0.35, 0.85, 9):
                centre = a + share * (b - a)
                reach = []
                for sign in (1, -1):
                    at = np.rint(centre + sign * steps[:, None] * normal).astype(int)
                    ok = (
                        (at[:, 0] >= 0) & (at[:, 0] < width) & (at[:, 1] >= 0) & (at[:, 1] < height)
                    )
                    hit = np.zeros(len(at), bool)
                    hit[ok] = inside[at[ok, 1], at[ok, 0]]
                    reach.append(len(steps) if hit.all() else int(np.argmin(hit)))
                # A joint beside the middle of its limb: the limb is as wide as both sides say, if both are free.
                wide = sum(reach) / 2
                found.append(wide if wide < 1.5 * typical else min(*reach, 1.1 * typical))
            radius[i] = float(np.clip(np.median(found), 0.5 * typical, 1.6 * typical))
        radius[segment(side, HAND)] = max(radius[segment(side, FORE)], 0.7 * _HALF[HAND] * torso)
    return radius


def _seeds(
    shape: tuple[int, int], figure: Figure, torso: float, radius: Array, present: Array
) -> Array:
    """(h, w) int8: pixels that surely belong to a segment if they are the person's, else -1."""
    seeds = np.full(shape, -1, np.int8)
    xyz = figure.xyz
    chest = middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)[:2]
    hips = middle(xyz, LEFT_HIP, RIGHT_HIP)[:2]

    def line(points: list[Array], thickness: float, value: int) -> None:
        pixels = np.rint(np.array(points) * 8).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(seeds, [pixels], False, value, max(1, round(thickness)), cv2.LINE_8, 3)

    corners = [
        xyz[p, :2] + share * (centre - xyz[p, :2])
        for p, centre, share in (
            (LEFT_SHOULDER, chest, 0.3), (RIGHT_SHOULDER, chest, 0.3),
            (RIGHT_HIP, hips, 0.1), (LEFT_HIP, hips, 0.1),
        )
    ]  # fmt: skip
    # From the side the joints of a trunk lie on one line: it is never thinner than this.
    down = (hips - chest) / max(float(np.hypot(*(hips - chest))), 1e-6)
    aside = np.array([down[1], -down[0]])
    for pair in ((0, 1), (3, 2)):
        a, b = (corners[i] for i in pair)
        centre, half = (a + b) / 2, (a - b) / 2
        width = float(aside @ half)
        wider = (0.15 * torso - abs(width)) * (1.0 if width >= 0 else -1.0)
        if wider * (1.0 if width >= 0 else -1.0) > 0:
            half = half + wider * aside
            corners[pair[0]], corners[pair[1]] = centre + half, centre - half
    trunk_depth = (
        xyz[LEFT_SHOULDER, 2] + xyz[RIGHT_SHOULDER, 2] + xyz[LEFT_HIP, 2] + xyz[RIGHT_HIP, 2]
    ) / 4

    def draw_trunk() -> None:
        cv2.fillPoly(seeds, [np.rint(corners).astype(np.int32)], TRUNK)
        line([*corners, corners[0]], 0.04 * torso, TRUNK)

    def draw_head() -> None:
        face = (middle(xyz, LEFT_EAR, RIGHT_EAR) + middle(xyz, LEFT_EYE, RIGHT_EYE) + xyz[NOSE])[
            :2
        ] / 3
        cv2.circle(seeds, tuple(int(v) for v in np.rint(face)), round(0.13 * torso), HEAD, -1)

    # Far segments first, so that what is in front of the trunk is not taken for it.
    drawing = [(float(trunk_depth), draw_trunk), (float(xyz[NOSE, 2]), draw_head)]
    for side in (0, 1):
        for bone in range(6):
            i = segment(side, bone)
            if not present[i]:
                continue
            a, b = (xyz[p, :2] for p in ENDS[6 * side + bone])
            thick = 2 * 0.55 * float(radius[i])
            if bone == UPPER:
                a = a + 0.4 * (b - a)
            elif bone == THIGH:
                a = a + 0.3 * (b - a)
            elif bone in (FORE, SHIN):
                a = a + 0.12 * (b - a)
            elif bone == HAND:
                a, b = a + 0.35 * (b - a), a + 1.2 * (b - a)
                thick = 1.3 * thick
            points = [a, b]
            if bone == FOOT:
                heel, toe = (
                    (LEFT_HEEL, LEFT_SMALL_TOE) if side == 0 else (RIGHT_HEEL, RIGHT_SMALL_TOE)
                )
                points = [xyz[heel, :2], b, xyz[toe, :2]]
                thick = 0.5 * thick
            ends = ENDS[6 * side + bone]
            # Arms hanging at the side are as deep as the trunk: in doubt they are in front.
            near = torso * {UPPER: 0.12, FORE: 0.2, HAND: 0.3}.get(bone, 0.0)
            depth = float(xyz[ends[0], 2] + xyz[ends[1], 2]) / 2 - near

            # Beside an arm's core the edges in the picture tell it from the trunk behind it.
            band = 2.3 * thick if bone in (UPPER, FORE) else 2.0 * thick if bone == HAND else 0.0

            def draw_limb(
                points: list[Array] = points, thick: float = thick, i: int = i, band: float = band
            ) -> None:
                if band:
                    reach = [
                        points[0],
                        points[1] + (0.5 * (points[1] - points[0]) if i in _HANDS else 0),
                    ]
                    line(reach, band, -1)
                line(points, thick, i)

            drawing.append((depth, draw_limb))
    for _, draw in sorted(drawing, key=lambda item: -item[0]):
        draw()
    return seeds


def _skirt(label: Array, colour: Array, inside: Array, figure: Figure, torso: float) -> Array:
    """The thighs above the hem of a skirt or coat, else nothing.

    Where the thighs touch, cloth that ends on both sides of the seam at once is one piece: what
    follows below is skin, other cloth or background. Trousers go on below.
    """
    height, width = label.shape
    nothing = np.zeros((height, width), bool)
    left, right = segment(0, THIGH), segment(1, THIGH)
    touch = np.isin(label[:, :-1], (left, right)) & np.isin(label[:, 1:], (left, right))
    touch &= (label[:, :-1] != label[:, 1:]) & inside[:, :-1] & inside[:, 1:]
    ys, xs = np.nonzero(touch)
    hips = (figure.xyz[LEFT_HIP, 1] + figure.xyz[RIGHT_HIP, 1]) / 2
    if not len(ys) or ys.max() - hips < 0.3 * torso:
        return nothing
    hem, seam = int(ys.max()), int(xs[np.argmax(ys)])
    ended = 0
    for side in (-1, 1):
        x = int(np.clip(seam + side * 0.09 * torso, 0, width - 1))
        above = int(max(0, hem - 0.07 * torso))
        change = []
        for drop in (0.06, 0.1, 0.14, 0.18):
            below = int(hem + drop * torso)
            if below >= height:
                return nothing
            away = colour[below, x] - colour[above, x]
            change.append(not inside[below, x] or float(np.sqrt((away**2).sum())) > 25)
        ended += any(change[:2]) and change[-1]
    if ended < 2:
        return nothing
    cloth = np.isin(label, (left, right))
    cloth[hem + round(0.06 * torso) :] = False
    return cloth


def _trim(label: Array, colour: Array, figure: Figure, torso: float, radius: Array) -> None:
    """Takes from arms what is no arm: mattes often keep the background between an arm and the trunk.

    What is farther from the bone than an arm is thick stays only if it has the colour the arm has at
    that place along the bone (wide sleeves do). Changes the labels in place.
    """
    for side in (0, 1):
        for bone in (UPPER, FORE, HAND):
            i = segment(side, bone)
            a, b = (figure.xyz[p, :2] for p in ENDS[6 * side + bone])
            length = float(np.hypot(*(b - a)))
            ys, xs = np.nonzero(label == i)
            half = min(float(radius[i]), _HALF[bone] * torso)
            if len(ys) < 30 or length < 2 * half:
                continue
            axis = (b - a) / length
            along = (xs - a[0]) * axis[0] + (ys - a[1]) * axis[1]
            beside = np.abs((ys - a[1]) * axis[0] - (xs - a[0]) * axis[1])
            place = np.clip((along / length * 12).astype(int), 0, 11)
            # What is farther off hangs from the hand, like a bag.
            at_hand = (beside < 3 * half) & (along < 1.5 * length)
            tint = colour[ys, xs] * np.array([0.3, 1.0, 1.0], np.float32)
            core = beside < 0.6 * half
            strange = np.zeros(len(ys), bool)
            for k in range(12):
                near = core & (np.abs(place - k) <= 1)
                if near.sum() >= 8:
                    here = (place == k) & (beside > half) & at_hand
                    usual = np.median(tint[near], 0)
                    # Patterned cloth has no colour of its own: nothing is strange to it.
                    spread = float(np.median(np.sqrt(((tint[near] - usual) ** 2).sum(1))))
                    away = np.sqrt(((tint[here] - usual) ** 2).sum(1))
                    strange[here] = away > max(_STRANGE, 2 * spread)
            cut_off: Array = np.zeros(label.shape, np.uint8)
            cut_off[ys[strange], xs[strange]] = 1
            # Thin rims are soft edges, not background.
            disc = np.ones((max(3, round(0.03 * torso)),) * 2, np.uint8)
            cut_off = cv2.morphologyEx(
                cv2.morphologyEx(cut_off, cv2.MORPH_CLOSE, disc), cv2.MORPH_OPEN, disc
            )
            label[(cut_off > 0) & (label == i)] = -1


def _drop_crumbs(label: Array) -> None:
    """Takes away the small pieces of a segment that lie apart from it, in place."""
    for i in range(SEGMENTS):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((label == i).astype(np.uint8))
        areas = stats[1:, cv2.CC_STAT_AREA]
        for piece in range(1, count):
            if areas[piece - 1] < 0.05 * areas.max():
                label[pieces == piece] = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _spread(seeds: Array, domain: Array, inside: Array, colour: Array, edge: float) -> Array:
    """Every pixel of the domain takes the label of the seed nearest along paths inside it (Dijkstra)."""
    height, width = seeds.shape
    label = seeds.copy()
    cost = np.full((height, width), np.float32(1e30), np.float32)
    heap = [(np.float32(0.0), 0, 0)]
    heap.pop()
    for y in range(height):
        for x in range(width):
            if seeds[y, x] >= 0:
                cost[y, x] = 0.0
                heapq.heappush(heap, (np.float32(0.0), y, x))
    while len(heap) > 0:
        reached, y, x = heapq.heappop(heap)
        if reached > cost[y, x]:
            continue
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                v, u = y + dy, x + dx
                if (dy == 0 and dx == 0) or v < 0 or u < 0 or v >= height or u >= width:
                    continue
                if not domain[v, u]:
                    continue
                length = 1.0 if dx == 0 or dy == 0 else 1.4142
                if inside[v, u] and inside[y, x]:
                    change = 0.0
                    for c in range(3):
                        change += abs(colour[v, u, c] - colour[y, x, c])
                    length *= 1.0 + edge * change
                else:
                    length *= 30.0  # the soft rim belongs to what it surrounds, it is no bridge
                onward = np.float32(reached + length)
                if onward < cost[v, u]:
                    cost[v, u] = onward
                    label[v, u] = label[y, x]
                    heapq.heappush(heap, (onward, v, u))
    return label
