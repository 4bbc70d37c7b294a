"""The geometry of heads: a mean, identity and expression bases, and how lids, lips and eyeballs move.

The asset is made by ``tools/build_face_model.py geometry``. Source of the shapes: ICT-FaceKit (Li et al., *Learning
Formation of Physically-Based Face Attributes*, 2020; MIT licence), resampled and estimated anew.

Texture coordinates, image convention (v down), all in [0, 1]. SKIN, ears and the front of the neck use the face tile:
u, v = ICT's u, 1 - ICT's v. Eyes are polar about their optical axis: uv = 0.5 + theta / (2 pi) * (cos phi, sin phi),
theta the angle from the axis at the eyeball's centre in radians, phi clockwise as seen from the front with 0 to the
viewer's right; the iris ends at theta = ``IRIS_ANGLE``. Back of the head, mouth, teeth and lashes keep ICT's tiles,
which the albedo does not cover: the renderer colours them by part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from deid.errors import ModelError

_ASSET = Path(__file__).with_name("geometry.safetensors")
IRIS_ANGLE = 0.37  # radians, as seen from the centre of the eyeball
INDEX_SETS = (
    "jawline",
    "outline",
    "lips_outer",
    "lips_inner",
    "lid_upper_left",
    "lid_upper_right",
    "lid_lower_left",
    "lid_lower_right",
    "brow_left",
    "brow_right",
)


class Part(IntEnum):
    """What a triangle belongs to; left and right are the subject's."""

    SKIN = 0
    HEAD = 1
    MOUTH = 2
    TEETH = 3
    EYE_LEFT = 4
    EYE_RIGHT = 5
    LASHES = 6
    TONGUE = 7
    FLUID = 8


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A linear head model with its topology. Lengths in centimetres, head space of ``codes.py``."""

    vertices: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    triangles: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    weld: np.ndarray
    landmark_triangles: np.ndarray
    landmark_weights: np.ndarray
    occlusion: np.ndarray
    eye_centres: np.ndarray
    eye_radius: float
    eye_left: np.ndarray
    eye_right: np.ndarray
    gaze_shapes: np.ndarray
    jawline: np.ndarray
    outline: np.ndarray
    lips_outer: np.ndarray
    lips_inner: np.ndarray
    lid_upper_left: np.ndarray
    lid_upper_right: np.ndarray
    lid_lower_left: np.ndarray
    lid_lower_right: np.ndarray
    brow_left: np.ndarray
    brow_right: np.ndarray

    def neutral(self, shape: np.ndarray) -> np.ndarray:
        """float32 (V, 3): the head of identity ``shape``, (K,) standard deviations, at rest."""
        count = len(self.identity)
        flat = np.asarray(shape, np.float32) @ self.identity.reshape(count, -1)
        return self.vertices + flat.reshape(-1, 3)

    def eyeball_centres(self, shape: np.ndarray) -> np.ndarray:
        """float32 (2, 3): centres of the left and right eyeball of identity ``shape``, (K,)."""
        return self._centres(self.neutral(shape))

    def pose(self, neutral: np.ndarray, expression: np.ndarray, gaze: np.ndarray) -> np.ndarray:
        """float32 (V, 3): ``neutral`` (V, 3) with an expression and a gaze.

        ``expression``: (E,) weights, 0 to 1. ``gaze``: (2, 2) radians, (to the subject's left, up), left eye first.
        """
        flat = np.asarray(expression, np.float32) @ self.expression.reshape(len(self.expression), -1)
        out = neutral + flat.reshape(-1, 3)
        centres = self._centres(neutral)
        for eye, members in enumerate((self.eye_left, self.eye_right)):
            left, up = float(gaze[eye][0]), float(gaze[eye][1])
            out[members] = (neutral[members] - centres[eye]) @ _gaze_rotation(left, up).T + centres[eye]
        return out

    def _centres(self, neutral: np.ndarray) -> np.ndarray:
        """The middle of each eyeball's box: its shape is the same for everyone but for place and size."""
        out = [(neutral[m].min(axis=0) + neutral[m].max(axis=0)) / 2 for m in (self.eye_left, self.eye_right)]
        return np.stack(out).astype(np.float32)


def _gaze_rotation(left: float, up: float) -> np.ndarray:
    """float32 (3, 3): turns (0, 0, 1) ``left`` radians towards +x and ``up`` radians towards +y."""
    cl, sl, cu, su = np.cos(left), np.sin(left), np.cos(up), np.sin(up)
    yaw = np.array([[cl, 0, sl], [0, 1, 0], [-sl, 0, cl]])
    pitch = np.array([[1, 0, 0], [0, cu, su], [0, -su, cu]])
    return (yaw @ pitch).astype(np.float32)


@lru_cache(maxsize=1)
def load_geometry() -> Geometry:
    """The packaged geometry, read once. Raises :class:`ModelError` when its file is missing or broken."""
    try:
        with safe_open(str(_ASSET), framework="numpy") as file:
            names = json.loads(file.metadata()["expression_names"])
            radius = float(file.metadata()["eye_radius"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the face model {_ASSET.name} cannot be read: reinstall the package ({error})") from error
    for key, array in arrays.items():
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        array.setflags(write=False)
        arrays[key] = array
    return Geometry(expression_names=tuple(names), eye_radius=radius, **arrays)
