"""The contract of every face detector, run over each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from deid.detection import CenterFace, FaceDetector, Mtcnn
from deid.detection.boxes import iou
from deid.types import Detection

from .conftest import moved, resized

FACE = np.array([177, 62, 262, 178])
"""Where Collins' face is, hairline to chin and cheek to cheek, by eye."""


@pytest.fixture(scope="module", params=["centerface", "mtcnn"])
def detector(request: pytest.FixtureRequest) -> Iterator[FaceDetector]:
    made = CenterFace() if request.param == "centerface" else Mtcnn(threads=1)
    yield made
    made.close()


def best(found: list[Detection]) -> Detection:
    assert found, "no face found"
    return found[0]


def assert_contract(found: list[Detection], name: str) -> None:
    for d in found:
        assert d.box.dtype == np.float32 and d.box.shape == (4,)
        assert np.isfinite(d.box).all() and (d.box[2:] > d.box[:2]).all()
        assert isinstance(d.score, float) and 0 <= d.score <= 1
        assert d.points is not None and d.points.dtype == np.float32 and d.points.shape == (5, 2)
        assert d.detector == name
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)


def test_is_a_face_detector(detector: FaceDetector) -> None:
    assert isinstance(detector, FaceDetector)


def test_finds_a_face_where_it_is(detector: FaceDetector, collins: np.ndarray) -> None:
    found = detector.detect(collins)
    assert_contract(found, detector.name)
    assert iou(best(found).box, FACE).item() > 0.6
    right_eye, left_eye, nose, right_mouth, left_mouth = best(found).points
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 40, 3), (40, 0, 3)])
def test_an_empty_picture_has_no_faces(detector: FaceDetector, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.empty(shape, np.uint8)) == []
    assert detector.detect_region(np.empty(shape, np.uint8), np.array([0, 0, 9, 9])) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (1, 300, 3), (33, 65, 3)])
def test_tiny_pictures_are_searched_without_complaint(detector: FaceDetector, shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert_contract(detector.detect(noise), detector.name)
    assert_contract(detector.detect_region(noise, np.array([0, 0, 1, 1])), detector.name)


@pytest.mark.parametrize("grey", [0, 110, 255])
def test_a_grey_picture_has_no_faces(detector: FaceDetector, grey: int) -> None:
    assert detector.detect(np.full((240, 320, 3), grey, np.uint8)) == []


@pytest.mark.parametrize(
    "picture",
    [np.zeros((20, 20), np.uint8), np.zeros((20, 20, 4), np.uint8), np.zeros((20, 20, 3), np.float32), [[0]]],
    ids=["grey plane", "four channels", "floats", "a list"],
)
def test_other_arrays_are_refused(detector: FaceDetector, picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        detector.detect(picture)
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        detector.detect_region(picture, np.array([0, 0, 9, 9]))


def test_strides_do_not_matter(detector: FaceDetector, collins: np.ndarray) -> None:
    picture = collins[:320, :320]
    strided = np.asfortranarray(picture)
    assert not picture.flags.c_contiguous and not strided.flags.c_contiguous
    expected = detector.detect(np.ascontiguousarray(picture))
    for same in (picture, strided, picture[::-1][::-1]):
        found = detector.detect(same)
        assert [d.score for d in found] == [d.score for d in expected]
        np.testing.assert_array_equal(best(found).box, best(expected).box)


def test_same_again(detector: FaceDetector, collins: np.ndarray) -> None:
    first, second = detector.detect(collins), detector.detect(collins)
    assert [d.score for d in first] == [d.score for d in second]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.box, b.box)
        np.testing.assert_array_equal(a.points, b.points)


def test_the_picture_is_not_changed(detector: FaceDetector, collins: np.ndarray) -> None:
    before = collins.copy()
    detector.detect(collins)
    detector.detect_region(collins, FACE)
    np.testing.assert_array_equal(collins, before)


def test_a_shifted_picture_gives_shifted_boxes(detector: FaceDetector, collins: np.ndarray) -> None:
    head = collins[:256, 96:352]
    # 32 is the coarsest cell of CenterFace; MTCNN's pyramid has no cell that all its levels share
    here, there = (best(detector.detect(moved(head, dx, dy, 384, 352))) for dx, dy in ((32, 32), (96, 64)))
    tolerance = (0.03 if detector.name == "centerface" else 0.1) * (here.box[3] - here.box[1])
    np.testing.assert_allclose(there.box - here.box, [64, 32, 64, 32], atol=tolerance)
    np.testing.assert_allclose(there.points - here.points, np.tile([64, 32], (5, 1)), atol=tolerance)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_boxes_scale_with_the_picture(detector: FaceDetector, collins: np.ndarray, factor: float) -> None:
    head = np.ascontiguousarray(collins[:256, 96:352])
    here, there = best(detector.detect(head)), best(detector.detect(resized(head, factor)))
    expected = (here.box + 0.5) * factor - 0.5
    np.testing.assert_allclose(there.box, expected, atol=0.08 * factor * (here.box[3] - here.box[1]))


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.6])
def test_the_scale_of_the_search_keeps_coordinates(detector: FaceDetector, collins: np.ndarray, scale: float) -> None:
    found = detector.detect(collins, scale=scale)
    assert_contract(found, detector.name)
    assert iou(best(found).box, best(detector.detect(collins)).box).item() > 0.75


@pytest.mark.parametrize("side", ["left", "top"])
def test_a_face_cut_by_the_border_is_found(detector: FaceDetector, collins: np.ndarray, side: str) -> None:
    cut = collins[:320, 190:] if side == "left" else collins[80:400]
    offset = [190, 0, 190, 0] if side == "left" else [0, 80, 0, 80]
    found = detector.detect_region(np.ascontiguousarray(cut), FACE - offset)
    assert_contract(found, detector.name)
    centre = (best(found).box[:2] + best(found).box[2:]) / 2
    assert np.abs(centre - (FACE - offset).reshape(2, 2).mean(axis=0)).max() < 25


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_a_region_is_searched_at_a_fixed_size(detector: FaceDetector, collins: np.ndarray, factor: float) -> None:
    picture, box = resized(collins, factor), (FACE + 0.5) * factor - 0.5
    found = detector.detect_region(picture, box)
    assert_contract(found, detector.name)
    assert iou(best(found).box, box).item() > 0.6


@pytest.mark.parametrize("box", [[600, 600, 700, 700], [50, 50, 50, 50], [90, 90, 60, 60], [np.nan, 0, 9, 9]])
def test_a_region_without_picture_has_no_faces(detector: FaceDetector, collins: np.ndarray, box: list[float]) -> None:
    assert detector.detect_region(collins, np.array(box)) == []


def test_thresholds_only_take_away(detector: FaceDetector, collins: np.ndarray) -> None:
    lenient = detector.detect(collins, threshold=0.5)
    strict = detector.detect(collins, threshold=0.9)
    assert {d.score for d in strict} == {d.score for d in lenient if d.score > 0.9}
    assert detector.detect(collins, threshold=1.0) == []


@pytest.mark.parametrize("module", ["deid.detection", "deid.detection.boxes", "deid.detection.mtcnn"])
def test_torch_is_not_imported_with_the_package(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'mediapipe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
