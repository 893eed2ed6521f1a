"""What XingGAN is judged by: its two discriminators and its losses.

Tang, Bai, Zhang, Torr, Sebe (ECCV 2020). One discriminator sees a picture with the wanted pose's maps, the other
with the picture of the person that was given. Both give features, and every number of them is a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators import xing
from dance.generators._pix2pix import initialise
from dance.generators.xing import Norm


class Discriminator(nn.Module):
    """(B, channels, H, W) -> scores (B, 4 width, H/4, W/4): a residual encoder without a last layer.

    sigmoid: scores in [0, 1], as published for Market-1501.
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int = 64,
        downs: int = 2,
        blocks: int = 3,
        norm: Norm = "instance",
        dropout: float = 0.5,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        deep = width << downs
        self.encoder = xing.encoder(channels, width, downs, norm)
        self.blocks = nn.Sequential(*(_Residual(deep, norm, dropout) for _ in range(blocks)))
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.blocks(self.encoder(x))
        return scores.sigmoid() if self.sigmoid else scores


class _Residual(nn.Module):
    def __init__(self, width: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.inner = xing.convolved(width, width, norm, dropout, last_norm=True)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.inner(x)
        return x + inner


def network(facts: Mapping[str, Any]) -> Discriminator:
    """The published discriminator with these constructor values (input_nc, ndf, n_blocks ...), freshly initialised."""
    made = Discriminator(
        facts["input_nc"],
        width=facts["ndf"],
        downs=facts.get("n_downsampling", 2),
        blocks=facts["n_blocks"],
        norm="batch" if str(facts["norm"]).startswith("batch") else "instance",
        dropout=0.5 if facts.get("use_dropout", True) else 0.0,
        sigmoid=bool(facts.get("use_sigmoid", False)),
    )
    initialise(made)
    return made


def gan(scores: Tensor, target: bool, *, kind: Literal["lsgan", "bce"] = "lsgan") -> Tensor:
    """How far the scores are from 1 (real) or 0, a scalar.  lsgan: squared distance.  bce: of scores after a sigmoid."""
    loss = F.mse_loss if kind == "lsgan" else F.binary_cross_entropy
    return loss(scores, scores.new_full(scores.shape, float(target)))


def looks(
    convolutions: Iterable[nn.Module], drawn: Tensor, real: Tensor, *, squared: bool = False
) -> Tensor:
    """Mean absolute (or squared) difference of features of pictures (B, 3, H, W) in [-1, 1]: a scalar.

    convolutions: what makes the features, each with a ReLU behind it; published: VGG-19's first two,
    `losses.VGG19().blocks[0]`. The pictures are brought to ImageNet's mean and scale. No gradient reaches `real`.
    """

    def features(x: Tensor) -> Tensor:
        x = imagenet(x)
        for convolution in convolutions:
            x = F.relu(convolution(x))
        return x

    return (F.mse_loss if squared else F.l1_loss)(features(drawn), features(real).detach())


def imagenet(x: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] with ImageNet's mean and scale."""
    mean = x.new_tensor((0.485, 0.456, 0.406)).view(-1, 1, 1)
    deviation = x.new_tensor((0.229, 0.224, 0.225)).view(-1, 1, 1)
    return ((x + 1) / 2 - mean) / deviation
