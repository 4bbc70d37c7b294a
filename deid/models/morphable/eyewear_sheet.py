"""The sheet that glasses are looked for on: faces unrolled onto the surface in which lenses lie.

A pair of glasses moves with the head, a centimetre before the eyes. Seen on that surface, in centimetres of the head,
it stays in its place whatever the head's turn, so pictures of a track can be laid over one another.
"""

from __future__ import annotations

import numpy as np

from deid import imaging
from deid.models.morphable.codes import Camera
from deid.models.morphable.geometry import Geometry

STEP = 0.1  # centimetres between samples
LEFT, TOP = -8.0, 3.2  # of the first sample, from the middle between the eyes: x, y up
WIDTH, HEIGHT = 161, 79
_BEFORE = 2.75  # centimetres from the eyeballs' centres to the lenses
_WRAP = 0.016  # a centimetre: how lenses bend backwards beside the face


def eyes_of(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    """float64 (3,), the middle between the eyeballs of the head ``neutral``, float32 (V, 3) at rest; head space."""
    out: np.ndarray = neutral[geometry.motion.eye_equator].astype(np.float64).mean(axis=(0, 1))
    return out


def surface(x: np.ndarray, y: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """float64 (..., 3): head-space places of sheet coordinates ``x``, ``y``: centimetres from the eyes' ``middle``."""
    z = _BEFORE - _WRAP * np.square(x)
    out: np.ndarray = np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float64) + middle
    return out


def unrolled(picture: np.ndarray, camera: Camera, middle: np.ndarray) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3): what ``picture``, uint8 (h, w, 3), shows at every sample of the sheet. ``camera``: in
    the picture's pixels. ``middle``: :func:`eyes_of` the head seen. Beyond the picture its border goes on."""
    x = LEFT + STEP * np.arange(WIDTH)
    y = TOP - STEP * np.arange(HEIGHT)
    places = camera.project(surface(x[None], y[:, None], middle))[..., :2].astype(np.float32)
    return np.asarray(
        imaging.remap(
            picture,
            np.ascontiguousarray(places[..., 0]),
            np.ascontiguousarray(places[..., 1]),
            imaging.INTER_LINEAR,
            borderMode=imaging.BORDER_REPLICATE,
        )
    )
