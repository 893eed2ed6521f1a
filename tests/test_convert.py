"""Official checkpoints become weights files, or are refused whole."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from dance import convert, weights
from dance.generators import _pix2pix_published as published
from dance.generators import edn
from dance.training import losses
from dance.types import InputError

GENERATOR = {
    "input_nc": 6, "output_nc": 3, "ngf": 2, "n_downsample_global": 1, "n_blocks_global": 1,
    "n_local_enhancers": 1, "n_blocks_local": 1,
}  # fmt: skip
FACE = {"input_nc": 6, "output_nc": 3, "ngf": 2, "n_downsampling": 1, "n_blocks": 2}
JUDGE = {"input_nc": 12, "ndf": 2, "n_layers": 2, "num_D": 2, "getIntermFeat": True}


def state(facts: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The published state dict of a fresh network."""
    network = published.network(facts)
    keys = published.published_keys(network, facts)
    ours = published.rename({key: key for key in keys})
    return {theirs: network.state_dict()[place] for place, theirs in ours.items()}


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    path = tmp_path / "latest_net_G.pth"
    torch.save(state(GENERATOR), path)
    return path


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "person.safetensors"


def test_a_published_generator_becomes_a_person_that_is_drawn(
    generator: Path, output: Path, tmp_path: Path
) -> None:
    face = tmp_path / "latest_net_Gface.pth"
    torch.save({f"module.{key}": value for key, value in state(FACE).items()}, face)
    convert.convert("edn", generator, output, face=face, size=(128, 64))
    architecture, networks = edn.load(output)
    assert architecture.size == (128, 64) and networks.face is not None
    # Published people have learnt from 23 joints and 8 points of the face, drawn 1080 high.
    assert (architecture.label.joints, architecture.label.face) == (23, 8)
    assert round(architecture.label.detail * 128) == 1080
    bare = published.network(GENERATOR)
    bare.load_state_dict(published.rename(torch.load(generator, weights_only=True)))
    x = torch.rand(1, 6, 128, 64)
    assert torch.equal(networks.generator(x), bare(x))
    assert weights.read_metadata(output)["source"] == "latest_net_G.pth"


def test_a_checkpoint_inside_a_checkpoint_and_safetensors_are_read(
    tmp_path: Path, output: Path
) -> None:
    nested, plain = tmp_path / "nested.pth", tmp_path / "plain.safetensors"
    torch.save({"epoch": 3, "state_dict": state(JUDGE)}, nested)
    weights.save_safetensors(plain, state(JUDGE))
    for path in (nested, plain):
        convert.convert("edn", path, output)
        assert set(weights.read_tensors(output)) == set(published.rename(state(JUDGE)))


def spoilt(given: dict[str, Any], how: str) -> Any:
    if how == "missing":
        given.pop("model.4.bias")
    elif how == "unexpected":
        given["model.4.scale"] = torch.zeros(2)
    elif how == "of another shape":
        given["model.4.weight"] = torch.zeros(9, 9, 3, 3)
    elif how == "'epoch' in it is no tensor":
        given["epoch"] = 7
    return given


@pytest.mark.parametrize(
    "how", ["missing", "unexpected", "of another shape", "'epoch' in it is no tensor"]
)
def test_what_does_not_fit_is_listed_and_nothing_is_written(
    generator: Path, output: Path, how: str
) -> None:
    torch.save(spoilt(state(GENERATOR), how), generator)
    with pytest.raises(InputError, match=how):
        convert.convert("edn", generator, output)
    assert not output.exists() and not output.parent.exists()


class _Surprise:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("surprise"),)


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pth"
    torch.save({"model.1.weight": _Surprise()}, path)
    with pytest.raises(InputError, match="no whole checkpoint of nothing but tensors"):
        convert.convert("edn", path, output)
    assert not (tmp_path / "surprise").exists()


def test_a_pickle_of_another_protocol_is_refused_without_further_words(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "odd.pth"
    path.write_bytes(pickle.dumps({"x": print}, protocol=4))
    with pytest.raises(InputError, match="nothing but tensors"):
        convert.read_checkpoint(path)
    assert not recwarn.list


@pytest.mark.parametrize("content", [b"", b"no pickle at all", None])
def test_files_that_are_no_checkpoints_are_refused(
    tmp_path: Path, output: Path, generator: Path, content: bytes | None
) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(generator.read_bytes()[:900] if content is None else content)
    with pytest.raises(InputError, match=r"other\.pth"):
        convert.convert("edn", path, output)


def test_vgg19_is_converted_and_loads(
    tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses.VGG19.__init__, "__defaults__", ((2, 2, 2, 2, 2),))
    ours = losses.VGG19().state_dict()
    numbers = iter((0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28))
    places = {key.rpartition(".")[0]: None for key in ours}
    named = {place: f"features.{next(numbers)}" for place in places}
    given = {f"{named[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in ours.items()}
    torch.save({**given, "classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg19.pth")
    convert.convert("vgg19", tmp_path / "vgg19.pth", output)
    loaded = losses.vgg19(output).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in ours.items())


def test_names_and_endings_that_are_none_are_refused(generator: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there are: .*\bedn\b"):
        convert.convert("puppet", generator, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"the result is a \.safetensors file"):
        convert.convert("edn", generator, tmp_path / "x.pth")


def script(name: str) -> Any:
    path = Path(__file__).parents[1] / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def test_the_command_converts_and_refuses_in_one_line(generator: Path, output: Path) -> None:
    run = CliRunner().invoke
    done = run(
        script("convert_weights"), ["edn", str(generator), str(output), "--size", "64", "64"]
    )
    assert done.exit_code == 0 and output.is_file()
    refused = run(script("convert_weights"), ["edn", str(output), str(output.with_name("b.pth"))])
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1


def test_the_oracle_command_says_by_its_exit_code_whether_all_hold(tmp_path: Path) -> None:
    refused = CliRunner().invoke(script("check_oracles"), [str(tmp_path)])
    assert refused.exit_code == 2 and refused.stderr.startswith("error: ")
    (tmp_path / "edn_x.json").write_text('{"constructor": {}, "weights_recipe": {}}', "utf-8")
    failed = CliRunner().invoke(script("check_oracles"), [str(tmp_path)])
    assert failed.exit_code == 1 and "0 of 1 hold" in failed.stdout
    (tmp_path / "edn_x.json").rename(tmp_path / "martian.json")
    nothing = CliRunner().invoke(script("check_oracles"), [str(tmp_path)])
    assert nothing.exit_code == 0 and "0 of 0 hold (1 more" in nothing.stdout
