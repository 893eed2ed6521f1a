"""Photos in and out."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dance.types import Array, Frame, InputError

log = logging.getLogger(__name__)

WANTED = "give a photo such as jpg, png or webp"

_MOST_PIXELS = 200_000_000
# Decoded pictures of more pixels are made smaller; a JPEG is already read smaller.
_KEPT_PIXELS = 50_000_000
_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")


def is_picture(path: Path) -> bool:
    """Whether the file's content, whatever its name, is a photo; one with several frames (gif) is a video."""
    try:
        with Image.open(path) as image:
            if image.format == "GIF":
                return getattr(image, "n_frames", 1) == 1
            return True
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError):
        return False


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
    try:
        with Image.open(path) as image:
            _check_size(path, image)
            return _frame(image)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: has more than {_MOST_PIXELS:,} pixels; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is not a photo that can be read; {WANTED}") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read ({error}); it is damaged or cut off") from error


def write(path: Path, rgb: Array) -> None:
    """Writes the picture (H, W, 3) uint8, as what the suffix says."""
    Image.fromarray(rgb).save(path)


def _check_size(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise InputError(
            f"{path}: has {width} x {height} pixels, more than {_MOST_PIXELS:,}; make it smaller"
        )


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
    """The colours of wholly transparent pixels replaced by those of what is seen near by.

    What stands there in the file is arbitrary and would fringe every blurred or resized edge.
    """
    hidden = alpha == 0
    if hidden.all():
        return np.full_like(rgb, 128)
    filled = _pull_push(rgb.astype(np.float32), alpha)
    return np.where(hidden[..., None], np.clip(filled + 0.5, 0, 255).astype(np.uint8), rgb)


def _pull_push(rgb: Array, weight: Array) -> Array:
    """Colours (H, W, 3) float32 averaged over ever larger blocks until every pixel has one."""
    total = weight.sum()
    height, width = weight.shape
    if weight.min() > 0 or min(height, width) == 1:
        mean = (rgb * weight[..., None]).sum((0, 1)) / max(total, 1e-6)
        return np.where(weight[..., None] > 0, rgb, mean)
    size = (width + 1) // 2, (height + 1) // 2
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(rgb * weight[..., None], size, interpolation=cv2.INTER_AREA)
    small = small / np.maximum(small_weight, 1e-6)[..., None]
    below = _pull_push(small, np.minimum(small_weight * 4, 1))
    up = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(weight[..., None] * rgb + (1 - weight[..., None]) * up)
