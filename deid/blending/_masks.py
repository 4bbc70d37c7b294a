"""What masks of things before a face are made with: discs, local colours, edges."""

from __future__ import annotations

import numpy as np

from .. import imaging

CALM = 4e-4  # variance of code values below which a place has no edge


def disc(radius: float) -> np.ndarray:
    reach = max(1, round(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (x * x + y * y <= reach * reach + 0.5).astype(np.uint8)


def along_edges(mask: np.ndarray, guide: np.ndarray, reach: int) -> np.ndarray:
    """``mask``, float32 (h, w), smoothed within but not across the edges of ``guide``, (h, w) code values 0 to 1: the
    guided filter (K. He, J. Sun and X. Tang, *Guided Image Filtering*, ECCV 2010, equations 5, 6 and 8)."""
    window = (2 * reach + 1, 2 * reach + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(imaging.box_filter(values, -1, window))

    of_guide, of_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - of_guide * of_mask) / (mean(guide * guide) - of_guide**2 + np.float32(CALM))
    return mean(slope) * guide + mean(of_mask - slope * of_guide)


def likeness(picture: np.ndarray, sure: np.ndarray, clear: np.ndarray, reach: int) -> np.ndarray:
    """float32 (h, w): 1 where a pixel has the colour of ``sure`` pixels around it, 0 where that of ``clear`` ones."""
    window = (2 * reach + 1, 2 * reach + 1)

    def apart(weight: np.ndarray) -> np.ndarray:
        total = imaging.box_filter(weight, -1, window) + np.float32(1e-4)
        mean = imaging.box_filter(picture * weight[..., None], -1, window) / total[..., None]
        return ((picture - mean) ** 2).sum(axis=2)

    hand, rest = apart(sure), apart(clear)
    unsure = np.float32(2e-3)
    return (rest + unsure) / (hand + rest + 2 * unsure)


def blurred(mask: np.ndarray, sigma: float) -> np.ndarray:
    return imaging.gaussian_blur(mask, (0, 0), sigma)


def filled(polygon: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    canvas = np.zeros(size, np.uint8)
    imaging.fill_poly(canvas, [np.round(polygon).astype(np.int32)], 1)
    return canvas.astype(np.float32)
