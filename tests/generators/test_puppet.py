"""The puppet draws the person's own pixels where the pose says, whole, in the right order, without jumps."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from drawn_person import SIZE, bent, draw_person, standing

from dance import skeleton as sk
from dance.generators import puppet
from dance.generators._puppet_raster import Canvas, paint
from dance.generators._puppet_texture import spread_colours
from dance.types import Array, Frame, Person, Pose, Track, View


def _draw(person: Person, poses: list[Pose]) -> tuple[Array, Array]:
    """Pictures (T, H, W, 3) in [0, 255] and alphas (T, H, W)."""
    generator = puppet.build(puppet.Config(), "cpu")
    drawn, _ = generator.render(generator.encode(person), poses, None)
    assert drawn.alpha is not None
    return drawn.rgb.permute(0, 2, 3, 1).numpy().astype(np.float32), drawn.alpha[:, 0].numpy()


def _colour_at(rgb: Array, point: tuple[float, float] | Array) -> Array:
    x, y = np.rint(point).astype(int)
    return rgb[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))


def _along(pose: Pose, a: int, b: int, share: float) -> Array:
    return pose.xy[a] + share * (pose.xy[b] - pose.xy[a])


def test_the_source_pose_gives_the_source_picture(person: Person) -> None:
    view = person.views[0]
    rgb, alpha = _draw(person, [view.pose])
    inside = view.alpha > 0.5
    assert np.abs(alpha[0] - view.alpha).mean() < 0.01
    composed = rgb[0] * alpha[0][..., None] + person.plate * (1 - alpha[0][..., None])
    assert np.abs(composed - view.frame.rgb)[inside].mean() < 8


def test_a_shift_of_the_pose_shifts_the_picture(person: Person) -> None:
    rgb, alpha = _draw(person, [standing(), standing((12, -7))])
    moved = np.roll(alpha[0], (-7, 12), (0, 1))
    assert np.abs(alpha[1] - moved).mean() < 2e-3
    both = np.roll(rgb[0] * alpha[0][..., None], (-7, 12), (0, 1))
    assert np.abs(rgb[1] * alpha[1][..., None] - both).mean() < 0.3


def test_a_larger_pose_gives_a_larger_person(person: Person) -> None:
    _, alpha = _draw(person, [standing()])
    _, small = _draw(person, [standing(scale=0.7)])
    assert small.sum() / alpha.sum() == pytest.approx(0.49, abs=0.03)


def test_a_raised_arm_is_drawn_where_it_is_and_no_longer_where_it_was(person: Person) -> None:
    start = standing()
    up = bent(start, {sk.LEFT_ELBOW: (104, 40), sk.LEFT_WRIST: (106, 16)})
    rgb, alpha = _draw(person, [up])
    for a, b in ((sk.LEFT_SHOULDER, sk.LEFT_ELBOW), (sk.LEFT_ELBOW, sk.LEFT_WRIST)):
        for share in (0.4, 0.7):
            x, y = np.rint(_along(up, a, b, share)).astype(int)
            assert alpha[0, y, x] > 0.9
            red, green, blue = _colour_at(rgb[0], (x, y))
            assert green > red and green > blue
    x, y = np.rint(start.xy[sk.LEFT_WRIST]).astype(int)
    assert alpha[0, y, x] < 0.05


def test_a_raised_arm_leaves_no_hole_between_itself_and_the_trunk(person: Person) -> None:
    for elbow, wrist in (((104, 40), (106, 16)), ((111, 54), (134, 52)), ((92, 30), (94, 8))):
        pose = bent(standing(), {sk.LEFT_ELBOW: elbow, sk.LEFT_WRIST: wrist})
        _, alpha = _draw(person, [pose])
        neck = (pose.xy[sk.LEFT_SHOULDER] + pose.xy[sk.RIGHT_SHOULDER]) / 2 + (0, 4)
        way = [neck + t * (pose.xy[sk.LEFT_SHOULDER] - neck) for t in np.linspace(0, 1, 20)]
        way += [_along(pose, sk.LEFT_SHOULDER, sk.LEFT_ELBOW, t) for t in np.linspace(0, 1, 20)]
        assert min(alpha[0, round(float(y)), round(float(x))] for x, y in way) > 0.9


def test_an_arm_against_the_trunk_does_not_drag_it() -> None:
    arms = {
        sk.LEFT_ELBOW: (90, 76), sk.LEFT_WRIST: (88, 98), sk.RIGHT_ELBOW: (54, 76), sk.RIGHT_WRIST: (56, 98),
    }  # fmt: skip
    pose = bent(standing(), arms)
    rgb, matte = draw_person(pose)
    person = Person(
        [View(Frame(rgb), pose, matte)],
        np.full((*SIZE, 3), 128, np.uint8),
        Track([pose], [Fraction(0)], SIZE),
    )
    out = bent(pose, {sk.LEFT_ELBOW: (112, 58), sk.LEFT_WRIST: (134, 56)})
    pictures, alpha = _draw(person, [pose, out])
    trunk = np.s_[62:90, 64:78]
    assert np.abs(pictures[1][trunk] - pictures[0][trunk]).mean() < 3
    # Neither does the arm take the trunk's flank along.
    assert alpha[1][70:90, 98:110].mean() < 0.1


def test_the_nearer_arm_hides_the_trunk_and_the_farther_is_hidden(person: Person) -> None:
    across = bent(standing(), {sk.LEFT_ELBOW: (84, 80), sk.LEFT_WRIST: (62, 74)})
    for nearness, front in ((-30.0, True), (30.0, False)):
        depth = np.zeros(133, np.float32)
        depth[[sk.LEFT_ELBOW, sk.LEFT_WRIST]] = nearness
        rgb, _ = _draw(person, [replace(across, depth=depth)])
        red, green, _ = _colour_at(rgb[0], _along(across, sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.5))
        assert (green > red) == front


def test_the_order_of_parts_does_not_flicker_with_noisy_depths(person: Person) -> None:
    across = bent(standing(), {sk.LEFT_ELBOW: (84, 80), sk.LEFT_WRIST: (62, 74)})
    poses = []
    for i in range(8):
        depth = np.zeros(133, np.float32)
        # The forearm counts as a little nearer than it is: this lies around the point of change.
        depth[[sk.LEFT_ELBOW, sk.LEFT_WRIST]] = 4.2 + (0.8 if i % 2 else -0.8)
        poses.append(replace(across, depth=depth))
    rgb, _ = _draw(person, poses)
    at = _along(across, sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.5)
    colours = np.array([_colour_at(picture, at) for picture in rgb])
    assert np.ptp(colours, axis=0).max() < 20


def test_small_steps_of_the_pose_make_small_steps_in_the_picture(person: Person) -> None:
    poses = []
    for angle in np.linspace(1.3, -1.9, 80):
        # The arm swings from hanging to above the head.
        reach = np.array([np.cos(angle), np.sin(angle)])
        shoulder = standing().xy[sk.LEFT_SHOULDER]
        poses.append(
            bent(
                standing(),
                {sk.LEFT_ELBOW: shoulder + 24 * reach, sk.LEFT_WRIST: shoulder + 46 * reach},
            )
        )
    _, alpha = _draw(person, poses)
    steps = np.abs(np.diff(alpha, axis=0)).sum((1, 2))
    assert steps.max() < 4 * np.median(steps) + 20


def test_a_turn_of_the_trunk_narrows_it_without_a_jump_or_a_gap(person: Person) -> None:
    poses = []
    for angle in np.linspace(0, np.pi, 60):
        pose = standing()
        xy, depth = pose.xy.copy(), np.zeros(133, np.float32)
        beside = xy[:, 0] - 72
        xy[:, 0] = 72 + beside * np.cos(angle)
        depth[:] = beside * np.sin(angle)
        xy[sk.NOSE, 0] += 10 * np.sin(angle)
        poses.append(Pose(xy.astype(np.float32), pose.score, depth))
    _, alpha = _draw(person, poses)
    rows = np.s_[:, 66:88, :]
    widths = (alpha[rows] > 0.5).sum(2).mean(1)
    trunk = np.ptp(standing().xy[[sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER], 0])
    assert widths.min() > 0.4 * trunk
    assert np.abs(np.diff(widths)).max() < 0.12 * trunk
    assert (alpha[:, 75, 72] > 0.9).all()


def test_a_limb_that_is_lost_fades_and_the_rest_stays(person: Person) -> None:
    start = standing()
    score = start.score.copy()
    score[[sk.LEFT_ELBOW, sk.LEFT_WRIST]] = 0
    lost = replace(start, score=score)
    _, alpha = _draw(person, [start] + [lost] * 9)
    x, y = np.rint(_along(start, sk.LEFT_ELBOW, sk.LEFT_WRIST, 0.5)).astype(int)
    arm = alpha[:, y, x]
    assert arm[0] > 0.9 and arm[-1] == 0
    assert np.abs(np.diff(arm)).max() < 0.3
    assert (alpha[:, 80, 72] > 0.9).all()


def test_the_edge_of_the_person_carries_no_background(person: Person) -> None:
    rgb, alpha = _draw(person, [standing((0.5, 0.5), 1.03)])
    edge = (alpha[0] > 0.1) & (alpha[0] < 0.9)
    grey = np.abs(rgb[0] - 128).max(-1) < 12
    assert grey[edge].mean() < 0.05


@pytest.mark.parametrize("skirt", [True, False])
def test_a_skirt_stays_one_piece_over_parted_legs_and_trousers_do_not(skirt: bool) -> None:
    together = bent(
        standing(),
        {
            sk.LEFT_HIP: (79, 96), sk.LEFT_KNEE: (81, 130), sk.LEFT_ANKLE: (81, 162), sk.LEFT_BIG_TOE: (82, 171),
            sk.RIGHT_HIP: (65, 96), sk.RIGHT_KNEE: (63, 130), sk.RIGHT_ANKLE: (63, 162), sk.RIGHT_BIG_TOE: (62, 171),
        },
    )  # fmt: skip
    rgb, matte = draw_person(together)
    if skirt:
        rgb[96:122, 56:89] = (230, 200, 40)
        matte[96:122, 56:89] = 1
    person = Person(
        [View(Frame(rgb), together, matte)],
        np.full((*SIZE, 3), 128, np.uint8),
        Track([together], [Fraction(0)], SIZE),
    )
    parted = bent(
        together,
        {
            sk.LEFT_KNEE: (96, 128), sk.LEFT_ANKLE: (104, 158), sk.LEFT_BIG_TOE: (108, 167),
            sk.RIGHT_KNEE: (48, 128), sk.RIGHT_ANKLE: (40, 158), sk.RIGHT_BIG_TOE: (36, 167),
        },
    )  # fmt: skip
    _, alpha = _draw(person, [parted])
    between = alpha[0, 112:118, 70:75].mean()
    assert between > 0.9 if skirt else between < 0.5
    assert alpha[0, 138:160, 70:75].max() < 0.1


def test_of_two_views_the_likelier_one_is_drawn_and_they_blend_into_each_other() -> None:
    down = standing()
    up = bent(
        down,
        {
            sk.LEFT_ELBOW: (104, 36), sk.LEFT_WRIST: (106, 14), sk.RIGHT_ELBOW: (40, 36), sk.RIGHT_WRIST: (38, 14),
        },
    )  # fmt: skip
    views = []
    for pose, brightness in ((down, 1.0), (up, 0.5)):
        rgb, matte = draw_person(pose)
        views.append(View(Frame((rgb * brightness).astype(np.uint8)), pose, matte))
    person = Person(
        views,
        np.full((*SIZE, 3), 128, np.uint8),
        Track([down, up], [Fraction(0), Fraction(1)], SIZE),
    )
    rgb, alpha = _draw(person, [down] * 15 + [up] * 15)
    red = np.array([_colour_at(picture, (72, 75))[0] for picture in rgb])
    assert red[0] > 180 and red[-1] < 110
    assert np.abs(np.diff(red)).max() < 40
    assert (alpha[:, 75, 72] > 0.9).all()


def test_a_view_without_the_person_draws_nothing() -> None:
    plate = np.full((*SIZE, 3), 128, np.uint8)
    view = View(Frame(plate), Pose.unseen(), np.zeros(SIZE, np.float32))
    person = Person([view], plate, Track([Pose.unseen()], [Fraction(0)], SIZE))
    _, alpha = _draw(person, [standing()])
    assert alpha.max() == 0


def test_head_and_shoulders_alone_draw_no_legs() -> None:
    pose = standing()
    score = pose.score.copy()
    score[[j for j in range(23) if pose.xy[j, 1] > 80]] = 0
    rgb, matte = draw_person(pose)
    matte[80:] = 0
    seen = replace(pose, score=score)
    plate = np.full((*SIZE, 3), 128, np.uint8)
    person = Person([View(Frame(rgb), seen, matte)], plate, Track([seen], [Fraction(0)], SIZE))
    _, alpha = _draw(person, [standing()])
    assert alpha[0, 110:].max() < 0.05
    assert alpha[0, 66, 72] > 0.9


def test_poses_without_depths_are_drawn_too(person: Person) -> None:
    pose = replace(standing(), depth=None)
    _, alpha = _draw(person, [pose])
    assert np.abs(alpha[0] - person.views[0].alpha).mean() < 0.02


def test_triangles_that_turned_over_are_not_drawn() -> None:
    texture = np.ones((32, 32, 4), np.float32)
    corners = np.array([[5, 5], [25, 5], [5, 25]], np.float32)
    triangle = np.array([[0, 1, 2]], np.int32)
    for order, drawn in (([0, 1, 2], True), ([1, 0, 2], False)):
        canvas = Canvas.of((32, 32))
        paint(
            canvas.picture, canvas.nearest, canvas.places, canvas.sheet, texture, corners[order],
            np.zeros(3, np.float32), corners, triangle, 1, 1.0, False,
        )  # fmt: skip
        assert (canvas.picture[..., 3].max() > 0.9) == drawn


def test_colours_spread_into_what_is_unknown_and_leave_the_rest() -> None:
    rgb = np.zeros((40, 40, 3), np.float32)
    rgb[:, :10], rgb[:, 30:] = (1, 0, 0), (0, 0, 1)
    known = np.zeros((40, 40), bool)
    known[:, :10] = known[:, 30:] = True
    filled = spread_colours(rgb, known)
    assert np.array_equal(filled[known], rgb[known])
    assert filled[20, 11, 0] > 0.7 and filled[20, 28, 2] > 0.7
    assert (filled.sum(-1) > 0.8).all()
