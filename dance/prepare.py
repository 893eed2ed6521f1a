"""From a video of a person to the dataset they are learnt from (see `dataset` for what is in it).

Every product is written aside and renamed when it is whole; what a stopped run has finished is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from pydantic import Field

from dance import draw, person_files, picture, video, weights
from dance import skeleton as sk
from dance.config import Options, Plugin
from dance.dataset import (
    FACTS,
    MARKS,
    MATTES,
    PERSON,
    PICTURES,
    TRACK,
    VERSION,
    Facts,
    read_facts,
    write_facts,
    write_marks,
)
from dance.geometry import even, fit_inside, reach, torso_middle
from dance.matte import coarse, matte, torso_length
from dance.matte.masks import Segment
from dance.matte.refine import guided
from dance.networks import Network
from dance.person import PersonOptions, direction, study, with_mask
from dance.pipeline import SourceOptions, build_estimator
from dance.pose import follow, smooth, tracks
from dance.pose.follow import FollowOptions
from dance.pose.smooth import SmoothOptions
from dance.stream import ordered_map, prefetch
from dance.types import (
    Array,
    Estimator,
    Frame,
    InputError,
    Moment,
    Pose,
    Size,
    Track,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_STARTED = "preparing.json"
_SHEET = "sheet.png"
_TORSO = [sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.LEFT_HIP, sk.RIGHT_HIP]
_FACE = [sk.NOSE, sk.LEFT_EYE, sk.RIGHT_EYE]


class Limits(Options):
    """What a video must have to be of use.

    seconds, frames: at least so long.  cuts: at most so many.  seen: the share of its frames with the person.
    torso: their torso must be so many pixels long at the size of the dataset.
    """

    seconds: float = Field(3.0, gt=0)
    frames: int = Field(60, ge=4)
    cuts: int = Field(2, ge=0)
    seen: float = Field(0.5, ge=0, le=1)
    torso: float = Field(24.0, ge=1)


class PrepareConfig(Options):
    """How a dataset is made.

    longest: the pictures' longer side has at most this many pixels.  height: exactly this height instead.
    matte: "quick" is a few tens of milliseconds a frame; "fine" is what a photo gets, ten times slower.
    crf: how well the pictures are kept, lower is better and larger.
    """

    estimator: Plugin = Plugin(name="blazepose")
    follow: FollowOptions = FollowOptions()
    smooth: SmoothOptions = SmoothOptions()
    source: SourceOptions = SourceOptions()
    person: PersonOptions = PersonOptions()
    limits: Limits = Limits()
    longest: int = Field(1024, ge=64, le=4096)
    height: int | None = Field(None, ge=64, le=4096)
    matte: Literal["quick", "fine"] = "quick"
    crf: int = Field(8, ge=0, le=30)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass is: `done` frames of about `total` (None where the file does not say)."""

    stage: str
    done: int
    total: int | None


OnProgress = Callable[[Progress], None]


def prepare_person(
    config: PrepareConfig,
    source: Path,
    folder: Path,
    *,
    segment: Segment | None = None,
    on_progress: OnProgress | None = None,
) -> Facts:
    """Makes the dataset of the person in the video, or finishes the one in the folder; returns its facts.

    segment: the person segmentation network, by default the selfie one. Raises InputError for a video nothing
    can be learnt from, saying why, and for a folder that was prepared from another video or with other settings.
    """
    if segment is None:
        with Network(weights.mediapipe("selfie_segmentation.tflite"), workers=2) as network:
            found = partial(_segment, network)
            return prepare_person(config, source, folder, segment=found, on_progress=on_progress)
    told = on_progress or (lambda progress: None)
    if not source.exists():
        raise InputError(f"{source}: there is no such file")
    if picture.is_picture(source):
        raise InputError(f"{source}: is a photo; a person is learnt from a video of them")
    info = video.probe(source)
    if info.frames is not None:
        # Before anything is made; what the file does not say is seen once its poses are read.
        _require_long_enough(source, info.frames, float(info.duration), config.limits)
    digest = weights.sha256(source)
    settings = config.model_dump(mode="json")
    if _begun(folder, source, digest, settings):
        return read_facts(folder)
    size = _size(info.size, config)

    pictures = _pictures(config, source, info, size, folder, told)
    track = _track(config, pictures, size, folder, told)
    require_usable(source, track, config.limits)
    with closing(build_estimator(config.estimator, "cpu", thorough=True)) as estimator:
        _person(config, pictures, track, estimator, segment, folder, told)
        mattes = _mattes(config, pictures, track, estimator, segment, folder, told)
    usable, faces = marks(track, video.read(mattes))
    if usable.sum() < config.limits.frames:
        raise InputError(
            f"{source}: the person is seen well in only {usable.sum()} of its {len(track)} frames; "
            f"at least {config.limits.frames} are needed"
        )
    write_marks(folder / MARKS, usable, faces)
    _sheet(pictures, mattes, track, usable, faces, folder / _SHEET)
    known = [pose for pose, use in zip(track.poses, usable, strict=True) if use]
    facts = Facts(
        source.name, digest, len(track), int(usable.sum()), size, reach(known, size), settings
    )
    write_facts(folder, facts)
    (folder / _STARTED).unlink(missing_ok=True)
    return facts


def require_usable(source: Path, track: Track, limits: Limits) -> None:
    """Raises InputError where a clip's poses say that nobody can be learnt from it."""
    follow.require_found(track, source)
    _require_long_enough(source, len(track), float(track.times[-1] - track.times[0]), limits)
    cuts = len(track.cuts - {0})
    if cuts > limits.cuts:
        raise InputError(
            f"{source}: has {cuts} cuts, at most {limits.cuts} will do; give one uncut take of the person"
        )
    found = sum(pose.found for pose in track.poses) / len(track)
    if found < limits.seen:
        raise InputError(
            f"{source}: the person is seen in {found:.0%} of the frames; "
            f"at least {limits.seen:.0%} are needed"
        )
    torso = float(np.median([torso_length(pose) for pose in track.poses if pose.found]))
    if torso < limits.torso:
        raise InputError(
            f"{source}: the person is too small, their torso is {torso:.0f} pixels of "
            f"{track.size[0]} high pictures; {limits.torso:.0f} are needed: film closer or crop"
        )


def _require_long_enough(source: Path, frames: int, seconds: float, limits: Limits) -> None:
    if frames < limits.frames or seconds < limits.seconds:
        raise InputError(
            f"{source}: is too short, {frames} frames in {seconds:.1f} s; at least {limits.frames} "
            f"frames and {limits.seconds:g} s are needed, a minute or more is good"
        )


def marks(track: Track, mattes: Iterable[Frame]) -> tuple[Array, Array]:
    """Which frames may be learnt from, (T,) bool, and where the face is, (T, 4) float32 pixels.

    mattes: the grey pictures, one per pose. A frame is left out where the torso is not seen or outside
    the picture, where the person jumps or has another size than usual, and where matte and pose disagree.
    A face is where nose and eyes are seen and turned to the camera; else its box is not a number.
    """
    height, width = track.size
    units = [torso_length(pose) if pose.found else np.nan for pose in track.poses]
    usual = float(np.nanmedian(units))
    usable = np.zeros(len(track), bool)
    areas = np.zeros(len(track))
    faces = np.full((len(track), 4), np.nan, np.float32)
    before: Array | None = None
    for i, (pose, frame) in enumerate(zip(track.poses, mattes, strict=True)):
        if not pose.found or min(pose.score[_TORSO]) < 0.3:
            before = None
            continue
        middle = torso_middle(pose)
        jumped = (
            before is not None
            and i not in track.cuts
            and float(np.linalg.norm(middle - before)) > 0.6 * usual
        )
        before = middle
        alpha = frame.rgb[..., 1]
        inside = (middle >= 0).all() and middle[0] < width and middle[1] < height
        columns, rows = np.clip(np.round(pose.xy[_TORSO]), 0, (width - 1, height - 1)).T.astype(int)
        agrees = (alpha[rows, columns] > 127).sum() >= 3
        areas[i] = (alpha > 127).sum()
        usable[i] = inside and agrees and not jumped and 0.5 < units[i] / usual < 2
        if min(pose.score[_FACE]) > 0.5 and direction(pose, units[i])[0] > -0.3:
            x, y = pose.xy[sk.NOSE]
            half = 0.3 * usual
            faces[i] = x - half, y - half, x + half, y + half
    if usable.any():
        share = areas / np.median(areas[usable])
        usable &= (share > 0.3) & (share < 3)
    return usable, faces


def quick_matte(frame: Frame, pose: Pose, *, segment: Segment, side: int = 512) -> Array:
    """The matte (H, W) float32 in a few tens of milliseconds, its edges drawn to the picture's.

    It is made at `side` pixels of the longer side, where the networks already know all they do.
    """
    size = frame.size
    small = fit_inside(size, side)
    if small != size:
        factor = np.array([small[1] / size[1], small[0] / size[0]], np.float32)
        mask = None if pose.mask is None else cv2.resize(pose.mask, small[::-1])
        pose = Pose(pose.xy * factor, pose.score, mask=mask)
        rgb = cv2.resize(frame.rgb, small[::-1], interpolation=cv2.INTER_AREA)
        frame = Frame(np.asarray(rgb), frame.time, frame.index)
    alpha = coarse(frame, pose, segment=segment)
    sure = (2 * alpha - 1) ** 2 + np.float32(0.02)
    alpha = guided(frame.rgb.astype(np.float32) / 255, alpha, sure, radius=4, eps=1e-4)
    # What is nearly certain is certain: a veil of a few levels over the whole wall would be learnt.
    alpha = np.clip((alpha - 0.08) / 0.84, 0, 1)
    return np.asarray(cv2.resize(alpha, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _begun(folder: Path, source: Path, digest: str, settings: dict[str, Any]) -> bool:
    """Whether the dataset is whole already; else the folder is there and says what it is to become."""
    wanted = {"version": VERSION, "sha256": digest, "settings": settings}
    whole = (folder / FACTS).is_file()
    started = folder / _STARTED
    if whole:
        facts = read_facts(folder)
        _require_same(folder, {"version": facts.version, "sha256": facts.sha256, "settings": facts.settings}, wanted)  # fmt: skip
        return True
    if started.is_file():
        try:
            found = json.loads(started.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{started}: is not readable ({error}); remove {folder}") from error
        _require_same(folder, found, wanted)
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is no dataset; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{_STARTED}.part"
    aside.write_text(json.dumps(wanted | {"source": source.name}, indent=2), encoding="utf-8")
    aside.replace(started)
    return False


def _require_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if found.get("sha256") != wanted["sha256"]:
        raise InputError(f"{folder}: was made from another video; name a new folder")
    if found.get("version") != wanted["version"]:
        raise InputError(
            f"{folder}: was made by another version of this program; name a new folder"
        )
    then, now = found.get("settings", {}), wanted["settings"]
    # Limits refuse; they change nothing of what is made.
    then, now = ({k: v for k, v in each.items() if k != "limits"} for each in (then, now))
    other = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    if other:
        raise InputError(
            f"{folder}: was made with other settings ({', '.join(other)}); name a new folder"
        )


def _size(shown: Size, config: PrepareConfig) -> Size:
    height, width = shown
    if config.height is not None:
        return even(config.height), even(round(width * config.height / height))
    return fit_inside(shown, config.longest)


def _pictures(
    config: PrepareConfig,
    source: Path,
    info: video.VideoInfo,
    size: Size,
    folder: Path,
    told: OnProgress,
) -> Path:
    path = folder / PICTURES
    if not path.exists():
        with closing(prefetch(video.read(source, size=size))) as frames:
            watched = _told(frames, "keeping its pictures", info.frames, told)
            video.write(watched, path, encoding=_encoding(config.crf), end=info.end)
    return path


def _encoding(crf: int) -> video.Encoding:
    # A short distance between key frames: training jumps about in the file.
    return video.Encoding(codec="h264", crf=crf, preset="veryfast", keyframes=4)


def _track(
    config: PrepareConfig, pictures: Path, size: Size, folder: Path, told: OnProgress
) -> Track:
    path = folder / TRACK
    if path.exists():
        return tracks.load(path)
    options = config.follow.model_copy(update={"person": config.source.person})
    with (
        closing(build_estimator(config.estimator, "cpu", thorough=True)) as estimator,
        closing(prefetch(video.read(pictures))) as frames,
    ):
        watched = _told(frames, "reading the poses", video.probe(pictures).frames, told)
        moments = _light(follow.follow(watched, estimator, options))
        track = Track.gather(smooth.smooth(moments, config.smooth), size)
    tracks.save(track, path)
    return track


def _light(moments: Iterable[Moment]) -> Iterator[Moment]:
    """The same without person masks, which would fill the memory while all poses are gathered."""
    for moment in moments:
        pose = moment.pose
        if pose.mask is not None:
            pose = Pose(pose.xy, pose.score, pose.depth, pose.world, pose.region)
        yield Moment(pose, moment.time, moment.cut)


def _person(
    config: PrepareConfig,
    pictures: Path,
    track: Track,
    estimator: Estimator,
    segment: Segment,
    folder: Path,
    told: OnProgress,
) -> None:
    if (folder / PERSON).exists():
        return

    def read() -> Iterator[Frame]:
        return _told(video.read(pictures), "studying the person", len(track), told)

    person = study(read, track, config.person, estimator=estimator, segment=segment)
    person_files.save(person, folder / PERSON)


def _mattes(
    config: PrepareConfig,
    pictures: Path,
    track: Track,
    estimator: Estimator,
    segment: Segment,
    folder: Path,
    told: OnProgress,
) -> Path:
    path = folder / MATTES
    if path.exists():
        return path
    work = partial(_grey_matte, estimator, segment, fine=config.matte == "fine")
    with (
        closing(prefetch(video.read(pictures))) as frames,
        closing(ordered_map(work, zip(frames, track.poses, strict=True), workers=2)) as greys,
    ):
        watched = _told(greys, "cutting the person out", len(track), told)
        video.write(watched, path, encoding=_encoding(8))
    return path


def _grey_matte(
    estimator: Estimator, segment: Segment, seen: tuple[Frame, Pose], *, fine: bool
) -> Frame:
    frame, pose = seen
    masked = with_mask(frame, pose, estimator)
    cut_out = matte if fine else quick_matte
    alpha = cut_out(frame, masked, segment=segment) if pose.found else np.zeros(frame.size)
    grey = np.round(alpha * 255).astype(np.uint8)
    return Frame(np.repeat(grey[..., None], 3, -1), frame.time, frame.index)


def _segment(network: Network, rgb: Array) -> Array:
    return network(rgb[None].astype(np.float32) / 255)[0][0, ..., 0]


def _sheet(
    pictures: Path, mattes: Path, track: Track, usable: Array, faces: Array, path: Path
) -> None:
    """A contact sheet of what was found: the person on grey with sticks and face; left-out frames are red."""
    chosen = sorted({round(i) for i in np.linspace(0, len(track) - 1, 12)})
    shown = []
    for i, frame, grey in zip(
        chosen, video.pick(pictures, chosen), video.pick(mattes, chosen), strict=True
    ):
        alpha = grey.rgb[..., :1].astype(np.float32) / 255
        behind = (110, 110, 110) if usable[i] else (200, 40, 40)
        rgb = np.round(alpha * frame.rgb + (1 - alpha) * np.array(behind)).astype(np.uint8)
        rgb = draw.sticks(rgb, track.poses[i], thickness=2)
        if not np.isnan(faces[i]).any():
            ends = np.round(faces[i].reshape(2, 2)).astype(int).tolist()
            cv2.rectangle(rgb, ends[0], ends[1], (255, 255, 255), 1)
        scale = 360 / rgb.shape[0]
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        shown.append(draw.text(np.asarray(rgb), f"frame {i}"))
    half = (len(shown) + 1) // 2
    shown += [np.zeros_like(shown[0])] * (2 * half - len(shown))
    whole, coded = cv2.imencode(
        ".png", np.vstack([np.hstack(shown[:half]), np.hstack(shown[half:])])[..., ::-1]
    )
    assert whole
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(coded.tobytes())
    aside.replace(path)


def _told(
    items: Iterable[T], stage: str, total: int | None, on_progress: OnProgress
) -> Iterator[T]:
    """The same items, telling how many have passed."""
    done = 0
    on_progress(Progress(stage, 0, total))
    for item in items:
        yield item
        done += 1
        on_progress(Progress(stage, done, total))
    on_progress(Progress(stage, done, done))
