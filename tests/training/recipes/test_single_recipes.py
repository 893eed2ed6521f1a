"""The recipes of single-picture generators: each teaches every network, learns, and goes on where it was."""

from __future__ import annotations

import copy
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import small_albums
import torch
from accelerate import Accelerator
from torch import nn

from dance import config, plugins
from dance.config import ConfigError
from dance.training import checkpoint, loop
from dance.training.album import open_album
from dance.training.loop import TrainConfig
from dance.types import InputError

_FRAME = {"height": 48, "width": 32}
OPTIONS: dict[str, dict[str, Any]] = {
    "pg2": {
        "generator": {
            "frame": _FRAME, "filters": 4, "levels": 3, "code": 8, "refine_levels": 2, "refine_skips": 2,
            "radius": 2, "alpha": True,
        },
        "judge": [4, 4, 8], "weights": {"matte": 1.0, "colours": 10.0},
        "shares": {"coarse": 1, "refined": 1}, "rate": 2e-3,
    },
    "dpig": {
        "generator": {
            "frame": _FRAME, "filters": 4, "levels": 3, "code": 8, "crop": 8, "part_levels": 2, "part_code": 4,
            "background_levels": 3, "background_code": 6, "pose_code": 5, "hidden": 8, "background_hidden": 6,
            "radius": 2, "mask_radius": 2, "margin": 2, "lone_margin": 4, "alpha": True,
        },
        "judge": [4, 4, 8], "weights": {"matte": 5.0}, "across": True,
        "shares": {"appearance": 2, "pose": 1, "samplers": 1}, "rate": 2e-3,
        "samplers": {"rate": 1e-3, "critics": 2},
    },
    "xing": {
        "generator": {"frame": _FRAME, "filters": 4, "blocks": 2, "candidates": 2, "sigma": 2, "alpha": True},
        "adversaries": {"filters": 4, "blocks": 1}, "weights": {"matte": 5.0, "gan": 1.0}, "rate": 2e-3,
    },
}  # fmt: skip
"""Options of every recipe with which it learns something of drawn people in seconds."""
MOST = {"pg2": "colours", "dpig": "colours", "xing": "colours"}
"""The loss each recipe lowers first of all."""
PRESETS = Path(__file__).parents[3] / "configs" / "train"
each = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_albums.synthetic(tmp_path_factory.mktemp("data") / "people", 12)


def made(name: str, data: Path, **changes: Any) -> Any:
    module = plugins.load(loop.RECIPES, name)
    options = config.check(module.Config, OPTIONS[name] | changes, "test")
    torch.manual_seed(1)
    return module.build(options, module.open_data(data), Accelerator(cpu=True))


def batch(name: str, data: Path, count: int = 4, **changes: Any) -> dict[str, torch.Tensor]:
    module = plugins.load(loop.RECIPES, name)
    options = config.check(module.Config, OPTIONS[name] | changes, "test")
    samples = module.pairs(options, module.open_data(data), seed=0, held_out=0.2)
    items = [samples[n] for n in range(count)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def stages(recipe: Any) -> list[str]:
    """All stages of a recipe, entered one after the other in a copy of it."""
    taught = copy.deepcopy(recipe)
    names = [taught.stage]
    for k in range(100):
        if taught.begin(k / 100, taught.generator):
            names.append(taught.stage)
    return names


def enter(recipe: Any, stage: str) -> None:
    for k in range(100):
        recipe.begin(k / 100, recipe.generator)
        if recipe.stage == stage:
            return
    raise AssertionError(f"there is no stage {stage}")


@each
def test_every_parameter_of_every_network_is_taught_in_some_stage(name: str, data: Path) -> None:
    recipe = made(name, data)
    item = batch(name, data)
    taught: set[str] = set()
    nets = nn.ModuleDict(recipe._networks())
    for stage in stages(recipe):
        enter(recipe, stage)
        before = copy.deepcopy(nets.state_dict())
        for _ in range(2):
            recipe.step(item)
        moved = {k for k, v in nets.state_dict().items() if not torch.equal(v, before[k])}
        assert moved, stage
        taught |= moved
    # A softmax takes off again what is added to all of its numbers.
    never = {key for key in nets.state_dict() if key.endswith("cross.key.bias")}
    assert not {key for key, _ in nets.named_parameters()} - taught - never


@each
def test_a_fixed_batch_is_learnt(name: str, data: Path) -> None:
    recipe = made(name, data)
    item = batch(name, data)
    first = last = recipe.step(item)[MOST[name]]
    for _ in range(100):
        last = recipe.step(item)[MOST[name]]
        if last < 0.8 * first:
            break
    assert math.isfinite(first) and last < 0.8 * first


@each
def test_every_stage_shows_and_saves_what_the_plug_in_loads(
    name: str, data: Path, tmp_path: Path
) -> None:
    recipe = made(name, data)
    module = plugins.load("dance.generators", name)
    item = batch(name, data, 2)
    for stage in stages(recipe):
        enter(recipe, stage)
        recipe.step(item)
        with torch.no_grad():
            shown = recipe.show(recipe.generator.eval(), item)
        assert shown.drawn.shape == shown.target.shape == (2, 3, 48, 32)
        assert shown.mask.shape == (2, 1, 48, 32) and shown.label.shape[2] == 48
        path = tmp_path / f"{stage}.safetensors"
        recipe.save(path, recipe.generator)
        module.build(module.Config(weights=path), "cpu")


@each
def test_half_the_steps_and_the_others_resumed_are_all_of_them_bit_for_bit(
    name: str, data: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop.train(settings(name, data, whole))
    loop.train(settings(name, data, parts), on_progress=_stopping)
    assert checkpoint.load(parts / loop.LAST)["step"] == 2
    torch.manual_seed(99)
    report = loop.train(settings(name, data, parts), resume=True)
    assert report.steps == 4 and not report.stopped
    a, b = (checkpoint.load(run / loop.LAST) for run in (whole, parts))
    assert flat(a) == flat(b)


def _stopping(progress: loop.Progress) -> None:
    if progress.step == 2:
        signal.raise_signal(signal.SIGTERM)


def flat(tree: Any, place: str = "") -> dict[str, Any]:
    """Every leaf by its place, tensors as lists; without what a clock wrote."""
    if isinstance(tree, dict):
        parts = [flat(v, f"{place}.{k}") for k, v in tree.items() if k != "seconds"]
    elif isinstance(tree, list):
        parts = [flat(v, f"{place}.{i}") for i, v in enumerate(tree)]
    else:
        return {place: tree.tolist() if isinstance(tree, torch.Tensor) else tree}
    return {k: v for part in parts for k, v in part.items()}


def settings(name: str, data: Path, output: Path, **changes: Any) -> TrainConfig:
    values = {
        "recipe": {"name": name, "options": OPTIONS[name]}, "data": str(data), "output": str(output),
        "steps": 4, "batch": 2, "device": "cpu", "workers": 0, "threads": 1, "checks": 2, "scored": 2,
        "shown": 1, "held_out": 0.2,
    }  # fmt: skip
    return config.check(TrainConfig, values | changes, "test")


@each
def test_a_run_without_a_person_leaves_weights_scores_and_sheets(
    name: str, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    report = loop.train(settings(name, data, run))
    assert report.best is not None and (run / "generator.safetensors").is_file()
    assert not (run / "person").exists() and len(list((run / "samples").glob("*.png"))) == 2


@each
def test_state_goes_into_another_recipe_whole(name: str, data: Path) -> None:
    taught, other = made(name, data), made(name, data)
    item = batch(name, data, 2)
    enter(taught, stages(taught)[-1])
    taught.step(item)
    other.load_state_dict(copy.deepcopy(taught.state_dict()))
    assert other.stage == taught.stage
    said = []
    for recipe in (taught, other):
        torch.manual_seed(5)
        said.append(recipe.step(item))
    assert said[0] == said[1]


@each
def test_pictures_without_a_matte_teach_generators_without_one(name: str, tmp_path: Path) -> None:
    folder = small_albums.listed(tmp_path / "d", "{person:04d}_c1s{view}.jpg", (48, 32), "market")
    with pytest.raises(InputError, match="no matte"):
        batch(name, folder)
    plain = {
        "generator": OPTIONS[name]["generator"] | {"alpha": False},
        "weights": {k: v for k, v in OPTIONS[name]["weights"].items() if k != "matte"},
    }
    recipe = made(name, folder, **plain)
    assert all(math.isfinite(v) for v in recipe.step(batch(name, folder, 2, **plain)).values())


@each
def test_a_matte_is_only_taught_where_one_is_drawn(name: str, data: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights\.matte needs"):
        made(name, data, generator=OPTIONS[name]["generator"] | {"alpha": False})


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_are_whole(path: Path) -> None:
    wanted = config.load(TrainConfig, path, ["data=d", "output=o"])
    module = plugins.load(loop.RECIPES, wanted.recipe.name)
    config.check(module.Config, wanted.recipe.options, "test")
    assert path.stem.removesuffix("_cpu").removesuffix("_gpu") == wanted.recipe.name


@each
def test_small_weights_are_small(name: str) -> None:
    """At most 5 MB in half precision, so that they can go with the package."""
    wanted = config.load(TrainConfig, PRESETS / f"{name}_cpu.yaml", ["data=d", "output=o"])
    module = plugins.load(loop.RECIPES, name)
    options = config.check(module.Config, wanted.recipe.options, "test")
    whole = module.build(options, None, Accelerator(cpu=True)).generator
    assert 2 * sum(value.numel() for value in whole.state_dict().values()) <= 5_000_000


@each
def test_albums_are_read_by_every_recipe_of_many(name: str) -> None:
    assert plugins.load(loop.RECIPES, name).open_data is open_album
