"""Samples from takes: somebody twice, the same for the same number, people held out whole, mirrored truly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_takes import take

from dance import skeleton as sk
from dance import takes
from dance.surface.parsing import LABELS
from dance.surface.parts import PARTS
from dance.takes import Shards
from dance.training.shards import People, is_held
from dance.types import InputError, Pose


def written(folder: Path, count: int = 24) -> Shards:
    """Takes of as many people, three pictures each; what the first picture shows is known."""
    some = []
    for person in range(count):
        one = take(f"p{person:06d}", person, pictures=3)
        labels, surface = one.labels.copy(), one.surface.copy()
        labels[:, 0, 0] = LABELS.index("left shoe")
        surface[:, 0, 0] = (PARTS.index("left foot"), 40, 200)
        surface[:, 1, 0] = 0
        some.append(replace(one, labels=labels, surface=surface))
    takes.write_shard(folder / "pairs-00000.tar", some)
    manifest = {"version": takes.VERSION, "shards": {"pairs": [{"name": "pairs-00000.tar"}]}}
    (folder / takes.MANIFEST).write_text(json.dumps(manifest))
    return takes.open_shards(folder, "pairs")


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return written(tmp_path)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_sample_is_one_person_in_two_pictures(shards: Shards) -> None:
    people = People([shards], seed=1, flip=False)
    for n in range(8):
        sample = people[n]
        whole = shards[int(sample["person"])]
        pictures = torch.from_numpy(whole.pictures).permute(0, 3, 1, 2) / 127.5 - 1
        found = [
            next(k for k in range(3) if torch.allclose(sample[name], pictures[k]))
            for name in ("source", "target")
        ]
        assert found[0] != found[1]
        assert torch.equal(sample["target_xy"], torch.from_numpy(whole.xy[found[1]]))
        assert torch.equal(sample["source_labels"], torch.from_numpy(whole.labels[found[0]]).long())
        assert sample["source_matte"].shape == (1, 8, 6) and sample["source_matte"].min() >= 0


def test_a_sample_depends_on_seed_and_number_alone(shards: Shards) -> None:
    first, again = People([shards], seed=1), People([shards], seed=1)
    late = first[30]
    assert same(late, again[30])
    assert not same(late, People([shards], seed=2)[30])


def test_an_epoch_shows_everybody_once(shards: Shards) -> None:
    people = People([shards], seed=3)
    once = sorted(int(people[n]["person"]) for n in range(len(people)))
    assert once == sorted(set(once)) and len(once) == len(people)


def test_people_are_held_out_whole_however_many_there_are(shards: Shards) -> None:
    people = People([shards], seed=0, held_out=0.3)
    trained = {int(people[n]["person"]) for n in range(3 * len(people))}
    held = {int(people.held_pair(n)["person"]) for n in range(len(people.held))}
    assert held and trained and not held & trained and len(held | trained) == 24
    assert held == {person for person in range(24) if is_held(person, 0.3)}
    shares = np.mean([is_held(person, 0.1) for person in range(5000)])
    assert 0.08 < shares < 0.12


def test_a_held_out_pair_is_the_first_and_last_picture_unchanged(shards: Shards) -> None:
    people = People([shards], seed=0, held_out=0.3)
    sample = people.held_pair(0)
    whole = shards[int(sample["person"])]
    wanted = torch.from_numpy(whole.pictures[2]).permute(2, 0, 1) / 127.5 - 1
    assert torch.allclose(sample["target"], wanted)


def test_a_mirrored_sample_swaps_sides_in_everything(shards: Shards) -> None:
    plain, flipped = People([shards], seed=1, flip=False), People([shards], seed=1, flip=True)
    pairs = [(plain[n], flipped[n]) for n in range(12)]
    mirrored = [(a, b) for a, b in pairs if not torch.equal(a["source"], b["source"])]
    assert 0 < len(mirrored) < len(pairs)
    for a, b in mirrored:
        assert torch.equal(a["source"].flip(-1), b["source"])
        assert torch.equal(a["target_matte"].flip(-1), b["target_matte"])
        left, right = a["source_xy"][sk.LEFT_KNEE], b["source_xy"][sk.RIGHT_KNEE]
        assert right.tolist() == pytest.approx([5 - float(left[0]), float(left[1])], abs=1e-5)
        assert b["source_labels"][0, -1] == LABELS.index("right shoe")
        assert b["source_surface"][:, 0, -1].tolist() == [PARTS.index("right foot"), 215, 200]
        assert b["source_surface"][:, 1, -1].tolist() == [0, 0, 0]


def test_maps_are_drawn_for_the_pose_that_is_shown(shards: Shards) -> None:
    def maps(pose: Pose, size: tuple[int, int]) -> np.ndarray:
        return np.full((1, *size), pose.xy[sk.NOSE, 0], np.float32)

    people = People([shards], seed=1, maps=maps, flip=True)
    for n in range(6):
        sample = people[n]
        assert sample["target_maps"].shape == (1, 8, 6)
        assert float(sample["target_maps"][0, 0, 0]) == float(sample["target_xy"][sk.NOSE, 0])


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it takes more people"):
        People([written(tmp_path, 1)], seed=0)
