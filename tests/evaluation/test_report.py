import json
from pathlib import Path

from dance.evaluation import report

ROWS: list[report.Row] = [
    {"name": "a|b", "score": 1.23456, "ok": True},
    {"name": "second", "score": float("nan"), "note": "two\nlines"},
]


def test_a_table_has_every_column_any_row_has_and_a_dash_for_what_is_missing() -> None:
    lines = report.table(ROWS).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == ["name", "score", "ok", "note"]
    assert lines[1].count("|") == 5
    assert "a\\|b" in lines[2] and "1.235" in lines[2] and "yes" in lines[2]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["second", "-", "-", "two lines"]


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    rule = report.table(ROWS).splitlines()[1].split("|")
    assert rule[2].endswith(":") and not rule[1].endswith(":")


def test_no_rows_make_an_empty_table_not_an_error() -> None:
    assert report.table([]).splitlines()[0] == "|  |"


def test_what_is_saved_is_readable_json_and_the_same_table(tmp_path: Path) -> None:
    text, data = report.save(ROWS, tmp_path / "new", "table", facts={"clip": "demo.mp4"})
    read = json.loads(data.read_text(encoding="utf-8"))
    assert read["facts"] == {"clip": "demo.mp4"}
    assert read["rows"][1] == {"name": "second", "score": None, "note": "two\nlines"}
    assert text.read_text(encoding="utf-8").startswith(report.table(ROWS))
    assert "- clip: demo.mp4" in text.read_text(encoding="utf-8")
