from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.media import Reader, probe
from deid.redaction import Region
from deid.types import Analysis, Evidence, Shot, Track
from deid.verify import Verifier, choose_frames


def track(first: int, evidence: list[int], box=(240.0, 150.0, 80.0, 110.0, 0.0)) -> Track:
    n = len(evidence)
    return Track(
        id=1,
        shot=0,
        first=first,
        boxes=np.tile(np.array(box, np.float32), (n, 1)),
        evidence=np.array(evidence, np.uint8),
        scores=np.ones(n, np.float32),
        yaw=np.zeros(n, np.float32),
        confirmed=True,
    )


@pytest.fixture(scope="module")
def analysis_of(face_clip):
    info = probe(face_clip)

    def make(frames: int, tracks: tuple[Track, ...]) -> Analysis:
        return Analysis(info, frames, (Shot(0, max(0, frames - 1)),), tracks, (), 1)

    return make


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2000))
def test_choice_is_in_range_spread_and_enough(frames):
    chosen = choose_frames(Analysis(None, frames, (), (), (), 0))
    assert all(0 <= f < frames for f in chosen)
    assert len(chosen) == min(frames, max(1, frames // 120))


def test_the_most_doubtful_frames_are_chosen(analysis_of):
    evidence = [Evidence.SEARCHED] * 360
    evidence[15], evidence[144], evidence[271] = Evidence.FILLED, Evidence.HELD, Evidence.FILLED
    assert choose_frames(analysis_of(360, (track(0, evidence),))) == {15, 144, 271}


@pytest.fixture(scope="module")
def frame(face_clip):
    with Reader(face_clip) as reader:
        return next(iter(reader))


def leaks(frame, regions, kept=()) -> list[int]:
    verifier = Verifier(2, kept, 0.2)
    with verifier:
        verifier.submit(frame, regions)
    assert verifier.frames == [0]
    return list(verifier.leaks)


def face_region(frame, grow=1.0) -> Region:
    from deid.detection import CenterFace
    from deid.media.convert import bgr

    x0, y0, x1, y1 = CenterFace().detect(bgr(frame))[0].box
    return Region((x0 + x1) / 2, (y0 + y1) / 2, grow * (x1 - x0) / 2, grow * (y1 - y0) / 2)


def test_a_bare_face_is_a_leak(frame):
    assert leaks(frame, []) == [0]


def test_a_leak_says_where_the_face_is(frame):
    verifier = Verifier(2, (), 0.2)
    with verifier:
        verifier.submit(frame, [])
    (found,) = verifier.leaks[0]
    region = face_region(frame)
    assert abs((found.box[0] + found.box[2]) / 2 - region.cx) < 3
    assert abs((found.box[1] + found.box[3]) / 2 - region.cy) < 3


def test_a_covered_face_is_none(frame):
    assert leaks(frame, [face_region(frame)]) == []


def test_a_region_beside_the_face_does_not_help(frame):
    region = face_region(frame)
    aside = Region(region.cx + 3 * region.ax, region.cy, region.ax, region.ay)
    assert leaks(frame, [aside]) == [0]


def test_a_kept_face_is_no_leak(frame):
    region = face_region(frame)
    box = (region.cx, region.cy, 2 * region.ax, 2 * region.ay, 0.0)
    assert leaks(frame, [], (track(0, [Evidence.SEARCHED], box),)) == []


def test_an_error_in_the_search_is_not_swallowed(frame, monkeypatch):
    verifier = Verifier(2, (), 0.2)
    monkeypatch.setattr(verifier, "_covered", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), verifier:
        verifier.submit(frame, [])
