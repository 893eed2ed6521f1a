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

from dance.video.probe import LONGEST_PAUSE, may_jump, open_input, origin

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

_OVERLAP = Fraction(1, 20)  # seconds; time stamps of containers are that coarse
_AAC_BIT_RATE = 192_000
_OPUS_BIT_RATE = 128_000
_USUAL_RATE = 48_000


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
        codec = stream.codec_context.codec.canonical_name
        if codec not in HOLDS[suffix]:
            why = f"{suffix} cannot hold its {codec} sound"
        elif not _can_be_copied(path, output.format.name):
            why = "its sound is damaged"
        else:
            target = output.add_stream_from_template(stream)
            self._packets = _copied(container, stream, target, path)
            if suffix in _WITHOUT_EDIT_LISTS:
                self._packets = _audible(self._packets)
            return
        encoder = "libopus" if suffix == ".webm" else "aac"
        log.info("%s: %s; encoded anew as %s", path, why, encoder)
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


class _Nowhere:
    """A file that forgets what is written to it."""

    def __init__(self) -> None:
        self._place = self._end = 0

    def write(self, data: bytes) -> int:
        """Moves on by the length of the data."""
        self._place += len(data)
        self._end = max(self._end, self._place)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to a place, as files do."""
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place


def _can_be_copied(path: Path, container: str) -> bool:
    """Whether every packet of the file's sound can be put into the container; damaged ones may be refused.

    To be known before anything is computed: a muxer refuses a packet only when it gets there.
    """
    try:
        with open_input(path) as source, av.open(_Nowhere(), "w", format=container) as trial:
            stream = _sound_stream(source)
            assert stream is not None
            target = trial.add_stream_from_template(stream)
            for packet, _ in _copied(source, stream, target, path):
                trial.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        log.info("%s: its sound cannot be copied (%s)", path, error)
        return False
    return True


def _copied(
    container: InputContainer, source: av.AudioStream, target: av.AudioStream, path: Path
) -> Iterator[tuple[Packet[av.AudioStream], Fraction]]:
    """The stream's packets and their times, unchanged but for a clock that starts elsewhere or runs backwards."""
    base = Fraction(source.time_base or 1)
    shift = round(origin(container) / base)
    jumps = may_jump(container)
    last: int | None = None
    due: int | None = None
    for packet in _demuxed(container, source, path):
        stamp = packet.dts if packet.dts is not None else packet.pts
        stamp = (due or 0) if stamp is None else stamp - shift
        if last is not None and due is not None:
            jumped = jumps and (stamp - due) * base > LONGEST_PAUSE
            if jumped or stamp <= last:
                # Past a jump of the clock all the rest is late as well; a slip concerns one packet.
                shift += stamp - due if jumped or due - stamp > 1 / base else 0
                stamp = due
        packet.dts = packet.pts = last = stamp
        due = stamp + max(1, packet.duration or 0)
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
    for other in container.streams:
        if other.index != source.index:
            other.discard = Discard.all
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
    possible = av.Codec(encoder, "w").audio_rates or [context.sample_rate]
    rate = context.sample_rate if context.sample_rate in possible else _USUAL_RATE
    target = output.add_stream(encoder, rate=rate)
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

    def new_resampler() -> av.AudioResampler:
        return av.AudioResampler(target.format, target.layout, target.rate, target.frame_size)

    def decoded() -> Iterator[av.AudioFrame]:
        nonlocal damaged
        for packet in _demuxed(container, source, path):
            try:
                yield from packet.stream.decode(packet)
            except av.error.FFmpegError:
                damaged += 1
        yield from source.codec_context.decode(None)

    def in_order() -> Iterator[av.AudioFrame]:
        """The decoded sound without what lies before the sound already passed on."""
        nonlocal damaged
        due: Fraction | None = None
        for frame in decoded():
            unit = Fraction(frame.time_base or 1)
            if frame.pts is not None:
                frame.pts -= round(zero / unit)
                start = frame.pts * unit
                if due is not None and start < due - _OVERLAP:
                    damaged += 1
                    continue
                due = start + Fraction(frame.samples, frame.sample_rate)
            yield frame

    def packets() -> Iterator[Packet[av.AudioStream]]:
        resampler, kind = new_resampler(), None
        for frame in in_order():
            # Broadcasts change between mono, stereo and more within one stream.
            before, kind = kind, (frame.format.name, frame.layout.name, frame.sample_rate)
            if before not in (None, kind):
                for part in resampler.resample(None):
                    yield from target.encode(part)
                resampler = new_resampler()
            for part in resampler.resample(frame):
                yield from target.encode(part)
        for part in resampler.resample(None):
            yield from target.encode(part)
        yield from target.encode(None)

    last: int | None = None
    for packet in packets():
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or (last is not None and stamp <= last):
            damaged += 1
            continue
        last = stamp
        yield packet, stamp * Fraction(packet.time_base)
    if damaged:
        log.warning("%s: %d packets of its sound are damaged and left out", path, damaged)
