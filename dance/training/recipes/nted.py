"""How NTED is taught: attention must carry colours to their places, and pictures deceive StyleGAN2's discriminator.

Ren, Fan, Li, Liu, Li: Neural Texture Extraction and Distribution for Controllable Person Image Synthesis (CVPR 2022).
Every pair is learnt both ways. The losses are in `training.nted_losses`; the adversary joins in later, and its
gradient at true pictures is kept short (R1) every so many steps. What is published is the default unless said;
published are also `average` = 0.5^(32 / 10000) and 16 pairs a step, both ways counted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps
from dance.config import Options
from dance.generators import _nted_label as labels
from dance.generators import _single as single
from dance.generators import nted
from dance.generators._stylegan2 import Discriminator
from dance.training import losses, nted_losses, people
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _steps
from dance.types import Array, InputError, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["NTED", "Config", "build", "open_data", "pairs"]

log = logging.getLogger(__name__)

ALONE, JUDGED = "alone", "judged"
_GROUP = 4  # pictures the discriminator compares with each other
_LEAST = 64  # height of pictures in which there is a face to be looked at


class Config(Options):
    """The recipe's options.

    judge: channels of the discriminator, from full size on, each next at half the size of the last.
    both: every pair is learnt in both directions.
    judged_from: from this share of the budget on there is the adversary; published: 20 000 of 495 400 steps.
    colours, matte: L1 of the picture, and cross entropy of its matte, where one is drawn; not published, they make
    short trainings possible.
    rate, judge_rate: of the generator and the discriminator (the same if none is given); the latter is a little less,
    as its steps are shared by R1.
    momentum: how much of the generator's last steps goes into the next (Adam's first beta).
    vgg: a safetensors file of VGG-19's features; without it the losses that need it are off.
    decay_from: from this share on the learning rate falls to 0; published: never.
    """

    generator: nted.Architecture = nted.Architecture()
    judge: tuple[int, ...] = Field((128, 256, 512, 512, 512, 512, 512), min_length=2)
    weights: nted_losses.Weights = nted_losses.Weights()
    colours: float = Field(0.0, ge=0)
    matte: float = Field(0.0, ge=0)
    both: bool = True
    judged_from: float = Field(0.04, ge=0, le=1)
    sampling: Sampling = Sampling()
    rate: float = Field(2e-3, gt=0)
    judge_rate: float | None = Field(None, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    vgg: Path | None = None
    decay_from: float = Field(1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        frame, halvings = self.generator.frame, len(self.judge) - 1
        if min(frame.size) >> halvings < 1:
            raise ValueError(
                f"judge: {frame.height}x{frame.width} cannot be halved {halvings} times"
            )
        if self.vgg is not None and frame.height < _LEAST:
            raise ValueError(
                f"generator.frame.height = {frame.height}: with vgg it must be {_LEAST} at least"
            )
        if self.matte and not self.generator.alpha:
            raise ValueError("matte needs generator.alpha = true")
        return self


@dataclass(frozen=True, slots=True)
class _Told:
    """A pose's label and where its eyes are; it can be sent to another process."""

    generator: nted.Architecture
    sources: bool

    def __call__(self, name: str, pose: Pose, size: Size) -> dict[str, Array]:
        if name == "source" and not self.sources:
            return {}
        assert size == self.generator.frame.size
        xy, score = joint_maps.joints(pose)
        eyes = labels.eyes(np.concatenate([xy, score[:, None]], 1))
        return {
            "maps": nted.shown(self.generator, xy[None], score[None])[0].numpy(),
            "eyes": eyes.astype(np.float32),
        }


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from; labels are drawn as the generator draws them."""
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha,
        told=_Told(a, config.both),
    )  # fmt: skip


def build(config: Config, album: Album, accelerator: Accelerator) -> NTED:
    """The recipe with freshly initialised networks."""
    if config.vgg is None and accelerator.is_main_process:
        log.info("no VGG-19 weights are given (recipe.options.vgg): its losses are off")
    return NTED(config, accelerator)


class NTED:
    """See `types.Recipe`.  stage: alone, then judged by the adversary, too."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._vgg: nn.Module | None = None
        if config.vgg is not None:
            self._vgg = losses.vgg19(config.vgg, str(accelerator.device))
        self.generator: nted.NTED = nted.body(config.generator).to(accelerator.device)
        height, width = (side >> (len(config.judge) - 1) for side in config.generator.frame.size)
        self._judge = Discriminator(config.judge, last=(height, width)).to(accelerator.device)
        every = config.weights.r1_every
        # A step of R1 follows every so many others: one step of Adam counts as so much less.
        less = every / (every + 1)
        self._rates = {"generator": config.rate, "judge": (config.judge_rate or config.rate) * less}
        self._optimisers = {
            "generator": torch.optim.Adam(
                self.generator.parameters(), betas=(config.momentum, 0.99)
            ),
            "judge": torch.optim.Adam(self._judge.parameters(), betas=(0.0, 0.99**less)),
        }
        self._judgements = 0
        self.stage = ALONE
        self.begin(0.0, self.generator)

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Lets the adversary join in; the generator goes on as it is."""
        self.stage = JUDGED if share >= self._config.judged_from else ALONE
        left = _steps.falling(share, self._config.decay_from)
        for name, optimiser in self._optimisers.items():
            _steps.set_rate({name: optimiser}, self._rates[name] * left)
        return False

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of the generator, then of the adversary. Raises InputError for a batch that makes no groups."""
        seen = _Seen.of(batch, both=self._config.both)
        if len(seen.source) > _GROUP and len(seen.source) % _GROUP:
            raise InputError(
                f"batch = {len(batch['source'])}: the adversary compares groups of {_GROUP} pictures; with both "
                f"directions {len(seen.source)} are drawn: that must be a multiple of {_GROUP}, or less than it"
            )
        judged = self.stage == JUDGED
        parts, drawn = self._generator_step(seen, judged=judged)
        if judged:
            parts |= self._judge_step(drawn, seen.target)
        return {name: float(value.detach()) for name, value in parts.items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """The target as it is drawn."""
        found = generator(batch["source"], batch["target_maps"])
        return people.shown(batch, _steps.on_grey(found.picture))

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes the network with its architecture and how it was taught."""
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        single.save(path, nted.NAME, generator, self._config.generator, told)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, and how often the adversary has judged."""
        kept = _steps.taken(self.stage, self._networks(), self._optimisers)
        return kept | {"judgements": self._judgements}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on as if it had never been left."""
        self.stage, self._judgements = state["stage"], state["judgements"]
        _steps.restore(state, self._networks(), self._optimisers)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "judge": self._judge}

    def _generator_step(self, seen: _Seen, *, judged: bool) -> tuple[dict[str, Tensor], Tensor]:
        """The losses, and the pictures that were drawn."""
        config = self._config
        with self._accelerator.autocast():
            found: nted.Rendering = self.generator(seen.source, seen.maps)
            drawn = _steps.on_grey(found.picture)
            with _steps.frozen(self._judge):
                parts = nted_losses.of_generator(
                    replace(found, picture=drawn), seen.source, seen.target, seen.eyes,
                    vgg=self._vgg, judge=self._judge if judged else None, weights=config.weights,
                )  # fmt: skip
            if config.colours:
                parts["colours"] = config.colours * F.l1_loss(drawn, seen.target)
            if config.matte:
                parts["matte"] = config.matte * _steps.drawn_matte(found.picture, seen.matte)
        self._update("generator", torch.stack(list(parts.values())).sum())
        return parts, drawn.detach()

    def _judge_step(self, drawn: Tensor, real: Tensor) -> dict[str, Tensor]:
        weights = self._config.weights
        with self._accelerator.autocast():
            parts = nted_losses.of_discriminator(self._judge, drawn, real)
        self._update("judge", parts["drawn"] + parts["real"])
        if self._judgements % weights.r1_every == 0:
            # In full precision: it is a gradient's gradient.
            parts["r1"], penalty = nted_losses.of_gradient(self._judge, real, weights)
            self._update("judge", penalty)
        self._judgements += 1
        return parts

    def _update(self, part: str, loss: Tensor) -> None:
        _steps.update(self._accelerator, self._optimisers[part], loss)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch, both ways: source, target (B, 3, H, W), matte of the target, its label and its eyes (B, 4)."""

    source: Tensor
    target: Tensor
    matte: Tensor
    maps: Tensor
    eyes: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor], *, both: bool) -> _Seen:
        given, wanted = ("source", "target"), ("target", "source")
        ways = 2 if both else 1

        def each(names: tuple[str, str], what: str = "") -> Tensor:
            return torch.cat([batch[f"{name}{what}"] for name in names[:ways]])

        return cls(
            each(given), each(wanted), each(wanted, "_matte"), each(wanted, "_maps"),
            each(wanted, "_eyes"),
        )  # fmt: skip
