import numpy as np
import pytest

from dance import skeleton as s


def test_every_joint_has_a_name_of_its_own_in_coco_wholebody_order() -> None:
    assert len(s.NAMES) == len(set(s.NAMES)) == 133
    assert s.NAMES[s.BODY_SLICE] == s.BODY and s.NAMES[s.FEET_SLICE] == s.FEET
    assert all(name.startswith("face_") for name in s.NAMES[s.FACE_SLICE])
    assert all(name.startswith("left_") for name in s.NAMES[s.LEFT_HAND_SLICE])
    assert all(name.startswith("right_") for name in s.NAMES[s.RIGHT_HAND_SLICE])
    assert s.NAMES[91] == "left_hand" and s.NAMES[132] == "right_pinky_4"
    assert s.INDEX["left_index_1"] == 91 + 5


def test_the_constants_are_the_indices_of_their_names() -> None:
    for name in (*s.BODY, *s.FEET):
        assert getattr(s, name.upper()) == s.INDEX[name]


def test_flipping_twice_changes_nothing_and_swaps_the_sides() -> None:
    flip = np.array(s.FLIP)
    assert sorted(flip) == list(range(133))
    assert (flip[flip] == np.arange(133)).all()
    for i, name in enumerate(s.NAMES):
        other = s.NAMES[s.FLIP[i]]
        if name.startswith(("left_", "right_")):
            assert other.split("_")[0] != name.split("_")[0]
            assert other.split("_", 1)[1] == name.split("_", 1)[1]


def test_the_middle_of_the_face_stays_in_the_middle_when_flipped() -> None:
    stays = {i - 23 for i in range(23, 91) if s.FLIP[i] == i}
    assert stays == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}
    pairs = {
        (0, 16),
        (17, 26),
        (36, 45),
        (39, 42),
        (41, 46),
        (48, 54),
        (60, 64),
        (31, 35),
        (59, 55),
    }
    assert all(s.FLIP[23 + a] == 23 + b for a, b in pairs)


def test_flipped_limbs_are_limbs() -> None:
    limbs = {frozenset(limb) for limb in s.LIMBS}
    assert {frozenset((s.FLIP[a], s.FLIP[b])) for a, b in limbs} == limbs


def test_a_hand_is_five_fingers_of_four_bones_from_the_wrist() -> None:
    assert len(s.HAND_LIMBS) == 20
    children = [child for _, child in s.HAND_LIMBS]
    assert sorted(children) == list(range(1, 21))
    assert [child for parent, child in s.HAND_LIMBS if parent == 0] == [1, 5, 9, 13, 17]
    assert all(parent in (0, child - 1) for parent, child in s.HAND_LIMBS)


def test_blazepose_sides_stay_sides() -> None:
    for name, landmark in s.BLAZEPOSE.items():
        if name.startswith(("left_", "right_")) and landmark > 10:
            assert (landmark % 2 == 1) == name.startswith("left_")


def test_blazepose_values_go_where_they_belong_and_the_rest_is_zero() -> None:
    landmarks = np.stack([np.arange(33), np.arange(33) + 0.5], -1)
    out = s.from_blazepose(landmarks)
    assert out.shape == (133, 2)
    assert out[s.LEFT_SHOULDER].tolist() == [11, 11.5] and out[s.RIGHT_BIG_TOE].tolist() == [
        32,
        32.5,
    ]
    assert not out[s.LEFT_SMALL_TOE].any()
    assert s.from_blazepose(np.ones(33)).sum() == len(s.BLAZEPOSE)


@pytest.mark.parametrize("order", [s.OPENPOSE_25, s.OPENPOSE_18])
def test_openpose_and_back_keeps_every_joint_it_has(order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 100, (3, 133, 2)).astype(np.float32)
    score = rng.uniform(0.1, 1, (3, 133)).astype(np.float32)
    points, scores = s.to_openpose(xy, score, order)
    assert points.shape == (3, len(order), 2) and scores.shape == (3, len(order))
    back, back_score = s.from_openpose(points, scores, order)
    kept = sorted(joint for joint in order if joint >= 0)
    assert np.allclose(back[:, kept], xy[:, kept])
    assert (back_score > 0).sum(1).tolist() == [len(kept)] * 3


def test_the_neck_is_between_the_shoulders_and_no_surer_than_the_worse() -> None:
    xy, score = np.zeros((133, 2), np.float32), np.ones(133, np.float32)
    xy[s.LEFT_SHOULDER], xy[s.RIGHT_SHOULDER] = (10, 4), (0, 0)
    score[s.RIGHT_SHOULDER] = 0.25
    points, scores = s.to_openpose(xy, score, s.OPENPOSE_25)
    assert points[1].tolist() == [5, 2] and scores[1] == 0.25
