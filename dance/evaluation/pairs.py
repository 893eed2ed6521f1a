"""Real people drawn in poses they truly took: how near the picture comes to the true frame of the same clip.

A footage folder has `pairs/pair_NAME__src_fN.png` and `pair_NAME__tgtK_fN.png`, frames N of one clip, and a
`manifest.json` that says of each which clip. The person is drawn from the first picture alone and from the whole
clip but the frames about the target, in the target's pose; nothing is retargeted and there is no finish.

The person region of a target is its matte above a half, grown by 1/64 of the picture's height; a result is put over the
target's own place, emptied, so that only the person counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dance import bodies, pipeline, render, sheets
from dance.config import Plugin
from dance.devices import choose_device
from dance.evaluation import images
from dance.evaluation.report import Row
from dance.pipeline import VideoConfig
from dance.types import Array, Generator, InputError, Layer, Moment, Person, Track

GENERATORS = ("puppet", "avatar")
MEASURES = ("ssim", "psnr", "detail")
_GROWN = 1 / 64  # of the picture's height, about the person
_APART = 12  # frames: looks nearer to the target than this are not drawn from


@dataclass(frozen=True, slots=True)
class Target:
    """A true frame.  number: in the clip."""

    picture: Path
    number: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One person: a first picture of them, the clip it is from, and frames of that clip to draw."""

    name: str
    first: Path
    clip: Path
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class Result:
    """What a generator made of a target from one kind of source ('first' or 'clip')."""

    pair: str
    target: Target
    source: str
    generator: str
    picture: Array
    measures: Row


def pairs(footage: Path, only: Sequence[str] = ()) -> list[Pair]:
    """The pairs of a footage folder, or those whose names have one of the parts. Raises InputError where none is."""
    firsts = sorted((footage / "pairs").glob("pair_*__src_f*.png"))
    if not firsts:
        raise InputError(f"{footage}: holds no pairs (pairs/pair_NAME__src_fN.png)")
    manifest = json.loads((footage / "manifest.json").read_text(encoding="utf-8"))
    told = {item["name"]: str(item["derived"]) for item in manifest["items"]}
    found = []
    for first in firsts:
        name = first.name.partition("__")[0]
        clip = re.search(r"(\w+/[\w.]+)$", told[f"pairs/{first.name}"])
        assert clip is not None, f"the manifest does not say the clip of {first.name}"
        others = sorted(first.parent.glob(f"{name}__tgt*.png"))
        found.append(Pair(name, first, footage / clip[1], [Target(p, _number(p)) for p in others]))
    chosen = [pair for pair in found if not only or any(part in pair.name for part in only)]
    if not chosen:
        names = ", ".join(pair.name for pair in found)
        raise InputError(f"{footage}: has no pair {only[0]!r}; there are {names}")
    return chosen


def _number(picture: Path) -> int:
    return int(picture.stem.rpartition("_f")[2])


def compare(
    chosen: Sequence[Pair], config: VideoConfig, generators: Sequence[str]
) -> Iterator[Result]:
    """Every target drawn by every generator, from the first picture and from the clip."""
    device = choose_device(config.device)
    built = {name: pipeline.build_generator(Plugin(name=name), device) for name in generators}
    embodied = any(bodies.SURFACE in generator.needs for generator in built.values())
    for pair in chosen:
        known = {
            kind: _study(config, path, device, embodied=embodied)
            for kind, path in (("first", pair.first), ("clip", pair.clip))
        }
        # Poses are the clip's, which are smooth in time, whoever is drawn.
        clip = known["clip"].track
        tracks = {"first": _embodied(clip, known["first"], config), "clip": clip}
        for target in pair.targets:
            truth = Truth.of(_study(config, target.picture, device, embodied=False))
            for kind, person in known.items():
                source = without(person, target.number) if kind == "clip" else person
                moment = Moment(tracks[kind].poses[target.number], clip.times[target.number])
                for name, generator in built.items():
                    picture = truth.with_person(generator, source, moment)
                    yield Result(pair.name, target, kind, name, picture, truth.measure(picture))


def rows(results: Sequence[Result]) -> list[Row]:
    """A row for every result, then the mean of every generator and kind of source."""
    out: list[Row] = [
        {"pair": r.pair, "frame": r.target.number, "source": r.source, "generator": r.generator, **r.measures}
        for r in results
    ]  # fmt: skip
    for key in dict.fromkeys((r.source, r.generator) for r in results):
        group = [r.measures for r in results if (r.source, r.generator) == key]
        mean = {m: float(np.mean([_value(row[m]) for row in group])) for m in MEASURES}
        out.append({"pair": "mean", "frame": None, "source": key[0], "generator": key[1], **mean})
    return out


def sheet(results: Sequence[Result], path: Path, *, width: int = 300) -> None:
    """A picture to look at: a row for every target, the true frame first."""
    pictures, labels = [], []
    targets = list(dict.fromkeys((r.pair, r.target) for r in results))
    for name, target in targets:
        own = [r for r in results if (r.pair, r.target) == (name, target)]
        with Image.open(target.picture) as true:
            pictures.append(np.asarray(true.convert("RGB")))
        labels.append(f"{name} {target.number}")
        pictures += [r.picture for r in own]
        labels += [f"{r.source} {r.generator} {_value(r.measures['ssim']):.3f}" for r in own]
    columns = len(pictures) // len(targets)
    Image.fromarray(sheets.contact_sheet(pictures, columns, width=width, labels=labels)).save(path)


@dataclass(frozen=True, slots=True)
class Truth:
    """A target: the true picture, its place without the person (H, W, 3) uint8, and the person region (H, W) bool."""

    rgb: Array
    place: Array
    region: Array

    @classmethod
    def of(cls, person: Person) -> Truth:
        view = person.views[0]
        side = 2 * round(_GROWN * person.size[0]) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        grown = cv2.dilate((view.alpha > 0.5).astype(np.uint8), disc) > 0
        return cls(view.frame.rgb, person.plate, grown)

    def with_person(self, generator: Generator, person: Person, moment: Moment) -> Array:
        """The person as the generator draws them, over this target's place."""
        code = generator.encode(person)
        (layer,) = render.draw(generator, code, [moment], person.size, 1)
        return self.over(layer)

    def over(self, layer: Layer) -> Array:
        """What was drawn over this target's place, (H, W, 3) uint8; as it is where it has no matte."""
        if layer.alpha is None:
            return layer.rgb
        alpha = layer.alpha[..., None]
        mixed = layer.rgb * alpha + self.place * (1 - alpha)
        return np.asarray(np.rint(mixed), np.uint8)

    def measure(self, picture: Array) -> Row:
        return {
            "ssim": images.ssim(picture, self.rgb, self.region),
            "psnr": images.psnr(picture, self.rgb, self.region),
            "detail": images.sharpness(picture, self.rgb, self.region),
        }


def _study(config: VideoConfig, source: Path, device: str, *, embodied: bool) -> Person:
    # The size of the driver only matters where the background is the driver's.
    return pipeline.read_person(
        config, source, (1, 1), device, embodied=embodied, on_progress=lambda progress: None
    )


def without(person: Person, number: int) -> Person:
    """The person without the looks at them about that frame."""
    views = [v for v in person.views if abs(v.frame.index - number) >= _APART]
    return replace(person, views=views) if views else person


def _embodied(track: Track, person: Person, config: VideoConfig) -> Track:
    """The clip's poses with stances of a person known from elsewhere."""
    if person.physique is None:
        return track
    bare = replace(track, poses=[replace(pose, stance=None) for pose in track.poses])
    return bodies.of_poses(bare, person.physique, config.body)


def _value(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
