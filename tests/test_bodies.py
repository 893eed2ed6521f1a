"""When a run fits 3-D bodies, to whom, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import coloured_body
import numpy as np
import pytest
from lit_body import lamp, lit

from dance import bodies
from dance.surface import body, stances
from dance.surface.fit import FitOptions
from dance.types import Camera, Frame, InputError, Person, Physique, Pose, Stance, Track, View

SIZE = (480, 640)
ADULT = Physique(np.array(body.AVERAGE, np.float32), Camera(1.2 * 640, (319.5, 239.5)))
OPTIONS = FitOptions()
PLAIN = SimpleNamespace(needs=frozenset(), size=None)
AVATAR = SimpleNamespace(needs=frozenset({"surface"}), size=None)


def standing(x: float = 0.0, sure: float = 1.0) -> Stance:
    count = len(body.BONES)
    turns = np.zeros((count, 3), np.float32)
    return Stance(turns, np.array([x, 0, 3.5], np.float32), np.full(count, sure, np.float32))


def track(*, stanced: bool = True, sure: float = 1.0) -> Track:
    blank = Pose(np.zeros((133, 2), np.float32), np.full(133, 0.9, np.float32))
    given = [standing(0.05 * i, sure) for i in range(3)]
    poses = stances.seen([blank] * 3, given, ADULT, guessed=0.1)
    poses = [pose if stanced else replace(pose, stance=None) for pose in poses]
    return Track(poses, [Fraction(i, 25) for i in range(3)], SIZE)


def person(poses: Track, physique: Physique | None = None) -> Person:
    picture = np.zeros((*SIZE, 3), np.uint8)
    view = View(Frame(picture, Fraction(2, 25), 2), poses.poses[2], np.zeros(SIZE, np.float32))
    return Person([view], picture, poses, physique)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the fit was asked for; it finds everybody standing to the left."""
    calls: list[dict[str, object]] = []

    def fit(poses: Track, options: FitOptions, **more: object) -> object:
        calls.append(more)
        return ADULT, [standing(-0.5) for _ in poses.poses]

    monkeypatch.setattr(bodies.fit, "fit", fit)
    return calls


def test_bodies_are_wanted_for_their_mode_and_for_generators_that_draw_surfaces() -> None:
    assert bodies.wanted("body", PLAIN) and bodies.wanted("limbs", AVATAR)
    assert not bodies.wanted("limbs", PLAIN) and not bodies.wanted("none", PLAIN)


def test_live_runs_with_bodies_are_refused_and_others_are_not() -> None:
    with pytest.raises(InputError, match="mode = body"):
        bodies.check_live("body", "puppet", PLAIN)
    with pytest.raises(InputError, match="'avatar' needs 3-D bodies"):
        bodies.check_live("limbs", "avatar", AVATAR)
    bodies.check_live("limbs", "puppet", PLAIN)


def test_a_person_is_fitted_with_their_mattes_and_views_share_the_stances(
    asked: list[dict[str, object]],
) -> None:
    found = bodies.of_person(person(track(stanced=False)), OPTIONS)
    (call,) = asked
    assert list(call["mattes"]) == [2]  # the picture's number in the track
    assert found.physique is ADULT
    assert all(pose.stance.root[0] == -0.5 for pose in found.track.poses)
    assert found.views[0].pose.stance is found.track.poses[2].stance


def test_views_of_a_track_that_is_part_of_a_file_are_known_by_their_times(
    asked: list[dict[str, object]],
) -> None:
    whole = track(stanced=False)
    part = Track(whole.poses[1:], whole.times[1:], SIZE)
    found = bodies.of_person(replace(person(whole), track=part), OPTIONS)
    assert list(asked[0]["mattes"]) == [1]
    assert found.views[0].pose.stance is found.track.poses[1].stance


def test_a_photo_with_a_shadow_tells_its_light_and_loses_the_shadow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    light = lamp(0.6, 0.7)
    shown = lit(light)
    bare = replace(shown, pose=replace(shown.pose, stance=None))
    poses = Track([bare.pose], [Fraction(0)], shown.frame.size)
    fitted = coloured_body.PHYSIQUE, [shown.pose.stance]
    monkeypatch.setattr(bodies.fit, "fit", lambda *_, **__: fitted)
    found = bodies.of_person(Person([bare], shown.frame.rgb, poses), OPTIONS)
    assert found.light is not None
    assert found.light.towards @ light.towards > 0.97
    dark = (shown.frame.rgb.mean(2) < 140) & (shown.alpha < 0.01)
    assert dark.sum() > 100
    assert abs(found.plate[dark].mean() - 200) < 8
    # Of a video the place is seen without the shadow when they are elsewhere.
    two = Track([bare.pose] * 2, [Fraction(0), Fraction(1)], shown.frame.size)
    monkeypatch.setattr(bodies.fit, "fit", lambda *_, **__: (fitted[0], fitted[1] * 2))
    video = bodies.of_person(Person([bare], shown.frame.rgb, two), OPTIONS)
    assert video.light is not None and video.plate is shown.frame.rgb


def test_a_person_with_a_body_is_not_fitted_again(asked: list[dict[str, object]]) -> None:
    known = person(track(), ADULT)
    assert bodies.of_person(known, OPTIONS) is known
    assert asked == []


def test_poses_keep_the_stances_that_belong_to_them(asked: list[dict[str, object]]) -> None:
    own = track()
    assert bodies.of_poses(own, ADULT, OPTIONS) is own
    assert asked == []


@pytest.mark.parametrize("change", ["bare", "edited"])
def test_poses_without_stances_or_with_moved_joints_are_fitted_with_the_persons_shape(
    change: str, asked: list[dict[str, object]]
) -> None:
    poses = track(stanced=change == "edited")
    if change == "edited":
        poses = replace(poses, poses=[replace(p, xy=p.xy + 60) for p in poses.poses])
    made = bodies.of_poses(poses, ADULT, OPTIONS)
    assert [call["physique"] for call in asked] == [ADULT]
    assert made.poses[1].stance.root[0] == -0.5
    assert np.array_equal(made.xy, poses.xy)


def test_a_driver_gets_a_shape_of_their_own(asked: list[dict[str, object]]) -> None:
    made, physique = bodies.of_driver(track(stanced=False), OPTIONS)
    assert physique is ADULT and "physique" not in asked[0]
    assert made.poses[0].stance.root[0] == -0.5


def test_a_guessed_shape_and_guessed_frames_are_told_and_sure_ones_are_not() -> None:
    assert bodies.notes("source", track(), ADULT) == []
    (told,) = bodies.notes("source", track(), replace(ADULT, sure=0.1))
    assert "source's body" in told and "guess" in told
    (told,) = bodies.notes("driver", track(sure=0.05), ADULT)
    assert "driver's 3-D body is a guess in 3 of 3 frames" in told


def test_a_body_beside_its_outline_is_told_of_and_one_within_it_is_not() -> None:
    known = person(track(), ADULT)
    (view,) = known.views
    assert bodies.beside(view, ADULT) == 1.0
    (told,) = bodies.notes_on(known)
    assert "100% of the source's 3-D body lies beside their outline" in told
    filled = replace(view, alpha=np.ones(SIZE, np.float32))
    assert bodies.beside(filled, ADULT) == 0.0
    # One look that fits is enough.
    assert bodies.notes_on(replace(known, views=[view, filled])) == []
    assert bodies.beside(replace(view, pose=replace(view.pose, stance=None)), ADULT) == 0.0
