"""The networks of Dense Pose Transfer: what is predicted, what is laid on the wanted body, and both blended.

Neverova, Güler, Kokkinos: Dense Pose Transfer (ECCV 2018). Nothing of it was ever released: layers are as another's
reading of the paper has them. Surfaces are (B, 3, H, W): the part, 0 to 24, and U and V in [0, 1] within its chart
(`surface.charts`), 0 where there is no body. Textures are atlases (B, C, 4 T, 6 T) of the 24 charts, T x T texels each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from torch import Tensor, nn

from dance.generators._placed import COLOURS
from dance.surface.charts import COLUMNS, ROWS

PARTS = ROWS * COLUMNS
SURFACE = 3  # channels of a surface
_SURE = 1e-4  # how near to 0 and 1 a matte counts
_SOLID = 0.5  # of a matte: where a body is fitted beyond it, what lies behind is no texture


@dataclass(frozen=True, slots=True)
class Texture:
    """What a picture shows of somebody's surface, and what was made of it; atlases of 4 T x 6 T texels.

    seen: (B, 3, ...) in [-1, 1], 0 where nothing is.  known: (B, 1, ...) in [0, 1], how far a texel was seen.
    whole: (B, 3, ...) in [-1, 1], every texel.
    """

    seen: Tensor
    known: Tensor
    whole: Tensor


@dataclass(frozen=True, slots=True)
class Synthesis:
    """The picture (B, 3 or 4, H, W) and what it was blended from: one as large, and the texture laid on the body."""

    picture: Tensor
    predicted: Tensor
    warped: Tensor
    texture: Texture


def gathered(picture: Tensor, surface: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The colours (B, C, H, W) laid on an atlas, (B, C, 4 side, 6 side), and how far a texel was seen, in [0, 1].

    Every pixel is shared among the four texels around its place; their colours are means. A quarter of a pixel is enough
    for a texel to count as seen: where pixels are far apart, each is then seen again as it was.
    """
    batch, channels = picture.shape[:2]
    part = surface[:, 0].flatten(1).round().long()
    row, column = (part - 1).clamp(min=0).div(COLUMNS, rounding_mode="floor"), (part - 1) % COLUMNS
    x, y = (surface[:, 1:].flatten(2) * side - 0.5).unbind(1)
    left, top = x.floor(), y.floor()
    values = torch.cat([picture, torch.ones_like(picture[:, :1])], 1).flatten(2)
    sums = values.new_zeros(batch, channels + 1, ROWS * side * COLUMNS * side)
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        # A place within half a texel of a chart's edge has its own chart around it.
        at_x, at_y = (
            (start + step).long().clamp(0, side - 1)
            for start, step in ((left, right), (top, below))
        )
        share = (1 - (x - left - right).abs()) * (1 - (y - top - below).abs()) * (part > 0)
        index = (row * side + at_y) * COLUMNS * side + column * side + at_x
        sums.scatter_add_(2, index[:, None].expand_as(values), values * share[:, None])
    sums = sums.view(batch, channels + 1, ROWS * side, COLUMNS * side)
    weight = sums[:, channels:]
    return sums[:, :channels] / weight.clamp(min=1e-4), (4 * weight).clamp(max=1)


def together(views: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One atlas of several that were gathered: each adds what those before it have not seen."""
    (seen, known), *others = views
    for colours, also in others:
        added = (1 - known) * also
        whole = known + added
        seen = (seen * known + colours * added) / whole.clamp(min=1e-4)
        known = whole
    return seen, known


def laid(atlas: Tensor, surface: Tensor) -> Tensor:
    """An atlas (B or 1, C, 4 T, 6 T) seen on surfaces (B, 3, H, W): (B, C, H, W), 0 where there is no body."""
    side = atlas.shape[-1] // COLUMNS
    part = surface[:, 0].round()
    number = (part - 1).clamp(min=0)
    row = (number / COLUMNS + 1e-3).floor()
    corner = torch.stack([number - COLUMNS * row, row], -1)
    # Within half a texel of a chart's edge its outermost texels count alone.
    inside = (surface[:, 1:].movedim(1, -1) * side).clamp(0.5, side - 0.5)
    places = corner + inside / side
    where = places / places.new_tensor([COLUMNS, ROWS]) * 2 - 1
    found = F.grid_sample(
        atlas.expand(len(surface), -1, -1, -1), where, padding_mode="border", align_corners=False
    )
    return found * (part > 0)[:, None]


def within(surface: Tensor, matte: Tensor) -> Tensor:
    """A surface (B, 3, H, W) only where the person is, after their matte (B, 1, H, W) in [0, 1]."""
    return surface * (matte > _SOLID)


def shown(surface: Tensor) -> Tensor:
    """A surface as networks see it: the part's number, too, in [0, 1]."""
    return torch.cat([surface[:, :1] / PARTS, surface[:, 1:]], 1)


class Predictive(nn.Module):
    """What the picture would be: (B, 3 + 3 + 3, H, W) picture, its surface and the wanted one -> (B, 3 or 4, H, W).

    widths: from full size on, every next at half the size of the last.  H and W: multiples of 2^(widths - 1).
    """

    def __init__(
        self, widths: Sequence[int] = (64, 128, 256), *, blocks: int = 6, alpha: bool = False
    ) -> None:
        super().__init__()
        self.downs = nn.ModuleList(
            nn.Sequential(_layer(a, b), _layer(b, b))
            for a, b in pairwise((COLOURS + 2 * SURFACE, *widths))
        )
        self.blocks = nn.Sequential(*(Residual(widths[-1]) for _ in range(blocks)))
        self.ups = nn.Sequential(
            *(
                nn.Sequential(
                    OrderedDict(
                        conv=nn.ConvTranspose2d(a, b, 4, stride=2, padding=1),
                        norm=nn.BatchNorm2d(b),
                        act=nn.ReLU(inplace=True),
                    )
                )
                for a, b in pairwise(widths[::-1])
            )
        )
        self.out = nn.Conv2d(widths[0], COLOURS + alpha, 3, padding=1)

    def forward(self, picture: Tensor, surface: Tensor, wanted: Tensor) -> Tensor:
        x = torch.cat([picture, shown(surface), shown(wanted)], 1)
        for i, down in enumerate(self.downs):
            x = down(F.max_pool2d(x, 2) if i else x)
        return bounded(self.out(self.ups(self.blocks(x))))


class Inpainter(nn.Module):
    """What nobody has seen of a surface: atlases of seen texels and of how far they were -> the whole atlas, in [-1, 1].

    Every part has an autoencoder of its own, and all see the whole through a few numbers, the context.
    side: T; a multiple of 2^widths.  kept: it is told which texels were seen, and those stay as they are.
    norm: none lets a part keep its mean colour.
    """

    def __init__(
        self,
        side: int = 256,
        widths: Sequence[int] = (32, 32, 64, 128),
        *,
        context: int = 256,
        kept: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        inner = side >> len(widths)
        assert inner << len(widths) == side, f"{side} cannot be halved {len(widths)} times"
        self.kept = kept
        self.encoder = nn.Sequential(
            *(
                _of_parts(nn.Conv2d(PARTS * a, PARTS * b, 3, 2, 1, groups=PARTS), b, norm)
                for a, b in pairwise((COLOURS + kept, *widths))
            )
        )
        self.context = nn.Sequential(
            nn.Linear(PARTS * widths[-1] * inner * inner, context), nn.ReLU(inplace=True),
            nn.Linear(context, context), nn.ReLU(inplace=True),
        )  # fmt: skip
        back = (widths[-1] + context, *widths[-2::-1])
        self.decoder = nn.Sequential(
            *(
                _of_parts(nn.ConvTranspose2d(PARTS * a, PARTS * b, 4, 2, 1, groups=PARTS), b, norm)
                for a, b in pairwise(back)
            )
        )
        self.out = nn.ConvTranspose2d(PARTS * back[-1], PARTS * COLOURS, 4, 2, 1, groups=PARTS)

    def forward(self, seen: Tensor, known: Tensor) -> Tensor:
        given = torch.cat([seen, known], 1) if self.kept else seen
        x: Tensor = self.encoder(_tiles(given).flatten(1, 2))
        context = self.context(x.flatten(1))[:, None, :, None, None]
        each = x.view(len(x), PARTS, -1, *x.shape[-2:])
        each = torch.cat([each, context.expand(-1, PARTS, -1, *x.shape[-2:])], 2)
        made: Tensor = self.out(self.decoder(each.flatten(1, 2)))
        whole = 2 * _atlas(made.view(len(x), PARTS, COLOURS, *made.shape[-2:])).sigmoid() - 1
        return whole + known * (seen - whole) if self.kept else whole


class Blender(nn.Module):
    """Both pictures made one: predicted (B, 3 or 4, H, W), warped (B, 3, H, W), the wanted surface -> (B, 3 or 4, H, W).

    added: what it draws is added to the predicted picture.
    """

    def __init__(
        self, width: int = 64, *, blocks: int = 3, alpha: bool = False, added: bool = False
    ) -> None:
        super().__init__()
        channels = COLOURS + alpha
        self.layers = nn.Sequential(
            _layer(channels + COLOURS + SURFACE, width), _layer(width, width),
            *(Residual(width) for _ in range(blocks)),
        )  # fmt: skip
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        self.added = added

    def forward(self, predicted: Tensor, warped: Tensor, wanted: Tensor) -> Tensor:
        x: Tensor = self.out(self.layers(torch.cat([predicted, warped, shown(wanted)], 1)))
        if not self.added:
            return bounded(x)
        # A matte is added to before its last function, where it cannot leave its range; half precision knows no 0.9999.
        matte = (torch.logit(predicted[:, COLOURS:].float(), _SURE) + x[:, COLOURS:]).sigmoid()
        return torch.cat([predicted[:, :COLOURS] + x[:, :COLOURS], matte], 1)


class DenseTransfer(nn.Module):
    """All of it.  forward(picture (B, 3, H, W), its surface and the wanted one (B, 3, H, W)) -> Synthesis."""

    def __init__(
        self, predictive: Predictive, inpainter: Inpainter, blender: Blender, *, side: int
    ) -> None:
        super().__init__()
        self.predictive = predictive
        self.inpainter = inpainter
        self.blender = blender
        self.side = side

    def forward(self, picture: Tensor, surface: Tensor, wanted: Tensor) -> Synthesis:
        return self.drawn(picture, surface, self.texture(picture, surface), wanted)

    def texture(self, picture: Tensor, surface: Tensor) -> Texture:
        """What one picture shows of the surface, and what is made up."""
        return self.completed(*gathered(picture, surface, self.side))

    def completed(self, seen: Tensor, known: Tensor) -> Texture:
        """The same of atlases that were gathered from several pictures."""
        return Texture(seen, known, self.inpainter(seen, known))

    def drawn(
        self, picture: Tensor, surface: Tensor, texture: Texture, wanted: Tensor
    ) -> Synthesis:
        """The same with a texture that is known; picture, surface and texture each B or 1, wanted (B, 3, H, W)."""
        given = (x.expand(len(wanted), -1, -1, -1) for x in (picture, surface))
        predicted = self.predictive(*given, wanted)
        warped = laid(texture.whole, wanted)
        return Synthesis(self.blender(predicted, warped, wanted), predicted, warped, texture)


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _layer(width, width), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.inner(x)
        return x + inner


def bounded(x: Tensor) -> Tensor:
    """Colours in [-1, 1], and what comes fourth, a matte, in [0, 1]."""
    return torch.cat([x[:, :COLOURS].tanh(), x[:, COLOURS:].sigmoid()], 1)


def _layer(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, width, 3, padding=1),
            norm=nn.BatchNorm2d(width),
            act=nn.ReLU(inplace=True),
        )
    )


def _of_parts(conv: nn.Module, width: int, norm: bool) -> nn.Sequential:
    normed = [nn.InstanceNorm2d(PARTS * width, affine=True)] if norm else []
    return nn.Sequential(conv, *normed, nn.ReLU(inplace=True))


def _tiles(atlas: Tensor) -> Tensor:
    """An atlas (B, C, 4 T, 6 T) part by part, (B, 24, C, T, T)."""
    batch, channels, height, width = atlas.shape
    cut = atlas.view(batch, channels, ROWS, height // ROWS, COLUMNS, width // COLUMNS)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def _atlas(tiles: Tensor) -> Tensor:
    """The way back from `_tiles`."""
    batch, _, channels, height, width = tiles.shape
    cut = tiles.view(batch, ROWS, COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return cut.flatten(4, 5).flatten(2, 3)
