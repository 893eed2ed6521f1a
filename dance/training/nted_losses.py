"""What NTED is taught by: adversarial, perceptual, attention reconstruction and face losses, and R1.

Ren et al.: Neural Texture Extraction and Distribution for Controllable Person Image Synthesis (CVPR 2022).
Pictures are (B, 3, H, W) in [-1, 1]; every loss is a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field
from torch import Tensor, nn

from dance.config import Options
from dance.generators.nted import Rendering

Adversary = Literal["softplus", "least_square", "hinge", "wasserstein"]

# ImageNet's, which VGG was trained with.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AVERAGE = 0.5 ** (32 / 10_000)  # of the generator's weights, what a step leaves
_FACE = 2.5  # side of the face's square in distances between the eyes
_LEAST_FACE = 32


class Weights(Options):
    """How much each loss counts; as published for pictures 256 high.

    style: of the Gram matrices, within the perceptual loss.  scales: the pictures that loss sees, each half the last.
    r1: is taken every `r1_every` steps only, and counts so many times more.
    """

    gan: float = Field(1.5, ge=0)
    perceptual: float = Field(2.0, ge=0)
    style: float = Field(500.0, ge=0)
    scales: int = Field(1, ge=1)
    attention: float = Field(15.0, ge=0)
    face: float = Field(1.0, ge=0)
    r1: float = Field(10.0, ge=0)
    r1_every: int = Field(16, ge=1)


def of_generator(
    rendering: Rendering,
    source: Tensor,
    target: Tensor,
    eyes: Tensor,
    *,
    vgg: nn.Module | None,
    judge: nn.Module | None,
    weights: Weights,
) -> dict[str, Tensor]:
    """The generator's losses by name, weighted; their sum is what it learns from.

    Pictures are at least 64 high, for the face.  eyes: of the target, see `face_crop`.  vgg: None leaves out what needs it.  judge: None leaves out the adversary,
    which is published to begin after 20 000 steps.
    """
    drawn, textures = rendering.picture, rendering.textures
    losses = {
        "attention": weights.attention
        * reconstruction(textures.weights, rendering.scores, source, target)
    }
    if judge is not None:
        losses["gan"] = weights.gan * adversarial(judge(drawn), True, generator=True)
    if vgg is not None:
        losses["perceptual"] = weights.perceptual * perceptual(
            vgg, drawn, target, style=weights.style, scales=weights.scales
        )
        losses["face"] = weights.face * perceptual(
            vgg, face_crop(drawn, eyes), face_crop(target, eyes)
        )
    return losses


def of_discriminator(judge: nn.Module, drawn: Tensor, real: Tensor) -> dict[str, Tensor]:
    """The discriminator's losses on drawn and on real pictures; no gradient reaches the drawn."""
    return {
        "drawn": adversarial(judge(drawn.detach()), False),
        "real": adversarial(judge(real), True),
    }


def of_gradient(judge: nn.Module, real: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """R1 on real pictures, as it is and as the discriminator learns from it."""
    given = real.detach().requires_grad_()
    penalty = r1(judge(given), given)
    return penalty, weights.r1 / 2 * weights.r1_every * penalty


def adversarial(
    scores: Tensor | Sequence[Tensor],
    target: bool,
    *,
    kind: Adversary = "softplus",
    generator: bool = False,
) -> Tensor:
    """How far scores are from `target` (True: real); of several score maps the mean.

    softplus: the non-saturating loss of scores that are logits, StyleGAN2's.  generator: the loss is the
    generator's, which hinges on nothing.
    """
    if not isinstance(scores, Tensor):
        each = [adversarial(s, target, kind=kind, generator=generator) for s in scores]
        return torch.stack(each).mean()
    towards = scores if target else -scores
    if kind == "softplus":
        return F.softplus(-towards).mean()
    if kind == "least_square":
        return 0.5 * F.mse_loss(scores, torch.full_like(scores, float(target)))
    if kind == "hinge" and not generator:
        return F.relu(1 - towards).mean()
    return -towards.mean()


def r1(score: Tensor, picture: Tensor) -> Tensor:
    """The squared length of the scores' gradient at true pictures, meant over the batch (Mescheder et al., 2018).

    picture: must require a gradient. The result can be differentiated in its turn.
    """
    (gradient,) = torch.autograd.grad(score.sum(), picture, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def perceptual(
    vgg: nn.Module,
    drawn: Tensor,
    real: Tensor,
    *,
    style: float = 0.0,
    scales: int = 1,
    mask: Tensor | None = None,
    side: int | None = None,
    normalise: bool = False,
) -> Tensor:
    """Mean absolute difference of VGG's features, and `style` times that of their Gram matrices at full size.

    scales: the pictures are halved for each further one.  mask: (B, 1, H, W), what counts.  side: the
    pictures are brought to this height and width.  normalise: every feature's mean and scale is left out.
    No gradient reaches `real`.
    """
    pictures = [for_vgg(x) for x in (drawn, real.detach())]
    if side is not None:
        pictures = [_resized(x, (side, side)) for x in pictures]
    losses = []
    for scale in range(scales):
        if scale:
            halves = [max(1, length // 2) for length in pictures[0].shape[-2:]]
            pictures = [_resized(x, halves) for x in pictures]
        with torch.no_grad():
            wanted = vgg(pictures[1])
        for ours, theirs in zip(vgg(pictures[0]), wanted, strict=True):
            if normalise:
                ours, theirs = F.instance_norm(ours), F.instance_norm(theirs)
            if mask is None:
                losses.append(F.l1_loss(ours, theirs))
            else:
                share = _resized(mask, ours.shape[-2:])
                losses.append(F.l1_loss(ours * share, theirs * share))
            if style and scale == 0:
                losses.append(style * F.l1_loss(gram(ours), gram(theirs)))
    return torch.stack(losses).sum()


def gram(features: Tensor) -> Tensor:
    """How features (B, C, H, W) go together: (B, C, C), a mean over positions divided by C (Gatys et al., 2016)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def reconstruction(
    weights: Sequence[Tensor],
    scores: Sequence[Tensor],
    source: Tensor,
    target: Tensor,
    counts: Mapping[int, float] | None = None,
) -> Tensor:
    """Whether attention alone carries the source's colours to where the target has them.

    weights, scores: of `Rendering`, each (B, K, h w) and (B, K, h, w).  counts: how much a map of each height
    counts; without it half as much as one of half its height, as published.
    """
    total, each = source.new_zeros(()), 0.0
    for share, score in zip(weights, scores, strict=True):
        height = score.shape[-2]
        count = 1 / height if counts is None else counts[height]
        moved = carried(share, score, source)
        wanted = F.interpolate(target, score.shape[-2:])
        total = total + count * F.l1_loss(moved, wanted)
        each += count
    return total / each


def carried(weights: Tensor, scores: Tensor, source: Tensor) -> Tensor:
    """The source's colours (B, 3, h, w) as attention (B, K, h w) and (B, K, h, w) moves them.

    No map from positions to positions is made: colours go through the K labels.
    """
    small = F.interpolate(source, scores.shape[-2:]).flatten(2)
    colours = small @ weights.transpose(1, 2)
    return (colours @ scores.flatten(2).softmax(1)).view(*small.shape[:2], *scores.shape[-2:])


def face_crop(pictures: Tensor, eyes: Tensor) -> Tensor:
    """Squares about the faces, (B, 3, side, side) with side = H // 32 * 8; black where an eye is not seen.

    eyes: (B, 4), x and y of the right and the left one in pixels; all -1 where one is not seen.
    """
    height, width = pictures.shape[-2:]
    side = height // 32 * 8
    crops = []
    for picture, (x0, y0, x1, y1) in zip(pictures, eyes.tolist(), strict=True):
        if (x0, y0, x1, y1) == (-1, -1, -1, -1):
            crops.append(picture.new_zeros(3, side, side))
            continue
        reach = min(max(int((x1 - x0) * _FACE), _LEAST_FACE), width) // 2
        # As published, what is pushed inside stays a pixel away from the right and the lower edge.
        x, y = (
            int(max(min((a + b) // 2, length - reach - 1), reach))
            for a, b, length in ((x0, x1, width), (y0, y1, height))
        )
        cut = picture[None, :, y - reach : y + reach, x - reach : x + reach]
        crops.append(F.interpolate(cut, (side, side), mode="bilinear", align_corners=True)[0])
    return torch.stack(crops)


def for_vgg(picture: Tensor) -> Tensor:
    """A picture (B, 3, H, W) in [-1, 1] with ImageNet's mean and scale."""
    mean, spread = (picture.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _SPREAD))
    return ((picture + 1) / 2 - mean) / spread


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)
