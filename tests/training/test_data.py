"""Pairs of frames: which, in what shape, changed consistently, and the same for the same number."""

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from figure import SHIRT, mask_of
from small_dataset import SIZE, make_dataset

from dance import dataset, draw
from dance.geometry import person_window
from dance.skeleton import LEFT_WRIST, RIGHT_WRIST
from dance.training import data
from dance.training.data import Augment, Look, Pairs
from dance.types import Frame, InputError, Pose

PLAIN = Augment(scale=0, shift=0, turn=0)


def masks(pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """A label that shows where the person must be, were the picture drawn from the pose."""
    unit = (
        float(np.linalg.norm(pose.xy[5] - pose.xy[11])) / 1.0112
    )  # of the drawn figure, in torsos
    return np.repeat((mask_of(pose, size, unit) * 255).astype(np.uint8)[..., None], 3, -1)


def sticks(pose: Pose, size: tuple[int, int]) -> np.ndarray:
    return draw.sticks(np.zeros((*size, 3), np.uint8), pose)


def pairs(folder: Path, *, window: bool = True, **changes: object) -> Pairs:
    footage = dataset.open_dataset(folder)
    view = person_window(footage.facts.reach, footage.facts.size, 64) if window else None
    look = Look(view.size if view else (64, 64), view)
    options = {"seed": 3, "augment": PLAIN, "face": 16} | changes
    return Pairs(footage, look, options.pop("label", sticks), **options)  # type: ignore[arg-type]


def test_a_pair_has_the_promised_shapes_and_ranges(folder: Path) -> None:
    item = pairs(folder, augment=Augment())[5]
    height, width = item["picture"].shape[-2:]
    assert height == 64 and width % 32 == 0
    for name, channels, low in (("label", 3, 0), ("picture", 3, -1), ("matte", 1, 0), ("valid", 1, 0)):  # fmt: skip
        value = item[name]
        assert value.shape == (2, channels, height, width) and value.dtype == torch.float32
        assert low <= float(value.min()) and 0.6 < float(value.max()) <= 1
    assert (
        item["face"].shape == (2, 4) and item["frame"].tolist()[1] == item["frame"].tolist()[0] + 1
    )


def test_frames_held_out_over_cuts_or_marked_are_never_learnt_from(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d", frames=40, unusable=(10, 20), cuts=frozenset({15}))
    some = pairs(made, held_out=0.25)
    assert set(some.train) == set(range(1, 30)) - {10, 11, 15, 20, 21}
    assert set(some.held) == set(range(31, 40))
    seen = {tuple(some[n]["frame"].tolist()) for n in range(60)}
    assert max(current for _, current in seen) < 30
    assert {current for _, current in seen} == set(some.train)


def test_the_same_number_gives_the_same_sample_whatever_came_before(folder: Path) -> None:
    first, second = (
        pairs(folder, augment=Augment(flip=True, light=0.2)),
        pairs(folder, augment=Augment(flip=True, light=0.2)),
    )
    first[0], first[1]
    for key, value in first[31].items():
        assert torch.equal(value, second[31][key]), key
    other = pairs(folder, augment=Augment(flip=True, light=0.2), seed=4)
    assert not torch.equal(first[31]["picture"], other[31]["picture"])


def test_workers_give_the_same_batches_and_processes_share_them_out(folder: Path) -> None:
    some = pairs(folder, augment=Augment())
    here = data.batches(some, size=2, first=3, workers=0)
    there = data.batches(some, size=2, first=3, workers=1)
    for _ in range(2):
        a, b = next(here), next(there)
        assert all(torch.equal(a[key], b[key]) for key in a)
    there.close()
    whole = next(data.batches(some, size=2, first=1, workers=0))
    parts = [
        next(data.batches(some, size=1, first=1, workers=0, rank=r, processes=2)) for r in range(2)
    ]
    assert torch.equal(whole["frame"], torch.cat([part["frame"] for part in parts]))


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("flip", [False, True])
def test_label_picture_and_matte_stay_together_under_every_change(
    folder: Path, flip: bool, window: bool
) -> None:
    change = Augment(scale=0.2, shift=0.05, turn=15, flip=flip)
    some = pairs(folder, augment=change, label=masks, window=window)
    agreements = []
    for n in range(8):
        item = some[n]
        for k in range(2):
            matte, label = item["matte"][k, 0].numpy() > 0.5, item["label"][k, 0].numpy() > 0.5
            seen = item["valid"][k, 0].numpy() > 0.5
            agreements.append((matte & label & seen).sum() / ((matte | label) & seen).sum())
            shirt = item["picture"][k].permute(1, 2, 0).numpy()[cv2.erode(matte.astype(np.uint8), np.ones((3, 3))) > 0]  # fmt: skip
            assert np.abs((shirt.mean(0) + 1) * 127.5 - SHIRT).max() < 20
    # A square picture of a wide one squeezes the person, which the drawn masks' round limbs are not.
    assert min(agreements) > (0.8 if window else 0.6), agreements


def test_both_frames_of_a_pair_are_changed_alike(folder: Path) -> None:
    some = pairs(folder, window=False, augment=Augment(scale=0.3, turn=30, shift=0.1), label=masks)
    item = some[2]
    moved = []
    for k in range(2):
        ys, xs = np.nonzero(item["matte"][k, 0].numpy() > 0.5)
        moved.append((xs.mean(), ys.mean()))
    # The person walks 1.5 of 128 pixels a frame: that much, turned and scaled, and no more.
    assert np.hypot(*np.subtract(moved[0], moved[1])) < 2


def test_a_mirrored_pair_has_left_and_right_joints_swapped(folder: Path) -> None:
    seen: list[Pose] = []

    def record(pose: Pose, size: tuple[int, int]) -> np.ndarray:
        seen.append(pose)
        return sticks(pose, size)

    some = pairs(folder, augment=Augment(scale=0, shift=0, turn=0, flip=True), label=record)
    track = some.footage.track
    poses = [Pose(pose.xy.copy(), pose.score) for pose in track.poses]
    for pose in poses:
        pose.xy[LEFT_WRIST, 1] = pose.xy[0, 1] - 5  # the left hand is up
    some.footage = replace(some.footage, track=replace(track, poses=poses))
    for n in range(12):
        some[n]
    kinds = set()
    for pose in seen:
        left_up = bool(pose.xy[LEFT_WRIST, 1] < pose.xy[0, 1])
        assert left_up != bool(pose.xy[RIGHT_WRIST, 1] < pose.xy[0, 1])
        # Facing the camera a person's left is at the picture's right, mirrored or not.
        assert pose.xy[LEFT_WRIST, 0] > pose.xy[0, 0] > pose.xy[RIGHT_WRIST, 0]
        kinds.add(left_up)
    assert kinds == {True, False}


def test_without_changes_the_window_keeps_the_person_in_place(folder: Path) -> None:
    some = pairs(folder)
    boxes = []
    for number in some.held[:3]:
        ys, xs = np.nonzero(some.held_pair(number)["matte"][1, 0].numpy() > 0.5)
        boxes.append((xs.min(), xs.max(), ys.min(), ys.max()))
    assert np.ptp(boxes, axis=0).max() <= 1


def test_colours_are_those_of_the_video(folder: Path) -> None:
    some = pairs(folder, window=False)
    item = some.held_pair(some.held[0])
    from dance import video

    frame = video.pick(some.footage.pictures, [some.held[0]])[0].rgb
    expected = cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    given = (item["picture"][1].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(given - expected).mean() < 4 and frame.shape[:2] == SIZE


def test_the_decoder_rests_once_the_pictures_are_read(tmp_path: Path) -> None:
    """It would go on to the end of the file by itself, and keep every picture."""
    from dance import video

    path = tmp_path / "long.mp4"
    grey = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    frames = (Frame(np.roll(grey, i, 1), Fraction(i, 25), i) for i in range(150))
    video.write(frames, path, encoding=video.Encoding(preset="ultrafast", keyframes=25))
    assert data._read(path, [3, 4]).shape == (2, 480, 640, 3)
    worked = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - worked < 0.1


def test_outside_the_camera_s_picture_nothing_is_valid(folder: Path) -> None:
    some = pairs(folder, window=False, augment=Augment(scale=0, turn=0, shift=0.2))
    item = some[1]
    outside = item["valid"][0, 0] < 0.5
    assert 0 < float(outside.float().mean()) < 0.5
    # The walker does not touch the border: nothing of them goes on beyond it.
    assert float(item["matte"][0, 0][outside].max()) < 0.1


def test_who_is_cut_off_by_the_picture_goes_on_beyond_it() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[4:, 3:5] = 255  # a leg down to the border
    down = np.array([[1.0, 0, 0], [0, 1, -6]])
    placed = data.warp(rgba, down, (8, 8)).numpy()
    assert (placed[3, :, 3:5] > 0.9).all() and placed[3, :, :2].max() < 0.1
    assert (placed[4, :2] == 1).all() and (placed[4, 2:] == 0).all()


def test_too_short_a_dataset_is_refused(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "d", frames=4)
    with pytest.raises(InputError, match="longer video"):
        pairs(made, held_out=0.15)
