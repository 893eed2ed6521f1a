"""NTED as a generator: its weights, published checkpoints, and what a person is to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dance import convert, weights
from dance.generators import _nted_published as published
from dance.generators import _single, nted
from dance.generators import _stylegan2 as style
from dance.types import InputError, Person, Pose

FACTS: dict[str, Any] = {
    "size": 64, "semantic_dim": 20, "channels": {16: 4, 32: 3, 64: 2},
    "num_labels": {16: 2, 32: 3, 64: False}, "match_kernels": {16: 1, 32: 3, 64: False},
}  # fmt: skip


def published_state(network: nn.Module) -> dict[str, torch.Tensor]:
    keys = published.published_keys(network, FACTS)
    state = network.state_dict()
    named = {theirs: state[ours] for ours, theirs in published.rename({k: k for k in keys}).items()}
    return {**named, "target_image_renderer.convs.1.conv0.blur.kernel": 4 * style.fir()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As the published training saves it: the last network, the average, and more."""
    path = tmp_path / "epoch_00200_iteration_000495400_checkpoint.pt"
    last, average = (published_state(nted.network(FACTS)) for _ in range(2))
    parallel = {f"module.{key}": value for key, value in last.items()}
    torch.save(
        {"net_G": parallel, "net_G_ema": average, "opt_G": {"state": {}}, "current_epoch": 200},
        path,
    )
    return path


def test_the_average_of_a_published_checkpoint_is_converted_and_drawn(
    checkpoint: Path, tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    output = tmp_path / "nted.safetensors"
    convert.convert("nted", checkpoint, output)
    made = nted.build(nted.Config(weights=output), "cpu")
    assert isinstance(made, nted.Distributor)
    assert made.architecture.frame.size == (64, 44)
    average = torch.load(checkpoint, weights_only=True)["net_G_ema"]
    bare = nted.network(FACTS)
    bare.load_state_dict(published.rename(average), strict=True)
    source, pose = torch.rand(1, 3, 64, 44), torch.rand(1, 20, 64, 44)
    with torch.no_grad():
        assert torch.equal(made.network(source, pose).picture, bare(source, pose).picture)
    drawn, _ = made.render(made.encode(person), dance[:2], None)
    assert drawn.rgb.shape == (2, 3, *person.size)


def test_another_size_is_asked_for_by_name(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "nted.safetensors"
    convert.convert("nted", checkpoint, output, size=(96, 64))
    architecture, _ = _single.load(output, nted.NAME, nted.Architecture, nted.body)
    assert architecture.frame.size == (96, 64)
    with pytest.raises(InputError, match=r"frame\.width = 66 must be a multiple of 4"):
        convert.convert("nted", checkpoint, output, size=(96, 66))


def test_what_is_no_generator_of_nted_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["net_G_ema"]
    wanted = [
        ({"backbone.weight": torch.zeros(1)}, "is no network of NTED"),
        (published_judge(), "is no generator of NTED"),
        ({k: v for k, v in state.items() if "value_conv.bias" not in k}, "missing: .*value.bias"),
        ({**state, "blur.kernel": torch.ones(4, 4)}, "another filter"),
        ({**state, "stray": torch.zeros(1)}, "unexpected: stray"),
    ]
    for wrong, told in wanted:
        with pytest.raises(InputError, match=rf"WRONG\.pt: .*{told}"):
            nted.converted(wrong, "WRONG.pt")
    with pytest.raises(InputError, match="has no face network"):
        nted.converted(state, "WRONG.pt", face_network=state)


def published_judge() -> dict[str, torch.Tensor]:
    facts = {"size": 16, "channels": {4: 4, 8: 3, 16: 2}}
    return published_state(nted.network(facts))


def test_weights_are_saved_with_what_they_need(
    tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    made, path = nted.untrained(alpha=True), tmp_path / "nted.safetensors"
    _single.save(path, nted.NAME, made.network, made.architecture)
    again = nted.build(nted.Config(weights=path), "cpu")
    one, _ = made.render(made.encode(person), dance[:2], None)
    other, _ = again.render(again.encode(person), dance[:2], None)
    assert torch.equal(one.rgb, other.rgb) and not other.rgb.requires_grad
    assert not any(key.endswith("kernel") for key in weights.read_tensors(path))


def test_the_matte_is_the_networks_own_where_it_has_one(person: Person, dance: list[Pose]) -> None:
    for alpha in (False, True):
        torch.manual_seed(1)
        made = nted.untrained(alpha=alpha)
        drawn, _ = made.render(made.encode(person), dance[:1], None)
        assert drawn.alpha is not None
        outside = drawn.alpha[0, 0, :, 0].detach()
        assert not outside.any()
        bare, _ = made.network.draw(
            made.encode(person).textures.values, torch.rand(1, 20, *made.architecture.frame.size)
        )
        assert bare.shape[1] == 3 + alpha
        assert not alpha or (bare[:, 3].min() >= 0 and bare[:, 3].max() <= 1)


def test_a_person_is_studied_once_for_all_poses(person: Person, dance: list[Pose]) -> None:
    made = nted.untrained()
    calls: list[int] = []
    made.network.reference.register_forward_hook(lambda *_: calls.append(1))
    code = made.encode(person)
    made.render(code, dance[:3], None)
    made.render(code, dance[3:], None)
    assert len(calls) == 1


def test_other_textures_dress_the_same_pose_otherwise(person: Person, dance: list[Pose]) -> None:
    torch.manual_seed(2)
    made = nted.untrained()
    view = person.views[0]
    red = replace(view, frame=replace(view.frame, rgb=view.frame.rgb[..., ::-1].copy()))
    mine, theirs = (made.encode(replace(person, views=[v])) for v in (view, red))
    first, second = (made.render(code, dance[:1], None)[0].rgb for code in (mine, theirs))
    assert float((first - second).detach().abs().max()) > 1e-3


def test_sizes_and_scales_the_network_cannot_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame\.width = 30 must be a multiple of 4"):
        nted.untrained(frame={"height": 48, "width": 30})
    with pytest.raises(InputError, match="the last one is the whole picture"):
        nted.untrained(scales=[{"width": 4, "labels": 2}, {"width": 4, "labels": 2}])


def test_openvino_draws_the_same(tmp_path: Path, person: Person, dance: list[Pose]) -> None:
    pytest.importorskip("openvino")
    made, path = nted.untrained(), tmp_path / "nted.safetensors"
    _single.save(path, nted.NAME, made.network, made.architecture)
    eager, fast = (
        nted.build(nted.Config.model_validate({"weights": path, "runtime": runtime}), "cpu")
        for runtime in ("torch", "openvino")
    )
    one, other = (g.render(g.encode(person), dance[:2], None)[0] for g in (eager, fast))
    torch.testing.assert_close(one.rgb, other.rgb, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="device=cuda needs runtime=torch"):
        nted.build(nted.Config(weights=path, runtime="openvino"), "cuda")
