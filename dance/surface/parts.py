"""DensePose's 24 parts on our own body: names, numbers, and which triangle belongs to which.

Numbers and meaning are those of DensePose's annotations (Guler, Neverova, Kokkinos: DensePose, CVPR 2018); where
exactly a part ends is decided here, from the bones: a segment is what its bones move most, front and back
are told by the axis of the bone at rest. The neck belongs to the head, the pelvis and the shoulders to the torso.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
_AXES: dict[str, tuple[str, str]] = {
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
_REACH = {
    "thigh": 1.5,
    "upper_arm": 1.3,
}  # how much more than their weights say limbs take from the torso
_ROUNDS = 20  # of making the parts' borders smooth; they come to rest long before


def part_of_faces(body: Body) -> Array:
    """The number of the part of every triangle, (F,) uint8 in 1..24; the same on both sides of the body."""
    import torch

    points, joints = (a.numpy() for a in rest(body, torch.tensor(AVERAGE)))
    faces = body.faces.numpy()
    pairs = faces.reshape(-1, 2, 3)
    ends = np.sort(pairs, 2)
    shared = (ends[:, 0, :, None] == ends[:, 1, None]).sum((1, 2))
    assert (shared == 2).all(), "triangles must follow each other as the halves of quads"
    # Whole quads, whose rows run along and around the limbs: borders through their diagonals would be jagged.
    middles, weights = (a[pairs].mean((1, 2)) for a in (points, body.weights.numpy()))
    found = smoothed(_labels(middles, weights, joints), _quads_beside(faces)).repeat(2)
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
        if name in _AXES:
            start, end = (joints[BONES.index(bone)] for bone in _AXES[name])
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
    """Labels (Q,) in which none juts out: three neighbours of one other label take it over.

    beside: (Q, N) the neighbours' numbers, -1 where there is none.
    """
    out = labels.copy()
    for _ in range(_ROUNDS):
        around = np.where(beside >= 0, out[beside], out[:, None])
        votes = (around[:, :, None] == around[:, None]).sum(2)
        most = votes.argmax(1)[:, None]
        changed = np.where(
            np.take_along_axis(votes, most, 1) >= 3,
            np.take_along_axis(around, most, 1),
            out[:, None],
        )[:, 0]
        if (changed == out).all():
            break
        out = changed
    return out


def _quads_beside(faces: Array) -> Array:
    """For each quad, whose halves follow each other in the faces, the quads behind its four edges; -1: none."""
    beside = neighbours(faces)
    quads = np.where(beside >= 0, beside // 2, -1).reshape(-1, 6)
    own = quads == np.arange(len(quads))[:, None]
    return quads[~own].reshape(-1, 4)


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
