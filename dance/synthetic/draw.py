"""Draws a dressed body: colour, coverage, and which triangle is seen where.

On the processor, in compiled loops, without OpenGL: one installation that runs wherever the project does, in as many
processes as there are cores. It is not slower for it: of a picture of 128 x 128, three by three samples a pixel, a
figure of 28 000 triangles takes 20 ms of a core; software OpenGL (Mesa's llvmpipe) took 30 ms for one of 38 000.

Light is added up linearly; colours are linear until `scene.developed` makes a picture of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from dance.surface.raster import NEAR, vertex_normals
from dance.synthetic import _draw_loops as loops
from dance.synthetic.people import MATERIALS, PATTERNS
from dance.synthetic.wear import Figure
from dance.types import Array, Camera, Size

SAMPLES = 3  # to each side of a pixel; odd, so that one is in its middle
_SHADOW = 224  # pixels of a side of the shadow map
_BIAS = 0.02  # metres that something must be nearer to the light to throw a shadow
# Outer layers lie so many metres before what pokes through them: skin through cloth, ankles through shoes.
_LIFT = {"outer": 0.022, "inner": 0.016, "shoes": 0.006, "hair": 0.012, "brows": 0.006}
_CUT = {"hair": 0.4, "brows": 0.5}
_GLOSS = {"skin": (0.08, 14.0), "shoes": (0.15, 30.0), "hair": (0.10, 24.0), "eyes": (0.4, 60.0)}
_MATT = (0.015, 20.0)
_SMALLEST = 4  # pixels of the last halving of a texture


@dataclass(frozen=True, slots=True)
class Light:
    """way (3,): to the light, of length 1; up (3,); both in camera axes. key, sky, ground: linear colours (3,)."""

    way: Array
    up: Array
    key: Array
    sky: Array
    ground: Array


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """What is nearest to the light: nearness (H, W), and view (3, 4) from camera axes to its pixels and nearness."""

    nearness: Array
    view: Array


@dataclass(frozen=True, eq=False)
class Shot:
    """A figure as a camera sees it, without a background.

    colour: (H, W, 3) float32 linear, times alpha.  alpha: (H, W) float32, the share of each pixel that is covered.
    face (H, W): the triangle in the middle of each pixel, -1 for none; share (H, W, 3): where in it.
    depth: (H, W) float32 metres there; infinite for none.
    """

    colour: Array
    alpha: Array
    face: Array
    share: Array
    depth: Array
    shadow: ShadowMap


def draw(figure: Figure, points: Array, camera: Camera, size: Size, light: Light) -> Shot:
    """The figure with its vertices at `points` (N, 3), metres in camera axes."""
    texels, levels, counts = _texture_table(figure)
    fine = (size[0] * SAMPLES, size[1] * SAMPLES)
    depth = points[:, 2].astype(np.float64)
    nearness = np.where(depth > NEAR, 1 / np.maximum(depth, NEAR), -1.0)
    screen = camera.focal * points[:, :2] * nearness[:, None] + camera.centre
    screen = (screen + 0.5) * SAMPLES - 0.5
    face = np.full(fine, -1, np.int32)
    best = np.zeros(fine, np.float64)
    cut = _by_material(_CUT, 0.0)
    loops.cover(
        screen, nearness, figure.faces, figure.material, _by_material(_LIFT, 0.0), cut,
        figure.uv, texels, levels, counts, face, best,
    )  # fmt: skip
    share = np.zeros((*fine, 3), np.float32)
    loops.locate(screen, nearness, figure.faces, face, share)
    shadow = _shadow_map(figure, points, light)
    colour = np.zeros((*fine, 3), np.float32)
    loops.shade(
        screen, points, vertex_normals(points, figure.faces), figure.canon, figure.faces,
        figure.material, figure.uv, face, share, texels, levels, counts, _pattern_table(figure),
        _by_material(_GLOSS, _MATT),
        np.stack([light.way, light.key, light.sky, light.ground, light.up]).astype(np.float64),
        shadow.view, shadow.nearness, _BIAS, colour,
    )  # fmt: skip
    covered = (face >= 0).astype(np.float32)
    middle = slice(SAMPLES // 2, None, SAMPLES)
    face, share = face[middle, middle].copy(), share[middle, middle].copy()
    seen = (depth[figure.faces[face]] * share).sum(-1)
    return Shot(
        _averaged(np.minimum(colour, 1.0)),
        _averaged(covered),
        face,
        share,
        np.where(face >= 0, seen, np.inf).astype(np.float32),
        shadow,
    )


def in_light(shadow: ShadowMap, points: Array) -> Array:
    """How much light reaches points (H, W, 3) in camera axes, in [0, 1]; they are not of the figure."""
    view = shadow.view
    place = points @ view[:, :3].T + view[:, 3]
    column, row = (place[..., k].astype(np.float32) for k in (0, 1))
    nearest = cv2.remap(
        shadow.nearness.astype(np.float32), column, row, cv2.INTER_NEAREST, borderValue=0
    )
    # Where nothing is between, however far away from the light the points are.
    return np.asarray(((nearest <= place[..., 2] + _BIAS) | (nearest == 0)).astype(np.float32))


def _shadow_map(figure: Figure, points: Array, light: Light) -> ShadowMap:
    texels, levels, counts = _texture_table(figure)
    low, high = points.min(0), points.max(0)
    middle = ((low + high) / 2).astype(np.float64)
    radius = float(np.linalg.norm(points - middle, axis=1).max()) * 1.02
    right = np.cross(light.way, [0.3, 0.1, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(light.way, right), light.way]).astype(np.float64)
    scale = np.array([_SHADOW / (2 * radius)] * 2 + [1.0])
    # Nearness is in metres here, and above 0 for all of the figure.
    shift = np.array([_SHADOW / 2 - 0.5] * 2 + [2 * radius])
    view = np.column_stack([axes * scale[:, None], shift - (axes @ middle) * scale])
    place = points @ view[:, :3].T + view[:, 3]
    face = np.full((_SHADOW, _SHADOW), -1, np.int32)
    nearness = np.zeros((_SHADOW, _SHADOW), np.float64)
    loops.cover(
        np.ascontiguousarray(place[:, :2]), np.ascontiguousarray(place[:, 2]), figure.faces, figure.material,
        np.zeros(len(MATERIALS)), _by_material(_CUT, 0.0), figure.uv, texels, levels, counts,
        face, nearness,
    )  # fmt: skip
    return ShadowMap(nearness, view)


@lru_cache(maxsize=2)
def _texture_table(figure: Figure) -> tuple[Array, Array, Array]:
    """All textures with their halvings in one list: texels (P, 4) uint8, colours times coverage; levels; counts."""
    pieces: list[Array] = []
    rows: list[list[tuple[int, int, int]]] = []
    begin = 0
    for texture in figure.textures:
        own: list[tuple[int, int, int]] = []
        if texture is None:
            texture = np.full((_SMALLEST, _SMALLEST, 4), 255, np.uint8)
        level = texture.astype(np.float32)
        level[..., :3] *= level[..., 3:] / 255
        while True:
            height, width = level.shape[:2]
            own.append((begin, height, width))
            pieces.append(np.rint(level).astype(np.uint8).reshape(-1, 4))
            begin += height * width
            if min(height, width) < 2 * _SMALLEST:
                break
            level = np.asarray(
                cv2.resize(level, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            )
        rows.append(own)
    counts = np.array([len(own) for own in rows], np.int64)
    levels = np.zeros((len(rows), counts.max(), 3), np.int64)
    for k, own in enumerate(rows):
        levels[k, : len(own)] = own
    return np.concatenate(pieces), levels, counts


def _pattern_table(figure: Figure) -> Array:
    table = np.zeros((len(MATERIALS), 5))
    for name, pattern in figure.patterns.items():
        kind = PATTERNS.index(pattern.kind) + 1
        table[MATERIALS.index(name)] = (kind, pattern.frequency, *pattern.tone)
    return table


def _by_material(values: dict[str, float] | dict[str, tuple[float, float]], other: object) -> Array:
    return np.array([values.get(name, other) for name in MATERIALS], np.float64)


def _averaged(fine: Array) -> Array:
    """The mean of each pixel's samples."""
    height, width = fine.shape[0] // SAMPLES, fine.shape[1] // SAMPLES
    blocks = fine.reshape(height, SAMPLES, width, SAMPLES, *fine.shape[2:])
    return np.asarray(blocks.mean((1, 3)))
