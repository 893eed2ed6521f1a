"""A checkpoint is one file, there whole or not at all, and nothing in it is unpickled."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dance.training import checkpoint
from dance.types import InputError

ROOT = Path(__file__).parents[2]


def tree() -> dict[str, object]:
    return {
        "step": 7,
        "best": None,
        "stage": "fine",
        "on": True,
        "rates": [0.1, 2],
        "state": {0: {"step": torch.tensor(3.0), "mean": torch.randn(2, 3)}, 12: {}},
        "random": torch.get_rng_state(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_a_tree_comes_back_bit_for_bit_with_its_keys_and_types(tmp_path: Path) -> None:
    before = tree()
    checkpoint.save(tmp_path / "last.safetensors", before)
    assert same(before, checkpoint.load(tmp_path / "last.safetensors"))


def test_an_optimiser_goes_on_from_it(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    checkpoint.save(tmp_path / "o.safetensors", optimiser.state_dict())
    other = torch.optim.Adam(layer.parameters())
    other.load_state_dict(checkpoint.load(tmp_path / "o.safetensors"))
    assert same(optimiser.state_dict()["state"], other.state_dict()["state"])


def test_tied_and_transposed_tensors_are_kept(tmp_path: Path) -> None:
    base = torch.randn(2, 3)
    checkpoint.save(tmp_path / "t.safetensors", {"a": base, "b": base, "c": base.T})
    again = checkpoint.load(tmp_path / "t.safetensors")
    assert torch.equal(again["a"], again["b"]) and torch.equal(again["c"], base.T)


def test_half_a_file_another_file_and_none_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    with pytest.raises(InputError, match="last"):
        checkpoint.load(path)
    checkpoint.save(path, tree())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="no whole checkpoint"):
        checkpoint.load(path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="no checkpoint of version"):
        checkpoint.load(path)


_FULL = """
import resource, signal, sys, torch
from pathlib import Path
from dance.training import checkpoint
from dance.types import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    checkpoint.save(Path(sys.argv[1]), {"large": torch.zeros(1_000_000)})
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limit of a file's size")
def test_a_disk_without_room_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, {"step": 1})
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2 and "make room" in done.stdout, done.stderr
    assert checkpoint.load(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


_WRITING = """
import sys, torch
from pathlib import Path
from dance.training import checkpoint
large = torch.zeros(8_000_000)
print("go", flush=True)
for step in range(10_000):
    checkpoint.save(Path(sys.argv[1]), {"step": step, "large": large + step})
"""


def test_a_process_killed_while_writing_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITING, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None and writer.stdout.readline()
    # Killed just while a new file lies beside the whole one.
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if path.exists() and any(f.stat().st_size for f in tmp_path.glob(".last*/*")):
            break
    writer.kill()
    writer.wait()
    found = checkpoint.load(path)
    assert torch.equal(found["large"], torch.full((8_000_000,), float(found["step"])))
    checkpoint.clean(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]
    assert os.path.getsize(path) > 8_000_000


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for folder in (".last.safetensors-x1", ".generator.safetensors-y2", ".person-z3", "person", "samples"):  # fmt: skip
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "half").write_bytes(b"1")
    for file in ("samples/.0000003.png.part", ".history.json.part", "history.json", ".mine"):
        (tmp_path / file).write_bytes(b"1")
    checkpoint.clean(tmp_path)
    left = sorted(str(p.relative_to(tmp_path).as_posix()) for p in tmp_path.rglob("*"))
    assert left == [".mine", "history.json", "person", "person/half", "samples", "samples/half"]
