"""A garment of one person on another."""

from __future__ import annotations

import pytest
import torch

from dance.generators import nted
from dance.training import losses, nted_swap

SCALES = (
    nted.Scale(width=4, labels=5, kernel=1),
    nted.Scale(width=3, labels=6),
    nted.Scale(width=2),
)


@pytest.fixture
def people() -> tuple[nted.NTED, nted.Textures, nted.Textures, torch.Tensor]:
    torch.manual_seed(1)
    net = nted.NTED(SCALES).requires_grad_(False)
    mine, theirs = (net.extract(torch.rand(1, 3, 64, 32)) for _ in range(2))
    return net, mine, theirs, torch.rand(1, 20, 64, 32)


def test_coefficients_lead_from_one_person_to_the_other(people: tuple) -> None:  # type: ignore[type-arg]
    net, mine, theirs, pose = people
    for value, expected in ((0.0, mine), (1.0, theirs)):
        all_alike = [torch.full((1, v.shape[-1]), value) for v in mine.values]
        textures = nted_swap.mixtures(mine.values, theirs.values, all_alike)
        torch.testing.assert_close(net.draw(textures, pose)[0], net.draw(expected.values, pose)[0])


def test_a_mask_of_everything_is_carried_everywhere(people: tuple) -> None:  # type: ignore[type-arg]
    net, mine, _, pose = people
    _, scores = net.draw(mine.values, pose)
    everywhere = nted_swap.region(mine.weights, scores, torch.ones(1, 1, 64, 32), (64, 32))
    torch.testing.assert_close(everywhere, torch.ones(1, 1, 64, 32))
    nowhere = nted_swap.region(mine.weights, scores, torch.zeros(1, 1, 64, 32), (64, 32))
    assert not nowhere.any()


def test_textures_that_make_up_the_garment_are_guessed_to_be_exchanged() -> None:
    # Ten textures; the left half is all of the second, the right half of all others.
    scores = torch.zeros(1, 10, 8, 8)
    scores[:, 1, :, :4] = 20
    scores[:, 1, :, 4:] = -20
    left = torch.zeros(1, 1, 16, 16)
    left[..., :8] = 1
    assert nted_swap.guess(scores, left, scores, left)[0].tolist() == [0, 1] + [0] * 8
    assert not nted_swap.guess(scores, 1 - left, scores, 1 - left).any()
    # Of either: it is enough that one of them is dressed in it.
    assert nted_swap.guess(scores, 1 - left, scores, left)[0].tolist() == [0, 1] + [0] * 8


def test_without_features_the_guess_is_drawn(people: tuple) -> None:  # type: ignore[type-arg]
    net, mine, theirs, pose = people
    mask = torch.zeros(1, 1, 64, 32)
    found = nted_swap.swap(net, mine, theirs, pose, my_garment=mask, their_garment=mask)
    assert all(not c.any() for c in found.coefficients)
    torch.testing.assert_close(found.picture, net.draw(mine.values, pose)[0])


def test_steps_bring_the_picture_nearer_to_what_it_is_to_be(people: tuple) -> None:  # type: ignore[type-arg]
    net, mine, theirs, pose = people
    torch.manual_seed(2)
    vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    # Everything is the garment: the other person is to be drawn.
    garment = torch.ones(1, 1, 64, 32)
    told: list[float] = []
    found = nted_swap.swap(
        net, mine, theirs, pose, my_garment=garment, their_garment=garment, vgg=vgg, steps=15,
        rate=0.05, on_step=lambda step, loss: told.append(loss),
    )  # fmt: skip
    assert len(told) == 15 and told[-1] < 0.7 * told[0]
    assert all(c.min() >= 0 and c.max() <= 1 for c in found.coefficients)
    assert any(((c > 0) & (c < 1)).any() for c in found.coefficients)
    assert found.picture.shape == (1, 3, 64, 32) and found.region.shape == (1, 1, 64, 32)
    assert all(p.grad is None for p in net.parameters())
