"""Rotations and nearest distances, beside the library that they stand in for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from deid.imaging import pieces_of
from deid.models.morphable.nearest import nearest_distance
from deid.models.morphable.rotations import matrices_of, mean_rotation, vectors_of


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 0.5])
def test_mean_and_vectors_are_those_of_scipy(spread: float) -> None:
    turns = Rotation.from_rotvec(np.random.default_rng(1).normal(0, spread, (200, 3)))
    matrices = turns.as_matrix()
    np.testing.assert_allclose(mean_rotation(matrices), turns.mean().as_matrix(), atol=1e-12)
    np.testing.assert_allclose(vectors_of(matrices), turns.as_rotvec(), atol=1e-12)


def test_any_rotation_comes_back() -> None:
    matrices = Rotation.random(2000, random_state=2).as_matrix()
    halves = np.stack([np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)])
    matrices = np.concatenate([matrices, halves])
    np.testing.assert_allclose(matrices_of(vectors_of(matrices)), matrices, atol=1e-12)


def test_the_nearest_of_a_few() -> None:
    rng = np.random.default_rng(3)
    many, few = rng.normal(size=(3000, 3)), rng.normal(size=(50, 3))
    np.testing.assert_allclose(nearest_distance(many, few), cKDTree(few).query(many)[0], rtol=1e-12)


def test_pieces_of_a_mask() -> None:
    mask = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0]], np.float32)
    pieces, count = pieces_of(mask)
    np.testing.assert_array_equal(pieces, label(mask)[0])  # corners that touch join nothing
    assert count == 3
