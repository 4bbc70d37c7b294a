from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deid.tracking.associate import affinity, assign, mean_chroma


def box(cx, cy, size=50.0):
    return np.array([cx, cy, size, size, 0], np.float32)


def test_nearer_is_better_and_far_is_impossible():
    near = affinity(box(100, 100), box(105, 100), 0, 0.5, 0)
    aside = affinity(box(100, 100), box(125, 100), 0, 0.5, 0)
    assert near > aside > 0
    assert affinity(box(100, 100), box(180, 100), 0, 1.0, 0) < 0


def test_room_grows_while_a_face_is_unseen():
    assert affinity(box(100, 100), box(155, 100), 0, 0.5, 0) < 0 < affinity(box(100, 100), box(155, 100), 12, 0.5, 0)


def test_a_box_that_is_away_must_look_the_same_and_one_in_place_need_not() -> None:
    assert affinity(box(100, 100), box(130, 100), 0, 0.1, 0) < 0 < affinity(box(100, 100), box(130, 100), 0, 0.8, 0)
    assert affinity(box(100, 100), box(105, 100), 0, -0.5, 0) > 0


def test_another_size_is_another_face():
    assert affinity(box(100, 100, 40), box(100, 100, 120), 0, 1.0, 0) < 0


def test_appearance_decides_where_two_cross():
    table = np.array(
        [
            [affinity(box(100, 100), box(110, 100), 0, 0.1, 8), affinity(box(100, 100), box(112, 100), 0, 0.9, 0)],
            [affinity(box(120, 100), box(110, 100), 0, 0.9, 0), affinity(box(120, 100), box(112, 100), 0, 0.1, 8)],
        ]
    )
    assert sorted(assign(table)) == [(0, 1), (1, 0)]


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-1, 3)))
def test_pairs_are_one_to_one_and_possible(table):
    pairs = assign(table)
    assert len({r for r, _ in pairs}) == len(pairs) == len({c for _, c in pairs})
    assert all(table[r, c] >= 0 for r, c in pairs)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.floats(-1, 3)))
def test_no_other_pairs_are_more_or_fit_better(table):
    pairs = assign(table)
    wide = table if table.shape[0] <= table.shape[1] else table.T
    best = max(
        (sum(wide[r, c] >= 0 for r, c in enumerate(columns)), sum(max(wide[r, c], 0) for r, c in enumerate(columns)))
        for columns in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert len(pairs) == best[0]
    np.testing.assert_allclose(sum(table[r, c] for r, c in pairs), best[1], atol=1e-6)


def test_no_tracks_or_no_detections():
    assert assign(np.zeros((0, 3))) == []
    assert assign(np.zeros((3, 0))) == []


def test_mean_chroma_reads_the_face_at_any_depth_and_subsampling():
    for depth, shift in ((8, (1, 1)), (10, (1, 1)), (8, (0, 0)), (10, (1, 0))):
        dtype = np.uint8 if depth == 8 else np.uint16
        unit = 1 << (depth - 8)
        h, w = 80 >> shift[1], 120 >> shift[0]
        cb, cr = np.full((h, w), 100 * unit, dtype), np.full((h, w), 150 * unit, dtype)
        y = np.zeros((80, 120), dtype)
        np.testing.assert_allclose(mean_chroma((y, cb, cr), shift, depth, box(60, 40, 30)), [100, 150])
    np.testing.assert_allclose(mean_chroma((y,), (0, 0), 8, box(60, 40)), [128, 128])
    np.testing.assert_allclose(mean_chroma((y, cb, cr), (1, 0), 10, box(-400, 40)), [128, 128])
