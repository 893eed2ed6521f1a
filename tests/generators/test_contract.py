"""What every generator must keep to; a new one is found from the folder.

A module may offer `TEST_OPTIONS`, a dict of options that makes it small and quick. One that draws a person it has
learnt offers `untrained(device)`, a small one with fresh weights, because `build` asks for weights.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from dance import plugins, weights
from dance.config import ConfigError, Options, check
from dance.types import Drawn, Generator, InputError, Person, Pose

GENERATORS = plugins.names("dance.generators")

pytestmark = pytest.mark.parametrize("name", GENERATORS)


@pytest.fixture
def person(name: str, person: Person, request: pytest.FixtureRequest) -> Person:
    """The drawn person, with a fitted body where the generator needs one."""
    if "surface" not in _build(name).needs:
        return person
    fitted: Person = request.getfixturevalue("fitted_person")
    return fitted


@pytest.fixture
def dance(name: str, dance: list[Pose], request: pytest.FixtureRequest) -> list[Pose]:
    """The nine poses, with fitted bodies where the generator needs them."""
    if "surface" not in _build(name).needs:
        return dance
    fitted: list[Pose] = request.getfixturevalue("fitted_dance")
    return fitted


def _module(name: str) -> ModuleType:
    return plugins.load("dance.generators", name)


def _build(name: str) -> Generator:
    module = _module(name)
    torch.manual_seed(7)
    if hasattr(module, "untrained"):
        fresh: Generator = module.untrained("cpu")
        return fresh
    options = check(module.Config, getattr(module, "TEST_OPTIONS", {}), name)
    generator: Generator = module.build(options, "cpu")
    return generator


def _render(generator: Generator, person: Person, poses: list[Pose], chunk: int) -> Drawn:
    code, state = generator.encode(person), None
    poses = [_in_its_pixels(generator, person, pose) for pose in poses]
    parts = []
    for i in range(0, len(poses), chunk):
        drawn, state = generator.render(code, poses[i : i + chunk], state)
        parts.append(drawn)
    alpha = None if parts[0].alpha is None else torch.cat([p.alpha for p in parts])
    return Drawn(torch.cat([p.rgb for p in parts]), alpha)


def _in_its_pixels(generator: Generator, person: Person, pose: Pose) -> Pose:
    """The pose as the pipeline hands it over: in pixels of the size that is drawn."""
    if generator.size is None:
        return pose
    factor = np.array(generator.size[::-1], np.float32) / np.array(person.size[::-1], np.float32)
    return replace(pose, xy=pose.xy * factor)


def _nets(generator: Generator) -> list[nn.Module]:
    """The networks of a generator: itself, or what it holds."""
    if isinstance(generator, nn.Module):
        return [generator]
    return [value for value in vars(generator).values() if isinstance(value, nn.Module)]


def _learned(generator: Generator) -> list[nn.Module]:
    nets = [net for net in _nets(generator) if any(True for _ in net.parameters())]
    if not nets:
        pytest.skip("learns nothing: has no parameters")
    return nets


def test_its_config_is_strict_and_has_defaults_for_everything(name: str) -> None:
    module = _module(name)
    assert issubclass(module.Config, Options)
    module.Config()
    with pytest.raises(ConfigError, match="unknown key"):
        check(module.Config, {"no_such_option": 1}, name)


def test_without_weights_it_draws_or_says_that_they_are_needed(name: str) -> None:
    module = _module(name)
    if not hasattr(module, "untrained") or f"{name}.safetensors" in weights.released():
        module.build(module.Config(), "cpu")
        return
    with pytest.raises(InputError, match=r"generator\.options\.weights"):
        module.build(module.Config(), "cpu")


def test_it_says_what_it_draws_and_what_it_needs(name: str) -> None:
    generator = _build(name)
    assert generator.size is None or (len(generator.size) == 2 and min(generator.size) > 0)
    assert isinstance(generator.needs, frozenset)
    assert generator.needs <= {"surface", "parsing"}


def test_pictures_have_the_promised_shape_type_and_range(
    name: str, person: Person, dance: list[Pose]
) -> None:
    generator = _build(name)
    drawn = _render(generator, person, dance, len(dance))
    height, width = generator.size or person.size
    assert drawn.rgb.shape == (len(dance), 3, height, width)
    assert drawn.rgb.dtype in (torch.float32, torch.uint8)
    if drawn.rgb.is_floating_point():
        assert torch.isfinite(drawn.rgb).all()
        assert drawn.rgb.min() >= -1 and drawn.rgb.max() <= 1
    if drawn.alpha is not None:
        assert drawn.alpha.shape == (len(dance), 1, height, width)
        assert drawn.alpha.dtype == torch.float32
        assert drawn.alpha.min() >= 0 and drawn.alpha.max() <= 1


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_a_chunk_equals_frame_by_frame_carrying_the_state(
    name: str, chunk: int, person: Person, dance: list[Pose]
) -> None:
    generator = _build(name)
    whole = _render(generator, person, dance, len(dance))
    pieces = _render(generator, person, dance, chunk)
    torch.testing.assert_close(pieces.rgb.float(), whole.rgb.float(), atol=1e-4, rtol=0)
    if whole.alpha is not None:
        torch.testing.assert_close(pieces.alpha, whole.alpha, atol=1e-4, rtol=0)


def test_the_same_seed_draws_the_same(name: str, person: Person, dance: list[Pose]) -> None:
    first = _render(_build(name), person, dance[:3], 3)
    second = _render(_build(name), person, dance[:3], 3)
    assert torch.equal(first.rgb, second.rgb)


def test_poses_and_person_are_left_as_they_were(
    name: str, person: Person, dance: list[Pose]
) -> None:
    poses = [pose.xy.copy() for pose in dance]
    view = person.views[0]
    before = view.frame.rgb.copy(), view.alpha.copy(), view.pose.xy.copy(), person.plate.copy()
    _render(_build(name), person, dance, len(dance))
    after = view.frame.rgb, view.alpha, view.pose.xy, person.plate
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(np.array_equal(a, b.xy) for a, b in zip(poses, dance, strict=True))


def test_a_pose_nobody_saw_still_gives_a_picture(name: str, person: Person) -> None:
    generator = _build(name)
    drawn = _render(generator, person, [Pose.unseen()] * 2, 2)
    assert len(drawn.rgb) == 2
    assert drawn.alpha is None or float(drawn.alpha.max()) == 0


def test_saved_weights_load_strictly_and_draw_the_same(
    name: str, person: Person, dance: list[Pose]
) -> None:
    generator, other = _build(name), _build(name)
    for net in _learned(other):
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.01)
    for net, target in zip(_learned(generator), _learned(other), strict=True):
        target.load_state_dict(net.state_dict(), strict=True)
    first, second = (_render(g, person, dance[:2], 2) for g in (generator, other))
    assert torch.equal(first.rgb, second.rgb)


def test_weights_with_a_wrong_key_are_refused(name: str) -> None:
    for net in _learned(_build(name)):
        state = net.state_dict()
        state["no.such.weight"] = state.pop(next(iter(state)))
        with pytest.raises(RuntimeError, match=r"no\.such\.weight"):
            net.load_state_dict(state, strict=True)


def test_every_parameter_gets_a_gradient(name: str, person: Person, dance: list[Pose]) -> None:
    generator = _build(name)
    nets = _learned(generator)
    drawn = _render(generator, person, dance[:3], 3)
    (drawn.rgb.square().mean() + (0 if drawn.alpha is None else drawn.alpha.mean())).backward()
    missing = [
        key
        for net in nets
        for key, parameter in net.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert not missing
