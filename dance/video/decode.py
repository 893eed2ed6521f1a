"""Frames out of video files: all in order, or a few by number."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.filter import Graph

from dance.types import Array, Frame, InputError, Size
from dance.video.colour import Converter, is_large
from dance.video.probe import (
    LONGEST_PAUSE,
    Turn,
    alpha_beside,
    has_alpha,
    listed_frames,
    may_jump,
    nothing_decodes,
    open_input,
    origin,
    pixel_aspect,
    probe,
    shown_size,
    turn_of,
    video_stream,
)

log = logging.getLogger(__name__)

# A step back in time longer than this is a broken clock (a joined recording), not a misplaced frame.
_CLOCK_BREAK = Fraction(1)
_SAME_TIME = 1e-3  # seconds; decord tells times as 32-bit floats


def read(path: Path, *, size: Size | None = None) -> Generator[Frame, None, None]:
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
        rate = Fraction(stream.average_rate or 25)
        clock = Clock(origin(container), rate, may_jump=may_jump(container))
        pictures = _deinterlaced(_decoded(container, stream, trouble))
        count = 0
        for frame in _converted(pictures, stream, clock, size):
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
    decoder = _decoder(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            # The demuxer cannot go on; the decoder still holds frames.
            trouble.append(str(error))
            break
        if packet.is_corrupt and "mp4" in container.format.name:
            # The file ends within it. Decoding it would, with several threads, lose whole frames before it.
            trouble.append("a packet is cut off")
            continue
        try:
            yield from decoder.decode(packet)
        except av.error.FFmpegError as error:
            trouble.append(str(error))
    try:
        yield from decoder.decode(None)
    except av.error.FFmpegError as error:
        trouble.append(str(error))


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """The stream's decoder, or one that also sees the alpha a WebM stream carries beside its pictures."""
    if not (alpha_beside(stream) and stream.codec_context.codec.canonical_name in ("vp8", "vp9")):
        return stream.codec_context
    library = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.codec.canonical_name]
    decoder = av.CodecContext.create(library, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    return decoder


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
    pictures: Iterable[av.VideoFrame], stream: av.VideoStream, clock: Clock, size: Size | None
) -> Iterator[Frame]:
    """The decoded pictures as frames: turned, scaled, in sRGB, numbered, their times mended."""
    turn = Turn()
    convert: Converter | None = None
    for index, picture in enumerate(pictures):
        if convert is None:
            turn = turn_of(picture)
            stored = picture.height, picture.width
            shown = size or shown_size(stored, pixel_aspect(stream), turn)
            stored_size = (shown[1], shown[0]) if turn.transpose else shown
            convert = Converter(stored_size, stream.codec_context.codec.canonical_name)
        time = clock.next(picture)
        rgb, alpha = convert(picture, alpha=has_alpha(picture))
        if alpha is not None and alpha.min() == 1:
            alpha = None
        yield Frame(turned(rgb, turn), time, index, None if alpha is None else turned(alpha, turn))


class Clock:
    """Gives decoded pictures strictly growing times, mending those that are missing or run backwards."""

    def __init__(self, zero: Fraction, rate: Fraction, *, may_jump: bool = False) -> None:
        self._zero = zero
        self._may_jump = may_jump
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
        jumped = self._may_jump and last is not None and time - last > LONGEST_PAUSE
        if last is not None and (time <= last or jumped):
            if jumped or last - time > _CLOCK_BREAK:
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
    """The frames of these numbers, in the order asked for, with the numbers and times `read` gives them.

    Plain files are not decoded from the start: decord goes straight to the frames. Its colours differ
    from those of `read` by rounding, one or two levels.
    Raises InputError as `read` does, and for a number the file does not have.
    """
    if not indices:
        return []
    times = _plain_times(path)
    found = {} if times is None else _jumped(path, times, indices, size)
    if not found:
        last = max(indices)
        with closing(read(path, size=size)) as frames:
            found = {
                frame.index: frame for frame in islice(frames, last + 1) if frame.index in indices
            }
    for index in indices:
        if index not in found:
            raise InputError(f"{path}: has no frame {index}; its frames are numbered from 0")
    return [found[index] for index in indices]


def _plain_times(path: Path) -> list[Fraction] | None:
    """The times of all frames of a file decord shows as `read` does; None for any other file.

    decord knows no edit lists, turns, pixel shapes, fields, alpha or HDR, and takes untold colours as BT.601.
    """
    info = probe(path)
    told = info.matrix in (1, 5, 6) or (info.matrix == 2 and not is_large(info.stored_size))
    plain = (
        info.turn == Turn()
        and info.pixel_aspect == 1
        and info.pixel_format == "yuv420p"
        and info.primaries in (1, 2, 5, 6)
        and told
        and not (info.full_range or info.interlaced or info.has_alpha)
        and info.start == 0
    )
    if not plain or "mp4" not in info.container:
        return None
    with open_input(path) as container:
        stream = video_stream(container, path)
        if len(stream.index_entries) != info.frames:
            return None
        base = Fraction(stream.time_base or 1)
        stamps = [packet.pts for packet in container.demux(stream) if packet.size]
    if None in stamps or len(set(stamps)) != info.frames:
        return None
    return [stamp * base for stamp in sorted(stamp for stamp in stamps if stamp is not None)]


def _jumped(
    path: Path, times: Sequence[Fraction], indices: Sequence[int], size: Size | None
) -> dict[int, Frame]:
    """The frames by number through decord; none at all where it disagrees on how many there are or when."""
    # Imported late: it brings a second FFmpeg, which nothing else needs.
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    wanted = sorted({index for index in indices if 0 <= index < len(times)})
    try:
        reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
        if len(reader) != len(times):
            return {}
        frames = {}
        for index in wanted:
            start, _ = reader.get_frame_timestamp(index)
            if abs(float(start) - float(times[index])) > _SAME_TIME:
                return {}
            rgb = reader[index].asnumpy()
            frames[index] = Frame(rgb if size is None else resized(rgb, size), times[index], index)
        return frames
    except decord.DECORDError as error:
        log.info("%s: decord cannot read it (%s); it is read from the start", path, error)
        return {}


def resized(rgb: Array, size: Size) -> Array:
    """The picture at another (height, width): averaged where it shrinks, interpolated where it grows."""
    smaller = size[0] <= rgb.shape[0] and size[1] <= rgb.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (size[1], size[0]), interpolation=way))
