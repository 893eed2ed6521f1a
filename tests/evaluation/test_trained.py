import importlib.util
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result
from waving import FIRST, FRAMES, make_dataset

from dance import dataset
from dance.evaluation import heldout, trained
from dance.generators import edn
from dance.types import InputError

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "waving")


def make_run(folder: Path, data: Path, *, weights: bool = True, **changes: Any) -> Path:
    """A run that has learnt nothing; changes: of its config, by their dotted keys."""
    folder.mkdir(parents=True)
    config: dict[str, Any] = {
        "recipe": {"name": "edn", "options": {"rate": 0.1}},
        "data": str(data), "output": str(folder), "minutes": 1.0, "held_out": 0.15,
    }  # fmt: skip
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = config
        for name in sections:
            section = section[name]
        section[last] = value
    facts = {"config": config, "dataset": asdict(dataset.read_facts(data)), "versions": {}}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (folder / "history.json").write_text(
        json.dumps([{"step": 3, "seconds": 20.0}, {"step": 7, "seconds": 45.0}]), encoding="utf-8"
    )
    shutil.copytree(data / dataset.PERSON, folder / dataset.PERSON)
    if weights:
        torch.manual_seed(1)
        made = edn.untrained(alpha=True)
        edn.save(folder / dataset.GENERATOR, made.networks, made.architecture)
    return folder


def change_dataset(folder: Path, **facts: object) -> None:
    path = folder / dataset.FACTS
    told = json.loads(path.read_text(encoding="utf-8")) | facts
    path.write_text(json.dumps(told), encoding="utf-8")


def open_footage(*folders: Path, data: Path | None = None) -> tuple[dataset.Dataset, int]:
    return trained.open_footage(trained.open_runs(folders), data)


def test_runs_stand_in_one_table_beside_what_they_are_compared_with(
    data: Path, tmp_path: Path
) -> None:
    runs = [make_run(tmp_path / "all", data), make_run(tmp_path / "calm", data, **{"recipe.options.temporal": False})]  # fmt: skip
    sheet = tmp_path / "results" / "sheet.png"
    rows, facts = trained.compare(runs, sheet, height=96)
    names = [row["system"] for row in rows]
    assert names[:3] == ["all", "calm", trained.NEAREST]
    assert {trained.UNMOVED, trained.WHOLE, trained.BLURRED, trained.PUPPET, trained.STILL} < set(names)  # fmt: skip
    for row in rows:
        assert all(np.isfinite(float(str(row[key]))) for key in heldout.MEASURES)
    by_name = {row["system"]: row for row in rows}
    assert by_name["all"]["minutes"] == 0.75 and by_name["all"]["steps"] == 7
    assert by_name["all"]["settings"] == ""
    assert by_name["calm"]["settings"] == "recipe.options.temporal=False"
    # Both draw with the same untrained weights: noise, and the same noise.
    for key in heldout.MEASURES:
        assert by_name["all"][key] == by_name["calm"][key]
    assert "ssim" not in str(by_name["all"]["beats nearest in"])
    assert by_name[trained.NEAREST]["ssim"] > by_name[trained.UNMOVED]["ssim"]
    assert by_name[trained.BLURRED]["detail"] < by_name[trained.NEAREST]["detail"]
    assert f"{FIRST} to {FRAMES - 1}" in facts["held out"] and "96" in facts["view"]
    assert cv2.imread(str(sheet)) is not None


def test_a_run_beats_the_nearest_frame_where_it_is_better_than_all_its_variants(
    data: Path, tmp_path: Path
) -> None:
    runs = trained.open_runs([make_run(tmp_path / "run", data, weights=False)])

    def beaten(**own: float) -> object:
        lesser = {"ssim": 0.4, "psnr": 14.0, "flicker": 9.0}
        measures = {
            "run": {"ssim": 0.5, "psnr": 15.0, "flicker": 8.0, **own},
            trained.NEAREST: lesser, trained.BLURRED: {"ssim": 0.9, "psnr": 30.0, "flicker": 0.0},
            trained.WHOLE: lesser | {"ssim": 0.45}, trained.UNMOVED: lesser | {"flicker": 8.5},
        }  # fmt: skip
        return trained.table(runs, measures)[0]["beats nearest in"]

    assert beaten() == "ssim, psnr, flicker"
    assert beaten(ssim=0.45) == "psnr, flicker"
    assert beaten(flicker=8.6) == "ssim, psnr"
    assert beaten(ssim=0.1, psnr=float("nan"), flicker=10.0) == "nothing"


def test_only_settings_that_differ_are_told_and_not_where_a_run_is(
    data: Path, tmp_path: Path
) -> None:
    one = make_run(tmp_path / "one", data, weights=False, checks=3, rate=5e-4)
    moved = shutil.copytree(data, tmp_path / "data")
    two = make_run(tmp_path / "two", moved, weights=False, minutes=2.0, rate="5e-4")
    assert trained.differences(trained.open_runs([one, two])) == ["minutes=1.0", "minutes=2.0"]
    assert trained.differences(trained.open_runs([one])) == [""]


def test_runs_of_the_same_name_are_told_apart(data: Path, tmp_path: Path) -> None:
    folders = [make_run(tmp_path / part / "run", data, weights=False) for part in ("a", "b")]
    folders.append(make_run(tmp_path / "puppet", data, weights=False))
    names = [one.name for one in trained.open_runs(folders)]
    assert len(set(names)) == 3 and trained.PUPPET not in names
    assert names[0].endswith(str(Path("a") / "run"))


def test_a_dataset_that_has_moved_can_be_named(data: Path, tmp_path: Path) -> None:
    gone, there = shutil.copytree(data, tmp_path / "gone"), tmp_path / "there"
    run = make_run(tmp_path / "run", gone, weights=False)
    gone.rename(there)
    with pytest.raises(InputError, match=r"gone, which is not there.*--data"):
        open_footage(run)
    footage, first = open_footage(run, data=there)
    assert footage.folder == there and first == FIRST


@pytest.mark.parametrize("facts", [{"sha256": "1" * 64}, {"frames": 50}, {"size": [48, 64]}])
def test_another_dataset_than_the_runs_is_refused(
    data: Path, tmp_path: Path, facts: dict[str, object]
) -> None:
    run = make_run(tmp_path / "run", data, weights=False)
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    told["dataset"] |= facts
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(InputError, match=f"not the dataset.*{next(iter(facts))}"):
        open_footage(run)


def test_runs_of_different_datasets_or_shares_are_not_compared(data: Path, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", data, weights=False)
    more = make_run(tmp_path / "more", data, weights=False, held_out=0.3)
    with pytest.raises(InputError, match=r"held out 0\.3 of the frames.*0\.15"):
        open_footage(one, more)
    moved = shutil.copytree(data, tmp_path / "data")
    change_dataset(moved, sha256="1" * 64)
    other = make_run(tmp_path / "other", moved, weights=False)
    with pytest.raises(InputError, match="one dataset"):
        open_footage(one, other)


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_a_run_that_held_nothing_out_is_refused(data: Path, tmp_path: Path, share: float) -> None:
    run = make_run(tmp_path / "run", data, weights=False, held_out=share)
    with pytest.raises(InputError, match="held nothing out"):
        open_footage(run)


def test_held_out_frames_without_the_person_are_refused(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", unusable=tuple(range(FIRST, FRAMES)))
    run = make_run(tmp_path / "run", data)
    with pytest.raises(InputError, match="no usable frames"):
        trained.compare([run], tmp_path / "sheet.png", height=96)
    assert not (tmp_path / "sheet.png").exists()


def test_without_views_from_before_there_is_no_puppet(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", views=(FIRST,))
    rows, _ = trained.compare([make_run(tmp_path / "run", data)], tmp_path / "sheet.png", height=96)
    names = {row["system"] for row in rows}
    assert trained.NEAREST in names and not names & {trained.PUPPET, trained.STILL}


@pytest.fixture
def evaluate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scripts_evaluate", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, *arguments: object) -> Result:
    return CliRunner().invoke(module.app, ["heldout", *(str(a) for a in arguments)])


def test_the_command_writes_table_and_sheet(
    evaluate: ModuleType, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def compare(folders: list[Path], sheet: Path, **options: object) -> object:
        asked.update(folders=folders, sheet=sheet, **options)
        return [{"system": "run", "ssim": 0.5}], {"view": "small"}

    monkeypatch.setattr(evaluate.trained, "compare", compare)
    out = tmp_path / "out"
    result = call(evaluate, out, "a", "b", "--data", data, "--height", 64, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "0.500" in result.stdout
    assert asked == {
        "folders": [Path("a"), Path("b")], "sheet": out / "heldout.png",
        "data": data, "height": 64, "device": "cpu",
    }  # fmt: skip
    assert "view: small" in (out / "heldout.md").read_text(encoding="utf-8")
    written = json.loads((out / "heldout.json").read_text(encoding="utf-8"))
    assert written["rows"] == [{"system": "run", "ssim": 0.5}]


def test_bad_input_is_one_line_and_exit_code_2(
    evaluate: ModuleType, data: Path, tmp_path: Path
) -> None:
    def refusal(*arguments: object) -> str:
        result = call(evaluate, tmp_path / "out", *arguments)
        assert result.exit_code == 2
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    run = make_run(tmp_path / "run", data, weights=False)
    assert "no trained run" in refusal(tmp_path / "nothing")
    assert "is a dataset" in refusal(data)
    assert "given twice" in refusal(run, run)
    assert "has no generator.safetensors" in refusal(run)
    assert "multiple of 32" in refusal(run, "--height", 100)
    assert "--device" in refusal(run, "--device", "abacus")
    (run / "history.json").write_text("[", encoding="utf-8")
    assert "no readable history" in refusal(run)
    assert not (tmp_path / "out").exists()
