"""Soft-Gated's losses teach its parser and its renderer."""

from __future__ import annotations

import pytest
import torch

from dance.generators import _softgate_nets as nets
from dance.training import losses, softgate_losses

SIZE = 32, 32
PICTURE, POSE = torch.rand(1, 3, *SIZE), torch.rand(1, 18, *SIZE)


def parsing(rows: int) -> torch.Tensor:
    labels = torch.zeros(1, *SIZE, dtype=torch.uint8)
    labels[:, rows : rows + 12, 8:24] = 5
    return nets.one_hot(labels)


def falls(network: torch.nn.Module, make, steps: int = 10) -> None:  # type: ignore[no-untyped-def]
    optimiser, found = torch.optim.Adam(network.parameters(), 3e-3, betas=(0.5, 0.999)), []
    for _ in range(steps):
        loss = torch.stack(list(make().values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.9 * found[0]


def test_the_parsers_losses_fall_on_a_fixed_pair() -> None:
    torch.manual_seed(1)
    parser = nets.Parser(width=3, downs=1, blocks=1)
    judge = softgate_losses.parser_judge(filters=2, layers=1).requires_grad_(False)
    source, wanted = parsing(2), parsing(16)
    weights = softgate_losses.Weights(parsing=1.0)
    shown = torch.cat([source, POSE], 1)

    def make() -> dict[str, torch.Tensor]:
        logits = parser(source, POSE)
        found = softgate_losses.of_parser(logits, wanted, shown, judge=judge, weights=weights)
        assert set(found) == {"parsing", "gan", "features"}
        return found

    falls(parser, make)


@pytest.mark.parametrize("alpha", [False, True])
def test_the_renderers_losses_fall_on_a_fixed_pair(alpha: bool) -> None:
    torch.manual_seed(2)
    renderer = nets.Renderer(width=3, downs=1, blocks=1, warps=1, alpha=alpha)
    judge = softgate_losses.renderer_judge(filters=2, layers=1, alpha=alpha).requires_grad_(False)
    vgg = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    source, wanted, real = parsing(2), parsing(16), torch.rand(1, 3 + alpha, *SIZE)
    where = torch.rand(1, 16, 16, 2) * 2 - 1
    shown = torch.cat([PICTURE, source, wanted, POSE], 1)
    assert shown.shape[1] == 61

    def make() -> dict[str, torch.Tensor]:
        drawn = renderer(PICTURE, source, wanted, POSE, where)
        found = softgate_losses.of_renderer(
            drawn, real, shown, judge=judge, vgg=vgg, weights=softgate_losses.Weights()
        )
        assert set(found) == {"l1", "vgg", "gan", "features"} | ({"matte"} if alpha else set())
        return found

    falls(renderer, make)


def test_a_judge_learns_without_reaching_what_was_drawn() -> None:
    torch.manual_seed(3)
    judge = softgate_losses.renderer_judge(filters=2, layers=1)
    drawn = torch.rand(1, 3, *SIZE, requires_grad=True)
    shown, real = torch.rand(1, 61, *SIZE), torch.rand(1, 3, *SIZE)
    falls(judge, lambda: softgate_losses.of_judge(judge, shown, drawn, real))
    assert drawn.grad is None


def test_without_adversary_and_features_only_colours_teach() -> None:
    drawn, real = torch.zeros(1, 3, *SIZE), torch.ones(1, 3, *SIZE)
    found = softgate_losses.of_renderer(
        drawn, real, PICTURE, judge=None, vgg=None, weights=softgate_losses.Weights()
    )
    assert {name: float(value) for name, value in found.items()} == {"l1": 10.0}
    logits = 50.0 * parsing(2)
    sure = softgate_losses.of_parser(logits, parsing(2), POSE, judge=None, weights=softgate_losses.Weights())  # fmt: skip
    assert float(sure["parsing"]) < 1e-9
