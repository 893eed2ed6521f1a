"""Poses into layers: memory within a scene, none across cuts, whatever the length of the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from figure import pose_at

from dance import render
from dance.types import Drawn, Layer, Moment, Pose, Size

CANVAS = (40, 60)


class Counting:
    """A generator that draws how many frames it remembers, at half the size where it has one of its own."""

    needs: frozenset[str] = frozenset()

    def __init__(self, size: Size | None = None, *, matte: bool = True) -> None:
        self.size = size
        self.matte = matte
        self.noses: list[tuple[float, float]] = []

    def encode(self, person: object) -> None:
        return None

    def render(self, code: object, poses: Sequence[Pose], state: int | None) -> tuple[Drawn, int]:
        before = state or 0
        self.noses += [(float(p.xy[0, 0]), float(p.xy[0, 1])) for p in poses]
        height, width = self.size or CANVAS
        levels = torch.arange(before, before + len(poses)).float() / 10 - 1
        rgb = levels[:, None, None, None].expand(-1, 3, height, width)
        alpha = torch.full((len(poses), 1, height, width), 0.5) if self.matte else None
        return Drawn(rgb, alpha), before + len(poses)


def moments(count: int, cuts: Sequence[int] = ()) -> list[Moment]:
    return [Moment(pose_at(20 + i, 20, 8), Fraction(i, 25), cut=i in cuts) for i in range(count)]


def remembered(layers: Sequence[Layer]) -> list[int]:
    return [round((int(layer.rgb[0, 0, 0]) / 127.5) * 10) for layer in layers]


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 100])
def test_the_memory_is_carried_along_and_forgotten_at_cuts(chunk: int) -> None:
    layers = list(render.draw(Counting(), None, moments(9, cuts=(3, 4)), CANVAS, chunk))
    assert remembered(layers) == [0, 1, 2, 0, 0, 1, 2, 3, 4]
    assert [layer.moment.time for layer in layers] == [Fraction(i, 25) for i in range(9)]


def test_nothing_is_drawn_of_no_moments() -> None:
    assert list(render.draw(Counting(), None, [], CANVAS, 4)) == []


def test_a_chunk_is_drawn_as_soon_as_it_is_full() -> None:
    asked = []

    def told() -> object:
        for i, moment in enumerate(moments(9)):
            asked.append(i)
            yield moment

    next(render.draw(Counting(), None, told(), CANVAS, 3))  # type: ignore[arg-type]
    assert len(asked) <= 4


def test_what_is_drawn_at_another_size_comes_in_the_canvas_at_the_poses_place() -> None:
    generator = Counting((20, 30))
    layers = list(render.draw(generator, None, moments(2), CANVAS, 4))
    assert {layer.rgb.shape for layer in layers} == {(*CANVAS, 3)}
    assert all(layer.alpha is not None and layer.alpha.shape == CANVAS for layer in layers)
    whole = Counting()
    list(render.draw(whole, None, moments(2), CANVAS, 4))
    # Pixel middles: (x + 0.5) / 2 - 0.5.
    assert np.allclose(generator.noses, np.array(whole.noses) / 2 - 0.25, atol=1e-4)


def test_a_generator_without_a_matte_gives_none() -> None:
    [layer] = render.draw(Counting(matte=False), None, moments(1), CANVAS, 4)
    assert layer.alpha is None and layer.rgb.dtype == np.uint8


def test_what_is_drawn_in_levels_passes_unchanged() -> None:
    picture = torch.arange(40 * 60 * 3).reshape(1, 3, *CANVAS).remainder(256).to(torch.uint8)

    class InLevels(Counting):
        def render(
            self, code: object, poses: Sequence[Pose], state: int | None
        ) -> tuple[Drawn, int]:
            return Drawn(picture.expand(len(poses), -1, -1, -1), None), 0

    layers = list(render.draw(InLevels(), None, moments(2), CANVAS, 4))
    assert all(np.array_equal(layer.rgb, picture[0].permute(1, 2, 0)) for layer in layers)
