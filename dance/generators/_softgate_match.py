"""Where one picture's parts lie in another: a geometric matcher, affine first, then with a thin plate.

Rocco, Arandjelović, Sivic: Convolutional neural network architecture for geometric matching (CVPR 2017), after the
published classes' facts; Soft-Gated Warping-GAN matches parsings with it. Grids are (B, H, W, 2) of x, y in
[-1, 1] and say where each pixel of the result comes from; -1 and 1 are the middles of the outermost pixels.
Parameters (theta) are rows: affine (B, 6), the rows of a 2 x 3 matrix; thin plate (B, 2 N), where its N control
points go, all x before all y; homography (B, 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.types import InputError, Size

ValueT = TypeVar("ValueT")
Move = Callable[[Tensor, Tensor], Tensor]
"""(theta, points (B or 1, M, 2)) -> points (B, M, 2)."""

AFFINE, THIN_PLATE = 6, 18  # numbers of a theta; the published thin plate has 3 x 3 control points
VGG16_WIDTHS = (64, 128, 256, 512)
_VGG16_CONVS = (2, 2, 3, 3)
_LEAST = 1e-6  # of a squared length
_FAR = -1e10


class Features(nn.Module):
    """VGG-16 up to its fourth pool, of length 1 at every position.

    (B, 3, H, W), with ImageNet's mean and scale -> (B, widths[-1], H / 16, W / 16).
    """

    def __init__(self, widths: Sequence[int] = VGG16_WIDTHS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for count, (channels, width) in zip(_VGG16_CONVS, pairwise((3, *widths)), strict=True):
            inner = [channels, *[width] * count]
            self.blocks.append(
                nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(inner))
            )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            for conv in block:
                x = F.relu(conv(x), inplace=True)
            x = F.max_pool2d(x, 2)
        return unit(x)


class Regression(nn.Module):
    """Correlations (B, channels[0], h, w) -> theta (B, output).

    kernels: of the two convolutions, and the side of the square that is left behind them.
    """

    def __init__(
        self,
        output: int,
        *,
        channels: Sequence[int] = (225, 128, 64),
        kernels: Sequence[int] = (7, 5, 5),
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.ModuleDict({"conv": nn.Conv2d(a, b, kernel), "norm": nn.BatchNorm2d(b)})
                for (a, b), kernel in zip(pairwise(channels), kernels, strict=False)
            )
        )
        self.linear = nn.Linear(channels[-1] * kernels[-1] ** 2, output)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            x = F.relu(layer["norm"](layer["conv"](x)), inplace=True)
        out: Tensor = self.linear(x.flatten(1))
        return out


class Matcher(nn.Module):
    """Two pictures (B, 3, 240, 240), with ImageNet's mean and scale -> theta, from the second to the first."""

    def __init__(
        self,
        output: int = AFFINE,
        *,
        widths: Sequence[int] = VGG16_WIDTHS,
        channels: Sequence[int] = (225, 128, 64),
        kernels: Sequence[int] = (7, 5, 5),
    ) -> None:
        super().__init__()
        self.features = Features(widths)
        self.regression = Regression(output, channels=channels, kernels=kernels)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.matched(source, target)[0]

    def matched(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Theta, and the correlations (B, h w, h, w) it was read off."""
        a, b = self.features(source), self.features(target)
        found = unit(F.relu(correlation(a, b)))
        return self.regression(found), found


def unit(x: Tensor) -> Tensor:
    """Features (B, C, ...) of length 1 at every position."""
    out: Tensor = x / (x.square().sum(1, keepdim=True) + _LEAST).sqrt()
    return out


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """How features a, b (B, C, h, w) agree: (B, h w, h, w), at each position of b with all of a, column by column."""
    every = a.transpose(2, 3).flatten(2).transpose(1, 2)
    out: Tensor = (every @ b.flatten(2)).view(len(b), -1, *b.shape[-2:])
    return out


def base_points(size: Size, *, align_corners: bool = True) -> Tensor:
    """The middles of all pixels of (height, width) `size`, (1, H W, 2), row by row.

    align_corners: -1 and 1 are the outermost pixels' middles, as published; else their outer edges.
    """
    y, x = (
        torch.linspace(-1, 1, side) * (1.0 if align_corners else (side - 1) / side) for side in size
    )
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], -1)[None]


def grid(
    move: Move, theta: Tensor, size: Size, *, offset: float = 1.0, align_corners: bool = True
) -> Tensor:
    """The grid (B, H, W, 2) of a movement. offset: theta is meant for coordinates so many times as large.

    It has at least single precision, also within autocast: half of it would miss a pixel.
    """
    with torch.autocast(theta.device.type, enabled=False):
        theta = theta.to(torch.promote_types(theta.dtype, torch.float32))
        points = base_points(size, align_corners=align_corners).to(theta) / offset
        return move(theta, points).view(-1, *size, 2) * offset


def warp(picture: Tensor, where: Tensor, *, align_corners: bool = True) -> Tensor:
    """The picture (B, C, h, w) looked up at a grid (B, H, W, 2); 0 outside."""
    return F.grid_sample(
        picture, where, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )


def composed(first: Tensor, then: Tensor, *, align_corners: bool = True) -> Tensor:
    """One grid for warping by one and then by another, so that pictures are interpolated once.

    What either takes from outside the picture stays outside.
    """
    known = _outside_far(first).movedim(-1, 1)
    moved = warp(known, then, align_corners=align_corners).movedim(1, -1)
    return torch.where(_inside(then), moved, _FAR)


def _outside_far(where: Tensor) -> Tensor:
    return torch.where(_inside(where), where, _FAR)


def _inside(where: Tensor) -> Tensor:
    return (where.abs() < 1).all(-1, keepdim=True)


def to_unit(pixels: Tensor, size: Tensor) -> Tensor:
    """Points (B, M, 2), x and y, from pixels (the first one's middle is 0) to [-1, 1]. size: (B, 2), height and width."""
    return pixels * 2 / (size.flip(-1)[:, None] - 1) - 1


def to_pixels(points: Tensor, size: Tensor) -> Tensor:
    """The way back from `to_unit`."""
    return (points + 1) / 2 * (size.flip(-1)[:, None] - 1)


def affine(theta: Tensor, points: Tensor) -> Tensor:
    """Points (B or 1, M, 2) moved by theta (B, 6): (B, M, 2)."""
    matrix = theta.view(-1, 2, 3).transpose(1, 2)
    return points @ matrix[:, :2] + matrix[:, 2:]


def homography(theta: Tensor, points: Tensor, *, least: float = 0.0) -> Tensor:
    """Points (B or 1, M, 2) moved by theta (B, 9). least: is added to what is divided by, away from 0."""
    matrix = theta.view(-1, 3, 3).transpose(1, 2)
    moved = points @ matrix[:, :2] + matrix[:, 2:]
    below = moved[..., 2:]
    return moved[..., :2] / (below + least * below.sign())


def homography_of(corners: Tensor) -> Tensor:
    """The homographies (B, 9) that bring -1, -1; -1, 1; 1, -1; 1, 1 to corners (B, 8), four x before four y."""
    import kornia

    to = corners.view(-1, 2, 4).transpose(1, 2)
    square = corners.new_tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]).expand_as(to)
    found: Tensor = kornia.geometry.transform.get_perspective_transform(square, to)
    return found.flatten(1)


class ThinPlate(nn.Module):
    """The smoothest bending that brings side x side control points, evenly spread, to where theta says.

    Bookstein: Principal Warps (1989). regularisation: how far the points may be missed for smoothness' sake.
    The control points never change, so that the system is solved once (kornia's plate is another: it bends about
    the targets).
    """

    controls: Tensor
    inverse: Tensor

    def __init__(self, side: int = 3, regularisation: float = 0.0) -> None:
        super().__init__()
        count = side * side
        # Column by column.
        controls = base_points((side, side)).view(side, side, 2).transpose(0, 1).reshape(count, 2)
        system = torch.zeros(count + 3, count + 3)
        system[:count, :count] = _bending(controls, controls) + regularisation * torch.eye(count)
        system[:count, count:] = _with_one(controls)
        system[count:, :count] = _with_one(controls).T
        self.register_buffer("controls", controls, persistent=False)
        self.register_buffer("inverse", system.double().inverse().float(), persistent=False)

    def forward(self, theta: Tensor, points: Tensor) -> Tensor:
        """Points (B or 1, M, 2) moved by theta (B, 2 N): (B, M, 2)."""
        targets = theta.view(len(theta), 2, -1).transpose(1, 2)
        basis = torch.cat([_bending(points, self.controls), _with_one(points)], -1)
        # Sums over the control points are short, so that the basis, not its product, is what is large.
        return basis @ (self.inverse[:, : len(self.controls)] @ targets)


def _bending(points: Tensor, controls: Tensor) -> Tensor:
    """U(d) = d^2 ln d^2 of points (..., M, 2) from controls (N, 2): (..., M, N)."""
    squared = (points[..., None, :] - controls).square().sum(-1)
    return squared * torch.where(squared == 0, 1, squared).log()


def _with_one(points: Tensor) -> Tensor:
    return F.pad(points, (1, 0), value=1.0)


def network(facts: Mapping[str, Any]) -> nn.Module:
    """The published matcher with these constructor values; only its regression where they name no widths.

    facts: output_dim, kernel_sizes and channels (fr_ in front of them or not), and widths of the features.
    """
    values = {key.removeprefix("fr_"): value for key, value in facts.items()}
    missing = {"output_dim", "kernel_sizes", "channels"} - values.keys()
    if missing:
        raise InputError(f"no network has the facts {', '.join(facts)}; {min(missing)} is needed")
    output, channels, kernels = (values[k] for k in ("output_dim", "channels", "kernel_sizes"))
    if "widths" in values:
        return Matcher(output, widths=values["widths"], channels=channels, kernels=kernels)
    return Regression(output, channels=channels, kernels=kernels)


def rename(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A published state dict of the matcher, or of its regression alone, under the names here.

    A pure function of the keys. A key of no known layout keeps its name, so that a strict load lists it.
    """
    layout = _layout()
    return {_ours(key, layout): value for key, value in published.items()}


def _ours(key: str, layout: Mapping[str, str]) -> str:
    # Old checkpoints say vgg.
    module, _, leaf = key.replace(".vgg.", ".model.").rpartition(".")
    return f"{layout[module]}.{leaf}" if module in layout else key


def _layout() -> dict[str, str]:
    """Every published module that holds tensors, and ours."""
    inner = {
        **{f"conv.{3 * i}": f"layers.{i}.conv" for i in range(2)},
        **{f"conv.{3 * i + 1}": f"layers.{i}.norm" for i in range(2)},
        "linear": "linear",
    }
    out = dict(inner)
    out |= {f"FeatureRegression.{theirs}": f"regression.{ours}" for theirs, ours in inner.items()}
    # torchvision numbers convolutions, activations and pools in one sequence.
    number = 0
    for block, count in enumerate(_VGG16_CONVS):
        for i in range(count):
            out[f"FeatureExtraction.model.{number}"] = f"features.blocks.{block}.{i}"
            number += 2
        number += 1
    return out


def published_keys(network: nn.Module, facts: Mapping[str, Any]) -> list[str]:
    """The published keys of a network; `rename` leads back."""
    state = network.state_dict().keys()
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [
        f"{theirs}.{leaf}"
        for theirs, ours in _layout().items()
        for leaf in leaves
        if f"{ours}.{leaf}" in state
    ]


def place_of(module: str, published: Iterable[str]) -> str | None:
    """Our name for a published module, for comparing what it gives; None where there is none."""
    whole = {"FeatureExtraction": "features", "FeatureRegression": "regression"}
    return whole.get(module) or _layout().get(module)


def facts(published: Mapping[str, Tensor], origin: str = "the checkpoint") -> dict[str, Any]:
    """The constructor values of the network whose published state dict this is, read off its shapes.

    Raises InputError, starting with `origin`, for a state dict of no matcher.
    """
    ours = rename(published)
    prefix = "regression." if "regression.linear.weight" in ours else ""
    convs = [ours.get(f"{prefix}layers.{i}.conv.weight") for i in range(2)]
    linear = ours.get(f"{prefix}linear.weight")
    if linear is None or any(conv is None or conv.dim() != 4 for conv in convs):
        some = ", ".join(sorted(published)[:3])
        raise InputError(f"{origin}: is no geometric matcher; its first keys are: {some}")
    first, second = (conv for conv in convs if conv is not None)
    left = math.isqrt(linear.shape[1] // len(second))
    found = {
        "output_dim": len(linear),
        "kernel_sizes": [first.shape[-1], second.shape[-1], left],
        "channels": [first.shape[1], len(first), len(second)],
    }
    widths = [ours.get(f"features.blocks.{i}.0.bias") for i in range(len(_VGG16_CONVS))]
    known = [len(width) for width in widths if width is not None]
    return {**found, "widths": known} if len(known) == len(_VGG16_CONVS) else found
