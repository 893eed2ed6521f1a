"""The person as a dressed 3-D body that turns: drawn from all views of them. Needs no training.

A fitted body (`surface.fit`) is dressed from the views' mattes and textured from their pictures
(`surface.dressed`). A frame shows the body in its stance; each place takes its colour from the looks that saw it
from where it is seen now (`_avatar_views`), and from the atlas where none did.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import Field
from scipy import sparse

from dance.config import Options
from dance.generators import _avatar_halo, _avatar_views
from dance.generators._avatar_draw import release, shade
from dance.surface import atlas as atlases
from dance.surface.dressed import Dressed, dress, standing
from dance.surface.fields import neighbours
from dance.surface.light import falling
from dance.surface.outline import project
from dance.surface.raster import rasterise
from dance.types import Array, Camera, Drawn, Generator, Light, Person, Pose, Size, Stance

# Makes it small and quick for the contract tests.
TEST_OPTIONS = {"side": 128, "workers": 2}
_LEVELS = 4


class Config(Options):
    """Options of the avatar.

    atlas: a painted atlas (a PNG that `save_atlas` has written) to draw from.
    save_atlas: where the person's atlas goes, a PNG to look at and to paint.
    side: pixels of the atlas's side.
    """

    atlas: Path | None = None
    save_atlas: Path | None = None
    side: int = Field(1024, ge=64, le=8192)
    workers: int = Field(
        default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) // 2)), ge=1, le=64,
        description="threads that draw; half the cores unless said, for finishing needs some too",
    )  # fmt: skip


def build(config: Config, device: str) -> Generator:
    """The avatar; it draws on the CPU whatever the device."""
    return Avatar(config)


@dataclass(frozen=True, eq=False)
class Code:
    """The person ready to be drawn; N looks.

    pictures: for each level, half the size of the one before, (N, H, W, 3) uint8.
    places: (V, N, 2) float32, where vertices are in those of the first level.  seen: (V, N) float32 in [0, 1].
    turns: (N, B, 3, 3) float32.  away: metres.  atlas: (A, A, 4) uint8, colours and how far they are painted.
    light: of the person's place, where it is known.  mean: see `fields.neighbours`.
    fell: (V, N) float32, how much light fell on vertices.  guessed: see `_avatar_views.guessed_light`.
    """

    size: Size
    dressed: Dressed
    pictures: Sequence[Array]
    places: Array
    seen: Array
    turns: Array
    away: float
    atlas: Array
    light: Light | None
    mean: sparse.csr_matrix
    fell: Array
    guessed: Array


class Avatar:
    """See the module."""

    size: Size | None = None
    needs: frozenset[str] = frozenset({"surface"})

    def __init__(self, config: Config) -> None:
        self.config = config

    def encode(self, person: Person) -> Code:
        """Dresses the person's body. Raises InputError where none was fitted."""
        dressed = dress(person, side=self.config.side, painted=self.config.atlas)
        if self.config.save_atlas is not None:
            atlases.save(dressed.atlas, self.config.save_atlas)
        looks = dressed.looks
        levels = [[look.rgb for look in looks]]
        while len(levels) < _LEVELS:
            levels.append([cv2.pyrDown(rgb) for rgb in levels[-1]])
        mean = neighbours(dressed.faces, len(dressed.weights))
        fell = _fell(person, dressed, mean)
        seen = np.stack([look.seen for look in looks], 1)
        painted = np.round(255 * dressed.atlas.painted).astype(np.uint8)
        return Code(
            person.size, dressed, [np.stack(level) for level in levels],
            np.ascontiguousarray(np.stack([look.xy for look in looks], 1)),
            seen,
            np.stack([look.turns for look in looks]),
            float(np.median([look.away for look in looks])),
            np.dstack([dressed.atlas.rgb, painted]), person.light, mean,
            fell, _avatar_views.guessed_light(fell, seen, mean),
        )  # fmt: skip

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. A pose without a stance gives a clear picture."""
        rgb = np.full((len(poses), *code.size, 3), 128, np.uint8)
        alpha = np.zeros((len(poses), *code.size), np.float32)

        def draw(i: int) -> None:
            stance = poses[i].stance
            if stance is not None and poses[i].found:
                _draw(code, stance, rgb[i], alpha[i])

        workers = min(self.config.workers, len(poses))
        if workers > 1:
            with ThreadPoolExecutor(workers, "avatar") as pool:
                list(pool.map(draw, range(len(poses))))
        else:
            for i in range(len(poses)):
                draw(i)
        # Channels last in memory: what is drawn pixel by pixel stays together.
        pictures = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        return Drawn(pictures, torch.from_numpy(alpha)[:, None]), None


def _fell(person: Person, dressed: Dressed, mean: sparse.csr_matrix) -> Array:
    """How much light fell on each vertex in each look, (V, N) float32; 1 where nothing is known of the light."""
    stances = [view.pose.stance for view in person.views if view.pose.stance is not None]
    if person.light is None:
        return np.ones((len(dressed.weights), len(stances)), np.float32)
    shone = [
        falling(standing(dressed, stance)[0], dressed.faces, mean, person.light)
        for stance in stances
    ]
    return np.stack(shone, 1)


def _draw(code: Code, stance: Stance, rgb: Array, alpha: Array) -> None:
    """Draws the person in the stance on a clear picture, in place."""
    dressed = code.dressed
    vertices, turns, starts = standing(dressed, stance)
    camera = dressed.physique.camera
    window = _window(project(vertices, camera), code.size)
    if window is None:
        return
    top, bottom, left, right = window
    # Two by two samples a pixel.
    doubled = Camera(
        2 * camera.focal,
        (2 * (camera.centre[0] - left) + 0.5, 2 * (camera.centre[1] - top) + 0.5),
    )
    # Between parted lips the inside of the head is seen, not the place behind.
    fragments = rasterise(
        vertices, dressed.faces, doubled, (2 * (bottom - top), 2 * (right - left)), both_sides=True
    )
    alike = _avatar_views.likeness(turns, code.turns)
    weights = _avatar_views.shares(alike, dressed.weights, code.seen)
    # Seen from farther away than in the pictures, those of a lower resolution do not shimmer.
    scale = code.away / max(0.1, float(np.median(vertices[:, 2])))
    level = int(np.clip(np.floor(np.log2(1.2 / max(scale, 1e-3))), 0, _LEVELS - 1))
    places = code.places if level == 0 else (code.places + 0.5) / 2**level - 0.5
    out = np.empty((bottom - top, right - left, 4), np.float32)
    gains = np.ones(len(vertices), np.float32)
    if code.light is not None:
        falls = falling(vertices, dressed.faces, code.mean, code.light)
        gains = _avatar_views.gains(falls, code.fell, weights, code.guessed)
    shade(
        out, fragments.face, fragments.bary, dressed.faces, code.pictures[level],
        places.astype(np.float32), weights, code.atlas, dressed.layout.corners,
        bool(code.atlas[..., 3].any()), gains,
    )  # fmt: skip
    single = Camera(camera.focal, (camera.centre[0] - left, camera.centre[1] - top))
    nearest = np.minimum.reduceat(
        np.minimum.reduceat(fragments.depth, np.arange(0, fragments.depth.shape[0], 2), axis=0),
        np.arange(0, fragments.depth.shape[1], 2), axis=1,
    )  # fmt: skip
    _avatar_halo.add(out, nearest, dressed.skirts, alike, turns, starts, single, around=True)
    _avatar_halo.add(out, nearest, dressed.halos, alike, turns, starts, single)
    release(out, rgb[top:bottom, left:right], alpha[top:bottom, left:right])


def _window(xy: Array, size: Size) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of what of the picture points (V, 2) may cover; None where they are beside it."""
    left, top = np.maximum(np.floor(xy.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(xy.max(0)).astype(int) + 2, size[::-1])
    if right - left < 2 or bottom - top < 2:
        return None
    return int(top), int(bottom), int(left), int(right)
