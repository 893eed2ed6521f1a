"""The one way through: a driver video and a source person in, the person dancing out.

A clip runs in two streaming passes: first the poses of the whole driver, so that smoothing and
retargeting see both sides of every frame, then the pictures. A live run is the same functions fed
lazily in one pass with a bounded lag. Neither holds more than a few pictures.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import threading
import time
from collections.abc import Generator as Generation
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

import dance
from dance import bodies, picture, plugins, render, sheets, sources, video, weights
from dance.config import Options, Plugin, check
from dance.devices import choose_device, cores_for_stages
from dance.finish import compose, face, silhouette_shadow, steady
from dance.finish.body_shadow import Lamp
from dance.finish.compose import ComposeOptions
from dance.finish.face import FaceOptions
from dance.finish.steady import SteadyOptions
from dance.geometry import even, fit_inside
from dance.person import PersonOptions, study
from dance.pose import follow, retarget, smooth, tracks
from dance.pose.follow import FollowOptions
from dance.pose.retarget import RetargetOptions
from dance.pose.retarget_body import Bodies
from dance.pose.smooth import SmoothOptions
from dance.progress import OnProgress, fitting, kept, told, unless, unless_failed
from dance.stream import prefetch
from dance.surface.fit import FitOptions
from dance.types import (
    Estimator,
    Frame,
    Generator,
    InputError,
    Layer,
    Moment,
    Person,
    Size,
    Track,
)


class OutputOptions(Options):
    """How large the result is and how it is encoded.

    longest: the longer side has at most this many pixels; smaller source pictures keep their size.
    height: exactly this height instead; the width follows the source picture.
    """

    longest: int = Field(1280, ge=64, le=8192)
    height: int | None = Field(None, ge=64, le=8192)
    encoding: video.Encoding = video.Encoding()


class SourceOptions(Options):
    """Which person of the source dances: numbered like `follow.person`; None picks the main one."""

    person: int | None = Field(None, ge=0)


class VideoConfig(Options):
    """Everything a run can be told; each section is documented at its own model."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    estimator: Plugin = Plugin(name="blazepose")
    # The classes by their own names: a field called `follow` hides the module of that name here.
    follow: FollowOptions = FollowOptions()
    smooth: SmoothOptions = SmoothOptions()
    retarget: RetargetOptions = RetargetOptions()
    source: SourceOptions = SourceOptions()
    person: PersonOptions = PersonOptions()
    body: FitOptions = FitOptions()
    generator: Plugin = Plugin(name="puppet")
    steady: SteadyOptions = SteadyOptions()
    face: FaceOptions = FaceOptions()
    compose: ComposeOptions = ComposeOptions()
    output: OutputOptions = OutputOptions()
    chunk: int = Field(6, ge=1, le=256, description="frames drawn in one call of the generator")


@dataclass(frozen=True, slots=True)
class Extras:
    """What a run may read and write beside its result.

    poses: a retargeted track to draw, instead of estimating one.  save_poses: where to keep the drawn one.
    preview: a video of the sticks over both people, made before anything is rendered.
    compare: driver, skeleton and result side by side.
    """

    poses: Path | None = None
    save_poses: Path | None = None
    preview: Path | None = None
    compare: Path | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run gave: its file, frames, size, seconds, and what a person should know about it."""

    output: Path
    frames: int
    size: Size
    seconds: float
    notes: Sequence[str]


def make_video(
    config: VideoConfig,
    driver: Path,
    source: Path,
    output: Path,
    *,
    extras: Extras | None = None,
    live: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Report:
    """Makes the source person dance the driver's dance: as many frames, at the same times, same sound.

    Raises InputError for what the user gave, as early as it can be known; a partial file is never left.
    """
    began = time.monotonic()
    extras = extras or Extras()
    on_progress = on_progress or (lambda progress: None)
    check_paths(config, driver, source, output, extras, live=live, overwrite=overwrite)
    config = for_source(config, source)
    info = video.probe(driver)
    device = choose_device(config.device)
    generator = build_generator(config.generator, device)
    if live:
        bodies.check_live(config.retarget.mode, config.generator.name, generator)
    notes: list[str] = []

    seen: list[Moment] = []
    drawn_for: list[Moment] = []
    with ExitStack() as stack:
        stack.enter_context(cores_for_stages())
        # The source is studied while the driver is watched: neither keeps all cores busy.
        background = stack.enter_context(ThreadPoolExecutor(1, "dance-study"))
        given_up = threading.Event()
        stack.callback(given_up.set)
        studied = background.submit(
            read_person, config, source, info.size, device,
            embodied=bodies.wanted(config.retarget.mode, generator),
            on_progress=partial(unless, given_up, on_progress),
        )  # fmt: skip
        encoded = background.submit(lambda: generator.encode(studied.result()))
        if extras.poses is not None:
            moments: Iterator[Moment] = recorded(extras.poses, driver, studied.result().size)
        else:
            if live:
                wait((encoded,))
            watched: Iterator[Moment] = stack.enter_context(
                closing(watch(config, driver, info, device, live=live, on_progress=on_progress))
            )
            if not live:
                watched = iter(list(unless_failed(watched, studied)))
            moments = retargeted(
                config, kept(watched, seen), info.size, studied.result(),
                live=live, notes=notes, on_progress=on_progress,
            )  # fmt: skip
        person = studied.result()
        if bodies.SURFACE in generator.needs:
            moments = embodied(config, moments, person, notes=notes, on_progress=on_progress)
        if not live:
            track = Track.gather(moments, person.size)
            follow.require_found(track, driver)
            if extras.preview is not None:
                sheets.preview(
                    driver, person, track, extras.preview,
                    driver_track=Track.gather(seen, info.size) if seen else None, overwrite=overwrite,
                )  # fmt: skip
            moments = iter(track)
        layers = render.draw(
            generator, encoded.result(), kept(moments, drawn_for), person.size,
            1 if live else config.chunk,
        )  # fmt: skip
        # Drawing, finishing and encoding each go on while the others do.
        drawn = stack.enter_context(closing(prefetch(layers, ahead=1 if live else config.chunk)))
        pictures = finished(config, drawn, person, driver)
        ready = stack.enter_context(closing(prefetch(pictures, ahead=4)))
        count = video.write(
            told(ready, "render", info.frames, on_progress), output,
            encoding=config.output.encoding, sound=driver if info.has_sound else None,
            metadata=provenance(config), overwrite=overwrite, end=info.end,
        )  # fmt: skip
    track = Track.gather(drawn_for, person.size)
    if extras.save_poses is not None:
        tracks.save(track, extras.save_poses)
    if extras.compare is not None:
        sheets.compare(driver, track, output, extras.compare, overwrite=overwrite)
    unseen = sum(not pose.found for pose in track.poses)
    if unseen:
        notes.insert(0, f"nobody was seen in {unseen} of {count} frames; they show the empty place")
    return Report(output, count, person.size, time.monotonic() - began, tuple(dict.fromkeys(notes)))


def build_generator(plugin: Plugin, device: str) -> Generator:
    """The generator of that name with its own options checked."""
    module = plugins.load("dance.generators", plugin.name)
    options = check(module.Config, plugin.options, f"generator.options of {plugin.name}")
    generator: Generator = module.build(options, device)
    return generator


def build_estimator(plugin: Plugin, device: str, *, thorough: bool = False) -> Estimator:
    """The estimator of that name with its own options checked.

    `thorough` is for the source, looked at once: person masks and a second, mirrored look, where it has them.
    """
    module = plugins.load("dance.pose.estimators", plugin.name)
    options = check(module.Config, plugin.options, f"estimator.options of {plugin.name}")
    if thorough:
        extra = {"mask", "mirror"} & set(module.Config.model_fields)
        options = options.model_copy(update=dict.fromkeys(extra, True))
    estimator: Estimator = module.build(options, device)
    return estimator


def check_paths(
    config: VideoConfig,
    driver: Path,
    source: Path,
    output: Path,
    extras: Extras,
    *,
    live: bool,
    overwrite: bool,
) -> None:
    """Refuses, before anything is computed, outputs that cannot be written or would destroy an input."""
    inputs = [path for path in (driver, source, extras.poses) if path is not None]
    outputs = [
        p for p in (output, extras.save_poses, extras.preview, extras.compare) if p is not None
    ]
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path}: there is no such file")
    for i, path in enumerate(outputs):
        if any(_same(path, other) for other in (*inputs, *outputs[:i])):
            raise InputError(f"{path}: is given twice; every output needs a name of its own")
    video.check_output(output, config.output.encoding, overwrite=overwrite)
    for sheet in (extras.preview, extras.compare):
        if sheet is not None:
            video.check_output(sheet, video.Encoding(), overwrite=overwrite)
    if extras.save_poses is not None:
        tracks.check_output(extras.save_poses, overwrite=overwrite)
    background = config.compose.background
    if compose.kind(background) == "file" and not Path(background).exists():
        raise InputError(f"compose.background {background!r}: there is no such file")
    if live and extras.preview is not None:
        raise InputError("--preview needs all poses before rendering; it cannot go with --live")


def for_source(config: VideoConfig, source: Path) -> VideoConfig:
    """The config to draw that source with: of a trained run its own weights, unless others are named."""
    if not source.is_dir():
        return config
    generator = sources.generator_of(sources.open_run(source), config.generator)
    return config.model_copy(update={"generator": generator})


def read_person(
    config: VideoConfig,
    source: Path,
    driver_size: Size,
    device: str,
    *,
    embodied: bool = False,
    on_progress: OnProgress,
) -> Person:
    """Studies the source photo or video once, at the size of the result; whom a run has learnt is known.

    embodied: also fits a 3-D body to them.
    """
    person = _person(config, source, driver_size, device, on_progress)
    if not embodied:
        return person
    return bodies.of_person(person, config.body, on_progress=fitting("source body", on_progress))


def _person(
    config: VideoConfig, source: Path, driver_size: Size, device: str, on_progress: OnProgress
) -> Person:
    on_driver = compose.kind(config.compose.background) == "driver"

    def sizes(shown: Size, *, enlarge: bool) -> tuple[Size, Size]:
        canvas = canvas_size(driver_size if on_driver else shown, config.output)
        return (sources.inside(shown, canvas, enlarge=enlarge) if on_driver else canvas), canvas

    if source.is_dir():
        person = sources.open_run(source).person()
        return sources.placed(person, *sizes(person.size, enlarge=True))
    pictures = sources.open_pictures(source)
    inner, canvas = sizes(pictures.size, enlarge=False)
    read = partial(pictures.read, inner, canvas)
    with closing(build_estimator(config.estimator, device, thorough=True)) as estimator:
        options = config.follow.model_copy(update={"person": config.source.person})
        watched = told(read(), "source", pictures.count, on_progress)
        moments = follow.follow(watched, estimator, options)
        track = Track.gather(smooth.smooth(moments, config.smooth), canvas)
        follow.require_found(track, source)
        return study(read, track, config.person, estimator=estimator)


def canvas_size(size: Size, options: OutputOptions) -> Size:
    """The result's (height, width), both even, for a picture of that size."""
    height, width = size
    if options.height is not None:
        return even(options.height), even(round(width * options.height / height))
    return fit_inside(size, options.longest)


def watch(
    config: VideoConfig,
    driver: Path,
    info: video.VideoInfo,
    device: str,
    *,
    live: bool,
    on_progress: OnProgress,
) -> Generation[Moment, None, None]:
    """The driver's poses, one per frame, followed and smoothed, in the driver's pixels."""
    with (
        closing(build_estimator(config.estimator, device)) as estimator,
        closing(prefetch(video.read(driver), ahead=4)) as frames,
    ):
        watched = told(frames, "poses", info.frames, on_progress)
        followed = follow.follow(watched, estimator, config.follow)
        yield from smooth.smooth(followed, config.smooth, live=live)


def retargeted(
    config: VideoConfig,
    watched: Iterable[Moment],
    driver_size: Size,
    person: Person,
    *,
    live: bool,
    notes: list[str],
    on_progress: OnProgress,
) -> Iterator[Moment]:
    """The driver's poses made the person's own, in the result's pixels; in mode body the driver's is fitted first."""
    options = config.retarget
    if (
        compose.kind(config.compose.background) == "driver"
        and "place" not in options.model_fields_set
    ):
        # On the driver's own background the person belongs where the driver danced.
        options = options.model_copy(update={"place": "driver"})
    both: Bodies | None = None
    if options.mode == "body":
        track = Track.gather(watched, driver_size)
        if any(pose.found for pose in track.poses):
            assert person.physique is not None, "the source's body is fitted before"
            tell = fitting("body", on_progress)
            track, physique = bodies.of_driver(track, config.body, on_progress=tell)
            both = Bodies(physique, person.physique)
            notes += bodies.notes_on(person)
            notes += bodies.notes("driver", track, physique)
        watched = iter(track)
    return retarget.retarget(
        watched, person.track, options,
        driver_size=driver_size, live=live, report=notes.append, bodies=both,
    )  # fmt: skip


def embodied(
    config: VideoConfig,
    moments: Iterable[Moment],
    person: Person,
    *,
    notes: list[str],
    on_progress: OnProgress,
) -> Iterator[Moment]:
    """The poses of the person with stances of their 3-D body; a clip is read to its end first."""
    assert person.physique is not None, "the source's body is fitted before"
    track = Track.gather(moments, person.size)
    tell = fitting("body", on_progress)
    notes += bodies.notes_on(person)
    yield from bodies.of_poses(track, person.physique, config.body, on_progress=tell)


def recorded(poses: Path, driver: Path, size: Size) -> Generation[Moment, None, None]:
    """The poses of a file, one per driver frame, in the result's pixels."""
    times = [frame.time for frame in video.read(driver, size=(2, 2))]
    yield from tracks.load(poses, times=times, size=size)


def finished(
    config: VideoConfig, layers: Iterator[Layer], person: Person, driver: Path
) -> Iterator[Frame]:
    """Steadied, face-refined and composed pictures, in order."""
    behind: compose.Behind | None = None
    kind = compose.kind(config.compose.background)
    if kind == "driver":
        behind = prefetch(video.read(driver, size=person.size), ahead=2)
    elif kind == "file":
        behind = partial(_opened, Path(config.compose.background))
    layers = face.refine(steady.steady(layers, config.steady), person, config.face)
    lamp = slant = None
    if kind == "source" and person.physique is not None and person.light is not None:
        lamp = Lamp(person.physique, person.light)
    elif kind == "source":
        slant = silhouette_shadow.learn(person)
    yield from compose.compose(
        layers, config.compose, plate=person.plate, behind=behind, slant=slant, lamp=lamp
    )


def provenance(config: VideoConfig) -> dict[str, str]:
    """What made the file: the resolved config and the versions, as metadata for the container."""
    packages = ("torch", "numpy", "anny", "av", "opencv-python-headless", "ai-edge-litert", "numba")
    versions = {name: importlib.metadata.version(name) for name in packages}
    versions |= {"dance": dance.__version__, "python": platform.python_version()}
    learnt = config.generator.options.get("weights") or weights.shipped(config.generator.name)
    hashes = {} if learnt is None else {"dance_weights": weights.sha256(Path(learnt))}
    return hashes | {
        "dance_config": config.model_dump_json(exclude_defaults=False),
        "dance_versions": json.dumps(versions),
    }


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def _opened(path: Path) -> Iterator[Frame]:
    return iter([picture.read(path)]) if picture.is_picture(path) else video.read(path)
