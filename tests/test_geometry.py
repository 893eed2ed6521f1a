import numpy as np
import pytest
from figure import pose_at

from dance import geometry as g
from dance.types import Box, Pose, Region


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((1920, 1080), 1280, (1280, 720)),
        ((720, 1280), 1280, (720, 1280)),
        ((333, 591), 1280, (334, 592)),
        ((4, 4000), 1000, (2, 1000)),
        ((1, 1), 64, (2, 2)),
    ],
)
def test_pictures_are_made_smaller_but_never_larger(
    size: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    assert g.fit_inside(size, longest) == expected


@pytest.mark.parametrize("longest", [65, 100, 101, 333])
@pytest.mark.parametrize("size", [(101, 51), (1000, 500), (333, 101), (65, 64)])
def test_a_fitted_size_is_even_and_within_its_limit(size: tuple[int, int], longest: int) -> None:
    fitted = g.fit_inside(size, longest)
    assert max(fitted) <= longest and fitted[0] % 2 == fitted[1] % 2 == 0


def test_the_box_of_joints_leaves_out_those_not_seen() -> None:
    xy = np.array([[1, 2], [5, 9], [100, 100]], np.float32)
    score = np.array([0.5, 0.9, 0.0], np.float32)
    assert g.joints_box(xy, score) == Box(1, 2, 5, 9)
    assert g.joints_box(xy, score, threshold=0.6) == Box(5, 9, 5, 9)
    assert g.joints_box(xy, score, threshold=0.95) is None


def test_a_box_grows_by_a_share_of_its_sides() -> None:
    assert g.grow(Box(10, 20, 20, 40), 0.1) == Box(9, 18, 21, 42)


def test_the_upright_region_is_cut_out_and_scaled() -> None:
    region = Region(49.5, 29.5, 20)
    matrix = g.region_to_crop(region, 40)
    centre = g.transform(np.array([[49.5, 29.5]]), matrix)
    # Pixel centres are at whole numbers, so the region's left edge is half a pixel left of pixel 0.
    corner = g.transform(np.array([[39.5, 19.5]]), matrix)
    assert np.allclose(centre, 19.5) and np.allclose(corner, -0.5)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, -2.0])
def test_a_turned_region_is_shown_upright(angle: float) -> None:
    region = Region(50, 60, 30, angle)
    # "Up" of a person who leans clockwise points to the right as seen.
    head = np.array([50 + 15 * np.sin(angle), 60 - 15 * np.cos(angle)])
    right = np.array([50 + 15 * np.cos(angle), 60 + 15 * np.sin(angle)])
    matrix = g.region_to_crop(region, 61)
    assert np.allclose(g.transform(head, matrix), [30, -0.5])
    assert np.allclose(g.transform(right, matrix), [60.5, 30])


def test_a_map_and_its_inverse_cancel() -> None:
    matrix = g.region_to_crop(Region(12, 34, 56, 0.7), 128)
    points = np.random.default_rng(0).uniform(-50, 200, (5, 7, 2))
    assert np.allclose(g.transform(g.transform(points, matrix), g.invert(matrix)), points)


def dancers(places: list[tuple[float, float]], unit: float = 40) -> list[Pose]:
    return [pose_at(x, y, unit) for x, y in places]


def test_a_window_keeps_the_torso_in_its_place_wherever_the_person_stands() -> None:
    poses = dancers([(200, 150), (260, 160), (320, 150)])
    window = g.person_window(g.reach(poses, (300, 500)), (300, 500), 128)
    looks = [window.look(pose) for pose in poses]
    for look in looks:
        assert np.allclose(g.torso_middle(look), window.anchor, atol=1e-3)
        assert np.allclose(look.xy[:23], looks[0].xy[:23], atol=1e-3)
    assert window.size[0] == 128 and window.size[1] % 32 == 0


def test_a_window_shows_every_joint_and_wastes_little() -> None:
    poses = dancers([(200, 150), (320, 150)])
    window = g.person_window(g.reach(poses, (300, 500)), (300, 500), 128)
    xy = window.look(poses[0]).xy[:23]
    assert xy.min() > 0 and (xy.max(0) < np.array(window.size[::-1])).all()
    assert np.ptp(xy[:, 1]) > 0.6 * window.size[0]


def test_a_single_slip_does_not_make_everybody_small() -> None:
    poses = dancers([(250, 150)]) * 400
    xy = poses[0].xy.copy()
    xy[9] = 2, 2
    slipped = Pose(xy, poses[0].score)
    assert g.reach([*poses, slipped], (300, 500)) == pytest.approx(
        g.reach(poses, (300, 500)), abs=1e-6
    )


def test_what_lies_outside_the_picture_gets_no_room() -> None:
    cut_off = dancers([(250, 260)])
    assert g.reach(cut_off, (300, 500)).down == pytest.approx(300 - g.torso_middle(cut_off[0])[1])


def test_the_face_box_is_about_the_nose_and_inside() -> None:
    pose = pose_at(100, 100, 40)
    top, bottom, left, right = g.face_box(pose, (200, 200), 32) or (0, 0, 0, 0)
    assert bottom - top == right - left == 32
    assert (
        abs((left + right) / 2 - pose.xy[0, 0]) <= 1
        and abs((top + bottom) / 2 - pose.xy[0, 1]) <= 1
    )
    assert g.face_box(pose_at(5, 100, 40), (200, 200), 32) == (46 - 16, 46 + 16, 0, 32)
    assert g.face_box(pose_at(-90, 100, 40), (200, 200), 32) is None
    hidden = pose.score.copy()
    hidden[:5] = 0
    assert g.face_box(Pose(pose.xy, hidden), (200, 200), 32) is None
