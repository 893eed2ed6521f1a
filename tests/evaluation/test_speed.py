import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dance import video
from dance.config import load
from dance.evaluation import mediapipe_runtime, speed
from dance.pipeline import VideoConfig


@pytest.fixture
def subject(make_clip: Callable[..., Path]) -> speed.Subject:
    clip = make_clip("clip.mp4", 10)
    return speed.Subject(
        clip, clip, load(VideoConfig), Path("presets"), rounds=3, runtime=Path("python")
    )


def runtime(frames: int, seconds: float) -> mediapipe_runtime.RuntimePoses:
    found = np.ones(frames, bool)
    return mediapipe_runtime.RuntimePoses(np.zeros((frames, 33, 4)), found, seconds, seconds / 2)


def values(rows: list[speed.Row]) -> dict[object, object]:
    return {row["what"]: row["value"] for row in rows}


def test_a_clock_counts_what_waiting_for_items_took() -> None:
    def slow() -> Iterator[int]:
        for i in range(3):
            time.sleep(0.01)
            yield i

    clock: dict[str, float] = defaultdict(float)
    inner = speed._timed("slow", slow(), clock)
    outer = speed._timed("outer", (x for x in inner if not time.sleep(0.005)), clock)
    assert list(outer) == [0, 1, 2]
    # A busy machine only makes all of it longer.
    assert clock["slow"] >= 0.03 and clock["outer"] >= clock["slow"] + 0.015


def test_our_pass_and_the_runtime_take_turns_and_medians_are_compared(
    subject: speed.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    ours = iter([1.0, 2.0, 100.0])

    def ours_pass(clip: Path, config: VideoConfig) -> tuple[int, float, float]:
        turns.append("ours")
        return 100, next(ours), 3.0

    def theirs(python: Path, clip: Path) -> mediapipe_runtime.RuntimePoses:
        turns.append("theirs")
        return runtime(100, 4.0)

    monkeypatch.setattr(speed, "pose_pass", ours_pass)
    monkeypatch.setattr(mediapipe_runtime, "run", theirs)
    rows = speed.pose_rows(subject)
    assert turns == ["ours", "theirs"] * 3
    found = values(rows)
    assert found["pose pass (decode, estimate, follow, smooth)"] == 50
    assert found["its processor time, all cores together"] == 30
    assert found["mediapipe runtime, decode and pose"] == 25
    assert found["pose pass / runtime"] == 2
    assert found["pose pass / runtime's pose alone"] == 1
    assert [row["met"] for row in rows if row["bar"]] == [True]


def test_the_whole_job_is_held_against_its_unavoidable_parts(
    subject: speed.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    heights = []

    def made(config: VideoConfig, *paths: Path, overwrite: bool) -> object:
        heights.append(config.output.height)
        return SimpleNamespace(seconds=4.0, frames=50)

    monkeypatch.setattr(speed.pipeline, "make_video", made)
    monkeypatch.setattr(speed, "encode_seconds", lambda clip, frames, encoding: 1.0)
    monkeypatch.setattr(mediapipe_runtime, "run", lambda python, clip: runtime(50, 1.0))
    rows = speed.job_rows(subject)
    assert heights == [720] * 3
    assert values(rows)["whole job / those alone"] == 2
    assert rows[-1]["met"] is False


def test_memory_is_compared_between_a_short_and_a_long_clip(
    subject: speed.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []

    class FakePool:
        def __init__(self, workers: int, *, mp_context: object) -> None: ...
        def __enter__(self) -> "FakePool":
            return self

        def __exit__(self, *exc: object) -> None: ...
        def submit(self, job: object, config: object, clip: Path, *rest: object) -> object:
            lengths.append(sum(1 for _ in video.read(clip)))
            return SimpleNamespace(result=lambda: 100 * 2**20 + lengths[-1])

    monkeypatch.setattr(speed, "ProcessPoolExecutor", FakePool)
    monkeypatch.setattr(speed, "SHORT", 7)
    monkeypatch.setattr(speed, "LONG", 23)
    rows = speed.memory_rows(subject)
    assert lengths == [7, 23]
    assert rows[-1]["met"] is True and values(rows)["peak memory, 7 frames"] == 100


def test_a_looped_clip_goes_on_at_the_same_pace(
    make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    speed.loop(make_clip("clip.mp4", 4), 10, tmp_path / "long.mp4")
    times = [float(frame.time) for frame in video.read(tmp_path / "long.mp4")]
    assert np.allclose(times, np.arange(10) / 25, atol=1e-4)


def test_encoding_is_timed_on_as_many_frames_as_asked_for(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("clip.mp4", 5)
    few, many = (speed.encode_seconds(clip, n, video.Encoding()) for n in (10, 400))
    assert 0 < few < many


def test_peak_memory_is_that_of_the_largest_moment_of_this_process() -> None:
    code = (
        "import numpy as np\n"
        "from dance.evaluation.memory import peak_memory\n"
        "before = peak_memory()\n"
        "np.ones(200 * 2**20, np.uint8)\n"
        "print(before, peak_memory())"
    )
    root = Path(speed.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    before, after = map(int, done.stdout.split())
    # Somewhat loose: Linux keeps the figure in parts, one a core, and adds them up only now and then.
    assert after - before == pytest.approx(200 * 2**20, rel=0.1)


def test_a_row_takes_its_own_preset_unless_another_is_given(
    subject: speed.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def rows(name: str, preset: Path, *, rounds: int) -> list[speed.Row]:
        taken.append((name, preset, rounds))
        return []

    monkeypatch.setattr(speed.speed_singles, "rows", rows)
    for name in ("nted", "xing"):
        speed.ROWS[name](subject)
    speed.ROWS["pg2"](replace(subject, preset=Path("mine.yaml")))
    presets = Path("presets")
    assert taken == [
        ("nted", presets / "nted_cpu.yaml", 3), ("xing", presets / "xing_cpu.yaml", 3),
        ("pg2", Path("mine.yaml"), 3),
    ]  # fmt: skip
