"""Maps of parts and surface places, (I, U, V), in files: our own, and DensePose's for users who have them.

DensePose's U and V are those of its own atlas, ours those of `charts`; only the parts' numbers are the same. So maps
of one origin go together (a texture gathered by DensePose's is drawn by DensePose's), and never both kinds.

Read are pictures (`*_IUV.png`: I as it is, U and V times 255; DensePose's first release has them in the order V, U, I
as the file's red, green and blue, others as I, U, V: whichever of red and blue stays within 24 is I) and numpy files
(`iuv`, or what detectron2's DensePose keeps of a person: `labels`, `uv` and `box`). Pickled dumps are refused: whoever
opens a pickle runs what is in it. In DensePose's own environment one becomes a numpy file by

    person, box = dump[0]["pred_densepose"][0], dump[0]["pred_boxes_XYXY"][0]
    np.savez(path, labels=person.labels.cpu().numpy(), uv=person.uv.cpu().numpy(), box=box.cpu().numpy())
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from dance.surface import body as bodies
from dance.surface import raster
from dance.surface.charts import charts
from dance.surface.parts import PARTS
from dance.types import Array, InputError, Physique, Size, Stance

_WANTED = "give a PNG of I, U, V or an npz with iuv, or with labels, uv and box"
_MOST = len(PARTS) - 1
_PICKLES = (".pkl", ".pickle", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class Iuv:
    """part: (H, W) uint8, 0 background, 1..24 as in `parts`.  uv: (H, W, 2) float32 in [0, 1], 0 in the background."""

    part: Array
    uv: Array

    def __post_init__(self) -> None:
        assert self.part.dtype == np.uint8 and self.uv.shape == (*self.part.shape, 2)

    @property
    def size(self) -> Size:
        return self.part.shape[0], self.part.shape[1]


def drawn(physique: Physique, stance: Stance, size: Size) -> Iuv:
    """What a picture (height, width) of the physique's camera shows of a fitted body."""
    body = bodies.load()
    vertices = bodies.vertices_of(body, physique, stance)
    seen = raster.rasterise(vertices, body.faces.numpy(), physique.camera, size)
    made = charts(body)
    return Iuv(raster.parts(seen, made), raster.uv(seen, made))


def read(path: Path, size: Size | None = None) -> Iuv:
    """The map in a file, of one person.

    size: (height, width) of the picture it belongs to; needed where the file only has the person's box.
    Raises InputError for a file that cannot be read, is no such map, or does not fit the size.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; {_WANTED}")
    if path.suffix.lower() in _PICKLES:
        raise InputError(
            f"{path}: is a pickle, which can run any program when opened; save its arrays by numpy.savez "
            "in DensePose's own environment (see dance/surface/iuv.py) and give that"
        )
    if path.suffix.lower() == ".png":
        found = _of_array(_picture(path), path)
    else:
        found = _of_arrays(_arrays(path), path, size)
    if size is not None and found.size != tuple(size):
        raise InputError(
            f"{path}: is {found.size[1]}x{found.size[0]}; the picture it is for is {size[1]}x{size[0]}"
        )
    return found


def write(path: Path, iuv: Iuv) -> None:
    """Writes a PNG of I, U * 255, V * 255 as red, green and blue, or an npz with these as `iuv`, by the suffix."""
    levels = np.concatenate([iuv.part[..., None], np.rint(iuv.uv * 255).astype(np.uint8)], 2)
    if path.suffix.lower() == ".png":
        Image.fromarray(levels).save(path)
    elif path.suffix.lower() == ".npz":
        np.savez_compressed(path, iuv=levels)
    else:
        raise InputError(f"{path}: cannot write {path.suffix or 'no suffix'}; name it .png or .npz")


def _picture(path: Path) -> Array:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            levels = np.asarray(image.convert("RGB")) if image.mode == "RGBA" else np.asarray(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is no PNG; {_WANTED}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_WANTED}") from error
    if levels.ndim != 3 or levels.dtype != np.uint8:
        raise InputError(f"{path}: has no three channels of 8 bits; {_WANTED}")
    red, blue = int(levels[..., 0].max()), int(levels[..., 2].max())
    if min(red, blue) > _MOST:
        raise InputError(
            f"{path}: neither red (to {red}) nor blue (to {blue}) stays within the parts' numbers, 0 to {_MOST}"
        )
    if max(red, blue) <= _MOST:
        # Both could be: the parts are there wherever the person is, U and V may be 0 in places.
        return (
            levels
            if (levels[..., 0] > 0).sum() >= (levels[..., 2] > 0).sum()
            else levels[..., ::-1]
        )
    return levels if red <= _MOST else levels[..., ::-1]


def _arrays(path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"iuv": loaded}
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: is no numpy file of plain arrays ({error}); {_WANTED}"
        ) from error


def _of_arrays(arrays: Mapping[str, Array], path: Path, size: Size | None) -> Iuv:
    if "iuv" in arrays:
        return _of_array(arrays["iuv"], path)
    if not {"labels", "uv"} <= arrays.keys():
        raise InputError(f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; {_WANTED}")
    labels, uv = arrays["labels"], arrays["uv"]
    if labels.ndim != 2 or uv.shape != (2, *labels.shape):
        raise InputError(
            f"{path}: labels {labels.shape} and uv {uv.shape} do not belong together; "
            "labels are (h, w), uv (2, h, w)"
        )
    whole = _checked(labels, np.moveaxis(uv, 0, -1), path)
    if "box" not in arrays:
        return whole
    if size is None:
        raise InputError(f"{path}: has the person's box only; say which picture's size it is for")
    box = np.asarray(arrays["box"], np.float64).reshape(-1)
    if len(box) != 4 or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise InputError(f"{path}: box = {box.tolist()}: give left, top, right, bottom in pixels")
    return _placed(whole, box, size)


def _of_array(iuv: Array, path: Path) -> Iuv:
    """Of (H, W, 3) or (3, H, W), U and V in [0, 1] where it is float, else in 0..255."""
    if iuv.ndim == 3 and iuv.shape[0] == 3 and iuv.shape[2] != 3:
        iuv = np.moveaxis(iuv, 0, -1)
    if iuv.ndim != 3 or iuv.shape[2] != 3:
        raise InputError(
            f"{path}: iuv is {iuv.shape}; it must be (height, width, 3), of one picture"
        )
    return _checked(iuv[..., 0], iuv[..., 1:], path)


def _checked(part: Array, uv: Array, path: Path) -> Iuv:
    if part.dtype.kind not in "iuf" or uv.dtype.kind not in "iuf":
        raise InputError(f"{path}: holds {part.dtype} and {uv.dtype}; give numbers")
    if part.size == 0:
        raise InputError(f"{path}: is an empty map")
    if not np.isfinite(part).all() or part.min() < 0 or part.max() > _MOST or (part % 1 != 0).any():
        raise InputError(
            f"{path}: parts go from {part.min()} to {part.max()}; they must be whole numbers from 0 to {_MOST}"
        )
    places = uv.astype(np.float32) / np.float32(1 if uv.dtype.kind == "f" else 255)
    if not np.isfinite(places).all() or places.min() < 0 or places.max() > 1:
        raise InputError(
            f"{path}: U and V go from {places.min():g} to {places.max():g}; they must be within 0 and 1"
        )
    return Iuv(part.astype(np.uint8), places * (part > 0)[..., None].astype(np.float32))


def _placed(of: Iuv, box: Array, size: Size) -> Iuv:
    """A person's map (h, w) put where the box (left, top, right, bottom) is in a picture."""
    left, top = (round(float(edge)) for edge in box[:2])
    wide, high = (
        max(1, round(float(far - near))) for near, far in zip(box[:2], box[2:], strict=True)
    )
    # Neither parts nor places can be mixed: across a border both sides are far apart.
    part, uv = (
        cv2.resize(a, (wide, high), interpolation=cv2.INTER_NEAREST) for a in (of.part, of.uv)
    )
    height, width = size
    out = Iuv(np.zeros(size, np.uint8), np.zeros((*size, 2), np.float32))
    rows, columns = (
        slice(max(0, top), min(height, top + high)),
        slice(max(0, left), min(width, left + wide)),
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        inner = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        out.part[rows, columns], out.uv[rows, columns] = part[inner], uv[inner]
    return out
