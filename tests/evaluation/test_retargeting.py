"""The table of retargeting: every way runs, and bodies retarget like limbs where both are right."""

from __future__ import annotations

from dataclasses import replace

import body_people as people
import numpy as np
import pytest

from dance.evaluation import retargeting
from dance.pose.retarget import RetargetOptions
from dance.surface.fit import FitOptions

ADULT, TALL = people.person(height=0.5), people.person(height=0.65, legs=0.1)


@pytest.fixture(scope="module")
def joints() -> dict[str, np.ndarray]:
    driver = people.clip(ADULT, people.wave, frames=6)
    source = people.clip(TALL, people.stand, frames=1)
    bare = [
        replace(track, poses=[replace(p, stance=None) for p in track.poses])
        for track in (driver, source)
    ]
    ways = retargeting.methods(RetargetOptions(), FitOptions())
    answer = people.clip(TALL, people.wave, frames=6)
    return {name: way(*bare) for name, way in ways.items()} | {"answer": answer.xy}


def test_bodies_and_limbs_come_near_the_answer(joints: dict[str, np.ndarray]) -> None:
    torso = np.linalg.norm(joints["answer"][0, 5] - joints["answer"][0, 11])
    for name in ("body", "limbs"):
        apart = np.linalg.norm(joints[name][:, :17] - joints["answer"][:, :17], axis=-1)
        assert apart.mean() < 0.2 * torso, name
    apart = np.linalg.norm(joints["none"][:, :17] - joints["answer"][:, :17], axis=-1)
    assert apart.mean() > 0.25 * torso


def test_means_compare_every_method_with_limbs() -> None:
    rows = [
        {"triplet": name, "method": method, "estimated": error, "pixels": 100 * error}
        for name, by in (("a", 1.0), ("b", 3.0))
        for method, error in (("limbs", 0.1 * by), ("body", 0.05 * by))
    ]
    limbs, body = retargeting.means(rows)
    assert limbs["estimated"] == pytest.approx(0.2) and limbs["limbs is"] == pytest.approx(1)
    assert body["estimated"] == pytest.approx(0.1) and body["limbs is"] == pytest.approx(2)
