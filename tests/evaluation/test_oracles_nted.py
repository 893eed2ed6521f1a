"""Recorded runs of the published NTED hold, and a wrong filter or fact is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dance.evaluation.oracles import _run
from dance.evaluation.oracles import nted as system
from dance.evaluation.oracles._oracle import Oracle
from dance.generators import _nted_published as published
from dance.generators import nted

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


def test_a_generator_of_other_scales_recorded_elsewhere_holds(tmp_path: Path) -> None:
    facts = {
        "size": 128, "semantic_dim": 20, "channels": {"16": 5, "32": 4, "64": 4, "128": 3},
        "num_labels": {"16": 3, "32": False, "64": 4, "128": False},
        "match_kernels": {"16": 3, "32": False, "64": 1, "128": False},
    }  # fmt: skip
    torch.manual_seed(1)
    network = nted.network(facts)
    keys = published.published_keys(network, facts)
    ours = published.rename({key: key for key in keys})
    state = {f"state.{theirs}": network.state_dict()[place] for place, theirs in ours.items()}
    source, pose = torch.rand(1, 3, 96, 64), torch.rand(1, 20, 96, 64)
    drawn = network(source, pose)
    tensors = {"in.source_image": source, "in.skeleton": pose, "out.fake_image": drawn.picture}
    tensors |= {f"out.info.semantic_distribution.{i}": v for i, v in enumerate(drawn.scores)}
    tensors |= {f"out.info.neural_textures.{i}": v for i, v in enumerate(drawn.textures.values)}
    tensors |= {f"out.info.extraction_softmax.{i}": v for i, v in enumerate(drawn.textures.weights)}
    told = {
        "constructor": facts, "mode": "eval", "numerics": {"suggested_atol": 1e-5},
        "weights_recipe": {"seed": 9, "profile": "equalised", "stored": True},
    }  # fmt: skip
    path = tmp_path / "nted_generator_of_another_size.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    whole = {k: v.detach().contiguous().clone() for k, v in (state | tensors).items()}
    safetensors.torch.save_file(whole, path.with_suffix(".safetensors"))
    verdict = _run.verdict(path, system)
    assert verdict.holds and verdict.results == len(tensors) - 2
