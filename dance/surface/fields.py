"""Fields over a triangle mesh that are smooth from neighbour to neighbour.

V vertices, F triangles.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from dance.types import Array


def neighbours(faces: Array, count: int) -> sparse.csr_matrix:
    """(V, V) the mean over a vertex's neighbours as a matrix whose rows add up to 1.

    A vertex of no triangle is its own neighbour.
    """
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
    joined = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (count, count))
    joined.data[:] = 1
    degree = np.asarray(joined.sum(1)).ravel()
    joined = joined + sparse.diags((degree == 0).astype(np.float32))
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(degree, 1)) @ joined, dtype=np.float32)


def spread(mean: sparse.csr_matrix, values: Array, weight: Array, stiff: float) -> Array:
    """The values (V,) or (V, C) as a smooth field over the surface: near them where the weight is high.

    Between known places it never leaves their range, as heat does not.
    mean: see `neighbours`.  weight: (V,).
    """
    rough = sparse.identity(len(weight), dtype=np.float64, format="csr") - mean.astype(np.float64)
    # A trace of pull to zero keeps the system solvable where nothing is known at all.
    system = sparse.diags(weight.astype(np.float64) + 1e-9) + stiff * rough
    known = np.asarray(values, np.float64)
    right = known * (weight if known.ndim == 1 else weight[:, None])
    return np.asarray(solved(system, right), np.float32)


def solved(system: sparse.spmatrix, right: Array) -> Array:
    """x of system @ x = right for a sparse system that is about symmetric."""
    factor = splu(
        system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )  # fmt: skip
    return np.asarray(factor.solve(right))


def rims(faces: Array, count: int) -> list[Array]:
    """The vertices around each hole of a mesh of `count` vertices: a mouth, the eyes."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    edges = edges[uses == 1]
    joined = sparse.csr_matrix((np.ones(len(edges)), edges.T), (count, count))
    hole = csgraph.connected_components(joined, directed=False)[1]
    vertices = np.unique(edges)
    return [vertices[hole[vertices] == number] for number in np.unique(hole[vertices])]
