"""Dense Pose Transfer: what the whole picture would be, and the person's surface laid on the wanted body, blended.

Neverova, Güler, Kokkinos: Dense Pose Transfer (ECCV 2018). One stream predicts the picture from the given one and both
bodies' surfaces; the other lays the picture on an atlas of the body, makes up what is not seen there, and draws the
atlas on the body as it is to stand; a third network makes one picture of both. The surfaces, DensePose's in the
paper, are those of the person's fitted and dressed body. The networks are in `_dense_transfer_nets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import Field, model_validator
from torch import Tensor

from dance.config import Options, check
from dance.generators import _dense_transfer_nets as nets
from dance.generators import _single as single
from dance.surface import charts, raster
from dance.surface.dressed import Dressed, dress, standing
from dance.types import Array, Camera, Drawn, Generator, InputError, Person, Pose, Size, Stance

NAME = "dense_transfer"
_SIDE = 256  # of the atlas that a person is dressed by, of which only their shape is taken


class Predicting(Options):
    """The predictive module. Its widths go from full size on, every next at half the size of the last."""

    widths: tuple[int, ...] = Field((64, 128, 256), min_length=1)
    blocks: int = Field(6, ge=0)


class Inpainting(Options):
    """The inpainting autoencoder.

    side: texels of a part's side.  widths: of its steps down, for each part.  context: numbers that all parts share.
    kept: it is told which texels were seen, and those stay as they are.  norm: each part's features are normed.
    """

    side: int = Field(256, ge=2)
    widths: tuple[int, ...] = Field((32, 32, 64, 128), min_length=1)
    context: int = Field(256, ge=1)
    kept: bool = False
    norm: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Inpainting:
        multiple = 1 << len(self.widths)
        # What is normed must have more than one place.
        if self.side % multiple or self.side < (2 * multiple if self.norm else multiple):
            raise ValueError(
                f"side = {self.side} must be a multiple of {multiple}, and with norm a larger one"
            )
        return self


class Blending(Options):
    """The blending module. added: what it draws is added to the predicted picture."""

    width: int = Field(64, ge=1)
    blocks: int = Field(3, ge=0)
    added: bool = False


class Architecture(Options):
    """What the networks are; it is kept in the weights file. Nothing was published: widths are another's reading.

    alpha: draw a matte too; then the person is shown on plain grey.
    """

    frame: single.Frame = single.Frame(height=256, width=256)
    predicting: Predicting = Predicting()
    inpainting: Inpainting = Inpainting()
    blending: Blending = Blending()
    alpha: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Architecture:
        multiple = 1 << (len(self.predicting.widths) - 1)
        for name, value in (("height", self.frame.height), ("width", self.frame.width)):
            if value % multiple:
                raise ValueError(f"frame.{name} = {value} must be a multiple of {multiple}")
        return self


class Config(Options):
    """Options of the generator."""

    weights: Path | None = Field(None, description="trained weights, a .safetensors file")
    views: int = Field(
        8, ge=1, description="looks at the person that the atlas is gathered from; published: 1"
    )
    atlas: Path | None = Field(
        None, description="a PNG of the person's atlas, painted by hand; else it is made up"
    )
    save_atlas: Path | None = Field(None, description="where to write the atlas, a PNG to paint")


def body(a: Architecture) -> nets.DenseTransfer:
    """The networks with fresh weights."""
    i = a.inpainting
    return nets.DenseTransfer(
        nets.Predictive(a.predicting.widths, blocks=a.predicting.blocks, alpha=a.alpha),
        nets.Inpainter(i.side, i.widths, context=i.context, kept=i.kept, norm=i.norm),
        nets.Blender(
            a.blending.width, blocks=a.blending.blocks, alpha=a.alpha, added=a.blending.added
        ),
        side=i.side,
    )


def build(config: Config, device: str) -> Generator:
    """The generator of the weights file. Raises InputError where there is none or it does not fit."""
    path = single.require(config.weights, NAME)
    architecture, found = single.load(path, NAME, Architecture, body)
    assert isinstance(found, nets.DenseTransfer)
    found.requires_grad_(False)
    return Transfer(
        architecture, found.to(device), device, views=config.views, painted=config.atlas,
        save_atlas=config.save_atlas,
    )  # fmt: skip


def untrained(device: str = "cpu", **changes: object) -> Transfer:
    """A small generator with fresh weights, for tests and the start of training; changes: of its Architecture."""
    small = {
        "frame": {"height": 48, "width": 32}, "predicting": {"widths": (4, 5, 6), "blocks": 1},
        "inpainting": {"side": 8, "widths": (3, 4), "context": 5},
        "blending": {"width": 4, "blocks": 1},
    }  # fmt: skip
    architecture = check(Architecture, {**small, **changes}, NAME)
    return Transfer(architecture, body(architecture).to(device), device)


@dataclass(frozen=True, slots=True)
class Code:
    """The person as the network sees them, their dressed body, its surface (1, 3, H, W) in the frame, and its texture."""

    seen: single.Seen
    dressed: Dressed
    surface: Tensor
    texture: nets.Texture


class Transfer:
    """The generator: see the module. Every frame is drawn for itself: there is no state.

    views: looks at the person that the atlas is gathered from.  painted: the file of an atlas.  save_atlas: where to
    write the person's.
    """

    needs: frozenset[str] = frozenset({"surface"})
    size: Size | None = None

    def __init__(
        self,
        architecture: Architecture,
        trained: nets.DenseTransfer,
        device: str,
        *,
        views: int = 1,
        painted: Path | None = None,
        save_atlas: Path | None = None,
    ) -> None:
        self.architecture = architecture
        self.network = trained.eval()
        self.device = device
        self.views = views
        self.painted = painted
        self.save_atlas = save_atlas

    def encode(self, person: Person) -> Code:
        """The person laid on their surface. Raises InputError where no body was fitted, or for a wrong atlas."""
        dressed = dress(person, side=_SIDE)
        posed = [view for view in person.views if view.pose.stance is not None][: self.views]
        looks = [self._look(replace(person, views=[view]), dressed) for view in posed]
        seen, surface = looks[0]
        side = self.architecture.inpainting.side
        atlas = nets.together([nets.gathered(one.picture, on, side) for one, on in looks])
        texture = self.network.completed(*atlas)
        if self.save_atlas is not None:
            write_atlas(self.save_atlas, texture.whole)
        if self.painted is not None:
            whole = read_atlas(self.painted, side).to(self.device)
            texture = replace(texture, whole=whole)
        return Code(seen, dressed, surface, texture)

    def _look(self, person: Person, dressed: Dressed) -> tuple[single.Seen, Tensor]:
        """The person's first view in the frame, and the surface it shows, (1, 3, H, W)."""
        a, stance = self.architecture, person.views[0].pose.stance
        assert stance is not None
        seen = single.study(person, a.frame, self.device, alone=a.alpha)
        found = drawn(dressed, stance, single.place(person, a.frame), a.frame.size)
        surface = torch.from_numpy(found)[None].to(self.device)
        return seen, nets.within(surface, seen.matte)

    def render(self, code: Code, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """Draws the poses; see `types.Generator`. Where nobody is seen, or no body is known, nothing is drawn."""
        known = [pose if pose.stance is not None else Pose.unseen() for pose in poses]

        def draw(found: Sequence[Pose], matrices: Sequence[Array]) -> Tensor:
            made = [
                self.synthesise(code, self.surface(code, pose, matrix)).picture
                for pose, matrix in zip(found, matrices, strict=True)
            ]
            return torch.cat(made)

        return single.render_poses(draw, code.seen, self.architecture.frame, known), None

    def synthesise(self, code: Code, wanted: Tensor) -> nets.Synthesis:
        """Everything the networks make of wanted surfaces (B, 3, H, W): the picture and what it is blended from."""
        return self.network.drawn(code.seen.picture, code.surface, code.texture, wanted)

    def surface(self, code: Code, pose: Pose, matrix: Array) -> Tensor:
        """The person's surface in a pose with a stance, (1, 3, H, W).  matrix: (2, 3) from its pixels to the frame's."""
        assert pose.stance is not None
        found = drawn(code.dressed, pose.stance, matrix, self.architecture.frame.size)
        return torch.from_numpy(found)[None].to(self.device)


def drawn(dressed: Dressed, stance: Stance, matrix: Array, size: Size) -> Array:
    """The surface (3, H, W) float32 of a dressed body, its part, U and V, in a frame of (height, width) `size`.

    matrix: (2, 3) from pixels of the body's camera to the frame's; it turns nothing.
    """
    camera = dressed.physique.camera
    scale = float(matrix[0, 0])
    assert scale > 0 and np.allclose(matrix[:, :2], scale * np.eye(2))
    x, y = scale * np.asarray(camera.centre) + matrix[:, 2]
    through = Camera(scale * camera.focal, (float(x), float(y)))
    seen = raster.rasterise(standing(dressed, stance)[0], dressed.faces, through, size)
    on = charts.charts(dressed.body)
    part, uv = raster.parts(seen, on), raster.uv(seen, on)
    return np.concatenate([part[None].astype(np.float32), uv.transpose(2, 0, 1)])


def write_atlas(path: Path, atlas: Tensor) -> None:
    """Writes an atlas (1, 3, 4 T, 6 T) in [-1, 1] as a PNG to look at and to paint."""
    levels = ((atlas[0].detach().movedim(0, -1).cpu().numpy() + 1) * 127.5).round().clip(0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8)).save(path, format="PNG")


def read_atlas(path: Path, side: int) -> Tensor:
    """The atlas of a picture file, (1, 3, 4 side, 6 side) in [-1, 1]; one of another size is resized.

    Raises InputError for a file that is no picture or not as wide as six parts where it is as high as four.
    """
    try:
        with Image.open(path) as opened:
            rgb = np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: is not a picture that can be read") from error
    height, width = rgb.shape[:2]
    if height * charts.COLUMNS != width * charts.ROWS:
        raise InputError(
            f"{path}: is {width}x{height}; an atlas has {charts.COLUMNS}x{charts.ROWS} square parts, "
            f"such as {charts.COLUMNS * side}x{charts.ROWS * side}"
        )
    size = (charts.COLUMNS * side, charts.ROWS * side)
    way = cv2.INTER_AREA if width > size[0] else cv2.INTER_LINEAR
    whole = cv2.resize(rgb, size, interpolation=way).astype(np.float32) / 127.5 - 1
    return torch.from_numpy(whole).movedim(-1, 0)[None]
