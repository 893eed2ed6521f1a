"""Soft-Gated Warping-GAN: what is to be seen where, how the picture is brought there, and how far the gates let it.

parsing.png: the labels of the given picture, to correct by hand (a PNG of label numbers) and to give back.
steps.png, for each pose: the given picture and its parsing, the wanted pose and the parsing predicted for it with its
labels; a grid, the picture and its parsing as the matcher warps them; how much every gated block adds to the features
of each place (its mean beside that of all blocks); the result.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dance import draw
from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import _softgate_match as match
from dance.generators import softgate
from dance.surface import parsing
from dance.types import Array, Pose, Size

_LINES = 8  # of the grid, across the frame's shorter side
_LEAST = 0.002  # of the frame: a label on less of it is not named


class Config(Options):
    """parsing: of the person's picture, a PNG of label numbers such as parsing.png; else it is made from their body."""

    parsing: Path | None = Field(None, description="a corrected parsing.png")


@torch.no_grad()
def explore(generator: softgate.SoftGated, subject: Subject, config: Config) -> dict[str, Array]:
    """The parsing and one sheet; see the module. Raises InputError for a parsing that does not fit."""
    frame, person = generator.architecture.frame, subject.person
    labels = (
        softgate.parsed(person)
        if config.parsing is None
        else parsing.read(config.parsing, person.size)
    )
    code = generator.encode(person, labels)
    rows: list[list[Cell]] = []
    matrices = single.windows(code.seen, frame, subject.poses)
    for pose, matrix in zip(subject.poses, matrices, strict=True):
        rows += _rows(generator, code, pose, matrix)
    return {"parsing.png": labels, "steps.png": pictures.sheet(rows)}


def _rows(
    generator: softgate.SoftGated, code: softgate.Code, pose: Pose, matrix: Array
) -> list[list[Cell]]:
    network, size = generator.network, generator.architecture.frame.size
    maps = generator.maps(*single.in_frame([pose], [matrix]))
    made = generator.synthesise(code, maps)
    where = network.matcher.grid(made.moved, size)
    result = pictures.levels(made.picture)
    features = network.renderer.moved(
        code.looks, network.matcher.grid(made.moved, (code.looks.shape[-2], code.looks.shape[-1]))
    )
    added = torch.cat([(b - a).abs().mean(1) for a, b in pairwise(features)])
    seen = code.seen.picture
    return [
        [
            Cell("given", pictures.levels(seen)),
            Cell("its parsing", coloured(code.parsing)),
            Cell("wanted pose", pictures.pose(pose, matrix, size)),
            Cell("predicted parsing", coloured(made.parsing)),
            Cell("labels", legend(torch.cat([code.parsing, made.parsing]), size)),
        ],
        [
            Cell("warped grid", pictures.levels(match.warp(_grid(size).to(seen), where))),
            Cell("warped picture", pictures.levels(match.warp(seen, where))),
            Cell("warped parsing", coloured(match.warp(code.parsing, where))),
            *(
                Cell(
                    f"gate {i + 1}: {float(one.mean() / added.mean()):.2f}",
                    pictures.heat(one, result),
                )
                for i, one in enumerate(added)
            ),
            Cell("result", result),
        ],
    ]


def coloured(shares: Tensor) -> Array:
    """A parsing (1, 20, H, W) in the labels' usual colours, (H, W, 3) uint8."""
    colours = torch.from_numpy(parsing.palette()).to(shares) / 127.5 - 1
    return pictures.levels(torch.einsum("blhw,lc->bchw", shares, colours))


def legend(shares: Tensor, size: Size) -> Array:
    """The names of the labels that parsings (B, 20, H, W) have, beside their colours: a picture shaped as `size`."""
    amounts = torch.bincount(shares.argmax(1).flatten(), minlength=len(parsing.LABELS))
    named = [n for n in range(1, len(amounts)) if amounts[n] > _LEAST * size[0] * size[1]]
    # Large enough to be read where a sheet shows it.
    out = np.full((4 * size[0], 4 * size[1], 3), 40, np.uint8)
    step = min(out.shape[0] // 11, out.shape[0] // (len(named) + 2))
    for row, number in enumerate(named, 1):
        colour = parsing.palette()[number].tolist()
        top = row * step
        cv2.rectangle(out, (8, top), (step, top + step - 8), colour, cv2.FILLED)
        out = draw.text(out, parsing.LABELS[number], at=(step, top - 4), height=step // 2)
    return out


def _grid(size: Size) -> Tensor:
    """Light lines on a dark picture, (1, 3, H, W)."""
    step = max(2, min(size) // _LINES)
    out = torch.full((1, 3, *size), -0.8)
    out[..., ::step, :] = 0.9
    out[..., ::step] = 0.9
    return out
