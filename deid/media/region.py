"""Regions of a frame as floating-point RGB, and back into its planes: what compositing works on.

Compiled, in one pass each way: :func:`read_region` is :func:`deid.media.convert.bgr` without rounding to 8 bits, and
:func:`write_region` is :func:`deid.media.convert.ycbcr` for those samples that changed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..types import Frame, PixelFormat

_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Luma weights of red and blue: ITU-R BT.601, BT.709, BT.2020 (non-constant luminance)."""


def read_region(frame: Frame, region: tuple[int, int, int, int], out: np.ndarray | None = None) -> np.ndarray:
    """float32 (h, w, 3), ``out`` when it is given: RGB code values of ``region`` (x0, y0, x1, y1, right and bottom
    excluded) of ``frame``: 0 black, 1 white, beyond them what studio swing has beyond them. Chroma samples lie in the
    middle of the pixels that share them and are interpolated. The region starts on a multiple of
    ``1 << chroma_shift``."""
    x0, y0, x1, y1 = region
    fmt = frame.format
    sx, sy = fmt.chroma_shift
    if not (0 <= x0 < x1 <= frame.width and 0 <= y0 < y1 <= frame.height) or (x0 >> sx << sx, y0 >> sy << sy) != (
        x0,
        y0,
    ):
        raise ValueError(f"region {region} does not lie on the chroma grid of {frame.width} x {frame.height}")
    out = np.empty((y1 - y0, x1 - x0, 3), np.float32) if out is None else out
    luma, chroma, low, middle = _scales(fmt)
    if fmt.grey:
        out[:] = ((frame.planes[0][y0:y1, x0:x1].astype(np.float32) - low) / np.float32(luma))[..., None]
        return out
    kr, kb = _WEIGHTS[fmt.matrix]
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr) / chroma, 2 * (1 - kb) / chroma
    factors = np.array([1 / luma, red, -red * kr / kg, -blue * kb / kg, blue], np.float32)
    y_plane, cb, cr = frame.planes
    _read(y_plane, cb, cr, x0, y0, sx, sy, np.float32(low), np.float32(middle), factors, out)
    return out


def write_region(
    planes: tuple[np.ndarray, ...], fmt: PixelFormat, corner: tuple[int, int], rgb: np.ndarray, touched: np.ndarray
) -> None:
    """Put a picture into ``planes``, in place: every luma sample that is ``touched``, bool (h, w), and every chroma
    sample that one of the touched pixels shares; it becomes the mean of all pixels that share it.

    ``rgb``: float32 (h, w, 3), code values 0 to 1. ``corner``: x, y of its first pixel, multiples of
    ``1 << chroma_shift``. Samples are rounded, and clipped to what the depth holds.
    """
    kr, kb = _WEIGHTS[fmt.matrix]
    luma, chroma, low, middle = _scales(fmt)
    top = np.float32((1 << fmt.depth) - 1)
    factors = np.array([kr, 1 - kr - kb, kb, luma, chroma / (2 * (1 - kb)), chroma / (2 * (1 - kr))], np.float32)
    x0, y0 = corner
    _write_luma(planes[0], x0, y0, np.float32(low), top, factors, rgb, touched)
    if not fmt.grey:
        sx, sy = fmt.chroma_shift
        _write_chroma(planes[1], planes[2], x0 >> sx, y0 >> sy, sx, sy, np.float32(middle), top, factors, rgb, touched)


def _scales(fmt: PixelFormat) -> tuple[float, float, float, float]:
    """Steps of luma from black to white, of chroma from end to end, luma of black, chroma of grey."""
    unit = float(1 << (fmt.depth - 8))
    top = float((1 << fmt.depth) - 1)
    middle = float(1 << (fmt.depth - 1))
    return (top, top, 0.0, middle) if fmt.full_range else (219 * unit, 224 * unit, 16 * unit, middle)


@njit(cache=True, nogil=True, error_model="numpy")
def _read(y_plane, cb, cr, x0, y0, sx, sy, low, middle, factors, out):  # type: ignore[no-untyped-def]
    """See :func:`read_region`. ``factors``: luma; red of Cr; green of Cr and of Cb; blue of Cb."""
    height, width = out.shape[:2]
    rows, columns = cb.shape
    first, count = x0 >> sx, (width + sx) >> sx
    blues, reds = np.empty(count + 2, np.float32), np.empty(count + 2, np.float32)
    blue, red = np.empty(2 * count, np.float32), np.empty(2 * count, np.float32)
    gain, r_cr, g_cr, g_cb, b_cb = factors[0], factors[1], factors[2], factors[3], factors[4]
    near, far = np.float32(0.75), np.float32(0.25)
    for y in range(height):
        row = (y0 + y) >> sy
        other = row
        if sy:
            other = min(max(row + (1 if (y0 + y) & 1 else -1), 0), rows - 1)
        _between(cb[row], cb[other], first, columns, near, middle, blues)
        _between(cr[row], cr[other], first, columns, near, middle, reds)
        if sx:
            for k in range(count):
                blue[2 * k] = near * blues[k + 1] + far * blues[k]
                blue[2 * k + 1] = near * blues[k + 1] + far * blues[k + 2]
                red[2 * k] = near * reds[k + 1] + far * reds[k]
                red[2 * k + 1] = near * reds[k + 1] + far * reds[k + 2]
        else:
            for k in range(width):
                blue[k], red[k] = blues[k + 1], reds[k + 1]
        luma, line = y_plane[y0 + y, x0 : x0 + width], out[y]
        for x in range(width):
            level = (np.float32(luma[x]) - low) * gain
            line[x, 0] = level + r_cr * red[x]
            line[x, 1] = level + g_cr * red[x] + g_cb * blue[x]
            line[x, 2] = level + b_cb * blue[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _between(line, other, first, columns, near, middle, out):  # type: ignore[no-untyped-def]
    """Two lines of chroma mixed, from one sample before ``first`` on; outermost samples repeat."""
    far = np.float32(1) - near
    start, end = max(first - 1, 0), min(first - 1 + len(out), columns)
    skip = start - (first - 1)
    one, two = line[start:end], other[start:end]
    inner = out[skip : skip + end - start]
    for k in range(len(inner)):
        inner[k] = near * np.float32(one[k]) + far * np.float32(two[k]) - middle
    for k in range(skip):
        out[k] = inner[0]
    for k in range(skip + len(inner), len(out)):
        out[k] = inner[len(inner) - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _write_luma(plane, x0, y0, low, top, factors, rgb, touched):  # type: ignore[no-untyped-def]
    half = np.float32(0.5)
    kr, kg, kb = factors[0] * factors[3], factors[1] * factors[3], factors[2] * factors[3]
    for y in range(touched.shape[0]):
        line, marks, pixels = plane[y0 + y, x0 : x0 + touched.shape[1]], touched[y], rgb[y]
        for x in range(len(marks)):
            if marks[x]:
                level = kr * pixels[x, 0] + kg * pixels[x, 1] + kb * pixels[x, 2] + low + half
                line[x] = int(min(max(level, np.float32(0)), top))


@njit(cache=True, nogil=True, error_model="numpy")
def _write_chroma(cb, cr, x0, y0, sx, sy, middle, top, factors, rgb, touched):  # type: ignore[no-untyped-def]
    height, width = touched.shape
    kr, kg, kb = factors[0], factors[1], factors[2]
    half = np.float32(0.5)
    for i in range((height + sy) >> sy):
        top_row = i << sy
        low_row = min(top_row + sy, height - 1)
        for j in range((width + sx) >> sx):
            left = j << sx
            right = min(left + sx, width - 1)
            if not (
                touched[top_row, left] or touched[top_row, right] or touched[low_row, left] or touched[low_row, right]
            ):
                continue
            red = rgb[top_row, left, 0] + rgb[top_row, right, 0] + rgb[low_row, left, 0] + rgb[low_row, right, 0]
            green = rgb[top_row, left, 1] + rgb[top_row, right, 1] + rgb[low_row, left, 1] + rgb[low_row, right, 1]
            blue = rgb[top_row, left, 2] + rgb[top_row, right, 2] + rgb[low_row, left, 2] + rgb[low_row, right, 2]
            luma = kr * red + kg * green + kb * blue
            b = (blue - luma) * factors[4] / 4 + middle + half
            r = (red - luma) * factors[5] / 4 + middle + half
            cb[y0 + i, x0 + j] = int(min(max(b, np.float32(0)), top))
            cr[y0 + i, x0 + j] = int(min(max(r, np.float32(0)), top))
