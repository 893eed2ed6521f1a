"""Flicker goes, motion stays."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from dance import skeleton
from dance.finish.steady import SteadyOptions, steady
from dance.types import Array, Layer, Moment, Pose

SIZE = (160, 200)
FIRM = SteadyOptions(strength=0.8)


def texture(seed: int = 0) -> Array:
    """Soft random blots with some sharp edges, (160, 200, 3) uint8."""
    random = np.random.default_rng(seed)
    blots = cv2.GaussianBlur(random.normal(0, 1, (*SIZE, 3)), (0, 0), 4)
    out = np.clip(128 + 300 * blots, 30, 225)
    out[::24] *= 0.6
    return np.asarray(out.astype(np.uint8))


def dancer(count: int = 16, *, speed: float = 3.0, alpha: bool = True) -> list[Layer]:
    """A textured upright oval that moves sideways `speed` pixels a frame, with the pose in it, on nothing."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    pattern = texture()
    layers = []
    for i in range(count):
        centre = 60 + speed * i
        move = np.array([[1, 0, centre - 100], [0, 1, 0]], np.float64)
        rgb = cv2.warpAffine(
            pattern, move, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        radius = np.hypot((x - centre) / 30, (y - 80) / 65)
        matte = np.clip((1 - radius) * 20, 0, 1)
        xy = np.zeros((133, 2), np.float32)
        score = np.zeros(133, np.float32)
        for name, (dx, dy) in {
            "left_shoulder": (12, -45), "right_shoulder": (-12, -45), "left_hip": (9, 0),
            "right_hip": (-9, 0), "left_ankle": (9, 55), "right_ankle": (-9, 55),
            "left_knee": (9, 28), "right_knee": (-9, 28),
        }.items():  # fmt: skip
            joint = skeleton.INDEX[name]
            xy[joint], score[joint] = (centre + dx, 80 + dy), 1
        if not alpha:
            rgb = (rgb * matte[..., None]).astype(np.uint8)
        moment = Moment(Pose(xy, score), Fraction(i, 25))
        layers.append(Layer(rgb, matte if alpha else None, moment))
    return layers


def flickering(layers: Sequence[Layer], *, noise: float = 0, gain: float = 0, edge: float = 0) -> list[Layer]:  # fmt: skip
    """The layers with noise in levels, brightness up and down by a share, and mattes whose edges move by pixels."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    out = []
    for layer in layers:
        rough = cv2.resize(random.normal(0, 1, (40, 50, 3)), SIZE[::-1])
        rgb = (layer.rgb + noise * rough) * (1 + gain * random.uniform(-1, 1))
        alpha = layer.alpha
        if alpha is not None and edge:
            dx, dy = (
                cv2.resize(random.normal(0, edge, (20, 25)).astype(np.float32), SIZE[::-1])
                for _ in range(2)
            )
            alpha = cv2.remap(alpha, x + dx, y + dy, cv2.INTER_LINEAR)
        out.append(replace(layer, rgb=np.clip(rgb, 0, 255).astype(np.uint8), alpha=alpha))
    return out


def shown(layer: Layer) -> Array:
    """The layer over grey."""
    if layer.alpha is None:
        return layer.rgb.astype(np.float32)
    alpha = layer.alpha[..., None]
    return np.asarray(layer.rgb * alpha + 128 * (1 - alpha), np.float32)


def warping_error(layers: Sequence[Layer], speed: float) -> float:
    """Mean difference to the frame before carried along the known motion, around the person."""
    errors = []
    move = np.array([[1, 0, speed], [0, 1, 0]], np.float64)
    for a, b in itertools.pairwise(layers):
        carried = cv2.warpAffine(shown(a), move, SIZE[::-1])
        around = np.abs(b.moment.pose.xy[skeleton.LEFT_HIP][0] - 9 - np.arange(SIZE[1])) < 36
        errors.append(np.abs(shown(b) - carried)[10:150, around].mean())
    return float(np.mean(errors))


def sharpness(layers: Sequence[Layer]) -> float:
    energy = []
    for layer in layers:
        assert layer.alpha is not None
        steep = cv2.Sobel(cv2.cvtColor(layer.rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F, 0, 1)
        energy.append(np.abs(steep)[layer.alpha > 0.99].mean())
    return float(np.mean(energy))


def test_strength_0_passes_the_very_same_layers() -> None:
    layers = dancer(4)
    out = list(steady(layers, SteadyOptions(strength=0)))
    assert all(a is b for a, b in zip(layers, out, strict=True))


def test_moments_and_count_stay_and_no_layer_is_held_back() -> None:
    layers = dancer(5)
    seen = 0

    def counted():  # type: ignore[no-untyped-def]
        nonlocal seen
        for layer in layers:
            seen += 1
            yield layer

    for i, out in enumerate(steady(counted(), FIRM)):
        assert out.moment is layers[i].moment
        assert seen == i + 1
    assert seen == 5


def test_the_layers_given_are_not_changed() -> None:
    layers = flickering(dancer(4), noise=10)
    before = [(layer.rgb.copy(), layer.alpha.copy()) for layer in layers if layer.alpha is not None]
    list(steady(layers, FIRM))
    for layer, (rgb, alpha) in zip(layers, before, strict=True):
        assert (layer.rgb == rgb).all()
        assert (layer.alpha == alpha).all()


@pytest.mark.parametrize(
    ("trouble", "left"),
    [({"noise": 14.0}, 0.65), ({"gain": 0.08}, 0.65), ({"edge": 1.5}, 0.6)],
    ids=["noise", "brightness", "edges"],
)
def test_flicker_falls(trouble: dict[str, float], left: float) -> None:
    """The share of what flicker adds to the temporal warping error that is left."""
    clean = dancer()
    bad = flickering(clean, **trouble)
    least = warping_error(clean, 3)
    before = warping_error(bad, 3) - least
    after = warping_error(list(steady(bad, FIRM)), 3) - least
    assert before > 0.3
    assert after < left * before


def test_without_alpha_flicker_falls_too() -> None:
    clean = dancer(alpha=False)
    bad = flickering(clean, noise=14)
    before = warping_error(bad, 3)
    after = list(steady(bad, FIRM))
    assert all(layer.alpha is None for layer in after)
    assert warping_error(after, 3) < 0.75 * before


@pytest.mark.parametrize("speed", [0.5, 3.5, 11.0])
def test_a_clean_dance_stays_sharp_and_leaves_no_trail(speed: float) -> None:
    layers = dancer(12 if speed > 9 else 16, speed=speed)
    out = list(steady(layers, FIRM))
    assert sharpness(out) > 0.97 * sharpness(layers)
    for before, after in zip(layers, out, strict=True):
        assert before.alpha is not None
        assert after.alpha is not None
        # Nothing of the person may remain where they were: a ghost.
        far = cv2.dilate((before.alpha > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
        assert after.alpha[far].max() < 0.02
        assert np.abs(shown(after) - shown(before)).mean() < 0.6


def test_a_cut_starts_afresh() -> None:
    layers = flickering(dancer(6), noise=14)
    layers[3] = replace(layers[3], moment=replace(layers[3].moment, cut=True))
    out = list(steady(layers, FIRM))
    assert out[3] is layers[3]
    assert out[4] is not layers[4]


def test_a_frame_without_the_person_is_passed_and_forgotten() -> None:
    layers = dancer(5)
    empty = np.zeros(SIZE, np.float32)
    layers[2] = Layer(layers[2].rgb, empty, Moment(Pose.unseen(), Fraction(2, 25)))
    out = list(steady(layers, FIRM))
    assert out[2].alpha is not None
    assert out[2].alpha.max() == 0
    assert (out[3].rgb == layers[3].rgb).all()


def test_something_that_appears_is_there_at_once() -> None:
    layers = dancer(8, speed=0)
    for i in range(4, 8):
        rgb = layers[i].rgb.copy()
        rgb[60:90, 45:75] = (255, 255, 255)
        layers[i] = replace(layers[i], rgb=rgb)
    out = list(steady(layers, FIRM))
    assert out[4].rgb[66:84, 51:69].mean() > 240


@pytest.mark.parametrize("picture", [(2, 2), (16, 300), (300, 16), (33, 591)])
@pytest.mark.parametrize("person", [(1, 1), (3, 280), (280, 3), (12, 12)])
def test_tiny_and_slender_persons_and_pictures_do_no_harm(
    picture: tuple[int, int], person: tuple[int, int]
) -> None:
    """OpenCV's flow crashes on slender pictures, so it must never be given any."""
    random = np.random.default_rng(0)
    layers = []
    for i in range(3):
        alpha = np.zeros(picture, np.float32)
        y, x = random.integers(0, picture)
        alpha[y : y + person[0], x : x + person[1]] = 1
        xy = random.normal(30, 50, (133, 2)).astype(np.float32)
        moment = Moment(Pose(xy, np.ones(133, np.float32)), Fraction(i, 25))
        rgb = random.integers(0, 255, (*picture, 3)).astype(np.uint8)
        layers.append(Layer(rgb, alpha, moment))
    assert len(list(steady(layers, FIRM))) == 3
    assert len(list(steady([replace(layer, alpha=None) for layer in layers], FIRM))) == 3
