"""Tables over all directions from a face's centre: rounded, smoothed, made finer."""

from __future__ import annotations

import numpy as np

from ._hair import around
from ._kernels import BINS


def rounded(reach: np.ndarray) -> np.ndarray:
    """An outline of straight lines, rounded outwards."""
    return np.maximum(smoothed(reach, 1.5), reach).astype(np.float32)


def smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """``values``, (n,) or (n, columns), of all directions, smoothed over ``sigma`` of them."""
    return np.asarray(around(values.reshape(len(values), -1), sigma).reshape(values.shape))


def doubled(values: np.ndarray) -> np.ndarray:
    """float32 (BINS, ...): what is known for every second direction, for all."""
    out = np.empty((BINS, *values.shape[1:]), np.float32)
    out[::2], out[1::2] = values, 0.5 * (values + np.roll(values, -1, axis=0))
    return out


def border(centre: np.ndarray, unit: np.ndarray, h: int, w: int) -> np.ndarray:
    """float32 (BINS,): distance from the centre to the crop's border in each direction."""
    x = np.where(unit[:, 0] > 0, w - 1 - centre[0], centre[0]) / np.maximum(np.abs(unit[:, 0]), 1e-6)
    y = np.where(unit[:, 1] > 0, h - 1 - centre[1], centre[1]) / np.maximum(np.abs(unit[:, 1]), 1e-6)
    return np.minimum(x, y)


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
