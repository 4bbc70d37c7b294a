"""A frame of a track as it is going to be shown, rendered before a wall of the tone of skin.

Looks are matched by it: what a measure makes of the subject in a frame is compared with what it makes of the surrogate
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deid.models.morphable.codes import Camera
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.tracks import AttributeTrack

if TYPE_CHECKING:
    from deid.models.morphable.inversion import TrackCodes
    from deid.models.morphable.painter import Sitter


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """``linear``: float32 (size, size, 3), linear light. ``mesh``: float32 (n, 3), where the points of the mesh lie in
    it, and how near. ``vertices``: float32 (V, 3), the posed head; ``camera``: what sees it."""

    linear: np.ndarray
    mesh: np.ndarray
    vertices: np.ndarray
    camera: Camera


def tried(
    geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, row: int, scale: float, size: int
) -> Trial:
    """``sitter`` in a row of ``track``, in the light of ``of``, at ``scale`` pixels a centimetre, ``size`` pixels to a
    side."""
    light = of.lights.light(row)
    vertices = geometry.pose(sitter.neutral, track.expression[row], track.gaze[row])
    points = surface_points(geometry, vertices)
    camera = track.close_up(row, points, scale, size)
    face = sitter.renderer.render(vertices, camera, light, size, size, whole=False, expression=track.expression[row])
    linear = face.rgb + (1 - face.alpha[..., None]) * light.tone
    return Trial(linear, np.asarray(camera.project(points), np.float32), vertices, camera)


def coded8(picture: np.ndarray) -> np.ndarray:
    """uint8 of code values 0 to 1."""
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), np.uint8)
