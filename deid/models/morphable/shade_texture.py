"""Skin textures as mip pyramids (Williams, *Pyramidal Parametrics*, 1983), free of what lies between the islands.

Three levels an octave, so that the nearest one will do: one look-up a pixel instead of two, and no step that shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from deid import imaging

LEVELS = 3  # an octave
_SMALLEST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """``texels``: float32 (N, 4), the levels one after another, finest first, rows top to bottom. ``offsets``: int64
    (L,), where a level starts. ``sizes``: int64 (L,), its width and height."""

    texels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def build_pyramid(texture: np.ndarray, covered: np.ndarray) -> Pyramid:
    """Pyramid of ``texture``, float32 (T, T, 4), T a power of two, 4 or more.

    ``covered``: bool (T, T), where the texture means anything; see :func:`fill_holes`.
    """
    base = fill_holes(texture, covered)
    levels = [base]
    while levels[-1].shape[0] > _SMALLEST:
        k = len(levels)
        side = max(round(base.shape[0] * 2.0 ** (-k / LEVELS)), _SMALLEST)
        finer = levels[max(k - LEVELS, 0)]
        levels.append(imaging.resize(finer, (side, side), interpolation=imaging.INTER_AREA))
    sizes = np.array([level.shape[0] for level in levels], np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes**2)[:-1]]).astype(np.int64)
    flat = np.concatenate([level.reshape(-1, 4) for level in levels])
    return Pyramid(np.ascontiguousarray(flat, np.float32), offsets, sizes)


def fill_holes(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """``texture``, float32 (T, T, C), with what is not ``covered``, bool (T, T), filled from around.

    Lids, lips and nostrils are holes; no filter may draw their colour into the skin. ("Push-pull": Gortler et al.,
    *The Lumigraph*, 1996, section 3.4.)
    """
    levels = [np.ascontiguousarray(texture, np.float32)]
    weights: list[np.ndarray] = [covered.astype(np.float32)[..., None]]
    while levels[-1].shape[0] > 1:
        weight = _quarters(weights[-1])
        levels.append(_quarters(levels[-1] * weights[-1]) / np.maximum(weight, 1e-8))
        weights.append(np.minimum(weight * 4.0, 1.0))
    filled = levels[-1]
    for k in range(len(levels) - 2, -1, -1):
        coarse = np.repeat(np.repeat(filled, 2, axis=0), 2, axis=1)
        filled = levels[k] * weights[k] + coarse * (1.0 - weights[k])
    return filled


def _quarters(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 samples."""
    return (image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)


@njit(cache=True, nogil=True)
def look_up(texels, offsets, sizes, u, v, level):  # type: ignore[no-untyped-def]
    """Four channels at ``u, v`` in [0, 1] of the level next to ``level`` (0 finest), bilinear."""
    k = np.uint64(min(max(level + np.float32(0.5), np.float32(0.0)), np.float32(sizes.shape[0] - 1)))
    size = np.uint64(sizes[k])
    wide = np.float32(sizes[k])
    last = wide - np.float32(1.001)
    x = min(max(u * wide - np.float32(0.5), np.float32(0.0)), last)
    y = min(max(v * wide - np.float32(0.5), np.float32(0.0)), last)
    x0, y0 = np.uint32(x), np.uint32(y)
    fx, fy = x - np.float32(x0), y - np.float32(y0)
    i = np.uint64(offsets[k]) + np.uint64(y0) * size + np.uint64(x0)
    j = i + np.uint64(1)
    m = i + size
    n = m + np.uint64(1)
    one = np.float32(1.0)
    a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    return (
        a * texels[i, 0] + b * texels[j, 0] + c * texels[m, 0] + d * texels[n, 0],
        a * texels[i, 1] + b * texels[j, 1] + c * texels[m, 1] + d * texels[n, 1],
        a * texels[i, 2] + b * texels[j, 2] + c * texels[m, 2] + d * texels[n, 2],
        a * texels[i, 3] + b * texels[j, 3] + c * texels[m, 3] + d * texels[n, 3],
    )
