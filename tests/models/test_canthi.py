"""Inner corners of the eyes: where people have them, and lids that still close over them."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.canthi import drawn_out
from deid.models.morphable.geometry import Geometry, Part, load_geometry
from deid.models.morphable.mouths import relaxed


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def _draws(geometry: Geometry, count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [geometry.neutral(0.8 * rng.normal(size=len(geometry.identity)).astype(np.float32)) for _ in range(count)]


def _posed(geometry: Geometry, neutral: np.ndarray, blink: float = 0.0) -> np.ndarray:
    weights = np.zeros(len(geometry.expression_names), np.float32)
    for side in "LR":
        weights[geometry.expression_names.index(f"eyeBlink_{side}")] = blink
    return geometry.pose(neutral, weights, np.zeros((2, 2), np.float32))


def _slit(geometry: Geometry, vertices: np.ndarray) -> tuple[float, float]:
    """Length of the left eye's slit, and how far apart both eyes' inner corners are."""
    rings = geometry.motion.lid_rings[:, -1]
    half = rings.shape[1] // 2
    left, right = vertices[rings[0]], vertices[rings[1]]
    return float(np.linalg.norm(left[half] - left[0])), float(np.linalg.norm(left[half] - right[half]))


def test_slits_are_as_long_and_as_far_apart_as_peoples(geometry: Geometry) -> None:
    slits = np.array([_slit(geometry, _posed(geometry, relaxed(geometry, head))) for head in _draws(geometry)])
    assert 2.6 < np.median(slits[:, 0]) < 3.1
    assert 3.0 < np.median(slits[:, 1]) < 3.6
    before = np.array([_slit(geometry, _posed(geometry, head)) for head in _draws(geometry)])
    assert (slits[:, 0] > before[:, 0] + 0.2).all()


def test_corners_end_in_a_point(geometry: Geometry) -> None:
    ring = geometry.motion.lid_rings[0, -1]
    half = len(ring) // 2
    for head in _draws(geometry):
        heights = drawn_out(geometry, head)[ring, 1]
        gaps = [float(heights[half - k] - heights[half + k]) for k in (1, 3, 6)]
        assert gaps[0] < 0.08 and gaps == sorted(gaps)


def test_no_skin_is_folded_over(geometry: Geometry) -> None:
    skin = geometry.triangles[geometry.parts == Part.SKIN]
    skin = skin[~np.isin(skin, geometry.motion.lid_rings).any(axis=1)]
    skin = skin[np.isin(skin, geometry.motion.lid_region).any(axis=1)]

    def normals(points: np.ndarray) -> np.ndarray:
        a, b, c = (points[skin[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    for head in _draws(geometry):
        before, after = normals(head), normals(drawn_out(geometry, head))
        turned = (before * after).sum(axis=1) < 0
        assert turned.mean() < 0.005


def test_lids_close_over_them(geometry: Geometry) -> None:
    rings = geometry.motion.lid_rings[:, -1]
    for head in _draws(geometry, 3):
        shut = _posed(geometry, relaxed(geometry, head), 1.0)
        half = rings.shape[1] // 2
        for ring in rings:
            upper, lower = shut[ring[1:half]], shut[ring[-1:half:-1]]
            assert np.linalg.norm(upper - lower, axis=1).max() < 0.05


def test_the_same_head_gives_the_same_corners(geometry: Geometry) -> None:
    head = _draws(geometry, 1)[0]
    kept = head.copy()
    assert np.array_equal(drawn_out(geometry, head), drawn_out(geometry, head))
    assert np.array_equal(head, kept)
