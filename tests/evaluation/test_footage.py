import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dance.evaluation import footage
from dance.types import InputError

Maker = Callable[..., Path]


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Puts a fake in the place of the project's command; it sees driver, source and output."""
    path = tmp_path / "fake_command.py"
    path.write_text(
        f"import shutil, sys\ndriver, source, output = sys.argv[1:4]\n{body}", encoding="utf-8"
    )
    monkeypatch.setattr(footage, "COMMAND", path)


def test_a_result_in_step_with_its_driver_has_no_differences(make_clip: Maker) -> None:
    driver = make_clip("driver.mp4", 6, sound=True)
    assert footage.differences(driver, make_clip("result.mp4", 6, sound=True, shade=50)) == []


def test_uneven_times_are_compared_frame_by_frame(make_clip: Maker) -> None:
    uneven = [Fraction(t, 1000) for t in (0, 40, 200, 220)]
    driver = make_clip("driver.mp4", times=uneven)
    assert footage.differences(driver, make_clip("same.mp4", times=uneven)) == []
    uneven[2] -= Fraction(1, 1000)
    assert footage.differences(driver, make_clip("late.mp4", times=uneven)) == [
        "times off by 0.0010 s"
    ]


def test_lost_frames_and_lost_sound_are_found(make_clip: Maker) -> None:
    driver = make_clip("driver.mp4", 6, sound=True)
    found = footage.differences(driver, make_clip("result.mp4", 5))
    assert found[0] == "5 frames instead of 6"
    assert found[1].endswith("sound packets differ")


def test_a_run_that_works_leaves_its_result(
    make_clip: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(
        tmp_path, monkeypatch, "shutil.copyfile(driver, output); print('careful', file=sys.stderr)"
    )
    driver, out = make_clip("driver.mp4"), tmp_path / "out" / "a.mp4"
    outcome = footage.run(driver, driver, out)
    assert (outcome.code, outcome.said, list(outcome.faults)) == (0, "careful", [])
    assert out.exists() and [p.name for p in out.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("sys.exit('Traceback (most recent call last): no')", "a traceback"),
        ("sys.exit(3)", "exit code 3"),
        ("open(output + '.part', 'w'); print('error: x', file=sys.stderr); sys.exit(2)", "left a.mp4.part"),
        ("pass", "left no file"),
        ("print('error: one', file=sys.stderr); print('and more', file=sys.stderr); sys.exit(2)", "2 lines on stderr"),
        ("sys.exit(2)", "0 lines on stderr"),
    ],
)  # fmt: skip
def test_what_must_not_be_is_a_fault(
    body: str, fault: str, make_clip: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, monkeypatch, body)
    driver = make_clip("driver.mp4")
    outcome = footage.run(driver, driver, tmp_path / "out" / "a.mp4")
    assert any(found.startswith(fault) for found in outcome.faults), outcome.faults


def test_one_line_of_refusal_is_no_fault(
    make_clip: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, monkeypatch, "print('error: no person', file=sys.stderr); sys.exit(2)")
    driver = make_clip("driver.mp4")
    outcome = footage.run(driver, driver, tmp_path / "out" / "a.mp4")
    assert (outcome.code, outcome.said, list(outcome.faults)) == (2, "error: no person", [])


@pytest.mark.parametrize(
    ("note", "allowed"),
    [
        ("expected behaviour: must work (pad/crop to even on output)", {"works"}),
        ("expected behaviour: frames without a person are handled", {"works"}),
        ("expected behaviour: clean error: no video stream", {"refused"}),
        ("expected behaviour: clean message: no person found", {"refused"}),
        ("expected behaviour: use what decodes and say so, or a clean error; no traceback", {"works", "refused"}),
        ("expected behaviour: clean refusal or half-body handling", {"works", "refused"}),
    ],
)  # fmt: skip
def test_a_manifests_note_says_what_may_happen(note: str, allowed: set[str]) -> None:
    assert footage.expectation(note) == allowed


def test_every_note_of_the_real_manifest_is_understood(shared: Path) -> None:
    items = json.loads((shared / "footage" / "manifest.json").read_text(encoding="utf-8"))["items"]
    notes = [item["notes"] for item in items if item["name"].startswith("nasty/")]
    assert len(notes) > 20
    counts = [len(footage.expectation(note)) for note in notes]
    assert 1 in counts and 2 in counts
    assert {
        footage.expectation(note) for note in notes if "must" in note and " or " not in note
    } == {frozenset({"works"})}


def test_files_are_chosen_by_parts_of_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b_two.mp4", "a_one.mp4", "c_one.mp4")]
    for path in paths:
        path.touch()
    there = footage.files(tmp_path)
    assert [p.name for p in there] == ["a_one.mp4", "b_two.mp4", "c_one.mp4"]
    assert [p.name for p in footage.chosen(there, ["two", "one", "a_"])] == [
        "b_two.mp4",
        "a_one.mp4",
        "c_one.mp4",
    ]
    assert footage.chosen(there, []) == there
    with pytest.raises(InputError, match="like 'three'"):
        footage.chosen(there, ["three"])
    with pytest.raises(InputError, match="no files"):
        footage.files(tmp_path / "missing")


def test_regular_rows_compare_and_show_every_pair(
    make_clip: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = make_clip("good.mp4", 9), make_clip("bad.mp4", 7)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((32, 24, 3), np.uint8)).save(photo)
    command(tmp_path, monkeypatch, f"shutil.copyfile({str(good)!r}, output)")
    rows = list(footage.regular_rows([good, bad], [photo], tmp_path / "out"))
    assert [(row["driver"], row["frames"], row["ok"]) for row in rows] == [
        ("good.mp4", 9, True), ("bad.mp4", 9, False),
    ]  # fmt: skip
    assert rows[1]["found"] == "9 frames instead of 7"
    assert Image.open(tmp_path / "out" / "good__photo.png").width == 200 * (footage.SHOWN + 1)


def test_nasty_rows_hold_what_happened_against_what_is_expected(
    make_clip: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nasty/fine.mp4", "nasty/hopeless.mp4", "nasty/wrongly_taken.mp4", "driver.mp4"):
        make_clip(name)
    Image.fromarray(np.zeros((32, 24, 3), np.uint8)).save(tmp_path / "nasty" / "photo_a.png")
    notes = {
        "fine.mp4": "must work", "hopeless.mp4": "clean error", "wrongly_taken.mp4": "clean error",
        "photo_a.png": "must work",
    }  # fmt: skip
    items = [
        {"name": f"nasty/{n}", "notes": f"expected behaviour: {note}"} for n, note in notes.items()
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"items": items}), encoding="utf-8")
    command(
        tmp_path, monkeypatch,
        "if 'hopeless' in driver:\n"
        "    print(f'error: {driver}: is bad', file=sys.stderr)\n"
        "    sys.exit(2)\n"
        "assert ('photo_a' in source) == (driver.endswith('driver.mp4') or 'nasty' in driver)\n"
        "shutil.copyfile(driver, output)",
    )  # fmt: skip
    photo = tmp_path / "nasty" / "photo_a.png"
    rows = {
        row["file"]: row
        for row in footage.nasty_rows(tmp_path, photo, tmp_path / "driver.mp4", tmp_path / "out")
    }
    assert rows["photo_a.png"]["as"] == "source" and rows["photo_a.png"]["ok"]
    assert (
        rows["hopeless.mp4"]["ok"] and rows["hopeless.mp4"]["said"] == "error: hopeless.mp4: is bad"
    )
    assert not rows["wrongly_taken.mp4"]["ok"]
