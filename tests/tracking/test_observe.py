"""Every face of every frame is noted, in order, with good pictures of it."""

from __future__ import annotations

import numpy as np
import pytest

from deid.config import RunConfig
from deid.media import Reader
from deid.media.convert import luma8
from deid.pipeline import analyse
from deid.progress import QuietProgress
from deid.tracking.closeup import Closeup
from deid.tracking.observe import Observer
from deid.tracking.records import RecordFile
from deid.tracking.scan import View
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Evidence

PHOTO = np.dtype([("mean", np.float32)])


def note(view: Closeup, points: np.ndarray) -> np.void:
    assert view.rgb.dtype == np.uint8 and view.rgb.ndim == 3
    assert (view.inside(points)[:468, :2].min(0) > -0.5 * np.array(view.rgb.shape[1::-1])).all()
    out = np.zeros((), PHOTO)
    out["mean"] = view.rgb.mean()
    return out[()]


@pytest.fixture(scope="module")
def watched(face_clip):
    records = RecordFile(PHOTO)
    observer = Observer(records, note)
    analysis, _ = analyse(face_clip, RunConfig(), QuietProgress(), observer)
    chips = observer.finish()
    yield analysis, records, chips, observer
    observer.close()
    records.close()


def test_no_frame_of_a_face_is_left_out(watched) -> None:
    analysis, records, _, _ = watched
    (track,) = analysis.tracks
    numbers = records.match(analysis.tracks)[track.id]
    assert records.frames(numbers).tolist() == list(range(track.first, track.last + 1))
    rows = records.read(numbers)
    assert (rows["presence"] > 0.5).all() and (rows["photo"]["mean"] > 0).all()
    points = RecordFile.points(rows)
    boxes = track.boxes
    assert (np.abs(points[:, :468, :2].mean(1) - boxes[:, :2]) < 0.3 * boxes[:, 3:4]).all()


def test_the_pictures_show_the_face(watched) -> None:
    analysis, _, chips, _ = watched
    assert 1 <= len(chips) <= 6
    assert all(c.picture.shape == (150, 150, 3) and c.picture.std() > 20 for c in chips)
    frames = sorted(c.frame for c in chips)
    assert all(b - a >= 8 for a, b in zip(frames, frames[1:], strict=False)) or len(frames) == 1
    assert all(0 < c.quality <= 1 for c in chips)


def test_an_error_while_noting_fails_the_run(face_clip) -> None:
    def broken(view: Closeup, points: np.ndarray) -> np.void:
        raise RuntimeError("no notes today")

    records = RecordFile(PHOTO)
    observer = Observer(records, broken)
    with pytest.raises(RuntimeError, match="no notes today"):
        analyse(face_clip, RunConfig(), QuietProgress(), observer)
        observer.finish()
    observer.close()
    records.close()


def test_what_is_not_confirmed_is_not_even_looked_at(watched, face_clip) -> None:
    """A place that the landmark model has not taken for a face is left to be obscured."""
    frames = list(Reader(face_clip, end=0.05))
    box = watched[0].tracks[0].box_at(0).astype(np.float32)
    for confirmed in (False, True):
        records = RecordFile(PHOTO)
        observer = Observer(records, note)
        tracklet = Tracklet(0)
        tracklet.confirmed = confirmed
        for frame in frames:
            row = Row(box, Evidence.SEARCHED, 0.9)
            tracklet.put(frame.index, row)
            observer.see(View(frame, luma8(frame)), [(tracklet, row)])
        observer.finish()
        assert (len(records) > 0) == confirmed
        observer.close()
        records.close()


def test_faces_are_shown_once_and_soon(face_clip) -> None:
    """What is looked at late is looked at when nothing else is left to do: no face waits for longer than a chunk."""
    shown: list[int] = []
    late: list[int] = []

    class Shown:
        def see(self, view: View, faces: list[tuple[Tracklet, Row]]) -> None:
            assert all(row is tracklet.rows[view.index] for tracklet, row in faces)
            shown.extend(view.index for tracklet, _ in faces if tracklet.confirmed)
            late.append(max(tracklet.last for tracklet, _ in faces) - view.index)

    analysis, _ = analyse(face_clip, RunConfig(), QuietProgress(), Shown())  # type: ignore[arg-type]
    (track,) = analysis.tracks
    assert sorted(shown) == list(range(track.first, track.last + 1))
    assert max(late) <= 12
