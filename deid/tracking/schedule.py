"""Which frames are searched for faces, and how finely.

A full search of a large frame costs as much as encoding several, so it runs on a schedule: every ``interval`` frames
at full resolution and, where that is long, every ``step`` frames at half resolution; always on the first and last frame
of a shot, and early when the picture changes (someone walks in). Everything between is followed by flow, both ways.
That is ``balanced``; ``fast`` looks half as often and at less, ``thorough`` at everything, and twice
(:mod:`deid.tracking.deep`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SEARCH_PIXELS = 2560 * 1440
"""Frames larger than this are searched at this size."""

_INTERVALS = ((0.4, 3, 3), (0.6, 4, 4), (1.2, 12, 4), (float("inf"), 18, 6))
"""Up to so many megapixels: frames between full searches, frames between searches of either kind."""
_GAP_SECONDS, _STEP_SECONDS = 0.75, 0.25  # at most this long, whatever the cost; faces above 48 pixels need the second
_FAST_SEARCH_PIXELS, _FAST_SCARCER = 1280 * 720, 2
_HELD_PIXELS = 1e8
_SETTLE = 3  # frames between two searches, at least
_CHANGE = 40.0  # mean absolute change (8-bit levels) of the most changed cell that asks for a search


@dataclass(frozen=True, slots=True)
class Schedule:
    """``interval``: frames between full searches. ``step``: frames between any two; those in between run at half the
    scale. ``full_scale``: search pixels per frame pixel. ``deep``: full searches look for smaller faces too, and ask a
    second detector about doubtful ones."""

    interval: int
    step: int
    full_scale: float
    deep: bool = False

    @classmethod
    def plan(cls, width: int, height: int, rate: float | None, effort: str = "balanced") -> Schedule:
        """``effort``: a key of :data:`deid.config.DETECTS`."""
        pixels = width * height
        scale = min(1.0, (MAX_SEARCH_PIXELS / pixels) ** 0.5)
        if effort == "thorough":
            return cls(1, 1, scale, deep=True)
        megapixels = pixels * scale * scale / 1e6
        interval, step = next((i, s) for below, i, s in _INTERVALS if megapixels <= below)
        rate = rate or 25.0
        scarcer = 1
        if effort == "fast":
            scale, scarcer = min(1.0, (_FAST_SEARCH_PIXELS / pixels) ** 0.5), _FAST_SCARCER
        step = min(scarcer * step, max(2, int(rate * scarcer * _STEP_SECONDS)))
        # all frames from one search to the next are held, of several such stretches at once
        step = min(step, max(2, int(_HELD_PIXELS // pixels)))
        return cls(max(step, min(scarcer * interval, int(rate * scarcer * _GAP_SECONDS))), step, scale)


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


def may_search(since: int) -> bool:
    """Whether a search off the schedule is far enough from the last one, ``since`` frames ago."""
    return since >= _SETTLE
