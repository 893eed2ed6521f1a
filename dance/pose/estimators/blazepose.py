"""The default estimator: BlazePose's networks, detector then landmarks, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from dance import weights
from dance.config import Options
from dance.networks import Network
from dance.pose.estimators import _blaze_detect as detector
from dance.pose.estimators import _blaze_landmarks as landmarks
from dance.pose.estimators._blaze_landmarks import Landmarks
from dance.types import Array, Frame, Pose, Region


class Config(Options):
    """Options of BlazePose.

    mask: give the person mask too.  hands, face: give the 2 x 21 finger and the 68 face points too.
    people: at most so many in one picture.  detection, presence: how sure the first and the second
    network must be, in [0, 1].  small: search tiles of the picture where nobody is found at once.
    landmarks: another .tflite of the landmark network (lite, heavy).  workers: how many calls may
    compute at the same time; 0: one for each core, at most 4.
    """

    mask: bool = False
    hands: bool = False
    face: bool = False
    people: int = Field(4, ge=1)
    detection: float = Field(0.5, ge=0, le=1)
    presence: float = Field(0.5, ge=0, le=1)
    small: bool = True
    landmarks: Path | None = None
    workers: int = Field(0, ge=0)


def build(config: Config, device: str) -> BlazePose:
    """The estimator, its networks fetched if need be. They run on the CPU whatever the device."""
    return BlazePose(config)


class BlazePose:
    """See `types.Estimator`."""

    def __init__(self, config: Config) -> None:
        workers = config.workers or max(1, min(4, os.cpu_count() or 1))
        path = config.landmarks or weights.mediapipe("pose_landmark_full.tflite")
        self._config = config
        self._anchors = detector.anchors()
        self._detector = Network(weights.mediapipe("pose_detection.tflite"), workers=workers)
        self._landmarks = Network(path, workers=workers)

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        """All people, best first, or with `near` whoever is at its region."""
        if near is not None and near.region is not None:
            found = [self._look(frame.rgb, near.region)]
        else:
            found = self._search(frame.rgb)
        sure = [f for f in found if f.presence >= self._config.presence]
        return [landmarks.to_pose(f, frame.size, mask=self._config.mask) for f in sure]

    def close(self) -> None:
        """Frees the networks."""
        self._detector.close()
        self._landmarks.close()

    def _look(self, rgb: Array, region: Region) -> Landmarks:
        return landmarks.look(self._landmarks, rgb, region)

    def _search(self, rgb: Array) -> list[Landmarks]:
        height, width = rgb.shape[:2]
        square = detector.whole((height, width))
        found = detector.detect(self._detector, self._anchors, rgb, square, self._config.detection)
        return [self._look(rgb, d.region) for d in found[: self._config.people]]
