"""How Soft-Gated Warping-GAN is taught: what is to be seen where, how it lies in what was, and then the picture.

Dong, Liang, Gong, Lai, Zhu, Yin: Soft-Gated Warping-GAN for Pose-Guided Person Image Synthesis (NeurIPS 2018); its
matcher is that of Rocco, Arandjelović, Sivic (CVPR 2017), taught parsings that are warped at random, so that the
answer is known. The parser learns true parsings; the renderer learns with what parser and matcher say, which rest.
The losses are in `training.softgate_losses`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import draw, joint_maps
from dance import weights as files
from dance.config import Options
from dance.generators import _pix2pix as pix2pix
from dance.generators import _single as single
from dance.generators import _softgate_match as match
from dance.generators import _softgate_nets as nets
from dance.generators import softgate
from dance.generators._placed import COLOURS
from dance.training import album as albums
from dance.training import losses, people, softgate_losses
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _steps
from dance.types import Array, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Config", "SoftGate", "build", "open_data", "pairs"]

log = logging.getLogger(__name__)

PARSER, MATCHER, RENDERER = "parser", "matcher", "renderer"


class Adversaries(Options):
    """The discriminators of parsings and of pictures. scales: of the picture, published default 3, in their runs 1."""

    filters: int = Field(64, ge=1, description="channels of the first layer")
    layers: int = Field(3, ge=1)
    scales: int = Field(1, ge=1)


class Spread(Options):
    """How far the matcher's parsings are warped at random, up to: -1 to 1 is the whole picture.

    turn: of half a turn.  scale: each of the matrix's four numbers, so much more or less.  shift: along and across.
    bend: of each of the thin plate's control points, along and across.
    """

    turn: float = Field(1 / 6, ge=0, le=1)
    scale: float = Field(0.5, ge=0, lt=1)
    shift: float = Field(0.5, ge=0)
    bend: float = Field(0.4, ge=0)


class Shares(Options):
    """How the budget is divided among the stages; one of 0 is left out."""

    parser: float = Field(100.0, ge=0)
    matcher: float = Field(100.0, ge=0)
    renderer: float = Field(200.0, gt=0)


class Config(Options):
    """The recipe's options.

    affine, plate: matchers taught elsewhere, such as scripts/convert_weights.py makes of published ones; they go with
    shares.matcher=0, or are taught on.
    rate, matcher_rate: of parser and renderer, and of the matcher; parser_rate: of the parser, where it has its own.
    decay_from: from this share of each stage on they fall to 0.
    vgg: a safetensors file of VGG-19's features; without it that loss is off.
    """

    generator: softgate.Architecture = softgate.Architecture()
    adversaries: Adversaries = Adversaries()
    weights: softgate_losses.Weights = softgate_losses.Weights()
    spread: Spread = Spread()
    shares: Shares = Shares()
    sampling: Sampling = Sampling()
    affine: Path | None = None
    plate: Path | None = None
    vgg: Path | None = None
    rate: float = Field(2e-4, gt=0)
    matcher_rate: float = Field(1e-3, gt=0)
    parser_rate: float | None = Field(None, gt=0)
    decay_from: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if not self.shares.matcher and (self.affine is None or self.plate is None):
            raise ValueError("shares.matcher = 0 needs affine and plate: matchers taught elsewhere")
        return self


@dataclass(frozen=True, slots=True)
class _Told:
    """The wanted pose's maps; it can be sent to another process."""

    radius: float

    def __call__(self, name: str, pose: Pose, size: Size) -> dict[str, Array]:
        if name == "source":
            return {}
        return {"maps": draw.discs(*joint_maps.joints(pose), size, self.radius)}


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from; maps are drawn as the generator draws them. Raises InputError where there are no labels."""
    albums.require(album, (albums.LABELS,), "softgate")
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha,
        told=_Told(a.radius),
    )  # fmt: skip


def build(config: Config, album: Album, accelerator: Accelerator) -> SoftGate:
    """The recipe with freshly initialised networks. Raises InputError for matchers that do not fit."""
    if config.vgg is None and accelerator.is_main_process:
        log.info("no VGG-19 weights are given (recipe.options.vgg): its loss is off")
    return SoftGate(config, accelerator)


class SoftGate:
    """See `types.Recipe`."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._vgg: nn.Module | None = None
        if config.vgg is not None:
            self._vgg = losses.vgg19(config.vgg, str(accelerator.device))
        self._lengths = config.shares.model_dump()
        self.generator: nets.SoftGate = softgate.body(config.generator).to(accelerator.device)
        matcher = self.generator.matcher
        for path, part in ((config.affine, matcher.affine), (config.plate, matcher.plate)):
            if path is not None:
                files.load_safetensors(path, part)
        a, alpha = config.adversaries.model_dump(), config.generator.alpha
        self._judges = nn.ModuleDict(
            {
                PARSER: softgate_losses.parser_judge(**a),
                RENDERER: softgate_losses.renderer_judge(**a, alpha=alpha),
            }
        )
        pix2pix.initialise(self._judges)
        self._judges.to(accelerator.device)
        self._begin_stage(_steps.place(self._lengths, 0)[0])

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the stage and the learning rate."""
        name, inside = _steps.place(self._lengths, share)
        changed = name != self.stage
        if changed:
            self.generator.load_state_dict(averaged.state_dict())
            self._begin_stage(name)
        left = _steps.falling(inside, self._config.decay_from)
        _steps.set_rate(self._optimisers, self._rate * left)
        return changed

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of the stage's network and of its adversary."""
        seen = _Seen.of(batch)
        steps = {
            PARSER: self._parser_step,
            MATCHER: self._matcher_step,
            RENDERER: self._renderer_step,
        }
        return {name: float(value.detach()) for name, value in steps[self.stage](seen).items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """The picture, or before the last stage parsings in their labels' colours: that made, or the source's matched to the true one."""
        assert isinstance(generator, nets.SoftGate)
        seen = _Seen.of(batch)
        if self.stage == RENDERER:
            found = generator(seen.picture, seen.parsing, seen.maps)
            return people.shown(batch, _steps.on_grey(found.picture))
        truth = nets.one_hot(seen.labels)
        if self.stage == PARSER:
            made = nets.one_hot(generator.parser(seen.parsing, seen.maps).argmax(1))
        else:
            size = (seen.labels.shape[1], seen.labels.shape[2])
            where = generator.matcher.grid(generator.matcher(seen.parsing, truth), size)
            made = match.warp(seen.parsing, where)
        colours = generator.matcher.colours * 2 - 1
        drawn, target = (torch.einsum("bkhw,kc->bchw", x, colours) for x in (made, truth))
        return replace(people.shown(batch, drawn), target=target)

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes all networks with their architecture and how they were taught."""
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        single.save(path, softgate.NAME, generator, self._config.generator, told)

    def state_dict(self) -> dict[str, Any]:
        """Stage, networks and optimisers."""
        return _steps.taken(self.stage, self._networks(), self._optimisers)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Enters the stage and goes on as if it had never been left."""
        self._begin_stage(state["stage"])
        _steps.restore(state, self._networks(), self._optimisers)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "judges": self._judges}

    def _begin_stage(self, name: str) -> None:
        """Only the stage's network is taught; a matcher that rests keeps its norms' statistics."""
        self.stage = name
        config, generator = self._config, self.generator
        generator.matcher.train(name == MATCHER)
        taught: dict[str, nn.Module] = {name: getattr(generator, name)}
        if name in self._judges:
            taught["judge"] = self._judges[name]
        own = {MATCHER: config.matcher_rate, PARSER: config.parser_rate or config.rate}
        self._rate = own.get(name, config.rate)
        betas = (0.9, 0.999) if name == MATCHER else (0.5, 0.999)
        self._optimisers = _steps.adam(taught, self._rate, betas)

    def _parser_step(self, seen: _Seen) -> dict[str, Tensor]:
        """The parsing of the wanted pose, then its adversary."""
        judge, weights = self._judge(PARSER), self._config.weights
        shown = torch.cat([seen.parsing, seen.maps], 1)
        truth = nets.one_hot(seen.labels)
        with self._accelerator.autocast():
            logits = self.generator.parser(seen.parsing, seen.maps)
            with _steps.frozen(judge):
                parts = softgate_losses.of_parser(
                    logits, truth, shown, judge=judge if weights.gan else None, weights=weights
                )
        self._update(PARSER, parts)
        with self._accelerator.autocast():
            judged = softgate_losses.of_judge(judge, shown, logits.softmax(1), truth)
        self._update("judge", judged)
        return parts | judged

    def _matcher_step(self, seen: _Seen) -> dict[str, Tensor]:
        """Both matchers on both parsings, each warped at random."""
        matcher, spread = self.generator.matcher, self._config.spread
        parsings = torch.cat([seen.parsing, nets.one_hot(seen.labels)])
        with torch.no_grad():
            pictures = matcher.pictured(parsings)
        size = (matcher.side, matcher.side)
        parts: dict[str, Tensor] = {}
        thetas = affine(len(parsings), spread), plate(len(parsings), spread, matcher.bend)
        moves: tuple[tuple[str, match.Move, nn.Module], ...] = (
            ("affine", match.affine, matcher.affine), ("plate", matcher.bend, matcher.plate),
        )  # fmt: skip
        for (name, move, part), theta in zip(moves, thetas, strict=True):
            truth = theta.to(pictures)
            with torch.no_grad():
                here, there = softgate_losses.pair(pictures, move, truth, size)
            with self._accelerator.autocast():
                found = part(here, there)
            parts[name] = softgate_losses.grid_loss(move, found.float(), truth)
        self._update(MATCHER, parts)
        return parts

    def _renderer_step(self, seen: _Seen) -> dict[str, Tensor]:
        """The picture in the parsing that the parser says, with what the matcher brings there; then its adversary."""
        judge, weights = self._judge(RENDERER), self._config.weights
        generator, renderer = self.generator, self.generator.renderer
        with self._accelerator.autocast():
            with torch.no_grad():
                wanted = generator.parser(seen.parsing, seen.maps).softmax(1)
                moved = generator.matcher(seen.parsing, wanted)
                small = (wanted.shape[2] >> self._downs, wanted.shape[3] >> self._downs)
                where = generator.matcher.grid(moved, small)
            drawn = renderer(seen.picture, seen.parsing, wanted, seen.maps, where)
            made = torch.cat([_steps.on_grey(drawn), drawn[:, COLOURS:]], 1)
            real = torch.cat([seen.target, seen.matte], 1) if renderer.alpha else seen.target
            shown = torch.cat([seen.picture, seen.parsing, wanted, seen.maps], 1)
            with _steps.frozen(judge):
                parts = softgate_losses.of_renderer(
                    made, real, shown, judge=judge if weights.gan else None, vgg=self._vgg,
                    weights=weights,
                )  # fmt: skip
        self._update(RENDERER, parts)
        with self._accelerator.autocast():
            judged = softgate_losses.of_judge(judge, shown, made, real)
        self._update("judge", judged)
        return parts | judged

    @property
    def _downs(self) -> int:
        return self._config.generator.downs

    def _judge(self, stage: str) -> pix2pix.MultiscaleDiscriminator:
        found = self._judges[stage]
        assert isinstance(found, pix2pix.MultiscaleDiscriminator)
        return found

    def _update(self, part: str, parts: Mapping[str, Tensor]) -> None:
        whole = torch.stack(list(parts.values())).sum()
        _steps.update(self._accelerator, self._optimisers[part], whole)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch: the given picture and its parsing (B, 20, H, W); the target, its matte, labels (B, H, W) and pose maps."""

    picture: Tensor
    parsing: Tensor
    target: Tensor
    matte: Tensor
    labels: Tensor
    maps: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> _Seen:
        return cls(
            batch["source"], nets.one_hot(batch["source_labels"]), batch["target"],
            batch["target_matte"], batch["target_labels"], batch["target_maps"],
        )  # fmt: skip


def affine(count: int, spread: Spread) -> Tensor:
    """Random affine movements, thetas (count, 6)."""
    angle = _symmetric(count, 1) * math.pi * spread.turn
    turned = torch.cat([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1)
    linear = turned * (1 + spread.scale * _symmetric(count, 4))
    shift = spread.shift * _symmetric(count, 2)
    return torch.cat([linear[:, :2], shift[:, :1], linear[:, 2:], shift[:, 1:]], 1)


def plate(count: int, spread: Spread, bend: match.ThinPlate) -> Tensor:
    """Random bendings of a thin plate, thetas (count, 2 N)."""
    still = bend.controls.T.flatten().cpu()
    return still + spread.bend * _symmetric(count, len(still))


def _symmetric(count: int, numbers: int) -> Tensor:
    """Evenly spread over [-1, 1]; from the processor's generator, whose state is kept with a run."""
    return torch.rand(count, numbers) * 2 - 1
