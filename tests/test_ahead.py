"""Rendering behind the analysis: the same output as by two passes, and nothing kept that does not agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import ahead, pipeline
from deid.ahead import Ahead
from deid.config import RunConfig
from deid.errors import DiskFull
from deid.media import Reader, Writer
from deid.progress import QuietProgress
from deid.redaction import Region, regions_of
from deid.redaction.shape import least_region
from deid.types import Analysis, Evidence, Track


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    """110 frames of 320 x 240: a face that the camera leaves for most of a second, so that a gap is bridged."""
    from deid.demo import encode_clip
    from deid.virtual_camera import COLLINS, Pose, ShotPlan, film, hang

    path = (Pose(0, 250, 170, 480, -2), Pose(1.2, 240, 160, 430, 2), Pose(4.4, 250, 150, 450, 0))
    pictures = [p.pixels for p in film([ShotPlan(hang([COLLINS]), path, 110)], width=320, height=240, fps=25)]
    for n in range(60, 70):
        pictures[n] = np.full_like(pictures[n], 90)
    target = tmp_path_factory.mktemp("clips") / "long.mp4"
    encode_clip(target, pictures, width=320, height=240, fps=25, seconds=4.4)
    return target


def go(source: Path, target: Path, **options):
    return pipeline.run(source, target, RunConfig(engine="blur", seed=4, **options), QuietProgress())


@pytest.fixture
def completed(monkeypatch) -> list[tuple[int, bool]]:
    """How many frames were rendered behind each analysis, and whether they were kept."""
    seen: list[tuple[int, bool]] = []
    real = Ahead.complete

    def complete(self, analysis, plan, progress):
        frames = self.frames
        rendered = real(self, analysis, plan, progress)
        seen.append((frames, rendered is not None))
        return rendered

    monkeypatch.setattr(Ahead, "complete", complete)
    return seen


def by_two_passes(source: Path, target: Path, monkeypatch) -> bytes:
    with monkeypatch.context() as patched:
        patched.setattr(Ahead, "suits", staticmethod(lambda *_: False))
        go(source, target)
    return target.read_bytes()


def test_it_gives_what_two_passes_give(long_clip, tmp_path, monkeypatch, completed):
    report = go(long_clip, tmp_path / "a.mp4")
    assert completed[0][0] > 20
    assert completed[0][1]
    assert report.frames == 110
    assert report.verify is not None
    assert len(report.verify.frames) == 1
    assert (tmp_path / "a.mp4").read_bytes() == by_two_passes(long_clip, tmp_path / "b.mp4", monkeypatch)


def test_what_does_not_agree_is_thrown_away(long_clip, tmp_path, monkeypatch, completed):
    def blind(self, pieces, newest):
        return Analysis(self._info, newest + 1, (), (), (), 0)

    monkeypatch.setattr(Ahead, "_provisional", blind)
    go(long_clip, tmp_path / "a.mp4")
    assert completed[0][0] > 20
    assert not completed[0][1]
    assert (tmp_path / "a.mp4").read_bytes() == by_two_passes(long_clip, tmp_path / "b.mp4", monkeypatch)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_an_error_while_writing_ends_the_run(long_clip, tmp_path, monkeypatch):
    real, written = Writer.write, []

    def write(self, frame):
        written.append(frame.index)
        if len(written) > 5:
            raise DiskFull("the disk is full: make room.")
        real(self, frame)

    monkeypatch.setattr(Writer, "write", write)
    with pytest.raises(DiskFull):
        go(long_clip, tmp_path / "a.mp4")
    assert len(written) == 6
    assert not list(tmp_path.iterdir())


def test_a_smaller_picture_is_asked_for_and_made(long_clip, tmp_path):
    go(long_clip, tmp_path / "a.mp4", max_height=120, end=0.3)
    with Reader(tmp_path / "a.mp4") as reader:
        assert (reader.info.width, reader.info.height) == (160, 120)


def track(boxes: np.ndarray) -> Track:
    n = len(boxes)
    nothing = np.full(n, np.nan, np.float32)
    return Track(1, 0, 0, boxes, np.full(n, Evidence.FLOW, np.uint8), np.ones(n, np.float32), nothing, True)


@settings(max_examples=60, deadline=None)
@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(0.5, 2.0))
def test_only_what_covers_the_face_counts_as_agreeing(dx, dy, grow):
    face = track(np.tile(np.array([200, 150, 60, 80, 0.1], np.float32), (9, 1)))
    wanted = regions_of(face)[4]
    used = Region(wanted.cx + dx, wanted.cy + dy, wanted.ax * grow, wanted.ay * grow, wanted.roll)
    if ahead._holds([used], [wanted], [face], 4):
        assert used.contains(least_region(face.box_at(4)).outline(48, 0.99)).all()
        assert used.contains(wanted.outline(48, 0.95)).all()
    assert ahead._holds([wanted], [wanted], [face], 4)
    assert not ahead._holds([], [wanted], [face], 4)
