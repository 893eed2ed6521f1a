"""How fast a learnt generator draws with either runtime, and what a step of its training takes."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dance import config, dataset, networks, plugins, sources
from dance.evaluation.memory import peak_memory
from dance.evaluation.report import Row, measured
from dance.generators import edn
from dance.geometry import Reach
from dance.training import loop
from dance.training.recipes import edn as recipe
from dance.types import InputError, Size, Track

CALLS, STEPS, WARM = 10, 6, 2
DIFFERENCE = 1.0  # of 255 levels, on average: what the runtimes may draw apart
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Trained:
    """What steps of training took: milliseconds a step, pictures learnt from a second, bytes at most.

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


def drawing_rows(preset: Path, source: Path, *, rounds: int) -> list[Row]:
    """A picture's networks, body and face, by torch and by OpenVINO, taken in turns on this CPU.

    preset: a YAML file of configs/train, whose networks are drawn with, freshly initialised; where the source
    is a trained run, its networks are instead.
    """
    architecture, found = _networks(preset, source)
    found.requires_grad_(False).eval()
    height, width = architecture.size
    parameters = sum(p.numel() for p in found.parameters())
    of = "fresh weights" if not source.is_dir() else "trained"
    what = f"{width}x{height}, {of}, {torch.get_num_threads()} threads"
    rows = [
        measured(f"edn: parameters of what draws, {width}x{height}", parameters / 1e6, "million")
    ]
    inputs = _inputs(architecture)
    eager = _drawer(architecture, found.generator, found.face)
    try:
        quick = _drawer(architecture, *_compiled(architecture, found))
    except InputError:
        alone = statistics.median(_milliseconds(eager, inputs) for _ in range(rounds))
        return [
            *rows,
            measured(f"edn: networks of a picture, torch, {what}", alone, "ms"),
            measured("edn: networks of a picture, OpenVINO (not installed)", NOT_MEASURED, "ms"),
        ]
    slow_ms, quick_ms = [], []
    for _ in range(rounds):
        slow_ms.append(_milliseconds(eager, inputs))
        quick_ms.append(_milliseconds(quick, inputs))
    apart = [
        float((eager(*x).clamp(-1, 1) - quick(*x).clamp(-1, 1)).abs().mean()) * 127.5
        for x in inputs
    ]
    difference = statistics.fmean(apart)
    return [
        *rows,
        measured(f"edn: networks of a picture, torch, {what}", statistics.median(slow_ms), "ms"),
        measured(f"edn: networks of a picture, OpenVINO, {what}", statistics.median(quick_ms), "ms"),
        measured("edn: torch / OpenVINO", statistics.median(slow_ms) / statistics.median(quick_ms), "x"),
        measured(
            "edn: the runtimes' pictures apart, mean", difference, "of 255",
            f"<= {DIFFERENCE:g}", difference <= DIFFERENCE,
        ),
    ]  # fmt: skip


def training_rows(preset: Path) -> list[Row]:
    """A step of training in its longest stage, on made-up pictures already in memory, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(trained, preset).result()
    height, width = found.size
    what = f"{found.stage} stage, {width}x{height}, batch {found.batch}, {found.device}"
    return [
        measured(f"edn: a training step, {what}", found.step, "ms"),
        measured("edn: pictures learnt from", found.pictures, "a second"),
        measured("edn: peak memory of training", _mebibytes(found.memory), "MiB"),
        measured("edn: peak GPU memory of training", _mebibytes(found.gpu_memory), "MiB"),
    ]


def trained(preset: Path) -> Trained:
    """Takes some steps of the preset's training and says what they took."""
    wanted, options = _preset(preset)
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    # Straight into the stage that sees the whole picture.
    options = options.model_copy(update={"shares": recipe.Shares(coarse=0, fine=1, face=1)})
    accelerator = loop.make_accelerator(wanted)
    footage = _footage(options)
    teacher = recipe.build(options, footage, accelerator)
    teacher.begin(0.0, teacher.generator)
    height, width = size = recipe.architecture(options, footage).size
    there = accelerator.device
    planes = {"label": 3, "picture": 3, "matte": 1, "valid": 1}
    batch = {
        name: torch.rand(wanted.batch, 2, channels, height, width, device=there)
        for name, channels in planes.items()
    }
    batch["face"] = torch.full((wanted.batch, 2, 4), -1, device=there)
    cuda = there.type == "cuda"
    for i in range(WARM + STEPS):
        if i == WARM:
            began = time.perf_counter()
        # The losses are told as numbers: every step has ended when it returns.
        teacher.step(batch)
    seconds = (time.perf_counter() - began) / STEPS
    return Trained(
        teacher.stage, size, torch.cuda.get_device_name(there) if cuda else there.type,
        wanted.batch, 1000 * seconds, 2 * wanted.batch / seconds,
        None if sys.platform == "win32" else peak_memory(),
        torch.cuda.max_memory_allocated(there) if cuda else None,
    )  # fmt: skip


def _preset(path: Path) -> tuple[loop.TrainConfig, recipe.Config]:
    """A training's config and its recipe's options; which data it is for does not matter here."""
    wanted = config.load(loop.TrainConfig, path, ["data=none", "output=none"])
    if wanted.recipe.name != edn.NAME:
        raise InputError(
            f"{path}: is for the recipe {wanted.recipe.name}, this row is about {edn.NAME}"
        )
    return wanted, config.check(recipe.Config, wanted.recipe.options, f"recipe.options of {path}")


def _footage(options: recipe.Config) -> dataset.Dataset:
    """What is known of a person for whom the view has just the size the preset names."""
    height, width = options.generator.size
    reach = Reach(width / 2, 0.4 * height, width / 2, 0.6 * height, 0.25 * height)
    facts = dataset.Facts("", "", 0, 0, (height, width), reach, {})
    nothing = torch.zeros(0).numpy()
    return dataset.Dataset(Path(), facts, Track([], [], (height, width)), nothing, nothing)


def _networks(preset: Path, source: Path) -> tuple[edn.Architecture, edn.Networks]:
    if source.is_dir():
        plugin = sources.generator_of(sources.open_run(source), config.Plugin(name=edn.NAME))
        options = plugins.load("dance.generators", edn.NAME).Config(**plugin.options)
        return edn.load(options.weights)
    _, options = _preset(preset)
    architecture = recipe.architecture(options, _footage(options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return architecture, edn.Networks(architecture)


Drawer = Callable[[Tensor, Tensor], Tensor]


def _drawer(
    a: edn.Architecture,
    body: Callable[[Tensor], Tensor],
    face: Callable[[Tensor], Tensor] | None,
) -> Drawer:
    """Draws (1, 3 or 4, H, W) from a label and the picture before, the face's residual added at the top."""

    @torch.no_grad()
    def draw(labels: Tensor, before: Tensor) -> Tensor:
        picture = body(torch.cat([labels, before], 1))
        if face is None or a.face is None:
            return picture
        left = (a.width - a.face.side) // 2
        return edn.with_face(face, picture, labels, (0, a.face.side, left, left + a.face.side))

    return draw


def _compiled(
    a: edn.Architecture, found: edn.Networks
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]:
    body = networks.openvino(found.generator, (1, 2 * edn.COLOURS, *a.size))
    if found.face is None or a.face is None:
        return body, None
    return body, networks.openvino(found.face, (1, 2 * edn.COLOURS, a.face.side, a.face.side))


def _inputs(a: edn.Architecture) -> list[tuple[Tensor, Tensor]]:
    """Labels, mostly empty as real ones are, and pictures before."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(CALLS):
        labels = (torch.rand(1, 3, *a.size, generator=generator) > 0.97).float()
        before = torch.rand(1, 3, *a.size, generator=generator) * 2 - 1
        found.append((labels, before))
    return found


def _milliseconds(draw: Drawer, inputs: list[tuple[Tensor, Tensor]]) -> float:
    """The median of one call's time; the first is not counted."""
    draw(*inputs[0])
    taken = []
    for x in inputs:
        began = time.perf_counter()
        draw(*x)
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def _mebibytes(count: int | None) -> float | str:
    return NOT_MEASURED if count is None else count / 2**20
