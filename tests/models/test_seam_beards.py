"""Colours of lamps, of white, and of seams, where skin is dark or bearded."""

from __future__ import annotations

import numpy as np

from deid.models.morphable import photometry
from deid.models.morphable.codes import Light
from deid.models.morphable.finish import seam_correction
from deid.models.morphable.photo_white import estimate_white
from deid.models.morphable.shade import light_rig


def test_a_beard_below_does_not_grey_the_chin() -> None:
    rendered = np.full((120, 120, 3), (0.55, 0.40, 0.33), np.float32)
    rows, columns = np.mgrid[:120, :120]
    away = np.hypot(rows - 60, columns - 60)
    seam, inside = ((away > 44) & (away < 56)).astype(np.float32), away < 56
    bearded = rendered.copy()
    bearded[70:] = (0.26, 0.22, 0.21)
    dim = rendered - np.float32(0.06)
    beard = seam_correction(rendered, bearded, seam, inside)[95:104, 55:65].mean()
    light = seam_correction(rendered, dim, seam, inside)[95:104, 55:65].mean()
    assert abs(beard) < 0.02 and light < -0.035


def test_a_lamp_is_as_coloured_as_its_light_where_harmonics_cancel() -> None:
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[3], sh[8] = (1.66, 1.62, 1.43), (-1.73, -1.72, -1.36), (0.86, 0.91, 0.81)
    light = Light(sh, np.array((0.46, 0.18, 0.09), np.float32), np.array((1.4, 1.06, 0.85), np.float32))
    rig = light_rig(light)
    tint = rig.key_rgb / rig.white
    assert tint.min() > 0.8 * tint.max()


def test_white_is_at_least_as_bright_as_teeth() -> None:
    records = np.zeros(5, photometry.RECORD)
    tone = np.tile((0.40, 0.20, 0.125), (5, 1))
    dull = estimate_white(records, tone, np.arange(5) / 25)
    records["teeth"], records["teeth_pixels"] = (249, 242, 229), 2000
    bright = estimate_white(records, tone, np.arange(5) / 25)
    assert bright[0, 1] > 1.5 * dull[0, 1] and bright[0, 1] > 1.0
