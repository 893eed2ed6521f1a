"""The records that travel through the pipeline, and the protocols of its plug-ins.

Shapes: T frames, H height, W width, J = 133 joints (COCO-WholeBody order, see `skeleton`).
Sizes are (height, width), pictures RGB, coordinates (x, y) in pixels with the centre of the top left
pixel at (0, 0), times exact `Fraction` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

JOINTS = 133

Array = np.ndarray[Any, Any]
Size = tuple[int, int]


class InputError(ValueError):
    """What the user gave cannot be used; the message names it, what is wrong and what would be right."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video or a photo.

    rgb: (H, W, 3) uint8 sRGB.  time: seconds.  index: its number in its file, from 0.
    alpha: (H, W) float32 in [0, 1] where the file says what is opaque, else None.
    """

    rgb: Array
    time: Fraction = Fraction(0)
    index: int = 0
    alpha: Array | None = None

    def __post_init__(self) -> None:
        shape = self.rgb.shape
        _require(
            self.rgb.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3,
            f"rgb must be (H, W, 3) uint8, got {shape} {self.rgb.dtype}",
        )
        _require(isinstance(self.time, Fraction), f"time must be a Fraction, got {self.time!r}")
        _require(
            self.alpha is None or self.alpha.shape == shape[:2],
            f"alpha must be {shape[:2]}, got {None if self.alpha is None else self.alpha.shape}",
        )

    @property
    def size(self) -> Size:
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels: left and top inclusive, right and bottom exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Region:
    """A rotated square an estimator looks at: centre (x, y) and side in pixels, angle in radians.

    The angle is that of the square's upward axis, clockwise as seen; 0 is an upright person.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera without distortion. focal: pixels.  centre: (x, y) pixels its axis goes through.

    Camera axes: x right, y down, z away, metres.
    """

    focal: float
    centre: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stance:
    """How somebody's 3-D body stands before the camera in one picture; `surface.body` says what the bones are.

    turns: (B, 3) float32 rotation vectors in radians, each bone's from its parent's; the first bone's from
    the camera's axes.  root: (3,) float32, where the first bone begins, metres in camera axes.
    sure: (B,) float32 in [0, 1], how well the picture supports each bone; 0 = guessed.
    """

    turns: Array
    root: Array
    sure: Array


@dataclass(frozen=True, slots=True)
class Pose:
    """One person's joints in one picture.

    xy: (133, 2) float32 pixels, possibly outside the picture.
    score: (133,) float32 in [0, 1]; 0 = not seen, and then xy means nothing.
    depth: (133,) float32 pixels relative to the mid-hip, smaller is nearer to the camera; or None.
    world: (133, 3) float32 metres from the mid-hip, x right, y down, z away from the camera; or None.
           Joints whose score is 0 mean nothing here either.
    region: where the estimator would look for the same person in the next picture; or None.
    mask: (H, W) float32 in [0, 1], the estimator's person mask where it was asked for; or None.
    stance: the 3-D body that was fitted to the pose; or None.
    """

    xy: Array
    score: Array
    depth: Array | None = None
    world: Array | None = None
    region: Region | None = None
    mask: Array | None = None
    stance: Stance | None = None

    def __post_init__(self) -> None:
        _require(self.xy.shape == (JOINTS, 2), f"xy must be ({JOINTS}, 2), got {self.xy.shape}")
        _require(
            self.score.shape == (JOINTS,), f"score must be ({JOINTS},), got {self.score.shape}"
        )
        _require(
            self.depth is None or self.depth.shape == (JOINTS,),
            f"depth must be ({JOINTS},), got {None if self.depth is None else self.depth.shape}",
        )
        _require(
            self.world is None or self.world.shape == (JOINTS, 3),
            f"world must be ({JOINTS}, 3), got {None if self.world is None else self.world.shape}",
        )

    @classmethod
    def unseen(cls) -> Pose:
        """The pose of a picture without the person: every score is 0."""
        return cls(np.zeros((JOINTS, 2), np.float32), np.zeros(JOINTS, np.float32))

    @property
    def found(self) -> bool:
        """Whether any joint was seen."""
        return bool((self.score > 0).any())


@dataclass(frozen=True, slots=True)
class Moment:
    """The pose at one driver frame; `cut` marks the first frame of a new scene."""

    pose: Pose
    time: Fraction
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """The poses of a whole clip: one per frame, at its exact time, in pictures of one size.

    size: (height, width) the coordinates refer to.  cuts: indices that start a new scene.
    """

    poses: Sequence[Pose]
    times: Sequence[Fraction]
    size: Size
    cuts: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        _require(
            len(self.poses) == len(self.times),
            f"as many poses as times are needed, got {len(self.poses)} and {len(self.times)}",
        )

    @classmethod
    def gather(cls, moments: Iterable[Moment], size: Size) -> Track:
        """Collects a stream of moments into a track."""
        items = list(moments)
        cuts = frozenset(i for i, moment in enumerate(items) if moment.cut)
        return cls([m.pose for m in items], [m.time for m in items], size, cuts)

    def __iter__(self) -> Iterator[Moment]:
        for i, (pose, time) in enumerate(zip(self.poses, self.times, strict=True)):
            yield Moment(pose, time, i in self.cuts)

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def xy(self) -> Array:
        """All joints, (T, 133, 2) float32."""
        return (
            np.stack([p.xy for p in self.poses])
            if self.poses
            else np.zeros((0, JOINTS, 2), np.float32)
        )

    @property
    def score(self) -> Array:
        """All scores, (T, 133) float32."""
        return (
            np.stack([p.score for p in self.poses])
            if self.poses
            else np.zeros((0, JOINTS), np.float32)
        )


@dataclass(frozen=True, slots=True)
class View:
    """One look at the source person: a picture, the pose in it, and the matte (H, W) float32 in [0, 1]."""

    frame: Frame
    pose: Pose
    alpha: Array


@dataclass(frozen=True, slots=True)
class Physique:
    """The shape of somebody's 3-D body and the camera they were fitted in; `surface.body` says what is in `shape`.

    shape: (S,) float32.  sure: in [0, 1], how well the pictures tell it.
    """

    shape: Array
    camera: Camera
    sure: float = 1.0


@dataclass(frozen=True, slots=True)
class Light:
    """What lights a place: one far lamp or the sun, and light from all around.

    towards: (3,) of length 1, the way to the lamp in camera axes.  up: (3,) of length 1, the floor's normal.
    share: in (0, 1), how much of a picture's levels the floor loses where the lamp does not reach it.
    """

    towards: Array
    up: Array
    share: float


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of the source person; every picture has the size of the result.

    views: the looks at the person a generator may draw from, best first.
    plate: (H, W, 3) uint8, the place without the person.
    track: the poses of all studied source pictures; its first pose says where the person stands.
    physique: of the 3-D body, where one was fitted; then the found poses of `track` and `views` have stances.
    light: of their place, where the body's shadow on the floor tells it.
    """

    views: Sequence[View]
    plate: Array
    track: Track
    physique: Physique | None = None
    light: Light | None = None

    def __post_init__(self) -> None:
        _require(len(self.views) > 0, "a person needs at least one view")

    @property
    def size(self) -> Size:
        return self.plate.shape[0], self.plate.shape[1]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a generator draws: rgb (T, 3, H, W), alpha (T, 1, H, W) in [0, 1] or None.

    rgb is float in [-1, 1], or uint8 where a generator draws in levels (a quarter of the memory to pass on).

    Without alpha the generator has drawn the background too.
    """

    rgb: torch.Tensor
    alpha: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Layer:
    """The drawn person at one driver frame, on its way through the finish, in the result's size.

    rgb: (H, W, 3) uint8.  alpha: (H, W) float32 in [0, 1], or None where the background is drawn too.
    moment: the retargeted pose (in the result's pixels), time and cut it was drawn for.
    """

    rgb: Array
    alpha: Array | None
    moment: Moment


class Estimator(Protocol):
    """Finds people's joints in one picture; stateless, `pose.follow` keeps the state; safe to call from threads."""

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        """All people in the picture, or with `near` only whoever is at `near.region` (or none)."""
        ...

    def close(self) -> None:
        """Ends whatever processes and files the estimator holds."""
        ...


class Generator(Protocol):
    """Draws a person in given poses.

    size: (height, width) it draws, or None when it draws at the person's own picture size.
    needs: what it wants beyond joints, e.g. {"surface"} or {"parsing"}.
    """

    size: Size | None
    needs: frozenset[str]

    def encode(self, person: Person) -> Any:
        """Studies the person once."""
        ...

    def render(self, code: Any, poses: Sequence[Pose], state: Any) -> tuple[Drawn, Any]:
        """Draws the poses in order; `state` is what the previous call returned, None at the start or a cut.

        Drawing T poses in one call equals drawing them one by one, carrying the state.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What a generator in training makes of held-out frames: label, target and drawn (B, 3, H, W) in [-1, 1].

    mask: (B, 1, H, W), above 0.5 where the person is.
    """

    label: torch.Tensor
    target: torch.Tensor
    drawn: torch.Tensor
    mask: torch.Tensor


class Recipe(Protocol):
    """How a generator is taught; `training.loop` runs it. All its networks and optimisers are its own.

    generator: what is averaged, kept and drawn with; `begin` may replace it.  stage: the present stage's name.
    """

    generator: nn.Module
    stage: str

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets stage and learning rates for the share of the budget used, in [0, 1); told before every step.

        A new stage goes on from `averaged`, the generator's average. True where the generator is another now.
        """
        ...

    def step(self, batch: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """One update of all networks; the losses by name."""
        ...

    def show(self, generator: nn.Module, batch: Mapping[str, torch.Tensor]) -> Shown:
        """What the generator draws of the batch's last frames."""
        ...

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes the generator as the plug-in of the same name loads it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Dicts and lists of tensors and plain values: everything `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to where `state_dict` was taken."""
        ...
