"""The second pass, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from deid.config import RunConfig
from deid.plan import FaceAt
from deid.redaction import Region
from deid.render import Finisher
from deid.types import Frame, PixelFormat

FORMAT = PixelFormat("yuv420p", 8, (1, 1), False, "bt601")
FACE = np.s_[40:80, 60:100]


class Painter:
    """Paints one face: a square of 200."""

    def paint(self, frame: Frame, faces: object) -> Frame:
        luma = frame.planes[0].copy()
        luma[FACE] = 200
        return replace(frame, planes=(luma, *frame.planes[1:]))


def noise() -> Frame:
    chance = np.random.default_rng(4)
    planes = tuple(chance.integers(16, 180, size, np.uint8) for size in ((120, 160), (60, 80), (60, 80)))
    return Frame(0, 0, Fraction(1, 25), 1, planes, FORMAT)


def test_a_new_face_lies_over_what_is_obscured_behind_it() -> None:
    frame = noise()
    behind = Region(cx=100.0, cy=60.0, ax=25.0, ay=25.0, roll=0.0)
    plan = SimpleNamespace(faces={0: [FaceAt(1, 0)]}, veils={}, regions={0: [behind]})
    finisher = Finisher(cast(Any, SimpleNamespace(damaged=())), cast(Any, plan), RunConfig(), 0, cast(Any, Painter()))
    done = finisher(frame)
    assert (done.planes[0][FACE] == 200).all()
    beside = np.s_[50:70, 104:118]
    assert (done.planes[0][beside] != frame.planes[0][beside]).mean() > 0.9
    far = np.s_[:, :40]
    np.testing.assert_array_equal(done.planes[0][far], frame.planes[0][far])
