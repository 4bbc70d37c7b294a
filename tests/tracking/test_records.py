"""Records of faces: what goes into the nameless file comes out of it, and finds its track."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.tracking.records import POINTS, FaceRecord, RecordFile
from deid.types import Track

PHOTO = np.dtype([("tone", np.uint8, (3,)), ("blur", np.float32)])


def mesh(x: float, y: float, size: float, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (POINTS, 3)) * size
    return (points + (x, y, 0)).astype(np.float32)


def record(frame: int, x: float, y: float, size: float = 100.0, seed: int = 0) -> FaceRecord:
    photo = np.zeros((), PHOTO)
    photo["tone"], photo["blur"] = (frame % 256, 1, 2), x
    return FaceRecord(frame, mesh(x, y, size, seed), 0.75, photo[()])


def track(number: int, first: int, places: list[tuple[float, float]], height: float = 100.0) -> Track:
    n = len(places)
    boxes = np.array([[x, y, 0.8 * height, height, 0] for x, y in places], np.float32)
    flat = np.zeros(n, np.float32)
    return Track(number, 0, first, boxes, np.zeros(n, np.uint8), flat, flat, True)


@pytest.fixture
def records():
    file = RecordFile(PHOTO)
    yield file
    file.close()


@settings(max_examples=30, deadline=None)
@given(st.floats(-500, 8000), st.floats(-500, 8000), st.floats(20, 4000), st.integers(0, 1 << 20))
def test_landmarks_survive_to_a_fraction_of_a_pixel(x: float, y: float, size: float, frame: int) -> None:
    file = RecordFile(PHOTO)
    put = record(frame, x, y, size)
    file.append(put)
    (row,) = file.read(np.array([0]))
    assert row["frame"] == frame and row["photo"]["blur"] == np.float32(x)
    apart = np.abs(RecordFile.points(file.read(np.array([0])))[0] - put.points).max()
    assert apart <= size / 12000 + 1e-3 * max(1.0, abs(x) / 1000, abs(y) / 1000)
    file.close()


def test_rows_come_in_the_order_asked_for(records: RecordFile) -> None:
    for frame in range(12):
        records.append(record(frame, 10.0 * frame, 5))
    rows = records.read(np.array([3, 4, 5, 9]))
    assert rows["frame"].tolist() == [3, 4, 5, 9]
    records.append(record(12, 1, 1))  # reading does not move the end
    assert records.read(np.array([12]))["frame"].tolist() == [12]
    assert records.frames(np.array([2, 11])).tolist() == [2, 11]


def test_records_find_their_track_by_frame_and_place(records: RecordFile) -> None:
    left, right = [(100.0 + i, 100.0) for i in range(5)], [(300.0, 120.0)] * 5
    for i in range(5):
        records.append(record(10 + i, *right[i]))
        records.append(record(10 + i, *left[i]))
    records.append(record(12, 900, 900))  # of nobody
    records.append(record(30, 100, 100))  # when nobody was there
    found = records.match([track(1, 10, left), track(2, 10, right)])
    assert found[1].tolist() == [1, 3, 5, 7, 9] and found[2].tolist() == [0, 2, 4, 6, 8]


def test_a_track_gets_one_record_a_frame_the_nearest(records: RecordFile) -> None:
    records.append(record(0, 130, 100))
    records.append(record(0, 104, 100))
    assert records.match([track(7, 0, [(100.0, 100.0)])])[7].tolist() == [1]


def test_the_file_has_no_name(records: RecordFile, tmp_path, monkeypatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = RecordFile(PHOTO)
    file.append(record(0, 1, 1))
    assert not list(tmp_path.iterdir())
    file.close()
