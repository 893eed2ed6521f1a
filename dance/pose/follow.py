"""Follows one person through a clip: one pose per frame, of the same person, whoever crosses their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from dance.config import Options
from dance.pose.cuts import mark_cuts
from dance.pose.target import Target
from dance.types import Estimator, Frame, InputError, Moment, Pose, Track


class FollowOptions(Options):
    """Who is followed, and how.

    person: the one of this number, counted from 0 from left to right where the clip begins; None: the
    largest and most central one.
    ahead: so many pictures are looked at at the same time.
    min_score: a pose is nobody if the better half of its body joints scores less than this on average.
    retry: seconds between searches while nobody is there.
    patience: after so many seconds without the person somebody else may take their place.
    """

    person: int | None = Field(None, ge=0)
    ahead: int = Field(2, ge=1, le=16)
    min_score: float = Field(0.3, ge=0, le=1)
    retry: float = Field(0.15, ge=0, le=5)
    patience: float = Field(3.0, ge=0)


def follow(
    frames: Iterable[Frame], estimator: Estimator, options: FollowOptions
) -> Iterator[Moment]:
    """The followed person's pose in every frame, in order; `Pose.unseen()` where they are not.

    Looks where the person was `options.ahead` frames ago, so that as many pictures can be worked on at
    once; the result does not depend on their speed. Everybody is searched for at the beginning, at
    cuts, when the person is lost, and now and then. Holds `ahead` pictures and those of `mark_cuts`.
    Raises InputError where there is no person of that number.
    """
    target = Target(
        person=options.person,
        min_score=options.min_score,
        retry=options.retry,
        patience=options.patience,
    )
    flying: deque[_Job] = deque()
    with ThreadPoolExecutor(options.ahead, thread_name_prefix="dance-follow") as pool:
        try:
            for frame, cut in mark_cuts(frames):
                # A new scene or a lost person leaves nowhere to look before all is known.
                while flying and (cut or target.lost or len(flying) >= options.ahead):
                    yield _landed(flying.popleft(), estimator, target)
                if cut:
                    target.begin_scene()
                near, everybody = target.plan(frame.time)
                asked = near is not None or everybody
                found = pool.submit(_look, estimator, frame, near, everybody) if asked else None
                flying.append(_Job(frame, cut, near, found))
            while flying:
                yield _landed(flying.popleft(), estimator, target)
            target.end()
        finally:
            for job in flying:
                if job.found is not None:
                    job.found.cancel()


def require_found(track: Track, path: Path) -> None:
    """Raises InputError where the track has nobody at all."""
    if not any(pose.found for pose in track.poses):
        frames = "its one frame" if len(track) == 1 else f"any of its {len(track)} frames"
        raise InputError(
            f"{path}: no person was found in {frames}; it should show somebody from head to hips or "
            "more, upright, not too dark, and at least about an eighth of the picture's height"
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """A picture on its way. found: who is at `near`, and everybody where asked for; None: not looked at."""

    frame: Frame
    cut: bool
    near: Pose | None
    found: Future[tuple[Pose | None, list[Pose] | None]] | None


def _look(
    estimator: Estimator, frame: Frame, near: Pose | None, everybody: bool
) -> tuple[Pose | None, list[Pose] | None]:
    here = estimator(frame, near) if near is not None else []
    people = estimator(frame, None) if everybody else None
    return (here[0] if here else None), people


def _landed(job: _Job, estimator: Estimator, target: Target) -> Moment:
    """The moment of a picture, as soon as its poses are there."""
    if job.found is None:
        return Moment(target.skip(job.frame.time), job.frame.time, job.cut)
    look, people = job.found.result()
    if people is None and target.doubts(job.frame, look, job.near):
        people = estimator(job.frame, None)
    return Moment(target.decide(job.frame, look, people, job.near), job.frame.time, job.cut)
