"""NTED: what a picture shows, gathered into a few textures and distributed over a pose.

Ren, Fan, Li, Liu, Li: Neural Texture Extraction and Distribution for Controllable Person Image Synthesis (CVPR
2022). The reference's features are gathered into a few textures per scale, each a weighted mean over all
positions; where the pose is drawn, every position mixes those textures. Nothing is warped.
Shapes: B pictures, C channels, H height, W width, K labels (textures of a scale). Scales go from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import networks as runtimes
from dance import weights
from dance.config import Options, check
from dance.generators import _nted_label as labels
from dance.generators import _nted_published as names
from dance.generators import _single as single
from dance.generators._nted_published import rename as rename
from dance.generators._placed import COLOURS
from dance.generators._stylegan2 import Conv, Discriminator, Layer, doubled, fir
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

NAME = "nted"
_EACH = 2  # sets of textures a scale has: one for each of the renderer's two layers


class Scale(Options):
    """One scale of the network. labels: how many textures it has; 0: none, and nothing is mixed there."""

    width: int = Field(ge=1, description="channels")
    labels: int = Field(0, ge=0, description="textures of each of its two layers")
    kernel: int = Field(3, ge=1, description="of the filters that find and mix textures")


PUBLISHED_256 = (
    Scale(width=512, labels=16, kernel=1), Scale(width=512, labels=32),
    Scale(width=512, labels=64), Scale(width=256, labels=64), Scale(width=128),
)  # fmt: skip
PUBLISHED_512 = (
    Scale(width=512, labels=16, kernel=1), Scale(width=512, labels=32),
    Scale(width=512, labels=32), Scale(width=256, labels=64), Scale(width=128, labels=64),
    Scale(width=64),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Textures:
    """What is known of a reference. Both lists go from coarse to fine, two entries for each scale that has labels.

    values: (B, C, K).  weights: (B, K, H W), how much each position counts in a texture; sums to 1 over positions.
    """

    values: list[Tensor]
    weights: list[Tensor]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A drawn picture (B, 3, H, W), about [-1, 1] but unbounded, and what it was mixed from.

    With `alpha` a fourth channel is the matte in [0, 1].  scores: (B, K, H, W) per entry of `textures`; softmax over K
    gives each texture's share in a position.
    """

    picture: Tensor
    textures: Textures
    scores: list[Tensor]


class Extraction(nn.Module):
    """Gathers features (B, C, H, W) into textures (B, C, K)."""

    def __init__(self, width: int, labels: int, kernel: int) -> None:
        super().__init__()
        self.value = Conv(width, width, kernel)
        self.filter = Conv(width, labels, kernel, bias=False)

    def forward(self, x: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        """The textures, and each position's weight in them, (B, K, H W). plain: `normalised(x)`.

        A texture is the weighted mean of convolved features. Both are linear: the features around the positions
        are averaged first, for each tap of the kernel, and the convolution then has K positions instead of H W.
        """
        weights = self.filter(plain).flatten(2).softmax(-1)
        side, height, width = self.value.weight.shape[-1], *x.shape[-2:]
        # A mean of shifted features is the mean with weights shifted the other way, and weights are fewer.
        around = side // 2
        spread = F.pad(weights.unflatten(2, (height, width)), (around,) * 4)
        features = x.flatten(2).transpose(1, 2)
        taps = [
            spread[..., side - 1 - i :, side - 1 - j :][..., :height, :width].flatten(2) @ features
            for i in range(side)
            for j in range(side)
        ]
        kernel = (self.value.weight * self.value.scale).flatten(2)
        means = torch.einsum("tbkc,oct->bok", torch.stack(taps), kernel)
        assert self.value.bias is not None
        return means + self.value.bias[:, None], weights


def normalised(x: Tensor) -> Tensor:
    """Features (B, C, H, W) less their mean over the channels, of length 1 at every position."""
    x = x - x.mean(1, keepdim=True)
    out: Tensor = x / (x.norm(dim=1, keepdim=True) + torch.finfo(torch.float64).eps)
    return out


class Down(nn.Module):
    """Half the size; and, in the reference's encoder, what gathers textures from the result."""

    def __init__(self, channels: int, scale: Scale, *, extract: bool) -> None:
        super().__init__()
        self.layer = Layer(channels, scale.width, 3, "down")
        count = _EACH if extract and scale.labels else 0
        self.extractions = nn.ModuleList(
            Extraction(scale.width, scale.labels, scale.kernel) for _ in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class Encoder(nn.Module):
    """(B, channels, H, W) -> features of the coarsest scale, and what was gathered on the way."""

    def __init__(self, channels: int, scales: Sequence[Scale], *, extract: bool) -> None:
        super().__init__()
        self.stem = Layer(channels, scales[-1].width, 1)
        self.downs = nn.ModuleList(
            Down(fine.width, coarse, extract=extract) for fine, coarse in pairwise(scales[::-1])
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Textures]:
        x = self.stem(x)
        values: list[Tensor] = []
        weights: list[Tensor] = []
        for down in self.downs:
            assert isinstance(down, Down)
            x = down(x)
            if not down.extractions:
                continue
            plain = normalised(x)
            found = [extraction(x, plain) for extraction in down.extractions]
            values = [value for value, _ in found] + values
            weights = [weight for _, weight in found] + weights
        return x, Textures(values, weights)


class Distribution(nn.Module):
    """A layer of the renderer: convolution, the mixed textures added, activation."""

    def __init__(self, channels: int, scale: Scale, *, up: bool) -> None:
        super().__init__()
        self.layer = Layer(channels, scale.width, 3, "up" if up else "none")
        self.filter = Conv(scale.width, scale.labels, scale.kernel) if scale.labels else None

    def forward(self, x: Tensor, textures: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The features, and the scores (B, K, H, W) of the textures (B or 1, C, K), where there are any."""
        if self.filter is None or textures is None:
            plain: Tensor = self.layer(x)
            return plain, None
        kept: list[Tensor] = []

        def add(features: Tensor) -> Tensor:
            assert self.filter is not None
            scores = self.filter(features)
            kept.append(scores)
            return mixed(features, textures, scores)

        return self.layer(x, add), kept[0]


def mixed(x: Tensor, textures: Tensor, scores: Tensor) -> Tensor:
    """To features (B, C, H, W) every position's mixture of textures (B or 1, C, K) is added; scores (B, K, H, W)."""
    known = textures.expand(len(x), -1, -1)
    return torch.baddbmm(x.flatten(2), known, scores.flatten(2).softmax(1)).view_as(x)


class Picture(nn.Module):
    """Features to colours, added to those of the coarser scale."""

    kernel: Tensor

    def __init__(self, width: int, channels: int = COLOURS) -> None:
        super().__init__()
        self.conv = Conv(width, channels, 3)
        self.register_buffer("kernel", fir(), persistent=False)

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        out: Tensor = self.conv(x)
        return out if coarser is None else out + doubled(coarser, self.kernel)


class Up(nn.Module):
    """One scale of the renderer; all but the coarsest double the size first."""

    def __init__(self, channels: int, scale: Scale, output: int, *, up: bool) -> None:
        super().__init__()
        self.first = Distribution(channels, scale, up=up)
        self.second = Distribution(scale.width, scale, up=False)
        self.picture = Picture(scale.width, output)


class Renderer(nn.Module):
    """Features of the coarsest scale and textures -> a picture (B, output, H, W), and all scores."""

    def __init__(self, scales: Sequence[Scale], output: int = COLOURS) -> None:
        super().__init__()
        before = (scales[0], *scales)
        self.ups = nn.ModuleList(
            Up(coarse.width, scale, output, up=i > 0)
            for i, (coarse, scale) in enumerate(zip(before, scales, strict=False))
        )

    def forward(self, x: Tensor, textures: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        left = iter(textures)
        scores: list[Tensor] = []
        picture: Tensor | None = None
        for up in self.ups:
            assert isinstance(up, Up)
            for layer in (up.first, up.second):
                x, found = layer(x, None if layer.filter is None else next(left))
                if found is not None:
                    scores.append(found)
            picture = up.picture(x, picture)
        assert picture is not None
        return picture, scores


class NTED(nn.Module):
    """The network. H and W should be multiples of 2^(scales - 1): others are drawn a little smaller.

    scales: from coarse to fine; the finest, of full size, has no labels.  pose: channels of the label.
    alpha: a matte as fourth channel, not published.
    """

    def __init__(
        self, scales: Sequence[Scale] = PUBLISHED_256, *, pose: int = labels.CHANNELS,
        alpha: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        assert len(scales) > 1 and not scales[-1].labels, "the finest scale has no textures"
        self.reference = Encoder(COLOURS, scales, extract=True)
        self.skeleton = Encoder(pose, scales, extract=False)
        self.renderer = Renderer(scales, COLOURS + alpha)
        self.alpha = alpha

    def forward(self, source: Tensor, pose: Tensor) -> Rendering:
        """Draws the source (B, 3, H, W) in [-1, 1] in the pose of the label (B, 20, H, W) in [0, 1]."""
        textures = self.extract(source)
        picture, scores = self.draw(textures.values, pose)
        return Rendering(picture, textures, scores)

    def extract(self, source: Tensor) -> Textures:
        """What is to be known of a reference, once for all its poses."""
        textures: Textures = self.reference(source)[1]
        return textures

    def draw(self, textures: Sequence[Tensor], pose: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The picture (B, 3 or 4, H, W) and scores of textures (B or 1, C, K) in the poses (B, 20, H, W)."""
        features, _ = self.skeleton(pose)
        picture, scores = self.renderer(features, textures)
        if self.alpha:
            picture = torch.cat([picture[:, :COLOURS], picture[:, COLOURS:].sigmoid()], 1)
        return picture, scores


class Architecture(Options):
    """What the network is and what it is shown; it is kept in the weights file. Defaults as published for 256 x 176.

    alpha: draw a matte too; then the person is shown on plain grey.
    """

    frame: single.Frame = single.Frame()
    scales: tuple[Scale, ...] = Field(PUBLISHED_256, min_length=2, description="coarse to fine")
    stroke: float = Field(
        labels.STROKE, gt=0, description="half width of the label's limbs, pixels"
    )
    alpha: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        if self.scales[-1].labels:
            raise ValueError("scales: the last one is the whole picture, which has no labels")
        multiple = 1 << (len(self.scales) - 1)
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % multiple:
                raise ValueError(f"frame.{name} = {value} must be a multiple of {multiple}")
        return self


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="openvino: quicker on a CPU, the same pictures"
    )


def body(a: Architecture) -> NTED:
    """The network with fresh weights."""
    return NTED(a.scales, alpha=a.alpha)


def network(facts: Mapping[str, Any]) -> nn.Module:
    """The published network with these constructor values, freshly initialised.

    facts: names as published; channels, num_labels and match_kernels by nominal height. Whether it is the generator
    or the discriminator is told by the names given. Raises InputError for facts of neither.
    """
    heights, widths = names.heights(facts), names.by_height(facts.get("channels", {}))
    if "semantic_dim" not in facts:
        last = (4, 4 if facts.get("is_square_image", False) else 2)
        return Discriminator([widths[height] for height in reversed(heights)], last=last)
    return NTED(_scales(facts), pose=facts["semantic_dim"])


def _scales(facts: Mapping[str, Any]) -> list[Scale]:
    widths, counts, kernels = (
        names.by_height(facts[key]) for key in ("channels", "num_labels", "match_kernels")
    )
    # Where there are no textures the published facts are false.
    return [
        Scale(width=widths[h], labels=int(counts.get(h, 0)), kernel=int(kernels.get(h, 0)) or 3)
        for h in names.heights(facts)
    ]


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """A published checkpoint as a network with the names here, and the metadata of its file.

    size: (height, width) it draws; without it the published 256 x 176 or 512 x 352.
    Raises InputError, starting with `origin`, where tensors are missing, unexpected or of another shape.
    """
    if face_network is not None:
        raise InputError(f"{origin}: NTED has no face network")
    names.check_filters(published, origin)
    found = names.facts(published, origin)
    if found.get("semantic_dim") != labels.CHANNELS:
        raise InputError(
            f"{origin}: is no generator of NTED that is shown {labels.CHANNELS} channels"
        )
    height, width = size or (found["size"], found["size"] * 11 // 16)
    values = {
        "frame": {"height": height, "width": width},
        "scales": [scale.model_dump() for scale in _scales(found)],
    }
    architecture = check(Architecture, values, origin)
    made = body(architecture)
    weights.fill(made, rename(published), origin)
    return made, {"generator": NAME, "config": architecture.model_dump_json()}


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    runtimes.check_device(config.runtime, device)
    architecture, found = single.load(path, NAME, Architecture, body)
    assert isinstance(found, NTED)
    found.requires_grad_(False)
    return Distributor(architecture, found.to(device), device, runtime=config.runtime)


def untrained(device: str = "cpu", **changes: object) -> Distributor:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "frame": {"height": 48, "width": 32}, "stroke": 2,
        "scales": [{"width": 6, "labels": 3, "kernel": 1}, {"width": 5, "labels": 4}, {"width": 4}],
    }  # fmt: skip
    architecture = check(Architecture, {**small, **changes}, NAME)
    return Distributor(architecture, body(architecture).to(device), device)


def shown(a: Architecture, xy: Array, score: Array) -> Tensor:
    """The labels of poses (T, 18, 2) in the frame's pixels, (T, 20, H, W) float32 in [0, 1]."""
    drawn = [
        labels.label(np.concatenate([places, seen[:, None]], 1), a.frame.size, stroke=a.stroke)
        for places, seen in zip(xy, score, strict=True)
    ]
    return torch.from_numpy(np.stack(drawn)).float() / 255


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them, their textures, and what draws a label (1, 20, H, W) with these."""

    seen: single.Seen
    textures: Textures
    draw: Callable[[Tensor], Tensor]


class Distributor:
    """The generator: see the module. Every frame is drawn for itself: there is no state."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: NTED,
        device: str,
        *,
        runtime: Literal["torch", "openvino"] = "torch",
    ) -> None:
        self.architecture = architecture
        self.network = trained.eval()
        self.device = device
        self.runtime = runtime

    def encode(self, person: Person) -> Code:
        """The textures of the person's best view; a frame then costs only its pose's half of the network."""
        a = self.architecture
        seen = single.study(person, a.frame, self.device, alone=a.alpha)
        textures = self.network.extract(seen.picture)
        dressed = _Dressed(self.network, textures.values)
        if self.runtime == "openvino":
            shape = (1, labels.CHANNELS, *a.frame.size)
            return Code(seen, textures, runtimes.openvino(dressed, shape))
        return Code(seen, textures, dressed)

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen nothing is drawn."""

        def drawn(xy: Array, score: Array) -> Tensor:
            wanted = shown(self.architecture, xy, score).to(self.device)
            return torch.cat([code.draw(one) for one in torch.split(wanted, 1)])

        return single.render(drawn, code.seen, self.architecture.frame, poses), None


class _Dressed(nn.Module):
    """The network as a function of the label alone, for one person's textures."""

    def __init__(self, inner: NTED, textures: Sequence[Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.textures = list(textures)

    def forward(self, pose: Tensor) -> Tensor:
        return self.inner.draw(self.textures, pose)[0]
