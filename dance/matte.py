"""The matte of one person in one picture: what is theirs, pixel by pixel, hair and fingers included.

Three sources are brought together: the networks' person masks (right about what is a person, coarse
about where it ends), the skeleton (right about which person, and where limbs are), and the picture's
own colours (exact about edges). Alpha is (H, W) float32 in [0, 1] throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from dance import skeleton as sk
from dance.geometry import even
from dance.types import Array, Frame, Pose

Segment = Callable[[Array], Array]
"""A person segmentation network: (S, S, 3) uint8 RGB to (S, S) float32 in [0, 1]."""

SEGMENT_SIDE = 256

_SEEN = 0.3
# Radii of sure and of possible person around each bone, in torso lengths.
_BONES: tuple[tuple[int, int, float, float], ...] = (
    (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, 0.05, 0.30), (sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, 0.05, 0.30),
    (sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.04, 0.26), (sk.RIGHT_ELBOW, sk.RIGHT_WRIST, 0.04, 0.26),
    (sk.LEFT_HIP, sk.LEFT_KNEE, 0.07, 0.42), (sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.07, 0.42),
    (sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.05, 0.32), (sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.05, 0.32),
    (sk.LEFT_ANKLE, sk.LEFT_BIG_TOE, 0.03, 0.20), (sk.RIGHT_ANKLE, sk.RIGHT_BIG_TOE, 0.03, 0.20),
    (sk.LEFT_HEEL, sk.LEFT_BIG_TOE, 0.02, 0.20), (sk.RIGHT_HEEL, sk.RIGHT_BIG_TOE, 0.02, 0.20),
    (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.06, 0.40), (sk.LEFT_HIP, sk.RIGHT_HIP, 0.08, 0.45),
    (sk.LEFT_SHOULDER, sk.LEFT_HIP, 0.06, 0.40), (sk.RIGHT_SHOULDER, sk.RIGHT_HIP, 0.06, 0.40),
    (sk.LEFT_EAR, sk.RIGHT_EAR, 0.10, 0.60), (sk.NOSE, sk.NOSE, 0.08, 0.55),
)  # fmt: skip
_TORSO = (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.RIGHT_HIP, sk.LEFT_HIP)


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of the picture the work is done in: pixels [top:bottom, left:right] of it."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, picture: Array) -> Array:
        return picture[self.top : self.bottom, self.left : self.right]


def matte(frame: Frame, pose: Pose, *, segment: Segment) -> Array:
    """How much of each pixel belongs to the person of the pose, (H, W) float32 in [0, 1].

    A frame that is already a cut-out (its alpha has clear transparent parts) gives its own alpha.
    `pose.mask`, where given, says best which person is meant; without it the network and the skeleton
    do. A pose of zero scores gives an empty matte.
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
    logit = _belief(frame.rgb, pose, unit, segment)
    alpha = _refined(window.cut(frame.rgb), window.cut(logit), unit)
    sure, _ = _skeleton_masks(frame.size, pose, unit)
    alpha = _connected(alpha, window.cut(sure), unit)
    empty[window.top : window.bottom, window.left : window.right] = alpha
    return empty


def coarse(frame: Frame, pose: Pose, *, segment: Segment) -> Array:
    """The matte before it is refined to the picture's edges: (H, W) float32, quicker, as sharp as the networks."""
    if not pose.found:
        return np.zeros(frame.size, np.float32)
    return _sigmoid(_belief(frame.rgb, pose, torso_length(pose), segment))


def is_cutout(alpha: Array) -> bool:
    """Whether a picture's own alpha cuts something out: some of it clear, some of it opaque."""
    return bool((alpha < 0.05).mean() > 0.02 and (alpha > 0.95).mean() > 0.005)


def torso_length(pose: Pose) -> float:
    """The person's size in pixels, as a torso length: from whichever bones are seen, the longest wins.

    2-D bones are lower bounds of what they measure, so the largest of several estimates is taken.
    """
    # Usual lengths in torso lengths (mid-shoulder to mid-hip).
    usual = (
        (sk.LEFT_SHOULDER, sk.LEFT_HIP, 1.0), (sk.RIGHT_SHOULDER, sk.RIGHT_HIP, 1.0),
        (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.75), (sk.LEFT_HIP, sk.LEFT_KNEE, 0.85),
        (sk.RIGHT_HIP, sk.RIGHT_KNEE, 0.85), (sk.LEFT_KNEE, sk.LEFT_ANKLE, 0.8),
        (sk.RIGHT_KNEE, sk.RIGHT_ANKLE, 0.8), (sk.LEFT_EAR, sk.RIGHT_EAR, 0.32),
    )  # fmt: skip
    lengths = [
        float(np.linalg.norm(pose.xy[a] - pose.xy[b])) / share
        for a, b, share in usual
        if min(pose.score[a], pose.score[b]) >= _SEEN
    ]
    if not lengths:
        seen = pose.xy[pose.score > 0]
        lengths = [float(np.ptp(seen, axis=0).max()) / 3]
    return max(4.0, max(lengths))


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


def _skeleton_masks(size: tuple[int, int], pose: Pose, unit: float) -> tuple[Array, Array]:
    """Where the skeleton says the person surely is, and where they may be: two (H, W) bool."""
    sure, maybe = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for a, b, inner, outer in _BONES:
        score = float(min(pose.score[a], pose.score[b]))
        if score <= 0:
            continue
        ends = [tuple(int(v) for v in np.clip(np.round(pose.xy[j]), -8000, 8000)) for j in (a, b)]
        if score >= 0.5:
            cv2.line(sure, ends[0], ends[1], 1, max(1, round(2 * inner * unit)))
        cv2.line(maybe, ends[0], ends[1], 1, max(3, round(2 * outer * unit)))
    for side in ("left", "right"):
        elbow, wrist = sk.INDEX[f"{side}_elbow"], sk.INDEX[f"{side}_wrist"]
        if pose.score[wrist] > 0:
            # A hand reaches on beyond the wrist in the forearm's direction.
            forearm = pose.xy[wrist] - pose.xy[elbow] if pose.score[elbow] > 0 else np.zeros(2)
            hand = pose.xy[wrist] + forearm * min(
                1.0, 0.2 * unit / max(1.0, float(np.linalg.norm(forearm)))
            )
            centre = tuple(int(v) for v in np.clip(np.round(hand), -8000, 8000))
            cv2.circle(maybe, centre, max(2, round(0.36 * unit)), 1, -1)
    if all(pose.score[j] >= 0.5 for j in _TORSO):
        corners = pose.xy[list(_TORSO)]
        corners = corners.mean(0) + 0.85 * (corners - corners.mean(0))
        cv2.fillConvexPoly(sure, np.clip(np.round(corners), -8000, 8000).astype(np.int32), 1)
        cv2.fillConvexPoly(maybe, np.clip(np.round(corners), -8000, 8000).astype(np.int32), 1)
    return sure.astype(bool), maybe.astype(bool)


def _logit(p: Array, limit: float) -> Array:
    edge = 1 / (1 + np.exp(limit))
    clipped = np.clip(p, edge, 1 - edge)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float32)


def _belief(rgb: Array, pose: Pose, unit: float, segment: Segment) -> Array:
    """The log odds of being this person from networks and skeleton, (H, W) float32, at mask sharpness."""
    height, width = rgb.shape[:2]
    sure, maybe = _skeleton_masks((height, width), pose, unit)
    boxes = _tiles(pose, unit)
    masked = pose.mask is not None
    total = np.zeros((height, width), np.float32)
    # The network sees whole people too coarsely to count for much beside the estimator's own mask,
    # but heads, hair and hands in the upper tile better than it; legs alone mislead it.
    weights = (0.25, 0.8, 0.15) if masked else (0.7, 0.8, 0.6)
    for box, weight in zip(boxes, weights, strict=True):
        _add_tile(total, rgb, box, segment, weight)
    if pose.mask is not None:
        total += _logit(pose.mask, 4.0)
        near = cv2.dilate((pose.mask > 0.3).astype(np.uint8), disc(0.16 * unit)) > 0
        # Others in the picture are people too: only the estimator's mask says whose they are.
        total[~(near | (maybe & _near_extremity(pose, unit, (height, width))))] -= 4.0
    total[~maybe] -= 1.5 if masked else 5.0
    # The skeleton is only as good as its joints: where the mask denies a bone it is left open.
    agreed = sure if pose.mask is None else sure & (pose.mask > 0.15)
    total[agreed] = np.maximum(total[agreed], 3.0)
    return total


def _near_extremity(pose: Pose, unit: float, size: tuple[int, int]) -> Array:
    """Around head, hands and feet, where the estimator's mask is too coarse for what sticks out."""
    out = np.zeros(size, np.uint8)
    for joint, radius in (
        (sk.LEFT_WRIST, 0.45), (sk.RIGHT_WRIST, 0.45), (sk.LEFT_BIG_TOE, 0.2),
        (sk.RIGHT_BIG_TOE, 0.2), (sk.LEFT_HEEL, 0.15), (sk.RIGHT_HEEL, 0.15), (sk.NOSE, 0.7),
    ):  # fmt: skip
        if pose.score[joint] >= _SEEN:
            centre = tuple(int(v) for v in np.clip(np.round(pose.xy[joint]), -8000, 8000))
            cv2.circle(out, centre, max(2, round(radius * unit)), 1, -1)
    return out.astype(bool)


def _tiles(pose: Pose, unit: float) -> list[tuple[float, float, float]]:
    """Squares (centre x, centre y, side) the network looks at: everything, upper body, legs."""
    upper = [*range(0, 13)]
    lower = [*range(11, 23)]
    boxes = []
    for joints, margin in ((range(23), 0.5), (upper, 0.5), (lower, 0.3)):
        chosen = [j for j in joints if pose.score[j] > 0.1] or list(np.nonzero(pose.score > 0)[0])
        points = pose.xy[chosen]
        low, high = points.min(0) - margin * unit, points.max(0) + margin * unit
        centre = (low + high) / 2
        boxes.append((float(centre[0]), float(centre[1]), float((high - low).max())))
    return boxes


def _add_tile(
    total: Array, rgb: Array, tile: tuple[float, float, float], segment: Segment, weight: float
) -> None:
    """Adds the network's log odds over one square, fading out towards its sides."""
    x, y, side = tile
    scale = SEGMENT_SIDE / side
    shift = (SEGMENT_SIDE - 1) / 2
    forward = np.array([[scale, 0, shift - scale * x], [0, scale, shift - scale * y]])
    source = rgb
    if scale < 0.5:
        # Linear sampling alone would alias; an ideal blur for the reduction comes first.
        source = cv2.GaussianBlur(rgb, (0, 0), 0.4 / scale)
    crop = cv2.warpAffine(
        source, forward, (SEGMENT_SIDE, SEGMENT_SIDE), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    odds = _logit(segment(crop), 3.5)
    ramp = np.minimum(np.arange(SEGMENT_SIDE), np.arange(SEGMENT_SIDE)[::-1]) / 24.0
    fade = np.clip(np.minimum(ramp[:, None], ramp[None, :]), 0, 1).astype(np.float32)
    height, width = total.shape
    total += weight * cv2.warpAffine(
        odds * fade, forward, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip


def disc(radius: float) -> Array:
    """A round structuring element of about that radius in pixels."""
    n = max(1, round(radius))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * n + 1, 2 * n + 1)))


def _refined(rgb: Array, logit: Array, unit: float) -> Array:
    """Alpha with the picture's own edges, from log odds at mask sharpness."""
    height, width = rgb.shape[:2]
    scale = min(1.0, 90.0 / unit)
    small_size = (even(round(width * scale)), even(round(height * scale)))
    small = cv2.resize(rgb, small_size, interpolation=cv2.INTER_AREA)
    odds = cv2.resize(logit, small_size, interpolation=cv2.INTER_AREA)
    small_unit = unit * scale
    guide = small.astype(np.float32) / 255
    alpha = _sigmoid(odds)
    for _ in range(2):
        # Colours decide where the networks doubt; where they do not, colours have little to say.
        colour = _colour_odds(small, alpha, small_unit)
        p = _sigmoid(odds + colour)
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
    doubt = np.clip((width / usual - 1.3) / 1.2, 0, 1)
    doubt = cv2.blur(doubt.astype(np.float32), (3, 3))
    return np.asarray(doubt * clean + (1 - doubt) * sharp, np.float32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _certainty(p: Array) -> Array:
    return (2 * p - 1) ** 2 + np.float32(0.02)


def _colour_odds(rgb: Array, alpha: Array, unit: float, colours: int = 40) -> Array:
    """Log odds of person against background from the colours that are near by, in [-3, 3].

    The picture's colours are put into a palette; how often each is seen on the sure person and on the
    sure background around a pixel is a blur of indicator pictures.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    pixels = lab.reshape(-1, 3)
    picks = pixels[:: max(1, len(pixels) // 6000)]
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 8, 0.5)
    _, _, centres = cv2.kmeans(
        np.ascontiguousarray(picks), min(colours, len(picks)), None, criteria, 1, cv2.KMEANS_PP_CENTERS
    )  # fmt: skip
    distance = ((pixels**2).sum(1)[:, None] - 2 * pixels @ centres.T) + (centres**2).sum(1)
    label = distance.argmin(1).reshape(alpha.shape)
    inside = np.clip(alpha * 5 - 4, 0, 1)
    outside = np.clip(1 - alpha * 5, 0, 1)
    kinship = np.exp(-((centres[:, None] - centres[None]) ** 2).sum(-1) / (2 * 6.0**2))
    kinship = (kinship / kinship.sum(1, keepdims=True)).astype(np.float32)
    odds = np.zeros((), np.float32)
    counts = []
    for weight in (inside, outside):
        layers = np.stack([np.where(label == k, weight, 0) for k in range(len(centres))])
        blurred = np.stack([_local(layer, unit) for layer in layers])
        smoothed = np.tensordot(kinship, blurred, 1)
        seen = np.take_along_axis(smoothed, label[None], 0)[0]
        counts.append((seen + 2e-3 * 0.02) / (_local(weight, unit) + 2e-3))
    odds = np.log(counts[0] + 2e-3) - np.log(counts[1] + 2e-3)
    return np.clip(odds, -3, 3).astype(np.float32)


def _local(layer: Array, unit: float) -> Array:
    """What is around each pixel: the near counts most, the far a little, so that no pixel is without."""
    near = cv2.blur(cv2.blur(layer, *_odd(0.3 * unit)), *_odd(0.3 * unit))
    far = cv2.blur(layer, *_odd(1.5 * unit))
    return near + np.float32(0.05) * far


def _odd(length: float) -> tuple[tuple[int, int]]:
    n = 2 * max(1, round(length / 2)) + 1
    return ((n, n),)


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
    return np.clip((mean(slope) * guide).sum(-1) + mean(offset), 0, 1)


def _connected(alpha: Array, sure: Array, unit: float) -> Array:
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


def foreground(rgb: Array, alpha: Array) -> Array:
    """The person's own colours, (H, W, 3) uint8: without the background's share in the edge pixels.

    Outside the matte the person's edge colours are continued, so that a cut-out may be warped and
    resampled without a halo. Two passes of Forte's blur fusion (Approximate fast foreground colour
    estimation, 2021), the second over a small window.
    """
    picture = rgb.astype(np.float32)
    a = np.asarray(alpha, np.float32)[..., None]
    fore = back = picture
    for radius in (45, 4):
        kernel = (2 * radius + 1, 2 * radius + 1)
        inside = cv2.blur(a, kernel)[..., None]
        fore_mean = cv2.blur(fore * a, kernel) / (inside + 1e-4)
        back_mean = cv2.blur(back * (1 - a), kernel) / (1 - inside + 1e-4)
        fore = fore_mean + a * (picture - a * fore_mean - (1 - a) * back_mean)
        fore, back = np.clip(fore, 0, 255), np.clip(back_mean, 0, 255)
    return np.where(a > 0.999, rgb, np.round(fore).astype(np.uint8)).astype(np.uint8)
