"""How PG2 is taught: first to draw the person roughly in the wanted pose, then what that lacks, against an adversary.

Ma, Jia, Sun, Schiele, Tuytelaars, Van Gool: Pose Guided Person Image Generation (NeurIPS 2017). Both stages are taught
colours by L1, those of the body twice over. The adversary of the second takes what is drawn, and the picture that was
given too, for wrong: it must be the person, and in the wanted pose. What is published is the default unless said.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps
from dance.config import Options
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators import pg2
from dance.generators._placed import COLOURS
from dance.training import people
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _dcgan, _steps
from dance.types import Array, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["PG2", "Config", "build", "open_data", "pairs"]


class Weights(Options):
    """How much each loss counts in the second stage; in the first the colours count once.

    colours: of L1; published: 10 for Market-1501, 50 for 256 x 256.  matte: cross entropy of the matte where
    one is drawn, beside colours that count once, not published.
    """

    gan: float = Field(1.0, ge=0)
    colours: float = Field(50.0, ge=0)
    matte: float = Field(0.0, ge=0)


class Shares(Options):
    """How the budget is divided among the stages; the published steps. A stage of 0 is left out."""

    coarse: float = Field(22000, gt=0)
    refined: float = Field(58000, ge=0)


class Config(Options):
    """The recipe's options.

    judge: channels of the adversary's layers; published for Market-1501: one layer less.
    mask_radius: of the body's mask about its limbs, in pixels.
    rate, refined_rate: learning rates of the first stage and of the second (the same if none is given).
    decay_from: from this share of each stage on they fall to 0; published: never.
    head_start: so much more a fresh network heeds the discs of poses, see `_dcgan.head_start`; published: not, None.
    """

    generator: pg2.Architecture = pg2.Architecture()
    judge: Sequence[int] = _dcgan.PG2_LARGE_WIDTHS
    mask_radius: float = Field(4.0, gt=0)
    sampling: Sampling = Sampling()
    weights: Weights = Weights()
    shares: Shares = Shares()
    rate: float = Field(2e-5, gt=0)
    refined_rate: float | None = Field(None, gt=0)
    decay_from: float = Field(1.0, ge=0, le=1)
    head_start: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.weights.matte and not self.generator.alpha:
            raise ValueError("weights.matte needs generator.alpha = true")
        return self


@dataclass(frozen=True, slots=True)
class _Told:
    """The wanted pose's discs and mask; it can be sent to another process."""

    radius: float
    edge: float
    mask_radius: float

    def __call__(self, name: str, pose: Pose, size: Size) -> dict[str, Array]:
        if name == "source":
            return {}
        xy, score = joint_maps.joints(pose)
        maps = nets.discs(xy[None], score[None], size, self.radius, self.edge)[0].numpy()
        mask = joint_maps.body_mask(xy, score, size, self.mask_radius)
        return {"maps": maps, "mask": mask[None].astype("float32")}


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from; maps are drawn as the generator draws them."""
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha,
        told=_Told(a.radius, a.edge, config.mask_radius),
    )  # fmt: skip


def build(config: Config, album: Album, accelerator: Accelerator) -> PG2:
    """The recipe with freshly initialised networks."""
    return PG2(config, accelerator)


class PG2:
    """See `types.Recipe`."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._lengths = config.shares.model_dump()
        self.generator: pg2.Networks = pg2.body(config.generator).to(accelerator.device)
        if config.head_start is not None:
            stem = self.generator.coarse.stem
            _dcgan.head_start(stem, joint_maps.JOINTS, config.head_start)
        self._judge = _dcgan.Discriminator(config.generator.frame.size, widths=config.judge)
        _dcgan.initialise(self._judge)
        self._judge.to(accelerator.device)
        self._begin_stage("coarse")

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the stage and the learning rate."""
        name, inside = _steps.place(self._lengths, share)
        changed = name != self.stage
        if changed:
            self.generator.load_state_dict(averaged.state_dict())
            self._begin_stage(name)
        config = self._config
        rate = config.rate if name == "coarse" else config.refined_rate or config.rate
        _steps.set_rate(self._optimisers, rate * _steps.falling(inside, config.decay_from))
        return changed

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of the first stage, or of the second and the adversary."""
        parts = self._coarse_step(batch) if self.stage == "coarse" else self._refined_step(batch)
        return {name: float(value) for name, value in parts.items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """What the present stage draws."""
        assert isinstance(generator, pg2.Networks)
        coarse, refined = generator(batch["source"], batch["target_maps"])
        drawn = coarse if self.stage == "coarse" else refined
        return people.shown(batch, _steps.on_grey(nets.with_matte(drawn)))

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes both stages; a second one that has not been taught adds nothing."""
        assert isinstance(generator, pg2.Networks)
        if self.stage == "coarse":
            generator = copy.deepcopy(generator)
            for parameter in generator.refine.out.parameters():
                nn.init.zeros_(parameter)
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        single.save(path, pg2.NAME, generator, self._config.generator, told)

    def state_dict(self) -> dict[str, Any]:
        """Stage, networks and optimisers."""
        return _steps.taken(self.stage, self._networks(), self._optimisers)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Enters the stage and goes on as if it had never been left."""
        self._begin_stage(state["stage"])
        _steps.restore(state, self._networks(), self._optimisers)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "judge": self._judge}

    def _begin_stage(self, name: str) -> None:
        self.stage = name
        self.generator.coarse.requires_grad_(name == "coarse")
        taught: dict[str, nn.Module] = {"coarse": self.generator.coarse}
        if name == "refined":
            taught = {"refine": self.generator.refine, "judge": self._judge}
        self._optimisers = _steps.adam(taught, self._config.rate)

    def _coarse_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first stage alone."""
        with self._accelerator.autocast():
            drawn = self.generator.coarse(torch.cat([batch["source"], batch["target_maps"]], 1))
            parts = self._colours(drawn, batch, 1.0)
        self._update("coarse", sum(parts.values(), torch.zeros(())))
        return {name: value.detach() for name, value in parts.items()}

    def _refined_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The second stage, then the adversary."""
        weights, source, target = self._config.weights, batch["source"], batch["target"]
        with self._accelerator.autocast():
            with torch.no_grad():
                coarse = self.generator.coarse(torch.cat([source, batch["target_maps"]], 1))
            drawn = coarse + self.generator.refine(torch.cat([coarse, source], 1))
            parts = self._colours(drawn, batch, weights.colours)
            seen = _steps.on_grey(nets.with_matte(drawn))
            with _steps.frozen(self._judge):
                _, scores, _ = self._judged(target, seen, source)
            parts["gan"] = weights.gan * _dcgan.real_or_not(scores, True)
        self._update("refine", sum(parts.values(), torch.zeros(())))
        with self._accelerator.autocast():
            real, fake, given = self._judged(target, seen.detach(), source)
            parts["judge"] = (
                0.5 * _dcgan.real_or_not(real, True)
                + 0.25 * _dcgan.real_or_not(given, False)
                + 0.25 * _dcgan.real_or_not(fake, False)
            )
        self._update("judge", parts["judge"])
        return {name: value.detach() for name, value in parts.items()}

    def _colours(self, drawn: Tensor, batch: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:  # fmt: skip
        mask = batch["target_mask"]
        seen = _steps.on_grey(nets.with_matte(drawn))
        parts = {"colours": weight * _dcgan.masked_l1(seen, batch["target"], mask)}
        if self._config.weights.matte:
            matte = _steps.matte(drawn[:, COLOURS:], batch["target_matte"])
            parts["matte"] = weight * self._config.weights.matte * matte
        return parts

    def _judged(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """The scores of each; they share a batch, whose statistics the adversary judges by."""
        scores: Tensor = self._judge(torch.cat(pictures))
        return scores.chunk(len(pictures))

    def _update(self, part: str, loss: Tensor) -> None:
        _steps.update(self._accelerator, self._optimisers[part], loss)
