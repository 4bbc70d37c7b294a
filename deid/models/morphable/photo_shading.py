"""Shading of skin as second-order spherical harmonics of the normal: a robust fit to colours at known normals.

Ramamoorthi and Hanrahan, *An Efficient Representation for Irradiance Environment Maps*, 2001: the irradiance of a
convex matt surface is a quadratic polynomial of the normal within about a hundredth.
"""

from __future__ import annotations

import numpy as np

from .photo_reference import SkinReference

_ROBUST = (8.0, 5.0, 3.5, 2.5, 2.5)
"""Deviations at which a sample loses a quarter of its weight, by round: from lenient to strict, so that outliers
lose their say only once the light is roughly known (graduated non-convexity, Blake and Zisserman 1987)."""
DARK = 0.12  # shading below which errors no longer shrink with it
_TINT = 0.07  # spread of skin's own colour over a face, logarithm of a channel to luminance


def basis(normals: np.ndarray) -> np.ndarray:
    """(..., 9) of unit ``normals`` (..., 3), in the order of :class:`~.codes.Light`, of their dtype."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)


def robust_weights(
    terms: np.ndarray, luminance: np.ndarray, tint: np.ndarray, weights: np.ndarray, reference: SkinReference
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far each sample of each frame is to be believed, and each frame's own shading.

    ``terms``: float32 (n, N, 9), basis times relative albedo. ``luminance``: (n, N), 1 on average. ``tint``: (n, N, 2),
    logarithms of red and blue to luminance less the frame's median. ``weights``: (n, N) at first.
    Returns weights (n, N) by which squared errors of ``luminance`` are to be multiplied, shading coefficients (n, 9),
    and the share of the weights at first that agrees with them, (n,).
    """
    shading = np.broadcast_to(reference.mean.astype(np.float32), (len(terms), 9))
    spread = reference.spread
    colour_error = (tint / _TINT) ** 2
    colour_error = np.minimum(colour_error[..., 0], 16) + np.minimum(colour_error[..., 1], 16)
    result, trusted = weights, weights
    for limit in _ROBUST:
        predicted = np.einsum("nij,nj->ni", terms, shading)
        scale = spread * np.maximum(predicted, DARK)
        # what is lighter than told is lit: no hair, beard or hand shines as skin does
        lenient = spread * np.maximum(np.sqrt(np.maximum(predicted, DARK) * np.maximum(luminance, predicted)), DARK)
        error = ((luminance - predicted) / lenient) ** 2 + 0.5 * colour_error
        trusted = weights / (1 + error / (limit * limit)) ** 2
        result = trusted / scale**2
        matrix, vector = normal_equations(terms, luminance, result)
        shading = solve(matrix, vector, reference).astype(np.float32)
    return result, shading, trusted.sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-6)


def normal_equations(terms: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n, k, k) and (n, k) of weighted least squares: ``terms`` (n, N, k), ``values`` and
    ``weights`` (n, N)."""
    weighted = terms * weights[..., None]
    turned = weighted.transpose(0, 2, 1)
    return (turned @ terms).astype(np.float64), (turned @ values[..., None])[..., 0].astype(np.float64)


def solve(matrix: np.ndarray, vector: np.ndarray, reference: SkinReference) -> np.ndarray:
    """(n, 9) coefficients from normal equations, (n, 9, 9) and (n, 9), of data whose mean shading is about 1, and the
    prior."""
    prior = reference.precision
    return np.linalg.solve(matrix + prior, (vector + prior @ reference.mean)[..., None])[..., 0]


def visible_directions() -> np.ndarray:
    """float64 (m, 9): the basis at directions spread over what a viewer can see of a convex body (z >= 0.1)."""
    golden = np.pi * (3 - np.sqrt(5))
    k = np.arange(60)
    z = 0.1 + 0.9 * (k + 0.5) / 60
    r = np.sqrt(1 - z * z)
    return basis(np.stack([r * np.cos(golden * k), r * np.sin(golden * k), z], axis=1))


def keep_positive(
    matrix: np.ndarray, vector: np.ndarray, shading: np.ndarray, reference: SkinReference, floor: float
) -> np.ndarray:
    """``shading`` (n, 9), solved again where it falls below ``floor`` in a visible direction: light is not negative.

    Directions below the floor pull towards it as further observations; what is left is faded to its mean.
    """
    views = visible_directions()
    out = shading.copy()
    for _ in range(3):
        low = out @ views.T < floor
        bad = np.flatnonzero(low.any(axis=1))
        if not len(bad):
            return out
        strength = 0.2 * np.trace(matrix[bad], axis1=1, axis2=2) / 9 + 30
        pull = low[bad] * strength[:, None]
        extra = np.einsum("nm,mi,mj->nij", pull, views, views)
        out[bad] = solve(matrix[bad] + extra, vector[bad] + floor * (pull @ views), reference)
        matrix, vector = matrix.copy(), vector.copy()
        matrix[bad] += extra
        vector[bad] += floor * (pull @ views)
    return faded(out, floor)


def faded(shading: np.ndarray, floor: float) -> np.ndarray:
    """``shading`` (..., 9) mixed with its own constant as little as keeps it at or above ``floor`` times its mean over
    all visible directions."""
    views = visible_directions()
    mean = shading @ views.mean(axis=0)
    lowest = (shading @ views.T).min(axis=-1)
    need = floor * mean
    keep = np.where(lowest < need, (mean - need) / np.maximum(mean - lowest, 1e-9), 1.0)
    out = shading * keep[..., None]
    out[..., 0] += (1 - keep) * mean
    return out
