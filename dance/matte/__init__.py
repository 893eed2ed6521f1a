"""The matte of one person in one picture: what is theirs, pixel by pixel, hair and fingers included.

Three sources are brought together: the networks' person masks (right about what is a person, coarse
about where it ends), the skeleton (right about which person, and where limbs are), and the picture's
own colours (exact about edges). Alpha is (H, W) float32 in [0, 1] throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dance.matte.colours import foreground
from dance.matte.held import held
from dance.matte.masks import (
    Segment,
    belief,
    disc,
    grown,
    rim_area,
    sigmoid,
    skeleton_masks,
    torso_length,
)
from dance.matte.refine import connected, refined, with_area
from dance.types import Array, Frame, Pose

__all__ = [
    "Background",
    "Segment",
    "coarse",
    "disc",
    "foreground",
    "grown",
    "is_cutout",
    "matte",
    "torso_length",
]

# The most the masks together may say, as log odds, near the outline.
_RIM_ODDS = 4.0
_RIM_ODDS_BACKGROUND = 2.5
# How much the colours near by count where the background is known.
_COLOURS_BACKGROUND = 0.5


@dataclass(frozen=True, slots=True)
class Background:
    """What the still camera of a frame sees without the person: rgb (H, W, 3) uint8, known (H, W) bool."""

    rgb: Array
    known: Array


def matte(
    frame: Frame, pose: Pose, *, segment: Segment, background: Background | None = None
) -> Array:
    """How much of each pixel belongs to the person of the pose, (H, W) float32 in [0, 1].

    A frame that is already a cut-out (its alpha has clear transparent parts) gives its own alpha.
    `pose.mask`, where given, says best which person is meant; without it the network and the skeleton
    do. A pose of zero scores gives an empty matte.  background: the place behind, where it is known.
    """
    if frame.alpha is not None and is_cutout(frame.alpha):
        return np.asarray(frame.alpha, np.float32)
    empty = np.zeros(frame.size, np.float32)
    if not pose.found:
        return empty
    unit = torso_length(pose)
    window = _window(frame, pose, unit)
    if window is None:
        return empty
    logit = belief(frame.rgb, pose, unit, segment)
    # All masks are unsure in the same way where the outline is: there their votes are not many votes.
    rim = rim_area(logit, pose, unit)
    limit = _RIM_ODDS if background is None else _RIM_ODDS_BACKGROUND
    difference = 0 if background is None else _difference_odds(frame.rgb, background, logit)
    logit = np.where(rim, np.clip(logit, -limit, limit), logit) + difference
    # The place itself says more about what is not the person than colours like it elsewhere.
    trust = 1.0 if background is None else _COLOURS_BACKGROUND
    alpha = refined(window.cut(frame.rgb), window.cut(logit), unit, trust)
    sure, _ = skeleton_masks(frame.size, pose, unit)
    alpha = connected(alpha, window.cut(sure), unit)
    shift = np.array([window.left, window.top], np.float32)
    alpha = with_area(
        window.cut(frame.rgb),
        alpha,
        held(window.cut(frame.rgb), alpha, replace(pose, xy=pose.xy - shift, mask=None), unit),
    )
    empty[window.top : window.bottom, window.left : window.right] = alpha
    return empty


def coarse(frame: Frame, pose: Pose, *, segment: Segment) -> Array:
    """The matte before it is refined to the picture's edges: (H, W) float32, quicker, as sharp as the networks."""
    if not pose.found:
        return np.zeros(frame.size, np.float32)
    return sigmoid(belief(frame.rgb, pose, torso_length(pose), segment))


def is_cutout(alpha: Array) -> bool:
    """Whether a picture's own alpha cuts something out: some of it clear, some of it opaque."""
    return bool((alpha < 0.05).mean() > 0.02 and (alpha > 0.95).mean() > 0.005)


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of the picture the work is done in: pixels [top:bottom, left:right] of it."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, picture: Array) -> Array:
        return picture[self.top : self.bottom, self.left : self.right]


def _window(frame: Frame, pose: Pose, unit: float) -> _Window | None:
    """Where the person can be: around the joints seen and the mask; None outside the picture."""
    points = [pose.xy[pose.score > 0.1]]
    if pose.mask is not None:
        ys, xs = np.nonzero(pose.mask > 0.3)
        if len(xs):
            points.append(np.array([[xs.min(), ys.min()], [xs.max(), ys.max()]], np.float32))
    joined = np.concatenate(points)
    if not len(joined):
        joined = pose.xy[pose.score > 0]
    (left, top), (right, bottom) = joined.min(0) - 0.7 * unit, joined.max(0) + 0.7 * unit
    height, width = frame.size
    left, right = int(np.clip(left, 0, width)), int(np.clip(np.ceil(right) + 1, 0, width))
    top, bottom = int(np.clip(top, 0, height)), int(np.clip(np.ceil(bottom) + 1, 0, height))
    return _Window(left, top, right, bottom) if right - left > 4 and bottom - top > 4 else None


def _difference_odds(rgb: Array, background: Background, logit: Array) -> Array:
    """Log odds of person from how a picture differs from the known background, in [-2.5, 2.5].

    A shadow differs too: what is only darker, and not by much, says nothing.
    """
    now, then = (cv2.GaussianBlur(x, (0, 0), 0.8).astype(np.float32) for x in (rgb, background.rgb))
    apart = np.abs(now - then).max(-1)
    empty = background.known & (logit < -3)
    if not empty.any():
        return np.zeros(logit.shape, np.float32)
    # Noise, compression and flicker of the lamps are measured where nobody is.
    usual = 4 + 2.0 * float(np.percentile(apart[empty], 80))
    odds = np.clip(2.5 * (apart - usual) / usual, -2.5, 2.5)
    ratio = (now + 4) / (then + 4)
    middle = ratio.mean(-1)
    shadow = (middle > 0.45) & (middle < 1.02) & (np.ptp(ratio, axis=-1) < 0.12)
    odds[shadow & (odds > 0)] = 0
    return np.where(background.known, odds, 0).astype(np.float32)
