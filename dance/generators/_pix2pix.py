"""The networks of pix2pixHD and Everybody Dance Now, after the papers and the published classes' numbers.

Wang, Liu, Zhu, Tao, Kautz, Catanzaro: High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs (CVPR 2018); Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019).
Shapes: B pictures, C channels, H height, W width; H and W must be multiples of `multiple_of(network)`.
Published key names are turned into the ones here by `rename` in `_pix2pix_published`.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

Norm = Literal["instance", "batch"]
Upsampling = Literal["transposed", "bilinear"]
"""How features are doubled in size; published: by a transposed convolution, whose chequers take long to unlearn."""

MOST_CHANNELS = 512  # of a discriminator
UNET_LEVELS = 5  # whatever number the published class is given


class Head(nn.Module):
    """The last 7x7 convolution: a picture in [-1, 1], and with `alpha` a matte in [0, 1] as fourth channel."""

    def __init__(self, width: int, channels: int, *, alpha: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, channels + alpha, 7, padding=3, padding_mode="reflect")
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.alpha:
            return x.tanh()
        return torch.cat([x[:, :-1].tanh(), x[:, -1:].sigmoid()], 1)


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to what came in."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.first = _layer(_same(width, width, 3), _norm(norm, width), nn.ReLU(inplace=True))
        self.second = _layer(_same(width, width, 3), _norm(norm, width))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.second(self.first(x))
        return x + inner


class Trunk(nn.Module):
    """(B, channels, H, W) -> (B, width, H, W): down to H / 2^downs, residual blocks, and up again.

    Every step down doubles the width, every step up halves it.
    """

    def __init__(
        self, channels: int, width: int, downs: int, blocks: int, norm: Norm,
        upsampling: Upsampling = "transposed",
    ) -> None:  # fmt: skip
        super().__init__()
        self.stem = _stem(channels, width, norm)
        self.downs = nn.Sequential(*(_down(width << i, norm) for i in range(downs)))
        self.blocks = nn.Sequential(*(Residual(width << downs, norm) for _ in range(blocks)))
        self.ups = nn.Sequential(
            *(_up(width << i, norm, upsampling) for i in reversed(range(downs)))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ups(self.blocks(self.downs(self.stem(x))))
        return out


class GlobalGenerator(nn.Module):
    """pix2pixHD's global generator: (B, channels, H, W) -> (B, 3, H, W) in [-1, 1].

    width: channels at full size.  alpha: a fourth channel in [0, 1], not published.
    """

    def __init__(
        self,
        channels: int = 6,
        output: int = 3,
        *,
        width: int = 64,
        downs: int = 4,
        blocks: int = 9,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
        alpha: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, width, downs, blocks, norm, upsampling)
        self.out = Head(width, output, alpha=alpha)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.trunk(x))
        return out


class Enhancer(nn.Module):
    """One finer level: its view of the input, halved, plus the features from below; then up to its own size."""

    def __init__(
        self, channels: int, width: int, blocks: int, norm: Norm, upsampling: Upsampling
    ) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            OrderedDict(stem=_stem(channels, width, norm), down=_down(width, norm))
        )
        self.outer = nn.Sequential(
            OrderedDict(
                blocks=nn.Sequential(*(Residual(2 * width, norm) for _ in range(blocks))),
                up=_up(width, norm, upsampling),
            )
        )

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        out: Tensor = self.outer(self.inner(x) + below)
        return out


class LocalEnhancer(nn.Module):
    """pix2pixHD's coarse-to-fine generator: (B, channels, H, W) -> (B, 3, H, W) in [-1, 1].

    The trunk sees the input halved once per enhancer; `enhancers` go from coarse to fine.
    width: channels of the finest level; the trunk has width * 2^enhancers.
    """

    def __init__(
        self,
        channels: int = 6,
        output: int = 3,
        *,
        width: int = 32,
        downs: int = 4,
        blocks: int = 9,
        enhancers: int = 1,
        enhancer_blocks: int = 3,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
        alpha: bool = False,
    ) -> None:
        super().__init__()
        self.halve = Halve()
        self.trunk = Trunk(channels, width << enhancers, downs, blocks, norm, upsampling)
        self.enhancers = nn.ModuleList(
            Enhancer(channels, width << i, enhancer_blocks, norm, upsampling)
            for i in reversed(range(enhancers))
        )
        self.out = Head(width, output, alpha=alpha)

    def forward(self, x: Tensor) -> Tensor:
        views = [x]
        for _ in self.enhancers:
            views.append(self.halve(views[-1]))
        features = self.trunk(views.pop())
        for enhancer in self.enhancers:
            features = enhancer(views.pop(), features)
        out: Tensor = self.out(features)
        return out


class FeatureEncoder(nn.Module):
    """pix2pixHD's instance feature encoder: a picture to features, each the mean of its instance.

    forward(picture (B, 3, H, W), instances (B, 1, H, W) of whole numbers) -> (B, output, H, W).
    across: an instance's number means the same instance in every picture of the batch.
    """

    def __init__(
        self,
        channels: int = 3,
        output: int = 3,
        *,
        width: int = 16,
        downs: int = 4,
        norm: Norm = "instance",
        across: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, width, downs, 0, norm)
        self.out = Head(width, output)
        self.across = across

    def forward(self, picture: Tensor, instances: Tensor) -> Tensor:
        return instance_means(self.out(self.trunk(picture)), instances, across=self.across)


def instance_means(features: Tensor, instances: Tensor, *, across: bool = False) -> Tensor:
    """Features (B, C, H, W) replaced by their mean over each instance of (B, 1, H, W).

    across: an instance's number is averaged over the whole batch, as the published EDN copy does.
    """
    ids = instances.long()
    if not across:
        picture = torch.arange(len(ids), device=ids.device).view(-1, 1, 1, 1)
        ids = (ids - ids.min()) * len(ids) + picture
    _, group = torch.unique(ids.flatten(), return_inverse=True)
    flat = features.movedim(1, -1).reshape(group.numel(), -1)
    sums = flat.new_zeros(int(group.max()) + 1, flat.shape[1]).index_add(0, group, flat)
    means = sums / group.bincount()[:, None].to(flat)
    batch, _, height, width = features.shape
    out: Tensor = means[group].view(batch, height, width, -1).movedim(-1, 1)
    return out


class UNet(nn.Module):
    """EDN's other face generator: (B, channels, H, W) -> (B, output, H, W) in [-1, 1], with skips.

    The width doubles at every level up to eight times; H and W must be multiples of 2^levels.
    """

    def __init__(
        self,
        channels: int = 6,
        output: int = 3,
        *,
        width: int = 64,
        levels: int = UNET_LEVELS,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        widths = [channels, *(width * min(8, 1 << i) for i in range(levels))]
        bias = norm == "instance"
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, (above, here) in enumerate(pairwise(widths)):
            edge = level in (0, levels - 1)
            down = nn.Conv2d(above, here, 4, 2, 1, bias=bias)
            self.downs.append(_layer(down, None if edge else _norm(norm, here)))
            given = here if level == levels - 1 else 2 * here
            if level == 0:
                up = nn.ConvTranspose2d(given, output, 4, 2, 1)
            else:
                up = nn.ConvTranspose2d(given, above, 4, 2, 1, bias=bias)
            self.ups.append(_layer(up, None if level == 0 else _norm(norm, above)))

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, down in enumerate(self.downs):
            x = down(x if i == 0 else F.leaky_relu(x, 0.2))
            skips.append(x)
        x = skips.pop()
        for up in reversed(self.ups):
            x = up(F.relu(x))
            if skips:
                x = torch.cat([skips.pop(), x], 1)
        return x.tanh()


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches: (B, channels, H, W) -> its layers' features, the score map last.

    layers: how many steps down.  features: give every layer's features, else only the scores.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "batch",
        features: bool = False,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_layer(_patch(channels, width, 2), act=_leaky())])
        for i in range(1, layers + 1):
            wider = min(2 * width, MOST_CHANNELS)
            stride = 1 if i == layers else 2
            self.layers.append(_layer(_patch(width, wider, stride), _norm(norm, wider), _leaky()))
            width = wider
        self.layers.append(_layer(_patch(width, 1, 1), act=nn.Sigmoid() if sigmoid else None))
        self.features = features

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found if self.features else found[-1:]


class MultiscaleDiscriminator(nn.Module):
    """pix2pixHD's discriminators of the picture, the halved picture, ...: one list of features per scale.

    The first scale is the full size; the last entry of each list is that scale's score map (B, 1, h, w).
    """

    def __init__(
        self,
        channels: int = 12,
        *,
        width: int = 64,
        layers: int = 3,
        scales: int = 2,
        norm: Norm = "instance",
        features: bool = True,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.halve = Halve()
        self.scales = nn.ModuleList(
            PatchDiscriminator(
                channels, width=width, layers=layers, norm=norm, features=features, sigmoid=sigmoid
            )
            for _ in range(scales)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        found = []
        for i, scale in enumerate(self.scales):
            if i:
                x = self.halve(x)
            found.append(scale(x))
        return found


class Halve(nn.Module):
    """Half the size by means of 3x3 pixels; those outside the picture do not count."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def multiple_of(network: nn.Module) -> int:
    """What the height and the width of a generator's input must be multiples of."""
    if isinstance(network, UNet):
        return 1 << len(network.downs)
    trunk, enhancers = network.get_submodule("trunk"), getattr(network, "enhancers", ())
    assert isinstance(trunk, Trunk)
    return 1 << (len(trunk.downs) + len(enhancers))


def use_batch_statistics(network: nn.Module) -> None:
    """Lets batch norms use the statistics of what they are given, as the published scripts do, and keep none."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
            module.track_running_stats = False


def initialise(network: nn.Module) -> None:
    """Published initial weights: convolutions N(0, 0.02), batch norms N(1, 0.02) without shift."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def _layer(
    conv: nn.Module, norm: nn.Module | None = None, act: nn.Module | None = None
) -> nn.Sequential:
    named = {"conv": conv, "norm": norm, "act": act}
    return nn.Sequential(OrderedDict((k, m) for k, m in named.items() if m is not None))


def _norm(kind: Norm, width: int) -> nn.Module:
    return nn.InstanceNorm2d(width) if kind == "instance" else nn.BatchNorm2d(width)


def _same(channels: int, width: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, padding_mode="reflect")


def _stem(channels: int, width: int, norm: Norm) -> nn.Sequential:
    return _layer(_same(channels, width, 7), _norm(norm, width), nn.ReLU(inplace=True))


def _down(width: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
    return _layer(conv, _norm(norm, 2 * width), nn.ReLU(inplace=True))


def _up(width: int, norm: Norm, upsampling: Upsampling) -> nn.Sequential:
    if upsampling == "bilinear":
        conv: nn.Module = nn.Conv2d(2 * width, width, 3, padding=1)
        made = _layer(conv, _norm(norm, width), nn.ReLU(inplace=True))
        grow = nn.Upsample(scale_factor=2, mode="bilinear")
        return nn.Sequential(OrderedDict(grow=grow, **dict(made.named_children())))
    conv = nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
    return _layer(conv, _norm(norm, width), nn.ReLU(inplace=True))


def _patch(channels: int, width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 4, stride=stride, padding=2)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)
