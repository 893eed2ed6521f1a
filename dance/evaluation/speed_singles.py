"""How fast the generators that draw anybody from one picture are, beside a plain reading of their networks.

Networks have the published size and fresh weights: what they draw takes as long as what they would draw well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dance import config, joint_maps, networks, plugins
from dance.evaluation import plain, timing
from dance.evaluation.report import Row, measured
from dance.evaluation.timing import NOT_MEASURED, Draw, Trained
from dance.generators import _nted_label, dpig
from dance.generators._placed import COLOURS
from dance.surface import body as bodies
from dance.surface import parsing, parts, stances
from dance.surface.fit import camera_of
from dance.training import loop
from dance.training.album import LABELS, MATTE, SURFACE, Facts, Pick, Shot
from dance.types import Array, InputError, Physique, Pose, Recipe, Size

NAMES = ("dense_transfer", "dpig", "nted", "pg2", "softgate", "xing")
CALLS = 2
_SLACK = (
    1.1  # ours over the plain reading at most: where both are the same, timings differ by as much
)
_SIDE = 128  # of the made-up pictures that steps are timed with
_PEOPLE, _HELD = 20, 4  # in them
_STAGES_LOOKED_FOR = 40  # places of a training's budget


@dataclass(frozen=True, slots=True)
class Case:
    """A generator's networks and what of them is run when.

    size: (height, width) of its pictures.  once: what is run once for a person; None where nothing is.
    drawn: from `shown`, (1, C, H, W) of a wanted pose and what it is drawn beside, the picture.
    given: what the plain reading makes the same picture of: the picture, what is known of it, the wanted pose.
    """

    network: nn.Module
    size: Size
    once: Callable[[], object] | None
    drawn: nn.Module
    shown: Tensor
    given: tuple[Any, ...]


def rows(name: str, preset: Path, *, rounds: int) -> list[Row]:
    """All of a generator: its networks at the published size, and steps of the preset's training.

    Raises InputError for a preset of another.
    """
    taught = _preset(preset).recipe.name
    if taught != name:
        raise InputError(f"{preset}: is for the recipe {taught}, this row is about {name}")
    return drawing_rows(name, rounds=rounds) + timing.training_rows(name, trained, preset)


@torch.no_grad()
def drawing_rows(name: str, *, rounds: int, **changes: object) -> list[Row]:
    """A picture's networks by either runtime and by the plain reading, what a person costs once, and attention's memory.

    changes: of the published architecture.
    """
    made = case(name, **changes)
    read = plain.reading(made.network)
    height, width = made.size
    what = f"{width}x{height}, {torch.get_num_threads()} threads"
    million = sum(p.numel() for p in made.network.parameters()) / 1e6
    found = [measured(f"{name}: parameters, {width}x{height}", million, "million")]
    if made.once is not None:
        taken = timing.in_turns({"once": made.once}, [()] * CALLS, rounds)["once"]
        found.append(measured(f"{name}: once for a person, torch, {what}", taken, "ms"))
    found += timing.runtime_rows(
        name, what, made.drawn, _compiled(made), [(made.shown,)] * CALLS, rounds=rounds,
        plain=partial(read, *made.given),
    )  # fmt: skip
    return [
        *found,
        *attention_rows(name, made, read),
        measured(f"{name}: networks of a picture, GPU, bf16, compiled", _on_gpu(made), "ms"),
    ]


def attention_rows(name: str, made: Case, read: nn.Module) -> list[Row]:
    """The largest tensor that attention over positions makes, ours and read plainly; nothing where there is no attention."""
    ours, whole = (
        attended(network, kinds, made.given)
        for network, kinds in ((made.network, tuple(plain.ATTENTION)), (read, tuple(plain.ATTENTION.values())))
    )  # fmt: skip
    if not whole:
        return []
    bar = f"<= {whole / 2**20:.2f}"
    return [
        measured(f"{name}: largest tensor of attention", ours / 2**20, "MiB", bar, ours <= whole),
        measured(f"{name}: the same read plainly", whole / 2**20, "MiB"),
    ]


def attended(network: nn.Module, kinds: tuple[type[nn.Module], ...], given: Sequence[Any]) -> int:
    """Bytes of the largest tensor made within modules of these kinds while the network draws; 0 where it has none."""
    calls: list[tuple[nn.Module, tuple[Any, ...]]] = []
    watched = [module for module in network.modules() if isinstance(module, kinds)]
    hooks = [
        module.register_forward_hook(lambda module, inputs, _: calls.append((module, inputs)))
        for module in watched
    ]
    if watched:
        network(*given)
    for hook in hooks:
        hook.remove()
    most = _Largest()
    for module, inputs in calls:
        with most:
            module(*inputs)
    return most.bytes


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the size of the largest tensor that was made, whatever it was made for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, Tensor):
                self.bytes = max(self.bytes, made.numel() * made.element_size())
        return out


def case(name: str, **changes: object) -> Case:
    """The generator's networks as published, but for changes of their architecture, freshly initialised."""
    module = plugins.load("dance.generators", name)
    a = config.check(module.Architecture, changes, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = module.body(a).eval().requires_grad_(False)
        picture = torch.rand(1, COLOURS, *a.frame.size) * 2 - 1
        return _CASES[name](module, a, network, picture)


class _Drawn(nn.Module):
    """Networks as a function of one tensor, which is what OpenVINO and compilers take."""

    def __init__(self, network: nn.Module, draw: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._draw = draw

    def forward(self, x: Tensor) -> Tensor:
        return self._draw(self.network, x)


def _xing(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    poses = torch.rand(1, 2 * joint_maps.JOINTS, *a.frame.size)
    drawn = _Drawn(network, lambda net, x: net(x[:, :COLOURS], x[:, COLOURS:]))
    return Case(network, a.frame.size, None, drawn, torch.cat([picture, poses], 1), (picture, poses))  # fmt: skip


def _pg2(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    pose = _discs(a.frame.size)
    drawn = _Drawn(network, lambda net, x: net(x[:, :COLOURS], x[:, COLOURS:])[1])
    return Case(network, a.frame.size, None, drawn, torch.cat([picture, pose], 1), (picture, pose))


def _dpig(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    pose = _discs(a.frame.size)
    xy, score = joint_maps.joints(standing(a.frame.size))
    at = dpig.places(a, xy[None], score[None])
    looks = network.appearance

    def once() -> Tensor:
        spread: Tensor = looks.spread(looks.encoder(picture, at))
        return spread

    count = joint_maps.JOINTS
    drawn = _Drawn(looks, lambda net, x: net.decode_spread(x[:, :-count], x[:, -count:]))
    shown = torch.cat([once(), pose], 1)
    return Case(network, a.frame.size, once, drawn, shown, (picture, at, pose))


def _nted(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    pose = (torch.rand(1, _nted_label.CHANNELS, *a.frame.size) > 0.97).float()
    textures = network.extract(picture).values
    drawn = _Drawn(network, lambda net, x: net.draw(textures, x)[0])
    return Case(network, a.frame.size, partial(network.extract, picture), drawn, pose, (picture, pose))  # fmt: skip


def _softgate(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    known = nn.functional.one_hot(_blocks(a.frame.size, len(parsing.LABELS)), len(parsing.LABELS))
    of_person, pose = known.movedim(-1, 1).float(), _discs(a.frame.size)
    once = partial(network.renderer.looks, torch.cat([picture, of_person], 1))
    looks = once()
    drawn = _Drawn(network, lambda net, x: net.drawn(looks, of_person, x).picture)
    return Case(network, a.frame.size, once, drawn, pose, (picture, of_person, pose))


def _dense_transfer(module: ModuleType, a: Any, network: Any, picture: Tensor) -> Case:
    part = _blocks(a.frame.size, len(parts.PARTS))[:, None].float()
    surface = torch.cat([part, torch.rand(1, 2, *a.frame.size) * (part > 0)], 1)
    once = partial(network.texture, picture, surface)
    texture = once()
    drawn = _Drawn(network, lambda net, x: net.drawn(picture, surface, texture, x).picture)
    return Case(network, a.frame.size, once, drawn, surface.flip(-1), (picture, surface, surface.flip(-1)))  # fmt: skip


_CASES: dict[str, Callable[[ModuleType, Any, Any, Tensor], Case]] = {
    "dense_transfer": _dense_transfer, "dpig": _dpig, "nted": _nted, "pg2": _pg2, "softgate": _softgate,
    "xing": _xing,
}  # fmt: skip


def _discs(size: Size) -> Tensor:
    """Pose maps in [-1, 1], mostly empty as real ones are, (1, 18, H, W)."""
    return (torch.rand(1, joint_maps.JOINTS, *size) > 0.97).float() * 2 - 1


def _blocks(size: Size, count: int, side: int = 8) -> Tensor:
    """Numbers below `count` in blocks, as parts of bodies are, (1, H, W) int64."""
    row, column = torch.meshgrid(*(torch.arange(length) // side for length in size), indexing="ij")
    return ((5 * row + column) % count)[None]


def _compiled(made: Case) -> Draw | str:
    """The networks by OpenVINO; where there are none, why."""
    try:
        return networks.openvino(made.drawn, tuple(made.shown.shape))
    except InputError:
        return "not installed"
    except RuntimeError as error:
        # What its front end cannot convert it names in the first line that says so.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((line for line in lines if "No conversion rule" in line), lines[-1])
        return f"not converted: {said}"


def _on_gpu(made: Case) -> float | str:
    """Milliseconds of a picture's networks on a GPU; not measured where there is none."""
    if not torch.cuda.is_available():
        return NOT_MEASURED
    network, shown = made.drawn.cuda(), made.shown.cuda()
    compiled = torch.compile(network)

    def call() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            compiled(shown)
        torch.cuda.synchronize()

    return timing.milliseconds(call, [()] * 10)


def trained(preset: Path) -> list[Trained]:
    """Takes some steps of each of the stages of the preset's training and says what they took."""
    wanted = _preset(preset)
    name = wanted.recipe.name
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    recipes = plugins.load(loop.RECIPES, name)
    options = config.check(recipes.Config, wanted.recipe.options, f"recipe.options of {preset}")
    accelerator = loop.make_accelerator(wanted)
    album = MadeUp()
    torch.manual_seed(0)
    teacher: Recipe = recipes.build(options, album, accelerator)
    samples = recipes.pairs(options, album, seed=0, held_out=_HELD / _PEOPLE)
    items = [samples[n] for n in range(wanted.batch)]
    there = accelerator.device
    batch = {key: torch.stack([item[key] for item in items]).to(there) for key in items[0]}
    found: list[Trained] = []
    for share in np.arange(_STAGES_LOOKED_FOR) / _STAGES_LOOKED_FOR:
        teacher.begin(float(share), teacher.generator)
        if not found or teacher.stage != found[-1].stage:
            size = options.generator.frame.size
            found.append(timing.steps(teacher, batch, size, there, wanted.batch))
    return found


def _preset(path: Path) -> loop.TrainConfig:
    """A training's config; which data it is for does not matter here."""
    return config.load(loop.TrainConfig, path, ["data=none", "output=none"])


class MadeUp:
    """An album (see `training.album`) of coloured noise in the shape of standing people, with everything known of it."""

    folder = Path("made-up")
    facts = Facts("made up", "", "", 2 * _PEOPLE, (MATTE, LABELS, SURFACE))
    person = None

    def picks(self, held_out: float) -> tuple[list[Pick], list[Pick]]:
        """The last people are held out."""
        every = [Pick(n, range(2 * n, 2 * n + 2)) for n in range(_PEOPLE)]
        return every[:-_HELD], every[-_HELD:]

    def shots(self, numbers: Sequence[int]) -> list[Shot]:
        """Noise of its own for every number."""
        return [_shot(number) for number in numbers]


def _shot(number: int) -> Shot:
    size, random = (_SIDE, _SIDE), np.random.default_rng(number)
    pose = standing(size)
    matte = 255 * (joint_maps.body_mask(*joint_maps.joints(pose), size, 6.0) > 0).astype(np.uint8)
    labels, part = (
        (_blocks(size, count)[0].numpy() * (matte > 0)).astype(np.uint8)
        for count in (len(parsing.LABELS), len(parts.PARTS))
    )
    uv = random.integers(0, 256, (*size, 2)) * (part > 0)[..., None]
    rgb = random.integers(0, 256, (*size, COLOURS), dtype=np.uint8)
    return Shot(rgb, pose, matte, labels, np.dstack([part, uv]).astype(np.uint8))


def standing(size: Size) -> Pose:
    """The average body at rest, in the middle of a picture and most of it high."""
    camera = camera_of(size, 1.2)
    points: Array = stances.resting(Physique(np.array(bodies.AVERAGE, np.float32), camera))
    low, high = points.min(0), points.max(0)
    away = 1.25 * camera.focal * float(high[1] - low[1]) / size[0]
    centred = points - (low + high) / 2 + np.array([0, 0, away])
    return Pose(stances.project(centred, camera).astype(np.float32), np.ones(len(points), np.float32))  # fmt: skip
