"""Whole orders: the same bytes from the same seed, whatever was there before; people, places and bodies are as told."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dance import skeleton as sk
from dance import takes
from dance.surface import body as bodies
from dance.surface.body import Body
from dance.synthetic import make
from dance.synthetic.make import Order, Progress
from dance.types import InputError

ORDER = Order(pairs=6, clips=1, size=48, frames=4, seed=7)


@pytest.fixture(scope="module")
def made(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make.make(assets, folder, ORDER)
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "PAIRS_IN_SHARD", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def test_an_order_makes_what_was_ordered(made: Path) -> None:
    pairs, clips = takes.open_shards(made, "pairs"), takes.open_shards(made, "clips")
    assert len(pairs) == 6 and len(clips) == 2
    assert all(len(pair) == 2 and pair.size == (48, 48) for pair in pairs)
    assert all(len(clip) == 4 for clip in clips)
    assert pairs.people == (0, 0, 0, 0, 1, 1)
    assert clips.people[0] != clips.people[1] and not set(clips.people) & set(pairs.people)


def test_a_pair_is_one_person_in_two_poses(made: Path) -> None:
    pairs = takes.open_shards(made, "pairs")
    for pair in pairs:
        assert np.abs(pair.turns[0] - pair.turns[1]).max() > 0.1
        assert (pair.matte > 250).mean((1, 2)).min() > 0.02
    assert (pairs[0].shape == pairs[3].shape).all()
    assert not (pairs[0].shape == pairs[4].shape).all()


def test_a_clips_two_people_move_alike_before_still_cameras(made: Path) -> None:
    one, other = takes.open_shards(made, "clips")
    # Turns from the camera's axes differ in the pelvis alone, as the two cameras do.
    assert np.allclose(one.turns[:, 1:], other.turns[:, 1:], atol=1e-5)
    assert not (one.shape == other.shape).all()
    assert (one.camera == one.camera[0]).all() and one.facts["motion"] == other.facts["motion"]


def test_joints_are_those_of_the_body_that_is_told(made: Path, body: Body) -> None:
    pair = takes.open_shards(made, "pairs")[2]
    points = bodies.joints(
        body,
        torch.from_numpy(pair.shape),
        torch.from_numpy(pair.turns),
        torch.from_numpy(pair.root),
    )
    for k in range(2):
        xy = bodies.project(points[k], pair.physique(k).camera).numpy()
        assert np.abs(xy - pair.xy[k]).max() < 0.01
    seen = pair.score[:, sk.BODY_SLICE] == 1
    for k, joint in np.argwhere(seen):
        column, row = np.rint(pair.xy[k, joint]).astype(int)
        around = pair.matte[k, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        assert around.max() > 128


def test_the_same_seed_makes_the_same_bytes_and_another_others(
    assets: Path, made: Path, tmp_path: Path
) -> None:
    make.make(assets, tmp_path / "again", ORDER)
    assert contents(tmp_path / "again") == contents(made)
    other = Order(pairs=6, clips=1, size=48, frames=4, seed=8)
    make.make(assets, tmp_path / "other", other)
    assert contents(tmp_path / "other") != contents(made)


def test_a_stopped_run_is_finished_and_what_was_there_is_kept(
    assets: Path, tmp_path: Path, small_shards: None
) -> None:
    order = Order(pairs=5, clips=0, size=32, seed=1)
    whole = tmp_path / "whole"
    make.make(assets, whole, order)
    wanted = contents(whole)
    (whole / "pairs-00001.tar").unlink()
    (whole / takes.MANIFEST).unlink()
    (whole / ".pairs-00001.tar.part").write_bytes(b"half")
    kept = (whole / "pairs-00000.tar").stat().st_mtime_ns
    told: list[Progress] = []
    make.make(assets, whole, order, on_progress=told.append)
    assert contents(whole) == wanted
    assert (whole / "pairs-00000.tar").stat().st_mtime_ns == kept
    assert told == [Progress("pairs", 5, 5)]
    assert not list(whole.glob("*.part")) and len(takes.open_shards(whole, "pairs")) == 5


def test_a_larger_order_goes_on_with_a_smaller_one(
    assets: Path, tmp_path: Path, small_shards: None
) -> None:
    make.make(assets, tmp_path / "grown", Order(pairs=3, clips=0, size=32, seed=1))
    make.make(assets, tmp_path / "grown", Order(pairs=5, clips=0, size=32, seed=1))
    make.make(assets, tmp_path / "whole", Order(pairs=5, clips=0, size=32, seed=1))
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")


def test_a_folder_begun_with_other_settings_is_refused(assets: Path, made: Path) -> None:
    with pytest.raises(InputError, match=r"begun with other size, seed"):
        make.make(assets, made, Order(pairs=6, clips=1, size=64, frames=4, seed=9))
    assert len(takes.open_shards(made, "pairs")) == 6


def test_the_manifest_names_assets_with_hash_and_licence(made: Path) -> None:
    manifest = takes.read_manifest(made)
    by_path = {entry["path"]: entry for entry in manifest["assets"]}
    assert by_path["skins/plain.png"]["licence"].startswith("CC0-1.0")
    assert all(len(entry["sha256"]) == 64 for entry in manifest["assets"])
    assert "clothes/suit/suit.obj" in by_path and manifest["seed"] == 7
    assert set(manifest["versions"]) >= {"anny", "numpy", "dance"}
    json.dumps(manifest)


@pytest.mark.parametrize(
    "changes", [{"pairs": 0, "clips": 0}, {"pairs": -1}, {"size": 8}, {"frames": 1}, {"seed": -1}]
)
def test_an_order_for_nothing_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InputError):
        Order(**{"pairs": 1, "clips": 1, **changes})


@pytest.mark.slow
def test_several_processes_make_the_same_bytes_as_one(
    assets: Path, made: Path, tmp_path: Path
) -> None:
    make.make(assets, tmp_path, ORDER, workers=2)
    assert contents(tmp_path) == contents(made)


@pytest.mark.slow
def test_processes_end_with_the_one_they_work_for_and_the_next_run_finishes(
    assets: Path, tmp_path: Path
) -> None:
    script = Path(make.__file__).parents[2] / "scripts" / "make_synthetic.py"
    command = [sys.executable, str(script), str(assets), str(tmp_path), "--quiet", "--workers", "2"]
    order = ["--pairs", "140", "--size", "32"]
    with subprocess.Popen([*command, *order], stderr=subprocess.DEVNULL) as run:
        begun = time.monotonic()
        while not sum(path.stat().st_size for path in tmp_path.glob("*.part")):
            assert run.poll() is None and time.monotonic() - begun < 240
            time.sleep(0.2)
        run.kill()
    time.sleep(3)
    before = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    time.sleep(3)
    assert before == {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert takes.MANIFEST not in before
    subprocess.run([*command, *order], check=True)
    assert len(takes.open_shards(tmp_path, "pairs")) == 140
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_the_shared_assets_make_people(shared: Path, tmp_path: Path) -> None:
    make.make(shared / "synthetic", tmp_path, Order(pairs=4, clips=1, size=64, frames=3))
    for kind in ("pairs", "clips"):
        for take in takes.open_shards(tmp_path, kind):
            assert ((take.labels > 0) == (take.surface[..., 0] > 0)).mean() > 0.999
            assert (take.matte > 128).mean() > 0.03
