"""Places of a face that are lighter or darker from person to person, and seeds of details that are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.details import detailed
from deid.models.morphable.features import COUNT, features, strengths
from deid.models.morphable.foretell import foretold, foretold_details
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.sampling import draws, gendered
from deid.people import Person


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(16, 2**31 - 1), age=st.floats(6, 80))
def test_places_are_bounded_and_the_seeds_own(seed: int, age: float) -> None:
    found = strengths(seed, age)
    assert found.shape == (COUNT,)
    assert np.abs(found).max() <= 2
    np.testing.assert_array_equal(found, strengths(seed, age))
    assert np.abs(found - strengths(seed + 1, age)).max() > 0.5 * np.abs(found).max()


def test_nobody_in_particular_has_none_and_the_young_have_less() -> None:
    assert not features(5, 40.0).any()
    grown, child = features(1234, 60.0), features(1234, 8.0)
    assert np.abs(child).std() < 0.7 * np.abs(grown).std()


def test_places_are_soft_nearly_even_and_weak_on_cheeks() -> None:
    shown = np.stack([features(seed, 55.0)[..., 1] for seed in range(100, 140)])
    assert np.abs(shown).max() < 0.9
    assert np.abs(np.diff(shown, axis=2)).max() < 0.2  # a texel and the next, a millimetre apart
    left, right = shown, shown[:, :, ::-1]
    assert np.abs(left - right).std() < 0.45 * shown.std()
    # the nose and the eyes, and the cheeks between these and the mouth
    assert shown[:, 35:75, 45:115].std() > 2.5 * shown[:, 75:100, 25:45].std()


@pytest.mark.parametrize("female", [-1.0, 1.0])
def test_chosen_details_lead_away_and_each_seed_elsewhere(female: float) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    somebody = Person(1, (1,), np.empty((0, 128), np.float32), female, 50.0)
    codes = draws(geometry, appearance, {k: np.random.default_rng(k) for k in range(24)}, somebody)
    told = foretold(codes)
    away = np.random.default_rng(1).normal(size=told.shape)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    ways = np.random.default_rng(2).normal(size=(2, 128))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    after = [
        detailed(codes, told, away, way, (female, 50.0), np.random.default_rng(seed))
        for way, seed in zip(ways, (3, 4), strict=True)
    ]
    gains = [((foretold(new) - told) * away).sum(axis=1) for new in after]
    assert min(float(np.mean(gain)) for gain in gains) > 0.01
    own = [(foretold(new) - told) @ (ways[k] - ways[1 - k]) for k, new in enumerate(after)]
    assert min(float(np.mean(gain)) for gain in own) > 0.01  # each farther its own way than the other's
    assert np.mean([a.detail == b.detail for a, b in zip(*after, strict=True)]) < 0.1
    for new in after:
        assert all(np.array_equal(a.shape, b.shape) for a, b in zip(codes, new, strict=True))
        assert (np.sign(female) * gendered(foretold(new)) > 0).mean() > 0.9
    again = detailed(codes, told, away, ways[0], (female, 50.0), np.random.default_rng(3))
    assert [a.detail for a in again] == [a.detail for a in after[0]]


def test_what_is_foretold_of_details_is_part_of_what_is_foretold_of_faces() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    somebody = Person(1, (1,), np.empty((0, 128), np.float32), -1.0, 50.0)
    code = draws(geometry, appearance, {0: np.random.default_rng(2)}, somebody)[0]
    other = type(code)(code.shape, code.appearance, 4321, code.iris)
    parts = foretold_details([code.detail, 4321], *appearance.traits(code.appearance))
    change = foretold([other])[0] - foretold([code])[0]
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(change, parts[1] - parts[0], atol=1e-9)
