"""The shadow a 3-D body casts on the floor: that of the place's lamp, and under the feet what they keep from all other light."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
import torch

from dance import skeleton as sk
from dance.finish.shadow import darken_by_half
from dance.geometry import resized_camera
from dance.surface import body as bodies
from dance.surface import light as lights
from dance.surface import stances
from dance.types import Array, Camera, Light, Moment, Physique, Size, Stance

_RISE = 0.2  # metres a second that the floor may rise: walking uphill or away, not a jump
_RIM = 0.034  # metres over which a shadow's rim is soft
# A foot darkens the floor within so many metres; lifted by so many it does so a third as much.
_NEAR, _LIFT = 0.15, 0.12
_CONTACT = 0.35  # of the light is gone right under a foot, as a rule
_SOLE = 0.06  # metres: joints of feet that stand are so high
_STEP = 2  # spots are so soft that every other pixel tells them
_FEET = (sk.LEFT_ANKLE, sk.LEFT_HEEL, sk.LEFT_BIG_TOE, sk.RIGHT_ANKLE, sk.RIGHT_HEEL, sk.RIGHT_BIG_TOE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lamp:
    """Whose body stands in which light."""

    physique: Physique
    light: Light


@dataclass(frozen=True, slots=True)
class Ground:
    """How far the floor is along the light's `up`, metres, and when that was found."""

    height: float
    time: Fraction


def cast(
    rgb: Array, moment: Moment, lamp: Lamp, ground: Ground | None, contact: float
) -> Ground | None:
    """Darkens the picture (H, W, 3) uint8, in place, where the body's shadow falls; returns the floor for the next moment.

    contact: how much of all light is gone right under a foot, in [0, 1].
    """
    stance = moment.pose.stance
    if stance is None or not moment.pose.found:
        return None if moment.cut else ground
    vertices = bodies.vertices_of(bodies.load(), lamp.physique, stance)
    ground = follow(ground, moment, lights.lowest(vertices, lamp.light))
    whole: Size = (rgb.shape[0], rgb.shape[1])
    half = (whole[0] // 2, whole[1] // 2)
    camera = resized_camera(lamp.physique.camera, whole, half)
    darken_by_half(rgb, 1 - _left(vertices, stance, lamp, camera, half, ground.height, contact))
    return ground


def left(stance: Stance, lamp: Lamp, camera: Camera, size: Size) -> Array:
    """How much of its light the body that stands there leaves each pixel of the floor, (H, W) float32 in (0, 1].

    camera, size: of the picture.
    """
    vertices = bodies.vertices_of(bodies.load(), lamp.physique, stance)
    height = lights.lowest(vertices, lamp.light)
    return _left(vertices, stance, lamp, camera, size, height, _CONTACT)


def _left(
    vertices: Array,
    stance: Stance,
    lamp: Lamp,
    camera: Camera,
    size: Size,
    height: float,
    contact: float,
) -> Array:
    faces = bodies.load().faces.numpy()
    fallen = lights.shadow(vertices, faces, lamp.light, height, camera, size)
    rim = max(0.8, _RIM * camera.focal / max(float(stance.root[2]), 0.1))
    direct = 1 - lamp.light.share * cv2.GaussianBlur(fallen, (0, 0), rim)
    feet = vertices[_feet(np.asarray(lamp.physique.shape, np.float32).tobytes())]
    return np.asarray(direct * (1 - contact * _contact(feet, lamp.light, height, camera, size)))


@lru_cache(maxsize=4)
def _feet(shape: bytes) -> Array:
    """The vertices nearest to the ankles, heels and toes of the body of a shape, (6,)."""
    values = np.frombuffer(shape, np.float32).copy()
    vertices, _ = bodies.rest(bodies.load(), torch.from_numpy(values))
    joints = stances.resting(Physique(values, Camera(1.0, (0.0, 0.0))))[list(_FEET)]
    apart = np.linalg.norm(vertices.numpy()[None] - joints[:, None], axis=2)
    return np.asarray(apart.argmin(1))


def follow(ground: Ground | None, moment: Moment, low: float) -> Ground:
    """The floor goes down with the lowest vertex at once and up slowly, so that a jump leaves it."""
    if ground is None or moment.cut:
        return Ground(low, moment.time)
    risen = ground.height + _RISE * float(moment.time - ground.time)
    return Ground(min(low, risen), moment.time)


def _contact(feet: Array, light: Light, height: float, camera: Camera, size: Size) -> Array:
    """How dark it is under the feet (N, 3), (H, W) float32 in [0, 1]: bell-shaped spots on the floor."""
    above = feet @ light.up - height
    spots = feet - above[:, None] * light.up
    out = np.zeros(size, np.float32)
    if spots[:, 2].min() < 0.1:
        return out
    x, y = (camera.focal * spots[:, :2] / spots[:, 2:] + camera.centre).T
    reach = 3 * _NEAR * camera.focal / spots[:, 2].min()
    left, right = max(0, int(x.min() - reach)), min(size[1], int(x.max() + reach) + 1)
    top, bottom = max(0, int(y.min() - reach)), min(size[0], int(y.max() + reach) + 1)
    if left >= right or top >= bottom:
        return out
    columns, rows = np.meshgrid(
        (np.arange(left, right, _STEP) - camera.centre[0]) / camera.focal,
        (np.arange(top, bottom, _STEP) - camera.centre[1]) / camera.focal,
    )
    rays = np.stack([columns, rows, np.ones_like(columns)], -1)
    falling = rays @ light.up
    with np.errstate(divide="ignore"):
        far = np.where(falling * height > 0, height / falling, np.inf)
    floor = rays * np.where(np.isfinite(far), far, 1e3)[..., None]
    dark = np.zeros(columns.shape)
    for spot, lift in zip(spots, np.maximum(above - _SOLE, 0.0), strict=True):
        away = ((floor - spot) ** 2).sum(-1) / _NEAR**2
        np.maximum(dark, np.exp(-away - lift / _LIFT), out=dark)
    # Exactly nothing farther off: on a plain floor the smallest step would show.
    dark = np.clip((dark - 0.01) / 0.99, 0, 1).astype(np.float32)
    # The middles of the first pixels are those that were asked.
    scale = np.array([[1 / _STEP, 0, 0], [0, 1 / _STEP, 0]])
    out[top:bottom, left:right] = cv2.warpAffine(
        dark, scale, (right - left, bottom - top), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return out
