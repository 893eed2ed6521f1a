"""Mends left and right where the estimator swaps them, as it does on people seen from behind or aside.

Every part of the body with two sides (shoulders, arms, hips, legs) is either as the estimator says or
swapped, in every frame. Of all ways through the frames the one is taken along which both sides move
most evenly, in the picture and in space: a swap makes both sides jump at once. Swapping and swapping
back has a price, so that what is not clear stays as it was (a Viterbi search over the last three
frames' states, Forney, "The Viterbi algorithm", 1973).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from dance.pose import scale
from dance.skeleton import INDEX, LEFT_HAND_SLICE, RIGHT_HAND_SLICE
from dance.types import JOINTS, Array, Moment, Pose

# The parts, and the joints of each that tell how it moves.
_PARTS: tuple[tuple[str, ...], ...] = (
    ("shoulder",),
    ("elbow", "wrist"),
    ("hip",),
    ("knee", "ankle"),
)
# What else swaps along with them.
_ALONG: tuple[tuple[str, ...], ...] = ((), (), (), ("big_toe", "small_toe", "heel"))
_ARMS = 1

_PAIRS = np.array(
    [(INDEX[f"left_{name}"], INDEX[f"right_{name}"]) for part in _PARTS for name in part]
)
# (parts, pairs): which pair belongs to which part, as a mean over the part's pairs.
_OF_PART = np.array(
    [[(name in part) / len(part) for owner in _PARTS for name in owner] for part in _PARTS]
)

# Neighbouring parts, and the pairs of joints that are seldom crossed: (parent part, part, joint, joint).
_UNCROSSED: tuple[tuple[int, int, str, str], ...] = (
    (0, 1, "shoulder", "elbow"),
    (0, 2, "shoulder", "hip"),
    (2, 3, "hip", "knee"),
    (2, 3, "hip", "ankle"),
)

# Nobody's trunk is twisted that far.
_TRUNK = (0, 2)

# Unevenness, in torso lengths a joint: so little is trembling, and more than so much tells no more.
_TREMBLING, _ENOUGH = 0.04, 0.5

# How fast a joint may go on moving, torso lengths a second; faster is a jump.
_SPEEDS = {"shoulder": 4.0, "elbow": 8.0, "wrist": 12.0, "hip": 4.0, "knee": 8.0, "ankle": 12.0}
_FASTEST = np.array([_SPEEDS[name] for part in _PARTS for name in part])

# Frames farther apart, in seconds, tell less.
_STEP = 0.08

# The price of changing between swapped and not, once and for every part that does.
_CHANGE, _CHANGE_PART = 0.04, 0.04

# What a second swapped costs, once and for every part: in the long run the estimator is right.
_SWAPPED, _SWAPPED_PART = 0.2, 0.15

# What a second of crossed limbs costs, a torso length of their width. People do cross their limbs, so it
# counts only where the estimator wavers: so much unevenness, on average over so many seconds, is full
# wavering.
_CROSSED = 4.0
_WAVERS, _WAVERS_SECONDS = 0.1, 0.5

# A part out of sight for longer begins anew.
_MEMORY = 0.5

# All ways to swap the parts, (16, parts); and the states of one part in three frames, (8, 3).
_STATES = np.array(list(product((0, 1), repeat=len(_PARTS))))
_WAYS = np.array(list(product((0, 1), repeat=3)))
# For every part, the number of its way through three frames' states of all parts, (parts, 16, 16, 16).
_PART_WAYS = (
    4 * _STATES.T[:, :, None, None] + 2 * _STATES.T[:, None, :, None] + _STATES.T[:, None, None, :]
)
_PART_ROWS = np.arange(len(_PARTS))[:, None, None, None]


def mend(
    moments: Iterable[Moment], *, ahead: int, block: int = 1, care: float = 1.0
) -> Iterator[Moment]:
    """The moments with left and right the right way round.

    What follows within `ahead` frames is known when a frame is settled; `block` frames are settled at
    once, which is cheaper, so they come up to `ahead` + `block` - 1 frames late. Cuts start anew.
    care: how much clearer than usual a swap must be, for those who cannot look far ahead.
    """
    search = _Search(care)
    waiting: deque[Moment] = deque()
    for moment in moments:
        if moment.cut:
            yield from _settled(waiting, search, len(waiting))
            search = _Search(care)
        waiting.append(moment)
        search.see(moment)
        if len(waiting) >= ahead + block:
            yield from _settled(waiting, search, block)
    yield from _settled(waiting, search, len(waiting))


def _settled(waiting: deque[Moment], search: _Search, count: int) -> Iterator[Moment]:
    for parts in search.settle(count):
        moment = waiting.popleft()
        yield replace(moment, pose=swap(moment.pose, parts)) if parts.any() else moment


def swap(pose: Pose, parts: Array) -> Pose:
    """The pose with left and right exchanged in those of the four parts (bool) that are set."""
    if not parts.any():
        return pose
    order = np.arange(JOINTS)
    for i in parts.nonzero()[0]:
        for name in (*_PARTS[i], *_ALONG[i]):
            left, right = INDEX[f"left_{name}"], INDEX[f"right_{name}"]
            order[left], order[right] = right, left
    if parts[_ARMS]:
        left_hand = np.arange(LEFT_HAND_SLICE.start, LEFT_HAND_SLICE.stop)
        right_hand = np.arange(RIGHT_HAND_SLICE.start, RIGHT_HAND_SLICE.stop)
        order[left_hand], order[right_hand] = right_hand, left_hand
    return replace(
        pose,
        xy=pose.xy[order],
        score=pose.score[order],
        depth=None if pose.depth is None else pose.depth[order],
        world=None if pose.world is None else pose.world[order],
    )


class _Search:
    """The cheapest ways to every pair of states of the last two frames."""

    def __init__(self, care: float) -> None:
        count = len(_STATES)
        changes = (_STATES[:, None] != _STATES[None]).sum(-1)
        self._change = care * (_CHANGE * (changes > 0) + _CHANGE_PART * changes)
        swapped = _STATES.sum(1)
        self._swapped = care * (_SWAPPED * (swapped > 0) + _SWAPPED_PART * swapped)
        # cost[b, c]: of the best way that ends in states b, c. The frame before the first is a copy of it.
        self._cost = np.full((count, count), np.inf)
        np.fill_diagonal(self._cost, self._change[0])
        # One (16, 16) array a frame: the state two frames before, on the best way to b, c.
        self._steps: deque[Array] = deque()
        self._durations: deque[float] = deque()
        # The state of the last settled frame, and what has been paid since it changed.
        self._settled, self._paid = 0, 0.0
        self._size = math.nan
        self._wavers = np.zeros(len(_PARTS))  # mean unevenness of late
        self._time: float | None = None
        # The last two sightings of every pair: (2, side, pair, x y and world), and when they were.
        self._places = np.zeros((2, 2, len(_PAIRS), 5))
        self._times = np.full((2, len(_PAIRS)), -np.inf)

    def see(self, moment: Moment) -> None:
        """Takes in the next frame."""
        pose, now = moment.pose, float(moment.time)
        step = 1e-3 if self._time is None else min(_MEMORY, max(1e-3, now - self._time))
        self._time = now
        paces = self._change + step * self._swapped + np.zeros((len(_STATES), 1, 1))
        if pose.found:
            lengths = scale.torso_lengths(
                pose.xy[None], pose.score[None], np.array([step]), self._size
            )
            self._size = float(lengths[0])
            uneven = self._unevenness(pose, now)
            paces += uneven.reshape(len(_PARTS), -1)[_PART_ROWS, _PART_WAYS].sum(0)
            # As the estimator says, all three frames.
            share = 1 - math.exp(-step / _WAVERS_SECONDS)
            self._wavers += share * (uneven[:, 0, 0, 0] - self._wavers)
            paces += step * self._crossing(pose)
        # What has been paid for staying swapped pays for going back: who settles frame by frame would
        # never see that staying is dearer in the long run.
        paces[:, self._settled, 0] = np.maximum(0.0, paces[:, self._settled, 0] - self._paid)
        self._durations.append(step)
        # total[a, b, c]: the best way to a, b and then to c.
        total = self._cost[:, :, None] + paces
        self._steps.append(total.argmin(0))
        self._cost = total.min(0)

    def _unevenness(self, pose: Pose, now: float) -> Array:
        """How unevenly each part moves, (parts, 2, 2, 2) in torso lengths a joint, for its states in the
        last sightings but one, the last, and this one, which is remembered."""
        place = np.zeros((2, len(_PAIRS), 5))
        place[..., :2] = pose.xy[_PAIRS.T] / self._size
        if pose.world is not None:
            # A metre is about two torso lengths, but space is guessed and counts half.
            place[..., 2:] = pose.world[_PAIRS.T]
        score = pose.score[_PAIRS].min(1).astype(np.float64)
        last, before = self._times
        known = (score > 0) & (now - before <= _MEMORY)
        ratio = np.zeros(len(_PAIRS))
        ratio[known] = (now - last[known]) / np.maximum(1e-3, last[known] - before[known])
        ratio = np.clip(ratio, 0.0, 2.0)[:, None]

        # Where a frame is swapped, a side is where the estimator says the other one is.
        sides = np.arange(2)
        a = self._places[1][(sides + _WAYS[:, :1]) % 2]
        b = self._places[0][(sides + _WAYS[:, 1:2]) % 2]
        c = place[(sides + _WAYS[:, 2:]) % 2]
        # A joint stays where it was or goes on as it went, whichever fits better: legs that pass each
        # other quickly are no swap.
        stays = np.linalg.norm(c - b, axis=-1).mean(1)
        speed = ratio * (b - a)
        limit = (_FASTEST * np.clip(now - last, 0.0, _MEMORY))[:, None]
        length = np.linalg.norm(speed, axis=-1, keepdims=True)
        speed = speed * np.minimum(1.0, limit / np.maximum(length, 1e-9))
        goes_on = np.linalg.norm(c - b - speed, axis=-1).mean(1)
        off = np.minimum(stays, goes_on)
        # Much can happen in a long step, so it tells less.
        trust = np.clip(_STEP / np.maximum(1e-3, now - last), 0.0, 1.0)
        off = np.clip(off - _TREMBLING, 0.0, _ENOUGH) * np.where(known, score * trust, 0.0)

        seen = score > 0
        self._places[1][:, seen] = self._places[0][:, seen]
        self._places[0][:, seen] = place[:, seen]
        self._times[1, seen] = last[seen]
        self._times[0, seen] = now
        return np.asarray((off @ _OF_PART.T).T.reshape(-1, 2, 2, 2))

    def _crossing(self, pose: Pose) -> Array:
        """The price a second of the limbs that cross in each state, (16,)."""
        out = np.zeros(len(_STATES))
        for parent, part, above, below in _UNCROSSED:
            i = [INDEX[f"{side}_{joint}"] for joint in (above, below) for side in ("left", "right")]
            if min(pose.score[i].tolist()) <= 0:
                continue
            # Complex numbers: for two of them numpy's calls cost more than the sums.
            left, right, low_left, low_right = (complex(x, y) for x, y in pose.xy[i].tolist())
            above_across = (left - right) / self._size
            below_across = (low_left - low_right) / self._size
            width = max(0.2, abs(above_across), abs(below_across))
            # Above zero where both pairs have their left on the same side.
            along = (above_across * below_across.conjugate()).real / width
            apart = _STATES[:, parent] != _STATES[:, part]
            wavers = min(1.0, max(self._wavers[parent], self._wavers[part]) / _WAVERS)
            if (parent, part) == _TRUNK:
                wavers = 1.0
            out += wavers * _CROSSED * np.where(apart, max(0.0, along), max(0.0, -along))
        return out

    def settle(self, count: int) -> Array:
        """Which parts are swapped in the next `count` frames, (count, parts) bool; final from now on."""
        ends = len(_STATES)
        # The ends of ways, and backwards from each.
        b, c = (grid.ravel() for grid in np.indices((ends, ends)))
        ways = np.empty((len(self._steps), ends * ends), int)
        for t in range(len(self._steps) - 1, -1, -1):
            ways[t] = c
            b, c = self._steps[t][b, c], b
        cost = self._cost.ravel()
        final = ways[:count, cost.argmin()]
        # Ways that say otherwise about these frames are closed.
        closed = (ways[:count] != final[:, None]).any(0)
        self._cost = np.where(closed, np.inf, cost).reshape(ends, ends)
        for state in final:
            self._steps.popleft()
            step = self._durations.popleft()
            self._paid = 0.0 if state != self._settled else self._paid + step * self._swapped[state]
            self._settled = int(state)
        return _STATES[final].astype(bool)
