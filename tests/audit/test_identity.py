"""Match rates and grouping on codes whose people are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.audit.identity import Matches, across, paired, people, within


def person(seed: int, count: int = 8, spread: float = 0.01) -> np.ndarray:
    """Codes around one point; two people lie about 1.4 apart."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(128)
    return centre / np.linalg.norm(centre) + spread * rng.standard_normal((count, 128))


@given(n=st.integers(0, 40), m=st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_distances_are_euclidean(n: int, m: int) -> None:
    rng = np.random.default_rng(n * 100 + m)
    a, b = rng.standard_normal((n, 8)), rng.standard_normal((m, 8))
    found = across(a, b)
    assert found.shape == (n, m)
    for i in range(min(n, 3)):
        for j in range(min(m, 3)):
            assert found[i, j] == pytest.approx(np.linalg.norm(a[i] - b[j]))
    assert len(within(a)) == n * (n - 1) // 2
    assert paired(a, a) == pytest.approx(np.zeros(n))


def test_rates_of_one_person_and_two() -> None:
    one, two = person(1), person(2)
    assert Matches.of(within(one), 0.5).rate == 1
    assert Matches.of(across(one, two).ravel(), 0.5).rate == 0
    mixed = Matches.of(np.array([0.1, 0.2, 0.9, 1.0]), 0.5)
    assert (mixed.pairs, mixed.rate) == (4, 0.5)
    assert mixed.low < mixed.median < mixed.high


def test_no_pairs_give_no_rate() -> None:
    nothing = Matches.of(np.zeros(0), 0.5)
    assert nothing.pairs == 0
    assert np.isnan(nothing.rate)


def test_tracks_of_one_person_are_joined_but_not_when_seen_together() -> None:
    a, b, c = person(1, 5), person(2), person(1, 9)
    assert people([a, b, c], [], 0.5) == [0, 1, 0]
    assert people([a, b, c], [[0, 2]], 0.5) == [0, 1, 2]


def test_joining_minds_what_was_joined_before() -> None:
    """Three tracks alike; the first two were seen together: the third goes to one of them only."""
    groups = people([person(1, 5), person(1, 6), person(1, 7)], [[0, 1]], 0.5)
    assert groups[0] != groups[1]
    assert groups[2] in groups[:2]


def test_tracks_without_codes_stay_alone() -> None:
    assert people([np.zeros((0, 128)), person(1), np.zeros((0, 128))], [], 0.5) == [0, 1, 2]


def test_pictures_that_scatter_are_one_person_by_their_means() -> None:
    """Each picture of one shot lies beyond the limit from each of the other; the shots' means do not."""
    one, other, stranger = person(1, 24, 0.04), person(1, 23, 0.04), person(2, 24, 0.04)
    assert np.median(across(one, other)) > 0.5
    assert people([one, stranger, other], [], 0.48) == [0, 1, 0]
