"""Fixtures for all tests."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


def shared_folder() -> Path | None:
    """The developers' folder of footage, benchmark and oracles, or None where there is none."""
    named = os.environ.get("DANCE_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of footage, benchmark and oracles; the test is skipped where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("needs the developers' footage folder: set DANCE_SHARED")
    return folder


@pytest.fixture(autouse=True)
def _no_leaking_seeds() -> Iterator[None]:
    """Puts the random generators back as they were, so that no test depends on another's seed."""
    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
