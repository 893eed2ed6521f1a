"""The whole way on real input: count, times and sound kept, nothing half written, nothing left running."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_dataset import SIZE, TINY, make_dataset

from dance import config, demo, pipeline, video
from dance.training import loop
from dance.types import Frame, InputError

ROOT = Path(__file__).parents[1]
SMALL = ["output.height=160", "output.encoding.preset=ultrafast"]
EDN = ROOT / "configs" / "video" / "edn.yaml"


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


def run(*arguments: object, script: str = "run_video.py") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / script, *arguments]
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


def learn(folder: Path, **recipe: object) -> Path:
    """A run that has had four steps with the drawn person."""
    data = make_dataset(folder / "data")
    values = {
        "recipe": {"name": "edn", "options": TINY | recipe}, "data": str(data), "steps": 4,
        "output": str(folder / "run"), "device": "cpu", "workers": 0, "threads": 1, "checks": 1,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        loop.train(config.check(loop.TrainConfig, values, "test"))
    return folder / "run"


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn(tmp_path_factory.mktemp("learnt"))


@pytest.fixture(scope="module")
def danced(short: Path, learnt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What run_video.py makes of a short dance and the run, with all that can be had beside it."""
    folder = tmp_path_factory.mktemp("danced")
    sheets = ["--preview", folder / "preview.mp4", "--compare", folder / "compare.mp4"]
    lossless = ["--set", "output.encoding.lossless=true"]
    done = run(
        short, learnt, folder / "out.mp4", "--config", EDN, *lossless, *sheets,
        "--save-poses", folder / "track.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def pictures(path: Path) -> list[np.ndarray]:
    return [frame.rgb for frame in video.read(path)]


def test_a_run_dances_frame_by_frame_with_the_sound(short: Path, danced: Path) -> None:
    out = danced / "out.mp4"
    assert len(times(out)) == 10 and np.allclose(times(out), times(short), atol=1e-4)
    assert list(video.sound_packets(out)) == list(video.sound_packets(short))
    assert video.probe(out).size == SIZE
    assert "dance_weights" in video.probe(out).metadata
    for beside in ("preview.mp4", "compare.mp4"):
        assert len(times(danced / beside)) == 10


def test_the_learnt_person_is_drawn_and_the_place_stays(danced: Path, learnt: Path) -> None:
    found = np.stack(pictures(danced / "out.mp4")).astype(float)
    plate = cv2.imread(str(learnt / "person" / "plate.png"))[..., ::-1]
    apart = np.abs(found - plate).mean(-1)
    assert apart.max(0).max() > 20 and np.abs(found - found[0]).max() > 20
    assert np.median(apart) < 6


@pytest.mark.parametrize("settings", [["chunk=1"], ["chunk=3"], ["generator.options.runtime=openvino"]])  # fmt: skip
def test_chunks_and_runtimes_draw_the_same_learnt_person(
    settings: list[str], short: Path, learnt: Path, danced: Path, tmp_path: Path
) -> None:
    if "openvino" in settings[0]:
        pytest.importorskip("openvino")
    again = tmp_path / "again.mp4"
    wanted = config.load(pipeline.VideoConfig, EDN, ["output.encoding.lossless=true", *settings])
    extras = pipeline.Extras(poses=danced / "track.npz")
    pipeline.make_video(wanted, short, learnt, again, extras=extras)
    for a, b in zip(pictures(danced / "out.mp4"), pictures(again), strict=True):
        assert np.abs(a.astype(int) - b).mean() < (1 if "openvino" in settings[0] else 1e-9)


def test_live_gives_every_frame_of_a_learnt_person(
    short: Path, learnt: Path, tmp_path: Path
) -> None:
    wanted = config.load(pipeline.VideoConfig, EDN)
    pipeline.make_video(wanted, short, learnt, tmp_path / "out.mp4", live=True)
    assert np.allclose(times(tmp_path / "out.mp4"), times(short), atol=1e-4)


def test_a_run_may_dance_as_a_puppet_too(short: Path, learnt: Path, tmp_path: Path) -> None:
    pipeline.make_video(options(), short, learnt, tmp_path / "out.mp4")
    found = np.stack(pictures(tmp_path / "out.mp4")).astype(int)
    # The drawn person is red on green: the study kept in the run is what is drawn.
    red = (found[..., 0] - found[..., 1] > 60).mean((1, 2))
    assert len(found) == 10 and red.min() > 0.03


def test_a_learnt_person_stands_where_the_driver_did_on_their_background(
    learnt: Path, tmp_path: Path
) -> None:
    tall = tmp_path / "tall.mp4"
    frames = (Frame(f.rgb[:, 96:-96], f.time, f.index) for f in video.read(demo.DRIVER))
    video.write(itertools.islice(frames, 6), tall, encoding=video.Encoding())
    settings = ["compose.background=driver", "output.longest=256"]
    wanted = config.load(pipeline.VideoConfig, EDN, settings)
    report = pipeline.make_video(wanted, tall, learnt, tmp_path / "out.mp4")
    assert report.size == (256, 160) and report.frames == 6
    before = list(video.read(tall, size=(256, 160)))
    after = list(video.read(tmp_path / "out.mp4"))
    assert all(np.abs(a.rgb[:20].astype(int) - b.rgb[:20]).mean() < 6 for a, b in zip(before, after, strict=True))  # fmt: skip
    assert all(np.abs(a.rgb.astype(int) - b.rgb).mean() > 2 for a, b in zip(before, after, strict=True))  # fmt: skip


def test_a_run_that_draws_the_whole_frame_dances(short: Path, tmp_path: Path) -> None:
    generator = TINY["generator"] | {"alpha": False, "height": 32, "width": 64}
    whole = learn(tmp_path, window=False, generator=generator, weights={}, temporal=False)
    wanted = config.load(pipeline.VideoConfig, EDN)
    assert pipeline.make_video(wanted, short, whole, tmp_path / "out.mp4").frames == 10


def test_runs_that_cannot_be_drawn_are_one_line_and_exit_code_2(
    short: Path, learnt: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    unfinished, broken, other = (tmp_path / name for name in ("unfinished", "broken", "other"))
    for folder in (unfinished, broken, other):
        shutil.copytree(learnt, folder)
    (unfinished / "generator.safetensors").unlink()
    content = (broken / "generator.safetensors").read_bytes()
    (broken / "generator.safetensors").write_bytes(content[:-100])
    text = (other / "run.json").read_text(encoding="utf-8").replace('"edn"', '"xing"')
    (other / "run.json").write_text(text, encoding="utf-8")
    wanted = config.load(pipeline.VideoConfig, EDN)
    for source, said in (
        (tmp_path / "empty", "no trained run"), (learnt.parent / "data", "is a dataset"),
        (broken, "no whole safetensors"), (other, r"configs/video/xing\.yaml"),
        (demo.SOURCE, "give the trained weights"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            pipeline.make_video(wanted, short, source, tmp_path / "out.mp4")
    done = run(short, unfinished, tmp_path / "out.mp4", "--config", EDN)
    assert done.returncode == 2 and "no generator.safetensors yet" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.slow
def test_from_a_video_to_a_dance_in_three_commands(short: Path, tmp_path: Path) -> None:
    data, trained = tmp_path / "data", tmp_path / "run"
    sets = ["--set", "limits.seconds=2", "--set", "longest=192"]
    done = run("person", demo.DRIVER, data, *sets, script="scripts/prepare_data.py")
    assert done.returncode == 0, done.stderr
    sets = [f"data={data}", f"output={trained}", "minutes=null", "steps=8", "threads=1", "checks=2",
            "recipe.options.generator.height=128", "recipe.options.generator.face.side=32"]  # fmt: skip
    config_file = ROOT / "configs" / "train" / "edn_cpu.yaml"
    settings = [part for s in sets for part in ("--set", s)]
    done = run(config_file, *settings, script="scripts/train.py")
    assert done.returncode == 0, done.stderr
    done = run(short, trained, tmp_path / "out.mp4", "--config", EDN)
    assert done.returncode == 0, done.stderr
    assert times(tmp_path / "out.mp4") == pytest.approx(times(short), abs=1e-4)
