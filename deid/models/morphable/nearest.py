"""Distances between a few points and many, without a search tree: the library that has one takes longer to load."""

from __future__ import annotations

import numpy as np


def nearest_distance(points: np.ndarray, to: np.ndarray) -> np.ndarray:
    """float64 (n,): how far each of ``points`` (n, 3) lies from the nearest of ``to`` (m, 3), m > 0 and small."""
    x, y, z = np.ascontiguousarray(np.asarray(points, np.float64).T)
    best = np.full(len(x), np.inf)
    for a, b, c in np.asarray(to, np.float64):
        np.minimum(best, (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2, out=best)
    return np.asarray(np.sqrt(best))
