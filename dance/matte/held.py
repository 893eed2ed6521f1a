"""What a person holds, a bag or a stick, before a plain background: no network knows it for theirs."""

from __future__ import annotations

import cv2
import numpy as np

from dance import skeleton as sk
from dance.matte.masks import grown
from dance.types import Array, Pose

_PLAIN = 8.0
_OBJECT = 14.0


def held(rgb: Array, alpha: Array, pose: Pose, unit: float) -> Array:
    """The area of things in the person's hands, (H, W) bool; empty where the background is not plain.

    On a plain background everything that is neither background nor shadow and hangs together with a
    hand belongs to the person; elsewhere nothing tells a bag from a bush.
    """
    none = np.zeros(alpha.shape, bool)
    wrists = [j for j in (sk.LEFT_WRIST, sk.RIGHT_WRIST) if pose.score[j] >= 0.3]
    scale = min(1.0, 60.0 / unit)
    height, width = (max(8, round(n * scale)) for n in alpha.shape)
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    person = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA) > 0.1
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))
    free = ~grown(person, 4)
    if not wrists or free.sum() < 200:
        return none
    off = lab - _surface(lab, free)
    distance = np.linalg.norm(off, axis=-1)
    if float((distance[free] < _PLAIN).mean()) < 0.75:
        return none
    shadow = (off[..., 0] < 0) & (off[..., 0] > -35) & (np.linalg.norm(off[..., 1:], axis=-1) < 6)
    thing = (distance > _OBJECT) & ~shadow & ~person
    # Straps are thin: what lies this near together belongs together.
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grown(thing, 1.5).astype(np.uint8))
    hands = np.zeros((height, width), np.uint8)
    for wrist in wrists:
        x, y = (int(v) for v in np.clip(np.round(scale * pose.xy[wrist]), -4000, 4000))
        cv2.circle(hands, (x, y), round(0.4 * scale * unit), 1, -1)
    near = np.bincount(labels[(hands > 0) & thing], minlength=count) >= 4
    area = stats[:, cv2.CC_STAT_AREA] / (scale * unit) ** 2
    near &= (area > 0.02) & (area < 1.5)
    near[0] = False
    found = (near[labels] & thing).astype(np.uint8)
    large = cv2.resize(found, (alpha.shape[1], alpha.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large > 0)


def _surface(lab: Array, free: Array) -> Array:
    """The background's smooth colour everywhere: a quadratic in x and y fitted where it is free."""
    height, width = free.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = 2 * x / width - 1, 2 * y / height - 1
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    used = free
    for _ in range(3):
        factors, *_ = np.linalg.lstsq(terms[used], lab[used], rcond=None)
        surface = np.asarray(terms @ factors)
        near = np.linalg.norm(lab - surface, axis=-1) < 2 * _PLAIN
        # Where hardly anything fits, the surface means nothing and is not worth another round.
        if (near & free).sum() < 0.3 * free.sum():
            break
        used = near & free
    return surface
