"""What lies before a face, followed over time, in the face's own place: so that it neither flickers nor trails.

Each look tells by itself where something is (:mod:`deid.detection.things`). A look that stands alone is doubted, one
that misses what was there just before and after is made up for: beliefs are averaged over a few frames, and over a
longer time with less say; both look ahead as far as back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from deid.detection.things import GRID, grid_from_picture, unpacked

from .photo_samples import COUNT, TRIPLES
from .photo_smooth import gaussian

_SHORT, _LONG = 0.045, 0.2  # seconds
_SAY = 0.6  # of the short time
_BLOCK = 200  # rows that are worked on at a time
_BEHIND = 0.35  # belief from which on a sample of skin is not trusted


def followed(looks: Mapping[int, bytes], frames: np.ndarray, times: np.ndarray) -> dict[int, np.ndarray]:
    """By row, uint8 (GRID, GRID): what is believed to lie before the face; rows without anything are left out.

    ``looks``: by frame, of :func:`deid.detection.things.packed`. ``frames``: int (n,), of the rows; ``times``: (n,)
    seconds.
    """
    known = np.array([row for row, frame in enumerate(frames.tolist()) if frame in looks], int)
    if not len(known) or not any(looks[int(frames[row])] for row in known):
        return {}
    out: dict[int, np.ndarray] = {}
    for rows, inner in _stretches(known, [bool(looks[int(frames[row])]) for row in known], times):
        own = known[np.searchsorted(known, rows[0], "right") - 1 : np.searchsorted(known, rows[-1]) + 1]
        seen = np.stack([unpacked(looks[int(frames[row])]) for row in own]).reshape(len(own), -1).astype(np.float32)
        at = np.interp(times[rows], times[own], np.arange(len(own)))
        low = np.floor(at).astype(int)
        high, part = np.minimum(low + 1, len(own) - 1), (at - low)[:, None].astype(np.float32)
        every = seen[low] * (1 - part) + seen[high] * part
        short, long = (gaussian(every, times[rows], sigma) for sigma in (_SHORT, _LONG))
        belief = (_SAY * short + (1 - _SAY) * long).reshape(-1, GRID, GRID)
        for row, value in zip(rows.tolist(), belief, strict=True):
            if row in inner and value.max() >= 0.4 * 255:
                out[row] = np.asarray(np.rint(np.clip(value, 0, 255)), np.uint8)
    return out


def _stretches(known: np.ndarray, some: list[bool], times: np.ndarray) -> Iterator[tuple[np.ndarray, range]]:
    """Rows around looks that saw something, a block at a time: with room for smoothing, and those that are meant."""
    near = np.zeros(len(times), bool)
    for mark in times[known[np.array(some)]]:
        near[np.searchsorted(times, mark - 3 * _LONG) : np.searchsorted(times, mark + 3 * _LONG, "right")] = True
    near[: known[0]] = near[known[-1] + 1 :] = False
    edges = np.flatnonzero(np.diff(np.r_[False, near, False].astype(np.int8)))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for start in range(first, last, _BLOCK):
            end = min(start + _BLOCK, last)
            low = max(first, int(np.searchsorted(times, times[start] - 3 * _LONG)))
            high = min(last, int(np.searchsorted(times, times[end - 1] + 3 * _LONG, "right")))
            yield np.arange(low, high), range(start, end)


def believed(places: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """float64 (468,): what ``belief``, uint8 (GRID, GRID), says at the mesh points ``places`` (468, 2 or more), from 0
    to 1; 0 beyond the grid."""
    there = grid_from_picture(places)
    x, y = np.rint(places[:, :2] @ there[:, :2].T + there[:, 2]).astype(int).T
    inside = (x >= 0) & (x < GRID) & (y >= 0) & (y < GRID)
    return np.where(inside, belief[np.clip(y, 0, GRID - 1), np.clip(x, 0, GRID - 1)] / 255.0, 0.0)


def behind_things(points: np.ndarray, things: Mapping[int, np.ndarray], first: int = 0) -> np.ndarray:
    """bool (n, N): samples of skin that lie under things. ``points``: float32 (n, 478, 3); ``things``: by row, the
    first of these being ``first``, as :func:`followed` makes them."""
    out = np.zeros((len(points), COUNT), bool)
    for row in range(len(points)):
        belief = things.get(first + row)
        if belief is None:
            continue
        there = grid_from_picture(points[row])
        places = points[row][TRIPLES, :2].mean(axis=1) @ there[:, :2].T + there[:, 2]
        x, y = np.clip(np.rint(places).astype(int), 0, GRID - 1).T
        out[row] = belief[y, x] > _BEHIND * 255
    return out
