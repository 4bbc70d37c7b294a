"""Head pose and face box from a face mesh.

The constants are measured on the 535 portraits that the appearance model is built from, by
``benchmarks/calibrate_landmarks.py``, which prints them.
"""

from __future__ import annotations

import numpy as np

_RIGID = np.array(
    [
        (33, -0.500, 0.035, -0.002),
        (263, 0.500, 0.035, -0.002),
        (133, -0.195, 0.054, -0.062),
        (362, 0.195, 0.054, -0.062),
        (127, -0.806, 0.087, 0.561),
        (356, 0.806, 0.087, 0.561),
        (234, -0.801, 0.258, 0.618),
        (454, 0.801, 0.258, 0.618),
        (93, -0.792, 0.431, 0.626),
        (323, 0.792, 0.431, 0.626),
        (98, -0.219, 0.515, -0.215),
        (327, 0.219, 0.515, -0.215),
        (54, -0.680, -0.363, 0.151),
        (284, 0.680, -0.363, 0.151),
        (103, -0.566, -0.468, 0.004),
        (332, 0.566, -0.468, 0.004),
        (67, -0.396, -0.539, -0.125),
        (297, 0.396, -0.539, -0.125),
        (10, 0.000, -0.579, -0.223),
        (151, 0.000, -0.391, -0.257),
        (9, 0.000, -0.180, -0.284),
        (168, 0.000, -0.006, -0.262),
        (6, 0.000, 0.078, -0.311),
        (197, 0.000, 0.160, -0.365),
        (195, 0.000, 0.236, -0.426),
        (5, 0.000, 0.318, -0.488),
        (4, 0.000, 0.417, -0.514),
    ]
)
"""Mesh points that neither expression nor speech moves, and where they lie on the mean head: x, y (down) and z (away
from the viewer) in outer eye distances. The mean is made symmetric, which fixes yaw 0 and roll 0; pitch 0 is the
median portrait's."""

RIGID_POINTS = _RIGID[:, 0].astype(np.intp)
MEAN_HEAD = _RIGID[:, 1:] - _RIGID[:, 1:].mean(axis=0)

BOX_WIDTH, BOX_HEIGHT, BOX_RISE = 0.98, 1.115, 0.055
"""CenterFace's box of the upright face over the extent of the mesh: width, height (medians; 5th to 95th percentile 0.93
to 1.05 and 1.04 to 1.22), and how far its centre lies above the mesh's, in mesh heights (0.02 to 0.09). Yaw within 35
degrees does not change them."""


def head_pose(points: np.ndarray) -> tuple[float, float, float]:
    """Roll in radians, yaw and pitch in degrees of a mesh (478, 3).

    The rotation that lays the mean head's rigid points over the mesh's, by least squares (Kabsch 1976), read as roll
    after yaw after pitch. Unlike the eye line it stays defined in profile.
    """
    seen = points[RIGID_POINTS].astype(np.float64)
    u, _, vt = np.linalg.svd((seen - seen.mean(axis=0)).T @ MEAN_HEAD)
    u[:, 2] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = u @ vt
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    yaw = np.degrees(np.arcsin(np.clip(rotation[2, 0], -1, 1)))
    pitch = -np.degrees(np.arctan2(rotation[2, 1], rotation[2, 2]))
    return float(roll), float(yaw), float(pitch)


def face_scale(points: np.ndarray) -> np.ndarray:
    """The outer eye distance, in the points' unit, that fits all rigid points in three dimensions: unlike the distance
    itself it does not shrink when the head turns. ``points``: (..., 478, 3); returns (...,) float64."""
    rigid = points[..., RIGID_POINTS, :3].astype(np.float64)
    rigid = rigid - rigid.mean(axis=-2, keepdims=True)
    return np.sqrt((rigid**2).sum((-1, -2)) / (MEAN_HEAD**2).sum())


def face_box(points: np.ndarray, roll: float) -> np.ndarray:
    """The oriented face box, float32 (5,) ``cx cy w h roll``, around a mesh (478, 2 or 3) that leans by ``roll``."""
    upright_from_picture = _rotation(-roll)
    upright = points[:, :2] @ upright_from_picture.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    width, height = high - low
    centre = (low + high) / 2 - [0, BOX_RISE * height]
    cx, cy = upright_from_picture.T @ centre
    return np.array([cx, cy, BOX_WIDTH * width, BOX_HEIGHT * height, roll], np.float32)


def mesh_square(
    cx: float, cy: float, w: float, h: float, roll: float, scale: float
) -> tuple[float, float, float, float]:
    """The inverse of :func:`face_box`: centre, side and roll of ``scale`` times the square around the mesh in a box."""
    width, height = w / BOX_WIDTH, h / BOX_HEIGHT
    x, y = _rotation(roll) @ [0, BOX_RISE * height]
    return cx + x, cy + y, scale * max(width, height), roll


def _rotation(angle: float) -> np.ndarray:
    """Clockwise on screen, where y points down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
