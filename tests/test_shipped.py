"""The small weights that come with the project: whole, small, and they say what they are."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch

from dance import plugins, release, weights
from dance.config import Plugin, check
from dance.pipeline import build_generator

ROOT = Path(__file__).parents[1]
NAMES = ("dense_transfer", "dpig", "nted", "pg2", "softgate", "xing")
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def path(name: str) -> Path:
    found = weights.shipped(name)
    assert found is not None, f"no weights of {name} come with the project"
    return found


@each
def test_they_are_small_and_half_as_precise(path: Path) -> None:
    assert path.stat().st_size <= release.LARGEST
    kinds = {value.dtype for value in weights.read_tensors(path).values()}
    assert kinds <= {torch.float16, torch.int64}


@each
def test_they_say_what_they_were_taught_with_and_may_be_used_for(name: str, path: Path) -> None:
    told = weights.read_metadata(path)
    module = plugins.load("dance.generators", name)
    a = check(module.Architecture, json.loads(told["config"]), name)
    assert told["generator"] == name and a.alpha and a.frame.size == (128, 96)
    data, recipe = json.loads(told["data"]), json.loads(told["recipe"])
    assert data["reader"] == "synthetic" and data["seed"] >= 0 and len(data["sha256"]) == 64
    assert recipe["name"] == name and recipe["options"]["generator"]["alpha"]
    assert int(told["steps"]) > 0 and 0 < float(told["minutes"]) <= 21
    assert json.loads(told["held_out"])["psnr"] > 10
    assert told["licence"].startswith("Apache-2.0") and "CC0" in told["licence"]
    # No path of the machine they were made on.
    assert not re.search(r'(?:^|[\s"])(?:/\w|[A-Z]:\\)', " ".join(told.values()))


@each
def test_the_generator_is_built_from_them(name: str, path: Path) -> None:
    generator = build_generator(Plugin(name=name), "cpu")
    parameters = [p for p in generator.network.parameters()]  # type: ignore[attr-defined]
    assert {p.dtype for p in parameters} == {torch.float32}
    assert not any(p.requires_grad for p in parameters)


def test_nothing_else_is_there_and_all_of_it_is_installed() -> None:
    there = {path.name for path in weights.SHIPPED.iterdir()}
    assert there == {weights.SUMS, *(f"{name}.safetensors" for name in NAMES)}
    assert set(weights.released()) == there - {weights.SUMS}
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "shipped/*" in setuptools["package-data"]["dance"]


def test_the_files_that_say_what_an_installation_needs_hold_nothing_but_packages() -> None:
    # Packaging does not follow "-r FILE"; with such a line nothing can be installed.
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    dynamic = setuptools["dynamic"]
    told = [dynamic["dependencies"], *dynamic["optional-dependencies"].values()]
    files = [name for one in told for name in one["file"]]
    assert len(files) == 3
    for name in files:
        lines = (ROOT / name).read_text("utf-8").splitlines()
        assert all(re.match(r"#|[A-Za-z0-9]", line) for line in lines if line.strip())
