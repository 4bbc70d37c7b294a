"""Inner corners of the eyes, which scans lack.

The heads of the model end the opening of an eye where the eyeball does, in a round corner: 2.4 cm of slit, 4.1 cm from
one eye to the other. People's lids run on, past the eyeball and round the caruncle, to a point: slits are 2.8 to 3.1 cm
long and 3.2 cm apart (Farkas, *Anthropometry of the Head and Face*, 1994), and that point is what a landmark model
calls the corner. Short round eyes look startled, however far they are open. So the corner of a head that is shown is
drawn out to where its landmark lies, and what is left between the lids there is the wet flesh of the tears' mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry

_REACH = 0.75  # cm of lid, from the corner, that goes along
_SHARE, _MOST = 0.92, 0.48  # of the way to the landmark, and centimetres
_PINCHED = 0.62  # share of the lids' distance from the corner's own height that is taken off at its end
_SKIN, _FALL = 0.9, 1.4  # cm around that goes along, and how steeply that falls: skin is pressed together, not folded


@dataclass(frozen=True, slots=True, eq=False)
class _Corner:
    """One eye. ``rings``: int32 (R, L). ``along``: float32 (L,), how far a column goes. ``skin``: int32 (n,), and
    ``follows``: float32 (n, L), what it takes of each column's way."""

    rings: np.ndarray
    along: np.ndarray
    skin: np.ndarray
    follows: np.ndarray


@lru_cache(maxsize=2)
def _corners(geometry: Geometry) -> tuple[_Corner, ...]:
    motion, points, out = geometry.motion, geometry.vertices.astype(np.float64), []
    for eye in range(2):
        rings = motion.lid_rings[eye]
        lid = points[rings[-1]]
        half = rings.shape[1] // 2
        steps = np.linalg.norm(np.diff(lid, axis=0, append=lid[:1]), axis=1)
        length = np.cumsum(np.r_[0.0, steps[:-1]])
        along = np.clip(1 - np.abs(length - length[half]) / _REACH, 0.0, 1.0) ** 2
        skin = np.setdiff1d(motion.lid_region[eye], rings)
        apart = np.linalg.norm(points[skin][:, None] - lid[None], axis=2)
        weight = 1 / np.maximum(apart, 0.02) ** 4
        fall = np.clip(1 - apart.min(axis=1) / _SKIN, 0.0, 1.0) ** _FALL
        follows = weight / weight.sum(axis=1, keepdims=True) * fall[:, None]
        out.append(_Corner(rings, along.astype(np.float32), skin, follows.astype(np.float32)))
    return tuple(out)


def drawn_out(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    """``neutral``, float32 (V, 3), a head at rest, with the inner corners of its eyes where people have them."""
    out = np.array(neutral, np.float32)
    goals = surface_points(geometry, neutral)[face_points.EYE_CORNERS[:, 0]]
    for corner, goal in zip(_corners(geometry), goals, strict=True):
        lid = neutral[corner.rings[-1]]
        end = lid[len(lid) // 2]
        way = (goal - end).astype(np.float32)
        far = max(float(np.linalg.norm(way)), 1e-6)
        way *= np.float32(min(_SHARE, _MOST / far))
        w = corner.along[:, None]
        for ring in corner.rings:
            out[ring] += w * way
            out[ring, 1] += np.float32(_PINCHED) * corner.along * (neutral[ring[len(ring) // 2], 1] - neutral[ring, 1])
        moved = out[corner.rings[-1]] - lid
        out[corner.skin] += corner.follows @ moved
    return out
