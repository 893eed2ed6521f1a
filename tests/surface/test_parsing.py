"""The labels of Look into Person."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dance.surface import body as bodies
from dance.surface import parsing, raster
from dance.surface.body import AVERAGE, BONES
from dance.surface.charts import charts
from dance.types import Array, Camera, InputError

SIZE = (320, 200)
SKIN, HAIR, SHIRT, JEANS, SHOE, WALL = (
    (214, 168, 140), (60, 40, 30), (60, 80, 160), (40, 45, 60), (20, 20, 20), (150, 190, 150),
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """The body before a camera, and the height above the ground, in body heights, of what every pixel shows."""

    part: Array
    uv: Array
    height: Array


def seen(turn: float = 0.0) -> Seen:
    """The average body at rest, turned about the vertical."""
    body = bodies.load()
    turns = torch.zeros(1, len(BONES), 3)
    turns[0, 0, 1] = turn
    points = bodies.posed(body, torch.tensor(AVERAGE), turns, torch.tensor([[0.0, 0.0, 4.0]]))[
        0
    ].numpy()
    faces = body.faces.numpy()
    found = raster.rasterise(points, faces, Camera(600.0, (99.5, 155.0)), SIZE)
    high = (points[:, 1].max() - points[:, 1]) / np.ptp(points[:, 1])
    height = raster.interpolate(found, high[faces][..., None])[..., 0]
    made = charts(body)
    return Seen(raster.parts(found, made), raster.uv(found, made), height)


def named(part: Array, *words: str) -> Array:
    from dance.surface.parts import PARTS

    return np.isin(part, [i for i, name in enumerate(PARTS) if any(w in name for w in words)])


def dressed(of: Seen) -> tuple[Array, Array]:
    """A picture of somebody with short dark hair, a shirt with short sleeves, jeans and shoes, and the matte."""
    rgb = np.full((*SIZE, 3), WALL, np.uint8)
    rgb[of.part > 0] = SKIN
    rgb[named(of.part, "torso", "upper arm")] = SHIRT
    rgb[(named(of.part, "torso") & (of.height < 0.56)) | named(of.part, "thigh", "shin")] = JEANS
    rgb[named(of.part, "foot")] = SHOE
    rgb[named(of.part, "head") & (of.height > 0.95)] = HAIR
    return rgb, (of.part > 0).astype(np.float32)


def share(labels: Array, where: Array, name: str) -> float:
    return float((labels[where] == parsing.LABELS.index(name)).mean())


@pytest.fixture(scope="module")
def front() -> Seen:
    return seen()


def test_clothes_skin_and_hair_are_told_apart(front: Seen) -> None:
    labels = parsing.labels(front.part, front.uv, *dressed(front))
    part, height = front.part, front.height
    assert labels.dtype == np.uint8 and (labels[part == 0] == 0).all()
    torso = named(part, "torso")
    for where, name in (
        (named(part, "head") & (height > 0.96), "hair"),
        (named(part, "head") & (height > 0.88) & (height < 0.92), "face"),
        (torso & (height > 0.6), "upper clothes"),
        (torso & (height < 0.53), "trousers"),
        (named(part, "thigh") & (height < 0.45), "trousers"),
        (named(part, "upper arm"), "upper clothes"),
        (named(part, "left forearm", "left hand"), "left arm"),
        (named(part, "right forearm", "right hand"), "right arm"),
        (named(part, "left foot"), "left shoe"),
        (named(part, "right foot"), "right shoe"),
    ):
        assert share(labels, where, name) > 0.85, name


def test_the_waist_is_found_by_colour(front: Seen) -> None:
    rgb, alpha = dressed(front)
    torso = named(front.part, "torso")
    rgb[torso & (front.height < 0.6)] = JEANS
    labels = parsing.labels(front.part, front.uv, rgb, alpha)
    assert share(labels, torso & (front.height > 0.57) & (front.height < 0.59), "trousers") > 0.8
    assert share(labels, torso & (front.height > 0.61), "upper clothes") > 0.9


def test_bare_legs_arms_and_feet_are_skin(front: Seen) -> None:
    rgb, alpha = dressed(front)
    rgb[named(front.part, "thigh", "shin", "foot", "arm")] = SKIN
    labels = parsing.labels(front.part, front.uv, rgb, alpha)
    for side in ("left", "right"):
        shin = named(front.part, f"{side} shin", f"{side} foot") & (front.height < 0.3)
        assert share(labels, shin, f"{side} leg") > 0.95
        assert share(labels, named(front.part, f"{side} upper arm"), f"{side} arm") > 0.8


def test_cloth_between_bare_legs_is_a_skirt_and_between_trousers_is_not(front: Seen) -> None:
    rgb, alpha = dressed(front)
    thighs = np.argwhere(named(front.part, "thigh"))
    rows = slice(thighs[:, 0].min(), int(np.quantile(thighs[:, 0], 0.9)))
    for bare in (True, False):
        cloth = rgb.copy()
        if bare:
            cloth[named(front.part, "shin")] = SKIN
        cloth[rows, 75:125] = JEANS
        matte = alpha.copy()
        matte[rows, 75:125] = 1
        labels = parsing.labels(front.part, front.uv, cloth, matte)
        where = named(front.part, "thigh") & (front.height < 0.45) & (front.height > 0.35)
        assert share(labels, where, "skirt" if bare else "trousers") > 0.9


def test_long_hair_outside_of_the_head_is_hair(front: Seen) -> None:
    rgb, alpha = dressed(front)
    head = np.argwhere(named(front.part, "head"))
    top, (left, right) = head[:, 0].min(), (head[:, 1].min(), head[:, 1].max())
    hair = np.zeros(SIZE, bool)
    hair[top - 6 : top + 20, left - 6 : right + 7] = True
    hair &= front.part == 0
    rgb[hair], alpha[hair] = HAIR, 1
    assert share(parsing.labels(front.part, front.uv, rgb, alpha), hair, "hair") > 0.95


def test_from_behind_the_head_is_hair_and_the_hands_tell_the_skin() -> None:
    behind = seen(np.pi)
    rgb, alpha = dressed(behind)
    rgb[named(behind.part, "head") & (behind.height > 0.88)] = HAIR
    labels = parsing.labels(behind.part, behind.uv, rgb, alpha)
    assert share(labels, named(behind.part, "head") & (behind.height > 0.9), "hair") > 0.95
    assert share(labels, named(behind.part, "left forearm"), "left arm") > 0.85
    assert (
        share(labels, named(behind.part, "torso back") & (behind.height > 0.65), "upper clothes")
        > 0.9
    )


def test_labels_that_are_said_never_to_come_do_not(front: Seen) -> None:
    rng = np.random.default_rng(0)
    for turn in (front, seen(2.0)):
        rgb = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        found = parsing.labels(turn.part, turn.uv, rgb, np.ones(SIZE, np.float32))
        assert not {parsing.LABELS[i] for i in np.unique(found)} & parsing.NEVER


def test_without_a_body_or_a_person_everything_is_background(front: Seen) -> None:
    rgb, alpha = dressed(front)
    assert not parsing.labels(front.part * 0, front.uv * 0, rgb, alpha).any()
    assert not parsing.labels(front.part, front.uv, rgb, alpha * 0).any()


def test_a_parsing_is_read_as_it_was_written(tmp_path: Path) -> None:
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    parsing.write(tmp_path / "a.png", labels)
    np.testing.assert_array_equal(parsing.read(tmp_path / "a.png", (4, 5)), labels)
    with Image.open(tmp_path / "a.png") as image:
        shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(shown, parsing.palette()[labels])
    Image.fromarray(labels).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(parsing.read(tmp_path / "grey.png", (4, 5)), labels)


def test_the_palette_is_the_usual_one() -> None:
    assert parsing.palette()[[0, 1, 2, 3, 8, 19]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [64, 0, 0], [128, 192, 0],
    ]  # fmt: skip


def test_files_that_are_no_parsing_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "colour.png")
    Image.new("L", (5, 4), 20).save(tmp_path / "twenty.png")
    Image.new("L", (4, 5)).save(tmp_path / "turned.png")
    (tmp_path / "text.png").write_text("hello")
    for name, message in (
        ("colour.png", r"colour picture \(RGB\)"), ("twenty.png", "the label 20"),
        ("turned.png", "is 4x5; the picture it is for is 5x4"), ("text.png", "no PNG"), ("none.png", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            parsing.read(tmp_path / name, (4, 5))
