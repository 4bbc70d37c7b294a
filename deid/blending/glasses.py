"""Whether a face wears glasses: thin lines that run outwards from the eyes to the face's outline."""

from __future__ import annotations

import numpy as np

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
    grey = picture[..., 1]  # green: most of luma, and no copy
    across = np.stack([-unit[:, 1], unit[:, 0]], axis=1)[:, None] * np.float32(_THICK * width)
    places = centre + unit[:, None] * (rim[rows, None] * _LEVELS)[..., None]
    middle, before, after = (_nearest(grey, p) for p in (places, places - across, places + across))
    light, dark = np.minimum(middle - before, middle - after), np.minimum(before - middle, after - middle)
    strongest = 0.0
    for line in (light, dark):
        line = np.clip(line, 0, _MOST)
        total = line[:, 0]
        for level in range(1, len(_LEVELS)):
            total = np.max([np.roll(total, k) for k in _WANDER], axis=0) + line[:, level]
        strongest = max(strongest, float(total.max()) / len(_LEVELS))
    return float(np.clip((strongest - _SEEN[0]) / (_SEEN[1] - _SEEN[0]), 0, 1))


def _nearest(grey: np.ndarray, places: np.ndarray) -> np.ndarray:
    """float32 (n, levels): ``grey`` at ``places``, (n, levels, 2), held inside."""
    at = np.round(places).astype(np.intp)
    return np.asarray(grey[at[..., 1].clip(0, grey.shape[0] - 1), at[..., 0].clip(0, grey.shape[1] - 1)])
