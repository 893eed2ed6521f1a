"""Poses as JSON: folders as OpenPose writes them, and COCO or COCO-WholeBody files.

OpenPose: one file a picture, NAME_000000000012_keypoints.json, people with flat [x, y, score, ...]
lists: 25 (BODY_25) or 18 (COCO) body joints, 70 face points (iBUG 68 and two pupils), 21 of each hand.
COCO: images and annotations, or a bare list of results; flat [x, y, v, ...] lists of 17 joints (with
foot_kpts, face_kpts, lefthand_kpts, righthand_kpts) or of all 133.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dance import skeleton
from dance.pose._npz import Recording
from dance.types import JOINTS, Array, InputError, Pose, Size, Track

_ORDERS = {25: skeleton.OPENPOSE_25, 18: skeleton.OPENPOSE_18}
_OPENPOSE_PARTS = {
    "face_keypoints_2d": skeleton.FACE_SLICE,
    "hand_left_keypoints_2d": skeleton.LEFT_HAND_SLICE,
    "hand_right_keypoints_2d": skeleton.RIGHT_HAND_SLICE,
}
_COCO_PARTS = {
    "keypoints": skeleton.BODY_SLICE,
    "foot_kpts": skeleton.FEET_SLICE,
    "face_kpts": skeleton.FACE_SLICE,
    "lefthand_kpts": skeleton.LEFT_HAND_SLICE,
    "righthand_kpts": skeleton.RIGHT_HAND_SLICE,
}


def _flat(points: Array, score: Array) -> list[float]:
    # An unseen joint is written as zeros in both formats.
    values = np.where(score[:, None] > 0, np.concatenate([points, score[:, None]], 1), 0)
    return [round(float(v), 4) for v in values.ravel()]


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no readable JSON ({error})") from error


def _triples(value: Any, path: Path, key: str) -> Array:
    """A flat [x, y, score, ...] list as (N, 3) numbers."""
    try:
        flat = np.array(value if value is not None else [], np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {key} is not a list of numbers") from error
    if flat.ndim != 1 or flat.size % 3:
        raise InputError(f"{path}: {key} must be a flat list of x, y, score, got {flat.shape}")
    return np.nan_to_num(flat.reshape(-1, 3))


def _pose(xy: Array, score: Array) -> Pose:
    return Pose(xy.astype(np.float32), np.clip(score, 0, 1).astype(np.float32))


def write_openpose(track: Track, folder: Path) -> None:
    """One file for each pose (BODY_25, face, hands), with the picture's size and time as extra keys."""
    folder.mkdir(parents=True)
    height, width = track.size
    for i, (pose, time) in enumerate(zip(track.poses, track.times, strict=True)):
        body = skeleton.to_openpose(pose.xy, pose.score, skeleton.OPENPOSE_25)
        face, face_score = pose.xy[skeleton.FACE_SLICE], pose.score[skeleton.FACE_SLICE]
        # Points 69 and 70 of OpenPose's face are the pupils: our eyes.
        eyes = [skeleton.RIGHT_EYE, skeleton.LEFT_EYE]
        face = np.concatenate([face, pose.xy[eyes]])
        seen = face_score.any()
        face_score = np.concatenate([face_score, pose.score[eyes] * seen])
        person = {
            "person_id": [-1],
            "pose_keypoints_2d": _flat(*body),
            "face_keypoints_2d": _flat(face, face_score),
            "hand_left_keypoints_2d": _flat(
                pose.xy[skeleton.LEFT_HAND_SLICE], pose.score[skeleton.LEFT_HAND_SLICE]
            ),
            "hand_right_keypoints_2d": _flat(
                pose.xy[skeleton.RIGHT_HAND_SLICE], pose.score[skeleton.RIGHT_HAND_SLICE]
            ),
        }
        content = {
            "version": 1.3,
            "people": [person] if pose.found else [],
            "canvas_width": width,
            "canvas_height": height,
            "time": [time.numerator, time.denominator],
            "cut": i in track.cuts,
        }
        name = f"{folder.name}_{i:012d}_keypoints.json"
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def read_openpose(folder: Path) -> Recording:
    """The people of every picture; a number without a file is a picture with nobody."""
    files = {}
    for path in sorted(folder.glob("*.json")):
        found = re.search(r"(\d+)(?:_keypoints)?$", path.stem)
        if found is None:
            raise InputError(
                f"{path}: its name has no frame number, as in NAME_000012_keypoints.json"
            )
        files[int(found.group(1))] = path
    if not files:
        raise InputError(f"{folder}: holds no .json file; give a folder of OpenPose keypoints")
    contents = {number: _load(path) for number, path in files.items()}
    # Some tools count from 1; a clip of which the first frames are missing is not told apart from that.
    first = 1 if min(files) == 1 else 0
    people: list[list[Pose]] = [[] for _ in range(max(files) + 1 - first)]
    for number, content in contents.items():
        path = files[number]
        if not isinstance(content, dict) or not isinstance(content.get("people"), list):
            raise InputError(f"{path}: has no list of people; give OpenPose's output")
        people[number - first] = [_openpose_person(person, path) for person in content["people"]]
    sizes = {_canvas(content) for content in contents.values()}
    times = [_time(contents[n]) for n in sorted(contents)]
    whole = len(times) == len(people) and all(t is not None for t in times)
    cuts = (n - first for n, content in contents.items() if content.get("cut") is True)
    return Recording(
        people,
        [t for t in times if t is not None] if whole else None,
        sizes.pop() if len(sizes) == 1 else None,
        frozenset(cuts),
    )


def _canvas(content: dict[str, Any]) -> Size | None:
    height, width = content.get("canvas_height"), content.get("canvas_width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _time(content: dict[str, Any]) -> Fraction | None:
    match content.get("time"):
        case [int(numerator), int(denominator)] if denominator > 0:
            return Fraction(numerator, denominator)
    return None


def _openpose_person(person: Any, path: Path) -> Pose:
    if not isinstance(person, dict):
        raise InputError(f"{path}: a person is not an object with pose_keypoints_2d")
    body = _triples(person.get("pose_keypoints_2d"), path, "pose_keypoints_2d")
    if len(body) not in _ORDERS:
        raise InputError(f"{path}: pose_keypoints_2d has {len(body)} joints, expected 25 or 18")
    xy, score = skeleton.from_openpose(body[:, :2], body[:, 2], _ORDERS[len(body)])
    for key, part in _OPENPOSE_PARTS.items():
        points = _triples(person.get(key), path, key)
        count = part.stop - part.start
        if len(points) >= count:
            xy[part], score[part] = points[:count, :2], points[:count, 2]
    return _pose(xy, score)


def write_coco(track: Track, path: Path) -> None:
    """One COCO-WholeBody file; a picture with nobody has no annotation. Times are an extra key."""
    height, width = track.size
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, (pose, time) in enumerate(zip(track.poses, track.times, strict=True)):
        images.append(
            {
                "id": i,
                "file_name": f"{i:06d}.png",
                "height": height,
                "width": width,
                "time": [time.numerator, time.denominator],
                "cut": i in track.cuts,
            }
        )
        if pose.found:
            parts = {
                key: _flat(pose.xy[part], pose.score[part]) for key, part in _COCO_PARTS.items()
            }
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": i,
                    "category_id": 1,
                    "iscrowd": 0,
                    "num_keypoints": int((pose.score[skeleton.BODY_SLICE] > 0).sum()),
                    **parts,
                }
            )
    category = {"id": 1, "name": "person", "keypoints": list(skeleton.BODY)}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    path.write_text(json.dumps(content), encoding="utf-8")


def read_coco(path: Path) -> Recording:
    """The people of every picture, in the order of the images (of a bare list: of the image ids)."""
    content = _load(path)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        annotations, images = content["annotations"], content.get("images") or []
    elif isinstance(content, list):
        annotations, images = content, []
    else:
        raise InputError(f"{path}: has no list of annotations; give COCO keypoints or results")
    if not all(isinstance(a, dict) and "image_id" in a for a in annotations):
        raise InputError(f"{path}: every annotation needs an image_id and keypoints")
    if not all(isinstance(image, dict) and "id" in image for image in images):
        raise InputError(f"{path}: every image needs an id")
    ids = [image["id"] for image in images] or _ids(annotations)
    place = {identity: i for i, identity in enumerate(ids)}
    people: list[list[tuple[float, Pose]]] = [[] for _ in ids]
    # COCO's ground truth says 0, 1 (hidden) or 2 (seen); everybody else writes a score.
    flags = _are_flags(annotations)
    for annotation in annotations:
        if annotation["image_id"] not in place:
            raise InputError(f"{path}: image_id {annotation['image_id']!r} is not among the images")
        score = annotation.get("score", 1)
        pose = _coco_person(annotation, path, flags)
        people[place[annotation["image_id"]]].append((float(score), pose))
    times = [_time(image) for image in images]
    sizes = {(i.get("height"), i.get("width")) for i in images}
    size = sizes.pop() if len(sizes) == 1 else None
    return Recording(
        [[pose for _, pose in sorted(some, key=lambda s: -s[0])] for some in people],
        [t for t in times if t is not None] if times and None not in times else None,
        size if size and all(isinstance(s, int) for s in size) else None,
        frozenset(i for i, image in enumerate(images) if image.get("cut") is True),
    )


def _ids(annotations: list[dict[str, Any]]) -> list[Any]:
    """The image ids of a bare list: whole numbers leave gaps for pictures with nobody."""
    ids = {a["image_id"] for a in annotations}
    if ids and all(isinstance(i, int) for i in ids):
        return list(range(min(0, *ids) if min(ids) != 1 else 1, max(ids) + 1))
    return sorted(ids, key=str)


def _are_flags(annotations: list[dict[str, Any]]) -> bool:
    marks = {v for a in annotations for v in (a.get("keypoints") or [])[2::3]}
    return 2 in marks and marks <= {0, 1, 2}


def _coco_person(annotation: dict[str, Any], path: Path, flags: bool) -> Pose:
    xy, score = np.zeros((JOINTS, 2), np.float32), np.zeros(JOINTS, np.float32)
    body = _triples(annotation.get("keypoints"), path, "keypoints")
    if len(body) not in (17, JOINTS):
        raise InputError(f"{path}: keypoints has {len(body)} joints, expected 17 or {JOINTS}")
    if len(body) == JOINTS:
        xy[:], score[:] = body[:, :2], body[:, 2]
    else:
        for key, part in _COCO_PARTS.items():
            points = _triples(annotation.get(key), path, key)
            if len(points) == part.stop - part.start:
                xy[part], score[part] = points[:, :2], points[:, 2]
    return _pose(xy, score / 2 if flags else score)
