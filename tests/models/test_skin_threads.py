"""A surrogate's skin is the same whatever the number of threads that make it."""

from __future__ import annotations

import numpy as np

from deid.models.morphable import side_by_side
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.painter import Sitter, get_ready


def test_skin_does_not_depend_on_threads() -> None:
    geometry, appearance = load_geometry(), load_appearance()
    skin, iris, detail = appearance.sample(np.random.default_rng(3), gender=-0.5, age=50.0)
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, detail, iris)
    get_ready(appearance, 512)
    made = []
    try:
        for threads in (1, 2):
            side_by_side.allow(threads)
            made.append(Sitter.make(geometry, appearance, code, 512).renderer._pyramid)
    finally:
        side_by_side.allow(2)
    np.testing.assert_array_equal(made[0].texels, made[1].texels)
    np.testing.assert_array_equal(made[0].units, made[1].units)
    assert made[0].texels.any()
