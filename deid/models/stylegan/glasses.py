"""Glasses on a generated face: the everyday engine's generic pair, drawn over it.

What a generator shows of glasses comes and goes with the code, and the arms and rims of the subject's own pair stand
out beside whatever face is put in. So both engines do the same: the remains are taken away, and a pair of the same kind
is drawn, on the subject's own head, whose eyes and temples the generated face shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deid.blending import Composite, Patch
from deid.models.morphable.codes import AttributeCode
from deid.models.morphable.eyewear import Eyewear
from deid.models.morphable.eyewear_draw import without_remains, worn
from deid.models.morphable.geometry import Geometry


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """``eyewear``: a pair, made ready for the head ``neutral``, float32 (V, 3) at rest."""

    eyewear: Eyewear
    neutral: np.ndarray

    @classmethod
    def of(cls, geometry: Geometry, eyewear: Eyewear | None, neutral: np.ndarray) -> Fitting | None:
        """``None`` for whoever wears none."""
        return None if eyewear is None else cls(eyewear.on(geometry, neutral), neutral)


def glazed(
    picture: np.ndarray,
    points: np.ndarray,
    fitting: Fitting,
    geometry: Geometry,
    attributes: AttributeCode,
    occlusion: np.ndarray | None,
    draw: Callable[[np.ndarray], Patch],
    *,
    seed: int,
    frame: int,
) -> Patch:
    """What changes of ``picture``, float32 (h, w, 3), which is drawn into, when ``draw`` puts a face there and the pair
    of ``fitting`` goes over that. ``points``: (478, 3), the subject's mesh in its pixels."""
    vertices = geometry.pose(fitting.neutral, attributes.expression, attributes.gaze)
    head = (fitting.eyewear, geometry, fitting.neutral, vertices)
    cleared, touched = without_remains(picture, points, *head, attributes.camera, in_place=True)
    patch = draw(cleared)
    area = tuple(slice(at, at + n) for at, n in zip(patch.corner, patch.touched.shape, strict=True))
    cleared[area] = patch.rgb
    touched[area] |= patch.touched
    made = worn(Composite(cleared, touched), *head, attributes, seed=seed, frame=frame, occlusion=occlusion)
    return Patch(made.rgb, made.touched, (0, 0))
