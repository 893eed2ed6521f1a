"""Dense Pose Transfer's networks: pictures laid on atlases and back, and what inpaints and blends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dance.generators import _dense_transfer_nets as nets
from dance.surface import charts


def surface(part: int, size: int = 16) -> Tensor:
    """A square of one part, all of its chart: (1, 3, size, size)."""
    along = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([torch.full_like(u, float(part)), u, v])[None]


@pytest.mark.parametrize("part", [1, 6, 7, 24])
def test_a_part_lies_in_its_own_tile_as_charts_have_it(part: int) -> None:
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(part))
    atlas, known = nets.gathered(picture, surface(part), 16)
    row, column = charts.tile(part, 16)
    tile = (..., slice(row, row + 16), slice(column, column + 16))
    torch.testing.assert_close(atlas[tile], picture, atol=1e-4, rtol=0)
    assert float(known[tile].min()) > 0.99
    outside = known.clone()
    outside[tile] = 0
    assert float(outside.max()) == 0
    # The same place as `charts.to_atlas`, which everybody else goes by.
    places = charts.to_atlas(np.array([part]), np.array([[0.5 / 16, 0.5 / 16]]), 16)[0]
    assert np.allclose(places, [column, row])


def test_what_is_laid_on_an_atlas_is_seen_again_and_nothing_of_its_neighbours() -> None:
    picture = torch.rand(2, 3, 16, 16)
    where = torch.cat([surface(8), surface(9)])
    atlas, _ = nets.gathered(picture, where, 16)
    torch.testing.assert_close(nets.laid(atlas, where), picture, atol=1e-3, rtol=0)
    # One atlas for many.
    torch.testing.assert_close(nets.laid(atlas[:1], where)[:1], picture[:1], atol=1e-3, rtol=0)
    assert float(nets.laid(atlas[:1], where[1:]).abs().max()) == 0


def test_where_there_is_no_body_nothing_is_gathered_or_laid() -> None:
    nowhere = torch.zeros(1, 3, 8, 8)
    atlas, known = nets.gathered(torch.ones(1, 3, 8, 8), nowhere, 4)
    assert float(known.max()) == 0 and float(atlas.abs().max()) == 0
    assert float(nets.laid(torch.ones(1, 3, 16, 24), nowhere).abs().max()) == 0


def test_a_texel_that_several_pixels_show_has_their_mean() -> None:
    picture = torch.rand(1, 3, 16, 16)
    atlas, known = nets.gathered(picture, surface(1), 4)
    assert known[0, 0, :4, :4].min() == 1
    mean = picture[0, :, 4:12, 4:12].mean((1, 2))
    torch.testing.assert_close(atlas[0, :, 1:3, 1:3].mean((1, 2)), mean, atol=0.05, rtol=0)


def test_views_add_what_those_before_have_not_seen() -> None:
    def view(colour: float, known: float) -> tuple[Tensor, Tensor]:
        return torch.full((1, 3, 4, 6), colour), torch.full((1, 1, 4, 6), known)

    seen, known = nets.together([view(1.0, 0.5), view(0.0, 0.5), view(0.0, 0.0)])
    # Of the second half of a texel, half is what the second view knows.
    torch.testing.assert_close(known, torch.full_like(known, 0.75))
    torch.testing.assert_close(seen, torch.full_like(seen, 0.5 / 0.75))
    sure, _ = nets.together([view(1.0, 1.0), view(-1.0, 1.0)])
    assert bool((sure == 1).all())
    assert nets.together([view(0.3, 0.2)])[1][0, 0, 0, 0] == 0.2


def test_what_lies_outside_of_the_matte_is_no_surface() -> None:
    matte = torch.zeros(1, 1, 8, 8)
    matte[..., :4] = 1
    found = nets.within(surface(5, 8), matte)
    assert torch.equal(found[..., :4], surface(5, 8)[..., :4]) and float(found[..., 4:].max()) == 0


def test_gradients_flow_through_the_atlas_to_the_picture() -> None:
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    nets.laid(nets.gathered(picture, surface(3, 8), 8)[0], surface(3, 8)).sum().backward()
    assert picture.grad is not None and float(picture.grad.min()) > 0.5


def test_parts_are_cut_out_and_put_together_again() -> None:
    atlas = torch.rand(2, 3, 4 * 5, 6 * 5)
    tiles = nets._tiles(atlas)
    assert tiles.shape == (2, 24, 3, 5, 5)
    row, column = charts.tile(9, 5)
    assert torch.equal(tiles[:, 8], atlas[..., row : row + 5, column : column + 5])
    assert torch.equal(nets._atlas(tiles), atlas)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_the_inpainter_fills_the_whole_atlas(norm: bool, kept: bool) -> None:
    torch.manual_seed(0)
    made = nets.Inpainter(8, (3, 4), context=5, kept=kept, norm=norm)
    seen, known = torch.rand(2, 3, 32, 48), torch.zeros(2, 1, 32, 48)
    known[..., :8, :8] = 1
    whole = made(seen, known)
    assert whole.shape == seen.shape and whole.abs().max() <= 1
    same = torch.isclose(whole[..., :8, :8], seen[..., :8, :8], atol=1e-6)
    assert bool(same.all()) is kept
    # What a part looks like reaches all others through the context alone.
    other = seen.clone()
    other[..., :8, :8] += 1
    assert not torch.equal(made(other, known)[..., 8:, :], whole[..., 8:, :])
    made.context[-2].weight.data.zero_()
    assert torch.equal(made(other, known)[..., 8:, :], made(seen, known)[..., 8:, :])


def test_the_blender_may_add_to_what_was_predicted() -> None:
    made = nets.Blender(4, blocks=1, alpha=True, added=True)
    torch.nn.init.zeros_(made.out.weight)
    assert made.out.bias is not None
    torch.nn.init.zeros_(made.out.bias)
    predicted, warped, wanted = torch.rand(1, 4, 8, 8), torch.rand(1, 3, 8, 8), surface(1, 8)
    torch.testing.assert_close(made(predicted, warped, wanted), predicted, atol=2e-4, rtol=0)
    made.out.bias.data.fill_(20)
    assert bool((made(predicted, warped, wanted)[:, 3] > 0.999).all())


def test_a_sure_matte_stays_a_number_in_half_precision() -> None:
    made = nets.Blender(4, blocks=1, alpha=True, added=True)
    predicted = torch.cat([torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)], 1)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = made(predicted.bfloat16(), torch.rand(1, 3, 8, 8), surface(1, 8))
    assert torch.isfinite(drawn).all() and drawn[:, 3].max() <= 1


def test_all_of_it_draws_one_picture_of_both() -> None:
    torch.manual_seed(0)
    made = nets.DenseTransfer(
        nets.Predictive((3, 4), blocks=1, alpha=True),
        nets.Inpainter(8, (2, 3), context=4),
        nets.Blender(4, blocks=1, alpha=True),
        side=8,
    ).eval()
    picture, here, there = torch.rand(1, 3, 16, 16), surface(3), torch.cat([surface(3), surface(4)])
    found = made(picture.expand(2, -1, -1, -1), here.expand(2, -1, -1, -1), there)
    assert found.picture.shape == found.predicted.shape == (2, 4, 16, 16)
    assert found.warped.shape == (2, 3, 16, 16)
    once = made.drawn(picture, here, made.texture(picture, here), there)
    torch.testing.assert_close(once.picture, found.picture, atol=1e-5, rtol=0)
