"""What judges the single-picture generators: discriminators, critics and losses."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dance.generators import _xing_published as published
from dance.generators._pg2_nets import Same
from dance.training.recipes import _dcgan, _xing


def test_pg2s_discriminator_gives_one_score_each_and_dpigs_large_one_eight() -> None:
    x = torch.randn(2, 3, 32, 32)
    assert _dcgan.Discriminator((32, 32), widths=(2, 4, 4, 8))(x).shape == (2,)
    eight = _dcgan.Discriminator((32, 32), widths=(2, 4, 4, 8), row=4)
    assert eight.out.in_features == 4 and eight(x).shape == (16,)
    with pytest.raises(AssertionError, match="no whole rows"):
        _dcgan.Discriminator((32, 32), widths=(2, 4, 4, 8), row=5)


def test_the_discriminator_always_judges_by_the_batch() -> None:
    judge = _dcgan.Discriminator((16, 16), widths=(2, 4))
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(judge.train()(x), judge.eval()(x))
    assert not torch.allclose(judge(x)[:1], judge(x[:1]))


def test_initial_weights_have_the_published_deviation() -> None:
    torch.manual_seed(0)
    judge = _dcgan.Discriminator((32, 32), widths=(16, 32))
    _dcgan.initialise(judge)
    weight = judge.get_parameter("convs.1.weight")
    assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(weight.detach().abs().max()) <= 0.02 * 3**0.5
    assert float(judge.out.bias.detach()) == 0


def test_clipping_keeps_every_weight_within_its_bound() -> None:
    critic = _dcgan.Critic(6, width=8)
    assert critic(torch.randn(5, 6)).shape == (5,)
    _dcgan.clip_weights(critic, 0.05)
    largest = max(float(p.detach().abs().max()) for p in critic.parameters())
    assert largest == pytest.approx(0.05)


def test_the_body_counts_twice() -> None:
    drawn, real = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert float(_dcgan.masked_l1(drawn, real, mask)) == pytest.approx(1.25)


def test_with_a_head_start_empty_maps_count_for_nothing_and_discs_for_more() -> None:
    torch.manual_seed(0)
    plain = Same(4, 3, 3)
    ahead = copy.deepcopy(plain)
    _dcgan.head_start(ahead, 2, 4.0)
    x = torch.randn(1, 4, 6, 6)
    x[:, 2:] = -1
    without = x.clone()
    without[:, 2:] = 0
    with torch.no_grad():
        # Beyond the border there is neither disc nor background.
        inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
        torch.testing.assert_close(ahead(x)[inner], plain(without)[inner])
        x[:, 3, 2:4, 2:4] = 1
        without[:, 3, 2:4, 2:4] = 8
        torch.testing.assert_close(ahead(x)[inner], plain(without)[inner], atol=1e-5, rtol=1e-4)


def test_a_score_of_zero_says_nothing_either_way() -> None:
    scores = torch.zeros(4)
    assert float(_dcgan.real_or_not(scores, True)) == pytest.approx(0.6931, abs=1e-4)
    sure = _dcgan.real_or_not(scores + 5, True), _dcgan.real_or_not(scores + 5, False)
    assert float(sure[0]) < 0.01 < 4.9 < float(sure[1])


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("dropout", [True, False])
def test_xinggans_discriminator_takes_official_names(norm: str, dropout: bool) -> None:
    facts = {"input_nc": 6, "ndf": 3, "n_blocks": 2, "norm": norm, "use_dropout": dropout}
    judge = _xing.network(facts)
    keys = published.keys(judge, facts)
    assert "model.10.conv_block.1.weight" in keys
    renamed = published.rename_discriminator({key: key for key in keys})
    assert renamed.keys() == judge.state_dict().keys()
    assert judge(torch.randn(1, 6, 16, 8)).shape == (1, 12, 4, 2)


def test_looks_of_the_same_picture_do_not_differ_and_of_others_do() -> None:
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)]
    a, b = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    assert float(_xing.looks(layers, a, a).detach()) == 0
    assert float(_xing.looks(layers, a, b).detach()) > 0
    grey = _xing.imagenet(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 2 - 1)
    torch.testing.assert_close(grey, torch.zeros_like(grey), atol=1e-6, rtol=0)
