"""Arithmetic of the editing benchmark: distances of picture sets in features, and intervals. Features are any (n,
d)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import sqrtm

CLASSES = 16
_RIDGE = 1e-6


def fid(one: np.ndarray, other: np.ndarray) -> float:
    """Fréchet's distance of two Gaussians (M. Heusel et al. 2017, equation 6)."""
    means, spreads = [], []
    for features in (one, other):
        means.append(features.mean(axis=0))
        spreads.append(np.cov(features, rowvar=False) + _RIDGE * np.eye(features.shape[1]))
    root = np.real(sqrtm(spreads[0] @ spreads[1]))
    return float(np.square(means[0] - means[1]).sum() + np.trace(spreads[0] + spreads[1] - 2 * root))


def kid(one: np.ndarray, other: np.ndarray) -> float:
    """The squared maximum mean discrepancy under a cubic kernel, unbiased (M. Bińkowski et al. 2018, section 4)."""
    d, m, n = one.shape[1], len(one), len(other)
    within, beyond, between = ((a @ b.T / d + 1) ** 3 for a, b in ((one, one), (other, other), (one, other)))
    first = (within.sum() - np.trace(within)) / (m * (m - 1))
    second = (beyond.sum() - np.trace(beyond)) / (n * (n - 1))
    return float(first + second - 2 * between.mean())


def score(features: np.ndarray, middles: np.ndarray, warmth: float) -> float:
    """An inception score (T. Salimans et al. 2016) whose classes are ``middles``, (c, d): exp of the mean divergence of
    the class of a picture from the class of all."""
    away = np.square(features[:, None] - middles[None]).sum(axis=2) / warmth
    share = np.exp(-(away - away.min(axis=1, keepdims=True)))
    share /= share.sum(axis=1, keepdims=True)
    whole = share.mean(axis=0)
    return float(np.exp((share * (np.log(share + 1e-12) - np.log(whole + 1e-12))).sum(axis=1).mean()))


def middles_of(features: np.ndarray, count: int = CLASSES, seed: int = 0) -> tuple[np.ndarray, float]:
    """(c, d) middles of as many classes (Lloyd's), and the mean squared distance to the nearest."""
    rng = np.random.default_rng(seed)
    found = features[rng.choice(len(features), min(count, len(features)), replace=False)].copy()
    for _ in range(25):
        away = np.square(features[:, None] - found[None]).sum(axis=2)
        nearest = away.argmin(axis=1)
        for number in range(len(found)):
            if (nearest == number).any():
                found[number] = features[nearest == number].mean(axis=0)
    return found, float(np.square(features[:, None] - found[None]).sum(axis=2).min(axis=1).mean())


def halves(
    features: np.ndarray, value: Callable[[np.ndarray], float], rounds: int = 20, seed: int = 0
) -> tuple[float, float, float]:
    """``value`` of all ``features``, and that with twice its standard error to either side, from random halves: drawing
    with replacement would double pictures, which distances of sets take for less variety."""
    rng = np.random.default_rng(seed)
    whole, count = value(features), len(features)
    parts = [value(features[rng.permutation(count)[: count // 2]]) for _ in range(rounds)]
    error = float(np.std(parts))  # a half has twice the variance, and halves of one set share half of it
    return whole, whole - 2 * error, whole + 2 * error


def interval(
    parts: list[np.ndarray], value: Callable[[np.ndarray], float], rounds: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """``value`` of all ``parts`` together, and the 2.5th and 97.5th percentile when parts (faces) are drawn again."""
    rng = np.random.default_rng(seed)
    whole = value(np.concatenate(parts))
    drawn = [value(np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))])) for _ in range(rounds)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return whole, float(low), float(high)
