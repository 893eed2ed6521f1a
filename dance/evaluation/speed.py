"""How fast and how large a run is, each figure beside what it is compared with, taken in the same run."""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from dance import pipeline, render, video
from dance.devices import choose_device, cores_for_stages
from dance.evaluation import mediapipe_runtime, speed_learnt, speed_singles, speed_surface
from dance.evaluation.memory import peak_memory
from dance.evaluation.report import Row, measured
from dance.finish import compose, face, steady
from dance.pipeline import OutputOptions, VideoConfig
from dance.pose import follow, retarget, smooth
from dance.stream import prefetch
from dance.types import Estimator, Frame, Person, Pose, Track

T = TypeVar("T")

# What each figure has to reach.
POSE_RATIO, JOB_RATIO, RENDER_FPS, MEMORY_RATIO = 1.6, 1.5, 25.0, 1.1
RENDER_HEIGHT, JOB_HEIGHT = 512, 720
SHORT, LONG = 300, 3000


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a driver, a source person, a config, and how often each timing is repeated.

    presets: the folder configs/train, whose NAME_cpu.yaml say what networks and steps of training are timed.
    preset: one to take instead.
    """

    driver: Path
    source: Path
    config: VideoConfig
    presets: Path
    preset: Path | None = None
    rounds: int = 3
    runtime: Path | None = None

    def preset_of(self, name: str) -> Path:
        """The preset of the recipe of that name."""
        return self.preset or self.presets / f"{name}_cpu.yaml"

    def at(self, height: int) -> VideoConfig:
        """The config with the result at that height."""
        output: OutputOptions = self.config.output.model_copy(update={"height": height})
        return self.config.model_copy(update={"output": output})


def pose_rows(subject: Subject) -> list[Row]:
    """Decode, estimate, follow and smooth, against the runtime's decode and estimate; taken in turns."""
    ours, busy, theirs, alone = [], [], [], []
    for _ in range(subject.rounds):
        frames, seconds, computing = pose_pass(subject.driver, subject.config)
        ours.append(frames / seconds)
        busy.append(1000 * computing / frames)
        if subject.runtime is not None:
            run = mediapipe_runtime.run(subject.runtime, subject.driver)
            theirs.append(len(run.found) / run.seconds)
            alone.append(len(run.found) / run.pose_seconds)
    rows = [
        measured("pose pass (decode, estimate, follow, smooth)", statistics.median(ours), "fps"),
        measured("its processor time, all cores together", statistics.median(busy), "ms a frame"),
    ]
    if theirs:
        rows += [
            measured("mediapipe runtime, decode and pose", statistics.median(theirs), "fps"),
            measured("mediapipe runtime, pose alone", statistics.median(alone), "fps"),
            measured("pose pass / runtime", _of(ours, theirs), "x", f">= {POSE_RATIO}", _of(ours, theirs) >= POSE_RATIO),
            measured("pose pass / runtime's pose alone", _of(ours, alone), "x"),
        ]  # fmt: skip
    return rows


def job_rows(subject: Subject) -> list[Row]:
    """The whole job at 720 high, against decode and the runtime's pose and encoding alone; taken in turns."""
    config = subject.at(JOB_HEIGHT)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.mp4"
        for _ in range(subject.rounds):
            made = pipeline.make_video(
                config, subject.driver, subject.source, output, overwrite=True
            )
            ours.append(made.seconds / made.frames)
            if subject.runtime is not None:
                run = mediapipe_runtime.run(subject.runtime, subject.driver)
                encoding = encode_seconds(output, made.frames, config.output.encoding)
                theirs.append(run.seconds / len(run.found) + encoding / made.frames)
    rows = [measured("whole job, 720 high", 1000 * statistics.median(ours), "ms a frame")]
    if theirs:
        ratio = _of(ours, theirs)
        rows += [
            measured("decode, runtime pose, encode alone", 1000 * statistics.median(theirs), "ms a frame"),
            measured("whole job / those alone", ratio, "x", f"<= {JOB_RATIO}", ratio <= JOB_RATIO),
        ]  # fmt: skip
    return rows


def render_rows(subject: Subject) -> list[Row]:
    """The second pass at 512 high, from poses to encoded pictures, and without the encoding."""
    config = subject.at(RENDER_HEIGHT)
    person, track = study(subject, config)
    generator = pipeline.build_generator(config.generator, choose_device(config.device))
    code = generator.encode(person)
    drawn, written = [], []
    with cores_for_stages(), tempfile.TemporaryDirectory() as folder:
        for _ in range(subject.rounds):
            layers = partial(render.draw, generator, code, track, person.size, config.chunk)
            began = time.perf_counter()
            for _picture in pipeline.finished(config, layers(), person, subject.driver):
                pass
            drawn.append(len(track) / (time.perf_counter() - began))
            began = time.perf_counter()
            pictures = pipeline.finished(config, layers(), person, subject.driver)
            with closing(prefetch(pictures)) as ready:
                video.write(ready, Path(folder) / "out.mp4", encoding=config.output.encoding, overwrite=True)  # fmt: skip
            written.append(len(track) / (time.perf_counter() - began))
    fps = statistics.median(written)
    return [
        measured("draw and finish, 512 high", statistics.median(drawn), "fps"),
        measured("render pass (with encoding), 512 high", fps, "fps", f">= {RENDER_FPS:g}", fps >= RENDER_FPS),
    ]  # fmt: skip


def memory_rows(subject: Subject) -> list[Row]:
    """Peak memory of a process that makes a long clip's video, against one that makes a short one's."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in (SHORT, LONG):
            clip, output = Path(folder) / f"{frames}.mp4", Path(folder) / f"{frames}_out.mp4"
            loop(subject.driver, frames, clip)
            # A process of its own for each: peaks never go down. Spawned, so that none is inherited.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                job = pool.submit(peak_of_run, subject.config, clip, subject.source, output)
                peaks.append(job.result())
    ratio = peaks[1] / peaks[0]
    return [
        measured(f"peak memory, {SHORT} frames", peaks[0] / 2**20, "MiB"),
        measured(f"peak memory, {LONG} frames", peaks[1] / 2**20, "MiB"),
        measured("long / short", ratio, "x", f"<= {MEMORY_RATIO}", ratio <= MEMORY_RATIO),
    ]


def stage_rows(subject: Subject) -> list[Row]:
    """Milliseconds a frame in every stage, one after the other, nothing running ahead.

    `estimate` is the time inside the estimator's calls, of all threads together; `follow` is what the
    caller waits for it and does itself.
    """
    config = subject.config
    clock: dict[str, float] = defaultdict(float)
    info = video.probe(subject.driver)
    device = choose_device(config.device)
    began = time.perf_counter()
    person = read_person(subject, config)
    clock["study person"] = time.perf_counter() - began
    with closing(pipeline.build_estimator(config.estimator, device)) as estimator:
        watched = _Watched(estimator, clock)
        frames = _timed("decode", video.read(subject.driver), clock)
        followed = _timed("follow", follow.follow(frames, watched, config.follow), clock)
        smoothed = _timed("smooth", smooth.smooth(followed, config.smooth), clock)
        moments = retarget.retarget(
            smoothed, person.track, config.retarget, driver_size=info.size, live=False,
            report=lambda note: None,
        )  # fmt: skip
        track = Track.gather(_timed("retarget", moments, clock), person.size)
    generator = pipeline.build_generator(config.generator, device)
    began = time.perf_counter()
    code = generator.encode(person)
    clock["encode person"] = time.perf_counter() - began
    layers = _timed("render", render.draw(generator, code, track, person.size, config.chunk), clock)
    layers = _timed("steady", steady.steady(layers, config.steady), clock)
    layers = _timed("face", face.refine(layers, person, config.face), clock)
    composed = compose.compose(layers, plate=person.plate, options=config.compose)
    pictures = _timed("compose", composed, clock)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        count = video.write(pictures, Path(folder) / "out.mp4", encoding=config.output.encoding)
        clock["write"] = time.perf_counter() - began
    # A stage's clock also runs while it waits for the stage before it.
    for chain in (
        ("decode", "follow", "smooth", "retarget"),
        ("render", "steady", "face", "compose", "write"),
    ):
        for before, stage in reversed(list(itertools.pairwise(chain))):
            clock[stage] -= clock[before]
    order = (
        "decode", "follow", "estimate", "smooth", "retarget", "render", "steady", "face", "compose",
        "write",
    )  # fmt: skip
    height, width = person.size
    rows = [
        measured(f"{stage}, {width}x{height}", 1000 * clock[stage] / count, "ms a frame")
        for stage in order
    ]
    return [
        *rows,
        *(
            measured(f"{once}, once", clock[once], "s")
            for once in ("study person", "encode person")
        ),
    ]


def pose_pass(clip: Path, config: VideoConfig) -> tuple[int, float, float]:
    """Frames, seconds and processor seconds of the first pass; loading the networks is not counted."""
    device = choose_device(config.device)
    with (
        cores_for_stages(),
        closing(pipeline.build_estimator(config.estimator, device)) as estimator,
    ):
        began, computed = time.perf_counter(), time.process_time()
        with closing(prefetch(video.read(clip))) as frames:
            followed = follow.follow(frames, estimator, config.follow)
            count = sum(1 for _ in smooth.smooth(followed, config.smooth))
        return count, time.perf_counter() - began, time.process_time() - computed


def encode_seconds(clip: Path, frames: int, encoding: video.Encoding, *, kept: int = 60) -> float:
    """Seconds to encode that many frames, all ready in memory: the clip's first ones again and again."""
    pictures = list(itertools.islice(video.read(clip), kept))
    again = itertools.islice(itertools.cycle(pictures), frames)
    step = pictures[1].time - pictures[0].time
    ready = [Frame(frame.rgb, i * step, i) for i, frame in enumerate(again)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        video.write(ready, Path(folder) / "out.mp4", encoding=encoding)
        return time.perf_counter() - began


def study(subject: Subject, config: VideoConfig) -> tuple[Person, Track]:
    """The person, and the driver's poses made the person's own, as a run would have them."""
    person = read_person(subject, config)
    info, device = video.probe(subject.driver), choose_device(config.device)
    watched = pipeline.watch(
        config, subject.driver, info, device, live=False, on_progress=lambda progress: None
    )
    moments = pipeline.retargeted(
        config, watched, info.size, person,
        live=False, notes=[], on_progress=lambda progress: None,
    )  # fmt: skip
    return person, Track.gather(moments, person.size)


def read_person(subject: Subject, config: VideoConfig) -> Person:
    return pipeline.read_person(
        config, subject.source, video.probe(subject.driver).size,
        choose_device(config.device),
        embodied=config.retarget.mode == "body", on_progress=lambda progress: None,
    )  # fmt: skip


def loop(clip: Path, frames: int, output: Path) -> None:
    """Writes a clip of that many frames by playing another again and again."""
    info = video.probe(clip)

    def again() -> Iterator[Frame]:
        for turn in itertools.count():
            for frame in video.read(clip):
                yield replace(frame, time=frame.time + turn * info.duration)

    numbered = (
        replace(frame, index=i) for i, frame in enumerate(itertools.islice(again(), frames))
    )
    video.write(numbered, output, encoding=video.Encoding(preset="ultrafast"))


def peak_of_run(config: VideoConfig, driver: Path, source: Path, output: Path) -> int:
    """Makes the video and says the most memory this process has ever used, in bytes."""
    pipeline.make_video(config, driver, source, output)
    return peak_memory()


def edn_rows(subject: Subject) -> list[Row]:
    """A learnt generator's networks with both runtimes, and a step of its training."""
    preset = subject.preset_of("edn")
    drawing = speed_learnt.drawing_rows(preset, subject.source, rounds=subject.rounds)
    return drawing + speed_learnt.training_rows(preset)


def single_rows(name: str, subject: Subject) -> list[Row]:
    """A generator that draws anybody: its networks by all ways, and steps of its training."""
    return speed_singles.rows(name, subject.preset_of(name), rounds=subject.rounds)


def surface_rows(subject: Subject) -> list[Row]:
    """The 3-D body fitted to the driver's poses, and drawn."""
    _, track = study(subject, subject.config)
    return speed_surface.fit_rows(track) + speed_surface.raster_rows()


ROWS: dict[str, Callable[[Subject], list[Row]]] = {
    "pose": pose_rows,
    "job": job_rows,
    "render": render_rows,
    "memory": memory_rows,
    "stages": stage_rows,
    "edn": edn_rows,
    "surface": surface_rows,
    **{name: partial(single_rows, name) for name in speed_singles.NAMES},
}


class _Watched:
    """An estimator with a clock on its calls."""

    def __init__(self, estimator: Estimator, clock: dict[str, float]) -> None:
        self._estimator, self._clock = estimator, clock

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        began = time.perf_counter()
        try:
            return self._estimator(frame, near)
        finally:
            self._clock["estimate"] += time.perf_counter() - began

    def close(self) -> None:
        self._estimator.close()


def _timed(name: str, items: Iterable[T], clock: dict[str, float]) -> Iterator[T]:
    """The same items, with the time spent on getting them added to the clock."""
    iterator = iter(items)
    while True:
        began = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            clock[name] += time.perf_counter() - began
        yield item


def _of(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(ours) / statistics.median(theirs)
