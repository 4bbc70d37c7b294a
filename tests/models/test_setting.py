"""How drawn heads sit in what stays of a subject."""

import numpy as np
import pytest

from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.painter import Sitter
from deid.models.morphable.population import load_population
from deid.models.morphable.setting import Setting


@pytest.fixture(scope="module")
def heads():
    population = load_population()
    rng = np.random.default_rng(4)
    return population.mean(1.0, 40.0) + rng.normal(size=(24, len(population.centre))) @ population.root.T


def test_a_head_sits_in_its_own_place(heads):
    geometry = load_geometry()
    shares = Setting.of(geometry, geometry.neutral(heads[0].astype(np.float32))).shares(heads)
    assert shares[0].max() < 0.05
    assert np.median(shares[1:].max(axis=1)) > 0.3


def test_agrees_with_where_sitters_are_placed(heads):
    """The height of the eyes, as the placed head itself has it."""
    geometry = load_geometry()
    subject = geometry.neutral(heads[1].astype(np.float32))
    sitter = Sitter(None, geometry.neutral(heads[2].astype(np.float32)), None)  # type: ignore[arg-type]
    placed, theirs = (surface_points(geometry, n) for n in (sitter.in_place_of(geometry, subject).neutral, subject))
    eyes = [33, 133, 362, 263]
    off = abs(placed[eyes, 1].mean() - theirs[eyes, 1].mean()) / (theirs[263, 0] - theirs[33, 0])
    assert Setting.of(geometry, subject).shares(heads[2:3])[0, 0] == pytest.approx(off / 0.03, abs=0.05)


def test_size_and_place_do_not_matter(heads):
    geometry = load_geometry()
    subject = geometry.neutral(heads[3].astype(np.float32))
    there = Setting.of(geometry, 1.3 * subject + np.float32([1, -2, 3])).shares(heads)
    np.testing.assert_allclose(there, Setting.of(geometry, subject).shares(heads), atol=1e-3)


def test_a_low_browed_face_is_told_from_one_that_fits(heads):
    geometry = load_geometry()
    subject = geometry.neutral(heads[0].astype(np.float32)).copy()
    points = surface_points(geometry, subject)
    eyes = np.isin(np.arange(468), (33, 133, 362, 263))[:, None] * (0, 0.6, 0)
    assert Setting(geometry, points + eyes).oddness(heads[:1])[0] > 1.5
    assert Setting(geometry, points).oddness(heads[:1])[0] < 0.1
