"""Closing the loop: does the landmark model read the same pose off the new face as off the old one?

Noses and chins differ, and a landmark model that has learned average proportions reads a long nose as a head that
tilts. Anyone who measures pose on the output would get that bias; it is measured once a surrogate and taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.morphable.codes import head_rotation

_MOST = 6.0  # degrees: a larger bias is a landmark model that has lost the face
_PRESENCE = 0.5


@dataclass(frozen=True, slots=True)
class PoseBias:
    """How far the new face seems turned from the old one, in degrees, and over how many pictures it was measured."""

    yaw: float
    pitch: float
    roll: float
    pictures: int

    def correction(self) -> np.ndarray:
        """float64 (3, 3): multiplied to camera_from_head from the right, takes the bias out."""
        return head_rotation(-self.yaw, -self.pitch, -self.roll)


def pose_bias(
    landmarker: FaceLandmarker, pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> PoseBias:
    """``pairs``: uint8 (h, w, 3) RGB pictures before and after, and the mesh (478, 3) of the face in the first."""
    apart = []
    for before, after, points in pairs:
        roi = roi_from_landmarks(points)
        seen = [landmarker.run(np.ascontiguousarray(p), roi, rgb=True) for p in (before, after)]
        if any(s is None or s.presence < _PRESENCE for s in seen):
            continue
        angles = [(s.yaw, s.pitch, float(np.degrees(s.roll))) for s in seen if s is not None]
        apart.append(np.subtract(angles[1], angles[0]))
    if not apart:
        return PoseBias(0.0, 0.0, 0.0, 0)
    yaw, pitch, roll = (float(v) for v in np.clip(np.median(apart, axis=0), -_MOST, _MOST))
    return PoseBias(yaw, pitch, roll, len(apart))
