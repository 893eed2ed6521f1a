"""The bench of the 3-D body: its figures are of what they say."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
import torch

from dance.evaluation import speed_surface
from dance.surface import body as bodies
from dance.surface import raster
from dance.surface.stances import project
from dance.types import Camera, Pose, Track


def standing(camera: Camera) -> Pose:
    turns = torch.zeros(1, len(bodies.BONES), 3)
    points = bodies.joints(
        bodies.load(), torch.tensor(bodies.AVERAGE), turns, torch.tensor([[0.0, 0.0, 3.0]])
    )[0].numpy()
    return Pose(project(points, camera).astype(np.float32), np.ones(len(points), np.float32))


def test_as_many_pictures_are_fitted_as_the_row_says() -> None:
    pose = standing(Camera(614.4, (255.5, 255.5)))
    track = Track([pose, pose], [Fraction(0), Fraction(1, 25)], (512, 512))
    [row] = speed_surface.fit_rows(track, frames=5)
    assert "5 pictures" in str(row["what"]) and row["met"] is True
    assert isinstance(row["value"], float) and row["value"] > 0


def test_the_body_drawn_fills_the_picture_and_slow_drawing_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    rasterise = raster.rasterise

    def slow(*args: object, **named: object) -> raster.Fragments:
        time.sleep(0.02)
        drawn.append(rasterise(*args, **named))  # type: ignore[arg-type]
        return drawn[-1]

    quick = speed_surface.raster_rows(calls=3)
    assert [row["bar"] for row in quick] == ["", "<= 15", "<= 15", ""]
    assert all(isinstance(row["value"], float) and row["value"] > 0 for row in quick)
    monkeypatch.setattr(raster, "rasterise", slow)
    assert [row["met"] for row in speed_surface.raster_rows(calls=3)] == [None, False, False, None]
    rows = np.flatnonzero((drawn[-1].face >= 0).any(1))
    assert 0.8 * 512 < rows[-1] - rows[0] < 0.98 * 512
