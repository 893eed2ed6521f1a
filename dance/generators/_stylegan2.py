"""What NTED takes from StyleGAN2: equalised layers, resampling by a fixed filter, and the discriminator.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila: Analyzing and Improving the Image Quality of StyleGAN (CVPR
2020); here without styles, noise and demodulation. Its own CUDA operations are written in plain torch.
Weights are drawn from N(0, 1) and scaled where they are used by 1 / sqrt(fan in), so that all learn at one rate.
Shapes: B pictures, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

Resampling = Literal["none", "up", "down"]

GAIN = math.sqrt(2)  # of every activation
_SLOPE = 0.2
_TAPS = (1.0, 3.0, 3.0, 1.0)
_GROUP = 4  # pictures that are compared with each other by the discriminator


def fir() -> Tensor:
    """The fixed low-pass filter, (4, 4), whose sum is 1."""
    taps = torch.tensor(_TAPS)
    whole = torch.outer(taps, taps)
    return whole / whole.sum()


def upfirdn(
    x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: Sequence[int] = (0, 0, 0, 0)
) -> Tensor:
    """Every channel of (B, C, H, W) spread by zeros, padded, convolved with a kernel (h, w), and thinned out.

    up: each pixel is followed by up - 1 zeros.  pad: left, right, top, bottom, then; negative ones cut off.
    down: every so many-th pixel is kept. A true convolution: the kernel is flipped.
    """
    batch, channels, height, width = x.shape
    if up > 1:
        apart = F.pad(x.reshape(batch, channels, height, 1, width, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = apart.reshape(batch, channels, height * up, width * up)
    left, right, top, bottom = pad
    even = left == right >= 0 and top == bottom >= 0
    if not even:
        x = F.pad(x, (left, right, top, bottom))
    weight = kernel.flip(0, 1).to(x.dtype).expand(channels, 1, -1, -1)
    padding = (top, left) if even else 0
    return F.conv2d(x, weight, stride=down, padding=padding, groups=channels)


def doubled(x: Tensor, kernel: Tensor) -> Tensor:
    """Pictures of twice the size, smoothed by the filter (which spreading by zeros makes four times too dark)."""
    return upfirdn(x, 4 * kernel, up=2, pad=(2, 1, 2, 1))


def spread(x: Tensor, weight: Tensor) -> Tensor:
    """The transposed convolution (B, C, H, W) -> (B, width, 2 H + 1, 2 W + 1) with a weight (width, C, 3, 3)."""
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU; its gain is left to what comes before, which costs nothing there."""
    return F.leaky_relu(x, _SLOPE, inplace=True)


class Conv(nn.Module):
    """An equalised convolution that keeps the size; without activation."""

    def __init__(self, channels: int, width: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.scale = 1 / math.sqrt(channels * kernel * kernel)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Layer(nn.Module):
    """An equalised convolution, its resampling, bias and activation.

    resampling: `down` blurs, then takes every second pixel; `up` convolves transposed to 2 H + 1, then blurs.
    active: without it there is neither bias nor activation.
    """

    kernel: Tensor

    def __init__(
        self, channels: int, width: int, kernel: int = 3, resampling: Resampling = "none", *,
        active: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(width)) if active else None
        self.scale = 1 / math.sqrt(channels * kernel * kernel)
        self.resampling = resampling
        if resampling != "none":
            self.register_buffer("kernel", fir(), persistent=False)

    def forward(self, x: Tensor, add: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """add: what is to be added to the convolved features; their sum counts 1 / sqrt(2).

        That is undone by the activation's gain, so that neither is multiplied.
        """
        mixed = add is not None
        gain = self.scale if mixed or self.bias is None else self.scale * GAIN
        bias = None if self.bias is None else self.bias * GAIN
        # Where something happens behind the convolution the bias comes after it.
        late = mixed or self.resampling == "up"
        x = self._convolved(x, self.weight * gain, None if late else bias)
        if add is not None:
            x = add(x)
        if late and bias is not None:
            x = x.add_(bias.view(-1, 1, 1))
        return x if bias is None else activation(x)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.resampling == "none":
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        if self.resampling == "down":
            x = upfirdn(x, self.kernel, pad=((weight.shape[-1] + 1) // 2,) * 4)
            return F.conv2d(x, weight, bias, stride=2)
        return upfirdn(spread(x, 4 * weight), self.kernel, pad=(1, 1, 1, 1))


class Linear(nn.Module):
    """An equalised linear layer (B, C) -> (B, width). rate: of its learning, as a share of the others'."""

    def __init__(
        self, channels: int, width: int, *, active: bool = False, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, channels) / rate)
        self.bias = nn.Parameter(torch.zeros(width))
        self.rate = rate
        self.scale = rate / math.sqrt(channels)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        gain = GAIN if self.active else 1.0
        x = F.linear(x, self.weight * (gain * self.scale), self.bias * (gain * self.rate))
        return activation(x) if self.active else x


class Block(nn.Module):
    """The discriminator's residual block: (B, C, H, W) -> (B, width, H // 2, W // 2)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = Layer(channels, channels)
        self.second = Layer(channels, width, 3, "down")
        self.skip = Layer(channels, width, 1, "down", active=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x)) + self.skip(x)
        return out / GAIN


class Discriminator(nn.Module):
    """A picture (B, 3, H, W) in [-1, 1] -> a score (B, 1), a logit: large for a true one.

    widths: channels at full size, at half of it, and so on down to `last`, the (height, width) of the last features,
    to which the picture's size must come down. B must be a multiple of 4, or less.
    """

    def __init__(
        self,
        widths: Sequence[int] = (128, 256, 512, 512, 512, 512, 512),
        *,
        last: tuple[int, int] = (4, 2),
        colours: int = 3,
    ) -> None:
        super().__init__()
        self.stem = Layer(colours, widths[0], 1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(widths)))
        end = widths[-1]
        self.last = Layer(end + 1, end)
        self.hidden = Linear(end * last[0] * last[1], end, active=True)
        self.score = Linear(end, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        out: Tensor = self.score(self.hidden(self.last(with_deviation(x)).flatten(1)))
        return out


def with_deviation(x: Tensor) -> Tensor:
    """Features (B, C, H, W) and, as one more channel, how much they differ on the whole among pictures.

    Pictures are compared in groups of four (Karras et al., Progressive Growing of GANs, 2018).
    """
    batch, channels, height, width = x.shape
    group = min(batch, _GROUP)
    assert batch % group == 0, f"{batch} pictures make no groups of {group}"
    apart = x.view(group, batch // group, channels, height, width)
    deviation = (apart.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(group).view(-1, 1, 1, 1).expand(-1, 1, height, width)], 1)
