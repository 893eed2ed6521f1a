"""Fixtures of the recipes' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_recipes


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small people; nobody may write into it."""
    return small_recipes.album(tmp_path_factory.mktemp("album") / "people")
