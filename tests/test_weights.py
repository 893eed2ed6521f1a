"""Networks out of a wheel, and strict safetensors files."""

import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dance import weights
from dance.types import InputError


def make_wheel(path: Path, content: bytes = b"layers") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("somewhere/tiny.tflite", content)


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel the user has put into the cache folder, and everything set to expect it."""
    folder = tmp_path / f"mediapipe-{weights._VERSION}"
    folder.mkdir()
    wheel = folder / weights._WHEEL
    make_wheel(wheel)
    digest = hashlib.sha256(b"layers").hexdigest()
    monkeypatch.setenv("DANCE_CACHE", str(tmp_path))
    # No pip may run: whatever it is told to fetch, it has no index.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(weights, "_MEMBERS", {"tiny.tflite": ("somewhere", digest)})
    monkeypatch.setattr(weights, "_WHEEL_SHA256", weights.sha256(wheel))
    return wheel


def test_a_network_is_unpacked_once_and_kept(brought: Path) -> None:
    path = weights.mediapipe("tiny.tflite")
    assert path.read_bytes() == b"layers"
    brought.unlink()
    assert weights.mediapipe("tiny.tflite") == path


def test_a_damaged_network_is_replaced(brought: Path) -> None:
    path = weights.mediapipe("tiny.tflite")
    path.write_bytes(b"lay")
    assert weights.mediapipe("tiny.tflite").read_bytes() == b"layers"


def test_many_at_once_all_get_the_network_and_leave_nothing_else(brought: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(weights.mediapipe, ["tiny.tflite"] * 16))
    assert {path.read_bytes() for path in paths} == {b"layers"}
    assert sorted(p.name for p in brought.parent.iterdir()) == sorted([brought.name, "tiny.tflite"])


def test_another_wheel_than_the_known_one_is_refused(brought: Path) -> None:
    make_wheel(brought, b"something else")
    with pytest.raises(InputError, match="its sha256 is"):
        weights.mediapipe("tiny.tflite")
    assert not (brought.parent / "tiny.tflite").exists()


def test_without_the_internet_the_error_says_what_to_do(brought: Path) -> None:
    brought.unlink()
    with pytest.raises(InputError, match=f"put the file {weights._WHEEL} into"):
        weights.mediapipe("tiny.tflite")
    assert list(brought.parent.iterdir()) == []


def test_an_unknown_network_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no network named 'x'.*pose_detection\.tflite"):
        weights.mediapipe("x")


def net(width: int = 3) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width))


def test_saved_weights_come_back_exactly(tmp_path: Path) -> None:
    one, other = net(), net()
    weights.save_safetensors(tmp_path / "new" / "a.safetensors", one, {"step": "3"})
    weights.load_safetensors(tmp_path / "new" / "a.safetensors", other)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_saved_weights_may_be_read_by_whoever_may_read_other_files(tmp_path: Path) -> None:
    plain, saved = tmp_path / "plain.txt", tmp_path / "a.safetensors"
    plain.write_text("x")
    weights.save_safetensors(saved, net())
    assert saved.stat().st_mode == plain.stat().st_mode


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    model = torch.nn.Module()
    model.a = torch.nn.Linear(2, 2)
    model.b = model.a
    weights.save_safetensors(tmp_path / "tied.safetensors", model)
    weights.load_safetensors(tmp_path / "tied.safetensors", model)


def test_a_file_that_does_not_fit_changes_nothing_and_is_explained(tmp_path: Path) -> None:
    state = {key: torch.ones_like(value) for key, value in net().state_dict().items()}
    state["2.extra"] = torch.zeros(1)
    state["0.bias"] = torch.ones(7)
    del state["1.weight"]
    weights.save_safetensors(tmp_path / "bad.safetensors", state)
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as error:
        weights.load_safetensors(tmp_path / "bad.safetensors", model)
    for part in ("missing: 1.weight", "unexpected: 2.extra", "0.bias (7,), expected (3,)"):
        assert part in str(error.value)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_hash_is_checked_where_given(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.save_safetensors(path, net())
    weights.load_safetensors(path, net(), sha256=weights.sha256(path))
    with pytest.raises(InputError, match="its sha256 is"):
        weights.load_safetensors(path, net(), sha256="0" * 64)


@pytest.mark.parametrize("content", [None, b"", b"not tensors at all"])
def test_no_safetensors_file_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors"):
        weights.load_safetensors(path, net())


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.save_safetensors(path, net())
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        weights.save_safetensors(path, {"a": "no tensor"})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
