"""Takes of noise, as small as they can be."""

from __future__ import annotations

import numpy as np

from dance.takes import Take


def take(key: str, person: int, *, pictures: int = 2, seed: int = 0) -> Take:
    """A take of 8 x 6 pixels, another for every person and seed."""
    rng = np.random.default_rng((seed, person))
    shape = (pictures, 8, 6)
    return Take(
        key,
        {"kind": "pair", "person": person},
        pictures=rng.integers(0, 256, (*shape, 3)).astype(np.uint8),
        xy=rng.uniform(0, 6, (pictures, 133, 2)).astype(np.float32),
        score=np.ones((pictures, 133), np.float32),
        points=rng.uniform(1, 2, (pictures, 133, 3)).astype(np.float32),
        matte=rng.integers(0, 256, shape).astype(np.uint8),
        labels=rng.integers(0, 20, shape).astype(np.uint8),
        surface=rng.integers(0, 25, (*shape, 3)).astype(np.uint8),
        turns=rng.normal(0, 1, (pictures, 24, 3)).astype(np.float32),
        root=rng.normal(0, 1, (pictures, 3)).astype(np.float32),
        shape=rng.normal(0, 1, 15).astype(np.float32),
        camera=np.full((pictures, 3), 50, np.float32),
    )
