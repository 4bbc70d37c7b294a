from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.photo_local import at_samples, bumps, centres, factor, fit_local, soft_floor
from deid.models.morphable.photo_reference import load_reference


def _fit(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    geometry = load_geometry()
    seen = np.ones_like(residual) if weights is None else weights
    return at_samples(geometry) @ fit_local(geometry, residual[None], seen[None], load_reference().spread)[0]


def test_a_broad_shadow_is_found() -> None:
    geometry = load_geometry()
    side = np.argmax(centres(geometry)[:, 0])
    wanted = -0.3 * at_samples(geometry)[:, side]
    assert np.corrcoef(_fit(wanted), wanted)[0, 1] > 0.95


def test_what_is_as_told_needs_nothing() -> None:
    assert np.abs(_fit(np.zeros(len(load_reference().spread), np.float32))).max() < 1e-6


@pytest.mark.parametrize("deviation", [-1.5, 1.5])
def test_a_few_dark_places_are_no_shadow_but_light_ones_count_more(deviation: float) -> None:
    residual = np.zeros(len(load_reference().spread), np.float32)
    residual[::15] = deviation
    found = float(np.abs(_fit(residual)).mean())
    assert found < (0.04 if deviation < 0 else 0.12)


def test_hidden_places_say_nothing() -> None:
    residual = np.full(len(load_reference().spread), -0.3, np.float32)
    assert np.abs(_fit(residual, np.zeros_like(residual))).max() == 0


def test_factors_stay_within_limits_and_far_places_are_untouched() -> None:
    geometry = load_geometry()
    points = np.array([[0, 0, 8], [0, 60, 0]], np.float32)
    basis = bumps(geometry, points)
    for height in (-5.0, 5.0):
        near, far = factor(basis, np.full(basis.shape[1], height, np.float32))
        assert 0.3 < near < 2.4 and near != 1
        assert far == 1


def test_light_never_falls_to_nothing() -> None:
    bent = soft_floor(np.linspace(-1, 1, 201))
    assert (bent > 0).all() and (np.diff(bent) > 0).all() and bent[-1] == 1
