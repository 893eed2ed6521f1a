"""People drawn in poses they truly took: what is compared with what."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from figure import mask_of, painted, pose_at, room
from PIL import Image

from dance import pipeline
from dance.evaluation import pairs
from dance.types import Drawn, Frame, InputError, Moment, Person, Track, View

SIZE = (120, 160)


def person(*numbers: int) -> Person:
    """Somebody who walks to the right; views are the frames of these numbers."""
    poses = [pose_at(40 + i, 60, 24) for i in range(60)]
    views = []
    for number in numbers:
        alpha = mask_of(poses[number], SIZE, 24)
        frame = Frame(painted(room(SIZE), alpha), Fraction(number, 25), number)
        views.append(View(frame, poses[number], alpha))
    times = [Fraction(i, 25) for i in range(60)]
    return Person(views, room(SIZE), Track(poses, times, SIZE))


class Painter:
    """Draws the person as the test figure, shifted by some pixels."""

    size = None
    needs = frozenset()

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def encode(self, person: Person) -> Person:
        return person

    def render(self, code: Person, poses: list, state: object) -> tuple[Drawn, None]:
        masks = [mask_of(replace(p, xy=p.xy + self.shift), SIZE, 24) for p in poses]
        rgb = np.stack([painted(room(SIZE), np.ones(SIZE, np.float32)) for _ in masks])
        alpha = torch.from_numpy(np.stack(masks))[:, None]
        return Drawn(torch.from_numpy(rgb).permute(0, 3, 1, 2).contiguous(), alpha), None


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    items = []
    for pair, clip in (("pair_a", "drivers/walk.mp4"), ("pair_b", "sources/turn_1s.mp4")):
        for name in ("src_f0003", "tgt1_f0020", "tgt2_f0040"):
            path = tmp_path / "pairs" / f"{pair}__{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
            number = int(name[-4:])
            items.append({"name": f"pairs/{path.name}", "derived": f"frame {number} of shared/{clip}"})  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"items": items}), encoding="utf-8")
    return tmp_path


def test_pairs_are_read_with_their_clip_and_frame_numbers(footage: Path) -> None:
    first, second = pairs.pairs(footage)
    assert (first.name, first.clip) == ("pair_a", footage / "drivers" / "walk.mp4")
    assert second.clip == footage / "sources" / "turn_1s.mp4"
    assert [target.number for target in first.targets] == [20, 40]
    assert [pair.name for pair in pairs.pairs(footage, ["_b"])] == ["pair_b"]


def test_folders_without_pairs_and_unknown_pairs_are_refused(footage: Path) -> None:
    with pytest.raises(InputError, match="holds no pairs"):
        pairs.pairs(footage / "pairs")
    with pytest.raises(InputError, match="no pair 'zebra'; there are pair_a, pair_b"):
        pairs.pairs(footage, ["zebra"])


def test_a_clip_is_not_drawn_from_the_frames_about_the_target() -> None:
    known = person(0, 20, 30, 50)
    assert [v.frame.index for v in pairs.without(known, 25).views] == [0, 50]
    assert len(pairs.without(person(24), 25).views) == 1


def test_who_is_drawn_right_is_like_the_truth_and_who_is_shifted_is_less() -> None:
    truth = pairs.Truth.of(person(20))
    moment = Moment(person(20).track.poses[20], Fraction(20, 25))
    right, shifted = (
        truth.measure(truth.with_person(Painter(shift), person(0), moment)) for shift in (0, 3)
    )
    assert right["ssim"] > 0.95 and right["psnr"] > 30
    assert shifted["ssim"] < right["ssim"] and shifted["psnr"] < right["psnr"]


def test_only_the_person_counts_not_the_place() -> None:
    truth = pairs.Truth.of(person(20))
    moment = Moment(person(20).track.poses[20], Fraction(20, 25))
    picture = truth.with_person(Painter(), person(0), moment)
    elsewhere = picture.copy()
    far = cv2.dilate(truth.region.astype(np.uint8), np.ones((15, 15))) == 0
    elsewhere[far] = 0
    assert far.any() and truth.measure(elsewhere) == truth.measure(picture)


def test_every_target_is_drawn_by_every_generator_from_both_sources(
    footage: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def read_person(config: object, source: Path, *args: object, **more: object) -> Person:
        number = int(source.stem[-4:]) if source.suffix == ".png" else 0
        return person(number, 59) if source.suffix == ".mp4" else person(number)

    monkeypatch.setattr(pipeline, "read_person", read_person)
    monkeypatch.setattr(
        pipeline, "build_generator", lambda plugin, device: Painter(int(plugin.name == "worse"))
    )
    config = SimpleNamespace(device="cpu", body=None)
    found = list(pairs.compare(pairs.pairs(footage, ["_a"]), config, ["right", "worse"]))
    assert [(r.target.number, r.source, r.generator) for r in found] == [
        (number, source, name)
        for number in (20, 40)
        for source in ("first", "clip")
        for name in ("right", "worse")
    ]
    means = {(r["source"], r["generator"]): r for r in pairs.rows(found) if r["pair"] == "mean"}
    assert len(means) == 4
    assert means["clip", "right"]["ssim"] > means["clip", "worse"]["ssim"]
    pairs.sheet(found, tmp_path / "sheet.png", width=80)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (5 * 80, 2 * 60)
