"""NTED's recipe: both ways, an adversary that joins in, and R1 every so often."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_recipes import batch, made, options

from dance import joint_maps
from dance.config import ConfigError
from dance.generators import nted
from dance.training import losses, nted_losses
from dance.training.recipes import nted as recipe
from dance.types import InputError, Pose

NAME = "nted"


def test_every_pair_is_learnt_both_ways(album: Path) -> None:
    item = batch(NAME, album)
    seen = recipe._Seen.of(item, both=True)
    assert torch.equal(seen.source, torch.cat([item["source"], item["target"]]))
    assert torch.equal(seen.target, torch.cat([item["target"], item["source"]]))
    for name in ("matte", "maps", "eyes"):
        wanted = torch.cat([item[f"target_{name}"], item[f"source_{name}"]])
        assert torch.equal(getattr(seen, name), wanted)
    one = recipe._Seen.of(item, both=False)
    assert torch.equal(one.target, item["target"]) and torch.equal(one.maps, item["target_maps"])


def test_sources_need_no_label_where_only_one_way_is_learnt(album: Path) -> None:
    told = recipe._Told(options(NAME).generator, False)
    pose = Pose.unseen()
    assert told("source", pose, (48, 32)) == {}
    assert set(told("target", pose, (48, 32))) == {"maps", "eyes"}
    taught = made(NAME, album, both=False)
    assert set(taught.step(batch(NAME, album))) == {"attention", "colours", "matte"}


def test_training_shows_the_network_the_label_that_it_draws_from(album: Path) -> None:
    item, a = batch(NAME, album, 1), options(NAME).generator
    pose = Pose(item["target_xy"][0].numpy(), item["target_score"][0].numpy())
    xy, score = joint_maps.joints(pose)
    assert torch.equal(item["target_maps"], nted.shown(a, xy[None], score[None]))
    # The right eye, then the left one.
    assert torch.allclose(item["target_eyes"][0], torch.from_numpy(xy[[14, 15]].ravel()).float())


def test_the_adversary_joins_in_when_it_is_told(album: Path) -> None:
    taught, item = made(NAME, album, judged_from=0.4), batch(NAME, album)
    judge = copy.deepcopy(taught._judge.state_dict())
    taught.begin(0.39, taught.generator)
    assert taught.stage == "alone" and "gan" not in taught.step(item)
    assert all(torch.equal(v, judge[k]) for k, v in taught._judge.state_dict().items())
    assert not taught.begin(0.4, taught.generator)
    assert taught.stage == "judged" and {"gan", "drawn", "real", "r1"} <= set(taught.step(item))
    assert any(not torch.equal(v, judge[k]) for k, v in taught._judge.state_dict().items())


def test_r1_is_taken_every_so_many_judgements_also_after_going_on(album: Path) -> None:
    taught, item = made(NAME, album, "judged", weights={"r1_every": 3}), batch(NAME, album)
    said = ["r1" in taught.step(item) for _ in range(5)]
    other = made(NAME, album, "judged", weights={"r1_every": 3})
    other.load_state_dict(copy.deepcopy(taught.state_dict()))
    said += ["r1" in other.step(item) for _ in range(3)]
    assert said == [True, False, False, True, False, False, True, False]


def test_rates_and_betas_are_the_published_ones(album: Path) -> None:
    taught = made(NAME, album, rate=0.002, weights={})
    rates = {name: o.param_groups[0]["lr"] for name, o in taught._optimisers.items()}
    betas = {name: o.param_groups[0]["betas"] for name, o in taught._optimisers.items()}
    assert rates == pytest.approx({"generator": 0.002, "judge": 0.001882}, abs=1e-6)
    assert betas["generator"] == (0.0, 0.99)
    assert betas["judge"] == pytest.approx((0.0, 0.9905), abs=1e-4)
    other = made(NAME, album, rate=0.01, judge_rate=0.001, momentum=0.6, weights={})
    said = {name: o.param_groups[0]["lr"] for name, o in other._optimisers.items()}
    assert said == pytest.approx({"generator": 0.01, "judge": 0.001 * 16 / 17})
    assert other._optimisers["generator"].param_groups[0]["betas"] == (0.6, 0.99)
    assert pytest.approx(0.99778, abs=1e-5) == nted_losses.AVERAGE


def test_a_batch_that_makes_no_groups_is_refused(album: Path) -> None:
    taught = made(NAME, album)
    with pytest.raises(InputError, match=r"batch = 3: .* groups of 4"):
        taught.step(batch(NAME, album, 3))
    taught.step(batch(NAME, album, 1))


def test_faces_and_features_are_taught_where_there_is_vgg(album: Path) -> None:
    large = {"frame": {"height": 64, "width": 48}, "scales": [{"width": 4, "labels": 2}, {"width": 4}]}  # fmt: skip
    changes = {"generator": large | {"alpha": False, "stroke": 2}, "matte": 0.0}
    taught = made(NAME, album, **changes)
    taught._vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    said = taught.step(batch(NAME, album, 2, **changes))
    assert set(said) == {"attention", "colours", "perceptual", "face"} and min(said.values()) > 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"judge": (4,) * 8}, "48x32 cannot be halved 7 times"),
        ({"vgg": "vgg.safetensors"}, "with vgg it must be 64 at least"),
        ({"generator": {"frame": {"height": 64}, "alpha": False}}, "matte needs generator.alpha"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        options(NAME, **changes)
