"""Samples of two pictures: somebody twice, the same for the same number, people held out whole, mirrored truly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_albums
import torch

from dance import skeleton as sk
from dance.generators import _single
from dance.generators._single import Frame
from dance.surface.parsing import LABELS
from dance.surface.parts import PARTS
from dance.training.album import Album, open_album
from dance.training.data import batches
from dance.training.people import People, Sampling, shown
from dance.types import Array, InputError, Pose, Size

WHOLE = Frame(height=48, width=32)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return open_album(small_albums.synthetic(tmp_path_factory.mktemp("data") / "s", 12, pictures=3))


def people_of(album: Album, frame: Frame = WHOLE, **changes: Any) -> People:
    sampling = Sampling(flip=changes.pop("flip", False), framed=changes.pop("framed", False))
    return People(album, frame, **{"seed": 1, "held_out": 0.3, "sampling": sampling} | changes)


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_sample_is_one_person_in_two_pictures(album: Album) -> None:
    people = people_of(album)
    for n in range(8):
        sample = people[n]
        person = int(sample["person"])
        every = [small_albums.picture_of(person, person + k) for k in range(3)]
        found = []
        for name in ("source", "target"):
            pictures = [torch.from_numpy(e[0]).permute(2, 0, 1) / 127.5 - 1 for e in every]
            match = [k for k in range(3) if torch.allclose(sample[name], pictures[k], atol=1e-5)]
            assert len(match) == 1
            found += match
            assert np.allclose(sample[f"{name}_xy"], every[match[0]][2].xy, atol=1e-4)
            assert np.allclose(sample[f"{name}_matte"][0] * 255, every[match[0]][1], atol=1e-3)
            labels = sample[f"{name}_labels"]
            assert set(labels.unique().tolist()) == {0, LABELS.index("left shoe")}
        assert found[0] != found[1]


def test_a_sample_depends_on_seed_and_number_alone(album: Album) -> None:
    first, again = people_of(album, flip=True), people_of(album, flip=True)
    late = first[30]
    assert same(late, again[30]) and not same(late, first[31])
    assert not same(late, people_of(album, seed=2, flip=True)[30])


def test_an_epoch_shows_everybody_once(album: Album) -> None:
    people = people_of(album)
    once = sorted(int(people[n]["person"]) for n in range(len(people)))
    assert once == sorted(set(once)) and len(once) == len(people) > 4


def test_nobody_is_both_learnt_from_and_held_out(album: Album) -> None:
    people = people_of(album)
    trained = {int(people[n]["person"]) for n in range(3 * len(people))}
    held = {int(people.held_pair(n)["person"]) for n in people.held}
    assert held and trained and not held & trained and len(held | trained) == 12
    assert people.held_spread(100) == list(people.held) and len(people.held_spread(1)) == 1


def test_a_held_out_pair_is_the_first_and_last_picture_unchanged(album: Album) -> None:
    sample = people_of(album, flip=True).held_pair(0)
    person = int(sample["person"])
    for name, k in (("source", 0), ("target", 2)):
        rgb, _, _ = small_albums.picture_of(person, person + k)
        assert torch.allclose(sample[name], torch.from_numpy(rgb).permute(2, 0, 1) / 127.5 - 1, atol=1e-5)  # fmt: skip


def test_a_mirrored_sample_swaps_sides_in_everything(album: Album) -> None:
    plain, flipped = people_of(album), people_of(album, flip=True)
    pairs = [(plain[n], flipped[n]) for n in range(12)]
    mirrored = [(a, b) for a, b in pairs if not torch.equal(a["source"], b["source"])]
    assert 0 < len(mirrored) < len(pairs)
    for a, b in mirrored:
        assert torch.allclose(a["source"].flip(-1), b["source"], atol=1e-5)
        assert torch.allclose(a["target_matte"].flip(-1), b["target_matte"], atol=1e-5)
        left, right = a["source_xy"][sk.LEFT_KNEE], b["source_xy"][sk.RIGHT_KNEE]
        assert right.tolist() == pytest.approx([31 - float(left[0]), float(left[1])], abs=1e-4)
        assert set(b["source_labels"].unique().tolist()) == {0, LABELS.index("right shoe")}
        inside = b["source_surface"][:, b["source_labels"] > 0]
        assert {tuple(x) for x in inside.T.tolist()} == {(PARTS.index("right foot"), 215, 200)}


def test_a_framed_person_is_as_large_as_generators_draw_them_and_where_they_do(
    album: Album,
) -> None:
    frame = Frame(height=64, width=48)
    people = people_of(album, frame, framed=True)
    for n in range(4):
        xy = people[n]["target_xy"].numpy()
        shoulders, hips = xy[[5, 6]].mean(0), xy[[11, 12]].mean(0)
        assert np.linalg.norm(shoulders - hips) == pytest.approx(0.21 * 64, abs=0.01)
        middle = (shoulders + hips) / 2
        assert middle == pytest.approx([23.5, 0.47 * 64 - 0.5], abs=0.01)
    varied = People(album, frame, seed=1, held_out=0.3, sampling=Sampling(framed=True, vary=0.2))
    sizes = [float((s["target_xy"][5] - s["target_xy"][11]).norm()) for s in (varied[n] for n in range(8))]  # fmt: skip
    assert max(sizes) > 1.1 * min(sizes)


def test_half_a_person_is_framed_nearly_as_a_whole_one(album: Album) -> None:
    frame = Frame(height=64, width=48)
    pose = small_albums.pose_of(0)
    score = pose.score.copy()
    score[11:] = 0
    whole, half = (_single.framing(frame, (48, 32), p)[0, 0] for p in (pose, Pose(pose.xy, score)))
    assert 0.7 < half / whole < 1.4


def test_alone_nothing_is_left_of_the_background(album: Album) -> None:
    sample = people_of(album, alone=True)[0]
    outside = sample["source_matte"][0] == 0
    assert outside.any() and float(sample["source"][:, outside].abs().max()) == 0


def test_what_a_recipe_tells_is_of_the_pose_that_is_shown(album: Album) -> None:
    def told(name: str, pose: Pose, size: Size) -> dict[str, Array]:
        return {"nose": pose.xy[sk.NOSE]} if name == "target" else {}

    people = people_of(album, told=told, flip=True)
    for n in range(6):
        sample = people[n]
        assert torch.equal(sample["target_nose"], sample["target_xy"][sk.NOSE])
        assert "source_nose" not in sample


def test_samples_make_batches(album: Album) -> None:
    people = people_of(album)
    feed = batches(people, size=2, first=3, workers=0)
    batch = next(feed)
    feed.close()
    assert batch["source"].shape == (2, 3, 48, 32)
    assert torch.equal(batch["target"][1], people[7]["target"])
    look = shown(batch, batch["target"])
    assert look.label.shape == (2, 3, 48, 64) and float(look.label[..., 32:].max()) > 0


def test_albums_without_mattes_have_ones_and_are_refused_where_mattes_are_needed(
    tmp_path: Path,
) -> None:
    plain = open_album(small_albums.views(tmp_path / "v", mattes=False))
    assert float(people_of(plain)[0]["target_matte"].min()) == 1
    with pytest.raises(InputError, match="no matte, which a generator that draws a matte needs"):
        people_of(plain, alone=True)


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    folder = small_albums.views(tmp_path / "one")
    lines = (folder / "joints.csv").read_text(encoding="utf-8").splitlines()
    (folder / "joints.csv").write_text("\n".join(lines[:4]), encoding="utf-8")
    with pytest.raises(InputError, match="it takes more people"):
        people_of(open_album(folder))
