"""A membrane through scattered, weighted values on a small grid."""

from __future__ import annotations

import numpy as np
from numba import njit

_ROUNDS = 24
_PULL = 0.004
"""Stiffness with which the membrane is drawn to 0, beside 1 between neighbouring cells: values fade over about
1 / sqrt(0.004) = 16 cells."""
_HOLD = 4.0  # stiffness of a value of full weight


def membrane(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float32 (h, w, c): the surface of least bending energy near ``values`` (h, w, c) where ``weights`` (h, w) say so.

    Successive over-relaxation from coarse to fine: the answer at half the size is the first guess.
    """
    height, width = weights.shape
    if min(height, width) >= 8:
        half = (height + 1) // 2, (width + 1) // 2
        small_weights = np.zeros(half, np.float32)
        small_values = np.zeros((*half, values.shape[2]), np.float32)
        for dy in (0, 1):
            for dx in (0, 1):
                w = weights[dy::2, dx::2]
                small_weights[: w.shape[0], : w.shape[1]] += 0.25 * w
                small_values[: w.shape[0], : w.shape[1]] += 0.25 * w[..., None] * values[dy::2, dx::2]
        small_values /= np.maximum(small_weights, 1e-6)[..., None]
        guess = membrane(small_values, small_weights).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    else:
        guess = np.zeros(values.shape, np.float32)
    return _relax(values, weights, np.ascontiguousarray(guess), _ROUNDS, np.float32(_PULL), np.float32(_HOLD))


@njit(cache=True, nogil=True)
def _relax(
    values: np.ndarray, weights: np.ndarray, field: np.ndarray, rounds: int, pull: np.floating, hold: np.floating
) -> np.ndarray:  # pragma: no cover - compiled
    height, width, channels = values.shape
    over = np.float32(1.6)
    for _ in range(rounds):
        for y in range(height):
            for x in range(width):
                stiff = pull + hold * weights[y, x]
                links = np.float32(0)
                if y > 0:
                    links += np.float32(1)
                if y < height - 1:
                    links += np.float32(1)
                if x > 0:
                    links += np.float32(1)
                if x < width - 1:
                    links += np.float32(1)
                for c in range(channels):
                    total = hold * weights[y, x] * values[y, x, c]
                    if y > 0:
                        total += field[y - 1, x, c]
                    if y < height - 1:
                        total += field[y + 1, x, c]
                    if x > 0:
                        total += field[y, x - 1, c]
                    if x < width - 1:
                        total += field[y, x + 1, c]
                    field[y, x, c] += over * (total / (links + stiff) - field[y, x, c])
    return field
