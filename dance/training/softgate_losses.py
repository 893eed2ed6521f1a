"""What Soft-Gated Warping-GAN is taught by: its parser, its renderer, and its matcher with the pairs it is shown.

Dong et al.: Soft-Gated Warping-GAN for Pose-Guided Person Image Synthesis (NeurIPS 2018); Rocco, Arandjelović,
Sivic: Convolutional neural network architecture for geometric matching (CVPR 2017). Pictures are (B, 3, H, W) in
[-1, 1], parsings (B, 20, H, W); the adversaries are pix2pixHD's, which give their features layer by layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field
from torch import Tensor, nn

from dance.config import Options
from dance.generators import _softgate_match as match
from dance.generators._pix2pix import MultiscaleDiscriminator
from dance.generators._placed import COLOURS
from dance.generators._softgate_match import Move
from dance.generators._softgate_nets import LABELS
from dance.joint_maps import JOINTS
from dance.training import losses
from dance.training.recipes import _steps
from dance.types import Size

_POINTS = 20  # of a side of the square grid movements are compared on
# A pair shows the middle of a picture that its own mirror images surround by half its size on every side.
_AROUND, _CROP, _PADDING = 0.5, 9 / 16, 0.5


class Weights(Options):
    """How much each loss counts, as published.

    features: of an adversary on true and drawn ones, of each other.  parsing: cross entropy of the parser's labels.
    vgg, l1: of the renderer's pictures.  matte: cross entropy of the matte, where one is drawn; not published.
    """

    gan: float = Field(1.0, ge=0)
    features: float = Field(10.0, ge=0)
    parsing: float = Field(1e-4, ge=0)
    vgg: float = Field(10.0, ge=0)
    l1: float = Field(10.0, ge=0)
    matte: float = Field(1.0, ge=0)


def parser_judge(*, filters: int = 64, layers: int = 3, scales: int = 1) -> MultiscaleDiscriminator:
    """Judges parsings: (B, 58, H, W) of the source's parsing, the wanted pose and a parsing."""
    channels = LABELS + JOINTS + LABELS
    return MultiscaleDiscriminator(channels, width=filters, layers=layers, scales=scales)


def renderer_judge(
    *, filters: int = 64, layers: int = 3, scales: int = 1, alpha: bool = False
) -> MultiscaleDiscriminator:
    """Judges pictures: (B, 64, H, W) of the source's picture and parsing, the wanted parsing and pose, a picture."""
    channels = COLOURS + LABELS + LABELS + JOINTS + COLOURS + alpha
    return MultiscaleDiscriminator(channels, width=filters, layers=layers, scales=scales)


def of_parser(
    logits: Tensor,
    wanted: Tensor,
    shown: Tensor,
    *,
    judge: MultiscaleDiscriminator | None,
    weights: Weights,
) -> dict[str, Tensor]:
    """The parser's losses by name, weighted; their sum is what it learns from.

    wanted: the true parsing.  shown: what the parser was shown, (B, 38, H, W).  judge: None leaves out the adversary.
    """
    found = {"parsing": weights.parsing * F.cross_entropy(logits, wanted)}
    if judge is not None:
        found |= _judged(judge, shown, logits.softmax(1), wanted, weights)
    return found


def of_renderer(
    drawn: Tensor,
    real: Tensor,
    shown: Tensor,
    *,
    judge: MultiscaleDiscriminator | None,
    vgg: nn.Module | None,
    weights: Weights,
) -> dict[str, Tensor]:
    """The renderer's losses by name, weighted; their sum is what it learns from.

    drawn, real: (B, 3, H, W), or with a matte in [0, 1] fourth.  shown: all it was shown, (B, 61, H, W).
    judge, vgg: None leaves out what needs them.
    """
    found = {"l1": weights.l1 * F.l1_loss(drawn[:, :COLOURS], real[:, :COLOURS])}
    if drawn.shape[1] > COLOURS:
        found["matte"] = weights.matte * _steps.drawn_matte(drawn, real[:, COLOURS:])
    if vgg is not None:
        found["vgg"] = weights.vgg * losses.perceptual(vgg, drawn[:, :COLOURS], real[:, :COLOURS])
    if judge is not None:
        found |= _judged(judge, shown, drawn, real, weights)
    return found


def of_judge(
    judge: MultiscaleDiscriminator, shown: Tensor, drawn: Tensor, real: Tensor
) -> dict[str, Tensor]:
    """An adversary's losses on what was drawn and what is true; no gradient reaches the drawn."""
    return {
        "drawn": losses.gan(judge(torch.cat([shown, drawn.detach()], 1)), False),
        "real": losses.gan(judge(torch.cat([shown, real], 1)), True),
    }


def _judged(
    judge: MultiscaleDiscriminator, shown: Tensor, drawn: Tensor, real: Tensor, weights: Weights
) -> dict[str, Tensor]:
    found = judge(torch.cat([shown, drawn], 1))
    with torch.no_grad():
        wanted = judge(torch.cat([shown, real], 1))
    layers = len(found[0]) - 2
    return {
        "gan": weights.gan * losses.gan(found, True),
        "features": losses.feature_matching(found, wanted, layers=layers, weight=weights.features),
    }


def grid_loss(move: Move, theta: Tensor, truth: Tensor) -> Tensor:
    """How far apart two thetas (B, n) move points: the mean squared distance over a grid, a scalar."""
    points = match.base_points((_POINTS, _POINTS)).to(theta)
    return (move(theta, points) - move(truth, points)).square().sum(-1).mean()


def pair(
    picture: Tensor, move: Move, theta: Tensor, size: Size, *, align_corners: bool = True
) -> tuple[Tensor, Tensor]:
    """The middle of pictures (B, C, H, W), and the same moved by a known theta: both (B, C, *size)."""
    wide = mirrored(picture)
    share = _CROP * _PADDING
    unmoved = match.base_points(size, align_corners=align_corners).to(picture)
    still = unmoved.view(1, *size, 2).expand(len(picture), -1, -1, -1)
    moved = match.grid(move, theta, size, align_corners=align_corners)
    source, target = (
        match.warp(wide, where * share, align_corners=align_corners) for where in (still, moved)
    )
    return source, target


def mirrored(picture: Tensor) -> Tensor:
    """The picture with half its size of mirror images around it, the outermost pixels twice."""
    for axis in (-2, -1):
        length = picture.shape[axis]
        around = int(length * _AROUND)
        before, behind = (
            picture.narrow(axis, 0, around),
            picture.narrow(axis, length - around, around),
        )
        picture = torch.cat([before.flip(axis), picture, behind.flip(axis)], axis)
    return picture
