"""Pictures of synthetic people, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from small_pack import HAIR, SHOES, SUIT

from dance import skeleton as sk
from dance.surface import raster
from dance.surface.body import AVERAGE, BONES, Body
from dance.surface.charts import Charts
from dance.surface.parsing import LABELS
from dance.surface.parts import PARTS
from dance.synthetic import draw, motion, scene, truth, wear
from dance.synthetic.assets import Pack
from dance.synthetic.people import Character, Pattern
from dance.synthetic.scene import Cover, Lighting, Place, Viewpoint
from dance.synthetic.wear import Figure
from dance.types import Array

SIZE = (96, 80)
NOON = Lighting((0.0, -1.0, 0.0), (0.5,) * 3, (0.4,) * 3, (0.3,) * 3)
EVEN = Lighting((0.0, 0.0, -1.0), (0.9,) * 3, (0.1,) * 3, (0.1,) * 3)


@dataclass(frozen=True, eq=False)
class Seen:
    """Somebody at rest before a camera."""

    figure: Figure
    view: Viewpoint
    points: Array
    turns: Array
    root: Array
    shot: draw.Shot


def look(body: Body, figure: Figure, *, yaw: float = 0.0, lighting: Lighting = EVEN) -> Seen:
    """The figure standing with its arms a little away, turned by so much."""
    rest = motion.Motion(np.tile(np.eye(3), (1, len(BONES), 1, 1)))
    moved = motion.turned(rest, yaw)
    root = motion.place(body, figure, moved)
    world = wear.posed(figure, motion.transforms(body, figure, moved.turns, root)[0])
    view = scene.aim(world[::20], SIZE, field=0.5, height=1.2, margin=0.05)
    points = view.seen(world).astype(np.float32)
    shot = draw.draw(figure, points, view.camera, SIZE, scene.seen_light(lighting, view))
    local = motion.local_turns(view.turn @ moved.turns)[0]
    return Seen(figure, view, points, local, view.seen(root[0]), shot)


@pytest.fixture(scope="module")
def front(body: Body, figure: Figure) -> Seen:
    return look(body, figure)


def redressed(body: Body, charts: Charts, pack: Pack, **changes: object) -> Figure:
    worn = {"clothes": "suit", "shoes": "shoes", "hair": "hair"}
    character = Character(AVERAGE, worn, "plain", {}, {})
    return wear.dress(body, charts, pack, replace(character, **changes))


def levels(colour: Array) -> Array:
    """Linear colours as levels of a picture, without grain."""
    return np.rint(255 * np.clip(colour, 0, 1) ** (1 / scene.GAMMA))


def test_the_camera_has_everybody_whole_and_no_smaller_than_need_be(front: Seen) -> None:
    rows, columns = np.nonzero(front.shot.alpha > 0.5)
    assert rows.min() > 0 and rows.max() < SIZE[0] - 1
    assert columns.min() > 0 and columns.max() < SIZE[1] - 1
    assert rows.max() - rows.min() > 0.8 * SIZE[0]


def test_cover_agrees_with_the_bodys_own_rasteriser(front: Seen) -> None:
    other = raster.rasterise(
        front.points, front.figure.faces, front.view.camera, SIZE, soft=True, both_sides=True
    )
    assert np.abs(front.shot.alpha - other.coverage).mean() < 0.004
    both = (front.shot.face >= 0) & (other.face >= 0)
    assert both.sum() > 0.995 * (front.shot.face >= 0).sum()
    # Clothes are drawn a little before what they cover.
    assert np.abs(front.shot.depth - other.depth)[both].max() < 0.05


def test_what_is_worn_is_seen_in_its_colour(front: Seen) -> None:
    labels = truth.label_map(front.figure, front.shot)
    inside = front.shot.alpha > 0.999
    for name, colour in (("upper clothes", SUIT), ("hair", HAIR), ("left shoe", SHOES)):
        own = levels(front.shot.colour)[inside & (labels == LABELS.index(name))]
        assert len(own) > 3
        middle = np.median(own, axis=0)
        assert middle.argmax() == np.argmax(colour)
        ratio = middle / np.array(colour)
        assert ratio.max() < 1.6 * ratio.min() + 0.5


def test_a_texture_that_is_all_holes_is_not_seen(
    body: Body, charts: Charts, pack: Pack, front: Seen
) -> None:
    worn = {"clothes": "suit", "shoes": "shoes", "hair": "air"}
    bald = look(body, redressed(body, charts, pack, worn=worn))
    hair = LABELS.index("hair")
    assert (truth.label_map(front.figure, front.shot) == hair).sum() > 20
    assert (truth.label_map(bald.figure, bald.shot) == hair).sum() == 0
    assert bald.shot.alpha.sum() > 0.9 * front.shot.alpha.sum()


def test_rings_go_around_the_body(body: Body, charts: Charts, pack: Pack, front: Seen) -> None:
    patterns = {"outer": Pattern("rings", 8.0, (0.2, 0.2, 0.2))}
    ringed = look(body, redressed(body, charts, pack, patterns=patterns))
    chest = truth.label_map(front.figure, front.shot) == LABELS.index("upper clothes")
    chest &= front.shot.alpha > 0.999
    darker = (ringed.shot.colour / np.maximum(front.shot.colour, 1e-6))[..., 2] < 0.6
    share = darker[chest].mean()
    assert 0.25 < share < 0.75
    middle = darker[:, SIZE[1] // 2][chest[:, SIZE[1] // 2]]
    assert np.abs(np.diff(middle.astype(int))).sum() >= 3


def test_light_from_above_throws_a_shadow_on_the_floor(body: Body, figure: Figure) -> None:
    seen = look(body, figure, lighting=NOON)
    cover = Cover("plain", (0.5, 0.5, 0.5), 1.0, 0)
    place = Place("room", cover, cover, 3.0, None, (0.0, 0.0, 1.0))
    plain = scene.backdrop(place, seen.view, SIZE, Path())
    dark = scene.behind(seen.shot, plain) / plain.rgb
    feet = np.zeros((1, 3))
    column, row = np.rint(seen.view.pixels(feet)[0]).astype(int)
    assert dark[row : row + 3, column].max() < 0.75
    assert dark[: SIZE[0] // 2].min() > 0.99 and dark[row, 0].min() > 0.99


def test_a_photo_fills_the_background_and_gets_no_shadow(front: Seen, pack: Pack) -> None:
    cover = Cover("plain", (0.5, 0.5, 0.5), 1.0, 0)
    place = Place("photo", cover, cover, 3.0, "backgrounds/wild.png", (0.0, 0.0, 1.0))
    photo = scene.backdrop(place, front.view, SIZE, pack.folder)
    assert photo.rgb.shape == (*SIZE, 3) and photo.rgb.std() > 0.01
    assert scene.behind(front.shot, photo) is photo.rgb


@pytest.mark.parametrize("seed", range(6))
def test_places_drawn_by_lot_can_be_seen(front: Seen, pack: Pack, seed: int) -> None:
    place = scene.draw_place(pack, np.random.default_rng(seed))
    rgb = scene.backdrop(place, front.view, SIZE, pack.folder).rgb
    assert rgb.shape == (*SIZE, 3) and np.isfinite(rgb).all()
    assert 0.01 < rgb.mean() < 1.0


def test_grain_is_as_strong_as_told_and_no_more() -> None:
    grey = np.full((64, 64, 3), 0.2, np.float32)
    still = scene.developed(grey, np.random.default_rng(0), noise=0.0)
    noisy = scene.developed(grey, np.random.default_rng(0), noise=4.0)
    assert still.std() == 0 and 2 < noisy.std() < 8
    assert abs(float(noisy.mean()) - float(still.mean())) < 1


def test_joints_lie_on_the_person_and_hidden_ones_are_told(body: Body, front: Seen) -> None:
    points = truth.joints(body, front.figure, front.turns, front.root)
    xy, score = truth.seen_joints(points, front.view.camera, front.shot)
    for joint in (sk.NOSE, sk.LEFT_WRIST, sk.RIGHT_HIP, sk.LEFT_KNEE, sk.RIGHT_ANKLE):
        assert score[joint] == truth.VISIBLE
        column, row = np.rint(xy[joint]).astype(int)
        assert front.shot.alpha[row, column] > 0.5
    assert xy[sk.LEFT_SHOULDER, 0] > xy[sk.RIGHT_SHOULDER, 0]
    behind = look(body, front.figure, yaw=np.pi)
    points = truth.joints(body, behind.figure, behind.turns, behind.root)
    xy, score = truth.seen_joints(points, behind.view.camera, behind.shot)
    assert score[sk.NOSE] == truth.HIDDEN
    assert xy[sk.LEFT_SHOULDER, 0] < xy[sk.RIGHT_SHOULDER, 0]


def test_a_joint_outside_the_picture_has_no_score(body: Body, front: Seen) -> None:
    points = truth.joints(body, front.figure, front.turns, front.root)
    aside = points + np.array([5.0, 0, 0])
    assert (truth.seen_joints(aside, front.view.camera, front.shot)[1] == 0).all()


def test_the_surface_below_clothes_is_the_bodys_own(
    body: Body, charts: Charts, front: Seen
) -> None:
    iuv = truth.surface_map(front.figure, front.shot)
    skin = front.points[: len(body.template)]
    bare = raster.rasterise(skin, body.faces.numpy(), front.view.camera, SIZE)
    part, uv = raster.parts(bare, charts), raster.uv(bare, charts)
    both = (iuv[..., 0] > 0) & (part > 0)
    assert both.sum() > 0.8 * (iuv[..., 0] > 0).sum()
    same = both & (iuv[..., 0] == part)
    assert same.sum() > 0.9 * both.sum()
    # Feet have three islands each, and shoes lie over all of them.
    limbs = same & ~np.isin(part, [PARTS.index("left foot"), PARTS.index("right foot")])
    away = np.abs(iuv[..., 1:] / 255 - uv)[limbs]
    assert np.median(away) < 0.03 and np.percentile(away, 90) < 0.12


def test_nothing_is_known_where_nobody_is(front: Seen) -> None:
    nobody = front.shot.face < 0
    assert (truth.label_map(front.figure, front.shot)[nobody] == 0).all()
    assert (truth.surface_map(front.figure, front.shot)[nobody] == 0).all()
    assert np.isinf(front.shot.depth[nobody]).all()
    assert truth.matte(front.shot).max() == 255
