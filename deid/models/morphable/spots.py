"""Moles, freckles, and the flat brown spots of sun and years: drawn one by one onto the crop of the face's tile."""

from __future__ import annotations

import numpy as np

_FRECKLED = 0.18  # share of people
_SUNNED = 26.0  # brown spots at 80, on average
_YEARS = (46.0, 80.0)  # from which on there are some, and that many


def spots(seed: int, age: float, height: int, width: int) -> np.ndarray:
    """Float32 (``height``, ``width``), 0 or below, log of luminance: the spots of the skin of ``seed`` at ``age``
    years, on a crop of the size that :mod:`.complexion` names."""
    rng = np.random.default_rng((seed, 3))
    out = np.zeros((height, width), np.float32)
    moles = rng.poisson(3.5)
    freckles = int(rng.integers(60, 260)) if rng.random() < _FRECKLED else 0
    for number in range(moles + freckles):
        mole = number < moles
        radius = rng.uniform(1.3, 2.6) if mole else rng.uniform(0.7, 1.7)
        depth = rng.uniform(0.25, 0.7) if mole else rng.uniform(0.04, 0.16)
        x = rng.uniform(70, width - 70) if mole else np.clip(rng.normal(width / 2, 95), 40, width - 40)
        y = rng.uniform(60, height - 190) if mole else np.clip(rng.normal(235, 45), 60, height - 190)
        _spot(out, rng, x, y, radius, depth, 5.0)
    # where the sun shines: temples, cheeks, forehead
    for _ in range(rng.poisson(float(np.interp(age, _YEARS, (0, _SUNNED))) * rng.gamma(1.5, 1 / 1.5))):
        if rng.random() < 0.75:
            x, y = width / 2 + rng.choice((-1.0, 1.0)) * rng.uniform(90, 250), rng.uniform(40, 330)
        else:
            x, y = rng.uniform(120, width - 120), rng.uniform(40, 130)
        _spot(out, rng, x, y, rng.uniform(2.5, 8.5), rng.uniform(0.05, 0.17), 2.2)
    return np.maximum(out, -0.8)


def _spot(
    out: np.ndarray, rng: np.random.Generator, x: float, y: float, radius: float, depth: float, edge: float
) -> None:
    """A dark spot onto ``out``, ``depth`` deep; ``edge``: how sharply it ends."""
    reach = 8 if radius < 2.6 else int(3 * radius)
    x0, y0 = max(int(x) - reach, 0), max(int(y) - reach, 0)
    v, u = np.mgrid[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1].astype(np.float32)
    lean, long = rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.25)
    distance = np.hypot((u - x + lean * (v - y)) * long, (v - y) / long) / radius
    part = out[y0 : y0 + 2 * reach + 1, x0 : x0 + 2 * reach + 1]
    part -= (depth / (1 + np.exp(np.minimum(edge * (distance - 1), 60)))).astype(np.float32)[
        : part.shape[0], : part.shape[1]
    ]
