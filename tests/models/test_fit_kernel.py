"""The fit's normal equations beside those of a Jacobian by differences."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable import fit_kernel
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.fit_basis import FitBasis, fit_basis
from deid.models.morphable.geometry import load_geometry

DEPTH = 0.05


@pytest.fixture(scope="module")
def basis() -> FitBasis:
    return fit_basis(load_geometry())


def residuals(
    basis: FitBasis, model: np.ndarray, seen: np.ndarray, state: np.ndarray, rotation: np.ndarray, distance: float
) -> np.ndarray:
    """Weighted: points, then differences of pairs, whose squares are summed up."""
    own, pairs = np.empty(len(basis.weights)), np.empty(len(basis.pairs))
    fit_kernel.frame_weights(rotation, basis.weights, basis.sides, basis.pairs, basis.pair_weights, own, pairs)
    cols = np.empty((len(own) * 3, 8))
    fit_kernel.columns(model, seen, state, rotation, distance, basis.reach, 0, cols)
    apart = cols[:, 7].reshape(-1, 3)
    points = apart * np.sqrt(own)[:, None] * np.sqrt([1.0, 1.0, DEPTH])
    between = (apart[basis.pairs[:, 0]] - apart[basis.pairs[:, 1]])[:, :2] * np.sqrt(pairs)[:, None]
    return np.concatenate([points.ravel(), between.ravel()])


@pytest.mark.parametrize(("yaw", "distance", "close"), [(12.0, np.inf, 1e-5), (-48.0, np.inf, 1e-5), (30.0, 90.0, 0.1)])
def test_normal_equations_are_those_of_the_residuals(
    basis: FitBasis, yaw: float, distance: float, close: float
) -> None:
    rng = np.random.default_rng(2)
    rotation, state = head_rotation(yaw, 8.0, -5.0), np.array([11.0, 200.0, -150.0, 0.4])
    model = basis.mean + np.tensordot(rng.uniform(0, 0.4, len(basis.expression)), basis.expression, 1)
    seen = rng.normal(0, 30, (468, 3))
    hessian, gradient = fit_kernel.normal_blocks(
        model, seen, basis.rows, basis.tables, basis.weights, basis.sides, basis.pairs, basis.pair_weights, DEPTH,
        state, rotation, distance, basis.reach,
    )  # fmt: skip
    step = 1e-4
    base = residuals(basis, model, seen, state, rotation, distance)
    moved = [residuals(basis, model + step * shape, seen, state, rotation, distance) for shape in basis.seen]
    jacobian = (base - np.array(moved)).T / step
    size = np.abs(hessian).max()
    assert np.abs(gradient[fit_kernel.POSE :] - base @ jacobian).max() < 1e-3 * np.abs(gradient).max()
    assert np.abs(hessian[fit_kernel.POSE :, fit_kernel.POSE :] - jacobian.T @ jacobian).max() < close * size
    assert np.linalg.eigvalsh(hessian).min() > -1e-6 * size  # or steps go uphill
