"""How near a picture is to the right one: PSNR, SSIM, absolute difference, sharpness.

Pictures are (H, W, 3) uint8 or float with values 0..255. `where`, an (H, W) bool mask or a pair of
slices such as `around(mask)`, limits a measure to a region; an empty region gives NaN.
"""

from __future__ import annotations

import cv2
import numpy as np

from dance.types import Array

Where = Array | tuple[slice, slice] | None

RANGE = 255.0
PSNR_CAP = 60.0
SSIM_K1, SSIM_K2, SSIM_SIGMA, SSIM_TAPS = 0.01, 0.03, 1.5, 11


def psnr(picture: Array, truth: Array, where: Where = None) -> float:
    """Peak signal to noise ratio in dB, at most 60 (equal pictures would be infinite)."""
    difference = _both(picture, truth, where)
    if not difference.size:
        return float("nan")
    error = float(np.square(difference).mean())
    return min(PSNR_CAP, 10 * float(np.log10(RANGE**2 / max(error, 1e-9))))


def ssim_map(picture: Array, truth: Array) -> Array:
    """SSIM at every pixel, (H, W), averaged over the channels.

    Wang et al., "Image quality assessment", TIP 2004: Gaussian window of sigma 1.5 and 11 taps.
    """
    a, b = np.asarray(picture, np.float32), np.asarray(truth, np.float32)
    _require_same(a, b)
    c1, c2 = (SSIM_K1 * RANGE) ** 2, (SSIM_K2 * RANGE) ** 2
    mean_a, mean_b = _window(a), _window(b)
    var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    cov = _window(a * b) - mean_a * mean_b
    like = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return np.asarray((like / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean(-1))


def ssim(picture: Array, truth: Array, where: Where = None) -> float:
    """Mean SSIM over the region; over a whole picture without the 5 pixels the window overhangs."""
    values = ssim_map(picture, truth)
    values = values[5:-5, 5:-5] if where is None else values[where]
    return float(values.mean()) if values.size else float("nan")


def l1(picture: Array, truth: Array, where: Where = None) -> float:
    """Mean absolute difference, 0..255."""
    difference = _both(picture, truth, where)
    return float(np.abs(difference).mean()) if difference.size else float("nan")


def sharpness(picture: Array, truth: Array, where: Where = None) -> float:
    """Gradient energy of the picture over the truth's: 1 is right, less is blurred, more is noisy."""
    a, b = gradient(picture), gradient(truth)
    if where is not None:
        a, b = a[where], b[where]
    return float(a.mean() / max(float(b.mean()), 1e-6)) if a.size else float("nan")


def gradient(picture: Array) -> Array:
    """Magnitude of the Sobel gradient of the slightly blurred grey picture, (H, W) float32."""
    grey = cv2.cvtColor(np.clip(picture, 0, RANGE).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))


def around(mask: Array, grow: float = 0.1) -> tuple[slice, slice]:
    """The box around a mask, grown by a share of its sides; the whole picture where it is empty."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    dy = grow * (rows[-1] - rows[0] + 1)
    dx = grow * (columns[-1] - columns[0] + 1)
    top, bottom = max(0, rows[0] - dy), min(height, np.ceil(rows[-1] + 1 + dy))
    left, right = max(0, columns[0] - dx), min(width, np.ceil(columns[-1] + 1 + dx))
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _both(picture: Array, truth: Array, where: Where) -> Array:
    a, b = np.asarray(picture, np.float32), np.asarray(truth, np.float32)
    _require_same(a, b)
    return a - b if where is None else a[where] - b[where]


def _require_same(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures must have the same shape, got {a.shape} and {b.shape}")


def _window(values: Array) -> Array:
    taps = (SSIM_TAPS, SSIM_TAPS)
    return cv2.GaussianBlur(values, taps, SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)
