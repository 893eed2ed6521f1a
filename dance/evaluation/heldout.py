"""The frames of a dataset nobody has learnt from, what can be drawn for them, and how near it comes.

The view: everything is compared in the window that follows the person (`geometry.person_window`, placed by the
true pose, the same for all) so many pixels high: what a network with a window of that height sees.
The person region of a frame: the dataset's matte of the true frame in that view, above a half, grown by 1/64 of
the view's height, inside what the camera saw. Nothing a result has drawn makes it larger or smaller.
Where a result has a matte, it is put over the dataset's empty place; there is no finish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dance import render, video
from dance.dataset import Dataset
from dance.evaluation import images, motion
from dance.evaluation.nearest import NOBODY, fit, nearest
from dance.geometry import person_window, transform
from dance.types import Array, Generator, Moment, Person, Pose, Size, View

MEASURES = ("ssim", "psnr", "detail", "flicker", "change", "face ssim", "face psnr")
_CHUNK = 4
_READ = 16  # pictures decoded at a time
_GROWN = 1 / 64  # of the view's height, about the person
_SOFT = 1 / 128  # likewise, the blur's sigma


@dataclass(frozen=True, slots=True)
class Look:
    """A held-out frame in the view.

    pose: in the dataset's pixels.  matrix: (2, 3) from those to the view's.  rgb, place: (h, w, 3) uint8, the true
    frame and the empty place.  region, face: (h, w) bool, empty where the frame is not usable.
    joined: whether the look before it is the frame before it, of the same scene.
    """

    number: int
    pose: Pose
    matrix: Array
    rgb: Array
    place: Array
    region: Array
    face: Array
    joined: bool

    @property
    def size(self) -> Size:
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The frames from `first` on, which were not learnt from."""

    footage: Dataset
    first: int
    looks: Sequence[Look]

    @property
    def learnt(self) -> list[int]:
        """The numbers of the frames that may have been learnt from."""
        return [i for i in range(self.first) if self.footage.usable[i]]


def first_held(frames: int, share: float) -> int:
    """The first of the frames that training holds out, as `training.data.Pairs` counts; `frames` where none is."""
    return frames - round(share * frames)


def held_out(footage: Dataset, first: int, height: int) -> HeldOut:
    """The dataset's frames from `first` on in the view, `height` pixels high."""
    facts, track = footage.facts, footage.track
    window = person_window(facts.reach, facts.size, height)
    grown = _disc(round(_GROWN * height))
    looks = []
    for i, rgb, alpha in _frames(footage, range(first, facts.frames)):
        matrix = window.matrix(track.poses[i])
        truth, matte = (_seen(picture, matrix, window.size) for picture in (rgb, alpha))
        usable = _inside(matrix, facts.size, window.size) & bool(footage.usable[i])
        looks.append(
            Look(
                i, track.poses[i], matrix, truth, _emptied(truth, matte > 0.02, grown),
                (cv2.dilate((matte > 0.5).astype(np.uint8), grown) > 0) & usable,
                _box(footage.faces[i], matrix, window.size) & usable,
                i > first and i not in track.cuts,
            )
        )  # fmt: skip
    return HeldOut(footage, first, looks)


def measure(pictures: Iterable[Array], held: HeldOut) -> dict[str, float]:
    """How near pictures of the view (h, w, 3) uint8 come to the true ones; not a number where nothing tells.

    ssim, psnr: in the person region, the mean of all frames.  detail: `images.sharpness` there: 1 is right, less is
    blurred, which the first two like.  flicker: `motion.wrong_change` over the regions of a frame and the one
    before it: change that is not the truth's.  change: how much the result changes there over how much the truth does; 1 is right, more is restless.
    face ssim, face psnr: in the face's box.
    """
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    changes: list[tuple[float, float]] = []
    before: tuple[Array, Look] | None = None
    for picture, look in zip(pictures, held.looks, strict=True):
        alike = images.ssim_map(picture, look.rgb)
        for prefix, where in (("", look.region), ("face ", look.face)):
            if where.any():
                found[f"{prefix}ssim"].append(float(alike[where].mean()))
                found[f"{prefix}psnr"].append(images.psnr(picture, look.rgb, where))
        if look.region.any():
            found["detail"].append(images.sharpness(picture, look.rgb, look.region))
        if before is not None and look.joined and look.region.any() and before[1].region.any():
            last, last_look = before
            where = look.region | last_look.region
            wrong = motion.wrong_change(picture, last, look.rgb, last_look.rgb, where)
            found["flicker"].append(wrong)
            changes.append(
                (images.l1(picture, last, where), images.l1(look.rgb, last_look.rgb, where))
            )
        before = picture, look
    row = {name: float(np.mean(values)) if values else np.nan for name, values in found.items()}
    moved, should = (sum(values) for values in zip(*changes, strict=True)) if changes else (0, 0)
    return row | {"change": moved / should if should else np.nan}


def drawn(generator: Generator, person: Person, held: HeldOut) -> Iterator[Array]:
    """What the generator makes of the held-out poses, in the view: as a clip is drawn, its memory carried along."""
    moments = [
        Moment(look.pose, held.footage.track.times[look.number], not look.joined)
        for look in held.looks
    ]
    layers = render.draw(generator, generator.encode(person), moments, person.size, _CHUNK)
    for layer, look in zip(layers, held.looks, strict=True):
        if layer.alpha is None:
            yield _seen(layer.rgb, look.matrix, look.size)
        else:
            yield _over(look, layer.rgb, layer.alpha, look.matrix)


def still(view: View, held: HeldOut) -> Iterator[Array]:
    """One look at the person, moved and scaled to every pose (`nearest.fit`), never bent."""
    for look in held.looks:
        yield _over(
            look, view.frame.rgb, view.alpha, _after(look.matrix, fit(view.pose, look.pose))
        )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest frame that may have been learnt from, for every held-out one, in the view.

    moved: its person, moved and scaled to where they are wanted (`nearest.fit`), over the empty place.
    blurred: that made soft on purpose: what softness alone is worth in a measure.  whole: its whole picture,
    moved likewise.  unmoved: its whole picture as it is.  apart: (T,) how far the poses are, in torso lengths.
    """

    moved: Sequence[Array]
    blurred: Sequence[Array]
    whole: Sequence[Array]
    unmoved: Sequence[Array]
    apart: Array


def neighbours(held: HeldOut) -> Neighbours:
    """See `Neighbours`. Where no pose can be compared they show the empty place."""
    footage, learnt = held.footage, held.learnt
    poses = footage.track.poses
    found, apart = nearest([look.pose for look in held.looks], [poses[i] for i in learnt])
    users: dict[int, list[int]] = {}
    for t, n in enumerate(found):
        if n != NOBODY:
            users.setdefault(learnt[n], []).append(t)
    out = [[look.place for look in held.looks] for _ in range(3)]
    for i, rgb, alpha in _frames(footage, sorted(users)):
        for t in users[i]:
            look = held.looks[t]
            moving = _after(look.matrix, fit(poses[i], look.pose))
            out[0][t] = _over(look, rgb, alpha, moving)
            out[1][t] = _seen(rgb, moving, look.size)
            out[2][t] = _seen(rgb, look.matrix, look.size)
    sigma = _SOFT * held.looks[0].size[0]
    blurred = [np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma)) for picture in out[0]]
    return Neighbours(out[0], blurred, out[1], out[2], apart)


def without_held(person: Person, first: int) -> Person | None:
    """The person as they were known before frame `first`; None where every look at them is later."""
    views = [view for view in person.views if view.frame.index < first]
    return Person(views, person.plate, person.track) if views else None


def _frames(footage: Dataset, numbers: Sequence[int]) -> Iterator[tuple[int, Array, Array]]:
    """These frames of the dataset, a few at a time: number, (H, W, 3) uint8, and matte (H, W) float32 in [0, 1]."""
    for start in range(0, len(numbers), _READ):
        some = list(numbers[start : start + _READ])
        pictures, mattes = (video.pick(p, some) for p in (footage.pictures, footage.mattes))
        for number, picture, matte in zip(some, pictures, mattes, strict=True):
            yield number, picture.rgb, matte.rgb[..., 1].astype(np.float32) / 255


def _emptied(rgb: Array, person: Array, grown: Array) -> Array:
    """The picture with the person painted over from around them; Telea's inpainting is enough at their border."""
    hole = cv2.dilate(person.astype(np.uint8), grown)
    if hole.all():
        return np.full_like(rgb, 128)
    return np.asarray(cv2.inpaint(rgb, hole, 3, cv2.INPAINT_TELEA))


def _over(look: Look, rgb: Array, alpha: Array, matrix: Array) -> Array:
    """A person (H, W, 3) uint8 with their matte, through a map into the view, over the empty place."""
    whole = np.dstack([rgb * alpha[..., None], alpha]).astype(np.float32)
    seen = _seen(whole, matrix, look.size)
    mixed: Array = seen[..., :3] + look.place * (1 - np.clip(seen[..., 3:], 0, 1))
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _seen(picture: Array, matrix: Array, size: Size) -> Array:
    """A picture (H, W) or (H, W, C) through a (2, 3) map, its border continued outwards, (h, w) or (h, w, C).

    What becomes smaller is first made half as large again as it will be, so that no pixel is passed over.
    """
    scale = 1.5 * float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 1:
        old = picture.shape[:2]
        new = max(1, round(scale * old[0])), max(1, round(scale * old[1]))
        picture = cv2.resize(picture, new[::-1], interpolation=cv2.INTER_AREA)
        y, x = old[0] / new[0], old[1] / new[1]
        matrix = _after(matrix, np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]]))
    return np.asarray(
        cv2.warpAffine(
            picture, matrix, size[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    )


def _inside(matrix: Array, picture: Size, size: Size) -> Array:
    """Where in the view the camera's picture is, (h, w) bool."""
    whole = np.array([-0.5, -0.5, picture[1] - 0.5, picture[0] - 0.5])
    return _box(whole, matrix, size)


def _box(box: Array, matrix: Array, size: Size) -> Array:
    """Where in the view a box (left, top, right, bottom) of the picture is, (h, w) bool; nowhere if not a number."""
    (left, top), (right, bottom) = transform(box.astype(np.float64).reshape(2, 2), matrix)
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    # Comparisons with what is not a number are false.
    return np.asarray((rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right))


def _disc(radius: int) -> Array:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def _after(second: Array, first: Array) -> Array:
    """The (2, 3) map that does `first`, then `second`."""
    return np.asarray((np.vstack([second, [0, 0, 1]]) @ np.vstack([first, [0, 0, 1]]))[:2])
