"""Takes the trembling out of poses, fills short gaps, and never reaches over a cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field

from dance.config import Options
from dance.pose import kalman, one_euro, scale, sides
from dance.pose.kalman import Measured, Motion, State
from dance.skeleton import (
    BODY_SLICE,
    FACE_SLICE,
    FEET_SLICE,
    LEFT_HAND_SLICE,
    LEFT_WRIST,
    NAMES,
    NOSE,
    RIGHT_HAND_SLICE,
    RIGHT_WRIST,
)
from dance.types import JOINTS, Array, Moment, Pose

# Frames smoothed at a time where the future is known; more only holds more poses in memory.
_BLOCK = 256

# Frames looked ahead for swapped sides where the future is known.
_SIDES_AHEAD = 100
_SIDES_CARE = 3.0

# Noise of a fully trusted joint in torso lengths, and how much more there is of it at score 0. The
# networks' elbows and wrists tremble more than shoulders and hips.
_NOISE = 0.04
_DISTRUST = 6.0
_NOISE_OF = {"shoulder": 0.8, "hip": 0.9, "elbow": 1.1, "wrist": 1.2}

# How strongly parts of the body are shaken (spectral density, torso lengths^2 / s^3): each group of
# joints as a whole. Fitted to dancing people's exact joints; any value of the right order does.
_SHAKE: tuple[tuple[float, tuple[str, ...]], ...] = (
    (40.0, ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe", "heel")),
    (10.0, ("nose", "eye", "ear", "shoulder", "elbow", "wrist")),
    (10.0, ("nose", "eye", "ear")),
    (15.0, ("left elbow", "left wrist")),
    (15.0, ("right elbow", "right wrist")),
    (15.0, ("left wrist",)),
    (15.0, ("right wrist",)),
    (15.0, ("left knee", "left ankle", "left toe", "left heel")),
    (15.0, ("right knee", "right ankle", "right toe", "right heel")),
    (10.0, ("left ankle", "left toe", "left heel")),
    (10.0, ("right ankle", "right toe", "right heel")),
)  # fmt: skip
_OWN_SHAKE = 20.0

# Points of the face and of a hand hang on a joint of the body and are smoothed relative to it.
_BODY = np.arange(BODY_SLICE.start, FEET_SLICE.stop)
_DETAILS: tuple[tuple[slice, int], ...] = (
    (FACE_SLICE, NOSE),
    (LEFT_HAND_SLICE, LEFT_WRIST),
    (RIGHT_HAND_SLICE, RIGHT_WRIST),
)

_DETAIL_TOGETHER, _DETAIL_OWN = 20.0, 3.0

# Live, the speed of a joint out of sight falls to 1/e in so many seconds.
_COASTING = 0.2

# x, y, depth, world x, y, z
_COORDINATES = 6


class SmoothOptions(Options):
    """How poses are smoothed.

    method: kalman looks at both sides of every frame; one_euro only back, and is lighter; none passes
    everything through as it is.
    strength: 1 for the estimator's usual trembling; 2 takes it for twice as large.
    gap: a joint out of sight for at most so many seconds is filled in, with a falling score.
    lag: live, so many frames are looked ahead, and the picture comes that much later.
    sides: mend left and right where the estimator swaps them.
    min_cutoff, beta: of one_euro: the slowest cut-off in Hz, and how many Hz a speed of one torso length
    a second adds to it.
    """

    method: Literal["kalman", "one_euro", "none"] = "kalman"
    strength: float = Field(1.0, gt=0, le=10)
    gap: float = Field(0.5, ge=0, le=5)
    lag: int = Field(4, ge=0, le=30)
    sides: bool = True
    min_cutoff: float = Field(2.0, gt=0)
    beta: float = Field(8.0, ge=0)


def smooth(
    moments: Iterable[Moment], options: SmoothOptions, *, live: bool = False
) -> Iterator[Moment]:
    """The moments with steady poses: as many, at the same times, with the same cuts.

    The time steps are the real ones, so a variable frame rate is fine. Scores stay as they were, except
    in filled gaps. Regions are kept, masks dropped. `live` looks `options.lag` frames ahead and no more,
    and lets a joint out of sight coast on instead of waiting for it.
    """
    if options.method == "none":
        yield from moments
        return
    lag = options.lag
    if options.sides:
        # Live, the two share the time they may look ahead.
        if live:
            moments = sides.mend(moments, ahead=lag // 2, care=_SIDES_CARE)
        else:
            moments = sides.mend(moments, ahead=_SIDES_AHEAD, block=_SIDES_AHEAD)
        lag -= lag // 2
    causal = options.method == "one_euro"
    model = _model(options, live=live or causal)
    block = 1 if live or causal else _BLOCK
    past = _nothing()
    waiting: list[Moment] = []
    for moment in moments:
        if moment.cut:
            if waiting:
                yield from _smoothed(waiting, past, options, model, keep=len(waiting))[0]
            waiting, past = [], _nothing()
        waiting.append(moment)
        ahead = len(waiting) - block
        if ahead < 0:
            continue
        if causal or (ahead >= lag if live else _sees_enough(waiting, block, options)):
            done, past = _smoothed(waiting, past, options, model, keep=block)
            del waiting[:block]
            yield from done
    if waiting:
        yield from _smoothed(waiting, past, options, model, keep=len(waiting))[0]


@dataclass(frozen=True, slots=True)
class _Past:
    """What later frames need to know of the frames before them in the same scene.

    size: the person's torso in pixels, nan before anybody was seen.  seen_at, seen_score: (133,) when
    each joint was seen last, -inf for never, and how well.  groups: the filters of body, face and hands.
    hang: (3, C) where the joints were last that face and hands hang on.
    """

    time: Fraction | None
    size: float
    seen_at: Array
    seen_score: Array
    groups: tuple[State | None, ...]
    hang: Array
    euro: one_euro.State | None


@dataclass(frozen=True, slots=True)
class _Model:
    """What is taken to be true all along: the noise of each joint (133,) and how the groups move."""

    noise: Array
    motions: tuple[Motion, ...]
    live: bool


def _model(options: SmoothOptions, *, live: bool) -> _Model:
    noise = np.full(JOINTS, _NOISE)
    for part, factor in _NOISE_OF.items():
        noise[[j for j in _BODY if part in NAMES[j]]] *= factor
    shakes = [_body_shake(), *(_detail_shake(where.stop - where.start) for where, _ in _DETAILS)]
    coasting = _COASTING if live else np.inf
    motions = tuple(Motion(shake, options.gap, coasting) for shake in shakes)
    return _Model(options.strength * noise, motions, live)


def _nothing() -> _Past:
    return _Past(
        None,
        math.nan,
        np.full(JOINTS, -np.inf),
        np.zeros(JOINTS),
        (None,) * (1 + len(_DETAILS)),
        np.zeros((len(_DETAILS), _COORDINATES)),
        None,
    )


def _sees_enough(waiting: Sequence[Moment], block: int, options: SmoothOptions) -> bool:
    """Whether the frames after the block reach as far as they still matter to it."""
    reach = waiting[-1].time - waiting[block - 1].time
    # The second bound is for files whose times run backwards.
    return reach >= max(1.0, 2 * options.gap) or len(waiting) >= 8 * block


def _smoothed(
    moments: Sequence[Moment], past: _Past, options: SmoothOptions, model: _Model, keep: int
) -> tuple[list[Moment], _Past]:
    """The first `keep` moments smoothed with all of them in sight, and what to know after these."""
    z = _coordinates(moments)
    score = np.stack([moment.pose.score for moment in moments]).astype(np.float64)
    seen = score > 0
    times = [past.time, *(moment.time for moment in moments)]
    step = np.array([_seconds(a, b) for a, b in pairwise(times)])
    sizes = scale.torso_lengths(z[..., :2], score, step, past.size)
    new_score, past_seen = _fill(score, step, past, options.gap, live=model.live, keep=keep)

    groups, hang, euro = past.groups, past.hang, past.euro
    if options.method == "one_euro":
        curve, euro = one_euro.smooth(
            z, seen, sizes, step, euro,
            memory=options.gap, min_cutoff=options.min_cutoff / options.strength, beta=options.beta,
        )  # fmt: skip
    else:
        variance = np.full(score.shape, np.inf)
        noise = model.noise * (1 + _DISTRUST * (1 - score))
        variance[seen] = noise[seen] ** 2
        measured = Measured(z, variance, sizes, step)
        curve, groups, hang = _kalman(measured, past, new_score, model, keep)
    after = _Past(moments[keep - 1].time, float(sizes[keep - 1]), *past_seen, groups, hang, euro)
    return [_rebuilt(moments[t], curve[t], new_score[t]) for t in range(keep)], after


def _kalman(
    measured: Measured, past: _Past, score: Array, model: _Model, keep: int
) -> tuple[Array, tuple[State | None, ...], Array]:
    """Smoothed coordinates (T, 133, C) of the body, then of face and hands relative to it."""
    curve = np.zeros_like(measured.z)
    curve[:, _BODY], body = _group(
        measured, _BODY, model.motions[0], past.groups[0], keep, twice=not model.live
    )
    groups = [body]
    hang = past.hang.copy()
    for i, (where, joint) in enumerate(_DETAILS):
        joints = np.arange(where.start, where.stop)
        base = _held(curve[:, joint], score[:, joint] > 0, hang[i])
        hang[i] = base[keep - 1]
        found, state = _group(
            replace(measured, z=measured.z - base[:, None]),
            joints, model.motions[1 + i], past.groups[1 + i], keep, twice=False,
        )  # fmt: skip
        curve[:, joints] = found + base[:, None]
        groups.append(state)
    return curve, tuple(groups), hang


def _group(
    measured: Measured,
    joints: Array,
    motion: Motion,
    state: State | None,
    keep: int,
    *,
    twice: bool,
) -> tuple[Array, State | None]:
    """One group smoothed; joints that are neither seen nor remembered cost nothing."""
    state = state or kalman.start(len(joints), _COORDINATES)
    variance = measured.variance[:, joints]
    alive = (np.isfinite(variance).any(0) | (state.unseen <= motion.memory)).nonzero()[0]
    out = np.zeros((len(measured), len(joints), _COORDINATES))
    if not len(alive):
        return out, None
    out[:, alive], after = kalman.smooth(
        replace(measured, z=measured.z[:, joints[alive]], variance=variance[:, alive]),
        kalman.select(state, alive),
        replace(motion, shake=motion.shake[np.ix_(alive, alive)]),
        keep=keep,
        twice=twice,
    )
    return out, kalman.spread(after, alive, len(joints))


def _held(path: Array, there: Array, last: Array) -> Array:
    """The path (T, C) of a joint; where it is not there, where it was last."""
    out = path.copy()
    for t in range(len(out)):
        if not there[t]:
            out[t] = out[t - 1] if t else last
    return out


def _fill(
    score: Array, step: Array, past: _Past, gap: float, *, live: bool, keep: int
) -> tuple[Array, tuple[Array, Array]]:
    """Scores (T, 133) with short gaps filled, and when and how well joints were seen in what is kept.

    A gap's score runs from that of one side to that of the other, and falls away from both: by half in
    the middle of the longest gap that is filled. Live, nobody knows how long a gap will be: it falls to
    nothing over the longest.
    """
    t_count = len(score)
    now = np.cumsum(step)[:, None]
    seen = score > 0
    index = np.arange(t_count)[:, None]
    # Time zero is that of the last frame before these.
    before = np.maximum.accumulate(np.where(seen, index, -1), axis=0)
    left = np.where(before >= 0, now[before, 0], past.seen_at)
    left_score = np.where(
        before >= 0, np.take_along_axis(score, np.maximum(before, 0), 0), past.seen_score
    )
    after = np.minimum.accumulate(np.where(seen, index, t_count)[::-1], axis=0)[::-1]
    known = after < t_count
    at = np.minimum(after, t_count - 1)
    right = np.where(known, now[at, 0], np.inf)
    right_score = np.where(known, np.take_along_axis(score, at, 0), 0.0)
    # Frames of the gap only: two sightings in a row are no gap, however far apart.
    last_missing = np.where(known, now[np.maximum(at - 1, 0), 0], np.inf)

    out = score.copy()
    short = ~seen & (last_missing - left <= gap + 1e-6)
    if short.any():
        where = ((now - left)[short]) / (right - left)[short]
        nearest = np.minimum(now - left, right - now)[short]
        level = left_score[short] * (1 - where) + right_score[short] * where
        out[short] = level * np.maximum(0.5, 1 - nearest / max(gap, 1e-6))
    if live:
        hold = ~seen & ~known & (now - left < gap)
        level = np.broadcast_to(left_score, hold.shape)[hold]
        out[hold] = level * (1 - (now - left)[hold] / gap)
    end = now[keep - 1, 0]
    return out, (left[keep - 1] - end, left_score[keep - 1])


def _seconds(before: Fraction | None, now: Fraction | None) -> float:
    # Equal or falling times exist in broken files; a filter needs time to pass.
    return 1e-3 if before is None or now is None else max(1e-3, float(now - before))


def _coordinates(moments: Sequence[Moment]) -> Array:
    """(T, 133, 6): x, y, depth and world of every joint, 0 where there is none."""
    out = np.zeros((len(moments), JOINTS, _COORDINATES))
    for t, moment in enumerate(moments):
        pose = moment.pose
        out[t, :, :2] = pose.xy
        if pose.depth is not None:
            out[t, :, 2] = pose.depth
        if pose.world is not None:
            out[t, :, 3:] = pose.world
    return out


def _rebuilt(moment: Moment, curve: Array, score: Array) -> Moment:
    pose = moment.pose
    there = score > 0
    values = np.where(there[:, None], curve, 0.0).astype(np.float32)
    filled = bool(there.any()) and not pose.found
    return replace(
        moment,
        pose=Pose(
            values[:, :2],
            score.astype(np.float32),
            values[:, 2] if pose.depth is not None or filled else None,
            values[:, 3:] if pose.world is not None or filled else None,
            pose.region,
        ),
    )


def _matches(joint: str, pattern: str) -> bool:
    return all(word in joint for word in pattern.split())


def _body_shake() -> Array:
    shake = _OWN_SHAKE * np.eye(len(_BODY))
    for density, parts in _SHAKE:
        together = np.array([any(_matches(NAMES[j], part) for part in parts) for j in _BODY], float)
        shake += density * np.outer(together, together)
    return shake


def _detail_shake(joints: int) -> Array:
    return _DETAIL_TOGETHER + _DETAIL_OWN * np.eye(joints)
