"""Who somebody is: the shape of their body, what they wear, and in which colours; drawn by lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dance.surface.body import SCALES, SHAPE
from dance.synthetic.assets import Item, Pack

MATERIALS = ("skin", "outer", "inner", "shoes", "hair", "eyes", "brows")
"""What surfaces are of; a suit of clothes has garments that lie over others: a shirt over trousers, a jumpsuit over a shirt."""

_CHILDREN = 0.12  # of all people
_PATTERNED = {"outer": 0.4, "inner": 0.08}  # how many of these garments have stripes or checks
_SCALE_SPREAD, _SCALE_MOST = 0.05, 0.12


@dataclass(frozen=True, slots=True)
class Tint:
    """How a texture is coloured anew: hue turned by a share of the circle, saturation and value times so much."""

    hue: float = 0.0
    saturation: float = 1.0
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """Woven into a garment: "rings" around the body, "stripes" along it or "checks", so many a metre.

    tone: what every other one's colour (r, g, b) is multiplied by.
    """

    kind: str
    frequency: float
    tone: tuple[float, float, float]


PATTERNS = ("rings", "stripes", "checks")


@dataclass(frozen=True, slots=True)
class Character:
    """Somebody: `surface.body` says what shape (S,) means.

    worn: the name of what they wear of each kind of `assets.WORN`; without some there is none.
    skin: its name.  tints, patterns: by material.
    """

    shape: tuple[float, ...]
    worn: dict[str, str]
    skin: str
    tints: dict[str, Tint]
    patterns: dict[str, Pattern]


def draw_lots(pack: Pack, rng: np.random.Generator) -> Character:
    """Somebody new. The same generator of numbers makes the same person of the same assets."""
    female = bool(rng.random() < 0.5)
    child = bool(rng.random() < _CHILDREN)
    values = {
        "gender": rng.uniform(0.85, 1.0) if female else rng.uniform(0.0, 0.15),
        # A third is a child of about eleven, two thirds are 25.
        "age": rng.uniform(0.3, 0.45) if child else rng.uniform(0.58, 0.85),
        "muscle": rng.uniform(0.3, 0.8),
        "weight": rng.uniform(0.25, 0.85),
        "height": rng.uniform(0.25, 0.8),
        "proportions": rng.uniform(0.3, 0.9),
    }
    for scale in SCALES:
        wide = rng.normal(0, _SCALE_SPREAD)
        values[scale] = float(np.clip(wide, -_SCALE_MOST, _SCALE_MOST))
    gender = "female" if female else "male"
    worn = {
        kind: _one(_for(items, gender), rng).name
        for kind, items in pack.items.items()
        if kind != "skins" and items
    }
    tints = {material: _tint(rng) for material in ("outer", "inner", "shoes")}
    # Hair is not of every colour there is.
    tints["hair"] = Tint(rng.uniform(-0.03, 0.03), rng.uniform(0.5, 1.2), rng.uniform(0.45, 1.4))
    tints["brows"] = Tint(0.0, 1.0, 0.5)
    patterns = {
        material: _pattern(rng) for material, share in _PATTERNED.items() if rng.random() < share
    }
    skin = _one(_for(pack.items["skins"], gender), rng).name
    return Character(tuple(float(values[name]) for name in SHAPE), worn, skin, tints, patterns)


def _for(items: Sequence[Item], gender: str) -> list[Item]:
    """Those made for that gender or everybody; where there are none, all."""
    return [item for item in items if item.gender in (gender, None)] or list(items)


def _one(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]


def _tint(rng: np.random.Generator) -> Tint:
    hue = float(rng.random()) if rng.random() < 0.75 else 0.0
    return Tint(hue, float(rng.uniform(0.3, 1.4)), float(rng.uniform(0.55, 1.5)))


def _pattern(rng: np.random.Generator) -> Pattern:
    tone: Any = np.exp(rng.uniform(-1.0, 0.35, 3))
    return Pattern(
        PATTERNS[int(rng.integers(len(PATTERNS)))],
        float(rng.uniform(8, 24)),
        (float(tone[0]), float(tone[1]), float(tone[2])),
    )
