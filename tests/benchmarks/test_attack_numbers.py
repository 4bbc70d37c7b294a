"""The arithmetic of benchmarks/attacks.py: what finds people is seen to, what does not is at chance."""

from __future__ import annotations

import _attack_numbers as numbers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


def templates(people: int, spread: float, seed: int, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Two clips' templates of people, (n, d) each, that differ by ``spread`` where people differ by 1."""
    rng = np.random.default_rng(seed)
    who = rng.normal(size=(people, width))
    return who + spread * rng.normal(size=who.shape), who + spread * rng.normal(size=who.shape)


def test_an_attack_that_works_finds_everybody() -> None:
    a, b = templates(40, 0.02, 1)
    found = numbers.measured(numbers.between(b, a))
    assert found.rank_1.value == 1 and found.auc.value == 1
    assert all(rate.value == 1 for rate in found.tar.values())
    assert 0.9 < found.rank_1.low < 1 and found.rank_1.high == 1  # 40 people cannot show more


def test_blind_guessing_is_at_chance() -> None:
    first, tar, area = [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        found = numbers.measured(rng.random((40, 40)), seed)
        first.append(found.rank_1.value)
        tar.append(found.tar[1e-2].value)
        area.append(found.auc.value)
    assert np.mean(first) == pytest.approx(1 / 40, abs=0.03)
    assert np.mean(tar) == pytest.approx(0.01, abs=0.03)
    assert np.mean(area) == pytest.approx(0.5, abs=0.04)


def test_intervals_hold_the_value_and_ties_are_worth_their_share() -> None:
    same = np.zeros((20, 25))
    found = numbers.measured(same)
    assert found.rank_1.value == pytest.approx(1 / 25)
    assert found.auc.value == pytest.approx(0.5)
    assert found.tar[1e-2].value == 0
    rng = np.random.default_rng(3)
    found = numbers.measured(rng.random((30, 50)) + 0.3 * (1 - np.eye(30, 50)))
    for rate in (found.rank_1, found.auc, found.tar[1e-2]):
        assert rate.low <= rate.value <= rate.high


def test_too_few_strangers_for_a_rate_give_no_number() -> None:
    found = numbers.measured(np.random.default_rng(0).random((12, 12)))
    assert found.pairs == 132
    assert np.isnan(found.tar[1e-3].value) and found.tar[1e-3].text() == "-"
    assert not np.isnan(found.tar[1e-2].value)


@given(st.integers(0, 2**31), st.sampled_from([1e-2, 1e-3]))
def test_no_more_strangers_than_that_lie_under_the_threshold(seed: int, far: float) -> None:
    strangers = np.random.default_rng(seed).random(1500)
    limit = numbers.threshold(strangers, far)
    assert 0.5 * far <= (strangers < limit).mean() <= far


@given(st.integers(1, 60), st.data())
def test_exact_intervals_hold_the_share(count: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, count)) / count
    low, high = numbers.exact(share, count)
    assert 0 <= low <= share <= high <= 1 and high - low > 0


def test_the_exact_interval_of_none_in_thirty_is_known() -> None:
    assert numbers.exact(0.0, 30) == pytest.approx((0, 0.1157), abs=1e-3)


def test_learning_what_changes_helps_when_much_changes_in_few_directions() -> None:
    rng = np.random.default_rng(5)
    who, change = rng.normal(size=(60, 24)), rng.normal(size=(3, 24))
    clips = [who + 3 * rng.normal(size=(60, 3)) @ change for _ in range(3)]
    pair = clips[2], (clips[0] + clips[1]) / 2
    plain, trained = numbers.between(*pair), numbers.whitened(pair, np.stack(clips))
    assert numbers.rank_1(trained).mean() > numbers.rank_1(plain).mean() + 0.2


def test_what_is_led_back_comes_near_when_there_is_a_way_and_not_otherwise() -> None:
    rng = np.random.default_rng(6)
    who, turn = rng.normal(size=(80, 8)), np.linalg.qr(rng.normal(size=(8, 8)))[0]
    hidden = who @ turn + 0.05 * rng.normal(size=who.shape)
    assert numbers.rank_1(numbers.led_back(hidden, who, hidden[None])).mean() > 0.9
    noise = rng.normal(size=who.shape)
    assert numbers.rank_1(numbers.led_back(noise, who, noise[None])).mean() < 0.15
