"""The One-Euro filter: a low pass whose cut-off rises with speed; it looks back only.

Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems" (2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dance.types import Array

# Cut-off of the speed's own low pass in Hz, as in the paper.
_SPEED_CUTOFF = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """After a frame: x and speed (N, C) of N joints, unseen (N,) seconds out of sight, inf for ever so far."""

    x: Array
    speed: Array
    unseen: Array


def smooth(
    z: Array,
    seen: Array,
    sizes: Array,
    step: Array,
    state: State | None,
    *,
    memory: float,
    min_cutoff: float,
    beta: float,
) -> tuple[Array, State]:
    """Filtered coordinates (T, N, C) of z, and the state after them.

    seen: (T, N) bool.  sizes: (T,) the person's size in the unit of the first two coordinates, whose
    speed decides.  step: (T,) seconds.  A joint out of sight stays where it was; after more than
    `memory` seconds it starts anew.
    """
    if state is None:
        state = State(np.zeros(z.shape[1:]), np.zeros(z.shape[1:]), np.full(z.shape[1], np.inf))
    x, speed, unseen = state.x, state.speed, state.unseen
    out = np.empty_like(z)
    for t in range(len(z)):
        dt = float(step[t])
        there = seen[t][:, None]
        unseen = np.where(seen[t], unseen, unseen + dt)
        new = there & (unseen > memory)[:, None]
        fresh = (z[t] - x) / dt
        speed = np.where(there, speed + _share(_SPEED_CUTOFF, dt) * (fresh - speed), speed)
        speed = np.where(new, 0.0, speed)
        fast = np.linalg.norm(speed[:, :2], axis=1, keepdims=True) / sizes[t]
        share = np.where(new, 1.0, _share(min_cutoff + beta * fast, dt))
        x = np.where(there, x + share * (z[t] - x), x)
        unseen = np.where(seen[t], 0.0, unseen)
        out[t] = x
    return out, State(x, speed, unseen)


def _share(cutoff: Array | float, dt: float) -> Array:
    """How much of a new value a low pass of that cut-off takes after `dt` seconds."""
    return np.asarray(1.0 / (1.0 + 1.0 / (2 * np.pi * np.asarray(cutoff) * dt)))
