"""The networks of pix2pixHD and EDN, and their published names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dance.generators import _pix2pix as nets
from dance.generators import _pix2pix_published as published
from dance.types import InputError

GLOBAL = {"input_nc": 6, "output_nc": 3, "ngf": 4, "n_downsampling": 2, "n_blocks": 3, "norm": "instance"}  # fmt: skip
LOCAL = {
    "input_nc": 5, "output_nc": 3, "ngf": 2, "n_downsample_global": 2, "n_blocks_global": 1,
    "n_local_enhancers": 2, "n_blocks_local": 2, "norm": "batch",
}  # fmt: skip
UNET = {"input_nc": 6, "output_nc": 3, "ngf": 2, "num_downs": 3, "norm": "batch"}
ENCODER = {"input_nc": 3, "output_nc": 2, "ngf": 4, "n_downsampling": 3, "norm": "instance"}
JUDGES = {"input_nc": 12, "ndf": 4, "n_layers": 3, "num_D": 3, "getIntermFeat": True, "norm": "instance"}  # fmt: skip
PLAIN_JUDGES = {**JUDGES, "getIntermFeat": False, "norm": "batch", "num_D": 2}
JUDGE = {"input_nc": 6, "ndf": 4, "n_layers": 2, "norm": "batch"}
ALL = [GLOBAL, {**GLOBAL, "norm": "batch"}, LOCAL, {**LOCAL, "norm": "instance"}, UNET, ENCODER, JUDGES, PLAIN_JUDGES, JUDGE]  # fmt: skip

each_network = pytest.mark.parametrize("facts", ALL, ids=lambda f: "-".join(map(str, f.values())))


def published_state(facts: dict[str, Any]) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network and its state under the published names."""
    network = published.network(facts)
    keys = published.published_keys(network, facts)
    ours = published.rename({key: key for key in keys})
    return network, {theirs: network.state_dict()[place] for place, theirs in ours.items()}


@each_network
def test_published_names_lead_to_every_tensor_and_to_no_other(facts: dict[str, Any]) -> None:
    network, state = published_state(facts)
    published.network(facts).load_state_dict(published.rename(state), strict=True)
    assert len(state) == len(network.state_dict())


@each_network
def test_facts_are_read_off_a_published_state(facts: dict[str, Any]) -> None:
    _, state = published_state(facts)
    assert published.facts(state) == facts


def test_a_state_of_nothing_known_is_refused_by_its_keys() -> None:
    with pytest.raises(InputError, match=r"PERSON\.pth: is no published network.*backbone"):
        published.facts({"backbone.weight": torch.zeros(2, 2)}, "PERSON.pth")


def test_facts_of_no_network_are_refused() -> None:
    with pytest.raises(InputError, match="ngf or ndf is needed"):
        published.network({"depth": 3})


def test_a_key_of_no_layout_keeps_its_name_so_that_it_is_listed() -> None:
    _, state = published_state(GLOBAL)
    assert "stray.weight" in published.rename({**state, "stray.weight": torch.zeros(1)})


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("make", [nets.GlobalGenerator, nets.LocalEnhancer])
def test_a_matte_is_a_fourth_channel_from_0_to_1(make: Any, channels: int) -> None:
    network = make(6, width=2, downs=1, blocks=1, alpha=channels == 4)
    multiple = nets.multiple_of(network)
    out = network(torch.randn(2, 6, 2 * multiple, 3 * multiple) * 9)
    assert out.shape == (2, channels, 2 * multiple, 3 * multiple)
    assert out[:, :3].min() < 0 and out.abs().max() <= 1
    assert channels == 3 or out[:, 3:].min() >= 0


def test_the_first_scale_is_the_whole_picture_and_scores_come_last() -> None:
    judges = nets.MultiscaleDiscriminator(4, width=2, layers=2, scales=3)
    found = judges(torch.rand(1, 4, 64, 64))
    assert [scale[0].shape[-1] for scale in found] == [33, 17, 9]
    assert all(len(scale) == 4 and scale[-1].shape[1] == 1 for scale in found)


def test_features_are_not_overwritten_by_the_layers_behind() -> None:
    judge = nets.PatchDiscriminator(3, width=2, norm="instance", features=True)
    given: list[torch.Tensor] = []
    for layer in judge.layers:
        layer.register_forward_hook(lambda module, inputs, out: given.append(out.clone()))
    found = judge(torch.rand(1, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(found, given, strict=True))


def test_an_instance_gets_its_mean_in_each_picture_or_over_all() -> None:
    features = torch.tensor([1.0, 3.0, 10.0, 30.0]).view(2, 1, 1, 2)
    same = torch.zeros(2, 1, 1, 2, dtype=torch.int32)
    assert nets.instance_means(features, same).flatten().tolist() == [2, 2, 20, 20]
    assert nets.instance_means(features, same, across=True).flatten().tolist() == [11] * 4
    apart = torch.tensor([-1, 7, 7, 7]).view(2, 1, 1, 2)
    assert nets.instance_means(features, apart).flatten().tolist() == [1, 3, 20, 20]
    assert nets.instance_means(features, apart, across=True).flatten()[1:].tolist() == pytest.approx([43 / 3] * 3)  # fmt: skip


def test_batch_statistics_are_used_and_none_are_kept() -> None:
    network = nets.UNet(6, width=2).eval()
    x = torch.randn(1, 6, 64, 64)
    before, running = {k: v.clone() for k, v in network.state_dict().items()}, network(x)
    nets.use_batch_statistics(network)
    assert not torch.allclose(network(x), running)
    assert torch.equal(network(x), network(x))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_initial_weights_are_the_published_ones() -> None:
    network = nets.GlobalGenerator(6, width=32, downs=1, blocks=1)
    nets.initialise(network)
    weights = torch.cat(
        [p.detach().flatten() for n, p in network.named_parameters() if "weight" in n]
    )
    assert abs(float(weights.std()) - 0.02) < 0.001 and abs(float(weights.mean())) < 0.001


@pytest.mark.parametrize(("upsampling", "chequered"), [("transposed", True), ("bilinear", False)])
def test_only_transposed_upsampling_has_chequers_to_unlearn(
    upsampling: nets.Upsampling, chequered: bool
) -> None:
    torch.manual_seed(0)
    kinds = {"norm": "batch", "upsampling": upsampling}
    for network in (
        nets.GlobalGenerator(6, width=4, downs=2, blocks=1, **kinds),
        nets.LocalEnhancer(6, width=4, downs=1, blocks=1, enhancer_blocks=1, **kinds),
    ):
        nets.initialise(network)
        with torch.no_grad():
            picture = network.eval()(torch.full((1, 6, 64, 64), 0.5))[0]
        # Away from the borders an even picture stays even.
        middle = picture[:, 24:40, 24:40]
        assert (float(middle.std(dim=(1, 2)).max()) > 1e-6) == chequered
