"""A known body on a floor in the light of one lamp, photographed with its shadow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from coloured_body import PHYSIQUE, SIZE, photographed, stance, surface

from dance.surface import body as bodies
from dance.surface import light as lights
from dance.types import Light, View

FACES = np.ascontiguousarray(bodies.load().faces.numpy(), np.int32)


def lamp(aside: float, away: float, share: float = 0.45) -> Light:
    """The light whose shadow falls so far to the right and away per height, on a floor that the camera does not look down on."""
    towards = np.array([-aside, -1.0, -away], np.float32)
    return Light(towards / np.linalg.norm(towards), np.array([0, -1, 0], np.float32), share)


def lit(light: Light | None, *, wall: float = 200.0) -> View:
    """The body before a wall and on a floor with its shadow; nothing but noise tells the floor's rows apart."""
    view = photographed(stance())
    place = np.full((*SIZE, 3), wall, np.float32)
    place += np.random.default_rng(0).normal(0, 2, place.shape)
    if light is not None:
        vertices = surface(stance())
        height = lights.lowest(vertices, light)
        dark = lights.shadow(vertices, FACES, light, height, PHYSIQUE.camera, SIZE)
        place *= (1 - light.share * cv2.GaussianBlur(dark, (0, 0), 1.0))[..., None]
    alpha = view.alpha[..., None]
    rgb = np.clip(place + alpha * (view.frame.rgb - place), 0, 255).astype(np.uint8)
    return replace(view, frame=replace(view.frame, rgb=rgb))
