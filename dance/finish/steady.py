"""Temporal consistency: each picture is drawn towards the one before it, carried along the motion.

A recursive filter after Bonneel et al., "Blind video temporal consistency" (2015), and Lai et al. (2018), without a
network: the history is warped by dense optical flow (DIS, Kroeger et al. 2016) started from the motion of the
pose, and believed only where the flow there and back agree and the colours match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from pydantic import Field

from dance import skeleton
from dance.config import Options
from dance.finish.compose import alpha_box
from dance.types import Array, Layer, Pose

_GREY = 128  # what lies behind the person in the pictures the flow is found in
_MOST = 0.85  # share of the history at strength 1: beyond it errors of the flow pile up faster than flicker falls
_CLEAN = 1.0  # levels two matched pictures differ by without any flicker
_ASTRAY = 0.8  # small pixels the flow is typically off
_FLOW_HEIGHT = 192  # the person's box is made this high for the flow
_GRID = 24  # cells along the longer side of the coarse field that the pose's motion gives


class SteadyOptions(Options):
    """How strongly pictures are held to the ones before them: 0 leaves every layer exactly as it is."""

    strength: float = Field(0.5, ge=0, le=1)


def steady(layers: Iterable[Layer], options: SteadyOptions) -> Iterator[Layer]:
    """The same layers with flicker taken out; as many, at the same moments, without delay. A cut starts afresh."""
    if options.strength == 0:
        yield from layers
        return
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    past: Layer | None = None
    flicker = _CLEAN
    grid = _grid((0, 0))
    for layer in layers:
        if past is None or layer.moment.cut or not _alike(past, layer):
            past, flicker = layer, _CLEAN
        else:
            if grid.shape[:2] != layer.rgb.shape[:2]:
                grid = _grid(layer.rgb.shape[:2])
            past, flicker = _hold(layer, past, flicker, _MOST * options.strength, finder, grid)
        yield past


def _hold(
    layer: Layer, past: Layer, flicker: float, share: float, finder: cv2.DISOpticalFlow, grid: Array
) -> tuple[Layer, float]:
    """The layer mixed with the past result carried along the motion, and the flicker met so far, in levels.

    grid: (H, W, 2) the (x, y) of every pixel.
    """
    box = _box(past.alpha, layer.alpha, layer.rgb)
    if box is None:
        return layer, flicker
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    size = _flow_size(height, width)
    new, old = _small(layer, box, size), _small(past, box, size)
    start = _pose_flow(layer.moment.pose, past.moment.pose, box, size)
    flow, trust = _motion(new, old, start, 8 + 2 * flicker, finder)

    flow = flow * np.array([width / size[0], height / size[1]], np.float32)
    flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
    where = cv2.add(flow, grid[:height, :width])
    rgb = np.ascontiguousarray(layer.rgb[box])
    carried = _carried(past.rgb[box], where)
    flicker = 0.8 * flicker + 0.2 * _flicker(rgb, carried, trust)
    # What differs because the flow is a little off grows with the slope of the picture, flicker does not: a
    # Wiener weight takes the flicker out and leaves edges and texture sharp.
    astray = (_ASTRAY * _slope(new)) ** 2
    sure = share * trust * (flicker**2 / (flicker**2 + astray))
    own = cv2.resize(sure, (width, height), interpolation=cv2.INTER_LINEAR)
    mixed = layer.rgb.copy()
    if layer.alpha is None or past.alpha is None:
        mixed[box] = cv2.blendLinear(rgb, carried, 1 - own, own)
        return replace(layer, rgb=mixed), flicker
    alpha = np.ascontiguousarray(layer.alpha[box])
    carried_alpha = _carried(past.alpha[box], where)
    edge = cv2.resize(share * trust, (width, height), interpolation=cv2.INTER_LINEAR)
    held = layer.alpha.copy()
    held[box] = cv2.blendLinear(alpha, carried_alpha, 1 - edge, edge)
    # Straight colours are mixed by how much of them is seen: where only the past is seen they are the past's.
    mixed[box] = cv2.blendLinear(rgb, carried, (1 - own) * (alpha + 1e-3), own * carried_alpha)
    return replace(layer, rgb=mixed, alpha=held), flicker


def _flow_size(height: int, width: int) -> tuple[int, int]:
    """The (w, h) of the pictures the flow is found in: small, and never slender or tiny, where OpenCV's DIS crashes."""
    scale = min(1.0, _FLOW_HEIGHT / height, 2 * _FLOW_HEIGHT / width)
    high, wide = round(height * scale), round(width * scale)
    return max(wide, -(-high // 2), 64), max(high, -(-wide // 2), 64)


def _carried(picture: Array, where: Array) -> Array:
    """The picture looked up at (x, y) of `where` (h, w, 2)."""
    # OpenCV takes both coordinates in one map; its type stubs do not know.
    found = cv2.remap(  # type: ignore[call-overload]
        picture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found)


def _flicker(new: Array, old: Array, trust: Array) -> float:
    """The typical difference in levels of two matched pictures, where the match can be trusted."""
    size = (new.shape[1] // 3 + 1, new.shape[0] // 3 + 1)
    a, b, sure = (cv2.resize(x, size, interpolation=cv2.INTER_NEAREST) for x in (new, old, trust))
    differs = cv2.absdiff(a, b)[..., 1][sure > 0.3]
    return max(_CLEAN, float(np.median(differs)) if differs.size else _CLEAN)


def _slope(grey: Array) -> Array:
    """The steepness of a (H, W) uint8 picture in levels a pixel, without its finest noise."""
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125)
    return np.asarray(cv2.magnitude(across, down))


def _alike(a: Layer, b: Layer) -> bool:
    """Whether two layers can be mixed: of one size, and with alpha both or neither."""
    return a.rgb.shape == b.rgb.shape and (a.alpha is None) == (b.alpha is None)


def _box(past: Array | None, now: Array | None, rgb: Array) -> tuple[slice, slice] | None:
    """The rows and columns around the person in both pictures; the whole picture where there is no alpha."""
    if past is None or now is None:
        return slice(0, rgb.shape[0]), slice(0, rgb.shape[1])
    a, b = alpha_box(past, 4), alpha_box(now, 4)
    if a is None or b is None:
        return None
    rows, columns = (
        slice(min(x.start, y.start), max(x.stop, y.stop)) for x, y in zip(a, b, strict=True)
    )
    return rows, columns


def _motion(
    new: Array, old: Array, start: Array, tolerance: float, finder: cv2.DISOpticalFlow
) -> tuple[Array, Array]:
    """Where each pixel (h, w) of the new picture was in the old, (h, w, 2), and how far to trust that, (h, w).

    start: a first guess, (h, w, 2).  tolerance: levels by which matching pixels may differ.
    """
    height, width = new.shape
    flow = finder.calc(new, old, start.copy())
    back = finder.calc(old, new, -start)
    where = flow + _grid((height, width))
    returned = flow + _carried(back, where)
    # After Sundaram et al. (2010): a tolerance that grows with the motion.
    strays = _squared(returned) / (0.5 + 0.02 * _squared(flow))
    differs = cv2.blur(cv2.absdiff(_carried(old, where), new).astype(np.float32), (3, 3))
    x, y = where[..., 0], where[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return flow, np.asarray(np.exp(-strays - (differs / tolerance) ** 2) * inside, np.float32)


def _squared(field: Array) -> Array:
    return np.asarray(field[..., 0] ** 2 + field[..., 1] ** 2)


def _pose_flow(a: Pose, b: Pose, box: tuple[slice, slice], size: tuple[int, int]) -> Array:
    """The motion from pose a to pose b as a smooth (h, w, 2) field of `size` (w, h), from points along the limbs."""
    width, height = size
    ends = np.array(skeleton.LIMBS)
    seen = (np.minimum(a.score, b.score) > 0)[ends].all(1)
    if not seen.any():
        return np.zeros((height, width, 2), np.float32)
    share = np.linspace(0, 1, 4, dtype=np.float32)[:, None, None]
    pairs = ends[seen]
    left, top = box[1].start, box[0].start
    origin = np.array([left, top], np.float32)
    unit = np.array([width / (box[1].stop - left), height / (box[0].stop - top)], np.float32)
    points, moves = (
        (xy[pairs[:, 0]] * (1 - share) + xy[pairs[:, 1]] * share).reshape(-1, 2)
        for xy in ((a.xy - origin) * unit, (b.xy - a.xy) * unit)
    )
    step = max(width, height) / _GRID
    columns, rows = max(2, round(width / step)), max(2, round(height / step))
    x = (np.arange(columns, dtype=np.float32) + 0.5) * (width / columns)
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (height / rows)
    squared = (y[:, None, None] - points[:, 1]) ** 2 + (x[None, :, None] - points[:, 0]) ** 2
    near = np.exp(-squared / (2 * (1.2 * step) ** 2)) + 1e-9
    field = (near @ moves) / near.sum(-1, keepdims=True)
    return np.asarray(cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))


def _small(layer: Layer, box: tuple[slice, slice], size: tuple[int, int]) -> Array:
    """The box of the layer over grey, one channel, (h, w) uint8 of `size` (w, h)."""
    grey = cv2.cvtColor(layer.rgb[box], cv2.COLOR_RGB2GRAY)
    grey = _shrunk(grey, size)
    if layer.alpha is None:
        return grey
    alpha = _shrunk(layer.alpha[box], size)
    return np.asarray(cv2.blendLinear(grey, np.full_like(grey, _GREY), alpha, 1 - alpha))


def _shrunk(picture: Array, size: tuple[int, int]) -> Array:
    """The picture (H, W) in another size (w, h); several times as fast as averaging over exact areas."""
    wide = max(1, round(picture.shape[0] / size[1]))
    return np.asarray(cv2.resize(cv2.blur(picture, (wide, wide)), size))


def _grid(size: tuple[int, int]) -> Array:
    """The (x, y) of every pixel of a picture of that (height, width): (H, W, 2) float32."""
    y, x = np.indices(size, np.float32)
    return np.dstack([x, y])
