"""Stray light: a veil over the picture that lifts its blacks, from haze, flare or a cheap camera's curve."""

from __future__ import annotations

import numpy as np

from .photo_smooth import gaussian, median_of

_DARK = 0.05
"""What pupils, nostrils and dark hair have of skin's luminance without a veil, and a little more (portraits: median
0.01, 95th percentile 0.04)."""
_DARK_WHEN_SOFT = 0.04
"""More of that where a face is so soft or small that its dark spots run into the skin around."""
_SPOT = 0.3  # centimetres, size of those spots
_MOST = 0.45  # of the skin's luminance
_SIGMA = 0.5  # seconds


def estimate_veil(
    dark: np.ndarray, skin: np.ndarray, blur: np.ndarray, scale: np.ndarray, times: np.ndarray, luminance: np.ndarray
) -> np.ndarray:
    """float64 (n, 3): linear RGB of the veil.

    ``dark``: (n, 3) linear RGB of each face's darkest part; ``skin``: (n,) luminance of its skin, both with the veil;
    ``blur``: (n,) pixels; ``scale``: (n,) pixels a centimetre; ``times``: (n,) seconds; ``luminance``: (3,) weights.
    """
    soft = np.clip(2 * blur / np.maximum(_SPOT * scale, 0.1), 0, 1)
    grey = dark @ luminance
    share = np.clip(grey / np.maximum(skin, 1e-4) - _DARK - _DARK_WHEN_SOFT * soft, 0, _MOST)
    tint = dark / np.maximum(grey, 1e-4)[:, None]
    tint = np.clip(tint, 0.6, 1.6)
    # Relative to the skin it lasts, through changes of exposure.
    steady = gaussian(median_of(np.concatenate([share[:, None], tint], axis=1), times), times, _SIGMA)
    veil: np.ndarray = steady[:, :1] * steady[:, 1:] * skin[:, None]
    return veil
