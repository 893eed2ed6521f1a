"""The bench of a learnt generator, with a tiny one: its figures are of what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dance import networks
from dance.evaluation import speed_learnt, timing
from dance.evaluation.report import Row
from dance.generators import edn
from dance.types import InputError

TINY = """
recipe:
  name: edn
  options:
    window: true
    generator: {height: 64, width: 96, filters: 2, downs: 1, blocks: 1, enhancer_blocks: 1, alpha: true,
                face: {filters: 2, downs: 1, blocks: 1, side: 16}}
    adversary: {filters: 2, face_filters: 2, layers: 2, scales: 2}
    weights: {l1: 10.0, matte: 5.0}
steps: 4
device: cpu
threads: 1
batch: 3
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


def row(rows: list[Row], start: str) -> Row:
    [found] = [row for row in rows if str(row["what"]).startswith(start)]
    return found


def test_both_runtimes_are_timed_and_draw_the_same(preset: Path) -> None:
    pytest.importorskip("openvino")
    rows = speed_learnt.drawing_rows(preset, Path("photo.png"), rounds=1)
    assert "96x64" in str(row(rows, "edn: parameters")["what"])
    assert row(rows, "edn: the runtimes' pictures apart")["met"] is True
    torch_ms, quick_ms = (
        row(rows, f"edn: networks of a picture, {name}")["value"] for name in ("torch", "OpenVINO")
    )
    assert torch_ms > 0 and quick_ms > 0  # type: ignore[operator]
    assert row(rows, "edn: torch / OpenVINO")["value"] == pytest.approx(
        torch_ms / quick_ms, rel=0.01
    )


def test_pictures_that_differ_are_not_passed(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "openvino", lambda module, shape: lambda x: module(x) + 0.02)
    rows = speed_learnt.drawing_rows(preset, Path("photo.png"), rounds=1)
    found = row(rows, "edn: the runtimes' pictures apart")
    # 0.02 of [-1, 1] is 2.55 of 255 levels; a little more where the face is.
    assert found["met"] is False and found["value"] == pytest.approx(2.55, rel=0.1)


def test_without_openvino_it_is_not_measured(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: object, shape: object) -> object:
        raise InputError("pip install openvino")

    monkeypatch.setattr(networks, "openvino", absent)
    rows = speed_learnt.drawing_rows(preset, Path("photo.png"), rounds=1)
    assert row(rows, "edn: networks of a picture, OpenVINO")["value"] == "not measured"
    assert row(rows, "edn: networks of a picture, torch")["value"] > 0  # type: ignore[operator]


def test_a_trained_run_is_timed_with_its_own_weights(preset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    told = {"config": {"recipe": {"name": "edn"}}, "dataset": {"sha256": ""}}
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    fresh = edn.untrained(height=32, width=48)
    edn.save(run / "generator.safetensors", fresh.networks, fresh.architecture)
    rows = speed_learnt.drawing_rows(preset, run, rounds=1)
    assert "48x32, trained" in str(row(rows, "edn: networks of a picture, torch")["what"])


def test_steps_of_training_are_timed_at_the_presets_size_and_batch(preset: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        [found] = speed_learnt.trained(preset)
    assert (found.stage, found.size, found.device, found.batch) == ("fine", (64, 96), "cpu", 3)
    assert found.pictures == pytest.approx(6 * 1000 / found.step)
    assert found.gpu_memory is None


def test_what_was_not_measured_is_said(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, workers: int, *, mp_context: object) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *exc: object) -> None: ...
        def submit(self, job: object, preset: Path) -> object:
            found = timing.Trained("fine", (64, 96), "cpu", 1, 20.0, 100.0, 2**21, None)
            return type("Done", (), {"result": lambda self: [found]})()

    monkeypatch.setattr(timing, "ProcessPoolExecutor", Pool)
    rows = speed_learnt.training_rows(preset)
    assert row(rows, "edn: a training step, fine stage, 96x64, batch 1, cpu")["value"] == 20
    assert row(rows, "edn: peak memory")["value"] == 2
    assert row(rows, "edn: peak GPU memory")["value"] == "not measured"


def test_a_preset_of_another_recipe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.yaml").write_text("recipe: {name: xing}\nsteps: 1", encoding="utf-8")
    with pytest.raises(InputError, match="recipe xing"):
        speed_learnt.drawing_rows(tmp_path / "other.yaml", Path("photo.png"), rounds=1)
