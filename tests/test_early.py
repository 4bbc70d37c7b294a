"""Frames read ahead of who asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from deid.early import Early
from deid.types import Frame, PixelFormat

SIZE = 32 * 16


def frames(count: int, made: list[int], error: Exception | None = None) -> Iterator[Frame]:
    fmt = PixelFormat("gray", 8, (0, 0), False, "bt601", grey=True)
    for index in range(count):
        made.append(index)
        yield Frame(index, index, Fraction(1, 25), 1, (np.full((16, 32), index, np.uint8),), fmt)
    if error is not None:
        raise error


def settled(made: list[int]) -> int:
    """How many there are once no more come."""
    before = -1
    while len(made) != before:
        before = len(made)
        time.sleep(0.05)
    return before


def test_frames_come_in_order_and_all() -> None:
    with Early(frames(50, []), 4 * SIZE) as early:
        assert [frame.index for frame in early] == list(range(50))


def test_no_more_wait_than_may_and_fewer_once_they_are_asked_for() -> None:
    made: list[int] = []
    with Early(frames(100, made), 20 * SIZE) as early:
        assert settled(made) == 20
        each = iter(early)
        for _ in range(10):
            next(each)
        assert settled(made) == 20
        for _ in range(15):
            next(each)
        assert settled(made) == 25 + 3


def test_an_error_is_raised_behind_the_frames_before_it() -> None:
    seen = []
    with Early(frames(3, [], ValueError("damaged"))) as early, pytest.raises(ValueError, match="damaged"):
        for frame in early:
            seen.append(frame.index)
    assert seen == [0, 1, 2]


def test_leaving_ends_the_thread_whether_frames_were_asked_for_or_not() -> None:
    before = threading.active_count()
    with Early(frames(1000, []), 4 * SIZE):
        pass
    with Early(frames(1000, []), 4 * SIZE) as early:
        next(iter(early))
    assert threading.active_count() == before
