"""What training is fed with: consecutive frames of a dataset, with labels, pictures, mattes and face boxes.

Sample n is a function of the seed and of n alone, whatever was drawn before and by which process:
that is all there is to resuming, and to several processes sharing the work.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from dance import skeleton
from dance.config import Options
from dance.dataset import Dataset as Footage
from dance.geometry import Window, face_box, invert, transform
from dance.types import Array, InputError, Pose, Size

Label = Callable[[Pose, Size], Array]
"""What the generator is shown: (H, W, C) uint8 for a pose in pixels of that (height, width)."""

Batch = dict[str, torch.Tensor]


class Augment(Options):
    """Small random changes, the same for label, picture, previous picture and matte of a pair.

    scale: up to so much larger or smaller.  shift: of the height and width.  turn: degrees.
    flip: half the time mirrored, joints swapped (people are not symmetrical: rarely wise).
    light: up to so much brighter or darker; colours are otherwise untouched.
    """

    scale: float = Field(0.05, ge=0, lt=0.5)
    shift: float = Field(0.02, ge=0, lt=0.5)
    turn: float = Field(3.0, ge=0, le=45)
    flip: bool = False
    light: float = Field(0.0, ge=0, lt=0.5)


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture of a dataset becomes one a network sees: through a window, or the whole of it resized."""

    size: Size
    window: Window | None

    def matrix(self, pose: Pose, picture: Size) -> Array:
        """The (2, 3) affine map from picture pixels to the network's."""
        if self.window is not None:
            return self.window.matrix(pose)
        return _resizing(picture, self.size)

    def enough(self, picture: Size) -> Size:
        """The size that pictures so large may be made smaller to, first of all, without harm.

        Half as large again as wanted: cubic interpolation passes over no pixels then.
        """
        if self.window is not None:
            scale = self.window.scale
        else:
            scale = max(self.size[0] / picture[0], self.size[1] / picture[1])
        height, width = (round(n * min(1.0, 1.5 * scale)) for n in picture)
        return max(1, height), max(1, width)


class Pairs(Dataset[Batch]):
    """Pairs of consecutive frames (previous, current); `pairs[n]` for any n from 0, without an end.

    Each is a dict of tensors, P = 2 frames: label (P, C, H, W) in [0, 1]; picture (P, 3, H, W) in
    [-1, 1]; matte and valid (P, 1, H, W) in [0, 1], valid being 0 outside of what the camera saw, where picture
    and matte go on as at its border; face (P, 4) int64 top, bottom, left, right, -1 where none is seen; frame (P,) int64, their numbers.
    Frames that may not be learnt from, pairs over cuts and the last `held_out` share are never among them.
    memory: so many megabytes of decoded pictures every process keeps.
    """

    def __init__(
        self,
        footage: Footage,
        look: Look,
        label: Label,
        *,
        seed: int,
        augment: Augment,
        face: int | None = None,
        held_out: float = 0.15,
        memory: int = 512,
    ) -> None:
        self.footage = footage
        self.look = look
        self.label = label
        self.seed = seed
        self.augment = augment
        self.face = face
        self.memory = memory
        frames = footage.facts.frames
        first_held = frames - round(held_out * frames)
        cuts, usable = footage.track.cuts, footage.usable
        good = [i for i in range(1, frames) if usable[i] and usable[i - 1] and i not in cuts]
        self.train = [i for i in good if i < first_held]
        # The frame before belongs to the pair: it may not have been learnt from either.
        self.held = [i for i in good if i > first_held]
        if not self.train or (held_out and not self.held):
            raise InputError(
                f"{footage.folder}: only {len(self.train)} pairs of frames to learn from and "
                f"{len(self.held)} held out; it takes a longer video of the person"
            )

    def __getitem__(self, n: int) -> Batch:
        chosen = order(self.seed, n // len(self.train), len(self.train))
        generator = np.random.default_rng((self.seed, 1, n))
        return self._pair(self.train[chosen[n % len(self.train)]], generator)

    def held_pair(self, number: int) -> Batch:
        """The pair whose second frame has that number, unchanged."""
        return self._pair(number, None)

    def held_spread(self, count: int) -> list[int]:
        """Numbers of `count` held-out frames, spread over all of them."""
        places = np.linspace(0, len(self.held) - 1, min(count, len(self.held)))
        return [self.held[round(place)] for place in places]

    def _pair(self, current: int, generator: np.random.Generator | None) -> Batch:
        numbers = [current - 1, current]
        whole = self.footage.facts.size
        enough = self.look.enough(whole)
        pictures = decoded(self.footage, numbers, enough, self.memory)
        change, flip, light = self._change(generator)
        poses = [self.footage.track.poses[i] for i in numbers]
        maps = [_after(change, self.look.matrix(pose, whole)) for pose in poses]
        seen = [_moved(pose, m, flip=flip) for pose, m in zip(poses, maps, strict=True)]
        labels = np.stack([self.label(pose, self.look.size) for pose in seen])
        back = _resizing(enough, whole)
        warped = torch.stack(
            [
                warp(picture, _after(m, back), self.look.size)
                for picture, m in zip(pictures, maps, strict=True)
            ]
        )
        picture = warped[:, :3]
        if light:
            import kornia

            picture = kornia.enhance.adjust_brightness(picture, light)
        return {
            "label": torch.from_numpy(labels).permute(0, 3, 1, 2).float().div_(255),
            "picture": picture * 2 - 1,
            "matte": warped[:, 3:4],
            "valid": warped[:, 4:5],
            "face": torch.tensor([self._face(i, p) for i, p in zip(numbers, seen, strict=True)]),
            "frame": torch.tensor(numbers),
        }

    def _face(self, number: int, pose: Pose) -> tuple[int, int, int, int]:
        nowhere = (-1, -1, -1, -1)
        if self.face is None or not np.isfinite(self.footage.faces[number]).all():
            return nowhere
        return face_box(pose, self.look.size, self.face) or nowhere

    def _change(self, generator: np.random.Generator | None) -> tuple[Array, bool, float]:
        """A random (2, 3) map of the network's pictures onto themselves, whether it mirrors, and light."""
        if generator is None:
            return np.eye(2, 3), False, 0.0
        options = self.augment
        height, width = self.look.size
        scale = float(np.exp(generator.uniform(-1, 1) * np.log1p(options.scale)))
        angle = float(np.deg2rad(generator.uniform(-1, 1) * options.turn))
        shift = generator.uniform(-1, 1, 2) * options.shift * (width, height)
        flip = bool(generator.random() < 0.5) and options.flip
        light = float(generator.uniform(-1, 1)) * options.light
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1 if flip else 1, 1])
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        return np.column_stack([turn, centre + shift - turn @ centre]), flip, light


def _after(second: Array, first: Array) -> Array:
    """The (2, 3) map that does `first`, then `second`."""
    whole = np.vstack([second, [0, 0, 1]]) @ np.vstack([first, [0, 0, 1]])
    return np.asarray(whole[:2])


def _moved(pose: Pose, matrix: Array, *, flip: bool) -> Pose:
    xy = transform(pose.xy, matrix).astype(np.float32)
    scale = np.float32(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    depth = None if pose.depth is None else pose.depth * scale
    moved = replace(pose, xy=xy, depth=depth, region=None, mask=None)
    if not flip:
        return moved
    order = list(skeleton.FLIP)
    depth = None if depth is None else depth[order]
    # A mirrored body's world would need turning too; no label looks at it.
    return replace(moved, xy=xy[order], score=pose.score[order], depth=depth, world=None)


def _resizing(old: Size, new: Size) -> Array:
    """The (2, 3) map from pixels of a picture to those of the same picture at another size."""
    y, x = new[0] / old[0], new[1] / old[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def warp(rgba: Array, matrix: Array, size: Size) -> torch.Tensor:
    """A picture with its matte (H, W, 4) uint8 under a (2, 3) map: (5, h, w) float32 in [0, 1].

    The fifth channel is 1 where the picture is, 0 outside; there the others go on as at its border, so
    that a leg the camera has cut off does not end.
    """
    import kornia

    source = torch.from_numpy(rgba).permute(2, 0, 1)[None].float().div_(255)
    placed: torch.Tensor = kornia.geometry.transform.warp_affine(
        source, torch.from_numpy(matrix)[None].float(), size,
        mode="bicubic", padding_mode="border", align_corners=True,
    )[0].clamp_(0, 1)  # fmt: skip
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1)
    there = transform(grid, invert(matrix))
    limit = np.array([rgba.shape[1], rgba.shape[0]]) - 0.5
    inside = ((there >= -0.5) & (there <= limit)).all(-1)
    return torch.cat([placed, torch.from_numpy(inside)[None].float()])


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, count: int) -> Array:
    """The numbers 0 to count - 1 in the order they are learnt from in that epoch."""
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


@lru_cache(maxsize=4)
def _reader(path: Path) -> Any:
    # Once per process: a decoder cannot be sent to another.
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)


def _read(path: Path, numbers: Sequence[int]) -> Array:
    """These pictures of a video, (N, H, W, 3) uint8."""
    reader = _reader(path)
    pictures: Array = reader.get_batch(list(numbers)).asnumpy()
    # Left where it is, the decoder's thread would decode on to the end of the file and keep all of it.
    reader.seek(0)
    return pictures


def decoded(footage: Footage, numbers: Sequence[int], size: Size, memory: int) -> list[Array]:
    """Pictures with their mattes, (H, W, 4) uint8 of that (height, width), by random access.

    What a process has decoded it keeps, in this size, up to so many megabytes; the oldest goes first.
    """
    kept = _kept(footage.folder, size)
    missing = [number for number in numbers if number not in kept]
    if missing:
        pictures, mattes = _read(footage.pictures, missing), _read(footage.mattes, missing)
        for number, rgb, grey in zip(missing, pictures, mattes, strict=True):
            rgba = np.dstack([rgb, grey[..., 1]])
            if rgba.shape[:2] != size:
                rgba = np.asarray(cv2.resize(rgba, size[::-1], interpolation=cv2.INTER_AREA))
            kept[number] = rgba
    found = [kept[number] for number in numbers]
    while len(kept) * found[0].nbytes > memory * 1_000_000 and len(kept) > len(numbers):
        del kept[next(iter(kept))]
    return found


@lru_cache(maxsize=2)
def _kept(folder: Path, size: Size) -> dict[int, Array]:
    return {}


class Samples(Protocol):
    """What a recipe learns from: sample n for any n from 0, and numbered ones that are held out."""

    train: Sequence[int]
    held: Sequence[int]

    def __getitem__(self, n: int) -> Batch: ...

    def held_pair(self, number: int) -> Batch:
        """The held-out sample of that number, unchanged."""
        ...

    def held_spread(self, count: int) -> list[int]:
        """Numbers of `count` held-out samples, spread over all of them."""
        ...


class Material(Protocol):
    """What a run learns from: a dataset or an album.

    facts: a dataclass kept in run.json, whose `sha256` is another for other data.
    person: the folder of the studied person where it is one's own, which goes into the run's.
    """

    @property
    def facts(self) -> Any: ...

    @property
    def person(self) -> Path | None: ...


def batches(
    pairs: Samples,
    *,
    size: int,
    first: int = 0,
    workers: int = 1,
    rank: int = 0,
    processes: int = 1,
) -> Iterator[Batch]:
    """Batch `first`, the next, and so on for ever, made ahead by worker processes (0: made here).

    Of every batch, `size` samples large, this process of `processes` gets its own.
    """
    loader = DataLoader(
        cast(Dataset[Batch], pairs),
        batch_sampler=_Numbers(size, first, rank, processes),
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_begin_worker if workers else None,
        prefetch_factor=3 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Its own, so that starting a loader draws nothing from the global one.
        generator=torch.Generator(),
    )
    yield from loader


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of the samples of batch `first` and the following."""

    size: int
    first: int
    rank: int
    processes: int

    def __iter__(self) -> Iterator[list[int]]:
        k = self.first
        while True:
            start = (k * self.processes + self.rank) * self.size
            yield list(range(start, start + self.size))
            k += 1


def _begin_worker(worker: int) -> None:
    """Workers are many: one thread each. They end when the process they work for has ended."""
    # A terminal's Ctrl-C and a cluster's end reach them too, and without them nothing could be saved.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
