"""The driver's sound into the result: packets copied bit for bit where the container holds them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard

from dance.video.probe import open_input, origin

log = logging.getLogger(__name__)

_PCM = frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le"})

# What players of these containers play; FFmpeg would write more into them than most can read.
HOLDS = {
    ".mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}),
    ".m4v": frozenset({"aac", "mp3", "ac3", "eac3", "alac"}),
    ".mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM,
    ".mkv": frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac"}) | _PCM,
    ".webm": frozenset({"opus", "vorbis"}),
}

# These hold no edit list to hide the packets before time 0 that only prime the decoder; writing them
# would move all sound and pictures later.
_WITHOUT_EDIT_LISTS = (".mkv", ".webm")

_AAC_BIT_RATE = 192_000
_OPUS_BIT_RATE = 128_000
_OPUS_RATE = 48_000


def sound_packets(path: Path) -> Iterator[tuple[Fraction, bytes]]:
    """Time in seconds and content of every packet of the file's main sound stream; nothing where it is silent."""
    with open_input(path) as container:
        stream = _sound_stream(container)
        if stream is None:
            return
        zero = origin(container)
        for packet in _demuxed(container, stream, path):
            stamp = packet.pts if packet.pts is not None else packet.dts
            yield (stamp or 0) * Fraction(packet.time_base) - zero, bytes(packet)


class Sound:
    """The sound of one file on its way into a container, no further ahead than the pictures are."""

    def __init__(self, path: Path, output: OutputContainer, suffix: str, stack: ExitStack) -> None:
        """Adds the file's main sound stream to the output; `stack` closes the file.

        A file without sound is silence, no error. Raises InputError where the file cannot be read.
        """
        self._output = output
        self._packets: Iterator[tuple[Packet[av.AudioStream], Fraction]] = iter(())
        self._waiting: tuple[Packet[av.AudioStream], Fraction] | None = None
        container = stack.enter_context(open_input(path))
        stream = _sound_stream(container)
        if stream is None:
            return
        if stream.codec_context is None:
            log.warning("%s: its sound is in a codec unknown here; the result is silent", path)
            return
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        codec = stream.codec_context.codec.canonical_name
        if codec in HOLDS[suffix]:
            target = output.add_stream_from_template(stream)
            self._packets = _copied(container, stream, target, path)
            if suffix in _WITHOUT_EDIT_LISTS:
                self._packets = _audible(self._packets)
        else:
            encoder = "libopus" if suffix == ".webm" else "aac"
            log.info(
                "%s: %s cannot hold its %s sound; encoded anew as %s", path, suffix, codec, encoder
            )
            self._packets = _encoded(container, stream, _added(output, stream, encoder), path)

    def until(self, time: Fraction | None) -> None:
        """Writes the sound that starts at or before `time`, in seconds; all that is left for None."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or (time is not None and self._waiting[1] > time):
                return
            self._output.mux(self._waiting[0])
            self._waiting = None


def _sound_stream(container: InputContainer) -> av.AudioStream | None:
    best = container.streams.best("audio")
    assert best is None or isinstance(best, av.AudioStream)
    return best


def _copied(
    container: InputContainer, source: av.AudioStream, target: av.AudioStream, path: Path
) -> Iterator[tuple[Packet[av.AudioStream], Fraction]]:
    """The stream's packets and their times, unchanged but for a clock that starts elsewhere or runs backwards."""
    base = Fraction(source.time_base or 1)
    shift = round(origin(container) / base)
    due: int | None = None
    for packet in _demuxed(container, source, path):
        stamp = packet.dts if packet.dts is not None else packet.pts
        stamp = due if stamp is None else stamp - shift
        if stamp is None:
            stamp = 0
        if due is not None and stamp < due - (packet.duration or 0):
            stamp = due
        packet.dts = packet.pts = stamp
        due = stamp + (packet.duration or 1)
        packet.stream = target
        yield packet, stamp * base


def _audible(
    packets: Iterator[tuple[Packet[av.AudioStream], Fraction]],
) -> Iterator[tuple[Packet[av.AudioStream], Fraction]]:
    """The packets without those that end before time 0; one that lies across it starts at it."""
    for packet, time in packets:
        if time < 0:
            length = packet.duration or 0
            if time + length * Fraction(packet.time_base) <= 0:
                continue
            packet.pts = packet.dts = 0
        yield packet, max(time, Fraction(0))


def _demuxed(
    container: InputContainer, source: av.AudioStream, path: Path
) -> Iterator[Packet[av.AudioStream]]:
    """The stream's packets; a file that ends too early ends them, with a warning."""
    packets = container.demux(source)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            log.warning("%s: its sound breaks off (%s)", path, error.strerror)
            return
        if packet.size:
            yield packet


def _added(output: OutputContainer, source: av.AudioStream, encoder: str) -> av.AudioStream:
    """A new sound stream for the encoder, as near to the source's rate and layout as it can."""
    context = source.codec_context
    opus = encoder == "libopus"
    target = output.add_stream(encoder, rate=_OPUS_RATE if opus else context.sample_rate)
    assert isinstance(target, av.AudioStream)
    target.bit_rate = _OPUS_BIT_RATE if opus else _AAC_BIT_RATE
    target.layout = "mono" if context.layout.nb_channels == 1 else "stereo"
    return target


def _encoded(
    container: InputContainer, source: av.AudioStream, target: av.AudioStream, path: Path
) -> Iterator[tuple[Packet[av.AudioStream], Fraction]]:
    """The stream decoded and encoded anew."""
    zero = origin(container)
    damaged = 0
    resampler = av.AudioResampler(
        format=target.format, layout=target.layout, rate=target.rate, frame_size=target.frame_size
    )

    def decoded() -> Iterator[av.AudioFrame]:
        nonlocal damaged
        for packet in _demuxed(container, source, path):
            try:
                yield from packet.stream.decode(packet)
            except av.error.InvalidDataError:
                damaged += 1
        yield from source.codec_context.decode(None)

    def packets() -> Iterator[Packet[av.AudioStream]]:
        for frame in decoded():
            if frame.pts is not None:
                frame.pts -= round(zero / Fraction(frame.time_base or 1))
            for part in resampler.resample(frame):
                yield from target.encode(part)
        for part in resampler.resample(None):
            yield from target.encode(part)
        yield from target.encode(None)

    for packet in packets():
        stamp = packet.dts if packet.dts is not None else packet.pts
        yield packet, (stamp or 0) * Fraction(packet.time_base)
    if damaged:
        log.warning("%s: %d packets of its sound are damaged and left out", path, damaged)
