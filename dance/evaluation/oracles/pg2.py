"""PG2: its layers, and the pose encodings it shares with Disentangled Person Image Generation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from dance import draw, joint_maps
from dance.evaluation.oracles._layers import listed
from dance.evaluation.oracles._oracle import Oracle, Result, plain
from dance.generators import pg2
from dance.generators._pg2_nets import published_names
from dance.training.recipes import _dcgan as judges
from dance.types import Array, InputError, Size

PREFIXES = ("pg2_",)

_EXACT = 1e-6


def results(oracle: Oracle) -> Iterator[Result]:
    """All results of an oracle of this system, made again from its facts and inputs."""
    if "PG2" in oracle.facts:
        for section, facts in oracle.facts["PG2"].items():
            size = listed_size(section)
            if size is not None:
                yield from _layers(section, size, facts)
    elif "mask_pairs_1_based" in oracle.facts:
        yield from _encodings(oracle)
    else:
        raise InputError(f"{oracle.name}: its facts describe nothing known here")


def listed_size(section: str) -> Size | None:
    """The (height, width) in the name of a listing's section, such as market_128x64; None where it names none."""
    found = re.search(r"(\d+)x(\d+)", section)
    return (int(found[1]), int(found[2])) if found else None


def _layers(section: str, size: Size, facts: dict[str, Any]) -> Iterator[Result]:
    config, small = facts["config"], size == pg2.market().frame.size
    base = pg2.market() if small else pg2.Architecture()
    levels = config["repeat_num"]
    values = {
        "frame": {"height": size[0], "width": size[1]}, "levels": levels, "refine_levels": levels - 2,
        "filters": config["conv_hidden_num"], "code": config["z_num"],
    }  # fmt: skip
    architecture = pg2.Architecture.model_validate(base.model_dump() | values)
    with torch.device("meta"):
        networks = pg2.Networks(architecture)
        judge = judges.Discriminator(
            size, widths=judges.WIDTHS if small else judges.PG2_LARGE_WIDTHS
        )
    for row, (part, scope) in zip(("G1", "G2"), pg2.SCOPES.items(), strict=True):
        network = networks.get_submodule(part)
        ours = [(k, network.get_submodule(v)) for k, v in published_names(network, scope).items()]
        yield from listed(f"{section}, {row}", facts[row]["layers"], ours)
    yield from listed(f"{section}, D", facts["D"]["layers"], judges.published_layers(judge))


def _encodings(oracle: Oracle) -> Iterator[Result]:
    """Maps, masks, boxes and vectors of poses; what is meant is in the arrays' names."""
    arrays = plain(oracle)
    for name, recorded in arrays.items():
        stem, _, number = name.rpartition(".")
        if stem == "peaks_xy":
            continue
        xy = np.asarray(arrays[f"peaks_xy.{number}"])
        score = np.asarray((xy != -1).all(-1), np.float32)
        yield Result(name, _encoded(stem, xy, score, arrays, number), _EXACT, recorded=recorded)


def _encoded(stem: str, xy: Array, score: Array, arrays: dict[str, Any], number: str) -> Array:
    size: Size = next(value.shape[:2] for key, value in arrays.items() if key.endswith(f"_HWC.{number}"))  # fmt: skip
    if found := re.fullmatch(r"pose_(solid|gaussian)_r(\d+)(?:_u8)?_HWC", stem):
        radius = int(found[2])
        discs = draw.discs(xy, score, size, radius)
        if found[1] == "gaussian":
            discs = discs * draw.gaussians(xy, score, size, radius)
        return discs.transpose(1, 2, 0)
    if found := re.fullmatch(r"pose_mask_r(\d+)_u8", stem):
        return joint_maps.body_mask(xy, score, size, int(found[1]))
    if found := re.fullmatch(r"(bbox|vis)(7|37)(?:_y1x1y2x2)?", stem):
        parts = joint_maps.BODY_PARTS if found[2] == "7" else joint_maps.ALL_PARTS
        boxes, visible = joint_maps.part_boxes(xy, score, size, parts)
        return boxes if found[1] == "bbox" else visible
    if stem == "rcv_normalised":
        return joint_maps.to_vector(xy, score, size)
    if stem == "inflated_pose_i8_HWC":
        again = joint_maps.from_vector(joint_maps.to_vector(xy, score, size), size)
        return 2 * draw.discs(*again, size, 4).transpose(1, 2, 0) - 1
    raise InputError(f"{stem} is nothing known here")
