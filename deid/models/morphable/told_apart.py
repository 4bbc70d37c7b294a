"""How draws differ from one another, and from those who stand in already, by what is foretold of them alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deid.models.morphable.clear_draws import typical
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import foretold
from deid.people import traits

_LEANING, _LEAN = 12, 2.0  # directions that a choice leans to one of; oddness that a standard deviation so is worth
_UNLIKE = 0.5  # of the usual difference between draws, how much two surrogates of a clip differ at least, if they can
_UNLIKE_ELSEWHERE = 0.35  # the same for people elsewhere: less, so that who was there before hardly ever matters


def leaning(told: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64 (128,), of length 1: one of the ways in which draws, foretold as ``told``, (n, 128), differ most, by
    ``rng``. The most usual face that is far from somebody is much the same whatever the seed, and much the same for
    everybody; faces that lean each to its own way differ as people do, and two of one person do not tell of one
    another."""
    _, _, axes = np.linalg.svd(told - told.mean(axis=0), full_matrices=False)
    way = rng.normal(size=min(_LEANING, len(axes))) @ axes[:_LEANING]
    reads, _ = np.linalg.qr(np.stack([traits()["gender"][:-1], traits()["age"][:-1]], axis=1).astype(np.float64))
    way -= reads @ (reads.T @ way)  # nobody leans towards another gender or age
    found: np.ndarray = way / max(float(np.linalg.norm(way)), 1e-9)
    return found


def crowd(told: np.ndarray, female: float) -> np.ndarray:
    """float64 (128,): the recognition code in the middle of all surrogates of a gender, above 0 a woman's, when draws
    are foretold as ``told``, (n, 128). Whoever is near it is near many."""
    pictures = typical()
    found: np.ndarray = told.mean(axis=0) + (pictures.mean(axis=0) if female == 0 else pictures[int(female > 0)])
    return found


def leans(told: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(n,): how far draws, foretold as ``told``, (n, 128), lean ``way``, in oddness that this outweighs."""
    lean = (told - told.mean(axis=0)) @ way
    found: np.ndarray = lean * (_LEAN / max(float(lean.std()), 1e-9))
    return found


def told_apart(told: np.ndarray, others: Sequence[IdentityCode], taken: Sequence[IdentityCode]) -> np.ndarray:
    """(n,): how much more than enough draws, foretold as ``told``, (n, 128), differ from all ``others``
    of the clip, and from those ``taken`` elsewhere."""
    apart = _apart(told, foretold(others) if others else told[:0])
    return np.minimum(apart, _apart(told, foretold(taken), _UNLIKE_ELSEWHERE)) if taken else apart


def _apart(told: np.ndarray, others: np.ndarray, unlike: float = _UNLIKE) -> np.ndarray:
    """(n,): how much more than enough each draw differs from every other surrogate by itself, without the pictures."""
    if not len(others):
        return np.full(len(told), np.inf)
    distances: np.ndarray = np.linalg.norm(told[:, None] - others[None], axis=-1)
    return distances.min(axis=1) - unlike * _usual(told)


def _usual(told: np.ndarray) -> float:
    """How far two draws differ as a rule."""
    return float(np.median(np.linalg.norm(told[1:] - told[:-1], axis=1)))
