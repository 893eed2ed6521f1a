"""What a video file holds, and clear errors for what is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.format import Flags as FormatFlags
from av.sidedata.sidedata import SideData
from av.stream import Disposition

from dance.types import InputError, Size

WANTED = "give a video file such as mp4, mov, mkv, webm or gif"

# A longer step forward is no pause but a jump of the clock, in formats whose clock may jump.
LONGEST_PAUSE = Fraction(10)

_SQUARE = Fraction(1)
_MOST_SQUEEZED = 8
# Demuxers of pictures and of text drawn as a terminal: FFmpeg calls both of them video.
_PICTURES = ("image2", "_pipe")
_STILLS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif")
_TEXTS = ("tty", "bin", "xbin", "adf", "idf")


@dataclass(frozen=True, slots=True)
class Turn:
    """How stored pictures become upright: transposed first, then flipped along x and y."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether left and right are swapped, beyond any rotation."""
        return self.transpose ^ self.flip_x ^ self.flip_y

    @property
    def rotation(self) -> int:
        """Degrees clockwise (0, 90, 180 or 270) the stored picture is turned, after any mirroring."""
        if self.transpose:
            return 270 if self.flip_y else 90
        return 180 if self.flip_y else 0

    @classmethod
    def from_matrix(cls, matrix: bytes) -> Turn:
        """The turn nearest to a display matrix: nine int32, x' = a x + c y, y' = b x + d y."""
        a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(matrix, np.int32, 9))
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)
        return cls(flip_x=a < 0, flip_y=d < 0)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file holds, as `read` will show it.

    size: (height, width) shown, after turning, mirroring and stretching to square pixels.
    frames: how many a player shows, exact for mp4 and mov, else estimated from length and rate.
    rate: average frames a second.  start, end: seconds at which the first frame appears and the last goes.
    time_base: seconds, the unit of the file's times.  pixel_aspect: width over height of a stored pixel.
    primaries, transfer, matrix, full_range: colour tags (ITU-T H.273 numbers, 2 = not said) of its pictures.
    metadata: the file's own tags, keys in lower case.
    """

    path: Path
    size: Size
    frames: int
    rate: Fraction
    start: Fraction
    end: Fraction
    time_base: Fraction
    codec: str
    container: str
    pixel_format: str
    stored_size: Size
    pixel_aspect: Fraction
    turn: Turn
    interlaced: bool
    has_alpha: bool
    primaries: int
    transfer: int
    matrix: int
    full_range: bool
    has_sound: bool
    sound_codec: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's appearance to the last one's end."""
        return self.end - self.start


def probe(path: Path) -> VideoInfo:
    """What the video holds; its first frame is decoded to know.

    Raises InputError, in one line, for a file that is missing, empty, damaged or no video.
    """
    with open_input(path) as container:
        stream = video_stream(container, path)
        frame = first_frame(container, stream, path)
        sound = container.streams.best("audio")
        turn = turn_of(frame)
        aspect = pixel_aspect(stream)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        zero = origin(container)
        start, end = _extent(container, stream, zero)
        listed = listed_frames(container, stream)
        return VideoInfo(
            path=path,
            size=shown_size((frame.height, frame.width), aspect, turn),
            frames=listed if listed is not None else max(1, round((end - start) * rate)),
            rate=Fraction(rate),
            start=start,
            end=end,
            time_base=stream.time_base or Fraction(1, 90000),
            codec=stream.codec_context.codec.canonical_name,
            container=container.format.name,
            pixel_format=frame.format.name,
            stored_size=(frame.height, frame.width),
            pixel_aspect=aspect,
            turn=turn,
            interlaced=frame.interlaced_frame,
            has_alpha=has_alpha(frame) or alpha_beside(stream),
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
            matrix=int(frame.colorspace),
            full_range=frame.color_range == 2 or frame.format.name.startswith("yuvj"),
            has_sound=sound is not None,
            sound_codec=sound.codec_context.codec.canonical_name
            if sound is not None and sound.codec_context is not None
            else None,
            metadata={key.lower(): value for key, value in container.metadata.items()},
        )


@contextmanager
def open_input(path: Path) -> Iterator[InputContainer]:
    """The opened file, closed at the end. Raises InputError in one line where it cannot be read as a video."""
    container = _open(path)
    try:
        yield container
    finally:
        container.close()


def _open(path: Path) -> InputContainer:
    if not path.exists():
        raise InputError(f"{path}: there is no such file; {WANTED}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; {WANTED}")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); {WANTED}")
    try:
        # "file:" keeps a colon in a name from being read as a protocol; the list, a playlist from going on-line.
        container = av.open(
            f"file:{path}",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: {_why_not(path, error)}") from error
    if container.format.name in _TEXTS:
        container.close()
        raise InputError(f"{path}: is text, not a video; {WANTED}")
    if (
        any(mark in container.format.name for mark in _PICTURES)
        or _first_bytes(path)[8:12] in _STILLS
    ):
        container.close()
        raise InputError(f"{path}: is a picture, not a video; {WANTED}")
    return container


def _why_not(path: Path, error: Exception) -> str:
    """Says why the file did not open, from the error and from its first bytes."""
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); allow reading it, or copy it elsewhere"
    try:
        head = _first_bytes(path)
    except OSError as unreadable:
        return f"cannot be read ({unreadable.strerror}); {WANTED}"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return (
            "has no index (moov) or a damaged one, so it was cut off while being recorded or copied; "
            "copy or export it again"
        )
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return f"is text, not a video; {WANTED}"
    return f"is not a video that can be read, or is damaged; {WANTED}"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The file's main video stream. Raises InputError where there is none (cover art does not count)."""
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    if not films:
        held = "only sound" if container.streams.audio else "no pictures"
        raise InputError(f"{path}: holds no video ({held}); {WANTED}")
    stream = next(
        (film for film in films if best is not None and film.index == best.index), films[0]
    )
    if stream.codec_context is None:
        raise InputError(
            f"{path}: its video codec is unknown here; convert it to H.264, for example"
        )
    return stream


def first_frame(container: InputContainer, stream: av.VideoStream, path: Path) -> av.VideoFrame:
    """The first frame that decodes. Raises InputError where none does."""
    try:
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    return frame
            except av.error.InvalidDataError:
                continue
    except av.error.FFmpegError as error:
        raise nothing_decodes(path) from error
    raise nothing_decodes(path)


def nothing_decodes(path: Path) -> InputError:
    """The error of a video none of whose frames decodes."""
    return InputError(
        f"{path}: not one frame of it decodes, it is damaged or cut off; copy it again"
    )


def turn_of(frame: av.VideoFrame) -> Turn:
    """How the stored picture becomes upright, from the display matrix it carries."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        return Turn.from_matrix(bytes(cast(SideData, matrix)))
    return Turn()


def pixel_aspect(stream: av.VideoStream) -> Fraction:
    """Width over height of a stored pixel; 1 where the file says nothing or nothing believable."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    believable = Fraction(1, _MOST_SQUEEZED) <= aspect <= _MOST_SQUEEZED
    return aspect if believable else _SQUARE


def shown_size(stored: Size, aspect: Fraction, turn: Turn) -> Size:
    """(height, width) shown. Non-square pixels are stretched, never squeezed, so that no detail is lost."""
    height, width = stored
    if aspect > 1:
        width = round(width * aspect)
    elif aspect < 1:
        height = round(height / aspect)
    return (width, height) if turn.transpose else (height, width)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the picture's format has a channel that says what is opaque."""
    return any(component.is_alpha for component in frame.format.components)


def alpha_beside(stream: av.VideoStream) -> bool:
    """Whether a WebM stream carries its alpha beside the pictures, where only libvpx looks for it."""
    return tag(stream, "alpha_mode") == "1"


def tag(stream: av.VideoStream, name: str) -> str:
    """A tag of the stream, whatever the case of its name; empty where there is none."""
    found = (value for key, value in stream.metadata.items() if key.lower() == name)
    return next(found, "")


def may_jump(container: InputContainer) -> bool:
    """Whether the format's clock may jump within the file, as that of broadcast formats may (mpg, ts)."""
    return bool(FormatFlags(container.format.flags) & FormatFlags.ts_discont)


def origin(container: InputContainer) -> Fraction:
    """The file's own time, in seconds, that counts as 0, for pictures and sound alike.

    Broadcast formats (mpg, ts) start at any clock time: there it is the earliest stream's start.
    """
    streams = [*container.streams.video, *container.streams.audio]
    starts = [
        s.start_time * s.time_base for s in streams if s.start_time is not None and s.time_base
    ]
    if may_jump(container):
        return min(starts, default=Fraction(0))
    return min([Fraction(0), *starts[: len(container.streams.video)]])


def listed_frames(container: InputContainer, stream: av.VideoStream) -> int | None:
    """How many frames a player shows by the file's index, or None where it has no full index."""
    if "mp4" in container.format.name and len(stream.index_entries):
        return sum(not entry.is_discard for entry in stream.index_entries)
    return stream.frames or None


def _extent(
    container: InputContainer, stream: av.VideoStream, zero: Fraction
) -> tuple[Fraction, Fraction]:
    """When the first picture appears and the last goes, in seconds from the origin."""
    base = stream.time_base or Fraction(1, 90000)
    start = (stream.start_time or 0) * base - zero
    if stream.duration:
        return start, start + stream.duration * base
    # Matroska and WebM keep one length for the whole file, sound included; a tag tells each stream's end.
    told = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", tag(stream, "duration"))
    if told:
        hours, minutes, seconds = told.groups()
        length = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    else:
        length = Fraction(container.duration or 0, av.time_base)
    rate = stream.average_rate or Fraction(25)
    return start, max(length, start + 1 / Fraction(rate))
