"""Who is looked at: people and poses out of photos and videos, as a run of the pipeline finds them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dance import bodies, pipeline, sources
from dance.geometry import fit_inside
from dance.pose import follow, smooth
from dance.progress import OnProgress, told
from dance.types import Generator, InputError, Moment, Person, Pose, Track

log = logging.getLogger(__name__)

_LONGEST = 1280  # pixels of the longer side of pictures that poses are taken from


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is looked at.

    poses: at least one, all found, in the pixels of the person's pictures; with stances where the generator needs
    the body's surface, and then the people have bodies.  other: somebody else, or None.
    """

    person: Person
    poses: Sequence[Pose]
    other: Person | None = None


def study(
    person: Path,
    generator: Generator,
    *,
    other: Path | None,
    poses: Sequence[Path],
    frames: int,
    device: str,
    on_progress: OnProgress,
) -> Subject:
    """Studies the people of photos or videos, and takes the poses out of others, made the first person's own.

    frames: so many poses are taken of a video, spread over it.  Raises InputError where nobody is found.
    """
    if frames < 1:
        raise InputError(f"frames = {frames}: must be at least 1")
    config = pipeline.VideoConfig()
    embodied = bodies.SURFACE in generator.needs

    def read(path: Path) -> Person:
        # Only somebody on a driver's own background must know the driver's size.
        return pipeline.read_person(
            config, path, (0, 0), device, embodied=embodied, on_progress=on_progress
        )

    found = read(person)
    wanted = [
        pose
        for path in poses
        for pose in _poses(config, path, found, frames, device, on_progress=on_progress)
    ]
    if not wanted:
        wanted = [found.views[0].pose]
    elif embodied:
        wanted = _embodied(config, wanted, found, on_progress=on_progress)
    return Subject(found, wanted, None if other is None else read(other))


def _poses(
    config: pipeline.VideoConfig,
    path: Path,
    person: Person,
    frames: int,
    device: str,
    *,
    on_progress: OnProgress,
) -> list[Pose]:
    """The poses of a photo or video, retargeted to the person, in their pixels."""
    pictures = sources.open_pictures(path)
    size = fit_inside(pictures.size, _LONGEST)
    estimator = pipeline.build_estimator(
        config.estimator, device, thorough=pictures.photo is not None
    )
    with closing(estimator):
        watched = told(pictures.read(size, size), "poses", pictures.count, on_progress)
        moments = smooth.smooth(follow.follow(watched, estimator, config.follow), config.smooth)
        track = Track.gather(moments, size)
    follow.require_found(track, path)
    notes: list[str] = []
    moments = pipeline.retargeted(
        config, track, size, person, live=False, notes=notes, on_progress=on_progress
    )
    found = [moment.pose for moment in moments if moment.pose.found]
    for note in notes:
        log.info("%s: %s", path, note)
    chosen = np.linspace(0, len(found) - 1, min(frames, len(found)))
    return [found[round(float(i))] for i in chosen]


def _embodied(
    config: pipeline.VideoConfig, poses: Sequence[Pose], person: Person, *, on_progress: OnProgress
) -> list[Pose]:
    """The poses with stances of the person's body."""
    # Each is a scene of its own: nothing moves from one to the next.
    moments = [Moment(pose, person.track.times[0] + i, cut=i > 0) for i, pose in enumerate(poses)]
    fitted = pipeline.embodied(config, moments, person, notes=[], on_progress=on_progress)
    return [moment.pose for moment in fitted]
