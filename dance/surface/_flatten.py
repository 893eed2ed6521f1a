"""Flattens a patch of a mesh: no fold-overs, little distortion, a free outline.

It starts from Tutte's embedding with Floater's mean value weights (positive, so that nothing folds within a
convex outline), then minimises the symmetric Dirichlet energy, which is infinite at a fold-over, by reweighted
least squares with a line search that stops before the first triangle turns over (Rabinovich, Poranne,
Panozzo, Sorkine-Hornung: Scalable Locally Injective Mappings, ACM TOG 2017).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from dance.types import Array

_STEPS = 40
_ENOUGH = 1e-5  # relative change of the energy at which more steps are not worth it
_HALVINGS = 12


def flatten(points: Array, triangles: Array) -> Array:
    """Places (n, 2) float64 of a patch's points, as near to its own lengths as can be.

    points: (n, 3), all used.  triangles: (m, 3), one patch with one outline and any number of holes.
    No place belongs to two triangles, and each keeps its sense: anticlockwise (x right, y up) where it is so from outside.
    """
    outline, *holes = loops(triangles)
    flat = _tutte(points, triangles, outline, holes)
    area = np.linalg.norm(np.cross(*_sides(points, triangles)), axis=1) / 2
    gradients = _gradients(points, triangles, area)
    flat *= np.sqrt(area.sum() / (np.abs(_turns(flat, triangles)).sum() / 2))
    energy = _energy(flat, triangles, gradients, area)
    for _ in range(_STEPS):
        way = _proxy_minimum(flat, triangles, gradients, area) - flat
        step = min(1.0, 0.8 * _first_turnover(flat, way, triangles))
        before = energy
        for _ in range(_HALVINGS):
            tried = flat + step * way
            energy = _energy(tried, triangles, gradients, area)
            if energy < before and not crosses(tried, outline):
                flat = tried
                break
            step /= 2
        else:
            break
        if energy >= before * (1 - _ENOUGH):
            break
    return flat


def loops(triangles: Array) -> list[Array]:
    """The closed outlines of a patch, each vertex once, in the triangles' sense; the longest first."""
    ends = np.stack([triangles, np.roll(triangles, -1, 1)], -1).reshape(-1, 2)
    known = {(int(a), int(b)) for a, b in ends}
    after = {a: b for a, b in known if (b, a) not in known}
    found = []
    while after:
        start, here = after.popitem()
        loop = [start]
        while here != start:
            loop.append(here)
            here = after.pop(here)
        found.append(np.array(loop))
    return sorted(found, key=len, reverse=True)


def crosses(flat: Array, outline: Array) -> bool:
    """Whether a patch lies over itself: without folds, it can only do so where its outline crosses itself."""
    a = flat[outline]
    b = np.roll(a, -1, 0)
    way = b - a

    def side(points: Array) -> Array:
        """Which side of every edge each point is on, (edges, points)."""
        away = points[None] - a[:, None]
        return np.asarray(way[:, None, 0] * away[..., 1] - way[:, None, 1] * away[..., 0] > 0)

    parted = side(a) != side(b)
    crossing = parted & parted.T
    # An edge meets those before and after it.
    count = np.arange(len(a))
    for step in (-1, 0, 1):
        crossing[count, (count + step) % len(a)] = False
    return bool(crossing.any())


def _sides(points: Array, triangles: Array) -> tuple[Array, Array]:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return b - a, c - a


def _turns(flat: Array, triangles: Array) -> Array:
    """Twice the signed areas of flat triangles, (m,)."""
    p, q = _sides(flat, triangles)
    turns: Array = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    return turns


def _tutte(points: Array, triangles: Array, outline: Array, holes: list[Array]) -> Array:
    """Every inner point a positive mean of its neighbours, the outline on a circle; holes are spanned by a point each."""
    fans = [
        np.stack([loop, np.full(len(loop), len(points) + i), np.roll(loop, -1)], 1)[:, [0, 2, 1]]
        for i, loop in enumerate(holes)
    ]
    whole = np.concatenate([triangles, *(fan[:, [1, 0, 2]] for fan in fans)])
    points = np.concatenate([points, *(points[loop].mean(0, keepdims=True) for loop in holes)])
    count = len(points)
    rows, columns, weights = [], [], []
    for k in range(3):
        here, after, before = (whole[:, (k + i) % 3] for i in range(3))
        u, v = points[after] - points[here], points[before] - points[here]
        long_u, long_v = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        cosine = np.clip((u * v).sum(1) / np.maximum(long_u * long_v, 1e-12), -0.9999, 0.9999)
        # The tangent of half the corner's angle; not quite zero, lest a weight vanish.
        tangent = np.maximum(np.sqrt((1 - cosine) / (1 + cosine)), 1e-3)
        rows += [here, here]
        columns += [after, before]
        weights += [tangent / np.maximum(long_u, 1e-6), tangent / np.maximum(long_v, 1e-6)]
    w = sparse.csr_matrix(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (count, count)
    )
    lengths = np.linalg.norm(points[outline] - points[np.roll(outline, -1)], axis=1)
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(lengths)[:-1]]) / lengths.sum()
    flat = np.zeros((count, 2))
    flat[outline] = np.stack([np.cos(angle), np.sin(angle)], 1)
    inner = np.setdiff1d(np.arange(count), outline)
    system = sparse.diags(np.asarray(w.sum(1)).ravel()[inner]) - w[inner][:, inner]
    flat[inner] = splu(sparse.csc_matrix(system)).solve(w[inner][:, outline] @ flat[outline])
    return flat[: count - len(holes)]


def _gradients(points: Array, triangles: Array, area: Array) -> Array:
    """(m, 3, 2): how much each corner's value adds to a linear function's gradient, in axes within the triangle."""
    p, q = _sides(points, triangles)
    long = np.linalg.norm(p, axis=1)
    x = (p * q).sum(1) / long
    y = 2 * area / long
    zero = np.zeros_like(long)
    corners = np.stack(
        [np.stack([zero, zero], 1), np.stack([long, zero], 1), np.stack([x, y], 1)], 1
    )
    across = np.roll(corners, -2, 1) - np.roll(corners, -1, 1)
    # The gradient of a corner's hat function: its opposite side turned by a quarter, over twice the area.
    turned = np.stack([-across[..., 1], across[..., 0]], -1)
    return np.asarray(turned / (2 * area)[:, None, None])


def _jacobians(flat: Array, triangles: Array, gradients: Array) -> Array:
    """(m, 2, 2) of the maps from the triangles to the plane."""
    found: Array = np.einsum("mic,mik->mck", flat[triangles], gradients)
    return found


def _energy(flat: Array, triangles: Array, gradients: Array, area: Array) -> float:
    jacobians = _jacobians(flat, triangles, gradients)
    size = (jacobians**2).sum((1, 2))
    volume = jacobians[:, 0, 0] * jacobians[:, 1, 1] - jacobians[:, 0, 1] * jacobians[:, 1, 0]
    if (volume <= 0).any():
        return float("inf")
    return float((area * size * (1 + 1 / volume**2)).sum() / (4 * area.sum()))


def _proxy_minimum(flat: Array, triangles: Array, gradients: Array, area: Array) -> Array:
    """Where weighted distances to the nearest rotations are least; at `flat` their gradient is the energy's."""
    u, s, v = np.linalg.svd(_jacobians(flat, triangles, gradients))
    rotations = u @ v
    # (s - 1 / s^3) / (s - 1), written without the pole at 1.
    stiff = np.sqrt((s**2 + 1) * (s + 1) / s**3)
    weights = np.einsum("mik,mk,mjk->mij", u, stiff, u) * np.sqrt(area)[:, None, None]
    count, many = len(flat), len(triangles)
    # Row (m, r, k): sum over c and corners i of weight[r, c] * gradient[i, k] * flat[corner i, c].
    entries = np.einsum("mrc,mik->mrkic", weights, gradients)
    columns = np.broadcast_to(
        (triangles[:, :, None] + count * np.arange(2))[:, None, None], entries.shape
    )
    rows = np.broadcast_to(np.arange(4 * many).reshape(many, 2, 2, 1, 1), entries.shape)
    system = sparse.csr_matrix(
        (entries.ravel(), (rows.ravel(), columns.ravel())), (4 * many, 2 * count)
    )
    wanted = (weights @ rotations).ravel()
    # A little of staying put: the energy does not care where the patch lies.
    still = 1e-6 * area.sum() / count
    normal = sparse.csc_matrix(system.T @ system + still * sparse.identity(2 * count))
    place = splu(normal).solve(system.T @ wanted + still * flat.T.ravel())
    return np.asarray(place.reshape(2, count).T)


def _first_turnover(flat: Array, way: Array, triangles: Array) -> float:
    """The least step along the way at which a triangle has no area left."""
    p, q = _sides(flat, triangles)
    r, s = _sides(way, triangles)
    c = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    b = p[:, 0] * s[:, 1] - p[:, 1] * s[:, 0] + r[:, 0] * q[:, 1] - r[:, 1] * q[:, 0]
    a = r[:, 0] * s[:, 1] - r[:, 1] * s[:, 0]
    root = b * b - 4 * a * c
    # Stable for every sign of b: the root nearest to zero from above of a t^2 + b t + c.
    half = -0.5 * (b + np.where(b >= 0, 1.0, -1.0) * np.sqrt(np.maximum(root, 0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.stack([half / a, c / half])
    steps = np.where((root >= 0) & np.isfinite(steps) & (steps > 0), steps, np.inf)
    return float(steps.min())
