"""What is worked out for many draws at once is what each of them has by itself."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from deid.models.morphable import foretell, side_by_side, surrogate
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.complexion import Complexion, shown
from deid.models.morphable.features import features, places, strengths, strengths_of
from deid.models.morphable.geometry import load_geometry


def _codes(count: int) -> list[IdentityCode]:
    appearance, shapes = load_appearance(), len(load_geometry().identity)
    out = []
    for number in range(count):
        rng = np.random.default_rng(number)
        skin, iris, detail = appearance.sample(rng, gender=float(rng.uniform(-1, 1)), age=float(rng.uniform(8, 80)))
        out.append(IdentityCode(rng.normal(size=shapes).astype(np.float32), skin, detail, iris))
    return out


def test_details_of_many_seeds_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    seeds = [3, 15, 16, *rng.integers(16, 2**31, 60).tolist()]
    genders, ages = rng.uniform(-1, 1, len(seeds)), rng.uniform(6, 80, len(seeds))
    styles = [Complexion.drawn(*of) for of in zip(seeds, genders.tolist(), ages.tolist(), strict=True)]
    alone = np.array([(style.stubble, style.lips, style.eyes, style.cheeks) for style in styles])
    np.testing.assert_array_equal(shown(seeds, genders, ages), alone)
    assert (alone.std(axis=0) > 0).all()
    each = np.stack([strengths(seed, age) for seed, age in zip(seeds, ages.tolist(), strict=True)])
    np.testing.assert_array_equal(strengths_of(seeds, ages), each)
    assert not each[:2].any() and each[2:].any(axis=1).all()


def test_what_is_foretold_does_not_depend_on_what_was_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = _codes(12)
    monkeypatch.setattr(foretell, "_KEPT", {})
    monkeypatch.setattr(foretell, "_MOST", 8)  # fewer than are asked about: what is kept has to go in between
    alone = np.stack([foretell.numbers(code) for code in codes])
    for some in (codes[:5], codes[3:9], codes, codes[::-1]):
        told = np.stack([foretell.numbers(code) for code in some])
        np.testing.assert_array_equal(foretell.foretold(some), told @ foretell._matrix())
        assert len(foretell._KEPT) <= max(8, len(some))
    np.testing.assert_array_equal(np.stack([foretell.numbers(code) for code in codes]), alone)


def test_places_add_up_on_both_sides() -> None:
    seed, age = 4321, 45.0
    found = features(seed, age)[..., 1]
    (off, down), amounts = places()[:, :2].T, strengths(seed, age)
    height, width = found.shape
    v, u = (np.mgrid[:height, :width] + 0.5) * 4
    apart = np.random.default_rng((seed, 12)).normal(0, 0.15, len(off)) * np.abs(amounts)
    half = 1 / (1 + np.exp((u - 2 * width) / 6))  # 1 on the left
    whole = np.zeros((height, width))
    for (o, at, so, sv, strength), amount, uneven in zip(places(), amounts, apart, strict=True):
        spot = strength * np.exp(-(((np.abs(u - 2 * width) - o) / so) ** 2 + ((v - at) / sv) ** 2))
        whole += spot * (amount + uneven * (2 * half - 1))
    assert np.abs(found - whole).max() < 1e-6 < np.abs(found - found[:, ::-1]).max()
    assert np.abs(found).max() > 0.05 and down.max() < 4 * height


def test_drafts_do_not_depend_on_threads() -> None:
    appearance, code = load_appearance(), _codes(2)[1]
    made = []
    try:
        for threads in (1, 2):
            side_by_side.allow(threads)
            made.append(appearance.draft(code))
    finally:
        side_by_side.allow(2)
    np.testing.assert_array_equal(*made)
    assert made[0].std() > 0.01


def test_pictures_are_recognised_in_order_and_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser belongs to one thread; what it is shown was painted in others."""
    painters, recognisers = set[int](), set[int]()

    def painted(geometry: object, sitter: object, likeness: int) -> np.ndarray:
        painters.add(threading.get_ident())
        time.sleep(0.01 * (4 - likeness))  # the first takes longest
        return np.full((150, 150, 3), likeness, np.uint8)

    def recognise(chips: np.ndarray) -> np.ndarray:
        recognisers.add(threading.get_ident())
        return chips.reshape(len(chips), -1)[:, :128].astype(np.float32)

    monkeypatch.setattr(surrogate, "in_place", painted)
    try:
        side_by_side.allow(2)
        chips, codes = surrogate.seen_in_places(None, None, range(4), recognise)
    finally:
        side_by_side.rest()
    assert chips.shape == (4, 150, 150, 3) and codes.shape == (4, 128)
    np.testing.assert_array_equal(chips[:, 0, 0, 0], range(4))
    np.testing.assert_array_equal(codes[:, 0], range(4))
    assert recognisers == {threading.get_ident()} and recognisers.isdisjoint(painters)
