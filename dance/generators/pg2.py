"""PG2: a person's picture and a pose, first roughly into the person in that pose, then refined by what is missing.

Ma, Jia, Sun, Schiele, Tuytelaars, Van Gool: Pose Guided Person Image Generation (NeurIPS 2017). The first stage, a
U-Net through a narrow code, sees the picture and the pose's discs; the second sees the rough result and the
picture, and adds a difference map of appearance. The published configurations are `market()` and the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import joint_maps, weights
from dance import networks as runtimes
from dance.config import Options, check
from dance.generators import _pg2_nets as nets
from dance.generators import _single as single
from dance.generators._placed import COLOURS
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

NAME = "pg2"
SCOPES = {"coarse": "Pose_AE/G", "refine": "UAEnoFC/G"}
"""The published names of the two networks."""


class Architecture(Options):
    """What the networks are and what they are shown; it is kept in the weights file. Defaults as for DeepFashion."""

    frame: single.Frame = single.Frame(height=256, width=256)
    filters: int = Field(
        128, ge=1, description="channels of the first level; level i has i times as many"
    )
    levels: int = Field(6, ge=2, description="sizes of the first stage")
    code: int = Field(64, ge=1, description="numbers all of the first stage goes through")
    refine_levels: int = Field(4, ge=1, description="sizes of the second stage; published: 2 fewer")
    refine_skips: int = Field(
        4, ge=0, description="of these, how many are handed over on the way up"
    )
    radius: float = Field(4.0, gt=0, description="of the joints' discs, in pixels")
    edge: float = Field(0.0, ge=0, description="pixels over which discs fall off; published: 0")
    alpha: bool = Field(False, description="draw a matte too; then the person is shown on grey")

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        part = 1 << (max(self.levels, self.refine_levels) - 1)
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % part:
                raise ValueError(f"frame.{name} = {value} must be a multiple of {part}")
        if self.refine_skips > self.refine_levels:
            raise ValueError(
                f"refine_skips = {self.refine_skips} must be at most refine_levels = {self.refine_levels}"
            )
        return self


def market() -> Architecture:
    """The published configuration for Market-1501."""
    frame = single.Frame(height=128, width=64)
    return Architecture(frame=frame, levels=5, refine_levels=3, refine_skips=2)


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    stage: Literal["coarse", "refined"] = Field("refined", description="which result is drawn")
    runtime: Literal["torch", "openvino"] = Field(
        "torch", description="openvino: quicker on a CPU, the same pictures"
    )


class Networks(nn.Module):
    """Both stages: forward(image (B, 3, H, W), pose (B, 18, H, W), both in [-1, 1]) -> coarse, refined.

    Both (B, 3 or 4, H, W), linear: colours are meant to be in [-1, 1]; the fourth channel is a matte's logit.
    """

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        output = COLOURS + a.alpha
        self.coarse = nets.UNet(
            COLOURS + joint_maps.JOINTS, output, a.frame.size,
            width=a.filters, levels=a.levels, code=a.code,
        )  # fmt: skip
        self.refine = nets.Difference(
            output + COLOURS, output,
            width=a.filters, levels=a.refine_levels, skips=a.refine_skips,
        )  # fmt: skip

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        coarse = self.coarse(torch.cat([image, pose], 1))
        return coarse, coarse + self.refine(torch.cat([coarse, image], 1))


def body(a: Architecture) -> Networks:
    """The networks with the published initial weights."""
    made = Networks(a)
    nets.initialise(made)
    return made


def published_names(networks: Networks) -> dict[str, str]:
    """For the published name of every layer of both stages the name of ours."""
    return {
        published: f"{part}.{ours}"
        for part, scope in SCOPES.items()
        for published, ours in nets.published_names(networks.get_submodule(part), scope).items()
    }


def architecture(published: Mapping[str, Tensor], origin: str, size: Size | None) -> Architecture:
    """The architecture whose published variables these are, read off their shapes.

    size: (height, width); by default that of the published configuration with as many levels.
    Raises InputError, starting with `origin`, for any other variables.
    """
    shape = {key: tuple(value.shape) for key, value in published.items()}
    first, code = (f"{SCOPES['coarse']}/{layer}/weights" for layer in ("Conv", "fully_connected"))
    if len(shape.get(first, ())) != 4 or len(shape.get(code, ())) != 2:
        some = ", ".join(sorted(published)[:3])
        raise InputError(f"{origin}: has no {first} and {code} of PG2; its first names are: {some}")
    # Of each stage but its last level three layers go down; the last up has two, then comes the picture.
    coarse, refine = (
        sum(key.startswith(f"{scope}/Conv") and key.endswith("/weights") for key in shape)
        for scope in SCOPES.values()
    )
    levels, refine_levels = coarse // 6, max(1, refine // 5)
    filters = shape[first][3]
    base = market() if levels == market().levels else Architecture()
    height, width = size or base.frame.size
    last = shape.get(f"{SCOPES['refine']}/Conv_{refine - 3}/weights", (0, 0, filters))[2]
    values = {
        "frame": {"height": height, "width": width}, "filters": filters, "levels": levels,
        "code": shape[code][1], "refine_levels": refine_levels,
        "refine_skips": refine_levels - (last == filters),
    }  # fmt: skip
    return check(Architecture, values, origin)


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """Published variables (of both stages, by their TensorFlow names) as networks, and the metadata of their file.

    Raises InputError, starting with `origin`, where variables are missing, unexpected or of another shape.
    """
    if face_network is not None:
        raise InputError(f"{origin}: PG2 has no face network")
    found = architecture(published, origin, size)
    made = Networks(found)
    weights.fill(made, nets.from_published(published, published_names(made)), origin)
    return made, {"generator": NAME, "config": found.model_dump_json()}


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    runtimes.check_device(config.runtime, device)
    found, trained = single.load(path, NAME, Architecture, body)
    assert isinstance(trained, Networks)
    trained.requires_grad_(False)
    return PG2(found, trained.to(device), device, stage=config.stage, runtime=config.runtime)


def untrained(device: str = "cpu", **changes: object) -> PG2:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "frame": {"height": 48, "width": 32}, "filters": 4, "levels": 3, "code": 8,
        "refine_levels": 2, "refine_skips": 2, "radius": 2,
    }  # fmt: skip
    found = check(Architecture, {**small, **changes}, NAME)
    return PG2(found, body(found).to(device), device)


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them."""

    seen: single.Seen


class PG2:
    """See the module. Every frame is drawn for itself: there is no state."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: Networks,
        device: str,
        *,
        stage: Literal["coarse", "refined"] = "refined",
        runtime: Literal["torch", "openvino"] = "torch",
    ) -> None:
        self.architecture = architecture
        self.network = trained.eval()
        self.device = device
        joined = _Stage(trained, refined=stage == "refined")
        self._draw: Callable[[Tensor], Tensor] = joined
        if runtime == "openvino":
            channels = COLOURS + joint_maps.JOINTS
            self._draw = runtimes.openvino(joined, (1, channels, *architecture.frame.size))

    def encode(self, person: Person) -> Code:
        """The person's best view, cut out for the network."""
        a = self.architecture
        return Code(single.study(person, a.frame, self.device, alone=a.alpha))

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen nothing is drawn."""

        def drawn(xy: Array, score: Array) -> Tensor:
            a = self.architecture
            wanted = nets.discs(xy, score, a.frame.size, a.radius, a.edge).to(self.device)
            picture = code.seen.picture
            parts = [self._draw(torch.cat([picture, one], 1)) for one in torch.split(wanted, 1)]
            return torch.cat(parts)

        return single.render(drawn, code.seen, self.architecture.frame, poses), None


class _Stage(nn.Module):
    """The networks as a function of one tensor, picture and discs as channels, that gives one stage's picture."""

    def __init__(self, inner: Networks, *, refined: bool) -> None:
        super().__init__()
        self.inner = inner
        self._refined = refined

    def forward(self, x: Tensor) -> Tensor:
        image = x[:, :COLOURS]
        coarse = self.inner.coarse(x)
        if not self._refined:
            return nets.with_matte(coarse)
        return nets.with_matte(coarse + self.inner.refine(torch.cat([coarse, image], 1)))
