"""Captured and invented motion on bodies: directions of limbs, feet on the floor, limbs out of each other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_pack import bvh

from dance.surface.body import AVERAGE, BONES, SHAPE, Body, rotations
from dance.surface.charts import Charts
from dance.synthetic import motion, poses, wear
from dance.synthetic.assets import Bvh, Pack, read_bvh
from dance.synthetic.people import Character
from dance.synthetic.wear import Figure
from dance.types import Array, InputError

LEFT_ARM = [BONES.index(f"left_{bone}") for bone in ("upper_arm", "forearm", "hand")]


@pytest.fixture
def clip(tmp_path: Path) -> Bvh:
    (tmp_path / "wave.bvh").write_text(bvh())
    return read_bvh(tmp_path / "wave.bvh")


@pytest.fixture
def child(body: Body, charts: Charts, pack: Pack) -> Figure:
    shape = tuple(0.35 if n == "age" else v for n, v in zip(SHAPE, AVERAGE, strict=True))
    worn = {"clothes": "suit", "shoes": "shoes", "hair": "hair"}
    return wear.dress(body, charts, pack, Character(shape, worn, "plain", {}, {}))


def arm(bones: Array) -> Array:
    """Where the upper arm and the forearm point, (T, 2, 3) of length 1."""
    ways = np.diff(bones[..., :3, 3][:, LEFT_ARM], axis=1)
    return np.asarray(ways / np.linalg.norm(ways, axis=-1, keepdims=True))


def test_limbs_point_where_the_clips_do_on_every_body(
    body: Body, figure: Figure, child: Figure, clip: Bvh
) -> None:
    moved = motion.from_clip(clip, "wave", 0.0, 28)
    lift = np.radians(60 * np.rint(np.arange(28) / motion.RATE * clip.rate) / 59)
    wanted = np.stack([np.cos(lift), -np.sin(lift), 0 * lift], 1)
    for who in (figure, child):
        bones = motion.transforms(body, who, moved.turns, np.zeros((28, 3)))
        assert np.abs(arm(bones) - wanted[:, None]).max() < 0.02


def test_the_lowest_sole_is_on_the_floor_in_every_frame(
    body: Body, figure: Figure, child: Figure, clip: Bvh
) -> None:
    rng = np.random.default_rng(5)
    for moved in (motion.from_clip(clip, "wave", 0.5, 10), poses.dance(body, rng, 12)):
        for who in (figure, child):
            root = motion.place(body, who, moved)
            bones = motion.transforms(body, who, moved.turns, root)
            lowest = [wear.posed(who, each)[:, 1].max() for each in bones]
            assert np.abs(lowest).max() < 1e-3
            assert np.allclose(root[0, [0, 2]], 0)


def test_a_way_over_the_floor_is_as_long_as_the_legs_are(
    body: Body, figure: Figure, child: Figure, clip: Bvh
) -> None:
    moved = motion.from_clip(clip, "wave", 0.0, 20)
    ways = [motion.place(body, who, moved)[-1, 0] for who in (figure, child)]
    legs = [motion.leg_length(who) for who in (figure, child)]
    assert ways[0] > 0.05 and ways[1] < 0.9 * ways[0]
    assert ways[0] / legs[0] == pytest.approx(ways[1] / legs[1])


def test_a_turn_to_the_left_of_the_picture_turns_the_face_there(
    body: Body, figure: Figure, clip: Bvh
) -> None:
    moved = motion.turned(motion.from_clip(clip, "wave", 0.0, 2), 0.5)
    face = moved.turns[0, BONES.index("head")] @ [0.0, 0, -1]
    assert face[0] == pytest.approx(-np.sin(0.5)) and face[2] < 0


def test_a_clip_that_is_too_short_or_of_another_skeleton_is_refused(
    tmp_path: Path, clip: Bvh
) -> None:
    with pytest.raises(InputError, match=r"wave: lasts 1\.2 s, 4\.0 s are needed"):
        motion.from_clip(clip, "wave", 0.0, 100)
    (tmp_path / "odd.bvh").write_text(bvh().replace("LeftKnee", "LinkesKnie"))
    with pytest.raises(InputError, match="has no joint LeftKnee"):
        motion.from_clip(read_bvh(tmp_path / "odd.bvh"), "odd", 0.0, 2)


def test_turns_from_the_parent_and_from_the_world_are_each_others_inverse(body: Body) -> None:
    turns = poses.still(body, np.random.default_rng(1)).turns
    local = rotations(torch.from_numpy(motion.local_turns(turns))).numpy()
    assert np.allclose(motion.global_turns(local), turns, atol=1e-5)


def test_invented_poses_keep_hands_out_of_the_trunk_and_knees_from_bending_forwards(
    body: Body, figure: Figure
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        moved = poses.still(body, rng)
        places = motion.transforms(body, figure, moved.turns, np.zeros((1, 3)))[0, :, :3, 3]
        at = dict(zip(BONES, places, strict=True))
        middle = (at["pelvis"] + at["neck"]) / 2
        for side in ("left", "right"):
            assert np.linalg.norm(at[f"{side}_hand"] - middle) > 0.15
            thigh, shin = (
                moved.turns[0, BONES.index(f"{side}_{b}")] @ [0.0, 1, 0] for b in ("thigh", "shin")
            )
            forward = moved.turns[0, BONES.index(f"{side}_thigh")] @ [0.0, 0, -1]
            assert (shin - thigh) @ forward < 0.02


def test_a_dance_is_the_same_for_the_same_numbers_and_moves_smoothly(body: Body) -> None:
    first, again = (poses.dance(body, np.random.default_rng(3), 20).turns for _ in range(2))
    assert (first == again).all()
    steps = np.linalg.norm(np.diff(first, axis=0), axis=(2, 3))
    assert 0.05 < steps.max() < 0.8
