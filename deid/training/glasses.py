"""Glasses on a rendered face, from thin to heavy: the engine's own generic pairs."""

from __future__ import annotations

import numpy as np

from deid.blending import Composite
from deid.models.morphable.codes import AttributeCode, Camera, Light
from deid.models.morphable.eyewear import Eyewear, Outline
from deid.models.morphable.eyewear_draw import worn
from deid.models.morphable.geometry import Geometry
from deid.training.scene import How

_HALF = (2.1, 2.75), (1.35, 2.15)  # centimetres: half the width and half the height of a lens, small and large
_RIM = (0.06, 0.2)  # centimetres: half the rim's thickness, thin and heavy
_TINTED = 0.85  # heaviness from which lenses are tinted, too


def put_on(
    coded: np.ndarray,
    geometry: Geometry,
    neutral: np.ndarray,
    vertices: np.ndarray,
    camera: Camera,
    light: Light,
    how: How,
) -> None:
    """Draws a pair into ``coded``, float32 (h, w, 3) code values 0 to 1. ``how.glasses``: how heavy, above 0;
    ``how.lens``: how large."""
    rng = np.random.default_rng((how.seed, 7))
    a, b = (float(low + (high - low) * how.lens) for low, high in _HALF)
    pair = Outline(a + 0.95, -0.15, a, b, float(rng.uniform(2.1, 4.0)), 0.06, float(rng.uniform(0, 0.2)))
    metal = bool(rng.random() < 0.35 and how.glasses < 0.7)
    grey = rng.uniform(0.35, 0.6) if metal else rng.uniform(0.01, 0.12)
    colour = (grey * np.exp(rng.normal(0, 0.2, 3))).astype(np.float32)
    dark = np.clip((how.glasses - _TINTED) / (1 - _TINTED), 0, 1)
    lens = np.full(3, 0.95 - 0.75 * dark, np.float32)
    rim = _RIM[0] + (_RIM[1] - _RIM[0]) * how.glasses
    eyewear = Eyewear(pair, pair, rim, 1.0 if rng.random() < 0.8 else 0.3, colour, metal, lens)
    code = AttributeCode(how.expression, np.stack([how.gaze, how.gaze]), camera, light, 0.35, 0.0)
    result = Composite(coded, np.zeros(coded.shape[:2], np.bool_))
    worn(result, eyewear, geometry, neutral, vertices, code, seed=how.seed, frame=0)
