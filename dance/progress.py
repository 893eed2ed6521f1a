"""How far a run is: told step by step, given up where nobody waits any more."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
Stage = Literal["source", "source body", "poses", "body", "render"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass is: `done` frames of about `total` (None where the file does not say), or steps of a fit."""

    stage: Stage
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


def told(
    items: Iterable[T], stage: Stage, total: int | None, on_progress: OnProgress
) -> Iterator[T]:
    """The same items, telling how many have passed."""
    done = 0
    on_progress(Progress(stage, 0, total))
    for item in items:
        yield item
        done += 1
        on_progress(Progress(stage, done, total))
    on_progress(Progress(stage, done, done))


def fitting(stage: Stage, on_progress: OnProgress) -> Callable[[str], None]:
    """Tells of each step of a fit, in the log too: how many there will be is not known."""
    steps = itertools.count(1)

    def tell(line: str) -> None:
        log.info(line)
        on_progress(Progress(stage, next(steps), None))

    return tell


class GivenUpError(Exception):
    """Nobody waits for the result any more."""


def unless(given_up: threading.Event, on_progress: OnProgress, progress: Progress) -> None:
    """Tells on, or raises GivenUpError once the event is set: the work that tells ends there."""
    if given_up.is_set():
        raise GivenUpError
    on_progress(progress)


def unless_failed(items: Iterable[T], task: Future[Any]) -> Iterator[T]:
    """The same items, until the task fails: then its error is raised."""
    for item in items:
        if task.done():
            task.result()
        yield item


def kept(items: Iterable[T], into: list[T]) -> Iterator[T]:
    """The same items, which stay in the list too."""
    for item in items:
        into.append(item)
        yield item
