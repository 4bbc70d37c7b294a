"""The two passes, the plan, and the check of the output, on a filmed photograph."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deid import pipeline, plan
from deid.config import RunConfig
from deid.errors import PrivacyError, UsageError
from deid.media import Reader
from deid.models.morphable import trust
from deid.progress import QuietProgress
from deid.redaction import Region
from deid.types import Analysis


def go(source: Path, target: Path | None, **options):
    options.setdefault("engine", "blur")
    return pipeline.run(source, target, RunConfig(**options), QuietProgress())


def planes(path: Path) -> list[tuple[np.ndarray, ...]]:
    with Reader(path) as reader:
        return [frame.planes for frame in reader]


def test_only_regions_change_and_everything_in_them_does(face_clip, tmp_path):
    target = tmp_path / "out.mp4"
    report = go(face_clip, target, crf=0, seed=3)
    analysis, _ = pipeline.analyse(face_clip, RunConfig(), QuietProgress())
    plan = pipeline.make_plan(analysis, RunConfig())
    before, after = planes(face_clip), planes(target)
    assert len(before) == len(after) == report.frames == 24
    y, x = np.mgrid[0:360, 0:480]
    points = np.stack([x.ravel(), y.ravel()], 1)
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        (region,) = plan.regions[i]
        inside = region.contains(points).reshape(360, 480)
        soft = replace(region, ax=1.4 * region.ax, ay=1.4 * region.ay).contains(points).reshape(360, 480)
        np.testing.assert_array_equal(a[0][~soft], b[0][~soft])
        assert (a[0][inside] != b[0][inside]).mean() > 0.9
    assert [t.outcome for t in report.tracks] == ["obscured"]
    assert report.verify is not None
    assert report.verify.rounds == 1
    assert len(report.verify.frames) == 1
    assert set(report.timing) == {"analyse", "render"}


def test_same_seed_same_bytes(face_clip, tmp_path):
    one, two = tmp_path / "1.mp4", tmp_path / "2.mp4"
    go(face_clip, one, seed=5, end=0.4)
    go(face_clip, two, seed=5, end=0.4)
    assert one.read_bytes() == two.read_bytes()


def test_dry_run_writes_nothing(face_clip, tmp_path):
    report = go(face_clip, None, dry_run=True)
    assert report.target is None
    assert len(report.tracks) == 1
    assert not list(tmp_path.iterdir())
    assert any("(planned): 1 obscured" in line for line in report.lines())


def test_a_face_that_can_never_be_replaced_says_why(face_clip, monkeypatch):
    monkeypatch.setattr(trust, "Limits", partial(trust.Limits, height=(500.0, 600.0)))
    report = go(face_clip, None, engine="morphable", dry_run=True)
    assert [(t.outcome, t.reason, t.obscured_because) for t in report.tracks] == [
        ("obscured", "too small", {"too small": 24})
    ]


def test_a_kept_track_stays_as_it_was(face_clip, tmp_path):
    target = tmp_path / "out.mp4"
    report = go(face_clip, target, crf=0, keep=(1,), end=0.3)
    assert report.tracks[0].outcome == "kept"
    assert any("recognisable" in w for w in report.warnings)
    for a, b in zip(planes(face_clip), planes(target), strict=False):
        np.testing.assert_array_equal(a[0], b[0])


def test_keeping_a_track_that_is_not_there_is_refused(face_clip, tmp_path):
    with pytest.raises(UsageError, match="track 9"):
        go(face_clip, tmp_path / "out.mp4", keep=(9,), end=0.2)
    assert not list(tmp_path.iterdir())


def test_nobody_there_is_a_warning_and_an_output(faceless_clip, tmp_path):
    target = tmp_path / "out.mp4"
    report = go(faceless_clip, target)
    assert target.exists()
    assert not report.tracks
    assert any("no face" in w for w in report.warnings)


def see_nothing(monkeypatch) -> None:
    """Let the analysis find nobody."""
    real = pipeline.analyse

    def analyse(*args):
        analysis, seconds = real(*args)
        return replace(analysis, tracks=()), seconds

    monkeypatch.setattr(pipeline, "analyse", analyse)


def test_a_bare_face_in_the_output_is_followed_and_rendered_again(face_clip, tmp_path, monkeypatch):
    see_nothing(monkeypatch)
    target = tmp_path / "out.mp4"
    report = go(face_clip, target)
    assert report.verify is not None
    assert report.verify.rounds == 2
    assert {i for t in report.tracks for i in range(t.first_frame, t.last_frame + 1)} == set(range(24))
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    for a, b in zip(planes(face_clip), planes(target), strict=True):
        assert np.abs(a[0][130:200, 200:280].astype(int) - b[0][130:200, 200:280]).mean() > 8


def test_a_new_face_that_is_still_recognised_is_obscured_and_rendered_again(face_clip, tmp_path, monkeypatch):
    class Strict(pipeline.Check):
        def __call__(self, path, compared):
            real = super().__call__(path, compared)
            return real if attempts else attempts.append(1) or replace(real, matches=(compared[0].place.key,))

    attempts: list[int] = []
    monkeypatch.setattr(pipeline, "Check", Strict)
    target = tmp_path / "out.mp4"
    report = go(face_clip, target, engine="morphable", seed=3)
    assert attempts and report.verify is not None and report.verify.rounds == 2
    (track,) = report.tracks
    assert any(state == "obscured" for state, _ in track.states)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_face_that_stays_bare_fails_the_run_and_leaves_nothing(face_clip, tmp_path, monkeypatch):
    see_nothing(monkeypatch)
    repairs = []
    monkeypatch.setattr(pipeline, "patch", lambda s, c, analysis, leaks, p: repairs.append(leaks) or analysis)
    with pytest.raises(PrivacyError, match="original face"):
        go(face_clip, tmp_path / "out.mp4")
    assert len(repairs) == pipeline._ROUNDS - 1  # not after the last attempt
    assert all(len(leaks) == 1 for leaks in repairs)
    assert not list(tmp_path.iterdir())


def test_passes_that_disagree_fail_the_run(face_clip, tmp_path, monkeypatch):
    real = pipeline.analyse

    def analyse(*args, **kwargs) -> tuple[Analysis, list[float]]:
        analysis, seconds = real(*args, **kwargs)
        return replace(analysis, frames=analysis.frames - 1, tracks=()), seconds

    monkeypatch.setattr(pipeline, "analyse", analyse)
    with pytest.raises(PrivacyError, match="two passes"):
        go(face_clip, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_a_region_inside_another_is_not_drawn():
    large, small, aside = Region(100, 100, 50, 60), Region(105, 100, 10, 12), Region(150, 100, 30, 30)
    assert plan._outermost([large, small, aside]) == [aside, large]


def test_report_is_plain_data(face_clip):
    import json

    report = go(face_clip, None, dry_run=True, end=0.2)
    text = json.dumps(report.as_dict())
    assert str(face_clip.parent) not in text
    assert set(report.timing) == {"analyse"}
    assert report.peak_memory > 1e7
