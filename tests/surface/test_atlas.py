"""The atlas: what views show, guesses of the rest, and an artist's paint."""

from pathlib import Path

import numpy as np
import pytest
from coloured_body import colours, person, photographed, rest, stance
from PIL import Image

from dance.surface import atlas as atlases
from dance.surface.body import BONES
from dance.surface.dressed import Dressed, dress
from dance.types import Array, InputError


@pytest.fixture(scope="module")
def front() -> Dressed:
    """Known from a frontal picture alone."""
    return dress(person(photographed(stance())), side=256)


@pytest.fixture(scope="module")
def both() -> Dressed:
    """Known from the front and from behind."""
    return dress(person(photographed(stance()), photographed(stance(180))), side=256)


def on_vertices(dressed: Dressed, values: Array) -> Array:
    """What the atlas has at every vertex, (V, C)."""
    out = np.zeros((len(dressed.weights), values.shape[-1]), np.float32)
    corners = np.clip(np.round(dressed.layout.corners), 0, dressed.atlas.side - 1).astype(int)
    for k in range(3):
        out[dressed.faces[:, k]] = values[corners[:, k, 1], corners[:, k, 0]]
    return out


def of(dressed: Dressed, *names: str) -> Array:
    return np.isin(np.array(BONES)[dressed.weights.argmax(1)], names)


def test_every_triangle_has_its_place_and_every_texel_a_triangle(front: Dressed) -> None:
    on = front.layout
    assert on.own.mean() > 0.4
    assert len(on.face) == on.own.sum() == on.nearest.max() + 1
    assert np.allclose(on.bary.sum(1), 1, atol=1e-4)


def test_what_views_show_has_its_colour(both: Dressed) -> None:
    vertices, _ = rest()
    flat = np.abs(vertices[:, 2] - vertices[:, 2].mean()) > 0.06
    trunk = of(both, "spine", "chest", "left_thigh", "right_thigh") & flat
    wrong = np.abs(on_vertices(both, both.atlas.rgb) - colours())[trunk]
    assert np.median(wrong) < 6


def test_the_unseen_back_is_guessed_from_the_front_and_not_trusted(front: Dressed) -> None:
    vertices, _ = rest()
    trunk = of(front, "spine", "chest")
    back = trunk & (vertices[:, 2] > vertices[trunk, 2].mean() + 0.06)
    belly = trunk & (vertices[:, 2] < vertices[trunk, 2].mean() - 0.06)
    confidence = on_vertices(front, front.atlas.confidence[..., None])[:, 0]
    assert np.median(confidence[belly]) > 0.5 > 0.01 > np.median(confidence[back])
    guessed = np.median(on_vertices(front, front.atlas.rgb)[back], axis=0)
    assert guessed[0] > 170 and guessed[2] < 90  # red as the front


def test_the_wall_behind_the_person_is_nowhere_on_them(both: Dressed) -> None:
    spread = np.ptp(both.atlas.rgb[both.layout.own].astype(int), axis=1)
    assert (spread < 20).mean() < 0.01  # grey has no spread


def test_an_atlas_comes_back_as_it_was_and_unpainted(front: Dressed, tmp_path: Path) -> None:
    atlases.save(front.atlas, tmp_path / "atlas.png")
    loaded = atlases.load(tmp_path / "atlas.png")
    assert np.array_equal(loaded.rgb, front.atlas.rgb)
    assert not loaded.painted.any()
    assert np.abs(loaded.confidence - front.atlas.confidence).max() < 0.01


def test_only_what_somebody_painted_counts_as_painted(front: Dressed, tmp_path: Path) -> None:
    path = tmp_path / "atlas.png"
    atlases.save(front.atlas, path)
    rgb = front.atlas.rgb.copy()
    rgb[100:140, 100:140] = 255 - rgb[100:140, 100:140]
    Image.fromarray(rgb).save(path)
    painted = atlases.load(path).painted
    assert painted[110:130, 110:130].mean() > 0.8
    assert painted[160:].max() == 0


def test_a_picture_without_its_companion_counts_as_painted_everywhere(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(tmp_path / "own.png")
    assert (atlases.load(tmp_path / "own.png").painted == 1).all()


def test_what_is_no_atlas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png"):
        atlases.load(tmp_path / "text.png")
    Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match="square, this one is 8x4"):
        atlases.load(tmp_path / "wide.png")
    with pytest.raises(InputError, match=r"missing\.png"):
        atlases.load(tmp_path / "missing.png")


def test_a_person_without_a_body_is_refused() -> None:
    view = photographed(stance())
    known = person(view)
    bare = type(known)(known.views, known.plate, known.track)
    with pytest.raises(InputError, match="no 3-D body"):
        dress(bare)
