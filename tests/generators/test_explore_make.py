"""Looking inside generators from files to files: who is studied, what is written, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from drawn_person import SIZE, draw_person, standing
from PIL import Image

from dance import explore, plugins, video
from dance.explore import _subject as subjects
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import dense_transfer, pg2
from dance.types import Array, Frame, InputError, Person, Pose

NAMES = plugins.names("dance.explore")
_WIDTH = 176  # of a cell


def save(name: str, path: Path) -> Path:
    generator = plugins.load("dance.generators", name)
    architecture = generator.untrained().architecture
    single.save(path, name, generator.body(architecture), architecture)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rgb, _ = draw_person(standing())
    Image.fromarray(rgb).save(tmp_path / "somebody.png")
    return tmp_path / "somebody.png"


@pytest.fixture
def studied(monkeypatch: pytest.MonkeyPatch, person: Person, dance: list[Pose]) -> None:
    subject = Subject(person, dance[:1], person)
    monkeypatch.setattr(explore, "study", lambda *args, **kwargs: subject)


@pytest.mark.usefixtures("studied")
def test_pictures_and_videos_are_written_into_the_folder(tmp_path: Path, photo: Path) -> None:
    weights, out = save("dpig", tmp_path / "w.safetensors"), tmp_path / "deep" / "out"
    made = explore.make("dpig", photo, out, weights=weights, options={"samples": 2})
    assert {path.name for path in made} == {"samples.png", "interpolation.png", "interpolation.mp4", "clothes.png"}  # fmt: skip
    assert sorted(out.iterdir()) == sorted(made)
    assert video.probe(out / "interpolation.mp4").frames == 48
    assert Image.open(out / "samples.png").size[0] == 4 * _WIDTH
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.usefixtures("studied")
def test_a_folder_that_holds_something_is_only_written_to_when_told(
    tmp_path: Path, photo: Path
) -> None:
    weights, out = save("pg2", tmp_path / "w.safetensors"), tmp_path / "out"
    out.mkdir()
    (out / "stages.png").write_bytes(b"mine")
    (out / "notes.txt").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not empty; give another folder, or --overwrite"):
        explore.make("pg2", photo, out, weights=weights)
    assert (out / "stages.png").read_bytes() == b"mine"
    explore.make("pg2", photo, out, weights=weights, overwrite=True)
    assert Image.open(out / "stages.png").size[0] == 5 * _WIDTH
    assert (out / "notes.txt").read_bytes() == b"mine"


@pytest.mark.usefixtures("studied")
def test_what_fails_leaves_nothing_behind(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, out = save("pg2", tmp_path / "w.safetensors"), tmp_path / "some" / "out"

    def full(path: Path, rgb: Array) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(explore.picture, "write", full)
    with pytest.raises(InputError, match="cannot be written"):
        explore.make("pg2", photo, out, weights=weights)
    assert not any(out.parent.iterdir())


def test_a_painted_atlas_is_not_replaced_by_what_it_was_painted_from(
    tmp_path: Path, photo: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "atlas.png").write_bytes(b"painted")
    with pytest.raises(InputError, match=r"atlas\.png: lies in .*out, which is written to"):
        explore.make(
            "dense_transfer", photo, out, options={"atlas": out / "atlas.png"}, overwrite=True
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "samples = 0"),
        ({"sampels": 3}, "unknown key 'sampels'; known: samples, steps, seed, spread"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, int], said: str, tmp_path: Path, photo: Path
) -> None:
    with pytest.raises(InputError, match=said):
        explore.make("dpig", photo, tmp_path / "out", options=options)


def test_files_that_are_not_there_are_refused(tmp_path: Path, photo: Path) -> None:
    for given in ({"other": tmp_path / "no.png"}, {"poses": [tmp_path / "no.png"]}):
        with pytest.raises(InputError, match=r"no\.png: there is no such file"):
            explore.make("pg2", photo, tmp_path / "out", **given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a file; give a folder"):
        explore.make("pg2", photo, photo)


class _Finder:
    """An estimator of the drawn person, who moves to the right in every picture it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, frame: Frame, near: Pose | None) -> list[Pose]:
        self.seen += 1
        return [standing((0.5 * self.seen, 0))]

    def close(self) -> None:
        pass


def test_poses_are_taken_of_photos_and_spread_over_videos(
    photo: Path, tmp_path: Path, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, _ = draw_person(standing())
    clip = tmp_path / "clip.mp4"
    video.write((Frame(rgb, Fraction(i, 10), i) for i in range(12)), clip)
    monkeypatch.setattr(subjects.pipeline, "build_estimator", lambda *a, **k: _Finder())
    monkeypatch.setattr(subjects.pipeline, "read_person", lambda *a, **k: person)

    def poses(*paths: Path, frames: int) -> list[Pose]:
        return list(
            subjects.study(
                photo, pg2.untrained(), other=None, poses=paths, frames=frames, device="cpu",
                on_progress=lambda progress: None,
            ).poses
        )  # fmt: skip

    assert [p.xy.tolist() for p in poses(frames=4)] == [person.views[0].pose.xy.tolist()]
    of_clip = poses(clip, frames=3)
    assert len(of_clip) == 3 and all(pose.found for pose in of_clip)
    middles = [float(pose.xy[11:13, 0].mean()) for pose in of_clip]
    # The person's picture is as large as the clip's: they go as far to the right.
    assert middles[2] - middles[0] > 4 and middles[0] < middles[1] < middles[2]
    assert len(poses(photo, clip, frames=2)) == 3
    with pytest.raises(InputError, match="frames = 0"):
        poses(clip, frames=0)


def test_somebody_whose_body_is_needed_gets_one_in_every_pose(
    photo: Path, fitted_person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read(*args: object, embodied: bool, **rest: object) -> Person:
        asked.append(embodied)
        return fitted_person

    monkeypatch.setattr(subjects.pipeline, "build_estimator", lambda *a, **k: _Finder())
    monkeypatch.setattr(subjects.pipeline, "read_person", read)
    generator = dense_transfer.untrained()
    found = subjects.study(
        photo, generator, other=None, poses=[photo], frames=1, device="cpu",
        on_progress=lambda progress: None,
    )  # fmt: skip
    assert asked == [True] and found.poses[0].stance is not None
    assert found.person.size == SIZE


@pytest.mark.slow
def test_the_built_in_person_is_explored_from_their_photo(tmp_path: Path) -> None:
    """The whole way: estimator, matte, body, networks that know nothing."""
    folder = Path(explore.__file__).parents[1] / "demo"
    for name in NAMES:
        weights = save(name, tmp_path / f"{name}.safetensors")
        made = explore.make(
            name, folder / "source.png", tmp_path / name, weights=weights,
            other=folder / "source.png" if name in ("nted", "dpig") else None,
            poses=[folder / "source.png"],
        )  # fmt: skip
        assert made and all(path.stat().st_size > 1000 for path in made)
