"""Faces drawn at random, of an apparent age and gender.

Heads are those of :mod:`.population`, skins those of :mod:`.appearance`. What the map of :mod:`.foretell` reads as
gender decides which draws are kept, and a head is moved there in the way in which people differ: a head's statistics
alone say little about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
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
_STRICT = 256  # draws that keep to the age
YEARS_OFF, _OLDER = 9.0, 2.0  # years by which the others may be younger, and older
_GOLDEN = 0.618034  # of its multiples' fractions any few are spread evenly
_KINDER, _YOUNG, _GROWN, _OLD = 8.0, 18.0, 36.0, 60.0  # years off a guess of 36, and ages from and up to which some are
_UNCLEAR, _MIDDLING = 0.5, 40.0  # of what a guess is over this age, what it counts that rests on poor pictures only
_THICK, _BUSHY = 3 - COUNT, 1.5  # where skin's numbers say how thick brows are; the most, from which a woman's take 1
# how light drawn brows are beside the skin over them in pictures, men's and women's, which are thinner, and the number
# that these were drawn with: medians, less the lightest, which a viewer misses
_MENS_BROWS = np.array((0.184, 0.221, 0.292, 0.416, 0.476, 0.505))
_WOMENS_BROWS = np.array((0.290, 0.324, 0.393, 0.534, 0.614, 0.653))
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
    return draws(geometry, appearance, {number: rng}, person, dark, brows)[0]


def draws(
    geometry: Geometry,
    appearance: Appearance,
    rngs: Mapping[int, np.random.Generator],
    person: Person,
    dark: bool = False,
    brows: float = float("nan"),
) -> list[IdentityCode]:
    """:func:`draw` for each of the numbers of ``rngs``, in their order."""
    chance = list(rngs.values())
    # Neither this nor the years take anything from a draw's own chance: it stays the face that it is.
    if np.isnan(person.female):
        female = np.array([1.0 if deepcopy(rng).random() < 0.5 else -1.0 for rng in chance])
    else:
        female = np.full(len(chance), apparent(person))
    years = [person.age + (_years_off(number) if number >= _STRICT else 0.0) for number in rngs]
    best: dict[int, IdentityCode] = {}
    least = np.full(len(chance), -np.inf)
    left = np.arange(len(chance))
    for _ in range(_TRIES):
        over = np.empty(len(left))
        for side in np.unique(female[left]).tolist():
            here = np.flatnonzero(female[left] == side)
            rows = left[here].tolist()
            codes = _drawn(geometry, appearance, [chance[i] for i in rows], side, [years[i] for i in rows], dark, brows)
            over[here] = over_limit(foretold(codes), side)
            for row, code, reads in zip(rows, codes, over[here].tolist(), strict=True):
                if row not in best or reads > least[row]:
                    best[row], least[row] = code, reads
        left = left[over < 0]
        if not len(left):
            break
    return [best[row] for row in range(len(chance))]


def _years_off(number: int) -> float:
    """Years that a late draw differs from the subject by, evenly spread."""
    return (number * _GOLDEN % 1.0) * (YEARS_OFF + _OLDER) - YEARS_OFF


def _drawn(
    geometry: Geometry,
    appearance: Appearance,
    rngs: Sequence[np.random.Generator],
    female: float,
    years: Sequence[float],
    dark: bool,
    brows: float,
) -> list[IdentityCode]:
    shown = _MENS_BROWS + (female + 1) / 2 * (_WOMENS_BROWS - _MENS_BROWS)
    side, count = float(np.sign(female)), len(geometry.identity)
    plain = []
    for rng, age in zip(rngs, years, strict=True):
        apart = rng.normal(0, _BROWS_APART)
        tone = None if np.isnan(brows) else float(np.interp(brows, shown, _BROW_NUMBERS) + apart)
        skin, iris, detail = appearance.sample(
            rng, gender=female, age=None if np.isnan(age) else aged(age), dark=dark, brows=tone
        )
        skin = appearance.widened(skin, _telling(appearance, count), _WIDER)
        if female > 0:
            skin[_THICK] = min(float(skin[_THICK]), _BUSHY - female)
        plain.append(IdentityCode(np.zeros(count, np.float32), skin, detail, iris))
    lacking = _ROUNDED - over_limit(foretold(plain), female)
    reads = side * shape_reads(count)
    shapes = load_population().draw(geometry, rngs, female, years, reads, lacking.tolist())
    return [replace(code, shape=shape.astype(np.float32)) for code, shape in zip(plain, shapes, strict=True)]


@lru_cache(maxsize=1)
def _telling(appearance: Appearance, shapes: int) -> np.ndarray:
    """float64 (A - 8, n): see :func:`~.foretell.telling`."""
    count = appearance.modes - COUNT
    return telling(count, _SEEN, np.diag(appearance.spread[:count].astype(np.float64)), shapes)


def aged(years: float) -> float:
    """The age in years whose skin looks like that of somebody of ``years``: means over many faces look younger than
    each of them, the more so the older they are (Burt and Perrett 1995)."""
    return years + _MEANS_LOOK_YOUNGER * max(years - _SMOOTH_UNTIL, 0.0)


def years_shown(person: Person) -> float:
    """The years that a person's surrogate looks, NaN where it is of no matter. A guess rests on adults: children are
    taken for people of 36 to 40, and lines in a boy's face are an error that everybody sees, a smooth face at 40 is
    none. So the guess is lowered in between, and where pictures are too poor to tell, nobody is made old."""
    years = person.age
    if not len(person.codes):
        years = min(years, _MIDDLING + _UNCLEAR * (years - _MIDDLING))
    return years - _KINDER * float(np.interp(years, (_YOUNG, _GROWN, _GROWN + 4, _OLD), (0, 1, 1, 0)))


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
