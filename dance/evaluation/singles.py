"""Generators that draw from a single picture on people and poses they have never learnt from, beside three baselines.

    python scripts/evaluate.py singles DATA RESULTS RUN...

DATA is an album with mattes (scripts/make_synthetic.py), RUN a folder of scripts/train.py or a file of weights;
RESULTS gets singles.md, singles.json and singles.png. All systems draw the same pairs through the pipeline's own
generators: SSIM and PSNR of the person region, the drawn matte's IoU with the true one, and where the album has
clips how much they flicker, as drawn and as the pipeline steadies them. Baselines: the source copied as it lies in
the frame, the puppet, the avatar; and, harder to beat, the source moved and scaled to the pose (`nearest.fit`).
What is drawn, and what region means, is said in `strangers`.

Of the album a run has learnt from, its held-out people are drawn; of another all of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from dance import draw, sheets, takes, weights
from dance.config import Plugin
from dance.evaluation import strangers, trained
from dance.evaluation.nearest import fit
from dance.evaluation.report import Row
from dance.evaluation.strangers import MEASURES, Scene
from dance.pipeline import build_generator
from dance.training import album as albums
from dance.training.album import MATTE, Album, Pick
from dance.types import Array, Drawn, Generator, InputError, Person, Pose, Size, View

ItemT = TypeVar("ItemT")
log = logging.getLogger(__name__)

PAIRS, CLIPS = 64, 8
COPY, MOVED, PUPPET, AVATAR = "copy", "copy, moved", "puppet", "avatar"
BEATEN = ("ssim", "psnr", "iou")
"""What copying is to be beaten in."""
_NOT_SHOWN = (MOVED,)
_SHOWN, _CELL = 8, 160
_PRESET = 0.15  # the share held out by runs that do not tell theirs: training's default
_TOLD = 8  # pairs from one line of progress to the next


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a system has learnt from, as far as it tells.

    reader, sha256: of the album.  seed: of its synthetic people.  held_out: the share of them it has not seen.
    """

    reader: str | None = None
    sha256: str | None = None
    seed: int | None = None
    held_out: float | None = None


@dataclass(frozen=True, slots=True)
class System:
    """Something that draws, by its name in the table.

    learnt: None for what learns nothing.  told: further columns of its row.
    """

    name: str
    generator: Generator
    learnt: Learnt | None = None
    told: Row = field(default_factory=dict)


def compare(
    data: Path,
    paths: Sequence[Path],
    sheet: Path,
    *,
    pairs: int = PAIRS,
    clips: int = CLIPS,
    device: str = "cpu",
) -> tuple[list[Row], Row]:
    """A row for every run and baseline, and the facts they depend on; writes the contact sheet.

    pairs, clips: at most so many, spread over all there are.
    Raises InputError for an album without mattes, for what is no run or weights of a single-picture generator, and
    where a run has learnt from all people of the album.
    """
    if pairs < 1 or clips < 0:
        raise InputError(f"{pairs} pairs and {clips} clips: at least 1 and 0 are needed")
    album = albums.open_album(data)
    albums.require(album, (MATTE,), "the comparison")
    systems = open_systems(paths, device)
    picks = unseen(album, systems)
    systems = [*systems, *baselines(device)]
    moving = [pick for pick in picks if strangers.is_clip(album, pick)]
    still = [pick for pick in picks if not strangers.is_clip(album, pick)] or moving
    chosen, danced = spread(still, pairs), spread(moving, clips)
    log.info("%s: %d pairs of %d people, %d clips", data, len(chosen), people(chosen), len(danced))
    found: dict[str, dict[str, list[float]]] = {
        one.name: {key: [] for key in (*MEASURES, "flicker", "flicker, steadied")}
        for one in systems
    }
    rows: list[list[Array]] = []
    shown = set(spread(range(len(chosen)), _SHOWN))
    for n, pick in enumerate(chosen):
        scene, source, target = strangers.pair(album, pick)
        truth = scene.truths[0]
        row = [source.rgb, _sticks(scene.track.poses[0], target.size), truth.rgb]
        for one in systems:
            (layer,) = scene.layers(one.generator)
            for key, value in strangers.measure(scene, layer).items():
                found[one.name][key].append(value)
            row += [] if one.name in _NOT_SHOWN else [truth.over(layer)]
        if n in shown:
            rows.append(row)
        if (n + 1) % _TOLD == 0:
            log.info("%d of %d pairs drawn", n + 1, len(chosen))
    for n, pick in enumerate(danced):
        scene = strangers.clip(album, pick)
        for one in systems:
            if not isinstance(one.generator, Copy):
                _add_flicker(scene, one, found[one.name])
        log.info("%d of %d clips drawn", n + 1, len(danced))
    measures = {
        name: {key: strangers.mean(values) for key, values in each.items()}
        for name, each in found.items()
    }
    names = [one.name for one in systems if one.name not in _NOT_SHOWN]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(names, rows)).save(sheet)
    return table(systems, measures), _facts(album, systems, chosen, danced, target.size)


def _add_flicker(scene: Scene, one: System, into: Mapping[str, list[float]]) -> None:
    layers = scene.layers(one.generator)
    into["flicker"].append(strangers.flicker(scene, layers))
    into["flicker, steadied"].append(strangers.flicker(scene, strangers.steadied(layers)))


def open_systems(paths: Sequence[Path], device: str) -> list[System]:
    """The generators of runs and files of weights, under names that tell them apart.

    Raises InputError for what is neither, or has not learnt from an album.
    """
    folders = [path for path in paths if path.suffix != ".safetensors"]
    runs = {one.run.folder: one for one in trained.open_runs(folders)} if folders else {}
    if not paths:
        raise InputError("give one or more runs or files of weights")
    named = [runs[path].run.folder.resolve().name if path in runs else path.stem for path in paths]
    taken = {COPY, MOVED, PUPPET, AVATAR}
    systems = []
    for path, name in zip(paths, named, strict=True):
        plain = named.count(name) == 1 and name not in taken
        one = runs.get(path)
        file = path if one is None else one.run.weights
        if one is not None and not file.is_file():
            raise InputError(
                f"{path}: has no {file.name} yet; training writes it at its first check"
            )
        metadata = weights.read_metadata(file)
        if not {"generator", "config"} <= set(metadata):
            raise InputError(f"{file}: are no weights of a generator (its metadata name none)")
        plugin = Plugin(name=metadata["generator"], options={"weights": str(file)})
        generator = build_generator(plugin, device)
        learnt, told = _of_weights(file, metadata) if one is None else _of_run(one)
        own: Row = {"network": plugin.name, "frame": _frame(file, metadata), **told}
        systems.append(System(name if plain else str(path.resolve()), generator, learnt, own))
    return systems


def _of_run(one: trained.Trained) -> tuple[Learnt, Row]:
    facts = one.told["dataset"]
    if "reader" not in facts:
        raise InputError(f"{one.run.folder}: has learnt to draw one person, not from an album")
    data = Path(str(one.run.settings.get("data")))
    learnt = Learnt(facts["reader"], one.run.sha256, _seed_of(data), trained.share(one))
    return learnt, {"minutes": one.minutes, "steps": one.steps, "seed": one.run.settings.get("seed")}  # fmt: skip


def _of_weights(file: Path, metadata: Mapping[str, str]) -> tuple[Learnt, Row]:
    """What `release` writes into files of weights; any of it may be missing."""
    try:
        data, training = (json.loads(metadata.get(key, "{}")) for key in ("data", "training"))
        known = {key: data.get(key) for key in ("reader", "sha256", "seed")}
        learnt = Learnt(**known, held_out=training.get("held_out"))
        steps = int(metadata["steps"]) if "steps" in metadata else None
        minutes = float(metadata["minutes"]) if "minutes" in metadata else None
        return learnt, {"minutes": minutes, "steps": steps, "seed": training.get("seed")}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: does not say readably what it was taught with ({error})"
        ) from error


def _frame(file: Path, metadata: Mapping[str, str]) -> str:
    """Height and width of what the network sees."""
    try:
        frame = json.loads(metadata["config"])["frame"]
        return f"{frame['height']} x {frame['width']}"
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: is of no generator that draws from a single picture") from error


def _seed_of(folder: Path) -> int | None:
    """The seed that synthetic people were made with; None where that is not told there."""
    if not (folder / takes.MANIFEST).is_file():
        return None
    seed = takes.read_manifest(folder).get("seed")
    return seed if isinstance(seed, int) else None


def unseen(album: Album, systems: Sequence[System]) -> list[Pick]:
    """Picks of people whom none of the systems has learnt from.

    What a system was taught with is this album where the hashes agree, and the same people where the seeds of
    synthetic ones do; a system that does not tell counts as taught with this one, with training's usual share held
    out. Raises InputError where nobody is left.
    """
    learnt, held = album.picks(_PRESET)
    left = [*learnt, *held]
    seed = _seed_of(album.folder)
    for one in systems:
        if one.learnt is None:
            continue
        told, before = one.learnt, left
        share = _PRESET if told.held_out is None else told.held_out
        if told.sha256 in (None, album.facts.sha256):
            kept = {_key(pick) for pick in album.picks(share)[1]}
            left = [pick for pick in left if _key(pick) in kept]
        elif told.reader == album.facts.reader and seed is not None:
            if told.seed is None:
                log.warning("%s: is not told whose people it has learnt from; they may be these", one.name)  # fmt: skip
            elif told.seed == seed:
                left = [pick for pick in left if albums.is_held(pick.person, share)]
        if before and not left:
            raise InputError(
                f"{album.folder}: {one.name} has learnt from all of these people, or others held out others; "
                "give an album of people made with another seed"
            )
    return left


def _key(pick: Pick) -> tuple[int, tuple[int, ...], int | None]:
    return pick.person, tuple(pick.shots), pick.target


def baselines(device: str) -> list[System]:
    """What is compared with; none of it has learnt anything."""
    drawing = [
        System(name, build_generator(Plugin(name=name), device)) for name in (PUPPET, AVATAR)
    ]
    return [System(COPY, Copy()), System(MOVED, Copy(moved=True)), *drawing]


class Copy:
    """The person as their picture shows them, wherever they are wanted; `moved`: scaled and shifted to the pose."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(self, *, moved: bool = False) -> None:
        self.moved = moved

    def encode(self, person: Person) -> View:
        """The first view."""
        return person.views[0]

    def render(self, code: View, poses: Sequence[Pose], state: None) -> tuple[Drawn, None]:
        """See `types.Generator`."""
        whole = np.dstack([code.frame.rgb * code.alpha[..., None], code.alpha]).astype(np.float32)
        drawn = np.stack([self._drawn(whole, code.pose, pose) for pose in poses])
        alpha = drawn[..., 3:].clip(0, 1)
        colours = (drawn[..., :3] / np.maximum(drawn[..., 3:], 1e-3)).clip(0, 255)
        levels = torch.from_numpy(np.rint(colours).astype(np.uint8)).permute(0, 3, 1, 2)
        return Drawn(levels, torch.from_numpy(alpha).permute(0, 3, 1, 2)), None

    def _drawn(self, whole: Array, known: Pose, wanted: Pose) -> Array:
        if not self.moved:
            return whole
        return np.asarray(cv2.warpAffine(whole, fit(known, wanted), whole.shape[1::-1]))


def table(systems: Sequence[System], measures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """A row for every system; of those that learn also what they beat the two copies in, and whether they are calm.

    calm: as the pipeline steadies them they flicker no more than the puppet.
    """
    rows: list[Row] = []
    for one in systems:
        own = measures[one.name]
        verdicts: dict[str, str | bool | None] = {}
        if one.learnt is not None:
            beaten = {
                copy: [key for key in BEATEN if own[key] > measures[copy][key]]
                for copy in (COPY, MOVED)
            }
            lost = [key for key in BEATEN if key not in beaten[COPY]]
            limit, flicker = (m["flicker, steadied"] for m in (measures[PUPPET], own))
            verdicts = {
                "beats copying": "yes" if not lost else f"no: {', '.join(lost)}",
                "beats it moved in": ", ".join(beaten[MOVED]) or "nothing",
                "calm": None if np.isnan(flicker) else flicker <= limit,
            }
        rows.append({"system": one.name, **own, **verdicts, **one.told})
    return rows


def spread(items: Sequence[ItemT], count: int) -> list[ItemT]:
    """At most so many of the items, spread over all of them."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def people(picks: Sequence[Pick]) -> int:
    """How many different ones the picks show."""
    return len({pick.person for pick in picks})


def contact_sheet(names: Sequence[str], rows: Sequence[Sequence[Array]]) -> Array:
    """Every pair's row: source, pose, truth, and what every system made of it."""
    columns = ["source", "pose", "truth", *names]
    cells = [picture for row in rows for picture in row]
    return sheets.contact_sheet(cells, len(columns), width=_CELL, labels=columns * len(rows))


def _sticks(pose: Pose, size: Size) -> Array:
    return draw.sticks(np.zeros((*size, 3), np.uint8), pose)


def _facts(
    album: Album,
    systems: Sequence[System],
    pairs: Sequence[Pick],
    clips: Sequence[Pick],
    size: Size,
) -> Row:
    facts, seed = album.facts, _seed_of(album.folder)
    untold = [one.name for one in systems if one.learnt is not None and one.learnt.sha256 is None]
    same = [one.name for one in systems if one.learnt is not None and one.learnt.sha256 == facts.sha256]  # fmt: skip
    return {
        "dataset": f"{facts.reader} {facts.source}, {facts.pictures} pictures of {size[1]} x {size[0]}, "
        f"seed {'-' if seed is None else seed}, sha256 {facts.sha256[:12]}",
        "pairs": f"{len(pairs)} of {people(pairs)} people nobody has learnt from",
        "clips": f"{len(clips)} of {people(clips)} such people, drawn from their best look by their exact poses",
        "learnt from the same album": f"{', '.join(same) or 'none'}; people held out as training does",
        "do not tell what they learnt from": ", ".join(untold) or "none",
        "joints and mattes": "the album's exact ones for all; bodies are fitted to those",
        "region": "the true matte above a half, grown by 1/64 of the picture's height",
        "behind mattes": "the true picture, the person painted over from around them",
        "iou": "of pixels more than half the person's, drawn and true",
        "detail": "gradient energy over the truth's; 1 is right, less is blurred",
        "flicker": "mean |change of the result - change of the truth| in the region, 0..255; less is better",
        "calm": "steadied, it flickers no more than the puppet",
        "copy": "the source's person as they lie in the frame; moved: scaled and shifted to the pose",
    }
