"""People of an album whom nobody has learnt from, drawn from one picture of them, and how near that comes.

A pair is drawn as training scores it: a held-out pick's target from its first other picture. Joints and mattes are
the album's own for everybody; a body is fitted to those, as the pipeline fits it to what it finds. A clip is drawn
from its best look, by the exact poses of the person: how its motion is handed over is not what is measured.

The person region and the place they are drawn over are those of `pairs.Truth`: the true matte above a half, grown by
1/64 of the picture's height, and the target's own place, emptied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from dance import bodies, plate, render, sources
from dance import person as people
from dance.evaluation import images, motion
from dance.evaluation.pairs import Truth
from dance.finish.steady import SteadyOptions, steady
from dance.surface.fit import FitOptions
from dance.training.album import Album, Pick, Shot
from dance.types import Array, Frame, Generator, Layer, Person, Pose, Size, Track, View

MEASURES = ("ssim", "psnr", "iou", "detail")
_CHUNK = 6  # frames drawn in one call, as in the pipeline
_RATE = 25  # pictures of a clip in a second
_CLIP = 3  # pictures that are more than a pair


@dataclass(frozen=True, eq=False)
class Scene:
    """Somebody known from one picture, and pictures of them that are to be drawn.

    person: without a 3-D body, in the size of the true pictures.  track: the true poses.  truths: at each of them.
    mattes: (T, H, W) bool, where the person truly is.
    """

    person: Person
    track: Track
    truths: Sequence[Truth]
    mattes: Array

    @cached_property
    def embodied(self) -> tuple[Person, Track]:
        """The person with a body fitted to them, and the true poses with its stances."""
        person = bodies.of_person(self.person, FitOptions())
        assert person.physique is not None
        return person, bodies.of_poses(self.track, person.physique, FitOptions())

    def layers(self, generator: Generator) -> list[Layer]:
        """What the generator draws for the poses, as a clip is drawn: its memory is carried along."""
        person, track = self.person, self.track
        if bodies.SURFACE in generator.needs:
            person, track = self.embodied
        code = generator.encode(person)
        return list(render.draw(generator, code, track, person.size, _CHUNK))


def is_clip(album: Album, pick: Pick) -> bool:
    """Whether the pick's pictures are moments of one motion, one after the other."""
    return album.facts.reader == "synthetic" and len(pick.shots) >= _CLIP


def pair(album: Album, pick: Pick) -> tuple[Scene, Shot, Shot]:
    """The pick's target, else its last picture, to be drawn from its first other one; and those two, source first."""
    target = pick.shots[-1] if pick.target is None else pick.target
    source = next(shot for shot in pick.shots if shot != target)
    shown, true = album.shots((source, target))
    known = _known(true)
    truth = Truth.of(known)
    scene = Scene(
        _placed(_known(shown), true.size), known.track, [truth], known.views[0].alpha[None] > 0.5
    )
    return scene, shown, true


def clip(album: Album, pick: Pick) -> Scene:
    """All pictures of the pick, to be drawn from the best of them."""
    shots = album.shots(pick.shots)
    poses = [_plain(shot) for shot in shots]
    times = [Fraction(i, _RATE) for i in range(len(shots))]
    track = Track(poses, times, shots[0].size)
    (best,) = people.choose(people.judge(track), 1) or [0]
    mattes = [_matte(shot) for shot in shots]
    samples = [
        plate.Sample(shot.rgb, plate.person_area(matte, pose))
        for shot, matte, pose in zip(shots, mattes, poses, strict=True)
    ]
    # One place for all pictures: what is behind the person must not flicker.
    place, _ = plate.from_video(samples, poses[0])
    truths = []
    for shot, pose, matte in zip(shots, poses, mattes, strict=True):
        own = Track([pose], [Fraction(0)], shot.size)
        truths.append(Truth.of(Person([View(Frame(shot.rgb), pose, matte)], place, own)))
    return Scene(_known(shots[best]), track, truths, np.stack(mattes) > 0.5)


def measure(scene: Scene, layer: Layer, number: int = 0) -> dict[str, float]:
    """How near a drawn picture comes to the true one of that number; not a number where nothing tells.

    ssim, psnr, detail: in the person region, as in `pairs`.  iou: of what is more than half the person's, as drawn
    and in truth: both over either.
    """
    row = scene.truths[number].measure(scene.truths[number].over(layer))
    found = {name: float(str(value)) for name, value in row.items()}
    if layer.alpha is None:
        return found | {"iou": np.nan}
    drawn, true = layer.alpha > 0.5, scene.mattes[number]
    either = int((drawn | true).sum())
    return found | {"iou": int((drawn & true).sum()) / either if either else np.nan}


def flicker(scene: Scene, layers: Iterable[Layer]) -> float:
    """Change from picture to picture that is not the truth's, `motion.wrong_change` in the regions of both; 0..255."""
    wrong = []
    before: Array | None = None
    for t, layer in enumerate(layers):
        picture, truth = scene.truths[t].over(layer), scene.truths[t]
        if before is not None:
            last = scene.truths[t - 1]
            where = truth.region | last.region
            wrong.append(motion.wrong_change(picture, before, truth.rgb, last.rgb, where))
        before = picture
    return mean(wrong)


def unmoved(scene: Scene) -> float:
    """The flicker of the true first picture, standing still: how much there is to move."""
    first = scene.truths[0].rgb
    return flicker(scene, [Layer(first, None, moment) for moment in scene.track])


def warping(scene: Scene, layers: Iterable[Layer]) -> float:
    """`motion.warping_error` in the box about everything that is ever the person's region; 0..255."""
    box = images.around(np.any([truth.region for truth in scene.truths], axis=0), grow=0)
    pictures = (truth.over(layer)[box] for truth, layer in zip(scene.truths, layers, strict=True))
    return motion.warping_error(np.ascontiguousarray(picture) for picture in pictures)


def steadied(layers: Iterable[Layer]) -> Iterator[Layer]:
    """The layers as the pipeline steadies them unless told otherwise."""
    return steady(layers, SteadyOptions())


def mean(values: Iterable[float]) -> float:
    """The mean of what are numbers; not a number where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _known(shot: Shot) -> Person:
    """The person as one picture shows them, their place as the pipeline empties it."""
    pose, matte = _plain(shot), _matte(shot)
    place = plate.from_photo(shot.rgb, plate.person_area(matte, pose), pose)
    track = Track([pose], [Fraction(0)], shot.size)
    return Person([View(Frame(shot.rgb), pose, matte)], place, track)


def _placed(person: Person, size: Size) -> Person:
    """The person in pictures of that size: a result has the size of its person's pictures."""
    if person.size == size:
        return person
    return sources.placed(person, sources.inside(person.size, size, enlarge=True), size)


def _plain(shot: Shot) -> Pose:
    """The shot's pose without its exact 3-D body: nobody is told that."""
    return replace(shot.pose, stance=None)


def _matte(shot: Shot) -> Array:
    assert shot.matte is not None, "albums without mattes are refused"
    return shot.matte.astype(np.float32) / 255
