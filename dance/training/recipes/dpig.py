"""How Disentangled Person Image Generation is taught: to draw by codes, to code poses, and to make codes of noise.

Ma, Sun, Georgoulis, Van Gool, Schiele, Fritz: Disentangled Person Image Generation (CVPR 2018). Stage I draws a picture
from its own parts, background and pose, by L1 and against an adversary; then poses go through a few numbers and
back; in stage II Wasserstein critics teach samplers to turn noise into codes like those of true pictures. What is
published is the default unless said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps
from dance.config import Options
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators import dpig
from dance.generators._placed import COLOURS
from dance.training import people
from dance.training.album import Album
from dance.training.album import open_album as open_data
from dance.training.people import People, Sampling
from dance.training.recipes import _dcgan, _steps
from dance.types import Array, Pose, Shown, Size

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["DPIG", "Config", "build", "open_data", "pairs"]


class Weights(Options):
    """How much each loss counts. colours: L1.  pose: squared error of the pose's numbers.

    matte: cross entropy of the matte where one is drawn, not published.
    """

    gan: float = Field(1.0, ge=0)
    colours: float = Field(20.0, ge=0)
    pose: float = Field(20.0, ge=0)
    matte: float = Field(0.0, ge=0)


class Shares(Options):
    """How the budget is divided among the stages; the published steps. A stage of 0 is left out."""

    appearance: float = Field(120000, gt=0)
    pose: float = Field(60000, ge=0)
    samplers: float = Field(60000, ge=0)


class Samplers(Options):
    """Stage II. noise: its deviation.  critics: their updates for each of the samplers; clip: bound of their weights."""

    noise: float = Field(0.2, gt=0)
    critics: int = Field(5, ge=1)
    clip: float = Field(0.01, gt=0)
    rate: float = Field(2e-5, gt=0)


class Config(Options):
    """The recipe's options.

    across: the target is drawn from the source's code; published is to draw every picture from its own.
    judge: channels of the adversary's layers.  judge_row: how many of its last features make one score, see there;
    published for 256 x 256: 16384.
    rate, pose_rate: learning rates of stage I and of the pose's codes (the same if none is given).
    halved: after this share of stage I, and again after as much, the rate is halved; 0: never.
    decay_from: from this share of each stage on the rates fall to 0; published: never.
    head_start: so much more a fresh network heeds the discs of poses, see `_dcgan.head_start`; published: not, None.
    code_start: so many times as large a fresh network's codes of looks are; beside discs of 1 the published ones are faint.
    """

    generator: dpig.Architecture = dpig.Architecture()
    across: bool = False
    judge: Sequence[int] = _dcgan.WIDTHS
    judge_row: int | None = Field(None, ge=1)
    sampling: Sampling = Sampling()
    weights: Weights = Weights()
    shares: Shares = Shares()
    samplers: Samplers = Samplers()
    rate: float = Field(2e-5, gt=0)
    pose_rate: float | None = Field(None, gt=0)
    halved: float = Field(50 / 120, ge=0, le=1)
    decay_from: float = Field(1.0, ge=0, le=1)
    head_start: float | None = Field(None, gt=0)
    code_start: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Config:
        if self.weights.matte and not self.generator.alpha:
            raise ValueError("weights.matte needs generator.alpha = true")
        return self


@dataclass(frozen=True, slots=True)
class _Told:
    """A pose's discs and numbers, and where the body is; it can be sent to another process."""

    architecture: dpig.Architecture

    def __call__(self, name: str, pose: Pose, size: Size) -> dict[str, Array]:
        a = self.architecture
        xy, score = joint_maps.joints(pose)
        at = dpig.places(a, xy[None], score[None])
        vector = joint_maps.to_vector(xy, score, size).astype(np.float32).reshape(-1)
        told = {"mask": at.mask[0], "boxes": at.boxes[0], "visible": at.visible[0]}
        maps = nets.discs(xy[None], score[None], size, a.radius, a.edge)[0]
        return {key: value.numpy() for key, value in told.items()} | {"vector": vector, "maps": maps.numpy()}  # fmt: skip


def pairs(config: Config, album: Album, *, seed: int, held_out: float) -> People:
    """The samples to learn from; maps are drawn as the generator draws them."""
    a = config.generator
    return People(
        album, a.frame, seed=seed, held_out=held_out, sampling=config.sampling, alone=a.alpha,
        told=_Told(a),
    )  # fmt: skip


def build(config: Config, album: Album, accelerator: Accelerator) -> DPIG:
    """The recipe with freshly initialised networks."""
    return DPIG(config, accelerator)


class DPIG:
    """See `types.Recipe`."""

    def __init__(self, config: Config, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._lengths = config.shares.model_dump()
        a = config.generator
        self.generator: dpig.Networks = dpig.body(a).to(accelerator.device)
        if config.head_start is not None:
            stem = self.generator.appearance.decoder.stem
            _dcgan.head_start(stem, joint_maps.JOINTS, config.head_start)
        with torch.no_grad():
            self.generator.appearance.encoder.part_code.weight *= config.code_start
        self._judge = _dcgan.Discriminator(a.frame.size, widths=config.judge, row=config.judge_row)
        _dcgan.initialise(self._judge)
        self._judge.to(accelerator.device)
        self._critics = nn.ModuleDict(
            {name: _dcgan.Critic(net.first.in_features, width=a.hidden) for name, net in self._samplers().items()}
        ).to(accelerator.device)  # fmt: skip
        self._begin_stage("appearance")

    def begin(self, share: float, averaged: nn.Module) -> bool:
        """Sets the stage and the learning rates."""
        name, inside = _steps.place(self._lengths, share)
        changed = name != self.stage
        if changed:
            self.generator.load_state_dict(averaged.state_dict())
            self._begin_stage(name)
        config = self._config
        rate = config.rate
        if name == "appearance" and config.halved:
            rate *= 0.5 ** int(inside / config.halved)
        elif name == "pose":
            rate = config.pose_rate or rate
        elif name == "samplers":
            rate = config.samplers.rate
        _steps.set_rate(self._optimisers, rate * _steps.falling(inside, config.decay_from))
        return changed

    def step(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """One update of what the stage teaches."""
        steps = {
            "appearance": self._appearance_step,
            "pose": self._pose_step,
            "samplers": self._samplers_step,
        }
        return {name: float(value) for name, value in steps[self.stage](batch).items()}

    def show(self, generator: nn.Module, batch: Mapping[str, Tensor]) -> Shown:
        """The target drawn from the source's code; once poses have codes, in the pose that comes out of its own.

        Of the samplers' stage a body of noise is looked at beside it.
        """
        assert isinstance(generator, dpig.Networks)
        maps = batch["target_maps"]
        if self.stage != "appearance":
            maps = self._through_code(generator.pose, batch)
        code = _code(generator, batch, "source")
        shown = people.shown(batch, self._drawn(generator, code, maps))
        if self.stage != "samplers":
            return shown
        random = torch.Generator().manual_seed(0)
        body = dpig.sample(generator, "foreground", len(code), random, spread=self._config.samplers.noise)  # fmt: skip
        sampled = torch.cat([body, code[:, body.shape[1] :]], 1)
        beside = self._drawn(generator, sampled, maps).float().cpu().clamp(-1, 1)
        return Shown(torch.cat([shown.label, beside], -1), shown.target, shown.drawn, shown.mask)

    def save(self, path: Path, generator: nn.Module) -> None:
        """Writes all networks, those that have not been taught yet too."""
        told = {"stage": self.stage, "recipe": self._config.model_dump_json()}
        single.save(path, dpig.NAME, generator, self._config.generator, told)

    def state_dict(self) -> dict[str, Any]:
        """Stage, networks and optimisers."""
        return _steps.taken(self.stage, self._networks(), self._optimisers)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Enters the stage and goes on as if it had never been left."""
        self._begin_stage(state["stage"])
        _steps.restore(state, self._networks(), self._optimisers)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "judge": self._judge, "critics": self._critics}

    def _samplers(self) -> dict[str, nets.Dense]:
        found = {}
        for name, net in self.generator.samplers.items():
            assert isinstance(net, nets.Dense)
            found[name] = net
        return found

    def _begin_stage(self, name: str) -> None:
        self.stage = name
        whole = self.generator
        every: dict[str, dict[str, nn.Module]] = {
            "appearance": {"appearance": whole.appearance, "judge": self._judge},
            "pose": {"pose": whole.pose},
            "samplers": {"samplers": whole.samplers, "critics": self._critics},
        }
        taught = every[name]
        whole.requires_grad_(False)
        for net in taught.values():
            net.requires_grad_(True)
        if name == "samplers":
            rate = self._config.samplers.rate
            self._optimisers: dict[str, torch.optim.Optimizer] = {
                part: torch.optim.RMSprop(net.parameters(), rate) for part, net in taught.items()
            }
            return
        self._optimisers = _steps.adam(taught, self._config.rate)

    def _appearance_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encoder and decoder, then the adversary."""
        weights, whole, target = self._config.weights, self.generator, batch["target"]
        with self._accelerator.autocast():
            code = _code(whole, batch, "source" if self._config.across else "target")
            out = whole.appearance.decode(code, batch["target_maps"])
            drawn = _steps.on_grey(nets.with_matte(out))
            parts = {"colours": weights.colours * F.l1_loss(drawn, target)}
            if weights.matte:
                matte = _steps.matte(out[:, COLOURS:], batch["target_matte"])
                parts["matte"] = weights.matte * matte
            with _steps.frozen(self._judge):
                scores = self._judged(target, drawn)[1]
            parts["gan"] = weights.gan * _dcgan.real_or_not(scores, True)
        self._update("appearance", sum(parts.values(), torch.zeros(())))
        with self._accelerator.autocast():
            real, fake = self._judged(target, drawn.detach())
            wrong = _dcgan.real_or_not(real, True) + _dcgan.real_or_not(fake, False)
            parts["judge"] = 0.5 * wrong
        self._update("judge", parts["judge"])
        return {name: value.detach() for name, value in parts.items()}

    def _pose_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Poses through their codes and back; both pictures' are learnt from."""
        vectors = torch.cat([batch["source_vector"], batch["target_vector"]])
        with self._accelerator.autocast():
            loss = self._config.weights.pose * F.mse_loss(self.generator.pose(vectors), vectors)
        self._update("pose", loss)
        return {"pose": loss.detach()}

    def _samplers_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The critics some times, then the samplers once."""
        options, whole = self._config.samplers, self.generator
        with torch.no_grad(), self._accelerator.autocast():
            embedding = _code(whole, batch, "target")
            true = {
                "foreground": embedding[:, : self._config.generator.appearance],
                "background": embedding[:, self._config.generator.appearance :],
                "pose": whole.pose.encode(batch["target_vector"]),
            }
        parts = {}
        for turn in range(options.critics + 1):
            taught = "critics" if turn < options.critics else "samplers"
            apart = []
            with self._accelerator.autocast():
                for name, sampler in self._samplers().items():
                    noise = torch.randn_like(true[name]) * options.noise
                    (made,) = sampler(noise)
                    critic = self._critics[name]
                    if taught == "critics":
                        apart.append(critic(made.detach()).mean() - critic(true[name]).mean())
                    else:
                        with _steps.frozen(critic):
                            apart.append(-critic(made).mean())
                loss = torch.stack(apart).sum()
            self._update(taught, loss)
            if taught == "critics":
                _dcgan.clip_weights(self._critics, options.clip)
            parts[taught] = loss.detach()
        return parts

    def _through_code(self, coder: dpig.PoseCoder, batch: Mapping[str, Tensor]) -> Tensor:
        """The discs of the wanted poses as they come back from their codes."""
        a = self._config.generator
        vectors = coder(batch["target_vector"]).detach().float().cpu().numpy()
        poses = [joint_maps.from_vector(v.reshape(-1, 3), a.frame.size) for v in vectors]
        xy, score = (np.stack(values) for values in zip(*poses, strict=True))
        return nets.discs(xy, score, a.frame.size, a.radius, a.edge).to(batch["target_maps"])

    @staticmethod
    def _drawn(generator: dpig.Networks, code: Tensor, maps: Tensor) -> Tensor:
        return _steps.on_grey(nets.with_matte(generator.appearance.decode(code, maps)))

    def _judged(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """The scores of each; they share a batch, whose statistics the adversary judges by."""
        scores: Tensor = self._judge(torch.cat(pictures))
        return scores.chunk(len(pictures))

    def _update(self, part: str, loss: Tensor) -> None:
        _steps.update(self._accelerator, self._optimisers[part], loss)


def _code(networks: dpig.Networks, batch: Mapping[str, Tensor], name: str) -> Tensor:
    """The code (B, embedding) of the source or the target."""
    at = dpig.Places(*(batch[f"{name}_{key}"] for key in ("mask", "boxes", "visible")))
    code: Tensor = networks.appearance.encoder(batch[name], at)
    return code
