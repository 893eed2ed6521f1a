"""What readers make of folders: the right pictures and joints, people apart, and a clear word about a wrong layout."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import small_albums
from small_dataset import make_dataset
from small_takes import take

from dance import joint_maps, plugins, takes
from dance.training import album as albums
from dance.training.album import Album, apart, is_held, open_album
from dance.types import InputError

FASHION = "fashionWOMENTees_Tanksid0000{person:04d}02_{view}front.jpg"
MARKET = "{person:04d}_c1s{view}_000451_03.jpg"


def fashion(folder: Path) -> Path:
    return small_albums.listed(folder, FASHION, (256, 176), "fasion-resize")


def market(folder: Path) -> Path:
    return small_albums.listed(folder, MARKET, (128, 64), "market")


MAKERS = {
    "synthetic": small_albums.synthetic,
    "views": small_albums.views,
    "prepared": make_dataset,
    "fashion": fashion,
    "market": market,
}


def people(picks: object) -> set[int]:
    return {pick.person for pick in picks}  # type: ignore[attr-defined]


def test_every_reader_is_tested() -> None:
    assert set(MAKERS) == set(plugins.names(albums.READERS))


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_is_read_by_its_reader_and_shots_are_whole(name: str, tmp_path: Path) -> None:
    album: Album = open_album(MAKERS[name](tmp_path / "data"))
    assert album.facts.reader == name and len(album.facts.sha256) == 64 and album.person is None
    train, held = album.picks(0.3)
    assert train and held
    for pick in (train[0], held[-1]):
        assert len(pick.shots) > 1 and (pick.target is None or pick.target in pick.shots)
        numbers = [pick.shots[-1], pick.shots[0]]
        shots = album.shots(numbers)
        assert np.array_equal(shots[1].rgb, album.shots(numbers[1:])[0].rgb)
        for shot in shots:
            assert shot.rgb.dtype == np.uint8 and shot.pose.found
            for what in (albums.MATTE, albums.LABELS, albums.SURFACE):
                values = getattr(shot, what)
                assert (values is not None) == (what in album.facts.has)
                assert values is None or values.shape[:2] == shot.size
    if name != "prepared":
        assert not people(train) & people(held)
    # Workers of a loader get it sent.
    again = pickle.loads(pickle.dumps(album)).shots([train[0].shots[0]])[0]
    assert np.array_equal(again.rgb, album.shots([train[0].shots[0]])[0].rgb)


@pytest.mark.parametrize(("maker", "size"), [(fashion, (256, 176)), (market, (128, 64))])
def test_published_parts_are_kept_and_joints_are_where_they_are(
    maker: object, size: tuple[int, int], tmp_path: Path
) -> None:
    album = open_album(maker(tmp_path / "data"))  # type: ignore[operator]
    train, held = album.picks(0.5)
    assert (len(train), len(held)) == (6, 4) and len(people(train) | people(held)) == 5
    source, target = album.shots(train[0].shots)
    assert source.size == size and train[0].target == train[0].shots[1]
    for number, shot in enumerate((source, target)):
        rgb, _, pose = small_albums.picture_of(1, number, size)
        assert np.abs(shot.rgb.astype(int) - rgb).mean() < 6
        ours, theirs = joint_maps.joints(shot.pose), joint_maps.joints(pose)
        assert np.abs(ours[0] - theirs[0]).max() < 1 and (ours[1] > 0).all()


def test_square_fashion_pictures_lose_their_empty_sides(tmp_path: Path) -> None:
    folder = fashion(tmp_path / "data")
    plain = open_album(folder).shots([0])[0]
    for path in folder.glob("t*/*.jpg"):
        wide = np.zeros((512, 512, 3), np.uint8)
        wide[:, 80:432] = 200
        small_albums.write(path, wide)
    large = open_album(folder).shots([0])[0]
    assert large.size == (512, 352) and large.rgb.mean() > 190
    assert np.allclose((large.pose.xy[:17] + 0.5) / 2, plain.pose.xy[:17] + 0.5)


def test_who_is_in_both_parts_is_not_learnt_from(tmp_path: Path) -> None:
    folder = market(tmp_path / "data")
    for kind in ("pairs", "annotation"):
        path = folder / f"market-{kind}-test.csv"
        path.write_text(path.read_text().replace("0004_", "0001_"))
    for path in (folder / "test").glob("0004_*"):
        path.rename(path.with_name(path.name.replace("0004_", "0001_")))
    train, held = open_album(folder).picks(0.1)
    assert people(train) == {2, 3} and people(held) == {1, 5}


def test_one_prepared_person_is_held_out_at_the_end_drawn_from_what_comes_before(
    tmp_path: Path,
) -> None:
    album = open_album(make_dataset(tmp_path / "a", unusable=(3, 23)))
    train, held = album.picks(0.25)
    assert {pick.target for pick in train} == set(range(18)) - {3}
    assert [pick.target for pick in held] == [18, 19, 20, 21, 22]
    assert all(set(pick.shots) - {pick.target} <= set(range(18)) for pick in held)


def test_several_prepared_people_are_held_out_whole(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_dataset(tmp_path / name, frames=4)
    album = open_album(tmp_path)
    train, held = album.picks(0.15)
    assert len(train) + len(held) == 12 and not people(train) & people(held)
    for pick in (*train, *held):
        assert len({n // 4 for n in pick.shots}) == 1 and len(pick.shots) == 4


def test_people_are_held_out_the_same_however_many_others_there_are() -> None:
    share = np.mean([is_held(person, 0.1) for person in range(5000)])
    assert 0.08 < share < 0.12
    few, many = ([albums.Pick(n, (2 * n, 2 * n + 1)) for n in range(count)] for count in (40, 400))
    assert people(apart(few, 0.1)[1]) == {n for n in people(apart(many, 0.1)[1]) if n < 40}
    assert [len(part) for part in apart(few[:2], 0.01)] == [1, 1]
    assert [len(part) for part in apart(few[:2], 0.5)] == [1, 1]
    assert [len(part) for part in apart(few, 0.0)] == [40, 0]


def test_shards_of_clips_and_pairs_are_one_album(tmp_path: Path) -> None:
    folder = small_albums.synthetic(tmp_path / "data", 6)
    takes.write_shard(folder / "clips-00000.tar", [take("c0a", 1000001, pictures=5)])
    text = (folder / takes.MANIFEST).read_text()
    (folder / takes.MANIFEST).write_text(text.replace("}]}}", '}], "clips": [{"name": "clips-00000.tar"}]}}'))  # fmt: skip
    album = open_album(folder)
    assert album.facts.pictures == 6 * 2 + 5
    (clip,) = (p for part in album.picks(0.1) for p in part if p.person == 1000001)
    assert len(clip.shots) == 5
    assert np.array_equal(album.shots([clip.shots[4]])[0].rgb, take("c0a", 1000001, pictures=5).pictures[4])  # fmt: skip


def without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def changed(folder: Path, name: str, old: str, new: str) -> Path:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda f: f, "no such folder; known are"),
        (lambda f: f.mkdir() or f, r"nothing here that can be learnt from; known are .*joints\.csv"),
        (lambda f: without(market(f), "market-pairs-test.csv"), "lacks the pairs of part test"),
        (lambda f: without(market(f), "market-annotation-train.csv"), "lacks the joints of part train"),
        (lambda f: without(market(f), "train/0001_c1s1_000451_03.jpg"), r"lacks 0001_.*\(1 of 6"),
        (lambda f: changed(market(f), "market-annotation-train.csv", "0002_c1s1", "0009_c1s1"), "no joints of 0002_c1s1"),
        (lambda f: changed(market(f), "market-pairs-train.csv", "from,to", "a,b"), "columns from and to"),
        (lambda f: without(small_albums.synthetic(f), takes.MANIFEST), "it lacks manifest"),
        (lambda f: without(small_albums.synthetic(f), "pairs-00001.tar"), r"lacks pairs-00001\.tar"),
        (lambda f: without(small_albums.views(f), "item1/2.png"), "lacks item1/2.png"),
        (lambda f: without(small_albums.views(f), "item1/2_matte.png"), "11 of 12 pictures have a matte"),
        (lambda f: changed(small_albums.views(f), "joints.csv", "item1/", "item1_"), "must be ITEM/VIEW"),
        (lambda f: without(make_dataset(f), "track.npz"), r"lacks track\.npz"),
    ],
)  # fmt: skip
def test_a_wrong_layout_is_told_in_one_line(spoilt: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason) as told:
        open_album(spoilt(tmp_path / "data"))  # type: ignore[operator]
    assert "\n" not in str(told.value)


def test_pictures_whose_names_tell_nobody_are_refused(tmp_path: Path) -> None:
    folder = small_albums.listed(tmp_path / "data", "p{person}_{view}.jpg", (128, 64), "market")
    with pytest.raises(InputError, match="does not tell whose picture it is"):
        open_album(folder)


def test_a_damaged_picture_is_told_when_it_is_read(tmp_path: Path) -> None:
    folder = market(tmp_path / "data")
    (folder / "train" / "0001_c1s1_000451_03.jpg").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"0001_c1s1_000451_03\.jpg: is no whole picture"):
        open_album(folder).shots([0])
