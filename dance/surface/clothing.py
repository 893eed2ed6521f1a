"""How far clothes and hair stand out from the body: the posed surface is moved until its outline meets the mattes.

Shapes: V vertices, F triangles, H height, W width of the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from dance.surface import fields
from dance.surface.body import BONES, PARENTS
from dance.surface.outline import Posed, nudge, outside, rim
from dance.surface.raster import vertex_normals
from dance.types import Array, Camera

_ROUNDS, _NUDGED = 6, 3
# Metres around that are searched for the outline at least, where the body stands beside the person.
_REACH = 0.05
# Metres clothes may stand out: anywhere, and by the last word of bones' names; and how much a face may.
_LIMIT = 0.1
_LIMITS = (
    (("neck",), 0.06),
    (("head",), 0.07),
    (("foot",), 0.04),
    # Feet in high heels are never as they are fitted: more makes balls of toes, less leaves gaps between them in boots.
    (("toes",), 0.025),
    (("hand", "fingers"), 0.012),
)
_FACE = 0.008
# Stiffness of the field of offsets, from the first round to the last.
_STIFF = (20.0, 1.5)
# Metres after which a target that the others do not share counts half.
_ASTRAY = 0.02
# Metres by which one view must show more than all together do, to be doubted.
_THICKER = 0.01
# How much a vertex wants the offset of its mirror image, and none at all where nothing is known.
_ALIKE, _BARE = 0.5, 3e-4


def directions(vertices: Array, faces: Array, rounds: int = 12) -> Array:
    """Where clothes stand out to, (V, 3) float32 of length 1: the normals of the resting body, made smooth.

    Toes and fingers would be spread by their own normals; a shoe or a glove is one thing. So are lips, which
    would open, and eyelids.
    """
    mean = fields.neighbours(faces, len(vertices))
    holes = fields.rims(faces, len(vertices))
    found = vertex_normals(vertices, faces)
    for _ in range(rounds):
        found = mean @ found
        for hole in holes:
            found[hole] = found[hole].mean(0)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6))


def outward(rested: Array, weights: Array, turns: Array) -> Array:
    """Directions of the resting body (V, 3) as it stands now, (V, 3) float32.

    weights: (V, B) of skinning.  turns: (B, 3, 3) rotations of the bones from rest.
    """
    blended = (weights @ turns.reshape(len(turns), 9)).reshape(-1, 3, 3)
    return np.asarray((blended * rested[:, None]).sum(-1), np.float32)


def limits(weights: Array, rested: Array, vertices: Array) -> Array:
    """How far from the body each vertex may be moved, (V,) float32 metres: hair far, faces and hands hardly.

    weights: (V, B) of skinning.  rested: (V, 3), see `directions`.  vertices: (V, 3) of the resting body.
    """
    parts = np.array([name.split("_")[-1] for name in BONES])
    found = np.full(len(weights), _LIMIT, np.float32)
    for names, limit in _LIMITS:
        share = weights[:, np.isin(parts, names)].sum(1)
        found += share * (limit - found)
    # Fingers are thin: a share of the palm's limit would make sausages of them.
    hand = weights[:, np.isin(parts, ("hand", "fingers"))].sum(1)
    found = np.where(hand > 0.5, min(limit for _, limit in _LIMITS), found)
    head = weights[:, parts == "head"].sum(1)
    level = head_level(vertices, head)
    face = head * np.clip(-rested[:, 2] / 0.3, 0, 1) * np.clip((0.8 - level) / 0.1, 0, 1)
    return np.asarray(found + face * (_FACE - found), np.float32)


def limbs_of(weights: Array) -> Array:
    """Which limb each vertex is of, (V,) uint8: 1 head, 2 trunk, 3 and 4 arms, 5 and 6 legs; left before right."""
    kinds = []
    for name in BONES:
        side, _, part = name.partition("_")
        if name in ("neck", "head"):
            kinds.append(1)
        elif side not in ("left", "right") or part == "clavicle":
            kinds.append(2)
        else:
            arm = part in ("upper_arm", "forearm", "hand", "fingers")
            kinds.append((3 if arm else 5) + (side == "right"))
    return np.asarray(np.array(kinds, np.uint8)[weights.argmax(1)])


def head_level(vertices: Array, head: Array) -> Array:
    """How high on the head each vertex is, (V,): 0 under the chin, 1 at the top.

    vertices: (V, 3) of the resting body.  head: (V,) shares in the head.
    """
    up = -vertices[:, 1]
    if not (head > 0.5).any():
        return np.zeros(len(up), np.float32)
    low, high = np.percentile(up[head > 0.5], [5, 100])
    return np.asarray((up - low) / max(1e-6, float(high - low)), np.float32)


def clothe(
    posed: Sequence[Posed],
    faces: Array,
    camera: Camera,
    limits: Array,
    mirror: Array,
    weights: Array,
) -> tuple[Sequence[Posed], Array]:
    """The bodies put where the mattes are, and how far each vertex is moved outward, (V,) float32 metres.

    limits: (V,) metres, the largest offset of a vertex.  mirror: (V,) the vertex on the body's other side.
    weights: (V, B) of skinning.
    """
    mean, limbs = fields.neighbours(faces, len(limits)), limbs_of(weights)
    distances = [outside(view.alpha) for view in posed]
    found, standing = np.zeros(len(limits), np.float32), list(posed)
    for i in range(_ROUNDS):
        wanted, weight = np.zeros(len(limits)), np.zeros(len(limits))
        for k, distance in enumerate(distances):
            reach = np.maximum(1.1 * limits, _REACH)
            met = rim(standing[k], distance, faces, camera, found, reach, limbs)
            gap = met.gap
            if i < _NUDGED:
                # A stance a little beside the person would be taken for clothes that are thick on one side.
                by = weights @ nudge(met, weights, PARENTS, distance.shape[0])
                standing[k] = standing[k].nudged(by, camera)
                gap = gap - (by[met.where] * met.along).sum(1)
            target = found[met.where] + gap / met.pixels
            sure = met.sure * (target < 1.1 * limits[met.where])
            if i > 0:
                # A view whose stance is a little off disagrees with the others; and where an arm hangs beside
                # the trunk in the matte, the trunk seems thicker than it is, never thinner.
                more = target - found[met.where]
                sure = sure / (1 + (more / _ASTRAY) ** 2) * np.where(more > _THICKER, 0.25, 1)
            np.add.at(wanted, met.where, sure * target)
            np.add.at(weight, met.where, sure)
        share = i / (_ROUNDS - 1)
        stiff = _STIFF[0] ** (1 - share) * _STIFF[1] ** share
        found = _smooth(mean, mirror, wanted / np.maximum(weight, 1e-9), weight, stiff)
        found = np.clip(found, -0.6 * limits, limits)
    for hole in fields.rims(faces, len(found)):
        found[hole] = found[hole].mean()
    return standing, found


def _smooth(
    mean: sparse.csr_matrix, mirror: Array, wanted: Array, weight: Array, stiff: float
) -> Array:
    count = len(weight)
    rough = sparse.identity(count, format="csr") - mean.astype(np.float64)
    alike = sparse.identity(count, format="csr") - sparse.csr_matrix(
        (np.ones(count), (np.arange(count), mirror)), (count, count)
    )
    # Like a skin, which goes on as thick as it was where nothing is known; a bent plate would swing beyond.
    skin = 0.5 * (rough + rough.T) + 0.5 * rough.T @ rough
    system = sparse.diags(weight + _BARE) + stiff * skin + _ALIKE * (alike.T @ alike)
    return np.asarray(fields.solved(system, weight * wanted), np.float32)
