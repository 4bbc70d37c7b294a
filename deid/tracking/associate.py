"""Which detection belongs to which track: motion and appearance, solved as one assignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deid.tracking import boxes

_REFUSED = 1e6


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
    appearance = 0.35 * max(likeness, 0.0) - 0.01 * min(tint_distance, 20.0)
    return max(1.0 + overlap - 0.5 * min(apart, 1.5) + appearance, 0.01)


def assign(affinities: np.ndarray) -> list[tuple[int, int]]:
    """Best one-to-one pairs (row, column) of an affinity matrix; negative entries never pair."""
    if affinities.size == 0:
        return []
    possible = affinities >= 0
    if (possible.sum(0) <= 1).all() and (possible.sum(1) <= 1).all():  # nearly always
        return [(int(r), int(c)) for r, c in np.argwhere(possible)]
    from scipy.optimize import linear_sum_assignment  # takes a third of a second to load

    cost = np.where(affinities < 0, _REFUSED, -affinities)
    rows, columns = linear_sum_assignment(cost)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if affinities[r, c] >= 0]


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
