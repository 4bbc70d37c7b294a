"""A face in hazy, smeared footage has no more contrast than the footage; one in clear footage keeps its own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deid.models.morphable import tone_match
from deid.models.morphable.finish import glowing
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.light import LightTrack
from deid.models.morphable.painter import Sitter
from deid.models.morphable.photo_match import model_face
from deid.models.morphable.photo_structure import measure_structure, window_of
from deid.models.morphable.tone_match import toned_like

N = 3


def test_glow_keeps_the_mean_and_takes_its_share_of_what_is_small() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((120, 90, 3), 0.5, np.float32)
    picture[55:61, 42:48] = 0.1
    picture += rng.normal(0, 0.001, picture.shape).astype(np.float32)
    spread = glowing(picture, 0.25, 12.0)
    assert spread.mean() == pytest.approx(picture.mean(), abs=2e-3)
    assert 0.5 - spread[58, 45].mean() == pytest.approx(0.75 * 0.4, abs=0.03)
    broad = np.broadcast_to(np.linspace(0.2, 0.8, 90, dtype=np.float32)[None, :, None], picture.shape).copy()
    assert np.abs(glowing(broad, 0.25, 12.0) - broad)[:, 30:60].max() < 0.01
    assert glowing(broad, 0.25, 12.0, broad) is broad


class _Track(SimpleNamespace):
    """As much of a track as is asked for: a head seen from the front at 5 pixels a centimetre."""

    def yaw_pitch_roll(self) -> np.ndarray:
        return np.zeros((N, 3))

    def close_up(self, row: int, points: np.ndarray, scale: float, side: int) -> Any:
        from deid.models.morphable.codes import Camera

        camera = Camera(np.eye(3), scale, np.zeros(2), np.inf)
        return replace(camera, translation=np.full(2, side / 2) - camera.project(points)[:, :2].mean(axis=0))


def made(geometry: Geometry, contrast: float, darkest: float) -> tuple[Sitter, Any, Any]:
    """A sitter, and a track of it whose footage shows ``contrast`` of what the sitter has."""
    neutral = geometry.vertices
    sitter = Sitter(SimpleNamespace(), neutral, model_face(geometry))  # type: ignore[arg-type]
    zeros = np.zeros(N, np.float32)
    track = _Track(
        scale=np.full(N, 5.0), expression=np.zeros((N, len(geometry.expression)), np.float32),
        gaze=np.zeros((N, 2, 2), np.float32),
    )  # fmt: skip
    sh = np.zeros((N, 9, 3), np.float32)
    sh[:, 0] = 1
    tone, white = np.full((N, 3), 0.3, np.float32), np.full((N, 3), 0.8, np.float32)
    lights = LightTrack(
        sh, tone, white, zeros + 0.5, zeros, zeros, zeros, zeros + 1, np.zeros((N, 3), np.float32), zeros,
        structure=np.ones((N, 3), np.float32), darkest=zeros + np.float32(darkest),
    )  # fmt: skip
    size = round(22.0 * 5.0)
    points = surface_points(geometry, neutral)
    camera = track.close_up(0, points, 5.0, size)
    face = sitter.renderer.render(neutral, camera, lights.light(0), size, size, whole=False)
    coded = lights.filmed(0, face.rgb + (1 - face.alpha[..., None]) * tone[0], 5.0, 1.0)
    window = window_of(camera.project(points).astype(np.float32), size, size)
    assert window is not None
    shown = contrast * measure_structure(coded[window] * 255)
    lights = replace(lights, structure=np.repeat(shown[None].astype(np.float32), N, 0))
    of = _Codes(lights=lights, trust=SimpleNamespace(trusted=np.ones(N, bool)), attributes=track)
    return sitter, of, track


class _Codes(SimpleNamespace):
    pass


@pytest.fixture(autouse=True)
def _replaceable(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(value: Any, **fields: Any) -> Any:
        return _Codes(**{**vars(value), **fields}) if isinstance(value, _Codes) else replace(value, **fields)

    monkeypatch.setattr(tone_match, "replace", changed)


def test_footage_as_strong_as_the_face_changes_nothing() -> None:
    sitter, of, track = made(load_geometry(), 1.0, 0.3)
    assert toned_like(load_geometry(), sitter, of, track) is of


def test_weak_footage_gets_glow_where_blacks_are_black() -> None:
    sitter, of, track = made(load_geometry(), 0.8, 0.0)
    found = toned_like(load_geometry(), sitter, of, track).lights
    assert 0.1 < found.glow[0] < 0.36
    assert np.ptp(found.glow) == 0
    assert np.array_equal(found.veil, of.lights.veil)


def test_weak_footage_with_light_blacks_gets_haze() -> None:
    sitter, of, track = made(load_geometry(), 0.85, 0.4)
    found = toned_like(load_geometry(), sitter, of, track).lights
    share = found.veil / found.tone
    assert 0.03 < share.mean() < 0.3
    assert np.ptp(share) < 1e-4
    assert not found.glow.any()
