"""Soft-Gated Warping-GAN: first what is to be seen where, then the picture's features brought there.

Dong, Liang, Gong, Lai, Zhu, Yin: Soft-Gated Warping-GAN for Pose-Guided Person Image Synthesis (NeurIPS 2018). A
parsing of the person (20 labels) and the wanted pose give the parsing to be drawn; a geometric matcher says how
the one lies in the other; the picture's features are warped so, through gates, and rendered into that parsing.
The networks are in `_softgate_nets`, the matcher in `_softgate_match`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dance import draw, joint_maps, weights
from dance.config import Options, check
from dance.generators import _single as single
from dance.generators import _softgate_match as match
from dance.generators import _softgate_nets as nets
from dance.surface import body as bodies
from dance.surface import charts, parsing, raster
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size

NAME = "softgate"


class Matching(Options):
    """The geometric matcher: the side of the squares it compares, and its widths. Defaults as published, on VGG-16."""

    side: int = Field(240, ge=32, multiple_of=16)
    features: tuple[int, int, int, int] = match.VGG16_WIDTHS
    filters: tuple[int, int] = Field((128, 64), description="channels of the two convolutions")
    kernels: tuple[int, int] = Field((7, 5), description="of the two convolutions")

    @model_validator(mode="after")
    def _fits(self) -> Matching:
        if self.side // 16 <= sum(self.kernels) - 2:
            raise ValueError(f"side = {self.side} is too small for kernels of {self.kernels}")
        return self


class Architecture(Options):
    """What the networks are and what they are shown; it is kept in the weights file.

    variant: `fixed` has the paper's gates; `published` is the authors' last code, where features are added to where
    they belong as they are, and where the parser ends in a hyperbolic tangent, which leaves no label sure.
    norm: the renderer's features are normed, as published; without it colours stay what they are.
    alpha: draw a matte too; then the person is shown on plain grey.
    """

    frame: single.Frame = single.Frame(height=256, width=256)
    filters: int = Field(64, ge=1, description="channels at full size, of parser and renderer")
    downs: int = Field(3, ge=1)
    blocks: int = Field(9, ge=0)
    warps: int = Field(
        6, ge=1, description="gated warping blocks; published has one without a gate"
    )
    matching: Matching = Matching()
    radius: float = Field(4.0, gt=0, description="of a joint's disc in the pose maps, pixels")
    variant: Literal["published", "fixed"] = "fixed"
    norm: bool = True
    alpha: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % (1 << self.downs):
                raise ValueError(f"frame.{name} = {value} must be a multiple of {1 << self.downs}")
        return self


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    parsing: Path | None = Field(
        None, description="the source's parsing, a PNG of label numbers 0 to 19; else it is made"
    )


def body(a: Architecture) -> nets.SoftGate:
    """The networks with fresh weights."""
    fixed = a.variant == "fixed"
    colours = torch.from_numpy(parsing.palette()).float() / 255
    m = a.matching
    size = {"width": a.filters, "downs": a.downs, "blocks": a.blocks}
    made = nets.SoftGate(
        nets.Parser(**size, bounded=not fixed),
        nets.Matcher(
            colours, side=m.side, widths=m.features, channels=m.filters, kernels=m.kernels
        ),
        nets.Renderer(
            **size,
            warps=a.warps if fixed else 1,
            gate="soft" if fixed else "none",
            norm=a.norm,
            alpha=a.alpha,
        ),
    )
    nets.initialise(made)
    return made


def converted(
    published: Mapping[str, Tensor],
    origin: str,
    *,
    face_network: Mapping[str, Tensor] | None = None,
    size: Size | None = None,
) -> tuple[nn.Module, dict[str, str]]:
    """A published geometric matcher, affine or thin plate, under the names here, and the metadata of its file.

    Of Soft-Gated itself nothing was ever published. Raises InputError, starting with `origin`, where tensors are
    missing, unexpected or of another shape.
    """
    if face_network is not None or size is not None:
        raise InputError(f"{origin}: a geometric matcher has neither a face network nor a size")
    found = match.facts(published, origin)
    made = match.network(found)
    counts = {key: v for key, v in made.state_dict().items() if key.endswith("num_batches_tracked")}
    # Older checkpoints do not count their batches.
    weights.fill(made, counts | match.rename(published), origin)
    return made, {"network": "matcher", "published": json.dumps(found)}


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    architecture, found = single.load(path, NAME, Architecture, body)
    assert isinstance(found, nets.SoftGate)
    found.requires_grad_(False)
    return SoftGated(architecture, found.to(device), device, given=config.parsing)


def untrained(device: str = "cpu", **changes: object) -> SoftGated:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "frame": {"height": 48, "width": 32}, "filters": 3, "downs": 2, "blocks": 1, "warps": 2,
        "matching": {"side": 64, "features": (3, 4, 5, 6), "filters": (5, 4), "kernels": (2, 2)},
        "radius": 2,
    }  # fmt: skip
    architecture = check(Architecture, {**small, **changes}, NAME)
    return SoftGated(architecture, body(architecture).to(device), device)


def parsed(person: Person) -> Array:
    """The parsing of the person's best view by their fitted body, (H, W) uint8. Raises InputError where none was fitted."""
    view = person.views[0]
    if person.physique is None or view.pose.stance is None:
        raise InputError(
            "no 3-D body could be fitted to the source, which its parsing is made of: give a picture that shows "
            "more of the person, or a parsing, generator.options.parsing=FILE.png"
        )
    rig = bodies.load()
    vertices = bodies.vertices_of(rig, person.physique, view.pose.stance)
    fragments = raster.rasterise(vertices, rig.faces.numpy(), person.physique.camera, person.size)
    surface = charts.charts(rig)
    return parsing.labels(
        raster.parts(fragments, surface), raster.uv(fragments, surface), view.frame.rgb, view.alpha
    )


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them, their parsing (1, 20, H, W) in the frame, and the features of both."""

    seen: single.Seen
    parsing: Tensor
    looks: Tensor


class SoftGated:
    """See the module. Every frame is drawn for itself: there is no state. given: the file of a parsing."""

    needs: frozenset[str] = frozenset({"surface"})
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: nets.SoftGate,
        device: str,
        *,
        given: Path | None = None,
    ) -> None:
        self.architecture = architecture
        self.network = trained.eval()
        self.device = device
        self.given = given

    def encode(self, person: Person, labels: Array | None = None) -> Code:
        """The person's best view and its parsing, cut out for the network.

        labels: that parsing, (H, W) uint8; else it is read or made.
        """
        a = self.architecture
        seen = single.study(person, a.frame, self.device, alone=a.alpha)
        if labels is None:
            labels = parsed(person) if self.given is None else parsing.read(self.given, person.size)
        shares = [
            single.framed(person, a.frame, (labels == number).astype(np.float32))
            for number in range(1, nets.LABELS)
        ]
        # What is no label of the person, or beyond the picture, is background.
        known = np.stack([1 - np.sum(shares, 0), *shares]).clip(0, 1).astype(np.float32)
        of_person = torch.from_numpy(known)[None].to(self.device)
        looks = self.network.renderer.looks(torch.cat([seen.picture, of_person], 1))
        return Code(seen, of_person, looks)

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen nothing is drawn."""

        def drawn(xy: Array, score: Array) -> Tensor:
            maps = self.maps(xy, score)
            return torch.cat([self.synthesise(code, one).picture for one in torch.split(maps, 1)])

        return single.render(drawn, code.seen, self.architecture.frame, poses), None

    def synthesise(self, code: Code, maps: Tensor) -> nets.Synthesis:
        """Everything the networks make of pose maps (B, 18, H, W): the picture, its parsing, the movements."""
        return self.network.drawn(code.looks, code.parsing, maps)

    def maps(self, xy: Array, score: Array) -> Tensor:
        """The maps of poses (T, 18, 2) in the frame's pixels, (T, 18, H, W)."""
        a = self.architecture
        assert xy.shape[1] == joint_maps.JOINTS
        made = [
            draw.discs(places, seen, a.frame.size, a.radius)
            for places, seen in zip(xy, score, strict=True)
        ]
        return torch.from_numpy(np.stack(made).astype(np.float32)).to(self.device)
