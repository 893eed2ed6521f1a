"""How the bones of a puppet turn, stretch and shift so that the rest figure becomes a target figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dance.generators._puppet_figure import (
    BONES,
    CHEST,
    COLLARS,
    ENDS,
    FOOT,
    FORE,
    HAND,
    HEAD,
    PELVIS,
    SHIN,
    THIGH,
    UPPER,
    Figure,
    Rest,
    head_aside,
    limb,
    looking,
    middle,
    trunk_lines,
)
from dance.skeleton import (
    LEFT_EAR,
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_EAR,
    RIGHT_HIP,
    RIGHT_SHOULDER,
)
from dance.types import Array

_NOSE_REACH = 0.8  # how far the nose stands before the line of the ears, in ear-to-ear widths
# How far a face is turned -> how far it is drawn turned (radians): one picture of a face does not stand
# a profile, so turns are held back until the back of the head is to be seen.
_TURNED = np.radians([0, 30, 60, 95, 130, 180])
_SHOWN = np.radians([0, 24, 35, 42, 130, 180])


@dataclass(frozen=True, slots=True)
class Motion:
    """What every bone does. A rest point p with relief z goes, for one bone, to

        start + R(angle) stretch (p - rest start) + relief * z

    angle: (17,) radians, each near its parent's.  stretch: (17, 2, 2).  start, relief: (17, 2).
    away: (17, 3), how much farther from the camera a unit of x, y, z brings a point, for the trunk and head.
    """

    angle: Array
    stretch: Array
    start: Array
    relief: Array
    away: Array


def rotation(angle: Array | float) -> Array:
    """The rotation matrices (..., 2, 2) of angles."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _wrap(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def facing(rest: Rest, figure: Figure, scale: float) -> complex:
    """The trunk's turn about its axis from rest to figure, cos - i sin; cos < 0 is a back view."""
    return _turn(rest.shoulders, upright(rest, figure, scale))


def upright(rest: Rest, figure: Figure, scale: float) -> complex:
    """The line of the shoulders of a figure drawn `scale` times as large as the rest (see `across`)."""
    return _lines(rest, figure, scale)[0]


def _lines(rest: Rest, figure: Figure, scale: float) -> tuple[complex, complex]:
    """Shoulders and hips; where depths are unknown the nose tells to which side the trunk turned."""
    width = scale * float(rest.rods[2])
    shoulders, hips = trunk_lines(figure.xyz, width)
    if figure.flat:
        hidden = 0.8 * float(np.sqrt(max(0.0, width**2 - shoulders.real**2)))
        hidden *= -float(np.tanh(looking(figure.xyz)[0].imag / (0.1 * scale * rest.torso)))
        shoulders, hips = complex(shoulders.real, hidden), complex(hips.real, 0.6 * hidden)
    return shoulders, hips


def _turn(was: complex, now: complex) -> complex:
    turn = now * was.conjugate()
    return turn / abs(turn) if abs(turn) > 1e-6 else 1 + 0j


def move(rest: Rest, figure: Figure, scale: float, flips: tuple[bool, bool]) -> Motion:
    """The motion from rest to figure, drawn `scale` times as large; flips: which feet are mirrored."""
    xyz = figure.xyz
    angle, start = np.zeros(BONES), np.zeros((BONES, 2))
    stretch = np.zeros((BONES, 2, 2))
    relief, away = np.zeros((BONES, 2)), np.zeros((BONES, 3))

    chest, hips = (
        middle(xyz, LEFT_SHOULDER, RIGHT_SHOULDER)[:2],
        middle(xyz, LEFT_HIP, RIGHT_HIP)[:2],
    )
    spine = hips - chest
    if np.hypot(*spine) < 0.05 * scale * rest.torso:
        spine = np.array([0.0, 0.05 * scale * rest.torso])
    was = rest.start[PELVIS] - rest.start[CHEST]
    lean = float(np.arctan2(spine[1], spine[0]) - rest.angle[CHEST])
    lean = _wrap(lean)
    shoulders, hips_across = _lines(rest, figure, scale)
    turns = {
        CHEST: _turn(rest.shoulders, shoulders),
        PELVIS: _turn(rest.hips + 0.4 * rest.shoulders, hips_across + 0.4 * shoulders),
    }
    for bone, left, right, line in (
        (CHEST, LEFT_SHOULDER, RIGHT_SHOULDER, rest.shoulders),
        (PELVIS, LEFT_HIP, RIGHT_HIP, rest.hips),
    ):
        matrix, out, farther = _trunk(
            rest, was, spine, scale, turns[bone],
            rest.figure.xyz[left] - rest.figure.xyz[right], xyz[left] - xyz[right], line,
        )  # fmt: skip
        angle[bone] = lean
        stretch[bone] = rotation(-lean) @ matrix
        relief[bone], away[bone] = out, farther
    start[CHEST], start[PELVIS] = chest, hips

    angle[HEAD], stretch[HEAD], relief[HEAD], away[HEAD] = _head(rest, figure, scale, lean)
    start[HEAD] = middle(xyz, LEFT_EAR, RIGHT_EAR)[:2]

    for side in (0, 1):
        _limbs(rest, figure, scale, side, flips[side], angle, stretch, start)
        collar = COLLARS[side]
        angle[collar], stretch[collar] = angle[CHEST], stretch[CHEST]
        start[collar] = xyz[RIGHT_SHOULDER if side else LEFT_SHOULDER, :2]
    return Motion(angle, stretch, start, relief, away)


def _trunk(
    rest: Rest, was: Array, spine: Array, scale: float, turn: complex, before: Array, now: Array, line: complex
) -> tuple[Array, Array, Array]:  # fmt: skip
    """One end of the trunk: its matrix, what relief adds, and what lies farther away."""
    down_rest, down = was / np.hypot(*was), spine / np.hypot(*spine)
    aside_rest = np.array([down_rest[1], -down_rest[0]])
    aside = np.array([down[1], -down[0]])
    cos, sin = turn.real, -turn.imag
    column = aside * scale * cos
    lengthwise = spine / np.hypot(*was)
    # What the turned trunk leaves over must be sheared in, or arms and legs would not meet it.
    rise = float(down_rest @ before[:2])
    left_over = now[:2] - (column * line.real + lengthwise * rise)
    if abs(line.real) > 0.35 * abs(line):
        extra = left_over / line.real
        limit = 0.5 * scale
        size = float(np.hypot(*extra))
        column = column + extra * min(1.0, limit / max(size, 1e-6))
    matrix = np.outer(column, aside_rest) + np.outer(lengthwise, down_rest)
    away = np.array([*(sin * scale * aside_rest), -cos * scale])
    return matrix, aside * scale * sin, away


def _head(
    rest: Rest, figure: Figure, scale: float, lean: float
) -> tuple[float, Array, Array, Array]:
    """The head's angle, stretch, relief and what lies farther away."""
    aside_rest, aside = head_aside(rest.figure.xyz), head_aside(figure.xyz)
    (before, low_before), (now, low_now) = looking(rest.figure.xyz), looking(figure.xyz)
    turned_round = np.pi if rest.mirrored else 0.0
    yaw = _wrap(gaze(now) - gaze(before) + turned_round)
    # A picture of a turned face shows even less of the other side.
    shown = _SHOWN * np.where(_TURNED < 2, np.cos(gaze(before)) ** 2, 1.0)
    yaw = float(np.sign(yaw) * np.interp(abs(yaw), _TURNED, shown)) - turned_round
    reach = _NOSE_REACH * max(abs(before.real), 0.25 * rest.torso)
    pitch = float(np.clip((low_now / scale - low_before) / reach, -0.5, 0.5))
    cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
    roll = lean + _wrap(
        float(np.arctan2(aside[1], aside[0]) - np.arctan2(aside_rest[1], aside_rest[0])) - lean
    )
    down_rest = np.array([-aside_rest[1], aside_rest[0]])
    down = np.array([-aside[1], aside[0]])
    matrix = scale * (cos * np.outer(aside, aside_rest) + np.outer(down, down_rest))
    relief = scale * (sin * aside + pitch * down)
    away = scale * np.array([*(sin * aside_rest), -cos])
    return roll, rotation(-roll) @ matrix, relief, away


def gaze(face: complex) -> float:
    """The angle a face looks aside, from its width between the ears and how far the nose is aside."""
    return float(np.arctan2(face.imag / _NOSE_REACH, face.real))


def _limbs(
    rest: Rest, figure: Figure, scale: float, side: int, flip: bool, angle: Array, stretch: Array, start: Array
) -> None:  # fmt: skip
    """Fills in the six bones of one side."""
    xyz = figure.xyz
    # Which way the arm opens, as drawn: the left arm to the right in a frontal picture.
    outward = (1.0 if side == 0 else -1.0) * (-1.0 if rest.mirrored else 1.0)
    targets = {}
    for bone in (UPPER, FORE, HAND, THIGH, SHIN, FOOT):
        i = limb(side, bone)
        a, b = ENDS[i - 3]
        vector = xyz[b, :2] - xyz[a, :2]
        targets[bone] = float(np.arctan2(vector[1], vector[0])), float(np.hypot(*vector))
        start[i] = xyz[a, :2]

    def put(bone: int, turned: float, along: float, wide: float) -> None:
        i = limb(side, bone)
        axes = rotation(rest.angle[i])
        angle[i], stretch[i] = turned, axes @ np.diag([along, wide]) @ axes.T

    for bone in (UPPER, THIGH, FORE, SHIN):
        i = limb(side, bone)
        to, reach = targets[bone]
        if bone in (UPPER, THIGH):
            parent = CHEST if bone == UPPER else PELVIS
            spine_rest = rest.angle[CHEST]
            spine = spine_rest + angle[parent]
            # Raised arms go outwards and up, never through the body: half a turn more that way.
            low = -np.pi / 2 if bone == UPPER else -np.pi
            opened = (-outward * (to - spine) - low) % (2 * np.pi) + low
            opened_rest = (-outward * (rest.angle[i] - spine_rest) - low) % (2 * np.pi) + low
            turned = angle[parent] - outward * (opened - opened_rest)
        else:
            above = limb(side, UPPER if bone == FORE else THIGH)
            bend = _wrap((to - targets[bone - 1][0]) - (rest.angle[i] - rest.angle[above]))
            turned = angle[above] + bend
        along = min(reach / rest.length[i], 4 * scale)
        put(bone, turned, along, scale)

    hand, fore = limb(side, HAND), limb(side, FORE)
    (to, reach), (to_fore, reach_fore) = targets[HAND], targets[FORE]
    bend = _wrap((to - to_fore) - (rest.angle[hand] - rest.angle[fore]))
    known = figure.seen[ENDS[hand - 3][1]] and rest.figure.seen[ENDS[hand - 3][1]]
    sure = min(1.0, reach_fore / (0.3 * scale * rest.torso)) if known else 0.0
    put(HAND, angle[fore] + sure * float(np.clip(bend, -0.9, 0.9)), scale, scale)

    foot, shin = limb(side, FOOT), limb(side, SHIN)
    (to, reach), (to_shin, _) = targets[FOOT], targets[SHIN]
    mirror = -1.0 if flip else 1.0
    ahead = rest.angle[foot] - rest.angle[shin]
    bend = _wrap((to - to_shin) - mirror * ahead)
    sure = min(1.0, reach / (0.2 * scale * rest.torso))
    along = float(np.clip(reach / rest.length[foot], 0.6 * scale, 1.7 * scale))
    turned = angle[shin] + sure * bend
    axes = rotation(rest.angle[shin])
    # A flipped foot is mirrored across the shin, then turned: its own axis goes to the mirrored place.
    across_shin = axes @ np.diag([1.0, mirror]) @ axes.T
    own = rotation(rest.angle[foot])
    i = foot
    angle[i] = turned
    stretch[i] = across_shin @ own @ np.diag([along, scale]) @ own.T


def foot_turns(rest: Rest, figure: Figure, side: int) -> tuple[float, float]:
    """How far a foot turns against its shin from rest to figure (radians): as it is, and mirrored."""
    foot, shin = limb(side, FOOT), limb(side, SHIN)
    ahead = rest.angle[foot] - rest.angle[shin]
    now = []
    for bone in (foot, shin):
        a, b = ENDS[bone - 3]
        along = figure.xyz[b, :2] - figure.xyz[a, :2]
        now.append(float(np.arctan2(along[1], along[0])))
    bend = now[0] - now[1]
    return _wrap(bend - ahead), _wrap(bend + ahead)
