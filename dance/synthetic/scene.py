"""Where the camera stands, the place behind the person, the light, and the picture the camera makes of it all.

World axes: x right, y down, z away from the camera's side; metres; the floor is y = 0 and people stand about the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dance.synthetic.assets import Pack, read_picture
from dance.synthetic.draw import Light, Shot, in_light
from dance.types import Array, Camera, Size

GAMMA = 2.2
_FINE = 2  # samples of the place to each side of a pixel
_PLAIN, _PHOTO = 0.35, 0.25  # of all places
_WALL = 0.5  # of walls are painted, of floors in one colour
_SHADE = 0.55  # what a full shadow takes of the light
_STEEPEST = (
    0.35  # how far above or below the middle of the person the camera may be, of its distance
)
_SKIRTING = 0.09  # metres


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """A camera in the world: from world to camera axes by `turn` (3, 3), after `eye` (3,) was taken away."""

    camera: Camera
    turn: Array
    eye: Array

    def seen(self, points: Array) -> Array:
        """World points (..., 3) in camera axes."""
        return np.asarray((points - self.eye) @ self.turn.T)

    def pixels(self, points: Array) -> Array:
        """World points (..., 3) in the picture, (..., 2)."""
        seen = self.seen(points)
        return np.asarray(
            self.camera.focal * seen[..., :2] / seen[..., 2:] + np.array(self.camera.centre)
        )


@dataclass(frozen=True, slots=True)
class Cover:
    """What a floor or a wall is covered with: a linear colour (r, g, b) and "plain", "boards", "tiles" or a photo's path.

    scale: metres that a photo, a tile or a board is wide.  seed: of the boards' tones.
    """

    kind: str
    colour: tuple[float, float, float]
    scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Place:
    """ "plain": a studio in one colour.  "photo": a picture far behind.  "room": a floor, and a wall `depth` metres behind.

    picture: a photo's path: the background, or what hangs on the wall, if anything.  hung: its left, top, width (metres).
    """

    kind: str
    floor: Cover
    wall: Cover
    depth: float
    picture: str | None
    hung: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Lighting:
    """The light in world axes; see `draw.Light`."""

    way: tuple[float, float, float]
    key: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A place from a viewpoint: rgb (H, W, 3) float32 linear; points (H, W, 3) camera axes, or None where no shadow falls."""

    rgb: Array
    points: Array | None


def aim(
    points: Array, size: Size, *, field: float, height: float, margin: float, side: float = 0.0
) -> Viewpoint:
    """The nearest viewpoint that has all the world points (N, 3) in the picture.

    field: angle in radians from the picture's top to its bottom.  height: of the camera above the floor.
    margin: share of the picture left free on every side.  side: how far to the side it stands, metres.
    """
    focal = size[0] / 2 / np.tan(field / 2)
    camera = Camera(float(focal), ((size[1] - 1) / 2, (size[0] - 1) / 2))
    target = (points.min(0) + points.max(0)) / 2
    free = np.array([size[1], size[0]]) * (0.5 - margin)
    view = _looking(camera, target, height, side, 10.0)
    for _ in range(3):
        near, far = 0.5, 60.0
        for _ in range(14):
            distance = (near + far) / 2
            view = _looking(camera, target, height, side, distance)
            seen = view.seen(points)
            inside = bool(
                (seen[:, 2] > 0.2).all()
                and (np.abs(view.pixels(points) - camera.centre) <= free).all()
            )
            near, far = (near, distance) if inside else (distance, far)
        view = _looking(camera, target, height, side, far)
        # Perspective puts the middle of the points beside the middle of the picture.
        flat = view.pixels(points)
        off = (flat.min(0) + flat.max(0)) / 2 - camera.centre
        target = target + view.turn.T @ np.array([*(off * far / focal), 0.0])
    return view


def _looking(
    camera: Camera, target: Array, height: float, side: float, distance: float
) -> Viewpoint:
    # Nobody is filmed from overhead or underfoot.
    up = np.clip(height + target[1], -_STEEPEST * distance, _STEEPEST * distance)
    eye = np.array([target[0] + side, target[1] - up, target[2] - distance])
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    return Viewpoint(camera, np.stack([right, np.cross(forward, right), forward]), eye)


def draw_place(pack: Pack, rng: np.random.Generator) -> Place:
    """A place drawn by lot; without photos none is a photo."""
    photos = [str(path.relative_to(pack.folder)) for path in pack.photos]
    lot = rng.random()
    kind = "plain" if lot < _PLAIN else "photo" if lot < _PLAIN + _PHOTO and photos else "room"
    picture = None
    if photos and (kind == "photo" or rng.random() < 0.4):
        picture = photos[int(rng.integers(len(photos)))]
    grey = float(rng.uniform(0.25, 0.95))
    studio = tuple(float(v) for v in grey * rng.uniform(0.85, 1.0, 3))
    colours = [tuple(float(v) for v in rng.uniform(0.12, 0.8) * rng.uniform(0.6, 1.0, 3))] * 2
    if kind == "plain":
        colours = [studio, studio]
    elif kind == "room":
        colours[1] = tuple(float(v) for v in rng.uniform(0.12, 0.8) * rng.uniform(0.6, 1.0, 3))
    covers = []
    for kinds, colour in ((("boards", "tiles"), colours[0]), (("tiles", "boards"), colours[1])):
        choice = "plain"
        if kind == "room" and rng.random() > _WALL:
            choices = [*kinds, photos[int(rng.integers(len(photos)))]] if photos else kinds
            choice = choices[int(rng.integers(len(choices)))]
        r, g, b = colour
        scale = float(rng.uniform(0.1, 0.5) if choice in kinds else rng.uniform(1.0, 2.5))
        covers.append(Cover(choice, (r, g, b), scale, int(rng.integers(1 << 30))))
    hung = (float(rng.uniform(-1.8, 0.8)), float(rng.uniform(1.4, 2.2)), float(rng.uniform(0.4, 1)))
    depth = float(rng.uniform(1.2, 3.5))
    return Place(kind, covers[0], covers[1], depth, picture, hung)


def draw_lighting(rng: np.random.Generator) -> Lighting:
    """Light from above and before the person, warmer or colder."""
    way = np.array([rng.uniform(-0.9, 0.9), -1.1, rng.uniform(-1.1, -0.4)])
    way /= np.linalg.norm(way)
    warm, power, fill = rng.uniform(-0.1, 0.1), rng.uniform(0.6, 1.05), rng.uniform(0.7, 1.2)
    key = power * np.array([1 + warm, 1.0, 1 - warm])
    sky = fill * np.array([0.44, 0.46, 0.50])
    ground = fill * np.array([0.27, 0.24, 0.22])
    x, y, z = ((float(a), float(b), float(c)) for a, b, c in (way, key, sky))
    return Lighting(x, y, z, (float(ground[0]), float(ground[1]), float(ground[2])))


def seen_light(lighting: Lighting, view: Viewpoint) -> Light:
    """The light in camera axes."""
    way, up = (view.turn @ np.array(v) for v in (lighting.way, (0.0, -1.0, 0.0)))
    return Light(way, up, *(np.array(v) for v in (lighting.key, lighting.sky, lighting.ground)))


def backdrop(place: Place, view: Viewpoint, size: Size, folder: Path) -> Backdrop:
    """The place as seen from there, without anybody. folder: the assets'."""
    if place.kind == "photo":
        assert place.picture is not None
        return Backdrop(_linear(_filling(read_picture(folder / place.picture), size)), None)
    fine = (size[0] * _FINE, size[1] * _FINE)
    points, on_floor = _hit(view, fine, place.depth)
    x, y, z = (points[..., k] for k in range(3))
    floor, wall = _covered(place.floor, x, z, folder), _covered(place.wall, x, y, folder)
    rgb = np.where(on_floor[..., None], floor, wall)
    if place.kind == "plain":
        # A studio's backdrop is rounded where the wall begins, and darker towards the edges.
        rgb = rgb * _vignette(fine, 0.25)[..., None]
    else:
        rgb[~on_floor & (y > -_SKIRTING)] = 0.6
        if place.picture is not None:
            _hang(rgb, place, x, y, ~on_floor, folder)
        corner = np.where(on_floor, place.depth - z, -y)
        rgb *= (1 - 0.3 * np.exp(-np.maximum(corner, 0) / 0.25))[..., None]
        rgb *= _vignette(fine, 0.12)[..., None]
    small = np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA))
    # Rays through the middles of pixels, for shadows.
    coarse, _ = _hit(view, size, place.depth)
    return Backdrop(cv2.GaussianBlur(small, (0, 0), 0.6), view.seen(coarse))


def behind(shot: Shot, place: Backdrop) -> Array:
    """The backdrop (H, W, 3) linear with the person's shadow on it."""
    if place.points is None:
        return place.rgb
    dark = 1 - in_light(shot.shadow, place.points)
    blur = max(0.6, 0.012 * dark.shape[0])
    dark = 0.5 * cv2.GaussianBlur(dark, (0, 0), blur) + 0.5 * cv2.GaussianBlur(
        dark, (0, 0), 2 * blur
    )
    return np.asarray(place.rgb * (1 - _SHADE * dark)[..., None])


def developed(linear: Array, rng: np.random.Generator, *, noise: float) -> Array:
    """The picture (H, W, 3) uint8 a camera makes of linear colours; noise: its grain in levels of 255."""
    levels: Array = 255 * np.clip(linear, 0, 1) ** np.float32(1 / GAMMA)
    grain = rng.standard_normal((*levels.shape[:2], 4), np.float32)
    shared = cv2.GaussianBlur(grain[..., 0], (0, 0), 0.6) * 1.8
    levels = levels + noise * (shared[..., None] + 0.4 * grain[..., 1:])
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def _hit(view: Viewpoint, size: Size, depth: float) -> tuple[Array, Array]:
    """World points (H, W, 3) that the pixels see of floor and wall, and whether it is the floor (H, W)."""
    scale = size[0] / (2 * view.camera.centre[1] + 1)
    x = ((np.arange(size[1]) + 0.5) / scale - 0.5 - view.camera.centre[0]) / view.camera.focal
    y = ((np.arange(size[0]) + 0.5) / scale - 0.5 - view.camera.centre[1]) / view.camera.focal
    rays = np.stack([*np.broadcast_arrays(x[None], y[:, None]), np.ones(size)], -1) @ view.turn
    floor = np.where(rays[..., 1] > 1e-6, -view.eye[1] / np.maximum(rays[..., 1], 1e-6), np.inf)
    wall = np.where(
        rays[..., 2] > 1e-6, (depth - view.eye[2]) / np.maximum(rays[..., 2], 1e-6), np.inf
    )
    way = np.minimum(np.minimum(floor, wall), 100.0)
    return view.eye + rays * way[..., None], floor < wall


def _covered(cover: Cover, u: Array, v: Array, folder: Path) -> Array:
    """Linear colours (H, W, 3) float32 of a cover at places u, v (H, W) metres."""
    colour = np.array(cover.colour, np.float32)
    if cover.kind == "plain":
        return np.broadcast_to(colour, (*u.shape, 3))
    if cover.kind in ("boards", "tiles"):
        rows = np.floor(v / cover.scale)
        # Boards are long, and each row of them begins elsewhere.
        long = 8 if cover.kind == "boards" else 1
        shift = (rows * 2.618) % long if long > 1 else 0.0
        columns = np.floor((u / cover.scale + shift) / long)
        hashed = np.sin(rows * 12.9898 + columns * 78.233 + cover.seed % 997) * 43758.5453
        tone = hashed - np.floor(hashed)
        joint = np.minimum((v / cover.scale) % 1, ((u / cover.scale + shift) / long) % 1 * long)
        spread = 0.4 if long > 1 else 0.12
        light = (1 - spread / 2 + spread * tone) * np.where(joint * cover.scale < 0.012, 0.55, 1)
        return np.asarray(colour * light[..., None].astype(np.float32))
    photo = _linear(read_picture(folder / cover.kind)[..., :3])
    height, width = photo.shape[:2]
    columns, rows = (1 - np.abs((a / cover.scale) % 2 - 1) for a in (u, v))
    found = cv2.remap(
        cv2.GaussianBlur(photo, (0, 0), width / 400),
        (columns * (width - 1)).astype(np.float32),
        (rows * (height - 1)).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    return np.asarray(found)


def _hang(rgb: Array, place: Place, x: Array, y: Array, on_wall: Array, folder: Path) -> None:
    """Hangs the place's picture on the wall, framed."""
    assert place.picture is not None
    photo = read_picture(folder / place.picture)[..., :3]
    left, top, width = place.hung
    u, v = (x - left) / width, (y + top) / (width * photo.shape[0] / photo.shape[1])
    there = on_wall & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    small = _linear(np.asarray(cv2.resize(photo, (96, 96), interpolation=cv2.INTER_AREA)))
    columns, rows = (a[there] * (len(small) - 1) for a in (u, v))
    found = small[np.rint(rows).astype(int), np.rint(columns).astype(int)] * 0.8
    frame = (np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < 0.04)[there]
    rgb[there] = np.where(frame[:, None], 0.05, found)


def _filling(rgba: Array, size: Size) -> Array:
    """The middle of a photo, as large as the picture, a little out of focus."""
    height, width = rgba.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    new = (max(size[1], round(width * scale)), max(size[0], round(height * scale)))
    grown = np.asarray(
        cv2.resize(np.ascontiguousarray(rgba[..., :3]), new, interpolation=cv2.INTER_AREA)
    )
    top, left = (new[1] - size[0]) // 2, (new[0] - size[1]) // 2
    cropped = grown[top : top + size[0], left : left + size[1]]
    return np.asarray(cv2.GaussianBlur(cropped, (0, 0), 0.008 * size[0]))


def _linear(rgb: Array) -> Array:
    return np.asarray((rgb[..., :3].astype(np.float32) / 255) ** np.float32(GAMMA))


def _vignette(size: Size, most: float) -> Array:
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    return np.asarray(1 - most * (x * x + y * y) / 2, np.float32)
