"""When something that is neither skin nor hair lies before the lower part of a face: microphones, cups, phones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deid.blending.objects import LIKELY, no_beards, no_skin, skin_of

from .fit_basis import surface_points
from .geometry import Geometry
from .photo_samples import TRIPLES
from .photo_smooth import gaussian
from .photometry import valid_samples

_SIGMA = 0.2  # seconds
_SHARES = (0.003, 0.012)  # of the lower face's samples: doubtful, certain
_ENOUGH = 20  # samples of the upper face that tell a skin's colour
_LOWER = 0.3  # share of all samples that is the lower face


def covered(records: np.ndarray, times: np.ndarray, geometry: Geometry) -> np.ndarray:
    """float64 (n,), 0 to 1: how surely an object lies before the lower face, followed over time.

    ``records``: (n,) of :data:`.photometry.RECORD`. ``times``: (n,) seconds. Places count whose colour neither the
    subject's skin nor the hair of a beard has: on portraits, bearded or not, there are none.
    """
    upper, lower = _halves(geometry)
    colours, known = records["skin"].astype(np.float32) / np.float32(255), valid_samples(records)
    share = np.zeros(len(records))
    for row in range(len(records)):
        ours = colours[row][upper & known[row]]
        if len(ours) < _ENOUGH:
            continue
        skin, here = skin_of(ours), colours[row][lower & known[row]]
        share[row] = (no_skin(here, skin, *LIKELY) & no_beards(here, skin)).sum() / max(int(lower.sum()), 1)
    steady = gaussian(share[:, None], times, _SIGMA)[:, 0]
    return np.asarray(np.clip((steady - _SHARES[0]) / (_SHARES[1] - _SHARES[0]), 0, 1))


@lru_cache(maxsize=1)
def _halves(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """bool (N,) twice: samples of the upper half of a face, and of what lies below the nose."""
    height = surface_points(geometry, geometry.vertices)[TRIPLES, 1].mean(axis=1)
    return height > np.median(height), height < np.quantile(height, _LOWER)
