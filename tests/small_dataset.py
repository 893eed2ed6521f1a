"""A small dataset of the drawn person, written without any network."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from figure import mask_of, painted, pose_at, room

from dance import dataset, person_files, video
from dance.dataset import Facts
from dance.geometry import reach
from dance.pose import tracks
from dance.types import Frame, Person, Track, View

SIZE = (96, 128)
UNIT = 22.0

TINY: dict[str, Any] = {
    "window": True,
    "generator": {
        "height": 64, "filters": 2, "downs": 1, "blocks": 1, "enhancer_blocks": 1, "alpha": True,
        "face": {"filters": 2, "downs": 1, "blocks": 1, "side": 16},
    },
    "adversary": {"filters": 2, "face_filters": 2, "layers": 2, "scales": 2},
    "weights": {"l1": 10.0, "matte": 5.0},
}  # fmt: skip
"""Options of the recipe edn that learn something of such a dataset in seconds."""


def make_dataset(
    folder: Path,
    *,
    frames: int = 24,
    unusable: tuple[int, ...] = (),
    cuts: frozenset[int] = frozenset(),
) -> Path:
    """A person walking through a room; returns the folder."""
    folder.mkdir(parents=True)
    background = room(SIZE)
    poses = [pose_at(44 + 1.5 * i, 40, UNIT) for i in range(frames)]
    times = [Fraction(i, 25) for i in range(frames)]
    alphas = [mask_of(pose, SIZE, UNIT) for pose in poses]
    pictures = [
        Frame(painted(background, a), t, i)
        for i, (a, t) in enumerate(zip(alphas, times, strict=True))
    ]
    greys = [
        Frame(np.repeat((a * 255).round().astype(np.uint8)[..., None], 3, -1), t, i)
        for i, (a, t) in enumerate(zip(alphas, times, strict=True))
    ]
    encoding = video.Encoding(crf=4, preset="ultrafast", keyframes=4)
    video.write(iter(pictures), folder / dataset.PICTURES, encoding=encoding)
    video.write(iter(greys), folder / dataset.MATTES, encoding=encoding)
    track = Track(poses, times, SIZE, cuts)
    tracks.save(track, folder / dataset.TRACK)
    usable = np.array([i not in unusable for i in range(frames)])
    noses = np.array([pose.xy[0] for pose in poses])
    faces = np.concatenate([noses - 6, noses + 6], 1)
    dataset.write_marks(folder / dataset.MARKS, usable, faces)
    person_files.save(
        Person([View(pictures[0], poses[0], alphas[0])], background, track), folder / dataset.PERSON
    )
    facts = Facts(
        "walk.mp4", "0" * 64, frames, int(usable.sum()), SIZE, reach(poses, SIZE), {"longest": 128}
    )
    dataset.write_facts(folder, facts)
    return folder
