"""kill -9 at any moment: no file is left, nothing decoded can be read from anywhere, and the next run works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without names exist on Linux only"),
]

DRIVER = """
import os, sys, time
from deid import cli, media, pipeline, progress
import deid.media.target

how, stage, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
if how == "hidden":
    media.target.open_nameless = lambda folder: None

def strike():
    if how == "wait":
        print("here", flush=True)
        time.sleep(60)
    os.kill(os.getpid(), 9)

advance = progress.Progress.advance
def counted(self, n=1):
    advance(self, n)
    if self._name == stage and self._done >= count:
        strike()
progress.Progress.advance = counted
if stage == "commit":
    commit = pipeline.Writer.commit
    def struck(self):
        self._sink.finish()
        strike()
    pipeline.Writer.commit = struck
sys.argv[1:] = sys.argv[4:]
cli.main()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("out", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


def start(how: str, stage: str, count: int, source: Path, target: Path, *options: str) -> subprocess.Popen[bytes]:
    words = ["run", str(source), "-o", str(target), "--quiet", "--seed", "3", "--threads", "1", *options]
    command = [sys.executable, "-c", DRIVER, how, stage, str(count), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)


def left(place: Path) -> list[str]:
    return sorted(str(p.relative_to(place)) for p in place.rglob("*"))


@pytest.mark.parametrize(
    ("stage", "count", "engine"),
    [
        ("finding faces", 1, "solid"),
        ("rendering", 20, "solid"),
        ("finding faces", 20, "morphable"),
        ("rendering", 12, "morphable"),
        ("commit", 0, "solid"),
    ],
)
def test_nothing_is_left(stage: str, count: int, engine: str, place: Path, face_clip: Path) -> None:
    before = face_clip.stat().st_mtime_ns
    child = start("nameless", stage, count, face_clip, place / "out" / "b.mp4", "--engine", engine)
    assert child.wait(timeout=100) == -signal.SIGKILL
    assert left(place) == ["out", "tmp"]
    assert face_clip.stat().st_mtime_ns == before


def test_nothing_is_left_at_random_moments(place: Path, face_clip: Path) -> None:
    chance = random.Random(11)
    ended = 0
    begun = time.monotonic()
    assert start("nameless", "never", 0, face_clip, place / "out" / "b.mp4", "--engine", "solid").wait(timeout=100) == 0
    whole = time.monotonic() - begun
    (place / "out" / "b.mp4").unlink()
    for _ in range(4):
        child = start("nameless", "never", 0, face_clip, place / "out" / "b.mp4", "--engine", "solid")
        time.sleep(chance.uniform(0.1, 0.9) * whole)
        child.kill()
        ended += child.wait() == 0
        found = left(place)
        assert found == (["out", "out/b.mp4", "tmp"] if "out/b.mp4" in found else ["out", "tmp"])
        (place / "out" / "b.mp4").unlink(missing_ok=True)
    assert ended < 4


def test_what_a_run_writes_has_no_name(place: Path, face_clip: Path) -> None:
    """While it runs: every file it has open for writing is already gone from its folder."""
    child = start("wait", "rendering", 12, face_clip, place / "out" / "b.mp4")
    try:
        assert child.stdout is not None and child.stdout.readline() == b"here\n"
        handles = Path(f"/proc/{child.pid}/fd")
        written = []
        for handle in handles.iterdir():
            name, flags = os.readlink(handle), (Path(f"/proc/{child.pid}/fdinfo") / handle.name).read_text()
            mode = int(flags.split("flags:")[1].split()[0], 8)
            if name.startswith("/") and not name.startswith("/dev/") and mode & (os.O_WRONLY | os.O_RDWR):
                written.append(name)
        assert written and all(name.endswith("(deleted)") for name in written)
        assert left(place) == ["out", "tmp"]
    finally:
        child.kill()
        child.wait()


def test_a_hidden_output_holds_finished_frames_only(place: Path, face_clip: Path) -> None:
    """Where files have names from the beginning, what a killed run leaves shows no original face."""
    target = place / "out" / "b.avi"
    child = start("hidden", "commit", 0, face_clip, target, "--engine", "solid")
    assert child.wait(timeout=100) == -signal.SIGKILL
    hidden = list((place / "out").iterdir())
    assert len(hidden) == 1 and hidden[0].stat().st_mode & 0o777 == 0o600
    assert list((place / "tmp").iterdir()) == []
    unfinished = luma(hidden[0])
    whole = start("nameless", "never", 0, face_clip, target, "--engine", "solid")
    assert whole.wait(timeout=100) == 0
    assert left(place) == ["out", "out/b.avi", "tmp"]
    finished, original = luma(target), luma(face_clip)
    for a, b, c in zip(unfinished, finished, original, strict=True):
        assert np.abs(a - b).mean() < 1
        middle = np.s_[120:240, 180:300]
        assert np.abs(a - c)[middle].mean() > 10


def luma(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").astype(np.int16) for f in container.decode(video=0)]
