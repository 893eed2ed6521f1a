"""What single-picture generators are taught from takes: somebody in one picture, and the same person in another.

Sample n is a function of the seed and of n alone, as in `data`. People are held out whole: nobody is in both parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.utils.data import Dataset

from dance import skeleton
from dance.surface.parsing import LABELS
from dance.surface.parts import OPPOSITE
from dance.takes import Shards, Take
from dance.training.data import Batch
from dance.types import Array, InputError, Pose, Size

Maps = Callable[[Pose, Size], Array]
"""What a generator is shown of a pose: (C, H, W) float32 for a pose in pixels of that (height, width)."""

_MIXING = 2654435761  # spreads people's numbers over 32 bits (Knuth)
_OTHER_SIDE = np.array(
    [
        LABELS.index(
            name.replace("left ", "RIGHT ").replace("right ", "left ").replace("RIGHT", "right")
        )
        for name in LABELS
    ],
    np.uint8,
)
_OTHER_PART = np.array(OPPOSITE, np.uint8)


class People(Dataset[Batch]):
    """Pictures of somebody, `source`, and of the same person in another pose, `target`; `people[n]` for any n from 0.

    Each is a dict of tensors, and each of these there is of source and of target, as `source_matte` and so on:
    picture `source` (3, H, W) in [-1, 1]; `_matte` (1, H, W) in [0, 1]; `_xy` (133, 2) pixels; `_score` (133,);
    `_labels` (H, W) int64 of `parsing.LABELS`; `_surface` (3, H, W) uint8, part and U, V times 255; with `maps` also
    `_maps` (C, H, W). Beside them `person` () int64.
    flip: half of the samples are mirrored, both pictures alike.
    """

    def __init__(
        self,
        takes: Sequence[Shards],
        *,
        seed: int,
        maps: Maps | None = None,
        flip: bool = True,
        held_out: float = 0.1,
    ) -> None:
        self.takes = takes
        self.seed = seed
        self.maps = maps
        self.flip = flip
        every = [(k, n, who) for k, some in enumerate(takes) for n, who in enumerate(some.people)]
        self.train = [(k, n) for k, n, who in every if not is_held(who, held_out)]
        self.held = [(k, n) for k, n, who in every if is_held(who, held_out)]
        if not self.train or (held_out and not self.held):
            raise InputError(
                f"{takes[0].folder if takes else 'no folder'}: {len(self.train)} takes to learn from and "
                f"{len(self.held)} held out; it takes more people"
            )

    def __len__(self) -> int:
        return len(self.train)

    def __getitem__(self, n: int) -> Batch:
        order = _order(self.seed, n // len(self.train), len(self.train))
        rng = np.random.default_rng((self.seed, 1, n))
        kind, number = self.train[order[n % len(self.train)]]
        take: Take = self.takes[kind][number]
        source, target = rng.choice(len(take), 2, replace=False).tolist()
        return self._sample(take, source, target, mirrored=self.flip and bool(rng.random() < 0.5))

    def held_pair(self, number: int) -> Batch:
        """The first and the last picture of a held-out take, unchanged."""
        kind, n = self.held[number]
        take: Take = self.takes[kind][n]
        return self._sample(take, 0, len(take) - 1, mirrored=False)

    def _sample(self, take: Take, source: int, target: int, *, mirrored: bool) -> Batch:
        out = {"person": torch.tensor(int(take.facts["person"]))}
        for name, number in (("source", source), ("target", target)):
            out |= _picture(name, take, number, self.maps, mirrored=mirrored)
        return out


def is_held(person: int, share: float) -> bool:
    """Whether somebody is held out; the same however many others there are."""
    return (person * _MIXING) % 2**32 < share * 2**32


def _picture(name: str, take: Take, number: int, maps: Maps | None, *, mirrored: bool) -> Batch:
    picture, matte = take.pictures[number], take.matte[number]
    labels, surface = take.labels[number], take.surface[number]
    pose = take.pose(number)
    if mirrored:
        picture, matte, labels, surface = (a[:, ::-1] for a in (picture, matte, labels, surface))
        labels = _OTHER_SIDE[labels]
        # Charts are each other's mirror images: U runs the other way.
        u = np.where(surface[..., 0] > 0, 255 - surface[..., 1], 0).astype(np.uint8)
        surface = np.dstack([_OTHER_PART[surface[..., 0]], u, surface[..., 2]])
        pose = _mirrored(pose, take.size[1])
    rgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    out = {
        name: rgb.float() / 127.5 - 1,
        f"{name}_matte": torch.from_numpy(np.ascontiguousarray(matte))[None].float() / 255,
        f"{name}_xy": torch.from_numpy(pose.xy),
        f"{name}_score": torch.from_numpy(pose.score),
        f"{name}_labels": torch.from_numpy(np.ascontiguousarray(labels)).long(),
        f"{name}_surface": torch.from_numpy(np.ascontiguousarray(surface.transpose(2, 0, 1))),
    }
    if maps is not None:
        out[f"{name}_maps"] = torch.from_numpy(maps(pose, take.size))
    return out


def _mirrored(pose: Pose, width: int) -> Pose:
    order = list(skeleton.FLIP)
    xy = pose.xy[order]
    xy[:, 0] = width - 1 - xy[:, 0]
    # A mirrored body would need its turns mirrored too; nothing here looks at them.
    return Pose(xy, pose.score[order])


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Array:
    return np.random.default_rng((seed, 0, epoch)).permutation(count)
