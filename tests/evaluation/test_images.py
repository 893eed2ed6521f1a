import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dance.evaluation import images


def picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rough = rng.uniform(0, 255, (size[0] // 8, size[1] // 8, 3))
    return np.kron(rough, np.ones((8, 8, 1))).astype(np.uint8)


def test_psnr_of_a_known_difference_is_known() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    assert images.psnr(a, a + 10) == pytest.approx(10 * np.log10(255**2 / 100))


def test_psnr_of_equal_pictures_is_capped() -> None:
    assert images.psnr(picture(), picture()) == 60


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    a = picture()
    noise = np.random.default_rng(1).normal(0, 1, a.shape)
    little, much = (np.clip(a + s * noise, 0, 255).astype(np.uint8) for s in (5, 40))
    assert images.ssim(a, a) == pytest.approx(1)
    assert 1 > images.ssim(little, a) > images.ssim(much, a) > 0


def test_a_region_hides_what_is_outside_it() -> None:
    a, b = picture(), picture()
    b[:, :20] = 255 - b[:, :20]
    mask = np.zeros(a.shape[:2], bool)
    mask[:, 40:] = True
    assert images.l1(b, a) > 1
    assert images.l1(b, a, mask) == 0
    assert images.psnr(b, a, mask) == 60
    assert images.ssim(b, a, mask) == pytest.approx(1)


def test_an_empty_region_gives_nan() -> None:
    nothing = np.zeros((48, 64), bool)
    for measure in (images.psnr, images.ssim, images.l1, images.sharpness):
        assert np.isnan(measure(picture(), picture(1), nothing))


def test_pictures_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape"):
        images.psnr(picture(), picture(size=(32, 64)))


def test_blur_lowers_and_noise_raises_sharpness() -> None:
    a = picture()
    blurred = images._window(a.astype(np.float32))
    noisy = np.clip(a + np.random.default_rng(2).normal(0, 20, a.shape), 0, 255)
    assert images.sharpness(a, a) == pytest.approx(1)
    assert images.sharpness(blurred, a) < 0.95
    assert images.sharpness(noisy, a) > 1.05


def test_the_box_around_a_mask_grows_and_stays_inside() -> None:
    mask = np.zeros((100, 100), bool)
    mask[40:60, 0:50] = True
    assert images.around(mask) == (slice(38, 62), slice(0, 55))
    assert images.around(np.zeros((10, 20), bool)) == (slice(0, 10), slice(0, 20))


def test_the_measures_are_those_of_the_benchmarks_scorer(shared: Path) -> None:
    spec = importlib.util.spec_from_file_location("score", shared / "benchmark" / "score.py")
    assert spec is not None and spec.loader is not None
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    a = picture()
    b = np.clip(a + np.random.default_rng(3).normal(0, 15, a.shape), 0, 255).astype(np.uint8)
    mask = np.zeros(a.shape[:2], bool)
    mask[10:30, 20:50] = True
    fa, fb = a.astype(np.float32), b.astype(np.float32)
    top, bottom, left, right = score.box(mask)
    assert images.around(mask) == (slice(top, bottom), slice(left, right))
    assert np.allclose(images.ssim_map(b, a), score.ssim_map(fa, fb), atol=1e-5)
    assert images.psnr(b, a) == pytest.approx(score.psnr(fa, fb), abs=1e-4)
    assert np.allclose(images.gradient(b), score.gradient(fb))
