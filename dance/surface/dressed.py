"""The person as a dressed 3-D body: the fitted body, how clothes and hair stand out from it, and what covers it.

Shapes: V vertices, F triangles, B bones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from dance.surface import atlas as atlases
from dance.surface import body as bodies
from dance.surface import clothing, fields, hands, looks
from dance.surface.atlas import Atlas, Layout
from dance.surface.body import Body
from dance.surface.halo import Halo, halo
from dance.surface.looks import Look
from dance.surface.outline import Posed, project
from dance.surface.raster import rasterise, vertex_normals
from dance.surface.skirt import skirts
from dance.types import Array, InputError, Person, Physique, Stance, View

# Levels by which a picture may differ from the place without the person by noise and light.
_SAME = 18


@dataclass(frozen=True, eq=False)
class Dressed:
    """A person who can be drawn in any stance.

    physique, body: the naked one.  faces: (F, 3) int32.  weights: (V, B) float32 of skinning.
    rested: (V, 3) float32, see `clothing.directions`.  offsets: (V,) float32 metres along them.
    looks: the views laid on the surface.  halos: what of each view stands out farther.  skirts: the cloth between its legs.
    lips: (N, 2), vertices of the lips and those across from them.
    joints: (B, 3) float32, where the resting body's bones begin.  atlas, layout: what they show together, and guesses of the rest.
    """

    physique: Physique
    body: Body
    faces: Array
    weights: Array
    rested: Array
    offsets: Array
    looks: Sequence[Look]
    halos: Sequence[Halo | None]
    skirts: Sequence[Halo | None]
    lips: Array
    joints: Array
    atlas: Atlas
    layout: Layout


def dress(person: Person, *, side: int = 1024, painted: Path | None = None) -> Dressed:
    """Dresses the person's fitted body from all views that have a stance.

    side: pixels of the atlas's side.  painted: an atlas that has been saved before, see `atlas.load`.
    Raises InputError where no body was fitted to the person.
    """
    views = [view for view in person.views if view.pose.stance is not None]
    if person.physique is None or not views:
        raise InputError(
            "no 3-D body could be fitted to the source: give a picture that shows more of the person, or use the puppet"
        )
    physique, body = person.physique, bodies.load()
    faces, weights, mirror, corners = _arrays(body)
    shape = torch.from_numpy(np.asarray(physique.shape, np.float32))
    vertices, joints = (found.numpy() for found in bodies.rest(body, shape))
    rested = clothing.directions(vertices, faces)
    lips = _lips(vertices, faces)
    stances = [(view, stance) for view in views if (stance := view.pose.stance) is not None]
    bones = [bones_of(stance, joints) for _, stance in stances]
    posed = [
        _posed(view, bodies.vertices_of(body, physique, stance), rested, weights, turns)
        for (view, stance), (turns, _) in zip(stances, bones, strict=True)
    ]
    limits = clothing.limits(weights, rested, vertices)
    placed, offsets = clothing.clothe(posed, faces, physique.camera, limits, mirror, weights)
    mean, limbs = fields.neighbours(faces, len(weights)), clothing.limbs_of(weights)
    shown = [
        looks.look(view.frame.rgb, naked, offsets, turns, faces, physique.camera, mean, limbs)
        for view, naked, (turns, _) in zip(views, placed, bones, strict=True)
    ]
    shown, hint = hands.cleared(shown, weights, (vertices, joints), rested, faces, mean)
    camera = physique.camera
    nudges = [
        project(after.vertices, camera) - project(before.vertices, camera)
        for before, after in zip(posed, placed, strict=True)
    ]
    bare = [one.rgb if hint is None else hands.without(one, weights, hint[1]) for one in shown]
    cloth = skirts(bare, placed, faces, weights, camera, bones, nudges)
    halos = []
    for view, one, after, where, by, own in zip(
        views, shown, placed, bones, nudges, cloth, strict=True
    ):
        fragments = rasterise(after.dressed(offsets), faces, camera, after.alpha.shape)
        beside = _unlike(view, person.plate)
        if own is not None:
            beside &= ~own[1]
        halos.append(halo(one.rgb, after, fragments, faces, weights, camera, where, by, beside))
    sheets = [own and own[0] for own in cloth]
    if painted is not None:
        given = atlases.load(painted)
        on = atlases.layout(*corners, given.side)
        return Dressed(
            physique,
            body,
            faces,
            weights,
            rested,
            offsets,
            shown,
            halos,
            sheets,
            lips,
            joints,
            given,
            on,
        )
    on = atlases.layout(*corners, side)
    head, neck = (weights[:, bodies.BONES.index(name)] for name in ("head", "neck"))
    made = atlases.fuse(
        shown, on, faces, mean, mirror, (head, neck), (vertices, vertex_normals(vertices, faces)),
        hint,
    )  # fmt: skip
    return Dressed(
        physique,
        body,
        faces,
        weights,
        rested,
        offsets,
        shown,
        halos,
        sheets,
        lips,
        joints,
        made,
        on,
    )


def _lips(vertices: Array, faces: Array) -> Array:
    """Pairs (N, 2) of vertices that meet where the mouth is shut: the body has no inside to be seen between them."""
    # Its rim is the longest: eyelids have fewer vertices.
    rim = max(fields.rims(faces, len(vertices)), key=len, default=np.zeros(0, np.int64))
    across = np.abs(vertices[rim, None, 0] - vertices[None, rim, 0])
    np.fill_diagonal(across, np.inf)
    return np.stack([rim, rim[across.argmin(1)]], 1) if len(rim) > 1 else np.zeros((0, 2), np.int64)


def _posed(view: View, vertices: Array, rested: Array, weights: Array, turns: Array) -> Posed:
    return Posed(vertices, clothing.outward(rested, weights, turns), view.alpha)


def _unlike(view: View, plate: Array) -> Array:
    """(H, W) bool, where the view is not the place without the person: mattes take things on the wall for parts of them."""
    apart = np.abs(view.frame.rgb.astype(np.int16) - plate).max(2).astype(np.uint8)
    return cv2.morphologyEx(apart, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > _SAME


@lru_cache(maxsize=1)
def _arrays(body: Body) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """Faces, weights, mirror and the texture layout as arrays."""
    uv = body.uv.numpy().astype(np.float32), body.uv_faces.numpy()
    return (
        np.ascontiguousarray(body.faces.numpy(), np.int32),
        np.ascontiguousarray(body.weights.numpy(), np.float32),
        body.mirror.numpy(), uv,
    )  # fmt: skip


def bones_of(stance: Stance, joints: Array) -> tuple[Array, Array]:
    """Every bone's rotation (B, 3, 3) from rest to how it stands, and where it begins (B, 3), in camera axes, float32.

    joints: (B, 3), where the resting body's bones begin.
    """
    own = Rotation.from_rotvec(np.asarray(stance.turns, np.float64)).as_matrix()
    turns, starts = np.empty_like(own), np.empty((len(own), 3))
    for b, parent in enumerate(bodies.PARENTS):
        if parent < 0:
            turns[b], starts[b] = own[b], stance.root
        else:
            turns[b] = turns[parent] @ own[b]
            starts[b] = starts[parent] + turns[parent] @ (joints[b] - joints[parent])
    return turns.astype(np.float32), starts.astype(np.float32)


def standing(dressed: Dressed, stance: Stance) -> tuple[Array, Array, Array]:
    """The dressed vertices (V, 3) in camera axes, metres, and the bones as `bones_of` gives them; all float32."""
    turns, starts = bones_of(stance, dressed.joints)
    naked = bodies.vertices_of(dressed.body, dressed.physique, stance)
    out = clothing.outward(dressed.rested, dressed.weights, turns)
    vertices = np.asarray(naked + dressed.offsets[:, None] * out, np.float32)
    own, opposite = dressed.lips.T
    vertices[own] = 0.5 * (vertices[own] + vertices[opposite])
    return vertices, turns, starts
