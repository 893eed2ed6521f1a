"""The source's face on the drawn one: only where it surely belongs."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from dance import skeleton
from dance.finish.face import FaceOptions, refine
from dance.geometry import transform
from dance.types import Array, Frame, Layer, Moment, Person, Pose, Track, View

SIZE = (240, 200)
CENTRE = (100.0, 100.0)  # between the eyes of the source
UNIT = 24.0
FULL = FaceOptions()


def portrait() -> Array:
    """A drawn face with fine texture, (240, 200, 3) uint8: eyes, nose, mouth, freckles on a skin-coloured oval."""
    random = np.random.default_rng(3)
    rgb = np.full((*SIZE, 3), (70, 60, 50), np.uint8)
    x, y = (round(v) for v in CENTRE)
    cv2.ellipse(rgb, (x, y + 12), (34, 46), 0, 0, 360, (205, 160, 130), -1, cv2.LINE_AA)
    for _ in range(160):
        spot = random.normal((x, y + 12), (14, 18)).round().astype(int)
        cv2.circle(rgb, tuple(map(int, spot)), 1, (165, 115, 90), -1, cv2.LINE_AA)
    for side in (-12, 12):
        cv2.ellipse(rgb, (x + side, y), (7, 4), 0, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        cv2.circle(rgb, (x + side, y), 3, (40, 60, 90), -1, cv2.LINE_AA)
        cv2.line(rgb, (x + side - 8, y - 8), (x + side + 8, y - 9), (60, 40, 30), 2, cv2.LINE_AA)
    cv2.line(rgb, (x, y + 4), (x + 3, y + 15), (150, 105, 85), 2, cv2.LINE_AA)
    cv2.ellipse(rgb, (x, y + 25), (11, 4), 0, 0, 360, (170, 70, 70), -1, cv2.LINE_AA)
    return rgb


def pose(*, flipped: bool = False) -> Pose:
    xy = np.zeros((133, 2), np.float32)
    score = np.zeros(133, np.float32)
    side = -1 if flipped else 1
    for name, dx, dy in (
        ("nose", 2, 15), ("left_eye", 12 * side, 0), ("right_eye", -12 * side, 0),
        ("face_54", 10 * side, 25), ("face_48", -10 * side, 25),
    ):  # fmt: skip
        joint = skeleton.INDEX[name]
        xy[joint], score[joint] = (CENTRE[0] + dx, CENTRE[1] + dy), 1
    return Pose(xy, score)


def person(*others: View) -> Person:
    frame = Frame(portrait())
    views = [*others, View(frame, pose(), np.ones(SIZE, np.float32))]
    return Person(views, portrait(), Track([pose()], [Fraction(0)], SIZE))


def placed(turn: float = 12.0, scale: float = 0.9, shift: tuple[float, float] = (6, -4)) -> Array:
    """The (2, 3) map that lays the portrait into a picture."""
    matrix = cv2.getRotationMatrix2D(CENTRE, turn, scale)
    matrix[:, 2] += shift
    return np.asarray(matrix)


def drawn(
    matrix: Array, *, blur: float = 0.0, index: int = 0, off: tuple[float, float] = (0, 0)
) -> tuple[Layer, Array]:
    """A layer with the portrait under the map, blurred as bad rendering blurs, and the perfect picture.

    off: by how many pixels the pose misses the drawn face.
    """
    perfect = cv2.warpAffine(
        portrait(), matrix, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    rgb = cv2.GaussianBlur(perfect, (0, 0), blur) if blur else perfect
    given = pose()
    xy = transform(given.xy, matrix).astype(np.float32) + np.array(off, np.float32)
    moment = Moment(replace(given, xy=xy), Fraction(index, 25))
    return Layer(rgb, np.ones(SIZE, np.float32), moment), perfect


def error(a: Array, b: Array, matrix: Array) -> float:
    """Root mean square difference over the face."""
    x, y = transform(np.array([CENTRE]), matrix)[0].astype(int)
    box = np.s_[y - 20 : y + 45, x - 28 : x + 28]
    return float(np.sqrt(((a[box].astype(float) - b[box]) ** 2).mean()))


def only(layers: Sequence[Layer], who: Person | None = None, options: FaceOptions = FULL) -> Layer:
    (layer,) = refine(layers, who or person(), options)
    return layer


@pytest.mark.parametrize("off", [(0, 0), (3, -2), (-4, 3)])
def test_a_blurred_face_is_restored_although_the_pose_misses_it_a_little(
    off: tuple[float, float],
) -> None:
    matrix = placed()
    layer, perfect = drawn(matrix, blur=1.6, off=off)
    out = only([layer])
    assert error(out.rgb, perfect, matrix) < 0.55 * error(layer.rgb, perfect, matrix)


def test_a_face_that_is_as_good_as_the_sources_stays() -> None:
    matrix = placed()
    layer, perfect = drawn(matrix)
    assert error(only([layer]).rgb, perfect, matrix) < 1.0


def test_darker_light_on_the_drawn_face_stays() -> None:
    matrix = placed()
    layer, perfect = drawn(matrix, blur=1.6)
    dim = replace(layer, rgb=(layer.rgb * 0.7).astype(np.uint8))
    out = only([dim])
    assert error(out.rgb, perfect * 0.7, matrix) < 0.6 * error(dim.rgb, perfect * 0.7, matrix)


def test_nothing_outside_the_head_changes_and_no_seam_shows() -> None:
    matrix = placed()
    layer, _ = drawn(matrix, blur=1.6)
    out = only([layer])
    change = np.abs(out.rgb.astype(int) - layer.rgb).max(-1)
    assert change.max() > 20
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    middle = transform(np.array([[CENTRE[0], CENTRE[1] + 0.4 * UNIT]]), matrix)[0]
    away = np.hypot(x - middle[0], y - middle[1])
    assert change[away > 1.5 * UNIT].max() == 0
    assert change[away > 1.25 * UNIT].mean() < 0.2


def test_a_hand_before_the_face_stays() -> None:
    matrix = placed()
    layer, _ = drawn(matrix, blur=1.6)
    rgb = layer.rgb.copy()
    rgb[105:140, 60:92] = (60, 120, 60)
    out = only([replace(layer, rgb=rgb)])
    assert np.abs(out.rgb[108:137, 63:89].astype(int) - (60, 120, 60)).max() < 12


@pytest.mark.parametrize("how", ["flat", "noise", "upside down", "other picture"])
def test_no_face_is_drawn_where_there_is_none(how: str) -> None:
    layer, _ = drawn(placed(), blur=1.6)
    random = np.random.default_rng(0)
    noise = cv2.GaussianBlur(random.normal(128, 300, (*SIZE, 3)), (0, 0), 4)
    rgb = {
        "flat": np.full_like(layer.rgb, 150),
        "noise": np.clip(noise, 0, 255).astype(np.uint8),
        "upside down": np.ascontiguousarray(layer.rgb[::-1]),
        "other picture": np.ascontiguousarray(255 - layer.rgb),
    }[how]
    given = replace(layer, rgb=rgb)
    assert (only([given]).rgb == rgb).all()


def test_a_head_seen_from_behind_stays() -> None:
    layer, _ = drawn(placed(), blur=1.6)
    behind = pose(flipped=True)
    xy = transform(behind.xy, placed()).astype(np.float32)
    away = replace(layer, moment=Moment(replace(behind, xy=xy), Fraction(0)))
    assert (only([away]).rgb == layer.rgb).all()


def test_an_unseen_face_stays() -> None:
    layer, _ = drawn(placed(), blur=1.6)
    unseen = replace(layer, moment=Moment(Pose.unseen(), Fraction(0)))
    assert only([unseen]) is unseen


def test_a_source_without_a_face_passes_the_very_same_layers() -> None:
    layer, _ = drawn(placed(), blur=1.6)
    view = View(Frame(portrait()), Pose.unseen(), np.ones(SIZE, np.float32))
    nobody = Person([view], portrait(), Track([], [], SIZE))
    assert only([layer], nobody) is layer


def test_strength_0_passes_the_very_same_layers() -> None:
    layer, _ = drawn(placed(), blur=1.6)
    assert only([layer], None, FaceOptions(strength=0)) is layer


def test_of_several_views_the_nearest_in_direction_is_taken() -> None:
    turned = pose()
    turned.xy[skeleton.NOSE] += (9, 0)
    wrong = View(Frame(np.ascontiguousarray(255 - portrait())), turned, np.ones(SIZE, np.float32))
    matrix = placed()
    layer, perfect = drawn(matrix, blur=1.6)
    out = only([layer], person(wrong))
    assert error(out.rgb, perfect, matrix) < 0.55 * error(layer.rgb, perfect, matrix)


def changes(layers: Sequence[Layer]) -> list[float]:
    out = list(refine(layers, person(), FULL))
    assert [x.moment for x in out] == [x.moment for x in layers]
    return [float(np.abs(a.rgb.astype(int) - b.rgb).mean()) for a, b in zip(out, layers, strict=True)]  # fmt: skip


def test_the_effect_fades_around_a_gap_and_never_pops() -> None:
    layers = [drawn(placed(), blur=1.6, index=i)[0] for i in range(24)]
    for i in (11, 12):
        layers[i] = replace(layers[i], moment=replace(layers[i].moment, pose=Pose.unseen()))
    change = np.array(changes(layers))
    full = change[0]
    assert full > 0.3
    assert change[11] == change[12] == 0
    assert np.abs(np.diff(change)).max() < 0.3 * full
    assert change[-1] == pytest.approx(full, rel=0.05)


def test_a_cut_does_not_fade_into_the_scene_before() -> None:
    layers = [drawn(placed(), blur=1.6, index=i)[0] for i in range(10)]
    for i in range(5, 10):
        moment = replace(layers[i].moment, pose=Pose.unseen(), cut=i == 5)
        layers[i] = replace(layers[i], moment=moment)
    change = changes(layers)
    assert min(change[:5]) > 0.95 * max(change)
    assert max(change[5:]) == 0
