"""From a decoded picture's colours to sRGB: matrices, ranges, wide gamuts, and HDR made to fit a screen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av
import cv2
import numpy as np
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)

from dance.types import Array, Size

# Without both of these swscale rounds luma down and leaves all colours 1 to 2 levels too dark; with the
# second one it writes wrong colours into 16-bit RGB.
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

_UNSAID = 2
# What red and blue weigh in luma, by the number of the matrix (ITU-T H.273).
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_SWSCALE = {1: Colorspace.ITU709, 6: Colorspace.ITU601}
_SDR_WHITE = 203.0  # nits of diffuse white in HDR (ITU-R BT.2408)
_HDR_PEAK = 1000.0  # nits; what nearly all HDR footage is graded for
_LINEAR_STEPS = 1 << 14

# Red, green, blue and white points as CIE x, y.
_CHROMATICITIES = {
    ColorPrimaries.BT709: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    ColorPrimaries.BT2020: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    ColorPrimaries.SMPTE431: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    ColorPrimaries.SMPTE432: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """From 16-bit R'G'B' to sRGB: a curve to linear light, a change of primaries, a curve back.

    to_linear: (65536,) float32.  matrix: (3, 3) float32.  from_linear: (_LINEAR_STEPS,) uint8.
    """

    to_linear: Array
    matrix: Array
    from_linear: Array

    def __call__(self, rgb: Array) -> Array:
        """(H, W, 3) uint16 as (H, W, 3) uint8 sRGB."""
        light = cv2.transform(self.to_linear[rgb], self.matrix)
        steps = np.clip(light * (_LINEAR_STEPS - 1) + 0.5, 0, _LINEAR_STEPS - 1).astype(np.uint16)
        return np.asarray(self.from_linear[steps])


class Converter:
    """Turns decoded pictures into (H, W, 3) uint8 sRGB of one size; keeps swscale's set-up between them."""

    def __init__(self, size: Size, codec: str) -> None:
        self._size = size
        self._codec = codec
        self._scaler = VideoReformatter()
        self._merged: Array | None = None

    def __call__(self, frame: av.VideoFrame, *, alpha: bool) -> tuple[Array, Array | None]:
        """The picture and, with `alpha`, what of it is opaque, (H, W) float32 in [0, 1]."""
        mapping = _mapping(int(frame.color_primaries), int(frame.color_trc))
        number = self._matrix(frame)
        if mapping is None and not alpha and number in _WEIGHTS and _is_plain_yuv(frame):
            return self._plainly(frame, number), None
        deep = mapping is not None
        layout = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
        pixels = self._scaled(
            frame, layout, Interpolation.ACCURATE_RND if deep else EXACT
        ).to_ndarray()
        rgb = pixels[..., :3]
        opaque = pixels[..., 3].astype(np.float32) / (65535 if deep else 255) if alpha else None
        return mapping(rgb) if mapping is not None else np.ascontiguousarray(rgb), opaque

    def _plainly(self, frame: av.VideoFrame, number: int) -> Array:
        """A YUV picture as RGB: scaled by swscale, its colours by OpenCV, a third of the time of swscale alone."""
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        scaled = self._scaled(frame, "yuv444p", None, ColorRange.JPEG if full else ColorRange.MPEG)
        height, width = self._size
        planes = [
            np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, :width]
            for plane in scaled.planes
        ]
        # Fresh memory of this size costs as much as filling it.
        self._merged = cv2.merge(planes, self._merged)
        return np.asarray(cv2.transform(self._merged, _from_yuv(number, full)))

    def _scaled(
        self,
        frame: av.VideoFrame,
        layout: str,
        more: Interpolation | None,
        kept_range: ColorRange | None = None,
    ) -> av.VideoFrame:
        height, width = self._size
        way = _interpolation((frame.height, frame.width), self._size)
        return self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=layout,
            # Where only the layout changes, both sides must be of one matrix: that of the picture.
            src_colorspace=None if kept_range else _SWSCALE.get(self._matrix(frame)),
            src_color_range=kept_range,
            dst_color_range=kept_range,
            interpolation=way if more is None else way | more,
        )

    def _matrix(self, frame: av.VideoFrame) -> int:
        """The YUV matrix; where the picture does not say, BT.601 for small ones and JPEG, else BT.709."""
        if frame.colorspace != _UNSAID:
            return int(frame.colorspace)
        large = is_large((frame.height, frame.width)) and self._codec != "mjpeg"
        return 1 if large else 6


def _is_plain_yuv(frame: av.VideoFrame) -> bool:
    """Whether the picture is YUV of 8 bits, which loses nothing as YUV 4:4:4 of 8 bits."""
    components = frame.format.components
    return not frame.format.is_rgb and len(components) == 3 and components[0].bits == 8


@cache
def _from_yuv(number: int, full: bool) -> Array:
    """The (3, 4) map from 8-bit Y, Cb, Cr codes to R, G, B (ITU-T H.273)."""
    kr, kb = _WEIGHTS[number]
    kg = 1 - kr - kb
    y, c = (1.0, 1.0) if full else (255 / 219, 255 / 224)
    blue, red = 2 * (1 - kb) * c, 2 * (1 - kr) * c
    turn = np.array([[y, 0, red], [y, -blue * kb / kg, -red * kr / kg], [y, blue, 0]])
    zero = np.array([0 if full else 16, 128, 128])
    return np.column_stack([turn, -turn @ zero]).astype(np.float32)


def is_large(stored: Size) -> bool:
    """Whether a picture of that size, whose matrix is not told, is taken as high definition (BT.709)."""
    return stored[0] > 576 or stored[1] >= 1280


def _interpolation(source: Size, target: Size) -> Interpolation:
    if source == target:
        return Interpolation.BILINEAR  # only chroma is interpolated
    if target[0] <= source[0] and target[1] <= source[1]:
        return Interpolation.AREA
    return Interpolation.BICUBIC


@cache
def _mapping(primaries: int, transfer: int) -> Mapping | None:
    """What makes such colours sRGB, or None where they are near enough to be left alone."""
    hdr = transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
    wide = primaries in _CHROMATICITIES and primaries != ColorPrimaries.BT709
    if not hdr and not wide:
        return None
    gamut = ColorPrimaries(primaries) if wide else ColorPrimaries.BT709
    if hdr and not wide:
        gamut = ColorPrimaries.BT2020 if primaries == _UNSAID else ColorPrimaries.BT709
    signal = np.arange(1 << 16) / 65535
    light = np.linspace(0, 1, _LINEAR_STEPS)
    if hdr:
        nits = _pq_to_nits(signal) if transfer == ColorTrc.SMPTE2084 else _hlg_to_nits(signal)
        to_linear, shown = _tone_map(nits), _to_srgb(light)
    else:
        # Standard range is shown as it is stored, as for BT.709: only the primaries change.
        to_linear, shown = signal**2.4, light ** (1 / 2.4)
    matrix = np.linalg.inv(_to_xyz(ColorPrimaries.BT709)) @ _to_xyz(gamut)
    return Mapping(
        to_linear.astype(np.float32),
        matrix.astype(np.float32),
        (shown * 255 + 0.5).astype(np.uint8),
    )


def _pq_to_nits(signal: Array) -> Array:
    """SMPTE ST 2084 signal in [0, 1] as nits."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return np.asarray(10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1))


def _nits_to_pq(nits: Array) -> Array:
    """Nits as SMPTE ST 2084 signal in [0, 1]."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (np.maximum(nits, 0) / 10000) ** m1
    return np.asarray(((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def _hlg_to_nits(signal: Array) -> Array:
    """Hybrid log-gamma signal in [0, 1] as nits on a 1000-nit screen (ITU-R BT.2100, gamma 1.2 per channel)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(_HDR_PEAK * scene**1.2)


def _tone_map(nits: Array) -> Array:
    """Nits as linear light in [0, 1] of a standard screen: highlights rolled off as in ITU-R BT.2390."""
    peak = _nits_to_pq(np.array(_HDR_PEAK))
    white = _nits_to_pq(np.array(_SDR_WHITE)) / peak
    signal = np.minimum(_nits_to_pq(nits) / peak, 1)
    knee = 1.5 * white - 0.5
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * white
    )
    rolled = np.where(signal < knee, signal, spline)
    return np.clip(_pq_to_nits(rolled * peak) / _SDR_WHITE, 0, 1)


def _to_srgb(light: Array) -> Array:
    """Linear light in [0, 1] as sRGB signal (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _to_xyz(primaries: ColorPrimaries) -> Array:
    """The (3, 3) matrix from linear RGB to XYZ, white at Y = 1, its white moved to that of sRGB by scaling."""
    values = _CHROMATICITIES[primaries]
    points = np.array(
        [[x, y, 1 - x - y] for x, y in zip(values[0:6:2], values[1:6:2], strict=True)]
    )
    white_x, white_y = _CHROMATICITIES[ColorPrimaries.BT709][6:]
    white = np.array([white_x, white_y, 1 - white_x - white_y]) / white_y
    columns = points.T
    return np.asarray(columns * np.linalg.solve(columns, white))
