"""Brows that lie low or high all the time: a face at rest, not an expression."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable import calibrate
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.tracks import AttributeTrack


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def test_what_brows_always_do_is_at_rest_and_looks_the_same(geometry: Geometry) -> None:
    names = geometry.expression_names
    shape = np.zeros(len(geometry.identity), np.float32)
    down, smile = names.index("browDown_L"), names.index("mouthSmile_L")
    expression = np.zeros((20, len(names)))
    expression[:, down], expression[:, smile] = 0.5, 0.6
    expression[15:, down] = 0.9  # and frowns at last
    before = expression.copy()
    turn = Retargeter(geometry, shape, shape)
    turn._hold_brows(expression)
    held = turn.brows_held
    assert 0.4 < held[down] <= 0.5 and held[smile] == 0  # a smile that lasts is one
    assert np.allclose(expression + held, before, atol=1e-6)
    assert expression[0, down] < 0.1 and expression[-1, down] > 0.4
    still = np.zeros((2, 2), np.float32)
    as_was = geometry.pose(geometry.vertices, before[0], still)
    rested = geometry.pose(geometry.vertices + calibrate._held(geometry, held), expression[0], still)
    assert np.abs(as_was - rested).max() < 0.02


def test_brows_that_move_stay_an_expression(geometry: Geometry) -> None:
    shape = np.zeros(len(geometry.identity), np.float32)
    expression = np.zeros((20, len(geometry.expression_names)))
    expression[::2, geometry.expression_names.index("browInnerUp_R")] = 0.8
    before = expression.copy()
    turn = Retargeter(geometry, shape, shape)
    turn._hold_brows(expression)
    assert not turn.brows_held.any()
    assert np.array_equal(expression, before)


def test_the_face_at_rest_is_what_it_was_in_later_windows(geometry: Geometry) -> None:
    """A stream's head is made once: brows that are down in all of a later window are an expression."""
    down = geometry.expression_names.index("browDown_L")
    shape = np.zeros(len(geometry.identity), np.float32)
    turn = Retargeter(geometry, shape, shape)
    fields = {name: np.zeros(20, np.float32) for name in AttributeTrack.__slots__}
    fields |= {
        "frames": np.arange(20, dtype=np.int32), "rotation": np.tile(np.eye(3), (20, 1, 1)),
        "scale": np.full(20, 12.0), "distance": np.full(20, 90.0), "aperture": np.full((20, 2), 0.3, np.float32),
        "expression": np.zeros((20, len(geometry.expression_names)), np.float32),
        "sight": np.zeros((20, 2, 2), np.float32), "gaze": np.zeros((20, 2, 2), np.float32),
        "facing": np.ones((20, 2), np.float32), "openness": np.ones((20, 2), np.float32),
    }  # fmt: skip
    calm = AttributeTrack(**fields)
    calm.expression[:, down] = 0.2
    turn(calm)
    held, rise = turn.brows_held.copy(), turn.lids_rise
    assert held[down] > 0.15
    turn.settle()
    frown = calm.with_values(
        expression=calm.expression + np.float32(0.5) * (np.arange(len(held)) == down),
        openness=np.full((20, 2), 0.7, np.float32), aperture=np.full((20, 2), 0.2, np.float32),
    )  # fmt: skip
    turned = turn(frown)
    assert np.array_equal(turn.brows_held, held) and turn.lids_rise == rise
    assert (turned.expression[:, down] > 0.5).all()


@pytest.mark.parametrize("degrees", [0.0, -11.0])
def test_eyes_open_wide_wherever_they_look(geometry: Geometry, degrees: float) -> None:
    """Lids follow eyes downwards; who looks down with wide eyes holds them up."""
    from deid.models.morphable.lids import lid_curves

    curves = lid_curves(geometry, np.zeros(len(geometry.identity), np.float32))
    steps = curves.step(0, np.array([0.7, 1.0, 1.2]), np.full(3, np.radians(degrees)))
    assert (np.diff(steps) < -0.1).all() and steps[-1] > curves.steps[0]
