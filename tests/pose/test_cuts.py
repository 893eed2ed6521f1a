"""Cuts are found, and nothing else is taken for one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dance.pose.cuts import LOOK, mark_cuts
from dance.types import Frame

Array = np.ndarray[Any, Any]


def scene(seed: int, count: int, *, pan: float = 0.0) -> list[Array]:
    """Pictures of one blurry place, the camera panning by `pan` pixels a frame."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 40, 3), np.uint8)
    wide = cv2.resize(small, (800, 240), interpolation=cv2.INTER_CUBIC)
    return [
        np.ascontiguousarray(np.roll(wide, -round(pan * i), axis=1)[:, :320]) for i in range(count)
    ]


def cuts_of(pictures: list[Array]) -> list[int]:
    frames = [Frame(p, Fraction(i, 25), i) for i, p in enumerate(pictures)]
    marked = list(mark_cuts(frames))
    assert [frame.index for frame, _ in marked] == list(range(len(frames)))
    return [frame.index for frame, cut in marked if cut]


def test_hard_cuts_are_found_at_their_frames() -> None:
    assert cuts_of(scene(1, 20) + scene(2, 15) + scene(3, 20)) == [20, 35]


def test_a_moving_camera_is_no_cut() -> None:
    assert cuts_of(scene(1, 60, pan=6.0)) == []


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_no_cut(length: int) -> None:
    pictures = scene(1, 40)
    for i in range(20, 20 + length):
        pictures[i] = np.full_like(pictures[i], 255)
    assert cuts_of(pictures) == []


def test_a_cut_under_moving_cameras_is_found() -> None:
    assert cuts_of(scene(1, 20, pan=3.0) + scene(2, 20, pan=3.0)) == [20]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_very_short_clips_pass_through(count: int) -> None:
    assert cuts_of(scene(1, count)) == []


def test_only_as_many_frames_as_needed_are_held() -> None:
    taken = 0

    def frames() -> Any:
        nonlocal taken
        for i, picture in enumerate(scene(1, 30)):
            taken += 1
            yield Frame(picture, Fraction(i, 25), i)

    for given, _ in enumerate(mark_cuts(frames()), start=1):
        assert taken - given <= LOOK


def test_pictures_of_any_size_are_accepted() -> None:
    for size in ((2, 2), (3, 500), (2000, 5)):
        assert cuts_of([np.zeros((*size, 3), np.uint8)] * 6) == []


@pytest.mark.slow
def test_real_footage_has_the_cuts_it_has(shared: Path) -> None:
    from dance import video

    footage = shared / "footage"
    expected = {footage / "nasty" / "hard_cuts_two_scenes.mp4": [72, 144]}
    expected |= {clip: [] for clip in sorted((footage / "drivers").glob("*.mp4"))}
    expected |= {clip: [] for clip in sorted((footage / "sources").glob("*.mp4"))}
    for clip, cuts in expected.items():
        found = [f.index for f, cut in mark_cuts(video.read(clip, size=(256, 144))) if cut]
        assert found == cuts, clip
