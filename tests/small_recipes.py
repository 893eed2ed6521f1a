"""Small recipes of all single-picture generators, and an album for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import small_albums
import torch
from accelerate import Accelerator

from dance import config, plugins, takes
from dance.types import Recipe

FRAME = {"height": 48, "width": 32}
OPTIONS: dict[str, dict[str, Any]] = {
    "dense_transfer": {
        "generator": {
            "frame": FRAME, "predicting": {"widths": (4, 5, 6), "blocks": 1},
            "inpainting": {"side": 8, "widths": (3, 4), "context": 5, "kept": True, "norm": False},
            "blending": {"width": 4, "blocks": 1}, "alpha": True,
        },
        "adversary": {"filters": 4, "layers": 1}, "sampling": {"framed": True}, "rate": 2e-3,
    },
    "softgate": {
        "generator": {
            "frame": FRAME, "filters": 3, "downs": 2, "blocks": 1, "warps": 2, "radius": 2, "alpha": True,
            "matching": {"side": 64, "features": (3, 4, 5, 6), "filters": (5, 4), "kernels": (2, 2)},
        },
        "adversaries": {"filters": 4, "layers": 1}, "weights": {"parsing": 10.0},
        "sampling": {"framed": True}, "rate": 2e-3, "matcher_rate": 2e-3, "spread": {"shift": 0.2},
    },
    "nted": {
        "generator": {
            "frame": FRAME, "stroke": 2, "alpha": True,
            "scales": [{"width": 6, "labels": 3, "kernel": 1}, {"width": 5, "labels": 4}, {"width": 4}],
        },
        "judge": (4, 5, 6), "colours": 10.0, "matte": 5.0, "judged_from": 0.5, "rate": 2e-2,
        "weights": {"gan": 0.1, "r1_every": 2}, "sampling": {"framed": True},
    },
    "pg2": {
        "generator": {
            "frame": FRAME, "filters": 4, "levels": 3, "code": 8, "refine_levels": 2, "refine_skips": 2,
            "radius": 2, "alpha": True,
        },
        "judge": [4, 4, 8], "weights": {"matte": 1.0, "colours": 50.0},
        "shares": {"coarse": 1, "refined": 1}, "rate": 2e-3, "refined_rate": 1e-3,
    },
    "dpig": {
        "generator": {
            "frame": FRAME, "filters": 4, "levels": 3, "code": 8, "crop": 8, "part_levels": 2, "part_code": 4,
            "background_levels": 3, "background_code": 6, "pose_code": 5, "hidden": 8, "background_hidden": 6,
            "radius": 2, "mask_radius": 2, "margin": 2, "lone_margin": 4, "alpha": True,
        },
        "judge": [4, 4, 8], "weights": {"matte": 5.0}, "across": True,
        "shares": {"appearance": 2, "pose": 1, "samplers": 1}, "rate": 2e-3,
        "samplers": {"rate": 1e-3, "critics": 2},
    },
    "xing": {
        "generator": {"frame": FRAME, "filters": 4, "blocks": 2, "candidates": 2, "sigma": 2, "alpha": True},
        "adversaries": {"filters": 4, "blocks": 1}, "weights": {"matte": 5.0, "gan": 1.0}, "rate": 2e-3,
    },
}  # fmt: skip
# Shares of the budget at which each stage has begun.
STAGES = {
    "dense_transfer": {"streams": 0.0, "whole": 0.6},
    "softgate": {"parser": 0.0, "matcher": 0.3, "renderer": 0.6},
    "nted": {"alone": 0.0, "judged": 0.6},
    "pg2": {"coarse": 0.0, "refined": 0.6},
    "dpig": {"appearance": 0.0, "pose": 0.6, "samplers": 0.8},
    "xing": {"all": 0.0},
}
EACH = [(name, stage) for name, stages in STAGES.items() for stage in stages]


def album(folder: Path) -> Path:
    """Synthetic shards of twelve small people who have all labels and parts somewhere; returns the folder."""
    small_albums.synthetic(folder)
    for k, shard in enumerate(sorted(folder.glob("*.tar"))):
        takes.write_shard(shard, [many_parts(small_albums.take_of(6 * k + n)) for n in range(6)])
    return folder


def many_parts(take: takes.Take) -> takes.Take:
    inside = take.matte > 127
    row, column = np.indices(inside.shape[1:])
    part = 1 + (row // 6 * 4 + column // 4) % 24
    surface = np.stack([part, 60 * (column % 4) + 30, 40 * (row % 6) + 20], -1)
    labels = 1 + part % 19
    return replace(
        take,
        surface=(surface * inside[..., None]).astype(np.uint8),
        labels=(labels * inside).astype(np.uint8),
    )


def module(name: str) -> ModuleType:
    return plugins.load("dance.training.recipes", name)


def options(name: str, **changes: Any) -> Any:
    return config.check(module(name).Config, OPTIONS[name] | changes, name)


def made(name: str, folder: Path, stage: str | None = None, **changes: Any) -> Recipe:
    """The recipe, in a stage; without one in its first."""
    torch.manual_seed(1)
    recipes = module(name)
    built: Recipe = recipes.build(
        options(name, **changes), recipes.open_data(folder), Accelerator(cpu=True)
    )
    for share in STAGES[name].values():
        if stage is not None and built.stage != stage:
            built.begin(share, built.generator)
    assert stage is None or built.stage == stage
    return built


def batch(name: str, folder: Path, count: int = 2, **changes: Any) -> dict[str, torch.Tensor]:
    """The first samples as a batch."""
    recipes = module(name)
    samples = recipes.pairs(
        options(name, **changes), recipes.open_data(folder), seed=0, held_out=0.2
    )
    items = [samples[n] for n in range(count)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}
