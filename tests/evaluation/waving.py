"""A small dataset of the drawn person waving an arm, the last frames repeating earlier poses at another place and size."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from figure import mask_of, painted, pose_at, room

from dance import dataset, person_files, video
from dance import skeleton as sk
from dance.dataset import Facts
from dance.geometry import reach
from dance.pose import tracks
from dance.types import Frame, Person, Pose, Track, View

SIZE = (96, 128)
FRAMES, FIRST = 40, 34  # the last 15 % are held out
REPEATED = (3, 20, 9, 27, 14, 22)  # whose poses the held-out frames show once more
UNIT, LARGER = 20.0, 22.0


def waving(x: float, unit: float, turn: float) -> Pose:
    """Standing, with the left arm turned by so many radians from hanging down, about the shoulder."""
    pose = pose_at(x, 44, unit)
    xy, shoulder = pose.xy.copy(), pose.xy[sk.LEFT_SHOULDER]
    for joint, length in ((sk.LEFT_ELBOW, 0.6), (sk.LEFT_WRIST, 1.1)):
        xy[joint] = shoulder + unit * length * np.array([np.sin(turn), np.cos(turn)])
    return replace(pose, xy=xy.astype(np.float32))


def pose_of(number: int) -> Pose:
    if number < FIRST:
        return waving(44 + 0.5 * number, UNIT, 0.08 * number)
    return waving(70, LARGER, 0.08 * REPEATED[number - FIRST])


def make_dataset(
    folder: Path,
    *,
    unusable: tuple[int, ...] = (),
    cuts: frozenset[int] = frozenset(),
    views: tuple[int, ...] = (0, FIRST),
) -> Path:
    """Writes the dataset; views: the frames the person was studied in."""
    folder.mkdir(parents=True)
    background = room(SIZE)
    poses = [pose_of(i) for i in range(FRAMES)]
    times = [Fraction(i, 25) for i in range(FRAMES)]
    alphas = [mask_of(p, SIZE, UNIT if i < FIRST else LARGER) for i, p in enumerate(poses)]
    pictures = [Frame(painted(background, a), times[i], i) for i, a in enumerate(alphas)]
    greys = [
        Frame(np.repeat((a * 255).round().astype(np.uint8)[..., None], 3, -1), times[i], i)
        for i, a in enumerate(alphas)
    ]
    encoding = video.Encoding(crf=4, preset="ultrafast", keyframes=4)
    video.write(iter(pictures), folder / dataset.PICTURES, encoding=encoding)
    video.write(iter(greys), folder / dataset.MATTES, encoding=encoding)
    track = Track(poses, times, SIZE, cuts)
    tracks.save(track, folder / dataset.TRACK)
    usable = np.array([i not in unusable for i in range(FRAMES)])
    noses = np.array([pose.xy[0] for pose in poses])
    dataset.write_marks(folder / dataset.MARKS, usable, np.concatenate([noses - 6, noses + 6], 1))
    studied = [View(pictures[i], poses[i], alphas[i]) for i in views]
    person_files.save(Person(studied, background, track), folder / dataset.PERSON)
    facts = Facts(
        "waving.mp4", "0" * 64, FRAMES, int(usable.sum()), SIZE, reach(poses, SIZE), {"longest": 128}
    )  # fmt: skip
    dataset.write_facts(folder, facts)
    return folder
