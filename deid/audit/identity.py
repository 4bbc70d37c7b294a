"""Who is who, by a recogniser's codes: match rates at a threshold, within people and between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs compared, the share nearer than the threshold, and the distances' 5th, 50th and 95th percentiles."""

    pairs: int
    rate: float
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, distances: np.ndarray, threshold: float) -> Matches:
        """``distances``: (n,); with none, every number is NaN."""
        if not len(distances):
            return cls(0, *([float("nan")] * 4))
        low, median, high = np.percentile(distances, [5, 50, 95])
        return cls(len(distances), float(np.mean(distances < threshold)), float(low), float(median), float(high))


def paired(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of corresponding codes, ``a`` and ``b`` (n, d): (n,)."""
    return np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1)


def across(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of every code of ``a`` (n, d) to every one of ``b`` (m, d), float64 (n, m)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    out = np.empty((len(a), len(b)))
    for start in range(0, len(a), _BLOCK):
        out[start : start + _BLOCK] = np.linalg.norm(a[start : start + _BLOCK, None] - b[None], axis=-1)
    return out


def within(codes: np.ndarray) -> np.ndarray:
    """Distances of all pairs of ``codes`` (n, d): (n (n - 1) / 2,)."""
    return across(codes, codes)[np.triu_indices(len(codes), 1)]


def people(tracks: Sequence[np.ndarray], together: Sequence[Sequence[int]], threshold: float) -> list[int]:
    """Which tracks show one person: a number for each track.

    ``tracks``: recognition codes (n, d) of each track's source faces, n may be 0. ``together``: sets of tracks seen in
    one frame, which are different people. Tracks are joined, nearest first, while the distance between their mean codes
    stays under ``threshold`` and no two of a group were seen together. Means, since single pictures of one person in
    two shots lie about as far apart as some of two people do.
    """
    groups: list[set[int]] = [{k} for k in range(len(tracks))]
    apart = {(a, b) for group in together for a in group for b in group if a != b}
    nearness = sorted(
        (float(np.linalg.norm(tracks[a].mean(0, dtype=np.float64) - tracks[b].mean(0, dtype=np.float64))), a, b)
        for a in range(len(tracks))
        for b in range(a + 1, len(tracks))
        if len(tracks[a]) and len(tracks[b])
    )
    for distance, a, b in nearness:
        one = next(g for g in groups if a in g)
        other = next(g for g in groups if b in g)
        clash = any((x, y) in apart for x in one for y in other)
        if distance < threshold and one is not other and not clash:
            one |= other
            groups.remove(other)
    return [next(k for k, g in enumerate(groups) if track in g) for track in range(len(tracks))]
