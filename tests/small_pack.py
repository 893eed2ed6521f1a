"""A small folder of assets for synthetic people, made here: a suit, shoes and hair cut from the body's own skin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dance.surface.body import Body
from dance.surface.charts import Charts
from dance.surface.parts import PARTS
from dance.surface.raster import vertex_normals
from dance.synthetic.wear import base_rows
from dance.types import Array

SKIN, SUIT, SHOES, HAIR = (220, 170, 140), (40, 60, 200), (30, 30, 30), (90, 50, 20)
CLIP_RATE, CLIP_FRAMES = 50, 60
_SHELLS = {
    "suit": (("torso", "upper arm"), ("thigh", "shin")),
    "shoes": (("foot",),),
    "hair": (("head",),),
}
_LIMBS = {"Hip": (1.0, -1, 0), "Knee": (0.0, -4, 0), "Ankle": (0.0, -4, 0), "Toe": (0.0, -0.5, 1.5)}
_ARM = {"Collar": (0.2, 5, 0), "Shoulder": (1.5, 0, 0), "Elbow": (2.5, 0, 0), "Wrist": (2.5, 0, 0)}


def make_pack(folder: Path, body: Body, charts: Charts) -> Path:
    """Writes the folder and returns it: one of everything, a second hair that is all holes, a clip and a photo."""
    for kind, name, colour, offset in (
        ("clothes", "suit", SUIT, 0.012),
        ("shoes", "shoes", SHOES, 0.01),
        ("hair", "hair", HAIR, 0.02),
    ):
        write_garment(folder / kind / name, name, body, charts, offset)
        write_picture(folder / kind / name / f"{name}.png", (*colour, 255))
    write_garment(folder / "hair" / "air", "air", body, charts, 0.02, like="hair")
    write_picture(folder / "hair" / "air" / "air.png", (255, 255, 255, 0))
    write_picture(folder / "skins" / "plain.png", SKIN)
    photo = np.random.default_rng(0).integers(0, 255, (40, 60, 3))
    write_picture(folder / "backgrounds" / "wild.png", photo)
    (folder / "motion").mkdir()
    (folder / "motion" / "wave.bvh").write_text(bvh(), encoding="utf-8")
    listed = [{"path": "skins/plain.png", "licence": "CC0-1.0", "attribution": "nobody"}]
    (folder / "manifest.json").write_text(json.dumps({"files": listed}), encoding="utf-8")
    return folder


def write_garment(
    folder: Path, name: str, body: Body, charts: Charts, offset: float, *, like: str | None = None
) -> None:
    """A garment in MakeHuman's form that lies so many metres over the skin of some parts."""
    folder.mkdir(parents=True)
    faces, skin = body.faces.numpy(), body.template.numpy()
    normals, base = vertex_normals(skin, faces), base_rows(body)
    rows, kept, start = [], [], 0
    for shell in _SHELLS[like or name]:
        numbers = [k for k, part in enumerate(PARTS) if any(word in part for word in shell)]
        own = faces[np.isin(charts.part, numbers)]
        if name != "shoes" and shell == ("head",):
            own = own[skin[own].mean(1)[:, 1] < -0.72]
        used, places = np.unique(own, return_inverse=True)
        rows += [(v, *(offset * 10 * normals[v] * [1, -1, -1])) for v in used]
        kept.append(places.reshape(-1, 3) + start)
        start += len(used)
    points = np.array([skin[v] * [10, -10, -10] + shift for v, *shift in rows])
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += ["vt 0.2 0.2", "vt 0.8 0.2", "vt 0.5 0.8"]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in np.concatenate(kept)]
    (folder / f"{name}.obj").write_text("\n".join(lines), encoding="utf-8")
    bound = [f"{(n := base[v])} {n} {n} 1 0 0 {x:.6f} {y:.6f} {z:.6f}" for v, x, y, z in rows]
    head = [f"name {name}", f"obj_file {name}.obj", "verts 0"]
    (folder / f"{name}.mhclo").write_text("\n".join([*head, *bound]), encoding="utf-8")


def write_picture(path: Path, colour: Sequence[int] | Array) -> None:
    """A picture, or one in a single colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.asarray(colour, np.uint8)
    if picture.ndim == 1:
        picture = np.broadcast_to(picture, (16, 16, len(picture)))
    order = [2, 1, 0, 3][: picture.shape[2]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[..., order]))


def bvh(*, frames: int = CLIP_FRAMES, raised: float = 60.0) -> str:
    """A clip of somebody who stands and lifts the left arm from straight out by so many degrees, after a T-pose."""
    order: list[str] = []
    channels = "Zrotation Yrotation Xrotation"

    def joint(name: str, offset: Sequence[float], children: Sequence[str], root: str = "") -> str:
        order.insert(0, name)
        moved = f"6 {root} " if root else "3 "
        inner = "\n".join(children) or "End Site\n{\nOFFSET 0 0 0\n}"
        kind = "ROOT" if root else "JOINT"
        place = " ".join(str(v) for v in offset)
        return f"{kind} {name}\n{{\nOFFSET {place}\nCHANNELS {moved}{channels}\n{inner}\n}}"

    def chain(names: dict[str, tuple[float, float, float]], ends: Sequence[str] = ()) -> str:
        text: Sequence[str] = ends
        for name, offset in reversed(names.items()):
            text = [joint(name, offset, text)]
        return text[0]

    def side(name: str, sign: int, limb: dict[str, tuple[float, float, float]]) -> str:
        return chain({f"{name}{part}": (sign * x, y, z) for part, (x, y, z) in limb.items()})

    # Written from the last joint to the first, so that `order` is that of the file.
    trunk = {"lowerback": (0.0, 1, 0), "Chest": (0.0, 1.5, 0), "Chest2": (0.0, 1.5, 0)}
    right_arm = side("Right", -1, _ARM)
    left_arm = side("Left", 1, _ARM)
    neck = chain({"Neck": (0.0, 1.5, 0), "Head": (0.0, 1, 0)})
    upper = chain(trunk, [neck, left_arm, right_arm])
    right_leg, left_leg = side("Right", -1, _LIMBS), side("Left", 1, _LIMBS)
    text = joint("Hips", (0, 0, 0), [left_leg, right_leg, upper], "Xposition Yposition Zposition")
    lines = []
    for frame in range(-8, frames):
        turns = {"LeftShoulder": raised * max(frame, 0) / (frames - 1)}
        values = [0.02 * frame, 9.0, 0.0]
        for name in order:
            values += [turns.get(name, 0.0), 0.0, 0.0]
        lines.append(" ".join(f"{v:.4f}" for v in values))
    header = f"MOTION\nFrames: {len(lines)}\nFrame Time: {1 / CLIP_RATE}"
    return "\n".join(["HIERARCHY", text, header, *lines, ""])
