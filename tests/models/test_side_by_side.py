"""Work on two cores."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from deid.models.morphable.photo_smooth import gaussian
from deid.models.morphable.side_by_side import allow, halves, rest, side_by_side


def test_results_come_in_the_order_of_the_pieces() -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (5 - number))
        return number

    assert list(side_by_side(late, range(5))) == list(range(5))


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_threads_than_allowed(threads: int) -> None:
    used = set()

    def note(number: int) -> int:
        used.add(threading.get_ident())
        time.sleep(0.005)
        return number

    try:
        allow(threads)
        assert list(side_by_side(note, range(8))) == list(range(8))
    finally:
        allow(2)
    assert len(used) <= threads and (threads > 1 or used == {threading.get_ident()})


def test_pieces_that_hand_out_pieces_do_not_wait_for_themselves() -> None:
    def sums(number: int) -> int:
        return sum(side_by_side(lambda n: n * number, range(4)))

    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.append(list(side_by_side(sums, range(6)))), daemon=True)
    thread.start()
    thread.join(20)
    assert found == [[6 * n for n in range(6)]]


def test_what_a_piece_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda n: 1 // n, [1, 0]))


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_halves_are_the_whole(count: int) -> None:
    assert [row for part in halves(count) for row in range(count)[part]] == list(range(count))


def test_smoothing_all_pairs_at_once_gives_what_one_distance_at_a_time_gives() -> None:
    rng = np.random.default_rng(4)
    times = np.cumsum(rng.uniform(0.02, 0.06, 120)) + (np.arange(120) > 70)
    values = rng.normal(size=(120, 3)).astype(np.float32)
    gap = np.concatenate([values, np.full((120, 1), np.nan, np.float32)], axis=1)
    np.testing.assert_allclose(gaussian(values, times, 0.1), gaussian(gap, times, 0.1)[:, :3], atol=1e-5)


def test_threads_rest_and_begin_again() -> None:
    allow(2)
    for _ in range(2):
        assert list(side_by_side(lambda n: n * n, range(4))) == [0, 1, 4, 9]
        rest()
        assert not any(thread.name.startswith("beside") for thread in threading.enumerate())
