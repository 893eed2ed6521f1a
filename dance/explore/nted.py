"""NTED: what each of its textures is gathered from and where it goes, and a garment of somebody else.

textures_N.png of the N-th pose. Above: the given picture, the wanted pose, the result. Then two rows for every set of
textures, from coarse to fine: where they are gathered on the given picture (which counts most where, a colour each; then
those that make up most of the result, each alone), and where they go on the result (the same, and last the given
colours as attention alone carries them). With somebody else, garment.png: both and their garments, then for each
pose both drawn, the garment's place, and the person wearing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field
from torch import Tensor

from dance import bodies
from dance.config import Options
from dance.explore import _pictures as pictures
from dance.explore._pictures import Cell
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import nted, softgate
from dance.generators._placed import COLOURS
from dance.surface.fit import FitOptions
from dance.surface.parsing import LABELS
from dance.training import losses, nted_losses, nted_swap
from dance.types import Array, InputError, Person

Garment = Literal["upper", "lower", "shoes", "hair", "face"]
GARMENTS: Mapping[Garment, tuple[str, ...]] = {
    "upper": ("upper clothes", "dress", "coat", "scarf"),
    "lower": ("trousers", "skirt"),
    "shoes": ("left shoe", "right shoe", "socks"),
    "hair": ("hair", "hat"),
    "face": ("face", "sunglasses"),
}
"""The labels each garment has."""


class Config(Options):
    """textures: shown alone, of every set.  garment: what is taken from the other person.

    vgg: weights of VGG-19 (`scripts/convert_weights.py vgg19`), by which `steps` find how far each texture is exchanged;
    without them those that make up much of the garment are exchanged whole.
    """

    textures: int = Field(6, ge=1, le=64)
    garment: Garment = "upper"
    vgg: Path | None = None
    steps: int = Field(200, ge=0)


@torch.no_grad()
def explore(generator: nted.Distributor, subject: Subject, config: Config) -> dict[str, Array]:
    """The sheets; see the module."""
    a = generator.architecture
    code = generator.encode(subject.person)
    matrices = single.windows(code.seen, a.frame, subject.poses)
    labels = nted.shown(a, *single.in_frame(subject.poses, matrices)).to(generator.device)
    sticks = [
        pictures.pose(pose, matrix, a.frame.size)
        for pose, matrix in zip(subject.poses, matrices, strict=True)
    ]
    made = {
        f"textures_{i + 1}.png": _textures(generator, code, label, stick, config.textures)
        for i, (label, stick) in enumerate(zip(torch.split(labels, 1), sticks, strict=True))
    }
    if subject.other is not None:
        made["garment.png"] = _garment(generator, subject.person, subject.other, labels, config)
    return made


def _textures(
    generator: nted.Distributor, code: nted.Code, label: Tensor, sticks: Array, count: int
) -> Array:
    picture, scores = generator.network.draw(code.textures.values, label)
    given, result = pictures.levels(code.seen.picture), pictures.levels(picture)
    there = picture[:, COLOURS:] if generator.architecture.alpha else torch.ones_like(label[:, :1])
    rows = [[Cell("given", given), Cell("wanted pose", sticks), Cell("result", result)]]
    for number, (weights, score) in enumerate(zip(code.textures.weights, scores, strict=True)):
        size = score.shape[-2:]
        gathered = weights.view(weights.shape[1], *size)
        shares = score[0].softmax(0)
        # What makes up most of the person, not of what is around them.
        place = F.interpolate(there, size, mode="area")[0]
        amount = (shares * place).sum((1, 2)) / place.sum().clamp(min=1e-6)
        largest = amount.topk(min(count, len(amount))).indices.tolist()
        carried = nted_losses.carried(weights, score, code.seen.picture)
        name = f"set {number + 1}, {size[0]}x{size[1]}"
        rows += [
            [
                Cell(f"{name}: from", pictures.regions(gathered.argmax(0), generator.architecture.frame.size)),
                *(Cell(f"texture {k + 1}", pictures.heat(gathered[k], given)) for k in largest),
            ],
            [
                Cell(f"{name}: to", pictures.regions(shares.argmax(0), generator.architecture.frame.size)),
                *(Cell(f"{float(amount[k]):.0%}", pictures.heat(shares[k], result)) for k in largest),
                Cell("colours carried", pictures.levels(carried)),
            ],
        ]  # fmt: skip
    return pictures.sheet(rows)


def _garment(
    generator: nted.Distributor, person: Person, other: Person, labels: Tensor, config: Config
) -> Array:
    mine, theirs = generator.encode(person), generator.encode(other)
    places = [worn(generator, one, config.garment) for one in (person, other)]
    for whose, place in zip(("the person", "the other"), places, strict=True):
        if not place.any():
            raise InputError(f"garment = {config.garment}: {whose}'s picture shows none")
    vgg = None if config.vgg is None else losses.vgg19(config.vgg, generator.device)
    rows = [
        [
            Cell("the person", pictures.levels(mine.seen.picture)),
            Cell("the other", pictures.levels(theirs.seen.picture)),
            Cell(config.garment, pictures.heat(places[0][0, 0], pictures.levels(mine.seen.picture))),
            Cell(config.garment, pictures.heat(places[1][0, 0], pictures.levels(theirs.seen.picture))),
        ]
    ]  # fmt: skip
    for label in torch.split(labels, 1):
        own, its = (
            pictures.levels(generator.network.draw(one.textures.values, label)[0])
            for one in (mine, theirs)
        )
        with torch.enable_grad():
            swap = nted_swap.swap(
                generator.network, mine.textures, theirs.textures, label,
                my_garment=places[0], their_garment=places[1], vgg=vgg, steps=config.steps,
            )  # fmt: skip
        mixed = pictures.levels(swap.picture)
        exchanged = float(torch.cat(swap.coefficients, 1).mean())
        rows.append(
            [
                Cell("the person", own),
                Cell("the other", its),
                Cell("its place", pictures.heat(swap.region[0, 0], own, top=1.0)),
                Cell(f"{config.garment} of the other", mixed),
                Cell(f"difference x 2; {exchanged:.0%} exchanged", pictures.difference(own, mixed)),
            ]
        )
    return pictures.sheet(rows)


def worn(generator: nted.Distributor, person: Person, garment: Garment) -> Tensor:
    """Where the garment is on the person in the frame, (1, 1, H, W) in [0, 1], by a body fitted to them."""
    labels = softgate.parsed(bodies.of_person(person, FitOptions()))
    numbers = [LABELS.index(name) for name in GARMENTS[garment]]
    where = np.isin(labels, numbers).astype(np.float32)
    found = single.framed(person, generator.architecture.frame, where)
    return torch.from_numpy(found)[None, None].clamp(0, 1).to(generator.device)
