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
from dance.pose.estimators._blaze_detect import Detection
from dance.pose.estimators._blaze_landmarks import Landmarks
from dance.pose.estimators._blaze_search import search
from dance.types import Array, Frame, Pose, Region


class Config(Options):
    """Options of BlazePose.

    mask: give the person mask too.  hands, face: give the 2 x 21 finger and the 68 face points too.
    people: at most so many in one picture.  detection, presence: how sure the first and the second
    network must be, in [0, 1].  small: where nobody is found at once, search small tiles of
    every so many-th picture (it takes 40 times as long), down to people a seventh of its height; 0: never.
    mirror: look at the mirrored picture too and take the mean: steadier and nearer, twice the time.
    landmarks: another .tflite of the landmark network (lite, heavy).  workers: how many calls may
    compute at the same time; 0: one for each core, at most 4.
    """

    mask: bool = False
    hands: bool = False
    face: bool = False
    people: int = Field(4, ge=1)
    detection: float = Field(0.5, ge=0, le=1)
    presence: float = Field(0.5, ge=0, le=1)
    small: int = Field(4, ge=0)
    mirror: bool = False
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
        """All people, surest first, or with `near` whoever is at its region."""
        config = self._config
        if near is None:
            found = self._search(frame)
        else:
            there = self._look(frame.rgb, near.region or landmarks.region_of(near))
            found = [there] if there.presence >= config.presence else []
        return [landmarks.to_pose(f, frame.size, mask=config.mask) for f in found]

    def close(self) -> None:
        """Frees the networks."""
        self._detector.close()
        self._landmarks.close()

    def _look(self, rgb: Array, region: Region) -> Landmarks:
        return landmarks.look(self._landmarks, rgb, region, mirror=self._config.mirror)

    def _search(self, frame: Frame) -> list[Landmarks]:
        def detect(square: Array, threshold: float) -> list[Detection]:
            return detector.detect(self._detector, self._anchors, frame.rgb, square, threshold)

        config = self._config
        return search(
            frame.size, detect, lambda region: self._look(frame.rgb, region),
            sure=config.detection, presence=config.presence, most=config.people,
            small=config.small > 0 and frame.index % config.small == 0,
        )  # fmt: skip
