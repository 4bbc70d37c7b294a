"""The generic pair over a generated face."""

from __future__ import annotations

import numpy as np

from deid.blending import Patch
from deid.models.morphable.codes import AttributeCode, Camera, Light, head_rotation
from deid.models.morphable.eyewear import Eyewear, Outline
from deid.models.morphable.geometry import load_geometry
from deid.models.stylegan.glasses import Fitting, glazed

SIZE = 200
LENS = Outline(3.4, -0.3, 2.7, 2.0)
PAIR = Eyewear(LENS, LENS, 0.15, 1.0, np.float32([0.02] * 3), False, np.float32([0.96] * 3))
FACE = np.float32([0.7, 0.5, 0.4])


def test_whoever_wears_none_gets_none() -> None:
    assert Fitting.of(load_geometry(), None, load_geometry().vertices) is None


def test_the_pair_goes_over_the_face_and_the_rest_of_the_frame_stays() -> None:
    geometry = load_geometry()
    fitting = Fitting.of(geometry, PAIR, geometry.vertices)
    assert fitting is not None
    harmonics = np.zeros((9, 3), np.float32)
    harmonics[0] = 1
    light = Light(harmonics, np.float32([0.4, 0.25, 0.2]), np.float32([0.9] * 3))
    camera = Camera(head_rotation(0, 0, 0), 8.0, np.array([SIZE / 2, SIZE / 2 + 25.0]), 60.0)
    expression = np.zeros(len(geometry.expression), np.float32)
    attributes = AttributeCode(expression, np.zeros((2, 2), np.float32), camera, light, 0.5, 1.0)
    points = np.zeros((478, 3), np.float32)
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[..., None]).sum(axis=1)
    points[:468] = camera.project(mesh)
    points[468:] = points[:10]
    frame = np.full((SIZE, SIZE, 3), 0.2, np.float32)
    corner, side = (60, 50), 100

    def draw(behind: np.ndarray) -> Patch:
        return Patch(np.broadcast_to(FACE, (side, side, 3)).copy(), np.ones((side, side), bool), corner)

    made = glazed(frame.copy(), points, fitting, geometry, attributes, None, draw, seed=1, frame=0)
    assert made.rgb.shape == frame.shape and made.corner == (0, 0)
    np.testing.assert_array_equal(made.rgb[~made.touched], frame[~made.touched])
    inside = made.rgb[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    changed = np.abs(inside - FACE).max(axis=2) > 0.1
    assert 0.01 < changed.mean() < 0.4  # rims, not the whole face
    height = np.flatnonzero(changed.any(axis=1)) + corner[0]
    eyes, mouth = points[[33, 133, 362, 263], 1].mean(), points[13, 1]
    assert abs(height.mean() - eyes) < 0.35 * (mouth - eyes) and height.max() < mouth
    assert made.rgb[height[0] : height[-1]].min() < 0.3  # they are dark
