"""How Dense Pose Transfer is taught: its two streams by themselves, then all of it with what blends them.

Neverova, Güler, Kokkinos: Dense Pose Transfer (ECCV 2018). The predictive stream is taught the other picture; the
inpainting stream the texels that other pictures of the same person show, and no others: nobody knows the rest. Then
the blended picture is judged by colours, VGG's features, their style, and an adversary, and all networks learn from
it. Nothing was released, and of the losses' weights there is only hearsay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field
from torch import Tensor, nn

from dance.config import Options
from dance.generators import _dense_transfer_nets as nets
from dance.generators import _pix2pix as pix2pix
from dance.generators import _single as single
from dance.generators import dense_transfer
from dance.generators._placed import COLOURS
from dance.training import album as albums
from dance.training import losses, nted_losses, people
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _steps
from dance.types import Shown

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Config", "DenseTransfer", "build", "open_data", "pairs"]

log = logging.getLogger(__name__)


class Adversary(Options):
    """The discriminator of patches of the picture with the given person's surface and the wanted one."""

    filters: int = Field(64, ge=1, description="channels of the first layer")
    layers: int = Field(3, ge=1)
    scales: int = Field(1, ge=1)


class Weights(Options):
    """How much each loss counts.

    colours: L1.  perceptual: L1 of VGG's features.  style: squared differences of their Gram matrices.
    texels: L1 of the atlas, where one of the two pictures shows it.  matte: cross entropy of the matte, where one is drawn.
    predicted: L1 of the predicted picture while all of it is taught; the paper knows none.
    """

    colours: float = Field(1.0, ge=0)
    perceptual: float = Field(0.5, ge=0)
    style: float = Field(5e5, ge=0)
    gan: float = Field(0.1, ge=0)
    texels: float = Field(1.0, ge=0)
    matte: float = Field(1.0, ge=0)
    predicted: float = Field(0.0, ge=0)


class Shares(Options):
    """How the budget is divided: streams, each by itself; whole, everything. streams of 0 are left out."""

    streams: float = Field(1.0, ge=0)
    whole: float = Field(1.0, gt=0)


class Config(Options):
    """The recipe's options.

    vgg: a safetensors file of VGG-19's features; without it the losses that need it are off.
    decay_from: from this share of each stage on the learning rate falls to 0.
    """

    generator: dense_transfer.Architecture = dense_transfer.Architecture()
    adversary: Adversary = Adversary()
    weights: Weights = Weights()
    shares: Shares = Shares()
    sampling: Sampling = Sampling()
    vgg: Path | None = None
    rate: float = Field(2e-4, gt=0)
    decay_from: float = Field(1.0, ge=0, le=1)


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from. Raises InputError where the album knows no surfaces."""
    albums.require(album, (albums.SURFACE,), "dense_transfer")
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha
    )


def build(config: Config, album: Album, accelerator: Accelerator) -> DenseTransfer:
    """The recipe with freshly initialised networks."""
    if config.vgg is None and accelerator.is_main_process:
        log.info("no VGG-19 weights are given (recipe.options.vgg): its losses are off")
    return DenseTransfer(config, accelerator)


class DenseTransfer:
    """See `types.Recipe`."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._vgg: nn.Module | None = None
        if config.vgg is not None:
            self._vgg = losses.vgg19(config.vgg, str(accelerator.device))
        self._lengths = config.shares.model_dump()
        self.generator = dense_transfer.body(config.generator).to(accelerator.device)
        a = config.adversary
        self._judge = pix2pix.MultiscaleDiscriminator(
            COLOURS + 2 * nets.SURFACE, width=a.filters, layers=a.layers, scales=a.scales
        )
        pix2pix.initialise(self._judge)
        self._judge.to(accelerator.device)
        self._begin_stage(_steps.place(self._lengths, 0)[0])

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the stage and the learning rate."""
        name, inside = _steps.place(self._lengths, share)
        changed = name != self.stage
        if changed:
            self.generator.load_state_dict(averaged.state_dict())
            self._begin_stage(name)
        rate = self._config.rate * _steps.falling(inside, self._config.decay_from)
        _steps.set_rate(self._optimisers, rate)
        return changed

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of both streams, or of everything and the adversary."""
        seen = _Seen.of(batch)
        parts = self._streams_step(seen) if self.stage == "streams" else self._whole_step(seen)
        return {name: float(value) for name, value in parts.items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """What the present stage draws: the predicted picture, or the blended one."""
        assert isinstance(generator, nets.DenseTransfer)
        seen = _Seen.of(batch)
        found = generator(seen.picture, seen.surface, seen.wanted)
        drawn = found.predicted if self.stage == "streams" else found.picture
        return people.shown(batch, _steps.on_grey(drawn))

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes all networks with their architecture and how they were taught."""
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        single.save(path, dense_transfer.NAME, generator, self._config.generator, told)

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
        whole = {"generator": self.generator, "judge": self._judge}
        streams = {
            "predictive": self.generator.predictive, "inpainter": self.generator.inpainter,
        }  # fmt: skip
        taught: Mapping[str, nn.Module] = streams if name == "streams" else whole
        self._optimisers = _steps.adam(taught, self._config.rate)

    def _streams_step(self, seen: _Seen) -> dict[str, Tensor]:
        """Each stream by itself: neither knows of the other."""
        with self._accelerator.autocast():
            predicted = self.generator.predictive(seen.picture, seen.surface, seen.wanted)
            parts = self._likeness(predicted, seen)
        self._update("predictive", parts)
        with self._accelerator.autocast():
            texture = self.generator.texture(seen.picture, seen.surface)
            texels = {"texels": self._texels(texture, seen)}
        self._update("inpainter", texels)
        return {name: value.detach() for name, value in {**parts, **texels}.items()}

    def _whole_step(self, seen: _Seen) -> dict[str, Tensor]:
        """Everything by the blended picture, then the adversary."""
        weights = self._config.weights
        with self._accelerator.autocast():
            found = self.generator(seen.picture, seen.surface, seen.wanted)
            parts = self._likeness(found.picture, seen)
            parts["texels"] = self._texels(found.texture, seen)
            if weights.predicted:
                predicted = _steps.on_grey(found.predicted)
                parts["predicted"] = weights.predicted * F.l1_loss(predicted, seen.target)
            drawn = _steps.on_grey(found.picture)
            with _steps.frozen(self._judge):
                parts["gan"] = weights.gan * losses.gan(self._judged(drawn, seen), True)
        self._update("generator", parts)
        with self._accelerator.autocast():
            real = losses.gan(self._judged(seen.target, seen), True)
            fake = losses.gan(self._judged(drawn.detach(), seen), False)
            parts["judge"] = 0.5 * (real + fake)
        self._update("judge", {"judge": parts["judge"]})
        return {name: value.detach() for name, value in parts.items()}

    def _likeness(self, drawn: Tensor, seen: _Seen) -> dict[str, Tensor]:
        """What is wrong with a drawn picture (B, 3 or 4, H, W), but for the adversary."""
        weights, picture = self._config.weights, _steps.on_grey(drawn)
        parts = {"colours": weights.colours * F.l1_loss(picture, seen.target)}
        if drawn.shape[1] > COLOURS:
            parts["matte"] = weights.matte * _steps.drawn_matte(drawn, seen.matte)
        if self._vgg is not None:
            alike, styled = looks(self._vgg, picture, seen.target)
            parts |= {"perceptual": weights.perceptual * alike, "style": weights.style * styled}
        return parts

    def _texels(self, texture: nets.Texture, seen: _Seen) -> Tensor:
        """The multi-view loss: the atlas is right where the given picture or the other one shows it."""
        there, known = nets.gathered(seen.target, seen.worn, self.generator.side)
        views = ((texture.seen, texture.known), (there, known))
        return self._config.weights.texels * _seen_error(texture.whole, views)

    def _judged(self, picture: Tensor, seen: _Seen) -> list[list[Tensor]]:
        surfaces = nets.shown(seen.surface), nets.shown(seen.wanted)
        found: list[list[Tensor]] = self._judge(torch.cat([picture, *surfaces], 1))
        return found

    def _update(self, part: str, parts: Mapping[str, Tensor]) -> None:
        whole = torch.stack(list(parts.values())).sum()
        _steps.update(self._accelerator, self._optimisers[part], whole)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch: the given picture and its surface, the target with its matte and surface; worn: within that matte."""

    picture: Tensor
    surface: Tensor
    target: Tensor
    matte: Tensor
    wanted: Tensor
    worn: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> _Seen:
        here, there = (_surface(batch[f"{name}_surface"]) for name in ("source", "target"))
        matte = batch["target_matte"]
        return cls(
            batch["source"], nets.within(here, batch["source_matte"]),
            batch["target"], matte, there, nets.within(there, matte),
        )  # fmt: skip


def _surface(levels: Tensor) -> Tensor:
    """Of samples, part and levels of U and V (B, 3, H, W), as networks take it."""
    return torch.cat([levels[:, :1].float(), levels[:, 1:].float() / 255], 1)


def _seen_error(whole: Tensor, views: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
    """Mean absolute error of an atlas over the texels that views, (colours, known), show; each view counts as much."""
    errors = [
        ((whole - colours).abs() * known).sum() / (known.sum() * COLOURS).clamp(min=1)
        for colours, known in views
    ]
    return torch.stack(errors).mean()


def looks(vgg: nn.Module, drawn: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """How VGG's features of pictures (B, 3, H, W) in [-1, 1] differ, and how their styles do (Johnson et al., 2016).

    Mean absolute differences, and mean squared ones of Gram matrices, summed over layers. No gradient reaches `real`.
    """
    with torch.no_grad():
        wanted = vgg(nted_losses.for_vgg(real))
    found = list(zip(vgg(nted_losses.for_vgg(drawn)), wanted, strict=True))
    alike = [F.l1_loss(ours, theirs) for ours, theirs in found]
    styled = [F.mse_loss(nted_losses.gram(a), nted_losses.gram(b)) for a, b in found]
    return torch.stack(alike).sum(), torch.stack(styled).sum()
