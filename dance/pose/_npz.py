"""Poses of a clip in one NumPy archive, the project's own format: exact, and easy to edit."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from dance.types import JOINTS, Array, InputError, Pose, Region, Size, Stance, Track


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file of poses holds.

    people: for each picture everybody in it.  times: theirs, or None where the file only numbers them.
    size: (height, width) the coordinates refer to, or None where the file does not say.
    """

    people: list[list[Pose]]
    times: list[Fraction] | None
    size: Size | None
    cuts: frozenset[int] = field(default_factory=frozenset)


def write(track: Track, path: Path) -> None:
    """Writes xy, score, times (seconds), size and whatever else the track has."""
    values: dict[str, Array] = {
        "xy": track.xy.astype(np.float32),
        "score": track.score.astype(np.float32),
        "times": np.array([float(t) for t in track.times], np.float64),
        # Seconds as binary numbers are not exact; these are.
        "times_exact": np.array([[t.numerator, t.denominator] for t in track.times], np.int64),
        "size": np.array(track.size, np.int64),
        "cuts": np.array(sorted(track.cuts), np.int64),
    }
    depths = [pose.depth for pose in track.poses]
    worlds = [pose.world for pose in track.poses]
    if any(depth is not None for depth in depths):
        unknown = np.full(JOINTS, np.nan, np.float32)
        values["depth"] = np.stack([unknown if d is None else d for d in depths])
    if any(world is not None for world in worlds):
        nowhere = np.full((JOINTS, 3), np.nan, np.float32)
        values["world"] = np.stack([nowhere if w is None else w for w in worlds])
    if any(pose.region is not None for pose in track.poses):
        values["region"] = np.stack([_from_region(pose.region) for pose in track.poses])
    values |= _from_stances([pose.stance for pose in track.poses])
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **values)


def _from_region(region: Region | None) -> Array:
    if region is None:
        return np.full(4, np.nan)
    return np.array([region.x, region.y, region.side, region.angle])


def _from_stances(stances: Sequence[Stance | None]) -> dict[str, Array]:
    """stance_turns, stance_root and stance_sure as `Stance` has them, a frame each; not a number where there is none."""
    shown = next((stance for stance in stances if stance is not None), None)
    if shown is None:
        return {}
    nothing = Stance(*(np.full_like(part, np.nan) for part in _parts(shown)))
    whole = zip(*(_parts(stance or nothing) for stance in stances), strict=True)
    return {key: np.stack(parts) for key, parts in zip(_STANCE, whole, strict=True)}


def _parts(stance: Stance) -> tuple[Array, Array, Array]:
    return stance.turns, stance.root, stance.sure


_STANCE = ("stance_turns", "stance_root", "stance_sure")


def read(path: Path) -> Recording:
    """The poses of such a file; it needs xy, score, times and size. Raises InputError naming the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise InputError(
            f"{path}: is no whole .npz file of numbers ({error}); give one written by --save-poses"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    for key in ("xy", "score", "times", "size"):
        if key not in values:
            raise InputError(f"{path}: lacks {key!r}; xy, score, times and size are needed")
    count = len(values["xy"])
    wanted: dict[str, tuple[int, ...]] = {
        "xy": (count, JOINTS, 2), "score": (count, JOINTS), "times": (count,), "size": (2,),
        "depth": (count, JOINTS), "world": (count, JOINTS, 3), "region": (count, 4),
    }  # fmt: skip
    if _STANCE[0] in values:
        for key in _STANCE:
            if key not in values:
                raise InputError(f"{path}: lacks {key!r}, which belongs to {_STANCE[0]!r}")
        bones = values["stance_sure"].shape[-1] if values["stance_sure"].ndim == 2 else 0
        wanted |= dict(zip(_STANCE, ((count, bones, 3), (count, 3), (count, bones)), strict=True))
    for key, shape in wanted.items():
        if key in values and (values[key].shape != shape or values[key].dtype.kind not in "iuf"):
            found = f"{values[key].shape} {values[key].dtype}"
            raise InputError(f"{path}: {key} is {found}, expected numbers of shape {shape}")
    return Recording(
        [[pose] for pose in _poses(path, values)],
        _times(path, values),
        (int(values["size"][0]), int(values["size"][1])),
        frozenset(int(i) for i in values.get("cuts", np.zeros(0)).ravel()),
    )


def _poses(path: Path, values: dict[str, Array]) -> list[Pose]:
    xy, score = values["xy"].astype(np.float32), values["score"].astype(np.float32)
    # A joint somebody has cleared (not a number) is a joint that is not seen.
    score = np.where(np.isfinite(xy).all(-1) & np.isfinite(score), score, 0)
    if score.size and (score.min() < 0 or score.max() > 1):
        raise InputError(f"{path}: score must lie in [0, 1], got {score.min()} to {score.max()}")
    poses = []
    for t in range(len(xy)):
        depth, world, region = (
            values[key][t].astype(np.float32)
            if key in values
            and np.isfinite(
                values[key][t][score[t] > 0] if key != "region" else values[key][t]
            ).all()
            else None
            for key in ("depth", "world", "region")
        )
        poses.append(
            Pose(
                np.where(score[t][:, None] > 0, xy[t], np.nan_to_num(xy[t])),
                score[t],
                depth,
                world,
                None if region is None else Region(*map(float, region)),
                stance=_stance(values, t),
            )
        )
    return poses


def _stance(values: dict[str, Array], t: int) -> Stance | None:
    if _STANCE[0] not in values:
        return None
    turns, root, sure = (values[key][t].astype(np.float32) for key in _STANCE)
    whole = all(np.isfinite(part).all() for part in (turns, root, sure))
    return Stance(turns, root, np.clip(sure, 0, 1)) if whole else None


def _times(path: Path, values: dict[str, Array]) -> list[Fraction]:
    seconds = values["times"].astype(np.float64)
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise InputError(f"{path}: times must be seconds that rise from frame to frame")
    exact = values.get("times_exact")
    if exact is not None and exact.shape == (len(seconds), 2) and (exact[:, 1:] > 0).all():
        fractions = [Fraction(int(n), int(d)) for n, d in exact]
        # Where somebody has edited the seconds, the seconds count.
        if np.allclose([float(t) for t in fractions], seconds, rtol=0, atol=1e-6):
            return fractions
    return [Fraction(t).limit_denominator(1_000_000) for t in seconds]
