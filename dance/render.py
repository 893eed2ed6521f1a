"""Poses into layers: a generator draws a track in chunks, its memory carried along within every scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch

from dance.geometry import resized
from dance.types import Drawn, Generator, Layer, Moment, Size


def draw(
    generator: Generator, code: object, moments: Iterable[Moment], canvas: Size, chunk: int
) -> Iterator[Layer]:
    """The person drawn for every moment, in chunks that never cross a cut; the state is carried along."""
    state: object = None
    for batch in _scene_chunks(moments, chunk):
        if batch[0].cut:
            state = None
        poses = [resized(moment.pose, canvas, generator.size or canvas) for moment in batch]
        drawn, state = generator.render(code, poses, state)
        yield from _layers(drawn, batch, canvas)


def _scene_chunks(moments: Iterable[Moment], size: int) -> Iterator[list[Moment]]:
    batch: list[Moment] = []
    for moment in moments:
        if batch and (moment.cut or len(batch) == size):
            yield batch
            batch = []
        batch.append(moment)
    if batch:
        yield batch


def _layers(drawn: Drawn, batch: Sequence[Moment], canvas: Size) -> Iterator[Layer]:
    pictures = drawn.rgb.detach().permute(0, 2, 3, 1).cpu().contiguous()
    levels = pictures.numpy() if pictures.dtype == torch.uint8 else pictures.float().numpy()
    alphas = None if drawn.alpha is None else drawn.alpha.detach()[:, 0].float().cpu().numpy()
    for i, moment in enumerate(batch):
        rgb = levels[i]
        if rgb.dtype != np.uint8:
            # -1..1 to 0..255, rounded and kept within, in one go.
            rgb = cv2.addWeighted(rgb, 127.5, rgb, 0, 127.5, dtype=cv2.CV_8U)
        alpha = None if alphas is None else alphas[i]
        if rgb.shape[:2] != canvas:
            rgb = cv2.resize(rgb, canvas[::-1], interpolation=cv2.INTER_CUBIC)
            alpha = None if alpha is None else cv2.resize(alpha, canvas[::-1])
        yield Layer(rgb, alpha, moment)
