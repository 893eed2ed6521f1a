"""Which of a view's colours at the hands are the hands': the body's fingers are spread, the person's rarely are.

What lies beside the real fingers, often trousers or a coat, would be painted on them. Hands are of one colour, bare
or gloved, and that of the palms' is the most certain; bare ones are like the face. A hand that shows something else
than the other one is in a pocket or behind somebody. And what of the real hand lies beside the body's own would be
painted on hips and thighs.

Shapes: V vertices, B bones, N vertices or colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from dance.surface.body import BONES
from dance.surface.clothing import head_level, limbs_of
from dance.surface.looks import Look, sampled
from dance.types import Array

# Differences of colours (see `_apart`): a hand's own shades, what surely is something else, skin of hands and faces.
_OWN, _OTHER, _SKIN = 12.0, 20.0, 28.0
# Lightness tells shadow from light as well as one thing from another.
_LIGHTNESS = 0.5
# How well a vertex must be seen to tell a colour, and by how many vertices.
_SEEN, _ENOUGH = 0.1, 8
# How much the colour of hands counts where no view shows them, beside the sleeves that it would be taken from.
_HINT = 0.05
# How far beside the body's hand the person's may be: of its length.
_REACH = 0.35
_TRUNK, _LEGS = 2, 5
_SIDES = ("left", "right")


def cleared(
    looks: Sequence[Look],
    weights: Array,
    rest: tuple[Array, Array],
    outward: Array,
    faces: Array,
    mean: sparse.csr_matrix,
) -> tuple[list[Look], tuple[Array, Array] | None]:
    """The looks without what is not of the hands there, and a hint of their colour.

    weights: (V, B) of skinning.  rest: vertices (V, 3) of the resting body and where its bones begin (B, 3).
    outward: see `clothing.directions`.  faces: (F, 3).  mean: see `fields.neighbours`.
    The hint is how much to trust it at every vertex (V,) and the colour (3,); None where neither hands nor a face are seen.
    """
    vertices, joints = rest
    # Fingers and eyes have most of the vertices, and little of the skin.
    areas = _areas(vertices, faces)
    palms = [_palm(vertices, joints, weights, side) for side in _SIDES]
    hands = [
        weights[:, [BONES.index(f"{side}_hand"), BONES.index(f"{side}_fingers")]].sum(1)
        for side in _SIDES
    ]
    limbs = limbs_of(weights)
    body = (limbs == _TRUNK) | (limbs >= _LEGS)
    colours = [sampled(look.rgb, look.xy) for look in looks]
    cheeks = _face(weights, vertices, outward)
    everywhere = np.concatenate([cheeks & (look.seen > _SEEN) for look in looks])
    face = _median(np.concatenate(colours)[everywhere], np.tile(areas, len(looks))[everywhere])
    shown = [
        (own[seen], areas[seen])
        for look, own in zip(looks, colours, strict=True)
        for palm in palms
        if (seen := palm & (look.seen > _SEEN)).any()
    ]
    known = _hand(shown, face)
    if known is None:
        return list(looks), None
    out = []
    for look, own in zip(looks, colours, strict=True):
        kept = np.ones(len(own), np.float32)
        for palm, hand in zip(palms, hands, strict=True):
            near = palm & (look.seen > _SEEN) & (_apart(own, known) < _SKIN)
            local = _median(own[near], areas[near])
            like = np.clip(
                (_OTHER - _apart(own, known if local is None else local)) / (_OTHER - _OWN), 0, 1
            )
            kept = np.where(hand > 0.5, like, kept)
            if local is not None:
                around = body & _beside(look.xy, hand > 0.5)
                kept = np.where(around, np.minimum(kept, 1 - like), kept)
        # Between two vertices, too, nothing else is to be seen.
        kept = np.minimum(kept, mean @ kept).astype(np.float32)
        out.append(replace(look, seen=look.seen * kept, behind=look.behind * kept))
    return out, ((_HINT * np.clip(sum(hands), 0, 1)).astype(np.float32), known)


def without(look: Look, weights: Array, colour: Array) -> Array:
    """The look's picture (H, W, 3) uint8 with the hands, of that colour (3,), painted over from around them.

    weights: (V, B) of skinning.
    """
    height, width = look.rgb.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for side in _SIDES:
        own = [BONES.index(f"{side}_hand"), BONES.index(f"{side}_fingers")]
        places = look.xy[weights[:, own].sum(1) > 0.5]
        reach = _REACH * float(np.linalg.norm(np.ptp(places, axis=0)))
        left, top = np.clip(np.floor(places.min(0) - reach).astype(int), 0, [width, height])
        right, bottom = np.clip(np.ceil(places.max(0) + reach).astype(int), 0, [width, height])
        if right > left and bottom > top:
            here = np.s_[top:bottom, left:right]
            mask[here] |= _apart(look.rgb[here], colour) < _OTHER
    wide = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(look.rgb, wide, 3, cv2.INPAINT_TELEA))


def _hand(shown: Sequence[tuple[Array, Array]], face: Array | None) -> Array | None:
    """The colour of the hands (3,).

    shown: what is seen of each palm in each view, colours (N, 3) and areas (N,).  face: the face's colour (3,).
    """
    told = [
        (areas.sum(), found) for own, areas in shown if (found := _median(own, areas)) is not None
    ]
    if not told:
        return face
    medians = np.array([colour for _, colour in told])
    sizes = np.array([size for size, _ in told])
    if face is not None:
        skin = _apart(medians, face) < _SKIN
        if skin.any():
            medians, sizes = medians[skin], sizes[skin]
    # The one that most of the others agree with: a mean of a glove and a pocket would be neither.
    agree = np.clip(1 - _apart(medians[:, None], medians[None]) / _SKIN, 0, 1) @ sizes
    return np.asarray(medians[agree.argmax()])


def _palm(vertices: Array, joints: Array, weights: Array, side: str) -> Array:
    """(V,) bool, the palm and the back of the hand up to the knuckles, without the thumb."""
    hand, fingers = BONES.index(f"{side}_hand"), BONES.index(f"{side}_fingers")
    along = joints[fingers] - joints[hand]
    length = float(np.linalg.norm(along))
    relative = vertices - joints[hand]
    share = relative @ along / length**2
    aside = np.linalg.norm(relative - share[:, None] * along, axis=1)
    return np.asarray(
        (weights[:, hand] > 0.5) & (share > 0.1) & (share < 1) & (aside < 0.4 * length)
    )


def _beside(xy: Array, hand: Array) -> Array:
    """(V,) bool, what lies so near to a hand that it may show it.  xy: (V, 2) pixels.  hand: (V,) bool."""
    reach = _REACH * float(np.linalg.norm(np.ptp(xy[hand], axis=0)))
    return np.asarray(np.isfinite(cKDTree(xy[hand]).query(xy, distance_upper_bound=reach)[0]))


def _face(weights: Array, rest: Array, outward: Array) -> Array:
    """(V,) bool, cheeks, nose and mouth."""
    head = weights[:, BONES.index("head")]
    level = head_level(rest, head)
    return np.asarray((head > 0.5) & (outward[:, 2] < -0.5) & (level > 0.15) & (level < 0.55))


def _areas(vertices: Array, faces: Array) -> Array:
    """The surface around each vertex, (V,) square metres."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    triangles = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), np.repeat(triangles, 3), len(vertices))


def _median(colours: Array, areas: Array) -> Array | None:
    """The median (3,) of colours (N, 3) by their areas (N,); None where they are too few."""
    if len(colours) < _ENOUGH:
        return None
    order = np.argsort(colours, axis=0)
    risen = np.cumsum(areas[order], axis=0)
    middle = (risen < risen[-1] / 2).sum(0)
    return np.asarray(np.take_along_axis(colours, order, 0)[middle, np.arange(3)])


def _apart(colours: Array, other: Array) -> Array:
    """How different colours (..., 3) are from others (..., 3), RGB 0..255; in units of CIELAB, lightness less."""
    apart = _lab(colours) - _lab(other)
    apart[..., 0] *= _LIGHTNESS
    return np.asarray(np.linalg.norm(apart, axis=-1))


def _lab(colours: Array) -> Array:
    flat = np.ascontiguousarray(colours, np.float32).reshape(-1, 1, 3) / 255
    if not len(flat):
        return flat.reshape(colours.shape)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).reshape(colours.shape))
