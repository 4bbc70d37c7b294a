"""Profiles whose far side is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from meshes import rotation

from deid.models.morphable import trust
from deid.models.morphable.far_side import far_side
from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.light import LightTrack
from deid.models.morphable.photo_reference import load_reference
from deid.models.morphable.photo_samples import COUNT, TRIPLES
from deid.models.morphable.photometry import RECORD
from deid.models.morphable.tracks import AttributeTrack
from deid.models.morphable.trust import Reason

RATE = 25.0


def turned(yaw: float, n: int) -> AttributeTrack:
    values: dict[str, Any] = {
        "frames": np.arange(n, dtype=np.int32), "rotation": np.repeat(rotation(yaw, 0, 0)[None], n, axis=0),
        "scale": np.full(n, 10.0), "translation": np.zeros((n, 2)), "distance": np.full(n, 90.0),
        "expression": np.zeros((n, len(load_geometry().expression_names)), np.float32), "mouth": np.zeros(n),
        "aperture": np.zeros((n, 2)), "sight": np.zeros((n, 2, 2)), "facing": np.ones((n, 2)),
        "openness": np.ones((n, 2)), "gaze": np.zeros((n, 2, 2)), "residual": np.full(n, 0.01),
        "presence": np.ones(n), "height": np.full(n, 120.0), "outside": np.zeros(n), "jump": np.zeros(n),
        "noise": np.full(n, 0.1),
    }  # fmt: skip
    return AttributeTrack(**values)


def lit(n: int) -> LightTrack:
    sh = np.zeros((n, 9, 3), np.float32)
    sh[:, 0] = 1.0
    flat = {name: np.zeros(n, np.float32) for name in ("blur", "grain", "chroma_grain", "grain_size", "shine")}
    tone = np.broadcast_to(np.float32([0.32, 0.2, 0.15]), (n, 3))
    return LightTrack(
        sh=sh, tone=tone, white=np.ones((n, 3), np.float32), veil=np.zeros((n, 3), np.float32),
        confidence=np.ones(n, np.float32), **flat,
    )  # fmt: skip


def filmed(n: int, side: float, behind: tuple[int, int, int] | None) -> np.ndarray:
    """Records of skin under :func:`lit`, with the half of the face at the viewer's ``side`` (1 right) of a frontal
    face in the colour ``behind``, where there is one."""
    told = lit(1).tone * load_reference().albedo
    codes = np.abs(CODE_TO_LINEAR8[:, None] - told.reshape(1, -1)).argmin(axis=0).reshape(COUNT, 3)
    out = np.zeros(n, RECORD)
    out["skin"] = codes
    out["valid"] = 255
    if behind is not None:
        geometry = load_geometry()
        mesh = geometry.neutral(np.zeros(geometry.identity.shape[0], np.float32))[
            geometry.triangles[geometry.landmark_triangles]
        ].mean(axis=1)
        out["skin"][:, side * mesh[TRIPLES].mean(axis=1)[:, 0] > 0.2] = behind
    return out


def seen(yaw: float, behind: tuple[int, int, int] | None, n: int = 12, side: float | None = None) -> np.ndarray:
    geometry = load_geometry()
    neutral = geometry.neutral(np.zeros(geometry.identity.shape[0], np.float32))
    return far_side(
        filmed(n, np.sign(yaw) if side is None else side, behind), geometry, neutral, turned(yaw, n), lit(n)
    )


@pytest.mark.parametrize("yaw", [-50.0, 50.0])
def test_what_lies_behind_a_profile_is_no_skin(yaw: float) -> None:
    assert (seen(yaw, None) > 0.85).all()
    assert (seen(yaw, (20, 25, 30)) < 0.2).all()
    assert (seen(yaw, (120, 160, 220)) < 0.2).all()


def test_only_faces_that_are_turned_are_asked() -> None:
    assert (seen(20.0, (20, 25, 30)) == 1).all()


def test_a_profile_is_obscured_until_it_turns_back_even_before_skin() -> None:
    far = np.full(60, 0.9, np.float32)
    far[10:20] = 0.1
    far[25:30] = 0.75  # somebody's arm behind
    far[20:25] = far[30:40] = 0.6
    judged = trust.judge(turned(50.0, 60), RATE, far=far)
    assert not judged.trusted[10:40].any() and judged.trusted[:8].all() and judged.trusted[43:].all()
    assert set(judged.reasons[10:40]) == {Reason.PROFILE}


def test_one_odd_frame_makes_no_profile() -> None:
    far = np.full(60, 0.7, np.float32)
    far[20] = 0.0
    assert trust.judge(turned(50.0, 60), RATE, far=far).trusted.all()
