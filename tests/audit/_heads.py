"""Meshes whose eyes, lips, gaze and pose the test chooses: the mean head's rigid points, and drawn ones."""

from __future__ import annotations

import numpy as np

from deid.audit import attributes
from deid.detection.pose import MEAN_HEAD, RIGID_POINTS

SIZE = 100.0  # outer eye distance in pixels


def mesh(
    opening: tuple[float, float] = (0.3, 0.3),
    mouth: float = 0.0,
    look: tuple[float, float] = (0.0, 0.0),
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    at: tuple[float, float] = (320.0, 240.0),
) -> np.ndarray:
    """float64 (478, 3). ``opening`` and ``look`` in eye widths, ``mouth`` in outer eye distances, ``turn``: yaw, pitch,
    roll in degrees."""
    points = np.random.default_rng(7).uniform(-0.6, 0.6, (478, 3)) * (1, 1, 0.3)
    points[RIGID_POINTS] = MEAN_HEAD
    for side, (outer, inner) in enumerate(((33, 133), (362, 263))):
        points[inner, 1:] = points[outer, 1:]  # an eye that lies level, so that its measures are exact
        left, right = points[outer], points[inner]
        width = float(np.linalg.norm((right - left)[:2]))
        middle = (left + right) / 2
        for upper, lower in zip(attributes._UPPER_LIDS[side], attributes._LOWER_LIDS[side], strict=True):
            points[upper] = middle - (0, opening[side] * width / 2, 0)
            points[lower] = middle + (0, opening[side] * width / 2, 0)
        points[attributes._IRISES[side]] = middle + (look[0] * width, -look[1] * width, 0)
    lips = np.array([0.0, 0.75, -0.3])
    points[attributes._UPPER_LIP], points[attributes._LOWER_LIP] = lips - (0, mouth / 2, 0), lips + (0, mouth / 2, 0)
    yaw, pitch, roll = np.radians(turn)
    return SIZE * points @ rotation(yaw, pitch, roll).T + (*at, 0.0)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Roll after yaw after pitch, signs as :func:`deid.detection.pose.head_pose` reads them."""
    c, s = np.cos, np.sin
    about_z = np.array([[c(roll), -s(roll), 0], [s(roll), c(roll), 0], [0, 0, 1]])
    about_y = np.array([[c(yaw), 0, -s(yaw)], [0, 1, 0], [s(yaw), 0, c(yaw)]])
    about_x = np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    return about_z @ about_y @ about_x
