import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.tracking import boxes

coordinate = st.floats(-500, 2500, width=32)
extent = st.floats(4, 900, width=32)
angle = st.floats(-3, 3, width=32)
box = st.builds(lambda *v: np.array(v, np.float32), coordinate, coordinate, extent, extent, angle)


@given(box, box)
def test_iou_is_symmetric_and_bounded(a, b):
    value = boxes.iou(a, b)[0, 0]
    assert 0 <= value <= 1 + 1e-6
    assert value == pytest.approx(boxes.iou(b, a)[0, 0])
    assert boxes.iou(a, a)[0, 0] == pytest.approx(1, abs=1e-3)


@given(box, box)
def test_blend_ends_where_it_should(a, b):
    np.testing.assert_allclose(boxes.blend(a, b, 0.0)[:4], a[:4], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(boxes.blend(a, b, 1.0)[:4], b[:4], rtol=1e-3, atol=1e-2)
    middle = boxes.blend(a, b, 0.5)
    assert min(a[2], b[2]) * 0.999 <= middle[2] <= max(a[2], b[2]) * 1.001


@given(box, box)
def test_full_correction_reaches_the_measurement(drifted, measured):
    out = boxes.correct(drifted, drifted, measured, 1.0)
    np.testing.assert_allclose(out[:4], measured[:4], rtol=1e-3, atol=5e-2)
    assert abs(boxes.wrap(out[4] - measured[4])) < 1e-3


@given(box, st.floats(0.5, 2), st.floats(-1, 1), coordinate, coordinate)
def test_move_follows_the_transform(b, scale, turn, tx, ty):
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    out = boxes.move(b, np.array([[cos, -sin, tx], [sin, cos, ty]]))
    assert out[2] == pytest.approx(b[2] * scale, rel=1e-4)
    assert abs(boxes.wrap(out[4] - b[4] - turn)) < 1e-3


def test_roll_is_blended_over_the_shorter_arc():
    a = np.array([0, 0, 10, 10, 3.0], np.float32)
    b = np.array([0, 0, 10, 10, -3.0], np.float32)
    assert abs(abs(boxes.blend(a, b, 0.5)[4]) - np.pi) < 1e-3


def test_visible_share():
    assert boxes.visible_share(np.array([50, 50, 20, 20, 0], np.float32), 100, 100) == pytest.approx(1)
    assert boxes.visible_share(np.array([0, 50, 20, 20, 0], np.float32), 100, 100) == pytest.approx(0.5)
    assert boxes.visible_share(np.array([-50, 50, 20, 20, 0], np.float32), 100, 100) == 0


@given(box, box)
def test_what_two_boxes_share_is_symmetric_and_whole_where_one_lies_in_the_other(a, b):
    assert boxes.shared(a, b) == pytest.approx(boxes.shared(b, a), abs=1e-6)
    inner = a.copy()
    inner[2:4] *= 0.5
    assert boxes.shared(a, inner) == pytest.approx(1, abs=1e-4)
    assert 0 <= boxes.shared(a, b) <= 1 + 1e-4
