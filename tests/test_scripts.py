"""The commands in scripts/: what they ask of the package, what they write, and how they refuse."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner, Result

from dance import plugins
from dance.config import check
from dance.types import InputError

SCRIPTS = Path(__file__).parents[1] / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def evaluate() -> ModuleType:
    return load("evaluate")


@pytest.fixture
def bench() -> ModuleType:
    return load("bench")


def call(module: ModuleType, *arguments: object) -> Result:
    if hasattr(module, "app"):
        app = module.app
    else:
        app = typer.Typer()
        app.command()(module.main)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refusal(result: Result) -> str:
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "bench" / name).mkdir(parents=True)
        (tmp_path / "bench" / name / "answer.mp4").touch()
    return tmp_path / "bench"


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_every_script_can_be_imported_and_explains_itself(name: str) -> None:
    module = load(name)
    assert module.__doc__
    result = call(module, "--help")
    assert result.exit_code == 0 and "Usage" in result.stdout


def test_the_benchmark_command_makes_scores_and_shows(
    evaluate: ModuleType, triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def run(
        config: object, folders: list[Path], results: Path, *, source: str, joints: str
    ) -> list[object]:
        asked.update(config=config, folders=[f.name for f in folders], source=source, joints=joints)
        return [{"triplet": "two", "frames": 72}]

    rows = [{"triplet": "two", "score": 41.5}, {"triplet": "overall", "score": 41.5}]
    monkeypatch.setattr(evaluate.benchmark, "run", run)
    monkeypatch.setattr(evaluate.benchmark, "score", lambda folder, results, folders: rows)
    monkeypatch.setattr(
        evaluate.benchmark, "sheet", lambda folders, results, path: asked.update(sheet=path)
    )
    out = tmp_path / "out"
    result = call(
        evaluate, "benchmark", triplets, out, "--only", "two", "--source", "mp4",
        "--set", "output.height=256", "--joints", "true",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "41.500" in result.stdout
    assert asked["folders"] == ["two"] and asked["source"] == "mp4"
    assert asked["joints"] == "true"
    assert asked["config"].output.height == 256 and asked["sheet"] == out / "sheet.png"
    assert json.loads((out / "benchmark.json").read_text(encoding="utf-8"))["rows"] == rows
    assert json.loads((out / "runs.json").read_text(encoding="utf-8"))["rows"][0]["frames"] == 72


def test_results_that_are_there_can_be_scored_without_making_them(
    evaluate: ModuleType, triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evaluate.benchmark, "score", lambda folder, results, folders: [{"score": 1.0}]
    )
    monkeypatch.setattr(evaluate.benchmark, "sheet", lambda folders, results, path: None)
    assert call(evaluate, "benchmark", triplets, tmp_path, "--score-only").exit_code == 0


def test_the_surface_command_shows_figures_and_bars_and_keeps_a_picture(
    evaluate: ModuleType, triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"triplet": "one", "keypoints": 0.07, "fitted": 0.05, "iou": 0.9, "parts": 0.81, "limbs": 0.2, "body": 0.1}  # fmt: skip
    asked = {}
    made = [evaluate.surface.Result(row, {})]
    monkeypatch.setattr(evaluate.surface, "compare", lambda folders, config: made)
    monkeypatch.setattr(
        evaluate.surface, "sheet", lambda found, path: asked.update(sheet=path, found=found)
    )
    out = tmp_path / "out"
    result = call(evaluate, "surface", triplets, out)
    assert result.exit_code == 0, result.output
    assert "0.810" in result.stdout and result.stdout.count("yes") == 5
    assert asked == {"sheet": out / "surface.png", "found": made}
    assert json.loads((out / "surface.json").read_text(encoding="utf-8"))["rows"] == [row]


def test_the_pairs_command_draws_with_puppet_and_avatar_unless_others_are_named(
    evaluate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(evaluate.pairs, "pairs", lambda folder, only: [(folder, only)])
    monkeypatch.setattr(
        evaluate.pairs, "compare", lambda chosen, config, names: asked.append((chosen, names)) or []
    )
    monkeypatch.setattr(evaluate.pairs, "rows", lambda found: [{"ssim": 0.5}])
    monkeypatch.setattr(evaluate.pairs, "sheet", lambda found, path: asked.append(path))
    out = tmp_path / "out"
    assert call(evaluate, "pairs", tmp_path, out, "--only", "mint").exit_code == 0
    assert call(evaluate, "pairs", tmp_path, out, "--generator", "edn").exit_code == 0
    assert asked[0] == ([(tmp_path, ["mint"])], ("puppet", "avatar"))
    assert asked[1] == out / "pairs.png"
    assert asked[2] == ([(tmp_path, ())], ["edn"])


def test_bad_input_is_one_line_and_exit_code_2(
    evaluate: ModuleType, triplets: Path, tmp_path: Path
) -> None:
    assert "no triplet 'three'" in refusal(
        call(evaluate, "benchmark", triplets, tmp_path, "--only", "three")
    )
    assert "unknown key" in refusal(
        call(evaluate, "benchmark", triplets, tmp_path, "--set", "nmae=1")
    )
    assert "holds no triplets" in refusal(call(evaluate, "poses", tmp_path / "nothing"))
    assert "--runtime" in refusal(call(evaluate, "poses-parity", tmp_path / "clip.mp4"))
    assert "no files" in refusal(call(evaluate, "footage", tmp_path / "nothing", tmp_path))


def test_the_poses_command_makes_its_runtime_where_asked(
    evaluate: ModuleType, triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate.mediapipe_runtime, "make", lambda folder: folder / "python")
    monkeypatch.setattr(
        evaluate.poses, "benchmark_rows",
        lambda folders, config, runtime: [{"clip": f.name, "runtime": str(runtime)} for f in folders],
    )  # fmt: skip
    made = tmp_path / "environment"
    result = call(
        evaluate, "poses", triplets, "--results", tmp_path / "out", "--make-runtime", made
    )
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "out" / "poses.json").read_text(encoding="utf-8"))["rows"]
    assert rows == [{"clip": name, "runtime": str(made / "python")} for name in ("one", "two")]


def test_parity_gives_a_row_for_each_clip(
    evaluate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evaluate.poses,
        "parity_row",
        lambda clip, config, runtime: {"clip": clip.name, "median": 0.0123},
    )
    result = call(
        evaluate, "poses-parity", "a.mp4", "b.mp4", "--runtime", "python", "--results", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert "0.0123" in result.stdout and "b.mp4" in result.stdout


def test_the_retarget_command_shows_every_row_and_the_means(
    evaluate: ModuleType, triplets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(folders: list[Path], config: object, *, source: str) -> list[dict[str, object]]:
        return [
            {"triplet": f.name, "method": "limbs", "estimated": 0.25, "from": source}
            for f in folders
        ]

    monkeypatch.setattr(evaluate.retargeting, "table", table)
    monkeypatch.setattr(
        evaluate.retargeting, "means", lambda rows: [{"triplet": "mean", "method": len(rows)}]
    )
    result = call(evaluate, "retarget", triplets, "--source", "mp4", "--results", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "out" / "retarget.json").read_text(encoding="utf-8"))["rows"]
    assert [row["triplet"] for row in rows] == ["one", "two", "mean"]
    assert rows[0]["from"] == "mp4" and rows[2]["method"] == 2


def test_the_footage_command_runs_the_chosen_pairs_and_the_nasty_files(
    evaluate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("drivers/a_dance.mp4", "drivers/b_dance.mp4", "photos/p.png", "sources/s.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    asked = []
    monkeypatch.setattr(
        evaluate.footage,
        "regular_rows",
        lambda *arguments: asked.append(arguments) or [{"ok": True}],
    )
    monkeypatch.setattr(
        evaluate.footage, "nasty_rows", lambda *arguments: asked.append(arguments) or [{"ok": True}]
    )
    options = ["--driver", "b_", "--source", "s.mp4", "--source", "p.png", "--set", "chunk=4"]
    result = call(evaluate, "footage", tmp_path, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    drivers, sources, results, passed = asked[0]
    assert [p.name for p in drivers] == ["b_dance.mp4"]
    assert [p.name for p in sources] == ["s.mp4", "p.png"] and results == tmp_path / "out"
    assert passed[-2:] == ["--set", "chunk=4"]
    assert asked[1][1].name == "p.png" and asked[1][2].name == "b_dance.mp4"


def test_the_bench_prints_the_rows_asked_for_as_a_table_and_as_json(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = []

    def rows(subject: object) -> list[dict[str, object]]:
        subjects.append(subject)
        return [{"what": "pose pass", "value": 61.25, "unit": "fps"}]

    monkeypatch.setattr(bench.speed, "ROWS", {"pose": rows, "memory": None})
    result = call(bench, "pose", "--rounds", 2, "--runtime", "python", "--results", tmp_path)
    assert result.exit_code == 0, result.output
    table, _, data = result.stdout.partition("{")
    assert "61.25" in table and json.loads("{" + data)["rows"][0]["value"] == 61.25
    assert subjects[0].rounds == 2 and subjects[0].driver.name == "driver.mp4"
    assert (tmp_path / "bench.json").exists()


def test_an_unknown_row_lists_those_there_are(bench: ModuleType, tmp_path: Path) -> None:
    said = refusal(call(bench, "poes", "--results", tmp_path))
    assert "there are: pose, job, render, memory, stages, edn" in said


def test_an_interrupted_command_exits_130(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(subject: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.speed, "ROWS", {"pose": stop})
    assert call(bench, "--results", tmp_path).exit_code == 130


def test_errors_of_our_own_are_not_taken_for_bad_input(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(subject: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.speed, "ROWS", {"pose": fail})
    result = call(bench, "--results", tmp_path)
    assert result.exit_code == 1 and isinstance(result.exception, ZeroDivisionError)
    assert not isinstance(result.exception, InputError)


def test_the_synthetic_command_orders_what_is_asked_and_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic = load("make_synthetic")
    out = tmp_path / "out"
    assert "no folder of assets" in refusal(call(synthetic, tmp_path / "none", out))
    assert "nothing to make" in refusal(call(synthetic, tmp_path, out, "--pairs", 0))
    assert "size 5" in refusal(call(synthetic, tmp_path, out, "--size", 5))
    asked = {}

    def make(assets: Path, output: Path, order: object, **rest: object) -> dict[str, object]:
        asked.update(assets=assets, output=output, order=order, **rest)
        return {"shards": {"pairs": [{}], "clips": [{}]}}

    monkeypatch.setattr(synthetic.make, "make", make)
    done = call(synthetic, tmp_path, out, "--pairs", 3, "--clips", 2, "--seed", 5, "--workers", 1)
    assert done.exit_code == 0, done.output
    assert asked["order"] == synthetic.make.Order(pairs=3, clips=2, size=128, frames=32, seed=5)
    assert asked["workers"] == 1 and asked["output"] == out
    assert "2 shards, 128x128" in done.stdout


def test_the_explore_commands_ask_for_what_was_said_and_list_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, asked = load("explore"), []

    def make(name: str, person: Path, output: Path, **rest: object) -> list[Path]:
        asked.append((name, person.name, output.name, rest))
        return [output / "a.png", output / "b.png"]

    monkeypatch.setattr(script.explore, "make", make)
    commands = [command.name for command in script.app.registered_commands]
    assert set(commands) == set(plugins.names("dance.explore"))
    for name in commands:
        done = call(
            script, name, "me.jpg", "out", "--pose", "a.png", "--pose", "b.mp4", "--frames", 2
        )
        assert done.exit_code == 0, done.output
        assert done.stdout.split() == [str(Path("out") / file) for file in ("a.png", "b.png")]
        assert asked[-1][:3] == (name, "me.jpg", "out")
        assert asked[-1][3]["poses"] == [Path("a.png"), Path("b.mp4")]
        assert asked[-1][3]["frames"] == 2 and asked[-1][3]["weights"] is None
        config = plugins.load("dance.explore", name).Config
        # What the command does not say is what the plug-in would choose.
        assert check(config, asked[-1][3]["options"], name) == config()
    call(script, "nted", "me.jpg", "out", "--other", "you.jpg", "--garment", "hair", "--quiet")
    assert asked[-1][3]["other"] == Path("you.jpg")
    assert asked[-1][3]["options"]["garment"] == "hair"
    call(script, "dense_transfer", "me.jpg", "out", "--atlas", "atlas.png", "--overwrite")
    assert asked[-1][3]["options"] == {"atlas": Path("atlas.png")} and asked[-1][3]["overwrite"]


def test_the_explore_command_refuses_in_one_line(tmp_path: Path) -> None:
    script, photo = load("explore"), tmp_path / "photo.jpg"
    photo.write_bytes(b"no photo")
    out = tmp_path / "out"
    assert "there is no such file" in refusal(call(script, "pg2", tmp_path / "no.jpg", out))
    assert "garment = 'hat'" in refusal(call(script, "nted", photo, out, "--garment", "hat"))
    (out / "mine").mkdir(parents=True)
    assert "is not empty" in refusal(call(script, "xing", photo, out))
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"none")
    said = refusal(call(script, "xing", photo, tmp_path / "new", "--weights", weights))
    assert "w.safetensors" in said and not (tmp_path / "new").exists()
