"""Soft-Gated's recipe: parser, matcher and renderer one after the other."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from small_recipes import STAGES, batch, made, options

from dance import joint_maps, weights
from dance.config import ConfigError
from dance.generators import _softgate_match as match
from dance.generators import _softgate_nets as nets
from dance.generators import softgate
from dance.surface import parsing
from dance.training.recipes import softgate as recipe
from dance.types import InputError, Pose

NAME = "softgate"


@pytest.mark.parametrize("stage", STAGES[NAME])
def test_a_stage_moves_its_own_network_alone(stage: str, album: Path) -> None:
    taught = made(NAME, album, stage)
    before = copy.deepcopy(taught.generator.state_dict())
    taught.step(batch(NAME, album))
    after = taught.generator.state_dict()
    assert {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])} == {stage}


def test_the_renderer_learns_in_what_parser_and_matcher_say(album: Path) -> None:
    taught, item = made(NAME, album, "renderer"), batch(NAME, album)
    generator = taught.generator
    assert not generator.matcher.training and generator.renderer.training
    with torch.no_grad():
        parsed = nets.one_hot(item["source_labels"])
        found = copy.deepcopy(generator)(item["source"], parsed, item["target_maps"]).picture
        expected = (found[:, :3] * found[:, 3:] - item["target"]).abs().mean()
    assert taught.step(item)["l1"] == pytest.approx(10 * float(expected), rel=1e-4)


def test_the_matcher_learns_movements_that_it_can_know(album: Path) -> None:
    spread = recipe.Spread(turn=1 / 6, scale=0.5, shift=0.5, bend=0.4)
    torch.manual_seed(0)
    thetas = recipe.affine(4000, spread)
    assert thetas.shape == (4000, 6)
    assert 0.45 < thetas[:, [2, 5]].abs().max() <= 0.5
    assert 0.5 * math.cos(math.pi / 6) - 1e-6 <= thetas[:, [0, 4]].min() < 0.5
    assert 1.4 < thetas[:, [0, 4]].max() <= 1.5
    # A turn has sines of either sign above and below the diagonal.
    assert (thetas[:, 1] * thetas[:, 3] <= 0).all() and 0.6 < thetas[:, 1].max() <= 0.75
    still = recipe.affine(1, recipe.Spread(turn=0, scale=0, shift=0, bend=0))
    assert still.tolist() == [[1, 0, 0, 0, 1, 0]]
    bend = match.ThinPlate()
    bent = recipe.plate(2000, spread, bend) - bend.controls.T.flatten()
    assert bent.shape == (2000, 18) and 0.39 < bent.abs().max() <= 0.4


def test_what_a_stage_shows_is_what_it_makes(album: Path) -> None:
    item = batch(NAME, album, 1)
    colours = torch.from_numpy(parsing.palette()).float() / 127.5 - 1
    truth = colours[item["target_labels"]].movedim(-1, 1)
    for stage in STAGES[NAME]:
        taught = made(NAME, album, stage)
        with torch.no_grad():
            look = taught.show(taught.generator.eval(), item)
        wanted = item["target"] if stage == "renderer" else truth
        assert torch.allclose(look.target, wanted, atol=1e-5), stage
        if stage == "parser":
            pixels = {tuple(p) for p in look.drawn[0].flatten(1).T.tolist()}
            assert pixels <= {tuple(c) for c in colours.tolist()}


def test_training_shows_the_network_the_maps_that_it_draws_from(album: Path) -> None:
    item = batch(NAME, album, 1)
    pose = Pose(item["target_xy"][0].numpy(), item["target_score"][0].numpy())
    xy, score = joint_maps.joints(pose)
    drawing = softgate.untrained(**options(NAME).generator.model_dump())
    assert torch.equal(item["target_maps"], drawing.maps(xy[None], score[None]))
    assert "source_maps" not in item


def test_matchers_taught_elsewhere_are_taken_over_and_stay(tmp_path: Path, album: Path) -> None:
    torch.manual_seed(8)
    other = softgate.untrained(**options(NAME).generator.model_dump()).network.matcher
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("affine", "plate")}
    for name, path in paths.items():
        weights.save_safetensors(path, getattr(other, name), {"network": "matcher"})
    changes = {name: str(path) for name, path in paths.items()}
    taught = made(NAME, album, **changes, shares={"parser": 1, "matcher": 0, "renderer": 1})
    entered = [taught.stage]
    for share in (0.2, 0.4, 0.6, 0.8):
        if taught.begin(share, taught.generator):
            entered.append(taught.stage)
    assert "matcher" not in entered
    taught.step(batch(NAME, album))
    ours = taught.generator.matcher.state_dict()
    assert all(torch.equal(ours[k], v) for k, v in other.state_dict().items())
    with pytest.raises(InputError, match=r"plate\.safetensors"):
        made(NAME, album, affine=changes["plate"])
    with pytest.raises(ConfigError, match=r"shares\.matcher = 0 needs affine and plate"):
        options(NAME, shares={"matcher": 0})


def test_every_stage_has_its_own_rate(album: Path) -> None:
    for changes, wanted in (
        ({}, [0.1, 0.2, 0.1]),
        ({"parser_rate": 0.3}, [0.3, 0.2, 0.1]),
    ):
        shares = {"parser": 1, "matcher": 1, "renderer": 1}
        taught = made(NAME, album, rate=0.1, matcher_rate=0.2, shares=shares, **changes)
        found = []
        for share in (0.01, 0.34, 0.67):
            taught.begin(share, taught.generator)
            found += [group["lr"] for o in taught._optimisers.values() for group in o.param_groups][:1]  # fmt: skip
        assert found == pytest.approx(wanted)
