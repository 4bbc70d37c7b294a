from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deid.errors import ModelError
from deid.models.morphable import shade_shadows as module
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.shade_shadows import hollows_of, load_shadows, shadows


def _at(landmark: int, sh: list[float], rotation: np.ndarray | None = None) -> float:
    geometry = load_geometry()
    found = shadows(load_shadows(geometry)[0], np.array(sh, np.float32), np.eye(3) if rotation is None else rotation)
    return float(found[geometry.triangles[geometry.landmark_triangles[landmark]]].mean())


def _lamp(x: float, y: float, z: float) -> list[float]:
    """Irradiance of a lamp in some direction, and of surroundings a third as bright."""
    x, y, z = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    k = 15 / 32
    return [0.55, x / 2, y / 2, z / 2, 2 * k * x * y, 2 * k * x * z, 2 * k * y * z, k * (x * x - y * y), 0]


_ABOVE, _BELOW = _lamp(0, 1, 0.6), _lamp(0, -1, 0.6)


def test_under_the_nose_it_is_darker_when_light_comes_from_above() -> None:
    assert _at(2, _ABOVE) < _at(2, _BELOW) - 0.1
    assert _at(151, _ABOVE) == pytest.approx(1, abs=0.06)


def test_the_nose_shades_the_cheek_beyond_it() -> None:
    left, right = _lamp(-1, 0.1, 0.4), _lamp(1, 0.1, 0.4)
    assert _at(203, right) < _at(203, left) - 0.2
    assert _at(423, left) < _at(423, right) - 0.2
    assert _at(203, right) == pytest.approx(_at(423, left), abs=0.08)


def test_light_from_everywhere_changes_nothing() -> None:
    found = shadows(load_shadows(load_geometry())[0], np.eye(9, dtype=np.float32)[0], np.eye(3))
    np.testing.assert_allclose(found, 1, atol=0.02)


def test_light_that_turns_with_the_head_shades_the_same() -> None:
    turned = np.diag([-1.0, -1.0, 1.0])
    assert _at(2, _ABOVE) == pytest.approx(_at(2, _BELOW, turned), abs=0.02)


def test_whatever_the_light_says_factors_stay_within_limits() -> None:
    rng = np.random.default_rng(3)
    for sh in (*rng.normal(0, 2, (20, 9)), np.zeros(9)):
        found = shadows(load_shadows(load_geometry())[0], sh.astype(np.float32), np.eye(3))
        assert (found > 0.4).all() and (found < 1.4).all()


def test_hollows_darken_below_the_eyes_and_leave_the_rest() -> None:
    geometry = load_geometry()
    hollows = load_shadows(geometry)[1]
    assert (hollows > 0.5).all() and (hollows < 1.35).all() and 0.95 < np.median(hollows) < 1.05
    corners = geometry.triangles[geometry.landmark_triangles]
    assert hollows[corners[119]].mean() < hollows[corners[50]].mean() - 0.02


def test_corners_of_the_mouth_and_lid_edges_are_dark_as_on_photographs() -> None:
    geometry = load_geometry()
    hollows = load_shadows(geometry)[1]
    corners = geometry.triangles[geometry.landmark_triangles]
    assert hollows[corners[[61, 291]]].max() < 0.8
    for lid in (geometry.lid_upper_left, geometry.lid_upper_right, geometry.lid_lower_left, geometry.lid_lower_right):
        assert hollows[lid].mean() < 0.85
    np.testing.assert_allclose(
        hollows[geometry.lid_upper_left].mean(), hollows[geometry.lid_upper_right].mean(), atol=0.02
    )


def test_folds_of_a_smile_come_with_a_smile_on_its_side() -> None:
    geometry = load_geometry()
    factors = load_shadows(geometry)[1]
    found = hollows_of(geometry, factors, np.arange(len(factors)))
    points = geometry.vertices
    dimples = [np.argmin(np.linalg.norm(points - (side * 2.65, -3.45, 9.9), axis=1)) for side in (1, -1)]
    assert factors[dimples].max() < 0.8  # as on portraits, which smile
    assert found.rest[dimples].min() > 0.88
    smile = np.zeros(len(geometry.expression_names), np.float32)
    smile[geometry.expression_names.index("mouthSmile_L")] = 0.8
    one = found.at(smile)
    np.testing.assert_allclose(one[dimples[0]], factors[dimples[0]], rtol=1e-3)
    np.testing.assert_allclose(one[dimples[1]], found.rest[dimples[1]], rtol=1e-3)
    eyes = np.concatenate([geometry.lid_upper_left, geometry.lid_lower_right])
    np.testing.assert_allclose(found.rest[eyes], factors[eyes], rtol=1e-3)
    assert (found.at(None) == found.rest).all() and (found.at(0 * smile) == found.rest).all()


def test_a_broken_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shadows.safetensors").write_bytes(b"no")
    monkeypatch.setattr(module, "_ASSET", tmp_path / "shadows.safetensors")
    with pytest.raises(ModelError, match=r"shadows\.safetensors"):
        module.load_shadows.__wrapped__(load_geometry())


def test_the_young_have_little_shade_below_their_eyes() -> None:
    geometry = load_geometry()
    factors = load_shadows(geometry)[1]
    found = hollows_of(geometry, factors, np.arange(len(factors)))
    points = geometry.vertices
    below = [int(np.argmin(np.linalg.norm(points - (side * 3.0, 1.8, 9.5), axis=1))) for side in (1, -1)]
    old, grown, young = (found.at(None, None, depth) for depth in (1.0, 0.7, 0.4))
    assert old[below].max() < 0.95
    assert (old[below] < grown[below] - 0.005).all() and (grown[below] < young[below] - 0.005).all()
    elsewhere = np.abs(points[:, 1]) > 4
    np.testing.assert_array_equal(young[elsewhere], old[elsewhere])
