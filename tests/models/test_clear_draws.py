"""Draws that come near nobody whom the model was made from."""

from pathlib import Path

import numpy as np
import pytest

from deid.errors import ModelError
from deid.models.morphable import clear_draws as module
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.clear_draws import POOL, chance, clear_draws, clear_share, typical
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.sampling import draws
from deid.people import Person


def near(female: float) -> set[int]:
    return set(np.flatnonzero(module._near()[int(female > 0)]).tolist())


@pytest.mark.parametrize("female", [-1.0, 1.0])
def test_no_draw_is_near_a_donor_and_seeds_differ(female: float) -> None:
    first, again, second = (clear_draws(seed, 384, female) for seed in ((5, 0), (5, 0), (6, 0)))
    assert first == again and len(set(first)) == 384
    assert not set(first) & near(female) and max(first) < POOL
    assert len(set(first) & set(second)) < 40


@pytest.mark.parametrize("female", [0.0, 0.3, float("nan")])
def test_whoever_may_be_either_is_clear_as_both(female: float) -> None:
    found = set(clear_draws((1,), 2000, female))
    assert not found & (near(-1.0) | near(1.0))


def test_some_draws_are_rejected_and_most_are_left() -> None:
    assert np.all(clear_share() < 1) and np.all(clear_share() > 0.3)


def test_a_draw_is_nearly_the_same_face_whatever_its_place_and_at_ages_close_by() -> None:
    """Otherwise it would not be the one that was compared with donors."""
    geometry, appearance = load_geometry(), load_appearance()
    young, older = (Person(1, (), np.empty((0, 128), np.float32), 1.0, years) for years in (38.0, 41.0))
    numbers = range(60, 84)
    told = foretold(draws(geometry, appearance, {n - 60: chance(n) for n in numbers}, young))
    late = foretold(draws(geometry, appearance, {n: chance(n) for n in reversed(numbers)}, older))[::-1]
    off = np.linalg.norm(told - late, axis=1)
    assert np.median(off) < 0.05 and (off < 0.2).mean() > 0.8


def test_a_damaged_asset_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    monkeypatch.setattr(module, "_ASSET", tmp_path / "x.safetensors")
    for cached in (module._near, module._table):
        cached.cache_clear()
    with pytest.raises(ModelError, match="reinstall"):
        clear_draws((1,), 2, 1.0)
    with pytest.raises(ModelError, match="reinstall"):
        typical()
    for cached in (module._near, module._table):
        cached.cache_clear()


def test_an_ordinary_picture_adds_what_makes_codes_those_of_people() -> None:
    """Codes of people are about as long as each other's, and foretold ones are differences."""
    geometry, appearance = load_geometry(), load_appearance()
    for female, added in zip((-1.0, 1.0), typical(), strict=True):
        person = Person(1, (), np.empty((0, 128), np.float32), female, 50.0)
        told = foretold(draws(geometry, appearance, {n: chance(n) for n in range(24)}, person))
        lengths = np.linalg.norm(told + added, axis=1)
        assert lengths.min() > 1.1 and lengths.max() < 1.7
