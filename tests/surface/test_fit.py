"""Fitting the 3-D body to poses: made-up dancers whose bones are known."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from dance import skeleton as sk
from dance.surface import _chain, _evidence
from dance.surface import body as bodies
from dance.surface import fit as fitting
from dance.surface.body import AVERAGE, BONES, SHAPE
from dance.surface.raster import rasterise
from dance.types import Array, Camera, InputError, Physique, Pose, Stance, Track

SIZE = (480, 640)
CAMERA = Camera(1.2 * 640, (319.5, 239.5))
LIMBS = slice(sk.LEFT_SHOULDER, sk.RIGHT_ANKLE + 1)


def shape(**values: float) -> Array:
    out = np.array(AVERAGE, np.float32)
    for name, value in values.items():
        out[SHAPE.index(name)] = value
    return out


def dance(count: int, *, facing: float = 0.0) -> tuple[Array, Array]:
    """Turns (T, B, 3) and roots (T, 3) of somebody who sways, waves and steps, 25 pictures a second."""
    turns = np.zeros((count, len(BONES), 3), np.float32)
    beat = np.arange(count) * 0.12

    def put(bone: str, x: Array | float, y: Array | float, z: Array | float) -> None:
        turns[:, BONES.index(bone)] = np.stack([np.broadcast_to(v, count) for v in (x, y, z)], 1)

    put("pelvis", 0.0, facing + 0.3 * np.sin(beat), 0.0)
    put("chest", 0.1, 0.1 * np.sin(beat), 0.05)
    put("left_upper_arm", 0.2, 0.3 * np.sin(beat), 0.4 + 0.6 * np.cos(beat))
    put("right_upper_arm", 0.1, -0.4, -0.5 + 0.4 * np.sin(beat))
    for side, hinge in (("left", (-1, 1, 0)), ("right", (-1, -1, 0))):
        bend = 0.8 + 0.4 * np.sin(beat)
        put(f"{side}_forearm", *(bend * h / 2**0.5 for h in hinge))
    put("left_thigh", -0.5 - 0.4 * np.sin(beat), 0.0, 0.1)
    put("left_shin", 0.7 + 0.5 * np.sin(beat), 0.0, 0.0)
    put("right_thigh", -0.1, 0.0, -0.1)
    put("right_shin", 0.15, 0.0, 0.0)
    root = np.stack([0.2 * np.sin(beat / 2), 0 * beat, 3.6 + 0 * beat], 1).astype(np.float32)
    return turns, root


def joints_of(of: Array, turns: Array, root: Array) -> Array:
    with torch.no_grad():
        return bodies.joints(
            bodies.load(), *(torch.from_numpy(np.asarray(a, np.float32)) for a in (of, turns, root))
        ).numpy()


def seen(of: Array, turns: Array, root: Array, *, cuts: frozenset[int] = frozenset()) -> Track:
    """The track an estimator without errors would give, but for those BlazePose always makes."""
    known = Track(
        [Pose(np.zeros((133, 2)), np.ones(133), world=np.zeros((133, 3)))], [Fraction(0)], SIZE
    )
    where = _evidence.stands(_evidence.look(known, CAMERA))
    build = _chain.build(bodies.load(), _chain.shaped(bodies.load(), of), _evidence.MEASURED, where)
    posed = _chain.pose(_chain.Frames.of(turns, root), build)
    points = joints_of(of, turns, root)
    measured = points.copy()
    measured[:, list(_evidence.MEASURED)] = posed.joints
    pixels = bodies.project(torch.from_numpy(measured), CAMERA).numpy().astype(np.float32)
    world = _leaning(points, posed.rotation[:, 0])
    score = np.ones(len(sk.NAMES), np.float32)
    poses = [
        Pose(xy, score, world=w.astype(np.float32)) for xy, w in zip(pixels, world, strict=True)
    ]
    return Track(poses, [Fraction(i, 25) for i in range(len(poses))], SIZE, cuts)


def _leaning(points: Array, pelvis: Array) -> Array:
    """Metric landmarks whose bones lean as the fit knows BlazePose's to do."""
    world = points.astype(np.float64)
    for way in _evidence._DIRECTIONS:
        if any(way.lean):
            bone = points[:, way.second] - points[:, way.first]
            length = np.linalg.norm(bone, axis=1, keepdims=True)
            lean = length * (pelvis @ np.array(way.lean))
            world[:, way.second] = world[:, way.first] + bone + lean
    return world


def fitted_joints(track: Track, **kinds: object) -> tuple[Array, list[Stance | None], Array]:
    """Joints (T, 133, 3) of the fitted bodies, the stances, and the shape."""
    physique, stances = fitting.fit(track, **kinds)  # type: ignore[arg-type]
    present = [s for s in stances if s is not None]
    turns, root = np.stack([s.turns for s in present]), np.stack([s.root for s in present])
    return joints_of(physique.shape, turns, root), stances, physique.shape


def centred(points: Array) -> Array:
    return np.asarray(points - points[:, [sk.LEFT_HIP, sk.RIGHT_HIP]].mean(1, keepdims=True))


@pytest.mark.parametrize("facing", [0.0, 0.9, 3.1])
def test_a_dancers_joints_are_found_in_three_dimensions(facing: float) -> None:
    turns, root = dance(20, facing=facing)
    truth = joints_of(shape(), turns, root)
    found, _, _ = fitted_joints(seen(shape(), turns, root))
    off = np.linalg.norm(centred(found) - centred(truth), axis=2)[:, LIMBS]
    assert off.mean() < 0.04  # metres
    pixels = [
        bodies.project(torch.from_numpy(p.astype(np.float32)), CAMERA).numpy()
        for p in (found, truth)
    ]
    assert np.linalg.norm(pixels[0] - pixels[1], axis=2)[:, LIMBS].mean() < 4


def test_long_legs_and_a_child_are_told_from_an_average_adult() -> None:
    turns, root = dance(20)

    def legs_over_trunk(of: Array) -> float:
        rest = bodies.shaped(bodies.load(), torch.from_numpy(of)).joints.numpy()
        place = dict(zip(BONES, rest, strict=True))
        leg = place["left_foot"][1] - place["left_thigh"][1]
        return float(leg / (place["pelvis"][1] - place["neck"][1]))

    found = [
        fitted_joints(seen(of, turns, root))[2]
        for of in (shape(legs=-0.15), shape(), shape(legs=0.15))
    ]
    ratios = [legs_over_trunk(of) for of in found]
    assert ratios[0] + 0.1 < ratios[1] < ratios[2] - 0.1


def test_poses_without_metric_landmarks_are_taken_to_follow_coco() -> None:
    turns, root = dance(6)
    truth = joints_of(shape(), turns, root)
    pixels = bodies.project(torch.from_numpy(truth), CAMERA).numpy()
    track = Track(
        [Pose(xy, np.ones(len(sk.NAMES), np.float32)) for xy in pixels],
        [Fraction(i, 25) for i in range(6)],
        SIZE,
    )
    found, _, _ = fitted_joints(track)
    again = bodies.project(torch.from_numpy(found), CAMERA).numpy()
    assert np.linalg.norm(again - pixels, axis=2)[:, LIMBS].mean() < 2


def test_a_known_physique_is_kept() -> None:
    turns, root = dance(6)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    again, stances = fitting.fit(track, physique=known)
    assert again is known
    assert len(stances) == 6 and all(s is not None for s in stances)


def test_pictures_without_the_person_have_no_stance() -> None:
    turns, root = dance(8)
    track = seen(shape(), turns, root)
    poses = list(track.poses)
    poses[3] = Pose.unseen()
    _, stances = fitting.fit(replace(track, poses=poses))
    assert [i for i, s in enumerate(stances) if s is None] == [3]


def test_nobody_anywhere_is_refused() -> None:
    track = Track([Pose.unseen()] * 2, [Fraction(0), Fraction(1, 25)], SIZE)
    with pytest.raises(InputError, match="no picture shows a person"):
        fitting.fit(track)


def test_one_picture_without_metric_landmarks_or_legs_gives_a_whole_body() -> None:
    turns, root = dance(1)
    pose = seen(shape(), turns, root).poses[0]
    score = pose.score.copy()
    score[sk.LEFT_HIP : sk.FEET_SLICE.stop] = 0
    bust = replace(pose, score=score, world=None)
    found, stances, _ = fitted_joints(Track([bust], [Fraction(0)], SIZE))
    assert np.isfinite(found).all()
    stance = stances[0]
    assert stance is not None
    sure = dict(zip(BONES, stance.sure, strict=True))
    assert sure["left_upper_arm"] > 0.5 > sure["pelvis"] == sure["left_thigh"] == 0.0
    pixels = bodies.project(torch.from_numpy(found), CAMERA).numpy()[0]
    assert np.linalg.norm(pixels[:5] - pose.xy[:5], axis=1).max() < 12
    # Legs nobody sees hang down.
    assert found[0, sk.LEFT_ANKLE, 1] > found[0, sk.LEFT_HIP, 1] + 0.5


def test_motion_is_even_within_a_scene_and_free_across_a_cut() -> None:
    turns, root = dance(12)
    generator = np.random.default_rng(1)
    track = seen(shape(), turns, root)
    shaken = [
        replace(p, xy=p.xy + generator.normal(0, 3, p.xy.shape).astype(np.float32))
        for p in track.poses
    ]
    known, _ = fitting.fit(track)
    found, _, _ = fitted_joints(replace(track, poses=shaken), physique=known)
    bends = [
        np.linalg.norm(np.diff(p, 2, axis=0), axis=2)[:, LIMBS].mean()
        for p in (found[..., :2] / found[..., 2:] * CAMERA.focal, np.stack([p.xy for p in shaken]))
    ]
    assert bends[0] < 0.5 * bends[1]
    # Two scenes, the second from elsewhere: each keeps its own place.
    root[6:] += np.array([0.8, 0.0, 1.0], np.float32)
    cut = seen(shape(), turns, root, cuts=frozenset({6}))
    found, _, _ = fitted_joints(cut, physique=known)
    step = np.linalg.norm(np.diff(found[:, sk.LEFT_HIP], axis=0), axis=1)
    assert step[5] > 0.9 and np.delete(step, 5).max() < 0.1


def test_a_wild_joint_does_not_drag_the_body_along() -> None:
    turns, root = dance(10)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    clean, _, _ = fitted_joints(track, physique=known)
    poses = list(track.poses)
    xy = poses[5].xy.copy()
    xy[sk.LEFT_WRIST] += 200
    poses[5] = replace(poses[5], xy=xy)
    found, stances, _ = fitted_joints(replace(track, poses=poses), physique=known)
    assert np.linalg.norm(found[5] - clean[5], axis=1)[sk.LEFT_WRIST] < 0.12
    forearm = BONES.index("left_forearm")
    assert stances[5] is not None and stances[4] is not None
    assert stances[5].sure[forearm] < 0.2 < 0.6 < stances[4].sure[forearm]


def test_left_and_right_mixed_up_in_a_picture_do_not_turn_the_body_about() -> None:
    turns, root = dance(11)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    clean, _, _ = fitted_joints(track, physique=known)
    poses = list(track.poses)
    other = list(sk.FLIP)
    world = poses[5].world
    assert world is not None
    poses[5] = replace(poses[5], xy=poses[5].xy[other], world=world[other])
    found, _, _ = fitted_joints(replace(track, poses=poses), physique=known)
    assert np.linalg.norm(found[5] - clean[5], axis=1)[LIMBS].mean() < 0.12


def test_somebody_who_turns_round_is_followed() -> None:
    turns, root = dance(30)
    turns[:, 0] = 0
    turns[:, 0, 1] = np.linspace(-1.6, 1.6, 30)  # half a turn in a second
    truth = joints_of(shape(), turns, root)
    found, stances, _ = fitted_joints(seen(shape(), turns, root))
    off = np.linalg.norm(centred(found) - centred(truth), axis=2)[:, LIMBS]
    assert off.mean(1).max() < 0.08
    sure = np.stack([s.sure for s in stances if s is not None])
    assert (sure[:, 0] > 0.5).all()


def standing(count: int) -> tuple[Array, Array]:
    """Somebody who only sways with the arms; the feet stay."""
    turns, root = dance(count)
    for bone in ("pelvis", "chest", "left_thigh", "left_shin"):
        turns[:, BONES.index(bone)] = 0
    root[:, 0] = 0
    return turns, root


def test_feet_that_stand_do_not_slide() -> None:
    turns, root = standing(16)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    generator = np.random.default_rng(2)
    # An estimator's trembling, a few millimetres, and the steady breath of a wrong depth.
    shaken = []
    for i, p in enumerate(track.poses):
        xy = p.xy + generator.normal(0, 0.4, p.xy.shape) + 0.003 * i * (p.xy - 239.5)
        shaken.append(replace(p, xy=xy.astype(np.float32)))
    found, _, _ = fitted_joints(replace(track, poses=shaken), physique=known)
    heels = found[:, [sk.LEFT_HEEL, sk.RIGHT_HEEL]]
    hips = found[:, [sk.LEFT_HIP, sk.RIGHT_HIP]]
    free = np.linalg.norm(hips[-1] - hips[0], axis=1).mean()
    assert np.linalg.norm(np.diff(heels, axis=0), axis=2).mean() < 0.004
    assert np.linalg.norm(heels[-1] - heels[0], axis=1).mean() < 0.25 + free


def matte_of(of: Array, turns: Array, root: Array) -> Array:
    physique = Physique(of, CAMERA)
    stance = Stance(turns, root, np.ones(len(BONES), np.float32))
    mesh = bodies.load()
    vertices = bodies.vertices_of(mesh, physique, stance)
    return (rasterise(vertices, mesh.faces.numpy(), CAMERA, SIZE).face >= 0).astype(np.float32)


def overlap(first: Array, second: Array) -> float:
    return float(((first > 0.5) & (second > 0.5)).sum() / ((first > 0.5) | (second > 0.5)).sum())


def test_an_outline_makes_a_slim_body_stout() -> None:
    turns, root = standing(1)
    stout = shape(weight=1.0, trunk=0.25, leg_girth=0.2)
    matte = matte_of(stout, turns[0], root[0])
    track = seen(stout, turns, root)
    gained = []
    for mattes in (None, {0: matte}):
        physique, stances = fitting.fit(track, mattes=mattes)
        stance = stances[0]
        assert stance is not None
        gained.append(overlap(matte, matte_of(physique.shape, stance.turns, stance.root)))
    assert gained[1] > 0.94 and 1 - gained[1] < 0.6 * (1 - gained[0])


def test_an_empty_matte_says_nothing() -> None:
    turns, root = standing(2)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    found, _, _ = fitted_joints(track, physique=known, mattes={1: np.zeros(SIZE, np.float32)})
    plain, _, _ = fitted_joints(track, physique=known)
    assert np.allclose(found, plain)


def test_a_long_clip_solved_in_pieces_moves_as_it_does_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, root = dance(24)
    track = seen(shape(), turns, root)
    known, _ = fitting.fit(track)
    whole, _, _ = fitted_joints(track, physique=known)
    monkeypatch.setattr(fitting, "_PIECE", 8)
    monkeypatch.setattr(fitting, "_OVERLAP", 6)
    pieces, stances, _ = fitted_joints(track, physique=known)
    assert len(stances) == 24 and None not in stances
    assert np.linalg.norm(whole - pieces, axis=2).max() < 0.02


def test_a_focal_length_of_nothing_is_refused() -> None:
    turns, root = dance(1)
    with pytest.raises(InputError, match="focal = 0"):
        fitting.fit(seen(shape(), turns, root), fitting.FitOptions(focal=0))
