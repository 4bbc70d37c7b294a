"""Lips whose colour is the subject's, within bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import lip_colour

colours = st.lists(st.floats(-4, 4), min_size=6, max_size=6).map(lambda values: np.reshape(values, (2, 3)))


@settings(max_examples=60, deadline=None)
@given(colours)
def test_a_change_is_bounded_and_goes_the_same_way(change: np.ndarray) -> None:
    out = lip_colour._bounded(change)
    assert (np.abs(out[:, 0]) <= lip_colour._MOST[:, 0]).all() and np.abs(out).max() < 2
    assert (np.sign(out[:, 0]) == np.sign(change[:, 0])).all()
    apart, wanted = out[:, 1:] - out[:, :1], change[:, 1:] - change[:, :1]
    assert (apart * wanted >= 0).all() and (np.abs(apart) <= np.abs(wanted) + 1e-12).all()


def test_lipstick_is_kept_and_a_moustaches_shadow_is_not() -> None:
    painted = lip_colour._bounded(np.array([[-0.2, -1.2, -1.0], [-0.1, -1.1, -0.9]]))
    assert np.allclose(painted, [[-0.2, -1.2, -1.0], [-0.1, -1.1, -0.9]], atol=0.11)
    shadowed = lip_colour._bounded(np.full((2, 3), -1.8))
    assert (shadowed > -0.9).all()


def test_small_changes_are_left_alone() -> None:
    change = np.array([[0.1, -0.2, 0.3], [-0.3, -0.5, 0.0]])
    assert np.allclose(lip_colour._bounded(change), change)
