"""Recorded runs of the published NTED hold, and a wrong filter or fact is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dance.evaluation.oracles import _run
from dance.evaluation.oracles import nted as system
from dance.evaluation.oracles._oracle import Oracle

FULL = ("nted_generator_full256", "nted_discriminator_full256")


def lines(folder: Path, names: list[str]) -> list[str]:
    verdicts = [_run.verdict(folder / f"{name}.json", system) for name in names]
    return [v.line() for v in verdicts if not v.holds]


def test_all_recorded_runs_hold(recorded: Path) -> None:
    names = [p.stem for p in recorded.glob("nted_*.json") if p.stem not in FULL]
    assert len(names) >= 8 and lines(recorded, names) == []


@pytest.mark.slow
def test_the_published_sizes_hold_with_weights_from_their_recipe(recorded: Path) -> None:
    assert lines(recorded, list(FULL)) == []


@pytest.mark.parametrize(
    ("name", "key", "told"),
    [
        ("nted_generator", "state.reference_encoder.convs.0.blur.kernel", "another filter"),
        ("nted_generator", "out.info.neural_textures.2", "info.neural_textures.2"),
        ("nted_generator", "out.hook.target_image_renderer.convs.1.to_rgb", "hook.target_image"),
        ("nted_discriminator", "out.r1_penalty", "r1_penalty"),
        ("nted_losses", "out.face_crop", "face_crop"),
        ("nted_train_step", "out.loss.dis.r1", "loss.dis.r1"),
        (
            "nted_train_step",
            "out.delta_times_1e4.net_D.final_conv.1.bias",
            "delta_times_1e4.net_D.final_conv.1.bias",
        ),
    ],
)
def test_what_is_wrong_does_not_hold(recorded: Path, name: str, key: str, told: str) -> None:
    oracle = Oracle.read(recorded / f"{name}.json")
    wrong = torch.as_tensor(oracle.arrays[key]).clone()
    wrong.view(-1)[0] += 0.1 + 0.1 * float(wrong.abs().max())
    changed = Oracle(name, oracle.facts, {**oracle.arrays, key: wrong})
    try:
        line = _run.compared(changed, list(system.results(changed))).line()
    except ValueError as error:
        line = f"DOES NOT HOLD {error}"
    assert "DOES NOT HOLD" in line and told in line


def test_the_textures_of_a_scale_are_used_last_found_first(recorded: Path) -> None:
    # Exchanged, the picture must not hold: the order is what a reader gets wrong.
    oracle = Oracle.read(recorded / "nted_generator.json")
    state = {
        key.replace("operations.0.", "operations.2.")
        .replace("operations.1.", "operations.0.")
        .replace("operations.2.", "operations.1."): value
        for key, value in oracle.arrays.items()
    }
    changed = Oracle(oracle.name, oracle.facts, state)
    verdict = _run.compared(changed, list(system.results(changed)))
    assert not verdict.holds and verdict.difference > 100 * verdict.tolerance
