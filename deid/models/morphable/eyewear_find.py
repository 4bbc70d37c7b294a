"""Whether a subject wears glasses: a linear classifier of line directions around the eyes.

Each picture of a track, unrolled (:mod:`.eyewear_sheet`), is described by histograms of gradient directions in small
cells (N. Dalal and B. Triggs, *Histograms of Oriented Gradients for Human Detection*, CVPR 2005, unsigned directions,
each cell weighed by the contrast around it), and judged by logistic regression; the pictures' judgements are averaged.
The weights come from ``tools/train_eyewear.py``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid import imaging
from deid.errors import ModelError

CELL, BINS = 6, 8
_ASSET = Path(__file__).with_name("eyewear.safetensors")
_LEAST = 6.0  # code values of gradient: below that it is noise


def describe(sheet: np.ndarray) -> np.ndarray:
    """float32 (rows, columns, BINS): ``sheet``, uint8 (h, w, 3), as directions of gradients, cell by cell."""
    grey = sheet.astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32)
    grey = imaging.gaussian_blur(grey, (0, 0), 0.6)
    dy, dx = np.zeros_like(grey), np.zeros_like(grey)
    dy[1:-1], dx[:, 1:-1] = grey[2:] - grey[:-2], grey[:, 2:] - grey[:, :-2]
    size = np.hypot(dx, dy)
    turn = np.mod(np.arctan2(dy, dx), np.pi) * (BINS / np.pi)
    low = np.floor(turn)
    share = turn - low
    first = low.astype(int) % BINS
    rows, columns = grey.shape[0] // CELL, grey.shape[1] // CELL
    out = np.empty((rows, columns, BINS), np.float32)
    for k in range(BINS):
        part = size * ((first == k) * (1 - share) + ((first + 1) % BINS == k) * share)
        cells = part[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL)
        out[..., k] = cells.mean(axis=(1, 3))
    around = imaging.box_filter(out.sum(axis=2), -1, (5, 3))
    return np.asarray(np.sqrt(out / (around[..., None] + _LEAST)), np.float32)


def mirrored(cells: np.ndarray) -> np.ndarray:
    """What :func:`describe` says of the sheet seen in a mirror, nearly: columns and directions turned round."""
    return np.ascontiguousarray(cells[:, ::-1, (-np.arange(BINS)) % BINS])


def likely(sheets: np.ndarray) -> float:
    """The log odds that the subject of ``sheets``, uint8 (n, h, w, 3), wears glasses: their mean; n at least 1."""
    weights, bias = _model()
    total = 0.0
    for sheet in sheets:
        cells = describe(sheet)
        total += float(((cells + mirrored(cells)) * weights).sum()) / 2 + bias
    return total / len(sheets)


@lru_cache(maxsize=1)
def _model() -> tuple[np.ndarray, float]:
    try:
        data = load_file(str(_ASSET))
        return data["weights"], float(data["bias"][0])
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{_ASSET.name} cannot be read: reinstall the package ({error})") from error
