"""A studied person survives being written and read."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from figure import mask_of, painted, pose_at, room

from dance import person_files
from dance.types import Camera, Frame, InputError, Light, Person, Physique, Stance, Track, View

SIZE = (120, 160)


def person(count: int = 2) -> Person:
    poses = [pose_at(60 + 20 * i, 50, 24) for i in range(3)]
    views = []
    for i in range(count):
        alpha = mask_of(poses[2 - i], SIZE, 24)
        frame = Frame(painted(room(SIZE), alpha), Fraction(2 - i, 30), 2 - i)
        views.append(View(frame, poses[2 - i], alpha))
    times = [Fraction(i, 30) for i in range(3)]
    return Person(views, room(SIZE), Track(poses, times, SIZE, frozenset({1})))


def test_a_person_comes_back_as_they_were(tmp_path: Path) -> None:
    before = person()
    person_files.save(before, tmp_path / "person")
    after = person_files.load(tmp_path / "person")
    assert np.array_equal(after.plate, before.plate)
    assert len(after.views) == 2
    for a, b in zip(after.views, before.views, strict=True):
        assert np.array_equal(a.frame.rgb, b.frame.rgb)
        assert (a.frame.index, a.frame.time) == (b.frame.index, b.frame.time)
        assert np.allclose(a.alpha, b.alpha, atol=1e-5) and a.alpha.dtype == np.float32
        assert np.allclose(a.pose.xy, b.pose.xy) and np.allclose(a.pose.score, b.pose.score)
    assert np.allclose(after.track.xy, before.track.xy)
    assert after.track.times == before.track.times and after.track.cuts == before.track.cuts


def test_the_3d_body_of_a_person_comes_back(tmp_path: Path) -> None:
    fresh = person()
    stance = Stance(np.full((24, 3), 0.25, np.float32), np.float32([0.1, 0.2, 3]), np.ones(24, np.float32))  # fmt: skip
    track = replace(fresh.track, poses=[replace(p, stance=stance) for p in fresh.track.poses])
    views = [replace(v, pose=replace(v.pose, stance=stance)) for v in fresh.views]
    body = Physique(np.linspace(-1, 1, 7, dtype=np.float32), Camera(192.0, (79.5, 59.5)), 0.75)
    towards, up = np.array([0.6, -0.8, 0], np.float32), np.array([0, -1, 0], np.float32)
    whole = replace(fresh, track=track, views=views, physique=body, light=Light(towards, up, 0.4))
    person_files.save(whole, tmp_path / "person")
    after = person_files.load(tmp_path / "person")
    assert after.light is not None
    assert np.array_equal(after.light.towards, towards) and np.array_equal(after.light.up, up)
    assert after.light.share == 0.4
    assert after.physique is not None
    assert np.array_equal(after.physique.shape, body.shape)
    assert (after.physique.camera, after.physique.sure) == (body.camera, body.sure)
    for pose in (*after.track.poses, *(view.pose for view in after.views)):
        assert pose.stance is not None and np.array_equal(pose.stance.turns, stance.turns)


def test_saving_again_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    person_files.save(person(2), tmp_path / "person")
    person_files.save(person(1), tmp_path / "person")
    assert len(person_files.load(tmp_path / "person").views) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["person"]
    assert not (tmp_path / "person" / "view_1.png").exists()


@pytest.mark.parametrize("name", ["person.json", "plate.png", "view_0_alpha.png", "poses.npz"])
def test_a_damaged_or_missing_file_is_named(name: str, tmp_path: Path) -> None:
    person_files.save(person(), tmp_path / "person")
    path = tmp_path / "person" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=name):
        person_files.load(tmp_path / "person")
    path.unlink()
    with pytest.raises(InputError):
        person_files.load(tmp_path / "person")
