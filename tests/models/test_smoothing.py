"""Smoothing: zero phase, noise off, motion kept, blinks kept, cuts respected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import smoothing
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.tracks import AttributeTrack

RATE = 25.0


def second(values: np.ndarray) -> float:
    return float(np.sqrt((np.diff(values, n=2, axis=0) ** 2).mean()))


def test_a_still_head_is_held_still() -> None:
    rng = np.random.default_rng(0)
    values = 100 + rng.normal(0, 0.3, (100, 2))
    out = smoothing.smooth_motion(values, np.arange(100) / RATE, np.full(2, 0.3))
    assert second(out) < 0.25 * second(values)
    assert np.abs(out.mean(axis=0) - values.mean(axis=0)).max() < 0.05


def test_a_moving_head_is_followed() -> None:
    t = np.arange(100) / RATE
    rng = np.random.default_rng(0)
    true = 30 * np.sin(2 * np.pi * 2.0 * t)[:, None]
    out = smoothing.smooth_motion(true + rng.normal(0, 0.3, true.shape), t, np.array([0.3]))
    assert np.abs(out - true)[3:-3].max() < 1.0
    assert second(out) > 0.95 * second(true)


def test_smoothing_brings_a_slow_motion_closer_to_the_truth() -> None:
    t = np.arange(150) / RATE
    true = np.stack([5 * np.sin(2 * np.pi * 0.3 * t), 3 * np.cos(2 * np.pi * 0.4 * t)], axis=1)
    seen = true + np.random.default_rng(1).normal(0, 0.3, true.shape)
    out = smoothing.smooth_motion(seen, t, np.full(2, 0.3))
    assert np.sqrt(((out - true) ** 2).mean()) < 0.7 * np.sqrt(((seen - true) ** 2).mean())


def test_a_sudden_jerk_is_not_smeared() -> None:
    values = np.r_[np.zeros(40), np.full(40, 20.0)][:, None] + np.random.default_rng(2).normal(0, 0.2, (80, 1))
    out = smoothing.smooth_motion(values, np.arange(80) / RATE, np.array([0.2]))
    assert abs(out[38, 0]) < 1.5 and abs(out[41, 0] - 20) < 1.5


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 40), st.integers(0, 10**6))
def test_time_has_no_direction(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0, 1, (n, 2)), axis=0)
    times = np.cumsum(rng.uniform(0.02, 0.06, n))
    forth = smoothing.smooth_motion(values, times, np.full(2, 0.5))
    back = smoothing.smooth_motion(values[::-1], (times[-1] - times)[::-1], np.full(2, 0.5))[::-1]
    assert np.abs(forth - back).max() < 0.5 * np.abs(values - values.mean(axis=0)).max() + 0.5
    assert np.isfinite(forth).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-50, 50), st.integers(1, 60))
def test_straight_lines_are_left_alone(start: float, speed: float, n: int) -> None:
    times = np.arange(n) / RATE
    values = (start + speed * times)[:, None]
    out = smoothing.smooth_motion(values, times, np.array([0.2]))
    assert np.abs(out - values).max() <= 1e-6 * (1 + np.abs(values).max())


@pytest.mark.parametrize("length", [2, 3])
def test_a_blink_of_a_few_frames_keeps_its_depth(length: int) -> None:
    rng = np.random.default_rng(3)
    openness = 1 + rng.normal(0, 0.02, (80, 2))
    openness[40 : 40 + length] = 0.02
    out = smoothing.smooth_weights(openness)
    assert 1 - out[40 : 40 + length].max() > 0.9 * 0.98
    assert second(out[:38]) < 0.8 * second(openness[:38])


def test_parabolas_keep_speech_and_lose_noise() -> None:
    times = np.arange(100) / RATE
    speech = 0.4 + 0.3 * np.sin(2 * np.pi * 2.5 * times)[:, None]
    noise = np.random.default_rng(6).normal(0, 0.02, speech.shape)
    out = smoothing.parabolas(speech + noise, times)
    assert np.abs(smoothing.parabolas(speech, times) - speech).max() < 0.02
    assert second(out - speech) < 0.5 * second(noise)
    bent = (0.1 + 2 * times - 3 * times**2)[:, None]
    assert np.allclose(smoothing.parabolas(bent, times), bent)


@pytest.mark.parametrize(("n", "rate"), [(1, 25.0), (5, 25.0), (6, 25.0), (7, 60.0), (40, 10.0)])
def test_parabolas_take_any_length(n: int, rate: float) -> None:
    values = np.random.default_rng(7).normal(0, 1, (n, 3)).astype(np.float32)
    out = smoothing.parabolas(values, np.arange(n) / rate)
    assert out.shape == values.shape and out.dtype == np.float32 and np.isfinite(out).all()
    assert rate > 12 or np.array_equal(out, values)


def test_a_glance_stays_sharp_and_a_fixation_gets_steady() -> None:
    rng = np.random.default_rng(4)
    true = np.where(np.arange(80) < 40, 0.0, 0.3)
    seen = true[:, None, None] + rng.normal(0, 0.02, (80, 2, 2))
    out = smoothing.smooth_gaze(seen, np.arange(80) / RATE)
    assert out[:, 0, 0].std() > 0.9 * true.std()
    assert np.abs(out[39].mean()) < 0.06 and np.abs(out[40].mean() - 0.3) < 0.06
    assert out[5:35].std() < 0.75 * seen[5:35].std()


def test_light_changes_slowly_and_forgets_one_bad_frame() -> None:
    times = np.arange(100) / RATE
    values = np.ones((100, 3, 2), np.float32)
    values[50] = 9.0
    out = smoothing.smooth_slowly(values, times)
    assert out.shape == values.shape and out.dtype == np.float32
    assert np.abs(out - 1).max() < 0.01
    step = np.where(times < 2, 0.0, 1.0)
    slow = smoothing.smooth_slowly(step, times)
    assert np.diff(slow).max() < 0.05


def test_segments_break_at_gaps_and_cuts() -> None:
    times = np.array([0.0, 0.04, 0.08, 0.9, 0.94, 0.98])
    assert smoothing.segments(times) == [slice(0, 3), slice(3, 6)]
    assert smoothing.segments(times, cuts=np.array([0.04])) == [slice(0, 1), slice(1, 3), slice(3, 6)]
    assert smoothing.segments(np.zeros(0)) == []


def test_the_noise_of_a_slow_signal_is_found() -> None:
    t = np.arange(300) / RATE
    values = 20 * np.sin(2 * np.pi * 0.4 * t) + np.random.default_rng(5).normal(0, 0.5, 300)
    assert 0.35 < smoothing.noise_level(values[:, None])[0] < 0.65
    assert not smoothing.noise_level(values[:4, None]).any()


def test_heads_in_frames_that_are_far_apart_are_followed_more_closely() -> None:
    rng = np.random.default_rng(4)
    yaw = 20 * np.sin(np.arange(40) / 6) + rng.normal(0, 0.6, 40)
    fields = {name: np.zeros(40, np.float32) for name in AttributeTrack.__slots__}
    fields["rotation"] = np.stack([head_rotation(a, 0, 0) for a in yaw])
    fields["scale"], fields["distance"] = np.full(40, 5.0), np.full(40, 70.0)
    fields["translation"], fields["noise"] = np.zeros((40, 2)), np.full(40, 0.5)
    track = AttributeTrack(**fields)

    def moved(step: float) -> float:
        out = track.with_values(rotation=smoothing.smooth_poses(track, np.arange(40) * step)["rotation"])
        return float(np.abs(out.yaw_pitch_roll()[:, 0] - yaw).mean())

    assert moved(0.12) < 0.8 * moved(0.04) and moved(0.02) == pytest.approx(moved(0.04), rel=0.5)
