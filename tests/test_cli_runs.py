"""Whole runs from the shell: inputs that are bad, places that cannot be written, signals at every stage, no network."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DRIVER = """
import os, signal, sys, threading
from deid import cli, media, pipeline, progress

stage, count, signum = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def strike():
    # the second one comes while the clean-up of the first is under way
    threading.Timer(0.02, os.killpg, (0, signum)).start()
    os.killpg(0, signum)

class Struck:
    def __init__(self, original):
        self.original = original
    def __get__(self, instance, owner):
        def call(*arguments):
            result = self.original(instance, *arguments)
            strike()
            return result
        return call

advance = progress.Progress.advance
def counted(self, n=1):
    advance(self, n)
    if self._name == stage and self._done >= count:
        strike()
progress.Progress.advance = counted
if stage == "commit":
    pipeline.Writer.commit = Struck(pipeline.Writer.commit)
sys.argv[1:] = sys.argv[4:]
cli.main()
"""

BLOCKER = """
import os, socket

def refused(*arguments, **options):
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(repr(arguments) + chr(10))
    raise OSError("no network in this test")

for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refused)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refused)
"""


def deid(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deid", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, **options)


def state(path: Path) -> tuple[str, int]:
    """What must not change of a source."""
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for sources and targets, with a folder for temporary files inside."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


def assert_failed_cleanly(
    result: subprocess.CompletedProcess[str], code: int, place: Path, before: list[str], source: Path | None = None,
    untouched: tuple[str, int] | None = None,
) -> None:
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("deid: ") and lines[0].endswith("."), result.stderr
    assert everything_under(place) == before
    if source is not None:
        assert state(source) == untouched


# ---- inputs


def _empty(path: Path, clip: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, clip: Path) -> None:
    # movie header first, so that the file opens; most of the pictures are gone
    data = clip.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _text(path: Path, clip: Path) -> None:
    path.write_text("This is not a film.\n" * 100)


def _ffmpeg(path: Path, *words: str) -> None:
    import imageio_ffmpeg

    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *words, str(path)], check=True)


def _audio_only(path: Path, clip: Path) -> None:
    _ffmpeg(path, "-f", "lavfi", "-i", "sine=duration=0.5")


def _zero_frames(path: Path, clip: Path) -> None:
    _ffmpeg(path, "-i", str(clip), "-map", "0:v", "-c", "copy", "-frames:v", "0")


def _one_pixel(path: Path, clip: Path) -> None:
    _ffmpeg(path, "-f", "lavfi", "-i", "color=red:size=1x1:duration=1", "-pix_fmt", "yuv444p")


@pytest.mark.parametrize(
    ("make", "code"),
    [(None, 3), (_empty, 3), (_truncated, 4), (_text, 3), (_audio_only, 3), (_zero_frames, 3), (_one_pixel, 3)],
    ids=["missing", "empty", "truncated", "text", "audio only", "zero frames", "one pixel"],
)
def test_bad_inputs(make: Any, code: int, place: Path, face_clip: Path) -> None:
    source = place / "in.mp4"
    untouched = None
    if make is not None:
        make(source, face_clip)
        untouched = state(source)
    before = everything_under(place)
    result = deid("run", source, "-o", place / "out.mp4", "--quiet")
    assert_failed_cleanly(result, code, place, before, source if make else None, untouched)
    if make is None:
        assert "in.mp4" in result.stderr


def test_no_face_is_done_with_a_warning(place: Path, faceless_clip: Path) -> None:
    result = deid("run", faceless_clip, "-o", place / "out.mp4", "--json", "--quiet")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("deid: warning: no face") and result.stderr.count("\n") == 1
    report = json.loads(result.stdout)
    assert report["frames"] == 12 and report["tracks"] == [] and report["warnings"]
    assert everything_under(place) == ["out.mp4", "tmp"]


def test_a_run_replaces_and_reports(place: Path, face_clip: Path) -> None:
    untouched = state(face_clip)
    words = ("run", face_clip, "-o", place / "out.mp4", "--report", place / "r.json", "--seed", "5", "--threads", "1")
    result = deid(*words)
    assert result.returncode == 0 and "deid: " not in result.stderr
    assert f"wrote {place / 'out.mp4'}" in result.stdout and "1 replaced" in result.stdout
    report = json.loads((place / "r.json").read_text())
    assert report["frames"] == 24 and report["seed"] == 5 and report["timing"]["analyse"] > 0
    assert all(track["outcome"] == "replaced" for track in report["tracks"]) and report["tracks"]
    assert str(place) not in json.dumps(report)
    assert everything_under(place) == ["out.mp4", "r.json", "tmp"] and state(face_clip) == untouched
    again = deid(*words)
    assert again.returncode == 5 and "exists" in again.stderr and again.stderr.count("\n") == 1


# ---- places


@pytest.mark.parametrize("target", ["file/out.mp4", "none/out.mp4", "/proc/out.mp4", "in.mp4"])
def test_places_that_cannot_be_written(target: str, place: Path, face_clip: Path) -> None:
    source = place / "in.mp4"
    shutil.copy2(face_clip, source)
    (place / "file").write_bytes(b"")
    before, untouched = everything_under(place), state(source)
    result = deid("run", source, "-o", place / target, "--overwrite", "--quiet")
    assert result.returncode in (2, 5)
    assert_failed_cleanly(result, result.returncode, place, before, source, untouched)


def test_a_target_that_exists_stays(place: Path, face_clip: Path) -> None:
    (place / "out.mp4").write_bytes(b"mine")
    before = everything_under(place)
    assert_failed_cleanly(deid("run", face_clip, "-o", place / "out.mp4"), 5, place, before)
    assert (place / "out.mp4").read_bytes() == b"mine"


def test_a_file_size_limit_is_a_full_disk(place: Path, face_clip: Path) -> None:
    before, untouched = everything_under(place), state(face_clip)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    result = deid("run", face_clip, "-o", place / "out.mp4", "--quiet", preexec_fn=limit)
    assert_failed_cleanly(result, 5, place, before, face_clip, untouched)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(tiny_disk: Path, face_clip: Path) -> None:
    untouched = state(face_clip)
    result = deid("run", face_clip, "-o", tiny_disk / "out.mp4", "--quiet")
    assert_failed_cleanly(result, 5, tiny_disk, [], face_clip, untouched)
    assert "space" in result.stderr


# ---- signals


@pytest.mark.parametrize(
    ("stage", "count", "signum"),
    [
        ("finding faces", 1, signal.SIGINT),
        ("finding faces", 20, signal.SIGTERM),
        ("rendering", 1, signal.SIGHUP),
        ("rendering", 24, signal.SIGINT),
        ("commit", 0, signal.SIGINT),
    ],
)
def test_signals_leave_nothing(stage: str, count: int, signum: signal.Signals, place: Path, face_clip: Path) -> None:
    """To the whole process group, as a terminal sends it, and a second one during the clean-up."""
    before, untouched = everything_under(place), state(face_clip)
    words = [str(face_clip), "-o", str(place / "out.mp4"), "--report", str(place / "r.json"), "--quiet"]
    command = [sys.executable, "-c", DRIVER, stage, str(count), str(int(signum)), "run", *words]

    def usual_signals() -> None:  # whoever runs the tests may ignore some
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    result = subprocess.run(
        command, capture_output=True, text=True, timeout=200, start_new_session=True, preexec_fn=usual_signals
    )
    assert_failed_cleanly(result, 128 + signum, place, before, face_clip, untouched)


# ---- network


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Python's sockets raise and log in every process started from here; the log is returned."""
    folder = tmp_path / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("NETWORK_LOG", str(tmp_path / "network.log"))
    return tmp_path / "network.log"


def test_the_blocker_blocks(no_network: Path) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1
    assert no_network.read_text()


def test_a_run_uses_no_network(no_network: Path, tmp_path: Path, face_clip: Path) -> None:
    command = [sys.executable, "-m", "deid", "run", str(face_clip), "-o", str(tmp_path / "out.mp4"), "--quiet"]
    unshare = ["unshare", "--net"]
    if shutil.which("unshare") and subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
        command = [*unshare, *command]  # native code, too
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert not no_network.exists() or no_network.read_text() == ""
