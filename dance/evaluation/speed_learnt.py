"""How fast a learnt generator draws with either runtime, and what a step of its training takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dance import config, dataset, networks, plugins, sources
from dance.evaluation import timing
from dance.evaluation.report import Row, measured
from dance.evaluation.timing import Trained
from dance.generators import edn
from dance.geometry import Reach
from dance.training import loop
from dance.training.recipes import edn as recipe
from dance.types import InputError, Recipe, Track

CALLS = 10


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
    eager = _drawer(architecture, found.generator, found.face)
    quick: Drawer | str
    try:
        quick = _drawer(architecture, *_compiled(architecture, found))
    except InputError:
        quick = "not installed"
    return [
        measured(f"edn: parameters of what draws, {width}x{height}", parameters / 1e6, "million"),
        *timing.runtime_rows(edn.NAME, what, eager, quick, _inputs(architecture), rounds=rounds),
    ]


def training_rows(preset: Path) -> list[Row]:
    """A step of training in its longest stage, on made-up pictures already in memory, in a process of its own."""
    return timing.training_rows(edn.NAME, trained, preset)


def trained(preset: Path) -> list[Trained]:
    """Takes some steps of the preset's training and says what they took."""
    wanted, options = _preset(preset)
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    # Straight into the stage that sees the whole picture.
    options = options.model_copy(update={"shares": recipe.Shares(coarse=0, fine=1, face=1)})
    accelerator = loop.make_accelerator(wanted)
    footage = _footage(options)
    teacher: Recipe = plugins.load(loop.RECIPES, edn.NAME).build(options, footage, accelerator)
    teacher.begin(0.0, teacher.generator)
    height, width = size = recipe.architecture(options, footage).size
    there = accelerator.device
    planes = {"label": 3, "picture": 3, "matte": 1, "valid": 1}
    batch = {
        name: torch.rand(wanted.batch, 2, channels, height, width, device=there)
        for name, channels in planes.items()
    }
    batch["face"] = torch.full((wanted.batch, 2, 4), -1, device=there)
    return [timing.steps(teacher, batch, size, there, wanted.batch)]


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
