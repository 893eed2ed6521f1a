"""Small folders of every kind that the recipes of single pictures learn from, of drawn people in one colour each."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from figure import mask_of, pose_at, room

from dance import joint_files, joint_maps, takes
from dance.surface.parsing import LABELS
from dance.surface.parts import PARTS
from dance.takes import Take
from dance.types import Array, Pose, Size

SIZE: Size = (48, 32)


def pose_of(number: int, size: Size = SIZE) -> Pose:
    """Standing, a little aside and turned, another for every number; the wrists are high or low."""
    unit = size[0] / 4
    x, y = size[1] / 2 + number % 3 - 1, 0.48 * size[0]
    pose = pose_at(x, y, unit, facing=1 - 0.3 * (number % 2))
    xy = pose.xy.copy()
    if number % 2:
        for elbow, wrist in ((7, 9), (8, 10)):
            xy[wrist] = xy[elbow] + (0, -0.5 * unit)
    return Pose(xy, pose.score)


def picture_of(person: int, number: int, size: Size = SIZE) -> tuple[Array, Array, Pose]:
    """A picture (H, W, 3) uint8 of somebody, the matte (H, W) uint8, and the pose."""
    pose = pose_of(number, size)
    matte = mask_of(pose, size, size[0] / 4)
    colour = np.random.default_rng(person).uniform(0, 255, 3)
    rgb = matte[..., None] * colour + (1 - matte[..., None]) * room(size, person)
    return np.round(rgb).astype(np.uint8), np.round(matte * 255).astype(np.uint8), pose


def take_of(person: int, pictures: int = 2) -> Take:
    """A take of that person; all of the body is one label and one part."""
    seen = [picture_of(person, person + n) for n in range(pictures)]
    rgb, matte = np.stack([one[0] for one in seen]), np.stack([one[1] for one in seen])
    inside = matte > 127
    surface = np.stack([inside * PARTS.index("left foot"), inside * 40, inside * 200], -1)
    points = np.zeros((pictures, 133, 3), np.float32)
    points[..., 2] = 3
    return Take(
        f"p{person:06d}",
        {"kind": "pair", "person": person},
        pictures=rgb,
        xy=np.stack([one[2].xy for one in seen]),
        score=np.stack([one[2].score for one in seen]),
        points=points,
        matte=matte,
        labels=(inside * LABELS.index("left shoe")).astype(np.uint8),
        surface=surface.astype(np.uint8),
        turns=np.zeros((pictures, 24, 3), np.float32),
        root=np.zeros((pictures, 3), np.float32),
        shape=np.zeros(15, np.float32),
        camera=np.full((pictures, 3), 50, np.float32),
    )


def synthetic(folder: Path, people: int = 12, *, pictures: int = 2) -> Path:
    """Shards of so many people, one take each; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    half = people // 2
    names = ["pairs-00000.tar", "pairs-00001.tar"]
    takes.write_shard(folder / names[0], [take_of(n, pictures) for n in range(half)])
    takes.write_shard(folder / names[1], [take_of(n, pictures) for n in range(half, people)])
    shards = {"pairs": [{"name": name} for name in names]}
    manifest = {"version": takes.VERSION, "shards": shards}
    (folder / takes.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def listed(folder: Path, name: str, size: Size, spelt: str) -> Path:
    """Pictures, joints and pairs as PATN has them: three people in train, two in test; returns the folder.

    name: of a picture, of {person} and {view}.  spelt: how the lists' names begin.
    """
    for part, people in (("train", (1, 2, 3)), ("test", (4, 5))):
        joints = {}
        pairs = ["from,to"]
        (folder / part).mkdir(parents=True)
        for person in people:
            names = [name.format(person=person, view=view) for view in (1, 2)]
            for view, each in enumerate(names):
                rgb, _, pose = picture_of(person, view, size)
                write(folder / part / each, rgb)
                xy, score = joint_maps.joints(pose)
                joints[each] = np.where(score[:, None] > 0, xy, -1).astype(np.int64)
            pairs += [f"{a},{b}" for a, b in (names, names[::-1])]
        text = joint_files.format_joints(joints)
        (folder / f"{spelt}-annotation-{part}.csv").write_text(text, encoding="utf-8")
        (folder / f"{spelt}-pairs-{part}.csv").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    return folder


def views(folder: Path, *, mattes: bool = True) -> Path:
    """Four items in three views; returns the folder."""
    joints = {}
    for item in range(4):
        (folder / f"item{item}").mkdir(parents=True)
        for view in range(3):
            rgb, matte, pose = picture_of(item, view)
            path = folder / f"item{item}" / f"{view}.png"
            write(path, rgb)
            if mattes:
                write(path.with_name(f"{view}_matte.png"), np.repeat(matte[..., None], 3, -1))
            xy, score = joint_maps.joints(pose)
            joints[f"item{item}/{view}.png"] = np.where(score[:, None] > 0, xy, -1).astype(int)
    text = joint_files.format_joints(joints)
    (folder / "joints.csv").write_text(text, encoding="utf-8")
    return folder


def write(path: Path, rgb: Array) -> None:
    """Writes a picture file of the kind its name says."""
    done, coded = cv2.imencode(path.suffix, rgb[..., ::-1])
    assert done
    path.write_bytes(coded.tobytes())
