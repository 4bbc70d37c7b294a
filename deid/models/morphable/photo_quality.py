"""How soft and how noisy a picture of a face is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from deid import imaging

_BLOCKS = np.array([151, 108, 337, 69, 299, 50, 280, 101, 330, 205, 425, 187, 411, 200, 199, 117, 346, 5])
"""Mesh points amid smooth skin: forehead, cheeks, chin, nose."""
_BLOCK = 0.65  # half side of a block, centimetres
_WINDOWS = np.array([[33, 133], [362, 263], [61, 61], [291, 291], [98, 98], [327, 327]])
"""Sharp things lie about the middle of each pair of mesh points: eyes, corners of the mouth, nostrils."""
_WINDOW_SIZES = np.array([[1.9, 0.9], [1.9, 0.9], [1.0, 0.8], [1.0, 0.8], [0.7, 0.5], [0.7, 0.5]])
"""Half width and half height of the windows, centimetres."""
_LARGEST = (64, 32)  # half width and height at most, pixels
_STRONGEST = 0.06  # share of a window's pixels that count as its edges
_OWN_BLUR2 = 1.0 / 3.0  # variance of the box that a central difference implies, pixels squared


_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114, 0], [-0.168736, -0.331264, 0.5, 128], [0.5, -0.418688, -0.081312, 128]], np.float32
)
"""Luma, blue and red difference of RGB: ITU-R BT.601, full range."""


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """A picture as cameras store it. ``luma``: uint8 (h, w). ``blue``, ``red``: uint8, colour differences of half the
    size. ``black``: what black is stored as; ``gain``, ``chroma_gain``: code values of 0..255 to a stored step."""

    luma: np.ndarray
    blue: np.ndarray
    red: np.ndarray
    black: float = 0.0
    gain: float = 1.0
    chroma_gain: float = 1.0

    @classmethod
    def of_rgb(cls, crop: np.ndarray) -> Detail:
        """``crop``: uint8 (h, w, 3), R first."""
        luma, blue, red = imaging.split(imaging.transform(crop, _FROM_RGB))
        height, width = (max(n // 2, 1) for n in luma.shape)
        small = [
            imaging.resize(part[: 2 * height, : 2 * width], (width, height), interpolation=imaging.INTER_AREA)
            for part in (blue, red)
        ]
        return cls(luma, small[0], small[1])


def measure_noise(detail: Detail, mesh: np.ndarray, scale: float) -> tuple[float, float, float]:
    """Standard deviations of noise in code values: luma, luma of 2 x 2 means, colour differences of 2 x 2 means.

    ``mesh``: float32 (478, 3) in pixels of the luma; ``scale``: pixels a centimetre. Mean absolute response to the
    difference of two Laplacians (Immerkaer, *Fast Noise Variance Estimation*, 1996), which shading does not excite, in
    blocks of smooth skin; the quieter part of the blocks decides, since the others hold hair, wrinkles or an edge.
    """
    noise, coarse, chroma = _block_noise(
        detail.luma, detail.blue, detail.red, detail.black, detail.gain, detail.chroma_gain,
        mesh, _BLOCKS, _BLOCK * scale,
    )  # fmt: skip
    return _quieter(noise), _quieter(coarse), _quieter(chroma)


def _quieter(values: np.ndarray) -> float:
    values = values[values >= 0]
    return float(np.quantile(values, 0.4)) if len(values) else 0.0


@njit(cache=True, nogil=True)
def _block_noise(
    luma: np.ndarray,
    blue: np.ndarray,
    red: np.ndarray,
    black: float,
    gain: float,
    chroma_gain: float,
    mesh: np.ndarray,
    places: np.ndarray,
    half_size: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """float64 (places,) each; -1 for blocks outside the crop, or too dark or too bright to show noise."""
    height, width = 2 * min(luma.shape[0] // 2, blue.shape[0]), 2 * min(luma.shape[1] // 2, blue.shape[1])
    half = min(max(int(half_size / 2) * 2, 6), 14)
    side = 2 * half
    out = np.full((3, len(places)), -1.0)
    whole = np.empty((side, side))
    small = np.empty((3, half, half))
    # Rounding to whole steps is noise of variance 1/12.
    rounding = gain * gain / 12
    chroma_rounding = chroma_gain * chroma_gain / 12
    for k in range(len(places)):
        x0, y0 = (int(mesh[places[k], 0]) - half) // 2 * 2, (int(mesh[places[k], 1]) - half) // 2 * 2
        if x0 < 0 or y0 < 0 or x0 + side > width or y0 + side > height:
            continue
        mean = 0.0
        for y in range(side):
            for x in range(side):
                value = (luma[y0 + y, x0 + x] - black) * gain
                whole[y, x] = value
                mean += value
        mean /= side * side
        if mean < 8 or mean > 247:
            continue
        for y in range(half):
            for x in range(half):
                i, j = 2 * y, 2 * x
                small[0, y, x] = 0.25 * (whole[i, j] + whole[i + 1, j] + whole[i, j + 1] + whole[i + 1, j + 1])
                small[1, y, x] = blue[y0 // 2 + y, x0 // 2 + x] * chroma_gain
                small[2, y, x] = red[y0 // 2 + y, x0 // 2 + x] * chroma_gain
        out[0, k] = math.sqrt(max(0.0, _immerkaer(whole) ** 2 - rounding))
        out[1, k] = math.sqrt(max(0.0, _immerkaer(small[0]) ** 2 - rounding / 4))
        chroma = 0.5 * (_immerkaer(small[1]) ** 2 + _immerkaer(small[2]) ** 2)
        out[2, k] = math.sqrt(max(0.0, chroma - chroma_rounding))
    return out[0], out[1], out[2]


@njit(cache=True, nogil=True)
def _immerkaer(plane: np.ndarray) -> float:  # pragma: no cover - compiled
    total = 0.0
    height, width = plane.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            total += abs(
                plane[y - 1, x - 1] - 2 * plane[y - 1, x] + plane[y - 1, x + 1]
                - 2 * plane[y, x - 1] + 4 * plane[y, x] - 2 * plane[y, x + 1]
                + plane[y + 1, x - 1] - 2 * plane[y + 1, x] + plane[y + 1, x + 1]
            )  # fmt: skip
    return total / ((height - 2) * (width - 2)) * math.sqrt(math.pi / 2) / 6


def measure_blur(detail: Detail, mesh: np.ndarray, scale: float, noise: float) -> tuple[float, float]:
    """Width of a face's features: standard deviation in pixels of the Gaussian that their edges look blurred with, and
    the mean gradient there (code values a pixel). (nan, 0) when no edge rises out of the noise.

    An edge blurred by s loses a known part of its gradient when blurred once more by s0: the ratio of gradients R gives
    s = s0 / sqrt(R^2 - 1) (Zhuo and Sim, *Defocus map estimation from a single image*, 2011, section 3). Measured on
    the strongest edges at eyes, mouth and nostrils; where noise would drown the small R of a soft picture, the picture
    is halved first.
    """
    factor = 1
    while True:
        ratio, edge = _gradient_ratio(
            detail.luma, detail.gain, mesh, _WINDOWS, _WINDOW_SIZES * scale, factor, noise / factor,
            _LARGEST[0], _LARGEST[1], _STRONGEST,
        )  # fmt: skip
        if edge <= 0.0:
            return math.nan, 0.0
        variance = 1.0 / max(ratio - 1.0, 1e-3) - _OWN_BLUR2
        if variance < max(2.0, 14 / (1 + noise * noise)) or factor >= 4:
            # The mean over factor x factor pixels blurs by (factor^2 - 1) / 12 pixels^2.
            wide = factor * factor * max(variance, 0.0) - (factor * factor - 1) / 12
            return math.sqrt(max(wide, 0.0)), edge / factor
        factor *= 2


@njit(cache=True, nogil=True)
def _gradient_ratio(
    plane: np.ndarray,
    gain: float,
    mesh: np.ndarray,
    windows: np.ndarray,
    sizes: np.ndarray,
    factor: int,
    noise: float,
    largest_x: int,
    largest_y: int,
    strongest: float,
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Energy of the gradient over that of the gradient after a binomial blur of variance 1, on the strongest edges of
    the picture made ``factor`` times smaller; and the root mean square of the latter gradient."""
    height, width = plane.shape
    sharp, soft, used = 0.0, 0.0, 0
    for k in range(len(windows)):
        cx = 0.5 * (mesh[windows[k, 0], 0] + mesh[windows[k, 1], 0])
        cy = 0.5 * (mesh[windows[k, 0], 1] + mesh[windows[k, 1], 1])
        hx = min(max(int(sizes[k, 0] / factor), 8), largest_x)
        hy = min(max(int(sizes[k, 1] / factor), 6), largest_y)
        x0, x1 = max(int(cx) - hx * factor, 0), min(int(cx) + hx * factor, width)
        y0, y1 = max(int(cy) - hy * factor, 0), min(int(cy) + hy * factor, height)
        w, h = (x1 - x0) // factor, (y1 - y0) // factor
        if w < 9 or h < 9:
            continue
        luma = _means(plane, x0, y0, w, h, factor, gain)
        soft_luma = _binomial(luma)
        energy = np.zeros((h, w), np.float32)
        values = np.zeros(1024, np.int64)
        for y in range(3, h - 3):
            for x in range(3, w - 3):
                dx, dy = soft_luma[y, x + 1] - soft_luma[y, x - 1], soft_luma[y + 1, x] - soft_luma[y - 1, x]
                e = 0.25 * (dx * dx + dy * dy)
                energy[y, x] = e
                values[min(int(8 * math.sqrt(e)), 1023)] += 1
        need, bin_ = int(strongest * (w - 6) * (h - 6)) + 1, 1023
        seen = values[bin_]
        while seen < need and bin_ > 0:
            bin_ -= 1
            seen += values[bin_]
        # Noise alone leaves a gradient of about 0.27 of its deviation after the blur.
        least = max((bin_ / 8.0) ** 2, (1.5 * noise) ** 2, 2.25)
        for y in range(3, h - 3):
            for x in range(3, w - 3):
                if energy[y, x] >= least:
                    dx, dy = luma[y, x + 1] - luma[y, x - 1], luma[y + 1, x] - luma[y - 1, x]
                    sharp += 0.25 * (dx * dx + dy * dy) - noise * noise
                    soft += energy[y, x] - 0.07 * noise * noise
                    used += 1
    if used < 8 or soft <= 0.0:
        return 1.0, 0.0
    return sharp / soft, math.sqrt(soft / used)


@njit(cache=True, nogil=True)
def _means(
    plane: np.ndarray, x0: int, y0: int, width: int, height: int, factor: int, gain: float
) -> np.ndarray:  # pragma: no cover - compiled
    """float32 (height, width): means over ``factor`` x ``factor`` samples from ``x0, y0`` on, times ``gain``."""
    out = np.empty((height, width), np.float32)
    share = np.float32(gain / (factor * factor))
    for y in range(height):
        for x in range(width):
            total = 0
            for i in range(factor):
                for j in range(factor):
                    total += int(plane[y0 + y * factor + i, x0 + x * factor + j])
            out[y, x] = total * share
    return out


@njit(cache=True, nogil=True)
def _binomial(plane: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """``plane`` blurred by 1 4 6 4 1 each way (variance 1); two pixels at the rim stay undefined."""
    height, width = plane.shape
    rows = np.zeros((height, width), np.float32)
    out = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(2, width - 2):
            rows[y, x] = (
                plane[y, x - 2] + plane[y, x + 2] + 4 * (plane[y, x - 1] + plane[y, x + 1]) + 6 * plane[y, x]
            ) * np.float32(0.0625)
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            out[y, x] = (
                rows[y - 2, x] + rows[y + 2, x] + 4 * (rows[y - 1, x] + rows[y + 1, x]) + 6 * rows[y, x]
            ) * np.float32(0.0625)
    return out
