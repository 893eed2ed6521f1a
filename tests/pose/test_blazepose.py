"""BlazePose: its arithmetic, and what it finds in pictures of rendered people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import dance.demo
from dance import skeleton
from dance.pose.estimators import _blaze_detect as detector
from dance.pose.estimators import _blaze_landmarks as landmarks
from dance.pose.estimators import blazepose
from dance.types import Array, Box, Frame, InputError, Pose, Region

LIMBS = slice(5, 17)


def demo_picture() -> Array:
    path = Path(dance.demo.__file__).parent / "source.png"
    rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert rgb is not None
    return np.asarray(rgb)


def build(**options: object) -> blazepose.BlazePose:
    try:
        return blazepose.build(blazepose.Config.model_validate(options), "cpu")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def estimator() -> Iterator[blazepose.BlazePose]:
    with closing(build(mask=True)) as built:
        yield built


@pytest.fixture(scope="module")
def found(estimator: blazepose.BlazePose) -> Pose:
    (pose,) = estimator(Frame(demo_picture()), None)
    return pose


def torso(pose: Pose) -> float:
    return float(np.linalg.norm(pose.xy[5:7].mean(0) - pose.xy[11:13].mean(0)))


def gap(a: Pose, b: Pose) -> float:
    """The mean distance of the limbs' joints, in shares of the torso."""
    return float(np.linalg.norm(a.xy[LIMBS] - b.xy[LIMBS], axis=1).mean()) / torso(a)


# The detector's arithmetic


def test_there_is_an_anchor_for_each_of_the_networks_boxes() -> None:
    anchors = detector.anchors()
    assert anchors.shape == (2254, 2)
    np.testing.assert_allclose(anchors[0], [4 / 224, 4 / 224])
    np.testing.assert_allclose(anchors[-1], [208 / 224, 208 / 224])
    assert anchors.min() > 0 and anchors.max() < 1


def test_a_box_is_decoded_into_the_pixels_of_its_square() -> None:
    anchors = detector.anchors()
    raw, logits = np.zeros((2254, 12)), np.full(2254, -50.0)
    logits[7] = 2.0
    raw[7] = [0, 0, 22.4, 44.8, 0, 0, 0, -112, 0, 0, 0, 0]
    (d,) = detector.decode(raw, logits, anchors, np.array([100, 50, 448]), 0.5)
    centre = np.array([100, 50]) + anchors[7] * 448
    np.testing.assert_allclose(
        d.box.reshape(2, 2), centre + np.array([[-22.4, -44.8], [22.4, 44.8]]), rtol=1e-6
    )
    np.testing.assert_allclose(d.points[1], centre - [0, 224], rtol=1e-6)
    assert abs(d.score - 1 / (1 + np.exp(-2))) < 1e-6
    # The second point is straight above the first, on the circle around the body.
    assert abs(d.region.angle) < 1e-6 and abs(d.region.side - 2 * 224 * 1.25) < 1e-3


def box(x: float, score: float) -> detector.Detection:
    return detector.Detection(np.array([x, 0, x + 100, 100.0]), np.full((4, 2), x), score)


def test_overlapping_detections_become_their_weighted_mean() -> None:
    kept = detector.suppress([box(10, 0.3), box(0, 0.9), box(300, 0.6)])
    assert [d.score for d in kept] == [0.9, 0.6]
    np.testing.assert_allclose(kept[0].box[0], (0.3 * 10 + 0.9 * 0) / 1.2)
    np.testing.assert_allclose(kept[1].points, 300)


def test_detections_that_hardly_overlap_stay_apart() -> None:
    assert len(detector.suppress([box(0, 0.9), box(60, 0.8)])) == 2


@pytest.mark.parametrize(("dx", "dy", "angle"), [(0, -1, 0), (1, 0, 90), (0, 1, 180), (-1, 0, -90)])
def test_a_regions_angle_is_clockwise_from_upright(dx: float, dy: float, angle: float) -> None:
    region = detector.region_between(np.array([5.0, 6.0]), np.array([5 + 10 * dx, 6 + 10 * dy]))
    assert abs(np.degrees(region.angle) - angle) < 1e-4
    assert (region.x, region.y, region.side) == pytest.approx((5, 6, 25))


@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (500, 501), (100, 900)])
def test_anything_as_small_as_the_overlap_lies_whole_in_a_tile(size: tuple[int, int]) -> None:
    side, overlap = 0.9 * min(size), 0.4 * min(size)
    squares = np.array(detector.tiles(size, side, overlap))
    random = np.random.default_rng(0)
    for _ in range(300):
        x, y = random.uniform(0, size[1] - overlap), random.uniform(0, size[0] - overlap)
        inside = (
            (squares[:, 0] <= x + 1e-6) & (squares[:, 1] <= y + 1e-6)
            & (squares[:, 0] + side >= x + overlap - 1e-6)
            & (squares[:, 1] + side >= y + overlap - 1e-6)
        )  # fmt: skip
        assert inside.any()


# The landmarks' arithmetic


def test_a_landmark_moves_to_the_middle_of_its_heat() -> None:
    heat = np.full((64, 64, 2), -20.0)
    heat[30, 21], heat[30, 23] = 5, 5
    xy = np.array([[80.0, 122.0], [200.0, 30.0]])
    refined = landmarks.refine(xy, heat)
    np.testing.assert_allclose(refined[0], [22 * 4, 30 * 4], atol=1e-3)
    np.testing.assert_allclose(refined[1], xy[1])


def test_landmarks_without_sure_heat_or_outside_the_crop_stay() -> None:
    xy = np.array([[100.0, 100.0], [-30.0, 50.0], [300.0, 400.0], [0.0, 255.9]])
    np.testing.assert_allclose(landmarks.refine(xy, np.full((64, 64, 4), -1.0)), xy)


def test_a_crop_and_its_inverse_meet() -> None:
    region = Region(200, 100, 333, 0.7)
    matrix = landmarks.to_crop(region, 256)
    np.testing.assert_allclose(matrix @ [200, 100, 1], [128, 128], atol=1e-9)
    up = np.array([200 + 100 * np.sin(0.7), 100 - 100 * np.cos(0.7), 1])
    np.testing.assert_allclose(matrix @ up, [128, 128 - 100 * 256 / 333], atol=1e-9)


def test_hips_and_shoulders_move_along_the_torso_only() -> None:
    points = np.zeros((33, 3))
    points[[11, 12]] = [[40, 0, 0], [-40, 0, 0]]
    points[[23, 24]] = [[25, 100, 0], [-25, 100, 0]]
    joints = landmarks.to_joints(points)
    np.testing.assert_allclose(joints[skeleton.LEFT_HIP], [25, 97.5, 0])
    np.testing.assert_allclose(joints[skeleton.RIGHT_SHOULDER], [-40, 3, 0])


def test_small_toes_lie_on_the_outside_of_the_feet() -> None:
    points = np.zeros((33, 3))
    # Facing the camera (z away from it), the person's left is on the picture's right.
    for ankle, heel, toe, x in ((27, 29, 31, 50), (28, 30, 32, -50)):
        points[[ankle, heel, toe]] = [[x, 0, 0], [x, 10, 3], [x, 12, -40]]
    joints = landmarks.to_joints(points)
    assert joints[skeleton.LEFT_SMALL_TOE, 0] > 50
    assert joints[skeleton.RIGHT_SMALL_TOE, 0] < -50


def test_joints_outside_the_picture_are_not_seen() -> None:
    xy = np.array([[0, 0], [99, 49], [-1, 20], [50, 80], [300, -300]])
    share = landmarks.inside_share(xy, (50, 100), Region(50, 25, 100))
    np.testing.assert_allclose(share, [1, 1, 0.5, 0, 0])


def test_a_region_is_made_from_joints_alone() -> None:
    pose = Pose.unseen()
    pose.xy[[5, 6, 11, 12, 15]] = [[60, 50], [40, 50], [55, 100], [45, 100], [50, 180]]
    pose.score[[5, 6, 11, 12, 15]] = 1
    region = landmarks.region_of(pose)
    assert (region.x, region.y) == pytest.approx((50, 100))
    assert abs(region.angle) < 1e-6 and region.side > 2 * 80
    with pytest.raises(ValueError, match="without any seen joint"):
        landmarks.region_of(Pose.unseen())


# What is found


def test_the_person_is_found_whole(found: Pose) -> None:
    assert (found.score[LIMBS] > 0.8).all()
    xy = found.xy
    # A person standing upright and facing us: left is on the right, the head on top.
    assert xy[skeleton.LEFT_SHOULDER, 0] > xy[skeleton.RIGHT_SHOULDER, 0]
    assert xy[skeleton.NOSE, 1] < xy[skeleton.LEFT_HIP, 1] < xy[skeleton.LEFT_KNEE, 1]
    assert xy[skeleton.LEFT_KNEE, 1] < xy[skeleton.LEFT_ANKLE, 1] < xy[skeleton.LEFT_BIG_TOE, 1]
    assert found.region is not None and abs(found.region.angle) < 0.3
    assert found.depth is not None and abs(found.depth[11] + found.depth[12]) < 0.3 * torso(found)


def test_the_world_is_upright_and_in_metres(found: Pose) -> None:
    assert found.world is not None
    height = found.world[[15, 16], 1].mean() - found.world[skeleton.NOSE, 1]
    assert 0.9 < height < 2.0


def test_unknown_joints_have_no_score(found: Pose) -> None:
    assert found.score[23 + 8] == 0
    known = {skeleton.INDEX[name] for name in skeleton.BLAZEPOSE}
    known |= {skeleton.LEFT_SMALL_TOE, skeleton.RIGHT_SMALL_TOE}
    assert set(np.flatnonzero(found.score)) == known


def test_the_mask_covers_the_person_and_not_the_corners(found: Pose) -> None:
    assert found.mask is not None and found.mask.dtype == np.float32
    assert found.mask.min() >= 0 and found.mask.max() <= 1
    x, y = found.xy[5:13].mean(0).round().astype(int)
    assert found.mask[y, x] > 0.9
    assert found.mask[:10, :10].max() < 0.1


def test_a_turned_picture_gives_the_turned_person(
    estimator: blazepose.BlazePose, found: Pose
) -> None:
    rgb = demo_picture()
    turned = np.ascontiguousarray(np.rot90(rgb, -1))
    assert found.region is not None
    region = found.region
    near = replace(
        found,
        region=Region(rgb.shape[0] - 1 - region.y, region.x, region.side, region.angle + np.pi / 2),
    )
    (pose,) = estimator(Frame(turned), near)
    back = np.stack([pose.xy[:, 1], rgb.shape[0] - 1 - pose.xy[:, 0]], 1)
    assert gap(found, replace(pose, xy=back.astype(np.float32))) < 0.03
    assert found.world is not None and pose.world is not None
    # Up in the world is up in the picture: now to the right.
    np.testing.assert_allclose(pose.world[LIMBS, 0], -found.world[LIMBS, 1], atol=0.05)


def test_the_mirrored_look_makes_left_and_right_exactly_alike() -> None:
    rgb = demo_picture()
    with closing(build(mirror=True)) as estimator:
        (pose,) = estimator(Frame(rgb), None)
        assert pose.region is not None
        region = pose.region
        flipped = np.ascontiguousarray(rgb[:, ::-1])
        # The crop's pixel 128 is the region's centre, and so is its mirrored pixel 127.
        last = rgb.shape[1] - 1 + region.side / 256
        other = Region(last - region.x, region.y, region.side, -region.angle)
        (one,) = estimator(Frame(rgb), pose)
        (two,) = estimator(Frame(flipped), replace(pose, region=other))
    back = two.xy[list(skeleton.FLIP)]
    back[:, 0] = last - back[:, 0]
    assert gap(one, replace(two, xy=back)) < 0.001


class Doubtful:
    """A landmark network that sees the person in the middle, but in mirrored crops of a side above `sure` beside it.

    Pictures are ramps of `STEP` levels a pixel from left to right, which tell it the crop's side and direction.
    """

    STEP = 0.25

    def __init__(self, sure: float) -> None:
        self.sure, self.calls = sure, 0

    def __call__(self, crop: Array) -> tuple[Array, ...]:
        self.calls += 1
        slope = float(np.diff(crop[0, 64, 96:160, 0]).mean()) * 255 / self.STEP
        beside = slope < 0 and -slope * landmarks.SIDE > self.sure
        raw = np.zeros((39, 5), np.float32)
        raw[:, 0], raw[:, 1] = 188.0 if beside else 128.0, 160.0
        raw[11:13, 1], raw[:, 3:] = 80.0, 9.0
        heat = np.full((1, 64, 64, 39), -9.0, np.float32)
        return raw.reshape(1, -1), heat, np.zeros((1, 117), np.float32), np.ones((1, 1), np.float32)


def test_where_two_looks_do_not_agree_others_are_taken_until_they_do() -> None:
    ramp = np.arange(600) * Doubtful.STEP
    rgb = np.broadcast_to(ramp[None, :, None].astype(np.uint8), (600, 600, 3)).copy()
    region = Region(300.0, 300.0, 400.0, 0.0)
    clear = Doubtful(sure=500)
    seen = landmarks.look(clear, rgb, region, mirror=True)  # type: ignore[arg-type]
    assert seen.region == region and clear.calls == 2
    doubtful = Doubtful(sure=360)
    found = landmarks.look(doubtful, rgb, region, mirror=True)  # type: ignore[arg-type]
    assert found.region.side == pytest.approx(340) and doubtful.calls == 18
    # The person is in the middle of the smaller region as well.
    np.testing.assert_allclose([seen.xy[:, 0], found.xy[:, 0]], 300, atol=1.0)


def paste(canvas: Array, person: Array, left: int, top: int) -> None:
    canvas[top : top + person.shape[0], left : left + person.shape[1]] = person


def demo_cutting(pose: Pose, height: int) -> Array:
    """The demo's person cut out of the picture, at that height."""
    box = landmarks.geometry.joints_box(pose.xy, pose.score)
    assert isinstance(box, Box)
    grow = 0.12 * box.height
    rgb = demo_picture()[
        max(0, int(box.top - grow)) : int(box.bottom + grow / 2),
        max(0, int(box.left - grow / 2)) : int(box.right + grow / 2),
    ]
    return np.asarray(
        cv2.resize(
            rgb, (round(rgb.shape[1] * height / rgb.shape[0]), height), interpolation=cv2.INTER_AREA
        )
    )


def test_two_people_are_both_found_once(estimator: blazepose.BlazePose, found: Pose) -> None:
    person = demo_cutting(found, 500)
    canvas = np.full((600, 900, 3), 128, np.uint8)
    paste(canvas, person, 60, 60)
    paste(canvas, np.ascontiguousarray(person[:, ::-1]), 860 - person.shape[1], 70)
    people = estimator(Frame(canvas), None)
    middles = sorted(float(p.xy[11:13, 0].mean()) for p in people)
    assert len(people) == 2
    assert middles[0] < 450 < middles[1]


@pytest.mark.parametrize("place", [(90, 100), (1100, 560), (600, 300)])
def test_a_person_of_a_seventh_of_the_height_is_found(
    estimator: blazepose.BlazePose, found: Pose, place: tuple[int, int]
) -> None:
    person = demo_cutting(found, 108)
    random = np.random.default_rng(0)
    canvas = cv2.resize(random.integers(60, 200, (9, 16, 3), np.uint8), (1280, 720))
    paste(canvas, person, *place)
    people = estimator(Frame(canvas), None)
    assert len(people) == 1
    x, y = people[0].xy[5:13].mean(0)
    assert place[0] < x < place[0] + person.shape[1] and place[1] < y < place[1] + 108
    # In the pictures between only large people are searched.
    assert estimator(Frame(canvas, index=1), None) == []


@pytest.mark.parametrize("kind", ["grey", "noise", "stripes", "letters"])
def test_nobody_is_found_where_nobody_is(estimator: blazepose.BlazePose, kind: str) -> None:
    canvas = np.full((360, 640, 3), 120, np.uint8)
    if kind == "noise":
        canvas = np.random.default_rng(0).integers(0, 255, canvas.shape, np.uint8)
    elif kind == "stripes":
        canvas[:, ::40] = 255
        canvas[::60] = 0
    elif kind == "letters":
        for i, text in enumerate(("THE DANCE", "of nobody", "2026")):
            cv2.putText(
                canvas, text, (60, 100 + 90 * i), cv2.FONT_HERSHEY_SIMPLEX, 2.5, (255, 240, 90), 6
            )
    assert estimator(Frame(canvas), None) == []


def test_near_where_nobody_is_finds_nobody(estimator: blazepose.BlazePose, found: Pose) -> None:
    empty = Frame(np.full((*found.mask.shape, 3), 120, np.uint8))  # type: ignore[union-attr]
    assert estimator(empty, found) == []


def test_near_works_with_joints_alone(estimator: blazepose.BlazePose, found: Pose) -> None:
    (pose,) = estimator(Frame(demo_picture()), replace(found, region=None))
    assert gap(found, pose) < 0.1


def test_hands_and_face_are_joined_to_the_body() -> None:
    with closing(build(hands=True, face=True)) as estimator:
        (pose,) = estimator(Frame(demo_picture()), None)
    size = torso(pose)
    face = pose.xy[skeleton.FACE_SLICE]
    assert (pose.score[skeleton.FACE_SLICE] > 0.5).all()
    # Chin below mouth below nose below eyes below brows; the person's right is on our left.
    chin, mouth, nose, eyes, brows = (
        face[i].mean(0)[1] for i in ([8], [51, 57], [30], range(36, 48), range(17, 27))
    )
    assert chin > mouth > nose > eyes > brows
    assert face[36, 0] < face[39, 0] < face[42, 0] < face[45, 0]
    assert np.linalg.norm(face[36:42].mean(0) - pose.xy[skeleton.RIGHT_EYE]) < 0.1 * size
    assert pose.world is not None and 0.05 < np.ptp(pose.world[skeleton.FACE_SLICE, 1]) < 0.3
    hands = (skeleton.LEFT_HAND_SLICE, skeleton.RIGHT_HAND_SLICE)
    wrists = (skeleton.LEFT_WRIST, skeleton.RIGHT_WRIST)
    seen = [(h, w) for h, w in zip(hands, wrists, strict=True) if (pose.score[h] > 0).all()]
    assert seen
    for hand, wrist in seen:
        assert np.linalg.norm(pose.xy[hand][0] - pose.xy[wrist]) < 0.3 * size
        assert np.linalg.norm(pose.xy[hand] - pose.xy[wrist], axis=1).max() < 0.8 * size


def test_another_landmark_network_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"heavy\.tflite"):
        blazepose.build(blazepose.Config(landmarks=tmp_path / "heavy.tflite"), "cpu")


# Against the truth and real footage


def frames_of(path: Path) -> Iterator[Frame]:
    with av.open(str(path)) as file:
        for i, picture in enumerate(file.decode(video=0)):
            yield Frame(picture.to_ndarray(format="rgb24"), index=i)


@pytest.mark.slow
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("triplet", "most"),
    [
        ("d1_proportions", 0.069),
        ("d2_child_small", 0.081),
        ("d3_turned", 0.089),
        ("d4_to_camera", 0.076),
    ],
)
def test_the_error_is_below_the_mediapipe_runtimes(
    shared: Path, triplet: str, most: float, mirror: bool
) -> None:
    truth = np.load(shared / "benchmark" / triplet / "driver_keypoints.npz")["xyv"][..., :2]
    scale = np.median(np.linalg.norm(truth[:, 5:7].mean(1) - truth[:, 11:13].mean(1), axis=-1))
    errors, near = [], None
    with closing(build(mirror=mirror)) as estimator:
        for frame, joints in zip(
            frames_of(shared / "benchmark" / triplet / "driver.mp4"), truth, strict=True
        ):
            (near,) = estimator(frame, near)
            errors.append(np.linalg.norm(near.xy[LIMBS] - joints[LIMBS], axis=-1) / scale)
    assert np.mean(errors) < most


@pytest.mark.slow
def test_somebody_seen_from_behind_stands_on_their_own_legs(shared: Path) -> None:
    clip = shared / "footage" / "sources" / "src_turntable_floral_13s.mp4"
    back = next(frame for frame in frames_of(clip) if frame.index == 170)
    with closing(build(mirror=True)) as estimator:
        (pose,) = estimator(back, None)
    # Hips and ankles are apart, and from behind her left ones are on the left.
    for left in (skeleton.LEFT_HIP, skeleton.LEFT_ANKLE):
        assert pose.xy[left + 1, 0] - pose.xy[left, 0] > 0.2 * torso(pose)


@pytest.mark.slow
def test_somebody_is_found_on_every_photo_and_driver(
    shared: Path, estimator: blazepose.BlazePose
) -> None:
    for path in sorted((shared / "footage" / "photos").iterdir()):
        rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert rgb is not None
        assert len(estimator(Frame(rgb), None)) == 1, path.name
    for path in sorted((shared / "footage" / "drivers").iterdir()):
        wanted = 2 if "two_people" in path.name else 1
        assert len(estimator(next(frames_of(path)), None)) == wanted, path.name
    for frame in frames_of(shared / "footage" / "nasty" / "no_person_flat_grey.mp4"):
        assert estimator(frame, None) == []
