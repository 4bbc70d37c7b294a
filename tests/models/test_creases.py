"""Lines of the skin: which stand in calm faces, which expressions add, and how they differ between people."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.creases import Folds, creases, depth_at
from deid.models.morphable.fold_lines import REGIONS
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.spots import spots


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def test_calm_faces_get_lines_with_the_years(geometry: Geometry) -> None:
    deep = [np.mean([Folds.of(age, seed).standing.sum() for seed in range(20)]) for age in (20, 35, 50, 65, 80)]
    assert deep[0] < 0.3 and (np.diff(deep) > 0).all() and deep[-1] > 8
    assert creases(geometry).weights(None, Folds.moving(1.0)) is None
    old = Folds.of(75, 3)
    calm = creases(geometry, old.kind).weights(None, old)
    assert calm is not None and calm.max() > 0.4
    assert calm.min() >= 0 and calm.max() <= 1.5


def test_children_have_no_lines() -> None:
    assert depth_at(8) == 0 and depth_at(12) == 0
    assert depth_at(25) < depth_at(40) < depth_at(70)


def test_people_of_one_age_have_lines_of_their_own() -> None:
    people = [Folds.of(65, seed) for seed in range(12)]
    assert {person.kind for person in people} == {0, 1, 2}
    left, right = np.split(np.array([person.standing for person in people]), 2, axis=1)
    assert np.abs(left - right).max() > 0.02 and np.abs(left - right).mean() < 0.2 * left.mean()
    assert np.array_equal(Folds.of(65, 4).standing, people[4].standing)


def test_an_expression_deepens_what_stands_on_its_side(geometry: Geometry) -> None:
    folds = Folds(1.0, np.full(2 * len(REGIONS), 0.3, np.float32))
    model = creases(geometry)
    frown = np.zeros(len(geometry.expression_names), np.float32)
    frown[geometry.expression_names.index("browDown_L")] = 1.0
    calm, moved = model.weights(np.zeros_like(frown), folds), model.weights(frown, folds)
    assert calm is not None and moved is not None
    places = geometry.vertices[model.members]
    between = (np.abs(places[:, 0]) > 0.3) & (np.abs(places[:, 0]) < 0.9) & (np.abs(places[:, 1] - 4.8) < 0.4)
    left, right = between & (places[:, 0] > 0), between & (places[:, 0] < 0)
    assert (moved[left] > calm[left] + 0.3).all() and np.allclose(moved[right], calm[right], atol=0.15)
    assert (moved >= calm - 1e-6).all()


def test_reliefs_differ_and_lie_on_the_face(geometry: Geometry) -> None:
    one, other = creases(geometry, 0), creases(geometry, 1)
    assert not np.array_equal(one.relief.texels, other.relief.texels)
    assert np.array_equal(one.members, other.members)
    for region in REGIONS:
        x, y, z = np.abs(geometry.vertices[:, 0]), geometry.vertices[:, 1], geometry.vertices[:, 2]
        height, dark = region.field(x, y, z, 1.0)
        mask = region.mask(x, y, z)
        assert np.isfinite(height).all() and np.abs(height * mask).max() < 0.25
        assert dark.min() >= 0 and dark.max() <= 1


def test_brown_spots_come_with_years() -> None:
    many = [np.mean([-spots(seed, age, 660, 640).mean() for seed in range(8)]) for age in (25.0, 80.0)]
    assert many[1] > 1.5 * many[0]
    assert spots(3, 80.0, 660, 640).max() <= 0
    assert np.array_equal(spots(5, 20.0, 660, 640), spots(5, 40.0, 660, 640))
