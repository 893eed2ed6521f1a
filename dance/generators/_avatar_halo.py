"""Hair, skirts and what else stands out from the body, drawn beside it.

Shapes: N looks, B bones, h height and w width of what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dance.surface.halo import Halo
from dance.surface.raster import interpolate, rasterise
from dance.types import Array, Camera

# Likeness (see `_avatar_views`) below which a halo is not drawn, and from which on wholly: about 53 and 33 degrees.
_LOST, _WHOLE = 0.03, 0.25
# Share of the best look's likeness below which another's halo is not drawn, and from which on wholly.
_WORSE, _AS_GOOD = 0.4, 0.8
# Metres a halo must be nearer than the body to be in front of it.
_FRONT = 0.04


def add(
    out: Array,
    depth: Array,
    halos: Sequence[Halo | None],
    alike: Array,
    turns: Array,
    starts: Array,
    camera: Camera,
    *,
    around: bool = False,
) -> None:
    """Draws the halos of the looks that are alike beside the body, in place.

    out: (h, w, 4) float32, premultiplied colour (0..255) and coverage in [0, 1].  depth: (h, w) of the body, metres.
    alike: (N, B).  turns: (B, 3, 3) and starts: (B, 3) of the bones.  camera: of the drawn part.
    around: they are the same from all sides: the best is drawn from wherever, however unlike its look.
    """
    rivals = [own for own, halo in zip(alike, halos, strict=True) if halo is not None or not around]
    if not rivals:
        return
    best = np.max(rivals, axis=0)
    for own, halo in zip(alike, halos, strict=True):
        if halo is None:
            continue
        fade = np.ones_like(own) if around else np.clip((own - _LOST) / (_WHOLE - _LOST), 0, 1)
        fade *= np.clip((own / best - _WORSE) / (_AS_GOOD - _WORSE), 0, 1)
        shown = halo.weights @ fade
        if shown.max() <= 0.01:
            continue
        points = halo.posed(turns, starts)
        shown = shown * halo.whole(points)
        fragments = rasterise(points, halo.triangles, camera, depth.shape, both_sides=True)
        rows, columns = np.nonzero(fragments.face >= 0)
        if not len(rows):
            continue
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        carried = np.column_stack([halo.uv, shown]).astype(np.float32)[halo.triangles]
        place = interpolate(fragments, carried)[box]
        there = cv2.remap(
            halo.rgba, place[..., 0], place[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)  # fmt: skip
        cover = there[..., 3:] / 255 * place[..., 2:]
        layer = np.concatenate([there[..., :3] * cover, cover], 2)
        body = out[box]
        front = (fragments.depth[box] < depth[box] - _FRONT)[..., None]
        out[box] = np.where(
            front, layer + (1 - layer[..., 3:]) * body, body + (1 - body[..., 3:]) * layer
        )
