"""What a picture shows between the lips, and of the lips: a column of colours, and two means.

Whether somebody who speaks shows the upper teeth, both rows or the tongue is not in a mesh, whose lips part in the same
way for all of them. Colours along the line from lip to lip tell: teeth are bright and less red than skin, lips and
flesh are redder, a cavity is dark.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ROWS = 12
_INNER = np.array([[82, 87], [13, 14], [312, 317]])
"""Points of MediaPipe's mesh where the inner lips meet, in the middle third of the mouth; upper one first."""
_RED = np.array([[37, 82], [0, 13], [267, 312], [84, 87], [17, 14], [314, 317]])
"""Outer and inner rim of the upper lip, then of the lower one."""
_LEAST = 2.0
"""Pixels between the lips for rows to be told apart at all."""


@njit(cache=True, nogil=True)
def between_lips(crop: np.ndarray, mesh: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """uint8 (ROWS, 3): colours from the upper inner lip to the lower one, each the mean over the middle third of the
    mouth; 0 where the lips touch or lie outside. ``crop``: uint8 (h, w, 3). ``mesh``: float32 (478, 3) in its pixels.
    """
    out = np.zeros((ROWS, 3), np.uint8)
    height, width = crop.shape[:2]
    a, b = mesh[13], mesh[14]
    if np.hypot(b[0] - a[0], b[1] - a[1]) < _LEAST:
        return out
    sums = np.zeros((ROWS, 3))
    for p in range(len(_INNER)):
        a, b = mesh[_INNER[p, 0]], mesh[_INNER[p, 1]]
        for row in range(ROWS):
            f = (row + 0.5) / ROWS
            x, y = a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])
            i, k = int(np.floor(x)), int(np.floor(y))
            if i < 0 or k < 0 or i + 1 >= width or k + 1 >= height:
                return out
            u, v = x - i, y - k
            for c in range(3):
                above = (1 - u) * crop[k, i, c] + u * crop[k, i + 1, c]
                below = (1 - u) * crop[k + 1, i, c] + u * crop[k + 1, i + 1, c]
                sums[row, c] += (1 - v) * above + v * below
    for row in range(ROWS):
        for c in range(3):
            out[row, c] = min(255, max(1, int(sums[row, c] / len(_INNER) + 0.5)))
    return out


@njit(cache=True, nogil=True)
def of_lips(crop: np.ndarray, mesh: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """uint8 (2, 3): mean colour of the middle of the red of the upper and of the lower lip; 0 outside the picture."""
    out = np.zeros((2, 3), np.uint8)
    height, width = crop.shape[:2]
    for lip in range(2):
        sums, count = np.zeros(3), 0
        for p in range(3 * lip, 3 * lip + 3):
            a, b = mesh[_RED[p, 0]], mesh[_RED[p, 1]]
            for step in range(5):
                f = 0.3 + 0.1 * step
                i = int(round(a[0] + f * (b[0] - a[0])))
                k = int(round(a[1] + f * (b[1] - a[1])))
                if 0 <= i < width and 0 <= k < height:
                    count += 1
                    for c in range(3):
                        sums[c] += crop[k, i, c]
        if count == 15:
            for c in range(3):
                out[lip, c] = max(1, int(sums[c] / count + 0.5))
    return out
