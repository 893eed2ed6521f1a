"""How near retargeted joints come to the exact answers of a benchmark, ours and what other systems do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from dance import bodies, picture
from dance.devices import choose_device
from dance.evaluation import motion, poses
from dance.evaluation.pose_baselines import linear_fit
from dance.evaluation.report import Row
from dance.pipeline import VideoConfig, build_estimator
from dance.pose import follow
from dance.pose.retarget import RetargetOptions, retarget
from dance.pose.retarget_body import Bodies
from dance.surface.fit import FitOptions
from dance.types import Array, Pose, Track

BODY = slice(0, 17)
"""The joints that are compared: COCO's seventeen, hidden ones too."""

Source = Literal["png", "mp4"]
Method = Callable[[Track, Track], Array]


def methods(options: RetargetOptions, body: FitOptions) -> dict[str, Method]:
    """Ways to retarget a driver's track to a source's, each to joints (T, 133, 2) in the source's pixels.

    The bodies of mode body are fitted to the tracks alone; a run has the source's mattes too (`evaluation.surface`).
    """

    def ours(mode: str, **more: str) -> Method:
        chosen = options.model_copy(update={"mode": mode, **more})

        def run(driver: Track, source: Track) -> Array:
            moments = retarget(iter(driver), source, chosen, driver_size=driver.size)
            return Track.gather(moments, source.size).xy

        return run

    def bodily(driver: Track, source: Track) -> Array:
        chosen = options.model_copy(update={"mode": "body"})
        (driver, shape), (source, own) = (
            bodies.of_driver(track, body) for track in (driver, source)
        )
        moments = retarget(
            iter(driver), source, chosen, driver_size=driver.size, bodies=Bodies(shape, own)
        )
        return Track.gather(moments, source.size).xy

    return {
        "limbs": ours("limbs"),
        "body": bodily,
        "edn, fixed": ours("edn", variant="fixed"),
        "edn, published": ours("edn", variant="published"),
        "linear fit": linear_fit,
        "none": ours("none"),
    }


def table(folders: Iterable[Path], config: VideoConfig, *, source: Source = "png") -> Iterator[Row]:
    """Rows for every triplet and every method: mean errors over all frames in torso lengths of the answer.

    estimated: from the poses we estimate in driver and source.  true driver: from the driver's true joints,
    so that only the retargeting and the source's estimated pose err.  pixels: the first in pixels.
    """
    for folder in folders:
        answer = poses.read_truth(folder / "answer_keypoints.npz")[:, BODY]
        torso = motion.torso_lengths(answer)
        driver = poses.estimate(folder / "driver.mp4", config).smoothed
        person = _source(folder, config, source)
        tracks = {"estimated": driver, "true driver": true_track(folder, driver)}
        for name, method in methods(config.retarget, config.body).items():
            row: dict[str, str | float] = {"triplet": folder.name, "method": name}
            for kind, track in tracks.items():
                joints = method(track, person)[:, BODY].astype(np.float64)
                row[kind] = motion.mean_error(joints, answer, torso)
                if kind == "estimated":
                    row["pixels"] = float(np.linalg.norm(joints - answer, axis=-1).mean())
            yield row


def means(rows: Iterable[Row]) -> list[Row]:
    """The mean row of every method, and how large its error is next to that of `limbs`."""
    by_method: dict[str, list[Row]] = {}
    for row in rows:
        by_method.setdefault(str(row["method"]), []).append(row)
    out: list[Row] = []
    for name, group in by_method.items():
        columns = [key for key in group[0] if key not in ("triplet", "method")]
        mean = {key: float(np.mean([_number(row[key]) for row in group])) for key in columns}
        out.append({"triplet": "mean", "method": name, **mean})
    ours = next((_number(row["estimated"]) for row in out if row["method"] == "limbs"), None)
    return [{**row, "limbs is": ours / _number(row["estimated"])} if ours else row for row in out]


def true_track(folder: Path, like: Track) -> Track:
    """The driver's true body and feet joints, with the depths of estimated poses for the sides they lean to."""
    truth = poses.read_truth(folder / "driver_keypoints.npz")
    made = []
    for xy, pose in zip(truth, like.poses, strict=True):
        joints = pose.xy.copy()
        joints[:23] = xy
        score = np.where(np.arange(len(joints)) < 23, 1.0, 0.0).astype(np.float32)
        made.append(Pose(joints, score, pose.depth, pose.world))
    return Track(made, like.times, like.size, like.cuts)


def _source(folder: Path, config: VideoConfig, source: Source) -> Track:
    if source == "mp4":
        return poses.estimate(folder / "source.mp4", config).smoothed
    photo = picture.read(folder / "source.png")
    with closing(build_estimator(config.estimator, choose_device(config.device))) as estimator:
        return Track.gather(follow.follow([photo], estimator, config.follow), photo.size)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
