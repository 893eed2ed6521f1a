"""What every command line of the project shares: progress, messages and exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dance.types import InputError

BAD_INPUT = 2
INTERRUPTED = 130

_STAGES = {
    "source": "studying the person",
    "source body": "fitting their body",
    "poses": "reading the dance",
    "body": "fitting the dancer",
    "render": "drawing",
}


class Step(Protocol):
    """One report of progress."""

    @property
    def stage(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int | None: ...


class TrainingStep(Protocol):
    """One report of training; see `training.loop.Progress`."""

    @property
    def stage(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def pictures(self) -> float: ...
    @property
    def left(self) -> float | None: ...
    @property
    def losses(self) -> Mapping[str, float]: ...


class Report(Protocol):
    """What a run gave."""

    @property
    def output(self) -> Path: ...
    @property
    def frames(self) -> int: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def notes(self) -> Sequence[str]: ...


@contextmanager
def exit_codes(stopped: str = "nothing was written") -> Iterator[None]:
    """Turns bad input into one line on stderr and exit code 2, Ctrl-C into 130; the rest is a traceback.

    stopped: what is said of the results so far where Ctrl-C ends it.
    """
    try:
        yield
    except InputError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        raise SystemExit(BAD_INPUT) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; {stopped}\n")
        raise SystemExit(INTERRUPTED) from None


def log_to_stderr(*, quiet: bool) -> Console:
    """Sends log lines to stderr (only warnings when quiet) and returns the console they share with progress."""
    console = Console(stderr=True, highlight=False)
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO,
        format="%(message)s",
        handlers=[handler],
        force=True,
    )
    return console


def summary(report: Report) -> None:
    """Three lines on stdout: where the file is, how fast it went, and what a person should know."""
    height, width = report.size
    fps = report.frames / max(report.seconds, 1e-9)
    sys.stdout.write(
        f"{report.output}: {report.frames} frames, {width}x{height}\n"
        f"{report.seconds:.1f} s, {fps:.1f} frames a second\n"
        f"{'; '.join(report.notes) or 'every frame has its pose'}\n"
    )


class ProgressBars:
    """Bars with frames done, frames a second and time left, one per stage; call it with each step."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>20}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            # Into a file or a pipe goes what matters, not the bars.
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, step: Step) -> None:
        if step.stage not in self._tasks:
            # Started only now: an error before the first step is to stay a single line.
            self._progress.start()
            name = _STAGES.get(step.stage, step.stage)
            self._tasks[step.stage] = self._progress.add_task(name, total=step.total)
        self._progress.update(self._tasks[step.stage], completed=step.done, total=step.total)


class TrainingBar:
    """One line: how much of the budget is used, the losses, pictures a second and time left."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            # Into a file or a pipe go the log's lines, not the bar.
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, step: TrainingStep) -> None:
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(step.stage, total=1.0, told="")
        losses = " ".join(f"{name} {value:.2f}" for name, value in step.losses.items())
        left = "" if step.left is None else f", {step.left / 60:.0f} min left"
        told = f"step {step.step} {losses}, {step.pictures:.1f} pictures/s{left}"
        self._progress.update(self._task, completed=step.share, description=step.stage, told=told)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:5.1f} fps" if speed else "    - fps")
