"""What single-picture generators are taught from: somebody in one picture, and the same person in another.

Sample n is a function of the seed and of n alone, as in `data`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from dance import draw, geometry, skeleton
from dance.config import Options
from dance.generators import _single as single
from dance.surface.parsing import LABELS
from dance.surface.parts import OPPOSITE
from dance.training import album as albums
from dance.training.album import Album, Pick, Shot
from dance.training.data import Batch, order
from dance.types import Array, InputError, Pose, Shown, Size

Told = Callable[[str, Pose, Size], Mapping[str, Array]]
"""What else a recipe wants of a picture, by name: of "source" or "target", its pose in pixels of that (height, width)."""

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


class Sampling(Options):
    """How pictures become samples.

    framed: the person is cut out as generators do it for drawing; else the whole picture is resized, as published.
    flip: half of the samples are mirrored, both pictures alike.
    vary: framed people are up to so much larger or smaller in the target.
    """

    framed: bool = False
    flip: bool = True
    vary: float = Field(0.0, ge=0, lt=0.5)


class People(Dataset[Batch]):
    """Pictures of somebody, `source`, and of the same person in another pose, `target`; `people[n]` for any n from 0.

    Each is a dict of tensors, and each of these there is of source and of target, as `source_matte` and so on:
    picture `source` (3, H, W) in [-1, 1]; `_matte` (1, H, W) in [0, 1], all 1 where the album has none;
    `_xy` (133, 2) pixels; `_score` (133,); where the album has them `_labels` (H, W) int64 of `parsing.LABELS`
    and `_surface` (3, H, W) uint8, part and U, V times 255; `_NAME` of what is `told`. Beside them `person` () int64.
    alone: the person on plain grey, as generators with a matte see them (needs mattes).
    Raises InputError where there is too little to learn from, or something is needed that the album lacks.
    """

    def __init__(
        self,
        album: Album,
        frame: single.Frame,
        *,
        seed: int,
        held_out: float,
        sampling: Sampling,
        alone: bool = False,
        told: Told | None = None,
    ) -> None:
        if alone:
            albums.require(album, (albums.MATTE,), "a generator that draws a matte")
        self.album = album
        self.frame = frame
        self.seed = seed
        self.sampling = sampling
        self.alone = alone
        self.told = told
        self._train, self._held = album.picks(held_out)
        self.train, self.held = range(len(self._train)), range(len(self._held))
        if not self._train or (held_out and not self._held):
            raise InputError(
                f"{album.folder}: {len(self._train)} pairs to learn from and {len(self._held)} held out; "
                "it takes more people"
            )

    def __len__(self) -> int:
        return len(self._train)

    def __getitem__(self, n: int) -> Batch:
        chosen = order(self.seed, n // len(self._train), len(self._train))
        rng = np.random.default_rng((self.seed, 1, n))
        pick = self._train[chosen[n % len(self._train)]]
        if pick.target is None:
            source, target = (pick.shots[i] for i in rng.choice(len(pick.shots), 2, replace=False))
        else:
            others = [shot for shot in pick.shots if shot != pick.target]
            source, target = others[int(rng.integers(len(others)))], pick.target
        mirrored = bool(rng.random() < 0.5) and self.sampling.flip
        larger = float(np.exp(rng.uniform(-1, 1) * np.log1p(self.sampling.vary)))
        return self._sample(pick, source, target, mirrored=mirrored, larger=larger)

    def held_pair(self, number: int) -> Batch:
        """The target of a held-out pick, else its last picture, from its first other one; unchanged."""
        pick = self._held[number]
        target = pick.shots[-1] if pick.target is None else pick.target
        source = next(shot for shot in pick.shots if shot != target)
        return self._sample(pick, source, target, mirrored=False, larger=1.0)

    def held_spread(self, count: int) -> list[int]:
        """Numbers of `count` held-out picks, spread over all of them."""
        places = np.linspace(0, len(self.held) - 1, min(count, len(self.held)))
        return [self.held[round(place)] for place in places]

    def _sample(
        self, pick: Pick, source: int, target: int, *, mirrored: bool, larger: float
    ) -> Batch:
        out = {"person": torch.tensor(pick.person)}
        shots = self.album.shots((source, target))
        for name, shot, size in zip(("source", "target"), shots, (1.0, larger), strict=True):
            out |= self._picture(name, _mirrored(shot) if mirrored else shot, size)
        return out

    def _picture(self, name: str, shot: Shot, larger: float) -> Batch:
        matrix = self._matrix(shot, larger)
        size = self.frame.size
        rgb = shot.rgb.astype(np.float32) / 127.5 - 1
        matte: Array = np.ones(shot.size, np.float32)
        if shot.matte is not None:
            matte = shot.matte.astype(np.float32) / 255
        if self.alone:
            rgb = rgb * matte[..., None]
        edge = cv2.BORDER_CONSTANT if self.alone else cv2.BORDER_REPLICATE
        beyond = cv2.BORDER_REPLICATE if shot.matte is None else cv2.BORDER_CONSTANT
        xy = geometry.transform(shot.pose.xy, matrix).astype(np.float32)
        pose = replace(shot.pose, xy=xy, depth=None, region=None, mask=None)
        out = {
            name: single.cut(rgb, matrix, size, edge).transpose(2, 0, 1).clip(-1, 1),
            f"{name}_matte": single.cut(matte, matrix, size, beyond)[None].clip(0, 1),
            f"{name}_xy": xy,
            f"{name}_score": pose.score,
        }
        if shot.labels is not None:
            out[f"{name}_labels"] = _nearest(shot.labels, matrix, size).astype(np.int64)
        if shot.surface is not None:
            out[f"{name}_surface"] = _nearest(shot.surface, matrix, size).transpose(2, 0, 1)
        if self.told is not None:
            told = self.told(name, pose, size)
            out |= {f"{name}_{what}": values for what, values in told.items()}
        return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in out.items()}

    def _matrix(self, shot: Shot, larger: float) -> Array:
        """The (2, 3) map from the shot's pixels to the frame's."""
        if self.sampling.framed:
            return single.framing(self.frame, shot.size, shot.pose, larger=larger)
        y, x = (new / old for new, old in zip(self.frame.size, shot.size, strict=True))
        return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def shown(batch: Mapping[str, Tensor], drawn: Tensor) -> Shown:
    """What is looked at and scored of a drawn picture (B, 3, H, W): beside the source and the wanted pose."""
    size = drawn.shape[-2:]
    sticks = []
    for xy, score in zip(batch["target_xy"], batch["target_score"], strict=True):
        black = np.zeros((size[0], size[1], 3), np.uint8)
        pose = Pose(xy.cpu().numpy(), score.cpu().numpy())
        sticks.append(torch.from_numpy(draw.sticks(black, pose)).permute(2, 0, 1) / 127.5 - 1)
    label = torch.cat([batch["source"].cpu(), torch.stack(sticks)], -1)
    return Shown(label, batch["target"], drawn.clamp(-1, 1), batch["target_matte"])


def _nearest(values: Array, matrix: Array, size: Size) -> Array:
    return np.asarray(cv2.warpAffine(values, matrix, size[::-1], flags=cv2.INTER_NEAREST))


def _mirrored(shot: Shot) -> Shot:
    """The shot's mirror image: left is right in everything."""
    turn = list(skeleton.FLIP)
    xy = shot.pose.xy[turn]
    xy[:, 0] = shot.size[1] - 1 - xy[:, 0]
    depth = None if shot.pose.depth is None else shot.pose.depth[turn]
    # A mirrored body would need its turns mirrored too; nothing here looks at them.
    pose = Pose(xy, shot.pose.score[turn], depth=depth)
    labels, surface = shot.labels, shot.surface
    if labels is not None:
        labels = _OTHER_SIDE[labels[:, ::-1]]
    if surface is not None:
        surface = surface[:, ::-1]
        # Charts are each other's mirror images: U runs the other way.
        u = np.where(surface[..., 0] > 0, 255 - surface[..., 1], 0).astype(np.uint8)
        surface = np.dstack([_OTHER_PART[surface[..., 0]], u, surface[..., 2]])
    matte = None if shot.matte is None else shot.matte[:, ::-1]
    return Shot(shot.rgb[:, ::-1], pose, matte, labels, surface)
