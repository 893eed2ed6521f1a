"""The bench of the generators that draw anybody, with tiny ones: its figures are of what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_recipes import OPTIONS, STAGES

from dance import networks
from dance.evaluation import plain, speed_singles, timing
from dance.evaluation.report import Row
from dance.evaluation.speed_singles import NAMES
from dance.types import InputError

each = pytest.mark.parametrize("name", NAMES)


def small(name: str) -> dict[str, Any]:
    return {key: value for key, value in OPTIONS[name]["generator"].items() if key != "alpha"}


def row(rows: list[Row], start: str) -> Row:
    [found] = [row for row in rows if str(row["what"]).startswith(start)]
    return found


@pytest.fixture
def preset(name: str, tmp_path: Path) -> Path:
    recipe = {"name": name, "options": json.loads(json.dumps(OPTIONS[name]))}
    values = {"recipe": recipe, "steps": 4, "device": "cpu", "threads": 1, "batch": 2}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return tmp_path / "tiny.yaml"


def picture(found: Any) -> torch.Tensor:
    """Of what a network gives: PG2's last stage, a record's picture, or the picture itself."""
    found = found[-1] if isinstance(found, tuple) else found
    return found if isinstance(found, torch.Tensor) else found.picture


@each
def test_the_plain_reading_draws_the_same_picture(name: str) -> None:
    made = speed_singles.case(name, **small(name))
    # Fresh weights leave out what a learnt factor of 0 is before.
    for key, value in made.network.named_parameters():
        if key.endswith("gamma"):
            value.fill_(0.7)
    ours, read = made.drawn(made.shown), picture(plain.reading(made.network)(*made.given))
    assert ours.std() > 1e-4
    torch.testing.assert_close(ours, read, atol=1e-4, rtol=1e-3)


@each
def test_a_generator_has_rows_for_both_runtimes_and_the_plain_reading(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "openvino", lambda module, shape: module)
    rows = speed_singles.drawing_rows(name, rounds=1, **small(name))
    assert row(rows, f"{name}: parameters, 32x48")["value"] > 0  # type: ignore[operator]
    assert row(rows, f"{name}: the runtimes' pictures apart")["met"] is True
    taken = [
        row(rows, f"{name}: {what}")["value"]
        for what in (f"networks of a picture, {how}" for how in ("torch", "OpenVINO", "read plainly"))
    ]  # fmt: skip
    assert all(isinstance(value, float) and value > 0 for value in taken)
    assert row(rows, f"{name}: torch / read plainly")["value"] == pytest.approx(
        taken[0] / taken[2],
        rel=0.05,  # type: ignore[operator]
    )
    once = [r for r in rows if "once for a person" in str(r["what"])]
    assert len(once) == (name not in ("xing", "pg2"))


def test_attention_is_told_by_the_largest_tensor_it_makes() -> None:
    frame = {"height": 96, "width": 64}
    options = small("xing") | {"frame": frame, "downs": 1}
    rows = speed_singles.drawing_rows("xing", rounds=1, **options)
    positions = 48 * 32
    mebibyte = 2**20
    assert row(rows, "xing: the same read plainly")["value"] == pytest.approx(
        4 * positions**2 / mebibyte, abs=1e-3
    )
    # 256 queries at a time.
    ours = row(rows, "xing: largest tensor of attention")
    assert ours["value"] == pytest.approx(4 * 256 * positions / mebibyte, abs=1e-3)
    assert ours["met"] is True
    assert not any("attention" in str(r["what"]) for r in speed_singles.drawing_rows("pg2", rounds=1, **small("pg2")))  # fmt: skip


def test_what_openvino_cannot_convert_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(module: object, shape: object) -> object:
        raise RuntimeError("Check failed\nNo conversion rule found for operations: aten::odd\n")

    monkeypatch.setattr(networks, "openvino", failing)
    rows = speed_singles.drawing_rows("pg2", rounds=1, **small("pg2"))
    found = row(rows, "pg2: networks of a picture, OpenVINO (not converted: No conversion rule")
    assert "aten::odd" in str(found["what"]) and found["value"] == timing.NOT_MEASURED

    def absent(module: object, shape: object) -> object:
        raise InputError("pip install openvino")

    monkeypatch.setattr(networks, "openvino", absent)
    rows = speed_singles.drawing_rows("pg2", rounds=1, **small("pg2"))
    assert "OpenVINO (not installed)" in str(row(rows, "pg2: networks of a picture, OpenVINO")["what"])  # fmt: skip


@each
def test_every_stage_of_a_training_is_timed(name: str, preset: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        found = speed_singles.trained(preset)
    assert [one.stage for one in found] == list(STAGES[name])
    for one in found:
        assert (one.size, one.device, one.batch) == ((48, 32), "cpu", 2)
        assert one.pictures == pytest.approx(4 * 1000 / one.step)


@pytest.mark.parametrize("name", ["pg2"])
def test_a_preset_of_another_recipe_is_refused(preset: Path) -> None:
    with pytest.raises(InputError, match="is for the recipe pg2, this row is about xing"):
        speed_singles.rows("xing", preset, rounds=1)


def test_somebody_standing_fills_the_picture_upright() -> None:
    pose = speed_singles.standing((100, 60))
    top, bottom = pose.xy[:, 1].min(), pose.xy[:, 1].max()
    assert bottom - top == pytest.approx(80, abs=4) and 5 < top < 15
    assert pose.xy[0, 1] < pose.xy[11, 1] < pose.xy[15, 1]
