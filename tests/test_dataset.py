"""The folder a person is learnt from: what is whole is opened, what is not is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from dance import dataset
from dance.dataset import Facts
from dance.geometry import Reach
from dance.types import InputError

FACTS = Facts("a.mp4", "0" * 64, 3, 2, (96, 128), Reach(1, 2, 3, 4, 5), {"crf": 8})


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    dataset.write_facts(tmp_path, FACTS)
    assert dataset.read_facts(tmp_path) == FACTS
    assert [p.name for p in tmp_path.iterdir()] == ["dataset.json"]


def test_a_folder_that_is_no_whole_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prepare_data.py person"):
        dataset.read_facts(tmp_path)


def test_another_version_and_damaged_facts_are_refused(tmp_path: Path) -> None:
    dataset.write_facts(tmp_path, FACTS)
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"version": 99}), encoding="utf-8")
    with pytest.raises(InputError, match="version 99"):
        dataset.read_facts(tmp_path)
    path.write_text(json.dumps(values | {"size": 5}), encoding="utf-8")
    with pytest.raises(InputError, match=r"no readable dataset\.json"):
        dataset.read_facts(tmp_path)


def test_a_missing_product_is_named(tmp_path: Path) -> None:
    dataset.write_facts(tmp_path, FACTS)
    with pytest.raises(InputError, match=r"lacks frames\.mp4"):
        dataset.open_dataset(tmp_path)


def test_marks_come_back_as_they_were(tmp_path: Path) -> None:
    usable = np.array([True, False, True])
    faces = np.array([[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]], np.float32)
    dataset.write_marks(tmp_path / "marks.npz", usable, faces)
    found = dataset.read_marks(tmp_path / "marks.npz")
    assert np.array_equal(found[0], usable) and np.array_equal(found[1], faces, equal_nan=True)
    (tmp_path / "marks.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="marks"):
        dataset.read_marks(tmp_path / "marks.npz")
