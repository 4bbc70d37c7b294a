import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.tracking.stitch import _between, stitch
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Evidence, Shot

RATE = 25.0


def tracklet(frames, shot=0, x=100.0, step=0.0, score=0.9, size=50.0):
    t = Tracklet(shot)
    for f in frames:
        box = np.array([x + step * f, 100, 0.8 * size, size, 0], np.float32)
        t.set(f, Row(box, Evidence.SEARCHED, score))
    return t


def test_a_gap_in_one_face_is_filled():
    (track,) = stitch([tracklet(range(10, 20)), tracklet(range(30, 40))], [Shot(0, 99)], RATE)
    middle = track.evidence[20 - track.first : 30 - track.first]
    assert (middle == Evidence.FILLED).all()
    assert track.first < 10 and track.last > 39


def test_a_moving_face_is_joined_where_it_went():
    pieces = [tracklet(range(20), step=3.0), tracklet(range(28, 40), step=3.0)]
    (track,) = stitch(pieces, [Shot(0, 99)], RATE)
    np.testing.assert_allclose(track.box_at(24)[0], 100 + 3 * 24, atol=2)


def test_two_people_are_not_joined():
    tracks = stitch([tracklet(range(20), x=100), tracklet(range(25, 45), x=300)], [Shot(0, 99)], RATE)
    assert len(tracks) == 2


def test_after_a_while_only_who_looks_the_same_is_the_same():
    chance = np.random.default_rng(5)
    one, other = (v / np.linalg.norm(v) for v in chance.normal(size=(2, 576)).astype(np.float32))
    for gap, look, count in ((30, one, 1), (30, other, 2), (4, other, 1)):
        before, after = tracklet(range(20)), tracklet(range(20 + gap, 60 + gap))
        before.looks(one)
        after.looks(look)
        assert len(stitch([before, after], [Shot(0, 199)], RATE)) == count


def test_people_side_by_side_stay_two():
    tracks = stitch([tracklet(range(40), x=100), tracklet(range(5, 45), x=160)], [Shot(0, 99)], RATE)
    assert len(tracks) == 2


def test_no_track_crosses_a_cut():
    shots = [Shot(0, 19), Shot(20, 39)]
    tracks = stitch([tracklet(range(20)), tracklet(range(20, 40), shot=1)], shots, RATE)
    assert [(t.shot, t.first, t.last) for t in tracks] == [(0, 0, 19), (1, 20, 39)]


def test_a_face_of_one_frame_is_a_track():
    (track,) = stitch([tracklet([7], score=0.25)], [Shot(0, 50)], RATE)
    assert track.covers(7)
    assert len(track) <= 5
    (sure,) = stitch([tracklet([7], score=0.9)], [Shot(0, 50)], RATE)
    assert len(sure) > len(track)


pieces = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 60),
        st.integers(1, 30),
        st.floats(0, 600),
        st.floats(20, 120),
        st.sets(st.integers(0, 29), max_size=8),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_every_sighting_is_covered_without_holes(described):
    shots = [Shot(0, 99), Shot(100, 199)]
    made = []
    for shot, first, length, x, size, holes in described:
        frames = [100 * shot + min(first + k, 99) for k in range(length) if k not in holes or k == 0]
        made.append(tracklet(sorted(set(frames)), shot, x=x, size=size))
    seen = [(f, row.box.copy()) for t in made for f, row in t.rows.items()]
    tracks = stitch(made, shots, RATE)
    assert [t.id for t in tracks] == list(range(1, len(tracks) + 1))
    for t in tracks:
        assert len(t.boxes) == len(t.evidence) == len(t.scores) == len(t.yaw)
        assert shots[t.shot].first <= t.first <= t.last <= shots[t.shot].last
        assert np.isfinite(t.boxes).all()
    for frame, box in seen:
        here = [t.box_at(frame) for t in tracks if t.covers(frame)]
        assert any(np.hypot(*(b[:2] - box[:2])) < 0.8 * box[3] for b in here)


def test_many_pieces_in_one_long_shot_are_joined_in_little_time():
    def made() -> list[Tracklet]:
        return [tracklet(range(10 * k, 10 * k + 8), x=200.0 * lane) for k in range(400) for lane in range(5)]

    start = time.process_time()
    tracks = stitch(made(), [Shot(0, 3999)], RATE)
    assert time.process_time() - start < 10
    assert len(tracks) == 5
    assert all(t.first == 0 and len(t) >= 3998 for t in tracks)


def test_order_of_pieces_does_not_matter():
    def made():
        return [tracklet(range(9)), tracklet(range(15, 30)), tracklet(range(3, 40), x=400), tracklet(range(60, 70))]

    one = stitch(made(), [Shot(0, 99)], RATE)
    other = stitch(made()[::-1], [Shot(0, 99)], RATE)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.first == b.first
        np.testing.assert_array_equal(a.boxes, b.boxes)


def test_yaw_is_interpolated_between_known_frames():
    t = tracklet(range(11))
    for f, value in ((0, 0.0), (10, 20.0)):
        row = t.rows[f]
        t.set(f, Row(row.box, row.evidence, row.score, value))
    (track,) = stitch([t], [Shot(0, 10)], RATE)
    assert track.yaw[5] == pytest.approx(10)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(-80, 80)), min_size=2, max_size=120),
    st.integers(1, 20),
    st.floats(-80, 80),
)
def test_a_known_angle_of_the_head_does_not_reach_far_ahead(known, reach, other):
    values = np.array([np.nan if v is None else v for v in known], np.float32)
    if not np.isfinite(values).any():
        assert np.isnan(_between(values, reach)).all()
        return
    filled = _between(values, reach)
    assert np.isfinite(filled).all()
    at = np.flatnonzero(np.isfinite(values))
    np.testing.assert_allclose(filled[at], values[at], rtol=1e-5, atol=1e-4)
    if len(at) == 1:
        return
    changed = values.copy()
    changed[at[-1]] = other  # the last sighting tells nothing about what came long before it
    early = slice(0, max(0, at[-1] - reach))
    np.testing.assert_array_equal(_between(changed, reach)[early], filled[early])
