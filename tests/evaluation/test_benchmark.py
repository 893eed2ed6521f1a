from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dance.config import load
from dance.evaluation import benchmark
from dance.pipeline import Extras, VideoConfig
from dance.types import InputError, Moment, Pose

SCORER = (
    """
import json, sys
bench, results, _, only, _, out = sys.argv[1:]
if bench.endswith("broken"):
    raise SystemExit("cannot score")
measures = {MEASURES!r}
def one(x): return dict({{m: x for m in measures}}, note="")
names = only.split(",")
triplets = {{name: one(float(len(name))) for name in names}}
json.dump(dict(overall=one(7.0), triplets=triplets, missing=[]), open(out, "w"))
""".replace("{MEASURES!r}", repr(benchmark.MEASURES))
    .replace("{{", "{")
    .replace("}}", "}")
)


@pytest.fixture
def folder(make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    for name in ("one", "three"):
        make_clip(f"bench/{name}/answer.mp4")
        make_clip(f"bench/{name}/driver.mp4")
    (tmp_path / "bench" / "notes").mkdir()
    (tmp_path / "bench" / "score.py").write_text(SCORER, encoding="utf-8")
    return tmp_path / "bench"


def test_triplets_are_the_folders_with_an_answer(folder: Path) -> None:
    assert [p.name for p in benchmark.triplets(folder)] == ["one", "three"]
    assert [p.name for p in benchmark.triplets(folder, ["three"])] == ["three"]


def test_a_folder_without_triplets_and_an_unknown_triplet_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds no triplets"):
        benchmark.triplets(tmp_path / "nothing")
    with pytest.raises(InputError, match="no triplet 'two'; there are one, three"):
        benchmark.triplets(folder, ["two"])


@pytest.mark.parametrize("source", ["png", "mp4"])
def test_every_triplet_is_made_from_the_chosen_source(
    source: benchmark.Source, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(
        config: VideoConfig,
        driver: Path,
        person: Path,
        output: Path,
        *,
        extras: Extras,
        overwrite: bool,
    ) -> object:
        asked.append((driver, person, output, extras, overwrite))
        return SimpleNamespace(frames=5, seconds=1.0, notes=("one joint guessed", "two"))

    monkeypatch.setattr(benchmark, "make_video", fake)
    rows = list(
        benchmark.run(
            load(VideoConfig), benchmark.triplets(folder), tmp_path / "out", source=source
        )
    )
    assert asked[1] == (
        folder / "three" / "driver.mp4", folder / "three" / f"source.{source}",
        tmp_path / "out" / "three.mp4", Extras(), True,
    )  # fmt: skip
    assert rows[0]["triplet"] == "one" and rows[0]["notes"] == "one joint guessed; two"


def test_the_scores_are_the_benchmarks_own(folder: Path, tmp_path: Path) -> None:
    rows = benchmark.score(folder, tmp_path, benchmark.triplets(folder))
    assert [(row["triplet"], row["score"]) for row in rows] == [
        ("one", 3),
        ("three", 5),
        ("overall", 7),
    ]


def test_a_scorer_that_fails_is_an_error_with_its_words(folder: Path, tmp_path: Path) -> None:
    broken = folder.rename(tmp_path / "broken")
    with pytest.raises(RuntimeError, match="cannot score"):
        benchmark.score(broken, tmp_path, benchmark.triplets(broken))


def test_a_benchmark_without_a_scorer_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "score.py").unlink()
    with pytest.raises(InputError, match=r"score\.py"):
        benchmark.score(folder, tmp_path, benchmark.triplets(folder))


def test_the_sheet_shows_answer_over_result(
    folder: Path, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("one", "three"):
        make_clip(f"out/{name}.mp4", shade=100)
    path = tmp_path / "sheet.png"
    benchmark.sheet(benchmark.triplets(folder), tmp_path / "out", path, width=64)
    sheet = Image.open(path)
    assert sheet.size == (benchmark.TIMES * 64, 4 * 48)
    lower, upper = (
        sheet.crop((0, 48 * k + 24, sheet.width, 48 * k + 48)).convert("L") for k in (1, 0)
    )
    assert lower.getextrema()[0] > upper.getextrema()[0] + 50


def test_numbers_are_spread_from_the_first_frame_to_the_last() -> None:
    assert benchmark.evenly(11) == [0, 2, 4, 6, 8, 10]
    assert benchmark.evenly(1) == [0] * 6


def test_true_joints_replace_the_retargeted_ones_and_the_rest_moves_along(
    tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 60, (2, 133, 2)).astype(np.float32)
    depth = rng.uniform(0, 9, 133).astype(np.float32)
    half = np.full(133, 0.5, np.float32)
    moments = [Moment(Pose(points, half, depth), Fraction(i, 25)) for i, points in enumerate(xy)]
    monkeypatch.setattr(benchmark, "read_person", lambda *a, **k: SimpleNamespace(size=(48, 64)))
    monkeypatch.setattr(benchmark, "retargeted", lambda *a, **k: iter(moments))
    truth = rng.uniform(0, 60, (2, 23, 2))
    np.savez(tmp_path / "answer.npz", xyv=np.concatenate([truth, np.ones((2, 23, 1))], -1))
    driver = make_clip("driver.mp4", 2)
    made = benchmark.true_joints(load(VideoConfig), driver, driver, tmp_path / "answer.npz")
    assert np.allclose(made.xy[:, :23], truth)
    assert (made.score[:, :23] == 1).all() and (made.score[:, 23:] == 0.5).all()
    assert made.poses[1].depth is depth
    fingers, wrist = made.xy[:, 95] - made.xy[:, 9], xy[:, 95] - xy[:, 9]
    assert np.allclose(fingers, wrist, atol=1e-4)
