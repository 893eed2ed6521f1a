"""Who dances: photos and videos at the result's size, and runs in which somebody was learnt."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_dataset import SIZE, make_dataset

from dance import config, dataset, person_files, pipeline, sources, video
from dance.config import Plugin
from dance.generators import edn
from dance.geometry import resized
from dance.types import Camera, Frame, InputError, Light, Physique, Pose

FACTS = {"config": {"recipe": {"name": "edn"}, "seed": 3}, "dataset": {"sha256": "0" * 64}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "walk", frames=12)


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """A run's folder as training leaves it, its generator fresh."""
    folder = tmp_path / "run"
    shutil.copytree(data / dataset.PERSON, folder / dataset.PERSON)
    (folder / dataset.RUN).write_text(json.dumps(FACTS), encoding="utf-8")
    fresh = edn.untrained()
    edn.save(folder / dataset.GENERATOR, fresh.networks, fresh.architecture)
    return folder


def test_a_run_knows_its_generator_its_weights_and_its_person(run: Path, data: Path) -> None:
    found = sources.open_run(run)
    assert (found.generator, found.sha256, found.settings["seed"]) == ("edn", "0" * 64, 3)
    assert found.weights == run / "generator.safetensors"
    learnt, known = found.person(), person_files.load(data / dataset.PERSON)
    assert np.array_equal(learnt.plate, known.plate) and len(learnt.track) == 12


def test_the_generator_draws_with_the_runs_weights(run: Path) -> None:
    wanted = Plugin(name="edn", options={"runtime": "torch"})
    found = sources.generator_of(sources.open_run(run), wanted)
    assert found.options == {"runtime": "torch", "weights": str(run / "generator.safetensors")}
    assert pipeline.build_generator(found, "cpu").size == (64, 64)


def test_named_weights_go_before_the_runs(run: Path) -> None:
    wanted = Plugin(name="edn", options={"weights": "other.safetensors"})
    assert sources.generator_of(sources.open_run(run), wanted) == wanted


def test_a_generator_without_weights_is_left_alone(run: Path) -> None:
    (run / dataset.GENERATOR).unlink()
    assert sources.generator_of(sources.open_run(run), Plugin(name="puppet")).options == {}


def test_the_config_of_a_video_takes_the_runs_weights(run: Path) -> None:
    wanted = config.load(pipeline.VideoConfig, None, ["generator.name=edn"])
    assert pipeline.for_source(wanted, run).generator.options == {
        "weights": str(run / "generator.safetensors")
    }
    assert pipeline.for_source(wanted, run / dataset.RUN) is wanted


def test_folders_that_are_no_run_say_what_they_are(run: Path, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty: is no trained run \(it lacks run\.json\)"):
        sources.open_run(empty)
    with pytest.raises(InputError, match="is a dataset, nobody has been learnt from it yet"):
        sources.open_run(data)
    for content in ("{", "[1]", '{"config": {}}', '{"config": {"recipe": 3}, "dataset": 1}'):
        (run / dataset.RUN).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"run\.json: is no readable run\.json"):
            sources.open_run(run)


def test_a_run_without_weights_and_one_of_another_generator_are_refused(run: Path) -> None:
    wanted = Plugin(name="edn")
    other = replace(sources.open_run(run), generator="xing")
    with pytest.raises(InputError, match=r"taught the generator xing.*configs/video/xing\.yaml"):
        sources.generator_of(other, wanted)
    (run / dataset.GENERATOR).unlink()
    with pytest.raises(InputError, match=r"has no generator\.safetensors yet.*--resume"):
        sources.generator_of(sources.open_run(run), wanted)


@pytest.mark.parametrize("wanted", ["puppet", "xing", "edn"])
def test_a_run_that_draws_anybody_is_no_source_and_says_how_it_is_used(
    run: Path, wanted: str
) -> None:
    facts = {"config": {"recipe": {"name": "xing"}}, "dataset": {"reader": "market", "sha256": "1"}}
    (run / dataset.RUN).write_text(json.dumps(facts), encoding="utf-8")
    found = sources.open_run(run)
    assert found.anybody
    use = rf"configs/video/xing\.yaml --set generator\.options\.weights={run / dataset.GENERATOR}"
    with pytest.raises(InputError, match=f"knows no person.*{use}"):
        pipeline.for_source(pipeline.VideoConfig(generator=Plugin(name=wanted)), run)
    with pytest.raises(InputError, match=use):
        found.person()


@pytest.mark.parametrize("missing", ["person.json", "plate.png", "view_0.png", "poses.npz"])
def test_a_run_without_its_whole_person_is_refused(run: Path, missing: str) -> None:
    (run / dataset.PERSON / missing).unlink()
    with pytest.raises(InputError, match="person"):
        sources.open_run(run).person()


@pytest.mark.parametrize(
    ("size", "canvas", "enlarge", "expected"),
    [
        ((100, 50), (200, 400), True, (200, 100)),
        ((100, 50), (200, 400), False, (100, 50)),
        ((400, 200), (200, 400), False, (200, 100)),
        ((100, 300), (200, 400), True, (134, 400)),
        ((96, 128), (96, 128), True, (96, 128)),
    ],
)
def test_the_largest_even_size_inside_a_canvas(
    size: tuple[int, int], canvas: tuple[int, int], enlarge: bool, expected: tuple[int, int]
) -> None:
    assert sources.inside(size, canvas, enlarge=enlarge) == expected


def test_a_person_keeps_their_place_in_a_wider_picture(data: Path) -> None:
    person = person_files.load(data / dataset.PERSON)
    canvas = (2 * SIZE[0], 4 * SIZE[1])
    wide = sources.placed(person, (2 * SIZE[0], 2 * SIZE[1]), canvas)
    view, before = wide.views[0], person.views[0]
    assert wide.size == wide.track.size == canvas == view.alpha.shape
    # Half of what is too wide lies to the left; a pixel's middle is at half of it.
    offset = np.array([SIZE[1], 0]) + 0.5
    seen = before.pose.score > 0
    assert np.allclose(view.pose.xy[seen], 2 * before.pose.xy[seen] + offset, atol=1e-3)
    assert np.allclose(wide.track.poses[5].xy[0], 2 * person.track.poses[5].xy[0] + offset, atol=1e-3)  # fmt: skip
    # The hips lie on the person before and after, and nothing of the person in the border.
    x, y = view.pose.xy[11].round().astype(int)
    assert view.alpha[y, x] > 0.9 and view.alpha[:, : SIZE[1]].max() == 0
    assert view.alpha.max() <= 1 and view.alpha.min() >= 0
    there, then = view.frame.rgb[y, x], before.frame.rgb[y // 2, x // 2 - SIZE[1] // 2]
    assert np.abs(there.astype(int) - then).max() < 10


def test_the_3d_body_of_a_placed_person_is_seen_where_the_picture_shows_it(data: Path) -> None:
    camera = Camera(70.0, (30.0, 22.0))
    person = replace(
        person_files.load(data / dataset.PERSON),
        physique=Physique(np.zeros(7, np.float32), camera),
        light=Light(np.float32([0.6, -0.8, 0]), np.float32([0, -1, 0]), 0.4),
    )
    inner = (2 * SIZE[0], 2 * SIZE[1])
    wide = sources.placed(person, inner, (inner[0], 3 * SIZE[1]))
    assert wide.light is person.light
    assert wide.physique is not None
    point, seen = np.array([0.3, -0.2]) / 3.0, wide.physique.camera
    pixel = np.float32(camera.focal * point + camera.centre)
    pose = Pose(np.broadcast_to(pixel, (133, 2)).copy(), np.ones(133, np.float32))
    there = resized(pose, person.size, inner, (inner[0], 3 * SIZE[1])).xy[0]
    assert np.allclose(seen.focal * point + seen.centre, there, atol=1e-3)


def test_a_person_of_the_right_size_is_not_touched(data: Path) -> None:
    person = person_files.load(data / dataset.PERSON)
    assert sources.placed(person, SIZE, SIZE) is person


def test_times_and_cuts_of_a_placed_track_stay(data: Path) -> None:
    track = replace(dataset.open_dataset(data).track, cuts=frozenset({4}))
    placed = sources.placed_track(track, (48, 64), (96, 128))
    assert list(placed.times) == list(track.times) and placed.cuts == {4}
    assert placed.size == (96, 128)


def test_photos_and_videos_are_read_in_the_middle_of_the_canvas(tmp_path: Path) -> None:
    rgb = np.full((40, 30, 3), (200, 30, 40), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), rgb[..., ::-1])
    frames = [Frame(rgb, Fraction(i, 25), i) for i in range(3)]
    video.write(frames, tmp_path / "clip.mp4", encoding=video.Encoding(crf=4))
    for name, count in (("photo.png", 1), ("clip.mp4", 3)):
        pictures = sources.open_pictures(tmp_path / name)
        assert pictures.size == (40, 30) and pictures.count == count
        # As often as wanted.
        for _ in range(2):
            read = list(pictures.read((20, 14), (20, 40)))
            assert len(read) == count and {frame.size for frame in read} == {(20, 40)}
            assert np.abs(read[0].rgb.astype(int) - (200, 30, 40)).max() < 12


def test_what_is_neither_photo_nor_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nobody", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes\.txt"):
        sources.open_pictures(tmp_path / "notes.txt")
