"""Gaze: two eyes that look at one thing, and what happens while they cannot be seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import face_points, gaze
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.tracks import AttributeTrack


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


def test_eyes_that_seem_to_squint_all_the_time_do_not() -> None:
    raw = glances()
    raw[:, 0, 0] -= 0.08
    raw[:, 1, 0] += 0.08
    assert np.abs(gaze.conjugate(raw, np.ones((40, 2))) - glances()).max() < 1e-9


def test_eyes_may_converge_for_a_moment_a_little_and_never_differ_in_height() -> None:
    raw = glances()
    raw[10:14, 0] += (-0.12, 0.05)
    raw[10:14, 1] += (0.12, -0.05)
    out = gaze.conjugate(raw, np.ones((40, 2)))
    apart = out[:, 0] - out[:, 1]
    assert np.all(apart[10:14, 0] < -0.04) and np.abs(apart[14:, 0]).max() < 1e-9
    assert np.abs(apart[:, 1]).max() < 1e-9
    track = watching(out[:, 0], np.ones(40)).with_values(gaze=out.astype(np.float32))
    shown = gaze.as_rendered(track)
    assert np.abs(shown[:, 0, 0] - shown[:, 1, 0]).max() <= 2 * np.radians(1.5) + 1e-6


def test_irises_of_every_head_lie_in_its_eyes_where_peoples_do() -> None:
    geometry, rng = load_geometry(), np.random.default_rng(3)
    offs = []
    for _ in range(12):
        shape = rng.normal(0, 1.0, len(geometry.identity)).clip(-2, 2).astype(np.float32)
        turn = gaze.straight(geometry, shape)
        assert turn[0, 0] == -turn[1, 0] and not turn[:, 1].any()
        centres, radii = gaze.eyeballs(geometry, shape)
        corners = surface_points(geometry, geometry.neutral(shape))[face_points.EYE_CORNERS][..., 0]
        irises = centres[:, 0] + radii * np.sin(turn[:, 0])
        offs.append(np.mean((irises - corners.mean(axis=1)) * (1, -1) / np.abs(corners[:, 1] - corners[:, 0])))
    assert np.abs(np.array(offs) - 0.044).max() < 0.03 and np.abs(np.median(offs) - 0.044) < 0.003


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


def watching(angles: np.ndarray, openness: np.ndarray, yaw: float = 0.0, pitch: float = 0.0) -> AttributeTrack:
    """A track that only gaze is of interest in. ``angles``: (n, 2) radians of both eyes; ``openness``: (n,)."""
    n = len(angles)
    fields = {name: np.zeros(n, np.float32) for name in AttributeTrack.__slots__}
    fields["frames"] = np.arange(n, dtype=np.int32)
    fields["rotation"] = np.broadcast_to(head_rotation(yaw, pitch, 0.0), (n, 3, 3)).copy()
    fields["gaze"] = np.repeat(angles[:, None], 2, axis=1).astype(np.float32)
    fields["openness"] = np.repeat(openness[:, None], 2, axis=1).astype(np.float32)
    return AttributeTrack(**fields)


def test_glances_are_rendered_wider_than_they_are_read() -> None:
    angles = np.stack([np.linspace(-0.2, 0.2, 41), np.linspace(-0.06, 0.06, 41)], axis=1)
    out = gaze.as_rendered(watching(angles, np.ones(41)))[:, 0]
    assert np.all(np.diff(out, axis=0) > 0)
    middle = np.gradient(out[15:26], angles[1, 0] - angles[0, 0], axis=0).mean(0)
    assert 1.2 < middle[0] < 2.0 and np.ptp(out[:, 1]) > 1.5 * np.ptp(angles[:, 1])


def test_lids_that_come_down_are_no_glance_down() -> None:
    openness = np.linspace(1.2, 0.5, 30)
    read = np.stack([np.zeros(30), np.radians(-1.2 + 2.4 * (openness - 1))], axis=1)
    assert np.abs(gaze.as_rendered(watching(read, openness))[..., 1]).max() < np.radians(0.5)


def test_a_blink_leaves_rendered_gaze_where_it_is() -> None:
    openness = np.ones(20)
    openness[8:12] = (0.4, 0.0, 0.0, 0.3)
    out = gaze.as_rendered(watching(np.full((20, 2), 0.02), openness))
    assert np.ptp(out[..., 1]) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_rendered_gaze_stays_within_what_looks_natural(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    track = watching(rng.normal(0, 1, (n, 2)), rng.uniform(0, 1.5, n), *rng.uniform(-60, 60, 2))
    out = gaze.as_rendered(track)
    assert np.isfinite(out).all() and np.abs(out[..., 0]).max() <= np.radians(32) + 1e-6
    assert np.radians(-28) - 1e-6 <= out[..., 1].min() and out[..., 1].max() <= np.radians(20) + 1e-6
