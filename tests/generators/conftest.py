"""A small drawn person and their dance for the generators' tests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from drawn_person import SIZE, bent, draw_person, standing

from dance import skeleton as sk
from dance.types import Frame, Person, Pose, Track, View


@pytest.fixture(scope="session")
def person() -> Person:
    """The drawn person, known from one picture."""
    pose = standing()
    rgb, alpha = draw_person(pose)
    plate = np.full((*SIZE, 3), 128, np.uint8)
    return Person([View(Frame(rgb), pose, alpha)], plate, Track([pose], [Fraction(0)], SIZE))


@pytest.fixture(scope="session")
def dance() -> list[Pose]:
    """Nine poses: standing, arms going up, a leg lifted, a frame without the person, and back."""
    start = standing()
    up = {sk.LEFT_ELBOW: (104, 40), sk.LEFT_WRIST: (106, 16)}
    mid = {sk.LEFT_ELBOW: (111, 58), sk.LEFT_WRIST: (130, 56)}
    leg = {sk.RIGHT_KNEE: (40, 116), sk.RIGHT_ANKLE: (34, 148), sk.RIGHT_BIG_TOE: (24, 152)}
    return [
        start, bent(start, mid), bent(start, up), bent(start, {**up, **leg}), Pose.unseen(),
        bent(start, leg), standing((5, -3), 0.9), standing((-8, 2), 1.1), start,
    ]  # fmt: skip
