"""How light or dark the places of a face are that differ from person to person: what tells faces apart besides form.

Lids, the corners of eyes, the flanks of a nose, its root and wings, the folds beside a mouth: in each place skin lies
in more or less shade, is thinner or thicker, and has more or less blood and melanin. Principal components over a few
hundred donors hold little of that, since each place differs by itself, and a recogniser goes by it. So every place
has a number of its own, drawn by seed: nobody's. Strengths are within what skins of portraits differ by in these places
once light is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from deid.models.morphable.complexion import HEIGHT, WIDTH

_COARSE = 4  # the reduction at which this is made
_FINE = 16.0  # texels between places where faces differ in detail
_PATCHES = (  # those: texels from the middle line and down the crop, of the middle; half sizes; strength
    (0.0, 235.0, 64.0, 82.0, 0.085),  # the nose, its root and flanks
    (112.0, 182.0, 82.0, 46.0, 0.13),  # lids, corners and what is below eyes
)
_BROAD = (  # others: texels from the middle line, and down; half sizes; strength
    (0, 130, 20, 20, 0.08), (0, 80, 50, 28, 0.05), (110, 85, 48, 28, 0.05), (215, 150, 26, 42, 0.07),  # forehead
    # mouth and chin: folds, corners, lip and its groove, below the lips, chin, jowls
    (73, 306, 14, 17, 0.08), (96, 345, 15, 23, 0.07), (110, 386, 14, 22, 0.07), (88, 402, 15, 15, 0.09),
    (38, 326, 22, 10, 0.07), (0, 322, 11, 12, 0.06), (0, 467, 30, 11, 0.10), (0, 505, 40, 20, 0.06),
    (52, 482, 22, 17, 0.06), (130, 440, 32, 36, 0.05),
    (150, 370, 42, 38, 0.05), (115, 292, 36, 32, 0.04),  # cheeks
)  # fmt: skip


def _spread_out() -> tuple[tuple[float, ...], ...]:
    """All places: off, down, half sizes, strength."""
    fine = []
    for o0, v0, ro, rv, strength in _PATCHES:
        for row, v in enumerate(np.arange(v0 - rv, v0 + rv + 1, 0.866 * _FINE)):
            for o in np.arange(0.5 * _FINE * (row % 2), o0 + ro + 1, _FINE):
                inside = ((o - o0) / (ro + 10)) ** 4 + ((v - v0) / (rv + 10)) ** 4
                if inside < 1:
                    fine.append((float(o), float(v), 17.0, 17.0, strength * float(1 - inside) ** 0.5))
    return (*fine, *_BROAD)


_PLACES = _spread_out()
COUNT = len(_PLACES)
"""How many places there are."""
_NOBODY = 16  # seeds below are not drawn, but those of model faces
_LIMIT = 2.0
_LIGHTER = 0.75  # shade is all sorts of things, what is lighter than its surroundings looks like powder
_UNEVEN = 0.15  # what sides differ by, of what places do
_TINT = np.array((0.88, 1.0, 1.06), np.float32)  # what shade takes of each channel
_YEARS, _SHARES = (6.0, 18.0, 30.0, 50.0), (0.4, 0.75, 0.9, 1.0)  # the young are smoother


def places() -> np.ndarray:
    """float64 (:data:`COUNT`, 5), of each: texels from the middle line, and down; half sizes; strength."""
    return np.array(_PLACES, np.float64)


def strengths(seed: int, age: float) -> np.ndarray:
    """float64 (:data:`COUNT`,): how light each place is for the skin of ``seed`` at ``age`` years, in standard
    deviations, negative darker. All 0 for the seeds of faces that stand for none in particular."""
    return strengths_of([seed], np.array([age], np.float64))[0]


def strengths_of(seeds: Sequence[int], ages: np.ndarray) -> np.ndarray:
    """float64 (n, :data:`COUNT`): :func:`strengths` of each of ``seeds``, ``ages`` (n,)."""
    drawn = np.stack([np.random.default_rng((seed, 11)).normal(size=COUNT) for seed in seeds])
    drawn = np.clip(drawn, -_LIMIT, _LIMIT)
    drawn = np.where(drawn > 0, _LIGHTER, 1.0) * drawn
    drawn[np.asarray(seeds) < _NOBODY] = 0
    return np.asarray(drawn * np.interp(ages, _YEARS, _SHARES)[:, None])


def features(seed: int, age: float) -> np.ndarray:
    """float32 (165, 160, 3), to be added to log relative albedo on the crop that :mod:`.complexion` names."""
    amounts = strengths(seed, age)
    apart = np.random.default_rng((seed, 12)).normal(0, _UNEVEN, COUNT) * np.abs(amounts)
    spots, side = _places()
    both, uneven = (np.stack([amounts, apart]) @ spots).reshape(2, HEIGHT // _COARSE, -1)
    right, left = both + side * uneven, both - side * uneven
    return np.concatenate([left[:, ::-1], right], axis=1)[..., None].astype(np.float32) * _TINT


@lru_cache(maxsize=1)
def _places() -> tuple[np.ndarray, np.ndarray]:
    """Each place on one half of the crop, whose halves mirror each other, times its strength: float64 (n, 165 * 80),
    to be multiplied at once; and, (165, 80), how much of what its sides differ by shows there: -1 all of it."""
    v, u = (np.mgrid[: HEIGHT // _COARSE, : WIDTH // _COARSE // 2].astype(np.float32) + 0.5) * _COARSE
    spots = [a * np.exp(-(((np.abs(u - o)) / so) ** 2 + ((v - at) / sv) ** 2)) for o, at, so, sv, a in _PLACES]
    flat = np.stack(spots).astype(np.float32).astype(np.float64).reshape(len(_PLACES), -1)
    return flat, 2 / (1 + np.exp(u.astype(np.float64) / 6)) - 1
