"""The presets in configs/train are what their recipes take, and small ones stay small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from dance import config, plugins
from dance.training import loop
from dance.training.loop import TrainConfig

PRESETS = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))
_LARGEST = 5e6  # bytes of weights that come with the package, at two bytes a number


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_what_its_recipe_takes(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    whole = config.check(TrainConfig, values | {"data": "data", "output": "run"}, str(path))
    recipe = plugins.load(loop.RECIPES, whole.recipe.name)
    config.check(recipe.Config, whole.recipe.options, str(path))
    assert path.stem.split("_cpu")[0].split("_gpu")[0] == whole.recipe.name


@pytest.mark.parametrize(
    "path",
    [p for p in PRESETS if p.stem.endswith("_cpu") and p.stem != "edn_cpu"],
    ids=lambda path: path.stem,
)
def test_what_a_laptop_teaches_is_small_enough_to_be_shipped(path: Path) -> None:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = values["recipe"]["name"]
    options = config.check(
        plugins.load(loop.RECIPES, name).Config, values["recipe"]["options"], name
    )
    with torch.device("meta"):
        made = plugins.load("dance.generators", name).body(options.generator)
    assert 2 * sum(tensor.numel() for tensor in made.state_dict().values()) < _LARGEST
