"""Whether a face wears glasses: thin lines that run outwards from the eyes to the face's outline."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import directions

_LEVELS = np.linspace(0.72, 0.97, 8, dtype=np.float32)  # fractions of the outline's reach
_THICK = 0.03  # face widths to each side of a line where it has ended
_WANDER = (-3, -2, -1, 0, 1, 2, 3)  # directions that a line may turn by from level to level
_MOST = 0.15  # code values: a line's contrast counts no more at one level
_SEEN = (0.03, 0.05)  # mean contrast from which on glasses are thought of, and certain


def glasses_seen(picture: np.ndarray, centre: np.ndarray, rim: np.ndarray, arms: np.ndarray, width: float) -> float:
    """How sure it is, 0 to 1, that the arms or rims of glasses reach the face's outline.

    ``picture``: float32 (h, w, 3), code values. ``rim``: float32 (BINS,), the outline's reach from ``centre``.
    ``arms``: float32 (BINS,), above 0 where arms may be. ``width``: of the face, pixels. The strongest line is found by
    dynamic programming from the eyes outwards, for light lines and dark ones.
    """
    rows = arms > 0.9
    if not rows.any():
        return 0.0
    unit = directions()[rows]
    strongest = _strongest(
        picture, np.float32(centre[0]), np.float32(centre[1]), unit, rim[rows], _LEVELS, np.float32(_THICK * width),
        max(abs(turn) for turn in _WANDER), _MOST,
    )  # fmt: skip
    return float(np.clip((strongest - _SEEN[0]) / (_SEEN[1] - _SEEN[0]), 0, 1))


@njit(cache=True, nogil=True, error_model="numpy")
def _strongest(picture, cx, cy, unit, rim, levels, thick, wander, most):  # type: ignore[no-untyped-def]
    """Mean contrast of the strongest line, light or dark, over ``levels`` of the ``rim``: float."""
    n, h, w = len(rim), picture.shape[0], picture.shape[1]
    sums, last = np.zeros((2, n)), np.zeros((2, n))
    for level in range(len(levels)):
        for i in range(n):
            x, y = cx + unit[i, 0] * rim[i] * levels[level], cy + unit[i, 1] * rim[i] * levels[level]
            ax, ay = -unit[i, 1] * thick, unit[i, 0] * thick
            middle = _green(picture, x, y, h, w)
            before, after = _green(picture, x - ax, y - ay, h, w), _green(picture, x + ax, y + ay, h, w)
            light, dark = min(middle - before, middle - after), min(before - middle, after - middle)
            for side in range(2):
                best = 0.0
                if level:
                    for turn in range(-wander, wander + 1):
                        best = max(best, last[side, (i + turn) % n])
                sums[side, i] = best + min(max(light if side == 0 else dark, 0.0), most)
        last[:] = sums
    return last.max() / len(levels)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _green(picture, x, y, h, w):  # type: ignore[no-untyped-def]
    """Green, which is most of luma, at the nearest pixel, held inside."""
    return picture[min(max(int(round(y)), 0), h - 1), min(max(int(round(x)), 0), w - 1), 1]
