"""Frames into video files, each at its own time, with the driver's sound."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from pydantic import Field, ValidationInfo, field_validator

from dance.config import Options
from dance.types import Frame, InputError, Size
from dance.video.sound import Sound

log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90000)  # seconds; the usual film and video rates are whole numbers of it

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# The index in front, for players on the web; any metadata key; edit lists exact enough to start anywhere.
_QUICKTIME = {"movflags": "faststart+use_metadata_tags", "movie_timescale": "90000"}
_SMOOTH = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FASTEST = (
    240  # frames a second; a rate is only a hint to encoders, and SVT-AV1 refuses higher ones
)

_RGB = ("rgb24", "gbrp")

Codec = Literal["h264", "hevc", "av1", "vp9", "prores"]


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What FFmpeg calls a codec's encoder, and what it needs to be told."""

    name: str
    pixels: str
    pixels_alpha: str | None
    suffixes: tuple[str, ...]
    crf: int | None
    most_crf: int
    preset: str | None
    presets: tuple[str, ...]
    lossless: tuple[str, str] | None = None  # encoder and pixel format


_X26X = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
_APPLE = (".mp4", ".m4v", ".mov", ".mkv")

_ENCODERS: dict[Codec, _Encoder] = {
    "h264": _Encoder(
        "libx264", "yuv420p", None, _APPLE, 18, 51, "veryfast", _X26X, ("libx264rgb", "rgb24")
    ),
    "hevc": _Encoder("libx265", "yuv420p", None, _APPLE, 20, 51, "fast", _X26X, ("libx265", "gbrp")),
    "av1": _Encoder(
        "libsvtav1", "yuv420p", None, (".mp4", ".mkv", ".webm"), 28, 63, "8", _numbers(14)
    ),
    "vp9": _Encoder(
        "libvpx-vp9", "yuv420p", "yuva420p", (".webm", ".mkv", ".mp4"), 28, 63, "4", _numbers(9),
        ("libvpx-vp9", "gbrp"),
    ),
    "prores": _Encoder(
        "prores_ks", "yuv422p10le", "yuva444p10le", (".mov", ".mkv"), None, 0, None, ()
    ),
}  # fmt: skip


class Encoding(Options):
    """How the result is encoded.

    codec: h264 plays everywhere; hevc and av1 are smaller; vp9 (webm) and prores (mov) keep transparency.
    crf: quality, lower is better and larger; None takes the codec's own default (18 for h264). Not for prores.
    preset: speed, by the encoder's own names (h264, hevc: ultrafast … veryslow; av1, vp9: 0 … 13 or 8); None
        takes the default. "veryfast" for h264 costs half the time of "medium" for 1 dB at the same size.
    lossless: every pixel kept, in RGB; large, and few players but editors read it. h264, hevc, vp9 only.
    keyframes: one at least every so many frames, so that single frames are found quickly; None takes the
        encoder's own distance.
    """

    codec: Codec = "h264"
    crf: int | None = Field(default=None, ge=0, le=63)
    preset: str | None = None
    lossless: bool = False
    keyframes: int | None = Field(default=None, ge=1, le=1000)

    @field_validator("crf")
    @classmethod
    def _crf_suits(cls, crf: int | None, info: ValidationInfo) -> int | None:
        encoder = _ENCODERS.get(info.data.get("codec", ""))
        if crf is not None and encoder is not None and crf > encoder.most_crf:
            codec = info.data["codec"]
            limit = f"at most {encoder.most_crf}" if encoder.most_crf else "none at all"
            raise ValueError(f"{codec} takes {limit}")
        return crf

    @field_validator("preset")
    @classmethod
    def _preset_suits(cls, preset: str | None, info: ValidationInfo) -> str | None:
        encoder = _ENCODERS.get(info.data.get("codec", ""))
        if preset is not None and encoder is not None and preset not in encoder.presets:
            known = ", ".join(encoder.presets) or "none at all"
            raise ValueError(f"{info.data['codec']} takes {known}")
        return preset


def check_output(path: Path, encoding: Encoding, *, overwrite: bool = False) -> None:
    """Makes sure the file can be written, before anything is computed.

    Raises InputError for an unknown suffix, a codec its container cannot hold, a missing or unwritable
    folder, and a file that exists where `overwrite` is false.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise InputError(
            f"{path}: cannot write {suffix or 'a file without suffix'}; name it {known}"
        )
    encoder = _ENCODERS[encoding.codec]
    if suffix not in encoder.suffixes:
        right = ", ".join(encoder.suffixes)
        raise InputError(f"{path}: {suffix} cannot hold {encoding.codec}; name it {right}")
    if encoding.lossless and encoder.lossless is None:
        right = ", ".join(name for name, each in _ENCODERS.items() if each.lossless)
        raise InputError(f"encoding.lossless: {encoding.codec} cannot be lossless; use {right}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file's name")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; give another name or --overwrite")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} may not be written to; give another")


def write(
    frames: Iterable[Frame],
    path: Path,
    *,
    encoding: Encoding | None = None,
    sound: Path | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    end: Fraction | None = None,
    time_base: Fraction = TIME_BASE,
) -> int:
    """Encodes every frame at its own time and returns how many there were.

    sound: a file whose main sound stream goes along, copied bit for bit where the container holds it.
    end: seconds at which the last frame goes; None shows it as long as the one before it.
    time_base: seconds, what times are rounded to (mkv and webm round to 1/1000 themselves).
    Odd sizes are made even by repeating the last row and column, but for lossless files.
    The file appears whole or not at all: it is written beside its place under another name.
    Raises InputError as `check_output` does, and where nothing can be or is to be written.
    """
    encoding = encoding or Encoding()
    check_output(path, encoding, overwrite=overwrite)
    aside = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.part")
    try:
        count = _encode(frames, aside, path, encoding, sound, metadata or {}, end, time_base)
        if path.exists() and not overwrite:
            raise InputError(
                f"{path}: appeared while the result was made; give another name or --overwrite"
            )
        aside.replace(path)
    except OSError as error:
        # PyAV's errors are OSErrors too where the system is their cause.
        if error.errno in _NO_ROOM:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); make room there"
            ) from error
        raise
    finally:
        aside.unlink(missing_ok=True)
    return count


def _encode(
    frames: Iterable[Frame],
    aside: Path,
    path: Path,
    encoding: Encoding,
    sound: Path | None,
    metadata: Mapping[str, str],
    end: Fraction | None,
    time_base: Fraction,
) -> int:
    """Writes the whole file `aside`; `path` says its container and stands in messages."""
    items = iter(frames)
    opening = list(islice(items, 2))
    if not opening:
        raise InputError(f"{path}: there is not one frame to write")
    # SVT-AV1 tells about itself on stderr, past every log; it can only be asked not to in this way.
    os.environ.setdefault("SVT_LOG", "1")
    rate = _rate(opening, end)
    suffix = path.suffix.lower()
    options = _QUICKTIME if _FORMATS[suffix] in ("mp4", "mov") else {}
    with ExitStack() as stack:
        output = av.open(f"file:{aside}", "w", format=_FORMATS[suffix], container_options=options)
        try:
            stream = _add_stream(output, encoding, opening[0], rate, time_base)
            output.metadata.update(metadata)
            track = Sound(sound, output, suffix, stack) if sound is not None else None
            count = _encode_all(chain(opening, items), output, stream, track, rate, end)
        except BaseException:
            with suppress(av.error.FFmpegError, OSError):
                output.close()
            raise
        output.close()
    return count


def _encode_all(
    frames: Iterable[Frame],
    output: OutputContainer,
    stream: av.VideoStream,
    track: Sound | None,
    rate: Fraction,
    end: Fraction | None,
) -> int:
    """Encodes the frames and writes them between the sound; returns how many there were."""
    unit = Fraction(stream.codec_context.time_base or TIME_BASE)
    convert = _Converter(stream)
    muxer = _Muxer(output, track)
    count = 0
    for frame, stop in _with_stops(frames, rate, end):
        picture = convert(frame)
        picture.time_base = unit
        picture.pts = round(frame.time / unit)
        picture.duration = max(1, round(stop / unit) - picture.pts)
        muxer.expect(picture.pts, picture.duration)
        muxer.write(stream.encode(picture))
        count += 1
    muxer.write(stream.encode(None))
    muxer.finish()
    return count


class _Muxer:
    """Writes encoded pictures, with their lengths, between the sound; one packet behind the encoder."""

    def __init__(self, output: OutputContainer, track: Sound | None) -> None:
        self._output = output
        self._track = track
        self._lengths: dict[int, int] = {}
        self._held: Packet[av.VideoStream] | None = None
        self._first: tuple[int, int] | None = None
        self._end = 0

    def expect(self, pts: int, length: int) -> None:
        """Notes how long the picture of that time is shown."""
        self._lengths[pts] = length
        self._end = pts + length

    def write(self, packets: Iterable[Packet[av.VideoStream]]) -> None:
        """Takes the encoder's next packets."""
        for packet in packets:
            assert packet.pts is not None and packet.dts is not None
            packet.duration = self._lengths.pop(packet.pts)
            if self._first is None:
                self._first = packet.pts, packet.dts
            self._flush()
            self._held = packet

    def finish(self) -> None:
        """Writes what is left, of the sound too."""
        if self._held is not None and self._first is not None:
            # mp4 adds up decoding times: its last packet, rarely the last picture, must make up the whole.
            pts, dts = self._first
            assert self._held.dts is not None
            whole = self._end - pts
            self._held.duration = max(1, whole - (self._held.dts - dts))
        self._flush()
        if self._track is not None:
            self._track.until(None)

    def _flush(self) -> None:
        packet, self._held = self._held, None
        if packet is None:
            return
        if self._track is not None:
            self._track.until((packet.dts or 0) * Fraction(packet.time_base))
        self._output.mux(packet)


def _with_stops(
    frames: Iterable[Frame], rate: Fraction, end: Fraction | None
) -> Iterator[tuple[Frame, Fraction]]:
    """Every frame with the time at which it goes."""
    step = 1 / rate
    held: Frame | None = None
    for frame in frames:
        if held is not None:
            assert frame.time > held.time, f"time runs backwards at frame {frame.index}"
            assert frame.size == held.size, f"frame {frame.index} has another size"
            step = frame.time - held.time
            yield held, frame.time
        held = frame
    assert held is not None
    yield held, end if end is not None and end > held.time else held.time + step


def _rate(opening: list[Frame], end: Fraction | None) -> Fraction:
    """Frames a second at the start of the clip."""
    if len(opening) == 2:
        step = opening[1].time - opening[0].time
    else:
        step = (end or Fraction(0)) - opening[0].time
    if step <= 0:
        return Fraction(25)
    return min(max(1 / step, Fraction(1)), Fraction(_FASTEST)).limit_denominator(1001)


def _add_stream(
    output: OutputContainer, encoding: Encoding, first: Frame, rate: Fraction, time_base: Fraction
) -> av.VideoStream:
    """A video stream for frames like the first one."""
    encoder = _ENCODERS[encoding.codec]
    alpha = first.alpha is not None and encoder.pixels_alpha is not None
    name, pixels = encoder.name, encoder.pixels
    if alpha and encoder.pixels_alpha:
        pixels = encoder.pixels_alpha
    elif encoding.lossless and encoder.lossless:
        name, pixels = encoder.lossless
    stream = output.add_stream(name, rate=rate, options=_options(encoding, alpha))
    assert isinstance(stream, av.VideoStream)
    height, width = first.size if encoding.lossless and not alpha else _even(first.size)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = width, height, pixels
    context.time_base = time_base
    context.sample_aspect_ratio = Fraction(1)
    context.bit_rate = 0
    if encoding.keyframes is not None:
        context.gop_size = encoding.keyframes
    rgb = pixels in _RGB
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.IEC61966_2_1 if rgb else ColorTrc.BT709
    context.colorspace = 0 if rgb else Colorspace.ITU709
    context.color_range = ColorRange.JPEG if rgb else ColorRange.MPEG
    if encoding.codec == "hevc" and output.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the name Apple's players ask for
    if alpha and encoding.codec == "vp9":
        stream.metadata["alpha_mode"] = "1"
    return stream


def _options(encoding: Encoding, alpha: bool) -> dict[str, str]:
    """The encoder's own options."""
    encoder = _ENCODERS[encoding.codec]
    crf = str(encoder.crf if encoding.crf is None else encoding.crf)
    if encoding.lossless:
        crf = "0"
    preset = encoding.preset or encoder.preset or ""
    match encoding.codec:
        case "h264":
            return {"preset": preset, "crf": crf}
        case "hevc":
            quiet = "log-level=error" + (":lossless=1" if encoding.lossless else "")
            return {"preset": preset, "crf": crf, "x265-params": quiet}
        case "av1":
            return {"preset": preset, "crf": crf}
        case "vp9":
            # libvpx cannot look ahead with hidden frames and keep transparency.
            more = {"auto-alt-ref": "0"} if alpha else {}
            more |= {"lossless": "1"} if encoding.lossless else {}
            return {"cpu-used": preset, "crf": crf, "row-mt": "1", "deadline": "good", **more}
        case "prores":
            return {"profile": "4444" if alpha else "hq", "vendor": "apl0", "alpha_bits": "16"}


def _even(size: Size) -> Size:
    height, width = size
    return height + height % 2, width + width % 2


class _Converter:
    """Turns frames into pictures of the stream's format: BT.709, limited range (RGB as it is)."""

    def __init__(self, stream: av.VideoStream) -> None:
        context = stream.codec_context
        self._size = context.height, context.width
        self._pixels = context.pix_fmt or ""
        self._alpha = self._pixels.startswith("yuva")
        self._scaler = VideoReformatter()

    def __call__(self, frame: Frame) -> av.VideoFrame:
        image = frame.rgb
        if self._alpha:
            alpha = frame.alpha if frame.alpha is not None else np.ones(frame.size, np.float32)
            image = np.dstack([image, (np.clip(alpha, 0, 1) * 255 + 0.5).astype(np.uint8)])
        (height, width), (rows, columns) = self._size, frame.size
        if (height, width) != (rows, columns):
            image = np.pad(image, ((0, height - rows), (0, width - columns), (0, 0)), "edge")
        layout = "rgba" if self._alpha else "rgb24"
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), layout)
        if self._pixels in _RGB:
            return self._scaler.reformat(picture, format=self._pixels)
        converted = self._scaler.reformat(
            picture,
            format=self._pixels,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_SMOOTH,
        )
        converted.color_primaries = ColorPrimaries.BT709
        converted.color_trc = ColorTrc.BT709
        return converted
