"""The light of a place, learnt from the shadow a fitted body casts on the floor; what it leaves dark; how it falls on bodies.

A far lamp and a flat floor. Levels of pictures are taken to be light to the power of 1 / 2.2.

Shapes: V vertices, F triangles.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from dance.geometry import resized_camera
from dance.inpaint import usual_in_rows
from dance.surface import body as bodies
from dance.surface.looks import sampled
from dance.surface.outline import project
from dance.surface.raster import rasterise, vertex_normals
from dance.types import Array, Camera, Light, Physique, Size, View

GAMMA = 2.2

_WIDE = 160  # pixels of the longer side when learning
_FIT = 0.45  # correlation of the body's shadow and the darkness below which no shadow is believed
_FAINT = 0.1  # a share of the light that is as likely a stain on the floor
# At a shadow's outline, looked for in pictures of so many pixels over so many metres and at no fewer places, levels
# fall by these shares of what the lamp gives, at more than so many places (18 rendered pictures with a shadow: 0.76
# to 0.99; 9 photos without: 0.04 to 0.49), and hues stay within so much of Lab (up to 11; a mat on sand: 21).
_FINE, _SOFT, _FEW, _STEP, _AGREED, _HUE = 320, 0.05, 30, (0.35, 1.6), 0.65, 15.0
# A camera is held or put at about chest height, metres, and looks down by so much at the most (as a slope); slopes
# of floors are believed within so much.
_CAMERA_HEIGHT, _STEEPEST, _TILT = 1.15, 0.25, 0.12
# How far from the feet a shadow is looked for first, per height: to the side, and away from the camera.
_GRID = np.arange(-2.4, 2.41, 0.3)
_DOUBT = 0.02  # what the fit loses when the slope is off by that much
# The shadow map on the body: pixels of a side, metres that it shows, metres by which something must be nearer to the lamp.
_MAP, _REACH, _BEFORE = 256, 1.2, 0.05
# What light from all around is stronger from above than from the side; how far light creeps round a body; and how
# often the surface is smoothed.
_SKY, _SCATTER, _SMOOTH = 0.25, 0.2, 3


def learn(view: View, physique: Physique) -> Light | None:
    """The light of the place the view shows; None where no shadow of the body is seen on the floor."""
    if view.pose.stance is None:
        return None
    mesh = bodies.load()
    faces = np.ascontiguousarray(mesh.faces.numpy(), np.int32)
    vertices = bodies.vertices_of(mesh, physique, view.pose.stance)
    rgb, alpha, camera = _shrunk(view, physique.camera, _WIDE)
    size: Size = alpha.shape
    rows = project(vertices, camera)[:, 1]
    above = rows.max() - 0.3 * np.ptp(rows)
    # A shadow on the floor: not far above the feet, and not where the person hides it.
    free = (alpha < 0.05) & (np.arange(size[0])[:, None] > above)
    if free.mean() < 0.01:
        return None
    dark = _darkness(rgb.mean(2), alpha < 0.02)[free]
    foot = vertices[vertices[:, 1].argmax()]
    usual = float(np.clip((foot[1] - _CAMERA_HEIGHT) / foot[2], -_STEEPEST, 0.0))

    def shadow_of(aside: float, away: float, slope: float) -> Array:
        light = _light(aside, away, slope)
        found = shadow(vertices, faces, light, lowest(vertices, light), camera, size)
        return np.asarray(cv2.GaussianBlur(found, (0, 0), 1.0)[free])

    def misfit(way: Array) -> float:
        aside, away, tilt = way
        fit = correlation(shadow_of(aside, away, usual + tilt), dark)
        return float(_DOUBT * (tilt / _TILT) ** 2 - fit)

    starts = [np.array([aside, away, 0.0]) for aside in _GRID for away in _GRID]
    starts = sorted(starts, key=misfit)[:3]
    steps = np.array([[0, 0, 0], [0.2, 0, 0], [0, 0.2, 0], [0, 0, 0.5 * _TILT]])
    best = min(
        (
            minimize(
                misfit, start, method="Nelder-Mead",
                options={"initial_simplex": start + steps, "maxfev": 80, "xatol": 0.01, "fatol": 1e-4},
            )
            for start in starts
        ),
        key=lambda found: float(found.fun),
    )  # fmt: skip
    aside, away, tilt = (float(value) for value in best.x)
    inside = shadow_of(aside, away, usual + tilt)
    share = taken(inside, dark)
    if correlation(inside, dark) < _FIT or share < _FAINT:
        return None
    found = _light(aside, away, usual + tilt, share)
    return found if _outlined(view, vertices, faces, physique.camera, found) else None


def _outlined(view: View, vertices: Array, faces: Array, camera: Camera, light: Light) -> bool:
    """Whether the floor is darker just inside the shadow's outline than just outside, all along it, and of one hue.

    Dark things that happen to lie where a shadow might have outlines of their own.
    """
    rgb, alpha, camera = _shrunk(view, camera, _FINE)
    size: Size = alpha.shape
    smooth = cv2.GaussianBlur(rgb, (0, 0), 1.2)
    fallen = shadow(vertices, faces, light, lowest(vertices, light), camera, size)
    down, along = np.gradient(cv2.GaussianBlur(fallen, (0, 0), 2.0))
    y, x = np.nonzero((cv2.dilate(fallen, np.ones((3, 3), np.uint8)) > 0) & (fallen == 0))
    steepest = np.stack([along[y, x], down[y, x]], 1).astype(np.float32)
    inward = steepest / np.maximum(np.linalg.norm(steepest, axis=1, keepdims=True), 1e-6)
    away = max(2.0, _SOFT * camera.focal / max(float(np.median(vertices[:, 2])), 0.1))
    spots = np.stack([x, y], 1)
    inside, outside = (np.asarray(spots + sign * away * inward, np.float32) for sign in (1.0, -1.0))
    seen = sampled(fallen, inside) > 0.5
    for place in (inside, outside):
        seen &= (sampled(alpha, place) < 0.02) & (place > 1).all(1)
        seen &= (place < np.array(size[::-1]) - 2).all(1)
    if seen.sum() < _FEW:
        return False
    dark, bright = (sampled(smooth, place[seen]) for place in (inside, outside))
    step = 1 - (dark.mean(1) + 2) / (bright.mean(1) + 2)
    agreed = (step > _STEP[0] * light.share) & (step < _STEP[1] * light.share)
    hues = [
        cv2.cvtColor(colours[None] / 255, cv2.COLOR_RGB2LAB)[0, :, 1:] for colours in (dark, bright)
    ]
    apart = float(np.median(np.linalg.norm(hues[0] - hues[1], axis=1)))
    return bool(agreed.mean() > _AGREED and apart < _HUE)


def lowest(vertices: Array, light: Light) -> float:
    """How far the lowest vertex is along the light's `up`, metres."""
    return float((vertices @ light.up).min())


def shadow(
    vertices: Array, faces: Array, light: Light, height: float, camera: Camera, size: Size
) -> Array:
    """Where the body keeps the lamp from the floor, (H, W) float32, 0 or 1.

    height: how far the floor is along the light's `up`, metres.  size: (height, width) of the camera's picture.
    """
    above = np.maximum(vertices @ light.up - height, 0.0)
    way = light.towards / max(float(light.towards @ light.up), 1e-3)
    fallen = vertices - above[:, None] * way
    found = rasterise(fallen, faces, camera, size, both_sides=True)
    return (found.face >= 0).astype(np.float32)


def falling(vertices: Array, faces: Array, mean: sparse.csr_matrix, light: Light) -> Array:
    """How much light falls on each vertex, (V,) float32; 1 is what the open floor gets.

    mean: see `fields.neighbours`; with it the surface is as smooth as cloth over it.
    """
    lamp = 1 - (1 - light.share) ** GAMMA
    reached, normals = _reached(vertices, faces, light), vertex_normals(vertices, faces)
    for _ in range(_SMOOTH):
        reached, normals = mean @ reached, mean @ normals
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    # Skin and cloth scatter the light a little beyond where it reaches.
    facing = np.maximum(normals @ light.towards + _SCATTER, 0.0) / (1 + _SCATTER)
    direct = facing * reached / max(float(light.towards @ light.up), 0.1)
    around = 1 - _SKY + _SKY * (normals @ light.up)
    return np.asarray((1 - lamp) * around + lamp * direct, np.float32)


def _reached(vertices: Array, faces: Array, light: Light) -> Array:
    """How much of the lamp each vertex sees past the rest of the body, (V,) in [0, 1]: by a shadow map."""
    side = np.cross(light.towards, [0.0, 0.0, 1.0])
    length = float(np.linalg.norm(side))
    side = side / length if length > 1e-3 else np.array([1.0, 0.0, 0.0])
    axes = np.stack([side, np.cross(light.towards, side), -light.towards])
    seen = vertices @ axes.T
    seen = seen - (seen.min(0) + seen.max(0)) / 2
    # From so far away rays are as good as parallel.
    far = 1000.0
    seen[:, 2] += far
    middle = _MAP / 2 - 0.5
    focal = far * _MAP / (2 * max(_REACH, float(np.abs(seen[:, :2]).max())))
    lamp = Camera(focal, (middle, middle))
    depth = rasterise(seen, faces, lamp, (_MAP, _MAP), both_sides=True).depth
    x, y = np.round(project(seen, lamp)).astype(np.int64).T
    place = np.clip(y, 1, _MAP - 2) * _MAP + np.clip(x, 1, _MAP - 2)
    nearest, own = depth.ravel() + _BEFORE, seen[:, 2].astype(np.float32)
    around = [_MAP * j + i for j in (-1, 0, 1) for i in (-1, 0, 1)]
    return np.asarray(np.mean([own < nearest[place + step] for step in around], axis=0))


def _light(aside: float, away: float, slope: float, share: float = 0.0) -> Light:
    """The light whose shadow falls `aside` and `away` of the camera per height, on a floor y = ... + slope * z."""
    up = np.array([0.0, -1.0, slope]) / np.hypot(1.0, slope)
    right = np.array([1.0, 0.0, 0.0])
    towards = up - aside * right - away * np.cross(up, right)
    towards = towards / np.linalg.norm(towards)
    return Light(towards.astype(np.float32), up.astype(np.float32), share)


def _darkness(grey: Array, free: Array) -> Array:
    """How much darker than usual in its row each pixel is, (H, W): 0 is as light, 1 is black."""
    usual = usual_in_rows(grey[..., None], free, 2.0)[..., 0]
    return np.asarray(
        np.clip(1 - (cv2.GaussianBlur(grey, (0, 0), 1.0) + 2) / (usual + 2), -0.1, 0.7)
    )


def _shrunk(view: View, camera: Camera, longest: int) -> tuple[Array, Array, Camera]:
    """The picture (H, W, 3) and matte (H, W), float32, with sides of so many pixels at the most, and their camera."""
    height, width = view.frame.size
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    rgb, alpha = (
        cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        for picture in (view.frame.rgb, view.alpha)
    )
    return rgb, alpha, resized_camera(camera, view.frame.size, size)


def taken(inside: Array, dark: Array) -> float:
    """How much of the light a shadow takes: `inside` says how far pixels lie in it, `dark` how dark they are."""
    core = dark[inside > 0.8]
    # A shadow is soft: its darkest quarter is the whole of what the light gives.
    return float(np.quantile(core, 0.75)) if len(core) else 0.0


def correlation(a: Array, b: Array) -> float:
    """Of two arrays of one shape, in [-1, 1]; 0 where one of them is even."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-9))
