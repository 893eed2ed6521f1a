"""The clean plate: the place of the source picture or video without the person.

From a video, the median of what is seen where the person is not, every sample first laid over the first
one; from a photo, and wherever a video never shows the place, inpainting from the surroundings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from dance import skeleton as sk
from dance.inpaint import inpaint, membrane, usual_in_rows
from dance.matte import Background, grown, torso_length
from dance.types import Array, Pose, Size

log = logging.getLogger(__name__)

_ECC_SIDE = 320
# The log of how much light a shadow takes at the most where the floor can still be seen in it, and the grey
# values that black has more than nothing.
_DARKEST, _GLOW = 1.3, 4.0
_UNLIT = 0.985  # what a shadow leaves of the light where it begins to be seen
# Seen in fewer of the samples a place may show the person: where their colours are so many times likelier than
# the place's. Colours are told apart in so many bins a channel.
_SELDOM, _RATHER, _BINS = 0.35, 4.0, 16
# Noise is evened out over squares of twice as many pixels and one more.
_CALM = 3
_BLACK = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture the plate is made from: rgb (H, W, 3) uint8, and where the person is, (H, W) bool."""

    rgb: Array
    person: Array


def person_area(alpha: Array, pose: Pose) -> Array:
    """Where the person is with a margin, (H, W) bool: what of them a matte misses must not stay behind."""
    unit = torso_length(pose)
    loose = np.zeros(alpha.shape, np.uint8)
    for joint in (sk.NOSE, sk.LEFT_WRIST, sk.RIGHT_WRIST, sk.LEFT_BIG_TOE, sk.RIGHT_BIG_TOE, sk.LEFT_HEEL, sk.RIGHT_HEEL):  # fmt: skip
        if pose.score[joint] >= 0.3:
            cv2.circle(loose, _pixel(pose.xy[joint]), max(2, round(0.4 * unit)), 1, -1)
    # Hair, fingers, shoes and what is held stick out of a matte furthest.
    wider = grown(alpha > 0.05, 0.05 * unit + 1) & (loose > 0)
    return grown(alpha > 0.05, 0.025 * unit + 1) | wider | _hands(alpha.shape, pose, unit)


def _hands(size: Size, pose: Pose, unit: float) -> Array:
    """Where the hands must be, going on from the forearms, (H, W) bool: mattes miss them most."""
    out = np.zeros(size, np.uint8)
    for elbow, wrist in ((sk.LEFT_ELBOW, sk.LEFT_WRIST), (sk.RIGHT_ELBOW, sk.RIGHT_WRIST)):
        forearm = pose.xy[wrist] - pose.xy[elbow]
        length = float(np.linalg.norm(forearm))
        if min(pose.score[[elbow, wrist]]) >= 0.3 and length > 0:
            # A forearm that points at the camera has its hand in front of it.
            tip = pose.xy[wrist] + forearm * min(0.35 * unit / length, 0.8)
            ends = (_pixel(pose.xy[wrist]), _pixel(tip))
            cv2.line(out, ends[0], ends[1], 1, max(2, round(0.25 * unit)))
    return out > 0


def _pixel(point: Array) -> tuple[int, int]:
    x, y = np.clip(np.round(point), -8000, 8000)
    return int(x), int(y)


def from_photo(rgb: Array, person: Array, pose: Pose, left: Array | None = None) -> Array:
    """The plate of one picture, (H, W, 3) uint8: the person replaced by their surroundings, their shadow lit.

    left: (H, W) float32 in (0, 1], how much of the floor's light their shadow leaves, where that is known.
    """
    unit = torso_length(pose)
    shadow = cast_shadow(rgb, person, pose)
    if left is None:
        left = np.ones(shadow.shape, np.float32)
    else:
        # Clothes and hair cast wider shadows than bodies.
        core = left < 1 - 0.5 * (1 - left.min())
        shadow |= (grown(core, 0.1 * unit) | (left < _UNLIT)) & ~person
    calm = without_noise(rgb)
    filled = inpaint(calm, person | shadow)
    return lit(calm, filled, shadow, person, unit, left)


def lit(rgb: Array, filled: Array, shadow: Array, person: Array, unit: float, left: Array) -> Array:
    """The filled picture (H, W, 3) uint8 with the floor's own pattern where the shadow let it be seen.

    rgb: the picture with person and shadow, (H, W) bool.  unit: the torso's length in pixels.  left: see
    `from_photo`. The floor in the shadow is divided by how much darker it is than what was filled in, which a
    median of what `left` does not say tells from the pattern of both by being wider than its lines.
    """
    if not shadow.any():
        return filled
    side = 2 * max(1, round(0.06 * unit)) + 1
    ys, xs = np.nonzero(shadow)
    part = (
        slice(max(0, ys.min() - side), ys.max() + side),
        slice(max(0, xs.min() - side), xs.max() + side),
    )
    dark, body = shadow[part], person[part]
    seen, wanted = (picture[part].astype(np.float32) + _GLOW for picture in (rgb, filled))
    known = np.log(np.maximum(left[part], 0.1)).astype(np.float32)[..., None]
    ratio = np.clip(np.log(seen / wanted) - known, -_DARKEST, _DARKEST)
    # The person's place is neither lit nor dark: it takes over what is beside it.
    ratio = membrane(ratio, body)
    steps = np.clip(np.round((ratio / _DARKEST + 1) * 127.5), 0, 255).astype(np.uint8)
    smooth = cv2.GaussianBlur(cv2.medianBlur(steps, side), (0, 0), side / 8).astype(np.float32)
    loss = np.minimum((smooth / 127.5 - 1) * _DARKEST + known, 0)
    bright = seen * np.exp(-loss)
    # Nothing can be seen in what is nearly black; and no seam where the shadow ends.
    share = np.clip(4 * (1 + loss.min(-1) / _DARKEST), 0, 1)
    share *= cv2.GaussianBlur(dark.astype(np.float32), (0, 0), side / 8)
    mixed = wanted + (bright - wanted) * share[..., None] - _GLOW
    out = filled.copy()
    out[part][dark] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)[dark]
    return out


def without_noise(rgb: Array) -> Array:
    """The picture (H, W, 3) uint8 with its sensor noise evened out where nothing but noise is.

    Noise that stands still for a whole video looks like dirt on the lens, and what is filled in has none.
    A guided filter of the picture by itself (He, Sun, Tang, 2010) for the noise that the picture has.
    """
    noise = noise_level(rgb)
    side = (2 * _CALM + 1, 2 * _CALM + 1)
    picture = rgb.astype(np.float32)
    mean = cv2.blur(picture, side)
    detail = np.maximum(cv2.blur(picture * picture, side) - mean * mean - noise**2, 0)
    share = detail / (detail + (2 * noise) ** 2 + 1e-6)
    smooth = cv2.blur(share, side) * picture + cv2.blur((1 - share) * mean, side)
    return np.asarray(np.clip(np.round(smooth), 0, 255).astype(np.uint8))


def noise_level(rgb: Array) -> Array:
    """The noise's standard deviation of each channel, (3,) in grey values, from the picture's calmer parts.

    Immerkaer, Fast noise variance estimation, 1996: what is left when planes and edges are taken away.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    rest = np.abs(cv2.filter2D(rgb.astype(np.float32), -1, kernel))
    size = (max(1, rest.shape[1] // 16), max(1, rest.shape[0] // 16))
    blocks = cv2.resize(rest, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.quantile(blocks.reshape(-1, 3), 0.3, axis=0) * np.sqrt(np.pi / 2))


def cast_shadow(rgb: Array, person: Array, pose: Pose, *, reach: float = 0.1) -> Array:
    """Where the person's shadow lies on the floor about their feet, (H, W) bool.

    A shadow is darker than the floor is elsewhere in the same rows, of nearly the same hue, soft, and
    hangs together with something within `reach` torso lengths of the feet.
    """
    none = np.zeros(person.shape, bool)
    floor = _floor(pose, person.shape)
    if floor is None:
        return none
    unit = torso_length(pose)
    points = pose.xy[_feet(pose)]
    width = person.shape[1]
    top, bottom = floor[0].start, floor[0].stop
    left, right = floor[1].start, floor[1].stop
    band = cv2.GaussianBlur(rgb[top:bottom], (0, 0), max(1.0, 0.02 * unit)).astype(np.float32)
    lab = cv2.cvtColor(band / 255, cv2.COLOR_RGB2LAB)
    free = ~person[top:bottom]
    expected = usual_in_rows(lab, free, max(0.5, 0.03 * unit))
    darker = (lab[..., 0] + 3) / (expected[..., 0] + 3)
    hue = np.linalg.norm(lab[..., 1:] - expected[..., 1:], axis=-1)
    smooth = cv2.GaussianBlur(darker, (0, 0), max(1.0, 0.03 * unit))
    dark = (smooth < 0.86) & (darker < 0.95) & (hue < 14)
    dark[:, :left], dark[:, right:] = False, False
    dark &= free & ~grown(hue >= 14, 0.06 * unit)
    count, labels = cv2.connectedComponents((dark | ~free).astype(np.uint8))
    # A component counts where the person's feet stand in it.
    standing = np.zeros(count, bool)
    for x, y in np.round(points).astype(int):
        around = round(reach * unit)
        y0, y1 = np.clip([y - top - around, y - top + around + 1], 0, bottom - top)
        x0, x1 = np.clip([x - around, x + around + 1], 0, width)
        standing[np.unique(labels[y0:y1, x0:x1])] = True
    # What goes on beyond a shadow's reach is a dark part of the floor, a kerb or a wall.
    standing[np.unique(labels[:, [left, right - 1]])] = False
    standing[0] = False
    found = standing[labels] & dark
    # More than a shadow can be is something else: a dark floor, a carpet.
    if found.mean() > 0.35:
        return none
    out = none.copy()
    out[top:bottom] = grown(found, 0.07 * unit) & free
    return out


def _feet(pose: Pose) -> list[int]:
    return [j for j in range(sk.LEFT_ANKLE, sk.RIGHT_HEEL + 1) if pose.score[j] >= 0.3]


def _floor(pose: Pose, size: Size) -> tuple[slice, slice] | None:
    """The rows and columns a person's shadow on the floor can reach; None where no foot is seen."""
    feet = _feet(pose)
    if not feet:
        return None
    unit = torso_length(pose)
    (left, top), (right, bottom) = pose.xy[feet].min(0), pose.xy[feet].max(0)
    height, width = size
    first = int(np.clip(top - 0.45 * unit, 0, height - 1))
    start = int(np.clip(left - 2.2 * unit, 0, width - 1))
    return (
        slice(first, int(np.clip(bottom + 0.35 * unit, first + 1, height))),
        slice(start, int(np.clip(right + 2.2 * unit, start + 1, width))),
    )


def from_video(samples: Sequence[Sample], pose: Pose) -> tuple[Array, Background | None]:
    """The plate in the camera of the first sample, (H, W, 3) uint8; pose: that of the first sample.

    From a camera that stands still also the background that was really seen, else None.

    Samples that cannot be laid over the first one (another scene, a flash, a fade) are left out. Where
    the camera moves, the first sample's own pixels stay, and only the person's place is filled.
    """
    first = samples[0]
    bars = letter_box(first.rgb)
    grey = _small_grey(first.rgb)
    warps: list[Array | None] = []
    before = np.eye(2, 3)
    for sample in samples[1:]:
        warp = _alignment(grey, first.person | bars, sample, before)
        before = before if warp is None else warp
        warps.append(warp)
    moving = any(w is not None and not np.array_equal(w, np.eye(2, 3)) for w in warps)
    laid = [Sample(first.rgb, first.person | bars)]
    for sample, warp in zip(samples[1:], warps, strict=True):
        if warp is not None:
            laid.append(_laid(sample, warp, bars))
    misfits = [_misfit(laid[0], placed) for placed in laid]
    # A sample that fits clearly worse than most is a flash, a fade or badly aligned.
    limit = min(14.0, 1.6 * float(np.median(misfits[1:] or [0.0])) + 1.5)
    laid = [placed for placed, misfit in zip(laid, misfits, strict=True) if misfit <= limit]
    log.debug("plate: %d of %d samples fit, the camera moves: %s", len(laid), len(samples), moving)
    quantile = np.full(first.person.shape, 0.5, np.float32)
    floor = _floor(pose, first.person.shape)
    if floor is not None:
        # A shadow that comes and goes only ever darkens.
        quantile[floor] = 0.7
    plate, seen = robust_median(laid, quantile)
    seen &= ~left_behind(plate, laid)
    if moving:
        keep = cv2.GaussianBlur((~laid[0].person).astype(np.float32), (0, 0), 2.0)
        keep = np.where(laid[0].person, 0, np.clip(2 * keep - 1, 0, 1))[..., None]
        plate = np.round(keep * first.rgb + (1 - keep) * plate).astype(np.uint8)
        seen |= ~laid[0].person
    plate[bars] = first.rgb[bars]
    hole = ~seen & ~bars
    # Somebody who dances on the spot has their shadow on the same floor in most pictures.
    shadow = cast_shadow(plate, hole, pose, reach=0.35) & ~bars
    filled = inpaint(plate, hole | shadow, sources=seen & ~bars)
    return filled, None if moving else Background(plate, seen & ~shadow)


def letter_box(rgb: Array) -> Array:
    """The black bars at the picture's sides, (H, W) bool."""
    bright = rgb.max(-1) > _BLACK
    bars = np.zeros(bright.shape, bool)
    for lines, cut in ((bright.mean(1) > 0.02, 0), (bright.mean(0) > 0.02, 1)):
        lit = np.flatnonzero(lines)
        if len(lit) and (lit[0] > 2 or lit[-1] < len(lines) - 3):
            outside = np.ones(len(lines), bool)
            # One line more: compression smears the bar's edge.
            outside[lit[0] + 2 : lit[-1] - 1] = False
            bars |= outside[:, None] if cut == 0 else outside[None, :]
    return bars


def _small_grey(rgb: Array) -> Array:
    scale = min(1.0, _ECC_SIDE / max(rgb.shape[:2]))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))


def _alignment(grey: Array, covered: Array, sample: Sample, start: Array) -> Array | None:
    """The (2, 3) map from the first sample's pixels to this one's; None where there is none.

    The exact identity where the camera stood still, so that nothing is resampled without need.
    """
    other = _small_grey(sample.rgb)
    size = (grey.shape[1], grey.shape[0])
    free = (~(sample.person | covered)).astype(np.uint8)
    both = np.asarray(cv2.resize(free, size, interpolation=cv2.INTER_NEAREST))
    if both.mean() < 0.1:
        return None
    scale = grey.shape[1] / sample.rgb.shape[1]
    warp = start.astype(np.float32).copy()
    warp[:, 2] *= scale
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        likeness, found = cv2.findTransformECC(
            grey, other, warp, cv2.MOTION_AFFINE, criteria, both * 255, 5
        )
    except cv2.error:
        # It found no step that makes the two pictures liker: they show different places, or nothing.
        return _identity_if_alike(grey, other, both)
    if likeness < 0.6:
        return _identity_if_alike(grey, other, both)
    full = np.array(found, np.float64)
    full[:, 2] /= scale
    height, width = sample.person.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    moved = np.abs(corners @ full.T - corners[:, :2]).max()
    # Without a clear gain the camera stood still, and what seemed to move was a shadow or the noise.
    still = _alike(grey, other, both, np.eye(2, 3))
    if moved < 0.01 * max(height, width) and still <= 0.1 + 1.1 * _alike(grey, other, both, found):
        return np.eye(2, 3)
    return full if moved < 0.4 * max(height, width) else None


def _alike(grey: Array, other: Array, both: Array, warp: Array) -> float:
    """The mean difference of the two small pictures where both show the place, in grey values."""
    size = (grey.shape[1], grey.shape[0])
    moved = cv2.warpAffine(
        other, warp.astype(np.float32), size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return float(np.abs(grey.astype(np.float32) - moved)[both > 0].mean())


def _identity_if_alike(grey: Array, other: Array, both: Array) -> Array | None:
    """The identity for two pictures of a featureless place (a white wall), which nothing can align."""
    return np.eye(2, 3) if _alike(grey, other, both, np.eye(2, 3)) < 3 else None


def _laid(sample: Sample, warp: Array, bars: Array) -> Sample:
    """The sample in the first one's camera; what it does not show counts as covered."""
    if np.array_equal(warp, np.eye(2, 3)):
        return Sample(sample.rgb, sample.person | bars)
    size: Size = sample.person.shape
    shape = (size[1], size[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    rgb = cv2.warpAffine(sample.rgb, warp, shape, flags=flags)
    # The sample's own bars move into the picture with it.
    hidden = (sample.person | letter_box(sample.rgb)).astype(np.float32)
    covered = cv2.warpAffine(hidden, warp, shape, flags=flags, borderValue=1) > 0.01
    return Sample(rgb, covered | bars)


def _misfit(first: Sample, other: Sample) -> float:
    """How far two laid samples differ where both show the place, in grey values; inf where none does."""
    both = ~first.person & ~other.person
    if both.mean() < 0.05:
        return float("inf")
    step = max(1, round(np.sqrt(both.sum() / 20000)))
    part = (slice(None, None, step), slice(None, None, step))
    a, b = (s.rgb[part][both[part]].astype(np.float32) for s in (first, other))
    return float(np.mean(np.abs(a - b))) if len(a) else float("inf")


def left_behind(plate: Array, samples: Sequence[Sample]) -> Array:
    """Where the plate shows what is likely the person: seldom seen, and of their colours rather than the place's, (H, W) bool.

    An arm raised at the same spot again and again, that the mattes have missed, would stay in the plate.
    """
    free = np.mean([~sample.person for sample in samples], axis=0)
    seldom = free < _SELDOM
    if not seldom.any() or not (~seldom).any():
        return np.zeros(free.shape, bool)
    step = max(1, len(samples) // 6)
    person = sum(
        (_colours(s.rgb, ~grown(~s.person, 3)) for s in samples[::step]), np.zeros((_BINS,) * 3)
    )
    place = _colours(plate, ~seldom)
    likely = person / max(person.sum(), 1) > _RATHER * place / max(place.sum(), 1) + 1e-4
    bins = plate // (256 // _BINS)
    found = seldom & likely[bins[..., 0], bins[..., 1], bins[..., 2]]
    # Single pixels of that colour are noise; whole patches go with their rims.
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(grown(opened > 0, 4) & seldom)


def _colours(rgb: Array, where: Array) -> Array:
    """How often each colour stands there, (_BINS, _BINS, _BINS), smoothed by a bin."""
    counts = np.zeros((_BINS,) * 3)
    bins = rgb[where] // (256 // _BINS)
    np.add.at(counts, (bins[:, 0], bins[:, 1], bins[:, 2]), 1)
    return np.asarray(gaussian_filter(counts, 0.7))


def robust_median(samples: Sequence[Sample], quantile: Array) -> tuple[Array, Array]:
    """The usual colour of each pixel where the person is not, (H, W, 3) uint8, and where it is known.

    quantile: (H, W), which of the values in their order, 0.5 for the median. The mean of the values near
    it is taken: as robust, with less noise.
    """
    height, width = samples[0].person.shape
    out = np.zeros((height, width, 3), np.uint8)
    seen = np.zeros((height, width), bool)
    enough = max(1, round(0.12 * len(samples)))
    rows = max(1, 2_000_000 // (width * len(samples)))
    for top in range(0, height, rows):
        part = slice(top, top + rows)
        covered = np.stack([s.person[part] for s in samples], -1)
        values = np.stack([s.rgb[part] for s in samples], -1).astype(np.int16)
        values[np.broadcast_to(covered[:, :, None], values.shape)] = 999
        values.sort(axis=-1)
        count = (~covered).sum(-1)
        middle = np.clip(np.round((count - 1) * quantile[part]), 0, None).astype(int)
        middle = middle[:, :, None, None]
        median = np.take_along_axis(values, np.broadcast_to(middle, (*values.shape[:3], 1)), -1)
        near = np.abs(values - median) <= 10
        mean = (values * near).sum(-1) / np.maximum(near.sum(-1), 1)
        out[part] = np.clip(np.round(mean), 0, 255)
        # What is seen only now and then beside the person is likely a rim of theirs that a mask missed.
        seen[part] = count >= enough
    return out, seen
