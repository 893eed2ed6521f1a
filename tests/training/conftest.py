"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_dataset import make_dataset


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small dataset; nobody may write into it."""
    return make_dataset(tmp_path_factory.mktemp("data") / "walk")


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> object:
    """Threads and random numbers are put back."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
