"""Faces drawn at random, of an apparent age and gender.

Heads are those of :mod:`.population`, skins those of :mod:`.appearance`. What the map of :mod:`.foretell` reads as
gender decides which draws are kept, and a head is moved there in the way in which people differ: a head's statistics
alone say little about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import foretold, shape_reads, telling
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.population import load_population
from deid.people import Person, traits

DRAWS = 384
"""Draws that are compared for one person."""
_STRICT, YEARS_OFF = 256, 9.0  # draws that keep to the age, and how far off the others may be
_THICK, _BUSHY = 3 - COUNT, 1.5  # where skin's numbers say how thick brows are; the most, from which a woman's take 1
# how light drawn brows are beside the skin in pictures, men's and women's, which are thinner, and the number that these
# were drawn with: medians, less the lightest, which a viewer misses
_MENS_BROWS = np.array((0.125, 0.156, 0.216, 0.320, 0.371, 0.395))
_WOMENS_BROWS = np.array((0.238, 0.270, 0.335, 0.468, 0.543, 0.580))
_BROW_NUMBERS = (-2.5, -1.5, -0.5, 0.5, 1.0, 1.2)
_BROWS_APART = 0.4  # how much that may differ from the subject's
_TRIES, _WOMANLY, _MANLY = 16, 1.0, 0.6  # how far to one side of the middle, in log odds, what is foretold must read
_UNSURE, _SURE = 0.2, 0.55  # guesses of a gender up to which neither is meant, and from which one surely is
_ROUNDED = 1e-3  # log odds, more than single precision may take
_SEEN, _WIDER = 12, 2.0  # directions of skin that a recogniser goes by, and how much more people differ along these
_POORLY_SEEN = 0.6  # what a guess counts that rests on dark or blurred pictures only
_MEANS_LOOK_YOUNGER, _SMOOTH_UNTIL = 0.6, 48.0  # years a year, and years from which on
_TYPICAL_READING, _TYPICAL_YEARS = 0.5, 5.0


def draw(
    geometry: Geometry,
    appearance: Appearance,
    rng: np.random.Generator,
    person: Person,
    number: int = 0,
    dark: bool = False,
    brows: float = float("nan"),
) -> IdentityCode:
    """One random identity of the subject's apparent age and gender; the ``number``-th draw, from 0: late ones may be
    some years off. ``dark``: the subject's skin is. ``brows``: how light the subject's brows are beside the skin, NaN
    unknown: the surrogate's are about as light."""
    female = float(rng.choice((-1.0, 1.0))) if np.isnan(person.female) else apparent(person)
    years = person.age + (float(rng.uniform(-YEARS_OFF, YEARS_OFF)) if number >= _STRICT else 0.0)
    best, least = None, -np.inf
    for _ in range(_TRIES):
        code = _drawn(geometry, appearance, rng, female, years, dark, brows)
        over = float(over_limit(foretold([code]), female)[0])
        if best is None or over > least:
            best, least = code, over
        if over >= 0:
            break
    assert best is not None
    return best


def _drawn(
    geometry: Geometry,
    appearance: Appearance,
    rng: np.random.Generator,
    female: float,
    years: float,
    dark: bool,
    brows: float,
) -> IdentityCode:
    shown = _MENS_BROWS + (female + 1) / 2 * (_WOMENS_BROWS - _MENS_BROWS)
    tone = None if np.isnan(brows) else float(np.interp(brows, shown, _BROW_NUMBERS) + rng.normal(0, _BROWS_APART))
    skin, iris, detail = appearance.sample(
        rng, gender=female, age=None if np.isnan(years) else aged(years), dark=dark, brows=tone
    )
    skin = appearance.widened(skin, _telling(appearance, len(geometry.identity)), _WIDER)
    if female > 0:
        skin[_THICK] = min(float(skin[_THICK]), _BUSHY - female)
    side = float(np.sign(female))
    plain = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    lacking = _ROUNDED - float(over_limit(foretold([plain]), female)[0])
    reads = side * shape_reads(len(plain.shape))
    shape = load_population().draw(geometry, rng, female, years, reads, lacking)
    return IdentityCode(shape.astype(np.float32), skin, detail, iris)


@lru_cache(maxsize=1)
def _telling(appearance: Appearance, shapes: int) -> np.ndarray:
    """float64 (A - 8, n): see :func:`~.foretell.telling`."""
    count = appearance.modes - COUNT
    return telling(count, _SEEN, np.diag(appearance.spread[:count].astype(np.float64)), shapes)


def aged(years: float) -> float:
    """The age in years whose skin looks like that of somebody of ``years``: means over many faces look younger than
    each of them, the more so the older they are (Burt and Perrett 1995)."""
    return years + _MEANS_LOOK_YOUNGER * max(years - _SMOOTH_UNTIL, 0.0)


def apparent(person: Person) -> float:
    """The gender that a person's surrogate reads as, -1 to 1; 0 where it is of no matter."""
    return 0.0 if np.isnan(person.female) else settled(_guess(person))


def _guess(person: Person) -> float:
    """The apparent gender, -1 to 1, as far as the pictures bear it out."""
    return person.female * (1.0 if len(person.codes) else _POORLY_SEEN)


def settled(female: float) -> float:
    """An apparent gender with less doubt, -1 to 1: a guess that leans to one side is nearly always right, and one that
    hardly leans says nothing. Then a face between the two is drawn, which is wrong for nobody."""
    return float(np.sign(female) * np.clip((abs(female) - _UNSURE) / (_SURE - _UNSURE), 0, 1))


def over_limit(told: np.ndarray, female: float) -> np.ndarray:
    """(n,): by how much more than is asked what is foretold of draws, (n, 128), reads as that gender, in log odds; less
    is asked the less certain it is."""
    found: np.ndarray = gendered(told) * np.sign(female) - abs(female) * (_WOMANLY if female > 0 else _MANLY)
    return found


def gendered(told: np.ndarray) -> np.ndarray:
    """(n,): log odds of a woman's face, less those of the picture, of what is foretold, (n, 128)."""
    out: np.ndarray = told @ traits()["gender"][:-1].astype(np.float64)
    return out


def oddness(
    codes: Sequence[IdentityCode], appearance: Appearance, told: np.ndarray, before: np.ndarray, person: Person
) -> np.ndarray:
    """(n,): how far each draw is from a usual face that fits the subject, lower being more usual: Mahalanobis's
    distance, squared, over its usual value, in the model's own spread; the largest coefficients count most. And what
    it reads as in the subject's picture, by ``told``, (n, 128), whole recognition codes foretold there, against what
    the subject's own ``before``, (m, 128), read as, as far as ``person`` tells that this matters."""
    shape = np.stack([code.shape for code in codes]).astype(np.float64)
    shape = load_population().standard(shape - shape.mean(axis=0))
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
