"""Gaze: two eyes that look at one thing, and what happens while they cannot be seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import gaze


def glances(n: int = 40) -> np.ndarray:
    t = np.arange(n)
    shared = np.stack([0.3 * np.sin(t / 6), 0.1 * np.cos(t / 5)], axis=1)
    return np.repeat(shared[:, None], 2, axis=1)


def test_a_hidden_eye_follows_the_other() -> None:
    true = glances()
    raw, trust = true.copy(), np.ones((40, 2))
    raw[10:30, 0] += 0.5
    trust[10:30, 0] = 0.0
    assert np.abs(gaze.conjugate(raw, trust) - true).max() < 0.02


def test_an_eyeball_fitted_too_far_out_does_not_make_a_squint() -> None:
    raw = glances()
    raw[:, 0, 0] += 0.15
    out = gaze.conjugate(raw, np.ones((40, 2)))
    assert np.abs(out[:, 0, 0] - out[:, 1, 0]).max() < 0.05


def test_eyes_may_converge() -> None:
    raw = glances()
    raw[:, 0, 0] -= 0.05
    raw[:, 1, 0] += 0.05
    out = gaze.conjugate(raw, np.ones((40, 2)))
    assert np.abs(out - raw).max() < 0.02


def test_gaze_goes_straight_through_a_blink() -> None:
    frames = np.arange(10)
    values = np.zeros((10, 2, 2))
    values[6:] = 0.2
    values[4:6] = -0.9
    trust = np.ones(10)
    trust[4:6] = 0.0
    out = gaze.through_blinks(frames, values, trust)
    assert np.allclose(out[:4], 0) and np.allclose(out[6:], 0.2)
    assert np.all(np.diff(out[3:7, 0, 0]) > 0.05)


def test_eyes_that_never_open_look_ahead() -> None:
    assert not gaze.through_blinks(np.arange(5), np.ones((5, 2, 2)), np.zeros(5)).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_gaze_stays_within_what_eyes_can_do(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    out = gaze.conjugate(rng.normal(0, 1, (n, 2, 2)), rng.uniform(0, 1, (n, 2)))
    assert np.all(np.abs(out) <= gaze.LIMITS + 1e-9)
