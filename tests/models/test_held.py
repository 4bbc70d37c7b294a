"""What a face does behind a hand is what it did before and does after."""

from __future__ import annotations

import numpy as np

from deid.detection.hands import Hand
from deid.models.morphable import held
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.fit_basis import fit_basis
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.tracks import AttributeTrack

ROWS = 40
NAMES = load_geometry().expression_names
TIMES = np.arange(ROWS) / 25.0


def track() -> AttributeTrack:
    fields = {name: np.zeros(ROWS, np.float32) for name in AttributeTrack.__slots__}
    fields["frames"] = np.arange(ROWS, dtype=np.int32)
    fields["rotation"] = np.stack([head_rotation(0.2 * i, 0, 0) for i in range(ROWS)])
    fields["expression"] = np.full((ROWS, len(NAMES)), 0.2, np.float32)
    fields["mouth"] = np.linspace(0, 1, ROWS).astype(np.float32)
    fields["presence"] = np.ones(ROWS, np.float32)
    for name in ("aperture", "facing"):
        fields[name] = np.ones((ROWS, 2), np.float32)
    fields["sight"] = np.zeros((ROWS, 2, 2), np.float32)
    return AttributeTrack(**fields)


def shares(part: int, rows: slice, amount: float = 0.8) -> np.ndarray:
    out = np.zeros((ROWS, 4))
    out[rows, part] = amount
    return out


def test_without_hands_nothing_changes() -> None:
    seen = track()
    assert held.held(seen, NAMES, np.zeros((ROWS, 4)), TIMES) is seen


def test_a_covered_mouth_goes_straight_from_before_to_after() -> None:
    seen = track()
    jaw, brow = NAMES.index("jawOpen"), NAMES.index("browInnerUp_L")
    seen.expression[15:20, [jaw, brow]] = 1.0  # what the landmark model makes of fingers
    seen.mouth[15:20] = 3.0
    out = held.held(seen, NAMES, shares(0, slice(15, 20)), TIMES)
    assert np.allclose(out.expression[:, jaw], 0.2) and np.allclose(out.mouth, np.linspace(0, 1, ROWS), atol=1e-5)
    assert np.array_equal(out.expression[:, brow], seen.expression[:, brow])


def test_a_hidden_eye_does_as_the_other_does() -> None:
    out = held.held(track(), NAMES, shares(1, slice(10, 14)), TIMES)
    assert not out.facing[10:14, 0].any() and (out.facing[:, 1] == 1).all() and (out.facing[:8] == 1).all()


def test_a_covered_face_keeps_turning_and_is_not_learned_from() -> None:
    seen = track()
    seen.rotation[15:18] = head_rotation(40, 20, 0)
    out = held.held(seen, NAMES, shares(3, slice(15, 18), 0.6), TIMES)
    assert np.abs(out.yaw_pitch_roll()[:, 0] - 0.2 * np.arange(ROWS)).max() < 0.1
    assert (out.presence[15:18] < 0.75).all() and (out.presence[15:18] > 0.65).all()


def test_what_stays_covered_for_long_is_not_trusted() -> None:
    times = np.arange(ROWS) / 10.0
    out = held.held(track(), NAMES, shares(3, slice(5, 35), 0.8), times)
    assert (out.presence[15:25] == 0).all() and (out.presence[5:8] > 0).all()


def test_a_mouth_that_is_never_seen_keeps_still() -> None:
    seen = track()
    rng = np.random.default_rng(0)
    seen.expression[:] = rng.uniform(0, 1, seen.expression.shape)
    out = held.held(seen, NAMES, shares(0, slice(None)), TIMES)
    smile = [NAMES.index("mouthSmile_L"), NAMES.index("mouthSmile_R")]
    assert np.ptp(out.expression[:, smile]) == 0 and not out.expression[:, NAMES.index("mouthLeft")].any()


def test_a_hand_before_the_mouth_covers_the_mouth() -> None:
    points = np.zeros((1, 478, 3), np.float32)
    points[0, :468] = fit_basis(load_geometry()).mean * (10, -10, -10) + (200, 200, 0)
    points[0, 468:] = points[0, :10]
    middle = points[0, [13, 14]].mean(axis=0)
    hand = np.zeros((21, 3), np.float32)
    hand[:] = middle + (0, 125, 0)
    for finger in range(5):
        for joint in range(4):
            hand[1 + 4 * finger + joint] = middle + (15 * finger - 30, 45 - 17 * joint, 0)
    behind = held.hidden_points(np.arange(1), points, {0: (Hand(hand, 1.0),)}, {})
    share = held.covered(behind, 1)[0]
    assert share[0] > 0.5 and share[1] < 0.2 and share[2] < 0.2 and 0 < share[3] < share[0]
    assert held.hidden_points(np.arange(1), points, None, {}) is None and not held.covered(None, 1).any()


def seen_points(count: int) -> np.ndarray:
    points = np.zeros((count, 478, 3), np.float32)
    points[:, :468] = fit_basis(load_geometry()).mean * (10, -10, -10) + (200, 200, 0)
    points[:, 468:] = points[:, :10]
    return points


def test_what_a_network_is_sure_of_hides_points_and_stays_hidden_where_a_look_fails() -> None:
    belief = np.zeros((32, 32), np.uint8)
    belief[20:] = 255  # mouth and chin
    points = seen_points(12)
    rows = {row: belief for row in range(12) if row != 6}
    share = held.covered(held.hidden_points(np.arange(12), points, None, rows), 12)
    assert (share[:, 0] > 0.9).all() and not share[:, 1:3].any()
    faint = {row: (belief * 0.5).astype(np.uint8) for row in rows}
    assert held.hidden_points(np.arange(12), points, None, faint) is None


def test_a_face_that_is_half_covered_and_half_beyond_the_border_is_not_trusted() -> None:
    times = np.arange(ROWS) / 10.0
    inside = held.held(track(), NAMES, shares(3, slice(5, 35), 0.4), times)
    outside = held.held(
        track().with_values(outside=np.full(ROWS, 0.4, np.float32)), NAMES, shares(3, slice(5, 35), 0.4), times
    )
    assert inside.presence.min() > 0.6 and (outside.presence[15:25] == 0).all()


def test_a_mouth_seen_from_the_side_is_not_pulled_to_it() -> None:
    seen = track()
    assert held.turned_away(seen, NAMES) is seen
    jaw, near, far = (NAMES.index(name) for name in ("jawLeft", "mouthFrown_R", "mouthFrown_L"))
    expression = seen.expression.copy()
    expression[:, [jaw, near]] = 1.0
    turned = seen.with_values(
        expression=expression, rotation=np.stack([head_rotation(1.2 * i, 0, 0) for i in range(ROWS)])
    )
    out = held.turned_away(turned, NAMES).expression
    assert np.array_equal(out[:18], expression[:18])  # up to 22 degrees
    assert out[-1, jaw] < 0.2 and abs(out[-1, near] - out[-1, far]) < 0.3 and out[-1, far] >= 0.2 - 1e-6
    assert out[-1, NAMES.index("browInnerUp_L")] == expression[-1, NAMES.index("browInnerUp_L")]
    assert np.abs(np.diff(out, axis=0)).max() < 0.1
