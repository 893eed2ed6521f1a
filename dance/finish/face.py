"""Face refinement without training: the source's own face, laid exactly over the drawn one.

Landmarks say about where the drawn face is, image registration says exactly where (inverse compositional alignment, Baker
and Matthews 2004), and only what is finer than the light on the face is exchanged, so that colours and shading stay the
drawn ones and no seam can be seen. Whatever cannot be registered is left alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from pydantic import Field

from dance import skeleton
from dance.config import Options
from dance.geometry import invert, transform
from dance.types import Array, Layer, Person, Pose, View

# Eyes, nose, mouth: every pose has them; ears lie on the outline, where nothing can be registered.
_EYES = (skeleton.LEFT_EYE, skeleton.RIGHT_EYE)
_MOUTH = (skeleton.INDEX["face_54"], skeleton.INDEX["face_48"])
_POINTS = [*range(skeleton.FACE_SLICE.start, skeleton.FACE_SLICE.stop), skeleton.NOSE, *_EYES]
# Half axes and the centre's place below the eyes of the part of a face that is exchanged, in units (see `_Face`).
_ACROSS, _ALONG, _BELOW = 1.05, 1.45, 0.4
_SEEN = 0.3  # joints scored lower are not trusted
_SMALLEST = 5.0  # pixels a unit must have: smaller faces hold no detail
_LOOK = 14.0  # pixels a unit has in the pictures that are registered
_BLURS = (2.5, 1.2)  # of those pictures, in their pixels, one after the other
_ROUNDS = 12  # of alignment at each blur, at most
_FADE = 4  # frames it takes to fade in or out; also how far the refinement looks ahead


class FaceOptions(Options):
    """How much of the source's face is laid over the drawn one: 0 leaves every layer exactly as it is."""

    strength: float = Field(1.0, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class _Face:
    """Where a face is: the middle between the eyes, a unit (about the distance of the eyes) in pixels, the unit vector
    from eyes to mouth, and how far the head is turned (yaw, pitch: the nose's place in units; facing: 1 frontal, 0 in profile, below 0 from behind).
    """

    eyes: Array
    unit: float
    down: Array
    turn: Array
    facing: float


@dataclass(frozen=True, slots=True)
class _Level:
    """A face to align to: grey and mask (s, s), how far it is blurred, and (4, s * s) from errors to corrections."""

    grey: Array
    sigma: float
    mask: Array
    solver: Array


@dataclass(frozen=True, slots=True)
class _Source:
    """A face of the source: its picture cut out (h, w, 3) float32, a soft mask (h, w), and the landmarks there.

    levels: the face grey and small for registration, blurred much and little; to_look: crop -> there, (2, 3).
    """

    rgb: Array
    mask: Array
    xy: Array
    score: Array
    face: _Face
    sharpness: float
    levels: tuple[_Level, ...]
    to_look: Array


@dataclass(frozen=True, slots=True)
class _Match:
    """A source face on a drawn one: crop pixels -> layer pixels as a (2, 3) map, and how sure that is, [0, 1]."""

    source: _Source
    matrix: Array
    sure: float


def refine(layers: Iterable[Layer], person: Person, options: FaceOptions) -> Iterator[Layer]:
    """The same layers with the source's face restored where it is surely the same face; `_FADE` frames late.

    Frames without a visible, registrable face are untouched, and the effect fades in and out between.
    """
    sources = [source for view in person.views if (source := _study(view)) is not None]
    if options.strength == 0 or not sources:
        yield from layers
        return
    for layer, match, sure in _eased((layer, _match(layer, sources)) for layer in layers):
        if match is None or sure <= 0:
            yield layer
        else:
            yield _exchange(layer, match, sure * options.strength)


def _eased(
    items: Iterable[tuple[Layer, _Match | None]],
) -> Iterator[tuple[Layer, _Match | None, float]]:
    """Each item with a certainty that is nowhere above its own and changes by at most 1 / (_FADE + 1) a frame within a scene."""
    waiting: deque[tuple[Layer, _Match | None]] = deque()
    before = 1.0

    def first(scene_ends: bool) -> tuple[Layer, _Match | None, float]:
        nonlocal before
        ahead = [0.0 if match is None else match.sure for _, match in waiting]
        step = 1 / (_FADE + 1)
        sure = min(before + step, *(s + step * i for i, s in enumerate(ahead)), 1.0)
        layer, match = waiting.popleft()
        before = 1.0 if scene_ends and not waiting else sure
        return layer, match, sure

    for item in items:
        if item[0].moment.cut:
            while waiting:
                yield first(True)
        waiting.append(item)
        if len(waiting) > _FADE:
            yield first(False)
    while waiting:
        yield first(True)


def _locate(pose: Pose) -> _Face | None:
    """The face in a pose; None where eyes or mouth and nose are not seen."""
    needed = [*_EYES, skeleton.NOSE]
    if pose.score[needed].min() < _SEEN:
        return None
    left, right = pose.xy[list(_EYES)].astype(np.float64)
    eyes = (left + right) / 2
    nose = pose.xy[skeleton.NOSE].astype(np.float64)
    if pose.score[list(_MOUTH)].min() >= _SEEN:
        long = pose.xy[list(_MOUTH)].mean(0) - eyes
    else:
        # Without a mouth the line of the eyes gives what is down, and the nose on which side.
        across = left - right
        long = np.array([-across[1], across[0]])
        if long @ (nose - eyes) < 0:
            long = -long
    length = float(np.hypot(*long))
    if length < 1e-3:
        return None
    down = long / length
    side = np.array([down[1], -down[0]])  # to the person's left, when seen from the front
    unit = max(float(np.hypot(*(left - right))), length)
    turn = np.array([(nose - eyes) @ side, (nose - eyes) @ down]) / unit
    return _Face(eyes, unit, down, turn, float((left - right) @ side) / unit)


def _study(view: View) -> _Source | None:
    """The face of a view; None where there is none worth using."""
    face = _locate(view.pose)
    if face is None or face.unit < _SMALLEST or face.facing < 0.4:
        return None
    height, width = view.alpha.shape
    x, y = np.round(face.eyes).astype(int)
    reach = int(np.ceil(2.1 * face.unit))
    rows, columns = slice(max(0, y - reach), min(height, y + reach)), slice(max(0, x - reach), min(width, x + reach))  # fmt: skip
    if rows.stop - rows.start < 8 or columns.stop - columns.start < 8:
        return None
    corner = np.array([columns.start, rows.start])
    rgb = view.frame.rgb[rows, columns].astype(np.float32)
    mask = _oval(rgb.shape[:2], face.eyes - corner, face)
    if mask.sum() < 1 or (mask * view.alpha[rows, columns]).sum() < 0.7 * mask.sum():
        return None
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    fine = (grey - cv2.GaussianBlur(grey, (0, 0), max(0.8, 0.1 * face.unit))) ** 2
    sharpness = float(np.sqrt((fine * mask).sum() / mask.sum()))
    face = replace(face, eyes=face.eyes - corner)
    mask = mask * view.alpha[rows, columns]
    zoom, side = _LOOK / face.unit, 4 * round(_LOOK)
    centre = face.eyes + _BELOW * face.unit * face.down
    to_look = np.column_stack([np.eye(2) * zoom, side / 2 - zoom * centre])
    look_mask = cv2.warpAffine(mask, to_look, (side, side))
    look = _looked_at(view.frame.rgb[rows, columns], to_look, side)
    levels = tuple(_level(look, look_mask, sigma) for sigma in _BLURS)
    return _Source(rgb, mask, view.pose.xy - corner, view.pose.score, face, sharpness, levels, to_look)  # fmt: skip


def _oval(size: tuple[int, int], eyes: Array, face: _Face) -> Array:
    """A soft oval over eyes, nose and mouth, (h, w) float32: 1 inside, falling to 0 over the outer third."""
    y, x = np.mgrid[: size[0], : size[1]]
    dx, dy = (x - eyes[0]) / face.unit, (y - eyes[1]) / face.unit
    along = dx * face.down[0] + dy * face.down[1] - _BELOW
    across = dx * face.down[1] - dy * face.down[0]
    radius = np.hypot(across / _ACROSS, along / _ALONG)
    share = np.clip((1 - radius) * 3, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _match(layer: Layer, sources: Sequence[_Source]) -> _Match | None:
    """The source face nearest in direction, registered to the drawn one; None where that fails."""
    pose = layer.moment.pose
    face = _locate(pose)
    if face is None or face.unit < _SMALLEST or face.facing < 0.2:
        return None
    sharpest = max(source.sharpness for source in sources)
    source = min(
        sources,
        key=lambda s: (
            float(np.hypot(*(s.face.turn - face.turn))) - 0.15 * s.sharpness / max(sharpest, 1e-6)
        ),
    )
    guess = _similarity(source, pose)
    return None if guess is None else _register(layer, source, guess)


def _similarity(source: _Source, pose: Pose) -> Array | None:
    """The (2, 3) turn, scale and shift that lays the source's landmarks best on the pose's."""
    both = np.minimum(source.score, pose.score)[_POINTS]
    if (both >= _SEEN).sum() < 3:
        return None
    return _fitted(source.xy[_POINTS], pose.xy[_POINTS], np.where(both >= _SEEN, both, 0))


def _fitted(a: Array, b: Array, weight: Array) -> Array:
    """The similarity (2, 3) from points a to b (n, 2) of least weighted squares."""
    share = (weight / weight.sum())[:, None]
    mean_a, mean_b = (a * share).sum(0), (b * share).sum(0)
    a, b = a - mean_a, b - mean_b
    norm = max(float((share * a * a).sum()), 1e-9)
    cos = float((share * a * b).sum()) / norm
    sin = float((share[:, 0] * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])).sum()) / norm
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, mean_b - turn @ mean_a])


def _register(layer: Layer, source: _Source, guess: Array) -> _Match | None:
    """Moves the guess so that the source's face lies on the drawn one, and judges by their correlation."""
    scale = float(np.hypot(guess[0, 0], guess[1, 0]))
    if not 0.1 < scale < 10:
        return None
    # Both faces upright in one small picture: the drawn one gets there by way of the guess.
    side, drawn = source.levels[0].grey.shape[0], _chained(source.to_look, invert(guess))
    found = _looked_at(layer.rgb, drawn, side)
    upright = np.eye(2, 3)
    for level in source.levels:
        upright = _aligned(level, _blurred(found, level.sigma), upright)
    # A blurred drawing of the same face is what most needs mending, so both are judged blurred.
    coarse = source.levels[0]
    alike = _correlation(coarse.grey, _pulled(_blurred(found, coarse.sigma), upright), coarse.mask)
    shift = float(np.hypot(*(transform(np.full((1, 2), side / 2), upright)[0] - side / 2))) / _LOOK
    sure = _ramp(alike, 0.9, 0.96) * _ramp(shift, 0.8, 0.4)
    return _Match(source, _chained(_chained(invert(drawn), upright), source.to_look), sure)


def _level(look: Array, mask: Array, sigma: float) -> _Level:
    """What alignment to the face needs to know of it beforehand, blurred by sigma pixels."""
    grey = _blurred(look, sigma)
    middle = look.shape[0] / 2
    y, x = np.mgrid[: look.shape[0], : look.shape[1]] - middle
    down, across = np.gradient(grey)
    # How the picture changes when it is scaled, turned, moved right, moved down.
    slopes = np.stack([across * x + down * y, down * x - across * y, across, down], -1)
    slopes = slopes.reshape(-1, 4)
    weighted = slopes * mask.reshape(-1, 1)
    # A little stiffness: a featureless face must not send the solution far away.
    normal = weighted.T @ slopes
    normal += np.diag(np.diag(normal)) * 1e-3 + np.eye(4) * 1e-6
    return _Level(grey, sigma, mask, np.linalg.solve(normal, weighted.T))


def _aligned(level: _Level, found: Array, upright: Array) -> Array:
    """The similarity (2, 3) look -> found under which the found picture equals the level's, but for its light."""
    middle = level.grey.shape[0] / 2
    share = level.mask / level.mask.sum()
    mean = float((level.grey * share).sum())
    spread = np.sqrt(float((share * (level.grey - mean) ** 2).sum()))
    for _ in range(_ROUNDS):
        now = _pulled(found, upright)
        level_now = float((now * share).sum())
        spread_now = np.sqrt(float((share * (now - level_now) ** 2).sum()))
        if spread_now < 1:
            break
        error = (now - level_now) * (spread / spread_now) - (level.grey - mean)
        scale, turn, right, down = level.solver @ error.reshape(-1)
        change = np.array([[1 + scale, -turn], [turn, 1 + scale]])
        shift = np.array([right, down]) + middle - change @ (middle, middle)
        upright = _chained(upright, invert(np.column_stack([change, shift])))
        if np.hypot(right, down) + middle * np.hypot(scale, turn) < 0.02:
            break
    return upright


def _pulled(picture: Array, matrix: Array) -> Array:
    """The picture looked up at the (2, 3) map's places, of the same size."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (picture.shape[1], picture.shape[0])
    pulled = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(pulled)


def _blurred(picture: Array, sigma: float) -> Array:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))


def _looked_at(rgb: Array, matrix: Array, side: int) -> Array:
    """The picture (H, W, 3) uint8 under a (2, 3) map as a grey square (side, side) float32, without aliasing."""
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    square = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
    corners = transform(square, invert(matrix))
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - 2, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + 3, rgb.shape[1::-1])
    if right - left < 2 or bottom - top < 2:
        return np.zeros((side, side), np.float32)
    grey = cv2.cvtColor(rgb[top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
    if zoom < 0.7:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.4 / zoom))
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (left, top)
    return np.asarray(cv2.warpAffine(grey, moved, (side, side), borderMode=cv2.BORDER_REPLICATE))


def _correlation(a: Array, b: Array, mask: Array) -> float:
    """The correlation of two pictures (h, w) within a soft mask."""
    share = mask / max(float(mask.sum()), 1e-6)
    a, b = a - (a * share).sum(), b - (b * share).sum()
    power = float((share * a * a).sum() * (share * b * b).sum())
    return float((share * a * b).sum() / np.sqrt(max(power, 1e-9)))


def _ramp(value: float, none: float, full: float) -> float:
    """0 at `none` and beyond, 1 at `full` and beyond, straight between."""
    return float(np.clip((value - none) / (full - none), 0, 1))


def _chained(outer: Array, inner: Array) -> Array:
    """The (2, 3) map that does `inner` first, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _exchange(layer: Layer, match: _Match, share: float) -> Layer:
    """The layer with the fine structure of its face replaced by the source's."""
    source, scale = match.source, float(np.hypot(*match.matrix[:, 0]))
    size = np.array(source.mask.shape[::-1])
    corners = transform(np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64), match.matrix)  # fmt: skip
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int), layer.rgb.shape[1::-1])
    if right - left < 4 or bottom - top < 4:
        return layer
    place = match.matrix - np.array([[0, 0, left], [0, 0, top]])
    extent = (int(right - left), int(bottom - top))
    way = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_CUBIC
    wanted = cv2.warpAffine(source.rgb, place, extent, flags=way, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(source.mask, place, extent)
    drawn = layer.rgb[top:bottom, left:right].astype(np.float32)

    unit = source.face.unit * scale
    light_wanted, light_drawn = (_smooth(x, 0.35 * unit) for x in (wanted, drawn))
    lacking = _ramp(_finest(drawn, mask) / max(_finest(wanted, mask), 1e-3), 0.95, 0.75)
    if lacking <= 0:
        return layer
    levels = [
        float((cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) * mask).sum())
        for x in (light_drawn, light_wanted)
    ]
    gain = float(np.clip(levels[0] / max(levels[1], 1e-6), 0.6, 1.6))
    change = gain * (wanted - light_wanted) - (drawn - light_drawn)
    # A hand or hair before the face looks unlike it even blurred: there the drawn picture stays.
    unlike = _loudest(_smooth(change, 0.15 * unit)) / 30
    mask = mask * (share * lacking) * np.exp(-_smooth(unlike * unlike, 0.1 * unit))
    if layer.alpha is not None:
        mask = mask * layer.alpha[top:bottom, left:right]
    rgb = layer.rgb.copy()
    mended = drawn + mask[..., None] * change
    rgb[top:bottom, left:right] = np.clip(np.round(mended), 0, 255).astype(np.uint8)
    return replace(layer, rgb=rgb)


def _finest(rgb: Array, mask: Array) -> float:
    """How strong the finest structure within the soft mask is, in levels."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return float((np.abs(cv2.Laplacian(grey, cv2.CV_32F)) * mask).sum() / (mask.sum() + 1e-6))


def _loudest(change: Array) -> Array:
    """The largest change of the three channels, (h, w); numpy is slow along so short an axis."""
    red, green, blue = cv2.split(np.abs(change))
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def _smooth(picture: Array, sigma: float) -> Array:
    """A Gaussian blur, cheap at large sigma: done in a smaller picture."""
    small = max(1, int(sigma // 2))
    if small == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.5)))
    size = (max(2, picture.shape[1] // small), max(2, picture.shape[0] // small))
    coarse = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma / small)
    return np.asarray(cv2.resize(coarse, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))
