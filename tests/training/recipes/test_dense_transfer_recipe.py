"""Dense Pose Transfer's recipe: two streams apart, then all of it; texels count where somebody saw them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from small_recipes import batch, made, module, options
from torch.nn import functional as F  # noqa: N812  (its customary name)

from dance.config import ConfigError
from dance.generators import _dense_transfer_nets as nets
from dance.training import losses
from dance.training.recipes import dense_transfer as recipe

NAME = "dense_transfer"


def test_texels_are_taught_where_a_picture_shows_them_and_nowhere_else(album: Path) -> None:
    taught, item = made(NAME, album, "streams"), batch(NAME, album)
    seen = recipe._Seen.of(item)
    side = taught.generator.side
    with torch.no_grad():
        texture = taught.generator.texture(seen.picture, seen.surface)
    expected = []
    for picture, surface in ((seen.picture, seen.surface), (seen.target, seen.worn)):
        colours, known = nets.gathered(picture, surface, side)
        apart = (texture.whole - colours).abs().mean(1, keepdim=True)
        expected.append((apart * known).sum() / known.sum())
        assert 0 < known.sum() < known.numel()
    said = taught.step(item)["texels"]
    assert said == pytest.approx(float(torch.stack(expected).mean()), rel=1e-4)


def test_an_atlas_that_nobody_saw_is_not_wrong() -> None:
    whole, nothing = torch.rand(1, 3, 8, 12), torch.zeros(1, 1, 8, 12)
    views = ((torch.zeros_like(whole), nothing), (whole, torch.ones_like(nothing)))
    assert float(recipe._seen_error(whole, views)) == 0


def test_each_stream_is_taught_by_its_own_loss_alone(album: Path) -> None:
    """Without the loss of one, it does not move, and the other moves as before."""
    item, found = batch(NAME, album), {}
    for name, weights in {
        "both": {}, "texels": {"colours": 0, "matte": 0}, "picture": {"texels": 0},
    }.items():  # fmt: skip
        taught = made(NAME, album, "streams", weights=weights)
        before = copy.deepcopy(taught.generator.state_dict())
        taught.step(item)
        after = taught.generator.state_dict()
        weighty = [k for k in before if k.endswith("weight")]
        found[name] = {k.split(".")[0] for k in weighty if not torch.equal(before[k], after[k])}
    assert found == {
        "both": {"predictive", "inpainter"}, "texels": {"inpainter"}, "picture": {"predictive"},
    }  # fmt: skip


def test_the_losses_of_the_whole_are_the_published_sums(album: Path) -> None:
    weights = {"colours": 2.0, "gan": 0.3, "matte": 0.5, "predicted": 0.7, "style": 10.0}
    taught, item = made(NAME, album, "whole", weights=weights), batch(NAME, album)
    taught._vgg = vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    seen = recipe._Seen.of(item)
    kept = copy.deepcopy(taught.generator)
    with torch.no_grad():
        found = kept(seen.picture, seen.surface, seen.wanted)
        rgb, matte = found.picture[:, :3], found.picture[:, 3:]
        predicted = found.predicted[:, :3] * found.predicted[:, 3:]
        drawn = rgb * matte
        beside = [nets.shown(seen.surface), nets.shown(seen.wanted)]
        scores, true = (taught._judge(torch.cat([x, *beside], 1)) for x in (drawn, seen.target))
        alike, styled = recipe.looks(vgg, drawn, seen.target)
        expected = {
            "colours": 2 * F.l1_loss(drawn, seen.target),
            "predicted": 0.7 * F.l1_loss(predicted, seen.target),
            "matte": 0.5 * F.binary_cross_entropy(matte, seen.matte),
            "perceptual": 0.5 * alike, "style": 10 * styled,
            "gan": 0.3 * ((scores[0][-1] - 1) ** 2).mean(),
            "judge": 0.5 * (((true[0][-1] - 1) ** 2).mean() + (scores[0][-1] ** 2).mean()),
        }  # fmt: skip
    said = taught.step(item)
    assert set(said) == {*expected, "texels"}
    # The adversary judges behind the generator's step what was drawn before it.
    for name, value in expected.items():
        assert said[name] == pytest.approx(float(value), rel=2e-3), name


def test_looks_are_alike_only_where_pictures_are() -> None:
    torch.manual_seed(0)
    vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    a, b = (
        torch.rand(1, 3, 32, 32, requires_grad=True),
        torch.rand(1, 3, 32, 32, requires_grad=True),
    )
    assert [float(x) for x in recipe.looks(vgg, a.detach(), a.detach())] == [0, 0]
    alike, styled = recipe.looks(vgg, a, b)
    (alike + styled).backward()
    assert bool(alike > 0) and bool(styled > 0) and a.grad is not None and b.grad is None
    # A style does not say where things are.
    shifted, flat = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    shifted[..., :16, :], flat[..., 16:, :] = 1, 1
    alike, styled = recipe.looks(vgg, shifted, flat)
    assert float(styled) < 0.05 * float(alike)


def test_a_new_stage_goes_on_from_the_average(album: Path) -> None:
    taught = made(NAME, album)
    averaged = copy.deepcopy(taught.generator)
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.add_(1)
    assert taught.begin(0.9, averaged) and taught.stage == "whole"
    assert all(
        torch.equal(v, averaged.state_dict()[k]) for k, v in taught.generator.state_dict().items()
    )


def test_the_streams_may_be_left_out(album: Path) -> None:
    recipes = module(NAME)
    config = options(NAME, shares={"streams": 0})
    taught = recipes.build(config, recipes.open_data(album), Accelerator(cpu=True))
    assert taught.stage == "whole" and not taught.begin(0.5, taught.generator)
    with pytest.raises(ConfigError, match="whole"):
        options(NAME, shares={"whole": 0})


def test_the_rate_falls_in_each_stage(album: Path) -> None:
    taught = made(NAME, album, rate=1e-3, decay_from=0.5)
    seen = []
    for share in (0.0, 0.25, 0.375, 0.5, 0.875):
        taught.begin(share, taught.generator)
        (rate,) = {group["lr"] for o in taught._optimisers.values() for group in o.param_groups}
        seen.append((taught.stage, round(rate, 7)))
    assert seen == [
        ("streams", 1e-3), ("streams", 1e-3), ("streams", 5e-4), ("whole", 1e-3), ("whole", 5e-4),
    ]  # fmt: skip
