"""DensePose's 24 parts on our own body: names, numbers, and which triangle belongs to which.

Numbers and meaning are those of DensePose's annotations (Guler, Neverova, Kokkinos: DensePose, CVPR 2018); where
exactly a part ends is decided here, from the bones: a segment is what its bones move most, front and back
are told by the axis of the bone at rest. The neck belongs to the head, the pelvis and the shoulders to the torso.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from dance.surface.body import AVERAGE, BONES, rest
from dance.types import Array

if TYPE_CHECKING:
    from dance.surface.body import Body

PARTS: tuple[str, ...] = (
    "background", "torso back", "torso front", "right hand", "left hand", "left foot", "right foot",
    "right thigh back", "left thigh back", "right thigh front", "left thigh front",
    "right shin back", "left shin back", "right shin front", "left shin front",
    "left upper arm front", "right upper arm front", "left upper arm back", "right upper arm back",
    "left forearm front", "right forearm front", "left forearm back", "right forearm back",
    "right head", "left head",
)  # fmt: skip
"""The name of every part by its number; left and right are the person's own."""


def _opposite(name: str) -> str:
    side, _, rest_of_name = name.partition(" ")
    return f"{ {'left': 'right', 'right': 'left'}.get(side, side) } {rest_of_name}".strip()


OPPOSITE: tuple[int, ...] = tuple(PARTS.index(_opposite(name)) for name in PARTS)
"""For each part the one on the other side; the torso's are their own."""

# The bones that move a segment; what is not named here is moved by the torso's.
_SEGMENTS: dict[str, tuple[str, ...]] = {
    "head": ("neck", "head"),
    **{
        f"{side} {segment}": tuple(f"{side}_{bone}" for bone in bones)
        for side in ("left", "right")
        for segment, bones in (
            ("upper arm", ("upper_arm",)),
            ("forearm", ("forearm",)),
            ("hand", ("hand", "fingers")),
            ("thigh", ("thigh",)),
            ("shin", ("shin",)),
            ("foot", ("foot", "toes")),
        )
    },
}
# Where the axis that parts front from back begins and ends.
AXES: dict[str, tuple[str, str]] = {
    "torso": ("pelvis", "neck"),
    **{
        f"{side} {segment}": (f"{side}_{start}", f"{side}_{end}")
        for side in ("left", "right")
        for segment, start, end in (
            ("upper arm", "upper_arm", "forearm"),
            ("forearm", "forearm", "hand"),
            ("thigh", "thigh", "shin"),
            ("shin", "shin", "foot"),
        )
    },
}
_TORSO_FORWARD = 0.015  # metres that the torso's dividing line lies before its axis
# How much more than their weights say limbs take from the torso.
_REACH = {"thigh": 1.5, "upper_arm": 1.3}
_ROUNDS = 20  # of making the parts' borders smooth; they come to rest long before


def part_of_faces(body: Body) -> Array:
    """The number of the part of every triangle, (F,) uint8 in 1..24; the same on both sides of the body."""
    import torch

    points, joints = (a.numpy() for a in rest(body, torch.tensor(AVERAGE)))
    faces = body.faces.numpy()
    pairs = faces.reshape(-1, 2, 3)
    # Whole quads, whose rows run along and around the limbs: borders through their diagonals would be jagged.
    middles, weights = (a[pairs].mean((1, 2)) for a in (points, body.weights.numpy()))
    found = smoothed(_labels(middles, weights, joints), quads_beside(faces)).repeat(2)
    # Exactly mirrored: what lies on the right is told by what lies on the left.
    right = points[faces].mean(1)[:, 0] < 0
    twins = twin_faces(faces, body.mirror.numpy())
    return np.where(right, np.array(OPPOSITE, np.uint8)[found[twins]], found)


def _labels(middles: Array, weights: Array, joints: Array) -> Array:
    """Parts of triangles from their middles (F, 3) and bones' weights (F, B) at rest, and the joints (B, 3)."""
    limbs = list(_SEGMENTS)
    weights = weights * [_REACH.get(bone.partition("_")[2], 1.0) for bone in BONES]
    weights /= weights.sum(1, keepdims=True)
    shares = np.stack(
        [weights[:, [BONES.index(b) for b in _SEGMENTS[name]]].sum(1) for name in limbs], 1
    )
    names = [*limbs, "torso"]
    segment = np.concatenate([shares, 1 - shares.sum(1, keepdims=True)], 1).argmax(1)
    out = np.zeros(len(middles), np.uint8)
    for number, name in enumerate(names):
        of = np.flatnonzero(segment == number)
        if name in AXES:
            start, end = (joints[BONES.index(bone)] for bone in AXES[name])
            along = end - start
            share = (middles[of] - start) @ along / (along @ along)
            ahead = (start + share[:, None] * along)[:, 2] - middles[of][:, 2]
            front = ahead > (_TORSO_FORWARD if name == "torso" else 0.0)
            out[of] = np.where(front, PARTS.index(f"{name} front"), PARTS.index(f"{name} back"))
        elif name == "head":
            left = middles[of][:, 0] > 0
            out[of] = np.where(left, PARTS.index("left head"), PARTS.index("right head"))
        else:
            out[of] = PARTS.index(name)
    return out


def smoothed(labels: Array, beside: Array) -> Array:
    """Labels (Q,) without jags and crumbs: three neighbours of one other label take over what juts out.

    beside: (Q, N) the neighbours' numbers, -1 where there is none.  Where several pieces of the mesh have one label
    and touch others, all but the largest go to those.
    """
    out = labels.copy()
    for _ in range(_ROUNDS):
        around = np.where(beside >= 0, out[beside], out[:, None])
        votes = (around[:, :, None] == around[:, None]).sum(2)
        most = votes.argmax(1)[:, None]
        winner = np.take_along_axis(around, most, 1)[:, 0]
        changed = np.where(np.take_along_axis(votes, most, 1)[:, 0] >= 3, winner, out)
        changed = _without_crumbs(changed, beside)
        if (changed == out).all():
            break
        out = changed
    return out


def _without_crumbs(labels: Array, beside: Array) -> Array:
    rows, places = np.nonzero((beside >= 0) & (labels[beside] == labels[:, None]))
    joined = sparse.coo_matrix(
        (np.ones(len(rows)), (rows, beside[rows, places])), (len(labels), len(labels))
    )
    piece = connected_components(joined, directed=False)[1]
    sizes = np.bincount(piece)
    out = labels.copy()
    for label in np.unique(labels):
        pieces = np.unique(piece[labels == label])
        for crumb in pieces[pieces != pieces[sizes[pieces].argmax()]]:
            of = np.flatnonzero(piece == crumb)
            around = beside[of][beside[of] >= 0]
            others = labels[around][labels[around] != label]
            # An eye, which touches nothing, stays.
            if len(others):
                out[of] = np.bincount(others).argmax()
    return out


def quads_beside(faces: Array) -> Array:
    """For each quad the quads behind its four edges, (Q, 4) int64; -1 where there is none.

    faces: (2 Q, 3), the halves of a quad one after the other.
    """
    beside = neighbours(faces)
    quads = np.where(beside >= 0, beside // 2, -1).reshape(-1, 6)
    own = quads == np.arange(len(quads))[:, None]
    assert (own.sum(1) == 2).all(), "triangles must follow each other as the halves of quads"
    return np.asarray(quads[~own].reshape(-1, 4))


def neighbours(faces: Array) -> Array:
    """For each triangle those behind its edges ab, bc, ca, (F, 3) int64; -1 where there is none."""
    ends = np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2).astype(np.int64)
    ends.sort(1)
    key = ends[:, 0] * (faces.max() + 1) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    out = np.full(faces.size, -1, np.int64)
    first, second = order[same], order[same + 1]
    out[first], out[second] = second // 3, first // 3
    return out.reshape(-1, 3)


def twin_faces(faces: Array, mirror: Array) -> Array:
    """For each triangle the number of its mirror image, (F,) int64.  mirror: (V,), each vertex's twin."""
    rows = np.sort(faces, 1)
    twins = np.sort(mirror[faces], 1)
    order, wanted = np.lexsort(rows.T), np.lexsort(twins.T)
    assert (rows[order] == twins[wanted]).all(), "the mesh is not symmetric"
    out = np.empty(len(faces), np.int64)
    out[wanted] = order
    return out


def patches(faces: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Cuts the mesh where labels change, and vertices where a patch only touches itself.

    Gives the patch of every triangle, (F,) int64, counted from 0; the triangles over the cut vertices, (F, 3)
    int64; and which vertex each cut one was, (C,).  labels: (F,).
    """
    count = len(faces)
    beside = neighbours(faces)
    rows, edges = np.nonzero((beside >= 0) & (labels[beside] == labels[:, None]))
    others = beside[rows, edges]
    whole = sparse.coo_matrix((np.ones(len(rows)), (rows, others)), (count, count))
    patch = connected_components(whole, directed=False)[1].astype(np.int64)
    # Corners are one cut vertex where triangles of one patch meet in an edge that ends in them.
    links = []
    for end in (edges, (edges + 1) % 3):
        same = faces[others] == faces[rows, end][:, None]
        links.append(np.stack([rows * 3 + end, others * 3 + same.argmax(1)]))
    here, there = np.concatenate(links, 1)
    joined = sparse.coo_matrix((np.ones(len(here)), (here, there)), (3 * count, 3 * count))
    cut = connected_components(joined, directed=False)[1].astype(np.int64)
    origin = np.empty(cut.max() + 1, np.int64)
    origin[cut] = faces.ravel()
    return patch, cut.reshape(-1, 3), origin
