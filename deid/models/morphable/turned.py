"""Where MediaPipe's mesh lies beside a face that is turned, and the mesh without that.

Points of a far cheek slide along the outline, noses are read too near to the face. From the front both are nothing; at
45 degrees a fit that believes them is wrong by several degrees about two axes. ``tools/calibrate_turned.py`` measures
it on rendered heads in known poses.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deid.detection.pose import face_scale, head_pose
from deid.errors import ModelError
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.face_points import MESH_POINTS

PATH = Path(__file__).with_name("mesh_turned.safetensors")
_YAW, _PITCH = 45.0, 20.0  # degrees that are one unit
_MOST_YAW, _MOST_PITCH = 60.0, 26.0  # degrees, as meshes show them; beyond, nothing was measured
_EYES = 8.8  # centimetres between outer corners of eyes on the mean head


def terms(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """float64 (n, 9): polynomials of a pose in degrees, (n,) each, all 0 from the front."""
    y = np.clip(np.asarray(yaw, np.float64), -_MOST_YAW, _MOST_YAW) / _YAW
    p = np.clip(np.asarray(pitch, np.float64), -_MOST_PITCH, _MOST_PITCH) / _PITCH
    return np.stack([y, y**2, y**3, y**4, p, p**2, y * p, y**2 * p, y * p**2], axis=-1)


def straightened(points: np.ndarray) -> np.ndarray:
    """float32 (n, 478, 3): meshes with their first 468 points where a face's points are. ``points``: as a landmark
    model gives them, pixels, z smaller towards the viewer."""
    out = points.astype(np.float32)
    out[:, :MESH_POINTS] -= astray(points)
    return out


def astray(points: np.ndarray) -> np.ndarray:
    """float32 (n, 468, 3): how far points of meshes (n, 478, 3) lie from where a face's are."""
    if not len(points):
        return np.zeros((0, MESH_POINTS, 3), np.float32)
    poses = np.array([head_pose(mesh) for mesh in points])  # roll in radians, yaw, pitch
    moved = np.tensordot(terms(poses[:, 1], poses[:, 2]), _moves(), 1)
    turns = np.stack([head_rotation(0.0, 0.0, float(roll)) for roll in np.degrees(poses[:, 0])])
    near = face_scale(points) / _EYES  # pixels a centimetre
    out: np.ndarray = moved @ np.swapaxes(turns, 1, 2) * near[:, None, None] * (1, -1, -1)
    return out.astype(np.float32)


@lru_cache(maxsize=1)
def _moves() -> np.ndarray:
    """float64 (9, 468, 3): centimetres, as an upright head is seen: right, up, towards the viewer."""
    try:
        return load_file(PATH)["moves"].astype(np.float64)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"the face model {PATH.name} cannot be read: reinstall the package ({error})") from error
