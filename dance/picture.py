"""Photos in and out."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dance.types import Array, Frame, InputError

log = logging.getLogger(__name__)

WANTED = "give a photo such as jpg, png or webp"

_MOST_PIXELS = 2 * 89_478_485  # where Pillow itself refuses
# Decoded pictures of more pixels are made smaller; a JPEG is already read smaller.
_KEPT_PIXELS = 50_000_000
_PLAIN = 208
_EDGE = 2.0  # pixels
# What counts as a photo: Pillow also opens MPEG streams, documents and icons.
_PHOTOS = (
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "BMP",
    "DIB",
    "GIF",
    "PPM",
    "AVIF",
    "JPEG2000",
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")


def is_picture(path: Path) -> bool:
    """Whether the file's content, whatever its name, is a photo; one with several frames (gif) is a video."""
    try:
        with _opened(path) as image:
            return image.format != "GIF" or getattr(image, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError):
        return _is_heic(path)


def read(path: Path) -> Frame:
    """The photo upright, in sRGB, with what is opaque of it as alpha where it says so; the first of several.

    Photos of more than 50 million pixels are made smaller.
    Raises InputError, in one line, for a file that is missing, empty, damaged, too large or no photo.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; {WANTED}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; {WANTED}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); {WANTED}")
    if _is_heic(path):
        raise InputError(f"{path}: is a HEIC photo, which is not read here; save it as jpg or png")
    try:
        with _opened(path) as image:
            return _frame(image)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: has more than {_MOST_PIXELS:,} pixels; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is not a photo that can be read; {WANTED}") from error
    except PermissionError as error:
        raise InputError(
            f"{path}: may not be read (permission denied); allow reading it, or copy it elsewhere"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: is damaged or cut off ({error}); copy it again") from error


def write(path: Path, rgb: Array) -> None:
    """Writes the picture (H, W, 3) uint8, as what the suffix says. Raises InputError where that is unknown."""
    if path.suffix.lower() not in Image.registered_extensions():
        raise InputError(f"{path}: cannot write {path.suffix or 'no suffix'}; name it .png or .jpg")
    Image.fromarray(rgb).save(path)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    Image.init()
    with warnings.catch_warnings():
        # Pillow warns of half its limit already.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=_PHOTOS) as image:
            yield image


def _is_heic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def _frame(image: Image.Image) -> Frame:
    width, height = image.size
    shrink = (width * height / _KEPT_PIXELS) ** 0.5
    if shrink > 1:
        wanted = round(width / shrink), round(height / shrink)
        image.draft(None, wanted)  # a JPEG decodes at 1/2, 1/4 or 1/8, never below the size wanted
        if image.size[0] > wanted[0]:
            image.thumbnail(wanted, Image.Resampling.BOX)
        log.info("a photo of %d x %d pixels is used at %d x %d", width, height, *image.size)
    image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    alpha = _alpha(image)
    rgb = _to_srgb(_colours(image), profile)
    pixels = np.asarray(rgb, np.uint8)
    if alpha is not None:
        pixels = _fill_hidden(pixels, alpha)
    return Frame(np.ascontiguousarray(pixels), alpha=alpha)


def _alpha(image: Image.Image) -> Array | None:
    """What is opaque, (H, W) float32 in [0, 1]; None where all is."""
    if not image.has_transparency_data:
        return None
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("RGBA")
    alpha = np.asarray(image.getchannel("A"), np.float32) / 255
    return None if alpha.min() == 1 else alpha


def _colours(image: Image.Image) -> Image.Image:
    """The picture without transparency, in a mode colour profiles are made for: L, RGB, CMYK or LAB."""
    if image.mode in _SIXTEEN_BITS:
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.clip(values / 257 + 0.5, 0, 255).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        top = 1.0 if values.max() <= 1 else 255.0
        return Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("LA", "1"):
        return image.convert("L")
    if image.mode in ("RGB", "L", "CMYK", "LAB"):
        return image
    if image.mode == "RGBA":
        # A plain conversion would drop alpha and leave the colours as they are, which is what is wanted.
        return image.convert("RGB")
    return image.convert("RGBA").convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture in sRGB by its embedded profile; by plain arithmetic where that is absent or unusable."""
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            turned = ImageCms.profileToProfile(
                image,
                own,
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            assert turned is not None
            return turned
        except (ImageCms.PyCMSError, OSError) as error:
            log.info("a colour profile cannot be used (%s); colours are taken as sRGB", error)
    return image.convert("RGB")


def _fill_hidden(rgb: Array, alpha: Array) -> Array:
    """The colours of wholly transparent pixels made plain light grey, at the very edge those of what is seen.

    What stands there in the file is arbitrary: it would fringe every resized edge and mislead networks.
    """
    weight = cv2.GaussianBlur(alpha, (0, 0), _EDGE)[..., None]
    near = cv2.GaussianBlur(rgb * alpha[..., None], (0, 0), _EDGE) / np.maximum(weight, 1e-3)
    share = np.minimum(4 * weight, 1)
    filled = np.clip(near * share + _PLAIN * (1 - share) + 0.5, 0, 255).astype(np.uint8)
    return np.where(alpha[..., None] == 0, filled, rgb)
