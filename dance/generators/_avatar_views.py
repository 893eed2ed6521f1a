"""Which looks at the person a frame is drawn from: those that saw each part of the body from where it is seen now.

Shapes: N looks, V vertices, B bones.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from dance.surface.body import BONES
from dance.surface.light import GAMMA
from dance.types import Array

# Degrees of turning after which a look counts for 0.6 of what it did.
_NEAR = 20.0
# A turn in the picture's plane changes only how light falls.
_ROLL = 0.25
# How much the best look outdoes the others: 1 blends them as they are, more keeps what is drawn sharp.
_SHARP = 2.0
# A face blended of several looks has several mouths: for the head the nearest look outdoes the others so much
# more, and of looks from the same side each counts this much of the one before it (a person's best comes first).
_HEAD, _ONE_FACE, _NEXT = BONES.index("head"), 4.0, 0.4


# How far the light's changes are believed, and how much darker and brighter it makes what is drawn at the most:
# brightened is what lay in the dark, where pictures show least.
_BELIEVED, _DARKEST, _BRIGHTEST = 0.85, 0.65, 1.08
# A look that saw a place this well tells how it was lit; and its neighbours so many edges away.
_GLIMPSE, _EVEN = 0.05, 6


def gains(falls: Array, fell: Array, weights: Array, guessed: Array) -> Array:
    """How much brighter each vertex is than in the looks it is drawn from, (V,) float32, of a picture's levels.

    falls: (V,) how much light falls on it now.  fell: (V, N) how much did in the looks.  weights: see `shares`;
    what they lack to 1 is drawn in colours on which fell what is `guessed`, (V,).
    """
    rest = np.maximum(1 - weights.sum(1), 0)
    before = (weights * fell).sum(1) + rest * guessed
    ratio = np.clip(falls / np.maximum(before, 1e-3), 0, 4) ** (1 / GAMMA)
    believed = np.clip(1 + _BELIEVED * (ratio - 1), _DARKEST, _BRIGHTEST)
    return np.asarray(believed, np.float32)


def guessed_light(fell: Array, seen: Array, mean: sparse.csr_matrix) -> Array:
    """How much light fell on the colours the atlas has for each vertex, (V,) float32.

    Where a look saw it at all, what fell there; elsewhere colours were taken from places in the usual light.
    fell, seen: (V, N).  mean: see `fields.neighbours`.
    """
    best = seen.argmax(1)
    own = fell[np.arange(len(fell)), best]
    known = np.clip(seen.max(1) / _GLIMPSE, 0, 1)
    usual = float(np.average(own, weights=known)) if known.any() else 1.0
    for _ in range(_EVEN):
        known = np.maximum(known, mean @ known)
    return np.asarray(usual + known * (own - usual), np.float32)


def likeness(now: Array, looks: Array) -> Array:
    """How much each bone is seen from the same side as in each look, (N, B) float32 above 0 and up to 1.

    now: (B, 3, 3), looks: (N, B, 3, 3) rotations from the bones' own to camera axes.
    """
    # What of the bone points at the camera is the last row of its rotation.
    facing = np.clip((now[None, :, 2] * looks[:, :, 2]).sum(-1), -1, 1)
    trace = np.einsum("bij,nbij->nb", now, looks)
    whole = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    angle = (1 - _ROLL) * np.arccos(facing) + _ROLL * whole
    alike = np.exp(-0.5 * (angle / np.radians(_NEAR)) ** 2) + 1e-4
    alike[:, _HEAD] = alike[:, _HEAD] ** _ONE_FACE * _NEXT ** np.arange(len(looks))
    return np.asarray(alike, np.float32)


def shares(alike: Array, weights: Array, seen: Array) -> Array:
    """How much of each vertex's colour comes from each look, (V, N) float32.

    Sums are up to 1 where a look shows the vertex well, and small where none does.

    alike: (N, B).  weights: (V, B) of skinning.  seen: (V, N).
    """
    worth = seen * (weights @ alike.T)
    best = worth.max(1, keepdims=True)
    sharpened = np.where(best > 0, (worth / np.maximum(best, 1e-9)) ** _SHARP, 0)
    total = np.maximum(sharpened.sum(1, keepdims=True), 1e-9)
    known = np.clip(seen.max(1, keepdims=True) / 0.15, 0, 1)
    return np.asarray(known * sharpened / total, np.float32)
