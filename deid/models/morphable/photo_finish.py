"""From raw measurements of softness and noise to what a rendering needs to be as soft and as noisy."""

from __future__ import annotations

import numpy as np

from .photo_smooth import gaussian, median_of

_FEATURE_WIDTH = (0.28, 0.016)
"""Width of the edges of a face in a sharp picture, pixels, and how it grows with the pixels a centimetre: measured on
portraits reduced to 4 to 30 pixels a centimetre, by :func:`.photo_quality.measure_blur`."""
_SHARP = (1.1, 1.7)
"""Of that width: up to the first it is a sharp picture's, from the second on it is blur. In between it may be either:
on sharp portraits nine people in ten have .6 to 1.6 of it. A face softer than its picture looks worse than one that is
sharper."""
_SMALL = (15.0, 5.0, 0.2)
"""Between so many pixels a centimetre lids and lips turn from edges into lines, which look sharper than edges do when
blurred alike: by as much at the end (the same measurement)."""
_UNKNOWN_BLUR = 0.5
_BLUR_SIGMA, _NOISE_SIGMA = 0.06, 0.5  # seconds: motion blurs within frames, a camera's noise is its own
_COARSENESS = np.array([1.0, 1.41, 1.80])
_SIZES = np.array([0.0, 0.3, 0.4])
_GAINS = np.array([1.0, 1.30, 1.62])
"""Noise that a Gaussian of ``_SIZES`` pixels has blurred: twice its 2 x 2 means' deviation over its own, as Immerkaer's
operator sees them, and its true deviation over the one the operator sees (from the operator's spectrum). What is
coarser still is skin and codec, not noise."""
_LEAST_NOISE = 0.3
_FEATURES_AT = np.array([2.5, 3.5, 5.0, 10.0, 14.0])
_FEATURES = np.array([[2.9, 2.2, 2.1, 2.1, 0.0], [3.6, 2.3, 1.9, 1.9, 0.0]])
"""What passes for noise in a picture without any, because the blocks where it is measured hold parts of eyes, nose and
cheeks: code values, of pixels and of means over 2 x 2, at so many pixels a centimetre. Measured on portraits reduced to
that size, of which it holds for two in three; larger faces have room for blocks of skin alone."""


def softness_of(records: np.ndarray, times: np.ndarray) -> np.ndarray:
    """float64 (n,): blur in pixels that a sharp rendering lacks, for each of the (n,) ``records`` of
    :data:`.photometry.RECORD` at ``times`` (n,) seconds."""
    raw = median_of(records["blur"][:, None].astype(np.float64), times, 1)
    scale = gaussian(records["scale"][:, None].astype(np.float64), times, _NOISE_SIGMA)[:, 0]
    width = gaussian(raw, times, _BLUR_SIGMA)[:, 0]
    natural = _FEATURE_WIDTH[0] + _FEATURE_WIDTH[1] * scale
    small = np.clip((_SMALL[0] - scale) / (_SMALL[0] - _SMALL[1]), 0, 1)
    blur = (1 + _SMALL[2] * small) * np.sqrt(np.maximum(width * width - natural * natural, 0))
    doubt = np.clip((width / natural - _SHARP[0]) / (_SHARP[1] - _SHARP[0]), 0, 1)
    blur = blur * doubt * doubt * (3 - 2 * doubt)
    blur = np.where(np.isfinite(blur), blur, _UNKNOWN_BLUR)
    return blur


def grain_of(
    records: np.ndarray, times: np.ndarray, texture: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grain in code values, grain of colour differences, and the size of the grain in pixels; float64 (n,) each.
    ``texture``: (n,), what would be measured where a rendering has none, code values."""
    keys = ("scale", "noise", "coarse_noise", "chroma_noise")
    found = gaussian(np.stack([records[k].astype(np.float64) for k in keys], axis=1), times, _NOISE_SIGMA)
    scale, fine, coarse, chroma = found.T
    own = [np.interp(scale, _FEATURES_AT, told) for told in _FEATURES]
    fine = np.sqrt(np.maximum(np.square(fine) - np.square(np.maximum(own[0], texture)), 0))
    coarse = np.sqrt(np.maximum(np.square(coarse) - np.square(own[1]), 0))
    coarseness = np.where(fine > _LEAST_NOISE, 2 * coarse / np.maximum(fine, _LEAST_NOISE), 1.0)
    grain = fine * np.interp(coarseness, _COARSENESS, _GAINS)
    return grain, chroma, np.interp(coarseness, _COARSENESS, _SIZES)


def coarse_of(records: np.ndarray, times: np.ndarray) -> np.ndarray:
    """float64 (n,): the noise of means over 2 x 2 pixels, code values, steady in time: of faint detail rather than of
    grain, which these means lose."""
    return gaussian(records["coarse_noise"][:, None].astype(np.float64), times, _NOISE_SIGMA)[:, 0]
