"""How good the estimated poses are: against exact truth, and against the mediapipe runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dance import skeleton, video
from dance.devices import choose_device
from dance.evaluation import mediapipe_runtime, motion
from dance.evaluation.report import Row
from dance.pipeline import VideoConfig, build_estimator
from dance.pose import follow, smooth
from dance.types import Array, Track

UNSEEN_ERROR = 1.0
"""What a joint without an estimate counts as, in torso lengths: far off, and missed in PCK."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """The poses of a clip, as followed and after smoothing."""

    raw: Track
    smoothed: Track


def estimate(clip: Path, config: VideoConfig) -> Estimated:
    """Finds, follows and smooths the dancer of a clip as a run would."""
    size = video.probe(clip).size
    with closing(build_estimator(config.estimator, choose_device(config.device))) as estimator:
        raw = Track.gather(follow.follow(video.read(clip), estimator, config.follow), size)
    return Estimated(raw, Track.gather(smooth.smooth(iter(raw), config.smooth), size))


def read_truth(file: Path) -> Array:
    """The true joints of a benchmark clip, (T, 23, 2) pixels: body and feet in our order."""
    return np.asarray(np.load(file)["xyv"][..., :2], np.float64)


def against_truth(xy: Array, score: Array, truth: Array) -> dict[str, float]:
    """PCK@0.2, mean error and acceleration error of (T, 133, 2) joints over the twelve limb joints.

    Hidden joints count like all others; one without an estimate counts as missed and as UNSEEN_ERROR.
    swapped: the share of left-right pairs that would be nearer to the truth the other way round.
    """
    limbs = list(motion.LIMB_JOINTS)
    torso = motion.torso_lengths(truth)
    estimated, true, seen = xy[:, limbs], truth[:, limbs], score[:, limbs] > 0
    errors = np.where(seen, motion.joint_errors(estimated, true, torso), UNSEEN_ERROR)
    return {
        "PCK@0.2": float((errors < 0.2).mean()),
        "mean error": float(errors.mean()),
        "acceleration error": motion.acceleration_error(estimated, true, torso, seen),
        "swapped": _swapped(xy, truth, torso),
        "unseen": float((~seen).mean()),
    }


def benchmark_rows(
    folders: Iterable[Path], config: VideoConfig, runtime: Path | None
) -> Iterator[Row]:
    """Rows for every triplet's driver: raw, smoothed, and the runtime's where its Python is given."""
    for folder in folders:
        truth = read_truth(folder / "driver_keypoints.npz")
        ours = estimate(folder / "driver.mp4", config)
        for name, track in (("raw", ours.raw), ("smoothed", ours.smoothed)):
            figures = against_truth(track.xy, track.score, truth)
            yield {"clip": folder.name, "poses": name, **figures}
        if runtime is not None:
            xy, score = runtime_joints(mediapipe_runtime.run(runtime, folder / "driver.mp4"))
            yield {"clip": folder.name, "poses": "runtime", **against_truth(xy, score, truth)}


def runtime_joints(poses: mediapipe_runtime.RuntimePoses) -> tuple[Array, Array]:
    """The runtime's landmarks as joints (T, 133, 2) and scores (T, 133) in our order."""
    joints = np.stack([skeleton.from_blazepose(values) for values in poses.landmarks])
    return joints[..., :2], joints[..., 3] * poses.found[:, None]


def parity_row(clip: Path, config: VideoConfig, runtime: Path) -> Row:
    """How far our joints are from the runtime's, in torso lengths, where both call them visible.

    Neither is the truth. Like is compared with like: what the networks say, and what each side's filter
    over time makes of it. The runtime's filter lags behind the motion, ours looks ahead.
    """
    ours = estimate(clip, config)
    row: dict[str, str | int | float] = {"clip": clip.name}
    for name, track in (("raw", ours.raw), ("smoothed", ours.smoothed)):
        theirs = mediapipe_runtime.run(runtime, clip, smoothed=name == "smoothed")
        xy, score = runtime_joints(theirs)
        frames = min(len(xy), len(track))
        # Body and feet; the runtime's "visible" is a visibility of at least a half.
        joints = slice(0, 23)
        seen = (score[:frames, joints] >= 0.5) & (track.score[:frames, joints] >= 0.5)
        torso = motion.torso_lengths(xy[:frames])
        far = motion.joint_errors(track.xy[:frames, joints], xy[:frames, joints], torso)[seen]
        row |= {f"median, {name}": _quantile(far, 0.5), f"90 %, {name}": _quantile(far, 0.9)}
        row |= {"frames": frames, "joints compared": int(seen.sum())}
    return row


def _swapped(xy: Array, truth: Array, torso: Array) -> float:
    pairs = [(j, skeleton.FLIP[j]) for j in motion.LIMB_JOINTS if skeleton.FLIP[j] > j]
    left, right = np.array(pairs).T
    apart = np.linalg.norm(truth[:, left] - truth[:, right], axis=-1) / torso[:, None]
    distance = motion.joint_errors
    straight = distance(xy[:, left], truth[:, left], torso) + distance(
        xy[:, right], truth[:, right], torso
    )
    crossed = distance(xy[:, left], truth[:, right], torso) + distance(
        xy[:, right], truth[:, left], torso
    )
    # Joints that cover each other cannot be told apart by their place.
    return float(((crossed < straight) & (apart > 0.2)).mean())


def _quantile(values: Array, share: float) -> float:
    return float(np.quantile(values, share)) if values.size else float("nan")
