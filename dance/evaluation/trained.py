"""Trained runs on the frames they have never learnt from, beside the nearest training frame and the puppet.

Every run's generator draws the end of its dataset that training held out as a clip is drawn: from the poses of
those frames, every picture from the one drawn before it, the first from nothing. What is measured, and where, is
said in `heldout`. Runs of one table must have learnt from the same frames of the same dataset.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from dance import dataset, draw, person_files, sheets, sources
from dance.config import Plugin
from dance.evaluation import heldout
from dance.evaluation.heldout import HeldOut, Look
from dance.evaluation.report import Row, Value
from dance.geometry import transform
from dance.pipeline import build_generator
from dance.types import Array, InputError, Pose

log = logging.getLogger(__name__)

HEIGHT = 256
NEAREST, BLURRED = "nearest frame", "nearest, blurred"
WHOLE, UNMOVED = "nearest, whole picture", "nearest, unmoved"
PUPPET, STILL = "puppet", "one picture"
GAIN = {"ssim": 1, "psnr": 1, "flicker": -1}
"""The measures a run is to beat the nearest frame in; -1 where less is better."""

_BASELINES = (NEAREST, WHOLE, UNMOVED)
_NOT_SHOWN = (BLURRED, WHOLE)
_STEP = 32  # windows are multiples of it
_SHOWN, _FACES, _CELL = 5, 3, 200
# Settings that change nothing of what is learnt.
_FREE = {"data", "output", "checks", "save_minutes", "shown", "workers"}


@dataclass(frozen=True, slots=True)
class Trained:
    """A run by its name in the table; told: run.json; minutes, steps: what it has used, None where it does not say."""

    name: str
    run: sources.Run
    told: Mapping[str, Any]
    minutes: float | None
    steps: int | None


def compare(
    folders: Sequence[Path],
    sheet: Path,
    *,
    data: Path | None = None,
    height: int = HEIGHT,
    device: str = "cpu",
) -> tuple[list[Row], Row]:
    """A row for every run and for what it is compared with, and the facts they depend on; writes the contact sheet.

    data: the dataset, where it is no longer where training found it.  height: of the view.
    Raises InputError for folders that are no runs or have nothing to draw with, for runs that have not learnt from
    the same frames, and for a dataset that is not theirs.
    """
    if height < _STEP or height % _STEP:
        raise InputError(f"height {height}: must be a multiple of {_STEP}, for example {HEIGHT}")
    runs = open_runs(folders)
    plugins = [sources.generator_of(one.run, Plugin(name=one.run.generator)) for one in runs]
    footage, first = open_footage(runs, data)
    held = heldout.held_out(footage, first, height)
    if not held.learnt or not any(look.region.any() for look in held.looks):
        raise InputError(f"{footage.folder}: has no usable frames on both sides of frame {first}")
    log.info("%s: frames %d to %d were held out", footage.folder, first, footage.facts.frames - 1)
    found = heldout.neighbours(held)
    systems: dict[str, Iterable[Array]] = {
        one.name: heldout.drawn(build_generator(plugin, device), one.run.person(), held)
        for one, plugin in zip(runs, plugins, strict=True)
    }
    systems |= {NEAREST: found.moved, BLURRED: found.blurred}
    systems |= {WHOLE: found.whole, UNMOVED: found.unmoved}
    person = heldout.without_held(person_files.load(footage.person), first)
    if person is None:
        log.warning("%s: every view of the person is held out: no puppet", footage.folder)
    else:
        systems[PUPPET] = heldout.drawn(
            build_generator(Plugin(name="puppet"), device), person, held
        )
        systems[STILL] = heldout.still(person.views[0], held)

    chosen = spread(held)
    shown: dict[str, list[Array]] = {name: [] for name in systems if name not in _NOT_SHOWN}
    measures = {}
    for name, pictures in systems.items():
        measures[name] = heldout.measure(_kept(pictures, chosen, shown.get(name, [])), held)
        log.info("%s: SSIM %.3f, PSNR %.2f dB", name, measures[name]["ssim"], measures[name]["psnr"])  # fmt: skip
    looks = [held.looks[i] for i in chosen]
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(looks, shown)).save(sheet)
    views = 0 if person is None else len(person.views)
    return table(runs, measures), _facts(held, found.apart, views)


def open_runs(folders: Sequence[Path]) -> list[Trained]:
    """The runs in the folders, under names that tell them apart. Raises InputError where one is none, or is given twice."""
    if not folders:
        raise InputError("give one or more runs: folders made by scripts/train.py")
    places = [folder.resolve() for folder in folders]
    twice = next((p for i, p in enumerate(places) if p in places[:i]), None)
    if twice is not None:
        raise InputError(f"{twice}: is given twice; a run has one row")
    names = [place.name for place in places]
    taken = {*_BASELINES, BLURRED, PUPPET, STILL}
    runs = []
    for folder, place, name in zip(folders, places, names, strict=True):
        run = sources.open_run(folder)
        told = json.loads((folder / dataset.RUN).read_text(encoding="utf-8"))
        minutes, steps = _used(folder / "history.json")
        plain = names.count(name) == 1 and name not in taken
        runs.append(Trained(name if plain else str(place), run, told, minutes, steps))
    return runs


def open_footage(runs: Sequence[Trained], data: Path | None) -> tuple[dataset.Dataset, int]:
    """The dataset of all the runs and its first held-out frame; `data`: where it is now.

    Raises InputError where it is gone or another, or the runs did not hold out the same frames of it.
    """
    one = runs[0]
    for other in runs[1:]:
        if _source(other) != _source(one):
            raise InputError(
                f"{other.run.folder}: has learnt from {_source(other)['source']}, {one.run.folder} from "
                f"{_source(one)['source']}, or from it prepared in another way: compare runs of one dataset"
            )
        if share(other) != share(one):
            raise InputError(
                f"{other.run.folder}: held out {share(other)} of the frames, {one.run.folder} "
                f"{share(one)}: compare runs that held out the same"
            )
    folder = data if data is not None else Path(str(one.run.settings.get("data")))
    if data is None and not folder.is_dir():
        raise InputError(
            f"{one.run.folder}: has learnt from {folder}, which is not there; "
            "say where the dataset is: --data DATASET"
        )
    footage = dataset.open_dataset(folder)
    facts = footage.facts
    now = {"source": facts.source, "sha256": facts.sha256, "frames": facts.frames, "size": facts.size}  # fmt: skip
    then = _source(one)
    changed = [f"{k} {now[k]} instead of {then[k]}" for k in now if now[k] != then[k]]
    if changed:
        raise InputError(
            f"{folder}: is not the dataset {one.run.folder} has learnt from ({', '.join(changed)}); "
            "name that one: --data DATASET"
        )
    first = heldout.first_held(facts.frames, share(one))
    if first >= facts.frames:
        raise InputError(
            f"{one.run.folder}: held nothing out (held_out = {share(one)} of {facts.frames} frames), so there "
            "is no frame it has not seen; train it with --set held_out=0.15"
        )
    return footage, first


def table(runs: Sequence[Trained], measures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """The rows of `measures`, runs with what they beat the nearest frame in, what they have used, and how they differ.

    To be beaten is the best of the nearest frame's variants, in every measure anew, but not the blurred one: it is
    there to tell how much of a run's lead is only softness.
    """
    best = {
        key: gain * max(gain * measures[name][key] for name in _BASELINES)
        for key, gain in GAIN.items()
    }
    rows: list[Row] = []
    for one, settings in zip(runs, differences(runs), strict=True):
        own = measures[one.name]
        beaten = [key for key, gain in GAIN.items() if gain * (own[key] - best[key]) > 0]
        rows.append(
            {
                "system": one.name, **own, "beats nearest in": ", ".join(beaten) or "nothing",
                "minutes": one.minutes, "steps": one.steps, "settings": settings,
            }
        )  # fmt: skip
    for name in measures:
        if name not in {one.name for one in runs}:
            rows.append({"system": name, **measures[name]})
    return rows


def differences(runs: Sequence[Trained]) -> list[str]:
    """For every run its own settings that are not the same in all of them and may matter; a run alone has none."""
    flat = [dict(_flat(one.run.settings)) for one in runs]
    absent = object()
    keys = [
        key
        for key in dict.fromkeys(key for settings in flat for key in settings)
        if key not in _FREE and any(s.get(key, absent) != flat[0].get(key, absent) for s in flat)
    ]
    return [", ".join(f"{key}={s[key]}" for key in keys if key in s) for s in flat]


def spread(held: HeldOut, count: int = _SHOWN) -> list[int]:
    """Places among the looks of some that are measured, spread over all of them."""
    measured = [i for i, look in enumerate(held.looks) if look.region.any()]
    places = np.linspace(0, len(measured) - 1, min(count, len(measured)))
    return [measured[round(place)] for place in places]


def contact_sheet(looks: Sequence[Look], shown: Mapping[str, Sequence[Array]]) -> Array:
    """A row for every look: pose, truth and what every system made of it; then the faces of some, larger."""
    names = ["pose", "truth", *shown]
    rows = [
        [_sticks(look), look.rgb, *(pictures[i] for pictures in shown.values())]
        for i, look in enumerate(looks)
    ]
    cells = [picture for row in rows for picture in row]
    labels = [f"{name} {look.number}" for look in looks for name in names]
    faces = [(row, look) for row, look in zip(rows, looks, strict=True) if look.face.any()]
    for row, look in faces[:_FACES]:
        cells += [_cut(picture, look.face) for picture in row]
        labels += [f"{name} {look.number}" for name in names]
    return sheets.contact_sheet(cells, len(names), width=_CELL, labels=labels)


def _sticks(look: Look) -> Array:
    xy = transform(look.pose.xy, look.matrix).astype(np.float32)
    return draw.sticks(np.zeros_like(look.rgb), Pose(xy, look.pose.score, look.pose.depth))


def _cut(picture: Array, where: Array) -> Array:
    """The box around the mask, enlarged so that its pixels can be seen."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height = max(1, round(part.shape[0] * _CELL / part.shape[1]))
    return np.asarray(cv2.resize(part, (_CELL, height), interpolation=cv2.INTER_NEAREST))


def _kept(pictures: Iterable[Array], places: Sequence[int], into: list[Array]) -> Iterator[Array]:
    """The same pictures; those at the places, which rise, are kept."""
    for i, picture in enumerate(pictures):
        if i in places:
            into.append(picture)
        yield picture


def _used(history: Path) -> tuple[float | None, int | None]:
    """Minutes and steps the run had used at its last check. Raises InputError for a damaged history."""
    if not history.is_file():
        return None, None
    try:
        last = json.loads(history.read_text(encoding="utf-8"))[-1]
        return float(last["seconds"]) / 60, int(last["step"])
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{history}: is no readable history of a run ({error})") from error


def _source(one: Trained) -> dict[str, Any]:
    """What run.json says of the dataset, as far as another one would be told by it."""
    try:
        facts = one.told["dataset"]
        told = {key: facts[key] for key in ("source", "sha256", "frames")}
        return told | {"size": tuple(facts["size"])}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{one.run.folder / dataset.RUN}: does not say what was learnt from ({error})"
        ) from error


def share(one: Trained) -> float:
    """How much of what there was the run has held out. Raises InputError where that is no share."""
    found = one.run.settings.get("held_out", 0)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1:
        raise InputError(
            f"{one.run.folder / dataset.RUN}: held_out = {found!r}: must be from 0 to 1"
        )
    return float(found)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _number(value)


def _number(value: Value) -> Value:
    """The value, as a number where it is one written out: YAML takes 5e-4 for a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _facts(held: HeldOut, apart: Array, views: int) -> Row:
    facts, looks = held.footage.facts, held.looks
    size = looks[0].size
    measured = sum(look.region.any() for look in looks)
    known = apart[np.isfinite(apart)]
    return {
        "dataset": f"{facts.source}, {facts.frames} frames",
        "held out": f"frames {held.first} to {facts.frames - 1}; {measured} usable ones are measured",
        "view": f"{size[1]} x {size[0]}, follows the person",
        "region": "the true frame's matte above a half, grown by 1/64 of the view's height",
        "behind mattes": "the true frame, the person painted over from around them",
        "flicker": "mean |change of the result - change of the truth|, 0..255; less is better",
        "change": "change of the result over that of the truth; 1 is right",
        "detail": "gradient energy over the truth's; 1 is right, less is blurred",
        "nearest": f"of {len(held.learnt)} frames learnt from, on average "
        f"{known.mean() if len(known) else float('nan'):.3f} torso lengths from the pose",
        "puppet": f"of the {views} views that are not held out",
    }
