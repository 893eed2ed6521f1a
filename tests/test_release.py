"""A trained run becomes a small file that says what it is, and generators find it in the project's folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import small_recipes
import torch
from typer.testing import CliRunner

from dance import config, dataset, release, takes, weights
from dance.config import Plugin
from dance.generators import _single as single
from dance.generators import xing
from dance.pipeline import VideoConfig, build_generator, provenance
from dance.training import loop
from dance.types import InputError

NAME = "xing"
CC0, MOCAP = "CC0-1.0", "free, not to be resold"


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small people whose manifest tells, as scripts/make_synthetic.py does, what they were made of."""
    folder = small_recipes.album(tmp_path_factory.mktemp("album") / "people")
    path = folder / takes.MANIFEST
    assets = [{"path": "skins/a.jpg", "licence": CC0}, {"path": "motion/b.bvh", "licence": MOCAP}]
    told = json.loads(path.read_text()) | {"seed": 41, "pairs": 12, "size": 48, "assets": assets}
    path.write_text(json.dumps(told), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {
        "recipe": {"name": NAME, "options": small_recipes.OPTIONS[NAME]}, "data": str(album),
        "output": str(tmp_path_factory.mktemp("runs") / "run"), "steps": 4, "batch": 2, "device": "cpu",
        "workers": 0, "threads": 1, "checks": 2, "scored": 2, "shown": 1, "held_out": 0.2,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        return loop.train(config.check(loop.TrainConfig, values, "test")).output


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the project's own weights."""
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


def change(path: Path, **changes: Any) -> None:
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | changes), encoding="utf-8")


def test_the_file_is_half_as_large_and_draws_the_same(trained: Path, tmp_path: Path) -> None:
    path, _ = release.release(trained, tmp_path / "out.safetensors")
    whole, half = (weights.read_tensors(p) for p in (trained / dataset.GENERATOR, path))
    assert {value.dtype for value in half.values()} == {torch.float16}
    assert path.stat().st_size < 0.6 * (trained / dataset.GENERATOR).stat().st_size
    _, loaded = single.load(path, NAME, xing.Architecture, xing.body)
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, whole[key], rtol=2**-11, atol=1e-7)


def test_it_says_what_it_was_taught_with_and_how_well(trained: Path, album: Path, tmp_path: Path) -> None:  # fmt: skip
    path, metadata = release.release(trained, tmp_path / "out.safetensors")
    assert weights.read_metadata(path) == metadata
    data = json.loads(metadata["data"])
    assert (data["reader"], data["seed"], data["pairs"]) == ("synthetic", 41, 12)
    assert data["sha256"] == weights.sha256(album / takes.MANIFEST) and "assets" not in data
    history = json.loads((trained / "history.json").read_text(encoding="utf-8"))
    best = min(history, key=lambda row: (row["l1"], -row["step"]))
    assert int(metadata["steps"]) == best["step"]
    assert json.loads(metadata["held_out"]) == {k: best[k] for k in ("stage", "l1", "psnr")}
    assert json.loads(metadata["recipe"])["options"] == small_recipes.OPTIONS[NAME]
    assert json.loads(metadata["training"])["batch"] == 2
    assert metadata["version"] == "0.1.0" and float(metadata["minutes"]) >= 0
    assert metadata["licence"].startswith("Apache-2.0")
    assert CC0 in metadata["licence"] and "mocap.cs.cmu.edu" in metadata["licence"]


def test_it_names_no_place_of_the_machine_it_was_made_on(run: Path, tmp_path: Path) -> None:
    told = json.loads((run / dataset.RUN).read_text(encoding="utf-8"))
    told["config"]["recipe"]["options"]["vgg"] = "/home/somebody/VGG19.safetensors"
    change(run / dataset.RUN, **told)
    _, metadata = release.release(run, tmp_path / "out.safetensors")
    text = json.dumps(metadata)
    for private in (str(tmp_path), tmp_path.name, "somebody", told["config"]["data"]):
        assert private not in text
    assert json.loads(metadata["recipe"])["options"]["vgg"] == "VGG19.safetensors"


def test_generators_find_what_comes_with_the_project(trained: Path, project: Path) -> None:
    with pytest.raises(InputError, match=r"generator\.options\.weights=FILE"):
        build_generator(Plugin(name=NAME), "cpu")
    path, _ = release.release(trained)
    assert path == project / "xing.safetensors" and weights.shipped(NAME) == path
    assert build_generator(Plugin(name=NAME), "cpu").architecture.filters == 4  # type: ignore[attr-defined]
    told = provenance(VideoConfig(generator=Plugin(name=NAME)))
    assert told["dance_weights"] == weights.sha256(path)
    assert "dance_weights" not in provenance(VideoConfig())
    assert weights.shipped("pg2") is None


def test_other_weights_are_taken_where_they_are_given(
    trained: Path, project: Path, tmp_path: Path
) -> None:
    release.release(trained)
    other = xing.untrained(filters=6)
    single.save(tmp_path / "better.safetensors", NAME, other.network, other.architecture)
    given = Plugin(name=NAME, options={"weights": str(tmp_path / "better.safetensors")})
    assert build_generator(given, "cpu").architecture.filters == 6  # type: ignore[attr-defined]


def test_a_damaged_file_of_the_project_is_refused(trained: Path, project: Path) -> None:
    path, _ = release.release(trained)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"xing\.safetensors: is missing or damaged"):
        build_generator(Plugin(name=NAME), "cpu")
    path.unlink()
    with pytest.raises(InputError, match="is missing or damaged"):
        weights.shipped(NAME)


def test_a_second_release_takes_the_place_of_the_first_and_leaves_others(
    trained: Path, project: Path
) -> None:
    project.mkdir()
    (project / weights.SUMS).write_text(f"{'0' * 64}  pg2.safetensors\n", encoding="ascii")
    for licence in ("one", "two"):
        release.release(trained, licence=licence)
    assert weights.released() == {
        "pg2.safetensors": "0" * 64,
        "xing.safetensors": weights.sha256(project / "xing.safetensors"),
    }
    found = weights.shipped(NAME)
    assert found is not None and weights.read_metadata(found)["licence"] == "two"


def test_numbers_too_large_for_half_precision_and_counts_stay_as_they_are() -> None:
    state = {"a": torch.tensor([1.5, -3.25]), "b": torch.tensor([1e6]), "count": torch.tensor(7)}
    halved = release.halves(state)
    assert [v.dtype for v in halved.values()] == [torch.float16, torch.float32, torch.int64]
    assert all(torch.equal(halved[key].to(value), value) for key, value in state.items())


def test_more_than_may_come_with_the_project_is_refused(
    trained: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "LARGEST", 9_000)
    with pytest.raises(InputError, match=r"MB in float16.*at most 0\.009"):
        release.release(trained)
    assert not project.exists()


def test_data_that_has_gone_or_is_another_must_be_shown(run: Path, album: Path, tmp_path: Path) -> None:  # fmt: skip
    settings = json.loads((run / dataset.RUN).read_text(encoding="utf-8"))["config"]
    change(run / dataset.RUN, config=settings | {"data": str(tmp_path / "gone")})
    with pytest.raises(InputError, match=r"gone: what the run has learnt from.*--data FOLDER"):
        release.release(run, tmp_path / "out.safetensors")
    release.release(run, tmp_path / "out.safetensors", data=album)


def test_weights_of_unknown_origin_need_a_licence(run: Path, tmp_path: Path) -> None:
    facts = json.loads((run / dataset.RUN).read_text(encoding="utf-8"))["dataset"]
    change(run / dataset.RUN, dataset=facts | {"reader": "fashion"})
    with pytest.raises(InputError, match="--licence TEXT"):
        release.release(run, tmp_path / "out.safetensors")
    _, metadata = release.release(run, tmp_path / "out.safetensors", licence="not for sale")
    assert metadata["licence"] == "not for sale"


@pytest.mark.parametrize("lost", [dataset.GENERATOR, loop.BEST, dataset.RUN])
def test_half_a_run_is_refused(run: Path, lost: str, tmp_path: Path) -> None:
    (run / lost).unlink()
    with pytest.raises(InputError, match=lost):
        release.release(run, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_learnt_person_does_not_come_with_the_project(run: Path, tmp_path: Path) -> None:
    change(run / dataset.RUN, dataset={"sha256": "0", "source": "walk.mp4"})
    with pytest.raises(InputError, match="has taught xing one person"):
        release.release(run, tmp_path / "out.safetensors")


def command() -> Any:
    path = Path(__file__).parents[1] / "scripts" / "release_weights.py"
    spec = importlib.util.spec_from_file_location("scripts_release_weights", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def test_the_command_tells_what_it_wrote_and_refuses_in_one_line(trained: Path, project: Path, tmp_path: Path) -> None:  # fmt: skip
    done = CliRunner().invoke(command(), [str(trained)])
    assert done.exit_code == 0 and weights.shipped(NAME) is not None
    assert "xing.safetensors: 0.11 MB" in done.stdout and "licence: Apache-2.0" in done.stdout
    refused = CliRunner().invoke(command(), [str(tmp_path)])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1
