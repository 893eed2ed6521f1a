"""Annotations of pose-transfer data sets: the joints of every picture, and which pictures are pairs.

The text files of PATN (Zhu et al., CVPR 2019), which XingGAN, GFLA and others read: joints as
`name:keypoints_y:keypoints_x`, one person per line, two lists of 18 whole numbers, -1 = not seen; pairs as
`from,to`. Joints here are (18, 2) whole numbers, (x, y), -1 where not seen.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

import numpy as np

from dance.types import Array, InputError, Size

_HEADER = ("name", "keypoints_y", "keypoints_x")
_JOINTS = 18


def parse_joints(text: str, origin: str) -> dict[str, Array]:
    """The joints of every picture by its name, (18, 2) int64. Raises InputError, starting with `origin`, for other text."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or tuple(lines[0].strip().split(":")) != _HEADER:
        first = lines[0][:60] if lines else ""
        raise InputError(f"{origin}: the first line must be {':'.join(_HEADER)}, got {first!r}")
    found = {}
    for number, line in enumerate(lines[1:], 2):
        fields = [field.strip() for field in line.split(":")]
        rows, columns = (_whole_numbers(field) for field in [*fields[1:3], "", ""][:2])
        if len(fields) != len(_HEADER) or rows is None or columns is None:
            raise InputError(
                f"{origin}, line {number}: must be NAME: [18 whole numbers]: [18 whole numbers], got {line[:60]!r}"
            )
        missing = (rows == -1) | (columns == -1)
        found[fields[0]] = np.where(missing[:, None], -1, np.stack([columns, rows], -1))
    return found


def _whole_numbers(field: str) -> Array | None:
    try:
        values = json.loads(field)
    except ValueError:
        return None
    if not isinstance(values, list) or len(values) != _JOINTS:
        return None
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return None
    return np.array(values, np.int64)


def format_joints(joints: Mapping[str, Array]) -> str:
    """What `parse_joints` reads."""
    lines = [":".join(_HEADER)]
    for name, xy in joints.items():
        columns, rows = (json.dumps([int(value) for value in xy[:, axis]]) for axis in (0, 1))
        lines.append(f"{name}: {rows}: {columns}")
    return "\n".join(lines) + "\n"


def parse_pairs(text: str, origin: str) -> list[tuple[str, str]]:
    """Names of source and target pictures. Raises InputError, starting with `origin`, for other text."""
    rows = csv.DictReader(io.StringIO(text))
    if not {"from", "to"} <= set(rows.fieldnames or ()):
        raise InputError(f"{origin}: must have the columns from and to, has {rows.fieldnames}")
    pairs = [(row["from"], row["to"]) for row in rows]
    if not all(source and target for source, target in pairs):
        raise InputError(f"{origin}: every line must name two pictures")
    return pairs


def moved(
    joints: Array,
    old: Size,
    new: Size,
    *,
    left: int = 0,
    width: int | None = None,
    matrix: Array | None = None,
) -> Array:
    """Joints of pictures of (height, width) `old` as they are in pictures of `new`, cut to whole pixels.

    left, width: only this range of columns of the old picture is kept.  matrix: (2 or 3, 3), what then moves pixels.
    """
    places = (joints - np.array([left, 0])) * (new[1] / (width or old[1]), new[0] / old[0])
    if matrix is not None:
        places = places @ np.asarray(matrix)[:2, :2].T + np.asarray(matrix)[:2, 2]
    unseen = (joints == -1).any(-1, keepdims=True)
    return np.where(unseen, -1, np.trunc(places).astype(np.int64))
