"""One person in a garment of another, by NTED: which textures are exchanged is found for the two.

Ren et al.: Neural Texture Extraction and Distribution for Controllable Person Image Synthesis (CVPR 2022), its
appearance control. The published code cuts drawn pictures up with a segmenter; here attention itself carries a mask
of the garment from the picture it is known in to the drawn one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators.nted import NTED, Textures
from dance.training.nted_losses import carried, perceptual

_LIKELY = 3  # a texture belongs to the garment where its share is so many times the average
_STRICT = 300_000.0  # how much looks count against coefficients outside [0, 1]
_OUTSIDE = 10.0  # how much more what is not the garment must stay as it was


@dataclass(frozen=True, slots=True)
class Swap:
    """The picture (1, 3 or 4, H, W), the garment's place in it (1, 1, H, W) in [0, 1], and how it was mixed.

    coefficients: (1, K) for each entry of the textures; 0: one's own texture, 1: the other's.
    """

    picture: Tensor
    region: Tensor
    coefficients: list[Tensor]


def swap(
    network: NTED,
    mine: Textures,
    theirs: Textures,
    pose: Tensor,
    *,
    my_garment: Tensor,
    their_garment: Tensor,
    vgg: nn.Module | None = None,
    steps: int = 200,
    rate: float = 0.01,
    on_step: Callable[[int, float], None] | None = None,
) -> Swap:
    """Draws the first person in the pose's label (1, 20, H, W), wearing the garment of the second.

    mine, theirs: what `NTED.extract` found in their pictures.  my_garment, their_garment: (1, 1, H, W) in [0, 1],
    where in those pictures the garments are, of one kind.  vgg: its features say how well the mixture looks; without
    it coefficients stay as they are first guessed, else the best of all steps is kept.  on_step: told every step's number and loss.
    """
    with torch.no_grad():
        own, own_scores = network.draw(mine.values, pose)
        other, other_scores = network.draw(theirs.values, pose)
        size = (pose.shape[-2], pose.shape[-1])
        places = [
            region(textures.weights, scores, garment, size)
            for textures, scores, garment in (
                (mine, own_scores, my_garment), (theirs, other_scores, their_garment),
            )
        ]  # fmt: skip
        guesses = [
            guess(a, places[0], b, places[1]) for a, b in zip(own_scores, other_scores, strict=True)
        ]
    both = torch.maximum(*places)
    best, least = guesses, float("inf")
    if vgg is not None:
        coefficients = [g.clone().requires_grad_() for g in guesses]
        optimiser = torch.optim.Adam(coefficients, rate)
        for step in range(steps):
            drawn, _ = network.draw(mixtures(mine.values, theirs.values, coefficients), pose)
            looks = _OUTSIDE * perceptual(vgg, drawn[:, :3], own[:, :3], mask=1 - both)
            looks = looks + perceptual(vgg, drawn[:, :3], other[:, :3], mask=both)
            beyond = torch.stack([(F.relu(-c) + F.relu(c - 1)).sum() for c in coefficients]).sum()
            loss = _STRICT * looks + beyond
            if float(loss.detach()) < least:
                best, least = [c.detach().clone() for c in coefficients], float(loss.detach())
            for coefficient, gradient in zip(
                coefficients, torch.autograd.grad(loss, coefficients), strict=True
            ):
                coefficient.grad = gradient
            optimiser.step()
            if on_step is not None:
                on_step(step, float(loss.detach()))
    final = [c.clamp(0, 1) for c in best]
    with torch.no_grad():
        picture, _ = network.draw(mixtures(mine.values, theirs.values, final), pose)
    return Swap(picture, both, final)


def mixtures(
    mine: Sequence[Tensor], theirs: Sequence[Tensor], coefficients: Sequence[Tensor]
) -> list[Tensor]:
    """Textures (1, C, K), each so far on the way from one's own to the other's as its coefficients (1, K) say."""
    return [
        torch.lerp(a, b, c[:, None]) for a, b, c in zip(mine, theirs, coefficients, strict=True)
    ]


def region(
    weights: Sequence[Tensor], scores: Sequence[Tensor], mask: Tensor, size: tuple[int, int]
) -> Tensor:
    """Where attention carries a mask (1, 1, H, W) of the reference to: (1, 1, *size) in [0, 1], the mean over all maps."""
    found = [
        F.interpolate(carried(w, s, mask), size, mode="bilinear", align_corners=False)
        for w, s in zip(weights, scores, strict=True)
    ]
    return torch.stack(found).mean(0)


def guess(mine: Tensor, my_place: Tensor, theirs: Tensor, their_place: Tensor) -> Tensor:
    """First coefficients (1, K): 1 for textures that make up much of the garment of either, else 0.

    mine, theirs: scores (1, K, h, w).  my_place, their_place: (1, 1, H, W), where the garments are.
    """
    shares = [_share(scores, place) for scores, place in ((mine, my_place), (theirs, their_place))]
    return (torch.maximum(*shares) >= _LIKELY / mine.shape[1]).to(mine)


def _share(scores: Tensor, place: Tensor) -> Tensor:
    """The mean share (1, K) of each texture in a place."""
    small = F.interpolate(place, scores.shape[-2:], mode="area")
    total = small.sum().clamp(min=1e-6)
    return (scores.softmax(1) * small).sum((2, 3)) / total
