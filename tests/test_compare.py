"""The check that compares finished faces with their originals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deid.compare import Comparer, chip, choose_faces, replaced_faces
from deid.media import Reader
from deid.plan import FaceAt, Plan, State
from deid.types import Analysis, Shot, Track


class OneNumber:
    """An engine whose recogniser sees the mean brightness of a chip only."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def source_points(self, face: FaceAt) -> np.ndarray:
        return self.points

    def recognise(self, chips: np.ndarray) -> np.ndarray:
        out = np.zeros((len(chips), 128), np.float32)
        out[:, 0] = chips.reshape(len(chips), -1).mean(1) / 100
        return out


def points_at(x: float, y: float, size: float) -> np.ndarray:
    """A mesh whose five points for alignment lie about right; the others in the middle."""
    points = np.full((478, 3), 0, np.float32)
    points[:, :2] = (x, y)
    places = {263: (0.3, -0.15), 362: (0.12, -0.14), 33: (-0.3, -0.15), 133: (-0.12, -0.14), 2: (0, 0.2)}
    places |= {10: (0, -0.6), 152: (0, 0.6)}
    for index, place in places.items():
        points[index, :2] = (x + size * place[0], y + size * place[1])
    return points


@pytest.fixture
def frame(face_clip):
    with Reader(face_clip) as reader:
        return next(iter(reader))


def test_a_face_that_did_not_change_matches_and_one_that_did_does_not(frame) -> None:
    face = FaceAt(1, 0)
    engine = OneNumber(points_at(240, 180, 120))
    darker = replace(frame, planes=(frame.planes[0] // 2, *frame.planes[1:]))
    with Comparer({frame.index: [face]}, engine, 0.2) as same:  # type: ignore[arg-type]
        same.submit(frame, frame)
    assert same.matches == [(frame.index, face)] and same.compared == 1 and same.nearest == 0
    with Comparer({frame.index: [face]}, engine, 0.2) as other:  # type: ignore[arg-type]
        other.submit(frame, darker)
    assert other.matches == [] and other.nearest is not None and other.nearest > 0.2


def test_frames_that_were_not_chosen_are_not_looked_at(frame) -> None:
    with Comparer({frame.index + 1: [FaceAt(1, 0)]}, OneNumber(points_at(240, 180, 120)), 0.2) as comparer:  # type: ignore[arg-type]
        comparer.submit(frame, frame)
    assert comparer.compared == 0 and comparer.nearest is None


def brighter(frame, by: int):
    """The same frame, so many levels brighter where the face is."""
    luma = np.clip(frame.planes[0].astype(int) + by, 0, 235).astype(np.uint8)
    return replace(frame, planes=(luma, *frame.planes[1:]))


@pytest.mark.parametrize(("ends", "looked"), [(60, 2), (21, 9)])
def test_what_lies_between_is_looked_at_where_the_margin_is_thin(frame, ends, looked) -> None:
    engine = OneNumber(points_at(240, 180, 120))
    face = FaceAt(1, 0)
    sample, between = {0: [face], 8: [face]}, {i: [face] for i in range(9)}
    with Comparer(sample, engine, 0.2, between) as comparer:  # type: ignore[arg-type]
        for i in range(9):
            source = replace(frame, index=i)
            comparer.submit(source, brighter(source, 1 if i == 5 else ends))
    assert comparer.compared == looked
    assert [i for i, _ in comparer.matches] == ([5] if looked == 9 else [])


def test_a_track_that_came_near_is_watched_more_closely_from_there_on(frame) -> None:
    engine = OneNumber(points_at(240, 180, 120))
    faces = {i: [FaceAt(1, 0)] for i in range(20)}
    looked = []
    for first in (21, 32):  # levels: about 0.245 and 0.37 away, where the limit is 0.2
        with Comparer({i: faces[i] for i in (0, 9, 19)}, engine, 0.2, faces) as comparer:  # type: ignore[arg-type]
            for i in range(20):
                source = replace(frame, index=i)
                comparer.submit(source, brighter(source, first if i == 0 else 32))
        looked.append(comparer.compared)
    assert looked[1] == 3 and looked[0] > 15


def test_long_gaps_in_the_sample_are_closed_and_what_comes_after_it_is_looked_at(frame) -> None:
    engine = OneNumber(points_at(240, 180, 120))
    faces = {i: [FaceAt(1, 0)] for i in range(60)}
    with Comparer({0: faces[0]}, engine, 0.2, faces) as comparer:  # type: ignore[arg-type]
        for i in range(60):
            source = replace(frame, index=i)
            comparer.submit(source, brighter(source, 60))
    assert comparer.compared == 3
    with Comparer({}, engine, 0.2, {0: faces[0]}) as comparer:  # type: ignore[arg-type]
        comparer.submit(frame, frame)
    assert comparer.compared == 1 and len(comparer.matches) == 1


def test_faces_in_a_change_over_may_be_looked_at(face_clip) -> None:
    states = {4: np.array([State.REPLACED, State.CHANGING, State.OBSCURED], np.uint8)}
    plan = Plan({}, {}, (), {}, {7: [FaceAt(4, 0)], 8: [FaceAt(4, 1)]}, states, {})
    assert replaced_faces(plan) == {7: [FaceAt(4, 0)], 8: [FaceAt(4, 1)]}


def test_an_error_in_the_background_is_raised_in_front(frame) -> None:
    class Broken(OneNumber):
        def recognise(self, chips: np.ndarray) -> np.ndarray:
            raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        with Comparer({frame.index: [FaceAt(1, 0)]}, Broken(points_at(240, 180, 120)), 0.2) as comparer:  # type: ignore[arg-type]
            comparer.submit(frame, frame)


def test_chips_beyond_the_border_are_black(frame) -> None:
    assert chip(frame, points_at(-500, -500, 60)).max() == 0
    assert chip(frame, points_at(0, 0, 120)).max() > 0


@pytest.mark.parametrize("count", [100, 600])
def test_faces_of_every_track_are_chosen_and_those_beside_changes(face_clip, count) -> None:
    with Reader(face_clip) as reader:
        media = reader.info
    n = count
    flat = np.zeros(n, np.float32)
    tracks = tuple(
        Track(k, 0, 0, np.ones((n, 5), np.float32), np.zeros(n, np.uint8), flat, flat, True) for k in (1, 2, 3)
    )
    states = {1: np.full(n, State.REPLACED, np.uint8), 2: np.full(n, State.OBSCURED, np.uint8)}
    states[3] = states[1].copy()
    states[3][40:60] = State.OBSCURED
    faces = {i: [FaceAt(1, i)] + ([FaceAt(3, i)] if not 40 <= i < 60 else []) for i in range(n)}
    plan = Plan({}, {}, (), {}, faces, states, {})
    chosen = choose_faces(Analysis(media, n, (Shot(0, n - 1),), tracks, (), 1), plan)
    by_track = {k: sorted(i for i, there in chosen.items() for f in there if f.track == k) for k in (1, 2, 3)}
    assert by_track[1][0] == 0 and by_track[1][-1] == n - 1 and by_track[2] == []
    assert len(by_track[1]) >= 5 and max(np.diff(by_track[1])) <= max(25, 13)
    assert len(by_track[1]) <= max(8, n // 12)
    assert {0, 39, n - 1} <= set(by_track[3]) and not any(40 <= i < 60 for i in by_track[3])


def test_who_is_recognised_is_kept_for_choosing_somebody_else_but_what_is_left_alone_is_not(frame, monkeypatch) -> None:
    monkeypatch.setattr("deid.audit.appearance.left_alone", lambda before, after: 0.0)
    engine = OneNumber(points_at(240, 180, 120))
    faces = {i: [FaceAt(1, i)] for i in range(20)} | {20: [FaceAt(2, 0)]}
    with Comparer(faces, engine, 0.2) as comparer:  # type: ignore[arg-type]
        for i in range(21):
            source = replace(frame, index=i)
            comparer.submit(source, brighter(source, 60 if i in (12, 20) else 1 + abs(i - 6)))
    pictures = comparer.pictures([1, 2])
    rows = [row for row, _ in pictures[1]]
    assert rows[0] == 6 and 2 <= len(rows) <= 3 and np.diff(sorted(rows)).min() >= 4 and 12 not in rows
    assert set(pictures) == {1}
    original = chip(frame, engine.points).astype(int)
    assert np.abs(pictures[1][0][1].astype(int) - original).mean() < 2
    monkeypatch.setattr("deid.audit.appearance.left_alone", lambda before, after: 1.0)
    with Comparer({0: faces[0]}, engine, 0.2) as comparer:  # type: ignore[arg-type]
        comparer.submit(replace(frame, index=0), frame)
    assert comparer.matches and not comparer.pictures([1])
