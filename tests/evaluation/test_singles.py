"""Single-picture generators on people they have not learnt from."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import small_albums
import torch
from typer.testing import CliRunner, Result

from dance import dataset, takes
from dance.evaluation import singles, strangers
from dance.evaluation.pairs import Truth
from dance.evaluation.singles import COPY, MOVED, Learnt, System
from dance.evaluation.strangers import MEASURES, Scene
from dance.generators import pg2
from dance.training import album as albums
from dance.training.album import Album, Pick
from dance.types import Array, Drawn, InputError, Layer, Person, Pose, Size

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of twelve people."""
    return small_albums.synthetic(tmp_path_factory.mktemp("people") / "pairs")


@pytest.fixture(scope="module")
def album(folder: Path) -> Album:
    return albums.open_album(folder)


@pytest.fixture(scope="module")
def dancing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of four people, five pictures each; returns the folder."""
    folder = tmp_path_factory.mktemp("people") / "clips"
    small_albums.synthetic(folder, 4, pictures=5)
    for k, shard in enumerate(sorted(folder.glob("*.tar"))):
        some = [flat(small_albums.take_of(2 * k + n, 5)) for n in range(2)]
        takes.write_shard(shard, some)
    return folder


def flat(take: takes.Take) -> takes.Take:
    """The take with its people flat like paper, three metres away: a body can be fitted to them."""
    away = np.full((*take.xy.shape[:2], 1), 3.0, np.float32)
    return replace(take, points=np.concatenate([take.xy * 3 / 50, away], -1))


class Told:
    """Draws what it was told, in order; flash: brighter by so many levels every other time."""

    needs: frozenset[str] = frozenset()
    size: Size | None = None

    def __init__(self, scene: Scene, *, flash: int = 0, matte: bool = True) -> None:
        self.scene, self.flash, self.matte = scene, flash, matte

    def encode(self, person: Person) -> None:
        return None

    def render(self, code: None, poses: Sequence[Pose], state: int | None) -> tuple[Drawn, int]:
        done = state or 0
        numbers = range(done, done + len(poses))
        rgb = np.stack([self._lit(self.scene.truths[n].rgb, n) for n in numbers])
        alpha = np.stack([self.scene.mattes[n] for n in numbers])
        return Drawn(
            torch.from_numpy(rgb).permute(0, 3, 1, 2),
            torch.from_numpy(alpha.astype(np.float32))[:, None] if self.matte else None,
        ), done + len(poses)

    def _lit(self, rgb: Array, number: int) -> Array:
        return np.clip(rgb.astype(int) + self.flash * (number % 2), 0, 255).astype(np.uint8)


def pair_of(album: Album, number: int = 0) -> Scene:
    return strangers.pair(album, album.picks(0)[0][number])[0]


def clip_of(folder: Path) -> Scene:
    clips = albums.open_album(folder)
    return strangers.clip(clips, clips.picks(0)[0][0])


def test_the_truth_itself_is_without_fault_and_beats_copying(album: Album) -> None:
    scene = pair_of(album)
    (layer,) = scene.layers(Told(scene))
    own = strangers.measure(scene, layer)
    assert own["iou"] == 1 and own["ssim"] > 0.9 and own["psnr"] > 25
    measures = {"truth": own}
    for name, copy in ((COPY, singles.Copy()), (MOVED, singles.Copy(moved=True))):
        (layer,) = scene.layers(copy)
        measures[name] = strangers.measure(scene, layer)
    assert measures[COPY]["iou"] < 0.9
    systems = [System(COPY, singles.Copy()), System(MOVED, singles.Copy()), System("truth", Told(scene), Learnt())]  # fmt: skip
    row, *copies = singles.table(systems, measures)
    assert row["system"] == "truth" and row["beats copying"] == "yes"
    assert row["beats it moved in"] == "ssim, psnr, iou"
    assert not any("beats copying" in copy for copy in copies)


def test_what_copies_equals_copying_and_does_not_beat_it(album: Album) -> None:
    systems = [System(COPY, singles.Copy()), System(MOVED, singles.Copy(moved=True)), System("same", singles.Copy(), Learnt())]  # fmt: skip
    measures, rows = singles.drawn(album, systems, album.picks(0)[0][:3], shown=2)
    assert measures["same"] == measures[COPY] != measures[MOVED]
    # Source, pose, truth, and of the systems all but the copy that is moved.
    assert len(rows) == 2 and all(len(row) == 5 for row in rows)
    np.testing.assert_array_equal(rows[0][3], rows[0][4])
    row = singles.table(systems, measures)[0]
    assert row["beats copying"] == "no: ssim, psnr, iou"


def test_a_copy_lies_where_the_source_lies(album: Album) -> None:
    pick = album.picks(0)[0][0]
    scene, source, target = strangers.pair(album, pick)
    assert [pick.shots[0], pick.shots[-1]] == [0, 1]
    (layer,) = scene.layers(singles.Copy())
    assert layer.alpha is not None and source.matte is not None and target.matte is not None
    np.testing.assert_allclose(layer.alpha, source.matte / 255, atol=1e-6)
    inside = source.matte == 255
    np.testing.assert_allclose(layer.rgb[inside], source.rgb[inside], atol=1)
    np.testing.assert_array_equal(scene.mattes[0], target.matte > 127.5)


def test_a_moved_copy_goes_where_the_pose_is_and_becomes_as_large(album: Album) -> None:
    person = pair_of(album).person
    view, copy = person.views[0], singles.Copy(moved=True)
    aside = replace(view.pose, xy=view.pose.xy + np.float32([3, -2]))
    smaller = replace(view.pose, xy=view.pose.xy / 2)
    made, _ = copy.render(copy.encode(person), [aside, smaller], None)
    assert made.alpha is not None
    alpha = made.alpha[:, 0].numpy()
    np.testing.assert_allclose(alpha[0, :-2, 3:], view.alpha[2:, :-3], atol=0.02)
    assert alpha[1].sum() == pytest.approx(view.alpha.sum() / 4, rel=0.1)


def test_iou_is_what_both_have_over_what_either_has(album: Album) -> None:
    scene = pair_of(album)
    (layer,) = scene.layers(Told(scene))
    half = np.zeros_like(scene.mattes[0])
    rows = np.flatnonzero(scene.mattes[0].any(1))
    half[: rows[len(rows) // 2]] = True
    assert layer.alpha is not None
    part = replace(layer, alpha=layer.alpha * half)
    expected = (scene.mattes[0] & half).sum() / scene.mattes[0].sum()
    assert strangers.measure(scene, part)["iou"] == pytest.approx(expected)
    everywhere = replace(layer, alpha=np.maximum(layer.alpha, 0.6))
    share = scene.mattes[0].mean()
    assert strangers.measure(scene, everywhere)["iou"] == pytest.approx(share)
    thin = replace(layer, alpha=np.maximum(layer.alpha, 0.4))
    assert strangers.measure(scene, thin)["iou"] == 1
    nothing = replace(layer, alpha=np.zeros_like(layer.alpha))
    assert strangers.measure(scene, nothing)["iou"] == 0
    without = strangers.measure(scene, replace(layer, alpha=None))
    assert np.isnan(without["iou"]) and without["psnr"] == 60


def test_the_target_is_the_picks_own_else_its_last_picture(tmp_path: Path) -> None:
    clips = albums.open_album(small_albums.synthetic(tmp_path / "three", 2, pictures=3))
    pick = clips.picks(0)[0][0]
    for target, numbers in ((None, (0, 2)), (1, (0, 1)), (0, (1, 0))):
        asked = replace(pick, target=None if target is None else pick.shots[target])
        _, source, true = strangers.pair(clips, asked)
        shots = clips.shots([pick.shots[n] for n in numbers])
        np.testing.assert_array_equal(source.rgb, shots[0].rgb)
        np.testing.assert_array_equal(true.rgb, shots[1].rgb)


def test_nobody_is_told_the_exact_body(album: Album) -> None:
    scene = pair_of(album)
    poses = [*scene.track.poses, *scene.person.track.poses, scene.person.views[0].pose]
    assert all(pose.stance is None for pose in poses)
    assert scene.person.physique is None


def test_the_truth_is_calm_and_what_flashes_is_not(dancing: Path) -> None:
    scene = clip_of(dancing)
    assert len(scene.track) == len(scene.truths) == 5
    calm = scene.layers(Told(scene))
    flashes = scene.layers(Told(scene, flash=40))
    assert strangers.flicker(scene, flashes) > 15 + strangers.flicker(scene, calm)
    assert strangers.flicker(scene, scene.layers(Told(scene, matte=False))) == 0
    assert strangers.unmoved(scene) > 3
    still = [replace(layer, rgb=calm[0].rgb, alpha=calm[0].alpha) for layer in calm]
    assert strangers.warping(scene, still) == 0
    assert strangers.warping(scene, flashes) > 1.5 * strangers.warping(scene, calm)


def test_change_counts_where_the_person_is_and_where_they_were(dancing: Path) -> None:
    scene = clip_of(dancing)
    empty = scene.truths[0].rgb * 0
    # In the left half at first, in the right half then; the lower rows are nobody's.
    left = np.zeros(empty.shape[:2], bool)
    left[:20, :16] = True
    truths = [Truth(empty, empty, where) for where in (left, left[:, ::-1])]
    scene = replace(scene, truths=truths, mattes=np.stack([left, left[:, ::-1]]))
    for rows, columns, expected in ((slice(20), slice(16), 15), (slice(20, None), slice(None), 0)):
        lit = empty.copy()
        lit[rows, columns] = 30
        layers = [
            Layer(rgb, None, moment) for rgb, moment in zip((lit, empty), scene.track, strict=False)
        ]
        assert strangers.flicker(scene, layers) == pytest.approx(expected)


def test_what_flickers_is_calmer_once_steadied(dancing: Path) -> None:
    scene = clip_of(dancing)
    still = replace(
        scene, truths=[scene.truths[0]] * 5, mattes=scene.mattes[[0] * 5],
        track=replace(scene.track, poses=[scene.track.poses[0]] * 5),
    )  # fmt: skip
    layers = still.layers(Told(still, flash=12))
    steadied = list(strangers.steadied(layers))
    assert len(steadied) == 5
    assert 0 < strangers.flicker(still, steadied) < 0.9 * strangers.flicker(still, layers)


def test_a_clip_is_drawn_over_one_place_with_the_memory_carried_along(dancing: Path) -> None:
    scene = clip_of(dancing)
    assert len({truth.place.tobytes() for truth in scene.truths}) == 1
    # Told counts in its state: were it not carried along, the last pictures would be the first ones again.
    pictures = [layer.rgb for layer in scene.layers(Told(scene))]
    np.testing.assert_array_equal(pictures[-1], scene.truths[-1].rgb)


def test_clips_tell_how_calm_systems_are_and_copies_have_no_flicker(dancing: Path) -> None:
    clips = albums.open_album(dancing)
    picks = clips.picks(0)[0][:1]
    scene = strangers.clip(clips, picks[0])
    systems = [System(COPY, singles.Copy()), System("flashes", Told(scene, flash=60), Learnt()), System(singles.PUPPET, Told(scene))]  # fmt: skip
    calm, unmoved = singles.moved(clips, systems, picks)
    assert unmoved == pytest.approx(strangers.unmoved(scene))
    assert all(np.isnan(value) for value in calm[COPY].values())
    assert calm["flashes"]["flicker"] > calm[singles.PUPPET]["flicker"]
    right: dict[str, float] = dict.fromkeys(MEASURES, 1.0)
    measures = {name: right | each for name, each in calm.items()} | {MOVED: right}
    assert singles.table(systems, measures)[0]["no more than the puppet in"] == "nothing"
    measures["flashes"] = measures[singles.PUPPET]
    assert singles.table(systems, measures)[0]["no more than the puppet in"] == "flicker, warping"


def learner(learnt: Learnt) -> System:
    return System("learner", singles.Copy(), learnt)


def people_of(picks: Sequence[Pick]) -> set[int]:
    return {pick.person for pick in picks}


def test_of_the_album_it_learnt_from_only_held_out_people_are_drawn(album: Album) -> None:
    same = [learner(Learnt("synthetic", album.facts.sha256, None, share)) for share in (0.2, 0.5)]
    taught, held = album.picks(0.2)
    assert people_of(singles.unseen(album, same[:1])) == people_of(held)
    # One that held out more has not seen those either.
    assert people_of(singles.unseen(album, same)) == people_of(held)
    assert people_of(singles.unseen(album, same[1:])) > people_of(held)
    assert not people_of(singles.unseen(album, same)) & people_of(taught)


def seeded(folder: Path, seed: int) -> Path:
    manifest = takes.read_manifest(folder) | {"seed": seed}
    (folder / takes.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_people_of_another_seed_are_all_strangers_and_of_the_same_seed_some(tmp_path: Path) -> None:
    album = albums.open_album(seeded(small_albums.synthetic(tmp_path / "seven"), 7))
    everybody = people_of([*album.picks(0.2)[0], *album.picks(0.2)[1]])
    other = learner(Learnt("synthetic", "1" * 64, 8, 0.2))
    assert people_of(singles.unseen(album, [other])) == everybody
    alike = learner(Learnt("synthetic", "1" * 64, 7, 0.4))
    found = people_of(singles.unseen(album, [alike, other]))
    assert found == {person for person in everybody if albums.is_held(person, 0.4)}
    assert 0 < len(found) < len(everybody)


def test_who_does_not_tell_counts_as_taught_with_this_album(album: Album) -> None:
    found = people_of(singles.unseen(album, [learner(Learnt())]))
    assert found == people_of(album.picks(0.15)[1])
    # What learns nothing has seen nobody.
    assert len(people_of(singles.unseen(album, [System(COPY, singles.Copy())]))) == 12


def test_a_run_taught_with_all_of_these_people_is_refused(tmp_path: Path) -> None:
    album = albums.open_album(seeded(small_albums.synthetic(tmp_path / "seven", 4), 7))
    alike = learner(Learnt("synthetic", "1" * 64, 7, 0.0))
    with pytest.raises(InputError, match="learner has learnt from all of these people"):
        singles.unseen(album, [alike])


def test_a_word_is_said_where_it_is_not_known_whose_people_were_learnt_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    album = albums.open_album(seeded(small_albums.synthetic(tmp_path / "seven", 4), 7))
    with caplog.at_level(logging.WARNING):
        singles.unseen(album, [learner(Learnt("synthetic", "1" * 64, None, 0.2))])
    assert "learner" in caplog.text and "may be these" in caplog.text


def save_weights(path: Path, **extra: str) -> Path:
    torch.manual_seed(1)
    made = pg2.untrained(alpha=True)
    singles_metadata = {"generator": "pg2", "config": made.architecture.model_dump_json()}
    pg2.weights.save_safetensors(path, made.network, singles_metadata | extra)
    return path


def make_run(folder: Path, data: Path, *, weights: bool = True) -> Path:
    """A run of pg2 that has learnt nothing."""
    folder.mkdir(parents=True)
    config = {"recipe": {"name": "pg2", "options": {}}, "data": str(data), "held_out": 0.2, "seed": 3}  # fmt: skip
    facts = asdict(albums.open_album(data).facts)
    told = {"config": config, "dataset": facts, "versions": {}}
    (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
    (folder / "history.json").write_text('[{"step": 7, "seconds": 90.0}]', encoding="utf-8")
    if weights:
        save_weights(folder / dataset.GENERATOR)
    return folder


def test_runs_and_files_of_weights_tell_what_they_are(folder: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", folder)
    facts = {"reader": "synthetic", "sha256": "2" * 64, "seed": 5}
    training = {"seed": 4, "held_out": 0.3}
    told = save_weights(
        tmp_path / "told.safetensors",
        data=json.dumps(facts), training=json.dumps(training), steps="40", minutes="2.5",
    )  # fmt: skip
    silent = save_weights(tmp_path / "puppet.safetensors")
    one, two, three = singles.open_systems([run, told, silent], "cpu")
    assert one.name == "run" and two.name == "told" and three.name == str(silent.resolve())
    digest = albums.open_album(folder).facts.sha256
    assert one.learnt == Learnt("synthetic", digest, None, 0.2)
    assert two.learnt == Learnt("synthetic", "2" * 64, 5, 0.3) and three.learnt == Learnt()
    assert one.told == {"network": "pg2", "frame": "48x32", "minutes": 1.5, "steps": 7, "seed": 3}
    assert two.told == {"network": "pg2", "frame": "48x32", "minutes": 2.5, "steps": 40, "seed": 4}
    # The same weights, the same pictures.
    scene = pair_of(albums.open_album(folder))
    pictures = [scene.layers(each.generator)[0].rgb for each in (one, two)]
    np.testing.assert_array_equal(*pictures)


def test_items_are_spread_over_all(album: Album) -> None:
    assert singles.spread(range(9), 3) == [0, 4, 8]
    assert singles.spread(range(2), 64) == [0, 1]
    assert singles.spread([], 3) == singles.spread(range(3), 0) == []
    picks = album.picks(0)[0]
    assert singles.people([picks[0], picks[0], picks[1]]) == 2


@pytest.fixture
def evaluate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scripts_evaluate", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, *arguments: object) -> Result:
    return CliRunner().invoke(module.app, ["singles", *(str(a) for a in arguments)])


def test_the_command_compares_runs_and_baselines_and_writes_table_and_sheet(
    evaluate: ModuleType, dancing: Path, tmp_path: Path
) -> None:
    run, out = make_run(tmp_path / "run", dancing), tmp_path / "out"
    few = ("--pairs", 1, "--clips", 1, "--no-avatar", "--device", "cpu")
    result = call(evaluate, dancing, out, run, *few)
    assert result.exit_code == 0, result.output
    written = json.loads((out / "singles.json").read_text(encoding="utf-8"))
    rows = {row["system"]: row for row in written["rows"]}
    assert list(rows) == ["run", COPY, MOVED, "puppet"]
    for name, row in rows.items():
        assert all(row[key] is not None for key in MEASURES)
        assert all((row[key] is None) == (name in (COPY, MOVED)) for key in singles.CALM)
    assert rows["run"]["steps"] == 7 and str(rows["run"]["beats copying"]).startswith("no: ")
    assert rows["puppet"]["psnr"] > rows["run"]["psnr"]
    assert "1 of 1 people" in written["facts"]["pairs"] and "48x32" in written["facts"]["dataset"]
    assert written["facts"]["learnt from the same album"].startswith("run;")
    sheet = cv2.imread(str(out / "singles.png"))
    # Source, pose, truth, copy, puppet and the run.
    assert sheet is not None and sheet.shape[1] % 6 == 0


@pytest.mark.slow
def test_puppet_and_avatar_draw_the_people_of_an_album(dancing: Path) -> None:
    clips = albums.open_album(dancing)
    picks = clips.picks(0)[0][:1]
    systems = singles.baselines(("puppet", "avatar"), "cpu")
    assert [one.name for one in systems] == [COPY, MOVED, "puppet", "avatar"]
    measures, _ = singles.drawn(clips, systems, picks)
    calm, unmoved = singles.moved(clips, systems, picks)
    for name in ("puppet", "avatar"):
        assert measures[name]["iou"] > 0.5
        assert measures[name]["psnr"] > measures[COPY]["psnr"]
        assert 0 < calm[name]["flicker"] < 2 * unmoved


def test_bad_input_is_one_line_and_exit_code_2(
    evaluate: ModuleType, folder: Path, tmp_path: Path
) -> None:
    def refusal(*arguments: object) -> str:
        result = call(evaluate, *arguments)
        assert result.exit_code == 2
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    out = tmp_path / "out"
    run = make_run(tmp_path / "run", folder, weights=False)
    assert "no such folder" in refusal(tmp_path / "nothing", out, run)
    assert "has no generator.safetensors" in refusal(folder, out, run)
    assert "no trained run" in refusal(folder, out, tmp_path / "none")
    assert "given twice" in refusal(folder, out, run, run)
    silent = save_weights(tmp_path / "silent.safetensors")
    assert "given twice" in refusal(folder, out, silent, silent)
    assert "at least 1" in refusal(folder, out, run, "--pairs", 0)
    assert "--device" in refusal(folder, out, run, "--device", "abacus")
    bare = small_albums.views(tmp_path / "bare", mattes=False)
    assert "have no matte" in refusal(bare, out, run)
    gone = tmp_path / "gone.safetensors"
    assert str(gone) in refusal(folder, out, gone)
    pg2.weights.save_safetensors(gone, {"a": torch.zeros(1)}, {})
    assert "no weights of a generator" in refusal(folder, out, gone)
    odd = save_weights(tmp_path / "odd.safetensors", data="[")
    assert "does not say readably" in refusal(folder, out, odd)
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del told["dataset"]["reader"]
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    save_weights(run / dataset.GENERATOR)
    assert "one person, not from an album" in refusal(folder, out, run)
    assert not out.exists()
