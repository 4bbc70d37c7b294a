"""Overlap, suppression and resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deid.detection.boxes import iou, nms, region, scaled

coordinates = arrays(np.float64, st.tuples(st.integers(0, 25), st.just(4)), elements=st.integers(0, 40))


def ordered(corners: np.ndarray) -> np.ndarray:
    a, b = corners[:, :2], corners[:, 2:]
    return np.hstack([np.minimum(a, b), np.maximum(a, b) + 1])


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 4, 4]])
    np.testing.assert_allclose(iou(boxes[0], boxes)[0], [1, 1 / 3, 0, 0.04])


@given(coordinates, st.floats(0.05, 0.95), st.booleans())
def test_suppression_keeps_the_best_and_covers_the_rest(corners: np.ndarray, threshold: float, smaller: bool) -> None:
    boxes = ordered(corners)
    scores = np.random.default_rng(len(boxes)).permutation(len(boxes)) / 50
    keep = nms(boxes, scores, threshold, of_smaller=smaller)
    assert (np.diff(scores[keep]) < 0).all()
    if len(boxes):
        assert keep[0] == np.argmax(scores)
    if smaller:
        return
    overlap = iou(boxes, boxes)
    for position, i in enumerate(keep):
        assert (overlap[i, keep[:position]] <= threshold + 1e-9).all()
    for i in set(range(len(boxes))) - set(keep.tolist()):
        better = [k for k in keep if scores[k] > scores[i]]
        assert (overlap[i, better] > threshold - 1e-9).any()


def test_a_box_inside_another_goes_only_by_the_smaller_area() -> None:
    boxes, scores = np.array([[0, 0, 100, 100], [40, 40, 50, 50]]), np.array([0.9, 0.8])
    assert nms(boxes, scores, 0.7).tolist() == [0, 1]
    assert nms(boxes, scores, 0.7, of_smaller=True).tolist() == [0]


def test_equal_scores_keep_their_order() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60]])
    assert nms(boxes, np.full(3, 0.5), 0.3).tolist() == [0, 2]


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.2, 3), st.sampled_from([1, 32]))
def test_corners_map_to_corners(width: int, height: int, scale: float, multiple: int) -> None:
    patch = scaled(np.zeros((height, width, 3), np.uint8), scale, multiple=multiple)
    new_h, new_w = patch.picture.shape[:2]
    assert new_w % multiple == new_h % multiple == 0
    corners = np.array([[-0.5, -0.5], [new_w - 0.5, new_h - 0.5]])
    np.testing.assert_allclose(patch.to_whole(corners), [[-0.5, -0.5], [width - 0.5, height - 0.5]], atol=1e-9)


def test_a_picture_at_its_own_size_is_not_copied() -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    assert scaled(picture, 1.0, multiple=32).picture is picture


@pytest.mark.parametrize(
    "box", [[100, 80, 140, 130], [-20, -20, 30, 30], [280, 200, 330, 260], [150.3, 90.7, 157.2, 99.9]]
)
def test_a_region_maps_back_to_where_it_was_cut(box: list[float]) -> None:
    """A marked pixel is found again where it was."""
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x, y = int(np.clip(cx, 3, 296)), int(np.clip(cy, 3, 236))
    picture = np.zeros((240, 300, 3), np.uint8)
    picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    patch = region(picture, np.array(box), 96)
    assert patch is not None
    weight = patch.picture[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    np.testing.assert_allclose(patch.to_whole(centre), [x, y], atol=0.25)
