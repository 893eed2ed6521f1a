"""Tracks as files: the project's .npz, OpenPose JSON folders and COCO JSON, in and out."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from dance.pose import _keypoint_json, _npz
from dance.pose._npz import Recording
from dance.types import Array, InputError, Pose, Region, Size, Track

log = logging.getLogger(__name__)

KINDS = ".npz, .json (COCO) or a folder (OpenPose JSON)"


def save(track: Track, path: Path) -> None:
    """Writes the track: .npz keeps everything, .json is COCO-WholeBody, a name without suffix a folder.

    It is written aside and renamed when whole; what was there before is replaced.
    """
    if path.suffix.lower() not in (".npz", ".json", ""):
        raise InputError(f"{path}: poses are saved as {KINDS}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        aside = Path(scratch) / path.name
        if path.suffix.lower() == ".npz":
            _npz.write(track, aside)
        elif path.suffix.lower() == ".json":
            _keypoint_json.write_coco(track, aside)
        else:
            _keypoint_json.write_openpose(track, aside)
        if path.is_dir():
            # A folder cannot be replaced by renaming: the old one leaves with the scratch folder.
            shutil.move(path, Path(scratch) / "old")
        aside.replace(path)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raises InputError where `save` could not write there, or would replace what may not be."""
    if path.suffix.lower() not in (".npz", ".json", ""):
        raise InputError(f"{path}: poses are saved as {KINDS}")
    if path.suffix and path.is_dir():
        raise InputError(f"{path}: is a folder; name a file, or a folder without suffix")
    if not path.suffix and path.is_file():
        raise InputError(f"{path}: is a file; a name without suffix is a folder of OpenPose JSON")
    if path.is_dir() and any(p.suffix.lower() != ".json" for p in path.iterdir()):
        raise InputError(f"{path}: holds other files than poses; name a new folder")
    if path.exists() and not overwrite and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; give another name or --overwrite")


def load(path: Path, *, times: Sequence[Fraction] | None = None, size: Size | None = None) -> Track:
    """The track in a file or folder; where there are several people in a picture, the first of them.

    times: give the poses at these times (a picture the file has no pose for shows nobody) instead of
    the file's own.  size: (height, width) to scale the coordinates to; must have the same proportions.
    Raises InputError naming the file.
    """
    recording = read(path)
    if times is None and recording.times is None:
        raise InputError(f"{path}: does not say the times of its poses; use it with its video")
    if recording.size is None and size is None:
        raise InputError(f"{path}: does not say the size of the picture; use it with its video")
    indices = match(recording, times, path) if times is not None else range(len(recording.people))
    poses = [_first(recording.people[i]) if i is not None else Pose.unseen() for i in indices]
    found: Size = recording.size or size or (0, 0)
    wanted = size or found
    if found != wanted:
        poses = [scale(pose, found, wanted, path) for pose in poses]
    cuts = frozenset(t for t, i in enumerate(indices) if i in recording.cuts)
    return Track(poses, list(times or recording.times or ()), wanted, cuts)


def _first(people: Sequence[Pose]) -> Pose:
    return people[0] if people else Pose.unseen()


def read(path: Path) -> Recording:
    """Everybody in every picture of a file or folder of poses. Raises InputError naming it."""
    if path.is_dir():
        return _keypoint_json.read_openpose(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; poses are read from {KINDS}")
    if path.suffix.lower() == ".json":
        return _keypoint_json.read_coco(path)
    if path.suffix.lower() == ".npz":
        return _npz.read(path)
    raise InputError(f"{path}: is none of the kinds of poses that can be read: {KINDS}")


def match(recording: Recording, times: Sequence[Fraction], path: Path) -> list[int | None]:
    """For each time the index of the recording's picture then, None where it has none.

    A recording that only numbers its pictures must have as many as there are times.
    """
    if recording.times is None:
        if len(recording.people) != len(times):
            raise InputError(
                f"{path}: has poses of {len(recording.people)} pictures, the video has {len(times)}"
            )
        return list(range(len(times)))
    moments = Moments(recording.times)
    indices = [moments.at(time) for time in times]
    missing = sum(i is None for i in indices)
    if missing == len(indices) > 0:
        raise InputError(f"{path}: has no pose at any time of the video; is it of another one?")
    if missing:
        log.warning("%s has no pose for %d of %d frames", path, missing, len(indices))
    return indices


class Moments:
    """Times of pictures, to be asked which picture is shown when."""

    def __init__(self, times: Sequence[Fraction]) -> None:
        self._seconds = np.array([float(t) for t in times])
        step = float(np.median(np.diff(self._seconds))) if len(times) > 1 else 0.0
        # Times may have gone through files that keep milliseconds.
        self._allowed = max(0.001, 0.49 * step)

    def at(self, time: Fraction) -> int | None:
        """The index of the picture nearest to `time`, None where that is half a frame away or more."""
        if not self._seconds.size:
            return None
        index = int(np.abs(self._seconds - float(time)).argmin())
        return index if abs(self._seconds[index] - float(time)) <= self._allowed else None


def scale(pose: Pose, size: Size, wanted: Size, path: Path) -> Pose:
    """The pose for the same picture at another size. Raises InputError where the proportions differ."""
    by: Array = np.array([wanted[1] / size[1], wanted[0] / size[0]], np.float32)
    if abs(by[0] / by[1] - 1) > 0.02:
        raise InputError(
            f"{path}: is of a {size[1]}x{size[0]} picture, which has other proportions than {wanted[1]}x{wanted[0]}"
        )
    mean = float(by.mean())
    region = pose.region
    return Pose(
        # Pixels are counted from the middle of the first one, hence the halves.
        ((pose.xy + 0.5) * by - 0.5).astype(np.float32),
        pose.score,
        None if pose.depth is None else (pose.depth * mean).astype(np.float32),
        pose.world,
        None
        if region is None
        else Region(
            float((region.x + 0.5) * by[0] - 0.5),
            float((region.y + 0.5) * by[1] - 0.5),
            region.side * mean,
            region.angle,
        ),
        # Metres before a camera whose focal length grows with the picture.
        stance=pose.stance,
    )
