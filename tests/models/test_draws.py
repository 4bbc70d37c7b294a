"""Surrogates drawn side by side."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.sampling import draw, draws
from deid.people import Person


@pytest.mark.parametrize(("female", "age", "brows"), [(-0.9, 45.0, 0.3), (float("nan"), float("nan"), float("nan"))])
def test_many_draws_are_those_made_one_by_one(female: float, age: float, brows: float) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    person = Person(0, (1,), np.zeros((2, 128), np.float32), female, age)
    numbers = (0, 1, 2, 3, 300, 301)

    def rng(number: int) -> np.random.Generator:
        return np.random.default_rng([7, number])

    together = draws(geometry, appearance, {number: rng(number) for number in numbers}, person, brows=brows)
    for number, code in zip(numbers, together, strict=True):
        alone = draw(geometry, appearance, rng(number), person, number, brows=brows)
        assert code.detail == alone.detail
        np.testing.assert_array_equal(code.appearance, alone.appearance)
        np.testing.assert_allclose(code.shape, alone.shape, atol=1e-5)
    assert len({code.shape.tobytes() for code in together}) == len(numbers)
