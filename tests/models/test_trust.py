"""Trust and the change-over between replacing and obscuring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import rotation

from deid.models.morphable import trust, visibility
from deid.models.morphable.tracks import AttributeTrack, Observations
from deid.models.morphable.trust import Reason

RATE = 25.0


def track(n: int = 60, **changes: Any) -> AttributeTrack:
    """A frontal, well seen face."""
    values: dict[str, np.ndarray] = {
        "frames": np.arange(n, dtype=np.int32), "rotation": np.repeat(np.eye(3)[None], n, axis=0),
        "scale": np.full(n, 10.0), "translation": np.zeros((n, 2)), "distance": np.full(n, 90.0),
        "expression": np.zeros((n, 4), np.float32), "mouth": np.zeros(n), "aperture": np.zeros((n, 2)),
        "sight": np.zeros((n, 2, 2)), "facing": np.ones((n, 2)), "openness": np.ones((n, 2)),
        "gaze": np.zeros((n, 2, 2)), "residual": np.full(n, 0.01), "presence": np.ones(n), "height": np.full(n, 120.0),
        "outside": np.zeros(n), "jump": np.zeros(n), "noise": np.full(n, 0.1),
    }  # fmt: skip
    return AttributeTrack(**(values | changes))


def at(n: int, rows: slice, value: float, otherwise: float) -> np.ndarray:
    out = np.full(n, otherwise)
    out[rows] = value
    return out


def test_a_frontal_face_is_trusted_all_along() -> None:
    judged = trust.judge(track(), RATE)
    assert judged.trusted.all() and (judged.weights == 1).all()
    assert set(judged.words) == {""}


@pytest.mark.parametrize("yaw", [0, 30, 45, 60])
def test_turned_faces_are_trusted_to_sixty_degrees(yaw: float) -> None:
    turned = np.repeat(rotation(yaw, 0, 0)[None], 60, axis=0)
    assert trust.judge(track(rotation=turned), RATE).trusted.all()


@pytest.mark.parametrize(
    ("field", "value", "otherwise", "reason"),
    [
        ("presence", 0.2, 1.0, Reason.PRESENCE),
        ("height", 25.0, 120.0, Reason.SMALL),
        ("residual", 0.2, 0.01, Reason.MISFIT),
        ("jump", 0.5, 0.0, Reason.JUMP),
        ("outside", 0.7, 0.0, Reason.BORDER),
    ],
)
def test_every_doubt_has_its_reason(field: str, value: float, otherwise: float, reason: Reason) -> None:
    judged = trust.judge(track(**{field: at(60, slice(30, 32), value, otherwise)}), RATE)
    assert (judged.reasons[30:32] == reason).all() and judged.words[30]
    assert not judged.reasons[:28].any()
    assert (judged.weights[30:32] == 0).all() and judged.weights[0] == 1


def test_a_profile_is_not_trusted() -> None:
    turned = np.repeat(np.eye(3)[None], 60, axis=0)
    turned[20:40] = rotation(80, 0, 0)
    judged = trust.judge(track(rotation=turned), RATE)
    assert (judged.reasons[20:40] == Reason.PROFILE).all()


def test_light_that_cannot_be_measured_is_a_doubt() -> None:
    judged = trust.judge(track(), RATE, confidence=at(60, slice(10, 12), 0.0, 1.0))
    assert (judged.reasons[10:12] == Reason.LIGHT).all()


def test_a_value_about_the_limit_does_not_flicker() -> None:
    frames = np.arange(200)
    value = 1.0 + 0.02 * np.sin(frames * 1.7)
    doubted = trust.hysteresis(value, 1.0, 0.9, frames)
    assert np.abs(np.diff(doubted.astype(int))).sum() <= 1


def test_doubt_does_not_spread_for_ever() -> None:
    frames = np.arange(200)
    value = np.full(200, 0.95)
    value[100] = 1.2
    assert trust.hysteresis(value, 1.0, 0.9, frames).sum() <= 15


def test_missing_frames_are_doubted_for_their_neighbours() -> None:
    frames = np.r_[np.arange(30), np.arange(40, 70)].astype(np.int32)
    weights = trust.judge(track(60, frames=frames), RATE).weights
    assert weights[29] == 0 and weights[30] == 0 and weights[0] == 1 and weights[-1] == 1


def test_no_row_no_trust() -> None:
    judged = trust.judge(track(0), RATE)
    assert len(judged.trusted) == len(judged.weights) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=120), st.sampled_from([8.0, 25.0, 60.0]))
def test_the_change_over_never_shows_a_doubted_face_and_never_jumps(flags: list[bool], rate: float) -> None:
    trusted = np.array(flags)
    weights = trust.coverage(trusted, rate)
    assert weights.dtype == np.float32 and weights.shape == trusted.shape
    assert (weights[~trusted] == 0).all() and weights.min() >= 0 and weights.max() <= 1
    steps = max(1, round(0.16 * rate))
    assert np.abs(np.diff(weights)).max(initial=0) <= 1 / steps + 1e-6
    if trusted.all():
        assert (weights == 1).all()


def test_obscuring_comes_early_and_brief_replacing_is_left_out() -> None:
    trusted = np.ones(100, bool)
    trusted[[30, 36, 80]] = False
    weights = trust.coverage(trusted, RATE)
    assert (weights[28:39] == 0).all() and weights[22] == 1
    assert weights[60] == 1


def test_a_mesh_that_jumps_away_and_back_is_noticed_and_a_moving_head_is_not() -> None:
    points = np.tile(np.random.default_rng(0).normal(0, 30, (1, 478, 3)), (20, 1, 1)).astype(np.float32)
    points[:, 263, :2], points[:, 33, :2] = (40, 0), (-40, 0)
    points[..., 0] += 8.0 * np.arange(20)[:, None]
    moving = points.copy()
    points[10, :, 0] += 60
    frames = np.arange(20, dtype=np.int32)

    def jump(of: np.ndarray) -> np.ndarray:
        return visibility.jumps(track(20), Observations(frames, of, np.ones(20, np.float32), (640, 480)))

    assert jump(points)[10] > 0.3
    assert jump(moving).max() < 0.02


def test_the_mesh_noise_is_measured_beside_slow_change() -> None:
    rng = np.random.default_rng(0)
    slow = np.sin(np.arange(80) / 15)[:, None, None] * rng.normal(0, 3, (1, 50, 2))
    level = visibility.mesh_noise(slow + rng.normal(0, 0.3, (80, 50, 2)), np.arange(80))
    assert np.all((level > 0.25) & (level < 0.35))
    assert not visibility.mesh_noise(np.zeros((2, 50, 2)), np.arange(2)).any()


def test_a_change_over_can_be_named_by_any_of_its_frames() -> None:
    weights = trust.coverage(np.r_[np.ones(20, bool), np.zeros(3, bool), np.ones(20, bool)], 25.0)
    changing = np.flatnonzero((weights > 0) & (weights < 1))
    first, second = changing[changing < 20], changing[changing > 20]
    assert len(first) > 1 and len(second) > 1
    for place in first:
        assert np.flatnonzero(trust.changing_with(weights, int(place))).tolist() == first.tolist()
    for place in second:
        assert np.flatnonzero(trust.changing_with(weights, int(place))).tolist() == second.tolist()
    assert not trust.changing_with(weights, 0).any()
