"""A training run: it learns, it can be ended in any way and goes on exactly where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_dataset import TINY

from dance import config, person_files
from dance.generators import edn
from dance.training import checkpoint, loop, scores
from dance.training.loop import TrainConfig
from dance.types import InputError

ROOT = Path(__file__).parents[2]
OPTIONS = TINY | {"shares": {"coarse": 1, "fine": 2, "face": 1}, "rehearsals": 1}


def settings(data: Path, output: Path, **changes: Any) -> TrainConfig:
    values = {
        "recipe": {"name": "edn", "options": OPTIONS}, "data": str(data), "output": str(output),
        "steps": 4, "device": "cpu", "workers": 0, "threads": 1, "checks": 4, "scored": 2, "shown": 1,
    }  # fmt: skip
    return config.check(TrainConfig, values | changes, "test")


def numbers(tree: Any, skipped: tuple[str, ...] = ()) -> Any:
    """The tree without what a clock has written into it."""
    if isinstance(tree, dict):
        return {k: numbers(v, skipped) for k, v in tree.items() if k not in skipped}
    if isinstance(tree, list):
        return [numbers(v, skipped) for v in tree]
    return tree


def assert_same(a: Any, b: Any, where: str = "") -> None:
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


@pytest.mark.parametrize("first", [1, 2, 3])
def test_four_steps_are_some_then_resumed_the_others_bit_for_bit(
    folder: Path, tmp_path: Path, first: int
) -> None:
    """One cut in each stage: coarse, fine, and just before the face's."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    loop.train(settings(folder, whole))
    loop.train(settings(folder, parts), on_progress=_Stopping(first))
    assert checkpoint.load(parts / loop.LAST)["step"] == first
    torch.manual_seed(99)
    torch.rand(7)
    report = loop.train(settings(folder, parts), resume=True)
    assert report.steps == 4 and not report.stopped
    clocks = ("seconds",)
    assert_same(
        numbers(checkpoint.load(whole / loop.LAST), clocks),
        numbers(checkpoint.load(parts / loop.LAST), clocks),
    )
    a, b = (run / "generator.safetensors" for run in (whole, parts))
    assert_same(dict(edn.load(a)[1].state_dict()), dict(edn.load(b)[1].state_dict()))


class _Stopping:
    """Told of progress, it asks the process to end after so many steps, as a system does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, progress: loop.Progress) -> None:
        if progress.step == self.after:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_leaves_everything_needed_to_draw_and_to_look(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said: list[loop.Progress] = []
    report = loop.train(settings(folder, run), on_progress=said.append)
    assert report.steps == 4 and report.best is not None
    assert [p.stage for p in said] == ["coarse", "fine", "fine", "face"]
    assert [p.share for p in said] == [0.25, 0.5, 0.75, 1.0]
    assert all(p.losses and all(v == v for v in p.losses.values()) for p in said)
    architecture, trained = edn.load(run / "generator.safetensors")
    assert architecture.follow is not None and trained.face is not None
    assert len(person_files.load(run / "person").views) == 1
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert told["dataset"]["source"] == "walk.mp4" and "torch" in told["versions"]
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in history] == [1, 2, 3, 4]
    assert len(list((run / "samples").glob("*.png"))) == 4 and list(run.glob("events.*"))
    assert not [p for p in run.rglob("*") if p.name.startswith(".")]


def test_training_lowers_the_held_out_error(folder: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"face": False, "shares": {"coarse": 0, "fine": 1}, "rate": 2e-3}
    recipe = {"name": "edn", "options": options}
    loop.train(settings(folder, tmp_path / "run", steps=60, recipe=recipe, average=0.9))
    rows = json.loads((tmp_path / "run" / "history.json").read_text(encoding="utf-8"))
    assert rows[-1]["l1"] < 0.7 * rows[0]["l1"]


def test_the_published_whole_frame_is_trained_too(folder: Path, tmp_path: Path) -> None:
    generator = OPTIONS["generator"] | {"alpha": False, "height": 32, "width": 64}
    options = OPTIONS | {"window": False, "generator": generator, "weights": {}, "temporal": False}
    run = tmp_path / "run"
    loop.train(settings(folder, run, recipe={"name": "edn", "options": options}))
    architecture, _ = edn.load(run / "generator.safetensors")
    assert architecture.size == (32, 64) and architecture.follow is None


def test_another_folder_another_setting_and_no_run_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="no run to go on with"):
        loop.train(settings(folder, run), resume=True)
    loop.train(settings(folder, run, steps=1, checks=1))
    with pytest.raises(InputError, match="--resume"):
        loop.train(settings(folder, run))
    with pytest.raises(InputError, match="seed was 0"):
        loop.train(settings(folder, run, seed=1), resume=True)
    with pytest.raises(InputError, match="budget is used"):
        loop.train(settings(folder, run, steps=1, checks=1), resume=True)
    with pytest.raises(InputError, match="either minutes or steps"):
        settings(folder, run, minutes=3)


def test_bf16_on_a_cpu_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use fp32"):
        loop.train(settings(folder, tmp_path / "run", precision="bf16"))


def test_without_the_packages_for_training_the_extra_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"requirements-train\.txt"):
        loop.train(settings(folder, tmp_path / "run"))


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    run = tmp_path / "run"
    loop.train(settings(folder, run), on_progress=_Stopping(2))
    before = checkpoint.load(run / loop.LAST)
    save = safetensors.torch.save_file

    def full(tensors: Any, path: Path, metadata: Any = None) -> None:
        save(tensors, path, metadata)
        os.truncate(path, 100)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(InputError, match="make room"):
            loop.train(settings(folder, run), resume=True)
    assert_same(before, checkpoint.load(run / loop.LAST))
    assert loop.train(settings(folder, run), resume=True).steps == 4


_KILLED = """
import json, os, signal, sys
from pathlib import Path
import safetensors.torch
from dance import config
from dance.training import checkpoint, loop, scores
from dance.training.recipes import edn

where, at = sys.argv[1], int(sys.argv[2])
write, update, count = safetensors.torch.save_file, edn.EDN._update, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def half_written(tensors, path, metadata=None):
    global count
    count += Path(path).name == loop.LAST
    write(tensors, path, metadata)
    if count == at:
        os.truncate(path, os.path.getsize(path) // 2)
        die()

def half_a_step(recipe, name, loss):
    global count
    update(recipe, name, loss)
    count += 1
    if count == 2 * at - 1:
        die()

if where == "checkpoint":
    safetensors.torch.save_file = half_written
else:
    edn.EDN._update = half_a_step
loop.train(config.check(loop.TrainConfig, json.loads(sys.argv[3]), "test"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize(
    ("where", "at", "kept"), [("checkpoint", 3, 2), ("step", 4, 3)], ids=["checkpoint", "step"]
)
def test_kill_9_in_the_middle_of_a_checkpoint_and_of_a_step_loses_that_step_alone(
    folder: Path, tmp_path: Path, where: str, at: int, kept: int
) -> None:
    """A real process, killed by itself at that very place: between the two halves of what it writes or learns."""
    run = tmp_path / "run"
    wanted = settings(folder, run, steps=6, checks=6)
    told = json.dumps(wanted.model_dump(mode="json"))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, where, str(at), told],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint.load(run / loop.LAST)["step"] == kept
    edn.load(run / "generator.safetensors")
    said: list[int] = []
    loop.train(wanted, resume=True, on_progress=lambda progress: said.append(progress.step))
    assert said == list(range(kept + 1, 7))
    loop.train(settings(folder, tmp_path / "whole", steps=6, checks=6))
    assert_same(
        numbers(checkpoint.load(tmp_path / "whole" / loop.LAST), ("seconds",)),
        numbers(checkpoint.load(run / loop.LAST), ("seconds",)),
    )
    assert not [p for p in run.rglob(".*")]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_and_never_reaches_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    from dance.training.recipes import edn as recipe

    step, run = recipe.EDN.step, tmp_path / "run"
    count = iter(range(9))

    def failing(self: recipe.EDN, batch: Any) -> dict[str, float]:
        losses = step(self, batch)
        return losses | {"gan": wrong} if next(count) == 2 else losses

    monkeypatch.setattr(recipe.EDN, "step", failing)
    with pytest.raises(InputError, match=r"step 3 a loss is no number.*\(gan\).*rate"):
        loop.train(settings(folder, run))
    assert checkpoint.load(run / loop.LAST)["step"] == 2


def test_the_board_shows_losses_scores_and_pictures_once_for_each_step(
    folder: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    options = OPTIONS | {"face": False, "shares": {"coarse": 0, "fine": 1}}
    wanted = settings(folder, run, steps=40, checks=4, recipe={"name": "edn", "options": options})
    loop.train(wanted, on_progress=_Stopping(25))
    # As if it had been killed at step 25: the checkpoint is older than what the board was told.
    older = checkpoint.load(run / loop.LAST)
    older["step"] = 15
    checkpoint.save(run / loop.LAST, older)
    loop.train(wanted, resume=True)
    board = EventAccumulator(str(run))
    board.Reload()
    assert [event.step for event in board.Scalars("training/l1")] == [10, 20, 30, 40]
    assert [event.step for event in board.Scalars("held_out/l1")] == [10, 20, 30, 40]
    assert [event.step for event in board.Images("held_out")] == [10, 20, 30, 40]
    assert {"training/gan", "training/judge", "held_out/psnr"} <= set(board.Tags()["scalars"])


def test_where_no_person_is_seen_the_newest_generator_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = scores.Scores(float("nan"), float("nan"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(loop.scores, "held_out", lambda *told, **more: nowhere)
    run = tmp_path / "run"
    loop.train(settings(folder, run))
    assert checkpoint.load(run / loop.BEST)["step"] == 4


def started(folder: Path, run: Path, steps: int, *more: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    values = {"name": "edn", "options": OPTIONS}
    path = run.parent / "train.yaml"
    path.write_text(json.dumps({"recipe": values}), encoding="utf-8")
    sets = [f"data={folder}", f"output={run}", f"steps={steps}", "device=cpu", "workers=1", "threads=1",
            f"checks={steps}", "scored=1", "shown=1"]  # fmt: skip
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), str(path)]
    command += [part for s in sets for part in ("--set", s)]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing was written"
        time.sleep(0.02)


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_only_the_steps_since_the_last_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    steps = 24
    reached = 0
    for delay in (0.0, 0.13, 0.31):
        process = started(folder, run, steps, *(["--resume"] if run.exists() else []))
        wait_for(run / loop.LAST, process)
        if reached:
            until = time.monotonic() + 120
            while checkpoint.load(run / loop.LAST)["step"] <= reached:
                assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(delay)
        process.kill()
        process.communicate()
        step = checkpoint.load(run / loop.LAST)["step"]
        assert step > reached
        reached = step
    process = started(folder, run, steps, "--resume")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    loop.train(settings(folder, tmp_path / "whole", steps=steps, checks=steps, scored=1))
    assert_same(
        numbers(checkpoint.load(tmp_path / "whole" / loop.LAST), ("seconds",)),
        numbers(checkpoint.load(run / loop.LAST), ("seconds",)),
    )
    assert not [p for p in run.rglob(".*")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot be asked to end")
@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT"])
def test_told_to_end_with_all_its_workers_it_saves_and_leaves_no_process(
    folder: Path, tmp_path: Path, told: str
) -> None:
    """A terminal's Ctrl-C and a cluster's end reach every process of the group."""
    run = tmp_path / "run"
    process = started(folder, run, 100_000)
    wait_for(run / loop.LAST, process)
    os.killpg(process.pid, getattr(signal, told))
    out, said = process.communicate(timeout=120)
    assert process.returncode == 143, (out, said)
    assert b"go on with --resume" in said and b"Traceback" not in said, said
    assert checkpoint.load(run / loop.LAST)["step"] >= 1
    until = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert not [p for p in run.rglob(".*")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torch's launcher for processes is for POSIX")
def test_two_processes_learn_what_one_with_twice_the_batch_does(
    folder: Path, tmp_path: Path
) -> None:
    options = OPTIONS | {"face": False, "rehearsals": 0}
    wanted = settings(folder, tmp_path / "two", steps=3, checks=1, recipe={"name": "edn", "options": options})  # fmt: skip
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(wanted.model_dump(mode="json")), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, str(ROOT / "scripts" / "train.py"), str(path)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 steps in") == 1 and done.stderr.count("VGG-19") == 1
    one = tmp_path / "one"
    loop.train(wanted.model_copy(update={"output": one, "batch": 2}))
    a, b = (checkpoint.load(run / loop.LAST)["recipe"] for run in (tmp_path / "two", one))
    alone = tmp_path / "alone"
    loop.train(wanted.model_copy(update={"output": alone}))
    c = checkpoint.load(alone / loop.LAST)["recipe"]
    assert apart(a, b) < 0.1 * apart(a, c)


def apart(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The mean difference of two recipes' generators."""
    first, second = (each["networks"]["generator"] for each in (a, b))
    differences = [(first[k] - second[k]).abs().flatten() for k in first]
    return float(torch.cat(differences).mean())
