"""The filter against filterpy, and what it does with outliers, gaps and joints that move together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter

from dance.pose import kalman
from dance.pose.kalman import Measured, Motion

Array = np.ndarray[Any, Any]


def walk(steps: int, joints: int, noise: float, seed: int = 0) -> tuple[Array, Array]:
    """A smooth path (steps, joints, 2) through space and the same with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)[:, None, None] / 25
    phase = rng.uniform(0, 6, (1, joints, 2))
    path = np.sin(2 * t + phase) + 0.3 * t
    return path, path + rng.normal(0, noise, path.shape)


def measured(z: Array, noise: float, step: Array | float = 0.04) -> Measured:
    steps, joints = z.shape[:2]
    return Measured(
        z, np.full((steps, joints), noise**2), np.ones(steps), np.broadcast_to(step, (steps,))
    )


def by_filterpy(data: Measured, shake: Array) -> Array:
    """The smoothed positions of filterpy's filter over the whole group at once."""
    steps, n, c = data.z.shape
    kf = KalmanFilter(dim_x=2 * n, dim_z=n)
    kf.x = np.vstack([data.z[0], np.zeros((n, c))])
    kf.P = np.diag(np.repeat([1.0, 4.0], n))
    h = np.hstack([np.eye(n), np.zeros((n, n))])
    eye, zero = np.eye(n), np.zeros((n, n))
    xs, ps, fs, qs = [], [], [], []
    for t in range(steps):
        dt = data.step[t]
        f = np.block([[eye, dt * eye], [zero, eye]])
        q = np.block([[shake * dt**3 / 3, shake * dt**2 / 2], [shake * dt**2 / 2, shake * dt]])
        if t:
            kf.predict(F=f, Q=q)
        kf.update(data.z[t], R=np.diag(data.variance[t]), H=h)
        xs.append(kf.x.copy())
        ps.append(kf.P.copy())
        fs.append(f)
        qs.append(q)
    smoothed = kf.rts_smoother(np.array(xs), np.array(ps), fs, qs)[0]
    return smoothed[:, :n]


def no_doubt(data: Measured, shake: Array) -> Array:
    # A size this large makes every innovation ordinary, so no measurement is doubted.
    calm = Measured(data.z, data.variance, np.full(len(data), 1e9), data.step)
    return kalman.smooth(
        calm, kalman.start(*data.z.shape[1:]), Motion(shake, 0.5), keep=len(data), twice=False
    )[0]


@pytest.mark.parametrize("together", [0.0, 30.0])
def test_it_equals_filterpys_filter_and_rts_smoother(together: float) -> None:
    _, z = walk(60, 4, 0.05)
    step = np.random.default_rng(1).uniform(0.02, 0.1, 60)
    data = measured(z, 0.05, step)
    shake = together + 5.0 * np.eye(4)
    np.testing.assert_allclose(no_doubt(data, shake), by_filterpy(data, shake), atol=1e-9)


def test_smoothing_halves_the_error_of_noisy_measurements() -> None:
    path, z = walk(100, 3, 0.05)
    out, _ = kalman.smooth(
        measured(z, 0.05), kalman.start(3, 2), Motion(5.0 * np.eye(3), 0.5), keep=100
    )
    assert np.abs(out - path).mean() < 0.5 * np.abs(z - path).mean()


def test_a_single_outlier_hardly_moves_the_curve() -> None:
    path, z = walk(60, 3, 0.01)
    z[30, 1] += 1.0
    out, _ = kalman.smooth(
        measured(z, 0.04), kalman.start(3, 2), Motion(20.0 * np.eye(3), 0.5), keep=60
    )
    assert np.abs(out - path)[30, 1].max() < 0.06


def test_a_real_fast_move_is_followed() -> None:
    z = np.zeros((60, 3, 2))
    # Six torso lengths a second: a quick punch.
    z[30:, 1] = np.clip(np.arange(30) / 4, 0, 1)[:, None]
    out, _ = kalman.smooth(
        measured(z, 0.04), kalman.start(3, 2), Motion(20.0 * np.eye(3), 0.5), keep=60
    )
    assert np.abs(out - z).max() < 0.15


def test_a_person_who_is_suddenly_elsewhere_is_found_there_within_three_frames() -> None:
    z = np.zeros((60, 3, 2))
    z[30:] = 1.0
    out, _ = kalman.smooth(
        measured(z, 0.04), kalman.start(3, 2), Motion(20.0 * np.eye(3), 0.5), keep=60
    )
    assert np.abs(out - z)[33:].max() < 0.1
    assert np.abs(out - z)[:27].max() < 0.1


def test_a_hidden_joint_is_carried_along_by_the_others() -> None:
    path = np.zeros((60, 4, 2))
    path[30:, :, 0] = np.linspace(0, 1.5, 30)[:, None]
    data = measured(path, 0.03)
    data.variance[28:, 3] = np.inf
    alone, _ = kalman.smooth(data, kalman.start(4, 2), Motion(60.0 * np.eye(4), 5.0), keep=60)
    together, _ = kalman.smooth(
        data, kalman.start(4, 2), Motion(60.0 + 1.0 * np.eye(4), 5.0), keep=60
    )
    assert np.abs(together - path)[40, 3].max() < 0.3 * np.abs(alone - path)[40, 3].max()


def test_a_joint_comes_back_after_a_long_absence_where_it_is_seen() -> None:
    z = np.zeros((60, 2, 2))
    z[40:, 1] = 7.0
    data = measured(z, 0.03)
    data.variance[10:40, 1] = np.inf
    out, _ = kalman.smooth(data, kalman.start(2, 2), Motion(10.0 + np.eye(2), 0.5), keep=60)
    np.testing.assert_allclose(out[40:, 1], 7.0, atol=0.01)
    np.testing.assert_allclose(out[:10, 1], 0.0, atol=0.01)
    np.testing.assert_allclose(out[:, 0], 0.0, atol=0.01)


def test_going_on_from_the_state_equals_one_go_where_the_future_is_in_sight() -> None:
    _, z = walk(120, 3, 0.05)
    data, motion = measured(z, 0.05), Motion(10.0 + 5.0 * np.eye(3), 0.5)
    whole, _ = kalman.smooth(data, kalman.start(3, 2), motion, keep=120, twice=False)

    def part(a: int, b: int) -> Measured:
        return Measured(data.z[a:b], data.variance[a:b], data.size[a:b], data.step[a:b])

    first, state = kalman.smooth(part(0, 100), kalman.start(3, 2), motion, keep=50, twice=False)
    second, _ = kalman.smooth(part(50, 120), state, motion, keep=70, twice=False)
    np.testing.assert_allclose(np.concatenate([first[:50], second]), whole, atol=1e-4)


def test_selecting_and_spreading_a_state_gives_it_back() -> None:
    _, z = walk(10, 3, 0.05)
    _, state = kalman.smooth(
        measured(z, 0.05), kalman.start(3, 2), Motion(10.0 + np.eye(3), 0.5), keep=10
    )
    joints = np.array([0, 2, 3])
    wide = kalman.spread(state, joints, 5)
    again = kalman.select(wide, joints)
    np.testing.assert_array_equal(again.x, state.x)
    np.testing.assert_array_equal(again.covariance, state.covariance)
    assert np.isinf(wide.unseen[[1, 4]]).all()
