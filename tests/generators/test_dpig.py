"""Disentangled Person Image Generation: its codes, its weights file, published variables, and what it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from dance import convert, joint_maps
from dance.generators import _pg2_nets as nets
from dance.generators import _single, dpig
from dance.types import Array, InputError, Person, Pose

SMALL = {
    "frame": {"height": 24, "width": 16}, "filters": 3, "levels": 3, "code": 5, "crop": 7, "part_levels": 3,
    "part_code": 4, "background_levels": 2, "background_code": 6, "pose_code": 5, "hidden": 8,
    "background_hidden": 6, "radius": 2, "mask_radius": 2, "margin": 1, "lone_margin": 2,
}  # fmt: skip


def architecture(**changes: object) -> dpig.Architecture:
    return dpig.Architecture.model_validate({**SMALL, **changes})


def small(**changes: object) -> dpig.Networks:
    torch.manual_seed(2)
    return dpig.body(architecture(**changes)).eval()


def upright(count: int = 1) -> tuple[Array, Array]:
    """People in the middle of a picture of 24 x 16, all joints seen."""
    rows = [3, 6, 6, 9, 12, 6, 9, 12, 13, 17, 21, 13, 17, 21, 2, 2, 3, 3]
    columns = [8, 8, 6, 5, 4, 10, 11, 12, 7, 7, 7, 9, 9, 9, 7, 9, 6, 10]
    xy = np.stack([columns, rows], -1).astype(np.float32)
    return np.tile(xy, (count, 1, 1)), np.ones((count, 18), np.float32)


def test_a_crop_has_the_corners_of_its_box_at_its_corners() -> None:
    features = torch.arange(24.0).view(1, 1, 4, 6)
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 6.0], [1.0, 1.5, 2.0, 3.0]]])
    out = dpig.crops(features, boxes, 3)
    assert out.shape == (2, 1, 3, 3)
    assert out[0, 0, 0, 0] == 0 and out[0, 0, 2, 2] == 23
    # As published, the last pixel is one less than the size that boxes are shares of.
    y, x = 1 / 4 * 3, 1.5 / 6 * 5
    assert float(out[1, 0, 0, 0]) == pytest.approx(6 * y + x, abs=1e-5)
    y, x = 2 / 4 * 3, 3 / 6 * 5
    assert float(out[1, 0, 2, 2]) == pytest.approx(6 * y + x, abs=1e-5)


def test_crops_lie_part_by_part() -> None:
    features = torch.rand(2, 3, 8, 8)
    boxes = torch.tensor([[0.0, 0, 4, 4], [2.0, 2, 8, 8], [1.0, 0, 5, 3]]).expand(2, -1, -1)
    out = dpig.crops(features, boxes, 5)
    assert out.shape == (6, 3, 5, 5)
    torch.testing.assert_close(out[3], dpig.crops(features[1:], boxes[1:], 5)[1])


def test_a_part_that_is_not_seen_has_no_code() -> None:
    networks = small()
    xy, score = upright(2)
    score[1, [5, 6, 7]] = 0
    image = torch.rand(1, 3, 24, 16).expand(2, -1, -1, -1)
    code = networks.appearance.encoder(image, dpig.places(architecture(), xy, score))
    assert code.shape == (2, 7 * 4 + 6)
    left_arm = slice(3 * 4, 4 * 4)
    assert (code[1, left_arm] == 0).all() and (code[0, left_arm] != 0).any()
    torch.testing.assert_close(code[0, 16:28], code[1, 16:28])


def test_foreground_and_background_are_told_apart() -> None:
    networks, a = small(), architecture()
    at = dpig.places(a, *upright())
    image = torch.rand(1, 3, 24, 16)
    other = image.clone()
    # Beyond the body and what a few convolutions see of it.
    other[..., :, 15:] += 1
    codes = [networks.appearance.encoder(x, at)[0] for x in (image, other)]
    assert not torch.allclose(codes[0][a.appearance :], codes[1][a.appearance :])
    torch.testing.assert_close(*(code[: a.appearance] for code in codes), atol=1e-3, rtol=0)


def test_without_a_background_only_parts_have_codes() -> None:
    networks, a = small(background=False), architecture(background=False)
    assert a.embedding == a.appearance == 28
    assert set(networks.samplers) == {"foreground", "pose"}
    code = networks.appearance.encoder(torch.rand(1, 3, 24, 16), dpig.places(a, *upright()))
    assert code.shape == (1, 28)


def test_a_picture_is_made_of_the_code_and_the_pose() -> None:
    networks, a = small(alpha=True), architecture(alpha=True)
    xy, score = upright()
    pose = nets.discs(xy, score, (24, 16), 2)
    image, at = torch.rand(1, 3, 24, 16), dpig.places(a, xy, score)
    out = networks.appearance(image, at, pose)
    assert out.shape == (1, 4, 24, 16)
    code = networks.appearance.encoder(image, at)
    torch.testing.assert_close(networks.appearance.decode(code, pose), out)
    # As published: the code tiled over the picture, then the discs.
    tiled = torch.cat([code[..., None, None].expand(-1, -1, 24, 16), pose], 1)
    torch.testing.assert_close(networks.appearance.decoder(tiled), out)
    assert not torch.allclose(networks.appearance.decode(code, -pose), out)


def test_pose_codes_give_whole_visibilities_and_gradients_through_them() -> None:
    networks = small()
    vector = torch.from_numpy(joint_maps.to_vector(*(v[0] for v in upright()), (24, 16))).float()
    out = networks.pose(vector.flatten()[None])
    assert out.shape == (1, 54)
    seen = out.view(18, 3)[:, 2]
    assert torch.equal(seen, seen.round())
    networks.pose.zero_grad()
    seen.sum().backward()
    gradient = networks.pose.decoder.get_parameter("outs.1.weight").grad
    assert gradient is not None and bool((gradient != 0).any())


def test_the_pose_decoder_begins_without_an_activation() -> None:
    dense = nets.Dense(2, (3,), width=4, blocks=0, first=False)
    x = torch.randn(5, 2)
    torch.testing.assert_close(dense(x)[0], dense.outs[0](dense.first(x)))
    activated = nets.Dense(2, (3,), width=4, blocks=0)
    torch.testing.assert_close(activated(x)[0], activated.outs[0](nets.leaky(activated.first(x))))


@pytest.mark.parametrize(("part", "numbers"), [("foreground", 28), ("background", 6), ("pose", 5)])
def test_codes_are_sampled_alike_from_the_same_noise(part: str, numbers: int) -> None:
    networks = small()

    def drawn(seed: int) -> Tensor:
        return dpig.sample(networks, part, 3, torch.Generator().manual_seed(seed))

    assert drawn(1).shape == (3, numbers)
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_what_has_no_sampler_is_refused() -> None:
    with pytest.raises(InputError, match="nothing named 'background' is sampled; there are: fore"):
        dpig.sample(small(background=False), "background", 1, torch.Generator())


def test_clothes_and_background_are_exchanged_and_nothing_else() -> None:
    a = architecture()
    mine, other = torch.zeros(1, a.embedding), torch.ones(1, a.embedding)
    upper = dpig.exchanged(a, mine, other, ["upper"])
    assert upper.view(-1)[:28].view(7, 4).mean(-1).tolist() == [0, 1, 0, 1, 1, 0, 0]
    assert float(upper[:, 28:].sum()) == 0 and float(mine.sum()) == 0
    both = dpig.exchanged(a, mine, other, ["lower", "background"])
    assert both[0, :28].view(7, 4).mean(-1).tolist() == [0, 0, 1, 0, 0, 1, 1]
    assert float(both[:, 28:].mean()) == 1
    with pytest.raises(InputError, match="nothing named 'hat' can be exchanged; there are: head"):
        dpig.exchanged(a, mine, other, ["hat"])


def variables(networks: dpig.Networks) -> dict[str, Tensor]:
    """The networks' weights as TensorFlow would keep them."""
    out = {}
    for published, ours in dpig.published_names(networks).items():
        layer = networks.get_submodule(ours)
        assert isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and layer.bias is not None
        turned = layer.weight.permute(2, 3, 1, 0) if layer.weight.dim() == 4 else layer.weight.mT
        out[f"{published}/weights"] = turned.detach().contiguous()
        out[f"{published}/biases"] = layer.bias.detach().clone()
    return out


def test_published_variables_are_converted_whole(tmp_path: Path) -> None:
    # Every other number as published: it is not told by the variables.
    a = dpig.Architecture.model_validate({"filters": 2})
    networks = dpig.body(a)
    path, out = tmp_path / "model.safetensors", tmp_path / "dpig.safetensors"
    state = variables(networks)
    safetensors.torch.save_file(state, path)
    convert.convert("dpig", path, out)
    again, found = dpig.load(out)
    assert again == a
    for key, value in networks.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    state["PoseAE/G/fully_connected/weights"] = state.pop("Gaussian_FC_Bg/G_FC/fully_connected_9/biases")  # fmt: skip
    with pytest.raises(InputError, match=r"missing: samplers\.background\.outs\.0\.bias; unexpected: PoseAE/G"):  # fmt: skip
        dpig.converted(state, "broken")
    with pytest.raises(InputError, match="x: has no Encoder/G_encoder/Conv/weights"):
        dpig.converted({"other": torch.zeros(1)}, "x")


def test_a_weights_file_holds_all_networks_and_draws_what_was_saved(
    tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    torch.manual_seed(4)
    a = dpig.untrained(alpha=True).architecture
    networks = dpig.body(a)
    path = tmp_path / "dpig.safetensors"
    _single.save(path, dpig.NAME, networks, a)
    again = dpig.build(dpig.Config(weights=path), "cpu")
    made = dpig.DPIG(a, networks, "cpu")
    one, _ = made.render(made.encode(person), dance[:2], None)
    other, _ = again.render(again.encode(person), dance[:2], None)
    assert torch.equal(one.rgb, other.rgb) and not other.rgb.requires_grad
    networks.samplers = torch.nn.ModuleDict()
    _single.save(path, dpig.NAME, networks, a)
    with pytest.raises(InputError, match=r"missing: samplers\."):
        dpig.build(dpig.Config(weights=path), "cpu")


def test_sizes_the_decoder_cannot_take_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame\.width = 30 must be a multiple of 4"):
        dpig.untrained(frame={"height": 48, "width": 30})
