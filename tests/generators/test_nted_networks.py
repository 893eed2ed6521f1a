"""NTED's networks and StyleGAN2's parts, and their published names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import nn

from dance.generators import _nted_published as published
from dance.generators import _stylegan2 as style
from dance.generators import nted as nets
from dance.types import InputError

GENERATOR: dict[str, Any] = {
    "size": 64, "semantic_dim": 5, "channels": {16: 6, 32: 4, 64: 3},
    "num_labels": {16: 2, 32: 3, 64: False}, "match_kernels": {16: 1, 32: 3, 64: False},
}  # fmt: skip
PLAIN: dict[str, Any] = {
    **GENERATOR, "num_labels": {16: 2, 32: False, 64: False},
    "match_kernels": {16: 3, 32: False, 64: False},
}  # fmt: skip
JUDGE: dict[str, Any] = {"size": 16, "channels": {4: 6, 8: 4, 16: 3}, "is_square_image": False}
SQUARE = {**JUDGE, "is_square_image": True}
ALL = [GENERATOR, PLAIN, JUDGE, SQUARE]

each_network = pytest.mark.parametrize("facts", ALL)


def published_state(facts: dict[str, Any]) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network and its state under the published names, fixed filters and all."""
    network = nets.network(facts)
    keys = published.published_keys(network, facts)
    state = network.state_dict()
    named = {theirs: state[ours] for ours, theirs in published.rename({k: k for k in keys}).items()}
    return network, {**named, "convs.1.skip.0.kernel": style.fir()}


@each_network
def test_published_names_lead_to_every_tensor_and_to_no_other(facts: dict[str, Any]) -> None:
    network, state = published_state(facts)
    published.check_filters(state, "PERSON.pt")
    nets.network(facts).load_state_dict(published.rename(state), strict=True)
    assert len(state) == len(network.state_dict()) + 1


@each_network
def test_facts_are_read_off_a_published_state(facts: dict[str, Any]) -> None:
    _, state = published_state(facts)
    assert published.facts(state) == facts


def test_facts_may_have_text_for_heights_as_json_does() -> None:
    facts = {
        key: {str(height): found for height, found in value.items()} if isinstance(value, dict) else value
        for key, value in GENERATOR.items()
    }  # fmt: skip
    shapes = [p.shape for p in nets.network(facts).parameters()]
    assert shapes == [p.shape for p in nets.network(GENERATOR).parameters()]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(InputError, match="size is needed"):
        nets.network({"channels": {}})
    with pytest.raises(InputError, match=r"size = 48 needs channels for each of 16, 32, 64"):
        nets.network({**GENERATOR, "size": 48})
    with pytest.raises(InputError, match=r"PERSON\.pt: is no network of NTED.*backbone"):
        published.facts({"backbone.weight": torch.zeros(2, 2)}, "PERSON.pt")


def test_another_filter_is_refused() -> None:
    _, state = published_state(GENERATOR)
    published.check_filters({"blur.kernel": 4 * style.fir()}, "PERSON.pt")
    with pytest.raises(InputError, match=r"PERSON\.pt: convs\.1\.skip\.0\.kernel is another"):
        published.check_filters({**state, "convs.1.skip.0.kernel": torch.ones(4, 4)}, "PERSON.pt")


def test_a_key_of_no_layout_keeps_its_name_so_that_it_is_listed() -> None:
    assert published.rename({"stray.weight": 1, "blur.kernel": 2}) == {"stray.weight": 1}


def test_the_published_configurations_have_their_numbers_of_parameters() -> None:
    # As counted in the published code: 42 353 519 and 42 612 402.
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in nets.NTED(scales).parameters())
            for scales in (nets.PUBLISHED_256, nets.PUBLISHED_512)
        ]
    assert sizes == [42_353_519, 42_612_402]


def network() -> nets.NTED:
    torch.manual_seed(1)
    made = nets.network(GENERATOR)
    assert isinstance(made, nets.NTED)
    return made


def test_textures_of_one_reference_draw_any_number_of_poses() -> None:
    net, source, poses = network(), torch.rand(1, 3, 64, 32), torch.rand(3, 5, 64, 32)
    with torch.no_grad():
        textures = net.extract(source)
        pictures, scores = net.draw(textures.values, poses)
        one = net(source, poses[1:2])
    torch.testing.assert_close(pictures[1:2], one.picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores[2][1:2], one.scores[2], atol=1e-5, rtol=0)
    assert [tuple(t.shape) for t in textures.values] == [(1, 6, 2)] * 2 + [(1, 4, 3)] * 2
    assert [tuple(t.shape) for t in textures.weights] == [(1, 2, 16 * 8)] * 2 + [(1, 3, 32 * 16)] * 2  # fmt: skip


def test_a_scale_without_labels_is_only_convolved() -> None:
    rendering = nets.network(PLAIN)(torch.rand(1, 3, 64, 32), torch.rand(1, 5, 64, 32))
    assert len(rendering.scores) == len(rendering.textures.values) == 2


@pytest.mark.parametrize("kernel", [1, 3])
def test_textures_are_weighted_means_of_convolved_features(kernel: int) -> None:
    torch.manual_seed(2)
    extraction, x = nets.Extraction(4, 3, kernel), torch.randn(2, 4, 7, 5)
    nn.init.normal_(extraction.value.bias)
    textures, weights = extraction(x, nets.normalised(x))
    plain = extraction.value(x).flatten(2) @ weights.transpose(1, 2)
    torch.testing.assert_close(textures, plain)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))


def test_attention_is_never_kept_from_positions_to_positions() -> None:
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    net, height, width = network(), 128, 128
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(torch.rand(1, 3, height, width), torch.rand(1, 5, height, width))
    # The largest thing kept is the label itself.
    assert max(kept) == 5 * height * width


def test_the_filter_is_what_spreading_and_smoothing_by_hand_gives() -> None:
    x = torch.randn(2, 3, 6, 5)
    spread = torch.zeros(2, 3, 12, 10)
    spread[..., ::2, ::2] = x
    padded = F.pad(spread, (2, 1, 2, 1)).reshape(6, 1, 15, 13)
    expected = F.conv2d(padded, 4 * style.fir()[None, None]).reshape(2, 3, 12, 10)
    torch.testing.assert_close(style.doubled(x, style.fir()), expected)
    torch.testing.assert_close(style.doubled(torch.ones(1, 1, 8, 8), style.fir())[..., 4, 4], torch.ones(1, 1))  # fmt: skip


@pytest.mark.parametrize("resampling", ["none", "up", "down"])
def test_a_layer_is_convolution_smoothing_bias_and_activation(resampling: Any) -> None:
    torch.manual_seed(3)
    layer, x = style.Layer(4, 5, 3, resampling), torch.randn(2, 4, 8, 6)
    nn.init.normal_(layer.bias)
    weight = layer.weight / 6
    if resampling == "none":
        plain = F.conv2d(x, weight, padding=1)
    elif resampling == "down":
        plain = F.conv2d(style.upfirdn(x, style.fir(), pad=(2, 2, 2, 2)), weight, stride=2)
    else:
        grown = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        plain = style.upfirdn(grown, 4 * style.fir(), pad=(1, 1, 1, 1))
    bias = layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), F.leaky_relu(plain + bias, 0.2) * 2**0.5)
    more = torch.randn_like(plain)
    expected = F.leaky_relu((plain + more) / 2**0.5 + bias, 0.2) * 2**0.5
    torch.testing.assert_close(layer(x, lambda features: features + more), expected)


def test_every_parameter_gets_a_gradient() -> None:
    net = network()
    net(torch.rand(1, 3, 64, 32), torch.rand(1, 5, 64, 32)).picture.square().mean().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_the_discriminator_sees_how_much_pictures_differ() -> None:
    features = torch.randn(8, 3, 4, 2)
    same = style.with_deviation(features[:1].repeat(4, 1, 1, 1))[:, 3]
    torch.testing.assert_close(same, torch.full_like(same, 1e-4))
    apart = style.with_deviation(features)
    assert apart.shape == (8, 4, 4, 2)
    # Pictures 0, 2, 4, 6 are one group.
    expected = (features[::2].var(0, unbiased=False) + 1e-8).sqrt().mean()
    torch.testing.assert_close(apart[4, 3, 0, 0], expected)
    with pytest.raises(AssertionError, match="5 pictures make no groups of 4"):
        style.with_deviation(features[:5])


def test_a_linear_layer_of_another_rate_starts_alike_and_learns_slower() -> None:
    torch.manual_seed(4)
    x = torch.randn(4096, 8)
    slow = style.Linear(8, 16, rate=0.01)
    assert float(slow(x).detach().std()) == pytest.approx(1, abs=0.2)
    slow(x).sum().backward()
    assert slow.bias.grad is not None
    torch.testing.assert_close(slow.bias.grad, torch.full((16,), 0.01 * 4096))
