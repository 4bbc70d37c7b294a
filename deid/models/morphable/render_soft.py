"""Renderings for footage softer than its pixels: drawn small and enlarged, which softens no more than is wanted."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from deid import imaging

STEP = 2.0
"""How many times smaller."""
_LEAST = 1.4  # pixels: from this softness on
_SMALLEST = 9.0  # pixels a centimetre that a small drawing has at least: below, drawing small saves nothing
ADDED = 0.97
"""Standard deviation in pixels that drawing small and enlarging adds. The variance of linear interpolation is the mean
of f (1 - f) s^2 over its phases f; that of wider pixels, (s^2 - 1) / 12 at edges, is less in the texture, which is read
nearly as finely as without."""


def worth(softness: float, scale: float) -> bool:
    """Whether to draw small where ``softness`` pixels are wanted at ``scale`` pixels a centimetre."""
    return softness >= _LEAST and scale / STEP >= _SMALLEST


def small_size(width: int, height: int) -> tuple[int, int]:
    """Size of the small picture."""
    return math.ceil(width / STEP), math.ceil(height / STEP)


def enlarged(
    rgb: np.ndarray, alpha: np.ndarray, head: np.ndarray, part: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A small :class:`~deid.models.morphable.render.GeneratedFace` at its full size, cut to ``width`` x
    ``height``. Colour is weighed by cover, so that nothing of what is bare mixes in."""
    tall, wide = alpha.shape
    size = round(wide * STEP), round(tall * STEP)
    four = np.empty((tall, wide, 4), np.float32)
    _weigh(rgb, alpha, head, four)
    large = imaging.resize(four, size, interpolation=imaging.INTER_LINEAR)
    face = imaging.resize(alpha, size, interpolation=imaging.INTER_LINEAR)
    out = np.empty((height, width, 3), np.float32)
    rest = np.empty((height, width), np.float32)
    face = np.ascontiguousarray(face[:height, :width])
    _unweigh(large, face, out, rest)
    parts = imaging.resize(part, size, interpolation=imaging.INTER_NEAREST)
    return out, face, rest, np.ascontiguousarray(parts[:height, :width])


@njit(cache=True, nogil=True)
def _weigh(rgb: np.ndarray, alpha: np.ndarray, head: np.ndarray, four: np.ndarray) -> None:
    """``rgb`` times cover, and cover, into ``four``, float32 (h, w, 4)."""
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            cover = alpha[y, x] + head[y, x]
            for c in range(3):
                four[y, x, c] = rgb[y, x, c] * cover
            four[y, x, 3] = cover


@njit(cache=True, nogil=True, error_model="numpy")
def _unweigh(four: np.ndarray, alpha: np.ndarray, rgb: np.ndarray, head: np.ndarray) -> None:
    """What :func:`_weigh` did undone, into ``rgb``, float32 (h, w, 3), and ``head``, float32 (h, w)."""
    one, zero = np.float32(1.0), np.float32(0.0)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            cover = four[y, x, 3]
            per = one / cover if cover > np.float32(1e-4) else zero
            for c in range(3):
                rgb[y, x, c] = four[y, x, c] * per
            head[y, x] = max(cover - alpha[y, x], zero) if cover > np.float32(1e-4) else zero
