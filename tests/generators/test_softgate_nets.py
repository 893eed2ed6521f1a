"""Soft-Gated's stages: parsing, matching, gated rendering."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)

from dance.generators import _softgate_match as match
from dance.generators import _softgate_nets as nets

SIZE = 64, 48


def parsing(left: int = 10) -> torch.Tensor:
    """A person of three labels, standing `left` pixels from the left."""
    labels = torch.zeros(1, *SIZE, dtype=torch.uint8)
    labels[:, 8:20, left + 4 : left + 12] = 13
    labels[:, 20:40, left : left + 16] = 5
    labels[:, 40:60, left + 2 : left + 14] = 9
    return nets.one_hot(labels)


def matcher() -> nets.Matcher:
    torch.manual_seed(1)
    colours = torch.rand(nets.LABELS, 3)
    return nets.Matcher(colours, side=64, widths=(3, 4, 5, 6), channels=(5, 4), kernels=(2, 2))


def whole(**changes: object) -> nets.SoftGate:
    torch.manual_seed(2)
    made = nets.SoftGate(
        nets.Parser(width=3, downs=2, blocks=1),
        matcher(),
        nets.Renderer(**{"width": 3, "downs": 2, "blocks": 1, "warps": 2, **changes}),  # type: ignore[arg-type]
    )
    nets.initialise(made)
    return made


@pytest.mark.parametrize("alpha", [False, True])
def test_a_picture_a_parsing_and_a_pose_give_a_picture(alpha: bool) -> None:
    made = whole(alpha=alpha).eval()
    found = made(torch.rand(2, 3, *SIZE), parsing().repeat(2, 1, 1, 1), torch.rand(2, 18, *SIZE))
    assert found.picture.shape == (2, 3 + alpha, *SIZE) and found.picture.abs().max() <= 1
    assert not alpha or found.picture[:, 3:].min() >= 0
    torch.testing.assert_close(found.parsing.sum(1), torch.ones(2, *SIZE))
    assert found.moved.affine.shape == (2, 6) and found.moved.plate.shape == (2, 18)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("gate", ["soft", "none"])
def test_every_parameter_gets_a_gradient(gate: str, norm: bool) -> None:
    made = whole(gate=gate, norm=norm)
    found = made(torch.rand(2, 3, *SIZE), parsing().repeat(2, 1, 1, 1), torch.rand(2, 18, *SIZE))
    found.picture.square().mean().backward()
    assert [key for key, p in made.named_parameters() if p.grad is None] == []


def test_a_person_is_looked_at_once_for_all_poses() -> None:
    made, picture, pose = whole().eval(), torch.rand(1, 3, *SIZE), torch.rand(3, 18, *SIZE)
    with torch.no_grad():
        looks = made.renderer.looks(torch.cat([picture, parsing()], 1))
        several = made.drawn(looks, parsing(), pose)
        one = made(picture, parsing(), pose[1:2])
    torch.testing.assert_close(several.picture[1:2], one.picture, atol=1e-5, rtol=0)


def test_without_a_gate_features_are_added_to_where_they_belong() -> None:
    x = torch.zeros(1, 2, 8, 8)
    x[..., 2, 2] = 1
    move = torch.tensor([[1.0, 0, -4 / 7, 0, 1, -2 / 7]])  # two pixels right, one down
    out = nets.Warp(2, "none")(x, match.grid(match.affine, move, (8, 8)))
    expected = x.clone()
    expected[..., 3, 4] = 1
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_a_shut_gate_leaves_features_where_they_are() -> None:
    block, x = nets.Warp(2, "soft"), torch.rand(1, 2, 8, 8)
    assert block.gate is not None
    for parameter in block.gate[-1].parameters():
        torch.nn.init.zeros_(parameter)
    where = match.grid(match.affine, torch.tensor([[1.0, 0, 0.5, 0, 1, 0]]), (8, 8))
    assert torch.equal(block(x, where), x)


def test_without_norms_a_brighter_person_has_brighter_features() -> None:
    picture, where = torch.rand(1, 3, *SIZE), match.base_points((16, 12)).view(1, 16, 12, 2)
    for norm, apart in ((True, False), (False, True)):
        renderer = whole(norm=norm).renderer
        for layer in renderer.looks:
            torch.nn.init.zeros_(layer.conv.bias)
        # Of the picture alone: a parsing is as bright whoever it is of.
        plain = torch.zeros(1, nets.LABELS, *SIZE)
        dim, bright = (
            renderer.looks(torch.cat([factor * picture, plain], 1)).mean() for factor in (1, 3)
        )
        assert (bright > 2 * dim).item() is apart
        drawn = renderer(picture, plain, plain, torch.rand(1, 18, *SIZE), where)
        assert drawn.isfinite().all() and drawn.abs().max() < 1


def test_a_fresh_matcher_moves_hardly_anything() -> None:
    made = matcher()
    nets.initialise(made)
    made.eval()
    here = parsing()
    with torch.no_grad():
        where = made.grid(made(here, parsing(22)), SIZE)
    still = match.base_points(SIZE).view(1, *SIZE, 2)
    inside = (where.abs() < 1).all(-1)
    assert inside.float().mean() > 0.8
    assert float((where - still)[inside].abs().max()) < 0.1


def test_warping_by_what_was_matched_brings_one_parsing_onto_the_other() -> None:
    made = matcher()
    here, there = parsing(8), parsing(20)
    # What a taught matcher would say: the target's places are 12 pixels to the left in the source.
    shift = torch.tensor([[1.0, 0, -24 / 47, 0, 1, 0]])
    still = made.bend.controls.T.reshape(1, -1)
    where = made.grid(nets.Moved(shift, still), SIZE)
    torch.testing.assert_close(match.warp(here, where)[:, 1:, 1:-1, 14:-1], there[:, 1:, 1:-1, 14:-1], atol=1e-4, rtol=0)  # fmt: skip


def test_the_published_parser_is_never_sure() -> None:
    torch.manual_seed(3)
    made = nets.Parser(width=2, downs=1, blocks=1, bounded=True)
    for parameter in made.decoder[-1].parameters():
        torch.nn.init.normal_(parameter, 0.0, 9.0)
    logits = made(parsing(), torch.rand(1, 18, *SIZE))
    assert logits.shape == (1, nets.LABELS, *SIZE) and float(logits.detach().abs().max()) == 1


def test_a_parser_learns_where_a_person_is_to_stand() -> None:
    torch.manual_seed(4)
    made = nets.Parser(width=4, downs=2, blocks=1)
    nets.initialise(made)
    wanted, pose = parsing(24), torch.zeros(1, 18, *SIZE)
    pose[:, :, 30, 32] = 1
    optimiser, found = torch.optim.Adam(made.parameters(), 1e-2), []
    for _ in range(15):
        loss = F.cross_entropy(made(parsing(), pose), wanted.argmax(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.3 * found[0]


def test_the_published_widths_are_the_defaults() -> None:
    with torch.device("meta"):
        parser, renderer = nets.Parser(), nets.Renderer()
        full = nets.Matcher(torch.zeros(20, 3))
    assert parser.blocks[0].inner[1].weight.shape == (512, 512, 3, 3) and len(parser.blocks) == 9
    assert renderer.blocks[0].inner[1].weight.shape == (1024, 1024, 3, 3)
    assert full.affine.regression.layers[0]["conv"].weight.shape == (128, 225, 7, 7)
    assert full.plate.regression.linear.weight.shape == (18, 64 * 5 * 5)
