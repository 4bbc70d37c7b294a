"""Smoothing over time, in both directions, that stops at gaps and at real changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_GAP = 0.4
"""Seconds without a frame after which nothing is carried over."""
_FEW = 600  # frames for which all pairs' weights are held at once


def segments(times: np.ndarray) -> np.ndarray:
    """int64 (n,): number of the unbroken stretch that each of the increasing ``times`` (n,), seconds, belongs to."""
    return np.concatenate([[0], np.cumsum(np.diff(times) > _GAP)]) if len(times) else np.zeros(0, np.int64)


def neighbours(times: np.ndarray, sigma: float) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Pairs of frames within two and a half ``sigma`` seconds of each other, by their distance in frames: slices of the
    earlier and of the later ones, and Gaussian weights, 0 across gaps. The first pair is every frame with itself."""
    count = len(times)
    part = segments(times)
    yield slice(0, count), slice(0, count), np.ones(count)
    for step in range(1, count):
        apart = times[step:] - times[:-step]
        if apart.min() > 2.5 * sigma:
            return
        yield (
            slice(0, count - step),
            slice(step, count),
            np.exp(-0.5 * (apart / sigma) ** 2) * (part[step:] == part[:-step]) * (apart <= 2.5 * sigma),
        )


def median_of(values: np.ndarray, times: np.ndarray, reach: int = 2) -> np.ndarray:
    """Running median over ``2 reach + 1`` frames of ``values`` (n, k), not across gaps: spikes of up to ``reach``
    frames go, steps stay."""
    part = segments(times)
    out = np.empty_like(values)
    for number in range(int(part[-1]) + 1 if len(part) else 0):
        mine = np.flatnonzero(part == number)
        padded = np.concatenate(
            [np.repeat(values[mine[:1]], reach, 0), values[mine], np.repeat(values[mine[-1:]], reach, 0)]
        )
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
        out[mine] = np.median(windows, axis=-1)
    return out


def bilateral(values: np.ndarray, times: np.ndarray, sigma: float, tolerance: float) -> np.ndarray:
    """``values`` (n, k) smoothed over ``sigma`` seconds among frames whose values differ by less than about
    ``tolerance`` (Tomasi and Manduchi, *Bilateral Filtering for Gray and Color Images*, 1998): noise goes, steps stay.
    """
    total = np.zeros_like(values)
    weight = np.zeros(len(values))
    for early, late, near in neighbours(times, sigma):
        apart = np.linalg.norm(values[early] - values[late], axis=1)
        w = near * np.exp(-0.5 * (apart / tolerance) ** 2)
        total[early] += w[:, None] * values[late]
        weight[early] += w
        if early != late:
            total[late] += w[:, None] * values[early]
            weight[late] += w
    return total / weight[:, None]


def closeness(times: np.ndarray, sigma: float) -> np.ndarray:
    """float64 (n, n): the weights of :func:`neighbours`, 0 between frames that are farther apart."""
    near = np.zeros((len(times), len(times)))
    for early, late, weights in neighbours(times, sigma):
        rows = np.arange(len(weights))
        near[rows + early.start, rows + late.start] = near[rows + late.start, rows + early.start] = weights
    return near


def gaussian(values: np.ndarray, times: np.ndarray, sigma: float) -> np.ndarray:
    """``values`` (n, k) smoothed over ``sigma`` seconds; entries that are nan count for nothing, and stay nan only
    where nothing near is known."""
    known = np.isfinite(values)
    if len(times) <= _FEW and known.all():
        near = closeness(times, sigma)
        return np.asarray((near @ values) / near.sum(axis=1)[:, None], np.result_type(values, np.float32))
    filled = np.where(known, values, 0.0)
    total, weight = np.zeros_like(filled), np.zeros_like(filled)
    for early, late, near in neighbours(times, sigma):
        total[early] += near[:, None] * filled[late]
        weight[early] += near[:, None] * known[late]
        if early != late:
            total[late] += near[:, None] * filled[early]
            weight[late] += near[:, None] * known[early]
    return np.where(weight > 0, total / np.maximum(weight, 1e-12), np.nan)
