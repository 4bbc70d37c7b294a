"""Compiled loops on a polar grid around a face: every second direction of :mod:`deid.blending._kernels`, and levels of
distance."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import _bilinear


@njit(cache=True, nogil=True, error_model="numpy")
def polar_colours(picture, cx, cy, unit, reach_of, first, pitch, levels):  # type: ignore[no-untyped-def]
    """Colours on a polar grid: float32 (BINS / 2, levels, 3); nodes lie at ``first + pitch * level`` of the reach."""
    out = np.empty((unit.shape[0] // 2, levels, 3), np.float32)
    for i in range(out.shape[0]):
        for j in range(levels):
            r = reach_of[2 * i] * (first + pitch * j)
            x, y = cx + unit[2 * i, 0] * r, cy + unit[2 * i, 1] * r
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = _bilinear(picture, x, y)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def seen_reach(alpha, head, share, cx, cy, unit, reach_of, first, pitch, levels):  # type: ignore[no-untyped-def]
    """How far a rendered head reaches without a gap, in units of ``reach_of``, from ``first`` in steps of ``pitch``:
    float32 (BINS / 2,). ``alpha``, ``head``: float32 (h, w), its cover; the second counts by
    ``share``."""
    h, w = alpha.shape
    out = np.empty(unit.shape[0] // 2, np.float32)
    for i in range(out.shape[0]):
        last = np.float32(1)
        found = levels
        for j in range(levels):
            r = reach_of[2 * i] * (first + pitch * j)
            x, y = cx + unit[2 * i, 0] * r, cy + unit[2 * i, 1] * r
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            there = np.float32(0)
            if 0 <= column < w and 0 <= row < h:
                there = alpha[row, column] + share * head[row, column]
            if there < np.float32(0.5):
                found = j + (last - np.float32(0.5)) / max(last - there, np.float32(1e-3)) - 1
                break
            last = there
        out[i] = first + pitch * max(found, 0)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def follow(like, gate, certain):  # type: ignore[no-untyped-def]
    """Hair followed inwards on the polar grid: into ``gate``, float32 (BINS / 2, levels), how sure hair is joined to
    that at level ``certain``, given how much each node is ``like`` hair."""
    rows, levels = like.shape
    for i in range(rows):
        for j in range(certain, levels):
            gate[i, j] = 1
    for j in range(certain - 1, -1, -1):
        for i in range(rows):
            before, after = i - 1 if i else rows - 1, i + 1 if i + 1 < rows else 0
            joined = max(gate[i, j + 1], gate[before, j + 1], gate[after, j + 1])
            gate[i, j] = min(joined, like[i, j])
