"""Everybody Dance Now: a person learnt from a video, drawn from sticks and the picture drawn before.

Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019), on pix2pixHD's networks (`_pix2pix`). A network
sees the label of the pose (3 channels in [0, 1]) and the previous output (3 channels in [-1, 1], zeros at the
start); a second one sees label and picture of the face and draws what is to be added there.
`training/recipes/edn.py` teaches it. Beyond the paper, and off by default: a matte as fourth channel, so that
only the person is learnt, and a window that follows the person at a constant scale.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import geometry, weights
from dance import networks as runtimes
from dance.config import Options, check
from dance.generators import _pix2pix as nets
from dance.generators._pix2pix_published import facts as facts
from dance.generators._pix2pix_published import network as network
from dance.generators._pix2pix_published import rename as rename
from dance.generators._placed import COLOURS as COLOURS
from dance.generators._placed import placed
from dance.labels import PUBLISHED_HEIGHT, LabelOptions, label
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

NAME = "edn"
_MARGIN = 1.05  # sizes of the person so much beyond those seen are still known

Box = tuple[int, int, int, int]


class Face(Options):
    """The network that adds detail to the face, and how large a square it sees."""

    network: Literal["global", "unet"] = "global"
    filters: int = Field(64, ge=1, description="channels at full size (ngf)")
    downs: int = Field(3, ge=1, description="of the global type: steps down")
    blocks: int = Field(5, ge=0, description="of the global type: residual blocks")
    upsampling: Literal["transposed", "bilinear"] = Field(
        "transposed", description="of the global type, as for the whole picture"
    )
    side: int = Field(128, ge=8, description="pixels of the square about the face")
    statistics: Literal["batch", "running"] = Field(
        "batch",
        description="of the U-Net's norms when drawing; the published scripts use the batch's",
    )


class Follow(Options):
    """A view that follows the person; see `geometry.Window`."""

    scale: float = Field(gt=0)
    anchor: tuple[float, float]
    picture: tuple[int, int]


class Architecture(Options):
    """What the networks are and what they are shown; it is kept in the weights file. Defaults as published."""

    network: Literal["local", "global"] = "local"
    height: int = Field(512, ge=8)
    width: int = Field(1024, ge=8)
    filters: int = Field(32, ge=1, description="channels at full size (ngf): 32 local, 64 global")
    downs: int = Field(4, ge=1, description="steps down of the trunk")
    blocks: int = Field(9, ge=0, description="residual blocks of the trunk")
    enhancers: int = Field(1, ge=1, description="finer levels of the local network")
    enhancer_blocks: int = Field(3, ge=0, description="residual blocks of each finer level")
    norm: Literal["instance", "batch"] = "instance"
    upsampling: Literal["transposed", "bilinear"] = Field(
        "transposed", description="how features grow; bilinear learns clean pictures sooner"
    )
    alpha: bool = Field(False, description="draw the person with a matte, not the whole picture")
    label: LabelOptions = LabelOptions()
    face: Face | None = None
    follow: Follow | None = Field(None, description="a view that follows the person; needs alpha")

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        levels = self.downs + (self.enhancers if self.network == "local" else 0)
        for name, value in (("height", self.height), ("width", self.width)):
            if value % (1 << levels):
                raise ValueError(f"{name} = {value} must be a multiple of {1 << levels}")
        if self.face is not None:
            many = nets.UNET_LEVELS if self.face.network == "unet" else self.face.downs
            if self.face.side % (1 << many):
                raise ValueError(f"face.side = {self.face.side} must be a multiple of {1 << many}")
            if self.face.side > min(self.height, self.width):
                raise ValueError(f"face.side = {self.face.side} is larger than the picture")
        if self.follow is not None and not self.alpha:
            raise ValueError("a view that follows the person needs alpha = true")
        return self

    @property
    def size(self) -> Size:
        return self.height, self.width


class Config(Options):
    """Options of a trained person."""

    weights: Path | None = Field(None, description="the trained person, a .safetensors file")
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="openvino: quicker on a CPU, the same pictures"
    )
    face: bool = Field(True, description="use the face network where the weights have one")


class Networks(nn.Module):
    """The generator and, where there is one, the face generator: what a weights file holds."""

    generator: nn.Module
    face: nn.Module | None

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.generator = body(architecture)
        self.face = None if architecture.face is None else face(architecture.face)


def body(a: Architecture) -> nn.Module:
    """(B, 6, H, W) label and previous picture -> (B, 3 or 4, H, W), with the published initial weights."""
    if a.network == "global":
        made: nn.Module = nets.GlobalGenerator(
            2 * COLOURS, COLOURS,
            width=a.filters, downs=a.downs, blocks=a.blocks, norm=a.norm,
            upsampling=a.upsampling, alpha=a.alpha,
        )  # fmt: skip
    else:
        made = nets.LocalEnhancer(
            2 * COLOURS, COLOURS,
            width=a.filters, downs=a.downs, blocks=a.blocks, enhancers=a.enhancers,
            enhancer_blocks=a.enhancer_blocks, norm=a.norm, upsampling=a.upsampling, alpha=a.alpha,
        )  # fmt: skip
    nets.initialise(made)
    return made


def face(f: Face) -> nn.Module:
    """(B, 6, side, side) label and picture of the face -> (B, 3, side, side) to be added, freshly initialised."""
    if f.network == "global":
        made: nn.Module = nets.GlobalGenerator(
            2 * COLOURS,
            COLOURS,
            width=f.filters,
            downs=f.downs,
            blocks=f.blocks,
            upsampling=f.upsampling,
        )
    else:
        made = nets.UNet(2 * COLOURS, COLOURS, width=f.filters)
    nets.initialise(made)
    return made


def shown(pose: Pose, architecture: Architecture, picture: Size) -> Tensor:
    """The label of a pose in the network's pixels, as (1, 3, H, W) float32 in [0, 1].

    picture: (height, width) of the pictures the network's size is made from; with a view that follows, ignored.
    """
    of = architecture.size if architecture.follow is not None else picture
    return labels_as_tensor(label(pose, architecture.size, of, architecture.label)[None])


def labels_as_tensor(labels: Array) -> Tensor:
    """(B, H, W, 3) uint8 as (B, 3, H, W) float32 in [0, 1]; not shifted to [-1, 1], as published."""
    return torch.from_numpy(labels).movedim(-1, 1).float() / 255


def remembered(picture: Tensor) -> Tensor:
    """What the next frame is shown of an output (B, 3 or 4, H, W): the picture, under its matte where it has one."""
    return picture[:, :COLOURS] * picture[:, COLOURS:] if picture.shape[1] > COLOURS else picture


def with_face(net: Callable[[Tensor], Tensor], picture: Tensor, labels: Tensor, box: Box) -> Tensor:
    """The picture (B, 3 or 4, H, W) with the face network's residual added to its colours in the box, not clamped.

    box: (top, bottom, left, right) of all pictures of the batch.
    """
    return add_residual(picture, net(face_input(picture, labels, box)), box)


def face_input(picture: Tensor, labels: Tensor, box: Box) -> Tensor:
    """What the face network is shown: label and colours of the box, (B, 6, side, side)."""
    top, bottom, left, right = box
    cut = (..., slice(top, bottom), slice(left, right))
    return torch.cat([labels[cut], picture[:, :COLOURS][cut]], 1)


def add_residual(picture: Tensor, residual: Tensor, box: Box) -> Tensor:
    """The picture with the residual (B, 3, side, side) added to its colours in the box."""
    top, bottom, left, right = box
    height, width = picture.shape[-2:]
    extra = picture.shape[1] - COLOURS
    return picture + F.pad(residual, (left, width - right, top, height - bottom, 0, extra))


def save(
    path: Path,
    trained: Networks,
    architecture: Architecture,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Writes a trained person: `generator.*` and `face.*` with the architecture in the metadata, whole or not at all.

    extra: further metadata, as text.
    """
    metadata = {"generator": NAME, "config": architecture.model_dump_json()}
    weights.save_safetensors(path, trained, {**(extra or {}), **metadata})


def load(path: Path) -> tuple[Architecture, Networks]:
    """A trained person's architecture and networks. Raises InputError for a file that is none, or not whole."""
    metadata = weights.read_metadata(path)
    if metadata.get("generator") != NAME or "config" not in metadata:
        made = metadata.get("generator")
        what = f"it is for the generator {made!r}" if made else "its metadata names no generator"
        raise InputError(f"{path}: is no trained person of {NAME}: {what}")
    try:
        values = json.loads(metadata["config"])
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: the config in its metadata is no JSON") from error
    architecture = check(Architecture, values, f"{path}: config in its metadata")
    found = Networks(architecture)
    weights.load_safetensors(path, found)
    return architecture, found


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """A published checkpoint as a network with the names here, and the metadata of its file.

    published: the state dict of a generator, alone or with that of a face generator; or of any other published
    network (a discriminator, an encoder), alone.  size: (height, width) it draws, the published one without it.
    Raises InputError, starting with `origin`, where tensors are missing, unexpected or of another shape.
    """
    found = facts(published, origin)
    if found.get("input_nc") != 2 * COLOURS or found.get("output_nc") != COLOURS:
        if face_network is not None:
            raise InputError(f"{origin}: is no generator a face generator belongs to")
        other = network(found)
        weights.fill(other, rename(published), origin)
        return other, {"published": json.dumps(found)}
    architecture = _published_architecture(found, origin, size, face_network)
    whole = Networks(architecture)
    weights.fill(whole.generator, rename(published), origin)
    if whole.face is not None and face_network is not None:
        weights.fill(whole.face, rename(face_network), f"{origin}, its face generator")
    return whole, {"generator": NAME, "config": architecture.model_dump_json()}


def _published_architecture(
    found: Mapping[str, Any],
    origin: str,
    size: Size | None,
    face_network: Mapping[str, Tensor] | None,
) -> Architecture:
    """The architecture of a published generator's facts, shown the labels it was published with."""
    local = "n_local_enhancers" in found
    if not local and "n_blocks" not in found:
        raise InputError(f"{origin}: is no generator of whole pictures")
    height, width = size or ((512, 1024) if local else (256, 512))
    values: dict[str, Any] = {
        "network": "local" if local else "global",
        "height": height,
        "width": width,
        "filters": found["ngf"],
        "downs": found["n_downsample_global"] if local else found["n_downsampling"],
        "blocks": found["n_blocks_global"] if local else found["n_blocks"],
        "norm": found["norm"],
        "label": {"joints": 23, "face": 8, "detail": PUBLISHED_HEIGHT / height},
    }
    if local:
        values |= {
            "enhancers": found["n_local_enhancers"], "enhancer_blocks": found["n_blocks_local"],
        }  # fmt: skip
    if face_network is not None:
        its = facts(face_network, f"{origin}, its face generator")
        kind = "unet" if "num_downs" in its else "global"
        values["face"] = {
            "network": kind,
            "filters": its["ngf"],
            "side": max(32, height // 128 * 32),
        }
        if kind == "global":
            values["face"] |= {"downs": its["n_downsampling"], "blocks": its.get("n_blocks", 0)}
    return check(Architecture, values, origin)


def build(config: Config, device: str) -> Generator:
    """The trained person of the weights file. Raises InputError where there is none or it does not fit."""
    if config.weights is None:
        raise InputError(
            "the generator edn draws a person it has learnt: give the trained weights, "
            "generator.options.weights=FILE.safetensors, or a run of scripts/train.py as the source"
        )
    runtimes.check_device(config.runtime, device)
    architecture, found = load(config.weights)
    found.requires_grad_(False)
    if not config.face:
        found.face = None
    return EDN(architecture, found.to(device), device, runtime=config.runtime)


def untrained(device: str = "cpu", **changes: object) -> EDN:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "height": 64, "width": 64, "filters": 4, "downs": 2, "blocks": 1, "enhancer_blocks": 1,
        "face": {"filters": 4, "downs": 2, "blocks": 1, "side": 16},
    }  # fmt: skip
    architecture = check(Architecture, {**small, **changes}, NAME)
    return EDN(architecture, Networks(architecture).to(device), device)


@dataclass(frozen=True, slots=True)
class Code:
    """The person's picture size, and the empty place (1, 3, H, W) in [-1, 1] in the size that is drawn.

    torso: how many pixels of those pictures the person's torso had where they were seen, least and most.
    """

    size: Size
    place: Tensor
    torso: tuple[float, float] | None


class EDN:
    """See the module. `state` is what the network is shown of the previous output, (1, 3, H, W)."""

    needs: frozenset[str] = frozenset()

    def __init__(
        self,
        architecture: Architecture,
        trained: Networks,
        device: str,
        *,
        runtime: Literal["torch", "openvino"] = "torch",
    ) -> None:
        self.architecture = architecture
        self.networks = trained.eval()
        self.device = device
        self.size: Size | None = architecture.size if architecture.follow is None else None
        f = architecture.face
        if trained.face is not None and f is not None and f.statistics == "batch":
            nets.use_batch_statistics(trained.face)
        self._body: Callable[[Tensor], Tensor] = trained.generator
        self._face: Callable[[Tensor], Tensor] | None = trained.face
        if runtime == "openvino":
            shape = (1, 2 * COLOURS, *architecture.size)
            self._body = runtimes.openvino(trained.generator, shape)
            if trained.face is not None and f is not None:
                self._face = runtimes.openvino(trained.face, (1, 2 * COLOURS, f.side, f.side))

    def encode(self, person: Person) -> Code:
        """Nothing of the person's picture is used but the empty place, for frames nobody is seen in."""
        place = torch.from_numpy(person.plate).movedim(-1, 0)[None].float() / 127.5 - 1
        size = self.size or person.size
        if tuple(place.shape[-2:]) != tuple(size):
            place = F.interpolate(place, size, mode="bilinear", antialias=True)
        seen = [geometry.torso_size(pose) for pose in person.track.poses]
        sizes = [size for size in seen if size]
        low, high = np.percentile(sizes, (2, 98)).tolist() if sizes else (0.0, 0.0)
        torso = (low / _MARGIN, high * _MARGIN) if sizes else None
        return Code(person.size, place.clamp(-1, 1).to(self.device), torso)

    def render(
        self, code: Code, poses: Sequence[Pose], state: Tensor | None
    ) -> tuple[Drawn, Tensor | None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen the empty place, or a clear picture, is drawn."""
        windows = [self._window(code, pose) for pose in poses]
        views = [
            pose if window is None else window.look(pose)
            for pose, window in zip(poses, windows, strict=True)
        ]
        drawn = []
        # Labels of later frames are drawn while the network draws the first.
        with ThreadPoolExecutor(1, "edn-labels") as pool:
            labels = pool.map(lambda view: self._label(view, code), views)
            for pose, window, view, shown_ in zip(poses, windows, views, labels, strict=True):
                if shown_ is None:
                    drawn.append(self._nobody(code))
                    state = None
                    continue
                picture = self._draw(shown_.to(self.device), view, state)
                state = remembered(picture)
                if window is not None:
                    picture = placed(picture, window.matrix(pose), code.size)
                drawn.append(picture)
        pictures = torch.cat(drawn) if drawn else self._nobody(code)[:0]
        alpha = pictures[:, COLOURS:] if self.architecture.alpha else None
        return Drawn(pictures[:, :COLOURS].clamp(-1, 1), alpha), state

    def _draw(self, labels: Tensor, view: Pose, state: Tensor | None) -> Tensor:
        """One output of the networks, (1, 3 or 4, H, W)."""
        before = torch.zeros_like(labels) if state is None else state
        picture = self._body(torch.cat([labels, before], 1))
        f = self.architecture.face
        if self._face is not None and f is not None:
            box = geometry.face_box(view, self.architecture.size, f.side)
            if box is not None:
                picture = with_face(self._face, picture, labels, box)
        return picture

    def _label(self, view: Pose, code: Code) -> Tensor | None:
        return shown(view, self.architecture, code.size) if view.found else None

    def _nobody(self, code: Code) -> Tensor:
        if not self.architecture.alpha:
            return code.place
        return torch.cat([code.place, torch.zeros_like(code.place[:, :1])], 1)

    def _window(self, code: Code, pose: Pose) -> geometry.Window | None:
        """The view that follows the person, for pictures of the person's size.

        Its scale is that of training. Who dances nearer or farther than they were ever seen is looked at from
        farther or nearer, so that the network is shown no sizes it does not know.
        """
        a = self.architecture
        if a.follow is None:
            return None
        known = zip(code.size, a.follow.picture, strict=True)
        # On another canvas the picture learnt from lies whole in the middle.
        scale = a.follow.scale / min(now / then for now, then in known)
        torso = geometry.torso_size(pose)
        if torso and code.torso is not None:
            scale *= float(np.clip(torso, *code.torso)) / torso
        return geometry.Window(a.size, scale, a.follow.anchor, code.size)
