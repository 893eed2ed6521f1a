"""A video of a person becomes a dataset: whole, resumable, and only where something can be learnt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from figure import by_colour, mask_of, painted, pose_at, room

from dance import config, dataset, person_files, prepare, video
from dance.pose import tracks
from dance.prepare import Limits, PrepareConfig
from dance.types import Frame, InputError, Pose, Track

SIZE = (160, 240)
UNIT = 36.0
COUNT = 24


def walk(count: int = COUNT) -> list[Pose]:
    return [pose_at(70 + 4 * i, 66, UNIT) for i in range(count)]


def film(folder: Path, poses: list[Pose]) -> tuple[Path, dict[str, Any]]:
    """A video of the drawn person, and settings in which its poses are read from a file."""
    background = room(SIZE)
    times = [Fraction(i, 8) for i in range(len(poses))]

    def frames() -> Iterator[Frame]:
        for i, (pose, time) in enumerate(zip(poses, times, strict=True)):
            rgb = painted(background, mask_of(pose, SIZE, UNIT)) if pose.found else background
            yield Frame(rgb, time, i)

    video.write(frames(), folder / "walk.mp4", encoding=video.Encoding(preset="ultrafast", crf=6))
    tracks.save(Track(poses, times, SIZE), folder / "poses.npz")
    settings = {
        "estimator": {"name": "recorded", "options": {"path": str(folder / "poses.npz")}},
        "limits": {"seconds": 1, "frames": 12, "torso": 20},
        "person": {"views": 2, "samples": 6},
    }
    return folder / "walk.mp4", settings


def options(values: dict[str, Any]) -> PrepareConfig:
    return config.check(PrepareConfig, values, "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("film")
    source, settings = film(folder, walk())
    prepare.prepare_person(options(settings), source, folder / "data", segment=by_colour)
    return folder / "data", source, settings


Made = tuple[Path, Path, dict[str, Any]]


def test_the_dataset_holds_pictures_poses_mattes_faces_and_the_person(made: Made) -> None:
    found = dataset.open_dataset(made[0])
    assert found.facts.frames == found.facts.usable == COUNT == len(found.track)
    assert found.facts.size == SIZE and found.facts.source == "walk.mp4"
    assert video.probe(found.pictures).frames == video.probe(found.mattes).frames == COUNT
    original, kept = (video.pick(path, [9])[0].rgb for path in (made[1], found.pictures))
    assert np.abs(original.astype(int) - kept).mean() < 3
    for number in (2, 20):
        grey = video.pick(found.mattes, [number])[0].rgb[..., 1] > 127
        truth = mask_of(walk()[number], SIZE, UNIT) > 0.5
        assert (grey & truth).sum() / (grey | truth).sum() > 0.85
        left, top, right, bottom = found.faces[number]
        nose = found.track.poses[number].xy[0]
        assert left < nose[0] < right and top < nose[1] < bottom
    person = person_files.load(found.person)
    assert person.size == SIZE and len(person.views) >= 1
    assert (made[0] / "sheet.png").is_file()
    assert not list(made[0].glob(".*")) and not (made[0] / "preparing.json").exists()


def test_single_frames_of_the_pictures_are_near_a_key_frame(made: Made) -> None:
    import av

    with av.open(str(made[0] / dataset.PICTURES)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert all(any(keys[i : i + 4]) for i in range(COUNT - 4))


def test_a_finished_dataset_is_kept_and_a_stopped_one_is_finished(made: Made) -> None:
    folder, source, settings = made
    stamp = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    prepare.prepare_person(options(settings), source, folder, segment=by_colour)
    assert stamp == {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_what_a_stopped_run_has_finished_is_not_made_again(tmp_path: Path) -> None:
    source, settings = film(tmp_path, walk())
    folder = tmp_path / "data"

    def stop(progress: prepare.Progress) -> None:
        if progress.stage == "cutting the person out" and progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_person(
            options(settings), source, folder, segment=by_colour, on_progress=stop
        )
    assert (folder / "preparing.json").is_file() and not (folder / dataset.MATTES).exists()
    with pytest.raises(InputError, match="no whole dataset"):
        dataset.open_dataset(folder)
    stages = set()
    prepare.prepare_person(
        options(settings),
        source,
        folder,
        segment=by_colour,
        on_progress=lambda p: stages.add(p.stage),
    )
    assert stages == {"cutting the person out"}
    assert dataset.open_dataset(folder).facts.frames == COUNT


def test_another_video_and_other_settings_are_refused(made: Made, tmp_path: Path) -> None:
    folder, source, settings = made
    with pytest.raises(InputError, match="other settings \\(crf\\)"):
        prepare.prepare_person(options(settings | {"crf": 20}), source, folder, segment=by_colour)
    (tmp_path / "b").mkdir()
    other, _ = film(tmp_path / "b", walk(COUNT - 2))
    with pytest.raises(InputError, match="another video"):
        prepare.prepare_person(options(settings), other, folder, segment=by_colour)
    with pytest.raises(InputError, match="is no dataset"):
        prepare.prepare_person(options(settings), source, tmp_path, segment=by_colour)


def test_a_photo_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    cv2.imwrite(str(photo), room((64, 64)))
    with pytest.raises(InputError, match="is a photo"):
        prepare.prepare_person(PrepareConfig(), photo, tmp_path / "d", segment=by_colour)
    with pytest.raises(InputError, match="no such file"):
        prepare.prepare_person(
            PrepareConfig(), tmp_path / "b.mp4", tmp_path / "d", segment=by_colour
        )
    assert not (tmp_path / "d").exists()


def test_a_clip_that_is_too_short_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    source, settings = film(tmp_path, walk(8))
    with pytest.raises(InputError, match=r"walk\.mp4: is too short, 8 frames in 1\.0 s"):
        prepare.prepare_person(options(settings), source, tmp_path / "d", segment=by_colour)
    assert not (tmp_path / "d").exists()


def clip(poses: list[Pose], cuts: frozenset[int] = frozenset()) -> Track:
    return Track(poses, [Fraction(i, 8) for i in range(len(poses))], SIZE, cuts)


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (clip([Pose.unseen()] * COUNT), "no person was found"),
        (clip(walk(6)), "too short, 6 frames"),
        (clip(walk(), frozenset({3, 7, 11})), "has 3 cuts"),
        (clip(walk(6) + [Pose.unseen()] * 18), "seen in 25% of the frames"),
        (clip([pose_at(100, 80, 10)] * COUNT), "too small"),
    ],
)
def test_a_clip_nothing_can_be_learnt_from_is_refused_with_the_reason(
    track: Track, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        prepare.require_usable(Path("a.mp4"), track, Limits(seconds=1, frames=12))


def test_good_clips_are_not_refused() -> None:
    prepare.require_usable(Path("a.mp4"), clip(walk(), frozenset({0, 9})), Limits(seconds=1, frames=12))  # fmt: skip


def greys(poses: list[Pose]) -> list[Frame]:
    return [
        Frame(np.repeat((mask_of(p, SIZE, UNIT) * 255).astype(np.uint8)[..., None], 3, -1))
        for p in poses
    ]


def test_frames_the_person_is_not_seen_well_in_are_marked() -> None:
    poses = walk()
    shown = greys(poses)
    poses[3] = Pose.unseen()
    poses[6] = pose_at(70 + 24 + 60, 66, UNIT)  # a slip to elsewhere, and back
    poses[9] = pose_at(70 + 36, 66, 2.5 * UNIT)  # far too large
    shown[12] = Frame(np.zeros_like(shown[12].rgb))  # the matte has lost them
    hidden = poses[15].score.copy()
    hidden[11:13] = 0.1
    poses[15] = replace(poses[15], score=hidden)
    shown[18] = Frame(np.full_like(shown[18].rgb, 255))  # the matte takes the room for them
    usable, _ = prepare.marks(clip(poses), shown)
    left_out = {3, 6, 9, 12, 15, 18}
    assert left_out <= set(np.flatnonzero(~usable)) <= left_out | {7, 10}  # and those after a slip


def test_a_face_turned_away_or_not_seen_has_no_box() -> None:
    poses = walk()
    poses[4] = pose_at(86, 66, UNIT, facing=-1)
    _, faces = prepare.marks(clip(poses), greys(walk()))
    assert np.isnan(faces[4]).all() and np.isfinite(faces[[3, 5]]).all()
