"""Disentangled Person Image Generation: foreground, background and pose as codes of their own, put together again.

Ma, Sun, Georgoulis, Van Gool, Schiele, Fritz: Disentangled Person Image Generation (CVPR 2018). Seven parts of the
body are cut out of the picture's features and become a code each, what is around the body another; a U-Net makes
a picture of them and the pose. Further networks make codes of poses, and all codes from noise, so that each can
be drawn at random, mixed or exchanged. The published configurations are the default (Market-1501) and
`deepfashion()`, which has no background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps, weights
from dance import networks as runtimes
from dance.config import Options, check
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators._placed import COLOURS
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

NAME = "dpig"
POSE = 3 * joint_maps.JOINTS  # numbers of a pose: row, column and visibility of every joint
CLOTHES: Mapping[str, tuple[int, ...]] = {"head": (0,), "upper": (1, 3, 4), "lower": (2, 5, 6)}
"""Which of the seven parts (`joint_maps.BODY_PARTS`) are exchanged for these."""


class Architecture(Options):
    """What the networks are and what they are shown; it is kept in the weights file. Defaults as for Market-1501."""

    frame: single.Frame = single.Frame(height=128, width=64)
    filters: int = Field(
        128, ge=1, description="channels of the first level; level i has i times as many"
    )
    levels: int = Field(5, ge=2, description="sizes of the decoder")
    code: int = Field(64, ge=1, description="numbers all of the decoder goes through")
    crop: int = Field(48, ge=2, description="pixels of the square a part of the body is brought to")
    part_levels: int = Field(5, ge=1, description="sizes of the parts' encoder")
    part_code: int = Field(32, ge=1, description="numbers each part becomes")
    background: bool = Field(True, description="whether what is around the body has a code")
    background_levels: int = Field(5, ge=1, description="sizes of the background's encoder")
    background_code: int = Field(128, ge=1)
    pose_code: int = Field(32, ge=1, description="numbers a pose becomes")
    hidden: int = Field(512, ge=1, description="width of the fully connected networks")
    background_hidden: int = Field(256, ge=1, description="the same, of the background's sampler")
    radius: float = Field(4.0, gt=0, description="of the joints' discs, in pixels")
    edge: float = Field(0.0, ge=0, description="pixels over which discs fall off; published: 0")
    mask_radius: float = Field(
        6.0, gt=0, description="of the body's mask about its limbs, in pixels"
    )
    margin: float = Field(
        6.0, ge=0, description="of the parts' boxes about their joints, in pixels"
    )
    lone_margin: float = Field(10.0, ge=0, description="the same where one joint is seen")
    alpha: bool = Field(False, description="draw a matte too; then the person is shown on grey")

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        part = 1 << (self.levels - 1)
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % part:
                raise ValueError(f"frame.{name} = {value} must be a multiple of {part}")
        return self

    @property
    def appearance(self) -> int:
        """How many numbers the foreground's code has."""
        return len(joint_maps.BODY_PARTS) * self.part_code

    @property
    def embedding(self) -> int:
        """How many numbers foreground and background have together."""
        return self.appearance + self.background_code * self.background


def deepfashion() -> Architecture:
    """The published configuration for DeepFashion."""
    frame = single.Frame(height=256, width=256)
    return Architecture(frame=frame, crop=64, part_levels=7, background=False)


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="openvino: quicker on a CPU, the same pictures"
    )


@dataclass(frozen=True, slots=True)
class Places:
    """Where the body is in pictures: what the encoder needs to know of their poses.

    mask: (B, 1, H, W), 1 in the body.  boxes: (B, 7, 4) of its parts in pixels, (top, left, bottom, right).
    visible: (B, 7), whether any of a part is seen.
    """

    mask: Tensor
    boxes: Tensor
    visible: Tensor


def places(a: Architecture, xy: Array, score: Array, device: str = "cpu") -> Places:
    """The places of poses (B, 18, 2) in the frame's pixels with their scores (B, 18)."""
    size = a.frame.size
    pairs = list(zip(xy, score, strict=True))
    masks = [joint_maps.body_mask(*pair, size, a.mask_radius)[None] for pair in pairs]
    parts = [
        joint_maps.part_boxes(*pair, size, margin=a.margin, lone_margin=a.lone_margin)
        for pair in pairs
    ]
    boxes, visible = (np.stack(values).astype(np.float32) for values in zip(*parts, strict=True))
    tensors = (np.stack(masks).astype(np.float32), boxes, visible)
    return Places(*(torch.from_numpy(value).to(device) for value in tensors))


class Encoder(nn.Module):
    """A picture (B, 3, H, W) in [-1, 1] with the places of the body in it -> its code (B, embedding).

    First the seven parts, those not seen 0, then the background.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self._crop = a.crop
        self.stem = nets.Same(COLOURS, a.filters, 3)
        self.body = nets.Level(a.filters)
        self.parts = nets.Pyramid(a.filters, a.part_levels)
        self.part_code = _code((a.crop, a.crop), a.filters, a.part_levels, a.part_code)
        self.around: nets.Pyramid | None = None
        if a.background:
            levels = a.background_levels
            self.around = nets.Pyramid(a.filters, levels)
            self.around_code = _code(a.frame.size, a.filters, levels, a.background_code)

    def forward(self, image: Tensor, at: Places) -> Tensor:
        features = self.body(F.relu(self.stem(image)))
        # Published without a background the parts are cut from all of the features.
        inside = features if self.around is None else features * at.mask
        cut = crops(inside, at.boxes, self._crop)
        codes = self.part_code(nets.flat(self.parts(cut)[-1]))
        codes = codes.view(len(at.visible.mT), len(image), -1).movedim(0, 1) * at.visible[..., None]
        found = [codes.flatten(1)]
        if self.around is not None:
            outside = self.around(features * (1 - at.mask))[-1]
            found.append(self.around_code(nets.flat(outside)))
        return torch.cat(found, 1)


def _code(size: Size, filters: int, levels: int, numbers: int) -> nn.Linear:
    """From the deepest features of a pyramid over a picture of that size to a code."""
    # Strides round up.
    height, width = (-(-side // (1 << (levels - 1))) for side in size)
    return nn.Linear(height * width * filters * levels, numbers)


def crops(features: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The boxes (B, P, 4) of features (B, C, H, W), each brought to side x side: (P B, C, side, side), part by part.

    As TensorFlow's crop_and_resize with boxes divided by the picture's height and width: bilinear, with a box's
    corners at the corners of what is cut.
    """
    height, width = features.shape[-2:]
    share = torch.linspace(0, 1, side, device=boxes.device, dtype=boxes.dtype)
    top, left, bottom, right = (boxes / boxes.new_tensor([height, width, height, width])).unbind(-1)
    rows = top[..., None] + share * (bottom - top)[..., None]
    columns = left[..., None] + share * (right - left)[..., None]
    y = rows[..., :, None].expand(*rows.shape, side)
    x = columns[..., None, :].expand_as(y)
    grids = torch.stack([x, y], -1) * 2 - 1
    parts = [F.grid_sample(features, grid, align_corners=True) for grid in grids.unbind(1)]
    return torch.cat(parts)


class Appearance(nn.Module):
    """Stage I: forward(image, its places, wanted pose's discs (B, 18, H, W) in [-1, 1]) -> (B, 3 or 4, H, W), linear.

    Colours are meant to be in [-1, 1]; the fourth channel is a matte's logit.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self._size = a.frame.size
        self.encoder = Encoder(a)
        self.decoder = nets.UNet(
            a.embedding + joint_maps.JOINTS, COLOURS + a.alpha, a.frame.size,
            width=a.filters, levels=a.levels, code=a.code,
        )  # fmt: skip

    def forward(self, image: Tensor, at: Places, pose: Tensor) -> Tensor:
        return self.decode(self.encoder(image, at), pose)

    def decode(self, embedding: Tensor, pose: Tensor) -> Tensor:
        """The picture of a code (B, embedding) in a pose (B, 18, H, W)."""
        return self.decode_spread(self.spread(embedding), pose)

    def spread(self, embedding: Tensor) -> Tensor:
        """What the first layer makes of the code at every pixel, (B, filters, H, W).

        Published: the code is tiled over the picture beside the pose's discs. One number everywhere is convolved to
        one number everywhere but at the edges: nine places tell all, and for a whole clip once.
        """
        stem = self.decoder.stem
        tile = embedding[..., None, None].expand(-1, -1, 3, 3)
        nine = F.conv2d(tile, stem.weight[:, : embedding.shape[1]], stem.bias, padding=1)
        rows, columns = (torch.tensor([0, *[1] * (side - 2), 2]) for side in self._size)
        return nine[:, :, rows.to(nine.device)][..., columns.to(nine.device)]

    def decode_spread(self, spread: Tensor, pose: Tensor) -> Tensor:
        """The picture of a code that has been spread, in a pose."""
        discs = self.decoder.stem.weight[:, -pose.shape[1] :]
        out: Tensor = self.decoder.after(spread + F.conv2d(pose, discs, padding=1))
        return out


class PoseCoder(nn.Module):
    """Poses (B, 54), row, column and visibility of every joint (`joint_maps.to_vector`), as codes and back."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        joints = joint_maps.JOINTS
        self.encoder = nets.Dense(POSE, (a.pose_code,), width=a.hidden)
        self.decoder = nets.Dense(a.pose_code, (2 * joints, joints), width=a.hidden, first=False)

    def forward(self, vector: Tensor) -> Tensor:
        return self.decode(self.encode(vector))

    def encode(self, vector: Tensor) -> Tensor:
        """(B, 54) -> (B, pose_code)."""
        code: Tensor
        (code,) = self.encoder(vector)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """(B, pose_code) -> (B, 54): visibilities are 0 or 1, and their gradient is that of what was rounded."""
        spots, seen = self.decoder(code)
        seen = seen.sigmoid()
        seen = seen + (seen.round() - seen).detach()
        return torch.cat([spots.view(len(code), -1, 2), seen[..., None]], -1).flatten(1)


class Networks(nn.Module):
    """All that a weights file holds: stage I, the pose's codes, and the samplers of stage II.

    samplers: from noise (B, n) to codes of as many numbers: `foreground`, `pose` and, where there is one, `background`.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.appearance = Appearance(a)
        self.pose = PoseCoder(a)
        samplers = {"foreground": (a.appearance, a.hidden), "pose": (a.pose_code, a.hidden)}
        if a.background:
            samplers["background"] = a.background_code, a.background_hidden
        self.samplers = nn.ModuleDict(
            {
                name: nets.Dense(count, (count,), width=width)
                for name, (count, width) in samplers.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Coders:
    """The networks that make codes of poses and of noise; drawing needs none of them. See `Networks`."""

    pose: PoseCoder
    samplers: nn.ModuleDict


def body(a: Architecture) -> Networks:
    """The networks with the published initial weights."""
    made = Networks(a)
    nets.initialise(made)
    return made


def sample(
    networks: Networks | Coders,
    part: str,
    count: int,
    random: torch.Generator,
    *,
    spread: float = 0.2,
) -> Tensor:
    """Codes (count, n) of foreground, background or pose drawn at random, `spread` being the noise's deviation.

    Raises InputError for a part that has no sampler.
    """
    if part not in networks.samplers:
        raise InputError(
            f"nothing named {part!r} is sampled; there are: {', '.join(networks.samplers)}"
        )
    sampler = networks.samplers[part]
    assert isinstance(sampler, nets.Dense)
    noise = torch.randn(count, sampler.first.in_features, generator=random) * spread
    codes: Tensor
    (codes,) = sampler(noise.to(sampler.first.weight.device))
    return codes


def exchanged(a: Architecture, code: Tensor, other: Tensor, clothes: Sequence[str]) -> Tensor:
    """The code (B, embedding) with parts of the body taken from another's: names in `CLOTHES`, or `background`.

    Raises InputError for any other name.
    """
    unknown = sorted(set(clothes) - {*CLOTHES, "background"})
    if unknown:
        raise InputError(f"nothing named {unknown[0]!r} can be exchanged; there are: {', '.join(CLOTHES)}, background")  # fmt: skip
    out = code.clone()
    for name in clothes:
        for part in CLOTHES.get(name, ()):
            numbers = slice(part * a.part_code, (part + 1) * a.part_code)
            out[:, numbers] = other[:, numbers]
        if name == "background":
            out[:, a.appearance :] = other[:, a.appearance :]
    return out


def published_names(networks: Networks) -> dict[str, str]:
    """For the published name of every layer the name of ours."""
    whole = "background" in networks.samplers
    scopes = {
        "appearance.encoder": "Encoder/G_encoder",
        "appearance.decoder": "ID_AE/G",
        "pose.encoder": "PoseAE/G_Pose_Encoder",
        "pose.decoder": "PoseAE/G_Pose_Decoder",
        "samplers.foreground": "Gaussian_FC_Fg/G_FC" if whole else "Gaussian_FC/G_FC",
        "samplers.pose": "PoseGaussian/G_FC",
    } | ({"samplers.background": "Gaussian_FC_Bg/G_FC"} if whole else {})
    return {
        published: f"{part}.{ours}"
        for part, scope in scopes.items()
        for published, ours in nets.published_names(networks.get_submodule(part), scope).items()
    }


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """Published variables (of all networks, by their TensorFlow names) as networks, and the metadata of their file.

    size: (height, width); by default that of the published configuration with, or without, a background.
    Raises InputError, starting with `origin`, where variables are missing, unexpected or of another shape.
    """
    if face_network is not None:
        raise InputError(f"{origin}: DPIG has no face network")
    stem = published.get("Encoder/G_encoder/Conv/weights")
    if stem is None or stem.dim() != 4:
        some = ", ".join(sorted(published)[:3])
        raise InputError(f"{origin}: has no Encoder/G_encoder/Conv/weights of DPIG; its first names are: {some}")  # fmt: skip
    whole = "Encoder/G_encoder/fully_connected_1/weights" in published
    base = Architecture() if whole else deepfashion()
    height, width = size or base.frame.size
    values = base.model_dump() | {
        "frame": {"height": height, "width": width}, "filters": stem.shape[3],
    }  # fmt: skip
    a = check(Architecture, values, origin)
    made = Networks(a)
    weights.fill(made, nets.from_published(published, published_names(made)), origin)
    return made, {"generator": NAME, "config": a.model_dump_json()}


def load(path: Path) -> tuple[Architecture, Networks]:
    """The architecture and all networks of a weights file. Raises InputError for any other file."""
    a, trained = single.load(path, NAME, Architecture, body)
    assert isinstance(trained, Networks)
    return a, trained


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    runtimes.check_device(config.runtime, device)
    a, trained = load(path)
    trained.requires_grad_(False)
    return DPIG(a, trained.to(device), device, runtime=config.runtime)


def untrained(device: str = "cpu", **changes: object) -> DPIG:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "frame": {"height": 48, "width": 32}, "filters": 4, "levels": 3, "code": 8, "crop": 8,
        "part_levels": 2, "part_code": 4, "background_levels": 3, "background_code": 6, "pose_code": 5,
        "hidden": 8, "background_hidden": 6, "radius": 2, "mask_radius": 2, "margin": 2, "lone_margin": 4,
    }  # fmt: skip
    a = check(Architecture, {**small, **changes}, NAME)
    return DPIG(a, body(a).to(device), device)


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them, and their code (1, embedding)."""

    seen: single.Seen
    embedding: Tensor


class DPIG:
    """See the module. Every frame is drawn for itself: there is no state."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: Networks,
        device: str,
        *,
        runtime: Literal["torch", "openvino"] = "torch",
    ) -> None:
        self.architecture = architecture
        trained.eval()
        self.network = trained.appearance
        self.coders = Coders(trained.pose, trained.samplers)
        self.device = device
        joined = _Joined(trained.appearance)
        self._draw: Callable[[Tensor], Tensor] = joined
        if runtime == "openvino":
            channels = architecture.filters + joint_maps.JOINTS
            self._draw = runtimes.openvino(joined, (1, channels, *architecture.frame.size))

    def encode(self, person: Person) -> Code:
        """The person's best view as a code."""
        a = self.architecture
        seen = single.study(person, a.frame, self.device, alone=a.alpha)
        at = places(a, seen.xy[None], seen.score[None], self.device)
        return Code(seen, self.network.encoder(seen.picture, at))

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen nothing is drawn."""
        a = self.architecture
        spread = self.network.spread(code.embedding)

        def drawn(xy: Array, score: Array) -> Tensor:
            wanted = nets.discs(xy, score, a.frame.size, a.radius, a.edge).to(self.device)
            parts = [self._draw(torch.cat([spread, one], 1)) for one in torch.split(wanted, 1)]
            return nets.with_matte(torch.cat(parts))

        return single.render(drawn, code.seen, a.frame, poses), None


class _Joined(nn.Module):
    """The decoder as a function of one tensor: a code that has been spread, and discs, as channels."""

    def __init__(self, inner: Appearance) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        code, pose = x[:, : -joint_maps.JOINTS], x[:, -joint_maps.JOINTS :]
        return self.inner.decode_spread(code, pose)
