"""Frames read ahead of who asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid import early as early_module
from deid.early import KEPT, WHOLE, Early, Tail, room
from deid.media import probe
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


@given(count=st.integers(0, 30), kept=st.integers(0, 40))
def test_a_second_pass_has_the_same_frames_and_reads_no_more_than_were_not_kept(count: int, kept: int) -> None:
    tail, made = Tail(kept * SIZE), []
    first = list(tail.passing(frames(count, [])))
    second = list(tail.after(frames(count, made)))
    assert [frame.index for frame in second] == list(range(count))
    assert len(made) == max(count - kept, 0)
    assert all(a is b for a, b in zip(first[len(made) :], second[len(made) :], strict=True))
    assert [frame.index for frame in tail.after(frames(count, []))] == list(range(count))


def test_a_pass_that_begins_anew_forgets_what_was_kept() -> None:
    tail = Tail(5 * SIZE)
    list(tail.passing(frames(8, [])))
    list(tail.passing(frames(3, [])))
    assert [frame.index for frame in tail.after(frames(3, []))] == [0, 1, 2]


def test_a_short_clip_is_kept_whole_and_read_once() -> None:
    made: list[int] = []
    tail = Tail(100 * SIZE)
    assert len(list(tail.passing(frames(60, [])))) == 60
    assert [frame.index for frame in tail.after(frames(60, made))] == list(range(60))
    assert made == []


def test_all_is_kept_only_of_short_clips_and_where_memory_is_plenty(
    face_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = probe(face_clip)
    monkeypatch.setattr(early_module, "free_memory", lambda: 64 << 30)
    assert room(info) == WHOLE
    long = replace(info, seconds=3600.0, frames=90_000)
    assert room(long) == KEPT
    assert room(long, 100.0, 101.0) == WHOLE
    monkeypatch.setattr(early_module, "free_memory", lambda: 1 << 30)
    assert room(info) == KEPT
    monkeypatch.setattr(early_module, "free_memory", lambda: None)
    assert room(info) == KEPT
