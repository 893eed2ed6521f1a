"""The 468-point face network, started from BlazePose's face landmarks, as the 68 iBUG points.

After Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dance import geometry, skeleton
from dance.networks import Network
from dance.pose.estimators._blaze_landmarks import Landmarks, crop, inside_share, to_crop
from dance.types import Array, Pose, Region, Size

SIDE = 192
POINTS = 468
_SCALE = 1.5  # the region is this much larger than the mesh
_SURE = 0.5
_SEEN = 0.3  # a face whose nose and eyes are seen less than this is turned away
_TIP = 30  # the iBUG point that is the nose's tip
_RIGHT_EYE, _LEFT_EYE = 33, 263  # mesh points at the eyes' outer corners

# Mesh points of the 68 iBUG points. Corners, tips and middles are the mesh's own; between them the
# points are those nearest to equal steps along the contour of a frontal face.
IBUG: tuple[int, ...] = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 195, 4, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,  # lips, outside
    78, 81, 13, 311, 308, 402, 14, 178,  # lips, inside
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Face:
    """xy: (68, 2) picture pixels.  z: (68,) pixels from the middle of the face.  score: in [0, 1]."""

    xy: Array
    z: Array
    score: float


def look(network: Network, rgb: Array, body: Landmarks) -> Face | None:
    """The face of a found person, or None where none is seen."""
    if body.score[[0, 2, 5]].mean() < _SEEN:
        return None
    mesh, _ = _mesh(network, rgb, _region_from_body(body))
    # The first look only says where the face is.
    mesh, score = _mesh(network, rgb, _region_from_mesh(mesh))
    if score < _SURE:
        return None
    points = mesh[list(IBUG)].astype(np.float32)
    return Face(points[:, :2], points[:, 2], score)


def add(pose: Pose, face: Face, body: Landmarks, size: Size) -> Pose:
    """The pose with the 68 face points; depth and world are joined to the body's at the nose."""
    part, nose = skeleton.FACE_SLICE, skeleton.NOSE
    assert pose.depth is not None and pose.world is not None
    xy, score, depth, world = (v.copy() for v in (pose.xy, pose.score, pose.depth, pose.world))
    solid = np.concatenate([face.xy, face.z[:, None]], 1)
    solid -= solid[_TIP]
    xy[part] = face.xy
    score[part] = face.score * pose.score[nose] * inside_share(face.xy, size, body.region)
    depth[part] = depth[nose] + solid[:, 2]
    world[part] = world[nose] + solid * _metres(body)
    return replace(pose, xy=xy, score=score, depth=depth, world=world)


def _metres(body: Landmarks) -> float:
    """Metres in a pixel at the body: the spread of its landmarks in the world and in the picture."""
    solid = np.concatenate([body.xy, body.z[:, None]], 1)
    return float(
        np.linalg.norm(body.world - body.world.mean(0)) / np.linalg.norm(solid - solid.mean(0))
    )


def _mesh(network: Network, rgb: Array, region: Region) -> tuple[Array, float]:
    """The mesh (468, 3) in picture pixels and how sure the network is."""
    points, logit = sorted(network(crop(rgb, region, SIDE)), key=lambda o: -o.size)
    raw = points.reshape(POINTS, 3)
    xy = geometry.transform(raw[:, :2], geometry.invert(to_crop(region, SIDE)))
    score = 1 / (1 + float(np.exp(-logit.item())))
    return np.concatenate([xy, raw[:, 2:] * (region.side / SIDE)], 1), score


def _region_from_body(body: Landmarks) -> Region:
    """A square a little larger than the face, from the outer corners of the eyes and of the mouth."""
    right, left, mouth = body.xy[6], body.xy[3], body.xy[9:11].mean(0)
    eyes = (right + left) / 2
    down, across = mouth - eyes, left - right
    # On a face seen from the side the eyes fall together, on a bowed one eyes and mouth do.
    side = max(2.6 * float(np.linalg.norm(down)), 1.6 * float(np.linalg.norm(across)), 1.0)
    up = (
        -down
        if np.linalg.norm(down) > 0.3 * np.linalg.norm(across)
        else np.array([across[1], -across[0]])
    )
    centre = eyes + 0.3 * down
    return Region(
        float(centre[0]), float(centre[1]), _SCALE * side, float(np.arctan2(up[0], -up[1]))
    )


def _region_from_mesh(mesh: Array) -> Region:
    """The square around the mesh, turned so that the eyes lie level."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    across = mesh[_LEFT_EYE, :2] - mesh[_RIGHT_EYE, :2]
    centre, side = (low + high) / 2, _SCALE * max(float((high - low).max()), 1.0)
    return Region(float(centre[0]), float(centre[1]), side, float(np.arctan2(across[1], across[0])))
