"""Compiled inner loops of the compositor: directions around a face, its reach in each, and the pixels.

Directions are counted by the diamond angle, which grows steadily around the circle as the true angle does and costs one
division: 0 to the right, then clockwise on screen, :data:`BINS` steps in all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

BINS = 256
_QUARTER = BINS // 4
_ZERO, _ONE = np.float32(0), np.float32(1)
_WHOLE = np.float32(0.999)  # of cover: no hole
STILL = np.float32(0.03)  # pixels: surroundings that would move by less stay
ANCHOR, EDGE, END, INNER, OUTER, RIM, CORE, STRETCH, HASTE, SKIN, HAIR = (*range(10), 12)
"""Columns of the tables that :func:`blend` reads; ``SKIN`` and ``HAIR`` are the first of three."""


@lru_cache(maxsize=1)
def directions() -> np.ndarray:
    """float32 (BINS, 2): the unit vector of every step."""
    step = np.arange(BINS) / _QUARTER
    x = np.abs(np.mod(step, 4) - 2) - 1
    y = 1 - np.abs(np.mod(step - 1, 4) - 2)
    y = np.where(step <= 2, 1 - np.abs(step - 1), np.abs(step - 3) - 1)
    unit = np.stack([x, y], axis=1)
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    unit.setflags(write=False)
    return unit


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _step(x, y):  # type: ignore[no-untyped-def]
    """The diamond angle of (x, y) in steps, 0 <= step < BINS."""
    total = abs(x) + abs(y)
    if total < np.float32(1e-9):
        return np.float32(0)
    along = y / total
    if x >= 0:
        turn = along if y >= 0 else np.float32(4) + along
    else:
        turn = np.float32(2) - along
    turn *= np.float32(64)
    return turn if turn < np.float32(256) else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def reach(segments, unit):  # type: ignore[no-untyped-def]
    """How far line segments reach from the origin: float32 (BINS,), 0 where none lies in that direction.

    ``segments``: float32 (s, 2, 2). ``unit``: float32 (BINS, 2).
    """
    bins = unit.shape[0]
    far = np.zeros(bins, np.float32)
    for s in range(segments.shape[0]):
        ax, ay = segments[s, 0, 0], segments[s, 0, 1]
        ex, ey = segments[s, 1, 0] - ax, segments[s, 1, 1] - ay
        first, last = _step(ax, ay), _step(ax + ex, ay + ey)
        span = last - first
        if span > bins / 2:
            span -= bins
        elif span < -bins / 2:
            span += bins
        if span < 0:
            first, span = last, -span
        for k in range(int(np.ceil(first - 1e-3)), int(np.floor(first + span + 1e-3)) + 1):
            i = k % bins
            across = unit[i, 0] * ey - unit[i, 1] * ex
            if abs(across) < 1e-9:
                continue
            distance = (ax * ey - ay * ex) / across
            if distance > far[i]:
                far[i] = distance
    return far


def closed(tables: np.ndarray) -> np.ndarray:
    """Tables over all steps, (n, BINS), as the kernels read them: float32 (BINS + 1, n), the first row again at the
    end."""
    return np.ascontiguousarray(np.concatenate([tables, tables[:, :1]], axis=1).T, dtype=np.float32)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _at(tables, row, part, column):  # type: ignore[no-untyped-def]
    """A table, read between ``row`` and the next."""
    low = tables[row, column]
    return low + part * (tables[row + 1, column] - low)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _grid_at(grid, step, level):  # type: ignore[no-untyped-def]
    """A (BINS / 2 + 1, levels) grid, read between its nodes; ``level`` is held inside."""
    half = step * np.float32(0.5)
    i = int(half)
    u = half - i
    level = min(max(level, np.float32(0)), np.float32(grid.shape[1] - 1.001))
    j = int(level)
    v = level - j
    near = grid[i, j] + v * (grid[i, j + 1] - grid[i, j])
    far = grid[i + 1, j] + v * (grid[i + 1, j + 1] - grid[i + 1, j])
    return near + u * (far - near)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _bilinear(picture, x, y):  # type: ignore[no-untyped-def]
    """Colour of ``picture`` (h, w, 3) at x, y, held inside: three numbers."""
    x = min(max(x, np.float32(0)), np.float32(picture.shape[1] - 1.001))
    y = min(max(y, np.float32(0)), np.float32(picture.shape[0] - 1.001))
    i, j = np.uintp(np.int32(y)), np.uintp(np.int32(x))
    below, right = i + np.uintp(1), j + np.uintp(1)
    v, u = y - np.float32(i), x - np.float32(j)
    d = u * v
    c, b = v - d, u - d
    a = np.float32(1) - u - c
    red, green, blue = np.uintp(0), np.uintp(1), np.uintp(2)
    return (
        a * picture[i, j, red]
        + b * picture[i, right, red]
        + c * picture[below, j, red]
        + d * picture[below, right, red],
        a * picture[i, j, green]
        + b * picture[i, right, green]
        + c * picture[below, j, green]
        + d * picture[below, right, green],
        a * picture[i, j, blue]
        + b * picture[i, right, blue]
        + c * picture[below, j, blue]
        + d * picture[below, right, blue],
    )


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _held(place, size):  # type: ignore[no-untyped-def]
    """The sample nearest to ``place``, held inside."""
    return min(max(int(place + np.float32(0.5)), 0), size - 1)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _smooth(x):  # type: ignore[no-untyped-def]
    """0 below 0, 1 above 1, smooth in between."""
    x = min(max(x, _ZERO), _ONE)
    return x * x * (np.float32(3) - np.float32(2) * x)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _bend(s):  # type: ignore[no-untyped-def]
    """How much of the shift is left at ``s`` of the way out: 1 to 0, flat at both ends, steepest -1.5."""
    left = max(_ONE - s, _ZERO)
    return left * left * (np.float32(3) - np.float32(2) * left)
