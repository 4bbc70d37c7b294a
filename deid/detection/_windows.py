"""Where to look again: windows of a picture around doubtful findings, on the network's own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

GRID = 32
"""Cut along multiples of this, a window shows the network the same samples at the same phase as the whole picture."""
SIDES = (192, 384, 768)
_AROUND = 48.0  # pixels and
_HEADS = 1.0  # sizes of the finding to see around it: beyond, the network's answer hardly depends on what is there
LARGEST = (SIDES[-1] - 2 * _AROUND) / (1 + 2 * _HEADS)
"""The size of the largest finding that a window can show."""
_MOST = 0.5  # share of the picture from which one search of the whole is cheaper


@dataclass(frozen=True, slots=True)
class Window:
    """``x``, ``y``: upper left corner; ``width``, ``height``; ``findings``: numbers of those it shows."""

    x: int
    y: int
    width: int
    height: int
    findings: tuple[int, ...]


def plan_windows(boxes: np.ndarray, width: int, height: int) -> list[Window] | None:
    """Windows that show all ``boxes``, (n, 4) corners in pixels of a picture whose sides are multiples of ``GRID``;
    ``None`` when the whole picture had better be searched."""
    windows: list[Window] = []
    left = list(range(len(boxes)))
    while left:
        size = float(max(boxes[left[0], 2] - boxes[left[0], 0], boxes[left[0], 3] - boxes[left[0], 1]))
        wanted = size + 2 * (_AROUND + _HEADS * size)
        side = next((s for s in SIDES if s >= wanted), 0)
        if not side:
            return None
        x, wide = _span(float(boxes[left[0], [0, 2]].mean()), side, width)
        y, high = _span(float(boxes[left[0], [1, 3]].mean()), side, height)
        seen = tuple(n for n in left if n == left[0] or _shows(boxes[n], x, y, wide, high, width, height))
        left = [n for n in left if n not in seen]
        windows.append(Window(x, y, wide, high, seen))
        if sum(w.width * w.height for w in windows) > _MOST * width * height:
            return None
    return windows


def _span(centre: float, side: int, whole: int) -> tuple[int, int]:
    """Begin and length along one axis."""
    length = min(side, whole)
    begin = math.floor((centre - length / 2) / GRID + 0.5) * GRID
    return min(max(0, begin), whole - length), length


def _shows(box: np.ndarray, x: int, y: int, wide: int, high: int, width: int, height: int) -> bool:
    """Whether the window shows enough around the box, or as much as the picture has."""
    around = _AROUND + _HEADS * float(max(box[2] - box[0], box[3] - box[1]))
    return bool(
        (x <= max(0, box[0] - around))
        and (y <= max(0, box[1] - around))
        and (x + wide >= min(width, box[2] + around))
        and (y + high >= min(height, box[3] + around))
    )
