"""XingGAN: its network, its weights file and published checkpoints, and what it is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dance import convert, weights
from dance.generators import _single, xing
from dance.generators import _xing_published as published
from dance.types import InputError, Person, Pose

FACTS = {
    "input_nc": [3, 36], "output_nc": 3, "ngf": 4, "norm": "instance", "use_dropout": True,
    "n_blocks": 2, "n_downsampling": 2, "padding": "reflect",
}  # fmt: skip


def official(**changes: object) -> dict[str, Tensor]:
    """A checkpoint as published, of a small network."""
    facts = {**FACTS, **changes}
    torch.manual_seed(5)
    network = xing.network(facts)
    ours = published.rename({key: key for key in published.keys(network, facts)})
    return {theirs: network.state_dict()[place] for place, theirs in ours.items()}


def small(**changes: object) -> xing.Xing:
    torch.manual_seed(2)
    network = xing.Xing(width=4, blocks=2, candidates=3, **changes)  # type: ignore[arg-type]
    return network.eval()


def inputs(height: int = 24, width: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, height, width, generator=generator) * 2 - 1
    return image, torch.rand(2, 36, height, width, generator=generator)


@pytest.mark.parametrize("size", [(24, 16), (16, 40)])
def test_any_size_that_can_be_halved_is_drawn(size: tuple[int, int]) -> None:
    out = small()(*inputs(*size))
    assert out.shape == (2, 3, *size) and out.abs().max() <= 1


def test_the_picture_is_its_candidates_by_their_shares() -> None:
    image, poses = inputs()
    painted = small().paint(image, poses)
    assert painted.candidates.shape == (2, 7, 3, 24, 16) and painted.shares.shape == (2, 7, 24, 16)
    torch.testing.assert_close(painted.shares.sum(1), torch.ones(2, 24, 16))
    assert torch.equal(painted.candidates[:, -1], image)
    mixed = torch.einsum("bnchw,bnhw->bchw", painted.candidates, painted.shares)
    torch.testing.assert_close(painted.picture, mixed)


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key = torch.randn(2, 30, 4), torch.randn(2, 50, 4)
    value = torch.randn(2, 50, 6)
    whole = (query @ key.mT).softmax(-1) @ value
    monkeypatch.setattr(xing, "_QUERIES", 7)
    torch.testing.assert_close(xing.attend(query, key, value), whole)


def test_streams_cross_by_the_attention_maps() -> None:
    cross = xing.Crossing(8, 2)
    torch.nn.init.ones_(cross.gamma)
    image, poses = torch.randn(1, 8, 5, 4), torch.randn(1, 8, 5, 4)
    first, second = cross.maps(image, poses)
    assert first.shape == (1, 20, 20)
    torch.testing.assert_close(first.sum(-1), torch.ones(1, 20))
    new_image, new_poses = cross(image, poses)
    looked_up = (cross.value(image).flatten(2) @ first.mT).view_as(image)
    torch.testing.assert_close(new_image, image + looked_up)
    looked_up = (cross.value(poses).flatten(2) @ second.mT).view_as(poses)
    torch.testing.assert_close(new_poses, poses + looked_up)


def test_a_matte_is_a_fourth_channel_and_no_candidate() -> None:
    network = small(alpha=True)
    image, poses = inputs()
    out = network(image, poses)
    painted = network.paint(image, poses)
    assert out.shape[1] == 4 and painted.shares.shape[1] == 7
    assert painted.matte is not None and torch.equal(out[:, 3:], painted.matte)
    assert bool((painted.matte >= 0).all()) and bool((painted.matte <= 1).all())


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("dropout", [True, False])
def test_an_official_checkpoint_loads_whole(tmp_path: Path, norm: str, dropout: bool) -> None:
    state = official(norm=norm, use_dropout=dropout)
    path, out = tmp_path / "latest_net_netG.pth", tmp_path / "xing.safetensors"
    torch.save(state, path)
    convert.convert("xing", path, out)
    generator = xing.build(xing.Config(weights=out), "cpu")
    assert isinstance(generator, xing.XingGAN)
    a = generator.architecture
    assert (a.filters, a.blocks, a.norm) == (4, 2, norm)
    assert a.frame.size == ((128, 64) if norm == "batch" else (256, 176))
    expected = xing.network({**FACTS, "norm": norm}).eval()
    expected.load_state_dict(published.rename(state))
    with torch.no_grad():
        assert torch.equal(generator.network(*inputs()), expected(*inputs()))


def test_statistics_of_old_instance_norms_are_left_out_and_counts_need_not_be_there() -> None:
    state = official() | {"model.stream1_down.2.running_mean": torch.zeros(4)}
    xing.converted(state, "old.pth")
    batch = {k: v for k, v in official(norm="batch").items() if not k.endswith("num_batches_tracked")}  # fmt: skip
    xing.converted(batch, "old.pth")


def test_what_is_missing_or_unexpected_in_a_checkpoint_is_listed() -> None:
    state = official()
    state["model.stream1_down.99.weight"] = state.pop("model.att.1.value_conv.weight")
    with pytest.raises(InputError, match=r"blocks\.1\.cross\.value\.weight.*stream1_down\.99") as e:
        xing.converted(state, "broken.pth")
    assert str(e.value).startswith("broken.pth")
    with pytest.raises(InputError, match="is no generator of XingGAN; its first keys are: other"):
        xing.converted({"other": torch.zeros(3)}, "x.pth")
    with pytest.raises(InputError, match="no face network"):
        xing.converted(official(), "x.pth", face_network={})


def test_weights_are_saved_with_what_they_need_and_others_are_refused(
    tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    made = xing.untrained(alpha=True)
    path = tmp_path / "xing.safetensors"
    _single.save(path, xing.NAME, made.network, made.architecture)
    again = xing.build(xing.Config(weights=path), "cpu")
    one, _ = made.render(made.encode(person), dance[:2], None)
    other, _ = again.render(again.encode(person), dance[:2], None)
    assert torch.equal(one.rgb, other.rgb) and not other.rgb.requires_grad
    metadata = weights.read_metadata(path)
    weights.save_safetensors(path, made.network, metadata | {"generator": "pg2"})
    with pytest.raises(InputError, match="they are for the generator 'pg2'"):
        xing.build(xing.Config(weights=path), "cpu")
    config = json.loads(metadata["config"]) | {"blocks": 3}
    weights.save_safetensors(path, made.network, metadata | {"config": json.dumps(config)})
    with pytest.raises(InputError, match=r"missing: blocks\.2"):
        xing.build(xing.Config(weights=path), "cpu")


def test_the_variant_decides_how_poses_are_shown() -> None:
    fixed = xing.Architecture.model_validate({"frame": {"height": 48, "width": 32}})
    xy, score = np.full((1, 18, 2), 10.0), np.ones((1, 18), np.float32)
    gaussians = xing.maps(fixed, xy, score)
    points = xing.maps(fixed.model_copy(update={"variant": "published"}), xy, score)
    assert gaussians.shape == points.shape == (1, 18, 48, 32)
    assert points.sum() == 18 and points[0, 0, 10, 10] == 1
    assert float(gaussians[0, 0, 10, 16]) == pytest.approx(np.exp(-0.5))


def test_sizes_the_network_cannot_take_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame\.width = 30 must be a multiple of 4"):
        xing.untrained(frame={"height": 48, "width": 30})


def test_the_person_is_drawn_where_the_pose_stands(person: Person, dance: list[Pose]) -> None:
    made = xing.untrained()
    code = made.encode(person)
    pose = dance[0]
    aside = replace(pose, xy=pose.xy + np.array([30, 0], np.float32))
    drawn, _ = made.render(code, [pose, aside], None)
    assert drawn.alpha is not None
    there, moved = drawn.alpha[0, 0].detach(), drawn.alpha[1, 0].detach()
    assert there.max() > 0.9
    torch.testing.assert_close(moved[:, 60:130], there[:, 30:100], atol=1e-3, rtol=0)
    body = pose.xy[:17].astype(int)
    assert all(there[y, x] > 0.5 for x, y in body)


def test_the_network_sees_the_person_at_one_size(person: Person, dance: list[Pose]) -> None:
    made = xing.untrained(frame={"height": 96, "width": 64})
    seen = _single.study(person, made.architecture.frame, "cpu", alone=True)
    assert seen.picture.shape == (1, 3, 96, 64)
    shoulders, hips = seen.xy[[2, 5]].mean(0), seen.xy[[8, 11]].mean(0)
    assert float(np.linalg.norm(shoulders - hips)) == pytest.approx(0.21 * 96, abs=0.1)
    # On plain grey: nothing of what is behind.
    assert float(seen.picture[0, :, seen.matte[0, 0] == 0].abs().max()) < 1e-6
    assert float(seen.matte.max()) == 1
