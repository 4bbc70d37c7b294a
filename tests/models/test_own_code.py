"""A portrait's own identity code: its rendering is taken for the person, and the code is a face of the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.foretell import sensitivity
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.own_code import OwnCode, length, own_code
from deid.models.morphable.sampling import draw
from deid.models.morphable.surrogate import Likeness, in_place, sketched
from deid.recognition.lite import LiteRecogniser
from deid.recognition.thresholds import FAR_1E3
from tests.models.test_surrogate import likeness, somebody

LOOKS = 14


@pytest.fixture(scope="module")
def recogniser() -> LiteRecogniser:
    return LiteRecogniser()


@pytest.fixture(scope="module")
def portrait() -> Likeness:
    """Somebody whose true code is known: a draw of the model in a picture."""
    geometry, appearance, place = load_geometry(), load_appearance(), likeness(5)
    true = draw(geometry, appearance, np.random.default_rng(8), somebody(1))
    return replace(place, chip=in_place(geometry, sketched(geometry, appearance, true), place))


@pytest.fixture(scope="module")
def found(portrait: Likeness, recogniser: LiteRecogniser) -> OwnCode:
    geometry = load_geometry()
    rest = np.zeros(len(geometry.identity), np.float32)
    return own_code(geometry, load_appearance(), rest, portrait, recogniser.embed, LOOKS)


def test_a_code_has_at_most_256_numbers() -> None:
    assert length(load_geometry(), load_appearance()) <= 256


def test_the_rendering_of_the_own_code_is_taken_for_the_person(
    found: OwnCode, portrait: Likeness, recogniser: LiteRecogniser
) -> None:
    assert found.distance < min(found.at_first, FAR_1E3)
    codes = recogniser.embed(np.stack([portrait.chip, found.picture]))
    assert np.linalg.norm(codes[0] - codes[1]) == pytest.approx(found.distance, abs=1e-4)


def test_the_code_alone_makes_the_picture_again_and_is_a_face_of_the_model(found: OwnCode, portrait: Likeness) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    again = in_place(geometry, sketched(geometry, appearance, found.code), portrait)
    np.testing.assert_array_equal(again, found.picture)
    assert np.abs(found.code.shape).max() <= 3
    assert (np.abs(found.code.appearance - appearance.centre) <= 3 * np.maximum(appearance.spread, 1e-3) + 1e-5).all()
    assert found.looks <= LOOKS and found.code.detail == 0


def test_what_is_foretold_of_a_difference_is_told_number_by_number() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    size = length(geometry, appearance)
    assert sensitivity(size).shape == (size, 128) and np.abs(sensitivity(size)).max() > 0
    assert not sensitivity(10_000).any()
