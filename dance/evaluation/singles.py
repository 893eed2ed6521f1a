"""Generators that draw from a single picture on people and poses they have never learnt from, beside three baselines.

    python scripts/evaluate.py singles DATA RESULTS RUN...
    python scripts/evaluate.py singles DATA RESULTS RUN... --pairs 16 --clips 2 --no-avatar     a quick look

DATA is an album with mattes (scripts/make_synthetic.py), RUN a folder of scripts/train.py or a file of weights such
as those that come with the project; RESULTS gets singles.md, singles.json and singles.png. All systems draw the
same pairs through the pipeline's own generators: SSIM and PSNR of the person region, the drawn matte's IoU with the
true one, and where the album has clips how much they flicker, as drawn and as the pipeline steadies them. Baselines:
the source copied as it lies in the frame, the puppet, the avatar; and, harder to beat, the source moved and scaled
to the pose (`nearest.fit`).
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
from dance.evaluation.strangers import MEASURES
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
FLICKER, WARPING, STEADIED = "flicker", "warping", ", steadied"
CALM = (FLICKER, FLICKER + STEADIED, WARPING, WARPING + STEADIED)
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
    drawers: Sequence[str] = (PUPPET, AVATAR),
    device: str = "cpu",
) -> tuple[list[Row], Row]:
    """A row for every run and baseline, and the facts they depend on; writes the contact sheet.

    pairs, clips: at most so many, spread over all there are.  drawers: generators without training to compare with.
    Raises InputError for an album without mattes, for what is no run or weights of a single-picture generator, and
    where a run has learnt from all people of the album.
    """
    if pairs < 1 or clips < 0:
        raise InputError(f"{pairs} pairs and {clips} clips: at least 1 and 0 are needed")
    album = albums.open_album(data)
    albums.require(album, (MATTE,), "the comparison")
    systems = open_systems(paths, device)
    picks = unseen(album, systems)
    moving = [pick for pick in picks if strangers.is_clip(album, pick)]
    still = [pick for pick in picks if not strangers.is_clip(album, pick)] or moving
    chosen, danced = spread(still, pairs), spread(moving, clips)
    log.info("%s: %d pairs of %d people, %d clips", data, len(chosen), people(chosen), len(danced))
    systems = [*baselines(drawers, device), *systems]
    measures, rows = drawn(album, systems, chosen)
    calm, unmoved = moved(album, systems, danced)
    names = [one.name for one in systems if one.name not in _NOT_SHOWN]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(names, rows)).save(sheet)
    facts = _facts(album, systems, chosen, danced, unmoved)
    if danced:
        measures = {name: measures[name] | calm[name] for name in measures}
    return table(systems, measures), facts


def drawn(
    album: Album, systems: Sequence[System], pairs: Sequence[Pick], *, shown: int = _SHOWN
) -> tuple[dict[str, dict[str, float]], list[list[Array]]]:
    """By system the means of `strangers.measure` over the pairs, and the sheet's row of pictures of some pairs."""
    found: dict[str, list[dict[str, float]]] = {one.name: [] for one in systems}
    rows = []
    looked_at = set(spread(range(len(pairs)), shown))
    for n, pick in enumerate(pairs):
        scene, source, target = strangers.pair(album, pick)
        truth = scene.truths[0]
        row = [source.rgb, _sticks(scene.track.poses[0], target.size), truth.rgb]
        for one in systems:
            (layer,) = scene.layers(one.generator)
            found[one.name].append(strangers.measure(scene, layer))
            row += [] if one.name in _NOT_SHOWN else [truth.over(layer)]
        if n in looked_at:
            rows.append(row)
        if (n + 1) % _TOLD == 0:
            log.info("%d of %d pairs drawn", n + 1, len(pairs))
    return {name: _means(each, MEASURES) for name, each in found.items()}, rows


def moved(
    album: Album, systems: Sequence[System], clips: Sequence[Pick]
) -> tuple[dict[str, dict[str, float]], float]:
    """By system the means of CALM over the clips, of copies not a number; and the flicker of a still picture."""
    found: dict[str, list[dict[str, float]]] = {one.name: [] for one in systems}
    unmoved = []
    for n, pick in enumerate(clips):
        scene = strangers.clip(album, pick)
        for one in systems:
            if isinstance(one.generator, Copy):
                continue
            plain = scene.layers(one.generator)
            steadied = list(strangers.steadied(plain))
            found[one.name].append(
                {
                    FLICKER: strangers.flicker(scene, plain),
                    f"{FLICKER}{STEADIED}": strangers.flicker(scene, steadied),
                    WARPING: strangers.warping(scene, plain),
                    f"{WARPING}{STEADIED}": strangers.warping(scene, steadied),
                }
            )
        unmoved.append(strangers.unmoved(scene))
        log.info("%d of %d clips drawn", n + 1, len(clips))
    return {name: _means(each, CALM) for name, each in found.items()}, strangers.mean(unmoved)


def _means(rows: Sequence[Mapping[str, float]], keys: Sequence[str]) -> dict[str, float]:
    return {key: strangers.mean([row[key] for row in rows]) for key in keys}


def open_systems(paths: Sequence[Path], device: str) -> list[System]:
    """The generators of runs and files of weights, under names that tell them apart.

    Raises InputError for what is neither, or has not learnt from an album.
    """
    if not paths:
        raise InputError("give one or more runs or files of weights")
    folders = [path for path in paths if path.suffix != ".safetensors"]
    runs = {one.run.folder: one for one in trained.open_runs(folders)} if folders else {}
    files = [path.resolve() for path in paths if path not in runs]
    twice = next((file for i, file in enumerate(files) if file in files[:i]), None)
    if twice is not None:
        raise InputError(f"{twice}: is given twice; weights have one row")
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
        return f"{frame['height']}x{frame['width']}"
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
        told = one.learnt
        share = _PRESET if told.held_out is None else told.held_out
        if told.sha256 in (None, album.facts.sha256):
            kept = {_key(pick) for pick in album.picks(share)[1]}
            left = [pick for pick in left if _key(pick) in kept]
        elif told.reader == album.facts.reader and seed is not None:
            if told.seed is None:
                log.warning("%s: is not told whose people it has learnt from; they may be these", one.name)  # fmt: skip
            elif told.seed == seed:
                left = [pick for pick in left if albums.is_held(pick.person, share)]
        if not left:
            raise InputError(
                f"{album.folder}: {one.name} has learnt from all of these people, or others held out others; "
                "give an album of people made with another seed"
            )
    return left


def _key(pick: Pick) -> tuple[int, tuple[int, ...], int | None]:
    return pick.person, tuple(pick.shots), pick.target


def baselines(drawers: Sequence[str], device: str) -> list[System]:
    """What is compared with: both copies, and generators that learn nothing."""
    drawing = [System(name, build_generator(Plugin(name=name), device)) for name in drawers]
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
    """A row for every system; of those that learn also what they beat the two copies in, and how calm they are.

    They are to move no more wrongly than the puppet, steadied as the pipeline steadies both.
    """
    rows: list[Row] = []
    for one in sorted(systems, key=lambda one: one.learnt is None):
        own = measures[one.name]
        verdicts: dict[str, str] = {}
        if one.learnt is not None:
            lost = [key for key in BEATEN if not own[key] > measures[COPY][key]]
            beaten = [key for key in BEATEN if own[key] > measures[MOVED][key]]
            verdicts = {
                "beats copying": f"no: {', '.join(lost)}" if lost else "yes",
                "beats it moved in": ", ".join(beaten) or "nothing",
            }
            if PUPPET in measures and FLICKER in own:
                limits = measures[PUPPET]
                calm = [k for k in (FLICKER, WARPING) if own[k + STEADIED] <= limits[k + STEADIED]]
                verdicts[f"no more than the {PUPPET} in"] = ", ".join(calm) or "nothing"
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
    unmoved: float,
) -> Row:
    facts, seed = album.facts, _seed_of(album.folder)
    (shot,) = album.shots(pairs[0].shots[:1])
    untold = [one.name for one in systems if one.learnt is not None and one.learnt.sha256 is None]
    same = [one.name for one in systems if one.learnt is not None and one.learnt.sha256 == facts.sha256]  # fmt: skip
    return {
        "dataset": f"{facts.reader} {facts.source}, {facts.pictures} pictures, {shot.size[0]}x{shot.size[1]}, "
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
        "flicker": "mean |change of the result - change of the truth| in the region, 0..255; less is better; "
        f"{unmoved:.3f} for the true first picture standing still, so most of it is the dance",
        "warping": "mean difference, 0..255, of each picture and the one before it moved along the flow, in the box "
        "about the person; needs no truth, less is calmer",
        "steadied": "as the pipeline steadies what is drawn",
        "copy": "the source's person as they lie in the frame; moved: scaled and shifted to the pose",
    }
