"""What a head measures: proportions by which an ordinary face is told from an odd one.

A statistical model's modes are orthogonal, plausible faces are not a box of them: a short nose that points up, a long
upper lip or a pinched mouth can each lie within every mode's usual range. So proportions that casting and anthropometry
go by (Farkas, *Anthropometry of the Head and Face*, 1994; the choice here is what mesh points show) are measured on the
head at rest and held to what the portraits' heads have, each by itself and all together (Mahalanobis). Their limits,
and the spread of heads, are :mod:`.population`'s.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deid.models.morphable.geometry import Geometry

NAMES = (
    "nose length", "nose width", "nose tip over base", "nose tip before base", "nose bridge width", "nostrils apart",
    "philtrum", "upper lip", "lower lip", "mouth width", "mouth corners up", "lips before nose base", "eye opening",
    "eye spacing", "eye tilt", "brow over eye", "brow tilt", "chin height", "chin before lip", "face width",
    "face width at the mouth", "jaw width", "lower face", "asymmetry", "nose tip width", "nose ridge width",
    "nose tip turned up", "nostrils seen", "nostrils turned", "nose over lip", "nose asymmetry",
)  # fmt: skip
"""Of the columns of :func:`proportions`. How much of the nostrils is seen from ahead is the height of their rims over
their sills; how they are turned, how the tip is, and the nose over the lip, are angles in radians."""

_PAIRS = (  # the subject's right and left, mesh points
    (33, 263), (133, 362), (159, 386), (145, 374), (129, 358), (98, 327), (122, 351), (61, 291), (105, 334),
    (107, 336), (70, 300), (234, 454), (58, 288), (172, 397), (37, 267), (50, 280),
    (51, 281), (220, 440), (45, 275), (115, 344), (48, 278), (64, 294), (79, 309), (97, 326),
)  # fmt: skip
_MIDDLE = (10, 168, 4, 2, 0, 13, 14, 17, 152, 1, 94)
_FACE = 16  # of the pairs, those of the whole face; the others are the nose's, with these
_NOSE = [_PAIRS.index(pair) for pair in ((129, 358), (98, 327), (45, 275), (115, 344), (48, 278), (64, 294), (79, 309))]
_POINTS = np.array([p for pair in _PAIRS for p in pair] + list(_MIDDLE))
_AT = {int(point): i for i, point in enumerate(_POINTS)}


@lru_cache(maxsize=2)
def _linear(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The points of the mean head, float64 (P, 3), and of each mode, (K, 3 P)."""
    corners = geometry.triangles[geometry.landmark_triangles[_POINTS]]
    weights = geometry.landmark_weights[_POINTS].astype(np.float64)[..., None]
    mean = (geometry.vertices[corners] * weights).sum(axis=1)
    modes = (geometry.identity[:, corners] * weights).sum(axis=2)
    return mean, modes.reshape(len(modes), -1)


def proportions(geometry: Geometry, shapes: np.ndarray) -> np.ndarray:
    """float64 (n, R): :data:`NAMES` of heads of identity ``shapes``, (n, K) standard deviations, at rest. Lengths are
    shares of the outer eye distance, of the height from the nose's root to the chin, or of the face's."""
    mean, modes = _linear(geometry)
    points = (np.asarray(shapes, np.float64) @ modes).reshape(len(shapes), -1, 3) + mean

    def x(point: int) -> np.ndarray:
        return points[:, _AT[point], 0]

    def y(point: int) -> np.ndarray:
        return points[:, _AT[point], 1]

    def z(point: int) -> np.ndarray:
        return points[:, _AT[point], 2]

    def wide(pair: tuple[int, int]) -> np.ndarray:
        return x(pair[1]) - x(pair[0])

    def high(*pairs: tuple[int, int]) -> np.ndarray:
        out: np.ndarray = sum(y(a) - y(b) for a, b in pairs) / len(pairs)
        return out

    def deep(pair: tuple[int, int]) -> np.ndarray:
        return (z(pair[0]) + z(pair[1])) / 2

    eyes, tall, face = wide((33, 263)), y(168) - y(152), y(10) - y(152)
    nose, cheeks = y(168) - y(2), wide((234, 454))
    slit = (wide((33, 133)) + wide((362, 263))) / 2
    right, left = points[:, 0 : 2 * len(_PAIRS) : 2], points[:, 1 : 2 * len(_PAIRS) : 2]
    uneven = left - right * (-1, 1, 1)
    rim, sill = (79, 309), (97, 326)
    show = high((79, 97), (309, 326))
    across, under = np.stack([y(94) - y(2), z(94) - z(2)]), np.stack([y(0) - y(2), z(0) - z(2)])
    lip = (across * under).sum(axis=0) / np.linalg.norm(across, axis=0) / np.linalg.norm(under, axis=0)
    columns = (
        nose / tall, wide((129, 358)) / eyes, (y(4) - y(2)) / nose, (z(4) - z(2)) / nose, wide((122, 351)) / eyes,
        wide((98, 327)) / wide((129, 358)), (y(2) - y(0)) / tall, (y(0) - y(13)) / tall, (y(14) - y(17)) / tall,
        wide((61, 291)) / eyes, high((61, 13), (291, 13)) / tall, (z(0) - z(2)) / tall,
        high((159, 145), (386, 374)) / slit, wide((133, 362)) / eyes, high((33, 133), (263, 362)) / slit,
        high((105, 159), (334, 386)) / eyes, high((107, 70), (336, 300)) / eyes, (y(17) - y(152)) / tall,
        (z(152) - z(17)) / tall, cheeks / face, wide((58, 288)) / cheeks, wide((172, 397)) / cheeks,
        (y(2) - y(152)) / face, _lopsided(uneven[:, :_FACE]) / eyes, wide((220, 440)) / eyes, wide((51, 281)) / eyes,
        np.arctan2(y(1) - y(2), z(1) - z(2)), show / wide((129, 358)), np.arctan2(show, deep(rim) - deep(sill)),
        np.arccos(lip), _lopsided(uneven[:, _NOSE]) / wide((129, 358)),
    )  # fmt: skip
    return np.stack(columns, axis=1)


def _lopsided(uneven: np.ndarray) -> np.ndarray:
    """(n,): root mean square of what sides differ by, (n, p, 3), but for a shift of the whole."""
    off = uneven - uneven.mean(axis=1, keepdims=True)
    found: np.ndarray = np.sqrt((off**2).sum(axis=2).mean(axis=1))
    return found
