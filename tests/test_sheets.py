"""Side-by-side sheets: frames, times, sound, and what a person reads on them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dance import sheets, skeleton, video
from dance.types import JOINTS, Array, Frame, InputError, Person, Pose, Track, View

TIMES = [Fraction(t, 1000) for t in (0, 40, 73, 140, 160, 240, 280, 321)]  # variable rate


def clip(path: Path, colour: tuple[int, int, int], size: tuple[int, int], *, sound: bool = False, times: Sequence[Fraction] = TIMES) -> Path:  # fmt: skip
    """A video of one colour that brightens by 10 levels a frame; with a tone where asked for."""

    def frames() -> Iterator[Frame]:
        for i, time in enumerate(times):
            level = np.minimum(np.array(colour) + 10 * i, 255)
            yield Frame(np.full((*size, 3), level, np.uint8), time, i)

    video.write(frames(), path, encoding=video.Encoding(crf=4), sound=tone(path) if sound else None)
    return path


def tone(beside: Path) -> Path:
    path = beside.with_suffix(".tone.m4a")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100, layout="mono")
        for i in range(15):
            wave = np.sin(np.arange(1024 * i, 1024 * (i + 1)) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * i
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(p) for p in file.demux(audio=0) if p.size]


def track(size: tuple[int, int], count: int = len(TIMES)) -> Track:
    xy = np.zeros((JOINTS, 2), np.float32)
    score = np.zeros(JOINTS, np.float32)
    height, width = size
    for joint, x, y in ((skeleton.LEFT_ELBOW, 0.2, 0.6), (skeleton.LEFT_WRIST, 0.8, 0.6)):
        xy[joint], score[joint] = (x * width, y * height), 1
    return Track([Pose(xy, score)] * count, TIMES[:count], size)


def middle(rgb: Array, left: int, right: int) -> Array:
    """The mean colour of a panel, away from its labels and sticks."""
    height = rgb.shape[0]
    return np.asarray(rgb[int(0.7 * height) : int(0.9 * height), left + 6 : right - 6].mean((0, 1)))


@pytest.mark.parametrize("name", ["sheet.mp4", "a b's [%d] -ü.mov", "sheet.mkv"])
def test_compare_has_the_results_frames_times_sound_and_three_panels(
    tmp_path: Path, name: str
) -> None:
    driver = clip(tmp_path / "dri ver's ü.mp4", (150, 20, 20), (96, 128), sound=True)
    result = clip(tmp_path / "res %03d.mp4", (20, 20, 150), (96, 64), sound=True)
    output = tmp_path / name
    sheets.compare(driver, track((96, 64)), result, output)
    frames = list(video.read(output))
    assert len(frames) == len(TIMES)
    for frame, time in zip(frames, TIMES, strict=True):
        assert abs(frame.time - time) <= (
            Fraction(1, 1999) if name.endswith("mkv") else Fraction(1, 10000)
        )
    assert frames[0].size == (96, 128 + 64 + 64)
    for i, frame in enumerate(frames):
        left, right = middle(frame.rgb, 0, 128), middle(frame.rgb, 192, 256)
        assert left == pytest.approx(np.array([150, 20, 20]) + 10 * i, abs=7)
        assert right == pytest.approx(np.array([20, 20, 150]) + 10 * i, abs=7)
    stick = frames[3].rgb[round(0.6 * 96), 128 + 20 : 128 + 44].mean(0)
    assert stick[0] > 150 > stick[2] + 60
    assert middle(frames[3].rgb, 128, 192).max() < 8
    for edge in (0, 128, 192):
        assert frames[0].rgb[:24, edge : edge + 50].max() > 220
    assert packets(output) == packets(result)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_compare_without_sound_and_with_a_result_shorter_than_the_driver(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (96, 128))
    result = clip(tmp_path / "r.mp4", (20, 20, 150), (96, 64), times=TIMES[:5])
    sheets.compare(driver, track((96, 64)), result, tmp_path / "o.mp4")
    assert len(list(video.read(tmp_path / "o.mp4"))) == 5
    assert not video.probe(tmp_path / "o.mp4").has_sound


def test_a_large_picture_makes_no_sheet_wider_than_a_screen(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (540, 960), times=TIMES[:2])
    sheets.compare(driver, track((1080, 1920), 2), driver, tmp_path / "o.mp4")
    height, width = video.probe(tmp_path / "o.mp4").size
    assert width <= 1922
    assert height == pytest.approx(width / 3 * 9 / 16, abs=3)


def test_a_transparent_result_is_shown_over_grey(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (96, 128))
    alpha = np.zeros((96, 64), np.float32)
    alpha[:48] = 1
    red = np.full((96, 64, 3), (200, 0, 0), np.uint8)
    result = tmp_path / "r.mov"
    frames = [Frame(red, time, i, alpha) for i, time in enumerate(TIMES)]
    video.write(frames, result, encoding=video.Encoding(codec="prores"))
    sheets.compare(driver, track((96, 64)), result, tmp_path / "o.mp4")
    rgb = next(video.read(tmp_path / "o.mp4")).rgb
    assert middle(rgb, 192, 256) == pytest.approx([128] * 3, abs=8)
    assert rgb[40, 215:235].mean(0)[0] > 180


def test_sound_the_container_cannot_hold_is_encoded_anew(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (96, 128))
    result = tmp_path / "r.mkv"
    with av.open(str(result), "w") as file:
        pictures = file.add_stream("libx264", rate=25, width=64, height=96, pix_fmt="yuv420p")
        sound = file.add_stream("libopus", rate=48000, layout="stereo")
        for _ in TIMES:
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 64, 3), np.uint8), format="rgb24")
            file.mux(pictures.encode(frame))
        wave = np.zeros((2, 4 * 2048), np.float32)
        noise = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        noise.sample_rate = 48000
        file.mux(sound.encode(noise))
        file.mux(pictures.encode())
        file.mux(sound.encode())
    sheets.compare(driver, track((96, 64)), result, tmp_path / "o.mov")
    assert video.probe(tmp_path / "o.mov").has_sound


def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (96, 128), times=TIMES[:2])
    output = tmp_path / "o.mp4"
    output.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        sheets.compare(driver, track((96, 64), 2), driver, output)
    assert output.read_bytes() == b"mine"
    sheets.compare(driver, track((96, 64), 2), driver, output, overwrite=True)
    assert len(list(video.read(output))) == 2


def test_ffmpegs_failure_is_one_line_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = clip(tmp_path / "d.mp4", (150, 20, 20), (96, 128), times=TIMES[:2])
    before = {p.name for p in tmp_path.iterdir()}
    real = sheets.ffmpeg.compile
    monkeypatch.setattr(
        sheets.ffmpeg,
        "compile",
        lambda job, cmd: [*real(job, cmd=cmd)[:-1], "-nonsense", "1", "-y"],
    )
    with pytest.raises(InputError, match="ffmpeg failed") as error:
        sheets.compare(driver, track((96, 64), 2), driver, tmp_path / "o.mp4")
    assert "\n" not in str(error.value)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_the_preview_shows_both_sticks_at_the_drivers_times_with_its_sound(tmp_path: Path) -> None:
    driver = clip(tmp_path / "d.mp4", (60, 60, 60), (96, 128), sound=True)
    grey = np.full((96, 64, 3), 100, np.uint8)
    retargeted = track((96, 64))
    view = View(Frame(grey), retargeted.poses[0], np.ones((96, 64), np.float32))
    person = Person([view], grey, retargeted)
    output = tmp_path / "p.mp4"
    sheets.preview(driver, person, retargeted, output, driver_track=track((96, 128)))
    frames = list(video.read(output))
    assert [abs(f.time - t) <= Fraction(1, 10000) for f, t in zip(frames, TIMES, strict=True)]
    for middle_of_stick in (64, 128 + 32):
        red, _, blue = frames[2].rgb[round(0.6 * 96), middle_of_stick].astype(int)
        assert red - blue > 80
    assert packets(output) == packets(driver)


def test_a_contact_sheet_sets_pictures_in_rows() -> None:
    pictures = [np.full((20, 40, 3), 10 * (i + 1), np.uint8) for i in range(5)]
    pictures[3] = np.full((40, 40, 3), 40, np.uint8)
    sheet = sheets.contact_sheet(pictures, 3, width=20)
    assert sheet.shape == (10 + 20, 60, 3)
    assert sheet[5, 30].tolist() == [20] * 3
    assert sheet[25, 10].tolist() == [40] * 3
    assert sheet[12, 30].tolist() == [50] * 3
    assert sheet[25, 30].tolist() == [128] * 3


def test_labels_of_a_contact_sheet_are_written_on_it() -> None:
    pictures = [np.zeros((60, 80, 3), np.uint8)] * 2
    sheet = sheets.contact_sheet(pictures, 2, width=80, labels=["", "b"])
    assert not sheet[:, :80].any()
    assert sheet[:, 80:].max() > 200
