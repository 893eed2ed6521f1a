"""Real clips through the whole way: does the result keep the driver's frames, times and sound?

A footage folder has `drivers/`, `photos/`, `sources/` (videos of people) and `nasty/`, and a
`manifest.json` whose items of `nasty/` say in their notes what is expected of them.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import dance
from dance import picture, sheets, video
from dance.evaluation.report import Row
from dance.types import Array, InputError, Size

log = logging.getLogger(__name__)

COMMAND = Path(dance.__file__).parents[1] / "run_video.py"
TIME_TOLERANCE = Fraction(1, 10_000)  # seconds
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of the command gave.

    code: its exit code.  said: its warnings, or why it was refused.  faults: what must not be, whatever was expected.
    """

    code: int
    said: str
    seconds: float
    faults: Sequence[str]


def files(folder: Path) -> list[Path]:
    """The files of a folder, sorted. Raises InputError where there are none."""
    there = sorted(path for path in folder.glob("*") if path.is_file())
    if not there:
        raise InputError(f"{folder}: there are no files; give a folder of footage")
    return there


def chosen(paths: Sequence[Path], parts: Sequence[str]) -> list[Path]:
    """Those whose names contain one of the parts, in the order of the parts; all where none is given."""
    for part in parts:
        if not any(part in path.name for path in paths):
            names = ", ".join(path.name for path in paths)
            raise InputError(f"no file is named like {part!r}; there are {names}")
    picked = [path for part in parts for path in paths if part in path.name]
    return list(dict.fromkeys(picked)) if parts else list(paths)


def run(driver: Path, source: Path, output: Path, options: Sequence[str] = ()) -> Outcome:
    """Runs the project's own command as a user would, into a folder of its own, and looks what it left."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        made = Path(folder) / output.name
        command = [sys.executable, str(COMMAND), str(driver), str(source), str(made), "--quiet"]
        began = time.monotonic()
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - began
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        left = {path.name for path in Path(folder).iterdir()}
        whole = done.returncode == 0
        faults = [] if "Traceback" not in done.stderr else ["a traceback"]
        if done.returncode not in (0, 2):
            faults.append(f"exit code {done.returncode}")
        if left != ({made.name} if whole else set()):
            faults.append(f"left {', '.join(sorted(left)) or 'no file'}")
        if done.returncode == 2 and len(lines) != 1:
            faults.append(f"{len(lines)} lines on stderr instead of one")
        if whole and made.name in left:
            os.replace(made, output)
    # A refusal or a traceback says it in its last line; warnings are wrapped over several.
    said = " ".join(" ".join(lines).split()) if whole else (lines or [""])[-1]
    return Outcome(done.returncode, said, seconds, faults)


def differences(driver: Path, result: Path) -> list[str]:
    """Where the result is not in step with its driver: frame count, times (1e-4 s), sound packets."""
    faults = []
    # Small pictures: only their number and times matter here.
    ours, theirs = ([f.time for f in video.read(p, size=(16, 16))] for p in (result, driver))
    if len(ours) != len(theirs):
        faults.append(f"{len(ours)} frames instead of {len(theirs)}")
    off = max((abs(a - b) for a, b in zip(ours, theirs, strict=False)), default=Fraction(0))
    if off > TIME_TOLERANCE:
        faults.append(f"times off by {float(off):.4f} s")
    wrong = sum(
        a is None or b is None or a[1] != b[1] or abs(a[0] - b[0]) > TIME_TOLERANCE
        for a, b in zip_longest(video.sound_packets(result), video.sound_packets(driver))
    )
    if wrong:
        faults.append(f"{wrong} sound packets differ")
    return faults


def regular_rows(
    drivers: Sequence[Path], sources: Sequence[Path], results: Path, options: Sequence[str] = ()
) -> Iterator[Row]:
    """Every driver with every source: a result, a contact sheet beside it, and a row of what was found."""
    for driver in drivers:
        for source in sources:
            output = results / f"{driver.stem}__{source.stem}.mp4"
            outcome = run(driver, source, output, options)
            faults = list(outcome.faults)
            frames = 0
            if outcome.code == 0:
                faults += differences(driver, output)
                frames = sheet(driver, source, output, output.with_suffix(".png"))
            else:
                faults.append(f"refused: {outcome.said}")
            log.info("%s: %s", output.name, "; ".join(faults) or "ok")
            yield {
                "driver": driver.name,
                "source": source.name,
                "frames": frames,
                "frames a second": round(frames / outcome.seconds, 1),
                "ok": not faults,
                "found": "; ".join(faults) or outcome.said,
            }


def expectation(note: str) -> frozenset[str]:
    """What a manifest's note allows: 'works', 'refused' or both."""
    wanted = note.removeprefix("expected behaviour:").strip()
    if " or " in wanted:
        return frozenset({"works", "refused"})
    return frozenset({"refused" if wanted.startswith("clean") else "works"})


def nasty_rows(
    footage: Path, photo: Path, driver: Path, results: Path, options: Sequence[str] = ()
) -> Iterator[Row]:
    """Every file of `nasty/`: videos as the driver of a good photo, photos as the source of a good driver."""
    manifest = json.loads((footage / "manifest.json").read_text(encoding="utf-8"))
    notes = {item["name"]: item["notes"] for item in manifest["items"]}
    for path in files(footage / "nasty"):
        note = notes[f"nasty/{path.name}"].removeprefix("expected behaviour:").strip()
        output = results / f"{path.stem}.mp4"
        as_source = path.name.startswith("photo_")
        pair = (driver, path) if as_source else (path, photo)
        outcome = run(*pair, output, options)
        got = "works" if outcome.code == 0 else "refused"
        faults = list(outcome.faults)
        frames = 0
        if outcome.code == 0:
            faults += differences(pair[0], output)
            frames = sheet(*pair, output, output.with_suffix(".png"))
        if got not in expectation(note):
            faults.append(f"{got}, which is not expected")
        log.info("%s: %s", path.name, "; ".join(faults) or got)
        yield {
            "file": path.name,
            "as": "source" if as_source else "driver",
            "expected": note,
            "got": got,
            "frames": frames,
            "ok": not faults,
            "said": outcome.said.replace(str(path), path.name),
            "found": "; ".join(faults),
        }


def sheet(driver: Path, source: Path, result: Path, path: Path, *, width: int = 200) -> int:
    """A picture to look at: driver over result at the same times, the source first; how many frames there are."""
    height, full = video.probe(result).size
    cell = max(2, round(height * width / full)), width
    numbers: list[int] = []
    rows = []
    for clip in (driver, result):
        frames = list(video.read(clip, size=_within(video.probe(clip).size, cell)))
        numbers = [round(i * (len(frames) - 1) / (SHOWN - 1)) for i in range(SHOWN)]
        rows.append([_padded(frames[number].rgb, cell) for number in numbers])
    if picture.is_picture(source):
        whole = picture.read(source)
        shown = cv2.resize(whole.rgb, _within(whole.size, cell)[::-1], interpolation=cv2.INTER_AREA)
        first = np.asarray(shown)
    else:
        first = next(video.read(source, size=_within(video.probe(source).size, cell))).rgb
    person = _padded(first, cell)
    pictures = [person, *rows[0], person, *rows[1]]
    labels = ["source", *(f"{n}" for n in numbers)] * 2
    Image.fromarray(sheets.contact_sheet(pictures, SHOWN + 1, width=width, labels=labels)).save(
        path
    )
    return len(frames)


def _within(size: Size, cell: Size) -> Size:
    """The largest size of the same proportions that fits into the cell."""
    scale = min(cell[0] / size[0], cell[1] / size[1])
    return max(1, min(cell[0], round(size[0] * scale))), max(
        1, min(cell[1], round(size[1] * scale))
    )


def _padded(rgb: Array, cell: Size) -> Array:
    """The picture in the middle of a grey cell."""
    out = np.full((*cell, 3), 128, np.uint8)
    top, left = (cell[0] - rgb.shape[0]) // 2, (cell[1] - rgb.shape[1]) // 2
    out[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return out
