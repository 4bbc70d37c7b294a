"""Draws that come near nobody whom the face model was made from.

A model of faces may draw somebody who went into it by chance. Which draws do cannot be asked of a package that holds
nobody's template. So draws are numbered, :data:`POOL` of them, and ``tools/reject_draws.py`` asks all of them
beforehand: what the recogniser is foretold to make of each (:mod:`.foretell`) in an ordinary picture is compared with
every donor, and a bit a draw says whether one is near. Nothing else of donors is kept: not who it was, nor how near.
What an ordinary picture adds is kept, too: it tells where the middle is, where a face would be like many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError

POOL = 32768
"""Draws there are; each is another face for every gender and age."""
_SEED = 71  # of all of them
_BOTH = 0.5  # apparent gender up to which a draw must be clear as a man's and as a woman's
_ASSET = Path(__file__).with_name("clear_draws.safetensors")


def clear_draws(seed: Sequence[int], count: int, female: float) -> list[int]:
    """``count`` different draws, below :data:`POOL`, by ``seed``; those only that come near no donor when they are
    drawn for an apparent gender, -1 to 1, NaN or 0 for either."""
    near = _near()
    if np.isnan(female) or abs(female) < _BOTH:
        clear = ~(near[0] | near[1])
    else:
        clear = ~near[int(female > 0)]
    numbers = np.flatnonzero(clear)
    found: list[int] = np.random.default_rng(list(seed)).choice(numbers, count, replace=False).tolist()
    return found


def clear_share() -> np.ndarray:
    """float64 (2,): which share of the pool is clear, of men and of women."""
    found: np.ndarray = 1 - _near().mean(axis=1)
    return found


def chance(number: int) -> np.random.Generator:
    """What draw ``number`` of the pool is drawn by."""
    return np.random.default_rng([_SEED, number])


def typical() -> np.ndarray:
    """float64 (2, 128): what pictures of men and of women add, on average, to what is foretold (:mod:`.foretell`)."""
    return _table("typical").astype(np.float64)


@lru_cache(maxsize=1)
def _near() -> np.ndarray:
    """bool (2, POOL): draws near a donor, as men and as women."""
    found: np.ndarray = np.unpackbits(_table("near"), axis=1).astype(bool).reshape(2, POOL)
    return found


@lru_cache(maxsize=2)
def _table(name: str) -> np.ndarray:
    """Raises :class:`~deid.errors.ModelError` when the file is missing or damaged."""
    try:
        found = load_file(_ASSET)[name]
        return found.reshape(2, {"near": POOL // 8, "typical": 128}[name])
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"{_ASSET.name} is missing or damaged: reinstall deid-video") from error
