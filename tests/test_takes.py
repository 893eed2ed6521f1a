"""Shards of takes: what is written is read, the same bytes every time; damage is told."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from small_takes import take

from dance import takes
from dance.types import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        some = [take(f"p{3 * number + n:06d}", 3 * number + n) for n in range(3)]
        takes.write_shard(tmp_path / f"pairs-{number:05d}.tar", some)
    listed = {"pairs": [{"name": f"pairs-{n:05d}.tar"} for n in range(2)], "clips": []}
    manifest = {"version": takes.VERSION, "shards": listed}
    (tmp_path / takes.MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def test_what_was_written_is_read_in_any_order(folder: Path) -> None:
    shards = takes.open_shards(folder, "pairs")
    assert len(shards) == 6 and shards.people == (0, 1, 2, 3, 4, 5)
    for number in (4, 0, 5):
        found, wanted = shards[number], take(f"p{number:06d}", number)
        assert found.key == wanted.key and dict(found.facts) == wanted.facts
        for name in ("pictures", "xy", "matte", "labels", "surface", "turns", "camera", "shape"):
            assert (getattr(found, name) == getattr(wanted, name)).all(), name
    assert [found.key for found in shards[2:4]] == ["p000002", "p000003"]
    assert shards[2:4].people == (2, 3)


def test_takes_can_be_read_by_another_process(folder: Path) -> None:
    again = pickle.loads(pickle.dumps(takes.open_shards(folder, "pairs")))
    assert again[3].key == "p000003"


def test_the_same_takes_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        takes.write_shard(tmp_path / name, [take("a", 1), take("b", 2)])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    takes.write_shard(tmp_path / "three", [take("a", 1), take("b", 2, seed=1)])
    assert (tmp_path / "one").read_bytes() != (tmp_path / "three").read_bytes()


def test_members_are_named_as_webdataset_has_them(folder: Path) -> None:
    with tarfile.open(folder / "pairs-00000.tar") as tar:
        names = tar.getnames()
    assert names[:4] == ["p000000.json", "p000000.npz", "p000000.000.png", "p000000.001.png"]


def test_a_shard_whose_writing_fails_does_not_appear(tmp_path: Path) -> None:
    def failing():  # type: ignore[no-untyped-def]
        yield take("a", 1)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        takes.write_shard(tmp_path / "half.tar", failing())
    assert not (tmp_path / "half.tar").exists()


def test_a_pose_has_joints_depths_and_the_body(folder: Path) -> None:
    found = takes.open_shards(folder, "pairs")[1]
    pose, physique = found.pose(1), found.physique(1)
    assert (pose.xy == found.xy[1]).all() and pose.stance is not None
    assert (pose.stance.turns == found.turns[1]).all()
    assert pose.world is not None and np.allclose(pose.world[11:13].mean(0), 0, atol=1e-6)
    assert pose.depth is not None and pose.depth[11:13].mean() == pytest.approx(0, abs=1e-4)
    assert physique.camera.focal == 50 and (physique.shape == found.shape).all()


def test_a_folder_that_is_not_whole_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="has no clips; it has pairs"):
        takes.open_shards(folder, "clips")
    (folder / "pairs-00001.tar").rename(folder / "elsewhere")
    with pytest.raises(InputError, match=r"lacks pairs-00001\.tar"):
        takes.open_shards(folder, "pairs")
    (folder / takes.MANIFEST).unlink()
    with pytest.raises(InputError, match="make_synthetic"):
        takes.open_shards(folder, "pairs")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 1, "shards": {"a": [1]}}']
)
def test_a_damaged_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / takes.MANIFEST).write_text(text)
    with pytest.raises(InputError, match="no readable manifest"):
        takes.open_shards(folder, "pairs")


def test_a_manifest_of_another_version_is_refused(folder: Path) -> None:
    (folder / takes.MANIFEST).write_text('{"version": 99, "shards": {}}')
    with pytest.raises(InputError, match="version 99"):
        takes.open_shards(folder, "pairs")


def test_damaged_shards_and_takes_are_told(folder: Path) -> None:
    path = folder / "pairs-00000.tar"
    shards = takes.open_shards(folder, "pairs")
    data = bytearray(path.read_bytes())
    for where in range(512, 512 + len(data) // 3):
        data[where] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"pairs-00000\.tar: the take p000000"):
        shards[0]
    path.write_bytes(b"no tar at all")
    with pytest.raises(InputError, match="no whole shard"):
        takes.open_shards(folder, "pairs")
