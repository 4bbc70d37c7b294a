"""Brows are about as light beside the skin as the subject's, whatever their shape."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.brow_match import Browed, browed, fitting, refitting, weighed
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.face_points import BARE_SKIN, BROWS
from deid.models.morphable.geometry import load_geometry


def person(seed: int, **brows: float) -> IdentityCode:
    appearance = load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(seed), gender=-1.0, age=40.0)
    skin[-COUNT:] = 0.0
    for name, number in brows.items():
        skin[{"thick": 3, "light": 6}[name] - COUNT] = number
    return IdentityCode(np.zeros(len(load_geometry().identity), np.float32), skin, detail, iris)


@pytest.mark.parametrize("wanted", [0.3, 0.45, 0.6])
@pytest.mark.parametrize("light", [-2.0, 1.0])
def test_brows_come_into_the_band(wanted: float, light: float) -> None:
    geometry, appearance = load_geometry(), load_appearance()
    before = person(3, light=light, thick=1.0)
    after = fitting(geometry, appearance, before, wanted, 0.9)
    shown = 0.9 * weighed(geometry, appearance, after)
    assert shown < 1.35 * wanted + 0.12
    assert shown > 0.9 * wanted
    kept = [n for n in range(len(before.appearance)) if n - len(before.appearance) + COUNT not in (3, 6)]
    assert np.array_equal(before.appearance[kept], after.appearance[kept])


def test_brows_that_fit_stay_as_they_are() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    code = person(4)
    fits = weighed(geometry, appearance, code) / 1.04
    assert np.allclose(fitting(geometry, appearance, code, fits, 1.0).appearance, code.appearance, atol=0.01)
    assert fitting(geometry, appearance, code, float("nan"), 1.0) is code
    assert fitting(geometry, appearance, code, 0.4, float("nan")) is code


def test_bold_brows_are_met_by_more_than_black_hair() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    thin = person(4, light=-2.4, thick=-2.0)
    shown = weighed(geometry, appearance, thin)
    bold = fitting(geometry, appearance, thin, 0.4 * shown, 1.0)
    assert bold.appearance[3 - COUNT] > -0.4  # more than one step up
    assert weighed(geometry, appearance, bold) < 0.97 * shown


def test_lighter_hair_weighs_less() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    shown = [weighed(geometry, appearance, person(5, light=n)) for n in (-2.0, -0.5, 1.0)]
    assert shown == sorted(shown)
    assert shown[2] > shown[0] + 0.1


def test_the_lighter_brow_counts() -> None:
    points = np.zeros((478, 3), np.float32)
    square = np.array([(0, 0), (20, 0), (20, 12), (0, 12)], np.float32)
    for place, ids in zip(((20, 40), (80, 40)), BROWS, strict=True):
        points[ids, :2] = np.resize(square, (len(ids), 2)) + place
    for place, ids in zip(((50, 10), (20, 90), (80, 90)), BARE_SKIN, strict=True):
        points[ids, :2] = np.resize(square, (len(ids), 2)) + place
    picture = np.full((150, 150, 3), 200, np.uint8)
    picture[40:53, 20:41] = 50
    picture[40:53, 80:101] = 100
    mean, darker, _ = browed(picture, points)
    assert mean == pytest.approx(0.25, abs=0.01)
    assert darker == pytest.approx(0.25, abs=0.01)
    picture[:30, 40:80] = 20  # a fringe over the forehead
    assert browed(picture, points)[0] == pytest.approx(0.25, abs=0.01)
    picture[:70, :60] //= 2  # light from one side: brow and skin alike
    assert browed(picture, points)[0] == pytest.approx(0.25, abs=0.01)
    assert all(np.isnan(browed(np.zeros_like(picture), points)))


def test_a_brow_in_shade_is_no_darker_hair() -> None:
    theirs = Browed(0.5, 0.3, 0.9)
    shaded = Browed(0.5, 0.3, 0.45).lit_as(theirs)
    assert shaded.mean > 0.6 and shaded.darker > 0.38
    assert theirs.lit_as(Browed(0.5, 0.3, 0.4)) == theirs  # the other's may be painted
    lone = Browed(0.5, 0.3, float("nan"))
    assert lone.lit_as(theirs)[:2] == lone[:2] and theirs.lit_as(lone) == theirs


def test_brows_that_came_out_too_dark_are_lightened_by_as_much() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    code = person(6, light=-2.0, thick=0.5)
    shown = weighed(geometry, appearance, code)
    theirs, ours = [Browed(0.6, 0.4), Browed(0.61, 0.41)], [Browed(0.48, 0.32), Browed(0.49, 0.33)]
    lighter = weighed(geometry, appearance, refitting(geometry, appearance, code, theirs, ours))
    assert 1.1 * shown < lighter < 1.4 * shown
    assert refitting(geometry, appearance, code, [Browed(0.6, 0.4)], [Browed(0.61, 0.4)]) is code
    assert refitting(geometry, appearance, code, [], []) is code
    assert refitting(geometry, appearance, code, [Browed(float("nan"), 0.5)], [Browed(0.3, 0.3)]) is code
    # a light rim beside them
    glitter = refitting(geometry, appearance, code, [Browed(0.9, 0.4)], [Browed(0.6, 0.4)], True)
    assert glitter is code


def test_rims_below_the_brows_do_not_count_where_glasses_are_worn() -> None:
    points = np.zeros((478, 3), np.float32)
    for left, ids in zip((20, 80), BROWS, strict=True):
        upper = np.stack([np.linspace(left, left + 24, 5), np.full(5, 40.0)], axis=1)
        points[ids[:5], :2], points[ids[5:], :2] = upper, upper[::-1] + (0, 12)
    square = np.array([(0, 0), (20, 0), (20, 12), (0, 12)], np.float32)
    for place, ids in zip(((50, 10), (20, 90), (80, 90)), BARE_SKIN, strict=True):
        points[ids, :2] = np.resize(square, (len(ids), 2)) + place
    picture = np.full((150, 150, 3), 200, np.uint8)
    picture[40:47, 20:105] = 150
    picture[47:53, 20:105] = 20  # a rim
    assert browed(picture, points, True)[0] == pytest.approx((150 / 200) ** 2, abs=0.03)
    assert browed(picture, points)[0] < 0.45


def test_dark_brows_stay_dark_where_shade_would_have_them_gone() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    code = person(5, light=1.4, thick=0.5)
    told = fitting(geometry, appearance, code, 0.39, 0.4)  # as if light took more than half from the place
    assert weighed(geometry, appearance, told) < 0.56
    dark = refitting(geometry, appearance, code, [Browed(0.4, 0.15)], [Browed(0.4, 0.15)])
    assert dark.appearance[6 - COUNT] < 0.2 < code.appearance[6 - COUNT]
    assert dark.appearance[3 - COUNT] < code.appearance[3 - COUNT]
    fair = refitting(geometry, appearance, code, [Browed(0.8, 0.6)], [Browed(0.8, 0.6)])
    assert np.array_equal(fair.appearance, code.appearance)
