"""What every recipe of single pictures must keep to, in each of its stages."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import small_albums
import torch
from accelerate import Accelerator
from torch import nn

from dance import config, plugins, takes
from dance.training import checkpoint, loop
from dance.training.loop import TrainConfig
from dance.types import InputError, Recipe

FRAME = {"height": 48, "width": 32}
OPTIONS: dict[str, dict[str, Any]] = {
    "dense_transfer": {
        "generator": {
            "frame": FRAME, "predicting": {"widths": (4, 5, 6), "blocks": 1},
            "inpainting": {"side": 8, "widths": (3, 4), "context": 5, "kept": True, "norm": False},
            "blending": {"width": 4, "blocks": 1}, "alpha": True,
        },
        "adversary": {"filters": 4, "layers": 1}, "sampling": {"framed": True}, "rate": 2e-3,
    },
    "softgate": {
        "generator": {
            "frame": FRAME, "filters": 3, "downs": 2, "blocks": 1, "warps": 2, "radius": 2, "alpha": True,
            "matching": {"side": 64, "features": (3, 4, 5, 6), "filters": (5, 4), "kernels": (2, 2)},
        },
        "adversaries": {"filters": 4, "layers": 1}, "weights": {"parsing": 10.0},
        "sampling": {"framed": True}, "rate": 2e-3, "matcher_rate": 2e-3, "spread": {"shift": 0.2},
    },
    "nted": {
        "generator": {
            "frame": FRAME, "stroke": 2, "alpha": True,
            "scales": [{"width": 6, "labels": 3, "kernel": 1}, {"width": 5, "labels": 4}, {"width": 4}],
        },
        "judge": (4, 5, 6), "colours": 10.0, "matte": 5.0, "judged_from": 0.5, "rate": 2e-2,
        "weights": {"gan": 0.1, "r1_every": 2}, "sampling": {"framed": True},
    },
}  # fmt: skip
# Shares of the budget at which each stage has begun.
STAGES = {
    "dense_transfer": {"streams": 0.0, "whole": 0.6},
    "softgate": {"parser": 0.0, "matcher": 0.3, "renderer": 0.6},
    "nted": {"alone": 0.0, "judged": 0.6},
}
EACH = [(name, stage) for name, stages in STAGES.items() for stage in stages]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of synthetic shards of twelve small people who have all labels and parts somewhere."""
    folder = small_albums.synthetic(tmp_path_factory.mktemp("album") / "people")
    for k, shard in enumerate(sorted(folder.glob("*.tar"))):
        takes.write_shard(shard, [many_parts(small_albums.take_of(6 * k + n)) for n in range(6)])
    return folder


def many_parts(take: takes.Take) -> takes.Take:
    inside = take.matte > 127
    row, column = np.indices(inside.shape[1:])
    part = 1 + (row // 6 * 4 + column // 4) % 24
    surface = np.stack([part, 60 * (column % 4) + 30, 40 * (row % 6) + 20], -1)
    labels = 1 + part % 19
    return replace(
        take,
        surface=(surface * inside[..., None]).astype(np.uint8),
        labels=(labels * inside).astype(np.uint8),
    )


def module(name: str) -> ModuleType:
    return plugins.load("dance.training.recipes", name)


def options(name: str, **changes: Any) -> Any:
    return config.check(module(name).Config, OPTIONS[name] | changes, name)


def made(name: str, folder: Path, stage: str | None = None, **changes: Any) -> Recipe:
    """The recipe, in a stage."""
    torch.manual_seed(1)
    recipes = module(name)
    built: Recipe = recipes.build(
        options(name, **changes), recipes.open_data(folder), Accelerator(cpu=True)
    )
    for reached, share in STAGES[name].items():
        built.begin(share, built.generator)
        if reached == stage:
            break
    assert stage is None or built.stage == stage
    return built


def batch(name: str, folder: Path, count: int = 2) -> dict[str, torch.Tensor]:
    recipes = module(name)
    samples = recipes.pairs(options(name), recipes.open_data(folder), seed=0, held_out=0.2)
    items = [samples[n] for n in range(count)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def settings(name: str, data: Path, output: Path, **changes: Any) -> TrainConfig:
    values = {
        "recipe": {"name": name, "options": OPTIONS[name]}, "data": str(data), "output": str(output),
        "steps": 4, "batch": 2, "device": "cpu", "workers": 0, "threads": 1, "checks": 2, "scored": 2,
        "shown": 1, "held_out": 0.2,
    }  # fmt: skip
    return config.check(TrainConfig, values | changes, "test")


def tensors(tree: Any) -> list[torch.Tensor]:
    """All tensors of a tree, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tensor for value in values for tensor in tensors(value)]


@pytest.mark.parametrize(("name", "stage"), EACH)
def test_a_stage_lowers_its_losses_on_a_fixed_batch(name: str, stage: str, album: Path) -> None:
    taught, given = made(name, album, stage), batch(name, album)
    found = []
    for _ in range(40):
        # What is warped at random is so the same way each time.
        torch.manual_seed(3)
        found.append(taught.step(given))
    likeness = FALLING & found[0].keys()
    assert likeness
    for key in likeness:
        first, last = (sum(step[key] for step in part) for part in (found[:5], found[-5:]))
        assert last < 0.97 * first, key


FALLING = {"colours", "matte", "texels", "parsing", "affine", "plate", "l1", "attention"}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_of_every_network_is_taught_in_some_stage(name: str, album: Path) -> None:
    given, learnt = batch(name, album), set()
    for stage in STAGES[name]:
        taught = made(name, album, stage)
        before = copy.deepcopy(taught.state_dict()["networks"])
        for _ in range(2):
            taught.step(given)
        after = taught.state_dict()["networks"]
        learnt |= {(net, k) for net in after for k in after[net] if not torch.equal(before[net][k], after[net][k])}  # fmt: skip
    parameters = {("generator", key) for key, _ in taught.generator.named_parameters()}
    judges = {(net, k) for net in after for k in after[net] if net != "generator"}
    assert not (parameters | judges) - learnt


@pytest.mark.parametrize(("name", "stage"), EACH)
def test_a_stage_goes_on_exactly_from_what_was_kept(
    name: str, stage: str, album: Path, tmp_path: Path
) -> None:
    given = batch(name, album)
    taught, other = made(name, album, stage), made(name, album)
    taught.step(given)
    checkpoint.save(tmp_path / "c.safetensors", taught.state_dict())
    random = torch.get_rng_state()
    one = taught.step(given)
    other.load_state_dict(checkpoint.load(tmp_path / "c.safetensors"))
    assert other.stage == stage
    torch.set_rng_state(random)
    assert other.step(given) == one
    same = zip(tensors(taught.state_dict()), tensors(other.state_dict()), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


@pytest.mark.parametrize("name", OPTIONS)
def test_four_steps_are_two_and_resumed_two_bit_for_bit(
    name: str, album: Path, tmp_path: Path
) -> None:
    loop.train(settings(name, album, tmp_path / "whole"))

    def end(progress: loop.Progress) -> None:
        # As a crash does, behind the checkpoint in the middle.
        if progress.step == 3:
            raise RuntimeError("ended")

    with pytest.raises(RuntimeError, match="ended"):
        loop.train(settings(name, album, tmp_path / "parts"), on_progress=end)
    loop.train(settings(name, album, tmp_path / "parts"), resume=True)
    whole, parts = (
        checkpoint.load(tmp_path / run / loop.LAST) for run in ("whole", "parts")
    )  # fmt: skip
    assert whole["step"] == parts["step"] == 4
    for kind in ("recipe", "averaged", "random"):
        same = zip(tensors(whole[kind]), tensors(parts[kind]), strict=True)
        assert all(torch.equal(a, b) for a, b in same), kind


@pytest.mark.parametrize("name", OPTIONS)
def test_what_a_run_saves_is_what_the_plug_in_loads(name: str, album: Path, tmp_path: Path) -> None:
    loop.train(settings(name, album, tmp_path / "run", steps=2))
    generator = plugins.load("dance.generators", name)
    path = tmp_path / "run" / "generator.safetensors"
    drawing = generator.build(generator.Config(weights=path), "cpu")
    averaged = checkpoint.load(tmp_path / "run" / loop.BEST)["averaged"]
    kept = drawing.network.state_dict()
    assert kept.keys() == averaged.keys()
    assert all(torch.equal(kept[key], averaged[key]) for key in kept)
    assert not any(isinstance(m, nn.BatchNorm2d) and m.training for m in drawing.network.modules())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_with_a_wrong_key_is_refused(name: str, album: Path) -> None:
    taught, other = made(name, album), made(name, album)
    state = copy.deepcopy(taught.state_dict())
    net = state["networks"]["generator"]
    net["no.such.weight"] = net.pop(next(iter(net)))
    with pytest.raises(RuntimeError, match=r"no\.such\.weight"):
        other.load_state_dict(state)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_shown_is_as_large_as_what_is_true(name: str, album: Path) -> None:
    taught = made(name, album)
    with torch.no_grad():
        look = taught.show(taught.generator.eval(), batch(name, album, 1))
    assert look.drawn.shape == look.target.shape == (1, 3, 48, 32)
    assert look.mask.shape == (1, 1, 48, 32) and look.drawn.abs().max() <= 1


@pytest.mark.parametrize("name", ["dense_transfer", "softgate"])
def test_an_album_without_what_is_needed_is_refused(name: str, tmp_path: Path) -> None:
    folder = small_albums.views(tmp_path / "views")
    recipes = module(name)
    with pytest.raises(InputError, match=f"which {name} needs"):
        recipes.pairs(options(name), recipes.open_data(folder), seed=0, held_out=0.2)
