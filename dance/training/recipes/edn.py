"""How Everybody Dance Now learns a person: stages, adversaries and losses, as published unless said.

Chan, Ginosar, Zhou, Efros: Everybody Dance Now (ICCV 2019). Two frames at a time: the first is drawn from
nothing, the second from the first, and the adversary judges both together with their labels. First the trunk
at half the size, then the whole picture, then, the rest frozen, what is to be added to the face.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance.config import Options
from dance.dataset import Dataset
from dance.generators import _pix2pix as nets
from dance.generators import edn
from dance.geometry import person_window
from dance.labels import LabelOptions, label
from dance.training import losses
from dance.training.data import Augment, Look, Pairs
from dance.training.recipes import _steps
from dance.types import Array, InputError, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)


class Adversary(Options):
    """The discriminators. scales: of the picture; one less where only the trunk is taught, as published."""

    filters: int = Field(64, ge=1, description="channels of the first layer (ndf)")
    layers: int = Field(3, ge=1)
    scales: int = Field(3, ge=1)
    face_filters: int = Field(64, ge=1)


class Weights(Options):
    """How much each loss counts. l1, change and matte are not published: they make short trainings possible.

    features: of the discriminator on true and drawn pictures, of each other.  vgg: of VGG-19's features;
    the trunk alone is taught with half of it.  l1: of colours.  change: L1 of how the colours change from the
    first frame to the second (only where `temporal`).  matte: L1 of the matte, where one is drawn.
    face_gan: of the face's adversary.
    """

    gan: float = Field(1.0, ge=0)
    features: float = Field(10.0, ge=0)
    vgg: float = Field(10.0, ge=0)
    l1: float = Field(0.0, ge=0)
    change: float = Field(0.0, ge=0)
    matte: float = Field(0.0, ge=0)
    face_gan: float = Field(0.5, ge=0)


class Shares(Options):
    """How the budget is divided among the stages; the published epochs. A stage of 0 is left out."""

    coarse: float = Field(5.0, ge=0)
    fine: float = Field(30.0, gt=0)
    face: float = Field(5.0, ge=0)


class Config(Options):
    """The recipe's options.

    generator: the networks; with `window` its width and view follow from the person and its height.
    window: only the person is learnt, in a view that follows them (needs generator.alpha).
    temporal: false: every frame is drawn from nothing and judged alone.  face: false: no face network.
    rehearsals: up to so many unjudged frames are drawn before the two that are, back and forth over the same
    poses, so that the network meets its own pictures as it will in a long clip; published: 0.
    through: gradients of the second frame flow through the first.
    trunk_frozen: the share of the fine stage in which the trunk stays as it is.
    vgg: a safetensors file of VGG-19's features; without it that loss is off.
    decay_from: from this share of each stage on the learning rate falls to 0.
    """

    generator: edn.Architecture = edn.Architecture()
    window: bool = False
    adversary: Adversary = Adversary()
    weights: Weights = Weights()
    shares: Shares = Shares()
    augment: Augment = Augment()
    temporal: bool = True
    face: bool = True
    rehearsals: int = Field(0, ge=0)
    through: bool = True
    trunk_frozen: float = Field(0.0, ge=0, le=1)
    vgg: Path | None = None
    rate: float = Field(2e-4, gt=0)
    decay_from: float = Field(0.5, ge=0, le=1)
    channels_last: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.window and not self.generator.alpha:
            raise ValueError("window = true needs generator.alpha = true")
        if self.window and self.generator.height % 32:
            raise ValueError(
                f"generator.height = {self.generator.height} must be a multiple of 32 with a window"
            )
        if self.weights.matte and not self.generator.alpha:
            raise ValueError("weights.matte needs generator.alpha = true")
        return self


def architecture(config: Config, footage: Dataset) -> edn.Architecture:
    """The networks to end with: with a window, their width and view from how far the person reaches."""
    values = config.generator.model_dump()
    if config.window:
        facts = footage.facts
        window = person_window(facts.reach, facts.size, config.generator.height)
        values |= {
            "width": window.size[1],
            "follow": {"scale": window.scale, "anchor": window.anchor, "picture": window.picture},
        }
    if not config.face:
        values["face"] = None
    elif values["face"] is None:
        values["face"] = edn.Face().model_dump()
    return edn.Architecture.model_validate(values)


def coarse(whole: edn.Architecture) -> edn.Architecture:
    """The trunk as a network of its own, at the size it has in the whole one."""
    part = 1 << whole.enhancers
    follow = whole.follow
    if follow is not None:
        x, y = ((value + 0.5) / part - 0.5 for value in follow.anchor)
        follow = follow.model_copy(update={"scale": follow.scale / part, "anchor": (x, y)})
    return edn.Architecture.model_validate(
        whole.model_dump()
        | {
            "network": "global", "height": whole.height // part, "width": whole.width // part,
            "filters": whole.filters * part, "face": None,
            "follow": None if follow is None else follow.model_dump(),
        }
    )  # fmt: skip


def pairs(config: Config, footage: Dataset, *, seed: int, held_out: float) -> Pairs:
    """The samples to learn from; labels are drawn as the generator will draw them."""
    whole = architecture(config, footage)
    window = None
    if config.window:
        window = person_window(footage.facts.reach, footage.facts.size, whole.height)
    strokes = whole.size if config.window else footage.facts.size
    return Pairs(
        footage, Look(whole.size, window), _Label(strokes, whole.label), seed=seed,
        augment=config.augment, held_out=held_out,
        face=None if whole.face is None else whole.face.side,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Label:
    """Draws labels; it can be sent to another process."""

    picture: Size
    options: LabelOptions

    def __call__(self, pose: Pose, size: Size) -> Array:
        return label(pose, size, self.picture, self.options)


def build(config: Config, footage: Dataset, accelerator: Accelerator) -> EDN:
    """The recipe with freshly initialised networks. Raises InputError for options that do not fit."""
    whole = architecture(config, footage)
    if config.vgg is None and config.weights.vgg and accelerator.is_main_process:
        log.info("no VGG-19 weights are given (recipe.options.vgg): its loss is off")
    return EDN(config, whole, accelerator)


class EDN:
    """See `types.Recipe`."""

    def __init__(self, config: Config, whole: edn.Architecture, accelerator: Accelerator) -> None:
        self._config = config
        self._whole = whole
        self._accelerator = accelerator
        self._vgg: nn.Module | None = None
        if config.vgg is not None and config.weights.vgg:
            self._vgg = losses.vgg19(config.vgg, str(accelerator.device))
        shares = config.shares
        lengths = {
            "coarse": shares.coarse if whole.network == "local" else 0,
            "fine": shares.fine,
            "face": shares.face if whole.face is not None else 0,
        }
        self._lengths = {name: length for name, length in lengths.items() if length > 0}
        self._begin_stage(next(iter(self._lengths)), None)

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the stage and the learning rate."""
        name, inside = _steps.place(self._lengths, share)
        changed = name != self.stage
        if changed:
            self._begin_stage(name, averaged)
        left = _steps.falling(inside, self._config.decay_from)
        _steps.set_rate(self._optimisers, self._config.rate * left)
        if self.stage == "fine" and isinstance(self.generator.generator, nets.LocalEnhancer):
            trained = inside >= self._config.trunk_frozen
            self.generator.generator.trunk.requires_grad_(trained)
        return changed

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of generator and discriminator, or of the face's."""
        seen = self._prepared(batch)
        parts = self._face_step(seen) if self.stage == "face" else self._body_step(seen)
        return {name: float(value) for name, value in parts.items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """The second frame of the batch's pairs, drawn from the first, which is drawn from nothing."""
        assert isinstance(generator, edn.Networks)
        seen = self._prepared(batch)
        nothing = torch.zeros_like(seen.labels[0])
        drawn = self._rolled(generator.generator, seen.labels, nothing)[1]
        if generator.face is not None and self.stage == "face":
            drawn = self._with_faces(generator.face, drawn, seen.labels[1], seen.faces[:, 1])
        picture = seen.inside(self._composed(drawn), 1)
        shape = tuple(batch["picture"].shape[-2:])
        target, mask = batch["picture"][:, 1], batch["valid"][:, 1]
        if self._whole.alpha:
            target = target * batch["matte"][:, 1] * mask
        picture = F.interpolate(picture.float(), shape, mode="bilinear") if picture.shape[-2:] != shape else picture  # fmt: skip
        shown = batch["label"][:, 1] * 2 - 1
        return Shown(shown, target, picture.clamp(-1, 1), batch["matte"][:, 1] * mask)

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes the networks with their architecture and how they were taught."""
        assert isinstance(generator, edn.Networks)
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        edn.save(path, generator, self._architecture(), told)

    def state_dict(self) -> dict[str, Any]:
        """Stage, networks and optimisers."""
        taken = _steps.taken(self.stage, self._networks(), self._optimisers)
        return taken | {"vgg": self._vgg is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Enters the stage and goes on as if it had never been left."""
        if state["vgg"] != (self._vgg is not None):
            raise InputError("the run was begun with another setting of recipe.options.vgg")
        self._begin_stage(state["stage"], None)
        _steps.restore(state, self._networks(), self._optimisers)

    def _architecture(self) -> edn.Architecture:
        if self.stage == "coarse":
            return coarse(self._whole)
        return (
            self._whole if self.stage == "face" else self._whole.model_copy(update={"face": None})
        )

    def _begin_stage(self, name: str, before: nn.Module | None) -> None:
        """New networks for the stage; what an earlier one has learnt (`before`: its generator) is carried on."""
        last_adversary = getattr(self, "_adversary", None)
        self.stage = name
        config, device = self._config, self._accelerator.device
        generator = edn.Networks(self._architecture())
        if not config.temporal:
            _ignore_the_previous(generator.generator)
        adversary: nn.Module
        if name == "face":
            adversary = nets.PatchDiscriminator(
                2 * edn.COLOURS, width=config.adversary.face_filters,
                layers=config.adversary.layers,
            )  # fmt: skip
        else:
            scales = config.adversary.scales - (name == "coarse")
            frames = 2 if config.temporal else 1
            adversary = nets.MultiscaleDiscriminator(
                frames * 2 * edn.COLOURS, width=config.adversary.filters,
                layers=config.adversary.layers, scales=max(1, scales),
            )  # fmt: skip
        nets.initialise(adversary)
        if before is not None:
            assert isinstance(before, edn.Networks)
            _carry(before.generator, generator.generator)
            if isinstance(adversary, nets.MultiscaleDiscriminator) and last_adversary is not None:
                # The picture of the stage before is the new one halved.
                pairs = zip(
                    reversed(adversary.scales), reversed(last_adversary.scales), strict=False
                )
                for new, old in pairs:
                    new.load_state_dict(old.state_dict())
        if config.channels_last:
            for module in (generator, adversary):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator: edn.Networks = generator.to(device)
        self._adversary: nn.Module = adversary.to(device)
        taught: nn.Module = self.generator.generator
        if name == "face":
            assert self.generator.face is not None
            self.generator.generator.requires_grad_(False)
            taught = self.generator.face
        self._optimisers = _steps.adam(
            {"generator": taught, "adversary": self._adversary}, config.rate
        )
        compiled = torch.compile if config.compile else _as_it_is
        self._body: Callable[[Tensor], Tensor] = compiled(self.generator.generator)
        self._judge: Callable[[Tensor], Any] = compiled(self._adversary)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "adversary": self._adversary}

    def _prepared(self, batch: Mapping[str, Tensor]) -> _Seen:
        """The batch at the stage's size, colours under their mattes where a matte is drawn."""
        picture, matte, valid, labels = (
            batch[k] for k in ("picture", "matte", "valid", "label")
        )  # each (B, 2, C, H, W)
        if self._whole.alpha:
            picture = picture * matte
        picture = picture * valid
        planes = [labels, picture, matte, valid]
        if self.stage == "coarse":
            for _ in range(self._whole.enhancers):
                planes = [_halved(x) for x in planes]
        labels, picture, matte, valid = (x.transpose(0, 1) for x in planes)
        return _Seen(labels, picture, matte, valid, batch["face"])

    def _body_step(self, seen: _Seen) -> dict[str, Tensor]:
        """Generator, then discriminator, on the same drawn pictures."""
        config, weights = self._config, self._config.weights
        before = self._rehearsed(seen.labels)
        with self._accelerator.autocast():
            outputs = self._rolled(self._body, seen.labels, before)
            drawn = torch.stack(
                [seen.inside(self._composed(output), i) for i, output in enumerate(outputs)]
            )
            true = self._judged(self._evidence(seen.labels, seen.pictures))
            # The discriminator's own gradients of this pass are thrown away below.
            with _steps.frozen(self._adversary):
                false = self._judged(self._evidence(seen.labels, drawn))
            parts = {
                "gan": weights.gan * losses.gan(false, True),
                "features": losses.feature_matching(
                    false, true, layers=config.adversary.layers, weight=weights.features
                ),
            }
            if self._vgg is not None:
                half = 0.5 if self.stage == "coarse" else 1.0
                every = [
                    losses.perceptual(self._vgg, *dp)
                    for dp in zip(drawn, seen.pictures, strict=True)
                ]
                parts["vgg"] = half * weights.vgg * torch.stack(every).sum()
            if weights.l1:
                parts["l1"] = weights.l1 * F.l1_loss(drawn, seen.pictures)
            if weights.change and config.temporal:
                changes = drawn[1] - drawn[0], seen.pictures[1] - seen.pictures[0]
                parts["change"] = weights.change * F.l1_loss(*changes)
            if weights.matte:
                mattes = torch.stack(outputs)[:, :, edn.COLOURS :]
                parts["matte"] = weights.matte * F.l1_loss(mattes, seen.mattes)
            whole = sum(parts.values(), torch.zeros((), device=drawn.device))
        self._update("generator", whole)
        with self._accelerator.autocast():
            fooled = self._judged(self._evidence(seen.labels, drawn.detach()))
            parts["judge"] = 0.5 * (losses.gan(true, True) + losses.gan(fooled, False))
        self._update("adversary", parts["judge"])
        return {name: value.detach() for name, value in parts.items()}

    def _face_step(self, seen: _Seen) -> dict[str, Tensor]:
        """The face's residual and its discriminator, on both frames where a face is seen; the rest is frozen."""
        weights, side = self._config.weights, self._side
        assert self.generator.face is not None
        before = self._rehearsed(seen.labels)
        with torch.no_grad(), self._accelerator.autocast():
            outputs = self._rolled(self._body, seen.labels, before)
        given, label_cuts, true_cuts, mattes = [], [], [], []
        for i, output in enumerate(outputs):
            for b, box in enumerate(seen.faces[:, i].tolist()):
                if box[0] < 0:
                    continue
                at = (slice(b, b + 1), slice(None), slice(box[0], box[1]), slice(box[2], box[3]))
                given.append(edn.face_input(output[b : b + 1], seen.labels[i][b : b + 1], box))
                label_cuts.append(seen.labels[i][at])
                true_cuts.append(seen.pictures[i][at])
                mattes.append(output[at][:, edn.COLOURS :])
        if not given:
            # Every process must take part in the others' averages.
            nothing = sum(p.sum() for p in self.generator.face.parameters()) * 0
            self._update("generator", torch.as_tensor(nothing))
            nothing = sum(p.sum() for p in self._adversary.parameters()) * 0
            self._update("adversary", torch.as_tensor(nothing))
            return {}
        inputs, labels, true = (torch.cat(x) for x in (given, label_cuts, true_cuts))
        assert inputs.shape[-1] == side
        with self._accelerator.autocast():
            drawn = inputs[:, edn.COLOURS :] + self.generator.face(inputs)
            if self._whole.alpha:
                drawn = drawn * torch.cat(mattes)
            with _steps.frozen(self._adversary):
                false = [self._judge(torch.cat([labels, drawn], 1))]
            parts = {"gan": weights.face_gan * losses.gan(false, True)}
            if self._vgg is not None:
                parts["vgg"] = 0.5 * weights.vgg * losses.perceptual(self._vgg, drawn, true)
            if weights.l1:
                parts["l1"] = weights.l1 * F.l1_loss(drawn, true)
            whole = sum(parts.values(), torch.zeros((), device=drawn.device))
        self._update("generator", whole)
        with self._accelerator.autocast():
            real = [self._judge(torch.cat([labels, true], 1))]
            fooled = [self._judge(torch.cat([labels, drawn.detach()], 1))]
            parts["judge"] = 0.5 * weights.face_gan * (
                losses.gan(real, True) + losses.gan(fooled, False)
            )  # fmt: skip
        self._update("adversary", parts["judge"])
        return {name: value.detach() for name, value in parts.items()}

    @property
    def _side(self) -> int:
        assert self._whole.face is not None
        return self._whole.face.side

    def _rehearsed(self, labels: Tensor) -> Tensor:
        """What the first frame is shown of an output before it: nothing, or that of rehearsals."""
        before = torch.zeros_like(labels[0])
        if not (self._config.temporal and self._config.rehearsals):
            return before
        count = int(torch.randint(self._config.rehearsals + 1, ()))
        # Apart from the autocast of the step, which would remember weights cast without gradients.
        with torch.no_grad(), self._accelerator.autocast():
            for k in range(count):
                # Ends at the second frame: it is as near to the first as the frame before that would be.
                i = (count - k) % 2
                before = edn.remembered(self._body(torch.cat([labels[i], before], 1)))
        return before

    def _rolled(
        self, body: Callable[[Tensor], Tensor], labels: Tensor, before: Tensor
    ) -> list[Tensor]:
        """Both frames' outputs (B, 3 or 4, H, W): the first after `before`, the second after the first."""
        first = body(torch.cat([labels[0], before], 1))
        last = edn.remembered(first) if self._config.temporal else torch.zeros_like(before)
        if not self._config.through:
            last = last.detach()
        return [first, body(torch.cat([labels[1], last], 1))]

    def _composed(self, output: Tensor) -> Tensor:
        """The output (B, 3 or 4, H, W) as a picture: on neutral grey where it has a matte."""
        return edn.remembered(output)

    def _with_faces(
        self, face: Callable[[Tensor], Tensor], drawn: Tensor, labels: Tensor, boxes: Tensor
    ) -> Tensor:
        pictures = [drawn[b : b + 1] for b in range(len(drawn))]
        for b, box in enumerate(boxes.tolist()):
            if box[0] >= 0:
                pictures[b] = edn.with_face(face, pictures[b], labels[b : b + 1], box)
        return torch.cat(pictures)

    def _evidence(self, labels: Tensor, pictures: Tensor) -> Tensor:
        """What a discriminator sees of (2, B, 3, H, W) each: both frames together, or every frame alone."""
        if not self._config.temporal:
            return torch.cat([labels, pictures], 2).flatten(0, 1)
        return torch.cat([*labels, *pictures], 1)

    def _judged(self, evidence: Tensor) -> list[list[Tensor]]:
        found: list[list[Tensor]] = self._judge(evidence)
        return found

    def _update(self, name: str, loss: Tensor) -> None:
        """One step of an optimiser; the gradients are the mean of all processes'."""
        _steps.update(self._accelerator, self._optimisers[name], loss)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch at the stage's size: labels, pictures, mattes, valid (2, B, C, H, W); faces (B, 2, 4) int."""

    labels: Tensor
    pictures: Tensor
    mattes: Tensor
    valid: Tensor
    faces: Tensor

    def inside(self, drawn: Tensor, frame: int) -> Tensor:
        """The drawn picture without what the camera did not see, where the true one is grey too."""
        return drawn * self.valid[frame]


def _as_it_is(module: nn.Module) -> nn.Module:
    return module


def _halved(planes: Tensor) -> Tensor:
    """(B, 2, C, H, W) at half the size, as the networks halve."""
    small: Tensor = nets.Halve()(planes.flatten(0, 1))
    return small.view(*planes.shape[:2], *small.shape[1:])


def _carry(old: nn.Module, new: nn.Module) -> None:
    """Copies every weight of the same name and shape, as published: the trunk, or all of it."""
    given = old.state_dict()
    there = new.state_dict()
    new.load_state_dict(
        {k: given[k] if k in given and given[k].shape == v.shape else v for k, v in there.items()}
    )


def _ignore_the_previous(network: nn.Module) -> None:
    """Zero weights for the previous picture: always shown nothing there, they never change."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 2 * edn.COLOURS:
            with torch.no_grad():
                module.weight[:, edn.COLOURS :] = 0
