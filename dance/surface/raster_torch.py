"""What `raster` finds, in plain torch operations: whole batches, on any device, differentiable in the vertices.

The same planes, tests and ties as there, so that both find the same triangle at every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dance.surface.raster import FLAT, NEAR
from dance.types import Camera, Size

_PAIRS = 1 << 22  # pairs of a triangle and a pixel tested at once: some 500 MB


@dataclass(frozen=True, eq=False)
class Fragments:
    """What of T meshes is seen at every pixel, on the vertices' device.

    face: (T, H, W) int64, -1 where there is none.  bary: (T, H, W, 3), differentiable, 0 where there is none.
    depth: (T, H, W) metres, differentiable, infinite where there is none.
    """

    face: Tensor
    bary: Tensor
    depth: Tensor


def rasterise(
    vertices: Tensor, faces: Tensor, camera: Camera, size: Size, *, both_sides: bool = False
) -> Fragments:
    """The nearest triangle at the middle of every pixel; of equally near ones the first.

    vertices: (T, V, 3) metres in camera axes.  faces: (F, 3) int64 on the same device, seen from outside only
    unless both_sides.  Bary and depth have the vertices' dtype.
    """
    # Single precision leaves cracks; some devices have no other.
    exact = torch.float32 if vertices.device.type == "mps" else torch.float64
    points = vertices.to(exact)
    with torch.no_grad():
        best = torch.stack([_nearest(p, faces, camera, size, both_sides) for p in points])
    face = torch.where(best > 0, (1 << 31) - 1 - (best & ((1 << 32) - 1)), -1)
    bary = torch.zeros(*face.shape, 3, dtype=vertices.dtype, device=face.device)
    depth = torch.full(face.shape, torch.inf, dtype=vertices.dtype, device=face.device)
    frame, y, x = torch.nonzero(face >= 0, as_tuple=True)
    corners = points[frame[:, None], faces[face[frame, y, x]]]
    a, b, c = corners.unbind(1)
    volume = _volume(a, b, c)
    sense = torch.where(volume < 0, -1.0, 1.0).to(exact)
    sides = torch.stack(
        [_at(_plane(p, q, camera, sense), x, y) for p, q in ((b, c), (c, a), (a, b))], 1
    )
    total = sides.sum(1)
    bary = bary.index_put((frame, y, x), (sides / total[:, None]).to(vertices.dtype))
    depth = depth.index_put((frame, y, x), (volume.abs() / total).to(vertices.dtype))
    return Fragments(face, bary, depth)


def interpolate(fragments: Fragments, corners: Tensor) -> Tensor:
    """What the triangles' corners carry, (F, 3, C) or per frame (T, F, 3, C), at every pixel: (T, H, W, C).

    0 where there is nothing; differentiable in the corners' values and in where the vertices are.
    """
    seen = fragments.face.clamp(min=0)
    if corners.ndim == 3:
        values = corners[seen]
    else:
        frames = torch.arange(len(seen), device=seen.device)[:, None, None]
        values = corners[frames, seen]
    return (fragments.bary[..., None] * values).sum(-2)


def _nearest(points: Tensor, faces: Tensor, camera: Camera, size: Size, both_sides: bool) -> Tensor:
    """(H, W) int64: the nearness of the nearest triangle in the upper half, which one it is in the lower; else 0."""
    height, width = size
    a, b, c = points[faces].unbind(1)
    volume = _volume(a, b, c)
    kept = volume.abs() >= FLAT if both_sides else volume <= -FLAT
    boxes = _boxes(points[faces], camera, size)
    kept &= (boxes[:, 1] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 2])
    index = torch.nonzero(kept)[:, 0]
    a, b, c, volume, boxes = a[index], b[index], c[index], volume[index], boxes[index]
    sense = torch.where(volume < 0, -1.0, 1.0).to(points)
    planes = [_plane(p, q, camera, sense) for p, q in ((b, c), (c, a), (a, b))]
    scale = 1.0 / volume.abs()
    normal = [(planes[0][k] + planes[1][k] + planes[2][k]) * scale for k in range(3)]
    wide = boxes[:, 1] - boxes[:, 0] + 1
    areas = wide * (boxes[:, 3] - boxes[:, 2] + 1)
    best = torch.zeros(height * width, dtype=torch.int64, device=points.device)
    for start, end in _chunks(areas):
        rows = torch.arange(start, end, device=points.device).repeat_interleave(areas[start:end])
        first = areas[start:end].cumsum(0) - areas[start:end]
        place = torch.arange(len(rows), device=points.device) - first[rows - start]
        x = boxes[rows, 0] + place % wide[rows]
        y = boxes[rows, 2] + place // wide[rows]
        inside = torch.ones_like(rows, dtype=torch.bool)
        for plane in planes:
            inside &= _at([k[rows] for k in plane], x, y) >= 0
        rows, x, y = rows[inside], x[inside], y[inside]
        near = _at([k[rows] for k in normal], x, y).float()
        seen = (near > 0) & (near <= 1.0 / NEAR)
        # Positive floats are in the order of their bits.
        key = near[seen].view(torch.int32).long() << 32 | ((1 << 31) - 1 - index[rows[seen]])
        best.scatter_reduce_(0, (y * width + x)[seen], key, "amax")
    return best.view(height, width)


def _chunks(areas: Tensor) -> list[tuple[int, int]]:
    """Ranges of triangles of at most _PAIRS pixels together, or single larger ones."""
    ends = areas.cumsum(0).tolist()
    out, start, before = [], 0, 0
    for i, end in enumerate(ends):
        if end - before > _PAIRS and i > start:
            out.append((start, i))
            start, before = i, ends[i - 1]
    if ends:
        out.append((start, len(ends)))
    return out


def _boxes(corners: Tensor, camera: Camera, size: Size) -> Tensor:
    """(F, 4) int64: first and last column, first and last row a triangle may cover."""
    height, width = size
    z = corners[..., 2]
    ahead = (z >= NEAR).all(1)
    xy = camera.focal * corners[..., :2] / z.clamp(min=NEAR)[..., None]
    xy = xy + torch.tensor(camera.centre).to(xy)
    low, high = (
        xy.amin(1).clamp(-1e6, 1e6).ceil().long(),
        xy.amax(1).clamp(-1e6, 1e6).floor().long(),
    )
    # Of those that reach behind the camera every pixel is asked: they are few.
    left, top = (torch.where(ahead, low[:, k].clamp(min=0), 0) for k in range(2))
    right = torch.where(ahead, high[:, 0].clamp(max=width - 1), width - 1)
    bottom = torch.where(ahead, high[:, 1].clamp(max=height - 1), height - 1)
    right = torch.where((z < NEAR).all(1), -1, right)
    return torch.stack([left, right, top, bottom], 1)


def _volume(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return (
        a[:, 0] * (b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1])
        + a[:, 1] * (b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2])
        + a[:, 2] * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    )


def _plane(p: Tensor, q: Tensor, camera: Camera, sense: Tensor) -> list[Tensor]:
    """See `raster`: its change along, its change down, and its value at (0, 0)."""
    x = sense * (p[:, 1] * q[:, 2] - p[:, 2] * q[:, 1]) / camera.focal
    y = sense * (p[:, 2] * q[:, 0] - p[:, 0] * q[:, 2]) / camera.focal
    z = sense * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])
    return [x, y, z - x * camera.centre[0] - y * camera.centre[1]]


def _at(plane: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    return plane[0] * x + (plane[1] * y + plane[2])
