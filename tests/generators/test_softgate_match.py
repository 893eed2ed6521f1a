"""The geometric matcher: its networks and names, and how grids and points move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.interpolate import RBFInterpolator

from dance.generators import _softgate_match as match
from dance.training import softgate_losses
from dance.types import InputError

FACTS: dict[str, Any] = {
    "output_dim": 6, "kernel_sizes": [2, 2, 2], "channels": [16, 5, 4], "widths": [2, 3, 4, 5],
}  # fmt: skip
REGRESSION = {key: value for key, value in FACTS.items() if key != "widths"}
STILL = torch.tensor([[1.0, 0, 0, 0, 1, 0]])


def published_state(facts: dict[str, Any]) -> dict[str, torch.Tensor]:
    network = match.network(facts)
    keys = match.published_keys(network, facts)
    state = network.state_dict()
    return {theirs: state[ours] for ours, theirs in match.rename({k: k for k in keys}).items()}


@pytest.mark.parametrize("facts", [FACTS, REGRESSION])
def test_published_names_lead_to_every_tensor_and_to_no_other(facts: dict[str, Any]) -> None:
    state = published_state(facts)
    network = match.network(match.facts(state))
    network.load_state_dict(match.rename(state), strict=True)
    assert len(state) == len(network.state_dict()) and match.facts(state) == facts


def test_old_checkpoints_say_vgg() -> None:
    state = published_state(FACTS)
    old = {key.replace(".model.", ".vgg."): value for key, value in state.items()}
    assert match.rename(old).keys() == match.rename(state).keys()


def test_what_is_no_matcher_is_refused() -> None:
    with pytest.raises(InputError, match=r"MATCH\.pth: is no geometric matcher.*stray"):
        match.facts({"stray": torch.zeros(1)}, "MATCH.pth")
    with pytest.raises(InputError, match="channels is needed"):
        match.network({"output_dim": 6, "kernel_sizes": [1]})


def test_two_pictures_give_a_theta_and_every_parameter_learns() -> None:
    torch.manual_seed(1)
    network = match.network(FACTS)
    theta = network(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert theta.shape == (2, 6)
    theta.square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


def test_correlations_are_of_all_places_of_one_with_all_of_the_other() -> None:
    a, b = torch.rand(1, 5, 3, 4), torch.rand(1, 5, 2, 6)
    found = match.correlation(a, b)
    assert found.shape == (1, 12, 2, 6)
    # Row 2, column 1 of a stands at 2 + 3 * 1.
    torch.testing.assert_close(found[0, 5, 1, 4], a[0, :, 2, 1] @ b[0, :, 1, 4])


def controls(side: int = 3) -> torch.Tensor:
    """The theta that leaves everything where it is."""
    plate = match.ThinPlate(side)
    return plate.controls.T.reshape(1, -1)


def test_unmoved_grids_give_the_picture_back() -> None:
    picture = torch.rand(1, 3, 9, 7)
    for move, theta in ((match.affine, STILL), (match.ThinPlate(), controls())):
        torch.testing.assert_close(match.warp(picture, match.grid(move, theta, (9, 7))), picture)
    eye = torch.eye(3).reshape(1, 9)
    torch.testing.assert_close(match.warp(picture, match.grid(match.homography, eye, (9, 7))), picture)  # fmt: skip
    half = match.grid(match.affine, STILL, (9, 7), align_corners=False)
    torch.testing.assert_close(match.warp(picture, half, align_corners=False), picture)


def test_a_plate_brings_its_control_points_where_theta_says() -> None:
    torch.manual_seed(2)
    plate = match.ThinPlate(4)
    theta = controls(4).repeat(2, 1) + 0.2 * torch.randn(2, 32)
    moved = plate(theta, plate.controls[None])
    torch.testing.assert_close(moved, theta.view(2, 2, 16).transpose(1, 2), atol=1e-4, rtol=0)


def test_a_plate_bends_as_scipys() -> None:
    torch.manual_seed(3)
    plate, points = match.ThinPlate(), 2 * torch.rand(1, 50, 2) - 1
    theta = controls() + 0.2 * torch.randn(1, 18)
    fitted = RBFInterpolator(
        plate.controls.numpy(), theta.view(2, 9).T.numpy(), kernel="thin_plate_spline"
    )
    expected = torch.from_numpy(fitted(points[0].numpy())).float()[None]
    torch.testing.assert_close(plate(theta, points), expected, atol=1e-4, rtol=0)


def test_a_smooth_plate_misses_its_points_and_bends_less() -> None:
    theta = controls() + 0.3 * torch.randn(1, 18, generator=torch.Generator().manual_seed(4))
    plates = [match.ThinPlate(3, regularisation) for regularisation in (0.0, 5.0)]
    missed = [
        float((p(theta, p.controls[None]) - theta.view(1, 2, 9).transpose(1, 2)).abs().max())
        for p in plates
    ]
    assert missed[0] < 1e-4 < 0.05 < missed[1]


def test_one_composed_grid_warps_as_two_after_each_other() -> None:
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij"
    )
    picture = torch.stack([rows, columns])[None]
    first = match.grid(match.affine, torch.tensor([[0.8, 0.1, 0, -0.1, 0.7, 0.1]]), (64, 64))
    theta = 0.9 * controls() + 0.05 * torch.randn(1, 18, generator=torch.Generator().manual_seed(5))
    then = match.grid(match.ThinPlate(), theta, (64, 64))
    twice = match.warp(match.warp(picture, first), then)
    once = match.warp(picture, match.composed(first, then))
    # At its edge the picture ends within a pixel.
    middle = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(once[middle], twice[middle], atol=1e-3, rtol=0)
    away = match.composed(first, match.grid(match.affine, STILL * 3, (64, 64)))
    assert not match.warp(picture, away)[..., 0, 0].any()


def test_grids_keep_their_precision_within_autocast() -> None:
    theta = torch.tensor([[0.9, 0.1, 0.2, -0.1, 1.1, 0.3]]).bfloat16()
    plate, bent = match.ThinPlate(), (controls() * 0.9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = [match.grid(match.affine, theta, (200, 200)), match.grid(plate, bent, (200, 200))]
        both = match.composed(*found)
    expected = match.grid(match.affine, theta.float(), (200, 200))
    assert found[0].dtype == torch.float32 and torch.equal(found[0], expected)
    assert torch.equal(found[1], match.grid(plate, bent.float(), (200, 200)))
    assert both.dtype == torch.float32 and torch.isfinite(both).all()


def test_points_go_to_the_unit_square_and_back() -> None:
    size = torch.tensor([[11.0, 21.0]])
    corners = torch.tensor([[[0.0, 0], [20, 10], [10, 5]]])
    unit = match.to_unit(corners, size)
    assert unit[0].tolist() == [[-1, -1], [1, 1], [0, 0]]
    torch.testing.assert_close(match.to_pixels(unit, size), corners)


def test_a_homography_goes_through_its_corners() -> None:
    corners = torch.tensor([[-0.9, -1.1, 0.8, 0.9, -0.9, 1.0, -1.2, 1.3]])
    theta = match.homography_of(corners)
    square = torch.tensor([[[-1.0, -1], [-1, 1], [1, -1], [1, 1]]])
    moved = match.homography(theta, square, least=1e-5)
    torch.testing.assert_close(moved, corners.view(1, 2, 4).transpose(1, 2), atol=1e-4, rtol=0)


def test_a_matcher_learns_to_find_known_shifts() -> None:
    torch.manual_seed(6)
    matcher = match.Matcher(6, widths=(4, 6, 8, 8), channels=(16, 16, 16), kernels=(2, 2, 2))
    picture = torch.rand(4, 3, 5, 5)
    picture = torch.nn.functional.interpolate(picture, (64, 64), mode="bilinear")
    theta = STILL + torch.tensor([[0.0, 0, 0.2, 0, 0, 0], [0, 0, -0.2, 0, 0, 0], [0, 0, 0, 0, 0, 0.2], [0, 0, 0, 0, 0, -0.2]])  # fmt: skip
    source, target = softgate_losses.pair(picture, match.affine, theta, (64, 64))
    assert source.shape == target.shape == (4, 3, 64, 64)
    optimiser, found = torch.optim.Adam(matcher.parameters(), 3e-3), []
    for _ in range(20):
        loss = softgate_losses.grid_loss(match.affine, matcher(source, target), theta)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.1 * found[0]


def test_around_a_picture_stands_its_mirror_image() -> None:
    wide = softgate_losses.mirrored(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4))
    assert wide.shape == (1, 1, 8, 8)
    assert wide[0, 0, 0].tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
