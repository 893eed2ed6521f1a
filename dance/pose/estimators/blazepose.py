"""The default estimator: BlazePose's networks, detector then landmarks, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from pydantic import Field

from dance import weights
from dance.config import Options
from dance.networks import Network
from dance.pose.estimators import _blaze_detect as detector
from dance.pose.estimators import _blaze_face as face
from dance.pose.estimators import _blaze_hands as hands
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
    people: int = Field(default=4, ge=1)
    detection: float = Field(default=0.5, ge=0, le=1)
    presence: float = Field(default=0.5, ge=0, le=1)
    small: int = Field(default=4, ge=0)
    mirror: bool = False
    landmarks: Path | None = None
    workers: int = Field(default=0, ge=0)


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

        def network(file: Path, without: Collection[tuple[int, ...]] = ()) -> Network:
            return Network(file, workers=workers, without=without)

        self._detector = network(weights.mediapipe("pose_detection.tflite"))
        # The mask is a third of the network's work.
        self._landmarks = network(path, () if config.mask else (landmarks.MASK,))
        self._face = network(weights.mediapipe("face_landmark.tflite")) if config.face else None
        self._aim = network(weights.mediapipe("hand_recrop.tflite")) if config.hands else None
        self._hand = (
            network(weights.mediapipe("hand_landmark_full.tflite")) if config.hands else None
        )

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        """All people, surest first, or with `near` whoever is at its region."""
        config = self._config
        if near is None:
            found = self._search(frame)
        else:
            there = self._look(frame.rgb, near.region or landmarks.region_of(near))
            found = [there] if there.presence >= config.presence else []
        return [self._described(frame, person) for person in found]

    def close(self) -> None:
        """Frees the networks."""
        for network in (self._detector, self._landmarks, self._face, self._aim, self._hand):
            if network is not None:
                network.close()

    def _look(self, rgb: Array, region: Region) -> Landmarks:
        return landmarks.look(self._landmarks, rgb, region, mirror=self._config.mirror)

    def _described(self, frame: Frame, body: Landmarks) -> Pose:
        """The pose of a found person, with whatever else the options ask for."""
        pose = landmarks.to_pose(body, frame.size, mask=self._config.mask)
        if self._aim is not None and self._hand is not None:
            pose = hands.add(
                pose, hands.look(self._aim, self._hand, frame.rgb, body), body, frame.size
            )
        if self._face is not None:
            seen = face.look(self._face, frame.rgb, body)
            pose = pose if seen is None else face.add(pose, seen, body, frame.size)
        return pose

    def _search(self, frame: Frame) -> list[Landmarks]:
        def detect(square: Array, threshold: float) -> list[Detection]:
            return detector.detect(self._detector, self._anchors, frame.rgb, square, threshold)

        config = self._config
        return search(
            frame.size, detect, lambda region: self._look(frame.rgb, region),
            sure=config.detection, presence=config.presence, most=config.people,
            small=config.small > 0 and frame.index % config.small == 0,
        )  # fmt: skip
