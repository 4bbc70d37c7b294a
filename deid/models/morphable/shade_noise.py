"""Repeatable value noise on a lattice (Perlin, *An Image Synthesizer*, 1985), for irises and veins."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _lattice(i, j, seed):  # type: ignore[no-untyped-def]
    h = np.uint32(i * 374761393 + j * 668265263 + seed * 974711)
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1274126177))
    return np.float32((h ^ (h >> np.uint32(16))) & np.uint32(0xFFFF)) * np.float32(1.0 / 65535.0)


@njit(cache=True, nogil=True)
def value_noise(x, y, seed, period):  # type: ignore[no-untyped-def]
    """Smooth noise in [0, 1] at ``x, y``; repeats every ``period`` lattice steps in x where that is above 0."""
    fx, fy = np.floor(x), np.floor(y)
    i, j = int(fx), int(fy)
    tx, ty = np.float32(x - fx), np.float32(y - fy)
    tx = tx * tx * (np.float32(3.0) - np.float32(2.0) * tx)
    ty = ty * ty * (np.float32(3.0) - np.float32(2.0) * ty)
    k = i + 1
    if period > 0:
        i, k = i % period, k % period
    top = _lattice(i, j, seed) * (np.float32(1.0) - tx) + _lattice(k, j, seed) * tx
    low = _lattice(i, j + 1, seed) * (np.float32(1.0) - tx) + _lattice(k, j + 1, seed) * tx
    return top * (np.float32(1.0) - ty) + low * ty


@njit(cache=True, nogil=True)
def smoothstep(low, high, x):  # type: ignore[no-untyped-def]
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(max((x - low) / (high - low), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)
