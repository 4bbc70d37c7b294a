"""Where heads are drawn: inside what people's proportions allow, of the gender that is asked for, and not all alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.models.morphable import population as module
from deid.models.morphable.anthropometry import NAMES, proportions
from deid.models.morphable.foretell import shape_reads
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.population import load_population


def heads(count: int, female: float) -> np.ndarray:
    geometry, people = load_geometry(), load_population()
    reads = np.sign(female) * shape_reads(len(people.centre))
    rngs = [np.random.default_rng(k) for k in range(count)]
    return people.draw(geometry, rngs, female, [50.0] * count, reads, [0.2] * count)


@pytest.mark.parametrize("female", [-1.0, 1.0])
def test_nearly_every_head_is_ordinary_and_they_differ(female: float) -> None:
    geometry, people = load_geometry(), load_population()
    drawn = heads(60, female)
    assert (people.oddness(geometry, drawn, female) <= 1).mean() > 0.9
    assert people.standard(drawn - drawn.mean(0)).std() > 0.5


def test_heads_of_the_modes_own_spread_are_odd() -> None:
    drawn = np.random.default_rng(0).normal(size=(200, len(load_population().centre)))
    assert (load_population().oddness(load_geometry(), drawn, 0.0) > 1).mean() > 0.8


def test_the_mean_head_is_ordinary_at_every_age_and_gender() -> None:
    people = load_population()
    for female in (-1.0, 0.0, 1.0):
        for years in (20.0, 50.0, 80.0, float("nan")):
            assert people.oddness(load_geometry(), people.mean(female, years)[None], female)[0] < 1


def test_what_is_lacking_of_a_gender_is_made_up_for() -> None:
    geometry, people = load_geometry(), load_population()
    reads = shape_reads(len(people.centre))
    rngs = [np.random.default_rng(k) for k in range(20)]
    told = people.draw(geometry, rngs, 1.0, [40.0] * 20, reads, [0.6] * 20) @ reads
    assert min(told) > 0.6 - 1e-6


@pytest.mark.parametrize("female", [-1.0, 1.0])
def test_noses_are_brought_within_people_s_limits_and_keep_what_they_read_as(female: float) -> None:
    geometry, people = load_geometry(), load_population()
    reads = np.sign(female) * shape_reads(len(people.centre))
    free = people.mean(female, 40.0) + people.components(np.random.default_rng(3)) @ people.root.T
    bent = people.bent(geometry, free, female, reads)
    assert np.abs((bent - free) @ reads).max() < 1e-6

    def over(shapes: np.ndarray) -> np.ndarray:
        off = proportions(geometry, shapes) - people.proportions[0] - female * people.proportions[1]
        low, high = people.limits * module._SCALES
        return np.maximum(off / high, off / low)

    seen = NAMES.index("nostrils seen")
    assert (over(free)[:, seen] > 1).mean() > 0.2
    assert (over(bent)[:, seen] > 1.02).mean() < 0.1
    assert people.standard(bent - bent.mean(0)).std() > 0.7 * people.standard(free - free.mean(0)).std()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 55), st.floats(-3, 3))
def test_proportions_of_every_mode_are_those_of_a_face(mode: int, amount: float) -> None:
    shape = np.zeros((1, 56))
    shape[0, mode] = amount
    found = proportions(load_geometry(), shape)[0]
    assert found.shape == (len(NAMES),)
    assert np.isfinite(found).all()
    assert 0.2 < found[NAMES.index("nose length")] < 0.7


def test_a_damaged_asset_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    monkeypatch.setattr(module, "_ASSET", tmp_path / "x.safetensors")
    load_population.cache_clear()
    try:
        with pytest.raises(ModelError):
            load_population()
    finally:
        load_population.cache_clear()
