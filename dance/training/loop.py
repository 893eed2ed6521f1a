"""The training loop of every recipe: one step after the other until the budget is used.

RUN, the folder it writes: run.json (what was asked for, versions, the dataset's facts), last.safetensors and
best.safetensors (checkpoints), generator.safetensors (the averaged weights that scored best, to draw with),
history.json (scores), samples/ (sheets of held-out frames), events.* (TensorBoard), person/ (from the dataset).
"""

from __future__ import annotations

import copy
import errno
import importlib.metadata
import json
import logging
import math
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import torch
from pydantic import Field, model_validator
from torch import nn

import dance
from dance import dataset, plugins
from dance.config import Options, Plugin, check
from dance.devices import choose_device
from dance.training import checkpoint, data, scores
from dance.training.data import Material, Samples
from dance.types import Array, InputError, Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)

RECIPES = "dance.training.recipes"
LAST, BEST = "last.safetensors", "best.safetensors"
_EXTRA = "training needs the packages of the extra `train`: pip install -r requirements-train.txt"
# What may be another when a run goes on: it changes how long and how fast, not what is learnt.
_FREE = {"minutes", "steps", "workers", "threads", "device", "checks", "save_minutes", "output"}
_TOLD_STEPS = 10  # the losses of every so many steps go into TensorBoard's log


class TrainConfig(Options):
    """A training run.

    data: a dataset of scripts/prepare_data.py; for recipes of single pictures whatever `readers` know.
    output: the folder of the run.
    minutes or steps: the budget; recipes tie their stages and learning rates to the share of it used.
    batch: samples a step and process.  workers: processes that read and warp pictures, 0: none of their own.
    threads: of torch on a CPU, 0: as many as it likes.  precision: bf16 is for data-centre GPUs.
    average: how much of the averaged weights is kept each step.  held_out: the share at the clip's end never
    learnt from.  checks: so many times the held-out frames are scored, and a sheet and a checkpoint written;
    save_minutes: a checkpoint at least so often.  scored, shown: held-out frames that are.
    """

    recipe: Plugin = Plugin(name="edn")
    data: Path
    output: Path
    seed: int = Field(0, ge=0)
    minutes: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    batch: int = Field(1, ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = Field(1, ge=0)
    threads: int = Field(0, ge=0)
    average: float = Field(0.999, ge=0, lt=1)
    held_out: float = Field(0.15, gt=0, le=0.5)
    checks: int = Field(20, ge=1)
    save_minutes: float = Field(5.0, gt=0)
    scored: int = Field(16, ge=1)
    shown: int = Field(4, ge=1)

    @model_validator(mode="after")
    def _one_budget(self) -> TrainConfig:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give a budget: either minutes or steps")
        return self


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is: share of the budget used, in [0, 1], and what the last step said.

    pictures: learnt from a second.  left: seconds, None while that cannot be told.
    """

    stage: str
    step: int
    share: float
    pictures: float
    left: float | None
    losses: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to; `stopped` where it was told to end before its budget was used.

    main: of several processes only one scores and writes.
    """

    output: Path
    steps: int
    seconds: float
    best: float | None
    stopped: bool
    main: bool


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class _Run:
    """All that changes in the course of a run: what a checkpoint keeps."""

    recipe: Recipe
    averaged: nn.Module
    step: int = 0
    seconds: float = 0.0
    averaged_steps: int = 0
    best: float | None = None
    history: list[dict[str, Any]] | None = None

    def tree(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "recipe": self.recipe.state_dict(),
            "averaged": self.averaged.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "averaged_steps": self.averaged_steps,
            "best": self.best,
            "history": self.history or [],
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        self.recipe.load_state_dict(tree["recipe"])
        self.averaged = _copied(self.recipe.generator)
        self.averaged.load_state_dict(tree["averaged"], strict=True)
        self.step, self.seconds = tree["step"], tree["seconds"]
        self.averaged_steps, self.best = tree["averaged_steps"], tree["best"]
        self.history = tree["history"]
        torch.set_rng_state(tree["random"]["cpu"])
        if tree["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(tree["random"]["cuda"])


def train(
    config: TrainConfig, *, resume: bool = False, on_progress: OnProgress | None = None
) -> Report:
    """Trains until the budget is used, or until SIGTERM or Ctrl-C, which save and end it.

    Raises InputError for what the user gave, where there is no room for a checkpoint, and where a loss is no number.
    """
    accelerator = make_accelerator(config)
    recipes = plugins.load(RECIPES, config.recipe.name)
    # Recipes of one person learn from a dataset; the others say what they open.
    footage: Material = getattr(recipes, "open_data", dataset.open_dataset)(config.data)
    options = check(
        recipes.Config, config.recipe.options, f"recipe.options of {config.recipe.name}"
    )
    folder = config.output
    if accelerator.is_main_process:
        _open_run(config, footage, resume=resume)
    accelerator.wait_for_everyone()
    if config.threads:
        torch.set_num_threads(config.threads)

    torch.manual_seed(config.seed)
    pairs: Samples = recipes.pairs(options, footage, seed=config.seed, held_out=config.held_out)
    recipe: Recipe = recipes.build(options, footage, accelerator)
    run = _Run(recipe, _copied(recipe.generator))
    if resume and (folder / LAST).exists():
        run.restore(checkpoint.load(folder / LAST))
    share = _share(config, run)
    if share >= 1:
        raise InputError(
            f"{folder}: its budget is used ({run.step} steps, {run.seconds / 60:.1f} minutes); "
            "give more: --set minutes=... or steps=..."
        )
    if accelerator.is_main_process:
        log.info("%d pairs of frames to learn from, %d held out", len(pairs.train), len(pairs.held))
    feed = data.batches(
        pairs, size=config.batch, first=run.step, workers=config.workers,
        rank=accelerator.process_index, processes=accelerator.num_processes,
    )  # fmt: skip
    meter = _Meter(2 * config.batch * accelerator.num_processes)
    began, saved = time.monotonic() - run.seconds, time.monotonic()
    checked = int(share * config.checks)
    with _told_to_stop() as stopping, _board(folder, accelerator, run.step) as board:
        while share < 1:
            if recipe.begin(share, run.averaged):
                # Another generator from here on: nothing of the old average or score fits it.
                run.averaged, run.averaged_steps, run.best = _copied(recipe.generator), 0, None
            batch = {k: v.to(accelerator.device, non_blocking=True) for k, v in next(feed).items()}
            losses = recipe.step(batch)
            _average(run, config.average)
            run.step += 1
            run.seconds = time.monotonic() - began
            share, speed = _share(config, run), meter.after_a_step()
            if on_progress is not None and accelerator.is_main_process:
                left = run.seconds / share * (1 - share) if share > 0.001 else None
                on_progress(Progress(recipe.stage, run.step, min(share, 1), speed, left, losses))
            lost = not all(map(math.isfinite, losses.values()))
            share, stop, lost = _agreed(accelerator, share, stopping.is_set(), lost)
            if lost:
                raise InputError(_failed(folder, run.step, losses))
            due = int(share * config.checks) > checked
            late = time.monotonic() - saved > 60 * config.save_minutes
            if accelerator.is_main_process:
                if due or run.step % _TOLD_STEPS == 0:
                    for name, value in {**losses, "pictures_a_second": speed}.items():
                        board.add_scalar(f"training/{name}", value, run.step)
                if due or late or stop:
                    with _room(folder):
                        if due:
                            _check(config, run, pairs, accelerator, board, losses, speed)
                        checkpoint.save(folder / LAST, run.tree())
                    checked, saved = int(share * config.checks), time.monotonic()
            if stop:
                if accelerator.is_main_process:
                    log.info("stopped at step %d; go on with --resume", run.step)
                break
    main = accelerator.is_main_process
    return Report(folder, run.step, run.seconds, run.best, share < 1, main)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Devices, precision and processes as the config says. Raises InputError where the machine lacks them."""
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise InputError(_EXTRA) from error
    choose_device(config.device)
    if config.precision == "bf16" and (config.device == "cpu" or not torch.cuda.is_available()):
        raise InputError(
            "precision=bf16: is for GPUs; a CPU is many times slower with it: use fp32"
        )
    precision = "bf16" if config.precision == "bf16" else "no"
    return Accelerator(cpu=config.device == "cpu", mixed_precision=precision)


def _open_run(config: TrainConfig, footage: Material, *, resume: bool) -> None:
    """The run's folder with run.json and the person; on resuming, checks that it is the same run."""
    folder, told = config.output, config.output / dataset.RUN
    facts = {
        "config": config.model_dump(mode="json"),
        "dataset": asdict(footage.facts),
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "numpy", "kornia")
        }
        | {"dance": dance.__version__, "python": platform.python_version()},
    }
    if resume:
        _require_same_run(told, facts)
        checkpoint.clean(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; go on with --resume or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(told, json.dumps(facts, indent=2))
    if footage.person is not None and not (folder / dataset.PERSON).exists():
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{dataset.PERSON}-") as scratch:
            shutil.copytree(footage.person, Path(scratch) / "new")
            (Path(scratch) / "new").replace(folder / dataset.PERSON)


def _require_same_run(told: Path, facts: Mapping[str, Any]) -> None:
    try:
        before = json.loads(told.read_text(encoding="utf-8"))
        then, now = before["config"], facts["config"]
        same_data = before["dataset"]["sha256"] == facts["dataset"]["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{told}: there is no run to go on with ({error})") from error
    if not same_data:
        raise InputError(f"{told.parent}: was trained on other data; name another folder")
    other = [k for k in now if k not in _FREE | {"data"} and then.get(k) != now[k]]
    if other:
        listed = ", ".join(f"{k} was {then.get(k)!r}" for k in other)
        raise InputError(f"{told.parent}: was begun with other settings ({listed})")


def _share(config: TrainConfig, run: _Run) -> float:
    """How much of the budget is used; 1 or more at its end."""
    if config.steps is not None:
        return run.step / config.steps
    assert config.minutes is not None
    return run.seconds / (60 * config.minutes)


def _agreed(
    accelerator: Accelerator, share: float, stop: bool, lost: bool
) -> tuple[float, bool, bool]:
    """The largest of all processes' values: they must change stage and end in the same step."""
    if accelerator.num_processes == 1:
        return share, stop, lost
    own = torch.tensor([[share, stop, lost]], dtype=torch.float32, device=accelerator.device)
    every = torch.as_tensor(accelerator.gather(own)).amax(0).tolist()
    return every[0], every[1] > 0, every[2] > 0


def _failed(folder: Path, step: int, losses: Mapping[str, float]) -> str:
    """Said where the losses are no numbers any more: nothing can be learnt from then on."""
    lost = ", ".join(name for name, value in losses.items() if not math.isfinite(value))
    return (
        f"{folder}: at step {step} a loss is no number any more ({lost or 'of another process'}); the last "
        "checkpoint is from before: begin again with a lower recipe.options.rate"
    )


def _copied(module: nn.Module) -> nn.Module:
    """A copy for the average: it is never trained."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def _average(run: _Run, decay: float) -> None:
    """Moves the average towards the generator: quickly at first, so that it does not remember the noise."""
    run.averaged_steps += 1
    kept = min(decay, run.averaged_steps / (run.averaged_steps + 10))
    values = run.recipe.generator.state_dict()
    for key, mean in run.averaged.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(values[key].to(mean), 1 - kept)
        else:
            mean.copy_(values[key])


class _Meter:
    """Pictures a second over the last steps."""

    def __init__(self, pictures: int) -> None:
        self._pictures = pictures
        self._times = [time.monotonic()]

    def after_a_step(self) -> float:
        self._times = [*self._times[-20:], time.monotonic()]
        return self._pictures * (len(self._times) - 1) / max(1e-9, self._times[-1] - self._times[0])


def _check(
    config: TrainConfig,
    run: _Run,
    pairs: Samples,
    accelerator: Accelerator,
    board: Any,
    losses: Mapping[str, float],
    speed: float,
) -> None:
    """Scores the averaged generator on held-out frames; keeps it where it is the best; writes the sheet."""
    found = scores.held_out(
        run.recipe, run.averaged, pairs, accelerator, scored=config.scored, shown=config.shown
    )
    row = {
        "step": run.step, "seconds": round(run.seconds, 1), "stage": run.recipe.stage,
        "l1": found.l1, "psnr": found.psnr,
    }  # fmt: skip
    run.history = [*(run.history or []), row | {f"loss_{k}": v for k, v in losses.items()}]
    _write_text(config.output / "history.json", json.dumps(run.history, indent=1))
    _write_png(config.output / "samples" / f"{run.step:07d}.png", found.sheet)
    board.add_scalar("held_out/l1", found.l1, run.step)
    board.add_scalar("held_out/psnr", found.psnr, run.step)
    board.add_image("held_out", found.sheet, run.step, dataformats="HWC")
    told = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
    log.info(
        "step %d (%s, %.1f min, %.1f pictures/s): held out L1 %.2f of 255, PSNR %.2f dB; %s",
        run.step, run.recipe.stage, run.seconds / 60, speed, found.l1, found.psnr, told,
    )  # fmt: skip
    # Where the person is in none of the frames there is no score: the newest is kept then, and of equally good ones.
    if run.best is None or math.isnan(run.best) or found.l1 <= run.best:
        run.best = found.l1
        run.recipe.save(config.output / dataset.GENERATOR, run.averaged)
        checkpoint.save(config.output / BEST, run.tree())


def _write_png(path: Path, rgb: Array) -> None:
    """Writes an RGB picture, aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole, coded = cv2.imencode(".png", rgb[..., ::-1])
    assert whole
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(coded.tobytes())
    aside.replace(path)


def _write_text(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A full disk, in one line; what is written is written aside first, so that nothing is damaged."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise
        raise InputError(
            f"{folder}: cannot be written to ({error.strerror}); the last checkpoint is whole: "
            "make room there and go on with --resume"
        ) from error


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM and by the first Ctrl-C; a second one ends the program as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def heard(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _board(folder: Path, accelerator: Accelerator, step: int) -> Iterator[Any]:
    """TensorBoard's log in the run's folder, written by the main process alone, from that step on."""
    if not accelerator.is_main_process:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(_EXTRA) from error
    # What a killed process has told of steps that are made again is not shown.
    purge = step + 1 if step else None
    board = SummaryWriter(str(folder), purge_step=purge)  # type: ignore[no-untyped-call]
    try:
        yield board
    finally:
        board.close()  # type: ignore[no-untyped-call]
