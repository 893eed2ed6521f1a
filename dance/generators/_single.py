"""What generators that draw from a single picture share: how the person is framed for the network and put back.

The network sees the person upright in a frame of its own size, always equally large and with the middle of the
torso at one place; what it draws is put where the pose stands in the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from dance import geometry, joint_maps, skeleton, weights
from dance.config import Options, check
from dance.generators._placed import COLOURS, placed
from dance.types import Array, Drawn, InputError, Person, Pose, Size

ArchitectureT = TypeVar("ArchitectureT", bound=BaseModel)
Draw = Callable[[Array, Array], Tensor]
"""(T, 18, 2) joints in the frame's pixels and their (T, 18) scores -> (T, 3 or 4, H, W), a matte in [0, 1] fourth."""
DrawPoses = Callable[[Sequence[Pose], Sequence[Array]], Tensor]
"""T poses in the result's pixels, and the (2, 3) maps from there to the frame's -> as `Draw`."""

_NEARER, _FARTHER = (
    0.8,
    1.25,
)  # sizes of the person beside their own that a network is still shown as they are
_TORSO_OF_SHOULDERS = 1.6  # a torso's length beside that from shoulder to shoulder
_TORSO_OF_NOSE = 2.25  # and beside that from between the shoulders to the nose
_SHAPE = 0.22  # of the torso's length: how far a body reaches from its limbs, where a network draws no matte
_SOFT = 0.05  # of the torso's length: how soft that matte's edge is


class Frame(Options):
    """The frame the network sees. Published pictures are 256 x 176 (DeepFashion) or 128 x 64 (Market-1501)."""

    height: int = Field(256, ge=8)
    width: int = Field(176, ge=8)
    torso: float = Field(0.21, gt=0, lt=1, description="the torso's share of the height")
    middle: float = Field(0.47, gt=0, lt=1, description="how far down the torso's middle is")

    @property
    def size(self) -> Size:
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Seen:
    """The person as the network sees them.

    picture: (1, 3, H, W) in [-1, 1].  matte: (1, 1, H, W) in [0, 1].  xy, score: their 18 joints in the frame.
    size: of the pictures of the result.  torso: its length in those, in pixels.
    """

    picture: Tensor
    matte: Tensor
    xy: Array
    score: Array
    size: Size
    torso: float


def study(person: Person, frame: Frame, device: str, *, alone: bool) -> Seen:
    """The person's best view in the frame.

    alone: on plain grey, as a network that draws with a matte is taught; else on what is behind them.
    """
    view = person.views[0]
    torso = _torso(person)
    matrix = place(person, frame)
    alpha = np.ascontiguousarray(view.alpha, np.float32)
    rgb = view.frame.rgb.astype(np.float32) / 127.5 - 1
    if alone:
        rgb = rgb * alpha[..., None]
    edge = cv2.BORDER_CONSTANT if alone else cv2.BORDER_REPLICATE
    parts = [cut(rgb, matrix, frame.size, edge), cut(alpha, matrix, frame.size, cv2.BORDER_CONSTANT)[..., None]]  # fmt: skip
    picture, matte = (torch.from_numpy(part).movedim(-1, 0)[None].to(device) for part in parts)
    xy, score = joint_maps.joints(view.pose)
    xy = geometry.transform(np.asarray(xy, np.float64), matrix)
    return Seen(picture.clamp(-1, 1), matte.clamp(0, 1), xy, score, person.size, torso)


def framed(person: Person, frame: Frame, values: Array) -> Array:
    """A map (H, W) float32 over the person's best view, as it lies in `study`'s frame, (h, w); 0 beyond the view."""
    return cut(values, place(person, frame), frame.size, cv2.BORDER_CONSTANT)


def place(person: Person, frame: Frame) -> Array:
    """The (2, 3) map from pixels of the person's best view to those of `study`'s frame."""
    return _window(frame, person.size, _torso(person), None).matrix(person.views[0].pose)


def _torso(person: Person) -> float:
    """The torso's length in pixels; where none is seen, what it is of a body as large as the joints' box."""
    lengths = [geometry.torso_size(pose) for pose in (person.views[0].pose, *person.track.poses)]
    seen = [length for length in lengths if length]
    if seen:
        return float(np.median(seen))
    return _guessed(person.views[0].pose, person.size)


def _guessed(pose: Pose, picture: Size) -> float:
    """How long a torso that is not all seen may be: by shoulders and nose, else by all joints."""
    shoulders = pose.xy[[skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER]]
    if min(pose.score[[skeleton.LEFT_SHOULDER, skeleton.RIGHT_SHOULDER, skeleton.NOSE]]) > 0:
        across = float(np.linalg.norm(shoulders[0] - shoulders[1]))
        up = float(np.linalg.norm(pose.xy[skeleton.NOSE] - shoulders.mean(0)))
        # Whichever is less foreshortened.
        return max(_TORSO_OF_SHOULDERS * across, _TORSO_OF_NOSE * up, 1.0)
    box = geometry.joints_box(pose.xy, pose.score)
    return 0.3 * (picture[0] if box is None else max(box.height, box.width, 1.0))


def cut(picture: Array, matrix: Array, size: Size, edge: int) -> Array:
    """What the matrix leads into a frame of that size; made smaller by area, so that nothing flickers."""
    shrink = int(1 / matrix[0, 0])
    if shrink > 1:
        # Whole blocks of pixels are averaged first; the matrix then starts from blocks.
        height, width = (side // shrink * shrink for side in picture.shape[:2])
        small = (width // shrink, height // shrink)
        picture = cv2.resize(picture[:height, :width], small, interpolation=cv2.INTER_AREA)
        matrix = matrix.copy()
        matrix[:, 2] += matrix[:, :2].sum(1) * (shrink - 1) / 2
        matrix[:, :2] *= shrink
    return np.asarray(
        cv2.warpAffine(picture, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=edge)
    )


def framing(frame: Frame, picture: Size, pose: Pose, *, larger: float = 1.0) -> Array:
    """The (2, 3) map from pixels of pictures of that size to the frame's about somebody of whom this pose alone is known.

    larger: than they are; as drawing does it, much larger or smaller ones are brought nearer.
    """
    torso = geometry.torso_size(pose) or _guessed(pose, picture)
    return _window(frame, picture, torso / larger, pose).matrix(pose)


def _window(frame: Frame, picture: Size, torso: float, pose: Pose | None) -> geometry.Window:
    """The frame about a pose, at the person's scale; at another where they are much larger or smaller."""
    scale = frame.torso * frame.height / torso
    length = None if pose is None else geometry.torso_size(pose)
    if length:
        scale *= float(np.clip(length, _NEARER * torso, _FARTHER * torso)) / length
    anchor = (frame.width - 1) / 2, frame.middle * frame.height - 0.5
    return geometry.Window(frame.size, scale, anchor, picture)


def render(draw: Draw, seen: Seen, frame: Frame, poses: Sequence[Pose]) -> Drawn:
    """The poses drawn in the frame and put at their places; clear where nobody is seen. At least one pose."""

    def drawn(found: Sequence[Pose], matrices: Sequence[Array]) -> Tensor:
        return draw(*in_frame(found, matrices))

    return render_poses(drawn, seen, frame, poses)


def render_poses(draw: DrawPoses, seen: Seen, frame: Frame, poses: Sequence[Pose]) -> Drawn:
    """The same for what draws more of a pose than its joints."""
    rows = [i for i, pose in enumerate(poses) if pose.found]
    clear = torch.zeros(1, COLOURS + 1, *seen.size, device=seen.picture.device)
    pictures = [clear] * len(poses)
    if rows:
        found = [poses[i] for i in rows]
        matrices = windows(seen, frame, found)
        made = draw(found, matrices)
        if made.shape[1] == COLOURS:
            made = torch.cat([made, _shapes(*in_frame(found, matrices), frame).to(made)], 1)
        for i, matrix, picture in zip(rows, matrices, torch.split(made, 1), strict=True):
            pictures[i] = placed(picture, matrix, seen.size)
    whole = torch.cat(pictures) if pictures else clear[:0]
    return Drawn(whole[:, :COLOURS].clamp(-1, 1), whole[:, COLOURS:].clamp(0, 1))


def windows(seen: Seen, frame: Frame, poses: Sequence[Pose]) -> list[Array]:
    """The (2, 3) maps from the result's pixels to the frame's in which these poses, all found, are drawn."""
    return [_window(frame, seen.size, seen.torso, pose).matrix(pose) for pose in poses]


def in_frame(poses: Sequence[Pose], matrices: Sequence[Array]) -> tuple[Array, Array]:
    """Joints (T, 18, 2) of poses in the frame's pixels, by their maps into it, and scores (T, 18)."""
    known = [joint_maps.joints(pose) for pose in poses]
    moved = [
        geometry.transform(np.asarray(xy, np.float64), matrix)
        for (xy, _), matrix in zip(known, matrices, strict=True)
    ]
    return np.stack(moved), np.stack([score for _, score in known])


def _shapes(xy: Array, score: Array, frame: Frame) -> Tensor:
    """(T, 1, H, W) soft mattes about the limbs of the poses, for networks that draw the background too."""
    torso = frame.torso * frame.height
    mattes = [
        joint_maps.body_mask(places, seen, frame.size, max(2.0, _SHAPE * torso)).astype(np.float32)
        for places, seen in zip(xy, score, strict=True)
    ]
    soft = [cv2.GaussianBlur(matte, (0, 0), max(0.5, _SOFT * torso)) for matte in mattes]
    return torch.from_numpy(np.stack(soft))[:, None]


def save(
    path: Path,
    name: str,
    trained: nn.Module,
    architecture: BaseModel,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Writes the weights of generator `name` with its architecture in the metadata, whole or not at all.

    extra: further metadata, as text.
    """
    metadata = {"generator": name, "config": architecture.model_dump_json()}
    weights.save_safetensors(path, trained, {**(extra or {}), **metadata})


def load(
    path: Path,
    name: str,
    architecture: type[ArchitectureT],
    networks: Callable[[ArchitectureT], nn.Module],
) -> tuple[ArchitectureT, nn.Module]:
    """The architecture and networks of a weights file of generator `name`. Raises InputError for any other file."""
    metadata = weights.read_metadata(path)
    if metadata.get("generator") != name or "config" not in metadata:
        made = metadata.get("generator")
        what = f"they are for the generator {made!r}" if made else "the metadata name no generator"
        raise InputError(f"{path}: these are no weights of {name}: {what}")
    try:
        values = json.loads(metadata["config"])
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: the config in its metadata is no JSON") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: the config in its metadata is no mapping")
    found = check(architecture, values, f"{path}: config in its metadata")
    trained = networks(found)
    weights.load_safetensors(path, trained)
    return found, trained


def require(path: Path | None, name: str) -> Path:
    """The weights file asked for, else the one that comes with the project. Raises InputError where there is none."""
    found = path or weights.shipped(name)
    if found is None:
        raise InputError(
            f"the generator {name} draws with trained weights: give them, "
            "generator.options.weights=FILE.safetensors"
        )
    return found
