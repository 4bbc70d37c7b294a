"""Faces moved away from those whom they must not resemble."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.farther import Aim, moved
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.population import load_population
from deid.models.morphable.sampling import draw
from deid.people import Person, traits


@lru_cache(maxsize=4)
def drawn(seed: int, female: float) -> IdentityCode:
    person = Person(1, (1,), np.empty((0, 128), np.float32), female, 50.0)
    return draw(load_geometry(), load_appearance(), np.random.default_rng(seed), person)


def seen(code: IdentityCode) -> np.ndarray:
    """What a recogniser would make of it that the map foretells exactly, in two pictures."""
    return foretold([code])[[0, 0]] + np.array([[0.0], [0.01]])


def subject(code: IdentityCode, way: int) -> np.ndarray:
    """Codes of somebody whom it resembles, about half a unit away."""
    off = np.random.default_rng(way).normal(size=128)
    return seen(code) - 0.5 * off / np.linalg.norm(off)


@pytest.mark.parametrize(("seed", "female"), [(1, 1.0), (2, -1.0)])
def test_a_face_moves_away_within_peoples_limits_and_reads_as_old_as_before(seed: int, female: float) -> None:
    geometry, appearance, code = load_geometry(), load_appearance(), drawn(seed, female)
    before = subject(code, seed)
    aim = Aim(before, 2.0, 2.0, (), 0.6)
    found = moved(geometry, appearance, code, female, seen(code), aim, seen)
    assert aim.score(seen(found)) > aim.score(seen(code)) + 0.005
    odd = [load_population().oddness(geometry, c.shape[None].astype(np.float64), female)[0] for c in (code, found)]
    assert odd[1] <= max(1.0, odd[0]) + 0.01
    change = seen(found)[0] - seen(code)[0]
    for trait in ("gender", "age"):
        weights = traits()[trait][:-1].astype(np.float64)
        assert abs(change @ weights) < 0.1 * np.linalg.norm(change) * np.linalg.norm(weights)
    np.testing.assert_array_equal(found.appearance[-COUNT:], code.appearance[-COUNT:])
    assert found.detail == code.detail and found.shape.dtype == np.float32 == found.appearance.dtype
    again = moved(geometry, appearance, code, female, seen(code), aim, seen)
    np.testing.assert_array_equal(found.shape, again.shape)


def test_a_face_goes_no_farther_than_asked() -> None:
    geometry, appearance, code = load_geometry(), load_appearance(), drawn(1, 1.0)
    before = subject(code, 1)
    start = float(np.linalg.norm(seen(code) - before, axis=1).mean())
    looks: list[IdentityCode] = []

    def look(tried: IdentityCode) -> np.ndarray:
        looks.append(tried)
        return seen(tried)

    near = moved(geometry, appearance, code, 1.0, seen(code), Aim(before, start + 0.002, 0.0, (), 0.6), look)
    assert len(looks) == 1
    far = moved(geometry, appearance, code, 1.0, seen(code), Aim(before, 2.0, 0.0, (), 0.6), seen)
    assert np.linalg.norm(near.shape - code.shape) < np.linalg.norm(far.shape - code.shape)
    same = moved(geometry, appearance, code, 1.0, seen(code), Aim(before, start - 0.01, 0.0, (), 0.6), look)
    assert len(looks) == 1
    np.testing.assert_array_equal(same.shape, code.shape)


def test_looks_that_lead_nowhere_leave_the_face_as_it_was() -> None:
    geometry, appearance, code = load_geometry(), load_appearance(), drawn(1, 1.0)
    before, nearer = subject(code, 1), iter(np.linspace(0.9, 0.1, 20))
    aim = Aim(before, 2.0, 2.0, (), 0.6)

    def look(tried: IdentityCode) -> np.ndarray:
        return before + next(nearer) * (seen(code) - before)

    found = moved(geometry, appearance, code, 1.0, seen(code), aim, look)
    np.testing.assert_array_equal(found.shape, code.shape)


def test_whoever_is_too_near_counts() -> None:
    before = np.zeros((2, 128))
    after = before + np.eye(128)[:2] * 0.9
    other = after[:1] + 0.3 * np.eye(128)[5]
    alone, beside = Aim(before, 0.7, 0.6, (), 0.6), Aim(before, 0.7, 0.6, (other,), 1.2)
    assert alone.score(after) == pytest.approx(0.2) and beside.score(after) < 0
    way = beside.way(after)
    assert np.linalg.norm(way) == pytest.approx(1) and beside.score(after + 0.05 * way) > beside.score(after)


def test_whoever_is_in_the_middle_is_led_out_of_it_but_first_from_the_subject() -> None:
    before, middle = np.zeros((1, 128)), np.eye(128)[1] * 0.3
    after = np.eye(128)[:1] * 0.9
    aim = Aim(before, 0.7, 0.6, (), 0.6, middle=middle, out=1.2)
    assert aim.score(after) == pytest.approx((np.hypot(0.9, 0.3) - 1.2) / 2)
    way = aim.way(after)
    assert aim.score(after + 0.05 * way) > aim.score(after)
    assert np.linalg.norm(after + 0.05 * way - middle) > np.linalg.norm(after - middle)
    near = np.eye(128)[:1] * 0.4  # 0.3 too near to the subject, and 0.4 / 2 to the middle
    aim = Aim(before, 0.7, 0.6, (), 0.6, middle=middle, out=0.9)
    assert aim.way(near) @ np.eye(128)[0] > 0.8
