"""Recorded runs of published code: they hold, and what is wrong is told."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from dance.evaluation import oracles
from dance.evaluation.oracles import _oracle
from dance.evaluation.oracles import edn as system
from dance.generators import _pix2pix_published as published
from dance.types import InputError

HEAVY = ("edn_global_generator_full", "edn_local_enhancer_full", "edn_face_generator_global_full")


def names(folder: Path, *prefixes: str) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.json") if p.stem.startswith(prefixes))


def test_all_recorded_runs_of_edn_and_pix2pixhd_hold(recorded: Path) -> None:
    wanted = [n for n in names(recorded, "edn_", "pix2pixhd_") if n not in HEAVY]
    verdicts = list(oracles.run(recorded, wanted))
    assert wanted and [v.line() for v in verdicts if not v.holds] == []


@pytest.mark.slow
def test_the_published_sizes_hold_with_weights_from_their_recipe(recorded: Path) -> None:
    verdicts = list(oracles.run(recorded, HEAVY))
    assert [v.line() for v in verdicts if not v.holds] == []


FACTS: dict[str, Any] = {
    "what": "a small generator",
    "constructor": {
        "input_nc": 6, "output_nc": 3, "ngf": 2, "n_downsampling": 1, "n_blocks": 1, "norm": "instance",
    },
    "mode": "eval",
    "weights_recipe": {"seed": 3, "gain": 1.0, "profile": "he", "stored": True},
    "numerics": {"suggested_atol": 1e-5},
    "gradient_target": "y",
}  # fmt: skip


def record(folder: Path, name: str = "edn_small", **changes: Any) -> dict[str, torch.Tensor]:
    """Writes an oracle of a small generator, made by the network itself; gives its tensors."""
    torch.manual_seed(1)
    constructor = FACTS["constructor"]
    network = published.network(constructor)
    keys = published.published_keys(network, constructor)
    ours = published.rename({key: key for key in keys})
    state = {theirs: network.state_dict()[place] for place, theirs in ours.items()}
    x, probe = torch.rand(1, 6, 8, 12, requires_grad=True), torch.rand(1, 3, 8, 12)
    kept = []
    network.get_submodule("trunk.stem.conv").register_forward_hook(
        lambda module, inputs, out: kept.append(out.detach().clone())
    )
    y = network(x)
    (y * probe).sum().backward()
    gradients = {key: network.get_parameter(place).grad for place, key in ours.items()}
    norms = torch.stack([g.norm() for g in gradients.values() if g is not None])
    assert x.grad is not None
    tensors = {
        "in.x": x.detach(), "in.probe": probe, "out.y": y.detach(), "out.hook.model.1": kept[0],
        "out.grad_in.x": x.grad, "out.grad_l2": norms,
        **{f"state.{key}": value for key, value in state.items()},
    }  # fmt: skip
    tensors |= changes
    facts = {**FACTS, "grad_l2_keys": list(gradients)}
    (folder / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    safetensors.torch.save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()}, folder / f"{name}.safetensors"
    )
    return tensors


def only(folder: Path) -> oracles.Verdict:
    (verdict,) = oracles.run(folder)
    return verdict


def test_a_network_recorded_elsewhere_under_any_name_holds(tmp_path: Path) -> None:
    record(tmp_path, "pix2pixhd_of_another_seed")
    verdict = only(tmp_path)
    assert verdict.holds and verdict.results == 4 and verdict.difference < 1e-6
    assert " holds " in verdict.line()


@pytest.mark.parametrize(
    "output", ["out.y", "out.hook.model.1", "out.grad_in.x", "out.grad_l2", "state.model.1.weight"]
)
def test_a_wrong_tensor_does_not_hold(tmp_path: Path, output: str) -> None:
    tensors = record(tmp_path)
    wrong = tensors[output].clone()
    wrong.view(-1)[0] += 0.01 * (1 + float(wrong.abs().max()))
    record(tmp_path, **{output: wrong})
    verdict = only(tmp_path)
    assert verdict.holds is False
    assert verdict.difference > verdict.tolerance
    assert output.startswith("state") or f"out.{verdict.worst}" == output
    assert "DOES NOT HOLD" in verdict.line()


def test_an_output_of_another_shape_or_not_a_number_does_not_hold(tmp_path: Path) -> None:
    tensors = record(tmp_path)
    record(tmp_path, **{"out.y": tensors["out.y"][:, :2]})
    assert only(tmp_path).difference == float("inf")
    record(tmp_path, **{"out.y": tensors["out.y"] * float("nan")})
    assert only(tmp_path).holds is False


def test_an_output_nobody_makes_again_does_not_hold(tmp_path: Path) -> None:
    record(tmp_path, **{"out.hook.model.99": torch.zeros(1)})
    verdict = only(tmp_path)
    assert verdict.holds is False and "not made again: hook.model.99" in verdict.line()


def test_missing_weights_do_not_hold(tmp_path: Path) -> None:
    tensors = record(tmp_path)
    path = tmp_path / "edn_small.safetensors"
    safetensors.torch.save_file({k: v for k, v in tensors.items() if k != "state.model.4.bias"}, path)  # fmt: skip
    verdict = only(tmp_path)
    assert verdict.holds is False and "trunk.downs.0.conv.bias" in verdict.note


def test_systems_not_built_are_named_and_not_counted(tmp_path: Path) -> None:
    record(tmp_path)
    shutil.copy(tmp_path / "edn_small.json", tmp_path / "martian_generator.json")
    (tmp_path / "index.json").write_text("{}", encoding="utf-8")
    verdicts = list(oracles.run(tmp_path))
    assert [(v.name, v.holds) for v in verdicts] == [("edn_small", True), ("martian_generator", None)]  # fmt: skip
    assert verdicts[1].line().endswith("not built")
    assert oracles.summary(verdicts) == "1 of 1 hold (1 more are of systems not built)"


def test_weights_that_are_not_stored_come_from_their_recipe(tmp_path: Path) -> None:
    constructor = FACTS["constructor"]
    network = published.network(constructor)
    keys = published.published_keys(network, constructor)
    places = published.rename({key: key for key in keys})
    state = network.state_dict()
    shapes = {key: (state[place].shape, state[place].dtype) for place, key in places.items()}
    made = _oracle.recipe_weights(FACTS["weights_recipe"], shapes)
    network.load_state_dict(published.rename(made), strict=True)
    x = torch.rand(1, 6, 8, 12)
    facts = {**FACTS, "weights_recipe": {**FACTS["weights_recipe"], "stored": False}}
    (tmp_path / "edn_full.json").write_text(json.dumps(facts), encoding="utf-8")
    with torch.no_grad():
        y = network.eval()(x)
    safetensors.torch.save_file({"in.x": x, "out.y": y}, tmp_path / "edn_full.safetensors")
    assert only(tmp_path).holds


def test_the_recipe_is_what_the_facts_say() -> None:
    recipe = {"seed": 408, "gain": 2.0, "profile": "he"}
    kinds = {
        "a.weight": ((4, 2, 3, 3), torch.float32), "a.bias": ((4,), torch.float32),
        "n.weight": ((4,), torch.float32), "n.running_var": ((4,), torch.float32),
        "n.num_batches_tracked": ((), torch.int64), "fir.kernel": ((2, 2), torch.float32),
    }  # fmt: skip
    made = _oracle.recipe_weights(recipe, kinds)
    assert "fir.kernel" not in made and int(made["n.num_batches_tracked"]) == 7
    draw = np.random.RandomState((zlib.crc32(b"a.weight") + 408) % 2**32).standard_normal(72)
    expected = (draw.reshape(4, 2, 3, 3) * 2.0 / np.sqrt(18)).astype(np.float32)
    assert np.array_equal(made["a.weight"].numpy(), expected)
    assert (made["n.running_var"] >= 0.5).all()
    again = _oracle.recipe_weights({**recipe, "profile": "equalised"}, {"a.weight": kinds["a.weight"]})  # fmt: skip
    assert np.array_equal(again["a.weight"].numpy(), draw.reshape(4, 2, 3, 3).astype(np.float32))
    special = {**recipe, "gain_overrides_by_substring": {"n.": 9.0, "a.": 4.0}}
    twice = _oracle.recipe_weights(special, {"a.weight": kinds["a.weight"]})
    np.testing.assert_allclose(twice["a.weight"].numpy(), 2 * expected, rtol=1e-6)


def test_pictures_of_another_opencv_may_differ_in_a_few_pixels(recorded: Path) -> None:
    oracle = _oracle.Oracle.read(recorded / "edn_rendering_and_helpers.json")
    other = _oracle.Oracle(oracle.name, {**oracle.facts, "opencv": "4.0.0"}, oracle.arrays)
    tolerances = {r.output: r.tolerance for r in system.results(other)}
    assert tolerances["pose25_bgr_u8"] == 0.005 and tolerances["makebox128"] == 0


def test_folders_and_names_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no oracles"):
        list(oracles.run(tmp_path))
    record(tmp_path)
    with pytest.raises(InputError, match="has no edn_smal; there are: edn_small"):
        list(oracles.run(tmp_path, ["edn_smal"]))
    (tmp_path / "edn_small.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no readable oracle"):
        list(oracles.run(tmp_path))
