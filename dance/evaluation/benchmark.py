"""A config over a folder of triplets (driver, source, exact answer), scored by the folder's own program.

A benchmark is a folder with a `score.py` and a folder per triplet that holds `driver.mp4`, `source.png`,
`source.mp4` and `answer.mp4`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from dance import sheets, skeleton, video
from dance.devices import choose_device
from dance.evaluation.report import Row
from dance.pipeline import (
    Extras,
    VideoConfig,
    make_video,
    read_person,
    retargeted,
    watch,
)
from dance.pose import tracks
from dance.progress import Progress
from dance.types import InputError, Track

log = logging.getLogger(__name__)

Source = Literal["png", "mp4"]
Joints = Literal["own", "true"]

_MOVE_ALONG = (
    (skeleton.FACE_SLICE, skeleton.NOSE),
    (skeleton.LEFT_HAND_SLICE, skeleton.LEFT_WRIST),
    (skeleton.RIGHT_HAND_SLICE, skeleton.RIGHT_WRIST),
)

# The scorer's measures, in the order of the project's table.
MEASURES = ("score", "psnr_box", "ssim_box", "l1_person", "edge_box", "detail", "iou", "flicker")
TIMES = 6


def triplets(benchmark: Path, only: Sequence[str] = ()) -> list[Path]:
    """The triplet folders, sorted, or those named. Raises InputError where there are none."""
    found = {p.parent.name: p.parent for p in sorted(benchmark.glob("*/answer.mp4"))}
    if not found:
        raise InputError(f"{benchmark}: holds no triplets (folders with driver.mp4 and answer.mp4)")
    unknown = [name for name in only if name not in found]
    if unknown:
        raise InputError(
            f"{benchmark}: has no triplet {unknown[0]!r}; there are {', '.join(found)}"
        )
    return [found[name] for name in only] if only else list(found.values())


def run(
    config: VideoConfig,
    folders: Sequence[Path],
    results: Path,
    *,
    source: Source = "png",
    joints: Joints = "own",
) -> Iterator[Row]:
    """Makes every triplet's result, RESULTS/<triplet>.mp4; a row of frames and speed for each.

    joints: "true" draws the answer's exact joints instead of retargeted ones, so that only drawing errs.
    """
    results.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        driver, person = folder / "driver.mp4", folder / f"source.{source}"
        poses = results / f"{folder.name}_true_joints.npz" if joints == "true" else None
        if poses is not None:
            tracks.save(true_joints(config, driver, person, folder / "answer_keypoints.npz"), poses)
        made = make_video(
            config, driver, person, result_of(folder, results),
            extras=Extras(poses=poses), overwrite=True,
        )  # fmt: skip
        log.info("%s: %d frames in %.1f s", folder.name, made.frames, made.seconds)
        yield {
            "triplet": folder.name,
            "frames": made.frames,
            "seconds": round(made.seconds, 1),
            "notes": "; ".join(made.notes),
        }


def true_joints(config: VideoConfig, driver: Path, source: Path, answer: Path) -> Track:
    """The retargeted track with the answer's joints in place of its own; depths stay estimates.

    Points of the face move with the nose, those of the hands with their wrists.
    """
    device, info = choose_device(config.device), video.probe(driver)
    person = read_person(
        config, source, info.size, device,
        embodied=config.retarget.mode == "body", on_progress=_say_nothing,
    )  # fmt: skip
    watched = watch(config, driver, info, device, live=False, on_progress=_say_nothing)
    moments = retargeted(
        config, watched, info.size, person, live=False, notes=[], on_progress=_say_nothing
    )
    own = Track.gather(moments, person.size)
    truth = np.load(answer)["xyv"][..., :2].astype(np.float32)
    made = []
    for pose, true in zip(own.poses, truth, strict=True):
        xy, score = pose.xy.copy(), pose.score.copy()
        for points, anchor in _MOVE_ALONG:
            xy[points] += true[anchor] - pose.xy[anchor]
        xy[: len(true)], score[: len(true)] = true, 1
        made.append(replace(pose, xy=xy, score=score))
    return replace(own, poses=made)


def _say_nothing(progress: Progress) -> None:
    pass


def result_of(folder: Path, results: Path) -> Path:
    return results / f"{folder.name}.mp4"


def score(benchmark: Path, results: Path, folders: Sequence[Path]) -> list[Row]:
    """What the benchmark's own scorer says of the results: a row per triplet and one of their means."""
    scorer = benchmark / "score.py"
    if not scorer.is_file():
        raise InputError(f"{scorer}: there is no such file; a benchmark brings its scorer")
    names = ",".join(folder.name for folder in folders)
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary) / "score.json"
        command = [sys.executable, str(scorer), str(benchmark), str(results)]
        command += ["--only", names, "--json", str(said)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{scorer} failed:\n{done.stderr}")
        scores = json.loads(said.read_text(encoding="utf-8"))
    rows = [_row(name, values) for name, values in scores["triplets"].items()]
    return [*rows, _row("overall", scores["overall"])]


def _row(name: str, values: dict[str, float | str]) -> Row:
    row: dict[str, str | float] = {"triplet": name}
    row |= {measure: values[measure] for measure in MEASURES}
    return row | ({"note": values["note"]} if values.get("note") else {})


def sheet(folders: Sequence[Path], results: Path, path: Path, *, width: int = 240) -> None:
    """A picture to look at: for every triplet a row of the answer over a row of the result at the same times."""
    pictures, labels = [], []
    for folder in folders:
        answer, result = folder / "answer.mp4", result_of(folder, results)
        numbers = evenly(video.probe(answer).frames)
        for name, clip in (("answer", answer), ("result", result)):
            frames = list(video.pick(clip, numbers))
            pictures += [frame.rgb for frame in frames]
            labels += [f"{folder.name} {name} {number}" for number in numbers]
    Image.fromarray(sheets.contact_sheet(pictures, TIMES, width=width, labels=labels)).save(path)


def evenly(count: int, wanted: int = TIMES) -> list[int]:
    """`wanted` frame numbers spread evenly over a clip, its first and last included."""
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]
