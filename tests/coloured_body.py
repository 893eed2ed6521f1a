"""A body with known colours and clothes of known thickness, photographed: what the avatar is made from, with the truth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from dance.surface import body as bodies
from dance.surface import clothing
from dance.surface.body import AVERAGE, BONES
from dance.surface.dressed import bones_of
from dance.surface.raster import interpolate, rasterise
from dance.types import Array, Camera, Frame, Person, Physique, Pose, Stance, Track, View

SIZE = 192, 144
PHYSIQUE = Physique(np.array(AVERAGE, np.float32), Camera(200.0, (71.5, 95.5)))
GREY = 90


def stance(yaw: float = 0.0, away: float = 2.3, **turns: tuple[float, float, float]) -> Stance:
    """The body in the middle of the picture, turned by `yaw` degrees to its left, and at the bones that are named."""
    found = np.zeros((len(BONES), 3), np.float32)
    for bone, turn in turns.items():
        found[BONES.index(bone)] = turn
    found[0] = (
        Rotation.from_euler("y", yaw, degrees=True) * Rotation.from_rotvec(found[0])
    ).as_rotvec()
    root = np.array([0, 0.02 * away / 2.3, away], np.float32)
    return Stance(found, root, np.ones(len(BONES), np.float32))


def rest() -> tuple[Array, Array]:
    """Vertices of the resting body and where its bones begin."""
    shape = torch.from_numpy(PHYSIQUE.shape)
    vertices, joints = bodies.rest(bodies.load(), shape)
    return vertices.numpy(), joints.numpy()


def colours() -> Array:
    """(V, 3) uint8: red on the person's front, blue on the back, green grows from the feet to the head."""
    vertices, _ = rest()
    front = vertices[:, 2] < vertices[:, 2].mean()
    up = -vertices[:, 1]
    green = 60 + 150 * (up - up.min()) / np.ptp(up)
    return np.stack([np.where(front, 220, 40), green, np.where(front, 40, 220)], 1).astype(np.uint8)


def surface(shown: Stance, thick: float = 0.0) -> Array:
    """The vertices with clothes of that thickness in metres."""
    body = bodies.load()
    vertices, joints = rest()
    faces = np.ascontiguousarray(body.faces.numpy(), np.int32)
    turns, _ = bones_of(shown, joints)
    out = clothing.outward(clothing.directions(vertices, faces), body.weights.numpy(), turns)
    return bodies.vertices_of(body, PHYSIQUE, shown) + thick * out


def photographed(shown: Stance, thick: float = 0.0) -> View:
    """A picture of the coloured body before a grey wall, with its exact matte."""
    faces = np.ascontiguousarray(bodies.load().faces.numpy(), np.int32)
    fragments = rasterise(surface(shown, thick), faces, PHYSIQUE.camera, SIZE, soft=True)
    there = interpolate(fragments, colours().astype(np.float32)[faces])
    alpha = fragments.coverage
    rgb = GREY + alpha[..., None] * (there - GREY)
    return View(Frame(np.round(rgb).astype(np.uint8)), pose(shown), alpha)


def pose(shown: Stance | None) -> Pose:
    """A found pose with the stance; its joints do not matter."""
    found = Pose.unseen()
    return Pose(found.xy, np.ones(133, np.float32), stance=shown)


def person(*views: View) -> Person:
    plate = np.full((*SIZE, 3), GREY, np.uint8)
    times = [Fraction(i, 25) for i in range(len(views))]
    return Person(views, plate, Track([v.pose for v in views], times, SIZE), PHYSIQUE)
