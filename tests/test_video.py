"""Videos in and out: every frame, at its time, the right way up, in the right colours, with its sound."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep

import av
import numpy as np
import pytest

from dance import config, video
from dance.types import Frame, InputError

ROOT = Path(__file__).parents[1]
SIZE = (48, 64)
UNEVEN = [Fraction(ms, 1000) for ms in (0, 40, 73, 200, 210, 560, 600)]
FAST = video.Encoding(preset="ultrafast")

Picture = np.ndarray


def scene(index: int, size: tuple[int, int] = SIZE) -> Picture:
    """A picture that differs in its corners and from frame to frame: red, green / blue, white; a bar walks."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 200)
    image[height // 2 :, width // 2 :] = (220, 220, 220)
    image[height // 2 - 4 : height // 2 + 4, index % width : index % width + 6] = 0
    return image


def frames(times: list[Fraction] = UNEVEN, size: tuple[int, int] = SIZE) -> Iterator[Frame]:
    for index, time in enumerate(times):
        yield Frame(scene(index, size), time, index)


def even_times(count: int, rate: int = 25) -> list[Fraction]:
    return [Fraction(index, rate) for index in range(count)]


def make(
    path: Path,
    pictures: list[Picture],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    set_up: Callable[[av.VideoStream], None] = lambda stream: None,
    convert: Callable[[Picture], av.VideoFrame] | None = None,
    sound: str | None = None,
    container: dict[str, str] | None = None,
    first: int = 0,
) -> Path:
    """A clip of 25 frames a second written with PyAV alone, so that faults of ours cannot cancel out."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", container_options=container or {}) as output:
        stream = output.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        set_up(stream)
        tone = output.add_stream(sound, rate=48000) if sound else None
        for index, rgb in enumerate(pictures):
            if convert is None:
                frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
                frame = frame.reformat(format=pixels, dst_colorspace="ITU601")
            else:
                frame = convert(rgb)
            frame.pts, frame.time_base = first + index, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if isinstance(tone, av.AudioStream):
            wave = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
            heard = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, 0, Fraction(1, 48000)
            resampler = av.AudioResampler(tone.format, tone.layout, tone.rate)
            for part in resampler.resample(heard):
                output.mux(tone.encode(part))
            output.mux(tone.encode(None))
    return path


def scenes(count: int = 5, size: tuple[int, int] = SIZE) -> list[Picture]:
    return [scene(index, size) for index in range(count)]


def corners(rgb: Picture) -> list[list[int]]:
    height, width = rgb.shape[:2]
    rows, columns = (height // 5, height - height // 5), (width // 5, width - width // 5)
    return [rgb[y, x].tolist() for y in rows for x in columns]


def assert_near(found: list[list[int]], wanted: list[list[int]], *, within: int) -> None:
    difference = np.abs(np.array(found) - np.array(wanted)).max()
    assert difference <= within, f"{found} is not {wanted}"


def times(path: Path) -> list[Fraction]:
    return [frame.time for frame in video.read(path)]


def tasks() -> int:
    """Threads of this process, those of codecs included where the system tells."""
    listed = Path("/proc/self/task")
    return len(os.listdir(listed)) if listed.is_dir() else threading.active_count()


def ended(before: int, seconds: float = 3.0) -> bool:
    """Whether no more threads run than before, once those that are ending have had time to."""
    until = monotonic() + seconds
    while tasks() > before and monotonic() < until:
        sleep(0.02)
    return tasks() <= before


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of video with AAC sound, whose priming an edit list hides."""
    return make(tmp_path_factory.mktemp("drivers") / "driver.mp4", scenes(25), sound="aac")


# ---- times


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    count = video.write(frames(), tmp_path / "a.mp4", encoding=FAST)
    assert count == len(UNEVEN)
    assert times(tmp_path / "a.mp4") == UNEVEN


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4", ".m4v"])
def test_every_container_keeps_the_times_it_can(suffix: str, tmp_path: Path) -> None:
    late = [time + Fraction(1, 7) for time in UNEVEN]
    path = tmp_path / f"a{suffix}"
    video.write(frames(late), path, encoding=FAST)
    worst = max(abs(a - b) for a, b in zip(times(path), late, strict=True))
    assert worst <= (Fraction(1, 2000) if suffix == ".mkv" else Fraction(1, 10000))


def test_the_last_frame_is_shown_until_the_end_that_is_asked_for(tmp_path: Path) -> None:
    for encoding in (FAST, video.Encoding(preset="medium")):  # without and with B-frames
        for end, wanted in ((Fraction(3, 2), Fraction(3, 2)), (None, Fraction(64, 100))):
            path = tmp_path / "a.mp4"
            video.write(frames(), path, encoding=encoding, end=end, overwrite=True)
            assert video.probe(path).end == wanted
            assert times(path) == UNEVEN


def test_a_single_frame_is_a_video(tmp_path: Path) -> None:
    video.write(frames([Fraction(0)]), tmp_path / "a.mp4", encoding=FAST, end=Fraction(1, 5))
    info = video.probe(tmp_path / "a.mp4")
    assert (info.frames, info.end) == (1, Fraction(1, 5))
    assert times(tmp_path / "a.mp4") == [0]


def test_film_and_television_rates_are_exact(tmp_path: Path) -> None:
    wanted = [Fraction(1001 * index, 30000) for index in range(8)]
    video.write(frames(wanted), tmp_path / "a.mp4", encoding=FAST)
    assert times(tmp_path / "a.mp4") == wanted
    assert video.probe(tmp_path / "a.mp4").rate == Fraction(30000, 1001)


def test_only_the_frames_an_edit_list_shows_are_read(tmp_path: Path) -> None:
    # Pictures before time 0 are what a stream copy cut between key frames leaves: stored, but not shown.
    path = make(tmp_path / "a.mp4", scenes(20), first=-8, options={"bf": "0"})
    found = list(video.read(path))
    assert [frame.time for frame in found] == even_times(12)
    assert [frame.index for frame in found] == list(range(12))
    assert video.probe(path).frames == 12
    assert np.abs(found[0].rgb.astype(int) - scene(8)).mean() < 12


def test_a_broadcast_clock_starts_at_zero(tmp_path: Path) -> None:
    path = make(tmp_path / "a.ts", scenes(6), sound="aac", container={"output_ts_offset": "7"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time * container.streams.video[0].time_base >= 7
    found = times(path)
    assert 0 <= found[0] < Fraction(1, 20)
    assert [b - a for a, b in pairwise(found)] == [Fraction(1, 25)] * 5


def test_missing_and_backward_times_are_mended() -> None:
    from dance.video.decode import Clock

    class Stamped:
        time_base = Fraction(1, 100)

        def __init__(self, pts: int | None) -> None:
            self.pts, self.dts = pts, None

    clock = Clock(Fraction(0), Fraction(25))
    found = [clock.next(Stamped(pts)) for pts in (0, 4, None, 12, 11, 16, -500, -496)]  # type: ignore[arg-type]
    assert all(b > a for a, b in pairwise(found))
    assert found[2] == Fraction(8, 100)  # missing: one frame on
    assert found[5] == Fraction(16, 100)  # a single slip does not move those after it
    assert [found[6], found[7]] == [Fraction(20, 100), Fraction(24, 100)]  # a new clock goes on
    stamps = [Stamped(pts) for pts in (0, 4, 5000, 5004)]
    waits, jumps = (Clock(Fraction(0), Fraction(25), may_jump=may) for may in (False, True))
    assert [waits.next(s) for s in stamps][2:] == [50, Fraction(5004, 100)]  # type: ignore[arg-type]
    assert [jumps.next(s) for s in stamps][2:] == [Fraction(8, 100), Fraction(12, 100)]  # type: ignore[arg-type]


# ---- the right way up, in the right shape


def matrix(a: int, b: int, c: int, d: int) -> list[int]:
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


# The stored picture that a display matrix (x' = ax + cy, y' = bx + dy) makes the scene again.
MATRICES = {
    "0": (matrix(1, 0, 0, 1), lambda x: x),
    "90": (matrix(0, 1, -1, 0), lambda x: np.rot90(x, 1)),
    "180": (matrix(-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "270": (matrix(0, -1, 1, 0), lambda x: np.rot90(x, -1)),
    "mirrored": (matrix(-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside down": (matrix(1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": (matrix(0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    "anti-transposed": (matrix(0, -1, -1, 0), lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_every_rotation_and_mirror_is_undone(name: str, tmp_path: Path) -> None:
    values, store = MATRICES[name]
    stored = [np.ascontiguousarray(store(picture)) for picture in scenes(2)]
    path = make(
        tmp_path / "a.mp4",
        stored,
        set_up=lambda stream: stream.set_display_matrix(values),
    )
    info, frame = video.probe(path), next(video.read(path))
    assert info.size == frame.size == SIZE
    assert info.stored_size == stored[0].shape[:2]
    assert_near(corners(frame.rgb), corners(scene(0)), within=8)


def test_a_turned_video_can_be_scaled_on_the_way(tmp_path: Path) -> None:
    values, store = MATRICES["90"]
    stored = [np.ascontiguousarray(store(scene(0)))]
    path = make(tmp_path / "a.mp4", stored, set_up=lambda s: s.set_display_matrix(values))
    frame = next(video.read(path, size=(24, 32)))
    assert frame.size == (24, 32)
    assert_near(corners(frame.rgb), corners(scene(0)), within=8)


@pytest.mark.parametrize(
    ("aspect", "size"),
    [(Fraction(3, 2), (48, 96)), (Fraction(1, 2), (96, 64)), (Fraction(500), SIZE)],
)
def test_pixels_are_made_square(aspect: Fraction, size: tuple[int, int], tmp_path: Path) -> None:
    def squeeze(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    path = make(tmp_path / "a.mp4", scenes(2), set_up=squeeze)
    frame = next(video.read(path))
    assert video.probe(path).size == frame.size == size
    assert_near(corners(frame.rgb), corners(scene(0, size)), within=8)


def test_odd_sizes_are_kept_on_reading_and_made_even_on_writing(tmp_path: Path) -> None:
    size = (35, 51)
    path = make(tmp_path / "a.webm", scenes(3, size), codec="libvpx-vp9")
    assert next(video.read(path)).size == size
    video.write(video.read(path), tmp_path / "b.mp4", encoding=FAST)
    frame = next(video.read(tmp_path / "b.mp4"))
    assert frame.size == (36, 52)
    assert_near(corners(frame.rgb[:35, :51]), corners(scene(0, size)), within=12)
    # The row and column added repeat the ones beside them.
    assert_near([frame.rgb[35, 40].tolist()], [frame.rgb[34, 40].tolist()], within=12)
    assert_near([frame.rgb[30, 51].tolist()], [frame.rgb[30, 50].tolist()], within=12)


@pytest.mark.parametrize("told", [False, True])
def test_interlaced_pictures_are_woven_at_the_same_times(told: bool, tmp_path: Path) -> None:
    size = (64, 96)
    moving = []
    for index in range(8):
        whole = np.full((*size, 3), 40, np.uint8)
        for field in (0, 1):
            left = 8 * index + 4 * field
            whole[field::2, left : left + 16] = 230
        moving.append(whole)

    def interlaced(stream: av.VideoStream) -> None:
        stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct
        if told:
            tagged(6, 1, 6, 6)(stream)

    path = make(
        tmp_path / "a.mp4", moving, set_up=interlaced, options={"x264-params": "tff=1", "crf": "5"}
    )
    found = list(video.read(path))
    assert video.probe(path).interlaced
    assert [frame.time for frame in found] == even_times(8)

    def combed(rgb: Picture) -> float:
        luma = rgb[..., 1].astype(int)
        return float(np.abs(2 * luma[1:-1] - luma[:-2] - luma[2:]).mean())

    assert combed(moving[4]) > 20
    assert_near([found[4].rgb[2, 90].tolist()], [[40, 40, 40]], within=3)
    assert combed(found[4].rgb) < 0.3 * combed(moving[4])


# ---- colours


def tagged(
    matrix_number: int, range_number: int, primaries: int = 2, transfer: int = 2
) -> Callable[[av.VideoStream], None]:
    def set_up(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.colorspace, context.color_range = matrix_number, range_number
        context.color_primaries, context.color_trc = primaries, transfer

    return set_up


def flat(y: float, u: float, v: float, bits: int = 8) -> Callable[[Picture], av.VideoFrame]:
    """Makes frames of one colour given by its code values."""

    def convert(rgb: Picture) -> av.VideoFrame:
        height, width = rgb.shape[:2]
        kind = np.uint8 if bits == 8 else np.uint16
        planes = np.zeros((height * 3 // 2, width), kind)
        planes[:height] = round(y)
        planes[height : height + height // 4] = round(u)
        planes[height + height // 4 :] = round(v)
        return av.VideoFrame.from_ndarray(planes, "yuv420p" if bits == 8 else "yuv420p10le")

    return convert


WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def codes(rgb: tuple[int, int, int], matrix_number: int, full: bool, bits: int = 8) -> list[float]:
    """The YUV code values of a colour, straight from the definitions."""
    kr, kb = WEIGHTS[matrix_number]
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if full:
        top = 2**bits - 1
        return [y * top, u * top + 2 ** (bits - 1), v * top + 2 ** (bits - 1)]
    step = 2 ** (bits - 8)
    return [(16 + 219 * y) * step, (128 + 224 * u) * step, (128 + 224 * v) * step]


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix_number", [1, 6])
def test_matrices_and_ranges_are_followed(
    matrix_number: int, full: bool, bits: int, tmp_path: Path
) -> None:
    colour = (180, 60, 90)
    path = make(
        tmp_path / "a.mp4",
        scenes(1),
        codec="libx264",
        pixels="yuv420p" if bits == 8 else "yuv420p10le",
        options={"qp": "1"},
        set_up=tagged(matrix_number, 2 if full else 1),
        convert=flat(*codes(colour, matrix_number, full, bits), bits),
    )
    assert_near([next(video.read(path)).rgb[20, 20].tolist()], [list(colour)], within=2)


@pytest.mark.parametrize(("size", "matrix_number"), [((48, 64), 6), ((600, 64), 1)])
def test_colours_that_are_not_told_follow_the_size(
    size: tuple[int, int], matrix_number: int, tmp_path: Path
) -> None:
    colour = (180, 60, 90)
    path = make(
        tmp_path / "a.mp4",
        scenes(1, size),
        options={"qp": "1"},
        convert=flat(*codes(colour, matrix_number, False)),
    )
    assert_near([next(video.read(path)).rgb[20, 20].tolist()], [list(colour)], within=2)


def test_wide_gamut_colours_become_srgb(tmp_path: Path) -> None:
    # BT.709's pure green, a little dimmed, as BT.2020 has it (ITU-R BT.2087, gamma 2.4).
    light = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    wide = (light @ (np.array([0, 0.5, 0]))) ** (1 / 2.4) * 255
    path = make(
        tmp_path / "a.mp4",
        scenes(1),
        pixels="yuv420p10le",
        options={"qp": "1"},
        set_up=tagged(9, 1, primaries=9, transfer=14),
        convert=flat(*codes(tuple(wide), 9, False, 10), 10),
    )
    wanted = [0, round(0.5 ** (1 / 2.4) * 255), 0]
    assert_near([next(video.read(path)).rgb[20, 20].tolist()], [wanted], within=3)


@pytest.mark.parametrize(
    ("transfer", "white", "grey"),
    # HDR signals of diffuse white (203 nits) and of a mid grey (26 nits), from ITU-R BT.2408.
    [(16, 0.58, 0.38), (18, 0.75, 0.38)],
)
def test_hdr_is_shown_with_white_near_white_and_grey_as_grey(
    transfer: int, white: float, grey: float, tmp_path: Path
) -> None:
    shown = {}
    for name, signal in {"black": 0.0, "grey": grey, "white": white, "peak": 1.0}.items():
        path = make(
            tmp_path / f"{name}.mp4",
            scenes(1),
            pixels="yuv420p10le",
            options={"qp": "1"},
            set_up=tagged(9, 1, primaries=9, transfer=transfer),
            convert=flat(64 + 876 * signal, 512, 512, 10),
        )
        pixel = next(video.read(path)).rgb[20, 20].astype(int)
        assert np.ptp(pixel) <= 2  # no colour cast
        shown[name] = pixel[1]
    assert shown["black"] <= 2 and shown["peak"] >= 253
    assert 85 <= shown["grey"] <= 125
    assert 215 <= shown["white"] <= 245


def test_written_colours_come_back_and_are_tagged(tmp_path: Path) -> None:
    video.write(frames(), tmp_path / "a.mp4", encoding=video.Encoding(crf=4))
    frame, info = next(video.read(tmp_path / "a.mp4")), video.probe(tmp_path / "a.mp4")
    assert_near(corners(frame.rgb), corners(scene(0)), within=3)
    assert (info.primaries, info.transfer, info.matrix, info.full_range) == (1, 1, 1, False)


def test_conversion_there_and_back_does_not_drift(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    video.write(iter([Frame(ramp)]), tmp_path / "a.mp4", encoding=video.Encoding(crf=1))
    difference = next(video.read(tmp_path / "a.mp4")).rgb.astype(int) - ramp
    assert abs(difference.mean()) < 0.3
    assert np.abs(difference).max() <= 3


# ---- codecs


@pytest.mark.parametrize(
    ("encoding", "suffix", "codec"),
    [
        (video.Encoding(preset="ultrafast"), ".mp4", "h264"),
        (video.Encoding(codec="hevc", preset="ultrafast"), ".mp4", "hevc"),
        (video.Encoding(codec="av1", preset="12"), ".mp4", "av1"),
        (video.Encoding(codec="av1", preset="12"), ".webm", "av1"),
        (video.Encoding(codec="vp9", preset="8"), ".webm", "vp9"),
        (video.Encoding(codec="prores"), ".mov", "prores"),
    ],
)
def test_every_codec_keeps_pictures_and_times(
    encoding: video.Encoding, suffix: str, codec: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    path, size = tmp_path / f"a{suffix}", (96, 128)
    video.write(frames(size=size), path, encoding=encoding)
    assert video.probe(path).codec == codec
    found = list(video.read(path))
    assert max(abs(f.time - t) for f, t in zip(found, UNEVEN, strict=True)) < Fraction(1, 1000)
    for index, frame in enumerate(found):
        assert np.abs(frame.rgb.astype(int) - scene(index, size)).mean() < 6
    assert capfd.readouterr().err == ""  # encoders keep quiet


def test_hevc_carries_the_name_apple_asks_for(tmp_path: Path) -> None:
    video.write(frames(), tmp_path / "a.mp4", encoding=video.Encoding(codec="hevc"))
    assert b"hvc1" in (tmp_path / "a.mp4").read_bytes()


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_lossless_keeps_every_pixel(codec: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3, 35, 51, 3), np.uint8)
    kept = [Frame(rgb, Fraction(index, 25), index) for index, rgb in enumerate(noise)]
    encoding = video.Encoding(codec=codec, lossless=True)  # type: ignore[arg-type]
    video.write(kept, tmp_path / "a.mkv", encoding=encoding)
    for frame, rgb in zip(video.read(tmp_path / "a.mkv"), noise, strict=True):
        assert np.array_equal(frame.rgb, rgb)


@pytest.mark.parametrize(("codec", "suffix"), [("vp9", ".webm"), ("prores", ".mov")])
def test_transparency_is_written_and_read(codec: str, suffix: str, tmp_path: Path) -> None:
    alpha = np.zeros(SIZE, np.float32)
    alpha[10:40, 10:50], alpha[20:30, 20:40] = 0.5, 1
    path = tmp_path / f"a{suffix}"
    seen = [Frame(frame.rgb, frame.time, frame.index, alpha) for frame in frames()]
    video.write(seen, path, encoding=video.Encoding(codec=codec))  # type: ignore[arg-type]
    assert video.probe(path).has_alpha
    for frame in video.read(path):
        assert frame.alpha is not None
        assert np.abs(frame.alpha - alpha).mean() < 0.02


def test_a_gif_with_transparent_parts_has_alpha(tmp_path: Path) -> None:
    from PIL import Image

    pictures = []
    for index in range(3):
        rgba = np.zeros((20, 30, 4), np.uint8)
        rgba[5:15, 5 + index : 15 + index] = (250, 10, 10, 255)
        pictures.append(Image.fromarray(rgba))
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=80, disposal=2
    )
    found = list(video.read(tmp_path / "a.gif"))
    assert [frame.time for frame in found] == [0, Fraction(8, 100), Fraction(16, 100)]
    alpha = found[1].alpha
    assert alpha is not None and alpha[10, 10] == 1 and alpha[0, 0] == 0


# ---- sound


def test_sound_is_copied_bit_for_bit_at_the_same_times(driver: Path, tmp_path: Path) -> None:
    video.write(video.read(driver), tmp_path / "a.mp4", encoding=FAST, sound=driver)
    packets = list(video.sound_packets(driver))
    assert len(packets) > 40 and packets[0][0] < 0  # the priming is there
    assert list(video.sound_packets(tmp_path / "a.mp4")) == packets


def test_sound_stays_in_place_where_an_edit_list_hides_its_start(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", scenes(25), sound="aac", options={"bf": "0"})
    cut = tmp_path / "cut.mp4"
    # A stream copy that starts within the clip, as phones and editors make it.
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                shift = round(Fraction(2, 5) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    assert len(times(cut)) == 15
    video.write(video.read(cut), tmp_path / "a.mp4", encoding=FAST, sound=cut)
    packets = list(video.sound_packets(cut))
    assert packets[0][0] < Fraction(-3, 10)
    assert list(video.sound_packets(tmp_path / "a.mp4")) == packets


def test_sound_longer_and_shorter_than_the_pictures_is_kept(driver: Path, tmp_path: Path) -> None:
    for count in (3, 60):
        path = tmp_path / f"{count}.mp4"
        video.write(frames(even_times(count)), path, encoding=FAST, sound=driver)
        assert list(video.sound_packets(path)) == list(video.sound_packets(driver))
        assert len(times(path)) == count


def test_matroska_gets_the_same_sound_without_moving_the_pictures(
    driver: Path, tmp_path: Path
) -> None:
    video.write(video.read(driver), tmp_path / "a.mkv", encoding=FAST, sound=driver)
    assert times(tmp_path / "a.mkv") == times(driver)
    audible = [packet for packet in video.sound_packets(driver) if packet[0] >= 0]
    found = list(video.sound_packets(tmp_path / "a.mkv"))[-len(audible) :]
    assert [data for _, data in found] == [data for _, data in audible]
    assert max(abs(a - b) for (a, _), (b, _) in zip(found, audible, strict=True)) < Fraction(1, 999)


def test_sound_a_container_cannot_hold_is_encoded_anew_and_said_so(
    driver: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dance"):
        encoding = video.Encoding(codec="vp9", preset="8")
        video.write(video.read(driver), tmp_path / "a.webm", encoding=encoding, sound=driver)
    assert video.probe(tmp_path / "a.webm").sound_codec == "opus"
    assert any("cannot hold its aac sound" in record.getMessage() for record in caplog.records)
    length = list(video.sound_packets(tmp_path / "a.webm"))[-1][0]
    assert Fraction(9, 10) < length < Fraction(11, 10)


@pytest.mark.parametrize(
    ("suffix", "codec", "kept"),
    [(".avi", "pcm_s16le", "aac"), (".mkv", "libopus", "opus"), (".ts", "aac", "aac")],
)
def test_sound_of_other_containers_lands_in_mp4(
    suffix: str, codec: str, kept: str, tmp_path: Path
) -> None:
    source = make(tmp_path / f"a{suffix}", scenes(25), sound=codec)
    video.write(video.read(source), tmp_path / "b.mp4", encoding=FAST, sound=source)
    info = video.probe(tmp_path / "b.mp4")
    assert (info.sound_codec, info.frames) == (kept, 25)
    shift = times(source)[0] - times(tmp_path / "b.mp4")[0]
    first = [
        next(t for t, _ in video.sound_packets(p) if t >= 0) for p in (source, tmp_path / "b.mp4")
    ]
    assert abs((first[0] - first[1]) - shift) < Fraction(3, 100)


def test_a_silent_driver_gives_a_silent_result(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", scenes(3))
    video.write(video.read(source), tmp_path / "b.mp4", encoding=FAST, sound=source)
    assert not video.probe(tmp_path / "b.mp4").has_sound


def test_sound_is_interleaved_with_the_pictures(driver: Path, tmp_path: Path) -> None:
    video.write(video.read(driver), tmp_path / "a.mp4", encoding=FAST, sound=driver)
    with av.open(str(tmp_path / "a.mp4")) as container:
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    middle = kinds[len(kinds) // 4 : 3 * len(kinds) // 4]
    assert {"audio", "video"} <= set(middle)


# ---- metadata


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_metadata_comes_back(suffix: str, tmp_path: Path) -> None:
    told = {"dance_config": '{"height": 160, "name": "Zoë"}', "comment": "x" * 20000}
    video.write(frames(), tmp_path / f"a{suffix}", encoding=FAST, metadata=told)
    found = video.probe(tmp_path / f"a{suffix}").metadata
    assert {key: found.get(key) for key in told} == told


def test_the_index_comes_first(tmp_path: Path) -> None:
    video.write(frames(), tmp_path / "a.mp4", encoding=FAST)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_probe_tells_what_the_file_holds(driver: Path) -> None:
    info = video.probe(driver)
    assert (info.size, info.frames, info.rate) == (SIZE, 25, 25)
    assert (info.start, info.end, info.duration) == (0, 1, 1)
    assert (info.codec, info.has_sound, info.sound_codec) == ("h264", True, "aac")
    assert not (info.interlaced or info.has_alpha or info.turn.mirrored or info.turn.rotation)


# ---- whole or not at all


class Stop(Exception):  # noqa: N818 - not an error of the module under test
    """Raised by the frames of a test."""


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stopped_write_leaves_nothing_and_an_older_file_untouched(
    error: type[BaseException], after: int, driver: Path, tmp_path: Path
) -> None:
    def broken() -> Iterator[Frame]:
        for index, frame in enumerate(frames()):
            if index == after:
                raise error
            yield frame

    (tmp_path / "old.mp4").write_bytes(b"precious")
    # The first round starts the libraries' own pools, which stay; a second one may leave nothing more.
    for _ in range(2):
        before = tasks()
        for name in ("old.mp4", "new.mp4"):
            with pytest.raises(error):
                video.write(broken(), tmp_path / name, encoding=FAST, sound=driver, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"
    assert ended(before)


def test_no_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not one frame"):
        video.write(iter(()), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_refused_before_a_frame_is_asked_for(tmp_path: Path) -> None:
    def never() -> Iterator[Frame]:
        raise AssertionError("computed for nothing")
        yield

    (tmp_path / "a.mp4").write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already"):
        video.write(never(), tmp_path / "a.mp4")
    video.write(frames(), tmp_path / "a.mp4", encoding=FAST, overwrite=True)
    assert len(times(tmp_path / "a.mp4")) == len(UNEVEN)


def test_outputs_that_cannot_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    vp9, prores = video.Encoding(codec="vp9"), video.Encoding(codec="prores")
    refused = [
        (tmp_path / "a.gif", FAST, r"cannot write \.gif; name it \.mp4"),
        (tmp_path / "a", FAST, "a file without suffix"),
        (tmp_path / "nowhere" / "a.mp4", FAST, "there is no folder"),
        (tmp_path / "folder.mp4", FAST, "is a folder"),
        (tmp_path / "a.webm", FAST, r"\.webm cannot hold h264; name it \.mp4"),
        (tmp_path / "a.mov", vp9, r"\.mov cannot hold vp9; name it \.webm"),
        (tmp_path / "a.mp4", prores, r"cannot hold prores; name it \.mov"),
        (tmp_path / "a.mov", prores.model_copy(update={"lossless": True}), "use h264, hevc, vp9"),
    ]
    for path, encoding, why in refused:
        with pytest.raises(InputError, match=why) as caught:
            video.check_output(path, encoding)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"preset": "warp"}, "h264 takes ultrafast, .* veryslow"),
        ({"codec": "av1", "preset": "fast"}, "av1 takes 0, 1"),
        ({"codec": "hevc", "crf": 60}, "hevc takes at most 51"),
        ({"codec": "prores", "crf": 20}, "prores takes none at all"),
        ({"codec": "divx"}, "'h264', 'hevc', 'av1', 'vp9' or 'prores'"),
        ({"quality": 3}, "known: codec, crf, preset, lossless"),
    ],
)
def test_encodings_that_cannot_be_are_refused_with_what_can(
    wrong: dict[str, object], why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        config.check(video.Encoding, wrong, "--set")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (40, 240, 320, 3), np.uint8)
    many = (Frame(rgb, Fraction(index, 25), index) for index, rgb in enumerate(noise))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"a\.mp4: cannot be written \(File too large\)"):
            video.write(many, tmp_path / "a.mp4", encoding=FAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


# ---- clear errors


def test_every_unusable_file_gives_one_line_that_names_it(tmp_path: Path, driver: Path) -> None:
    from PIL import Image

    data = driver.read_bytes()
    files = {
        "empty.mp4": b"",
        "text.mp4": b"This is not a video.\n" * 20,
        "text.txt": b"This is not a video.\n" * 20,
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "cut.mp4": data[: len(data) // 2],  # the index is at the end
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(40),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(scene(0)).save(tmp_path / "photo.jpg")
    with av.open(str(tmp_path / "sound.m4a"), "w") as output:
        tone = output.add_stream("aac", rate=48000)
        assert isinstance(tone, av.AudioStream)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        heard.sample_rate, heard.pts, heard.time_base = 48000, 0, Fraction(1, 48000)
        for part in av.AudioResampler(tone.format, tone.layout, tone.rate).resample(heard):
            output.mux(tone.encode(part))
        output.mux(tone.encode(None))
    said = {
        "absent.mp4": "no such file",
        "": "is a folder",
        "empty.mp4": "empty",
        "text.mp4": "is text",
        "text.txt": "is text",
        "noise.mp4": "not a video",
        "cut.mp4": "no index",
        "photo.jpg": "is a picture",
        "sound.m4a": "only sound",
    }
    for name, why in said.items():
        for use in (video.probe, lambda path: next(video.read(path))):
            with pytest.raises(InputError) as caught:
                use(tmp_path / name)
            message = str(caught.value)
            assert why in message and str(tmp_path / name) in message and "\n" not in message
    with pytest.raises(InputError):
        video.probe(tmp_path / "phone.heic")


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no such names")
    monkeypatch.chdir(tmp_path)
    path = Path("http:my dance, 50%d.mp4")
    video.write(frames(), path, encoding=FAST)
    assert times(path) == UNEVEN


def test_a_file_that_breaks_off_gives_what_decodes_and_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, *SIZE, 3), np.uint8)
    path = make(tmp_path / "a.mp4", list(noise), container={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    found = list(video.read(path))
    assert 10 < len(found) < 35
    assert [frame.time for frame in found] == even_times(len(found))
    [record] = caplog.records
    assert f"{len(found)} of 40 frames" in record.getMessage()


def test_a_video_none_of_whose_frames_decodes_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", scenes(5), container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = np.random.default_rng(0).bytes(len(data) - start)
    path.write_bytes(data)
    for use in (video.probe, lambda path: list(video.read(path))):
        with pytest.raises(InputError, match="not one frame of it decodes"):
            use(path)


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv", ".avi"])
def test_damaged_files_give_a_video_or_one_clear_error(suffix: str, tmp_path: Path) -> None:
    codec = {".avi": "pcm_s16le", ".mkv": "libopus"}.get(suffix, "aac")
    whole = make(tmp_path / f"a{suffix}", scenes(25), sound=codec).read_bytes()
    made = 0
    for seed in range(8):
        random = np.random.default_rng(seed)
        data = bytearray(whole)
        for place in random.integers(0, len(data), 60):
            data[place] = random.integers(0, 256)
        path, result = tmp_path / f"b{suffix}", tmp_path / f"{seed}.mp4"
        path.write_bytes(data)
        try:
            info = video.probe(path)
            count = video.write(video.read(path), result, encoding=FAST, sound=path, end=info.end)
        except InputError as error:
            assert "\n" not in str(error) and not result.exists()
        else:
            made += 1
            assert len(times(result)) == count
    assert made or suffix == ".mp4"


# ---- reading as one likes


def test_a_reader_left_early_leaves_no_thread(driver: Path) -> None:
    before = tasks()
    for _ in range(3):
        reader = video.read(driver)
        next(reader)
        reader.close()
    assert ended(before)


def test_frames_are_scaled_on_the_way(driver: Path) -> None:
    small, large = next(video.read(driver, size=(24, 32))), next(video.read(driver, size=(96, 128)))
    assert (small.size, large.size) == ((24, 32), (96, 128))
    assert_near(corners(small.rgb), corners(large.rgb), within=6)


@pytest.mark.parametrize("kind", ["plain", "turned", "webm"])
def test_picked_frames_are_those_of_read(kind: str, tmp_path: Path) -> None:
    if kind == "webm":
        path = make(tmp_path / "a.webm", scenes(40), codec="libvpx-vp9", options={"crf": "10"})
    else:
        values = MATRICES["90" if kind == "turned" else "0"][0]
        path = make(tmp_path / "a.mp4", scenes(40), set_up=lambda s: s.set_display_matrix(values))
    wanted = [37, 0, 12, 37]
    every = list(video.read(path))
    picked = video.pick(path, wanted)
    assert [frame.index for frame in picked] == wanted
    for frame in picked:
        assert frame.time == every[frame.index].time
        difference = np.abs(frame.rgb.astype(int) - every[frame.index].rgb)
        assert np.median(difference) <= 2  # decord spreads chroma to blocks: edges differ more
    assert [f.size for f in video.pick(path, [3], size=(20, 30))] == [(20, 30)]
    with pytest.raises(InputError, match="has no frame 40"):
        video.pick(path, [1, 40])


def test_plain_files_are_picked_from_without_reading_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.mp4", scenes(40))

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("read from the start")

    monkeypatch.setattr("dance.video.decode.read", refuse)
    assert [frame.index for frame in video.pick(path, [30, 2])] == [30, 2]


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path = tmp_path / "a.mp4"
    video.write(frames(even_times(3000), (360, 640)), path, encoding=FAST)
    # In a process of its own: the peak of this one may be high already.
    code = """
import resource, sys
from pathlib import Path
from dance import config, video
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for index, frame in enumerate(video.read(Path(sys.argv[1]))):
    if index == 200:
        early = peak()
print(index, peak() / early)
"""
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    last, growth = done.stdout.split()
    assert int(last) == 2999 and float(growth) < 1.05


# ---- real footage


def footage(shared: Path, folder: str) -> list[Path]:
    endings = {".mp4", ".webm", ".gif", ".m4a"}
    return sorted(p for p in (shared / "footage" / folder).iterdir() if p.suffix in endings)


@pytest.mark.slow
def test_every_driver_keeps_count_times_and_sound(shared: Path, tmp_path: Path) -> None:
    for source in (
        *footage(shared, "drivers"),
        shared / "footage/nasty/edit_list_start_offset.mp4",
    ):
        info = video.probe(source)
        path, small = tmp_path / source.name, video.read(source, size=(160, 96))
        count = video.write(small, path, encoding=FAST, sound=source, end=info.end)
        with av.open(str(source)) as container:
            shown = [f.pts * f.time_base for f in container.decode(video=0)]
        found = times(path)
        assert count == len(found) == len(shown) == info.frames, source.name
        assert max(abs(a - b) for a, b in zip(found, shown, strict=True)) <= Fraction(1, 10000)
        assert list(video.sound_packets(path)) == list(video.sound_packets(source)), source.name
        assert abs(video.probe(path).end - info.end) <= Fraction(1, 10000)


@pytest.mark.slow
def test_every_nasty_file_gives_what_it_should(
    shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = {
        "anamorphic_sar_9_8.mp4": (72, (1280, 720)),
        "dance_12fps.gif": (48, (426, 240)),
        "edit_list_start_offset.mp4": (98, (1280, 720)),
        "hard_cuts_two_scenes.mp4": (204, (960, 540)),
        "hevc_10bit.mp4": (64, (1108, 692)),
        "no_person_flat_grey.mp4": (75, (360, 640)),
        "odd_size_333x591_vp9_opus.webm": (96, (591, 333)),
        "person_half_out_of_frame.mp4": (96, (1280, 360)),
        "person_leaves_and_enters.mp4": (96, (1280, 400)),
        "rotated_metadata.mp4": (96, (1280, 720)),
        "single_frame.mp4": (1, (1280, 720)),
        "truncated_60pct_faststart.mp4": (345, (896, 512)),
        "vfr_dropped_frames.mp4": (112, (960, 540)),
        "audio_only.m4a": "only sound",
        "empty.mp4": "is empty",
        "text_named.mp4": "is text",
        "truncated_no_moov.mp4": "no index",
    }
    assert set(expected) == {path.name for path in footage(shared, "nasty")}
    for path in footage(shared, "nasty"):
        wanted = expected[path.name]
        if isinstance(wanted, str):
            with pytest.raises(InputError, match=wanted):
                video.probe(path)
            continue
        found = list(video.read(path, size=(32, 32)))
        assert (len(found), video.probe(path).size) == wanted, path.name
    assert [r.getMessage().split(": ")[1][:21] for r in caplog.records] == ["345 of 571 frames dec"]


@pytest.mark.slow
def test_a_turned_and_a_squeezed_clip_look_like_the_original(shared: Path) -> None:
    plain = next(video.read(shared / "footage/drivers/drv_rooftop_fullbody.mp4")).rgb.astype(int)
    for name in ("rotated_metadata.mp4", "anamorphic_sar_9_8.mp4"):
        other = next(video.read(shared / "footage/nasty" / name)).rgb
        assert np.abs(other - plain).mean() < 4


def test_key_frames_stand_as_close_as_asked_for(tmp_path: Path) -> None:
    encoding = video.Encoding(preset="ultrafast", keyframes=4)
    video.write(frames(even_times(13)), tmp_path / "a.mp4", encoding=encoding)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert all(any(keys[i : i + 4]) for i in range(10))
