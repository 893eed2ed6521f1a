"""A Kalman filter and smoother over groups of joints that move together.

A joint has a position and a velocity; its velocity is shaken by white noise. The shaking of joints that
hang together is correlated (`Motion.shake`): a body that jumps takes all its joints along, so a jump
seen in twenty joints at once is believed, the same jump of one joint is not, and a joint that is hidden
for a moment is carried along by the others.

All coordinates of a joint share one gain, so one covariance matrix serves them all; with the blocks of
a constant-velocity model written out, a step of 23 joints takes a twentieth of a millisecond. Smoothing
is Rauch-Tung-Striebel's in the form of Bierman ("Fixed interval smoothing with discrete measurements",
1973), which needs no inverse of the state's covariance.

Shapes: T steps, N joints of the group, C coordinates of a joint. Variances are relative to the square
of the person's size; coordinates are whatever they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from filterpy.common import Q_continuous_white_noise

from dance.types import Array

# What is known of a joint that comes into sight: where it is seen, and that it hardly moves faster than
# a few torso lengths a second.
_NEW_POSITION = 1.0
_NEW_SPEED = 4.0

# Degrees of freedom of Student's t distribution that measurements are taken to follow: far off ones
# count little, and the less the farther they are.
_TAIL = 4.0


@dataclass(frozen=True, slots=True)
class State:
    """What is known after a step.

    x: (2, N, C) positions and velocities a second.  covariance: (2 N, 2 N), positions first.
    unseen: (N,) seconds each joint has been out of sight, inf for ever so far.
    """

    x: Array
    covariance: Array
    unseen: Array


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen: steps in order.

    z: (T, N, C) coordinates.  variance: (T, N), inf where a joint is not seen.  size: (T,) the person's
    size in the unit of the first two coordinates.  step: (T,) seconds since the step before.
    """

    z: Array
    variance: Array
    size: Array
    step: Array

    def __len__(self) -> int:
        return len(self.z)


@dataclass(frozen=True, slots=True)
class Motion:
    """How a group of joints moves.

    shake: (N, N) spectral density of the noise that drives the velocities, sizes^2 / s^3.
    memory: seconds after which an unseen joint is forgotten.  coasting: seconds in which the velocity
    of an unseen joint falls to 1/e, inf to keep it.
    """

    shake: Array
    memory: float
    coasting: float = np.inf


@dataclass(frozen=True, slots=True)
class _Step:
    """What the way back needs of one step of the way forth."""

    x: Array  # (N, C) predicted positions
    rows: Array  # (N, 2 N) predicted covariance of the positions with everything
    gain: Array  # (2 N, M) for the M joints used
    pull: Array  # (M, C) inverse innovation covariance times innovation
    used: Array  # (M,) indices of the joints used
    new: Array  # (K,) indices of the joints whose past was dropped before this step
    keep: Array  # (N,) factor on the velocities coming into this step
    step: float


def start(joints: int, coordinates: int) -> State:
    """The state before anything was seen."""
    return State(
        np.zeros((2, joints, coordinates)),
        np.diag(np.repeat([_NEW_POSITION, _NEW_SPEED], joints)),
        np.full(joints, np.inf),
    )


def smooth(
    measured: Measured, state: State, motion: Motion, *, keep: int, twice: bool = True
) -> tuple[Array, State]:
    """Smoothed positions (T, N, C) of all steps, and the state after the first `keep` of them.

    A first pass doubts measurements far from what was predicted. A second one, if `twice`, doubts
    those far from the first one's curve, which has seen both sides: so a real fast move is not taken
    for an outlier.
    """
    steps, after = _forth(measured, state, motion, None, keep)
    curve = _back(steps)
    if not twice:
        return curve, after
    off = ((measured.z - curve)[..., :2] ** 2).sum(-1) / (
        measured.variance * measured.size[:, None] ** 2
    )
    doubt = np.maximum(1.0, (_TAIL + off) / (_TAIL + 2.0))
    steps, after = _forth(measured, state, motion, doubt, keep)
    return _back(steps), after


def _forth(
    measured: Measured, state: State, motion: Motion, doubt: Array | None, keep: int
) -> tuple[list[_Step], State]:
    """The filter: one `_Step` per step, and the state after the first `keep`."""
    x, p, unseen = state.x.copy(), state.covariance.copy(), state.unseen.copy()
    n = len(unseen)
    noises = {dt: Q_continuous_white_noise(2, dt) for dt in set(measured.step.tolist())}
    steps: list[_Step] = []
    after = state
    for t in range(len(measured)):
        dt = float(measured.step[t])
        seen = np.isfinite(measured.variance[t])
        used = seen.nonzero()[0]
        # Only steps without the joint count: two sightings in a row are no gap, however far apart.
        unseen = np.where(seen, unseen, unseen + dt)
        coast = np.where(seen, 1.0, np.exp(-dt / motion.coasting))
        new = (unseen > motion.memory).nonzero()[0]
        p = _advance(p, dt, noises[dt], motion.shake, coast)
        x[0] += dt * x[1]
        x[1] *= coast[:, None]
        if len(new):
            x, p = _forget(x, p, new, measured.z[t], seen)

        innovation = measured.z[t, used] - x[0, used]
        variance = measured.variance[t, used]
        if doubt is None:
            far = (innovation[:, :2] ** 2).sum(-1) / measured.size[t] ** 2
            far /= p[used, used] + variance
            variance = variance * np.maximum(1.0, (_TAIL + far) / (_TAIL + 2.0))
        else:
            variance = variance * doubt[t, used]

        columns = p[:, used]
        inverse = np.linalg.inv(columns[used] + np.diag(variance))
        gain = columns @ inverse
        steps.append(_Step(x[0], p[:n], gain, inverse @ innovation, used, new, coast, dt))
        x = x + (gain @ innovation).reshape(x.shape)
        p = p - gain @ columns.T
        # Rounding makes it lopsided, and that grows with every step.
        p = (p + p.T) / 2
        unseen[used] = 0.0
        if t == keep - 1:
            after = State(x.copy(), p.copy(), unseen.copy())
    return steps, after


def _advance(p: Array, dt: float, noise: Array, shake: Array, coast: Array) -> Array:
    """The covariance a step later: F P F' + Q with F = [[1, dt], [0, coast]] and Q = noise x shake."""
    n = len(coast)
    positions, mixed, speeds = p[:n, :n], p[:n, n:], p[n:, n:]
    out = np.empty_like(p)
    out[:n, :n] = positions + dt * (mixed + mixed.T) + dt * dt * speeds + shake * noise[0, 0]
    out[:n, n:] = (mixed + dt * speeds) * coast + shake * noise[0, 1]
    out[n:, :n] = out[:n, n:].T
    out[n:, n:] = speeds * coast * coast[:, None] + shake * noise[1, 1]
    return out


def _forget(x: Array, p: Array, new: Array, z: Array, seen: Array) -> tuple[Array, Array]:
    """Drops the past of some joints; those that are seen now start where they are seen."""
    n = x.shape[1]
    both = np.concatenate([new, new + n])
    p[both, :] = 0.0
    p[:, both] = 0.0
    p[new, new] = _NEW_POSITION
    p[new + n, new + n] = _NEW_SPEED
    x[:, new] = 0.0
    begin = new[seen[new]]
    x[0, begin] = z[begin]
    return x, p


def _back(steps: list[_Step]) -> Array:
    """Positions (T, N, C) that know of all steps, by Bierman's recursion over the adjoint of the state."""
    n, c = steps[-1].x.shape
    adjoint = np.zeros((2 * n, c))
    out = np.empty((len(steps), n, c))
    for t in range(len(steps) - 1, -1, -1):
        step = steps[t]
        adjoint[step.used] -= step.gain.T @ adjoint + step.pull
        out[t] = step.x - step.rows @ adjoint
        adjoint[step.new] = 0.0
        adjoint[step.new + n] = 0.0
        adjoint[n:] = step.step * adjoint[:n] + step.keep[:, None] * adjoint[n:]
    return out


def select(state: State, joints: Array) -> State:
    """The state of some of the joints."""
    n = len(state.unseen)
    both = np.concatenate([joints, joints + n])
    return State(state.x[:, joints], state.covariance[np.ix_(both, both)], state.unseen[joints])


def spread(state: State, joints: Array, count: int) -> State:
    """The inverse of `select`: a state of `count` joints, of which only those are known."""
    out = start(count, state.x.shape[2])
    both = np.concatenate([joints, joints + count])
    out.x[:, joints] = state.x
    out.covariance[np.ix_(both, both)] = state.covariance
    out.unseen[joints] = state.unseen
    return out
