"""Shards of synthetic people: pairs (somebody twice) and clips (somebody moving, and somebody else moving the same).

Every take is a function of the seed, its number and the assets alone, whatever else is made and by how many
processes; a shard is written aside and renamed, so that a stopped run goes on with the next.
"""

from __future__ import annotations

import importlib.metadata
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from dance import __version__
from dance.surface import body as bodies
from dance.surface import charts as surfaces
from dance.surface.body import Body
from dance.surface.charts import Charts
from dance.synthetic import motion, poses, scene, truth
from dance.synthetic.assets import Pack, open_pack, read_bvh, sha256, used_files
from dance.synthetic.draw import draw
from dance.synthetic.motion import Motion
from dance.synthetic.people import draw_lots
from dance.synthetic.scene import Backdrop, Lighting, Viewpoint
from dance.synthetic.wear import Figure, dress, posed
from dance.takes import MANIFEST, VERSION, Take, keys, write_shard
from dance.types import Array, InputError, Size

PAIRS_IN_SHARD, CLIPS_IN_SHARD = 64, 4
_SMALLEST, _LARGEST = 32, 1024
_LOOKS = 4  # pairs of the same person
_CLIP_PEOPLE = 1_000_000  # people in clips are others than those in pairs: their numbers begin here
_CAPTURED = 0.45  # of poses and motions, where there are captured ones
_ALL_ROUND = 0.25  # of pictures show somebody from anywhere, the others more or less from before
_CLOSE = 0.2  # of pairs show less than the whole person
_DIFFERENT, _TRIES = (
    0.45,
    8,
)  # the mean of how bones' turns differ in a pair: 18 degrees; how often it is tried
_LOOSE = 40  # every so manieth vertex says how far a figure reaches
_STREAMS = {"people": 1, "pairs": 2, "clips": 3}
_BEGUN = "settings.json"


@dataclass(frozen=True, slots=True)
class Order:
    """What to make: so many pairs and clips of `frames` pictures (25 a second), all `size` pixels high and wide."""

    pairs: int
    clips: int
    size: int = 128
    frames: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.pairs, self.clips) < 0 or self.pairs + self.clips == 0:
            raise InputError(f"{self.pairs} pairs and {self.clips} clips are nothing to make")
        if not _SMALLEST <= self.size <= _LARGEST:
            raise InputError(f"size {self.size} is not from {_SMALLEST} to {_LARGEST}")
        if self.frames < 2 or self.seed < 0:
            raise InputError(f"{self.frames} frames, seed {self.seed}: 2 and 0 are the least")


@dataclass(frozen=True, slots=True)
class Progress:
    stage: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Studio:
    """All that pictures are made with; the same for every take."""

    body: Body
    charts: Charts
    pack: Pack
    order: Order

    @property
    def size(self) -> Size:
        return self.order.size, self.order.size


@dataclass(frozen=True, eq=False)
class Setting:
    """Where somebody is seen: from there, before that, in that light."""

    view: Viewpoint
    backdrop: Backdrop
    lighting: Lighting


@dataclass(frozen=True, slots=True)
class Shard:
    """One file to write: its kind, number, and how many pairs or clips go into it."""

    kind: str
    number: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:05d}.tar"


def make(
    assets: Path,
    output: Path,
    order: Order,
    *,
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Makes the shards that the folder `output` lacks, then its manifest, which it returns."""
    pack = open_pack(assets)
    output.mkdir(parents=True, exist_ok=True)
    facts = _settings(pack, order)
    _begin(output, facts)
    wanted = shards(order)
    left = [shard for shard in wanted if not _is_whole(output / shard.name, shard)]
    done = {kind: sum(s.count for s in wanted if s.kind == kind and s not in left) for kind in _totals(order)}  # fmt: skip
    for shard in _made(assets, output, order, left, workers):
        done[shard.kind] += shard.count
        if on_progress is not None:
            on_progress(Progress(shard.kind, done[shard.kind], _totals(order)[shard.kind]))
    listed = {
        kind: [
            {"name": s.name, "sha256": sha256(output / s.name), "count": s.count}
            for s in wanted
            if s.kind == kind
        ]
        for kind in _totals(order)
    }
    manifest = {"version": VERSION, **facts, **asdict(order), "shards": listed}
    _write_json(output / MANIFEST, manifest)
    return manifest


def shards(order: Order) -> list[Shard]:
    """The files of an order; those of a larger one begin with the same."""
    out = []
    for kind, total, full in (
        ("pairs", order.pairs, PAIRS_IN_SHARD),
        ("clips", order.clips, CLIPS_IN_SHARD),
    ):
        for number, first in enumerate(range(0, total, full)):
            out.append(Shard(kind, number, min(full, total - first)))
    return out


@lru_cache(maxsize=1)
def studio(assets: Path, order: Order) -> Studio:
    """The body, its charts and the assets; some seconds, then kept."""
    body = bodies.load()
    return Studio(body, surfaces.charts(body), open_pack(assets), order)


def pair(studio: Studio, number: int) -> Take:
    """Somebody twice: in two poses, each before a camera of its own, in the same place and light."""
    rng = _numbers(studio, "pairs", number)
    person = number // _LOOKS
    figure = _figure(studio, person)
    place, lighting = scene.draw_place(studio.pack, rng), scene.draw_lighting(rng)
    field = float(rng.uniform(18, 45))
    share = float(rng.uniform(0.4, 0.75)) if rng.random() < _CLOSE else 1.0
    frames = []
    for held in _two_moments(studio, rng):
        moved = motion.turned(held, _facing(rng))
        root = motion.place(studio.body, figure, moved)
        points = posed(figure, motion.transforms(studio.body, figure, moved.turns, root)[0])
        view = _view(studio, rng, _upper(points[::_LOOSE], share), field)
        setting = Setting(
            view, scene.backdrop(place, view, studio.size, studio.pack.folder), lighting
        )
        frames.append(_picture(studio, figure, moved.turns[0], root[0], points, setting, rng))
    facts = {
        "kind": "pair", "person": person, "character": asdict(figure.character), "place": place.kind, "share": share
    }  # fmt: skip
    return _take(f"p{number:06d}", facts, figure, frames)


def clip(studio: Studio, number: int) -> Iterator[Take]:
    """Two takes: somebody moving, and somebody else in another place moving the same, each before a still camera."""
    rng = _numbers(studio, "clips", number)
    moved = motion.turned(_moving(studio, rng), float(rng.normal(0, 0.4)))
    field, height = float(rng.uniform(22, 45)), float(rng.uniform(0.8, 1.7))
    for which, letter in enumerate("ab"):
        person = _CLIP_PEOPLE + 2 * number + which
        figure = _figure(studio, person)
        place, lighting = scene.draw_place(studio.pack, rng), scene.draw_lighting(rng)
        root = motion.place(studio.body, figure, moved)
        every = [
            posed(figure, bones)
            for bones in motion.transforms(studio.body, figure, moved.turns, root)
        ]
        reached = np.concatenate([points[::_LOOSE] for points in every[::4]])
        view = scene.aim(reached, studio.size, field=np.radians(field), height=height, margin=0.04)
        setting = Setting(
            view, scene.backdrop(place, view, studio.size, studio.pack.folder), lighting
        )
        frames = [
            _picture(studio, figure, turns, there, points, setting, rng)
            for turns, there, points in zip(moved.turns, root, every, strict=True)
        ]
        facts = {
            "kind": "clip", "person": person, "character": asdict(figure.character), "place": place.kind,
            "motion": number, "rate": motion.RATE,
        }  # fmt: skip
        yield _take(f"c{number:06d}{letter}", facts, figure, frames)


def _picture(
    studio: Studio,
    figure: Figure,
    turns: Array,
    root: Array,
    points: Array,
    setting: Setting,
    rng: np.random.Generator,
) -> dict[str, Array]:
    """One picture and all that is known of it, by the names of `Take`. turns (B, 3, 3), root (3,), points (N, 3): in the world."""
    view = setting.view
    shot = draw(
        figure,
        view.seen(points).astype(np.float32),
        view.camera,
        studio.size,
        scene.seen_light(setting.lighting, view),
    )
    background = scene.behind(shot, setting.backdrop)
    linear = shot.colour + (1 - shot.alpha[..., None]) * background
    local = motion.local_turns((view.turn @ turns)[None])[0]
    there = view.seen(root).astype(np.float32)
    joints = truth.joints(studio.body, figure, local, there)
    xy, score = truth.seen_joints(joints, view.camera, shot)
    return {
        "pictures": scene.developed(linear, rng, noise=float(rng.uniform(0.5, 2.5))),
        "xy": xy,
        "score": score,
        "points": joints,
        "matte": truth.matte(shot),
        "labels": truth.label_map(figure, shot),
        "surface": truth.surface_map(figure, shot),
        "turns": local,
        "root": there,
        "camera": np.array([view.camera.focal, *view.camera.centre], np.float32),
    }


def _take(key: str, facts: dict[str, Any], figure: Figure, frames: list[dict[str, Array]]) -> Take:
    arrays = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    return Take(key, facts, shape=np.array(figure.character.shape, np.float32), **arrays)


@lru_cache(maxsize=2)
def _figure(studio: Studio, person: int) -> Figure:
    character = draw_lots(studio.pack, _numbers(studio, "people", person))
    return dress(studio.body, studio.charts, studio.pack, character)


def _numbers(studio: Studio, stream: str, number: int) -> np.random.Generator:
    return np.random.default_rng((studio.order.seed, _STREAMS[stream], number))


def _moment(studio: Studio, rng: np.random.Generator) -> Motion:
    if studio.pack.clips and rng.random() < _CAPTURED:
        return _captured(studio, rng, 1)
    return poses.still(studio.body, rng)


def _two_moments(studio: Studio, rng: np.random.Generator) -> tuple[Motion, Motion]:
    """Two poses that are not nearly the same."""
    first = second = _moment(studio, rng)
    for _ in range(_TRIES):
        second = _moment(studio, rng)
        # For turns by an angle this is 2.8 times the sine of its half.
        if np.linalg.norm(second.turns - first.turns, axis=(-2, -1)).mean() > _DIFFERENT:
            break
    return first, second


def _moving(studio: Studio, rng: np.random.Generator) -> Motion:
    frames = studio.order.frames
    if studio.pack.clips and rng.random() < _CAPTURED:
        return _captured(studio, rng, frames)
    return poses.dance(studio.body, rng, frames)


def _captured(studio: Studio, rng: np.random.Generator, frames: int) -> Motion:
    path = studio.pack.clips[int(rng.integers(len(studio.pack.clips)))]
    return motion.from_clip(read_bvh(path), path.name, float(rng.random()), frames)


def _facing(rng: np.random.Generator) -> float:
    """How far somebody is turned from the camera, radians."""
    if rng.random() < _ALL_ROUND:
        return float(rng.uniform(-np.pi, np.pi))
    return float(rng.normal(0, 0.6))


def _view(studio: Studio, rng: np.random.Generator, points: Array, field: float) -> Viewpoint:
    return scene.aim(
        points,
        studio.size,
        field=np.radians(field * float(rng.uniform(0.85, 1.15))),
        height=float(rng.uniform(0.7, 1.8)),
        margin=float(rng.uniform(0.02, 0.09)),
    )


def _upper(points: Array, share: float) -> Array:
    """Those of the points (P, 3) in the upper share of their height; y points down."""
    top, bottom = points[:, 1].min(), points[:, 1].max()
    return np.asarray(points[points[:, 1] <= top + share * (bottom - top)])


def _settings(pack: Pack, order: Order) -> dict[str, Any]:
    """What decides of the pictures, but for how many there are."""
    files = [
        {
            "path": path.relative_to(pack.folder).as_posix(),
            "sha256": sha256(path),
            "licence": pack.licences.get(path.relative_to(pack.folder).as_posix(), "not told"),
        }
        for path in used_files(pack)
    ]
    versions = {
        name: importlib.metadata.version(name) for name in ("anny", "numpy", "numba", "scipy")
    } | {"opencv": cv2.__version__, "dance": __version__}
    return {
        "size": order.size, "frames": order.frames, "seed": order.seed, "versions": versions,
        "assets": files,
    }  # fmt: skip


def _begin(output: Path, facts: dict[str, Any]) -> None:
    """Keeps what the folder is made with. Raises InputError where it was begun with something else."""
    path = output / _BEGUN
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            differ = [name for name in facts if before.get(name) != facts[name]]
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path}: is damaged ({error}); give another folder") from error
        if differ:
            raise InputError(
                f"{output}: was begun with other {', '.join(differ)}; give another folder"
            )
    elif any(output.glob("*.tar")):
        raise InputError(f"{output}: has shards already, but not {_BEGUN}; give another folder")
    # Without its manifest it is not whole until this run has ended.
    (output / MANIFEST).unlink(missing_ok=True)
    _write_json(path, facts)


def _is_whole(path: Path, shard: Shard) -> bool:
    if not path.is_file():
        return False
    takes = shard.count * (2 if shard.kind == "clips" else 1)
    return len(keys(path)) == takes


def _made(
    assets: Path, output: Path, order: Order, left: list[Shard], workers: int
) -> Iterator[Shard]:
    """Writes the shards, and gives each back when it is there."""
    if workers <= 1 or len(left) <= 1:
        for shard in left:
            _write(assets, output, order, shard)
            yield shard
        return
    # The very first time the body is made, which several must not do at once.
    bodies.load()
    with ProcessPoolExecutor(
        min(workers, len(left)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    ) as pool:
        jobs = {pool.submit(_write, assets, output, order, shard): shard for shard in left}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            for job in jobs:
                job.cancel()


def _write(assets: Path, output: Path, order: Order, shard: Shard) -> None:
    # Several threads add up in another order, and the last bits differ.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        write_shard(output / shard.name, _takes(studio(assets, order), shard))
    finally:
        torch.set_num_threads(threads)


def _takes(room: Studio, shard: Shard) -> Iterator[Take]:
    if shard.kind == "pairs":
        first = shard.number * PAIRS_IN_SHARD
        yield from (pair(room, first + n) for n in range(shard.count))
    else:
        first = shard.number * CLIPS_IN_SHARD
        for n in range(shard.count):
            yield from clip(room, first + n)


def _begin_worker() -> None:
    """A terminal's Ctrl-C is for the process they work for, and with that they end, however it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="dance-follow", daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


def _totals(order: Order) -> dict[str, int]:
    return {"pairs": order.pairs, "clips": order.clips}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(values, indent=1), encoding="utf-8")
    aside.replace(path)
