"""What rows of speed have in common: networks by both runtimes, and steps of training in a process of their own."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dance.evaluation.memory import peak_memory
from dance.evaluation.report import Row, measured
from dance.types import Recipe, Size

STEPS, WARM = 6, 2
DIFFERENCE = 1.0  # of 255 levels, on average: what the runtimes may draw apart
SLACK = 1.1  # ours over a plain reading at most: where both are the same, timings differ by as much
NOT_MEASURED = "not measured"

Draw = Callable[..., Tensor]
Inputs = Sequence[tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Trained:
    """What steps of training took in a stage: milliseconds a step, pictures learnt from a second, bytes at most.

    memory, gpu_memory: None where they cannot be measured.
    """

    stage: str
    size: Size
    device: str
    batch: int
    step: float
    pictures: float
    memory: int | None
    gpu_memory: int | None


def milliseconds(call: Callable[..., object], inputs: Sequence[tuple[object, ...]]) -> float:
    """The median of one call's time; the first is not counted."""
    call(*inputs[0])
    taken = []
    for given in inputs:
        began = time.perf_counter()
        call(*given)
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def in_turns(
    calls: Mapping[str, Callable[..., object]], inputs: Sequence[tuple[object, ...]], rounds: int
) -> dict[str, float]:
    """Milliseconds of each call: the median of so many rounds, in each of which every one has its turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(milliseconds(call, inputs))
    return {name: statistics.median(times) for name, times in taken.items()}


def runtime_rows(
    name: str,
    what: str,
    eager: Draw,
    quick: Draw | str,
    inputs: Inputs,
    *,
    rounds: int,
    plain: Callable[[], Tensor] | None = None,
) -> list[Row]:
    """A picture's networks by torch and by OpenVINO, taken in turns, and how far apart their pictures are.

    quick: why there is none, where it is text.  plain: the same picture by a plain reading of the networks, to compare with.
    """
    calls: dict[str, Callable[..., object]] = {"torch": eager}
    if not isinstance(quick, str):
        calls["OpenVINO"] = quick
    if plain is not None:
        calls["read plainly, torch"] = lambda *_: plain()
    found = in_turns(calls, inputs, rounds)
    rows = [
        measured(f"{name}: networks of a picture, {how}, {what}", taken, "ms")
        for how, taken in found.items()
    ]
    if plain is not None:
        ratio = found["torch"] / found["read plainly, torch"]
        rows.append(measured(f"{name}: torch / read plainly", ratio, "x", f"<= {SLACK:g}", ratio <= SLACK))  # fmt: skip
    if isinstance(quick, str):
        missing = f"{name}: networks of a picture, OpenVINO ({quick})"
        return [*rows, measured(missing, NOT_MEASURED, "ms")]
    apart = [
        float((eager(*x).clamp(-1, 1) - quick(*x).clamp(-1, 1)).abs().mean()) * 127.5
        for x in inputs
    ]
    difference = statistics.fmean(apart)
    return [
        *rows,
        measured(f"{name}: torch / OpenVINO", found["torch"] / found["OpenVINO"], "x"),
        measured(
            f"{name}: the runtimes' pictures apart, mean", difference, "of 255",
            f"<= {DIFFERENCE:g}", difference <= DIFFERENCE,
        ),
    ]  # fmt: skip


def steps(
    teacher: Recipe, batch: Mapping[str, Tensor], size: Size, device: torch.device, count: int
) -> Trained:
    """Takes some steps of training in the stage the recipe is in, on one batch of `count` samples."""
    cuda = device.type == "cuda"
    for i in range(WARM + STEPS):
        if i == WARM:
            began = time.perf_counter()
        # The losses are told as numbers: every step has ended when it returns.
        teacher.step(batch)
    seconds = (time.perf_counter() - began) / STEPS
    return Trained(
        teacher.stage, size, torch.cuda.get_device_name(device) if cuda else device.type, count,
        1000 * seconds, 2 * count / seconds, None if sys.platform == "win32" else peak_memory(),
        torch.cuda.max_memory_allocated(device) if cuda else None,
    )  # fmt: skip


def training_rows(name: str, job: Callable[[Path], Sequence[Trained]], preset: Path) -> list[Row]:
    """What steps of the preset's training take, each stage's, in a process of its own: peaks of memory never go down."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        stages = pool.submit(job, preset).result()
    rows = []
    for found in stages:
        height, width = found.size
        what = f"{found.stage} stage, {width}x{height}, batch {found.batch}, {found.device}"
        rows += [
            measured(f"{name}: a training step, {what}", found.step, "ms"),
            measured(
                f"{name}: pictures learnt from, {found.stage} stage", found.pictures, "a second"
            ),
        ]
    return [
        *rows,
        measured(f"{name}: peak memory of training", mebibytes(stages[-1].memory), "MiB"),
        measured(f"{name}: peak GPU memory of training", mebibytes(stages[-1].gpu_memory), "MiB"),
    ]


def mebibytes(count: int | None) -> float | str:
    """Bytes in MiB, or that they were not measured."""
    return NOT_MEASURED if count is None else count / 2**20
