"""The person over backgrounds."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from dance import skeleton
from dance.finish import compose
from dance.finish.compose import ComposeOptions
from dance.finish.shadow import follow_floor
from dance.types import Array, Frame, InputError, Layer, Moment, Pose

SIZE = (48, 64)
PLATE = np.full((*SIZE, 3), 90, np.uint8)


def layers(count: int = 3, *, alpha: bool = True, pose: Pose | None = None) -> Iterator[Layer]:
    """A red square with a soft left edge in the middle, 25 a second."""
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[..., 0] = 200
    matte = np.zeros(SIZE, np.float32)
    matte[12:36, 20:44] = 1
    matte[12:36, 20] = 0.5
    for i in range(count):
        moment = Moment(pose or Pose.unseen(), Fraction(i, 25))
        yield Layer(rgb, matte if alpha else None, moment)


def video(levels: list[int], step: Fraction) -> Iterator[Frame]:
    for i, level in enumerate(levels):
        yield Frame(np.full((*SIZE, 3), level, np.uint8), i * step, i)


def run(background: str, **others: object) -> list[Frame]:
    options = ComposeOptions(background=background, shadow=others.pop("shadow", 0.0))  # type: ignore[arg-type]
    count = others.pop("count", 3)
    return list(compose.compose(layers(count), options, plate=PLATE, **others))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("source", "source"),
        (" Driver", "driver"),
        ("transparent", "transparent"),
        ("green", "colour"),
        ("#00fF80", "colour"),
        ("green.mp4", "file"),
        ("C:\\clips\\sea.png", "file"),
    ],
)
def test_a_background_setting_is_a_word_a_colour_or_a_path(text: str, meant: str) -> None:
    assert compose.kind(text) == meant


def test_a_colour_that_is_none_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError, match=r"'#12345'.*transparent.*#rrggbb"):
        compose.kind("#12345")
    with pytest.raises(ValueError, match="#12345"):
        ComposeOptions(background="#12345")


def test_every_layer_gives_one_frame_at_its_time() -> None:
    frames = run("source", count=5)
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(5)]
    assert [f.index for f in frames] == list(range(5))


def test_the_person_is_mixed_by_alpha_and_the_rest_is_the_plate() -> None:
    rgb = run("source")[0].rgb
    assert (rgb[20, 30] == (200, 0, 0)).all()
    assert (rgb[20, 20] == (145, 45, 45)).all()
    outside = np.ones(SIZE, bool)
    outside[12:36, 20:44] = False
    assert (rgb[outside] == 90).all()
    assert (PLATE == 90).all()


def test_a_colour_fills_all_behind_the_person() -> None:
    rgb = run("#0000ff", shadow=1.0)[0].rgb
    assert (rgb[0, 0] == (0, 0, 255)).all()
    assert np.abs(rgb[20, 20].astype(int) - (100, 0, 128)).max() <= 1


def test_the_driver_is_behind_frame_by_frame() -> None:
    frames = run("driver", behind=video([10, 20, 30], Fraction(1, 25)))
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [10, 20, 30]


def test_a_background_video_runs_by_time_and_begins_again_at_its_end() -> None:
    clip = partial(video, [1, 2, 3], Fraction(2, 25))
    frames = run("sea.mp4", behind=clip, count=8)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [1, 1, 2, 2, 3, 3, 1, 1]


def test_a_background_that_cannot_be_opened_anew_stays_at_its_last_frame() -> None:
    frames = run("sea.mp4", behind=video([1, 2], Fraction(1, 25)), count=4)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [1, 2, 2, 2]


def test_a_background_picture_stays_although_it_can_be_opened_anew() -> None:
    frames = run("sea.png", behind=partial(video, [7], Fraction(1)), count=3)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [7, 7, 7]


@pytest.mark.parametrize("shape", [(100, 50), (30, 500), (48, 64), (7, 9)])
def test_a_picture_fills_the_size_cropped_and_not_squeezed(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    scale = max(SIZE[0] / shape[0], SIZE[1] / shape[1])
    # Channels say where a pixel came from, in pixels of the result from the picture's middle.
    where = np.stack([(y + 0.5 - shape[0] / 2), (x + 0.5 - shape[1] / 2), 0 * x], -1) * scale / 2
    out = compose.fill(np.clip(where + 128, 0, 255).astype(np.uint8), SIZE)
    assert out.shape == (*SIZE, 3)
    middle = (out[20:29, 28:37, :2].astype(float) - 128) * 2
    gap = 2 + 2 * scale
    assert np.abs(middle[..., 0] - (np.arange(20, 29)[:, None] + 0.5 - 24)).max() < gap
    assert np.abs(middle[..., 1] - (np.arange(28, 37)[None] + 0.5 - 32)).max() < gap


def test_transparent_keeps_straight_colours_and_carries_them_beyond_the_edge() -> None:
    frame = run("transparent")[0]
    given = next(layers(1))
    assert frame.alpha is not None
    assert (frame.alpha == given.alpha).all()
    edge = frame.alpha > 0
    assert np.abs(frame.rgb[edge].astype(int) - (200, 0, 0)).max() <= 1
    assert np.abs(frame.rgb[20, 14:20].astype(int) - (200, 0, 0)).max() <= 1
    assert (frame.rgb[0, 0] == 0).all()


def test_a_dark_surround_makes_no_dark_fringe() -> None:
    rgb = np.zeros((*SIZE, 3), np.uint8)
    alpha = np.zeros(SIZE, np.float32)
    rgb[12:36, 20:44], alpha[12:36, 20:44] = 220, 1
    layer = Layer(rgb, alpha, Moment(Pose.unseen(), Fraction(0)))
    options = ComposeOptions(background="white")
    out = next(compose.compose([layer], options, plate=PLATE)).rgb
    assert out.min() == 220


def test_a_generator_that_draws_its_own_background_goes_only_with_source() -> None:
    own = list(compose.compose(layers(alpha=False), ComposeOptions(), plate=PLATE))
    assert (own[0].rgb[0, 0] == (200, 0, 0)).all()
    with pytest.raises(InputError, match=r"'green'.*use source"):
        list(compose.compose(layers(alpha=False), ComposeOptions(background="green"), plate=PLATE))


def standing(feet: float = 40.0) -> Pose:
    xy = np.zeros((133, 2), np.float32)
    score = np.zeros(133, np.float32)
    for side, x in (("left", 36), ("right", 28)):
        for part, up in (("hip", 24), ("knee", 12), ("ankle", 2), ("heel", 0), ("big_toe", 0)):
            joint = skeleton.INDEX[f"{side}_{part}"]
            xy[joint], score[joint] = (x, feet - up), 1
    return Pose(xy, score)


def shaded(feet: float, strength: float = 0.8) -> Array:
    empty = np.zeros(SIZE, np.float32)
    layer = Layer(PLATE, empty, Moment(standing(feet), Fraction(0)))
    options = ComposeOptions(shadow=strength)
    return next(compose.compose([layer], options, plate=PLATE)).rgb[..., 0].astype(int)


def test_the_shadow_lies_under_the_feet_and_nowhere_else() -> None:
    rgb = shaded(40.0)
    assert rgb[40, 28] < 60
    assert rgb[40, 36] < 60
    assert (rgb[:25] == 90).all()
    assert (shaded(40.0, 0.0) == 90).all()


def test_the_floor_stays_while_the_person_jumps() -> None:
    floor = follow_floor(None, Moment(standing(40), Fraction(0)))
    jumped = follow_floor(floor, Moment(standing(30), Fraction(1, 5)))
    landed = follow_floor(jumped, Moment(standing(41), Fraction(2, 5)))
    assert jumped is not None
    assert jumped.row > 38
    assert landed is not None
    assert landed.row == 41


def test_a_cut_forgets_the_floor() -> None:
    floor = follow_floor(None, Moment(standing(40), Fraction(0)))
    other = follow_floor(floor, Moment(standing(30), Fraction(1, 25), cut=True))
    assert other is not None
    assert other.row == 30
