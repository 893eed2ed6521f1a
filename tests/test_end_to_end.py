"""The whole way on real input: count, times and sound kept, nothing half written, nothing left running."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dance import config, demo, pipeline, video
from dance.types import Frame, InputError

ROOT = Path(__file__).parents[1]
SMALL = ["output.height=160", "output.encoding.preset=ultrafast"]


def options(*settings: str) -> pipeline.VideoConfig:
    return config.load(pipeline.VideoConfig, None, [*SMALL, *settings])


def clip(path: Path, count: int, times: list[Fraction] | None = None) -> Path:
    """The first frames of the demo's dance, with its sound."""
    frames = []
    for frame in video.read(demo.DRIVER):
        if len(frames) == count:
            break
        frames.append(frame)
    if times is not None:
        frames = [Frame(f.rgb, t, f.index) for f, t in zip(frames, times, strict=True)]
    video.write(frames, path, encoding=video.Encoding(), sound=demo.DRIVER)
    return path


def times(path: Path) -> list[float]:
    return [float(frame.time) for frame in video.read(path, size=(16, 16))]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("drivers") / "a short, dance.mp4", 10)


@pytest.fixture(scope="module")
def result(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    extras = pipeline.Extras(save_poses=folder / "track.npz")
    pipeline.make_video(options(), short, demo.SOURCE, folder / "out.mp4", extras=extras)
    return folder / "out.mp4"


def test_as_many_frames_come_out_at_the_same_times(short: Path, result: Path) -> None:
    assert np.allclose(times(result), times(short), atol=1e-4)
    assert len(times(result)) == 10


def test_the_sound_packets_are_the_drivers(short: Path, result: Path) -> None:
    assert list(video.sound_packets(result)) == list(video.sound_packets(short))
    assert len(list(video.sound_packets(result))) > 5


def test_the_person_moves_and_the_place_does_not(result: Path) -> None:
    pictures = np.stack([frame.rgb for frame in video.read(result)]).astype(float)
    change = np.abs(pictures - pictures[0]).max(axis=(0, 3))
    height, width = change.shape
    assert change[:, width // 4 : -width // 4].max() > 60
    assert change[: height // 8, : width // 8].max() < 25


def test_the_result_tells_how_it_was_made(result: Path) -> None:
    metadata = video.probe(result).metadata
    assert '"height":160' in metadata["dance_config"].replace(" ", "")
    assert "torch" in metadata["dance_versions"]


def test_a_saved_track_draws_the_same_again(short: Path, result: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mp4"
    extras = pipeline.Extras(poses=result.with_name("track.npz"))
    pipeline.make_video(options(), short, demo.SOURCE, again, extras=extras)
    for a, b in zip(video.read(result), video.read(again), strict=True):
        assert np.abs(a.rgb.astype(int) - b.rgb.astype(int)).mean() < 0.5


def test_an_edited_track_is_obeyed(short: Path, result: Path, tmp_path: Path) -> None:
    values = dict(np.load(result.with_name("track.npz")))
    values["xy"][..., 0] += 30
    np.savez(tmp_path / "moved.npz", **values)
    moved = tmp_path / "moved.mp4"
    extras = pipeline.Extras(poses=tmp_path / "moved.npz")
    pipeline.make_video(options("face.strength=0"), short, demo.SOURCE, moved, extras=extras)
    before, after = (next(iter(video.read(p))).rgb.astype(int) for p in (result, moved))
    shifted = np.abs(before[:, :-30] - after[:, 30:])[40:150, 50:110].mean()
    assert shifted < 0.5 * np.abs(before - after)[40:150, 50:110].mean()


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    uneven = [Fraction(t, 1000) for t in (0, 40, 200, 210, 560, 600)]
    driver = clip(tmp_path / "uneven.mp4", 6, uneven)
    pipeline.make_video(options(), driver, demo.SOURCE, tmp_path / "out.mp4")
    assert np.allclose(times(tmp_path / "out.mp4"), times(driver), atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_clips_around_the_chunk_length_work(count: int, tmp_path: Path) -> None:
    driver = clip(tmp_path / "driver.mp4", count)
    report = pipeline.make_video(options("chunk=4"), driver, demo.SOURCE, tmp_path / "out.mp4")
    assert report.frames == count == len(times(tmp_path / "out.mp4"))


def test_live_gives_every_frame_too(short: Path, tmp_path: Path) -> None:
    pipeline.make_video(options(), short, demo.SOURCE, tmp_path / "out.mp4", live=True)
    assert np.allclose(times(tmp_path / "out.mp4"), times(short), atol=1e-4)


def test_a_video_can_be_the_source(short: Path, tmp_path: Path) -> None:
    report = pipeline.make_video(options(), short, short, tmp_path / "out.mp4")
    assert report.frames == 10


@pytest.mark.parametrize("background", ["driver", "#20c040"])
def test_backgrounds_fill_the_picture(background: str, short: Path, tmp_path: Path) -> None:
    pipeline.make_video(
        options(f'compose.background="{background}"'), short, demo.SOURCE, tmp_path / "out.mp4"
    )
    corner = next(iter(video.read(tmp_path / "out.mp4"))).rgb[:8, :8].reshape(-1, 3).mean(0)
    if background == "driver":
        wanted = next(iter(video.read(short, size=(160, 160)))).rgb[:8, :8].reshape(-1, 3).mean(0)
    else:
        wanted = np.array([0x20, 0xC0, 0x40])
    assert np.abs(corner - wanted).max() < 12


def test_nobody_in_the_clip_is_said_and_nothing_written(tmp_path: Path) -> None:
    grey = [Frame(np.full((120, 160, 3), 90, np.uint8), Fraction(i, 25), i) for i in range(5)]
    video.write(grey, tmp_path / "grey.mp4", encoding=video.Encoding())
    with pytest.raises(InputError, match=r"grey\.mp4"):
        pipeline.make_video(options(), tmp_path / "grey.mp4", demo.SOURCE, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mp4"]


def test_a_failure_on_the_way_leaves_nothing_behind(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(layers: object, *rest: object) -> object:
        yield next(layers)  # type: ignore[call-overload]
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(pipeline.steady, "steady", broken)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="on purpose"):
        pipeline.make_video(options(), short, demo.SOURCE, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() <= before


def test_an_output_that_is_an_input_is_refused(short: Path, tmp_path: Path) -> None:
    driver = shutil.copy(short, tmp_path / "driver.mp4")
    content = driver.read_bytes()
    with pytest.raises(InputError, match="given twice"):
        pipeline.make_video(options(), driver, demo.SOURCE, driver, overwrite=True)
    assert driver.read_bytes() == content


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "run_video.py", *arguments]
    return subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=300)


def test_the_command_makes_the_video_and_says_three_lines(short: Path, tmp_path: Path) -> None:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    done = run(short, demo.SOURCE, tmp_path / "out.mp4", *settings)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert str(tmp_path / "out.mp4") in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["missing.mp4", demo.SOURCE, "out.mp4"], "missing.mp4"),
        ([demo.DRIVER, "missing.png", "out.mp4"], "missing.png"),
        ([demo.DRIVER, demo.SOURCE, "out.txt"], "out.txt"),
        ([demo.DRIVER, demo.SOURCE, "nowhere/out.mp4"], "nowhere"),
        ([demo.DRIVER, demo.SOURCE, "out.mp4", "--set", "smoth.gap=1"], "smoth"),
        ([demo.DRIVER, demo.SOURCE, "out.mp4", "--set", "generator.name=pupet"], "pupet"),
        ([demo.DRIVER, demo.SOURCE, "out.mp4", "--set", "generator.options.x=1"], "'x'"),
        ([demo.DRIVER, demo.SOURCE, "out.mp4", "--config", "none.yaml"], "none.yaml"),
        ([demo.DRIVER], "DRIVER SOURCE OUTPUT"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[object], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
    assert list(tmp_path.iterdir()) == []
