"""The arithmetic of the editing benchmark against cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from _editing_measure import fid, halves, interval, kid, middles_of, score


def test_frechets_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, (40_000, 3))
    other = rng.normal((1.0, 0, 0), (1, 2, 1), (40_000, 3))
    assert fid(one, other) == pytest.approx(1 + 1, abs=0.08)  # means 1 apart, one spread of 2 for 1: (2 - 1)^2
    assert fid(one, one) == pytest.approx(0, abs=1e-4)


def test_kernel_distance_is_unbiased_and_grows() -> None:
    rng = np.random.default_rng(1)
    same = [kid(rng.normal(size=(60, 4)), rng.normal(size=(60, 4))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    apart = [kid(rng.normal(size=(60, 4)), rng.normal(shift, 1, (60, 4))) for shift in (0.5, 1.0)]
    assert 0.1 < apart[0] < apart[1]


def test_a_score_counts_the_classes() -> None:
    rng = np.random.default_rng(2)
    middles = np.eye(4) * 50
    features = middles[rng.integers(0, 4, 4000)] + rng.normal(0, 0.1, (4000, 4))
    assert score(features, middles, 1.0) == pytest.approx(4, abs=0.05)
    assert score(features[:1].repeat(50, axis=0), middles, 1.0) == pytest.approx(1, abs=1e-6)
    found, near = middles_of(features, 4, seed=3)
    assert found.shape == (4, 4) and near >= 0


def test_intervals_hold_the_value_and_narrow_with_more_faces() -> None:
    rng = np.random.default_rng(3)
    few, many = ([rng.normal(size=5) for _ in range(n)] for n in (4, 100))
    for parts in (few, many):
        value, low, high = interval(parts, lambda x: float(x.mean()))
        assert low <= value <= high
    assert interval(many, lambda x: float(x.mean()))[2] - interval(many, lambda x: float(x.mean()))[1] < 0.5


def test_halves_hold_the_truth_about_as_often_as_they_should() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(60):
        value, low, high = halves(rng.normal(size=(80, 1)), lambda x: float(x.mean()), rounds=30)
        assert low < value < high
        held += low < 0 < high
    assert held >= 48  # of 60
