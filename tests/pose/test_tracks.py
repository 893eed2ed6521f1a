"""Poses as files: .npz, OpenPose folders, COCO JSON."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dance import skeleton
from dance.pose import tracks
from dance.types import InputError, Pose, Region, Stance, Track

SIZE = (480, 640)


def make_track(count: int = 5, *, seed: int = 0) -> Track:
    """Random poses at 29.97 frames a second; the third picture is empty, the fourth starts a scene."""
    random = np.random.default_rng(seed)
    poses = [
        Pose(
            random.uniform(1, 479, (133, 2)).astype(np.float32),
            random.uniform(0.1, 1, 133).astype(np.float32),
            random.normal(0, 50, 133).astype(np.float32),
            random.normal(0, 1, (133, 3)).astype(np.float32),
            Region(100, 200, 300, 0.5),
        )
        for _ in range(count)
    ]
    if count > 2:
        poses[2] = Pose.unseen()
    cuts = frozenset({3}) if count > 3 else frozenset()
    return Track(poses, [Fraction(1001 * i, 30000) for i in range(count)], SIZE, cuts)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_npz_keeps_everything_exactly(tmp_path: Path, count: int) -> None:
    track = make_track(count)
    tracks.save(track, tmp_path / "a.npz")
    back = tracks.load(tmp_path / "a.npz")
    assert back.times == track.times
    assert (back.size, back.cuts) == (track.size, track.cuts)
    for ours, theirs in zip(track.poses, back.poses, strict=True):
        assert np.array_equal(ours.xy, theirs.xy) and np.array_equal(ours.score, theirs.score)
        if ours.found:
            assert np.array_equal(ours.depth, theirs.depth)
            assert np.array_equal(ours.world, theirs.world)
            assert theirs.region is not None and abs(theirs.region.angle - 0.5) < 1e-6


def make_stance(seed: int, bones: int = 24) -> Stance:
    random = np.random.default_rng(seed)
    turns, root = random.normal(0, 1, (bones, 3)), random.normal(0, 3, 3)
    sure = random.uniform(0, 1, bones)
    return Stance(*(part.astype(np.float32) for part in (turns, root, sure)))


def make_stanced_track() -> Track:
    track = make_track()
    return replace(
        track,
        poses=[
            replace(pose, stance=make_stance(i)) if i in (0, 3) else pose
            for i, pose in enumerate(track.poses)
        ],
    )


def test_npz_keeps_the_3d_body_of_the_poses_that_have_one(tmp_path: Path) -> None:
    track = make_stanced_track()
    tracks.save(track, tmp_path / "a.npz")
    back = tracks.load(tmp_path / "a.npz")
    assert [pose.stance is not None for pose in back.poses] == [True, False, False, True, False]
    for i in (0, 3):
        ours, theirs = track.poses[i].stance, back.poses[i].stance
        assert ours is not None and theirs is not None
        assert np.array_equal(ours.turns, theirs.turns) and np.array_equal(ours.root, theirs.root)
        assert np.array_equal(ours.sure, theirs.sure)


def test_a_track_at_another_size_keeps_its_3d_bodies(tmp_path: Path) -> None:
    track = make_stanced_track()
    tracks.save(track, tmp_path / "a.npz")
    larger = tracks.load(tmp_path / "a.npz", size=(960, 1280)).poses[3].stance
    assert larger is not None and np.array_equal(larger.root, make_stance(3).root)


@pytest.mark.parametrize("key", ["stance_root", "stance_sure"])
def test_half_a_3d_body_is_refused_naming_what_is_wrong(tmp_path: Path, key: str) -> None:
    tracks.save(make_stanced_track(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        values = dict(file)
    np.savez(tmp_path / "lacks.npz", **{k: v for k, v in values.items() if k != key})
    with pytest.raises(InputError, match=f"lacks '{key}'"):
        tracks.load(tmp_path / "lacks.npz")
    np.savez(tmp_path / "odd.npz", **values | {key: values[key][:, :2, None]})
    with pytest.raises(InputError, match="stance_"):
        tracks.load(tmp_path / "odd.npz")


@pytest.mark.parametrize("name", ["a.json", "folder"])
def test_json_keeps_places_scores_times_and_cuts(tmp_path: Path, name: str) -> None:
    track = make_track()
    tracks.save(track, tmp_path / name)
    back = tracks.load(tmp_path / name)
    assert back.times == track.times
    assert (back.size, back.cuts) == (track.size, track.cuts)
    np.testing.assert_allclose(back.xy, track.xy, atol=1e-3)
    np.testing.assert_allclose(back.score, track.score, atol=1e-3)
    assert not back.poses[2].found


def test_openpose_neck_and_hip_lie_between_shoulders_and_hips(tmp_path: Path) -> None:
    track = make_track(1)
    tracks.save(track, tmp_path / "op")
    content = json.loads((tmp_path / "op" / "op_000000000000_keypoints.json").read_text())
    body = np.array(content["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
    np.testing.assert_allclose(body[1, :2], track.xy[0, 5:7].mean(0), atol=1e-3)
    np.testing.assert_allclose(body[8, :2], track.xy[0, 11:13].mean(0), atol=1e-3)
    assert len(content["people"][0]["face_keypoints_2d"]) == 70 * 3


def openpose(folder: Path, number: int, people: list[np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    content = {"people": [{"pose_keypoints_2d": p.ravel().tolist()} for p in people]}
    (folder / f"clip_{number:012d}_keypoints.json").write_text(json.dumps(content))


def test_a_plain_openpose_folder_is_used_with_the_video_times(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        openpose(tmp_path / "op", number, [np.full((25, 3), 0.5)] if number != 1 else [])
    times = [Fraction(i, 25) for i in range(3)]
    track = tracks.load(tmp_path / "op", times=times, size=SIZE)
    assert [pose.found for pose in track.poses] == [True, False, True]
    assert track.size == SIZE
    with pytest.raises(InputError, match="does not say the times"):
        tracks.load(tmp_path / "op")
    with pytest.raises(InputError, match="poses of 3 pictures, the video has 4"):
        tracks.load(tmp_path / "op", times=[*times, Fraction(1)], size=SIZE)


def test_openpose_with_18_joints_is_read(tmp_path: Path) -> None:
    body = np.zeros((18, 3))
    body[4] = (30, 40, 0.9)
    openpose(tmp_path / "op", 7, [body])
    people = tracks.read(tmp_path / "op").people[7]
    assert people[0].score[skeleton.RIGHT_WRIST] == np.float32(0.9)
    assert people[0].xy[skeleton.RIGHT_WRIST].tolist() == [30, 40]
    assert (people[0].score > 0).sum() == 1


def test_coco_results_of_17_joints_are_read_the_surest_person_first(tmp_path: Path) -> None:
    results = [
        {"image_id": 2, "score": 0.3, "keypoints": [1, 1, 0.5] * 17},
        {"image_id": 2, "score": 0.8, "keypoints": [2, 2, 0.5] * 17},
        {"image_id": 0, "score": 0.8, "keypoints": [3, 3, 0.5] * 17},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    people = tracks.read(path).people
    assert [len(some) for some in people] == [1, 0, 2]
    assert people[2][0].xy[0].tolist() == [2, 2]
    assert people[2][0].score[17:].sum() == 0


def test_coco_flags_become_scores(tmp_path: Path) -> None:
    keypoints = [5, 5, 2] * 16 + [6, 6, 1]
    content = {"images": [{"id": "x"}], "annotations": [{"image_id": "x", "keypoints": keypoints}]}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    score = tracks.read(path).people[0][0].score
    assert (score[0], score[16]) == (1, 0.5)


def write_npz(path: Path, **changes: object) -> None:
    values: dict[str, object] = {
        "xy": np.ones((3, 133, 2)), "score": np.ones((3, 133)), "times": [0, 0.04, 0.08],
        "size": [480, 640], **changes,
    }  # fmt: skip
    np.savez(path, **{key: value for key, value in values.items() if value is not None})


def test_a_file_made_by_hand_of_four_arrays_loads(tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz")
    track = tracks.load(tmp_path / "hand.npz")
    assert track.times == [Fraction(0), Fraction(1, 25), Fraction(2, 25)]
    assert track.poses[0].depth is None and track.poses[0].region is None
    assert track.xy.dtype == np.float32


def test_edited_seconds_count_more_than_the_exact_times(tmp_path: Path) -> None:
    tracks.save(make_track(), tmp_path / "a.npz")
    values = dict(np.load(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", **{**values, "times": values["times"] + 1})
    assert float(tracks.load(tmp_path / "b.npz").times[0]) == 1


def test_a_joint_that_is_not_a_number_is_not_seen(tmp_path: Path) -> None:
    xy = np.ones((3, 133, 2))
    xy[1, 5] = np.nan
    write_npz(tmp_path / "a.npz", xy=xy)
    track = tracks.load(tmp_path / "a.npz")
    assert track.score[1, 5] == 0 and track.score.sum() == 3 * 133 - 1
    assert np.isfinite(track.xy).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": None}, "lacks 'score'"),
        ({"xy": np.ones((3, 17, 2))}, r"xy is \(3, 17, 2\)"),
        ({"xy": np.full((3, 133, 2), "a")}, "expected numbers"),
        ({"score": np.full((3, 133), 2.0)}, r"score must lie in \[0, 1\]"),
        ({"times": [0, 0.08, 0.04]}, "times must be seconds that rise"),
        ({"times": [0, 0.04]}, r"times is \(2,\)"),
    ],
)
def test_a_wrong_npz_is_refused_with_its_name(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=rf"bad\.npz: .*{message}"):
        tracks.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b""),
        ("a.npz", b"no archive"),
        ("a.json", b"{"),
        ("a.json", b'{"frames": []}'),
        ("a.json", b'[{"keypoints": [1, 2]}]'),
        ("a.json", b'[{"image_id": 1, "keypoints": [1, 2]}]'),
        ("a.json", b'[{"image_id": 1, "keypoints": [[1, 2, 3]]}]'),
        ("a.txt", b"1 2 3"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        tracks.read(tmp_path / name)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", xy=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz"):
        tracks.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "content", ['{"people": 3}', "[]", '{"people": [{"pose_keypoints_2d": [1]}]}']
)
def test_a_broken_openpose_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "op").mkdir()
    (tmp_path / "op" / "c_0_keypoints.json").write_text(content)
    with pytest.raises(InputError, match="c_0_keypoints"):
        tracks.read(tmp_path / "op")


def test_poses_are_found_by_time_and_missing_ones_show_nobody(tmp_path: Path) -> None:
    tracks.save(make_track(), tmp_path / "a.npz")
    track = make_track()
    asked = [track.times[4] + Fraction(1, 100), track.times[1], Fraction(9)]
    back = tracks.load(tmp_path / "a.npz", times=asked)
    assert back.times == asked
    assert np.array_equal(back.xy[:2], track.xy[[4, 1]])
    assert not back.poses[2].found
    with pytest.raises(InputError, match="no pose at any time"):
        tracks.load(tmp_path / "a.npz", times=[Fraction(9)])


def test_poses_are_scaled_to_a_picture_of_the_same_proportions(tmp_path: Path) -> None:
    track = make_track(1)
    corner = replace(track.poses[0], xy=np.tile(np.float32([[639.5, 479.5]]), (133, 1)))
    tracks.save(replace(track, poses=[corner]), tmp_path / "a.npz")
    half = tracks.load(tmp_path / "a.npz", size=(240, 320))
    # The far corner of the picture stays its far corner.
    np.testing.assert_allclose(half.xy[0, 0], [319.5, 239.5], atol=1e-3)
    assert half.poses[0].region is not None and half.poses[0].region.side == 150
    assert half.size == (240, 320)
    with pytest.raises(InputError, match="other proportions"):
        tracks.load(tmp_path / "a.npz", size=(320, 240))


@pytest.mark.parametrize("name", ["a.npz", "a.json", "folder"])
def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path, name: str) -> None:
    tracks.save(make_track(5), tmp_path / name)
    tracks.save(make_track(2, seed=1), tmp_path / name)
    assert len(tracks.load(tmp_path / name)) == 2
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_outputs_are_checked_beforehand(tmp_path: Path) -> None:
    tracks.check_output(tmp_path / "a.npz", overwrite=False)
    tracks.save(make_track(), tmp_path / "a.npz")
    tracks.check_output(tmp_path / "a.npz", overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        tracks.check_output(tmp_path / "a.npz", overwrite=False)
    with pytest.raises(InputError, match="poses are saved as"):
        tracks.check_output(tmp_path / "a.csv", overwrite=True)
    with pytest.raises(InputError, match="poses are saved as"):
        tracks.save(make_track(), tmp_path / "a.csv")
    with pytest.raises(InputError, match="holds other files"):
        tracks.check_output(tmp_path, overwrite=True)
    (tmp_path / "plain").write_text("")
    with pytest.raises(InputError, match="is a file"):
        tracks.check_output(tmp_path / "plain", overwrite=True)
