"""How a drawn head sits in what stays of its subject: skull, hair, ears and neck.

A surrogate's features are brought to where the subject's lie, and its proportions stay its own. Among those who are
far from somebody for a recogniser are some whose eyes then lie far below the subject's, under a forehead that nobody
has, or whose features crowd in the middle of a long face: each an ordinary head by itself, and none in this place. So
the heights of features and the widths of the face are compared with the subject's, and held near.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry

_LINES: tuple[tuple[tuple[int, ...], float], ...] = (  # mesh points of one height, and how far off they may be
    ((33, 133, 362, 263), 0.030),
    ((105, 107, 336, 334), 0.035),
    ((2, 97, 326), 0.030),
    ((13, 14), 0.030),
    ((152,), 0.055),
)
_WIDTHS = (((234, 454), 0.09), ((58, 288), 0.11))
_EYES = (33, 263)
_LIMITS = np.array([limit for _, limit in _LINES] + [limit for _, limit in _WIDTHS])
"""In shares of the outer eye distance: twice what drawn heads differ by."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """``subject``: float64 (468, 3), mesh points of the subject's head at rest, centimetres."""

    geometry: Geometry
    subject: np.ndarray

    @classmethod
    def of(cls, geometry: Geometry, neutral: np.ndarray) -> Setting:
        """``neutral``: float32 (V, 3), the subject's head at rest."""
        return cls(geometry, surface_points(geometry, neutral).astype(np.float64))

    def shares(self, shapes: np.ndarray) -> np.ndarray:
        """float64 (n, 7), 0 and more: how far heads of identity ``shapes``, (n, K), placed as
        :meth:`~.painter.Sitter.in_place_of` does, are off in each line and width, 1 being as far as looks right."""
        forms, codes = _forms(self.geometry), np.asarray(shapes, np.float64)
        aim = self.subject - self.subject.mean(axis=0)
        along = codes @ (forms.modes @ aim.ravel()) + forms.mean @ aim.ravel()
        square = ((codes @ forms.squares + 2 * forms.cross) * codes).sum(axis=1) + forms.mean @ forms.mean
        measures = codes @ forms.mode_measures + forms.mean_measures
        off = measures * (along / square)[:, None] - _measures(aim[None])
        out: np.ndarray = np.abs(off) / (aim[_EYES[1], 0] - aim[_EYES[0], 0]) / _LIMITS
        return out

    def oddness(self, shapes: np.ndarray) -> np.ndarray:
        """(n,): the largest of :meth:`shares`."""
        found: np.ndarray = self.shares(shapes).max(axis=1)
        return found


def _measures(points: np.ndarray) -> np.ndarray:
    """(n, 7) of mesh points (n, 468, 3)."""
    heights = [points[:, list(line), 1].mean(axis=1) for line, _ in _LINES]
    widths = [points[:, right, 0] - points[:, left, 0] for (left, right), _ in _WIDTHS]
    return np.stack(heights + widths, axis=1)


class _Forms(NamedTuple):
    """What :meth:`Setting.shares` needs of all heads, float64, their mesh points about their own middle: the ``mean``
    head's (1404,) and each mode's (K, 1404), their measures (7,) and (K, 7), the modes' products with one another,
    ``squares`` (K, K), and with the mean, ``cross`` (K,). Points by the hundred need not be made to be measured."""

    mean: np.ndarray
    modes: np.ndarray
    mean_measures: np.ndarray
    mode_measures: np.ndarray
    squares: np.ndarray
    cross: np.ndarray


@lru_cache(maxsize=2)
def _forms(geometry: Geometry) -> _Forms:
    mean = surface_points(geometry, geometry.vertices).astype(np.float64)
    modes = surface_points(geometry, geometry.identity).astype(np.float64)
    mean, modes = mean - mean.mean(axis=0), modes - modes.mean(axis=1, keepdims=True)
    flat = modes.reshape(len(modes), -1)
    return _Forms(
        mean.ravel(), flat, _measures(mean[None])[0], _measures(modes), flat @ flat.T, flat @ mean.ravel()
    )
