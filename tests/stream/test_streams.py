"""Whole streams: frames leave in order, on time, with nobody in them, however the stream ends."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from mediagen import clip, spoken

from deid.cli import cli
from deid.commands._shell import StopRequest
from deid.config import RunConfig
from deid.demo import encode_clip
from deid.errors import DamagedInput, InputNotFound, NoVideoStream, OutputError, UsageError
from deid.media import Reader, pipes
from deid.media.pipes import Layout
from deid.models.morphable.live import LiveEngine
from deid.models.morphable.live_faces import Face, Part
from deid.progress import Progress
from deid.stream.run import StreamReport, run
from deid.stream.sinks import FileSink, Target
from deid.stream.sources import Stop, Wanted, open_source
from deid.virtual_camera import COLLINS, Pose, ShotPlan, film, hang

RATE = Fraction(25)
SOLID = RunConfig(engine="solid", seed=1, threads=2)


def y4m_of(clip: Path) -> tuple[bytes, int]:
    """A clip as YUV4MPEG2, and how many frames it has."""
    out, count = b"", 0
    for frame in Reader(clip):
        layout = Layout(frame.width, frame.height, RATE, "yuv420p")
        out += b"" if out else pipes.header_of(layout)
        out += b"FRAME\n" + pipes.bytes_of(frame, layout)
        count += 1
    return out, count


@pytest.fixture(scope="module")
def faceless(faceless_clip: Path) -> bytes:
    return y4m_of(faceless_clip)[0]


@pytest.fixture(scope="module")
def with_face(face_clip: Path) -> bytes:
    return y4m_of(face_clip)[0]


@contextlib.contextmanager
def piped(data: bytes, folder: Path, piece: int = 1 << 20, after: Callable[[], None] | None = None) -> Iterator[Path]:
    """A named pipe that somebody writes ``data`` to, in pieces of so many bytes."""
    path = folder / "pipe"
    os.mkfifo(path)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), open(path, "wb", buffering=0) as pipe:
            for start in range(0, len(data), piece):
                pipe.write(data[start : start + piece])
            if after is not None:
                after()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    yield path
    thread.join(10)


def streamed(
    source: str, target: Path, config: RunConfig = SOLID, delay: float = 1.2, stop: Stop | None = None, **more: object
) -> StreamReport:
    stop = Stop() if stop is None else stop
    return run(Wanted(source, **more), Target(str(target)), config, delay, Progress(), stop)  # type: ignore[arg-type]


def bare(target: Path, source: Path) -> list[int]:
    """Frames of ``target`` in which a face of ``source`` (the same frames) is as it was."""
    from deid.detection.centerface import CenterFace
    from deid.media.convert import bgr

    detector, found = CenterFace(threshold=0.5, threads=1), []
    for before, after in zip(Reader(source), Reader(target), strict=True):
        for face in detector.detect(bgr(before)):
            x0, y0, x1, y1 = (int(v) for v in face.box)
            if x0 < 0 or x1 >= before.width or y1 >= before.height:
                continue
            middle = np.s_[(3 * y0 + y1) // 4 : (y0 + 3 * y1) // 4, (3 * x0 + x1) // 4 : (x0 + 3 * x1) // 4]
            apart = np.abs(before.planes[0][middle].astype(int) - after.planes[0][middle]).mean()
            if apart < 8:
                found.append(before.index)
    detector.close()
    return found


@pytest.mark.parametrize("piece", [1 << 20, 997])
def test_frames_without_faces_pass_a_pipe_bit_for_bit(faceless: bytes, tmp_path: Path, piece: int) -> None:
    with piped(faceless, tmp_path, piece) as source:
        report = streamed(str(source), tmp_path / "out.y4m")
    assert (tmp_path / "out.y4m").read_bytes().split(b"FRAME\n")[1:] == faceless.split(b"FRAME\n")[1:]
    assert report.frames == 12 and report.dropped == 0 and report.longest <= 1.2


def test_raw_frames_pass_as_they_are(faceless: bytes, tmp_path: Path) -> None:
    raw = b"".join(faceless.split(b"FRAME\n")[1:])
    with piped(raw, tmp_path, 10_007) as source:
        streamed(str(source), tmp_path / "out.yuv", form="raw", raw=Layout(480, 360, RATE, "yuv420p"))
    assert (tmp_path / "out.yuv").read_bytes() == raw


def test_a_face_that_comes_on_the_way_is_covered_from_its_first_frame(tmp_path: Path) -> None:
    shot = ShotPlan(hang([COLLINS]), (Pose(0, 1000, 190, 480), Pose(1.2, 1000, 190, 480), Pose(2.4, 240, 160, 420)), 75)
    pictures = [picture.pixels for picture in film([shot], width=480, height=360, fps=25)]
    clip, out = tmp_path / "clip.mp4", tmp_path / "out.mkv"
    encode_clip(clip, pictures, width=480, height=360, fps=25, seconds=3)
    report = streamed(str(clip), out, delay=1.0)
    assert report.frames == 75 and report.faces > 20
    assert bare(out, clip) == []
    assert report.longest <= 1.0


def test_what_a_slow_stream_drops_is_never_seen(with_face: bytes, face_clip: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "in.y4m", tmp_path / "out.y4m"
    path.write_bytes(with_face)
    report = streamed(str(path), out, form="y4m", live=True)
    assert report.dropped > 0 and report.frames + report.dropped == 24
    shown = out.read_bytes().split(b"FRAME\n")[1:]
    sources = with_face.split(b"FRAME\n")[1:]
    assert not set(shown) & set(sources)
    for data in shown:  # one colour lies over the face
        luma = np.frombuffer(data, np.uint8, 480 * 360).reshape(360, 480)
        assert luma[150:200, 220:260].std() < 12
    assert len(shown) >= report.frames


@pytest.mark.parametrize("form", ["raw", "y4m"])
def test_bare_frames_do_not_come_from_addresses_and_no_password_is_shown(tmp_path: Path, form: str) -> None:
    layout = pipes.parse_header(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg")
    with pytest.raises(UsageError, match=f"--from {form} is for files and pipes") as caught:
        streamed("rtsp://user:secret@camera/1", tmp_path / "out.mkv", form=form, raw=layout)
    assert "secret" not in str(caught.value)


def test_faces_are_replaced_within_the_window_and_who_comes_back_is_known(
    with_face: bytes, faceless: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face for a second, nobody for half of one, the same face again."""
    inverted, kept = LiveEngine._inverted, []

    def rest(part: Part) -> tuple[bytes, float, float]:
        return part.retarget.brows_held.tobytes(), part.retarget.lids_rise, part.retarget.teeth_lower

    def noted(self: LiveEngine, face: Face, part: Part, *more: Any) -> Any:
        before = rest(part)
        found = inverted(self, face, part, *more)
        kept.append(rest(part) == before)
        return found

    monkeypatch.setattr(LiveEngine, "_inverted", noted)
    header, *faces = with_face.split(b"FRAME\n")
    _, *empty = faceless.split(b"FRAME\n")
    source, out = tmp_path / "in.y4m", tmp_path / "out.y4m"
    source.write_bytes(b"FRAME\n".join([header, *faces, *empty, *faces[6:22]]))
    report = streamed(str(source), out, RunConfig(seed=3, threads=2), form="y4m", delay=2.0)
    assert report.frames == 52 and report.replaced >= 36 and report.people == 1
    assert report.compared > 0 and report.recognised == 0
    assert bare(out, source) == []
    assert len(kept) > 2 and all(kept), "heads are made once"
    assert out.read_bytes().split(b"FRAME\n")[26:35] == empty[1:10]


def test_somebody_who_asks_for_the_end_gets_a_whole_file(with_face: bytes, tmp_path: Path) -> None:
    stop = Stop()

    def ask() -> None:
        time.sleep(0.5)
        stop()
        time.sleep(0.5)

    with piped(with_face[: len(with_face) * 2 // 3], tmp_path, after=ask) as source:
        report = streamed(str(source), tmp_path / "out.mp4", stop=stop)
    assert report.stopped and 12 <= report.frames <= 16
    assert sum(1 for _ in Reader(tmp_path / "out.mp4")) == report.frames


def test_a_pipe_that_breaks_off_leaves_what_came_before(with_face: bytes, tmp_path: Path) -> None:
    with piped(with_face[:-1000], tmp_path) as source, pytest.raises(DamagedInput, match="23 frames before"):
        streamed(str(source), tmp_path / "out.mkv")
    assert sum(1 for _ in Reader(tmp_path / "out.mkv")) == 23


@pytest.mark.parametrize(("data", "kind"), [(b"", NoVideoStream), (b"YUV4MPEG2 W64 H64 F25:1\n", NoVideoStream)])
def test_a_pipe_without_a_frame_leaves_nothing(data: bytes, kind: type[Exception], tmp_path: Path) -> None:
    with piped(data, tmp_path) as source, pytest.raises(kind):
        streamed(str(source), tmp_path / "out.mkv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe"]


def ts_of(width: int, height: int, count: int, shade: int) -> bytes:
    """A few frames of H.264 as an MPEG transport stream."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(count):
            picture = np.full((height, width, 3), shade, np.uint8)
            picture[:, (7 * n) % width :] //= 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def test_sound_goes_along_in_step(tmp_path: Path) -> None:
    sent = spoken(25)
    with piped(sent, tmp_path) as source:
        streamed(str(source), tmp_path / "out.ts")

    def starts(file: object) -> tuple[int, float]:
        with av.open(file) as container:  # type: ignore[call-overload]
            begin: dict[str, float] = {}
            count = 0
            for packet in container.demux():
                if packet.pts is not None:
                    begin.setdefault(packet.stream.type, float(packet.pts * packet.time_base))
                    count += packet.stream.type == "audio"
            return count, begin["audio"] - begin["video"]

    (count, apart), (wanted, asked) = starts(str(tmp_path / "out.ts")), starts(io.BytesIO(sent))
    assert wanted - 3 <= count <= wanted and abs(apart - asked) < 0.05


def test_pictures_that_change_their_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    with piped(ts_of(320, 240, 10, 90) + ts_of(240, 176, 10, 160), tmp_path) as source:
        report = streamed(str(source), tmp_path / "out.mkv")
    sizes = {(frame.width, frame.height) for frame in Reader(tmp_path / "out.mkv")}
    assert sizes == {(320, 240)} and report.frames >= 18
    assert any("240 x 176" in note for note in report.notes)


def test_a_source_that_goes_is_opened_again_and_at_last_given_up(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def serve() -> None:
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                connection.sendall(ts_of(320, 240, 15, 90))
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(InputNotFound, match="did not come back") as raised:
        streamed(f"tcp://127.0.0.1:{port}", tmp_path / "out.mkv", retries=1)
    report = raised.value.report  # type: ignore[attr-defined]
    assert report.reconnects == 1 and report.frames + report.dropped >= 28
    times = [frame.seconds for frame in Reader(tmp_path / "out.mkv")]
    assert len(times) == report.frames and (np.diff(times) > 0).all()


def test_a_source_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound):
        streamed("tcp://127.0.0.1:1", tmp_path / "out.mkv")
    with pytest.raises(InputNotFound):
        streamed(str(tmp_path / "no.mp4"), tmp_path / "out.mkv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("delay", "engine"), [(0.5, "solid"), (99, "solid"), (2.0, "stylegan")])
def test_what_a_stream_cannot_do_is_refused(faceless_clip: Path, tmp_path: Path, delay: float, engine: str) -> None:
    with pytest.raises(UsageError):
        streamed(str(faceless_clip), tmp_path / "out.mkv", RunConfig(engine=engine), delay)
    assert not list(tmp_path.iterdir())


def command(*words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "deid", "stream", *words, "--engine", "solid", "--threads", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a job in the background ignores Ctrl-C, and so does all that it starts, these tests and the stream
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def test_a_signal_finishes_the_file(with_face: bytes, tmp_path: Path) -> None:
    with command("-", "-o", str(tmp_path / "out.mp4"), "--report", str(tmp_path / "it.json")) as process:
        assert process.stdin is not None
        process.stdin.write(with_face[: len(with_face) * 2 // 3])
        process.stdin.flush()
        for _ in range(200):  # until it has begun: before that there is nothing to finish
            if _reads(process):
                break
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(150) == 0
    assert sum(1 for _ in Reader(tmp_path / "out.mp4")) >= 1
    assert b'"stopped": true' in (tmp_path / "it.json").read_bytes()


def _reads(process: subprocess.Popen) -> bool:
    """Whether the process has read what it was given."""
    left = bytearray(4)
    fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, left)  # type: ignore[union-attr]
    return not any(left)


def test_a_signal_that_was_swallowed_before_the_stream_began_ends_it(faceless_clip: Path, tmp_path: Path) -> None:
    """Raised by a handler while modules are loaded, it may end up where nobody catches it."""
    from deid.commands._shell import Stopped, StopRequest

    request = StopRequest()
    with contextlib.suppress(Stopped):
        request.handle(signal.SIGINT, None)
    words = ["stream", str(faceless_clip), "-o", str(tmp_path / "out.mkv"), "--engine", "solid"]
    with pytest.raises(Stopped):
        CliRunner().invoke(cli, words, obj=request)
    assert not any(tmp_path.iterdir())


def test_nobody_who_reads_is_one_sentence(with_face: bytes) -> None:
    with command("-", "-o", "-", "--delay", "0.8") as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(with_face)
            process.stdin.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 5
    assert "has gone" in said and "Traceback" not in said


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("gone", [{30, 31}, {32}])
def test_pictures_that_never_came_mark_those_after_them(tmp_path: Path, codec: str, gone: set[int]) -> None:
    """Nothing is broken that did come, so only what packets say about their order tells."""
    quiet = "threads=2:keyint=25" if codec == "libx264" else "log-level=none:frame-threads=1:keyint=25"
    video = ("-c:v", codec, "-preset", "veryfast", f"-{codec[3:]}-params", quiet)
    whole, hurt = clip(tmp_path / "a.ts", seconds=4, size="160x120", video=video), tmp_path / "hurt.ts"
    with av.open(str(whole)) as container, av.open(str(hurt), "w") as out:
        to = out.add_stream_from_template(container.streams.video[0])
        for i, packet in enumerate(container.demux(video=0)):
            if packet.size and i not in gone:
                packet.stream = to
                out.mux(packet)
    for path in (whole, hurt):
        folder = tmp_path / path.stem
        folder.mkdir()
        with piped(path.read_bytes(), folder) as pipe:
            source = open_source(Wanted(str(pipe)), Stop())
            marked = [frame.damaged for frame in source]
            source.close()
        assert len(marked) >= 95 and not any(marked[:28]) and not any(marked[-20:])
        assert any(marked) == (path is hurt)


def test_what_cannot_be_written_is_no_wish_to_stop(
    faceless_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder that gives up ends the stream with its own error, not with that of Ctrl-C."""

    def gives_up(self: FileSink, frame: object) -> None:
        raise OutputError("there is no room; make some.")

    monkeypatch.setattr(FileSink, "write", gives_up)
    words = ["stream", str(faceless_clip), "-o", str(tmp_path / "out.mkv"), "--engine", "solid"]
    result = CliRunner().invoke(cli, words, obj=StopRequest())
    assert isinstance(result.exception, OutputError)
    assert not any(tmp_path.iterdir())
