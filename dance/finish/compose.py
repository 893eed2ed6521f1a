"""The drawn person over a background: the source's plate, the driver's picture, a file, a colour, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from dance.config import Options
from dance.finish import body_shadow, silhouette_shadow
from dance.finish.body_shadow import Lamp
from dance.finish.shadow import cast, follow_floor
from dance.finish.silhouette_shadow import Slant
from dance.types import Array, Frame, InputError, Layer, Size

Kind = Literal["source", "driver", "transparent", "colour", "file"]
Behind = Iterable[Frame] | Callable[[], Iterable[Frame]]

_NAMED: tuple[Kind, ...] = ("source", "driver", "transparent")
_COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "gray": (128, 128, 128),
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
    "cyan": (0, 255, 255), "magenta": (255, 0, 255),
}  # fmt: skip


def kind(text: str) -> Kind:
    """What a background setting means; whatever is no word, name of a colour or #rrggbb is a file's path.

    Raises InputError for a "#..." that is no colour.
    """
    word = text.strip().lower()
    for name in _NAMED:
        if word == name:
            return name
    if word in _COLOURS or word.startswith("#"):
        colour(text)
        return "colour"
    if not word:
        raise InputError("compose.background is empty; " + _allowed())
    return "file"


def colour(text: str) -> tuple[int, int, int]:
    """The (red, green, blue) of a colour's name or of "#rrggbb". Raises InputError."""
    word = text.strip().lower()
    if word in _COLOURS:
        return _COLOURS[word]
    if not re.fullmatch("#[0-9a-f]{6}", word):
        raise InputError(f"compose.background {text!r} is not a colour; {_allowed()}")
    return int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)


def _allowed() -> str:
    return f"use {', '.join(_NAMED)}, a colour ({', '.join(_COLOURS)} or #rrggbb), or the path of a picture or video"


def _checked(text: str) -> str:
    kind(text)
    return text


class ComposeOptions(Options):
    """What is behind the person.

    background: source (the source's place without the person), driver, transparent, a colour, or the path of a picture or video.
    shadow: darkness of the soft shadow under the feet, 0 for none, and then none is cast by the source's light either; never drawn on a colour or on nothing, so that keying stays clean.
    """

    background: Annotated[str, AfterValidator(_checked)] = "source"
    shadow: float = Field(0.35, ge=0, le=1)


def compose(
    layers: Iterable[Layer],
    options: ComposeOptions,
    *,
    plate: Array,
    behind: Behind | None = None,
    slant: Slant | None = None,
    lamp: Lamp | None = None,
) -> Iterator[Frame]:
    """One frame per layer, at its time: the person over the background, which fills the layer's size (cropped, not squeezed).

    plate: (H, W, 3) uint8, for "source".
    behind: for "driver" its frames, one per layer in order; for a file its one picture or its frames, shown by
    time from the first layer on. Given as a function that opens them anew they are repeated to the end, otherwise the last one stays.
    slant: of the light whose shadow the silhouette casts on the floor, for "source".
    lamp: whose shadow the person's 3-D body casts instead.
    "transparent" gives frames with alpha and straight (not premultiplied) colours.
    Raises InputError where the generator has drawn a background of its own and another one is asked for.
    """
    wanted = kind(options.background)
    shadow = options.shadow if wanted in ("source", "driver", "file") else 0.0
    floor = ground = None
    for index, (layer, background) in enumerate(_pairs(layers, wanted, options, plate, behind)):
        time = layer.moment.time
        if layer.alpha is None:
            if wanted != "source":
                raise InputError(
                    f"compose.background {options.background!r}: this generator draws the background itself; use source"
                )
            yield Frame(layer.rgb, time, index)
        elif background is None:
            yield Frame(bleed(layer.rgb, layer.alpha), time, index, layer.alpha)
        else:
            rgb = background.copy()
            if shadow > 0 and lamp is not None and wanted == "source":
                ground = body_shadow.cast(rgb, layer.moment, lamp, ground, shadow)
            elif shadow > 0:
                floor = follow_floor(floor, layer.moment)
                if slant is not None and floor is not None and wanted == "source":
                    silhouette_shadow.cast(rgb, layer.alpha, slant, floor)
                cast(rgb, layer.moment.pose, floor, shadow)
            put_over(rgb, layer.rgb, layer.alpha)
            yield Frame(rgb, time, index)


def _pairs(
    layers: Iterable[Layer],
    wanted: Kind,
    options: ComposeOptions,
    plate: Array,
    behind: Behind | None,
) -> Iterator[tuple[Layer, Array | None]]:
    """Each layer with the picture behind it in the layer's size, or None for transparent."""
    if wanted == "driver":
        assert behind is not None and not callable(behind)
        for layer, frame in zip(layers, behind, strict=True):
            yield layer, fill(frame.rgb, _size(layer))
    elif wanted == "file":
        assert behind is not None
        yield from _timed_pairs(layers, behind)
    elif wanted == "source":
        for layer in layers:
            yield layer, fill(plate, _size(layer))
    else:
        paint = None if wanted == "transparent" else colour(options.background)
        for layer in layers:
            yield layer, None if paint is None else np.full_like(layer.rgb, paint)


def _timed_pairs(layers: Iterable[Layer], behind: Behind) -> Iterator[tuple[Layer, Array]]:
    """Each layer with the background's picture of its time, counted from the first layer on."""
    timed = _endless(behind)
    _, shown = next(timed)
    upcoming = next(timed, None)
    start: Fraction | None = None
    picture = None
    for layer in layers:
        start = layer.moment.time if start is None else start
        while upcoming is not None and upcoming[0] <= layer.moment.time - start:
            shown, picture = upcoming[1], None
            upcoming = next(timed, None)
        if picture is None:
            picture = fill(shown.rgb, _size(layer))
        yield layer, picture


def _endless(behind: Behind) -> Iterator[tuple[Fraction, Frame]]:
    """The frames with their times from 0; of a video that can be opened anew, over and over."""
    start = Fraction(0)
    while True:
        first: Fraction | None = None
        count, last, step = 0, Fraction(0), Fraction(0)
        for frame in behind() if callable(behind) else behind:
            first = frame.time if first is None else first
            step, last = frame.time - first - last, frame.time - first
            count += 1
            yield start + last, frame
        assert count > 0, "a background needs at least one frame"
        if count == 1 or not callable(behind):
            return
        start += last + step


def _size(layer: Layer) -> Size:
    return layer.rgb.shape[0], layer.rgb.shape[1]


def put_over(background: Array, rgb: Array, alpha: Array) -> None:
    """Lays rgb (H, W, 3) uint8 with alpha (H, W) over the background, in place; only the box where alpha > 0 is touched."""
    box = alpha_box(alpha)
    if box is None:
        return
    inside = np.ascontiguousarray(alpha[box])
    background[box] = cv2.blendLinear(
        np.ascontiguousarray(rgb[box]), np.ascontiguousarray(background[box]), inside, 1 - inside
    )


def alpha_box(alpha: Array, margin: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns where alpha (H, W) would show in 8 bits, with a margin; None where it is empty."""
    left, top, width, height = cv2.boundingRect(cv2.convertScaleAbs(alpha, alpha=255))
    if not width:
        return None
    return (
        slice(max(0, top - margin), min(alpha.shape[0], top + height + margin)),
        slice(max(0, left - margin), min(alpha.shape[1], left + width + margin)),
    )


def fill(rgb: Array, size: Size) -> Array:
    """The middle of the picture, scaled so that it just fills the size, (H, W, 3)."""
    height, width = size
    if rgb.shape[:2] == size:
        return rgb
    scale = max(height / rgb.shape[0], width / rgb.shape[1])
    rows = min(rgb.shape[0], max(1, round(height / scale)))
    columns = min(rgb.shape[1], max(1, round(width / scale)))
    top, left = (rgb.shape[0] - rows) // 2, (rgb.shape[1] - columns) // 2
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(
        rgb[top : top + rows, left : left + columns], (width, height), interpolation=way
    )


def bleed(rgb: Array, alpha: Array, *, reach: int = 8) -> Array:
    """The colours (H, W, 3) carried about `reach` pixels beyond the person's edge, all else black.

    Straight colours outside the matte are seen where a codec halves the colours' resolution or a player scales
    the picture: there the person's own colour must lie, or the edge gets a dark fringe.
    """
    out = np.zeros_like(rgb)
    box = alpha_box(alpha, margin=2 * reach)
    if box is None:
        return out
    inside = np.ascontiguousarray(alpha[box])
    weighted = rgb[box] * inside[..., None]
    spread = (2 * reach + 1, 2 * reach + 1)
    near = cv2.GaussianBlur(weighted, spread, reach / 2)
    cover = cv2.GaussianBlur(inside, spread, reach / 2)
    around = near / np.maximum(cover, 1e-6)[..., None]
    # Up to a quarter covered, the pixel's own colour is too rounded to be trusted alone.
    own = np.clip(inside * 4, 0, 1)[..., None]
    mixed = np.where(cover[..., None] > 1e-3, own * rgb[box] + (1 - own) * around, 0)
    out[box] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return out
