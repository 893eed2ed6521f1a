"""PG2: its two stages, its weights file, published variables, and what it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor

from dance import convert, weights
from dance.generators import _pg2_nets as nets
from dance.generators import _single, pg2
from dance.types import InputError, Person, Pose

SMALL = {"frame": {"height": 24, "width": 16}, "filters": 3, "levels": 3, "code": 5, "refine_levels": 2, "refine_skips": 1}  # fmt: skip


def small(**changes: object) -> pg2.Networks:
    torch.manual_seed(2)
    return pg2.body(pg2.Architecture.model_validate({**SMALL, **changes}))


def variables(networks: pg2.Networks) -> dict[str, Tensor]:
    """The networks' weights as TensorFlow would keep them."""
    out = {}
    for published, ours in pg2.published_names(networks).items():
        layer = networks.get_submodule(ours)
        assert isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and layer.bias is not None
        turned = layer.weight.permute(2, 3, 1, 0) if layer.weight.dim() == 4 else layer.weight.mT
        out[f"{published}/weights"] = turned.detach().contiguous()
        out[f"{published}/biases"] = layer.bias.detach() + 0.1
    return out


@pytest.mark.parametrize(("side", "kernel"), [(8, 3), (7, 3), (8, 5), (9, 5)])
def test_a_stride_pads_as_tensorflow_does(side: int, kernel: int) -> None:
    conv = nets.Same(2, 3, kernel, 2)
    x = torch.randn(1, 2, side, side)
    whole = F.conv2d(x, conv.weight, conv.bias, padding=kernel - 1)
    total = max(0, (-(-side // 2) - 1) * 2 + kernel - side)
    first = kernel - 1 - total // 2
    expected = whole[..., first::2, first::2][..., : -(-side // 2), : -(-side // 2)]
    torch.testing.assert_close(conv(x), expected)


def reading(state: dict[str, Tensor], scope: str, x: Tensor, levels: int) -> Tensor:
    """The first stage written down layer by layer as published, straight from its variables."""
    number = iter(range(1000))

    def conv(x: Tensor, stride: int = 1, act: bool = True) -> Tensor:
        i = next(number)
        name = f"{scope}/Conv_{i}" if i else f"{scope}/Conv"
        weight = state[f"{name}/weights"].permute(3, 2, 0, 1)
        if stride == 2:
            x = F.pad(x, (0, 1, 0, 1))
        out = F.conv2d(x, weight, state[f"{name}/biases"], stride, (weight.shape[-1] // 2) * (stride == 1))  # fmt: skip
        return out.relu() if act else out

    x, skips = conv(x), []
    for i in range(levels):
        x = x + conv(conv(x))
        skips.append(x)
        if i < levels - 1:
            x = conv(x, 2)
    height, width = x.shape[-2:]
    flat = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    code = flat @ state[f"{scope}/fully_connected/weights"] + state[f"{scope}/fully_connected/biases"]  # fmt: skip
    flat = code @ state[f"{scope}/fully_connected_1/weights"] + state[f"{scope}/fully_connected_1/biases"]  # fmt: skip
    x = flat.reshape(len(x), height, width, -1).permute(0, 3, 1, 2)
    for i in range(levels):
        x = torch.cat([x, skips.pop()], 1)
        x = x + conv(conv(x))
        if i < levels - 1:
            x = conv(x.repeat_interleave(2, -1).repeat_interleave(2, -2))
    return conv(x, act=False)


def test_the_first_stage_is_a_plain_reading_of_its_published_layers() -> None:
    networks = small()
    state = variables(networks)
    networks.load_state_dict(nets.from_published(state, pg2.published_names(networks)))
    x = torch.randn(2, 21, 24, 16)
    torch.testing.assert_close(networks.coarse(x), reading(state, "Pose_AE/G", x, 3))


def test_the_refined_picture_is_the_coarse_one_with_a_difference_added() -> None:
    networks = small()
    image, pose = torch.rand(2, 3, 24, 16), torch.rand(2, 18, 24, 16)
    coarse, refined = networks(image, pose)
    difference = networks.refine(torch.cat([coarse, image], 1))
    assert coarse.shape == refined.shape == (2, 3, 24, 16)
    torch.testing.assert_close(refined, coarse + difference)


def test_skips_are_handed_over_from_the_deepest_level_on() -> None:
    wide = [nets.Difference(6, 3, width=4, levels=3, skips=n).up[2]["first"] for n in (2, 3)]  # type: ignore[index]
    assert [layer.in_channels for layer in wide] == [4, 8]
    assert nets.Difference(6, 3, width=4, levels=3, skips=0)(torch.rand(1, 6, 8, 8)).shape == (1, 3, 8, 8)  # fmt: skip


def test_published_variables_are_converted_whole(tmp_path: Path) -> None:
    networks = small()
    state = variables(networks)
    path, out = tmp_path / "model.safetensors", tmp_path / "pg2.safetensors"
    safetensors.torch.save_file(state, path)
    convert.convert("pg2", path, out, size=(24, 16))
    generator = pg2.build(pg2.Config(weights=out), "cpu")
    assert isinstance(generator, pg2.PG2)
    assert generator.architecture == pg2.Architecture.model_validate(SMALL)
    weight = generator.network.get_parameter("coarse.down.levels.1.down.weight")
    assert torch.equal(weight, networks.get_parameter("coarse.down.levels.1.down.weight"))


def test_what_is_missing_or_unexpected_among_published_variables_is_listed() -> None:
    state = variables(small())
    state["Pose_AE/G/Conv_99/weights"] = state.pop("UAEnoFC/G/Conv_4/biases")
    with pytest.raises(InputError, match=r"missing: refine.*unexpected: Pose_AE/G/Conv_99"):
        pg2.converted(state, "x", size=(24, 16))
    with pytest.raises(InputError, match=r"broken: has no Pose_AE/G/Conv/weights"):
        pg2.converted({"other": torch.zeros(2)}, "broken")


def test_weights_are_saved_with_what_they_need_and_either_stage_is_drawn(
    tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    made = pg2.untrained(alpha=True)
    path = tmp_path / "pg2.safetensors"
    _single.save(path, pg2.NAME, made.network, made.architecture)
    assert {key.split(".")[0] for key in weights.read_tensors(path)} == {"coarse", "refine"}
    pictures = []
    for stage in ("coarse", "refined"):
        again = pg2.build(pg2.Config.model_validate({"weights": path, "stage": stage}), "cpu")
        drawn, _ = again.render(again.encode(person), dance[:2], None)
        pictures.append(drawn.rgb)
    expected, _ = made.render(made.encode(person), dance[:2], None)
    assert torch.equal(pictures[1], expected.rgb) and not torch.equal(pictures[0], pictures[1])


def test_a_pose_is_shown_as_discs() -> None:
    score = np.ones((1, 18), np.float32)
    score[0, 3] = 0
    shown = nets.discs(np.full((1, 18, 2), 30.0), score, (64, 64), 4)
    assert shown.shape == (1, 18, 64, 64) and set(shown.unique().tolist()) == {-1.0, 1.0}
    assert shown[0, 0, 34, 30] == 1 and shown[0, 0, 35, 30] == -1
    assert (shown[0, 3] == -1).all()


def test_a_matte_is_learnt_as_a_logit() -> None:
    networks = small(alpha=True)
    _, refined = networks(torch.rand(1, 3, 24, 16), torch.rand(1, 18, 24, 16))
    assert refined.shape[1] == 4
    picture = nets.with_matte(refined)
    torch.testing.assert_close(picture[:, 3], refined[:, 3].sigmoid())
    assert torch.equal(picture[:, :3], refined[:, :3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame": {"height": 50, "width": 32}}, r"frame\.height = 50 must be a multiple of 4"),
        ({"refine_skips": 3}, r"refine_skips = 3 must be at most refine_levels = 2"),
    ],
)
def test_networks_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pg2.untrained(**changes)
