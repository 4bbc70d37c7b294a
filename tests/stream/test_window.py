"""When frames come in and when they may leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import UsageError
from deid.stream.sources import Stop
from deid.stream.window import Gate, Timing, held_on
from deid.tracking.schedule import Schedule
from deid.types import Evidence, Frame, PixelFormat, Shot, Track

FORM = PixelFormat("gray", 8, (0, 0), True, "bt601", True)


def frame(index: int, seconds: float) -> Frame:
    return Frame(index, round(seconds * 1000), Fraction(1, 1000), None, (np.zeros((16, 16), np.uint8),), FORM)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.floats(0.005, 0.6), min_size=30, max_size=120), delay=st.floats(1.2, 3),
    step=st.integers(2, 6),
)  # fmt: skip
def test_frames_come_in_as_long_as_the_window_needs_them_and_no_longer(
    steps: list[float], delay: float, step: int
) -> None:
    """Whatever the times of frames: what is inside suffices for the oldest to leave, so nothing waits for ever."""
    timing = Timing.of(delay, 25.0, Schedule(step, step, 1.0))
    times = np.cumsum(steps)
    gate = Gate(timing, Stop())
    inside: list[float] = []
    for index, seconds in enumerate(times.tolist()):
        while gate._is_full(frame(index, seconds).seconds):
            # the tracker is as far behind as it ever is: cuts two frames late, a chunk of a step
            seen = inside[: len(inside) - 2 - step]
            assert seen and seen[-1] - inside[0] >= timing.settled - 2e-3
            gate.leave()
            inside.pop(0)
        list(gate.passing([frame(index, seconds)]))
        inside.append(frame(index, seconds).seconds)


def test_at_a_steady_rate_nothing_stays_longer_than_the_delay() -> None:
    timing = Timing.of(2.0, 25.0, Schedule(4, 4, 1.0))
    gate = Gate(timing, Stop())
    for index in range(200):
        at = frame(index, index / 25).seconds
        while gate._is_full(at):
            gate.leave()
        list(gate.passing([frame(index, index / 25)]))
    assert gate.left > 100 and gate.longest <= 2.0 + 1e-9


def test_what_waits_goes_on_when_the_gate_is_closed() -> None:
    gate = Gate(Timing.of(1.0, 25.0, Schedule(4, 4, 1.0)), Stop())
    came: list[int] = []

    def frames() -> Iterator[Frame]:
        for index in range(500):
            yield frame(index, index / 25)

    thread = threading.Thread(target=lambda: came.extend(f.index for f in gate.passing(frames())))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    gate.close()
    thread.join(5)
    assert not thread.is_alive() and len(came) == 26


@pytest.mark.parametrize("rate", [5.0, 25.0, 60.0])
def test_a_delay_that_leaves_nothing_to_look_ahead_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="--delay"):
        Timing.of(0.3, rate, Schedule.plan(1280, 720, rate))
    assert Timing.of(3.0, rate, Schedule.plan(1280, 720, rate)).ahead > 0.1


def track(box: tuple[float, ...], count: int = 20, confirmed: bool = True) -> Track:
    evidence = np.full(count, Evidence.SEARCHED, np.uint8)
    evidence[-8:] = Evidence.HELD
    boxes = np.repeat(np.array([box], np.float32), count, axis=0)
    return Track(1, 0, 10, boxes, evidence, np.ones(count, np.float32), np.zeros(count, np.float32), confirmed)


def test_a_lost_face_keeps_its_place_for_as_long_as_the_window_is_too_short() -> None:
    timing = Timing(1.5, 25.0, 1.0, 8, 8)
    found = held_on([track((100, 100, 40, 50, 0))], (Shot(0, 200),), timing, (320, 240))
    last_seen = 10 + 11
    assert found[1].first == found[0].last + 1 and found[1].last == last_seen + 25
    assert np.allclose(found[1].boxes, found[0].boxes[-1])


@pytest.mark.parametrize(("box", "confirmed", "shot"), [
    ((-15, 100, 40, 50, 0), True, Shot(0, 200)), ((100, 100, 40, 50, 0), False, Shot(0, 200)),
    ((100, 100, 40, 50, 0), True, Shot(0, 29)),
])  # fmt: skip
def test_who_left_the_picture_or_the_shot_holds_no_place(
    box: tuple[float, ...], confirmed: bool, shot: Shot
) -> None:
    timing = Timing(1.5, 25.0, 1.0, 8, 8)
    assert len(held_on([track(box, confirmed=confirmed)], (shot,), timing, (320, 240))) == 1
