"""What hard and uneven light does to a face beyond what nine harmonics can say: a smooth field of factors over it.

A lamp at the side, a brow's shadow on the eyes, a cheek that a nose keeps dark, two lamps: the irradiance of a convex
body in distant light (:mod:`.photo_shading`) has none of that. What the harmonics leave is fitted by Gaussian bumps on
the face, wider than anything that tells people apart, as a Gaussian process would (Rasmussen and Williams 2006, section
2.2, on inducing points).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .geometry import Geometry
from .photo_samples import TRIPLES

_SIGMA = 2.1  # centimetres, a seventh of a face's width
_STEP = 2.4  # centimetres between bumps
_REACH = 1.6  # centimetres from a sample that a bump may lie
_PRIOR = 0.4  # standard deviation of a bump's height, logarithm
_TOGETHER = 7.0  # samples that err as one
_DARKER, _LIGHTER = 0.35, 0.9  # logarithms from which on what is darker or lighter than told is no light's doing
_MOST = (-1.1, 0.8)
_ROUNDS = 5
_KNEE = 0.14  # of the mean light


def _on_mesh(geometry: Geometry) -> np.ndarray:
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
    places: np.ndarray = mesh[TRIPLES].mean(axis=1)
    return places


@lru_cache(maxsize=2)
def centres(geometry: Geometry) -> np.ndarray:
    """float64 (K, 2): x and y of the bumps on the mean head at rest, centimetres, symmetric about the middle."""
    places = _on_mesh(geometry)[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    columns = np.arange(-4, 5) * _STEP
    rows = np.arange(low[1], high[1] + _STEP, _STEP)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    near = np.linalg.norm(grid[:, None] - places[None], axis=2).min(axis=1) < _REACH
    return np.asarray(grid[near])


def bumps(geometry: Geometry, points: np.ndarray) -> np.ndarray:
    """float32 (n, K): height of each bump at ``points``, (n, 2 or 3) on the mean head at rest."""
    apart = points[:, None, :2] - centres(geometry)[None]
    return np.exp(-0.5 * (apart**2).sum(axis=2) / _SIGMA**2).astype(np.float32)


@lru_cache(maxsize=2)
def at_samples(geometry: Geometry) -> np.ndarray:
    """float32 (N, K): :func:`bumps` at the samples of photometry."""
    return bumps(geometry, _on_mesh(geometry))


def fit_local(geometry: Geometry, residual: np.ndarray, weights: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """float32 (n, K): heights of the bumps, to be summed to the logarithm of a factor on the light.

    ``residual``: (n, N), logarithm of measured to told luminance. ``weights``: (n, N), 0..1, how surely a sample is
    skin. ``spread``: (N,), how far people differ there. What is much darker than its surroundings (hair, a beard, a
    microphone) counts less than what is lighter, which is light.
    """
    basis = at_samples(geometry)
    count = basis.shape[1]
    share = (weights / (_TOGETHER * spread**2)).astype(np.float32)
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    prior = np.eye(count) / _PRIOR**2
    out = np.zeros((len(residual), count))
    trusted = share
    for k in range(_ROUNDS):
        matrix = (trusted @ products).reshape(-1, count, count) + prior
        vector = (trusted * residual).astype(np.float32) @ basis
        out = np.linalg.solve(matrix, vector[..., None].astype(np.float64))[..., 0]
        error = (residual - out.astype(np.float32) @ basis.T).astype(np.float32)
        limit = np.where(error < 0, _DARKER, _LIGHTER) * (2.0 if k < 2 else 1.0)
        trusted = share / (1 + (error / limit) ** 2) ** 2
    return out.astype(np.float32)


def factor(basis: np.ndarray, local: np.ndarray) -> np.ndarray:
    """float32 (n,): the field at places of ``basis`` (n, K), softly within limits."""
    return np.asarray(np.exp(within(basis @ local.astype(np.float32), *_MOST)))


def within(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32 ``values`` while well between ``low``, below 0, and ``high``, which they never reach."""
    ratio = values * np.where(values < 0, np.float32(1 / low), np.float32(1 / high))
    return np.asarray(values / np.sqrt(1 + ratio * ratio))


def soft_floor(light: np.ndarray) -> np.ndarray:
    """``light`` as shaders bend it above 0, see :func:`.shade.irradiance`; of green."""
    knee = np.float32(_KNEE)
    out: np.ndarray = np.where(light < knee, knee * np.exp(np.minimum(light - knee, 0) / knee), light)
    return out
