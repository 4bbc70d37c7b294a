"""The audit, on outputs whose leaks are known."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from deid import errors, imaging
from deid.audit.faces import Follower
from deid.audit.notes import Thinned
from deid.audit.people import Rate
from deid.audit.run import Audit, audit
from deid.audit.watch import watch
from deid.cli import cli
from deid.commands._shell import StopRequest
from deid.demo import encode_clip
from deid.media import Reader
from deid.media.convert import bgr
from deid.progress import QuietProgress
from deid.virtual_camera import COLLINS, HOPPER, Pose, ShotPlan, film, hang

MARKER = (255, 0, 255)


@pytest.fixture(scope="module")
def made(face_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Encodes what a function makes of each frame (index, picture) of a clip."""
    folder = tmp_path_factory.mktemp("made")

    def make(name: str, change: Callable[[int, np.ndarray], np.ndarray | None], of: Path = face_clip) -> Path:
        with Reader(of) as reader:
            pictures = [change(frame.index, bgr(frame)) for frame in reader]
        kept = [p for p in pictures if p is not None]
        encode_clip(folder / name, kept, width=480, height=360, fps=25, seconds=len(kept) / 25)
        return folder / name

    return make


def blurred(picture: np.ndarray) -> np.ndarray:
    return imaging.gaussian_blur(picture, (0, 0), 20)


@pytest.fixture(scope="module")
def partly_bare(face_clip: Path, made: Callable[..., Path]) -> tuple[Audit, str]:
    """Frames 9 to 12 were forgotten."""
    output = made("forgotten.mp4", lambda i, p: p if 9 <= i <= 12 else blurred(p))
    table = io.StringIO()
    return audit(face_clip, output, signals_to=table), table.getvalue()


def criterion(found: Audit, key: str) -> dict[str, Any]:
    return next(c for c in found.report["criteria"] if c["key"] == key)


def test_forgotten_frames_are_found_with_their_times(partly_bare: tuple[Audit, str]) -> None:
    found = partly_bare[0]
    assert not found.passed
    assert criterion(found, "bare_runs")["value"] == 1
    bare = [e for e in found.report["suspects"] if e["why"] == "the face is as it was"]
    assert [(e["first_frame"], e["last_frame"], e["person"]) for e in bare] == [(9, 12, 1)]
    assert (bare[0]["start"], bare[0]["end"]) == (0.36, 0.48)
    overall = found.report["overall"]
    assert (overall["bare"]["hits"], overall["obscured"]["hits"], overall["leak"]["hits"]) == (4, 20, 4)
    assert "4 faces" in " ".join(found.lines())
    with pytest.raises(errors.AuditFailed, match="bare faces"):
        found.require()


def test_a_face_that_is_only_toned_is_still_recognised(face_clip: Path, made: Callable[..., Path]) -> None:
    output = made("toned.mp4", lambda i, p: (0.6 * p[..., [0, 1, 2]] + 70).astype(np.uint8))
    found = audit(face_clip, output)
    assert not found.passed
    assert criterion(found, "match")["value"] == 1
    assert criterion(found, "match_worst")["met"] is False
    assert found.report["overall"]["leak"]["rate"] == 1
    assert found.report["recognised"]["own"] == found.report["recognised"]["faces"] > 0
    assert any(e["why"] == "a recogniser still knows the person" for e in found.report["suspects"])


def test_an_obscured_clip_passes_and_pictures_come_from_the_output_only(
    face_clip: Path, made: Callable[..., Path], tmp_path: Path
) -> None:
    def marked(i: int, picture: np.ndarray) -> np.ndarray:
        out = picture.copy()
        out[::20] = MARKER
        return out

    source = made("marked.mp4", marked)
    output = made("covered.mp4", lambda i, p: blurred(p))
    found = audit(source, output)
    assert found.passed
    assert criterion(found, "bare")["value"] == 0
    shown = pictures_of(found.html, tmp_path)
    assert shown
    for picture in shown:
        blue, green, red = (picture[..., k].astype(int) for k in range(3))
        assert not ((blue - green > 70) & (red - green > 70)).any()
    everything = found.html + json.dumps(found.report)
    for path in (tmp_path, source, output, source.parent, Path.home()):
        assert str(path) not in everything
    assert "covered.mp4" in found.html and "marked.mp4" not in everything
    assert not re.search(r"<script|<link|src=\"(?!data:)|https?://|url\(", found.html)
    numbers = [v for v in walk(found.report) if isinstance(v, list) and len(v) >= 100]
    assert not numbers, "something as long as a template"


def walk(value: Any) -> list[Any]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(w for part in parts for w in walk(part))]


def pictures_of(html: str, folder: Path) -> list[np.ndarray]:
    out = []
    for data in re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", html):
        (folder / "one.jpg").write_bytes(base64.b64decode(data))
        out.append(imaging.imread(str(folder / "one.jpg")))
    return out


def test_pictures_of_bare_faces_are_coarse_squares(partly_bare: tuple[Audit, str], tmp_path: Path) -> None:
    shown = pictures_of(partly_bare[0].html, tmp_path)
    assert all(p.shape == (112, 112, 3) for p in shown)
    squares = shown[0].reshape(7, 16, 7, 16, 3).astype(float)  # the worst comes first
    assert "as it was" in partly_bare[0].html.split("<figcaption>")[1]
    assert squares[:, 3:13, :, 3:13].std(axis=(1, 3)).max() < 6


def test_a_frame_that_is_missing_breaks_the_contract(face_clip: Path, made: Callable[..., Path]) -> None:
    found = audit(face_clip, made("short.mp4", lambda i, p: None if i == 23 else blurred(p)))
    assert criterion(found, "frames")["value"] == 1
    assert not found.passed
    assert found.report["media"]["frames"] == {"source": 24, "output": 23}


def test_signals_hold_both_clips_in_named_columns(partly_bare: tuple[Audit, str]) -> None:
    rows = list(csv.DictReader(io.StringIO(partly_bare[1])))
    assert len(rows) == 24
    assert list(rows[0])[:5] == ["time", "frame", "person", "face", "state"]
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "gazeLeftX", "yaw", "pitch", "roll"):
        assert {f"{name}_source", f"{name}_output"} <= set(rows[0])
    assert all(row["yaw_source"] for row in rows)
    assert [row["frame"] for row in rows if row["yaw_output"]] == []  # four frames are too few to lay a model into
    assert {row["state"] for row in rows} == {"obscured", "bare"}
    told = {row["signal"]: row for row in partly_bare[0].report["signals"]}
    assert told["yaw"]["frames"] == 0


def test_strict_exits_with_its_own_code(face_clip: Path, tmp_path: Path) -> None:
    page, report = tmp_path / "page.html", tmp_path / "report.json"
    words = [
        "audit",
        str(face_clip),
        str(face_clip),
        "--strict",
        "--html",
        str(page),
        "--report",
        str(report),
        "--quiet",
    ]
    result = CliRunner().invoke(cli, words, obj=StopRequest())
    assert isinstance(result.exception, errors.AuditFailed) and result.exception.exit_code == 8
    told = json.loads(report.read_text())
    assert told["passed"] is False
    signals = {row["signal"]: row for row in told["signals"]}
    assert signals["yaw"]["difference"] == pytest.approx(0, abs=1e-3)  # a clip agrees with itself
    assert told["jitter"]["all"] == pytest.approx(1, abs=0.01)
    assert told["groups"]["gender"] and told["groups"]["skin"]
    assert "Failed" in page.read_text()
    again = CliRunner().invoke(cli, words, obj=StopRequest())
    assert isinstance(again.exception, errors.OutputExists)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))
def test_intervals_hold_the_rate_and_need_two_people(pairs: list[tuple[int, int]]) -> None:
    rate = Rate.over([(min(a, b), b) for a, b in pairs])
    people = sum(b > 0 for _, b in pairs)
    assert rate.people == people
    assert (rate.value is None) == (people == 0)
    assert (rate.low is None) == (people < 2)
    if rate.low is not None and rate.high is not None:
        assert 0 <= rate.low <= rate.high <= 1
        assert rate == Rate.over([(min(a, b), b) for a, b in pairs])


@given(st.integers(0, 400), st.integers(1, 12))
def test_thinning_keeps_few_and_spreads_them(count: int, most: int) -> None:
    kept = Thinned(most)
    for k in range(count):
        kept.add(np.array([k]))
    numbers = [int(k[0]) for k in kept.kept]
    assert len(numbers) <= 2 * most and len(numbers) >= min(count, most)
    assert len(set(np.diff(numbers).tolist())) <= 1


def test_a_cut_in_the_dark_ends_who_was_followed() -> None:
    """Two people at one place, one after the other, so dark that the picture as a whole hardly changes."""
    shots = [
        ShotPlan(hang([who]), (Pose(0, 250, 170, 480, 0), Pose(0.28, 250, 170, 480, 0)), 7) for who in (COLLINS, HOPPER)
    ]
    pictures = [(0.3 * picture.pixels).astype(np.uint8) for picture in film(shots, width=480, height=360, fps=25)]
    assert np.abs(pictures[6].astype(float) - pictures[7]).mean() < 28
    follower = Follower()
    numbers = [{s.face.number for s in follower.feed(i, picture)} for i, picture in enumerate(pictures)]
    follower.close()
    assert all(numbers)
    assert not set.union(*numbers[:7]) & set.union(*numbers[7:])


def test_faces_too_dark_and_blurred_tell_nobody_apart(face_clip: Path, made: Callable[..., Path]) -> None:
    def dim(index: int, picture: np.ndarray) -> np.ndarray:
        return imaging.gaussian_blur((0.25 * picture).astype(np.uint8), (0, 0), 3)

    source = made("dim.mp4", dim)
    for of, clear in ((source, False), (face_clip, True)):
        watched = watch(of, made("cover.mp4", lambda i, p: blurred(p), of), None, QuietProgress())
        (face,) = watched.faces
        watched.close()
        assert ("dlib" in face.source) is clear
        assert bool(face.dim.kept) is not clear
