"""The networks of Soft-Gated Warping-GAN: what is to be seen where, and how the given picture is brought there.

Dong, Liang, Gong, Lai, Zhu, Yin: Soft-Gated Warping-GAN for Pose-Guided Person Image Synthesis (NeurIPS 2018).
A parsing says for every pixel which of 20 labels it has (`surface.parsing`); it is given as (B, 20, H, W), shares
that sum to 1. The authors never released their code: what is known of its layers is from a copy that others keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators import _softgate_match as match
from dance.generators._placed import COLOURS
from dance.joint_maps import JOINTS
from dance.surface.parsing import LABELS as _NAMES
from dance.types import Size

LABELS = len(_NAMES)

Gate = Literal["soft", "none"]
"""soft: what is warped is learnt, as in the paper.  none: features are warped as they are, as in the authors' last code."""

# ImageNet's, which the matcher's features were trained with.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to what came in."""

    def __init__(self, width: int, *, norm: bool = True) -> None:
        super().__init__()
        self.inner = branch(width, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.inner(x)
        return x + inner


class Warp(nn.Module):
    """A soft-gated warping block: features (B, C, h, w) and, added to them, what is brought from elsewhere.

    forward(x, where (B, h, w, 2)). With the gate two convolutions decide what is brought: nothing, where large
    movements would do harm, or more than is there.
    """

    def __init__(self, width: int, gate: Gate, *, norm: bool = True) -> None:
        super().__init__()
        self.gate = branch(width, norm=norm) if gate == "soft" else None

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        brought = x if self.gate is None else self.gate(x)
        return x + match.warp(brought, where)


class Parser(nn.Module):
    """The first stage: the parsing of the person in another pose.

    forward(parsing (B, 20, H, W), pose (B, 18, H, W) maps of the wanted one) -> logits (B, 20, H, W).
    bounded: they end at -1 and 1, as published, where no label is ever surer than 7 to 1.
    """

    def __init__(
        self, *, width: int = 64, downs: int = 3, blocks: int = 9, bounded: bool = False
    ) -> None:
        super().__init__()
        deep = width << downs
        self.encoder = encoder(LABELS + JOINTS, width, downs)
        self.blocks = nn.Sequential(*(Residual(deep) for _ in range(blocks)))
        self.decoder = decoder(deep, LABELS, downs)
        self.bounded = bounded

    def forward(self, parsing: Tensor, pose: Tensor) -> Tensor:
        x: Tensor = self.decoder(self.blocks(self.encoder(torch.cat([parsing, pose], 1))))
        return x.tanh() if self.bounded else x


@dataclass(frozen=True, slots=True)
class Moved:
    """How a parsing is brought onto another: thetas of `affine` (B, 6) and, behind it, of `ThinPlate` (B, 18)."""

    affine: Tensor
    plate: Tensor


class Matcher(nn.Module):
    """Finds how one parsing lies in another: affine first, then a thin plate on what that gives.

    Parsings are looked at as coloured pictures of `side` pixels, in the `colours` (20, 3) in [0, 1] of the labels.
    """

    colours: Tensor

    def __init__(
        self,
        colours: Tensor,
        *,
        side: int = 240,
        widths: Sequence[int] = match.VGG16_WIDTHS,
        channels: Sequence[int] = (128, 64),
        kernels: Sequence[int] = (7, 5),
    ) -> None:
        super().__init__()
        places = side // 16
        left = places - sum(kernel - 1 for kernel in kernels)
        assert left > 0, f"a side of {side} is too small for kernels of {kernels}"
        self.affine, self.plate = (
            match.Matcher(
                output,
                widths=widths,
                channels=(places * places, *channels),
                kernels=(*kernels, left),
            )
            for output in (match.AFFINE, match.THIN_PLATE)
        )
        self.bend = match.ThinPlate()
        self.register_buffer("colours", colours, persistent=False)
        self.side = side

    def forward(self, source: Tensor, target: Tensor) -> Moved:
        """For parsings (B, 20, H, W); warping the source by the result brings it onto the target."""
        seen, wanted = self.pictured(source), self.pictured(target)
        affine = self.affine(seen, wanted)
        size = (self.side, self.side)
        seen = self.pictured(match.warp(source, match.grid(match.affine, affine, size)))
        return Moved(affine, self.plate(seen, wanted))

    def grid(self, moved: Moved, size: Size) -> Tensor:
        """The one grid (B, H, W, 2) for both movements."""
        first = match.grid(match.affine, moved.affine, size)
        return match.composed(first, match.grid(self.bend, moved.plate, size))

    def pictured(self, parsing: Tensor) -> Tensor:
        """A parsing as its networks look at it, (B, 3, side, side), with ImageNet's mean and scale."""
        size = (self.side, self.side)
        coloured = torch.einsum("blhw,lc->bchw", parsing, self.colours)
        small = F.interpolate(coloured, size, mode="bilinear", align_corners=True)
        mean, spread = (small.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _SPREAD))
        return (small - mean) / spread


class Renderer(nn.Module):
    """The second stage: the picture in the parsing of the wanted pose.

    forward(picture (B, 3, H, W) in [-1, 1], parsing (B, 20, H, W) of it, wanted (B, 20, H, W), pose (B, 18, H, W),
    where (B, h, w, 2) of the coarsest features) -> (B, 3, H, W) in [-1, 1], with alpha a matte in [0, 1] fourth.
    warps: warping blocks; published with the gate 6, without it 1.  norm: of features, as published; without it
    colours stay what they are, where a normed network has to learn to make them anew.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        downs: int = 3,
        blocks: int = 9,
        warps: int = 6,
        gate: Gate = "soft",
        norm: bool = True,
        alpha: bool = False,
    ) -> None:
        super().__init__()
        deep = width << downs
        self.looks = encoder(COLOURS + LABELS, width, downs, norm=norm)
        self.layout = encoder(LABELS + JOINTS, width, downs, norm=norm)
        self.warps = nn.ModuleList(Warp(deep, gate, norm=norm) for _ in range(warps))
        self.blocks = nn.Sequential(*(Residual(2 * deep, norm=norm) for _ in range(blocks)))
        self.decoder = decoder(2 * deep, COLOURS + alpha, downs, norm=norm)
        self.norm = norm
        self.alpha = alpha

    def forward(
        self, picture: Tensor, parsing: Tensor, wanted: Tensor, pose: Tensor, where: Tensor
    ) -> Tensor:
        looks: Tensor = self.looks(torch.cat([picture, parsing], 1))
        return self.drawn(looks, wanted, pose, where)

    def drawn(self, looks: Tensor, wanted: Tensor, pose: Tensor, where: Tensor) -> Tensor:
        """The same from features (B or 1, C, h, w) of `self.looks`, which a person has once for all poses."""
        x = self.moved(looks, where)[-1]
        x = torch.cat([x, self.layout(torch.cat([wanted, pose], 1))], 1)
        x = self.decoder(self.blocks(x))
        colours = x[:, :COLOURS].tanh()
        return torch.cat([colours, x[:, COLOURS:].sigmoid()], 1) if self.alpha else colours

    def moved(self, looks: Tensor, where: Tensor) -> list[Tensor]:
        """The features (B or 1, C, h, w), and what each warping block in turn makes of them, (B, C, h, w)."""
        found = [looks.expand(len(where), -1, -1, -1)]
        for warp in self.warps:
            found.append(warp(found[-1], where))
        return found


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What was drawn, (B, 3 or 4, H, W), in which parsing, (B, 20, H, W) shares, and what was moved how."""

    picture: Tensor
    parsing: Tensor
    moved: Moved


class SoftGate(nn.Module):
    """All of it: parser, matcher and renderer, each taught by itself.

    forward(picture (B, 3, H, W), parsing (B, 20, H, W), pose (B, 18, H, W)) -> Synthesis.
    """

    def __init__(self, parser: Parser, matcher: Matcher, renderer: Renderer) -> None:
        super().__init__()
        self.parser = parser
        self.matcher = matcher
        self.renderer = renderer

    def forward(self, picture: Tensor, parsing: Tensor, pose: Tensor) -> Synthesis:
        looks = self.renderer.looks(torch.cat([picture, parsing], 1))
        return self.drawn(looks, parsing, pose)

    def drawn(self, looks: Tensor, parsing: Tensor, pose: Tensor) -> Synthesis:
        """The same from a person's features and parsing (each B or 1), known once for all poses (B, 18, H, W)."""
        parsing = parsing.expand(len(pose), -1, -1, -1)
        wanted = self.parser(parsing, pose).softmax(1)
        moved = self.matcher(parsing, wanted)
        where = self.matcher.grid(moved, (looks.shape[-2], looks.shape[-1]))
        picture = self.renderer.drawn(looks, wanted, pose, where)
        return Synthesis(picture, wanted, moved)


def encoder(channels: int, width: int, downs: int, *, norm: bool = True) -> nn.Sequential:
    """(B, channels, H, W) -> (B, width 2^downs, H / 2^downs, W / 2^downs)."""
    layers = [_layer(_same(channels, width, 7), width, norm)]
    for i in range(downs):
        conv = nn.Conv2d(width << i, width << (i + 1), 3, stride=2, padding=1)
        layers.append(_layer(conv, width << (i + 1), norm))
    return nn.Sequential(*layers)


def decoder(width: int, output: int, ups: int, *, norm: bool = True) -> nn.Sequential:
    """(B, width, h, w) -> (B, output, h 2^ups, w 2^ups), unbounded; every step up halves the width."""
    layers: list[nn.Module] = []
    for i in range(ups):
        conv = nn.ConvTranspose2d(
            width >> i, width >> (i + 1), 3, stride=2, padding=1, output_padding=1
        )
        layers.append(_layer(conv, width >> (i + 1), norm))
    return nn.Sequential(*layers, _same(width >> ups, output, 7))


def branch(width: int, *, norm: bool = True) -> nn.Sequential:
    """Two convolutions, each normed if at all; only the first is followed by an activation."""
    first = _layer(_same(width, width, 3), width, norm)
    return nn.Sequential(first, _same(width, width, 3), _norm(width, norm))


def one_hot(labels: Tensor) -> Tensor:
    """Label numbers (B, H, W) as a parsing (B, 20, H, W)."""
    return F.one_hot(labels.long(), LABELS).movedim(-1, 1).float()


def initialise(network: nn.Module) -> None:
    """Initial weights as pix2pixHD's: convolutions N(0, 0.02); matchers start where nothing moves.

    Where nothing norms features, weights that keep them as large as they came.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    for module in network.modules():
        if isinstance(module, Renderer) and not module.norm:
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                elif isinstance(conv, nn.ConvTranspose2d):
                    # Of a stride of 2 every place is reached by a quarter of the kernel.
                    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                    conv.weight.data *= 2
            # What is drawn begins near grey, where the tangent is steep.
            last = module.decoder[-1]
            assert isinstance(last, nn.Conv2d)
            last.weight.data *= 0.1
        if isinstance(module, Matcher):
            for part in (module.affine, module.plate):
                for conv in part.modules():
                    if isinstance(conv, nn.Conv2d):
                        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            still = torch.tensor([1.0, 0, 0, 0, 1, 0]), module.bend.controls.T.flatten()
            for part, theta in zip((module.affine, module.plate), still, strict=True):
                nn.init.normal_(part.regression.linear.weight, 0.0, 1e-3)
                part.regression.linear.bias.data.copy_(theta)


def _layer(conv: nn.Module, width: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=conv, norm=_norm(width, norm), act=nn.ReLU(inplace=True)))


def _same(channels: int, width: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, padding_mode="reflect")


def _norm(width: int, norm: bool) -> nn.Module:
    return nn.InstanceNorm2d(width, affine=True) if norm else nn.Identity()
