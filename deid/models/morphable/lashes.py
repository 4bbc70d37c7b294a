"""How strong the lashes of drawn people are."""

from __future__ import annotations

import numpy as np


def usual_lashes(gender: float, age: float, seed: int) -> float:
    """How strong lashes are where the footage does not tell: of a ``gender`` from -1 (a man) to 1 (a woman), medians of
    portraits, and by how much people differ."""
    grown = float(np.clip((age - 12) / 8, 0.0, 1.0))
    middle = np.interp(gender, (-1.0, 1.0), (1.0, 1.0 + 1.1 * grown))
    return float(middle * np.exp(0.2 * np.clip(np.random.default_rng((seed, 13)).normal(), -2, 2)))
