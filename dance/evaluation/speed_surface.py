"""How fast the 3-D body is fitted to poses, and drawn."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from dance.evaluation.report import Row, measured
from dance.surface import body as bodies
from dance.surface import charts, raster
from dance.surface.fit import camera_of, fit
from dance.types import Physique, Stance, Track

FITTED, MOST_SECONDS = 300, 60.0  # pictures, and how long fitting them may take
SIDE, MOST_MILLISECONDS = 512, 15.0  # of a picture, and how long drawing it may take
CALLS = 50
_FOCAL = 1.2  # the camera's focal length over the picture's side
_FILLED = 0.85  # of the picture's height that the body takes


def fit_rows(track: Track, *, frames: int = FITTED) -> list[Row]:
    """Shape and stances fitted to that many pictures: the track's poses again and again."""
    poses = list(itertools.islice(itertools.cycle(track.poses), frames))
    step = track.times[1] - track.times[0] if len(track) > 1 else Fraction(1, 25)
    bodies.load()
    began = time.perf_counter()
    fit(Track(poses, [i * step for i in range(frames)], track.size))
    seconds = time.perf_counter() - began
    bar = f"<= {MOST_SECONDS:g}"
    return [measured(f"fit the 3-D body, {frames} pictures", seconds, "s", bar, seconds <= MOST_SECONDS)]  # fmt: skip


def raster_rows(*, calls: int = CALLS) -> list[Row]:
    """Medians of drawing the average body, standing and as large as the picture allows, on one core."""
    body = bodies.load()
    size = (SIDE, SIDE)
    camera = camera_of(size, _FOCAL)
    still = np.zeros((len(bodies.BONES), 3), np.float32)
    physique = Physique(np.array(bodies.AVERAGE, np.float32), camera)

    def placed(root: list[float]) -> Stance:
        return Stance(still, np.array(root, np.float32), np.ones(len(still), np.float32))

    at_rest = bodies.vertices_of(body, physique, placed([0, 0, 0]))
    top, bottom = at_rest[:, 1].min(), at_rest[:, 1].max()
    stance = placed([0, -(top + bottom) / 2, _FOCAL * (bottom - top) / _FILLED])
    vertices, faces = bodies.vertices_of(body, physique, stance), body.faces.numpy()
    made = charts.charts(body)
    seen = raster.rasterise(vertices, faces, camera, size, soft=True)

    def shown() -> None:
        raster.parts(seen, made)
        raster.uv(seen, made)
        raster.normals(seen, vertices, faces)

    timed: dict[str, Callable[[], object]] = {
        "vertices of a stance": lambda: bodies.vertices_of(body, physique, stance),
        "surface raster": lambda: raster.rasterise(vertices, faces, camera, size),
        "surface raster, soft edges": lambda: raster.rasterise(vertices, faces, camera, size, soft=True),
        "part, U, V and normals": shown,
    }  # fmt: skip
    found = {what: _milliseconds(call, calls) for what, call in timed.items()}
    limited = ("surface raster", "surface raster, soft edges")
    return [
        measured(
            f"{what}, {len(faces)} triangles, {SIDE}x{SIDE}", taken, "ms",
            *((f"<= {MOST_MILLISECONDS:g}", taken <= MOST_MILLISECONDS) if what in limited else ()),
        )
        for what, taken in found.items()
    ]  # fmt: skip


def _milliseconds(call: Callable[[], object], calls: int) -> float:
    """The median of one call's time; the first, which may compile, is not counted."""
    call()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)
