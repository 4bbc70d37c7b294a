"""What lies before a face is found by a network: drawn things on a real, public-domain portrait."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.detection.landmarks import FaceLandmarker, roi_from_box
from deid.detection.things import GRID, PINS, PLACES, ThingFinder, grid_from_picture, packed, unpacked
from deid.virtual_camera import COLLINS, HOPPER, Photograph


@pytest.fixture(scope="module")
def finder() -> Iterator[ThingFinder]:
    one = ThingFinder()
    yield one
    one.close()


@pytest.fixture(scope="module", params=[HOPPER, COLLINS], ids=["hopper", "collins"])
def portrait(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """RGB and mesh."""
    photograph: Photograph = request.param
    bgr = photograph.read()
    x0, y0, x1, y1 = photograph.face
    with FaceLandmarker() as landmarker:
        found = landmarker.run(bgr, roi_from_box(np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.0])))
    assert found is not None
    return np.ascontiguousarray(bgr[..., ::-1]), found.points


def with_a_cup(picture: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    out = picture.copy()
    x, y = points[13, :2].astype(int)
    wide = int(0.28 * np.ptp(points[:468, 0]))
    cup = np.array([[x - wide, y], [x + wide, y], [x + wide, y + 4 * wide], [x - wide, y + 4 * wide]], np.int32)
    imaging.fill_poly(out, [cup], colour)
    return out


def test_a_bare_face_has_nothing_before_it(finder: ThingFinder, portrait: tuple[np.ndarray, np.ndarray]) -> None:
    picture, points = portrait
    assert (finder.run(picture, points)[8:30, 8:25] > 127).mean() < 0.01


@pytest.mark.parametrize("colour", [(235, 235, 230), (30, 30, 35), (40, 90, 170)])
def test_a_cup_before_the_mouth_is_found(
    finder: ThingFinder, portrait: tuple[np.ndarray, np.ndarray], colour: tuple[int, int, int]
) -> None:
    picture, points = portrait
    belief = finder.run(with_a_cup(picture, points, colour), points)
    x, y = (grid_from_picture(points)[:, :2] @ points[17, :2] + grid_from_picture(points)[:, 2]).astype(int)
    assert belief[y : y + 3, x - 2 : x + 3].mean() > 150
    assert (belief[8:16] > 127).mean() < 0.02  # not the eyes


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 5), st.floats(-3, 3), st.floats(-300, 300), st.floats(-300, 300))
def test_faces_are_put_in_place_from_anywhere(size: float, turn: float, x: float, y: float) -> None:
    c, s = size * np.cos(turn), size * np.sin(turn)
    points = np.zeros((468, 2))
    points[PINS] = PLACES * 100 @ np.array([[c, s], [-s, c]]) + (x, y)
    there = grid_from_picture(points)
    assert np.allclose(points[PINS] @ there[:, :2].T + there[:, 2], PLACES * GRID - 0.5, atol=1e-6)


def test_beliefs_are_kept_to_a_step() -> None:
    belief = np.arange(GRID * GRID, dtype=np.uint32).reshape(GRID, GRID).astype(np.uint8)
    assert np.abs(unpacked(packed(belief)).astype(int) - belief).max() <= 16
    assert packed(np.full((GRID, GRID), 60, np.uint8)) == b"" and not unpacked(b"").any()
