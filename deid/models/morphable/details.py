"""Which seed of its details a drawn face gets: what is told apart by skin and places need not be by an odd head.

Stubble, lips and the light and dark places of a face (:mod:`.complexion`, :mod:`.features`) are drawn by a seed alone,
and what a recogniser makes of them adds up with the rest (:mod:`.foretell`). So each drawn head and skin can have the
best of a few hundred seeds: the one that takes it farthest from the subject and towards where the surrogate's own seed
leans. None of these is less usual than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import foretold_details
from deid.models.morphable.sampling import gendered, over_limit

_TRIED = 384  # seeds
_LEAN = 1.0  # what a standard deviation there is worth, beside one away from the subject


def detailed(
    codes: Sequence[IdentityCode],
    told: np.ndarray,
    away: np.ndarray,
    way: np.ndarray,
    traits: tuple[float, float],
    rng: np.random.Generator,
) -> list[IdentityCode]:
    """``codes``, foretold as ``told``, (n, 128), each with the seed of details that brings it farthest along its
    ``away``, (n, 128), of length 1, and ``way``, (128,), that the surrogate leans. ``traits``: the gender, -1 to 1, and
    years that they are drawn for; nobody's gender reads less surely than before. ``rng``: by which seeds are drawn."""
    seeds = rng.integers(1, 2**31, _TRIED)
    parts = foretold_details(seeds.tolist(), *traits)
    parts = parts - parts.mean(axis=0)
    if not parts.any():
        return list(codes)
    lean = parts @ way
    gain = parts @ away.T  # (s, n)
    gain = gain / np.maximum(gain.std(axis=0), 1e-9) + (_LEAN / max(float(lean.std()), 1e-9) * lean)[:, None]
    change = np.sign(traits[0]) * gendered(parts)
    gain[change[:, None] < -np.maximum(over_limit(told, traits[0]), 0)] = -np.inf
    best = gain.argmax(axis=0)
    return [replace(code, detail=int(seeds[j])) for code, j in zip(codes, best, strict=True)]
