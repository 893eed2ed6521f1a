"""Annotations of pose-transfer data sets."""

from __future__ import annotations

import numpy as np
import pytest

from dance import joint_files
from dance.types import InputError

ROWS, COLUMNS = list(range(18)), [2 * i for i in range(18)]
TEXT = f"name:keypoints_y:keypoints_x\na/b.jpg: {ROWS}: {COLUMNS}\n"


def test_joints_are_read_as_x_y_and_written_as_they_were() -> None:
    joints = joint_files.parse_joints(TEXT, "train.csv")
    assert list(joints) == ["a/b.jpg"]
    assert joints["a/b.jpg"].shape == (18, 2) and joints["a/b.jpg"][3].tolist() == [6, 3]
    assert joint_files.format_joints(joints) == TEXT
    assert joint_files.parse_joints(TEXT.replace(": [", ":["), "x").keys() == joints.keys()


def test_a_joint_is_missing_where_either_number_is_minus_one() -> None:
    rows = [-1, *ROWS[1:]]
    (xy,) = joint_files.parse_joints(TEXT.replace(str(ROWS), str(rows)), "x").values()
    assert xy[0].tolist() == [-1, -1] and xy[1].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be name:keypoints_y:keypoints_x"),
        ("name,y,x\n", "got 'name,y,x'"),
        (TEXT.replace(str(COLUMNS), "[1, 2]"), "line 2: must be NAME"),
        (TEXT.replace(str(COLUMNS), str(COLUMNS).replace("34", "0.5")), "line 2: must be NAME"),
        (TEXT.replace(str(COLUMNS), "nothing"), "line 2: must be NAME"),
        (TEXT + "c.jpg\n", "line 3: must be NAME"),
        (TEXT + "c.jpg: [1]: [2]: [3]\n", "line 3: must be NAME"),
    ],
)
def test_other_text_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")) as caught:
        joint_files.parse_joints(text, "train.csv")
    assert str(caught.value).startswith("train.csv")


def test_pairs_are_read_and_a_line_without_a_target_is_refused() -> None:
    assert joint_files.parse_pairs("from,to\na.jpg,b.jpg\n", "x") == [("a.jpg", "b.jpg")]
    with pytest.raises(InputError, match=r"pairs\.csv: must have the columns from and to"):
        joint_files.parse_pairs("a,b\n1,2\n", "pairs.csv")
    with pytest.raises(InputError, match=r"pairs\.csv: every line must name two pictures"):
        joint_files.parse_pairs("from,to\na.jpg,\n", "pairs.csv")


def test_joints_follow_a_picture_that_is_cut_and_resized() -> None:
    xy = np.array([[40, 0], [100, 255], [-1, -1]])
    cut = joint_files.moved(xy, (256, 256), (128, 88), left=40, width=176)
    assert cut.tolist() == [[0, 0], [30, 127], [-1, -1]]


def test_a_matrix_moves_joints_after_they_are_resized() -> None:
    xy = np.array([[10, 20], [-1, -1]])
    matrix = np.array([[0.0, 1.0, 0.5], [-1.0, 0.0, 100.0]])
    moved = joint_files.moved(xy, (100, 100), (200, 50), matrix=matrix)
    assert moved.tolist() == [[40, 95], [-1, -1]]
