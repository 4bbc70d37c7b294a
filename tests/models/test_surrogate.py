"""Who stands in for whom: draws that fit, that are foretold well enough, and that differ from each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deid.models.morphable import surrogate as module
from deid.models.morphable import told_apart
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.brow_match import _covered
from deid.models.morphable.brows import COUNT, BrowStyle
from deid.models.morphable.clear_draws import typical
from deid.models.morphable.codes import AttributeCode, Camera, Light, head_rotation
from deid.models.morphable.face_points import BARE_SKIN, BROWS
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.population import load_population
from deid.models.morphable.sampling import DRAWS, YEARS_OFF, draw, gendered, oddness, years_shown
from deid.models.morphable.surrogate import Likeness, brow_tone, choose, in_place, sketched
from deid.people import Person, traits
from deid.recognition.lite import LiteRecogniser


def somebody(number: int = 1, female: float = 0.8, age: float = 44.0) -> Person:
    return Person(number, (number,), np.empty((0, 128), np.float32), female, age)


def likeness(seed: int) -> Likeness:
    """A chip of a rendered person, as a run would cut it."""
    geometry, appearance = load_geometry(), load_appearance()
    code = draw(geometry, appearance, np.random.default_rng(seed), somebody(), 0)
    neutral = geometry.neutral(code.shape)
    camera = Camera(head_rotation(4, 2, 0), 8.6, np.array([75.0, 70.0]), 90.0)
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[2], sh[3] = 0.6, 0.12, 0.5
    light = Light(sh, np.array([0.36, 0.23, 0.17], np.float32), np.array([0.62, 0.58, 0.54], np.float32))
    still = AttributeCode(
        np.zeros(len(geometry.expression), np.float32), np.zeros((2, 2), np.float32), camera, light, 0.5, 1.0
    )
    vertices = geometry.pose(neutral, still.expression, still.gaze)
    sitter = sketched(geometry, appearance, code)
    face = sitter.renderer.render(vertices, camera, light, 150, 150)
    chip = np.clip(np.sqrt(np.clip(face.rgb, 0, 1)) * 255, 0, 255).astype(np.uint8)
    points = np.zeros((478, 3), np.float32)
    points[:468] = camera.project(surface_points(geometry, vertices))[:468]
    points[468:, :2] = points[[468 - 1] * 10, :2]
    return Likeness(chip, points, still, neutral)


@pytest.fixture(scope="module")
def recogniser() -> LiteRecogniser:
    return LiteRecogniser()


def test_a_choice_is_repeatable_safe_and_unlike_the_one_before(recogniser: LiteRecogniser) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    shown = [likeness(5)]
    first = choose(geometry, appearance, 3, somebody(1), shown, [], recogniser.embed)
    again = choose(geometry, appearance, 3, somebody(1), shown, [], recogniser.embed)
    np.testing.assert_array_equal(first.code.shape, again.code.shape)
    np.testing.assert_array_equal(first.pictures, again.pictures)
    second = choose(geometry, appearance, 3, somebody(2), shown, [first], recogniser.embed)
    assert first.draws <= module._AT_MOST + 1
    told = foretold([first.code, second.code])
    usual = told_apart._usual(
        foretold([draw(geometry, appearance, np.random.default_rng(k), somebody(), 0) for k in range(40)])
    )
    assert np.linalg.norm(told[0] - told[1]) > 0.4 * usual
    assert np.linalg.norm(first.codes - second.codes, axis=1).min() > 0.4  # the same picture, but for the face


def test_what_is_foretold_orders_draws_as_the_recogniser_does(recogniser: LiteRecogniser) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    host = likeness(8)
    codes = [draw(geometry, appearance, np.random.default_rng(100 + k), somebody(), k) for k in range(16)]
    seen = recogniser.embed(np.stack([in_place(geometry, sketched(geometry, appearance, c), host) for c in codes]))
    told = foretold(codes)
    seen, told = seen - seen.mean(0), told - told.mean(0)
    assert 1 - ((seen - told) ** 2).sum() / (seen**2).sum() > 0.3


def test_each_seed_leans_its_own_way_and_nobody_to_another_gender_or_age() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    told = foretold([draw(geometry, appearance, np.random.default_rng(k), somebody(), k) for k in range(40)])
    ways = np.stack([told_apart.leaning(told, np.random.default_rng(seed)) for seed in range(12)])
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    reads = np.stack([traits()["gender"][:-1], traits()["age"][:-1]])
    np.testing.assert_allclose(reads @ ways.T, 0, atol=1e-6)
    assert np.abs(np.triu(ways @ ways.T, 1)).max() < 0.95
    np.testing.assert_array_equal(ways[3], told_apart.leaning(told, np.random.default_rng(3)))


def test_the_middle_is_nearer_to_all_than_they_are_to_one_another() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    told = foretold([draw(geometry, appearance, np.random.default_rng(k), somebody(), k) for k in range(40)])
    middle = told_apart.crowd(told, 1.0)
    placed = told + typical()[1]
    between = np.linalg.norm(placed[:, None] - placed[None], axis=-1)
    assert (np.linalg.norm(placed - middle, axis=1) < np.median(between, axis=1)).all()
    np.testing.assert_allclose(told_apart.crowd(told, 0.0), told.mean(axis=0) + typical().mean(axis=0))


def test_without_pictures_there_is_still_a_surrogate() -> None:
    found = choose(load_geometry(), load_appearance(), 1, somebody(), [], [], lambda chips: chips)
    assert found.safe
    assert found.distance is None


def test_late_draws_stay_near_the_subjects_age(recogniser: LiteRecogniser) -> None:
    appearance = load_appearance()
    for number in range(0, DRAWS, 13):
        code = draw(load_geometry(), appearance, np.random.default_rng(number), somebody(age=38.0), number)
        gender, age = appearance.traits(code.appearance)
        assert abs(age - 38.0) <= YEARS_OFF + 0.1
        assert gender > 0.5


def test_nobody_is_made_older_than_the_guess_and_the_young_and_unclear_are_made_younger() -> None:
    clear = np.zeros((3, 128), np.float32)
    seen = {age: years_shown(replace(somebody(age=age), codes=clear)) for age in (16.0, 36.0, 50.0, 64.0, 80.0)}
    assert all(years <= age for age, years in seen.items())
    assert seen[36.0] <= 30 < seen[50.0]
    assert seen[16.0] == 16.0 and seen[64.0] == 64.0 and seen[80.0] == 80.0
    assert list(seen.values()) == sorted(seen.values())
    assert years_shown(replace(somebody(age=70.0), codes=clear[:0])) < 56
    assert np.isnan(years_shown(replace(somebody(age=float("nan")), codes=clear)))


@pytest.mark.parametrize("female", [-1.0, 1.0])
def test_draws_read_as_the_gender_that_was_asked_for(female: float) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    people = [
        draw(geometry, appearance, np.random.default_rng(k), somebody(female=female, age=30.0 + k)) for k in range(40)
    ]
    assert np.mean(gendered(foretold(people)) * female > 0.4) > 0.95


def test_a_guess_that_leans_to_one_side_is_taken_for_it_and_one_that_does_not_for_neither() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    drawn = [draw(geometry, appearance, np.random.default_rng(k), somebody(female=0.95)) for k in range(20)]
    assert np.mean(gendered(foretold(drawn))) > 0.8
    unsure = [draw(geometry, appearance, np.random.default_rng(k), somebody(female=0.15)) for k in range(20)]
    assert abs(np.mean(gendered(foretold(unsure)))) < 0.5
    either = [draw(geometry, appearance, np.random.default_rng(k), somebody(female=float("nan"))) for k in range(40)]
    reads = gendered(foretold(either))
    assert (reads > 0.4).any()
    assert (reads < -0.4).any()


def test_faces_of_the_middle_are_the_least_odd() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    drawn = [draw(geometry, appearance, np.random.default_rng(k), somebody(female=1.0)) for k in range(60)]
    told, before = foretold(drawn), np.zeros((1, 128))
    odd = oddness(drawn, appearance, told, before, somebody(female=float("nan"), age=float("nan")))
    shape = np.stack([code.shape for code in drawn])
    away = np.square(load_population().standard(shape - shape.mean(0))).sum(1)
    assert np.corrcoef(odd, away)[0, 1] > 0.6
    reading = oddness(drawn, appearance, told, before, somebody(female=-1.0, age=float("nan"))) - odd
    assert (reading >= 0).all()
    assert reading.max() > 0.2  # women read as women, which here is wrong


def test_the_old_look_old() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    drawn = draw(geometry, appearance, np.random.default_rng(0), somebody(age=66.0))
    assert 70 < appearance.traits(drawn.appearance)[1] <= 80


def test_brows_are_as_light_as_the_subjects() -> None:
    geometry, appearance = load_geometry(), load_appearance()

    def lightness(brows: float) -> float:
        drawn = [
            draw(geometry, appearance, np.random.default_rng(k), somebody(), brows=brows).appearance for k in range(12)
        ]
        return float(np.mean([BrowStyle.of(code[-COUNT:]).dark for code in drawn]))

    assert lightness(0.20) < 0.12 < 0.3 < lightness(0.70)
    assert lightness(0.90) < 0.42  # but a brow can be seen
    fair, black = likeness(5), likeness(5)
    mask = _covered(fair.points, BROWS[0], (150, 150)) | _covered(fair.points, BROWS[1], (150, 150))
    skin = np.median(fair.chip[_covered(fair.points, BARE_SKIN[1], (150, 150))], axis=0)
    fair.chip[mask], black.chip[mask] = 0.75 * skin, 0.25 * skin
    assert brow_tone([black])[1] < 0.16 < 0.4 < brow_tone([fair])[1]
    assert np.isnan(brow_tone([])).all()
