"""What a stream keeps of the past: records that are forgotten, rows that go along, light that goes on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable.light_track import LightTrack
from deid.models.morphable.live_faces import Face
from deid.models.morphable.live_light import mixed
from deid.models.morphable.recent import RecentRecords
from deid.tracking.records import FaceRecord, RecordFile
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Evidence

PHOTO = np.dtype([("n", "<i4")])


def record(frame: int, seed: int) -> FaceRecord:
    points = np.random.default_rng(seed).normal(100, 20, (478, 3)).astype(np.float32)
    return FaceRecord(frame, points, 0.9, np.array((seed,), PHOTO)[()])


def test_records_in_memory_are_those_of_a_file_and_keep_their_numbers() -> None:
    recent, file = RecentRecords(PHOTO), RecordFile(PHOTO)
    for frame in range(20):
        recent.append(record(frame, frame))
        file.append(record(frame, frame))
    recent.forget(10, {3})
    left = np.array([3, *range(10, 20)])
    assert len(recent) == 11
    assert (recent.read(left) == file.read(left)).all()
    assert recent.frames(left).tolist() == left.tolist()
    assert [number for number, _, _ in recent.entries()] == left.tolist()
    recent.close()
    file.close()
    assert len(recent) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=600), st.integers(10, 80))
def test_rows_of_the_past_come_before_the_window_and_are_fewer(steps: list[int], width: int) -> None:
    """However long a face is there, what goes along is bounded, spread over all of it, and never the greater part."""
    face = Face(1, 0, 0)
    frames = np.cumsum(steps).tolist()
    past: list[int] = []
    for end in range(0, len(frames), 8):
        own = frames[max(0, end - width) : end]
        face.numbers.update({frame: frame for frame in own})
        past = face.past_of(own)
        assert len(past) <= min(40, len(own) // 2) and past == sorted(set(past))
        assert not past or past[-1] < own[0]
        assert len(face.past) <= 80 and set(face.past) <= set(frames)
    if len(frames) > 400 and width >= 40:
        assert past and past[0] < frames[len(frames) // 3]


def light_of(level: float, count: int) -> LightTrack:
    def filled(*shape: int) -> np.ndarray:
        return np.full((count, *shape), level, np.float32)

    return LightTrack(
        filled(9, 3), filled(3), filled(3), filled(), filled(), filled(), filled(), filled(), filled(3), filled()
    )


def test_light_begins_where_the_window_before_ended_and_comes_to_its_own() -> None:
    fading = np.exp(-np.arange(50) / 10)
    found = mixed(light_of(2.0, 50), light_of(1.0, 30), 0, 20, fading)
    assert np.allclose(found.tone[0], 1.0) and np.allclose(found.tone[-1], 2.0, atol=0.02)
    assert (np.diff(found.sh[:, 0, 0]) > 0).all()
    assert (found.confidence == 2.0).all()  # what is judged by is not smoothed away


def test_a_face_that_is_followed_for_long_forgets_where_it_was_and_not_that_it_was_found() -> None:
    tracklet = Tracklet(0)
    box = np.array([50, 50, 20, 25, 0], np.float32)
    for frame in range(100):
        tracklet.set(frame, Row(box, Evidence.SEARCHED if frame < 10 else Evidence.FLOW, 0.9))
    tracklet.forget(60)
    assert sorted(tracklet.rows) == list(range(60, 100)) and tracklet.first == 60
    assert tracklet.searched == 10
    tracklet.forget(1000)
    assert len(tracklet.rows) == 40  # one that is all behind is for the tracker to drop
