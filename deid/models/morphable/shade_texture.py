"""Skin textures as mip pyramids (Williams, *Pyramidal Parametrics*, 1983), free of what lies between the islands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """``texels``: float32 (N, C), the levels one after another, finest first, rows top to bottom. ``offsets``: int64
    (L,), where a level starts. ``sizes``: int64 (L,), its width and height."""

    texels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def build_pyramid(texture: np.ndarray, covered: np.ndarray) -> Pyramid:
    """Pyramid of ``texture``, float32 (T, T, C), T a power of two.

    ``covered``: bool (T, T), where the texture means anything. Elsewhere (lids, lips and nostrils are holes) it is
    filled from coarser levels ("push-pull": Gortler et al., *The Lumigraph*, 1996, section 3.4), so that no filter
    ever draws a hole's colour into the skin.
    """
    levels = [np.ascontiguousarray(texture, np.float32)]
    weights = [covered.astype(np.float32)[..., None]]
    while levels[-1].shape[0] > 1:
        weight = _quarters(weights[-1])
        levels.append(_quarters(levels[-1] * weights[-1]) / np.maximum(weight, 1e-8))
        weights.append(np.minimum(weight, 1.0))
    for k in range(len(levels) - 2, -1, -1):
        coarse = np.repeat(np.repeat(levels[k + 1], 2, axis=0), 2, axis=1)
        full = np.minimum(weights[k] * 4.0, 1.0) if k else weights[k]
        levels[k] = levels[k] * full + coarse * (1.0 - full)
    sizes = np.array([level.shape[0] for level in levels], np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes**2)[:-1]]).astype(np.int64)
    flat = np.concatenate([level.reshape(-1, texture.shape[2]) for level in levels])
    return Pyramid(np.ascontiguousarray(flat, np.float32), offsets, sizes)


def _quarters(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 samples."""
    return (image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)


@njit(cache=True, nogil=True)
def _bilinear(texels, offset, size, u, v):  # type: ignore[no-untyped-def]
    """Red, green, blue and gloss of one level at ``u, v`` in [0, 1]."""
    x = min(max(u * size - np.float32(0.5), np.float32(0.0)), np.float32(size - 1))
    y = min(max(v * size - np.float32(0.5), np.float32(0.0)), np.float32(size - 1))
    x0, y0 = int(x), int(y)
    fx, fy = x - np.float32(x0), y - np.float32(y0)
    x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
    i, j = offset + y0 * size + x0, offset + y0 * size + x1
    k, m = offset + y1 * size + x0, offset + y1 * size + x1
    one = np.float32(1.0)
    a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    return (
        a * texels[i, 0] + b * texels[j, 0] + c * texels[k, 0] + d * texels[m, 0],
        a * texels[i, 1] + b * texels[j, 1] + c * texels[k, 1] + d * texels[m, 1],
        a * texels[i, 2] + b * texels[j, 2] + c * texels[k, 2] + d * texels[m, 2],
        a * texels[i, 3] + b * texels[j, 3] + c * texels[k, 3] + d * texels[m, 3],
    )


@njit(cache=True, nogil=True)
def trilinear(texels, offsets, sizes, u, v, level):  # type: ignore[no-untyped-def]
    """Red, green, blue and gloss at ``u, v`` in [0, 1] and mip level ``level`` (0 finest, between levels blended)."""
    top = len(sizes) - 1
    level = min(max(level, np.float32(0.0)), np.float32(top))
    fine = int(level)
    t = level - np.float32(fine)
    r, g, b, s = _bilinear(texels, offsets[fine], sizes[fine], u, v)
    if t > 0.0:
        coarse = min(fine + 1, top)
        r1, g1, b1, s1 = _bilinear(texels, offsets[coarse], sizes[coarse], u, v)
        r += t * (r1 - r)
        g += t * (g1 - g)
        b += t * (b1 - b)
        s += t * (s1 - s)
    return r, g, b, s
