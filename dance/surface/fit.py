"""A 3-D body fitted to the poses of a clip: its shape once, its stance in every picture.

Least squares over all pictures at once, solved by Gauss and Newton's method with the bones' own derivatives: joints
where they are seen (robust, by their scores), bones pointing where the estimator's metric landmarks say, joints bent
as people's are, even motion within a scene, standing feet that do not slide; for the shape the outlines of mattes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dance import skeleton as sk
from dance.config import Options
from dance.surface import _evidence as evidence
from dance.surface import _outline as outline
from dance.surface import _prior as prior
from dance.surface import body as bodies
from dance.surface._chain import (
    COUNT,
    Build,
    Frames,
    around,
    build,
    by_shape,
    jacobian,
    pose,
    shaped,
    slopes,
)
from dance.surface._evidence import BODY, MEASURED, Evidence
from dance.surface._normal import Normal
from dance.surface._start import agreed, place, start
from dance.surface.body import BONES, Body
from dance.types import Array, Camera, InputError, Physique, Stance, Track

Report = Callable[[str], None]
Stands = Sequence[tuple[int, str, tuple[float, float, float]]]
Outlined = Callable[[Normal, Frames], None]

# Rounds of finding the shape: how far clothes may stand off, in usual distances, before they count less.
_PLAIN: tuple[float, ...] = (4.0,) * 8
_OUTLINED: tuple[float, ...] = (8.0,) * 5 + (5.0,) * 5
_OUTLINED_LAST = (
    4  # of the last rounds of finding stances: before, bodies are not where their outlines are
)
_STUDIED = 48  # pictures that tell the shape; more tell hardly more
_PIECE = (
    600  # pictures solved at once, and how many at the ends are solved with their neighbours too
)
_OVERLAP = 15
_MIXED_UP = 0.1  # what is left of the scores of a picture whose left and right seem exchanged


class FitOptions(Options):
    """How a 3-D body is fitted.

    focal: the camera's focal length over the longer side of the picture; nobody tells, so it is guessed.
    """

    focal: float = 1.2


def fit(
    track: Track,
    options: FitOptions | None = None,
    *,
    mattes: Mapping[int, Array] | None = None,
    physique: Physique | None = None,
    on_progress: Report | None = None,
) -> tuple[Physique, list[Stance | None]]:
    """The body and how it stands in every picture; None in pictures without the person.

    mattes: (H, W) float in [0, 1] of some pictures of the track, by their numbers: their outlines shape the body.
    physique: somebody known already, of whom only the stances are looked for.
    Raises InputError where no picture has the person.
    """
    options = options or FitOptions()
    if options.focal <= 0:
        raise InputError(f"focal = {options.focal}: must be above 0, usual is 0.8 to 1.6")
    camera = physique.camera if physique else camera_of(track.size, options.focal)
    seen = evidence.look(track, camera)
    if not len(seen.numbers):
        raise InputError("no picture shows a person: a 3-D body cannot be fitted")
    tell = on_progress or (lambda line: None)
    body = bodies.load(on_progress)
    shape = np.array(bodies.AVERAGE) if physique is None else physique.shape.astype(np.float64)
    stands: Stands = evidence.stands(seen)
    made = build(body, shaped(body, shape), MEASURED, stands)
    if physique is None:
        tell(f"fitting the shape of the 3-D body to {min(_STUDIED, len(seen.numbers))} pictures")
        shape, stands = _shape(body, *_started(track, seen, made), mattes or {})
        made = build(body, shaped(body, shape), MEASURED, stands)
        physique = Physique(shape.astype(np.float32), camera, _sure_of_shape(seen))
    tell(f"fitting the 3-D body to {len(seen.numbers)} pictures")
    seen, frames = _started(track, seen, made)
    count = len(seen.numbers)
    solved = []
    for first in range(0, count, _PIECE):
        begin, end = max(first - _OVERLAP, 0), min(first + _PIECE + _OVERLAP, count)
        piece = seen.stretch(begin, end)
        outlined = _outlined(body, shape, piece, mattes or {})
        found = _solved(piece, frames[begin:end], made, _SCHEDULE, outlined)
        solved.append(found[first - begin : first - begin + _PIECE])
        if count > _PIECE:
            tell(f"fitted the 3-D body to {min(first + _PIECE, count)} of {count} pictures")
    return physique, _stances(len(track), seen, Frames.joined(solved), made)


def camera_of(size: tuple[int, int], focal: float) -> Camera:
    """The camera of pictures of a size: focal times the longer side, its axis through the middle."""
    height, width = size
    return Camera(focal * max(size), ((width - 1) / 2, (height - 1) / 2))


# Steps of the solution: how many times its spread an error may be, and how much steps are held back.
_SCHEDULE: tuple[tuple[float, float], ...] = (
    *((12.0, 30.0),) * 4, *((6.0, 5.0),) * 4, *((4.0, 1.0),) * 8
)  # fmt: skip


def _started(track: Track, seen: Evidence, made: Build) -> tuple[Evidence, Frames]:
    """A first guess, and the evidence less what of it is mixed up."""
    poses = [track.poses[i] for i in seen.numbers]
    world = None
    if all(p.world is not None for p in poses):
        world = np.stack([p.world for p in poses if p.world is not None])
    frames = start(world, np.stack([p.xy for p in poses]), np.stack([p.score for p in poses]))
    gap = np.where(np.isfinite(seen.gap), seen.gap, 1e3)
    frames, odd = agreed(frames, np.concatenate([[0.0], np.cumsum(gap)]))
    seen = replace(seen, score=np.where(odd[:, None], _MIXED_UP * seen.score, seen.score))
    return seen, place(frames, made, seen.rays, seen.score, usual=3.5)


def _solved(
    seen: Evidence,
    frames: Frames,
    made: Build,
    schedule: tuple[tuple[float, float], ...],
    outlined: Outlined | None = None,
) -> Frames:
    for step, (robust, damping) in enumerate(schedule):
        posed = pose(frames, made)
        slope = jacobian(posed, made)
        normal = Normal.empty(len(frames.root), COUNT)
        evidence.add_points(normal, seen, posed, slope, robust)
        evidence.add_directions(normal, seen, posed, slope)
        evidence.add_balance(normal, posed, slope)
        evidence.add_motion(normal, seen, frames, posed, slope)
        prior.add_pose(normal, frames, photo=len(seen.numbers) == 1)
        if outlined is not None and step >= len(schedule) - _OUTLINED_LAST:
            outlined(normal, frames)
        frames = frames.moved(_bounded(normal.solve(np.full(COUNT, damping))))
    return frames


def _outlined(body: Body, shape: Array, seen: Evidence, mattes: Mapping[int, Array]) -> Outlined:
    """Adds what outlines say of the pictures that have mattes, the shape being settled."""
    rows = [row for row, number in enumerate(seen.numbers) if int(number) in mattes]

    def add(normal: Normal, frames: Frames) -> None:
        for row in rows:
            matte = mattes[int(seen.numbers[row])]
            found = outline.pull(body, shape, frames[row : row + 1], seen.camera, matte, robust=3.0)
            if found is not None:
                found.add(normal, row)

    return add


def _bounded(step: Array) -> Array:
    """No bone turns by more than half a radian at once, nobody jumps by more than a metre."""
    largest = np.maximum(
        np.abs(step[:, 3:]).max(1) / 0.5, np.linalg.norm(step[:, :3], axis=1) / 1.0
    )
    return np.asarray(step / np.maximum(largest, 1.0)[:, None])


def _shape(
    body: Body, seen: Evidence, frames: Frames, mattes: Mapping[int, Array]
) -> tuple[Array, Stands]:
    """The shape that suits pictures picked evenly, each for itself, and their outlines.

    With outlines also where this person's landmarks stand from the joints.
    """
    rows = _picked(seen, mattes)
    seen, frames = seen[rows], frames[rows]
    outlined = [row for row, number in enumerate(seen.numbers) if int(number) in mattes]
    average = np.array(bodies.AVERAGE)
    spread = prior.spread(outlined=bool(outlined))
    shape = average.copy()
    stands: Stands = evidence.stands(seen)
    frames = _solved(
        seen, frames, build(body, shaped(body, shape), MEASURED, stands), _SCHEDULE[:10]
    )
    rounds = _OUTLINED if outlined else _PLAIN
    for robust in rounds:
        near = around(body, shape)
        made = build(body, shaped(body, shape), MEASURED, stands)
        slope = slopes(near, lambda of: build(body, of, MEASURED, stands))
        posed = pose(frames, made)
        moved = jacobian(posed, made)
        normal = Normal.empty(len(frames.root), COUNT)
        residual, scale = evidence.add_points(normal, seen, posed, moved, 4.0)
        evidence.add_directions(normal, seen, posed, moved)
        evidence.add_balance(normal, posed, moved)
        prior.add_pose(normal, frames, photo=len(seen.numbers) == 1)
        count = len(rows)
        weight = scale[..., None]
        with_shape = (evidence.project_slope(posed, by_shape(posed, made, slope)) * weight).reshape(
            count, -1, len(shape)
        )
        with_pose = (evidence.project_slope(posed, moved) * weight).reshape(count, -1, COUNT)
        cross = with_pose.transpose(0, 2, 1) @ with_shape
        own = np.einsum("tns,tnk->sk", with_shape, with_shape) / _alike(count)
        pull = -np.einsum("tns,tn->s", with_shape, residual.reshape(count, -1)) / _alike(count)
        own += np.diag(1 / spread**2)
        pull -= (shape - average) / spread**2
        for row in outlined:
            matte = mattes[int(seen.numbers[row])]
            found = outline.pull(
                body, shape, frames[row : row + 1], seen.camera, matte, robust=robust, near=near
            )
            if found is None:
                continue
            found.add(normal, row)
            cross[row] += found.by_pose.T @ found.by_shape
            own += found.by_shape.T @ found.by_shape / _alike(count)
            pull -= found.by_shape.T @ found.residual / _alike(count)
        blocks = normal.own + np.eye(COUNT)
        through = np.linalg.solve(blocks, np.concatenate([cross, normal.pull[..., None]], 2))
        own -= np.einsum("tds,tdk->sk", cross, through[..., :-1]) / _alike(count)
        pull -= np.einsum("tds,td->s", cross, through[..., -1]) / _alike(count)
        step = np.linalg.solve(own, pull).clip(-0.15, 0.15)
        shape = prior.within(shape + step)
        frames = frames.moved(_bounded(through[..., -1] - through[..., :-1] @ step))
    if outlined:
        rows = np.array(outlined)
        made = build(body, shaped(body, shape), MEASURED, stands)
        stands = evidence.own_stands(seen[rows], pose(frames[rows], made), stands)
    return shape, stands


def _alike(count: int) -> float:
    """Neighbouring pictures err alike: many pictures tell no more than a few."""
    return max(1.0, count / 12)


def _picked(seen: Evidence, mattes: Mapping[int, Array]) -> Array:
    """Rows of pictures to study: those with mattes, and the best seen of even stretches of the clip."""
    quality = seen.score[:, :BODY].mean(1)
    pieces = np.array_split(np.arange(len(quality)), min(_STUDIED, len(quality)))
    rows = {int(piece[quality[piece].argmax()]) for piece in pieces}
    return np.array(
        sorted(rows | set(np.flatnonzero(np.isin(seen.numbers, list(mattes))).tolist()))
    )


def _sure_of_shape(seen: Evidence) -> float:
    """How much of the body is seen, at its best, in [0, 1]."""
    return float(np.quantile(seen.score[:, :BODY], 0.9, axis=0).mean().clip(0, 1))


def _stances(count: int, seen: Evidence, frames: Frames, made: Build) -> list[Stance | None]:
    turns = frames.turns.astype(np.float32)
    roots = frames.root.astype(np.float32)
    sure = _sure(seen, frames, made)
    out: list[Stance | None] = [None] * count
    for row, number in enumerate(seen.numbers):
        out[number] = Stance(turns[row], roots[row], sure[row])
    return out


def _sure(seen: Evidence, frames: Frames, made: Build) -> Array:
    """How well each bone is seen, (N, B) in [0, 1]: what is known of the joints it turns, where they fit."""
    error, score = evidence.point_errors(seen, pose(frames, made))
    fits = score / (1 + (np.linalg.norm(error, axis=2) / 4.0) ** 2)
    out = np.zeros((len(fits), len(BONES)), np.float32)
    for b, joints in enumerate(_TOLD_BY):
        out[:, b] = fits[:, joints].min(1) if joints else 0.0
    return out


def _told_by() -> list[list[int]]:
    """For each bone those of the measured joints that tell where it is and how it is turned."""
    trunk = [sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.LEFT_HIP, sk.RIGHT_HIP]
    out: list[list[int]] = []
    for name in BONES:
        side, _, bone = name.partition("_")
        if name in ("pelvis", "spine", "chest", "upper_chest"):
            out.append(trunk)
            continue
        if name in ("neck", "head"):
            out.append([sk.NOSE, sk.LEFT_EYE, sk.RIGHT_EYE])
            continue
        shoulder, hip = sk.INDEX[f"{side}_shoulder"], sk.INDEX[f"{side}_hip"]
        foot = [sk.INDEX[f"{side}_heel"], sk.INDEX[f"{side}_big_toe"]]
        chains = {
            "clavicle": [shoulder], "upper_arm": [shoulder, shoulder + 2],
            "forearm": [shoulder + 2, shoulder + 4],
            "hand": [shoulder + 4, MEASURED.index(sk.INDEX[f"{side}_index_1"])],
            "fingers": [],
            "thigh": [hip, hip + 2], "shin": [hip + 2, hip + 4], "foot": foot, "toes": [],
        }  # fmt: skip
        out.append(chains[bone])
    return out


_TOLD_BY = _told_by()
