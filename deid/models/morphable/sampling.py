"""Faces drawn at random, of an apparent age and gender: where the model is sampled, and how wide.

A linear model's own spread makes faces that a recogniser finds more alike than people are, because it tells people
apart by few of the directions in which heads differ. Along these, read off the map of :mod:`.foretell`, shapes are
drawn wider. What that map reads as gender decides which draws are kept: a head's statistics alone say little about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import foretold, telling
from deid.models.morphable.geometry import Geometry
from deid.people import Person, traits

DRAWS = 384
"""Draws that are compared for one person."""
_STRICT, YEARS_OFF = 256, 9.0  # draws that keep to the age, and how far off the others may be
_SPREAD, _LIMIT = 0.92, 2.0  # of the identity modes' standard deviations
_TELLING, _WIDER = 20, 0.9  # directions that a recogniser goes by, and how much wider than others they are drawn
_BEHIND = 0.3  # standard deviations, by which a head may fall short of its gender's mean
_THICK, _BUSHY = 3 - COUNT, 0.7  # where skin's numbers say how thick brows are; the most, from which a woman's take 1
_NOSE_TIP, _NOSE_BASE = 4, 2  # of the mesh
_UPTURNED = 0.3  # standard deviations
_PLAINER = 2.0  # heads of portraits are fitted with a prior, which takes so much off what the sexes and ages differ by
_TRIES, _WOMANLY, _MANLY = 16, 1.0, 0.6  # how far to one side of the middle, in log odds, what is foretold must read
_SURE = 2.5  # how much more is made of a gender that was guessed
_MEAN_AGE = 57.0  # of the portraits that the traits were learned from
_MEANS_LOOK_YOUNGER, _SMOOTH_UNTIL = 0.6, 48.0  # years a year, and years from which on
_TYPICAL_READING, _TYPICAL_YEARS = 0.5, 5.0


def draw(
    geometry: Geometry,
    appearance: Appearance,
    rng: np.random.Generator,
    person: Person,
    number: int = 0,
    dark: bool = False,
) -> IdentityCode:
    """One random identity of the subject's apparent age and gender; the ``number``-th draw, from 0: late ones may be
    some years off. ``dark``: the subject's skin is."""
    female = float(rng.choice((-1.0, 1.0))) if np.isnan(person.female) else settled(person.female)
    years = person.age + (float(rng.uniform(-YEARS_OFF, YEARS_OFF)) if number >= _STRICT else 0.0)
    best, least = None, -np.inf
    for _ in range(_TRIES):
        code = _drawn(geometry, appearance, rng, female, years, dark)
        over = float(over_limit(foretold([code]), female)[0])
        if best is None or over > least:
            best, least = code, over
        if over >= 0:
            break
    assert best is not None
    return best


def _drawn(
    geometry: Geometry, appearance: Appearance, rng: np.random.Generator, female: float, years: float, dark: bool
) -> IdentityCode:
    skin, iris, detail = appearance.sample(rng, gender=female, age=None if np.isnan(years) else aged(years), dark=dark)
    if female > 0:
        skin[_THICK] = min(float(skin[_THICK]), _BUSHY - female)
    shape = rng.normal(0, _SPREAD, len(geometry.identity))
    seen = telling(len(shape), _TELLING)
    shape = np.clip(shape + _WIDER * (seen @ (seen.T @ shape)), -_LIMIT, _LIMIT)
    shape = shape + typical_shape(len(shape), female, years)
    shape += _kept_to_side(shape, female)
    up = _upturned(geometry)
    shape -= up * max(float(up @ shape) - _UPTURNED, 0.0)
    return IdentityCode(shape.astype(np.float32), skin, detail, iris)


def _kept_to_side(shape: np.ndarray, female: float) -> np.ndarray:
    """(K,): what brings a head as far to the side of its gender as heads are on average, but for a little."""
    usual = typical_shape(len(shape), female, float("nan"))
    size = float(np.linalg.norm(usual))
    if size < 1e-6:
        return np.zeros(len(shape))
    way: np.ndarray = usual / size
    return way * max(size - _BEHIND - float(way @ shape), 0.0)


@lru_cache(maxsize=1)
def _upturned(geometry: Geometry) -> np.ndarray:
    """(K,), of length 1: the direction of shape in which the tip of the nose rises over its base, so that one looks
    into the nostrils."""
    corners = geometry.triangles[geometry.landmark_triangles[[_NOSE_TIP, _NOSE_BASE]]]
    places = (geometry.identity[:, corners, 1] * geometry.landmark_weights[[_NOSE_TIP, _NOSE_BASE]]).sum(axis=-1)
    rises: np.ndarray = (places[:, 0] - places[:, 1]).astype(np.float64)
    return rises / np.linalg.norm(rises)


def aged(years: float) -> float:
    """The age in years whose skin looks like that of somebody of ``years``: means over many faces look younger than
    each of them, the more so the older they are (Burt and Perrett 1995)."""
    return years + _MEANS_LOOK_YOUNGER * max(years - _SMOOTH_UNTIL, 0.0)


def settled(female: float) -> float:
    """An apparent gender with less doubt, -1 to 1: a guess that leans to one side is nearly always right, and a face
    half way between looks like neither."""
    return float(np.clip(_SURE * female, -1, 1))


def over_limit(told: np.ndarray, female: float) -> np.ndarray:
    """(n,): by how much more than is asked what is foretold of draws, (n, 128), reads as that gender, in log odds; less
    is asked the less certain it is."""
    found: np.ndarray = gendered(told) * np.sign(female) - abs(female) * (_WOMANLY if female > 0 else _MANLY)
    return found


def gendered(told: np.ndarray) -> np.ndarray:
    """(n,): log odds of a woman's face, less those of the picture, of what is foretold, (n, 128)."""
    out: np.ndarray = told @ traits()["gender"][:-1].astype(np.float64)
    return out


def typical_shape(count: int, female: float, age: float) -> np.ndarray:
    """(K,): how a head of this apparent gender (-1 to 1) and age (years, NaN unknown) differs from the mean head.
    ``count``: K. Learned from portraits of adults; beyond their ages it goes no further."""
    learned = traits()
    if len(learned.get("shape_gender", ())) != count:
        return np.zeros(count)
    years = 0.0 if np.isnan(age) else float(np.clip(age, 30, 80)) - _MEAN_AGE
    out: np.ndarray = _PLAINER * (female * learned["shape_gender"] + years * learned["shape_age"])
    return out


def oddness(
    codes: Sequence[IdentityCode], appearance: Appearance, told: np.ndarray, before: np.ndarray, person: Person
) -> np.ndarray:
    """(n,): how far each draw is from a usual face that fits the subject, lower being more usual: Mahalanobis's
    distance, squared, over its usual value, in the model's own spread; the largest coefficients count most. And what
    it reads as in the subject's picture, by ``told``, (n, 128), whole recognition codes foretold there, against what
    the subject's own ``before``, (m, 128), read as, as far as ``person`` tells that this matters."""
    shape = np.stack([code.shape for code in codes]).astype(np.float64)
    shape = (shape - shape.mean(axis=0)) / _SPREAD
    skin = np.stack([code.appearance for code in codes]).astype(np.float64)
    skin = (skin - skin.mean(axis=0)) / np.maximum(appearance.spread, 1e-6)
    out = (shape**2).mean(axis=1) + 0.5 * (skin**2).mean(axis=1) + 0.15 * (shape**4).mean(axis=1)
    learned = traits()
    if abs(person.female) > 0:  # neither unknown nor of no matter, which is NaN
        own = float((before @ learned["gender"][:-1]).mean() + learned["gender"][-1])
        side = float(np.sign(person.female))
        out += _TYPICAL_READING * np.maximum(min(abs(own), 2.0) - side * (gendered(told) + learned["gender"][-1]), 0)
    if not np.isnan(person.age):
        years = told @ learned["age"][:-1] - (before @ learned["age"][:-1]).mean()
        out += np.square(years / _TYPICAL_YEARS) / 8
    found: np.ndarray = out
    return found
