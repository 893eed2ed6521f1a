"""Finds everybody in a picture: candidates at several zooms, each looked at closely before it counts.

BlazePose's detector was made for one large person. Seen at a zoom that makes a person fill its input
it is sure of them however small they are in the picture; a thing that merely resembles a person is
not. So candidates may be weak, and must prove themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dance.pose.estimators import _blaze_detect as detector
from dance.pose.estimators._blaze_detect import Detection
from dance.pose.estimators._blaze_landmarks import Landmarks
from dance.types import Array, Region, Size

Detect = Callable[[Array, float], list[Detection]]
"""(square, threshold) -> detections."""
Look = Callable[[Region], Landmarks]

_CANDIDATE = 0.3  # how sure the detector must be of something to look closer at
_CERTAIN = 0.8  # a detection this sure needs no second look
_SMALL_SURE = 0.6  # how sure the detector must be, close up, of somebody found in a small tile
_BESIDE = 0.9  # how sure the landmark network must be of everybody but the first
_SAME = 0.07  # of the region's side: two poses whose joints are nearer to each other are one
_AGREE = 0.1  # likewise: two looks at a person that lie further apart saw no person
_BODY = slice(11, 33)


@dataclass(frozen=True, slots=True)
class _Level:
    """Tiles of one size, in shares of the picture's height, and how sure their finds must be."""

    share: float
    overlap: float
    score: float


# A person a seventh of the picture's height fills 40 % of the smallest tile, and lies whole in one.
_SMALL = (_Level(0.6, 0.3, 0.5), _Level(0.36, 0.16, 0.5))
_LONG = 1.2  # a picture longer than this times its width is also searched square by square
_TOP = 0.5  # of their side: how much those squares overlap


def search(
    size: Size, detect: Detect, look: Look, *, sure: float, presence: float, small: bool, most: int
) -> list[Landmarks]:
    """Everybody in the picture, surest first, at most `most`.

    sure, presence: how sure detector and landmark network must be.  small: where nobody is found in
    the whole picture, search smaller and smaller tiles.
    """
    shorter, longer = sorted(size)
    squares = [detector.whole(size)]
    if longer > _LONG * shorter:
        squares += detector.tiles(size, shorter, _TOP * shorter)
    found = _people(squares, detect, look, sure, presence, 0.0, most)
    for level in _SMALL if small else ():
        if found:
            break
        side = level.share * size[0]
        if side > shorter:
            continue
        squares = detector.tiles(size, side, level.overlap * size[0])
        found = _people(squares, detect, look, max(sure, _SMALL_SURE), presence, level.score, most)
    return found


def _people(
    squares: Sequence[Array],
    detect: Detect,
    look: Look,
    sure: float,
    presence: float,
    score: float,
    most: int,
) -> list[Landmarks]:
    candidates = _without_doubles([d for s in squares for d in detect(s, min(sure, _CANDIDATE))])
    people: list[Landmarks] = []
    for candidate in candidates:
        if len(people) == most:
            break
        # Beside somebody found, what moderately resembles a person is mostly a part of them.
        needed = max(presence, _BESIDE) if people else presence
        certain = _closer(candidate, detect)
        if certain is None or certain.score < sure:
            continue
        first = look(certain.region)
        if first.presence < needed or any(_same(first, other) for other in people):
            continue
        # The landmarks say better than the detector where the person is.
        second = look(first.next_region)
        if (
            second.presence >= needed
            and float(second.score[_BODY].mean()) >= score
            and _distance(first, second) < _AGREE
            and not any(_same(second, other) for other in people)
        ):
            people.append(second)
    return people


def _without_doubles(found: list[Detection]) -> list[Detection]:
    """The best detection of each place: neighbouring tiles see the same people."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda d: -d.score):
        if not any(_near(detection.region, other.region) for other in kept):
            kept.append(detection)
    return kept


def _near(a: Region, b: Region) -> bool:
    side = min(a.side, b.side)
    return bool(np.hypot(a.x - b.x, a.y - b.y) < 0.1 * side and max(a.side, b.side) < 1.5 * side)


def _closer(candidate: Detection, detect: Detect) -> Detection | None:
    """The candidate as the detector sees it at the zoom that suits it best."""
    if candidate.score >= _CERTAIN:
        return candidate
    region = candidate.region
    corner = np.array([region.x - region.side / 2, region.y - region.side / 2, region.side])
    for found in detect(corner, _CANDIDATE):
        other = found.region
        if np.hypot(other.x - region.x, other.y - region.y) < 0.2 * region.side:
            return replace(found, score=max(found.score, candidate.score))
    return None


def _distance(a: Landmarks, b: Landmarks) -> float:
    """The median distance of the bodies' landmarks, in shares of the smaller region's side."""
    apart = np.linalg.norm(a.xy[_BODY] - b.xy[_BODY], axis=-1)
    return float(np.median(apart)) / min(a.region.side, b.region.side)


def _same(a: Landmarks, b: Landmarks) -> bool:
    return _distance(a, b) < _SAME
