"""Frames out of video files: all in order, or a few by number."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.filter import Graph

from dance.types import Array, Frame, Size
from dance.video.colour import Converter
from dance.video.probe import (
    Turn,
    has_alpha,
    listed_frames,
    nothing_decodes,
    open_input,
    origin,
    pixel_aspect,
    shown_size,
    turn_of,
    video_stream,
)

log = logging.getLogger(__name__)

# A step back in time longer than this is a broken clock (a joined recording), not a misplaced frame.
_CLOCK_BREAK = Fraction(1)


def read(path: Path, *, size: Size | None = None) -> Iterator[Frame]:
    """The frames a player shows, in order, upright, with square pixels, in sRGB, at their exact times.

    size: (height, width) to scale them to on the way; None leaves them as large as they are shown.
    A file that is damaged or cut off gives what decodes, and a warning with the count.
    Raises InputError where the file is no video or not one frame of it decodes.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        promised = listed_frames(container, stream)
        trouble: list[str] = []
        pictures = _deinterlaced(_decoded(container, stream, trouble))
        count = 0
        for frame in _converted(pictures, stream, origin(container), size):
            yield frame
            count += 1
        if not count:
            raise nothing_decodes(path)
        short = "mp4" in container.format.name and promised is not None and count < promised
        if trouble or short:
            of = f" of {promised}" if promised is not None and promised > count else ""
            log.warning("%s: %d%s frames decode; the file is damaged or cut off", path, count, of)


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, trouble: list[str]
) -> Iterator[av.VideoFrame]:
    """Every frame that decodes; what does not is noted in `trouble`."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            # The demuxer cannot go on; the decoder still holds frames.
            trouble.append(str(error))
            break
        try:
            yield from packet.decode()
        except av.error.InvalidDataError as error:
            trouble.append(str(error))
    try:
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError as error:
        trouble.append(str(error))


def _deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same frames, from the first interlaced one on with their fields woven into whole pictures."""
    graph: Graph | None = None
    for frame in frames:
        if graph is None and frame.interlaced_frame:
            graph = _weaver(frame)
        if graph is None:
            yield frame
            continue
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _weaver(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    # One picture a frame, not a field, so that count and times stay.
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _converted(
    pictures: Iterable[av.VideoFrame], stream: av.VideoStream, zero: Fraction, size: Size | None
) -> Iterator[Frame]:
    """The decoded pictures as frames: turned, scaled, in sRGB, numbered, their times mended."""
    turn = Turn()
    convert: Converter | None = None
    times = Clock(zero, Fraction(stream.average_rate or 25))
    for index, picture in enumerate(pictures):
        if convert is None:
            turn = turn_of(picture)
            stored = picture.height, picture.width
            shown = size or shown_size(stored, pixel_aspect(stream), turn)
            stored_size = (shown[1], shown[0]) if turn.transpose else shown
            convert = Converter(stored_size, stream.codec_context.codec.canonical_name)
        time = times.next(picture)
        rgb, alpha = convert(picture, alpha=has_alpha(picture))
        if alpha is not None and alpha.min() == 1:
            alpha = None
        yield Frame(turned(rgb, turn), time, index, None if alpha is None else turned(alpha, turn))


class Clock:
    """Gives decoded pictures strictly growing times, mending those that are missing or run backwards."""

    def __init__(self, zero: Fraction, rate: Fraction) -> None:
        self._zero = zero
        self._step = 1 / rate
        self._last: Fraction | None = None

    def next(self, picture: av.VideoFrame) -> Fraction:
        """The time of the next picture, in seconds from the file's origin."""
        stamp = picture.pts if picture.pts is not None else picture.dts
        last = self._last
        if stamp is None or picture.time_base is None:
            time = Fraction(0) if last is None else last + self._step
        else:
            time = stamp * Fraction(picture.time_base) - self._zero
        if last is not None and time <= last:
            if last - time > _CLOCK_BREAK:
                self._zero -= last + self._step - time
                time = last + self._step
            else:
                # Close behind the picture before, so that the ones after it keep their own times.
                time = last + self._step / 16
        self._last = time
        return time


def turned(image: Array, turn: Turn) -> Array:
    """The picture (H, W[, C]) made upright."""
    if turn.transpose:
        image = cv2.transpose(image)
    if turn.flip_x or turn.flip_y:
        image = cv2.flip(image, -1 if turn.flip_x and turn.flip_y else 1 if turn.flip_x else 0)
    return np.asarray(image)


def pick(path: Path, indices: Sequence[int], *, size: Size | None = None) -> list[Frame]:
    """The frames of these numbers, in the order asked for; the same as `read` gives.

    Raises InputError as `read` does, and for a number the file does not have.
    """
    wanted = set(indices)
    found: dict[int, Frame] = {}
    for frame in read(path, size=size):
        if frame.index in wanted:
            found[frame.index] = frame
    return [found[index] for index in indices]
