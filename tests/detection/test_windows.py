"""Windows around doubtful findings: they show what they are for, on the grid, inside the picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deid.detection._windows import GRID, SIDES, plan_windows

WIDTH, HEIGHT = 1920, 1088

boxes_of_faces = st.lists(
    st.tuples(st.floats(-20, WIDTH), st.floats(-20, HEIGHT), st.floats(4, 200)), min_size=1, max_size=6
).map(lambda faces: np.array([[x, y, x + 0.8 * size, y + size] for x, y, size in faces]))


@given(boxes_of_faces)
def test_every_finding_is_shown_once_with_room_around_it(boxes: np.ndarray) -> None:
    windows = plan_windows(boxes, WIDTH, HEIGHT)
    if windows is None:
        return
    assert sorted(n for w in windows for n in w.findings) == list(range(len(boxes)))
    for window in windows:
        assert window.x % GRID == window.y % GRID == window.width % GRID == window.height % GRID == 0
        assert 0 <= window.x <= WIDTH - window.width
        assert 0 <= window.y <= HEIGHT - window.height
        for n in window.findings:
            x0, y0, x1, y1 = boxes[n]
            assert window.x <= max(0, x0)
            assert window.y <= max(0, y0)
            assert window.x + window.width >= min(WIDTH, x1)
            assert window.y + window.height >= min(HEIGHT, y1)
    assert sum(w.width * w.height for w in windows) <= WIDTH * HEIGHT / 2


def test_neighbours_share_a_window() -> None:
    boxes = np.array([[500.0, 500, 520, 525], [510, 505, 530, 530], [1500, 200, 1510, 212]])
    windows = plan_windows(boxes, WIDTH, HEIGHT)
    assert windows is not None
    assert [w.findings for w in windows] == [(0, 1), (2,)]
    assert {w.width for w in windows} == {SIDES[0]}


def test_large_or_many_findings_ask_for_the_whole_picture() -> None:
    assert plan_windows(np.array([[100.0, 100, 800, 1000]]), WIDTH, HEIGHT) is None
    spread = np.array([[x, y, x + 20.0, y + 20] for x in range(0, 1900, 190) for y in range(0, 1000, 190)])
    assert plan_windows(spread, WIDTH, HEIGHT) is None
    assert plan_windows(np.array([[10.0, 10, 30, 30]]), 192, 192) is None
