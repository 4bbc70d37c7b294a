"""A camera that speaks RTSP: what it sends, what is lost of that, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mediagen import spoken

from deid.config import RunConfig
from deid.errors import InputNotFound, NoVideoStream
from deid.media import Reader
from deid.progress import Progress
from deid.stream import capture
from deid.stream.capture import without_password
from deid.stream.run import StreamReport, run
from deid.stream.sinks import Target
from deid.stream.sources import Stop, Wanted

_EVERY = 20  # frames from one key frame to the next
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=ward\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=framerate:25\r\na=control:track1\r\n"
)


@pytest.fixture(scope="module")
def pictures() -> list[list[bytes]]:
    """Sixty H.264 pictures of 320 x 240 that a pattern passes through, each as its units without start codes."""
    wall = np.random.default_rng(3).integers(0, 256, (30, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    out = io.BytesIO()
    with av.open(out, "w", format="h264") as container:
        settings = {"g": str(_EVERY), "bf": "0", "x264-params": "aud=1:repeat-headers=1:threads=1"}
        stream = container.add_stream("libx264", rate=25, options=settings)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for n in range(60):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(wall[:, 2 * n : 2 * n + 320]), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    parts: list[list[bytes]] = []
    for unit in re.split(b"\0\0\0?\1", out.getvalue())[1:]:
        if unit[0] & 31 == 9:  # an access unit delimiter
            parts.append([])
        else:
            parts[-1].append(unit)
    assert len(parts) == 60
    return parts


class Camera(threading.Thread):
    """Serves ``pictures`` at 25 a second below ``/1``, over and over where ``turns`` says so, to one client at a time,
    and hangs up. ``silent``: it promises pictures and sends none. ``password``: whoever gives none is refused."""

    def __init__(
        self, pictures: Sequence[Sequence[bytes]], turns: int = 1, clients: int = 1, silent: bool = False,
        password: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self._pictures, self._turns, self._clients, self._silent = pictures, turns, clients, silent
        self._password = password
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.served = 0

    def run(self) -> None:
        for _ in range(self._clients):
            with contextlib.suppress(OSError):
                connection, _ = self._server.accept()
                with connection:
                    self._serve(connection)
        self._server.close()

    def _serve(self, connection: socket.socket) -> None:
        said = b""
        while True:
            while b"\r\n\r\n" not in said:
                more = connection.recv(4096)
                if not more:
                    return
                said += more
            request, _, said = said.partition(b"\r\n\r\n")
            method, url = request.decode().split()[:2]
            number = re.search(rb"CSeq: (\d+)", request)
            assert number is not None
            status, lines, body = self._answer(method, url, request.decode())
            head = f"RTSP/1.0 {status}\r\nCSeq: {int(number[1])}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
            if method == "PLAY":
                self.served += 1
                return self._play(connection)

    def _answer(self, method: str, url: str, request: str) -> tuple[str, str, str]:
        if self._password and "Authorization" not in request:
            return "401 Unauthorized", 'WWW-Authenticate: Basic realm="ward"\r\n', ""
        if method == "DESCRIBE":
            path = url.split("/", 3)[-1]
            return ("200 OK", "Content-Type: application/sdp\r\n", _SDP) if path == "1" else ("404 Not Found", "", "")
        return "200 OK", "Session: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\nPublic: DESCRIBE, PLAY\r\n", ""

    def _play(self, connection: socket.socket) -> None:
        if self._silent:
            while connection.recv(4096):  # until the client has had enough
                pass
            return
        number, begin = 0, time.monotonic()
        for shown in range(self._turns * len(self._pictures)):
            units = self._pictures[shown % len(self._pictures)]
            for unit in units:
                last = unit is units[-1]
                head = struct.pack(">BBHII", 0x80, 96 | (128 if last else 0), number & 0xFFFF, 3600 * shown, 7)
                connection.sendall(b"$\0" + struct.pack(">H", len(head) + len(unit)) + head + unit)
                number += 1
            time.sleep(max(0.0, begin + 0.04 * (shown + 1) - time.monotonic()))


@contextlib.contextmanager
def camera(pictures: Sequence[Sequence[bytes]], **more: object) -> Iterator[Camera]:
    serving = Camera(pictures, **more)  # type: ignore[arg-type]
    serving.start()
    yield serving


def streamed(address: str, target: Path, retries: int = 0, engine: str = "solid") -> StreamReport:
    config = RunConfig(engine=engine, seed=1, threads=1)
    return run(Wanted(address, retries=retries), Target(str(target)), config, 1.2, Progress(), Stop())


def test_what_a_camera_sends_arrives(pictures: list[list[bytes]], tmp_path: Path) -> None:
    with camera(pictures) as serving:
        report = streamed(f"rtsp://127.0.0.1:{serving.port}/1", tmp_path / "out.mkv")
    assert report.source == "rtsp" and report.damaged == 0 and report.reconnects == 0
    assert 50 <= report.frames + report.dropped <= 60 and report.frames >= 3
    times = [frame.seconds for frame in Reader(tmp_path / "out.mkv")]
    assert len(times) == report.frames and (np.diff(times) > 0).all()


def test_a_camera_that_comes_back_is_told_with_how_long_it_was_gone(
    pictures: list[list[bytes]], tmp_path: Path
) -> None:
    with camera(pictures, clients=2) as serving, pytest.raises(InputNotFound, match="1 attempt: check") as raised:
        streamed(f"rtsp://127.0.0.1:{serving.port}/1", tmp_path / "out.mkv", retries=1)
    report = raised.value.report  # type: ignore[attr-defined]
    assert serving.served == 2 and report.reconnects == 1 and report.frames + report.dropped >= 100
    (note,) = [note for note in report.notes if "gone" in note]
    assert float(re.findall(r"gone for (\d+) s", note)[0]) < 20  # not since the stream began
    assert sum(1 for _ in Reader(tmp_path / "out.mkv")) == report.frames


def test_pictures_after_a_loss_are_obscured_whole_until_one_needs_no_other(
    pictures: list[list[bytes]], tmp_path: Path
) -> None:
    """A picture of which half is missing is made up by the decoder, and those after it are predicted from that."""
    hurt = [list(units) for units in pictures]
    hurt[_EVERY + 5][-1] = hurt[_EVERY + 5][-1][: len(hurt[_EVERY + 5][-1]) // 2]
    with camera(hurt) as serving:
        address = f"rtsp://127.0.0.1:{serving.port}/1"
        source = capture.AvSource(address, Wanted(address, retries=0), Stop())
        frames = list(source)
        source.close()
    marked = [frame.damaged for frame in frames]
    first = len(frames) - len(pictures) + _EVERY + 5  # pictures before the decoder was ready do not come
    assert marked.index(True) == first and not any(marked[first + _EVERY :])
    assert all(marked[first : first + _EVERY - 5])
    with camera(hurt, turns=2) as serving:
        report = streamed(f"rtsp://127.0.0.1:{serving.port}/1", tmp_path / "out.mkv")
    assert report.damaged and any("obscured whole" in line for line in report.lines())
    detail = np.array([np.abs(np.diff(frame.planes[0].astype(int))).mean() for frame in Reader(tmp_path / "out.mkv")])
    assert len(detail) == report.frames
    assert (detail < 1.5).sum() == report.damaged and (detail > 4).sum() == report.frames - report.damaged


def test_sound_that_a_file_does_not_get_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.ts").write_bytes(spoken(15))
    words = {"form": "mpegts", "live": False, "retries": 0}
    report = run(
        Wanted(str(tmp_path / "in.ts"), **words), Target(str(tmp_path / "out.mkv")),  # type: ignore[arg-type]
        RunConfig(engine="solid", threads=1), 1.2, Progress(), Stop(),
    )  # fmt: skip
    assert any("--to mkv" in note for note in report.notes)
    silent = RunConfig(engine="solid", threads=1, audio="drop")
    report = run(
        Wanted(str(tmp_path / "in.ts"), **words, sound=False),  # type: ignore[arg-type]
        Target(str(tmp_path / "silent.mkv")), silent, 1.2, Progress(), Stop(),
    )  # fmt: skip
    assert not any("--to mkv" in note for note in report.notes)


def test_a_path_that_is_not_there_is_one_sentence(pictures: list[list[bytes]], tmp_path: Path) -> None:
    with camera(pictures) as serving, pytest.raises(InputNotFound, match="404"):
        streamed(f"rtsp://127.0.0.1:{serving.port}/2", tmp_path / "out.mkv")
    assert not list(tmp_path.iterdir())


def test_a_camera_that_sends_nothing_is_not_waited_for_for_ever(
    pictures: list[list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_OPENING", 3.0)
    monkeypatch.setattr(capture, "_READING", 0.5)
    with camera(pictures, silent=True, clients=9) as serving, pytest.raises((NoVideoStream, InputNotFound)) as raised:
        streamed(f"rtsp://127.0.0.1:{serving.port}/1", tmp_path / "out.mkv", retries=5)
    assert "nothing came for" in str(raised.value) and serving.served == 1
    assert not list(tmp_path.iterdir())


def test_a_password_is_in_no_message(pictures: list[list[bytes]], tmp_path: Path) -> None:
    with camera(pictures, password=True) as serving, pytest.raises(InputNotFound) as raised:
        streamed(f"rtsp://ward:s3cret@127.0.0.1:{serving.port}/2?token=s3cret", tmp_path / "out.mkv")
    assert "404" in str(raised.value) and "s3cret" not in str(raised.value) and "rtsp://ward:***@" in str(raised.value)


def test_a_password_is_not_told_when_the_end_is_asked_for_before_a_frame(pictures: list[list[bytes]]) -> None:
    stop = Stop()
    stop()
    with camera(pictures, silent=True) as serving, pytest.raises(NoVideoStream, match="single frame") as raised:
        address = f"rtsp://ward:s3cret@127.0.0.1:{serving.port}/1"
        capture.AvSource(address, Wanted(address, retries=0), stop)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://camera.local/1", "rtsp://camera.local/1"),
        ("rtsp://ward:a:b@camera.local:554/1", "rtsp://ward:***@camera.local:554/1"),
        ("http://camera.local/live?user=ward&pwd=1", "http://camera.local/live?***"),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:5000"),
        ("what: why? me@home.mp4", "what: why? me@home.mp4"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_times_go_on_where_a_camera_left_off(pictures: list[list[bytes]]) -> None:
    with camera(pictures, clients=2) as serving:
        address = f"rtsp://127.0.0.1:{serving.port}/1"
        source = capture.AvSource(address, Wanted(address, retries=1), Stop())
        times = []
        with pytest.raises(InputNotFound):
            for frame in source:
                times.append(Fraction(frame.pts) * frame.time_base)
        source.close()
    steps = np.diff(np.array(times, float))
    assert len(times) >= 110 and steps.min() > 0.01 and steps.max() < 0.1
