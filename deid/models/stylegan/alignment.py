"""The square around a face that FFHQ's pictures were cut by, from MediaPipe's points, steady over time.

T. Karras et al., *A Style-Based Generator Architecture for Generative Adversarial Networks*, 2019, appendix A: a square
along the line from the eyes to the mouth, as large as the larger of twice the distance of the eyes and 1.8 times that
from eyes to mouth. In video its centre and its sides are smoothed apart: R. Tzaban et al., *Stitch it in Time*, 2022,
section 3.1.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
"""Points of MediaPipe's mesh where the lids' twelve of 68 landmarks lie; the eye on the viewer's left first."""
MOUTH_CORNERS = (61, 291)
CENTRE_SIGMA, SIDES_SIGMA = 1.0, 3.0
"""Frames."""

_EYES_TIMES, _MOUTH_TIMES, _DOWN = 2.0, 1.8, 0.1


def squares(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half the upper side's direction, both float64 (n, 2) in the pixels of ``points``, (n, 478, 2 or 3)."""
    places = np.asarray(points, np.float64)[..., :2]
    left, right = (places[:, list(eye)].mean(axis=1) for eye in EYES)
    mouth = places[:, list(MOUTH_CORNERS)].mean(axis=1)
    eyes, across, down = (left + right) / 2, right - left, mouth - (left + right) / 2
    way = across - down[:, ::-1] * (-1, 1)
    length = np.maximum(_EYES_TIMES * np.linalg.norm(across, axis=1), _MOUTH_TIMES * np.linalg.norm(down, axis=1))
    way *= (length / np.maximum(np.linalg.norm(way, axis=1), 1e-9))[:, None]
    return eyes + _DOWN * down, way


def steady(centres: np.ndarray, ways: np.ndarray, rate: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """The squares of consecutive frames, smoothed. ``rate``: frames a second, that the paper's widths hold for 25
    of."""
    step = rate / 25.0
    if len(centres) < 2:
        return centres, ways
    return (
        gaussian_filter1d(centres, CENTRE_SIGMA * step, axis=0, mode="nearest"),
        gaussian_filter1d(ways, SIDES_SIGMA * step, axis=0, mode="nearest"),
    )


def frame_from_crop(centre: np.ndarray, way: np.ndarray, size: int) -> np.ndarray:
    """float64 (2, 3): from pixel centres of a crop of ``size`` pixels to those of the frame."""
    x = 2 * way / size
    y = np.array([-x[1], x[0]])
    corner = centre - (x + y) * (size - 1) / 2
    return np.column_stack([x, y, corner])


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The way back of an affine transform (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
