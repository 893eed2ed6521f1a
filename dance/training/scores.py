"""How well a generator in training draws frames it has never learnt from, in figures and in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import nn

from dance import draw
from dance.training.data import Batch, Samples
from dance.types import Array, Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class Scores:
    """l1: mean error on the person, of 255.  psnr: dB there. Neither is a number where no person is seen.

    sheet: (H, W, 3) uint8, a row for every shown frame: label, truth, drawn.
    """

    l1: float
    psnr: float
    sheet: Array


def held_out(
    recipe: Recipe,
    generator: nn.Module,
    pairs: Samples,
    accelerator: Accelerator,
    *,
    scored: int,
    shown: int,
) -> Scores:
    """The generator's scores on `scored` held-out frames, and a sheet of `shown` of them."""
    rows: list[Sequence[Array]] = []
    errors, squares = [], []
    sheet = set(pairs.held_spread(shown))
    for number in sorted(set(pairs.held_spread(scored)) | sheet):
        batch: Batch = {
            k: v[None].to(accelerator.device) for k, v in pairs.held_pair(number).items()
        }
        with torch.no_grad(), accelerator.autocast():
            look = recipe.show(generator, batch)
        drawn, target, mask = (x.float().cpu() for x in (look.drawn, look.target, look.mask))
        apart = (drawn - target)[mask.expand_as(drawn) > 0.5]
        if len(apart):
            errors.append(float(apart.abs().mean()) * 127.5)
            squares.append(float((apart**2).mean()))
        if number in sheet:
            rows.append([_levels(x[0]) for x in (look.label.float().cpu(), target, drawn)])
    if not errors:
        return Scores(float("nan"), float("nan"), _stacked(rows))
    psnr = 10 * float(np.log10(4 / max(1e-12, float(np.mean(squares)))))
    return Scores(float(np.mean(errors)), psnr, _stacked(rows))


def _levels(picture: torch.Tensor) -> Array:
    """(3, H, W) in [-1, 1] as (H, W, 3) uint8."""
    levels = picture.permute(1, 2, 0).mul(127.5).add(127.5).round().clamp(0, 255)
    return np.asarray(levels.to(torch.uint8).numpy())


def _stacked(rows: Sequence[Sequence[Array]]) -> Array:
    """Label, truth and what is drawn, side by side, one row for each frame."""
    height = max(picture.shape[0] for picture in rows[0])
    blocks = []
    for row in rows:
        named = [
            draw.text(
                np.asarray(cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height))), n
            )
            for p, n in zip(row, ("label", "truth", "drawn"), strict=True)
        ]
        blocks.append(np.hstack(named))
    return np.vstack(blocks)
