"""What a person wears where: the 20 labels of Look into Person (Gong et al., CVPR 2017), as Soft-Gated takes them.

From the fitted body, the matte and the colours of one picture, without any trained parser: the body says which limb a
pixel is, the colour of the face what is bare skin and what is hair. Left and right are the person's own.

Never produced, because nothing here tells them apart from what they lie on: hat, glove, sunglasses, dress, coat,
socks, scarf (1, 3, 4, 6, 7, 8, 11). A hat counts as hair, a glove as arm or sleeve, a coat and the upper half of a
dress as upper clothes (its lower half as skirt), socks as trousers or shoe, a scarf as upper clothes. A parsing
of the user's own (`read`) may have all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from scipy.ndimage import distance_transform_edt

from dance.surface.parts import PARTS
from dance.types import Array, InputError, Size

LABELS: tuple[str, ...] = (
    "background", "hat", "hair", "glove", "sunglasses", "upper clothes", "dress", "coat", "socks", "trousers",
    "torso skin", "scarf", "skirt", "face", "left arm", "right arm", "left leg", "right leg", "left shoe", "right shoe",
)  # fmt: skip
"""The name of every label by its number. In LIP itself 10 is a jumpsuit; its successor CIHP, whose other numbers are
the same, has the skin of neck and trunk there, and so has Soft-Gated's data."""
NEVER: frozenset[str] = frozenset({"hat", "glove", "sunglasses", "dress", "coat", "socks", "scarf"})
"""What `labels` never gives."""

_SOLID = 0.5  # alpha above which a pixel is the person's
_FEW = 20  # pixels too few to tell a colour from
_SPREAD = np.array(
    [12.0, 5.0, 5.0], np.float32
)  # least deviations of a material's colour, 8-bit Lab
_SKIN_REACH = 2.0  # deviations within which a colour is still skin's
_BARE_REACH = 0.8  # deviations within which the colour of a whole garment must be skin itself
_ALIKE = 1.5  # deviations within which two materials are one
_CALM = 0.004  # of the body's height: what is smaller is no garment
# Places in charts. U in the head's is counted from the profile for both halves.
_INNER_FACE = (0.3, 0.37, 0.84)  # U up to, V from and to: between brows and chin
_CHEEK = (0.06, 0.3, 0.46, 0.62)  # U from, to, V from, to: always bare
_SCALP = (0.55, 0.22)  # U beyond or V before: hair, where there is any
_CHIN = 0.84  # V where the neck begins
_WAIST = 0.63  # V in the torso's charts where trousers end, usually
_WAISTS = np.linspace(0.5, 0.8, 31)  # where colours may move it to
_CHEST = (0.25, 0.45)  # V: surely above the waist
_SEAT = 0.84  # V: from here on surely below it
_HALFWAY = (0.3, 0.7)  # V of thighs and shins between which the gap between the legs is looked at
_SKIRT_SHARE = 0.6  # of the gap between the thighs that a skirt fills; wide trousers may, too,
_LONG_SHARE = (
    0.9  # but not so much of that between the shins as a long skirt, and under a short one
)
_BARE_SHARE = 0.5  # so much of the shins is bare
_GAP_SHARE = 0.05  # of the legs' own area: a narrower gap tells nothing

_SEGMENTS = ("", "torso", "head", *(f"{side} {limb}" for side in ("left", "right") for limb in ("arm", "hand", "thigh", "shin", "foot")))  # fmt: skip


def _segment(part: str) -> int:
    if part == "background":
        return 0
    words = part.removesuffix(" front").removesuffix(" back").split()
    if words[0] == "torso" or words[-1] == "head":
        return _SEGMENTS.index("head" if words[-1] == "head" else "torso")
    limb = "arm" if words[-1] in ("arm", "forearm") else words[-1]
    return _SEGMENTS.index(f"{words[0]} {limb}")


@dataclass(frozen=True, slots=True)
class _Colour:
    """A material's colour: its median (3,) and deviations (3,) in 8-bit Lab."""

    middle: Array
    spread: Array

    def far(self, lab: Array) -> Array:
        """How many deviations colours (..., 3) are away, (...)."""
        return np.asarray(np.sqrt((((lab - self.middle) / self.spread) ** 2).mean(-1)))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A picture of a person: per pixel the segment of the nearest body part, its place in its chart, colour in Lab,
    whether the person is there, and whether the body itself is."""

    segment: Array
    u: Array
    v: Array
    lab: Array
    person: Array
    body: Array

    def of(self, *names: str) -> Array:
        """Where the nearest body part is one of these segments, (H, W) bool."""
        return np.isin(self.segment, [_SEGMENTS.index(name) for name in names])


def labels(part: Array, uv: Array, rgb: Array, alpha: Array) -> Array:
    """The labels of a picture, (H, W) uint8 in 0..19.

    part, uv: (H, W) and (H, W, 2) of the fitted body, from `raster`.  rgb: (H, W, 3) uint8.
    alpha: (H, W) in [0, 1], the person's matte. Where the body is not seen at all everything is background.
    """
    out = np.zeros(part.shape, np.uint8)
    if not (part > 0).any():
        return out
    fine = max(0.6, _CALM * float(np.ptp(np.nonzero(part)[0])))
    seen = _look(part, uv, rgb, alpha, fine)
    skin = _skin(seen)
    upper, lower = _clothes(seen, skin)
    bare = _bare(seen, skin, [worn for worn in (upper, lower) if worn is not None], fine)
    torso = seen.of("torso")
    out[torso] = _number("upper clothes")
    out[torso & (seen.v > _waist(seen, upper, lower))] = _number("trousers")
    out[torso & bare] = _number("torso skin")
    for side in ("left", "right"):
        arm, thigh, shin = (seen.of(f"{side} {limb}") for limb in ("arm", "thigh", "shin"))
        out[arm] = _number("upper clothes")
        out[(arm & bare) | seen.of(f"{side} hand")] = _number(f"{side} arm")
        out[thigh | shin] = _number("trousers")
        out[(thigh | shin) & bare] = _number(f"{side} leg")
        foot = seen.of(f"{side} foot")
        out[foot] = _number(f"{side} shoe")
        out[foot & bare] = _number(f"{side} leg")
    if _skirted(part, uv, seen, bare):
        out[(out == _number("trousers")) & ~seen.of("left shin", "right shin")] = _number("skirt")
    head = seen.of("head")
    out[head] = _head(seen, skin, bare, upper)[head]
    out[~seen.person] = 0
    return out


def read(path: Path, size: Size) -> Array:
    """A parsing made elsewhere, (H, W) uint8 in 0..19: a PNG whose pixels are label numbers, of this (height, width).

    Raises InputError for a file that cannot be read, is no map of labels, or is of another size.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode not in ("L", "P", "1", "I", "I;16"):
                raise InputError(
                    f"{path}: is a colour picture ({image.mode}); give a PNG whose pixels are the label numbers 0 to 19"
                )
            found = np.asarray(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is no PNG; give a PNG whose pixels are label numbers") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: cannot be read ({error}); give a PNG of label numbers"
        ) from error
    if found.shape != tuple(size):
        raise InputError(
            f"{path}: is {found.shape[1]}x{found.shape[0]}; the picture it is for is {size[1]}x{size[0]}"
        )
    if found.max(initial=0) >= len(LABELS):
        raise InputError(
            f"{path}: holds the label {found.max()}; there are 0 ({LABELS[0]}) to 19 ({LABELS[-1]})"
        )
    return found.astype(np.uint8)


def write(path: Path, labels: Array) -> None:
    """Writes labels (H, W) uint8 as a PNG of their numbers, with a palette to look at them by."""
    image = Image.fromarray(labels)
    image.putpalette(palette().ravel().tolist())
    image.save(path, format="PNG")


def palette() -> Array:
    """A colour for every label, (20, 3) uint8: the usual one of segmentation data (Pascal VOC's)."""
    numbers = np.arange(len(LABELS))
    # A colour's bits, from the highest, are every third bit of the number, from the lowest.
    bits = (numbers[:, None, None] >> (3 * np.arange(3)[:, None] + np.arange(3))) & 1
    return np.asarray((bits << (7 - np.arange(3))[:, None]).sum(1), np.uint8)


def _number(name: str) -> int:
    return LABELS.index(name)


def _look(part: Array, uv: Array, rgb: Array, alpha: Array, fine: float) -> _Seen:
    """Clothes and hair stand out from the body: every pixel belongs to the nearest body part."""
    body = part > 0
    rows, columns = distance_transform_edt(~body, return_distances=False, return_indices=True)
    nearest, place = part[rows, columns], uv[rows, columns]
    u = np.where(nearest == PARTS.index("right head"), 1 - place[..., 0], place[..., 0])
    segment = np.array([_segment(name) for name in PARTS])[nearest]
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), fine), cv2.COLOR_RGB2LAB).astype(np.float32)
    return _Seen(segment, u, place[..., 1], lab, alpha >= _SOLID, body)


def _colour(lab: Array) -> _Colour | None:
    """The colour of samples (n, 3); None of too few."""
    if len(lab) < _FEW:
        return None
    middle = np.median(lab, 0)
    # 1.5 median deviations are about one standard deviation.
    return _Colour(middle, np.maximum(1.5 * np.median(np.abs(lab - middle), 0), _SPREAD))


def _skin(seen: _Seen) -> _Colour | None:
    """The cheeks' colour, else the hands'."""
    cheek = (
        seen.of("head") & (seen.u > _CHEEK[0]) & (seen.u < _CHEEK[1])
        & (seen.v > _CHEEK[2]) & (seen.v < _CHEEK[3])
    )  # fmt: skip
    sure = seen.person & seen.body
    found = _colour(seen.lab[cheek & sure])
    return found or _colour(seen.lab[seen.of("left hand", "right hand") & sure])


def _clothes(seen: _Seen, skin: _Colour | None) -> tuple[_Colour | None, _Colour | None]:
    """The colours worn above and below the waist; None of what is bare or not seen."""
    torso, sure = seen.of("torso"), seen.person & seen.body
    chest = torso & (seen.v > _CHEST[0]) & (seen.v < _CHEST[1])
    seat = torso & (seen.v > _SEAT)
    upper, lower = _colour(seen.lab[chest & sure]), _colour(seen.lab[seat & sure])
    if skin is not None:
        upper = None if upper is None or skin.far(upper.middle) < _BARE_REACH else upper
        lower = None if lower is None or skin.far(lower.middle) < _BARE_REACH else lower
    return upper, lower


def _bare(seen: _Seen, skin: _Colour | None, worn: list[_Colour], fine: float) -> Array:
    """Where skin shows, (H, W) bool: its colour, and nearer to it than to that of clothes."""
    if skin is None:
        return np.zeros(seen.segment.shape, bool)
    away = skin.far(seen.lab)
    bare = away < _SKIN_REACH
    for clothes in worn:
        bare &= away < clothes.far(seen.lab)
    return np.asarray(cv2.GaussianBlur(bare.astype(np.float32), (0, 0), fine) > 0.5)


def _waist(seen: _Seen, upper: _Colour | None, lower: _Colour | None) -> float:
    """V in the torso's charts where what is worn changes; the usual place where colours do not tell."""
    if (
        upper is None
        or lower is None
        or min(upper.far(lower.middle), lower.far(upper.middle)) < _ALIKE
    ):
        return _WAIST
    band = seen.of("torso") & seen.person & seen.body
    band &= (seen.v > _WAISTS[0]) & (seen.v < _WAISTS[-1])
    v, below = seen.v[band], lower.far(seen.lab[band]) < upper.far(seen.lab[band])
    wrong = [((v > waist) != below).sum() for waist in _WAISTS]
    return float(_WAISTS[int(np.argmin(wrong))])


def _skirted(part: Array, uv: Array, seen: _Seen, bare: Array) -> bool:
    """Whether clothes fill the gap between the thighs as a skirt does."""
    clothed = seen.person & ~bare
    if _filled(part, uv, "thigh", clothed) < _SKIRT_SHARE:
        return False
    shins = seen.of("left shin", "right shin") & seen.person & seen.body
    if not shins.any() or bare[shins].mean() > _BARE_SHARE:
        return True
    return _filled(part, uv, "shin", clothed) > _LONG_SHARE


def _filled(part: Array, uv: Array, limb: str, clothed: Array) -> float:
    """The share of the gap between both thighs or shins that is clothed; 0 where there is hardly a gap."""
    gap, filled, legs = 0, 0, 0
    at = (uv[..., 1] > _HALFWAY[0]) & (uv[..., 1] < _HALFWAY[1])
    left, right = (
        at & np.isin(part, [PARTS.index(f"{side} {limb} {half}") for half in ("front", "back")])
        for side in ("left", "right")
    )
    for row in np.flatnonzero(left.any(1) & right.any(1)):
        first, second = np.flatnonzero(left[row]), np.flatnonzero(right[row])
        start, end = min(first[-1], second[-1]) + 1, max(first[0], second[0])
        legs += len(first) + len(second)
        if end > start:
            between = part[row, start:end] == 0
            gap += int(between.sum())
            filled += int((between & clothed[row, start:end]).sum())
    return filled / gap if gap > max(_FEW, _GAP_SHARE * legs) else 0.0


def _head(seen: _Seen, skin: _Colour | None, bare: Array, upper: _Colour | None) -> Array:
    """Labels (H, W) for where the head is nearest: face, hair, the skin of the neck, a collar."""
    inner = (seen.u < _INNER_FACE[0]) & (seen.v > _INNER_FACE[1]) & (seen.v < _INNER_FACE[2])
    neck = seen.v > _CHIN
    scalp = seen.of("head") & seen.person & ((seen.u > _SCALP[0]) | (seen.v < _SCALP[1])) & ~neck
    hair = _colour(seen.lab[scalp])
    away = np.full(bare.shape, np.inf) if hair is None else hair.far(seen.lab)
    if skin is None:
        hairy = np.ones_like(bare)
    elif hair is not None and skin.far(hair.middle) > _ALIKE:
        hairy = away < skin.far(seen.lab)
    else:
        # A bald head, or fair hair: whatever stands out from the head is none of it.
        hairy = ~bare | ~seen.body
    out = np.where(hairy & ~(inner & seen.body), _number("hair"), _number("face"))
    out[neck & ~hairy] = _number("torso skin")
    if upper is not None:
        out[neck & ~bare & (upper.far(seen.lab) < away)] = _number("upper clothes")
    return out.astype(np.uint8)
