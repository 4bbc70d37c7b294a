"""Expression, pose and jitter on meshes and tracks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.audit import attributes
from deid.detection.pose import face_scale
from tests.audit._heads import SIZE, mesh

angles = st.floats(-30, 30)


@given(yaw=angles, pitch=angles, roll=angles)
@settings(max_examples=40, deadline=None)
def test_scale_and_pose_are_those_of_the_head(yaw: float, pitch: float, roll: float) -> None:
    points = mesh(turn=(yaw, pitch, roll))
    # levelling the eyes moved two of the rigid points a little
    assert face_scale(points) == pytest.approx(SIZE, rel=0.01)
    level = attributes.head_poses(mesh()[None])[0]
    turned = attributes.head_poses(points[None])[0]
    assert turned == pytest.approx((yaw, pitch, roll), abs=1.0)
    assert level == pytest.approx((0, 0, 0), abs=0.5)


@given(
    left=st.floats(0.02, 0.5),
    right=st.floats(0.02, 0.5),
    mouth=st.floats(0, 0.6),
    x=st.floats(-0.3, 0.3),
    y=st.floats(-0.2, 0.2),
    roll=st.floats(-60, 60),
)
@settings(max_examples=60, deadline=None)
def test_openings_and_gaze_read_what_was_drawn(
    left: float, right: float, mouth: float, x: float, y: float, roll: float
) -> None:
    points = mesh((left, right), mouth, (x, y), (0, 0, roll))
    assert attributes.eye_opening(points) == pytest.approx((left, right), abs=1e-6)
    assert attributes.mouth_opening(points) == pytest.approx(mouth, rel=0.01, abs=1e-6)
    assert attributes.gaze(points) == pytest.approx((x, y), abs=1e-6)


def test_measures_take_whole_tracks() -> None:
    track = np.stack([mesh(mouth=m) for m in (0.0, 0.1, 0.2)])
    assert attributes.mouth_opening(track) == pytest.approx([0, 0.1, 0.2], rel=0.01)
    assert attributes.eye_opening(track).shape == (3, 2)
    assert attributes.gaze(track).shape == (3, 2)
    assert attributes.mouth_shape(track).shape == (3, 3)


def test_a_one_sided_smile_raises_one_corner() -> None:
    plain = mesh()
    plain[[61, 291]] = plain[13] + [(-30, 0, 0), (30, 0, 0)]
    smile = plain.copy()
    smile[291, 1] -= 12
    change = attributes.mouth_shape(smile) - attributes.mouth_shape(plain)
    assert change[1] == pytest.approx(0, abs=1e-9)
    assert change[2] == pytest.approx(0.12, rel=0.02)


def test_brows_rise_against_the_eyes_however_the_head_leans() -> None:
    points = mesh(turn=(0, 0, 25))
    raised = points.copy()
    up = np.array([np.sin(np.radians(25)), -np.cos(np.radians(25))])
    raised[attributes._BROWS[1], :2] += 8 * up
    change = attributes.brow_height(raised) - attributes.brow_height(points)
    assert change == pytest.approx((0, 0.08), abs=0.002)


def wave(count: int, period: float = 20) -> np.ndarray:
    return np.sin(2 * np.pi * np.arange(count) / period)


def test_agreement_of_a_series_with_itself() -> None:
    fit = attributes.agreement(wave(80), wave(80), np.arange(80), 0.1)
    assert (fit.correlation, fit.gain, fit.lag, fit.varies) == (pytest.approx(1), pytest.approx(1), 0, True)


def test_agreement_tells_half_gain_offset_and_delay() -> None:
    late = 0.5 * np.roll(wave(80), 3) + 0.2
    fit = attributes.agreement(wave(80), late, np.arange(80), 0.1)
    assert fit.lag == 3
    assert fit.offset == pytest.approx(0.2, abs=0.01)
    assert fit.correlation == pytest.approx(np.cos(2 * np.pi * 3 / 20), abs=0.02)
    assert fit.gain == pytest.approx(0.5 * fit.correlation, abs=0.02)


def test_what_stands_still_or_is_noise_does_not_vary() -> None:
    frames, rng = np.arange(200), np.random.default_rng(0)
    assert not attributes.agreement(np.full(200, 0.3), wave(200), frames, 0.1).varies
    noise = rng.standard_normal(200)
    assert not attributes.agreement(noise, noise, frames, 0.1).varies
    assert not attributes.agreement(wave(12), wave(12), frames[:12], 0.1).varies


def test_one_blink_is_variation() -> None:
    eye = np.full(100, 0.3) + 0.004 * np.random.default_rng(1).standard_normal(100)
    eye[40:46] = (0.2, 0.08, 0.05, 0.05, 0.1, 0.22)
    dull = np.where(eye < 0.25, 0.26, eye)
    assert attributes.agreement(eye, eye, np.arange(100), 0.12).varies
    assert attributes.agreement(eye, dull, np.arange(100), 0.12).gain < 0.4


def test_gaps_and_unknown_values_are_left_out() -> None:
    x = wave(60)
    y = x.copy()
    x[10:20] = np.nan
    frames = np.concatenate([np.arange(30), np.arange(100, 130)])
    fit = attributes.agreement(x, y, frames, 0.1)
    assert fit.count == 50
    assert fit.correlation == pytest.approx(1)
    assert np.isnan(attributes.agreement(x[:2], y[:2], frames[:2], 0.1).correlation)


def test_small_faces_need_more_variation() -> None:
    for name, least in attributes.LEAST_RANGE.items():
        assert attributes.least_range(name, 400) == least
        assert attributes.least_range(name, 20) > least


def jittery(sigma: float, count: int = 60, seed: int = 0) -> np.ndarray:
    """A head that sways smoothly, with noise of ``sigma`` pixels a point."""
    rng = np.random.default_rng(seed)
    track = np.stack([mesh(at=(320 + 40 * np.sin(n / 9), 240 + 10 * np.cos(n / 7))) for n in range(count)])
    track[..., :2] += sigma * rng.standard_normal((count, 478, 2))
    return track


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_jitter_ratio_is_that_of_the_noise(factor: float) -> None:
    frames = np.arange(60)
    ratio = attributes.jitter_ratio(jittery(1.0), jittery(factor, seed=1), frames)
    assert ratio["all"] == pytest.approx(factor, rel=0.1)
    assert set(ratio) == {"all", *attributes.REGIONS}


def test_jitter_of_the_same_track_is_one_and_smoothing_lowers_it() -> None:
    track, frames = jittery(1.0), np.arange(60)
    assert attributes.jitter_ratio(track, track, frames)["all"] == 1.0
    smooth = track.copy()
    smooth[1:-1] = (track[:-2] + track[1:-1] + track[2:]) / 3
    assert attributes.jitter_ratio(track, smooth, frames)["all"] < 0.75


def test_jitter_looks_at_consecutive_frames_only_and_not_at_size() -> None:
    track = jittery(1.0)
    jumped = track.copy()
    jumped[30:] += 200
    frames = np.concatenate([np.arange(30), np.arange(50, 80)])
    here = attributes.jitter(jumped, frames)
    assert here["all"] == pytest.approx(attributes.jitter(track, frames)["all"])
    assert attributes.jitter(3 * track, frames)["all"] == pytest.approx(here["all"])
    assert np.isnan(attributes.jitter(track[::2], np.arange(0, 60, 2))["all"])


def test_one_trembling_part_shows_in_its_region() -> None:
    track = jittery(0.5)
    worse = track.copy()
    mouth = attributes.REGIONS["mouth"]
    worse[:, mouth, :2] += np.random.default_rng(3).standard_normal((60, len(mouth), 2)) * 2
    ratio = attributes.jitter_ratio(track, worse, np.arange(60))
    assert ratio["mouth"] > 3
    assert ratio["nose"] == pytest.approx(1)
