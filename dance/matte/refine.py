"""Refines a coarse matte to the picture's own edges."""

from __future__ import annotations

import cv2
import numpy as np

from dance.geometry import even
from dance.matte.masks import disc, grown, sigmoid
from dance.types import Array


def refined(rgb: Array, logit: Array, unit: float, trust: float) -> Array:
    """Alpha with the picture's own edges, from log odds at mask sharpness."""
    height, width = rgb.shape[:2]
    scale = min(1.0, 90.0 / unit)
    small_size = (even(round(width * scale)), even(round(height * scale)))
    small = cv2.resize(rgb, small_size, interpolation=cv2.INTER_AREA)
    odds = cv2.resize(logit, small_size, interpolation=cv2.INTER_AREA)
    small_unit = unit * scale
    guide = small.astype(np.float32) / 255
    alpha = sigmoid(odds)
    palette = _palette(small)
    for _ in range(2):
        # Colours decide where the networks doubt; where they do not, colours have little to say.
        colour = _colour_odds(palette, alpha, small_unit)
        p = sigmoid(odds + trust * colour)
        alpha = guided(guide, p, _certainty(p), radius=max(2, round(0.04 * small_unit)), eps=2e-4)
    fine = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    radius = max(2, round(1.5 / scale))
    fine = guided(rgb.astype(np.float32) / 255, fine, _certainty(fine), radius=radius, eps=1e-4)
    return _crisp(fine, 0.012 * unit)


def _crisp(alpha: Array, softness: float) -> Array:
    """Alpha without wide ramps: where colours cannot tell the edge, a doubt is not a transparency.

    What is already as sharp as a picture's edges and hair are is only a little contrasted; a wider ramp
    becomes a clean edge at its middle, its course smoothed over about `softness` pixels.
    """
    calm = cv2.GaussianBlur(alpha, (0, 0), max(0.8, softness))
    slope = np.hypot(cv2.Sobel(calm, cv2.CV_32F, 1, 0), cv2.Sobel(calm, cv2.CV_32F, 0, 1)) / 8
    width = 1 / np.maximum(slope, 1e-3)
    clean = np.clip((calm - 0.5) * width / 2.5 + 0.5, 0, 1)
    sharp = np.clip((alpha - 0.5) * 1.5 + 0.5, 0, 1)
    # Blurring alone makes an ideal edge about this wide.
    usual = 2.5 * max(0.8, softness) + 2
    doubt = np.clip((width / usual - 1.3) / 1.2, 0, 1).astype(np.float32)
    doubt = np.asarray(cv2.blur(doubt, (3, 3)))
    return np.asarray(doubt * clean + (1 - doubt) * sharp, np.float32)


def _certainty(p: Array) -> Array:
    return (2 * p - 1) ** 2 + np.float32(0.02)


def _palette(rgb: Array, colours: int = 40) -> tuple[Array, Array]:
    """Which of so many colours each pixel has, (h, w), and how akin they are to each other, rows adding up to 1."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    pixels = np.asarray(lab, np.float32).reshape(-1, 3)
    picks = pixels[:: max(1, len(pixels) // 6000)]
    count = min(colours, len(picks))
    # Beginning with slices of brightness needs no random numbers, so that every run is the same.
    start = np.empty((len(picks), 1), np.int32)
    start[np.argsort(picks[:, 0], kind="stable"), 0] = np.arange(len(picks)) * count // len(picks)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 8, 0.5)
    found = cv2.kmeans(
        np.ascontiguousarray(picks), count, start, criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS
    )
    centres = np.asarray(found[2])
    distance = ((pixels**2).sum(1)[:, None] - 2 * pixels @ centres.T) + (centres**2).sum(1)
    kinship = np.exp(-((centres[:, None] - centres[None]) ** 2).sum(-1) / (2 * 6.0**2))
    kinship = (kinship / kinship.sum(1, keepdims=True)).astype(np.float32)
    return distance.argmin(1).reshape(rgb.shape[:2]), kinship


def _colour_odds(palette: tuple[Array, Array], alpha: Array, unit: float) -> Array:
    """Log odds of person against background from the colours that are near by, in [-3, 3].

    How often each colour is seen on the sure person and on the sure background around a pixel is a blur of
    indicator pictures.
    """
    label, kinship = palette
    inside = np.clip(alpha * 5 - 4, 0, 1)
    outside = np.clip(1 - alpha * 5, 0, 1)
    counts = []
    for weight in (inside, outside):
        layers = np.stack([np.where(label == k, weight, 0) for k in range(len(kinship))])
        blurred = np.stack([_local(layer, unit) for layer in layers])
        smoothed = np.tensordot(kinship, blurred, 1)
        seen = np.take_along_axis(smoothed, label[None], 0)[0]
        counts.append((seen + 2e-3 * 0.02) / (_local(weight, unit) + 2e-3))
    odds = np.log(counts[0] + 2e-3) - np.log(counts[1] + 2e-3)
    return np.asarray(np.clip(odds, -3, 3), np.float32)


def _local(layer: Array, unit: float) -> Array:
    """What is around each pixel: the near counts most, the far a little, so that no pixel is without."""
    small, large = _odd(0.3 * unit), _odd(1.5 * unit)
    near = cv2.blur(cv2.blur(layer, (small, small)), (small, small))
    return np.asarray(near + np.float32(0.05) * cv2.blur(layer, (large, large)))


def _odd(length: float) -> int:
    return 2 * max(1, round(length / 2)) + 1


def guided(guide: Array, p: Array, weight: Array, *, radius: int, eps: float) -> Array:
    """The guided filter of p with a colour guide, in which each pixel counts by its weight.

    guide: (H, W, 3) float32 in [0, 1].  p, weight: (H, W).  Every window fits p as a linear function of
    colour, so the result has the guide's edges (He, Sun, Tang: Guided image filtering, 2013).
    """
    kernel = (2 * radius + 1, 2 * radius + 1)

    def mean(x: Array) -> Array:
        return np.asarray(cv2.blur(x, kernel, borderType=cv2.BORDER_REFLECT))

    total = mean(weight)
    average = mean(guide * weight[..., None]) / total[..., None]
    target = mean(p * weight) / total
    cross = mean(guide * (p * weight)[..., None]) / total[..., None] - average * target[..., None]
    r, g, b = (guide[..., i] for i in range(3))
    second = {}
    for name, x, y, i, j in (
        ("rr", r, r, 0, 0), ("rg", r, g, 0, 1), ("rb", r, b, 0, 2),
        ("gg", g, g, 1, 1), ("gb", g, b, 1, 2), ("bb", b, b, 2, 2),
    ):  # fmt: skip
        second[name] = mean(x * y * weight) / total - average[..., i] * average[..., j]
    rr, gg, bb = second["rr"] + eps, second["gg"] + eps, second["bb"] + eps
    rg, rb, gb = second["rg"], second["rb"], second["gb"]
    # The inverse of the symmetric 3 x 3 covariance, by cofactors.
    c0, c1, c2 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c4, c5, c8 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = np.maximum(rr * c0 + rg * c1 + rb * c2, 1e-12)
    x, y, z = (cross[..., i] for i in range(3))
    slope = np.stack(
        [c0 * x + c1 * y + c2 * z, c1 * x + c4 * y + c5 * z, c2 * x + c5 * y + c8 * z], -1
    )
    slope /= determinant[..., None]
    offset = target - (slope * average).sum(-1)
    return np.asarray(np.clip((mean(slope) * guide).sum(-1) + mean(offset), 0, 1))


def with_area(rgb: Array, alpha: Array, area: Array) -> Array:
    """Alpha with one more area (H, W) bool, its edge as the picture has it."""
    if not area.any():
        return alpha
    wanted = np.maximum(alpha, area).astype(np.float32)
    soft = guided(rgb.astype(np.float32) / 255, wanted, np.ones_like(wanted), radius=4, eps=2e-4)
    return np.where(grown(area, 4), np.maximum(alpha, soft), alpha).astype(np.float32)


def connected(alpha: Array, sure: Array, unit: float) -> Array:
    """Alpha without islands and specks: what hangs together with the skeleton or is much of the person."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (alpha > 0.25).astype(np.uint8), connectivity=8
    )
    touched = np.bincount(labels[sure & (labels > 0)].ravel(), minlength=count)
    area = stats[:, cv2.CC_STAT_AREA]
    keep = touched > 0.02 * max(1, touched.max())
    if not keep[1:].any():
        keep = area >= area[1:].max()
    keep[0] = False
    solid = keep[labels].astype(np.uint8)
    alpha = np.where(cv2.dilate(solid, disc(3)) > 0, alpha, 0).astype(np.float32)
    # A gap between limbs is never as small as the specks dark folds and prints leave.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (alpha < 0.75).astype(np.uint8), connectivity=4
    )
    speck = stats[:, cv2.CC_STAT_AREA] < 0.002 * unit * unit
    speck[0] = False
    return np.where(speck[labels], 1, alpha).astype(np.float32)
