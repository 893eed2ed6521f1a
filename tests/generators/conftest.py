"""A small drawn person and their dance for the generators' tests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from drawn_person import SIZE, bent, draw_person, standing

from dance import skeleton as sk
from dance.surface.body import AVERAGE, BONES
from dance.types import Camera, Frame, Person, Physique, Pose, Stance, Track, View


@pytest.fixture(scope="session")
def person() -> Person:
    """The drawn person, known from one picture."""
    return _person()


def _person() -> Person:
    pose = standing()
    rgb, alpha = draw_person(pose)
    plate = np.full((*SIZE, 3), 128, np.uint8)
    return Person([View(Frame(rgb), pose, alpha)], plate, Track([pose], [Fraction(0)], SIZE))


@pytest.fixture(scope="session")
def dance() -> list[Pose]:
    """Nine poses: standing, arms going up, a leg lifted, a frame without the person, and back."""
    return _dance()


def _dance() -> list[Pose]:
    start = standing()
    up = {sk.LEFT_ELBOW: (104, 40), sk.LEFT_WRIST: (106, 16)}
    mid = {sk.LEFT_ELBOW: (111, 58), sk.LEFT_WRIST: (130, 56)}
    leg = {sk.RIGHT_KNEE: (40, 116), sk.RIGHT_ANKLE: (34, 148), sk.RIGHT_BIG_TOE: (24, 152)}
    return [
        start, bent(start, mid), bent(start, up), bent(start, {**up, **leg}), Pose.unseen(),
        bent(start, leg), standing((5, -3), 0.9), standing((-8, 2), 1.1), start,
    ]  # fmt: skip


def stance(**turns: tuple[float, float, float]) -> Stance:
    """The body about where the drawn person stands, turned at the bones that are named, radians."""
    found = np.zeros((len(BONES), 3), np.float32)
    for bone, turn in turns.items():
        found[BONES.index(bone)] = turn
    return Stance(found, np.array([0, 0.02, 2.3], np.float32), np.ones(len(BONES), np.float32))


@pytest.fixture(scope="session")
def fitted_person() -> Person:
    """The drawn person with a body that roughly fits them."""
    person = _person()
    height, width = SIZE
    physique = Physique(
        np.array(AVERAGE, np.float32), Camera(200.0, ((width - 1) / 2, (height - 1) / 2))
    )
    arms = stance(left_upper_arm=(0, 0, 0.5), right_upper_arm=(0, 0, -0.5))
    views = [replace(view, pose=replace(view.pose, stance=arms)) for view in person.views]
    return replace(person, views=views, physique=physique)


@pytest.fixture(scope="session")
def fitted_dance() -> list[Pose]:
    """The nine poses with a body that turns and lifts its arms and legs."""
    turned = []
    for i, pose in enumerate(_dance()):
        up = -0.3 * i
        moved = stance(
            pelvis=(0, 0.4 * i, 0), left_upper_arm=(0, 0, up), left_thigh=(-0.1 * i, 0, 0)
        )
        turned.append(replace(pose, stance=moved if pose.found else None))
    return turned
