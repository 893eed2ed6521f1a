"""Losses by hand and by their published definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dance.training import losses
from dance.types import InputError
from dance.weights import save_safetensors

TINY = (2, 2, 3, 4, 4)


def scores(*values: float) -> list[list[torch.Tensor]]:
    return [[torch.zeros(1), torch.full((2, 1, 3, 3), value)] for value in values]


def test_lsgan_is_the_squared_distance_summed_over_scales() -> None:
    assert float(losses.gan(scores(0.5, 2.0), True)) == pytest.approx(0.25 + 1.0)
    assert float(losses.gan(scores(0.5, 2.0), False)) == pytest.approx(0.25 + 4.0)


def test_cross_entropy_takes_logits() -> None:
    expected = -float(torch.log(torch.sigmoid(torch.tensor(0.5))))
    assert float(losses.gan(scores(0.5), True, kind="bce")) == pytest.approx(expected)
    probability = float(torch.sigmoid(torch.tensor(0.5)))
    assert float(losses.gan(scores(0.5), False, kind="bce")) == pytest.approx(-float(torch.log(torch.tensor(1 - probability))))  # fmt: skip


def test_features_match_by_mean_difference_without_the_scores() -> None:
    fake = [[torch.ones(1, 2), torch.ones(1, 2), torch.full((1,), 9.0)] for _ in range(2)]
    real = [[torch.zeros(1, 2), torch.full((1, 2), 3.0), torch.zeros(1)] for _ in range(2)]
    # Two scales of 1 and 2 apart, each weighing 10 * 4 / (3 + 1) / 2.
    assert float(losses.feature_matching(fake, real, layers=3)) == pytest.approx(30.0)


def test_no_gradient_reaches_what_is_real() -> None:
    fake, real = torch.ones(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    losses.feature_matching([[fake, fake]], [[real, real]], layers=3).backward()
    assert fake.grad is not None and real.grad is None
    drawn = torch.rand(1, 3, 32, 32, requires_grad=True)
    wanted = torch.rand(1, 3, 32, 32, requires_grad=True)
    losses.perceptual(losses.VGG19(TINY), drawn, wanted).backward()
    assert drawn.grad is not None and wanted.grad is None


def test_the_perceptual_loss_is_nothing_between_equal_pictures() -> None:
    picture = torch.rand(1, 3, 32, 32)
    vgg = losses.VGG19(TINY).requires_grad_(False)
    assert float(losses.perceptual(vgg, picture, picture)) == 0
    assert float(losses.perceptual(vgg, picture, -picture)) > 0


def torchvision_state() -> dict[str, torch.Tensor]:
    """The whole of torchvision's vgg19 by name, small where that shows the same."""
    plan = [
        64,
        64,
        0,
        128,
        128,
        0,
        256,
        256,
        256,
        256,
        0,
        512,
        512,
        512,
        512,
        0,
        512,
        512,
        512,
        512,
    ]
    state, number, channels = {}, 0, 3
    for width in plan:
        if width == 0:
            number += 1
            continue
        state[f"features.{number}.weight"] = torch.empty(width, channels, 3, 3, device="meta")
        state[f"features.{number}.bias"] = torch.empty(width, device="meta")
        number, channels = number + 2, width
    state["classifier.0.weight"] = torch.empty(1, 1, device="meta")
    state["classifier.0.bias"] = torch.empty(1, device="meta")
    return state


def test_torchvisions_weights_find_their_places_and_the_rest_is_left_out() -> None:
    renamed = losses.rename(torchvision_state())
    with torch.device("meta"):
        wanted = losses.VGG19().state_dict()
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in wanted.items()}


def test_a_strange_tensor_is_not_left_out_in_silence() -> None:
    assert "features.99.weight" in losses.rename({"features.99.weight": 1})


def test_features_are_those_of_a_plain_vgg() -> None:
    vgg = losses.VGG19(TINY)
    layers: list[nn.Module] = []
    for number, block in enumerate(vgg.blocks):
        assert isinstance(block, nn.ModuleList)
        layers += [nn.MaxPool2d(2)] if number else []
        for conv in block:
            layers += [conv, nn.ReLU()]
    picture = torch.rand(1, 3, 32, 32)
    found, x, expected = vgg(picture), picture, []
    for i, layer in enumerate(layers):
        x = layer(x)
        if i in (1, 6, 11, 20, 29):  # relu1_1, 2_1, 3_1, 4_1 and 5_1 in torchvision's count
            expected.append(x)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_vgg_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_safetensors(path, {"features.0.weight": torch.zeros(64, 3, 3, 3)})
    with pytest.raises(InputError, match=r"vgg\.safetensors: does not fit VGG19: missing: blocks"):
        losses.vgg19(path)
    with pytest.raises(InputError, match="cannot be read"):
        losses.vgg19(tmp_path / "none.safetensors")


def test_vgg_is_frozen(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_safetensors(path, losses.VGG19())
    assert not any(p.requires_grad for p in losses.vgg19(path).parameters())
