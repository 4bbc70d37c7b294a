"""Softness and haze found by rendering: checks on pictures that the test blurs and veils itself."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable import finish
from deid.models.morphable.codes import Camera, Light
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.photo_match import _excess, match_finish, model_face
from deid.models.morphable.photo_structure import measure_structure, window_of
from deid.models.morphable.photo_surface import sample_normals
from deid.models.morphable.photometry import RECORD

_SCALE = 6.0
_SIZE = 160
_EXTRA, _SHARE = 1.4, 0.35


def _light() -> Light:
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[2], sh[3] = 0.5, 0.1, 0.6
    return Light(sh, np.array([0.4, 0.24, 0.17], np.float32), np.array([0.7, 0.65, 0.6], np.float32))


def _filmed(geometry: Geometry, blur: float, share: float) -> np.ndarray:
    """A record of the model's own face as a camera with this blur, behind this veil, sees it."""
    neutral = geometry.neutral(np.zeros(len(geometry.identity)))
    vertices = geometry.pose(neutral, np.zeros(len(geometry.expression)), np.zeros((2, 2)))
    middle = surface_points(geometry, vertices).mean(axis=0)
    camera = Camera(np.eye(3), _SCALE, np.array([80 - _SCALE * middle[0], 80 + _SCALE * middle[1]]), np.inf)
    mesh = camera.project(surface_points(geometry, vertices)).astype(np.float32)
    light = _light()
    face = model_face(geometry).render(vertices, camera, light, _SIZE, _SIZE)
    linear = face.rgb + (1 - np.minimum(face.alpha + face.head, 1))[..., None] * light.tone
    coded = finish.soften(finish.to_code(finish.veiled(linear, share * light.tone, light.tone)), blur)
    window = window_of(mesh, _SIZE, _SIZE)
    assert window is not None
    record = np.zeros(1, RECORD)
    record["scale"], record["structure"][0] = _SCALE, measure_structure(coded[window] * np.float32(255))
    return record


def _found(blur: float, share: float) -> tuple[float, float]:
    geometry = load_geometry()
    light = _light()
    matched = match_finish(
        _filmed(geometry, blur, share), geometry, geometry.neutral(np.zeros(len(geometry.identity))),
        np.zeros((1, len(geometry.expression)), np.float32), np.eye(3)[None],
        tuple(part[None] for part in (light.sh, light.tone, light.white, light.veil, np.float32(light.shine))),
        np.zeros(1),
        sample_normals(geometry, geometry.vertices),
    )  # fmt: skip
    assert matched is not None
    return float(matched.blur[0]), float(matched.haze[0])


def test_a_clear_picture_needs_no_correction() -> None:
    blur, haze = _found(0.0, 0.0)
    assert blur <= 0.6 and haze == 0.0


def test_softness_is_found() -> None:
    blur, haze = _found(_EXTRA, 0.0)
    assert blur == pytest.approx(_EXTRA, abs=0.5) and haze <= 0.1


def test_haze_is_found() -> None:
    blur, haze = _found(0.0, _SHARE)
    assert 0.15 < haze <= _SHARE + 0.1 and blur <= 0.7


def test_what_rendered_skin_is_too_light_by_is_measured() -> None:
    geometry, light = load_geometry(), _light()
    normals = sample_normals(geometry, geometry.vertices).rest
    vertices = geometry.pose(geometry.vertices, np.zeros(len(geometry.expression)), np.zeros((2, 2)))
    mesh = surface_points(geometry, vertices)
    camera = Camera(np.eye(3), _SCALE, np.array([80.0, 80.0]) - _SCALE * mesh.mean(axis=0)[:2] * (1, -1), np.inf)
    face = model_face(geometry).render(vertices, camera, light, _SIZE, _SIZE, whole=False)
    places = camera.project(mesh).astype(np.float32)
    plain = np.array(_excess(face.rgb, places, light, normals))
    shiny = np.array(_excess(face.rgb + np.float32([0.08, 0.05, 0.02]) * light.tone, places, light, normals))
    assert np.abs(plain).max() < 0.1
    np.testing.assert_allclose(shiny - plain, [0.08, 0.05, 0.02], atol=1e-3)
    assert _excess(face.rgb, places + np.float32([900, 0, 0]), light, normals) == (0.0, 0.0, 0.0)


def test_without_structure_there_is_no_correction() -> None:
    geometry = load_geometry()
    nothing = np.zeros(2, RECORD)
    assert (
        match_finish(
            nothing,
            geometry,
            geometry.vertices,
            np.zeros((2, 1)),
            np.zeros((2, 3, 3)),
            (),
            np.zeros(2),
            sample_normals(geometry, geometry.vertices),
        )  # fmt: skip
        is None
    )


def test_structure_falls_with_blur_and_ignores_the_noise_it_is_told() -> None:
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.uniform(60, 190, (96, 96, 1)), 3, axis=2).astype(np.float32)
    sharp, soft = measure_structure(picture), measure_structure(finish.soften(picture, 3.0))
    assert (soft[:2] < 0.5 * sharp[:2]).all()
    flat = np.full((192, 192, 3), 120, np.float32) + rng.normal(0, 8, (192, 192, 1)).astype(np.float32)
    assert measure_structure(flat, 8.0)[0] < 0.45 * measure_structure(flat)[0]


def test_too_little_of_a_face_has_no_window() -> None:
    mesh = np.zeros((468, 3), np.float32)
    mesh[:, 0], mesh[:, 1] = np.linspace(-200, 4, 468), np.linspace(0, 200, 468)
    assert window_of(mesh, 100, 200) is None
