"""Which detection belongs to which track: motion and appearance, solved as one assignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deid.tracking import boxes

_REFUSED = 1e6
_UNLIKE, _AWAY = 0.4, 0.45
"""Correlation of templates, and overlap, below which together a box is another face's: the same face moves a little or
looks the same, and among people who pass before each other the nearest box is not always one's own."""


def affinity(
    predicted: np.ndarray,
    measured: np.ndarray,
    frames_unseen: int,
    likeness: float,
    tint_distance: float,
) -> float:
    """How well a measured box fits a predicted one: higher is better, negative is impossible.

    ``likeness``: correlation of the two face templates, in [-1, 1]. ``tint_distance``: distance of the mean chroma in
    8-bit levels. The room for motion grows with the frames since the face was last followed.
    """
    overlap = float(boxes.iou(predicted, measured)[0, 0])
    apart = boxes.distance(predicted, measured)
    reach = 0.55 + 0.06 * min(frames_unseen, 15)
    if (overlap < 0.1 and apart > reach) or boxes.size_ratio(predicted, measured) > 2.2:
        return -1.0
    if is_another(overlap, likeness):
        return -1.0
    appearance = 0.35 * max(likeness, 0.0) - 0.01 * min(tint_distance, 20.0)
    return max(1.0 + overlap - 0.5 * min(apart, 1.5) + appearance, 0.01)


def is_another(overlap: float, likeness: float) -> bool:
    """Whether what was found is too far from where the face should be to look so little like it."""
    return likeness < _UNLIKE and overlap < _AWAY


def assign(affinities: np.ndarray) -> list[tuple[int, int]]:
    """Best one-to-one pairs (row, column) of an affinity matrix; negative entries never pair."""
    if affinities.size == 0:
        return []
    possible = affinities >= 0
    if (possible.sum(0) <= 1).all() and (possible.sum(1) <= 1).all():  # nearly always
        return [(int(r), int(c)) for r, c in np.argwhere(possible)]
    cost = np.where(possible, -affinities.astype(np.float64), _REFUSED)
    if cost.shape[0] > cost.shape[1]:
        pairs = sorted((r, c) for c, r in enumerate(_cheapest(cost.T)))
    else:
        pairs = list(enumerate(_cheapest(cost)))
    return [(r, c) for r, c in pairs if possible[r, c]]


def _cheapest(cost: np.ndarray) -> list[int]:
    """For each row of ``cost``, float64 (n, m) with n <= m, a column of its own, so that the sum is the least there is.

    Shortest augmenting paths with potentials: Jonker and Volgenant, *A shortest augmenting path algorithm for dense and
    sparse linear assignment problems*, Computing 38, 1987. SciPy's, which is as good, takes half a second to load.
    """
    count, width = cost.shape
    row_of = np.full(width + 1, -1)  # the last column is where each path begins
    u, v = np.zeros(count), np.zeros(width + 1)
    for row in range(count):
        column, row_of[width] = width, row
        least, came_from = np.full(width, np.inf), np.full(width, width)
        seen = np.zeros(width + 1, bool)
        while row_of[column] >= 0:
            seen[column] = True
            here = row_of[column]
            reduced = cost[here] - u[here] - v[:-1]
            nearer = ~seen[:-1] & (reduced < least)
            least[nearer], came_from[nearer] = reduced[nearer], column
            column = int(np.argmin(np.where(seen[:-1], np.inf, least)))
            step = least[column]
            u[row_of[seen]] += step
            v[seen] -= step
            least[~seen[:-1]] -= step
        while column != width:
            before = int(came_from[column])
            row_of[column], column = row_of[before], before
    column_of = {int(row): column for column, row in enumerate(row_of[:-1]) if row >= 0}
    return [column_of[row] for row in range(count)]


def mean_chroma(planes: Sequence[np.ndarray], shift: tuple[int, int], depth: int, box: np.ndarray) -> np.ndarray:
    """Mean Cb, Cr of the inner half of a face box, in 8-bit levels, float64 (2,); 128, 128 where there is no chroma."""
    if len(planes) < 3:
        return np.full(2, 128.0)
    x0, y0 = (box[:2] - box[2:4] / 4).astype(int)
    x1, y1 = (box[:2] + box[2:4] / 4).astype(int) + 1
    out = []
    for plane in planes[1:3]:
        h, w = plane.shape
        part = plane[
            max(0, y0 >> shift[1]) : min(h, (y1 >> shift[1]) + 1), max(0, x0 >> shift[0]) : min(w, (x1 >> shift[0]) + 1)
        ]
        out.append(float(part.mean()) / (1 << (depth - 8)) if part.size else 128.0)
    return np.array(out)
