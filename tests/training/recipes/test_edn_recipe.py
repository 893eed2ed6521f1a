"""Everybody Dance Now's recipe: its stages, what each teaches, and its switches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from small_dataset import TINY
from torch import nn

from dance import config, dataset
from dance.config import ConfigError
from dance.generators import edn
from dance.geometry import Window
from dance.training import losses
from dance.training.recipes import edn as recipe

OPTIONS = TINY | {
    "adversary": TINY["adversary"] | {"scales": 3},
    "shares": {"coarse": 1, "fine": 2, "face": 1},
}


def made(folder: Path, **changes: Any) -> recipe.EDN:
    torch.manual_seed(1)
    options = config.check(recipe.Config, OPTIONS | changes, "test")
    return recipe.build(options, dataset.open_dataset(folder), Accelerator(cpu=True))


def batch(folder: Path, count: int = 1, **changes: Any) -> dict[str, torch.Tensor]:
    options = config.check(recipe.Config, OPTIONS | changes, "test")
    pairs = recipe.pairs(options, dataset.open_dataset(folder), seed=0, held_out=0.15)
    items = [pairs[n] for n in range(count)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def values(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def changed(before: dict[str, torch.Tensor], module: nn.Module) -> set[str]:
    return {k for k, v in module.state_dict().items() if not torch.equal(before[k], v)}


def rates(taught: recipe.EDN) -> set[float]:
    return {round(g["lr"], 9) for o in taught._optimisers.values() for g in o.param_groups}


def test_stages_follow_the_budget_and_the_rate_falls_in_the_second_half_of_each(
    folder: Path,
) -> None:
    taught = made(folder)
    seen = []
    for share in (0.0, 0.12, 0.24, 0.25, 0.5, 0.7, 0.76, 0.99):
        taught.begin(share, taught.generator)
        (rate,) = rates(taught)
        seen.append((taught.stage, round(rate / 2e-4, 2)))
    assert seen == [
        ("coarse", 1.0), ("coarse", 1.0), ("coarse", 0.08), ("fine", 1.0), ("fine", 1.0),
        ("fine", 0.2), ("face", 1.0), ("face", 0.08),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"face": False}, ["coarse", "fine"]),
        ({"shares": {"coarse": 0, "fine": 1, "face": 0}}, ["fine"]),
        ({"generator": OPTIONS["generator"] | {"network": "global"}}, ["fine", "face"]),
    ],
)
def test_stages_that_are_switched_off_are_left_out(
    folder: Path, changes: dict[str, Any], stages: list[str]
) -> None:
    taught = made(folder, **changes)
    seen = [taught.stage]
    for share in np.linspace(0, 0.999, 50):
        if taught.begin(float(share), taught.generator):
            seen.append(taught.stage)
    assert seen == stages


def test_a_new_stage_goes_on_from_the_average_of_the_last(folder: Path) -> None:
    taught = made(folder)
    taught.step(batch(folder))
    averaged = copy.deepcopy(taught.generator)
    with torch.no_grad():
        for p in averaged.parameters():
            p.add_(1)
    judges = values(taught._adversary)
    assert taught.begin(0.3, averaged) and taught.stage == "fine"
    trunk = averaged.generator.trunk.state_dict()
    for key, value in taught.generator.generator.trunk.state_dict().items():
        assert torch.equal(value, trunk[key]), key
    # The halved picture's judges were the whole picture's a stage ago.
    for key, value in taught._adversary.state_dict().items():
        scale = int(key.split(".")[1])
        if scale:
            old = key.replace(f"scales.{scale}", f"scales.{scale - 1}")
            assert torch.equal(value, judges[old]), key
    assert taught.begin(0.8, taught.generator) and taught.generator.face is not None


def test_the_face_stage_changes_the_face_alone(folder: Path) -> None:
    taught = made(folder)
    taught.begin(0.3, taught.generator)
    taught.begin(0.8, taught.generator)
    before = values(taught.generator)
    parts = taught.step(batch(folder))
    assert {"gan", "l1", "judge"} <= set(parts)
    moved = changed(before, taught.generator)
    assert moved and all(key.startswith("face.") for key in moved)


def test_a_batch_without_a_face_teaches_the_face_nothing(folder: Path) -> None:
    taught = made(folder)
    taught.begin(0.3, taught.generator)
    taught.begin(0.8, taught.generator)
    before = values(taught.generator)
    nobody = batch(folder)
    nobody["face"] = torch.full_like(nobody["face"], -1)
    assert taught.step(nobody) == {}
    assert not changed(before, taught.generator)


def test_generator_and_judge_are_both_taught_by_a_step(folder: Path) -> None:
    taught = made(folder)
    before, judge = values(taught.generator), values(taught._adversary)
    taught.step(batch(folder, 2))
    weights = {k for k in before if k.endswith("weight")}
    assert weights <= changed(before, taught.generator)
    assert {k for k in judge if k.endswith("weight")} <= changed(judge, taught._adversary)


def test_the_losses_are_the_published_sums(folder: Path) -> None:
    """LSGAN over scales, matched features and judge, from the networks as they were before the step."""
    taught = made(folder, weights={})
    item = batch(folder)
    body, judge = taught.generator.generator, taught._adversary
    seen = taught._prepared(item)
    with torch.no_grad():
        first = body(torch.cat([seen.labels[0], torch.zeros_like(seen.labels[0])], 1))
        shown = first[:, :3] * first[:, 3:]
        second = body(torch.cat([seen.labels[1], shown], 1))
        drawn = [shown * seen.valid[0], second[:, :3] * second[:, 3:] * seen.valid[1]]
        fake = judge(torch.cat([*seen.labels, *drawn], 1))
        real = judge(torch.cat([*seen.labels, *seen.pictures], 1))
        expected = {
            "gan": sum(((scale[-1] - 1) ** 2).mean() for scale in fake),
            "features": losses.feature_matching(fake, real, layers=2, weight=10),
            "judge": 0.5 * sum(((r[-1] - 1) ** 2).mean() + (f[-1] ** 2).mean() for r, f in zip(real, fake, strict=True)),
        }  # fmt: skip
    before = values(judge)
    parts = taught.step(item)
    assert set(parts) == set(expected) and before
    for name in ("gan", "features", "judge"):
        assert parts[name] == pytest.approx(float(expected[name]), rel=1e-4), name


def test_the_loss_of_changes_is_that_of_how_colours_go_on_from_the_first_frame(
    folder: Path,
) -> None:
    taught = made(folder, weights={"change": 10})
    item = batch(folder)
    seen = taught._prepared(item)
    with torch.no_grad():
        outputs = taught._rolled(taught._body, seen.labels, torch.zeros_like(seen.labels[0]))
        first, second = (seen.inside(taught._composed(x), i) for i, x in enumerate(outputs))
        wrong = (second - first) - (seen.pictures[1] - seen.pictures[0])
    assert taught.step(item)["change"] == pytest.approx(10 * float(wrong.abs().mean()), rel=1e-4)
    assert "change" not in made(folder, weights={"change": 10}, temporal=False).step(item)


def test_without_time_every_frame_is_drawn_from_nothing_for_ever(folder: Path) -> None:
    taught = made(folder, temporal=False)
    for share in (0.0, 0.3):
        taught.begin(share, taught.generator)
        taught.step(batch(folder))
        body = taught.generator.generator
        size = 32 if taught.stage == "coarse" else 64
        label, before = torch.rand(1, 3, size, size), torch.rand(1, 3, size, size)
        with torch.no_grad():
            alone = body(torch.cat([label, torch.zeros_like(before)], 1))
            assert torch.equal(alone, body(torch.cat([label, before], 1)))
    with_time = made(folder).generator.generator
    with torch.no_grad():
        given = [with_time(torch.cat([label, x * before], 1)) for x in (0, 1)]
    assert not torch.equal(*given)


def test_the_trunk_may_stay_as_it_is_for_a_while(folder: Path) -> None:
    taught = made(folder, trunk_frozen=0.5)
    taught.begin(0.3, taught.generator)
    before = values(taught.generator)
    taught.step(batch(folder))
    assert not [k for k in changed(before, taught.generator) if ".trunk." in k]
    taught.begin(0.6, taught.generator)
    taught.step(batch(folder))
    assert [k for k in changed(before, taught.generator) if ".trunk." in k]


def test_the_coarse_view_is_the_whole_one_made_smaller(folder: Path) -> None:
    footage = dataset.open_dataset(folder)
    whole = recipe.architecture(config.check(recipe.Config, OPTIONS, "test"), footage)
    small = recipe.coarse(whole)
    assert small.size == (whole.height // 2, whole.width // 2) and small.network == "global"
    looks = [
        Window(a.size, a.follow.scale, a.follow.anchor, a.follow.picture).look(
            footage.track.poses[3]
        )
        for a in (whole, small)
        if a.follow is not None
    ]
    assert np.allclose((looks[0].xy[:23] + 0.5) / 2 - 0.5, looks[1].xy[:23], atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_what_a_stage_saves_is_loaded_and_drawn_by_the_plug_in(
    folder: Path, tmp_path: Path, share: float
) -> None:
    from dance import person_files

    taught = made(folder)
    for reached in (0.0, 0.3, 0.8):
        if reached <= share:
            taught.begin(reached, taught.generator)
    taught.step(batch(folder))
    taught.save(tmp_path / "g.safetensors", taught.generator)
    drawing = edn.build(edn.Config(weights=tmp_path / "g.safetensors"), "cpu")
    person = person_files.load(dataset.open_dataset(folder).person)
    drawn, _ = drawing.render(drawing.encode(person), list(person.track.poses[:2]), None)
    assert drawn.alpha is not None and drawn.rgb.shape[-2:] == (96, 128)


def test_training_and_drawing_show_the_network_the_same(folder: Path) -> None:
    """The label of a held-out frame as training makes it is what the plug-in makes of the pose."""
    footage = dataset.open_dataset(folder)
    options = config.check(recipe.Config, OPTIONS, "test")
    whole = recipe.architecture(options, footage)
    pairs = recipe.pairs(options, footage, seed=0, held_out=0.15)
    number = pairs.held[0]
    assert whole.follow is not None
    window = Window(whole.size, whole.follow.scale, whole.follow.anchor, whole.follow.picture)
    shown = edn.shown(window.look(footage.track.poses[number]), whole, footage.facts.size)
    assert torch.equal(pairs.held_pair(number)["label"][1], shown[0])


def test_state_goes_into_another_recipe_whole(folder: Path) -> None:
    taught, other = made(folder), made(folder)
    taught.begin(0.3, taught.generator)
    taught.step(batch(folder))
    other.load_state_dict(copy.deepcopy(taught.state_dict()))
    assert other.stage == "fine" and not changed(values(taught.generator), other.generator)
    a, b = (x.step(batch(folder)) for x in (taught, other))
    assert a == b


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"window": True, "generator": {"alpha": False}}, "needs generator.alpha"),
        (
            {"window": False, "generator": {"alpha": False}, "weights": {"matte": 1}},
            "weights.matte",
        ),
        ({"generator": {"alpha": True, "height": 80, "width": 64}}, "multiple of 32"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        config.check(recipe.Config, OPTIONS | changes, "test")
