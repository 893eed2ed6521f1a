"""What the networks are taught by: adversarial, feature-matching and perceptual losses.

Wang et al., pix2pixHD (CVPR 2018), and Chan et al., Everybody Dance Now (ICCV 2019). Scores and features are
lists over scales of lists over layers, as `MultiscaleDiscriminator` gives them: the score map comes last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.weights import fill, read_tensors

ValueT = TypeVar("ValueT")
Features = Sequence[Sequence[Tensor]]

# How many convolutions each block of VGG-19 has up to relu5_1, and the weight of each block's first features.
_BLOCKS = (2, 2, 4, 4, 1)
_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
VGG_WIDTHS = (64, 128, 256, 512, 512)


def gan(scores: Features, target: bool, *, kind: Literal["lsgan", "bce"] = "lsgan") -> Tensor:
    """How far the score maps are from `target` (True: real), summed over scales: a scalar.

    lsgan: mean squared distance from 1 or 0 (Mao et al., 2017).  bce: cross entropy of scores that are logits.
    """
    loss = F.mse_loss if kind == "lsgan" else F.binary_cross_entropy_with_logits
    losses = [loss(scale[-1], torch.full_like(scale[-1], float(target))) for scale in scores]
    return torch.stack(losses).sum()


def feature_matching(
    fake: Features, real: Features, *, layers: int, weight: float = 10.0
) -> Tensor:
    """Mean absolute difference of the discriminator's features, scores left out: a scalar.

    layers: the discriminator's steps down.  As published each scale weighs 1 / scales, each layer 4 / (layers + 1).
    No gradient reaches `real`.
    """
    each = weight * 4 / (layers + 1) / len(fake)
    losses = [
        F.l1_loss(a, b.detach())
        for ours, theirs in zip(fake, real, strict=True)
        for a, b in zip(ours[:-1], theirs[:-1], strict=True)
    ]
    return each * torch.stack(losses).sum()


class VGG19(nn.Module):
    """VGG-19 up to relu5_1: a picture (B, 3, H, W) -> the features of relu1_1, 2_1, 3_1, 4_1, 5_1.

    Simonyan and Zisserman (2015). H and W must be at least 16. It has no weights of its own: see `vgg19`.
    """

    def __init__(self, widths: Sequence[int] = VGG_WIDTHS) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        channels = 3
        for count, width in zip(_BLOCKS, widths, strict=True):
            convs = [nn.Conv2d(channels, width, 3, padding=1)]
            convs += [nn.Conv2d(width, width, 3, padding=1) for _ in range(count - 1)]
            self.blocks.append(nn.ModuleList(convs))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, nn.ModuleList)
            if number:
                x = F.max_pool2d(x, 2)
            for i, conv in enumerate(block):
                x = F.relu(conv(x))
                if i == 0:
                    found.append(x)
        return found


def perceptual(vgg: nn.Module, drawn: Tensor, real: Tensor) -> Tensor:
    """Weighted mean absolute difference of VGG-19's features of pictures (B, 3, H, W) in [-1, 1]: a scalar.

    As published by pix2pixHD the pictures are not brought to ImageNet's mean and scale. No gradient reaches `real`.
    """
    with torch.no_grad():
        wanted = vgg(real)
    losses = [
        weight * F.l1_loss(a, b) for weight, a, b in zip(_WEIGHTS, vgg(drawn), wanted, strict=True)
    ]
    return torch.stack(losses).sum()


def vgg19(path: Path, device: str = "cpu") -> VGG19:
    """VGG-19 with the weights of a safetensors file, frozen. Raises InputError where they are not all there.

    The file is torchvision's vgg19 as safetensors, or what `scripts/convert_weights.py vgg19` made of its .pth.
    """
    network = VGG19()
    fill(network, rename(read_tensors(path)), str(path))
    return network.eval().requires_grad_(False).to(device)


def rename(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """torchvision's VGG-19 keys, whole or cut into slices as in pix2pixHD, to ours; what lies beyond relu5_1 is left out."""
    places = _torchvision_places()
    beyond = re.compile(r"classifier\.\d+\.(weight|bias)|features\.(30|32|34)\.(weight|bias)")
    out = {}
    for key, value in published.items():
        found = re.fullmatch(r"(?:features|slice\d)\.(\d+)\.(weight|bias)", key)
        if found is not None and int(found[1]) in places:
            out[f"{places[int(found[1])]}.{found[2]}"] = value
        elif beyond.fullmatch(key) is None:
            out[key] = value
    return out


def _torchvision_places() -> dict[int, str]:
    """torchvision numbers convolutions, activations and pools in one sequence."""
    places, number = {}, 0
    for block, count in enumerate(_BLOCKS):
        for i in range(count):
            places[number] = f"blocks.{block}.{i}"
            number += 2
        number += 1
    return places
