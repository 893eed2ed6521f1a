"""What the networks of PG2 and of Disentangled Person Image Generation are made of.

Ma et al.: Pose Guided Person Image Generation (NeurIPS 2017) and Disentangled Person Image Generation (CVPR
2018). Both were published for TensorFlow: convolutions pad as it does, features are flattened row by row with
the channels last, and layers are named by the order of their making, which is the order of `modules()` here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance import draw
from dance.generators._placed import COLOURS
from dance.types import Array, Size


class Same(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: with a stride, more is padded on the right and below."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, width, kernel, stride, kernel // 2 if stride == 1 else 0)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            pads: list[int] = []
            for side in (x.shape[-1], x.shape[-2]):
                missing = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
                pads += [missing // 2, missing - missing // 2]
            x = F.pad(x, pads)
        return super().forward(x)


class Level(nn.Module):
    """Two 3x3 convolutions whose activated result is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Same(width, width, 3)
        self.second = Same(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.second(F.relu(self.first(x))))


class Pyramid(nn.Module):
    """(B, width, H, W) -> the features of every level: level i has width * (i + 1) channels, half the size of the last."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        for i in range(levels):
            down = Same(width * i, width * (i + 1), 3, 2) if i else None
            parts = {"down": down, "body": Level(width * (i + 1))}
            self.levels.append(nn.ModuleDict({k: m for k, m in parts.items() if m is not None}))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for level in self.levels:
            assert isinstance(level, nn.ModuleDict)
            if "down" in level:
                x = F.relu(level["down"](x))
            x = level["body"](x)
            found.append(x)
        return found


class UNet(nn.Module):
    """PG2's first stage and DPIG's decoder: (B, channels, H, W) -> (B, output, H, W), linear.

    Down to `levels` sizes with residuals, all of it through `code` numbers, and up again with skips.
    size: (H, W), which the fully connected layers fix; both multiples of 2^(levels - 1).
    """

    def __init__(
        self, channels: int, output: int, size: Size, *, width: int, levels: int, code: int
    ) -> None:
        super().__init__()
        self._deep = size[0] >> (levels - 1), size[1] >> (levels - 1)
        places = self._deep[0] * self._deep[1]
        self.stem = Same(channels, width, 3)
        self.down = Pyramid(width, levels)
        self.squeeze = nn.Linear(places * width * levels, code)
        self.spread = nn.Linear(code, places * width)
        self.up = nn.ModuleList()
        above = width
        for i in reversed(range(levels)):
            wide = above + width * (i + 1)
            parts: dict[str, nn.Module] = {"body": Level(wide)}
            if i:
                parts["narrow"] = Same(wide, width * i, 1)
            above = width * i
            self.up.append(nn.ModuleDict(parts))
        self.out = Same(2 * width, output, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.stem(x))

    def after(self, x: Tensor) -> Tensor:
        """The rest of the network, from what the stem gives."""
        skips = self.down(F.relu(x))
        code = self.squeeze(flat(skips[-1]))
        x = self.spread(code).view(len(x), *self._deep, -1).movedim(-1, 1)
        for part in self.up:
            assert isinstance(part, nn.ModuleDict)
            x = part["body"](torch.cat([x, skips.pop()], 1))
            if "narrow" in part:
                # Published after the doubling; one pixel at a time is the same before it, at a quarter of the work.
                x = F.interpolate(F.relu(part["narrow"](x)), scale_factor=2.0, mode="nearest")
        out: Tensor = self.out(x)
        return out


class Difference(nn.Module):
    """PG2's second stage: (B, channels, H, W) -> (B, output, H, W), linear; without residuals or a code.

    skips: how many of the levels, from the deepest, are handed over on the way up; published for Market-1501:
    all but that of full size.
    """

    def __init__(self, channels: int, output: int, *, width: int, levels: int, skips: int) -> None:
        super().__init__()
        self.stem = Same(channels, width, 3)
        self.down = nn.ModuleList()
        above = width
        for i in range(levels):
            wide = width * (i + 1)
            parts = {"first": Same(above, wide, 3), "second": Same(wide, wide, 3)}
            if i < levels - 1:
                parts["down"] = Same(wide, wide, 3, 2)
            self.down.append(nn.ModuleDict(parts))
            above = wide
        self.up = nn.ModuleList()
        for number, i in enumerate(reversed(range(levels))):
            given = above + (width * (i + 1) if number < skips else 0)
            parts = {"first": Same(given, width, 3), "second": Same(width, width, 3)}
            self.up.append(nn.ModuleDict(parts))
            above = width
        self.out = Same(width, output, 3)
        self._skips = skips

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        skips = []
        for part in self.down:
            assert isinstance(part, nn.ModuleDict)
            x = F.relu(part["second"](F.relu(part["first"](x))))
            skips.append(x)
            if "down" in part:
                x = F.relu(part["down"](x))
        for number, part in enumerate(self.up):
            assert isinstance(part, nn.ModuleDict)
            if number:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            skip = skips.pop()
            if number < self._skips:
                x = torch.cat([x, skip], 1)
            x = F.relu(part["second"](F.relu(part["first"](x))))
        out: Tensor = self.out(x)
        return out


class Dense(nn.Module):
    """DPIG's fully connected networks: (B, numbers) -> (B, each of `outputs`), through residual blocks of two layers.

    first: whether the first layer is followed by an activation, as in all but the pose decoder.
    """

    def __init__(
        self, numbers: int, outputs: tuple[int, ...], *, width: int = 512, blocks: int = 4, first: bool = True
    ) -> None:  # fmt: skip
        super().__init__()
        self.first = nn.Linear(numbers, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                OrderedDict(first=nn.Linear(width, width), second=nn.Linear(width, width))
            )
            for _ in range(blocks)
        )
        self.outs = nn.ModuleList(nn.Linear(width, count) for count in outputs)
        self._activated = first

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.first(x)
        if self._activated:
            x = leaky(x)
        for block in self.blocks:
            assert isinstance(block, nn.Sequential)
            x = x + leaky(block[1](leaky(block[0](x))))
        return [out(x) for out in self.outs]


def leaky(x: Tensor) -> Tensor:
    """The leaky ReLU of discriminators and fully connected networks."""
    return F.leaky_relu(x, 0.2)


def flat(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W C), the channels of a place beside each other."""
    return x.movedim(1, -1).flatten(1)


def discs(xy: Array, score: Array, size: Size, radius: float, edge: float = 0.0) -> Tensor:
    """Poses (T, 18, 2) in pixels as the networks are shown them, (T, 18, H, W) float32: 1 in each joint's disc, else -1.

    edge: of the discs, see `draw.discs`; published: hard ones, 0.
    """
    drawn = [
        draw.discs(places, seen, size, radius, edge) for places, seen in zip(xy, score, strict=True)
    ]
    return torch.from_numpy(2 * np.stack(drawn).astype(np.float32) - 1)


def with_matte(picture: Tensor) -> Tensor:
    """A network's picture (B, 3 or 4, H, W) with the logit of its matte, where it has one, as a matte in [0, 1]."""
    if picture.shape[1] == COLOURS:
        return picture
    return torch.cat([picture[:, :COLOURS], picture[:, COLOURS:].sigmoid()], 1)


def initialise(network: nn.Module) -> None:
    """Published initial weights of generators: Xavier's uniform ones, without shift."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def published_names(network: nn.Module, scope: str) -> dict[str, str]:
    """For the published name of every layer (scope/Conv, scope/Conv_1, scope/fully_connected ...), the name of ours."""
    counts = {"Conv": 0, "fully_connected": 0}
    out = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            kind = "Conv" if isinstance(module, nn.Conv2d) else "fully_connected"
            number = f"_{counts[kind]}" if counts[kind] else ""
            out[f"{scope}/{kind}{number}"] = name
            counts[kind] += 1
    return out


def from_published(variables: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Published variables (NAME/weights, NAME/biases) under the names here, kernels and matrices turned round.

    names: our module for every published layer. Variables of other layers keep their names, so that a strict load
    lists them.
    """
    out = {}
    for key, value in variables.items():
        layer, _, leaf = key.rpartition("/")
        if layer not in names or leaf not in ("weights", "biases"):
            out[key] = value
        elif leaf == "biases":
            out[f"{names[layer]}.bias"] = value
        else:
            turned = value.permute(3, 2, 0, 1) if value.dim() == 4 else value.mT
            out[f"{names[layer]}.weight"] = turned.contiguous()
    return out
