"""XingGAN: a person's picture and two poses, joined crosswise, into the person in the second pose.

Tang, Bai, Zhang, Torr, Sebe: XingGAN for Person Image Generation (ECCV 2020). Two streams, of the picture and
of the two poses' maps, each update the other in every block; then each stream paints candidates, and a map per
candidate says where it, or the picture that was given, is to be seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import draw, joint_maps, weights
from dance import networks as runtimes
from dance.config import Options, check
from dance.generators import _single as single
from dance.generators._pix2pix import initialise
from dance.generators._placed import COLOURS
from dance.generators._xing_published import rename as rename
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

Norm = Literal["instance", "batch"]

NAME = "xing"
_QUERIES = 256  # attended at a time on a CPU


class Crossing(nn.Module):
    """The two attentions of a block: where the picture's stream looks at the poses', and the other way round.

    forward(image (B, C, H, W), poses (B, C, H, W)) -> both, each with what it attended to added. Queries, keys and
    values are made by the same three convolutions for both directions; a value is looked up in the stream it is
    added to.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, inner, 1)
        self.key = nn.Conv2d(width, inner, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        return self._added(image, poses), self._added(poses, image)

    def _added(self, own: Tensor, other: Tensor) -> Tensor:
        query, key, value = (
            _rows(conv(x)) for conv, x in ((self.query, own), (self.key, other), (self.value, own))
        )
        found = attend(query, key, value)
        return own + self.gamma * found.transpose(1, 2).view_as(own)

    def maps(self, image: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        """How much each position of the picture's (and of the poses') stream looks at each of the other: (B, HW, HW)."""
        pairs = (image, poses), (poses, image)
        first, second = (
            (_rows(self.query(own)) @ _rows(self.key(other)).transpose(1, 2)).softmax(-1)
            for own, other in pairs
        )
        return first, second


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key') value of (B, N, C) rows, without a scale; the (N, N) matrix is not held whole."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    # A part of the queries at a time stays in the processor's caches: nearly twice as fast.
    turned = key.transpose(1, 2)
    parts = [(part @ turned).softmax(-1) @ value for part in torch.split(query, _QUERIES, 1)]
    return torch.cat(parts, 1)


def _rows(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """A Xing block: (B, C, H, W) of the picture, (B, C or 2 C, H, W) of the poses -> C and 2 C channels.

    Both streams are convolved twice, cross, and the poses' stream takes the picture's along.
    """

    def __init__(self, width: int, poses: int, inner: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.image = convolved(width, width, norm, dropout, last_norm=True)
        self.poses = convolved(poses, width, norm, dropout, last_norm=False)
        self.cross = Crossing(width, inner)

    def forward(self, image: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
        image, poses = self.cross(self.image(image), self.poses(poses))
        return image, torch.cat([image, poses], 1)


@dataclass(frozen=True, slots=True)
class Painted:
    """What the network made, and of what.

    picture: (B, 3, H, W) in [-1, 1].  candidates: (B, N, 3, H, W), of the picture's stream, of the poses', and
    last the picture that was given.  shares: (B, N, H, W), where each is seen; they sum to 1.
    matte: (B, 1, H, W) in [0, 1] or None.
    """

    picture: Tensor
    candidates: Tensor
    shares: Tensor
    matte: Tensor | None


class Xing(nn.Module):
    """forward(image (B, 3, H, W) in [-1, 1], poses (B, 36, H, W)) -> (B, 3 or 4, H, W) in [-1, 1].

    poses: maps of the given picture's pose, then of the wanted one.  width: channels at full size.
    alpha: a fourth channel, a matte in [0, 1], not published.  H and W must be multiples of 2^downs.
    """

    def __init__(
        self,
        poses: int = 36,
        *,
        width: int = 64,
        downs: int = 2,
        blocks: int = 9,
        candidates: int = 10,
        norm: Norm = "instance",
        dropout: float = 0.5,
        alpha: bool = False,
    ) -> None:
        super().__init__()
        deep, inner = width << downs, max(1, (width << downs) // 8)
        self.image_in = encoder(COLOURS, width, downs, norm)
        self.poses_in = encoder(poses, width, downs, norm)
        self.blocks = nn.ModuleList(
            Block(deep, deep if i == 0 else 2 * deep, inner, norm, dropout) for i in range(blocks)
        )
        both = 3 * deep if blocks else 2 * deep
        narrow = nn.ConvTranspose2d(both - deep, deep, 1, bias=_bias(norm))
        self.narrow = _layer(narrow, _norm(norm, deep), nn.ReLU(inplace=True))
        self.image_out = _decoder(COLOURS * candidates, width, downs, norm)
        self.poses_out = _decoder(COLOURS * candidates, width, downs, norm)
        self.choice = nn.Sequential(_up(both, deep, norm))
        for i in range(downs - 1):
            self.choice.append(_up(deep >> i, deep >> (i + 1), norm))
        self._shown = 2 * candidates + 1  # what has a share
        last = nn.ConvTranspose2d(deep >> (downs - 1), self._shown + alpha, 1, bias=_bias(norm))
        self.choice.append(_layer(last))
        self.shares = nn.Softmax(1)
        self.alpha = alpha

    def forward(self, image: Tensor, poses: Tensor) -> Tensor:
        painted = self.paint(image, poses)
        if painted.matte is None:
            return painted.picture
        return torch.cat([painted.picture, painted.matte], 1)

    def paint(self, image: Tensor, poses: Tensor) -> Painted:
        """The picture with everything it was made of."""
        x, y = self.image_in(image), self.poses_in(poses)
        for block in self.blocks:
            x, y = block(x, y)
        choice = self.choice(torch.cat([x, y], 1))
        shares = self.shares(choice[:, : self._shown])
        matte = choice[:, -1:].sigmoid() if self.alpha else None
        painted = torch.cat([self.image_out(x), self.poses_out(self.narrow(y)), image], 1)
        candidates = painted.view(len(painted), -1, COLOURS, *painted.shape[2:])
        picture = (candidates * shares[:, :, None]).sum(1)
        return Painted(picture, candidates, shares, matte)


def _layer(
    conv: nn.Module, norm: nn.Module | None = None, act: nn.Module | None = None
) -> nn.Sequential:
    named = {"conv": conv, "norm": norm, "act": act}
    return nn.Sequential(OrderedDict((k, m) for k, m in named.items() if m is not None))


def _norm(kind: Norm, width: int) -> nn.Module:
    return nn.InstanceNorm2d(width) if kind == "instance" else nn.BatchNorm2d(width)


def _bias(norm: Norm) -> bool:
    """A convolution in front of a batch norm, which has a shift of its own, has none."""
    return norm == "instance"


def _same(channels: int, width: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    pad = kernel // 2
    return nn.Conv2d(channels, width, kernel, padding=pad, padding_mode="reflect", bias=bias)


def encoder(channels: int, width: int, downs: int, norm: Norm) -> nn.Sequential:
    conv: nn.Module = _same(channels, width, 7, bias=_bias(norm))
    out = [_layer(conv, _norm(norm, width), nn.ReLU(inplace=True))]
    for i in range(downs):
        wide = width << (i + 1)
        conv = nn.Conv2d(width << i, wide, 3, stride=2, padding=1, bias=_bias(norm))
        out.append(_layer(conv, _norm(norm, wide), nn.ReLU(inplace=True)))
    return nn.Sequential(*out)


def _decoder(channels: int, width: int, downs: int, norm: Norm) -> nn.Sequential:
    ups = (_up(width << (i + 1), width << i, norm) for i in reversed(range(downs)))
    return nn.Sequential(*ups, _layer(_same(width, channels, 7, bias=True), act=nn.Tanh()))


def _up(channels: int, width: int, norm: Norm) -> nn.Sequential:
    conv = nn.ConvTranspose2d(
        channels, width, 3, stride=2, padding=1, output_padding=1, bias=_bias(norm)
    )
    return _layer(conv, _norm(norm, width), nn.ReLU(inplace=True))


def convolved(
    channels: int, width: int, norm: Norm, dropout: float, *, last_norm: bool
) -> nn.Sequential:
    """Two 3x3 convolutions; the first keeps the number of channels."""
    first = _layer(
        _same(channels, channels, 3, bias=_bias(norm)),
        _norm(norm, channels),
        nn.ReLU(inplace=True),
    )
    second = _layer(
        _same(channels, width, 3, bias=_bias(norm)), _norm(norm, width) if last_norm else None
    )
    return nn.Sequential(OrderedDict(first=first, drop=nn.Dropout(dropout), second=second))


class Architecture(Options):
    """What the network is and what it is shown; it is kept in the weights file. Defaults as published for DeepFashion.

    variant: `published` is shown maps of single pixels, as the released DeepFashion script keeps its Gaussians;
    `fixed` the Gaussians.  alpha: draw a matte too; then the person is shown on plain grey.
    """

    frame: single.Frame = single.Frame()
    filters: int = Field(64, ge=1, description="channels at full size (ngf)")
    downs: int = Field(2, ge=1)
    blocks: int = Field(9, ge=1)
    candidates: int = Field(10, ge=1, description="pictures that each stream paints")
    norm: Norm = "instance"
    dropout: float = Field(0.5, ge=0, lt=1)
    sigma: float = Field(6.0, gt=0, description="of the pose maps' Gaussians, in pixels")
    variant: Literal["published", "fixed"] = "fixed"
    alpha: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % (1 << self.downs):
                raise ValueError(f"frame.{name} = {value} must be a multiple of {1 << self.downs}")
        return self


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="openvino: quicker on a CPU, the same pictures"
    )


def body(a: Architecture) -> Xing:
    """The network with the published initial weights."""
    made = Xing(
        2 * joint_maps.JOINTS, width=a.filters, downs=a.downs, blocks=a.blocks, candidates=a.candidates,
        norm=a.norm, dropout=a.dropout, alpha=a.alpha,
    )  # fmt: skip
    initialise(made)
    return made


def network(facts: Mapping[str, Any]) -> Xing:
    """The published generator with these constructor values (input_nc, ngf, n_blocks ...), freshly initialised.

    Raises InputError for values that no published network has.
    """
    image, poses = facts["input_nc"]
    if image != COLOURS or facts.get("output_nc", COLOURS) != COLOURS:
        raise InputError(f"XingGAN's pictures have 3 channels, got {image}")
    if facts.get("padding", "reflect") != "reflect":
        raise InputError(f"XingGAN's padding is reflect, got {facts['padding']!r}")
    made = Xing(
        poses,
        width=facts["ngf"],
        downs=facts.get("n_downsampling", 2),
        blocks=facts["n_blocks"],
        candidates=facts.get("candidates", 10),
        norm="batch" if str(facts["norm"]).startswith("batch") else "instance",
        dropout=0.5 if facts.get("use_dropout", True) else 0.0,
    )
    initialise(made)
    return made


def facts(published: Mapping[str, Tensor], origin: str) -> dict[str, Any]:
    """The constructor values of the generator whose published state dict this is, read off its shapes.

    Raises InputError, starting with `origin`, for any other state dict.
    """
    ours = {key: tuple(value.shape) for key, value in rename(published).items()}
    ends = [f"{part}.0.conv.weight" for part in ("image_in", "poses_in")]
    if not all(len(ours.get(key, ())) == 4 for key in ends):
        some = ", ".join(sorted(published)[:3])
        raise InputError(f"{origin}: is no generator of XingGAN; its first keys are: {some}")
    (width, image, *_), (_, poses, *_) = (ours[key] for key in ends)
    downs = sum(key.startswith("image_in.") and key.endswith(".conv.weight") for key in ours) - 1
    painted = ours.get(f"image_out.{downs}.conv.weight", (0,))[0]
    return {
        "input_nc": [image, poses], "output_nc": COLOURS, "ngf": width, "n_downsampling": downs,
        "n_blocks": sum(key.endswith(".cross.gamma") for key in ours),
        "candidates": max(1, painted // COLOURS),
        "norm": "batch" if "image_in.0.norm.weight" in ours else "instance",
    }  # fmt: skip


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """A published checkpoint as a network with the names here, and the metadata of its file.

    size: (height, width) it draws; without it 256 x 176, or with batch norms (Market-1501) 128 x 64.
    Raises InputError, starting with `origin`, where tensors are missing, unexpected or of another shape.
    """
    if face_network is not None:
        raise InputError(f"{origin}: XingGAN has no face network")
    found = facts(published, origin)
    height, width = size or ((128, 64) if found["norm"] == "batch" else (256, 176))
    values = {
        "frame": {"height": height, "width": width}, "filters": found["ngf"],
        "downs": found["n_downsampling"], "blocks": found["n_blocks"],
        "candidates": found["candidates"], "norm": found["norm"],
    }  # fmt: skip
    architecture = check(Architecture, values, origin)
    made = body(architecture)
    counts = {key: v for key, v in made.state_dict().items() if key.endswith("num_batches_tracked")}
    # Older checkpoints do not count their batches.
    weights.fill(made, counts | rename(published), origin)
    return made, {"generator": NAME, "config": architecture.model_dump_json()}


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    runtimes.check_device(config.runtime, device)
    architecture, found = single.load(path, NAME, Architecture, body)
    assert isinstance(found, Xing)
    found.requires_grad_(False)
    return XingGAN(architecture, found.to(device), device, runtime=config.runtime)


def untrained(device: str = "cpu", **changes: object) -> XingGAN:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {"frame": {"height": 48, "width": 32}, "filters": 4, "blocks": 2, "candidates": 2}
    architecture = check(Architecture, {**small, **changes}, NAME)
    return XingGAN(architecture, body(architecture).to(device), device)


def maps(a: Architecture, xy: Array, score: Array) -> Tensor:
    """The maps of poses (T, 18, 2) in the frame's pixels, (T, 18, H, W) float32."""
    size = a.frame.size
    drawn = [
        joint_maps.points(places, seen, size)
        if a.variant == "published"
        else draw.gaussians(places, seen, size, a.sigma)
        for places, seen in zip(xy, score, strict=True)
    ]
    return torch.from_numpy(np.stack(drawn).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them, and the maps (1, 18, H, W) of their pose."""

    seen: single.Seen
    pose: Tensor


class XingGAN:
    """See the module. Every frame is drawn for itself: there is no state."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: Xing,
        device: str,
        *,
        runtime: Literal["torch", "openvino"] = "torch",
    ) -> None:
        self.architecture = architecture
        self.network = trained.eval()
        self.device = device
        self._draw: Callable[[Tensor], Tensor] = _Joined(trained)
        if runtime == "openvino":
            channels = COLOURS + 2 * joint_maps.JOINTS
            self._draw = runtimes.openvino(
                _Joined(trained), (1, channels, *architecture.frame.size)
            )

    def encode(self, person: Person) -> Code:
        """The person's best view, cut out for the network."""
        a = self.architecture
        seen = single.study(person, a.frame, self.device, alone=a.alpha)
        return Code(seen, maps(a, seen.xy[None], seen.score[None]).to(self.device))

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen nothing is drawn."""

        def drawn(xy: Array, score: Array) -> Tensor:
            wanted = maps(self.architecture, xy, score).to(self.device)
            given = torch.cat([code.seen.picture, code.pose], 1)
            parts = [self._draw(torch.cat([given, one], 1)) for one in torch.split(wanted, 1)]
            return torch.cat(parts)

        return single.render(drawn, code.seen, self.architecture.frame, poses), None


class _Joined(nn.Module):
    """The network as a function of one tensor: picture and maps as channels."""

    def __init__(self, inner: Xing) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x[:, :COLOURS], x[:, COLOURS:])
        return out
