"""The geometric matcher of Soft-Gated Warping-GAN: its networks, its grids and what teaches it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.evaluation.oracles._oracle import Oracle, Published, Result, network_results
from dance.generators import _softgate_match as match
from dance.training import softgate_losses
from dance.types import InputError

PREFIXES = ("cnngeometric_",)

_POINT = 1e-5  # what keeps the published homography of points from dividing by 0


def results(oracle: Oracle) -> Iterator[Result]:
    """All results of an oracle of this system, made again from its facts, weights and inputs."""
    if "tps.L_inverse" in oracle.outputs:
        yield from _grids(oracle)
    elif "theta" in oracle.outputs:
        yield from _network(oracle)
    else:
        raise InputError(f"{oracle.name}: its facts describe nothing known here")


def _network(oracle: Oracle) -> Iterator[Result]:
    """A theta, what leads to it, and gradients."""
    read = match.facts(oracle.state(), oracle.name)

    def network(facts: Mapping[str, Any]) -> nn.Module:
        # How wide the features are the facts only say in words.
        widths = {"widths": read["widths"]} if "widths" in read else {}
        return match.network({**facts, **widths})

    published = Published(network, match.rename, match.published_keys, match.place_of)
    make = _whole if "widths" in read else _regression

    def run(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v for k, v in make(network, inputs).items() if k in oracle.outputs}

    yield from network_results(oracle, published, run=run)


def _whole(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(network, match.Matcher)
    theta, correlations = network.matched(inputs["source_image"], inputs["target_image"])
    return {"theta": theta, "correlation": correlations}


def _regression(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    a, b = match.unit(inputs["feature_A"]), match.unit(inputs["feature_B"])
    raw = match.correlation(a, b)
    correlations = match.unit(F.relu(raw))
    # In six dimensions there is one channel, so that the published norm is that of each number for itself.
    rows, columns = a.shape[2:]
    by_place = F.relu(raw).view(len(a), columns, rows, *b.shape[2:]).transpose(1, 2)[:, None]
    return {
        "theta": network(correlations),
        "feature_A_normalised": a,
        "correlation": correlations,
        "correlation_not_normalised": raw,
        "correlation_4D": match.unit(by_place),
    }


def _grids(oracle: Oracle) -> Iterator[Result]:
    """Grids, warps and points, each result by its name; those no oracle asks for are not compared."""
    constructor = oracle.facts["constructor"]
    plate = match.ThinPlate(constructor["tps_grid_size"], constructor["tps_reg_factor"])
    size = (constructor["out_h"], constructor["out_w"])
    values = {"tps.L_inverse": plate.inverse[None], **_points(oracle, plate)}
    for corners in (True, False):
        made = _warps(oracle, plate, size, corners)
        values |= {f"{name}.corners_{str(corners).lower()}": value for name, value in made.items()}
    for name, value in values.items():
        if name in oracle.outputs:
            yield Result(name, value, oracle.atol)


def _warps(
    oracle: Oracle, plate: match.ThinPlate, size: tuple[int, int], corners: bool
) -> dict[str, Tensor]:
    picture = oracle.given("image")
    turned, theta_tps = oracle.given("theta_affine"), oracle.given("theta_tps")
    still = turned.new_tensor([1.0, 0, 0, 0, 1, 0]).expand(len(picture), -1)
    # As published only the plain affine grid heeds where corners are.
    grids = {
        "affine": match.grid(match.affine, turned, size, align_corners=corners),
        "tps": match.grid(plate, theta_tps, size),
        "hom": match.grid(match.homography, oracle.given("theta_hom9"), size),
        "identity_resize": match.grid(match.affine, still, size, align_corners=corners),
    }
    # Some results are named after numbers: of coordinates that theta is meant for, and of what part is shown.
    for name in oracle.outputs:
        if found := re.match(r"affine_offset([\d.]*\d)", name):
            grids[found[0]] = match.grid(match.affine, turned, size, offset=float(found[1]))
    first = match.grid(match.affine, turned, size)
    together = match.composed(first, grids["tps"], align_corners=corners)
    wide = {**grids, "composed_affine_then_tps": together}
    for name in oracle.outputs:
        if found := re.match(r"tps_pad([\d.]*\d)_crop([\d.]*\d)", name):
            wide[found[0]] = grids["tps"] * float(found[1]) * float(found[2])

    def bend(theta: Tensor, points: Tensor) -> Tensor:
        bent: Tensor = plate(theta, match.base_points(size).to(points))
        return bent

    pair = softgate_losses.pair(picture, bend, theta_tps, size, align_corners=corners)
    values = {f"{name}.grid": where for name, where in grids.items()}
    for name, where in wide.items():
        seen = match.warp(picture, where, align_corners=corners)
        values[name if name == "identity_resize" else f"{name}.warped"] = seen
    return values | {"synth_pair.source": pair[0], "synth_pair.target": pair[1]}


def _points(oracle: Oracle, plate: match.ThinPlate) -> dict[str, Tensor]:
    size = oracle.given("image_sizes_hw")
    # Published pixels are counted from 1, and points are columns.
    unit = match.to_unit(oracle.given("pixel_points_1based").transpose(1, 2) - 1, size)
    values = {"points_to_unit": unit, "points_back_to_pixels": match.to_pixels(unit, size) + 1}
    if "in.points" in oracle.arrays:
        points = oracle.given("points").transpose(1, 2)
        affine, bent = oracle.given("theta_affine"), oracle.given("theta_tps")
        values |= {
            "points.tps": plate(bent, points),
            "points.affine": match.affine(affine, points),
            "points.hom": match.homography(oracle.given("theta_hom9"), points, least=_POINT),
        }
    values = {name: value.transpose(1, 2) for name, value in values.items()}
    for name, move, theta in (
        ("affine", match.affine, "theta_affine"),
        ("tps", plate, "theta_tps"),
    ):
        if f"in.theta_gt.{name}" in oracle.arrays:
            truth = oracle.given(f"theta_gt.{name}")
            loss = softgate_losses.grid_loss(move, oracle.given(theta), truth)
            values[f"grid_loss.{name}"] = loss
    if "in.theta_hom_4pts" in oracle.arrays:
        corners = oracle.given("theta_hom_4pts")
        values["hom_matrix_from_4_points"] = match.homography_of(corners)
    return values
