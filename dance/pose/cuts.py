"""Marks the first frame of every new scene, so that nothing is carried over a cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from dance.types import Array, Frame

LOOK = 2
"""Frames looked at on each side of a possible cut, and so the lag of `mark_cuts`."""

# A flash of two frames is over when the scene of three frames ago is back.
_BACK = LOOK + 1

# A cut stands out of its neighbours by this factor and by this much (mean change of hue, saturation
# and value, 0..255). Fast dancing at 16 frames a second reaches 15, but then its neighbours do too.
_STANDS_OUT = 3.3
_CONTENT = 18.0

# Pictures nearer than this share of the jump at the cut show the same scene: a flash, not a cut.
_SAME_SCENE = 0.5

_SHORT_SIDE = 64


def mark_cuts(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame with whether it starts a new scene, `LOOK` frames late.

    The first frame of all is not a cut. Flashes of one or two frames, after which the old scene goes
    on, are not cuts. Only the waiting frames are held.
    """
    detector = AdaptiveDetector(
        adaptive_threshold=_STANDS_OUT,
        min_scene_len=0,
        window_width=LOOK,
        min_content_val=_CONTENT,
    )
    waiting: deque[Frame] = deque()
    smalls: deque[Array] = deque(maxlen=_BACK + 1 + LOOK)
    for number, frame in enumerate(frames):
        small = _small(frame.rgb)
        # The detector wants a rate only to name times; cuts come back as frame numbers.
        found = detector.process_frame(FrameTimecode(number, fps=25.0), small)
        waiting.append(frame)
        smalls.append(small)
        if len(waiting) > LOOK:
            yield waiting.popleft(), bool(found) and _differ(list(smalls))
    while waiting:
        yield waiting.popleft(), False


def _small(rgb: Array) -> Array:
    """The picture with a short side of about 64, (h, w, 3) uint8."""
    height, width = rgb.shape[:2]
    scale = min(1.0, _SHORT_SIDE / min(height, width))
    width, height = max(8, round(width * scale)), max(8, round(height * scale))
    # Picking pixels first is ten times cheaper than averaging all of a large picture.
    picked = cv2.resize(rgb, (2 * width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.resize(picked, (width, height), interpolation=cv2.INTER_AREA))


def _differ(smalls: list[Array]) -> bool:
    """Whether no picture before the middle one shows the scene of any from the middle one on."""
    middle = len(smalls) - 1 - LOOK
    before = [small.astype(np.int16) for small in smalls[:middle]]
    after = [small.astype(np.int16) for small in smalls[middle:]]
    jump = float(np.abs(after[0] - before[-1]).mean())
    return all(float(np.abs(b - a).mean()) > _SAME_SCENE * jump for a in before for b in after)
