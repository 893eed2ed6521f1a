"""Recorded runs of the published geometric matcher hold, and what is wrong does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dance.evaluation.oracles import _run
from dance.evaluation.oracles import cnngeometric as system
from dance.evaluation.oracles._oracle import Oracle


def test_all_recorded_runs_hold(recorded: Path) -> None:
    verdicts = [_run.verdict(path, system) for path in recorded.glob("cnngeometric_*.json")]
    assert len(verdicts) >= 5 and [v.line() for v in verdicts if not v.holds] == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("cnngeometric_whole", "state.FeatureExtraction.model.21.weight"),
        ("cnngeometric_whole", "out.correlation"),
        ("cnngeometric_regression_small_tps", "out.correlation_4D"),
        ("cnngeometric_regression_small_tps", "out.grad_l2"),
        ("cnngeometric_transforms", "out.composed_affine_then_tps.warped.corners_true"),
        ("cnngeometric_transforms", "out.synth_pair.target.corners_false"),
        ("cnngeometric_transforms", "out.hom_matrix_from_4_points"),
    ],
)
def test_what_is_wrong_does_not_hold(recorded: Path, name: str, key: str) -> None:
    oracle = Oracle.read(recorded / f"{name}.json")
    wrong = torch.as_tensor(oracle.arrays[key]).clone()
    wrong.view(-1)[0] += 0.1 + 0.1 * float(wrong.abs().max())
    changed = Oracle(name, oracle.facts, {**oracle.arrays, key: wrong})
    assert not _run.compared(changed, list(system.results(changed))).holds
