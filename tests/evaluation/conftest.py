"""Small clips, made here."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dance import demo, video
from dance.types import Frame

Maker = Callable[..., Path]


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> Path:
    """The folder of oracles: the environment's DANCE_ORACLES, else that of the developers."""
    named = os.environ.get("DANCE_ORACLES")
    shared: Path | None = None if named else request.getfixturevalue("shared")
    return Path(named) if named else Path(str(shared)) / "oracles"


@pytest.fixture
def make_clip(tmp_path: Path) -> Maker:
    """make_clip(name, frames=5, sound=False, times=None, shade=0): a small clip of moving stripes."""

    def make(
        name: str,
        frames: int = 5,
        sound: bool = False,
        times: list[Fraction] | None = None,
        shade: int = 0,
    ) -> Path:
        stripes = np.repeat(np.arange(64) // 8 % 2 * 100 + shade, 3).reshape(1, 64, 3)
        base = np.broadcast_to(stripes, (48, 64, 3)).astype(np.uint8)
        times = times or [Fraction(i, 25) for i in range(frames)]
        pictures = [Frame(np.roll(base, 4 * i, 1).copy(), t, i) for i, t in enumerate(times)]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        video.write(
            pictures, path, encoding=video.Encoding(preset="ultrafast"),
            sound=demo.DRIVER if sound else None, overwrite=True,
        )  # fmt: skip
        return path

    return make
