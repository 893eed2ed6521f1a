"""Recorded runs of the single-picture generators' published code hold, and what is wrong is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dance.evaluation import oracles
from dance.evaluation.oracles import _oracle, _run, xinggan

HEAVY = ("xinggan_generator_full_deepfashion", "xinggan_generator_full_market")


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> Path:
    """The folder of oracles: the environment's DANCE_ORACLES, else that of the developers."""
    named = os.environ.get("DANCE_ORACLES")
    shared: Path | None = None if named else request.getfixturevalue("shared")
    return Path(named) if named else Path(str(shared)) / "oracles"


def names(folder: Path, *prefixes: str) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.json") if p.stem.startswith(prefixes))


def test_all_recorded_runs_of_xinggan_hold(recorded: Path) -> None:
    wanted = [n for n in names(recorded, *xinggan.PREFIXES) if n not in HEAVY]
    verdicts = list(oracles.run(recorded, wanted))
    assert len(wanted) >= 6 and [v.line() for v in verdicts if not v.holds] == []


@pytest.mark.slow
def test_xinggan_in_its_published_sizes_holds(recorded: Path) -> None:
    verdicts = list(oracles.run(recorded, HEAVY))
    assert [v.line() for v in verdicts if not v.holds] == []


def changed(folder: Path, name: str, key: str) -> _oracle.Oracle:
    """The oracle with one number of one array changed."""
    oracle = _oracle.Oracle.read(folder / f"{name}.json")
    value = np.array(np.asarray(oracle.arrays[key]), order="C")
    value.reshape(-1)[value.size // 2] += 1
    tensors = isinstance(oracle.arrays[key], torch.Tensor)
    replaced = torch.from_numpy(value) if tensors else value
    return _oracle.Oracle(oracle.name, oracle.facts, {**oracle.arrays, key: replaced})


@pytest.mark.parametrize(
    "key",
    ["out.fake", "out.attention.pose.block2", "out.hook.att.1.1", "out.fusion_attention", "out.grad_in.poses"],
)  # fmt: skip
def test_a_wrong_number_of_xinggan_does_not_hold(recorded: Path, key: str) -> None:
    oracle = changed(recorded, "xinggan_generator_instance", key)
    verdict = _run.compared(oracle, list(xinggan.results(oracle)))
    assert verdict.holds is False and verdict.worst == key.removeprefix("out.")


@pytest.mark.parametrize(
    "key",
    [
        "float_map_256x176_sigma6_every4th.1", "fashion_uint8_map_nonzero_yxc.0",
        "market_map_128x64_sigma6_every2nd.2", "map_to_cord_of_market_map.0", "gfla_affine_peaks_yx.1",
        "gfla_map_affine_every8th.2",
    ],
)  # fmt: skip
def test_a_wrong_map_does_not_hold(recorded: Path, key: str) -> None:
    oracle = changed(recorded, "pose_maps", key)
    verdict = _run.compared(oracle, list(xinggan.results(oracle)))
    assert verdict.holds is False and verdict.worst == key
