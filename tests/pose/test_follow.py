"""One person is followed through crossings, cuts and absences, with a fake estimator and drawn people."""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dance import skeleton as sk
from dance.pose.follow import FollowOptions, follow, require_found
from dance.types import Frame, InputError, Moment, Pose, Region, Track

Array = np.ndarray[Any, Any]

RED, BLUE, GREY = (200, 40, 40), (40, 60, 200), (128, 128, 128)
HEIGHT, WIDTH = 240, 480

# A standing person of height 1 with the feet at (0, 0).
FIGURE = np.zeros((17, 2))
FIGURE[[sk.NOSE, sk.LEFT_EYE, sk.RIGHT_EYE, sk.LEFT_EAR, sk.RIGHT_EAR]] = [0, -0.92]
for left, right, half, high in (
    (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, 0.11, -0.8),
    (sk.LEFT_ELBOW, sk.RIGHT_ELBOW, 0.14, -0.63),
    (sk.LEFT_WRIST, sk.RIGHT_WRIST, 0.15, -0.48),
    (sk.LEFT_HIP, sk.RIGHT_HIP, 0.08, -0.5),
    (sk.LEFT_KNEE, sk.RIGHT_KNEE, 0.08, -0.27),
    (sk.LEFT_ANKLE, sk.RIGHT_ANKLE, 0.08, -0.02),
):
    FIGURE[left], FIGURE[right] = (half, high), (-half, high)


class Actor:
    """Somebody in a scene: feet at `where(t)` (None: not there), in the colour, so many pixels tall."""

    def __init__(
        self,
        where: Callable[[int], float | None],
        colour: tuple[int, int, int],
        tall: float = 160.0,
    ) -> None:
        self.where, self.colour, self.tall = where, colour, tall

    def pose(self, t: int) -> Pose | None:
        x = self.where(t)
        if x is None or not -20 < x < WIDTH + 20:
            return None
        xy, score = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
        xy[:17] = FIGURE * self.tall + (x, 220)
        score[:17] = 0.9
        return Pose(xy, score, region=Region(x, 220 - self.tall / 2, 1.3 * self.tall))


Scene = Sequence[Actor]


def paint(scene: Scene, t: int, background: int = 90) -> Array:
    """The actors as coloured bodies, the later ones in front."""
    rgb = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
    for actor in scene:
        x = actor.where(t)
        if x is not None:
            half = round(0.16 * actor.tall)
            left, right = max(0, round(x) - half), max(0, round(x) + half)
            rgb[max(0, round(220 - 0.95 * actor.tall)) : 220, left:right] = actor.colour
    return rgb


class Stage:
    """A fake estimator that knows where everybody is: `scenes[t]` are the actors of frame t.

    Near a pose it finds whoever is nearest to the region; of two in touch the one in front, as a real
    network does. `calls` are (frame, whether everybody was asked for).
    """

    def __init__(self, scenes: Sequence[Scene], *, delay: float = 0.0) -> None:
        self.scenes, self.delay = scenes, delay
        self.calls: list[tuple[int, bool]] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        with self.lock:
            self.calls.append((frame.index, near is None))
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        if self.delay:
            time.sleep(random.uniform(0, self.delay))
        with self.lock:
            self.busy -= 1
        scene = self.scenes[frame.index]
        poses = [p for p in (actor.pose(frame.index) for actor in scene) if p is not None]
        if near is None:
            return poses
        assert near.region is not None
        x, side = near.region.x, near.region.side
        there = [p for p in poses if p.region and abs(p.region.x - x) < 0.4 * side]
        in_front = [p for p in there if p.region and abs(p.region.x - x) < 0.12 * side]
        return in_front[-1:] or there[-1:]

    def close(self) -> None:
        """Nothing to free."""


def frames(scenes: Sequence[Scene], rate: int = 25) -> Iterator[Frame]:
    for t, scene in enumerate(scenes):
        yield Frame(paint(scene, t), Fraction(t, rate), t)


def run(scenes: Sequence[Scene], stage: Stage | None = None, **options: Any) -> list[Moment]:
    return list(follow(frames(scenes), stage or Stage(scenes), FollowOptions(**options)))


def at(moments: Sequence[Moment]) -> list[float | None]:
    """Where the followed person's feet are in each frame; None where they are unseen."""
    ankles = [sk.LEFT_ANKLE, sk.RIGHT_ANKLE]
    return [float(m.pose.xy[ankles, 0].mean()) if m.pose.found else None for m in moments]


def still(x: float) -> Callable[[int], float]:
    return lambda t: x


def test_there_is_one_moment_a_frame_at_its_time() -> None:
    scenes = [[Actor(still(200), RED)]] * 30
    moments = run(scenes)
    assert [m.time for m in moments] == [Fraction(t, 25) for t in range(30)]
    assert at(moments) == pytest.approx([200.0] * 30)
    assert not any(m.cut for m in moments)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips_work(count: int) -> None:
    assert at(run([[Actor(still(200), RED)]] * count)) == pytest.approx([200.0] * count)


def test_the_largest_and_most_central_person_is_chosen() -> None:
    near, far = Actor(still(200), RED, 180), Actor(still(250), BLUE, 80)
    aside = Actor(still(40), BLUE, 180)
    assert at(run([[far, near]] * 8)) == pytest.approx([200.0] * 8)
    assert at(run([[aside, near]] * 8)) == pytest.approx([200.0] * 8)


@pytest.mark.parametrize(("person", "x"), [(0, 60.0), (1, 240.0), (2, 400.0)])
def test_people_are_numbered_from_left_to_right(person: int, x: float) -> None:
    scenes = [[Actor(still(240), RED), Actor(still(400), BLUE), Actor(still(60), GREY)]] * 8
    assert at(run(scenes, person=person)) == pytest.approx([x] * 8)


@pytest.mark.parametrize("count", [5, 60])
def test_too_high_a_number_says_how_many_there_are(count: int) -> None:
    scenes = [[Actor(still(140), RED), Actor(still(300), BLUE)]] * count
    with pytest.raises(InputError, match=r"person=2: only 2 people are seen.* 0 to 1"):
        run(scenes, person=2)


def test_somebody_in_front_does_not_take_over() -> None:
    # The blue one walks through in front; while they cover the red one, the estimator sees only blue.
    red = Actor(lambda t: 240 + 10 * np.sin(t / 5), RED)
    blue = Actor(lambda t: 30 + 4.5 * t, BLUE, 165)
    moments = run([[red, blue]] * 100)
    error = [abs(x - red.where(t)) if x is not None else None for t, x in enumerate(at(moments))]
    clear = [t for t in range(100) if abs(red.where(t) - blue.where(t)) > 60]
    after = [t for t in clear if t > 60]
    assert all(error[t] is not None and error[t] < 1 for t in clear if t < 40)
    # Within half a second after they part.
    assert all(error[t] is not None and error[t] < 1 for t in after[12:])


def test_two_who_swap_places_stay_who_they_are() -> None:
    red = Actor(lambda t: 120 + 2.5 * t, RED)
    blue = Actor(lambda t: 360 - 2.5 * t, BLUE)
    for person, actor in ((0, red), (1, blue)):
        xs = at(run([[red, blue]] * 96, person=person))
        assert all(xs[t] == pytest.approx(actor.where(t)) for t in [*range(30), *range(80, 96)])


def test_an_absence_is_unseen_and_the_return_is_prompt() -> None:
    actor = Actor(lambda t: 200.0 if t < 20 or t >= 70 else None, RED)
    xs = at(run([[actor]] * 100))
    assert xs[:20] == pytest.approx([200.0] * 20)
    assert all(x is None for x in xs[20:70])
    assert all(x is not None for x in xs[75:])


def test_nobody_there_is_not_searched_for_in_every_frame() -> None:
    stage = Stage([[]] * 100)
    assert all(x is None for x in at(run([[]] * 100, stage)))
    assert len(stage.calls) < 40


def test_a_stranger_is_not_followed_while_the_person_is_away() -> None:
    red = Actor(lambda t: 150.0 if t < 30 or t >= 60 else None, RED)
    blue = Actor(still(380), BLUE, 100)
    xs = at(run([[red, blue]] * 90))
    assert all(x is None for x in xs[32:60])
    assert xs[70:] == pytest.approx([150.0] * 20)


def test_somebody_else_takes_over_after_the_patience() -> None:
    red = Actor(lambda t: 150.0 if t < 20 else None, RED)
    blue = Actor(still(380), BLUE, 100)
    xs = at(run([[red, blue]] * 100, patience=1.0))
    assert all(x is None for x in xs[22:44])
    assert xs[60:] == pytest.approx([380.0] * 40)


def test_the_same_person_is_followed_after_a_cut() -> None:
    first = [Actor(still(150), RED), Actor(still(350), BLUE, 120)]
    # Red is now smaller and at the edge, blue large and central: clothes decide.
    second = [Actor(still(60), RED, 110), Actor(still(240), BLUE, 190)]
    scenes: list[Scene] = [first] * 30 + [second] * 30
    pictures = [
        Frame(paint(s, t, 90 if t < 30 else 235), Fraction(t, 25), t) for t, s in enumerate(scenes)
    ]
    moments = list(follow(pictures, Stage(scenes), FollowOptions()))
    assert [t for t, m in enumerate(moments) if m.cut] == [30]
    assert at(moments) == pytest.approx([150.0] * 30 + [60.0] * 30)


def test_a_scene_without_the_person_follows_another_and_then_the_person_again() -> None:
    first, second = [Actor(still(150), RED)], [Actor(still(300), BLUE)]
    scenes: list[Scene] = [first] * 30 + [second] * 30 + [[*second, Actor(still(60), RED, 90)]] * 30
    shades = [90] * 30 + [235] * 30 + [20] * 30
    pictures = [Frame(paint(s, t, shades[t]), Fraction(t, 25), t) for t, s in enumerate(scenes)]
    moments = list(follow(pictures, Stage(scenes), FollowOptions()))
    assert at(moments) == pytest.approx([150.0] * 30 + [300.0] * 30 + [60.0] * 30)


def test_a_frame_the_fast_look_misses_is_searched() -> None:
    scenes = [[Actor(lambda t: 100.0 if t < 15 else 380.0, RED)]] * 30
    xs = at(run(scenes))
    assert xs == pytest.approx([100.0] * 15 + [380.0] * 15)


def test_half_a_person_at_the_edge_is_followed() -> None:
    class Halves(Stage):
        def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
            out = []
            for pose in super().__call__(frame, near):
                score = pose.score.copy()
                score[[j for j in range(17) if sk.NAMES[j].startswith("left")]] = 0
                out.append(Pose(pose.xy, score * np.float32(0.7), region=pose.region))
            return out

    scenes = [[Actor(still(5), RED)]] * 20
    assert all(m.pose.found for m in run(scenes, Halves(scenes)))


def test_low_scores_are_nobody() -> None:
    class Unsure(Stage):
        def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
            found = super().__call__(frame, near)
            return [Pose(p.xy, p.score * np.float32(0.1), region=p.region) for p in found]

    scenes = [[Actor(still(200), RED)]] * 10
    assert at(run(scenes, Unsure(scenes))) == [None] * 10


def test_the_result_does_not_depend_on_how_fast_pictures_are_worked_on() -> None:
    red = Actor(lambda t: 100 + 3.0 * t, RED)
    blue = Actor(lambda t: 300 - 2.0 * t, BLUE)
    scenes = [[red, blue]] * 60
    runs = [at(run(scenes, Stage(scenes, delay=d))) for d in (0.0, 0.004, 0.004)]
    assert runs[0] == runs[1] == runs[2]


def test_as_many_pictures_as_asked_for_are_worked_on_at_once() -> None:
    scenes = [[Actor(still(200), RED)]] * 30
    for ahead in (1, 3):
        stage = Stage(scenes, delay=0.01)
        run(scenes, stage, ahead=ahead)
        assert stage.most_busy == ahead


def test_few_pictures_are_held() -> None:
    alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    scenes = [[Actor(still(200), RED)]] * 60
    most = 0

    class Picture(np.ndarray[Any, Any]):
        """An array that can be counted."""

    def counted() -> Iterator[Frame]:
        for frame in frames(scenes):
            rgb = frame.rgb.view(Picture)
            alive[frame.index] = rgb
            yield Frame(rgb, frame.time, frame.index)

    for _ in follow(counted(), Stage(scenes), FollowOptions()):
        most = max(most, len(alive))
    assert most <= 8


def test_stopping_early_ends_the_threads() -> None:
    scenes = [[Actor(still(200), RED)]] * 60
    moments = follow(frames(scenes), Stage(scenes, delay=0.01), FollowOptions())
    next(moments)
    moments.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("dance-follow")]


def test_an_error_of_the_estimator_reaches_the_caller() -> None:
    class Broken(Stage):
        def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
            if frame.index == 7:
                raise RuntimeError("the network broke")
            return super().__call__(frame, near)

    scenes = [[Actor(still(200), RED)]] * 20
    with pytest.raises(RuntimeError, match="the network broke"):
        run(scenes, Broken(scenes))


def test_a_clip_without_anybody_is_refused_by_name() -> None:
    track = Track.gather(run([[]] * 5), (HEIGHT, WIDTH))
    with pytest.raises(InputError, match=r"empty\.mp4: no person was found in any of its 5 frames"):
        require_found(track, Path("empty.mp4"))
    require_found(Track.gather(run([[Actor(still(200), RED)]] * 5), (HEIGHT, WIDTH)), Path("x.mp4"))


@pytest.mark.slow
def test_two_real_people_who_embrace_stay_who_they_are(shared: Path) -> None:
    from dance import video
    from dance.pose.estimators import blazepose

    clip = shared / "footage" / "drivers" / "drv_two_people_occlusion_vfr.mp4"
    estimator = blazepose.build(blazepose.Config(), "cpu")
    hips = []
    for person in (0, 1):
        moments = follow(video.read(clip), estimator, FollowOptions(person=person))
        hips.append([float(m.pose.xy[[sk.LEFT_HIP, sk.RIGHT_HIP], 0].mean()) for m in moments])
    # The left one stays on the left, a person's width away.
    assert all(right - left > 60 for left, right in zip(*hips, strict=True))
