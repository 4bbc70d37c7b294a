"""What is in a mouth keeps its shape in strong light."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.painter import Sitter

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def laughing(strength: float) -> np.ndarray:
    """Luminance of the brightest pixels between lips that are far apart, under light of a ``strength``."""
    geometry, appearance = load_geometry(), load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(3))
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    sitter = Sitter.make(geometry, appearance, code, 256)
    expression = np.zeros(len(geometry.expression_names), np.float32)
    for name, weight in (("jawOpen", 0.4), ("mouthUpperUp_L", 0.7), ("mouthUpperUp_R", 0.7)):
        expression[geometry.expression_names.index(name)] = weight
    vertices = geometry.pose(sitter.neutral, expression, np.zeros((2, 2), np.float32))
    light = Light(
        np.array([[0.75] * 3, [0.0] * 3, [0.1] * 3, [0.4] * 3, *[[0.0] * 3] * 5], np.float32),
        np.array([0.36, 0.23, 0.17], np.float32), np.full(3, strength, np.float32),
    )  # fmt: skip
    lips = vertices[geometry.lips_inner]
    camera = Camera(np.eye(3), 30.0, np.array([100.0, 100.0]), 90.0)
    middle = camera.project(lips).mean(axis=0)
    camera = Camera(np.eye(3), 30.0, np.array([200.0, 200.0]) - middle[:2], 90.0)
    face = sitter.renderer.render(vertices, camera, light, 200, 200, expression=expression)
    inside = face.rgb[85:115, 70:130] @ LUMINANCE
    return np.sort(inside, axis=None)[-60:]


@pytest.mark.parametrize("strength", [1.5, 4.0])
def test_teeth_are_never_a_white_bar(strength: float) -> None:
    bright = laughing(strength)
    assert bright.mean() > 0.4 and bright.max() < 0.9


def test_more_light_makes_teeth_no_darker() -> None:
    levels = [float(laughing(strength).mean()) for strength in (0.2, 0.5, 1.0, 2.0)]
    assert levels == sorted(levels) and levels[1] > 1.8 * levels[0]
