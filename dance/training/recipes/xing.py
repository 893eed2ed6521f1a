"""How XingGAN is taught: by colours, by how they look to VGG, and by two adversaries.

Tang, Bai, Zhang, Torr, Sebe: XingGAN for Person Image Generation (ECCV 2020). One adversary sees what is drawn with the
wanted pose's maps, the other with the picture that was given: is it the pose, is it the person? What is published for
DeepFashion is the default unless said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps
from dance.config import Options
from dance.generators import _single as single
from dance.generators import xing
from dance.generators._pix2pix import initialise
from dance.generators._placed import COLOURS
from dance.training import losses, people
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _steps
from dance.training.recipes import _xing as judges
from dance.types import Array, InputError, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Config", "XingGAN", "build", "open_data", "pairs"]

log = logging.getLogger(__name__)


class Adversaries(Options):
    """The two discriminators. For Market-1501 they were published with batch norms, `sigmoid` and loss `bce`."""

    filters: int = Field(64, ge=1, description="channels at full size (ndf)")
    downs: int = Field(2, ge=1)
    blocks: int = Field(3, ge=1)
    norm: xing.Norm = "instance"
    dropout: float = Field(0.5, ge=0, lt=1)
    loss: Literal["lsgan", "bce"] = "lsgan"


class Weights(Options):
    """How much each loss counts. gan: of the mean of both adversaries.

    looks: L1 of VGG-19's features of its second layer; for Market-1501: 50.  matte: cross entropy of the matte
    where one is drawn, not published.
    """

    gan: float = Field(5.0, ge=0)
    colours: float = Field(50.0, ge=0)
    looks: float = Field(1.0, ge=0)
    matte: float = Field(0.0, ge=0)


class Config(Options):
    """The recipe's options.

    vgg: a safetensors file of VGG-19's features; without it that loss is off.
    decay_from: from this share of the budget on the learning rate falls to 0; published: the last 100 of 300 epochs.
    """

    generator: xing.Architecture = xing.Architecture()
    adversaries: Adversaries = Adversaries()
    sampling: Sampling = Sampling()
    weights: Weights = Weights()
    vgg: Path | None = None
    rate: float = Field(2e-4, gt=0)
    decay_from: float = Field(2 / 3, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.weights.matte and not self.generator.alpha:
            raise ValueError("weights.matte needs generator.alpha = true")
        return self


@dataclass(frozen=True, slots=True)
class _Told:
    """The maps of a pose; it can be sent to another process."""

    architecture: xing.Architecture

    def __call__(self, name: str, pose: Pose, size: Size) -> dict[str, Array]:
        xy, score = joint_maps.joints(pose)
        return {"maps": xing.maps(self.architecture, xy[None], score[None])[0].numpy()}


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from; maps are drawn as the generator draws them."""
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha,
        told=_Told(a),
    )  # fmt: skip


def build(config: Config, album: Album, accelerator: Accelerator) -> XingGAN:
    """The recipe with freshly initialised networks."""
    if config.vgg is None and config.weights.looks and accelerator.is_main_process:
        log.info("no VGG-19 weights are given (recipe.options.vgg): its loss is off")
    return XingGAN(config, accelerator)


class XingGAN:
    """See `types.Recipe`."""

    stage = "all"

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self.generator: xing.Xing = xing.body(config.generator).to(accelerator.device)
        self._vgg: nn.Module | None = None
        if config.vgg is not None and config.weights.looks:
            self._vgg = losses.vgg19(config.vgg, str(accelerator.device))
        seen = {"pose": COLOURS + joint_maps.JOINTS, "person": 2 * COLOURS}
        self._judges = nn.ModuleDict({name: _judge(config.adversaries, n) for name, n in seen.items()})  # fmt: skip
        self._judges.to(accelerator.device)
        taught = {"generator": self.generator, "judges": self._judges}
        self._optimisers = {
            name: torch.optim.Adam(net.parameters(), config.rate, betas=(0.5, 0.999))
            for name, net in taught.items()
        }

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the learning rate."""
        left = _steps.falling(share, self._config.decay_from)
        _steps.set_rate(self._optimisers, self._config.rate * left)
        return False

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of the generator, then of both adversaries."""
        weights, target = self._config.weights, batch["target"]
        with self._accelerator.autocast():
            out = self._drawn(self.generator, batch)
            drawn = _steps.on_grey(out)
            with _steps.frozen(self._judges):
                fooled = [self._loss(scores, True) for scores in self._judged(drawn, batch)]
            parts = {
                "gan": weights.gan * torch.stack(fooled).mean(),
                "colours": weights.colours * F.l1_loss(drawn, target),
            }
            if self._vgg is not None:
                first = self._vgg.get_submodule("blocks.0")
                assert isinstance(first, nn.ModuleList)
                parts["looks"] = weights.looks * judges.looks(first, drawn, target)
            if weights.matte:
                parts["matte"] = weights.matte * _steps.drawn_matte(out, batch["target_matte"])
        self._update("generator", sum(parts.values(), torch.zeros(())))
        with self._accelerator.autocast():
            real, fake = (self._judged(x, batch) for x in (target, drawn.detach()))
            told = [
                0.5 * (self._loss(r, True) + self._loss(f, False))
                for r, f in zip(real, fake, strict=True)
            ]
            parts["judge"] = weights.gan * torch.stack(told).sum()
        self._update("judges", parts["judge"])
        return {name: float(value.detach()) for name, value in parts.items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """What the generator draws."""
        return people.shown(batch, _steps.on_grey(self._drawn(generator, batch)))

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes the generator."""
        told = {"recipe": self._config.model_dump_json()}
        single.save(path, xing.NAME, generator, self._config.generator, told)

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimisers."""
        taken = _steps.taken(self.stage, self._networks(), self._optimisers)
        return taken | {"vgg": self._vgg is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on as if it had never been left."""
        if state["vgg"] != (self._vgg is not None):
            raise InputError("the run was begun with another setting of recipe.options.vgg")
        _steps.restore(state, self._networks(), self._optimisers)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "judges": self._judges}

    @staticmethod
    def _drawn(generator: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        maps = torch.cat([batch["source_maps"], batch["target_maps"]], 1)
        drawn: Tensor = generator(batch["source"], maps)
        return drawn

    def _judged(self, picture: Tensor, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Both adversaries' scores of a picture: with the wanted pose, with the picture that was given."""
        beside = {"pose": batch["target_maps"], "person": batch["source"]}
        return [
            judge(torch.cat([picture, beside[name]], 1)) for name, judge in self._judges.items()
        ]

    def _loss(self, scores: Tensor, target: bool) -> Tensor:
        # Cross entropy of scores that have been through a sigmoid is refused within autocast.
        with torch.autocast(scores.device.type, enabled=False):
            return judges.gan(scores.float(), target, kind=self._config.adversaries.loss)

    def _update(self, part: str, loss: Tensor) -> None:
        _steps.update(self._accelerator, self._optimisers[part], loss)


def _judge(a: Adversaries, channels: int) -> judges.Discriminator:
    made = judges.Discriminator(
        channels, width=a.filters, downs=a.downs, blocks=a.blocks, norm=a.norm, dropout=a.dropout,
        sigmoid=a.loss == "bce",
    )  # fmt: skip
    initialise(made)
    return made
