"""Recorded runs of the single-picture generators' published code hold, and what is wrong is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from dance.evaluation import oracles
from dance.evaluation.oracles import _oracle, _run, dpig, pg2, xinggan
from dance.generators import _xing_published as published
from dance.generators import xing

HEAVY = ("xinggan_generator_full_deepfashion", "xinggan_generator_full_market")


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


def test_pg2s_listed_layers_and_the_pose_encodings_hold(recorded: Path) -> None:
    wanted = names(recorded, *pg2.PREFIXES)
    verdicts = list(oracles.run(recorded, wanted))
    assert len(wanted) >= 2 and [v.line() for v in verdicts if not v.holds] == []
    assert sum(v.results for v in verdicts) > 100


def test_a_layer_of_another_shape_and_a_layer_too_many_do_not_hold(recorded: Path) -> None:
    oracle = _oracle.Oracle.read(recorded / "pg2_layers.json")
    facts = copy.deepcopy(dict(oracle.facts))
    section = next(key for key in facts["PG2"] if "128x64" in key)
    rows = facts["PG2"][section]["G1"]["layers"]
    rows[17]["in"] += 1
    other = _oracle.Oracle(oracle.name, facts, oracle.arrays)
    verdict = _run.compared(other, list(pg2.results(other)))
    assert verdict.holds is False and rows[17]["name"] in verdict.worst
    rows[17]["in"] -= 1
    rows.append(dict(rows[-1], name="Pose_AE/G/Conv_30"))
    verdict = _run.compared(other, list(pg2.results(other)))
    assert verdict.holds is False and verdict.worst.endswith("G1, layers")


@pytest.mark.parametrize(
    "key",
    ["pose_solid_r4_u8_HWC.0", "pose_mask_r7_u8.1", "bbox37_y1x1y2x2.0", "vis7.2", "rcv_normalised.1"],
)  # fmt: skip
def test_a_wrong_pose_encoding_does_not_hold(recorded: Path, key: str) -> None:
    oracle = changed(recorded, "pg2_dpig_pose_encodings", key)
    verdict = _run.compared(oracle, list(pg2.results(oracle)))
    assert verdict.holds is False and verdict.worst == key


def test_dpigs_listed_layers_hold_and_another_shape_does_not(recorded: Path) -> None:
    (name,) = names(recorded, *dpig.PREFIXES)
    (verdict,) = oracles.run(recorded, [name])
    assert verdict.holds and verdict.results > 200, verdict.line()
    oracle = _oracle.Oracle.read(recorded / f"{name}.json")
    facts = copy.deepcopy(dict(oracle.facts))
    facts["DPIG"]["market_128x64"]["critics"][1]["layers"][0]["out"] += 1
    other = _oracle.Oracle(oracle.name, facts, oracle.arrays)
    wrong = _run.compared(other, list(dpig.results(other)))
    assert wrong.holds is False and "background critic, first" in wrong.worst


FACTS: dict[str, Any] = {
    "input_nc": [3, 36], "output_nc": 3, "ngf": 2, "norm": "batch", "use_dropout": False, "n_blocks": 1,
    "n_downsampling": 3, "padding": "reflect",
}  # fmt: skip


def test_an_xinggan_of_other_sizes_recorded_elsewhere_holds(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = xing.network(FACTS).eval()
    image, poses = torch.rand(1, 3, 16, 24, requires_grad=True), torch.rand(1, 36, 16, 24)
    painted = network.paint(image, poses)
    probe = torch.rand_like(painted.picture)
    (painted.picture * probe).sum().backward()
    keys = published.keys(network, FACTS)
    ours = published.rename({key: key for key in keys})
    graded = {k: network.get_parameter(p).grad for p, k in ours.items() if p in dict(network.named_parameters())}  # fmt: skip
    norms = [gradient.norm() for gradient in graded.values() if gradient is not None]
    assert image.grad is not None
    tensors = {
        "in.image": image.detach(), "in.poses": poses, "in.probe": probe,
        "out.fake": painted.picture.detach(), "out.fusion_attention": painted.shares.detach(),
        "out.grad_in.image": image.grad, "out.grad_l2": torch.stack(norms),
        **{f"state.{key}": network.state_dict()[place] for place, key in ours.items()},
    }  # fmt: skip
    safetensors.torch.save_file(
        {key: value.contiguous().clone() for key, value in tensors.items()},
        tmp_path / "xinggan_other.safetensors",
    )
    facts = {
        "constructor": FACTS, "mode": "eval", "weights_recipe": {"stored": True},
        "numerics": {"suggested_atol": 1e-4}, "grad_l2_keys": list(graded),
    }  # fmt: skip
    (tmp_path / "xinggan_other.json").write_text(json.dumps(facts), encoding="utf-8")
    (verdict,) = oracles.run(tmp_path)
    assert verdict.holds and verdict.results == 4, verdict.line()
