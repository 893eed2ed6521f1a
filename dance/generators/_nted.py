"""The networks of NTED, after the paper and the published configuration's numbers.

Ren, Fan, Li, Liu, Li: Neural Texture Extraction and Distribution for Controllable Person Image Synthesis (CVPR
2022). The reference's features are gathered into a few textures per scale, each a weighted mean over all
positions; where the pose is drawn, every position mixes those textures. Nothing is warped.
Shapes: B pictures, C channels, H height, W width, K labels (textures of a scale). Scales go from coarse to fine.
Published key names are turned into the ones here by `rename` in `_nted_published`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field
from torch import Tensor, nn

from dance.config import Options
from dance.generators._stylegan2 import Conv, Layer, doubled, fir

COLOURS = 3
POSE = 20  # channels of the published pose label
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

    scores: (B, K, H, W) per entry of `textures`; softmax over K gives each texture's share in a position.
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

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Conv(width, COLOURS, 3)
        self.register_buffer("kernel", fir(), persistent=False)

    def forward(self, x: Tensor, coarser: Tensor | None) -> Tensor:
        out: Tensor = self.conv(x)
        return out if coarser is None else out + doubled(coarser, self.kernel)


class Up(nn.Module):
    """One scale of the renderer; all but the coarsest double the size first."""

    def __init__(self, channels: int, scale: Scale, *, up: bool) -> None:
        super().__init__()
        self.first = Distribution(channels, scale, up=up)
        self.second = Distribution(scale.width, scale, up=False)
        self.picture = Picture(scale.width)


class Renderer(nn.Module):
    """Features of the coarsest scale and textures -> a picture (B, 3, H, W), and all scores."""

    def __init__(self, scales: Sequence[Scale]) -> None:
        super().__init__()
        before = (scales[0], *scales)
        self.ups = nn.ModuleList(
            Up(coarse.width, scale, up=i > 0)
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
    """The generator. H and W should be multiples of 2^(scales - 1): others are drawn a little smaller.

    scales: from coarse to fine; the finest, of full size, has no labels.
    """

    def __init__(self, scales: Sequence[Scale] = PUBLISHED_256, *, pose: int = POSE) -> None:
        super().__init__()
        assert len(scales) > 1 and not scales[-1].labels, "the finest scale has no textures"
        self.reference = Encoder(COLOURS, scales, extract=True)
        self.skeleton = Encoder(pose, scales, extract=False)
        self.renderer = Renderer(scales)

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
        """The picture (B, 3, H, W) and scores of textures (B or 1, C, K) in the poses (B, 20, H, W)."""
        features, _ = self.skeleton(pose)
        out: tuple[Tensor, list[Tensor]] = self.renderer(features, textures)
        return out
