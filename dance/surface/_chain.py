"""The bones of many pictures at once: where the joints are, and how they move with every freedom of the bones.

T pictures, B bones, D freedoms of one picture (three of its root, then those of `FREEDOMS`), J joints, P pairs of
joint and bone, S shape parameters. Everything is float64 numpy; small changes of a rotation are rotation vectors in
the bone's own axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from dance.surface import body as bodies
from dance.surface.body import BONES, PARENTS, Body, Shaped
from dance.types import Array

_ALL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_HALF = 0.5**0.5
_SLIGHT = 0.02  # less than this share of a vertex moves nothing to speak of
HINGES: dict[str, tuple[float, float, float]] = {
    "left_forearm": (-_HALF, _HALF, 0.0),
    "right_forearm": (-_HALF, -_HALF, 0.0),
    "left_shin": (1.0, 0.0, 0.0),
    "right_shin": (1.0, 0.0, 0.0),
}
"""The axes elbows and knees bend about, at rest; a bend is positive."""


@dataclass(frozen=True, slots=True)
class Freedom:
    """Bones that turn alike, each by an equal share, about any of some axes of their own.

    bones: their numbers.  axes: (K, 3).  first: the number of the first of its K freedoms.
    """

    name: str
    bones: tuple[int, ...]
    axes: Array
    first: int

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + len(self.axes))


def _freedoms() -> tuple[Freedom, ...]:
    both = ("left", "right")
    groups: list[tuple[str, tuple[str, ...]]] = [
        ("pelvis", ("pelvis",)),
        ("spine", ("spine", "chest", "upper_chest")),
        ("head", ("neck", "head")),
        *(
            (f"{side}_{bone}", (f"{side}_{bone}",))
            for bone in ("clavicle", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
            for side in both
        ),
    ]
    out, first = [], 3
    for name, members in groups:
        axes = np.array([HINGES[name]] if name in HINGES else _ALL)
        out.append(Freedom(name, tuple(BONES.index(m) for m in members), axes, first))
        first += len(axes)
    return tuple(out)


FREEDOMS: tuple[Freedom, ...] = _freedoms()
COUNT: int = FREEDOMS[-1].columns.stop
"""D: how many freedoms a picture has. Toes and fingers stay as they are."""


def _below() -> Array:
    """Which bones (second) a bone (first) carries, itself included, (B, B) bool."""
    out = np.eye(len(BONES), dtype=bool)
    for b in range(len(BONES) - 1, 0, -1):
        out[PARENTS[b]] |= out[b]
    return out


_BELOW = _below()


@dataclass(frozen=True, slots=True)
class Frames:
    """How the bones are turned.  own: (T, B, 3, 3), each from its parent's axes.  root: (T, 3)."""

    own: Array
    root: Array

    def __getitem__(self, rows: Array | slice) -> Frames:
        return Frames(self.own[rows], self.root[rows])

    @classmethod
    def of(cls, turns: Array, root: Array) -> Frames:
        """From rotation vectors (T, B, 3)."""
        own = Rotation.from_rotvec(turns.reshape(-1, 3).astype(np.float64)).as_matrix()
        return cls(own.reshape(*turns.shape[:2], 3, 3), np.asarray(root, np.float64))

    @classmethod
    def joined(cls, pieces: Sequence[Frames]) -> Frames:
        """One after the other."""
        return cls(
            np.concatenate([p.own for p in pieces]), np.concatenate([p.root for p in pieces])
        )

    @property
    def turns(self) -> Array:
        """Rotation vectors, (T, B, 3)."""
        return logs(self.own)

    def moved(self, step: Array) -> Frames:
        """After a small change (T, D) of all freedoms."""
        own = self.own.copy()
        for freedom in FREEDOMS:
            vector = step[:, freedom.columns] @ freedom.axes / len(freedom.bones)
            turn = Rotation.from_rotvec(vector).as_matrix()
            for b in freedom.bones:
                own[:, b] = own[:, b] @ turn
        return Frames(own, self.root + step[:, :3])


def logs(rotation: Array) -> Array:
    """Rotation vectors (..., 3) of matrices (..., 3, 3)."""
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(flat.reshape(*rotation.shape[:-2], 3))


@dataclass(frozen=True, slots=True)
class Build:
    """A shape's bones and joints.

    offsets: (B, 3) each bone's beginning from its parent's, at rest.  local: (P, 3) what bones carry of joints.
    mass, joint, bone: (P,).  count: J.
    """

    offsets: Array
    local: Array
    mass: Array
    joint: Array
    bone: Array
    count: int

    @property
    def summed(self) -> Array:
        """Which pairs (second) make a joint (first), (J, P)."""
        return np.asarray(np.arange(self.count)[:, None] == self.joint, np.float64)


@dataclass(frozen=True, slots=True)
class Slopes:
    """How a build changes with the shape: offsets (S, B, 3) and local (S, P, 3)."""

    offsets: Array
    local: Array


def shaped(body: Body, shape: Array) -> Shaped:
    """The body of a shape (S,)."""
    with torch.no_grad():
        return bodies.shaped(body, torch.from_numpy(shape.astype(np.float32)))


def build(
    body: Body,
    of: Shaped,
    joints: Sequence[int],
    stands: Sequence[tuple[int, str, tuple[float, float, float]]] = (),
) -> Build:
    """The bones of a shape and those of our 133 joints that are asked for.

    stands: which of them (by its place in `joints`) stands apart from the body's own by how much along which
    bone's axes at rest, in trunk lengths.
    """
    local = bodies.carried(body, of).numpy().astype(np.float64)
    place = {joint: i for i, joint in enumerate(joints)}
    every = body.pair_joint.numpy()
    rows = np.array([i for i, joint in enumerate(every) if int(joint) in place])
    trunk = float(of.joints[BONES.index("neck")].norm())
    apart = np.array([vector for *_, vector in stands]).reshape(-1, 3) * trunk
    return Build(
        _offsets(of),
        np.concatenate([local[rows], apart]),
        np.concatenate([body.pair_mass.numpy()[rows].astype(np.float64), np.zeros(len(stands))]),
        np.array([*(place[int(joint)] for joint in every[rows]), *(row for row, *_ in stands)]),
        np.array([*body.pair_bone.numpy()[rows], *(BONES.index(bone) for _, bone, _ in stands)]),
        len(joints),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Some vertices of the mesh and their P pairs of vertex and bone.

    template (N, 3), blends (K, N * 3): as in `Body`.  vertex, bone, mass: (P,).
    """

    template: Array
    blends: Array
    vertex: Array
    bone: Array
    mass: Array


def rows_of(body: Body, rows: Array) -> Rows:
    """Vertices by their numbers (N,)."""
    weights = body.weights.numpy()[rows].astype(np.float64)
    weights = np.where(weights > _SLIGHT, weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    vertex, bone = np.nonzero(weights)
    blends = body.blends.numpy()[:, rows].reshape(len(body.blends), -1)
    return Rows(body.template.numpy()[rows], blends, vertex, bone, weights[vertex, bone])


def build_vertices(rows: Rows, of: Shaped) -> Build:
    """The bones of a shape and vertices of the mesh in place of joints."""
    points = rows.template + (of.coefficients.numpy() @ rows.blends).reshape(-1, 3)
    away = points[rows.vertex] - of.heads.numpy()[rows.bone]
    local = (of.align.numpy()[rows.bone] @ away[..., None])[..., 0] * rows.mass[:, None]
    return Build(
        _offsets(of),
        local.astype(np.float64),
        rows.mass,
        rows.vertex,
        rows.bone,
        len(rows.template),
    )


def vertices(body: Body, shape: Array, frames: Frames) -> Array:
    """The mesh of the first picture, (V, 3) float32."""
    with torch.no_grad():
        turns, root = (
            torch.from_numpy(a[:1].astype(np.float32)) for a in (frames.turns, frames.root)
        )
        found = bodies.posed(body, torch.from_numpy(shape.astype(np.float32)), turns, root)
    return np.asarray(found[0].numpy())


def _offsets(of: Shaped) -> Array:
    rest = of.joints.numpy().astype(np.float64)
    parent = np.array(PARENTS)
    return np.asarray(np.where(parent[:, None] >= 0, rest - rest[parent], 0.0))


@dataclass(frozen=True, slots=True)
class Around:
    """Bodies of a little more and a little less of each shape parameter: S pairs, and how far they are apart."""

    pairs: Sequence[tuple[Shaped, Shaped]]
    apart: float


def around(body: Body, shape: Array, *, step: float = 0.02) -> Around:
    """Phenotypes bend at their levels, so that both sides are looked at."""
    steps = step * np.eye(len(shape))
    return Around(
        [(shaped(body, shape + one), shaped(body, shape - one)) for one in steps], 2 * step
    )


def slopes(near: Around, make: Callable[[Shaped], Build]) -> Slopes:
    """By differences."""
    made = [(make(above), make(below)) for above, below in near.pairs]
    return Slopes(
        np.stack([above.offsets - below.offsets for above, below in made]) / near.apart,
        np.stack([above.local - below.local for above, below in made]) / near.apart,
    )


@dataclass(frozen=True, slots=True)
class Posed:
    """Where everything is.

    rotation: (T, B, 3, 3) each bone's from the camera's axes.  places: (T, B, 3) where the bones begin.
    points: (T, P, 3) what each pair adds to its joint.  joints: (T, J, 3).
    """

    rotation: Array
    places: Array
    points: Array
    joints: Array


def pose(frames: Frames, made: Build) -> Posed:
    """The joints of all pictures."""
    rotation = np.empty_like(frames.own)
    places = np.empty_like(frames.own[..., 0])
    rotation[:, 0], places[:, 0] = frames.own[:, 0], frames.root
    for b, parent in list(enumerate(PARENTS))[1:]:
        rotation[:, b] = rotation[:, parent] @ frames.own[:, b]
        places[:, b] = places[:, parent] + rotation[:, parent] @ made.offsets[b]
    points = np.einsum("tpij,pj->tpi", rotation[:, made.bone], made.local)
    points += made.mass[:, None] * places[:, made.bone]
    return Posed(rotation, places, points, made.summed @ points)


def jacobian(posed: Posed, made: Build) -> Array:
    """How every joint moves with every freedom, (T, J, 3, D)."""
    frames = len(posed.joints)
    out = np.zeros((frames, made.count, 3, COUNT))
    mass = np.bincount(made.joint, made.mass, made.count)
    out[:, :, range(3), range(3)] = mass[:, None]
    rows = np.arange(len(made.joint))
    for freedom in FREEDOMS:
        for b in freedom.bones:
            carried = np.zeros((made.count, len(rows)))
            carried[made.joint, rows] = _BELOW[b, made.bone]
            near = carried.any(1)
            if not near.any():
                continue
            held = carried @ made.mass
            arm = np.einsum("jp,tpi->tji", carried[near], posed.points)
            arm -= held[near, None] * posed.places[:, b, None]
            axes = posed.rotation[:, b] @ freedom.axes.T / len(freedom.bones)  # (T, 3, K)
            moved = np.cross(axes.transpose(0, 2, 1)[:, None], arm[:, :, None])  # (T, j, K, 3)
            out[:, near, :, freedom.columns] += np.moveaxis(moved, 2, 3)
    return out


def by_shape(posed: Posed, made: Build, slope: Slopes) -> Array:
    """How every joint moves with the shape, (T, J, 3, S)."""
    count = len(slope.offsets)
    frames = len(posed.joints)
    places = np.zeros((frames, len(BONES), 3, count))
    for b, parent in list(enumerate(PARENTS))[1:]:
        turned = posed.rotation[:, parent] @ slope.offsets[:, b].T
        places[:, b] = places[:, parent] + turned
    points = np.einsum("tpij,spj->tpis", posed.rotation[:, made.bone], slope.local)
    points += made.mass[:, None, None] * places[:, made.bone]
    flat = made.summed @ points.reshape(frames, len(made.joint), -1)
    return np.asarray(flat.reshape(frames, made.count, 3, count))
