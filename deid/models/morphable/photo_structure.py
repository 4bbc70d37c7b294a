"""How much contrast a picture of a face has in details of different sizes."""

from __future__ import annotations

import numpy as np

from deid import imaging

CELLS = 48
_ANCHORS = [33, 263, 61, 291]  # outer corners of the eyes, corners of the mouth
_REACH = 0.36  # half of the window, of the mesh's width and height
_SIGMAS = (1.0, 2.0, 4.0)  # cells
_LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)
_RAMP = np.sin((np.arange(CELLS) + 0.5) * np.pi / CELLS).astype(np.float32)
_WEIGHT = np.outer(_RAMP, _RAMP) / _RAMP.sum() ** 2  # of the window's middle
_NOISE_PASSED = np.array([0.85, 0.2, 0.05])
"""What the bands keep of the variance of noise that differs from cell to cell."""


def window_of(mesh: np.ndarray, width: int, height: int) -> tuple[slice, slice] | None:
    """Rows and columns of a picture, ``height`` x ``width``, from the eyes to the mouth of ``mesh``, (n, 2 or more);
    ``None`` when too little of that is in the picture."""
    middle = mesh[_ANCHORS, :2].mean(axis=0)
    half = _REACH * np.ptp(mesh[:468, :2], axis=0)
    low = np.maximum(np.round(middle - half), 0).astype(int)
    high = np.minimum(np.round(middle + half), (width, height)).astype(int)
    if (high - low < np.maximum(1.4 * half, 8)).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def measure_structure(window: np.ndarray, noise: float = 0.0, factor: int = 1) -> np.ndarray:
    """float64 (3,): contrast of fine, middle and coarse detail: root mean square of luma between Gaussians of 0, 1, 2
    and 4 cells of a grid of 48 x 48.

    ``window``: float32 or uint8 (h, w, 3) RGB code values 0 to 255, see :func:`window_of`. ``noise``: standard
    deviation of its noise, whose share is taken off; ``factor``: of the pixels that noise was measured on, how many
    each way one of the window stands for.
    """
    luma = imaging.transform(window, _LUMA)
    if luma.dtype != np.float32:
        luma = luma.astype(np.float32)
    grid = imaging.resize(luma, (CELLS, CELLS), interpolation=imaging.INTER_AREA)
    out, finer = np.empty(3), grid
    for k, sigma in enumerate(_SIGMAS):
        side = 2 * int(2.5 * sigma) + 1
        coarser = imaging.gaussian_blur(grid, (side, side), sigma, borderType=imaging.BORDER_REPLICATE)
        out[k] = float((_WEIGHT * (finer - coarser) ** 2).sum())
        finer = coarser
    pixels = max(factor * luma.shape[0] / CELLS, 1.0) * max(factor * luma.shape[1] / CELLS, 1.0)
    structure: np.ndarray = np.sqrt(np.maximum(out - noise * noise / pixels * _NOISE_PASSED, 0.0))
    return structure
