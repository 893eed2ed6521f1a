"""The avatar draws a known body: it looks like the pictures, turns, and takes an artist's paint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coloured_body import GREY, SIZE, colours, person, photographed, pose, stance
from PIL import Image

from dance.generators import _avatar_views, avatar
from dance.types import Array, InputError, Light, Person, Pose

THICK = 0.01


def draw(known: Person, *poses: Pose, **options: object) -> tuple[Array, Array]:
    """Pictures (T, H, W, 3) as 0..255 before the person's wall, and alphas (T, H, W)."""
    generator = avatar.build(avatar.Config(side=256, **options), "cpu")  # type: ignore[arg-type]
    drawn, _ = generator.render(generator.encode(known), poses, None)
    assert drawn.alpha is not None
    alpha = drawn.alpha[:, 0].numpy()
    rgb = drawn.rgb.permute(0, 2, 3, 1).numpy().astype(np.float32)
    return GREY + alpha[..., None] * (rgb - GREY), alpha


@pytest.fixture(scope="module")
def front() -> Person:
    return person(photographed(stance(), THICK))


@pytest.fixture(scope="module")
def turned() -> Person:
    """Seen from all sides."""
    return person(*(photographed(stance(yaw), THICK) for yaw in (0, 90, 180, 270)))


def test_a_source_view_is_drawn_as_it_was(front: Person) -> None:
    view = front.views[0]
    (picture,), (alpha,) = draw(front, view.pose)
    both = (alpha > 0.5) & (view.alpha > 0.5)
    assert both.sum() / ((alpha > 0.5) | (view.alpha > 0.5)).sum() > 0.95
    inner = both & (alpha > 0.99) & (view.alpha > 0.99)
    assert (np.abs(picture - view.frame.rgb)[inner].max(1) < 12).mean() > 0.85


@pytest.mark.parametrize("yaw", [60, 135, 180, 300])
def test_a_person_seen_from_all_sides_turns(turned: Person, yaw: float) -> None:
    truth = photographed(stance(yaw), THICK)
    (picture,), (alpha,) = draw(turned, pose(stance(yaw)))
    assert np.abs(alpha - truth.alpha).sum() / truth.alpha.sum() < 0.09
    inner = (alpha > 0.99) & (truth.alpha > 0.99)
    assert (np.abs(picture - truth.frame.rgb)[inner].max(1) < 25).mean() > 0.7


def test_a_back_nobody_saw_looks_like_the_front(front: Person) -> None:
    (picture,), (alpha,) = draw(front, pose(stance(180)))
    red, _, blue = picture[60:95, 64:80].reshape(-1, 3).mean(0)
    assert alpha[60:95, 64:80].min() > 0.9
    assert red > blue + 80


def test_an_arm_before_the_body_hides_it(front: Person) -> None:
    held = stance(left_upper_arm=(0, 1.0, 0), left_forearm=(0, 1.3, 0))
    (apart,), _ = draw(front, pose(stance()))
    (picture,), _ = draw(front, pose(held))
    truth = photographed(held, THICK).frame.rgb
    changed = np.abs(truth.astype(np.float32) - apart).sum(2) > 60
    assert changed.sum() > 100
    assert np.abs(picture - truth)[changed].mean() < np.abs(apart - truth)[changed].mean()


def test_one_nearer_to_the_camera_is_larger(front: Person) -> None:
    _, (far, near) = draw(front, pose(stance(away=2.8)), pose(stance(away=2.0)))
    assert near.sum() > 1.6 * far.sum()


def test_without_a_stance_nothing_is_drawn(front: Person) -> None:
    _, alpha = draw(front, pose(None), Pose.unseen(), replace(pose(stance()), score=np.zeros(133)))
    assert alpha.shape == (3, *SIZE) and not alpha.any()


def test_one_beside_the_picture_is_no_error(front: Person) -> None:
    away = stance()
    aside = replace(away, root=away.root + np.float32([9, 0, 0]))
    _, alpha = draw(front, pose(aside))
    assert not alpha.any()


def test_one_half_out_of_the_picture_or_behind_the_camera_is_no_error(front: Person) -> None:
    half, behind = stance(), stance(away=0.1)
    _, alpha = draw(
        front, pose(replace(half, root=half.root + np.float32([0.75, 0, 0]))), pose(behind)
    )
    assert alpha[0].any() and np.isfinite(alpha).all()


def test_views_without_a_stance_are_left_out_and_a_person_without_any_is_refused(
    front: Person,
) -> None:
    bare = replace(front.views[0], pose=pose(None))
    (with_bare,), _ = draw(replace(front, views=[*front.views, bare]), pose(stance(30)))
    (without,), _ = draw(front, pose(stance(30)))
    assert np.array_equal(with_bare, without)
    with pytest.raises(InputError, match="no 3-D body"):
        draw(replace(front, views=[bare]), pose(stance()))


def test_an_artists_paint_is_drawn_and_the_rest_stays(front: Person, tmp_path: Path) -> None:
    path = tmp_path / "atlas.png"
    (before,), _ = draw(front, pose(stance()), save_atlas=path)
    (same,), _ = draw(front, pose(stance()), atlas=path)
    assert np.array_equal(before, same)
    rgb = np.array(Image.open(path))
    red = (rgb[..., 0] > 150) & (rgb[..., 2] < 110)
    rgb[red] = 0, 255, 0
    Image.fromarray(rgb).save(path)
    (after,), _ = draw(front, pose(stance()), atlas=path)
    chest = np.s_[70:85, 66:78]
    assert np.abs(after[chest] - [0, 255, 0]).mean() < 12
    neck = np.s_[0:6, :]
    assert np.array_equal(after[neck], before[neck])


def test_the_known_colours_are_of_two_sides() -> None:
    assert {tuple(c) for c in colours()[:, [0, 2]]} == {(220, 40), (40, 220)}


def shone(known: Person, towards: tuple[float, float, float], share: float = 0.5) -> Person:
    way = np.array(towards, np.float32)
    light = Light(way / np.linalg.norm(way), np.array([0, -1, 0], np.float32), share)
    return replace(known, light=light)


def test_in_its_own_light_a_source_view_is_drawn_as_it_was(front: Person) -> None:
    view = front.views[0]
    (plain,), _ = draw(front, view.pose)
    (picture,), _ = draw(shone(front, (0.7, -0.7, -0.5)), view.pose)
    assert np.abs(picture - plain).mean() < 1


def test_who_turns_round_is_bright_where_the_lamp_is(front: Person) -> None:
    away = pose(stance(180))
    (plain,), (alpha,) = draw(front, away)
    (lit,), _ = draw(shone(front, (0.9, -0.5, -0.1)), away)  # the lamp is at the picture's right
    brighter = lit.mean(2) / plain.mean(2)
    columns = np.arange(SIZE[1])[None]
    right, left = ((alpha > 0.99) & side for side in (columns > 74, columns < 69))
    assert brighter[right].mean() > brighter[left].mean() + 0.1


def test_gains_are_what_the_light_does_within_bounds() -> None:
    fell = np.array([[1.0], [1.0], [1.0], [0.2]], np.float32)
    falls = np.array([1.0, 0.8, 0.01, 1.0], np.float32)
    weights = np.ones((4, 1), np.float32)
    same, darker, darkest, brighter = _avatar_views.gains(
        falls, fell, weights, np.ones(4, np.float32)
    )
    assert same == 1
    assert 0.8 ** (1 / 2.2) < darker < 1
    assert darkest == np.float32(0.65)
    assert 1 < brighter <= np.float32(1.08)
    nothing_seen = _avatar_views.gains(falls, fell, 0 * weights, np.full(4, 2, np.float32))
    assert (nothing_seen < 1).all()
