"""NTED's losses by hand."""

from __future__ import annotations

import pytest
import torch

from dance.generators import _stylegan2 as style
from dance.generators import nted as nets
from dance.training import losses, nted_losses

SCALES = (nets.Scale(width=4, labels=2), nets.Scale(width=3, labels=2), nets.Scale(width=2))


def test_attention_that_points_at_the_right_place_reconstructs_the_target() -> None:
    torch.manual_seed(1)
    source = torch.rand(1, 3, 4, 4)
    # Sixteen labels, each looking at one position; the target is the source turned round.
    weights = torch.eye(16)[None]
    scores = 100 * torch.eye(16).flip(0).view(1, 16, 4, 4)
    target = source.flatten(2).flip(2).view_as(source)
    assert float(nted_losses.reconstruction([weights], [scores], source, target)) < 1e-6
    assert float(nted_losses.reconstruction([weights], [scores], source, source)) > 0.1


def test_coarse_attention_counts_more() -> None:
    # Every label is the mean of a source of zeros: each map is as far off as its part of the target.
    source, target = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    target[..., ::2, ::2] = 1
    maps = [(torch.ones(1, 2, n * n) / n**2, torch.zeros(1, 2, n, n)) for n in (4, 8)]
    weights, scores = ([m[i] for m in maps] for i in (0, 1))
    # Seen by every second pixel the target is 1 everywhere, seen whole it is 1 in a quarter.
    assert float(nted_losses.reconstruction(weights, scores, source, target)) == pytest.approx((2 * 1 + 0.25) / 3)  # fmt: skip
    assert float(nted_losses.reconstruction(weights, scores, source, target, {4: 1, 8: 3})) == pytest.approx((1 + 3 * 0.25) / 4)  # fmt: skip


def test_the_adversary_and_the_generator_want_the_opposite() -> None:
    low, high = torch.full((2, 1), -2.0), torch.full((2, 1), 3.0)
    for kind in ("softplus", "least_square", "hinge", "wasserstein"):
        loss = nted_losses.adversarial
        assert loss(high, True, kind=kind) < loss(low, True, kind=kind)
        assert loss(high, False, kind=kind) > loss(low, False, kind=kind)
        assert loss(high, True, kind=kind, generator=True) < loss(low, True, kind=kind, generator=True)  # fmt: skip
    assert float(nted_losses.adversarial(torch.zeros(1), True)) == pytest.approx(0.6931472)
    assert float(nted_losses.adversarial([low, high], True)) == pytest.approx(float(nted_losses.adversarial(torch.cat([low, high]), True)))  # fmt: skip


def test_r1_is_the_squared_slope_and_can_be_learnt_from() -> None:
    slope = torch.tensor([3.0, 4.0], requires_grad=True)
    picture = torch.zeros(5, 2, requires_grad=True)
    penalty = nted_losses.r1(picture @ slope, picture)
    assert float(penalty.detach()) == pytest.approx(25)
    penalty.backward()
    assert slope.grad is not None and slope.grad.tolist() == [6, 8]


def test_a_mask_hides_what_it_leaves_out() -> None:
    torch.manual_seed(2)
    vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    a, b = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    assert float(nted_losses.perceptual(vgg, a, b, mask=torch.zeros(1, 1, 64, 64))) == 0
    whole = nted_losses.perceptual(vgg, a, b)
    assert float(nted_losses.perceptual(vgg, a, b, mask=torch.ones(1, 1, 64, 64))) == pytest.approx(float(whole))  # fmt: skip
    assert nted_losses.perceptual(vgg, a, b, style=10.0) > whole
    assert nted_losses.perceptual(vgg, a, b, scales=2) > whole


def test_a_face_is_cut_out_where_the_eyes_are() -> None:
    picture = torch.zeros(2, 3, 128, 96)
    picture[:, :, 30:40, 40:60] = 1
    crops = nted_losses.face_crop(picture, torch.tensor([[42.0, 35, 58, 35], [-1, -1, -1, -1]]))
    assert crops.shape == (2, 3, 32, 32)
    assert float(crops[0, 0, 16, 16]) == 1 and float(crops[0].mean()) < 0.5
    assert not crops[1].any()


def test_one_step_lowers_the_losses_on_a_fixed_batch() -> None:
    torch.manual_seed(3)
    net, judge = nets.NTED(SCALES, pose=3), style.Discriminator((3, 4, 4), last=(16, 16))
    source, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    pose, eyes = torch.rand(2, 3, 64, 64), torch.tensor([[10.0, 8, 20, 8]] * 2)
    vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    weights = nted_losses.Weights()
    found = []
    optimiser = torch.optim.Adam(net.parameters(), 2e-3, betas=(0.0, 0.99))
    for _ in range(8):
        made = nted_losses.of_generator(
            net(source, pose), source, target, eyes, vgg=vgg, judge=judge, weights=weights
        )
        assert set(made) == {"attention", "gan", "perceptual", "face"}
        total = torch.stack(list(made.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        found.append(float(total.detach()))
    assert found[-1] < 0.9 * found[0]


def test_without_features_or_adversary_their_losses_are_left_out() -> None:
    net = nets.NTED(SCALES, pose=3)
    source, pose = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    made = nted_losses.of_generator(
        net(source, pose), source, source, -torch.ones(1, 4),
        vgg=None, judge=None, weights=nted_losses.Weights(),
    )  # fmt: skip
    assert set(made) == {"attention"}


def test_the_discriminator_learns_without_reaching_the_generator() -> None:
    judge = style.Discriminator((3, 4, 4), last=(2, 2))
    drawn, real = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8)
    torch.stack(list(nted_losses.of_discriminator(judge, drawn, real).values())).sum().backward()
    assert drawn.grad is None and judge.stem.weight.grad is not None
    penalty, loss = nted_losses.of_gradient(judge, real, nted_losses.Weights())
    assert float(loss.detach()) == pytest.approx(80 * float(penalty.detach()))
