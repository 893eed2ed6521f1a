"""Maps of parts and surface places in files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dance.surface import body as bodies
from dance.surface import iuv, parts
from dance.surface.iuv import Iuv
from dance.types import Array, Camera, InputError, Physique, Stance


@pytest.fixture
def person() -> Iuv:
    """A map of 12 x 10 pixels whose person fills rows 2 to 9 and columns 3 to 6."""
    rng = np.random.default_rng(1)
    part = np.zeros((12, 10), np.uint8)
    part[2:10, 3:7] = rng.integers(1, 25, (8, 4))
    places = rng.integers(0, 256, (12, 10, 2)).astype(np.float32) / 255 * (part > 0)[..., None]
    places[2, 3] = 1  # so that U and V surely go beyond the parts' numbers
    return Iuv(part, places)


def levels(of: Iuv) -> Array:
    return np.concatenate([of.part[..., None], np.rint(of.uv * 255).astype(np.uint8)], 2)


def same(a: Iuv, b: Iuv) -> None:
    np.testing.assert_array_equal(a.part, b.part)
    np.testing.assert_allclose(a.uv, b.uv, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".npz"])
def test_what_is_written_is_read_again(tmp_path: Path, person: Iuv, suffix: str) -> None:
    iuv.write(tmp_path / f"map{suffix}", person)
    same(iuv.read(tmp_path / f"map{suffix}", (12, 10)), person)


def test_denseposes_pictures_are_read_in_either_order_of_channels(
    tmp_path: Path, person: Iuv
) -> None:
    # Its first release writes I, U, V as blue, green, red.
    for order in (levels(person), levels(person)[..., ::-1]):
        Image.fromarray(np.ascontiguousarray(order)).save(tmp_path / "frame_IUV.png")
        same(iuv.read(tmp_path / "frame_IUV.png"), person)


def test_an_order_is_found_even_where_all_numbers_are_small(tmp_path: Path) -> None:
    part = np.full((4, 4), 3, np.uint8)
    places = np.zeros((4, 4, 2), np.float32)
    places[0, 0] = 5 / 255
    small = Iuv(part, places)
    Image.fromarray(np.ascontiguousarray(levels(small)[..., ::-1])).save(tmp_path / "small.png")
    same(iuv.read(tmp_path / "small.png"), small)


def test_detectrons_person_is_put_where_its_box_is(tmp_path: Path, person: Iuv) -> None:
    crop = person.part[2:10, 3:7], np.moveaxis(person.uv[2:10, 3:7], -1, 0)
    box = np.array([3.2, 1.9, 6.9, 10.1])
    np.savez(tmp_path / "p.npz", labels=crop[0].astype(np.int64), uv=crop[1], box=box)
    same(iuv.read(tmp_path / "p.npz", (12, 10)), person)
    # Partly outside of the picture.
    np.savez(tmp_path / "p.npz", labels=crop[0], uv=crop[1], box=box - [5, 4, 5, 4])
    found = iuv.read(tmp_path / "p.npz", (12, 10))
    np.testing.assert_array_equal(found.part[:6, :2], crop[0][2:, 2:])
    assert not found.part[6:].any() and not found.part[:, 2:].any()
    np.savez(tmp_path / "p.npz", labels=crop[0], uv=crop[1], box=box + 50)
    assert not iuv.read(tmp_path / "p.npz", (12, 10)).part.any()


def test_arrays_with_channels_first_and_fractions_are_read(tmp_path: Path, person: Iuv) -> None:
    planes = np.concatenate([person.part[None], np.moveaxis(person.uv, -1, 0)]).astype(np.float64)
    np.save(tmp_path / "map.npy", planes)
    same(iuv.read(tmp_path / "map.npy"), person)


def test_a_pickle_is_never_opened(tmp_path: Path, person: Iuv) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    for name in ("dump.pkl", "dump.npz", "dump.npy"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(InputError, match=r"pickle|plain arrays"):
            iuv.read(tmp_path / name)
    np.savez(tmp_path / "objects.npz", iuv=np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(InputError, match="plain arrays"):
        iuv.read(tmp_path / "objects.npz")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3)}, "holds other"),
        ({"iuv": np.zeros((4, 4), np.uint8)}, r"iuv is \(4, 4\)"),
        ({"iuv": np.full((4, 4, 3), 25, np.uint8)}, "from 25 to 25"),
        ({"iuv": np.full((4, 4, 3), np.nan)}, "from nan to nan"),
        ({"iuv": np.full((4, 4, 3), 1.5)}, "whole numbers"),
        ({"iuv": np.full((4, 4, 3), 2.0)}, "U and V go from 2 to 2"),
        ({"iuv": np.zeros((0, 4, 3), np.uint8)}, "empty"),
        ({"labels": np.zeros((4, 4), int), "uv": np.zeros((2, 4, 5))}, "do not belong together"),
        ({"labels": np.zeros((4, 4), int), "uv": np.zeros((2, 4, 4)), "box": [3, 3, 2, 9]}, "box"),
    ],
)
def test_arrays_that_are_no_map_are_refused(
    tmp_path: Path, arrays: dict[str, Array], message: str
) -> None:
    np.savez(tmp_path / "map.npz", **arrays)
    with pytest.raises(InputError, match=message):
        iuv.read(tmp_path / "map.npz", (4, 4))


def test_files_that_are_no_map_are_refused(tmp_path: Path, person: Iuv) -> None:
    with pytest.raises(InputError, match="no such file"):
        iuv.read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / "photo.png")
    iuv.write(tmp_path / "cut.png", person)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    for name, message in (
        ("text.png", "no PNG"), ("text.npz", "numpy"), ("grey.png", "three channels"),
        ("photo.png", "neither red"), ("cut.png", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            iuv.read(tmp_path / name)
    with pytest.raises(InputError, match=r"\.jpg"):
        iuv.write(tmp_path / "map.jpg", person)


def test_a_map_of_another_size_or_of_a_box_in_nothing_is_refused(
    tmp_path: Path, person: Iuv
) -> None:
    iuv.write(tmp_path / "map.npz", person)
    with pytest.raises(InputError, match="10x12; the picture it is for is 12x10"):
        iuv.read(tmp_path / "map.npz", (10, 12))
    np.savez(tmp_path / "box.npz", labels=person.part, uv=np.zeros((2, 12, 10)), box=[0, 0, 5, 5])
    with pytest.raises(InputError, match="which picture's size"):
        iuv.read(tmp_path / "box.npz")


def test_a_fitted_body_is_drawn_where_it_stands(tmp_path: Path) -> None:
    turns = np.zeros((len(bodies.BONES), 3), np.float32)
    stance = Stance(turns, np.array([0.3, 0, 4], np.float32), np.ones(len(turns), np.float32))
    physique = Physique(np.array(bodies.AVERAGE, np.float32), Camera(100.0, (39.5, 29.5)))
    found = iuv.drawn(physique, stance, (60, 80))
    rows, columns = np.nonzero(found.part)
    assert 35 < np.ptp(rows) < 55 and columns.mean() == pytest.approx(39.5 + 100 * 0.3 / 4, abs=1)
    left = np.isin(found.part, [i for i, name in enumerate(parts.PARTS) if "left" in name])
    assert np.nonzero(left)[1].mean() > columns.mean(), (
        "the person's left is on the picture's right"
    )
    assert found.uv.max() <= 1 and not found.uv[found.part == 0].any()
    iuv.write(tmp_path / "map.png", found)
    again = iuv.read(tmp_path / "map.png", (60, 80))
    np.testing.assert_array_equal(again.part, found.part)
    np.testing.assert_allclose(again.uv, found.uv, atol=0.5 / 255 + 1e-6)
