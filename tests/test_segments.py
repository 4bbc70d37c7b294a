"""Clips finished in parts: the same pictures and times as in one piece, joined without a seam."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deid import segments
from deid.config import RunConfig
from deid.errors import DeidError
from deid.pipeline import run
from deid.progress import QuietProgress
from deid.types import Analysis, Shot


def film(path: Path, shots: int = 3, frames: int = 12, rate: int = 25, faces: bool = False) -> Path:
    """A clip of several shots with sound, in which something moves; with ``faces``, every other shot is of a person."""
    from deid.virtual_camera import COLLINS, HOPPER, Pose, ShotPlan, hang
    from deid.virtual_camera import film as filmed

    near = Pose(0, 225, 140, 420, 3)
    plans = [
        ShotPlan(hang([who]), (near, Pose(1.0, near.x + 6, near.y, near.height * 0.97, near.roll)), frames)
        for who in (COLLINS, HOPPER)
    ]
    people = [[p.pixels for p in filmed([plan], width=320, height=240, fps=rate)] for plan in plans if faces]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": "12"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("aac", rate=48000)
        clock = 0
        for shot in range(shots):
            for number in range(frames):
                y, x = np.mgrid[:240, :320]
                picture = np.stack([(x * (shot + 1) + 3 * number) % 256, (y + 90 * shot) % 256, x * 0 + 60 * shot], 2)
                if faces and shot % 2 == 0:
                    picture = people[shot // 2 % 2][number]
                frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), "rgb24")
                out.mux(video.encode(frame))
                tone = av.AudioFrame.from_ndarray(np.zeros((2, 1920), np.float32), "fltp", "stereo")
                tone.sample_rate, tone.pts = 48000, clock
                clock += 1920
                out.mux(sound.encode(tone))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))
    return path


def look(path: Path) -> tuple[list[Any], dict[int, list[Any]], dict[int, list[bytes]]]:
    """(time and digest of each picture, times of each packet by stream, bytes of each packet by stream)"""
    with av.open(str(path)) as file:
        pictures = [(f.pts, hashlib.md5(f.to_ndarray().tobytes()).hexdigest()) for f in file.decode(video=0)]
    times: dict[int, list[Any]] = {}
    data: dict[int, list[bytes]] = {}
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.size:
                times.setdefault(packet.stream_index, []).append((packet.pts, packet.dts, packet.duration))
                data.setdefault(packet.stream_index, []).append(bytes(packet))
    return pictures, times, data


def made(source: Path, target: Path, count: int, **options: Any) -> Path:
    run(source, target, RunConfig(seed=5, threads=1, segments=count, crf=0, **options), QuietProgress())
    return target


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LEAST_SECONDS", 0.3)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("ending", "codec"), [("mp4", "h264"), ("mkv", "hevc")])
def test_parts_are_the_whole(tmp_path: Path, ending: str, codec: str) -> None:
    source = film(tmp_path / "in.mkv")
    whole = look(made(source, tmp_path / f"whole.{ending}", 1, engine="solid", codec=codec))
    parts = look(made(source, tmp_path / f"parts.{ending}", 2, engine="solid", codec=codec))
    if codec == "h264":  # the other is not lossless at this setting
        assert parts[0] == whole[0]
    assert [pts for pts, _ in parts[0]] == [pts for pts, _ in whole[0]] and len(parts[0]) == 36
    for told in (0, 2) if ending == "mkv" else (0, 1, 2):  # Matroska stores no times of decoding
        assert sorted(t[told] for t in parts[1][0]) == sorted(t[told] for t in whole[1][0])
    assert parts[1][1] == whole[1][1] and parts[2][1] == whole[2][1]  # sound is copied once, bit for bit
    assert parts[2][0] != whole[2][0]
    again = made(source, tmp_path / f"again.{ending}", 3, engine="solid", codec=codec)
    assert again.read_bytes() == (tmp_path / f"parts.{ending}").read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_faces_in_parts_are_those_of_the_whole(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", shots=3, faces=True)
    reports = [
        run(source, tmp_path / f"{count}.mp4", RunConfig(seed=5, threads=1, segments=count, crf=0), QuietProgress())
        for count in (1, 2)
    ]
    one, two = (look(tmp_path / f"{count}.mp4") for count in (1, 2))
    assert two[:2] == one[:2]
    assert sum(t.outcome == "replaced" for t in reports[1].tracks) >= 2
    assert reports[0].verify == reports[1].verify and reports[0].people == reports[1].people


@pytest.mark.usefixtures("short")
def test_a_part_that_is_killed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, home = film(tmp_path / "in.mp4"), tmp_path / "out"
    home.mkdir()

    struck: list[str] = []

    def strike() -> None:
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            places = Path("/proc/self/task").glob("*/children")
            children = {pid for place in places for pid in place.read_text().split()}
            for pid in children:
                if b"deid.segments" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    struck.append(pid)
                    os.kill(int(pid), signal.SIGKILL)
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=strike)
    thread.start()
    with pytest.raises(DeidError, match="was killed or crashed"):
        made(source, home / "out.mp4", 2, engine="solid")
    thread.join()
    assert struck
    assert list(home.iterdir()) == []


def analysis_of(frames: int, cuts: list[int]) -> Analysis:
    from fractions import Fraction
    from types import SimpleNamespace

    starts = [0, *cuts, frames]
    shots = tuple(Shot(a, b - 1) for a, b in zip(starts, starts[1:], strict=False))
    media: Any = SimpleNamespace(average_rate=Fraction(25), frames=frames, seconds=frames / 25, kind="video")
    return Analysis(media, frames, shots, (), (), 0)


def test_where_clips_are_cut() -> None:
    assert segments.ranges_of(analysis_of(2000, [100, 400, 500, 1900])) == [(0, 400), (400, 2000)]
    assert segments.ranges_of(analysis_of(2000, [])) == [(0, 2000)]
    assert segments.ranges_of(analysis_of(2000, [250, 500, 750]), 10) == [(0, 250), (250, 500), (500, 750), (750, 2000)]
