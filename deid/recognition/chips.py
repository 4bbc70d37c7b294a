"""Cuts the aligned face chips that dlib's recognition network was trained on.

The alignment is that of ``dlib.get_face_chip_details`` with five landmarks: a similarity transform, in the
least-squares sense, onto a mean shape (S. Umeyama, *Least-squares estimation of transformation parameters between two
point patterns*, PAMI 1991).
"""

from __future__ import annotations

import numpy as np

from .. import imaging

CHIP = 150
_PADDING = 0.25

# dlib's mean shape in a unit square: outer and inner corner of the eye on the viewer's right, the same on the left, and
# the base of the nose.
_DLIB_SHAPE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_MESH_POINTS = (263, 362, 33, 133, 2)  # the same five in MediaPipe's face mesh

# Eye centres, nose tip and mouth corners in chip pixels: where CenterFace's points lie, at the median and made
# symmetric, in chips of 535 portraits aligned by the five points above (benchmarks/calibrate_recogniser.py).
_FIVE_POINTS = np.array([[45.0, 46.3], [103.0, 46.3], [73.5, 77.8], [49.5, 102.5], [100.0, 102.5]])


def _canonical(shape: np.ndarray) -> np.ndarray:
    return (shape + _PADDING) / (1 + 2 * _PADDING) * CHIP


def similarity(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """``target_from_source`` 2 x 3 float64: the rotation, uniform scale and shift that fits best.

    ``target``, ``source``: (n, 2), n at least 2. Raises :class:`ValueError` when they are not finite, or when the
    source points coincide.
    """
    target, source = np.asarray(target, np.float64), np.asarray(source, np.float64)
    if not (np.isfinite(target).all() and np.isfinite(source).all()):
        raise ValueError("a similarity needs finite points")
    mean_target, mean_source = target.mean(0), source.mean(0)
    x, y = (source - mean_source).T
    u, v = (target - mean_target).T
    spread = float(np.sum(x * x + y * y))
    if spread < 1e-9:
        raise ValueError("a similarity needs points that do not coincide")
    a, b = float(np.sum(x * u + y * v)) / spread, float(np.sum(x * v - y * u)) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (mean_target - linear @ mean_source)[:, None]])


def chip_from_picture(landmarks: np.ndarray) -> np.ndarray:
    """The transform, 2 x 3 float64, from picture pixels to chip pixels.

    ``landmarks``: (468 or 478, 2 or more) points of MediaPipe's face mesh, or (5, 2) eye centres, nose tip and mouth
    corners, from the viewer's left to right, in picture pixels. Raises :class:`ValueError` for anything else.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 2 or points.shape[0] not in (5, 468, 478) or points.shape[1] < 2:
        raise ValueError(f"landmarks must be (468 or 478, 2+) or (5, 2), not {points.shape}")
    if len(points) == 5:
        return similarity(_FIVE_POINTS, points[:, :2])
    return similarity(_canonical(_DLIB_SHAPE), points[list(_MESH_POINTS), :2])


def cut_chip(picture: np.ndarray, transform: np.ndarray, size: int = CHIP) -> np.ndarray:
    """``picture`` (H, W, C) uint8 seen through ``transform`` (chip from picture) as (size, size, C) uint8.

    Averages over areas when it shrinks, so that large faces do not alias. Black outside the picture.
    """
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    step = int(0.75 / scale) if scale > 0 else 1
    if step > 1:
        height, width = (max(1, side // step) for side in picture.shape[:2])
        sx, sy = picture.shape[1] / width, picture.shape[0] / height
        picture = imaging.resize(picture, (width, height), interpolation=imaging.INTER_AREA)
        shrunk = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        transform = transform @ shrunk
    return imaging.warp_affine(picture, transform, (size, size), flags=imaging.INTER_LINEAR)
