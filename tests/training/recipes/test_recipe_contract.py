"""What every recipe of single pictures must keep to, in each of its stages."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import small_albums
import torch
from small_recipes import EACH, OPTIONS, STAGES, batch, made, module, options
from torch import nn

from dance import config, plugins
from dance.training import checkpoint, loop
from dance.training.loop import TrainConfig
from dance.types import InputError


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


# Critics that follow what they judge, and who is judged by them, lower nothing.
LOWERING = [(name, stage) for name, stage in EACH if (name, stage) != ("dpig", "samplers")]


@pytest.mark.parametrize(("name", "stage"), LOWERING)
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


FALLING = {"colours", "matte", "texels", "parsing", "affine", "plate", "l1", "attention", "pose"}


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
    # A softmax takes off again what is added to all of its numbers.
    never = {(net, key) for net, key in parameters if key.endswith("cross.key.bias")}
    assert not (parameters | judges) - learnt - never


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
    if name == "dpig":
        # Drawing takes only the networks of stage I.
        averaged = {k.removeprefix("appearance."): v for k, v in averaged.items() if k.startswith("appearance.")}  # fmt: skip
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
