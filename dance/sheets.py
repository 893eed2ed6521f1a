"""Sheets to look at: sticks before anything is rendered, the result beside its driver, pictures in rows."""

from __future__ import annotations

import logging
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np

from dance import draw, video
from dance.geometry import even
from dance.types import Array, Frame, InputError, Person, Pose, Size, Track

log = logging.getLogger(__name__)

_HIGHEST, _WIDEST = 720, 1920  # a sheet is at most this large
_PANELS = video.Encoding(crf=14, preset="ultrafast")  # encoded once more, so nearly without loss


def preview(
    driver: Path,
    person: Person,
    track: Track,
    output: Path,
    *,
    driver_track: Track | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the driver, with its sticks where `driver_track` gives them, beside the retargeted sticks over the source.

    Same frames, times and sound as the driver. Raises InputError as `video.write` does.
    """
    view = person.views[0].frame.rgb
    # The person where they stand in the source, faint behind the sticks that will move them.
    ground = cv2.addWeighted(person.plate, 0.5, view, 0.5, 0)

    def drawn() -> Iterator[Frame]:
        for i, (frame, moment) in enumerate(zip(video.read(driver), track, strict=False)):
            left, words = frame.rgb, "driver"
            if driver_track is not None:
                left = draw.sticks(left, driver_track.poses[i])
            right = draw.sticks(ground, moment.pose)
            if not moment.pose.found:
                words = "driver: nobody seen"
            height = _common_height([left.shape[:2], right.shape[:2]])
            panels = [_panel(left, height, words), _panel(right, height, "retargeted")]
            yield Frame(np.hstack(panels), frame.time, i)

    sound = driver if video.probe(driver).has_sound else None
    video.write(drawn(), output, sound=sound, overwrite=overwrite)


def compare(
    driver: Path,
    track: Track,
    result: Path,
    output: Path,
    *,
    labels: tuple[str, str, str] = ("driver", "skeleton", "result"),
    overwrite: bool = False,
) -> None:
    """Writes driver | skeleton | result side by side, with labels, at the result's times and with its sound.

    track: the poses the result was drawn from.  output: mp4, m4v, mov or mkv; it appears whole or not at all.
    Raises InputError where a file cannot be read or written.
    """
    video.check_output(output, video.Encoding(), overwrite=overwrite)
    info = video.probe(result)
    sizes = (video.probe(driver).size, track.size, info.size)
    height = _common_height(sizes)
    name = f".{output.stem[:100]}.{secrets.token_hex(4)}"
    panels = output.with_name(f"{name}.panels.mp4")
    aside = output.with_name(f"{name}.part{output.suffix}")
    try:
        video.write(_driver_and_skeleton(driver, track, height), panels, encoding=_PANELS)
        widths = [_width(size, height) for size in sizes]
        left = widths[0] + widths[1]
        strip = _labels((height, sum(widths)), (0, widths[0], left), labels)
        _join(panels, result, strip, aside, left=left, size=(height, widths[2]), info=info)
        aside.replace(output)
    finally:
        panels.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)


def contact_sheet(
    pictures: Sequence[Array],
    columns: int,
    *,
    width: int = 240,
    labels: Sequence[str] | None = None,
) -> Array:
    """Pictures (H, W, 3), each made `width` wide, in rows of `columns` on grey; a row is as high as its highest."""
    assert pictures and columns > 0 and (labels is None or len(labels) == len(pictures))
    cells = []
    for i, picture in enumerate(pictures):
        cell = _scaled(picture, (max(1, round(picture.shape[0] * width / picture.shape[1])), width))
        cells.append(cell if labels is None else draw.text(cell, labels[i]))
    rows = []
    for first in range(0, len(cells), columns):
        row = cells[first : first + columns]
        sheet = np.full((max(c.shape[0] for c in row), columns * width, 3), 128, np.uint8)
        for i, cell in enumerate(row):
            sheet[: cell.shape[0], i * width : (i + 1) * width] = cell
        rows.append(sheet)
    return np.vstack(rows)


def _driver_and_skeleton(driver: Path, track: Track, height: int) -> Iterator[Frame]:
    """The driver's picture beside the track's sticks on black, at the driver's times."""
    scale = height / track.size[0]
    black = np.zeros((height, _width(track.size, height), 3), np.uint8)
    for i, (frame, pose) in enumerate(zip(video.read(driver), track.poses, strict=False)):
        sticks = draw.sticks(black, Pose(pose.xy * scale, pose.score, pose.depth))
        yield Frame(np.hstack([_panel(frame.rgb, height), sticks]), frame.time, i)


def _common_height(sizes: Sequence[Size]) -> int:
    """The even height at which pictures of these (height, width) make no larger a sheet side by side than is allowed."""
    shape = sum(width / height for height, width in sizes)
    return even(int(min(_HIGHEST, _WIDEST / shape, max(height for height, _ in sizes))) // 2 * 2)


def _width(size: Size, height: int) -> int:
    return even(round(size[1] * height / size[0]))


def _panel(rgb: Array, height: int, words: str = "") -> Array:
    panel = _scaled(rgb, (height, _width(rgb.shape[:2], height)))
    return draw.text(panel, words) if words else panel


def _scaled(rgb: Array, size: Size) -> Array:
    way = cv2.INTER_AREA if size[0] < rgb.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=way))


def _labels(size: Size, lefts: Iterable[int], words: Iterable[str]) -> Array:
    """White outlined words at the top of each panel, on nothing: (H, W, 4) uint8, straight alpha."""
    on_black, on_white = (np.full((*size, 3), level, np.uint8) for level in (0, 255))
    for left, word in zip(lefts, words, strict=True):
        on_black, on_white = (draw.text(x, word, at=(left, 0)) for x in (on_black, on_white))
    # What looks the same over black and over white is opaque; the words are white and the outline black.
    alpha = 255 - cv2.absdiff(on_white, on_black)[..., :1]
    return np.concatenate([on_black, alpha], -1)


def _join(
    panels: Path,
    result: Path,
    strip: Array,
    output: Path,
    *,
    left: int,
    size: Size,
    info: video.VideoInfo,
) -> None:
    """Lays panels, result and labels onto one canvas with ffmpeg, once per frame of the result."""
    height, width = size
    # Only this decoder of VP9 gives the alpha that lies beside the picture.
    alpha_decoder = {"vcodec": "libvpx-vp9"} if info.has_alpha and info.codec == "vp9" else {}
    source = ffmpeg.input(str(result.resolve()), **alpha_decoder)
    shown = source.video.filter("scale", width, height, flags="lanczos").filter("setsar", 1)
    split = shown.filter_multi_output("split")
    # The result is the first input of every overlay, so the sheet has its frames and times; the driver's are
    # the same but for rounding, hence the nearest.
    canvas = (
        split[0]
        .filter("pad", left + width, height, left, 0)
        .filter("drawbox", 0, 0, left + width, height, color="gray", thickness="fill")
    )
    canvas = canvas.overlay(split[1], x=left, y=0)
    # An overlay goes on for as long as any of its inputs: a driver longer than the result must not make it longer.
    length = float(info.duration) - 0.0005
    beside = ffmpeg.input(str(panels.resolve())).video.filter("trim", end=length)
    canvas = canvas.overlay(beside, x=0, y=0, ts_sync_mode="nearest", eof_action="repeat")
    words = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgba", video_size=strip.shape[1::-1])
    canvas = canvas.overlay(words.video, x=0, y=0, eof_action="repeat").filter("format", "yuv420p")
    tracks = [canvas] + ([source["a:0"]] if info.has_sound else [])
    settings: dict[str, Any] = {
        "vcodec": "libx264", "crf": 18, "preset": "veryfast", "fps_mode": "passthrough",
        "enc_time_base": "1:90000", "color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709",
    }  # fmt: skip
    if output.suffix.lower() != ".mkv":
        settings |= {"movflags": "+faststart", "video_track_timescale": 90000}
    try:
        _run(ffmpeg.output(*tracks, str(output.resolve()), acodec="copy", **settings), strip)
    except InputError:
        if not info.has_sound:
            raise
        log.info("%s: cannot hold the sound of %s; encoded anew as aac", output.suffix, result)
        _run(ffmpeg.output(*tracks, str(output.resolve()), acodec="aac", **settings), strip)


def _run(job: Any, strip: Array) -> None:
    """Runs ffmpeg, the labels going in by its standard input. Raises InputError with its last line."""
    job = job.global_args("-hide_banner", "-nostats", "-loglevel", "error").overwrite_output()
    command = ffmpeg.compile(job, cmd=imageio_ffmpeg.get_ffmpeg_exe())
    done = subprocess.run(command, input=strip.tobytes(), capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise InputError(f"side by side: ffmpeg failed ({done.returncode}): {lines[-1].strip()}")
