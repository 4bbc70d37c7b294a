"""What a picture shows of the edges of the upper lids, and of the lids above them: how eyes are framed.

Lashes and what lies between them make a dark line along the lid, more or less so from person to person and with what
is painted there; lids above it are shaded or coloured, too. Both are measured at the outer half of an eye, where no
iris lies beneath the line, and over widths that a few pixels of error and blur do not change.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OUTER = np.array([[33, 246, 161, 160], [263, 466, 388, 387]])
"""Points of MediaPipe's mesh along the upper lid, from the outer corner of the viewer's left and right eye inwards."""
_INNER = np.array([133, 362])
_ABOVE = np.array([[161, 160, 159], [388, 387, 386]])
_BROWS = np.array([105, 334])
_COLUMNS = 9
_FIRST = 0.35  # of the way along the first points: the corner itself is a shadow
_LOW, _HIGH, _STEPS = -0.14, 0.18, 17  # of the eye's width above the line of the mesh: where the lid's edge can lie
_WIDE = 6  # of these steps: what is looked at together
_LID = (0.16, 0.30)  # of the eye's width above the edge: what counts as the lid
_LID_STEPS = 5
LEAST = 12.0
"""Pixels that an eye is wide at least for anything to be told."""


@njit(cache=True, nogil=True)
def of_lids(crop: np.ndarray, mesh: np.ndarray) -> np.ndarray:  # pragma: no cover - compiled
    """uint8 (2, 2, 3): of the viewer's left and right eye, mean colour of the line at the upper lid's edge, and of the
    lid above; 0 for eyes that are too small or lie outside. ``crop``: uint8 (h, w, 3). ``mesh``: float32 (468 or more,
    3) in its pixels."""
    out = np.zeros((2, 2, 3), np.uint8)
    height, width = crop.shape[:2]
    band = np.empty((_STEPS, 3))
    for eye in range(2):
        ax, ay = mesh[_OUTER[eye, 0], 0], mesh[_OUTER[eye, 0], 1]
        bx, by = mesh[_INNER[eye], 0], mesh[_INNER[eye], 1]
        wide = np.hypot(bx - ax, by - ay)
        if wide < LEAST:
            continue
        # across the lid, towards the brow
        ux, uy = (by - ay) / wide, -(bx - ax) / wide
        px, py = mesh[_BROWS[eye], 0] - 0.5 * (ax + bx), mesh[_BROWS[eye], 1] - 0.5 * (ay + by)
        if ux * px + uy * py < 0:
            ux, uy = -ux, -uy
        line, lid = np.zeros(3), np.zeros(3)
        seen, inside = 0, True
        for column in range(_COLUMNS):
            at = _FIRST + (2.9 - _FIRST) * column / (_COLUMNS - 1)
            k = min(int(at), 2)
            f = at - k
            i, j = _OUTER[eye, k], _OUTER[eye, k + 1]
            cx, cy = mesh[i, 0] + f * (mesh[j, 0] - mesh[i, 0]), mesh[i, 1] + f * (mesh[j, 1] - mesh[i, 1])
            for s in range(_STEPS):
                away = wide * (_LOW + (_HIGH - _LOW) * s / (_STEPS - 1))
                inside = inside and _pixel(crop, cx + away * ux, cy + away * uy, width, height, band[s])
            if not inside:
                break
            best, first = 1e9, 0
            for s in range(_STEPS - _WIDE + 1):
                total = band[s : s + _WIDE].sum()
                if total < best:
                    best, first = total, s
            for c in range(3):
                line[c] += band[first : first + _WIDE, c].mean()
            seen += 1
        count = 0
        for p in range(_ABOVE.shape[1]):
            cx, cy = mesh[_ABOVE[eye, p], 0], mesh[_ABOVE[eye, p], 1]
            for s in range(_LID_STEPS):
                away = wide * (_LID[0] + (_LID[1] - _LID[0]) * s / (_LID_STEPS - 1))
                inside = inside and _pixel(crop, cx + away * ux, cy + away * uy, width, height, band[0])
                lid += band[0]
                count += 1
        if not inside:
            continue
        for c in range(3):
            out[eye, 0, c] = max(1, int(line[c] / seen + 0.5))
            out[eye, 1, c] = max(1, int(lid[c] / count + 0.5))
    return out


@njit(cache=True, nogil=True)
def _pixel(crop, x, y, width, height, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Colour at ``x, y``, between pixels, into ``out``; false outside the picture."""
    i, k = int(np.floor(x)), int(np.floor(y))
    if i < 0 or k < 0 or i + 1 >= width or k + 1 >= height:
        return False
    u, v = x - i, y - k
    for c in range(3):
        above = (1 - u) * crop[k, i, c] + u * crop[k, i + 1, c]
        below = (1 - u) * crop[k + 1, i, c] + u * crop[k + 1, i + 1, c]
        out[c] = (1 - v) * above + v * below
    return True
