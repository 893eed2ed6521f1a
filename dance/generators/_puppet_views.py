"""Which of several views of the person a pose is drawn from, and how one gives way to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dance.generators._puppet_bones import gaze, upright
from dance.generators._puppet_figure import Figure, Rest, looking, middle
from dance.skeleton import (
    LEFT_ANKLE,
    LEFT_ELBOW,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_WRIST,
    RIGHT_ANKLE,
    RIGHT_ELBOW,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_WRIST,
)
from dance.types import Array

_LIMBS = (
    LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST, LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE,
)  # fmt: skip
_BETTER = 0.12  # another view must be this much nearer before it takes over
_STAY = 10  # frames a view is kept at least
_HIDDEN = 0.15  # what each limb joint that a view does not show adds


@dataclass(frozen=True, slots=True)
class Choice:
    """The view drawn, the one it is fading from (None when it has faded) and for how many frames it is chosen."""

    view: int
    leaving: int | None = None
    frames: int = 0

    def share(self, fade: int) -> float:
        """How much of the picture the view has; the rest is still the leaving view's."""
        return 1.0 if self.leaving is None else min(1.0, (self.frames + 1) / (fade + 1))


@dataclass(frozen=True, slots=True)
class Look:
    """What tells one figure's stance from another's, whatever its size and place.

    trunk, face: radians the trunk and the face are turned.  limbs: (8, 2) joints from the mid-hip in
    trunk lengths.  shown: (8,) bool.
    """

    trunk: float
    face: float
    limbs: Array
    shown: Array


def look(figure: Figure, rest: Rest, scale: float) -> Look:
    """The look of a figure drawn `scale` times as large as the rest."""
    hips = middle(figure.xyz, LEFT_HIP, RIGHT_HIP)[:2]
    size = scale * float(rest.rods[:2].mean())
    turned = upright(rest, figure, scale)
    limbs = (figure.xyz[list(_LIMBS), :2] - hips) / max(size, 1e-6)
    face = gaze(looking(figure.xyz)[0])
    return Look(float(np.angle(turned)), face, limbs, figure.seen[list(_LIMBS)])


def distance(view: Look, target: Look) -> float:
    """How unlike two looks are: 0 the same, about 1 a quarter turn apart."""
    trunk = abs(np.angle(np.exp(1j * (view.trunk - target.trunk))))
    face = abs(np.angle(np.exp(1j * (view.face - target.face))))
    away = np.minimum(np.hypot(*(view.limbs - target.limbs).T), 1.5)
    hidden = float((target.shown & ~view.shown).mean())
    return float(
        trunk / (np.pi / 2) + 0.25 * face / (np.pi / 2) + 0.35 * away.mean() + _HIDDEN * 8 * hidden
    )


def choose(views: Sequence[Look], target: Look, before: Choice | None, fade: int) -> Choice:
    """The view for a frame; it changes only for a clearly nearer one, and not while still fading."""
    distances = np.array([distance(view, target) for view in views])
    # The views come best first, which decides between equals.
    best = int(np.argmin(distances + 0.01 * np.arange(len(views))))
    if before is None:
        return Choice(best)
    frames = before.frames + 1
    leaving = before.leaving if frames < fade else None
    settled = leaving is None and frames >= _STAY
    if settled and best != before.view and distances[best] < distances[before.view] - _BETTER:
        return Choice(best, before.view, 0)
    return Choice(before.view, leaving, frames)
