"""Batches with real workers: the bytes of ``deid run``, whatever is killed; one face for one person in all files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mediagen
import pytest

DEID = [sys.executable, "-m", "deid"]


def deid(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEID, *map(str, words)], capture_output=True, text=True, timeout=600)


def sums(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and ".deid-batch" not in p.parts]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def clips(folder: Path, count: int) -> Path:
    (folder / "in" / "sub").mkdir(parents=True)
    for number in range(count):
        place = folder / "in" / ("sub" if number % 3 else "") / f"{number}.mp4"
        mediagen.clip(place, seconds=0.2 + 0.04 * number, audio=[["aac"]])
    return folder / "in"


def test_a_batch_gives_what_single_runs_give_and_reports(tmp_path: Path) -> None:
    source, out, pages = clips(tmp_path, 2), tmp_path / "out", tmp_path / "pages"
    done = deid("batch", source, "-o", out, "--engine", "solid", "--seed", 5, "--report", pages, "--json")
    assert done.returncode == 0, done.stderr
    assert deid("run", source / "0.mp4", "-o", tmp_path / "one.mp4", "--engine", "solid", "--seed", 5,
                "--threads", min(2, len(os.sched_getaffinity(0)))).returncode == 0  # fmt: skip
    assert (tmp_path / "one.mp4").read_bytes() == (out / "0.mp4").read_bytes()
    assert sorted(str(p.relative_to(pages)) for p in pages.rglob("*") if p.is_file()) == [
        "0.mp4.html", "0.mp4.json", "index.html", "index.json", "sub/1.mp4.html", "sub/1.mp4.json"
    ]  # fmt: skip
    index = (pages / "index.html").read_text()
    assert 'href="sub/1.mp4.html"' in index and "2 of 2 files finished" in index and "2 of 2 audits" in index
    assert json.loads((pages / "0.mp4.json").read_text())["target"] == "0.mp4"
    assert str(tmp_path) not in index + (pages / "0.mp4.json").read_text() + (pages / "0.mp4.html").read_text()


def test_an_audit_later_makes_nothing_again(tmp_path: Path) -> None:
    source, out = clips(tmp_path, 1), tmp_path / "out"
    options = ["--engine", "solid", "--seed", 5, "--quiet"]
    assert deid("batch", source, "-o", out, *options).returncode == 0
    before = (out / "0.mp4").stat().st_mtime_ns
    done = deid("batch", source, "-o", out, *options, "--report", tmp_path / "pages")
    assert done.returncode == 0, done.stderr
    assert (out / "0.mp4").stat().st_mtime_ns == before
    report = json.loads((tmp_path / "pages" / "0.mp4.json").read_text())
    assert report["audit"]["passed"] and report["frames"] == 5 and (tmp_path / "pages" / "0.mp4.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_of_anything_over_twenty_clips(tmp_path: Path) -> None:
    """SIGKILL at random moments, to the batch, or to the batch and all its workers at once."""
    count, kills = (int(os.environ.get(name, value)) for name, value in (("CLIPS", 20), ("KILLS", 50)))
    source, whole = clips(tmp_path, count), tmp_path / "whole"
    options = ["--engine", "solid", "--seed", "5", "--quiet"]
    began = time.monotonic()
    assert deid("batch", source, "-o", whole, *options).returncode == 0
    took, wanted = time.monotonic() - began, sums(whole)
    assert len(wanted) == count
    chance = random.Random(3)
    out, midway = tmp_path / "out-0", 0
    for number in range(kills):
        process = subprocess.Popen([*DEID, "batch", str(source), "-o", str(out), *options], start_new_session=True)
        try:
            process.wait(chance.uniform(0.2, 0.2 + took / 2))
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
            os.kill(process.pid, signal.SIGKILL) if chance.random() < 0.5 else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        there = sums(out)
        assert there.items() <= wanted.items()  # whatever has a name is whole
        midway += not ended and 0 < len(there) < count
        if ended:  # nothing is left to be killed: once more from the beginning
            assert process.returncode == 0
            _is_finished(out, wanted)
            out = tmp_path / f"out-{number + 1}"
    assert midway > kills // 4
    assert deid("batch", source, "-o", out, *options).returncode == 0
    _is_finished(out, wanted)


def _is_finished(out: Path, wanted: dict[str, str]) -> None:
    """Every file is there once, whole, and nothing beside them but the ledger."""
    assert sums(out) == wanted
    assert sorted(p.name for p in (out / ".deid-batch").rglob("*")) == ["ledger.sqlite", "ledger.sqlite.lock"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_face_in_all_files_whatever_the_order_the_jobs_and_the_kills(tmp_path: Path) -> None:
    from deid.demo import encode_clip
    from deid.virtual_camera import COLLINS, HOPPER, Pose, ShotPlan, film, hang

    source = tmp_path / "in"
    source.mkdir()
    near, far = Pose(0, 225, 140, 420, 3), Pose(0, 255, 230, 620)
    for name, who, pose in (("a", COLLINS, near), ("b", HOPPER, far), ("c", COLLINS, near), ("d", HOPPER, far)):
        other = Pose(1.0, pose.x + (6 if name > "b" else 0), pose.y, pose.height * 0.97, pose.roll)
        shot = ShotPlan(hang([who]), (pose, other), 4)
        pictures = [p.pixels for p in film([shot], width=640, height=360, fps=25)]
        encode_clip(source / f"{name}.mp4", pictures, width=640, height=360, fps=25, seconds=0.16)
    options = ["--scope", "batch", "--seed", "5", "--threads", "1", "--quiet"]
    assert deid("batch", source, "-o", tmp_path / "whole", *options, "--jobs", 1).returncode == 0
    hidden = tmp_path / "whole" / ".deid-batch"
    assert not (hidden / "ledger.sqlite.key").exists()  # who was there is forgotten
    command = [*DEID, "batch", str(source), "-o", str(tmp_path / "out"), *options, "--jobs", "2"]
    chance = random.Random(1)
    for _ in range(4):
        process = subprocess.Popen(command)
        time.sleep(chance.uniform(5, 30))
        process.kill()
        process.wait()
    assert subprocess.run(command).returncode == 0
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")


def test_by_url_a_batch_and_a_run_give_the_same_bytes_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own tmp"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    source, out, ledger = clips(tmp_path, 2), tmp_path / "out", tmp_path / "ledger.sqlite"
    options = ["--engine", "solid", "--seed", 5, "--threads", 1]
    done = deid("batch", source.as_uri(), "-o", out.as_uri(), "--ledger", ledger, *options, "--report", tmp_path / "p")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "sub" / "1.mp4.html").is_file()
    assert deid("run", (source / "0.mp4").as_uri(), "-o", (tmp_path / "one.mp4").as_uri(), *options).returncode == 0
    assert deid("run", source / "0.mp4", "-o", tmp_path / "near.mp4", *options).returncode == 0
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "near.mp4").read_bytes() == (out / "0.mp4").read_bytes()
    assert sorted(sums(out)) == ["0.mp4", "sub/1.mp4"] and list(own.iterdir()) == []
    before = (out / "0.mp4").stat().st_mtime_ns
    again = deid("batch", source.as_uri(), "-o", out.as_uri(), "--ledger", ledger, *options)
    assert again.returncode == 0 and "2 finished before" in again.stdout
    assert (out / "0.mp4").stat().st_mtime_ns == before
    bad = deid("run", (source / "none.mp4").as_uri(), "-o", tmp_path / "x.mp4")
    assert bad.returncode == 3 and bad.stderr.startswith("deid: there is no file://")
    assert deid("run", (source / "0.mp4").as_uri()).returncode == 2
