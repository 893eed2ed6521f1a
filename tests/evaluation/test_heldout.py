from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from waving import FIRST, FRAMES, REPEATED, make_dataset, pose_of

from dance import dataset, person_files, video
from dance.evaluation import heldout
from dance.evaluation.heldout import HeldOut
from dance.training.data import Augment, Look, Pairs
from dance.types import Drawn, Person, Pose, Size, View


def opened(folder: Path, height: int = 96) -> HeldOut:
    return heldout.held_out(dataset.open_dataset(folder), FIRST, height)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "waving")


@pytest.fixture(scope="module")
def held(folder: Path) -> HeldOut:
    return opened(folder)


@pytest.fixture(scope="module")
def truths(held: HeldOut) -> list[np.ndarray]:
    return [look.rgb for look in held.looks]


class Recorded:
    """Draws the frames of a video by the poses they have, and notes the states it is given."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(self, held: HeldOut, *, matte: bool, dark: float = 1.0) -> None:
        self.frames = video.pick(held.footage.pictures, range(FRAMES))
        self.poses = held.footage.track.poses
        self.matte = matte
        self.dark = dark
        self.calls: list[tuple[int, object]] = []

    def encode(self, person: Person) -> str:
        return "code"

    def render(self, code: object, poses: Sequence[Pose], state: object) -> tuple[Drawn, object]:
        assert code == "code"
        numbers = [next(i for i, p in enumerate(self.poses) if p is pose) for pose in poses]
        self.calls += [(numbers[0], state)]
        rgb = np.stack([self.frames[i].rgb for i in numbers]) * self.dark
        pictures = torch.from_numpy(rgb).movedim(-1, 1).float() / 127.5 - 1
        alpha = torch.ones_like(pictures[:, :1]) if self.matte else None
        return Drawn(pictures, alpha), numbers[-1]


def person_of(held: HeldOut) -> Person:
    return person_files.load(held.footage.person)


def test_the_frames_are_those_training_holds_out(folder: Path) -> None:
    footage = dataset.open_dataset(folder)
    for share in (0.15, 0.2, 0.33):
        first = heldout.first_held(FRAMES, share)
        pairs = Pairs(
            footage, Look((32, 32), None), lambda pose, size: np.zeros((*size, 3), np.uint8),
            seed=0, augment=Augment(), held_out=share,
        )  # fmt: skip
        assert max(pairs.train) < first and min(pairs.held) == first + 1
    assert heldout.first_held(FRAMES, 0) == FRAMES


def test_every_held_out_frame_is_looked_at_in_order(held: HeldOut) -> None:
    assert [look.number for look in held.looks] == list(range(FIRST, FRAMES))
    assert [look.joined for look in held.looks] == [False] + [True] * (FRAMES - FIRST - 1)
    assert held.learnt == list(range(FIRST))


def test_the_region_is_the_person_and_a_little_more(held: HeldOut) -> None:
    for look in held.looks:
        red = (look.rgb[..., 0].astype(int) - look.rgb[..., 1]) > 60
        assert red.sum() > 300
        assert look.region[red].mean() > 0.99
        assert red.sum() < look.region.sum() < 2 * red.sum()


def test_the_face_is_in_its_box(held: HeldOut) -> None:
    for look in held.looks:
        nose = look.matrix[:, :2] @ look.pose.xy[0] + look.matrix[:, 2]
        rows, columns = np.nonzero(look.face)
        assert np.allclose([columns.mean(), rows.mean()], nose, atol=1)


def test_the_empty_place_shows_nobody(held: HeldOut) -> None:
    for look in held.looks:
        red = (look.place[..., 0].astype(int) - look.place[..., 1]) > 60
        assert not red.any()
        far = cv2.dilate(look.region.astype(np.uint8), np.ones((9, 9))) == 0
        assert np.array_equal(look.place[far], look.rgb[far])


def test_the_truth_is_perfect(held: HeldOut, truths: list[np.ndarray]) -> None:
    assert heldout.measure(truths, held) == {
        "ssim": pytest.approx(1), "psnr": 60, "detail": pytest.approx(1), "flicker": 0,
        "change": 1, "face ssim": pytest.approx(1), "face psnr": 60,
    }  # fmt: skip


@pytest.mark.parametrize("matte", [False, True])
def test_a_generator_that_draws_the_truth_is_perfect_and_beats_the_nearest_frame(
    held: HeldOut, *, matte: bool
) -> None:
    drawn = heldout.drawn(Recorded(held, matte=matte), person_of(held), held)
    found = heldout.measure(drawn, held)
    assert found["ssim"] == pytest.approx(1, abs=1e-3) and found["psnr"] > 50
    assert found["flicker"] < 0.3 and found["change"] == pytest.approx(1, abs=0.02)
    near = heldout.measure(heldout.neighbours(held).moved, held)
    assert near["ssim"] < found["ssim"] - 0.02 and near["psnr"] < found["psnr"] - 5
    assert near["flicker"] > found["flicker"]


def test_a_wrong_colour_costs_psnr_but_does_not_flicker(
    held: HeldOut, truths: list[np.ndarray]
) -> None:
    generator = Recorded(held, matte=True, dark=0.8)
    found = heldout.measure(heldout.drawn(generator, person_of(held), held), held)
    shuffled = heldout.measure([truths[i] for i in (3, 0, 5, 1, 4, 2)], held)
    assert found["psnr"] < 30
    assert shuffled["flicker"] > 2 * found["flicker"] > 0


def test_the_generator_draws_on_from_what_it_drew_and_anew_after_a_cut(tmp_path: Path) -> None:
    held = opened(make_dataset(tmp_path / "cut", cuts=frozenset({FIRST + 5})))
    generator = Recorded(held, matte=True)
    assert len(list(heldout.drawn(generator, person_of(held), held))) == FRAMES - FIRST
    assert generator.calls == [(FIRST, None), (FIRST + 4, FIRST + 3), (FIRST + 5, None)]


def test_what_is_outside_the_region_does_not_count(held: HeldOut, truths: list[np.ndarray]) -> None:
    def spoiled(distance: int) -> Iterator[np.ndarray]:
        for truth, look in zip(truths, held.looks, strict=True):
            near = cv2.dilate((look.region | look.face).astype(np.uint8), np.ones((distance,) * 2))
            yield np.where(near[..., None] > 0, truth, 255 - truth)

    # SSIM looks five pixels around.
    assert heldout.measure(spoiled(13), held)["ssim"] == pytest.approx(1)
    found = heldout.measure(spoiled(1), held)
    assert found["psnr"] == 60 and found["ssim"] < 0.99


def test_a_frozen_picture_changes_nothing_and_still_flickers(
    held: HeldOut, truths: list[np.ndarray]
) -> None:
    found = heldout.measure([truths[0]] * len(truths), held)
    assert found["change"] == 0 and found["flicker"] > 2


def test_a_change_at_a_cut_is_no_flicker(tmp_path: Path, held: HeldOut) -> None:
    cut = opened(make_dataset(tmp_path / "cut", cuts=frozenset({FIRST + 3})))
    for looks, flickers in ((held, True), (cut, False)):
        pictures = [look.rgb // (2 if i >= 3 else 1) for i, look in enumerate(looks.looks)]
        before = heldout.measure([look.rgb // 2 for look in looks.looks], looks)["flicker"]
        assert (heldout.measure(pictures, looks)["flicker"] > before + 3) == flickers


def test_frames_that_are_not_usable_are_drawn_but_not_measured(tmp_path: Path) -> None:
    held = opened(make_dataset(tmp_path / "some", unusable=(FIRST + 2, 5)))
    assert not held.looks[2].region.any() and not held.looks[2].face.any()
    assert 5 not in held.learnt
    pictures = [look.rgb if i != 2 else 255 - look.rgb for i, look in enumerate(held.looks)]
    found = heldout.measure(pictures, held)
    assert found["psnr"] == 60 and found["flicker"] == 0


def test_where_nothing_can_be_measured_nothing_is_said(tmp_path: Path) -> None:
    held = opened(make_dataset(tmp_path / "none", unusable=tuple(range(FIRST, FRAMES))))
    found = heldout.measure([look.rgb for look in held.looks], held)
    assert set(found) == set(heldout.MEASURES) and all(np.isnan(v) for v in found.values())


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.3])
def test_a_picture_is_placed_exactly_whatever_its_size(scale: float) -> None:
    rows, columns = np.mgrid[:400, :300].astype(np.float32)
    matrix = np.array([[scale, 0, -3.3], [0, scale, 2.2]])
    seen = heldout._seen(np.dstack([columns, rows]), matrix, (60, 50))
    # Where each pixel of the view is in the picture, away from its border.
    x, y = (np.arange(50) + 3.3) / scale, (np.arange(60) - 2.2) / scale
    assert np.allclose(scale * seen[10:, :, 0], scale * x, atol=0.15)
    assert np.allclose(scale * seen[10:, :, 1], scale * y[10:, None], atol=0.15)


def test_the_nearest_frame_has_the_pose_and_stands_in_its_place(
    folder: Path, held: HeldOut
) -> None:
    found = heldout.neighbours(held)
    assert np.allclose(found.apart, 0, atol=1e-4)
    known = video.pick(folder / dataset.PICTURES, REPEATED)
    for i, look in enumerate(held.looks):
        size = look.size[::-1]
        there = cv2.warpAffine(known[i].rgb, look.matrix, size, flags=cv2.INTER_CUBIC)
        apart = np.abs(found.unmoved[i].astype(int) - there)[look.face]
        assert apart.mean() < 2, f"frame {look.number} is not beside frame {REPEATED[i]}"
    rows = [heldout.measure(p, held) for p in (found.moved, found.whole, found.unmoved)]
    assert rows[0]["ssim"] > rows[2]["ssim"] + 0.1 and rows[1]["ssim"] > rows[2]["ssim"] + 0.1
    assert rows[0]["psnr"] > 20


def test_a_frame_that_may_not_be_learnt_from_is_no_neighbour(tmp_path: Path) -> None:
    near = (REPEATED[0] - 1, REPEATED[0], REPEATED[0] + 1)
    found = heldout.neighbours(opened(make_dataset(tmp_path / "less", unusable=near)))
    assert found.apart[0] > 10 * found.apart[1]


def test_one_picture_is_moved_but_never_bent(folder: Path, held: HeldOut) -> None:
    frame, pose = video.pick(folder / dataset.PICTURES, [REPEATED[1]])[0], pose_of(REPEATED[1])
    opaque = View(frame, pose, np.ones(frame.size, np.float32))
    pictures = list(heldout.still(opaque, held))
    # All of it where that frame is the nearest one, and elsewhere not the pose that is wanted.
    whole = heldout.neighbours(held).whole
    apart = [np.abs(a.astype(int) - b).max() for a, b in zip(pictures, whole, strict=True)]
    assert apart[1] <= 1 and min(apart[:1] + apart[2:]) > 30


def test_views_from_held_out_frames_are_not_known(folder: Path) -> None:
    person = person_files.load(folder / dataset.PERSON)
    known = heldout.without_held(person, FIRST)
    assert known is not None and [view.frame.index for view in known.views] == [0]
    assert heldout.without_held(person, 0) is None
