"""What a recogniser will make of a surrogate in a subject's place, foretold without rendering it.

Seen in the same picture, surrogates' recognition codes differ nearly linearly with their identity codes: of the
variance among draws a fixed linear map explains two thirds in people it was not trained on. What the picture adds
(hair, ears, neck, light) is a constant, known after one rendering. So many draws can be compared and few need be
looked at.
``tools/train_foretelling.py`` estimates the map from renderings; it holds nobody's template.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.errors import ModelError
from deid.models.morphable import complexion, features
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import load_geometry
from deid.people import traits

_ASSET = Path(__file__).with_name("foretelling.safetensors")
_MOST = 1024  # codes whose details are remembered
_KEPT: dict[tuple[int, bytes], np.ndarray] = {}


def numbers(code: IdentityCode) -> np.ndarray:
    """float64 (n,): what the map is applied to: shape, skin, the iris's logarithm, and what of the complexion shows."""
    return _numbers([code])[0]


def _numbers(codes: Sequence[IdentityCode]) -> np.ndarray:
    """float64 (m, n): :func:`numbers` of each."""
    parts = [np.concatenate([code.shape, code.appearance, np.log(np.maximum(code.iris, 1e-3))]) for code in codes]
    return np.concatenate([np.stack(parts).astype(np.float64), _shows(codes)], axis=1)


def _shows(codes: Sequence[IdentityCode]) -> np.ndarray:
    """float64 (m, n): what the codes' details show; kept, since every draw is asked about more than once."""
    keys = [(code.detail, code.appearance.tobytes()) for code in codes]
    known = {key: _KEPT.get(key) for key in keys}
    new = {key: code for key, code in zip(keys, codes, strict=True) if known[key] is None}
    if new:
        read = np.array([load_appearance().traits(code.appearance) for code in new.values()])
        made = dict(zip(new, _of_details([code.detail for code in new.values()], *read.T), strict=True))
        known |= made
        if len(_KEPT) + len(made) > _MOST:
            _KEPT.clear()
        _KEPT.update(made)
    return np.array([known[key] for key in keys], np.float64)


def _of_details(seeds: Sequence[int], genders: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """float64 (m, n): what of a complexion, and of the places of a face, shows of seeds of details; ``genders``,
    ``ages``: (m,)."""
    return np.concatenate([10 * complexion.shown(seeds, genders, ages), features.strengths_of(seeds, ages)], axis=1)


def foretold(codes: Sequence[IdentityCode]) -> np.ndarray:
    """float64 (n, 128): recognition codes but for a constant that is the picture's. All zero when the packaged map
    belongs to another face model."""
    matrix = _matrix()
    found = _numbers(codes)
    if found.shape[1] != len(matrix):
        return np.zeros((len(codes), matrix.shape[1]))
    out: np.ndarray = found @ matrix
    return out


def foretold_details(seeds: Sequence[int], gender: float, age: float) -> np.ndarray:
    """float64 (n, 128): what each of ``seeds`` of details adds to what is foretold of a face of that ``gender``, -1 to
    1, and ``age`` in years. All zero when the packaged map belongs to another face model."""
    matrix = _matrix()
    found = _of_details(seeds, np.full(len(seeds), float(gender)), np.full(len(seeds), float(age)))
    if len(matrix) != len(load_geometry().identity) + load_appearance().modes + 3 + found.shape[1]:
        return np.zeros((len(seeds), matrix.shape[1]))
    out: np.ndarray = found @ matrix[-found.shape[1] :]
    return out


def sensitivity(count: int) -> np.ndarray:
    """float64 (``count``, 128): how recognition codes change with the first ``count`` of :func:`numbers`. All zero when
    the packaged map belongs to another face model."""
    matrix = _matrix()
    return matrix[:count].copy() if len(matrix) >= count else np.zeros((count, matrix.shape[1]))


def telling(count: int, most: int, root: np.ndarray | None = None, start: int = 0) -> np.ndarray:
    """float64 (``count``, n), orthonormal columns, n at most ``most``: the directions of shape, of ``count``
    coefficients, that a recogniser tells people apart by, most telling first; of components when the columns of
    ``root``, (``count``, ``count``), say what shape they are; ``start``: which of :func:`numbers` is the first of them,
    for others than shape. What it reads as gender and age is not
    among them. None when the packaged map belongs to another face model."""
    matrix = _matrix()
    if len(matrix) <= start + count:
        return np.zeros((count, 0))
    rows = matrix[start : start + count]
    rows = rows if root is None else root.T @ rows
    reads = np.stack([traits()["gender"][:-1], traits()["age"][:-1]], axis=1).astype(np.float64)
    fixed, _ = np.linalg.qr(rows @ reads)
    free = rows - fixed @ (fixed.T @ rows)
    left, _, _ = np.linalg.svd(free, full_matrices=False)
    out: np.ndarray = left[:, :most]
    return out


def shape_reads(count: int) -> np.ndarray:
    """float64 (``count``,): what a standard deviation of each of as many coefficients of shape adds to the log odds of
    a woman's face. Zero when the packaged map belongs to another face model."""
    matrix = _matrix()
    if len(matrix) <= count:
        return np.zeros(count)
    found: np.ndarray = matrix[:count] @ traits()["gender"][:-1].astype(np.float64)
    return found


@lru_cache(maxsize=1)
def _matrix() -> np.ndarray:
    """float64 (n, 128). Raises :class:`~deid.errors.ModelError` when the file is missing or damaged."""
    try:
        return load_file(_ASSET)["matrix"].astype(np.float64)
    except (OSError, KeyError, SafetensorError) as error:
        raise ModelError(f"{_ASSET.name} is missing or damaged: reinstall deid-video") from error
