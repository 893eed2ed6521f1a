"""What PG2 and Disentangled Person Image Generation are judged by: a DCGAN discriminator, critics of codes, losses.

Ma et al. (NeurIPS 2017, CVPR 2018); Radford, Metz, Chintala: DCGAN (ICLR 2016); Arjovsky, Chintala, Bottou:
Wasserstein GAN (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators._pg2_nets import Same, leaky
from dance.types import Size

WIDTHS = (64, 128, 256, 512)
PG2_LARGE_WIDTHS = (*WIDTHS, 512)  # PG2 at 256 x 256
_DEVIATION = 0.02


class Discriminator(nn.Module):
    """Pictures (B, 3, H, W) -> scores (B,), logits; all norms take the statistics of the batch, as published even in tests.

    row: how many of a picture's last features make one score; all of them by default. DPIG at 256 x 256 takes
    128 x 64 pictures' 16384, so that each picture has eight scores: then (8 B,).
    """

    def __init__(
        self,
        size: Size,
        *,
        channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        row: int | None = None,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, width in enumerate(widths):
            self.convs.append(Same(channels, width, 5, 2))
            if i:
                self.norms.append(nn.BatchNorm2d(width, track_running_stats=False))
            channels = width
            size = (size[0] + 1) // 2, (size[1] + 1) // 2
        whole = channels * size[0] * size[1]
        self.out = nn.Linear(row or whole, 1)
        assert whole % self.out.in_features == 0, f"{whole} features are no whole rows of {row}"

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x)
            if i:
                x = self.norms[i - 1](x)
            x = leaky(x)
        scores: Tensor = self.out(x.reshape(-1, self.out.in_features))
        return scores[:, 0]


class Critic(nn.Module):
    """WGAN's critic of codes: (B, numbers) -> (B,); its weights are to be kept within +-`clip` by `clip_weights`."""

    def __init__(self, numbers: int, *, width: int = 512, layers: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(numbers, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = leaky(self.first(x))
        for layer in self.layers:
            x = leaky(layer(x))
        scores: Tensor = self.out(x)
        return scores[:, 0]


def clip_weights(critic: nn.Module, bound: float = 0.01) -> None:
    """Brings all weights within +-bound, as the Wasserstein distance needs it."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-bound, bound)


def initialise(network: nn.Module) -> None:
    """Published initial weights: uniform with standard deviation 0.02, without shift; norms as they are."""
    bound = _DEVIATION * 3**0.5
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def head_start(stem: nn.Conv2d, maps: int, gain: float) -> None:
    """Lets a fresh first layer see its last `maps` inputs, discs of 1 on -1, `gain` times as well, and empty ones not at all.

    Not published: -1 nearly everywhere says nothing, but all layers behind must learn to get rid of it before they
    learn from the discs.
    """
    with torch.no_grad():
        weights = stem.weight[:, -maps:]
        weights *= gain
        assert stem.bias is not None
        stem.bias += weights.sum((1, 2, 3))


def real_or_not(scores: Tensor, target: bool) -> Tensor:
    """Cross entropy of logits with 1 (real) or 0: a scalar."""
    return F.binary_cross_entropy_with_logits(scores, scores.new_full(scores.shape, float(target)))


def masked_l1(drawn: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """PG2's loss of pictures (B, 3, H, W): mean absolute difference, the body's (mask (B, 1, H, W) in [0, 1]) twice."""
    return ((drawn - real).abs() * (1 + mask)).mean()


def published_layers(discriminator: Discriminator) -> Iterator[tuple[str, nn.Module]]:
    """The layers by their published names, Discriminator.1 and so on."""
    for i, conv in enumerate(discriminator.convs, 1):
        yield f"Discriminator.{i}", conv
    yield "Discriminator.Output", discriminator.out
