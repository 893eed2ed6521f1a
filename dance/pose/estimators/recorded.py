"""Poses from a file instead of a network: .npz, OpenPose JSON folders, COCO JSON; several people too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dance import geometry
from dance.config import Options
from dance.pose import tracks
from dance.pose._npz import Recording
from dance.types import Frame, Pose

_NEAR = 0.5  # of the person's height: further away than this is somebody else


class Config(Options):
    """path: a file or folder of poses, made from the very video they are used with."""

    path: Path


def build(config: Config, device: str) -> Recorded:
    """The estimator; the whole file is read now. Raises InputError naming it where it cannot be used."""
    return Recorded(tracks.read(config.path), config.path)


class Recorded:
    """See `types.Estimator`. Pictures are told apart by their times, or their numbers where there are none.

    Poses of a picture of another size, but of the same proportions, are scaled.
    """

    def __init__(self, recording: Recording, path: Path) -> None:
        self._recording = recording
        self._path = path
        self._moments = None if recording.times is None else tracks.Moments(recording.times)

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        """All people of the frame, or with `near` the one who is there (or none)."""
        people = self._people(frame)
        if near is None:
            return people
        nearest = min(people, key=lambda person: _apart(person, near), default=None)
        return [nearest] if nearest is not None and _apart(nearest, near) < _NEAR else []

    def close(self) -> None:
        """Holds nothing."""

    def _people(self, frame: Frame) -> list[Pose]:
        recording = self._recording
        if self._moments is not None:
            index = self._moments.at(frame.time)
        else:
            index = frame.index if frame.index < len(recording.people) else None
        people = [] if index is None else [p for p in recording.people[index] if p.found]
        if recording.size is None or recording.size == frame.size:
            return people
        return [tracks.scale(p, recording.size, frame.size, self._path) for p in people]


def _apart(a: Pose, b: Pose) -> float:
    """The median distance of joints both have, in shares of b's height; infinite where there are none."""
    both = (a.score > 0) & (b.score > 0)
    box = geometry.joints_box(b.xy, b.score)
    if box is None or not both.any():
        return float("inf")
    height = max(box.height, box.width, 1.0)
    return float(np.median(np.linalg.norm(a.xy[both] - b.xy[both], axis=-1))) / height
