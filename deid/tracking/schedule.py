"""Which frames are searched for faces, and how finely.

A full search of a large frame costs as much as encoding several, so it runs on a schedule: every ``interval`` frames at
full resolution and, where that is long, half-way between at half resolution; always on the first and last frame of a
shot, and early when the picture changes (someone walks in). Everything between is followed by flow, both ways.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SEARCH_PIXELS = 2560 * 1440
"""Frames larger than this are searched at this size."""

_INTERVALS = ((0.4, 3), (0.6, 4), (1.2, 8), (float("inf"), 12))  # up to so many megapixels, so many frames
_GAP_SECONDS = 0.5  # at most this long between full searches, whatever the cost
_SETTLE = 3  # frames between two searches, at least
_CHANGE = 40.0  # mean absolute change (8-bit levels) of the most changed cell that asks for a search


@dataclass(frozen=True, slots=True)
class Schedule:
    """``interval``: frames between full searches. ``full_scale``: search pixels per frame pixel. ``coarse``: whether a
    search at half that scale runs half-way between."""

    interval: int
    full_scale: float
    coarse: bool

    @classmethod
    def plan(cls, width: int, height: int, rate: float | None) -> Schedule:
        pixels = width * height
        scale = min(1.0, (MAX_SEARCH_PIXELS / pixels) ** 0.5)
        megapixels = pixels * scale * scale / 1e6
        interval = next(n for below, n in _INTERVALS if megapixels <= below)
        interval = min(interval, max(2, int((rate or 25.0) * _GAP_SECONDS)))
        return cls(interval, scale, coarse=interval >= 6)


class ChangeMeter:
    """Notices that part of the picture became different since the last search.

    Works on pictures averaged down to a coarse grid, so that it costs nothing and noise cancels.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def mark(self, small: np.ndarray) -> None:
        self._last = _cells(small)

    def changed(self, small: np.ndarray) -> bool:
        if self._last is None:
            return True
        cells = _cells(small)
        if cells.shape != self._last.shape:
            return True
        return float(np.abs(cells - self._last).max()) > _CHANGE


def _cells(small: np.ndarray) -> np.ndarray:
    grey = small.mean(2) if small.ndim == 3 else small.astype(np.float64)
    h, w = grey.shape
    rows, cols = max(1, h // 12), max(1, w // 12)
    grey = grey[: rows * (h // rows), : cols * (w // cols)]
    return grey.reshape(rows, h // rows, cols, w // cols).mean((1, 3))


def may_search(frame: int, last_search: int) -> bool:
    """Whether a search off the schedule is far enough from the last one."""
    return frame - last_search >= _SETTLE
