"""Where frames come from: standard input or another pipe, a file, a camera, an address."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from deid.errors import DamagedInput, InputNotFound, NoVideoStream, UsageError
from deid.media import pipes
from deid.media.pipes import Layout
from deid.media.pixels import Look, PixelPlan, PlaneReader, Turn, plan_pixels
from deid.media.reader import Reader
from deid.types import Frame, MediaInfo

_PIECE = 1 << 20
_POLL = 0.1  # seconds between looks at whether somebody asked to stop


class Source(Protocol):
    """Frames in order, counted from 0. ``info``: what they are like. ``live``: they come when they come, and are lost
    if nobody takes them. ``layout``: of a pipe, ``None`` elsewhere. ``notes``: grows sentences about what was met.
    Leaving off in the middle is allowed; damage is raised as the errors of :mod:`deid.errors`, after the frames before
    it."""

    info: MediaInfo
    live: bool
    layout: Layout | None
    notes: list[str]

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...


class Stop:
    """Somebody asked for the end of the stream, and what came in so far is finished; or it failed, and nobody need wait
    for more. ``asked``: the former."""

    def __init__(self) -> None:
        # no lock, and so no event: a signal's handler calls this in the thread that may just hold it
        self._over = False
        self.asked = False

    def __call__(self) -> None:
        self.asked = self._over = True

    def failed(self) -> None:
        """Nothing that comes in will be looked at."""
        self._over = True

    def __bool__(self) -> bool:
        return self._over

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until then; whether it came to that."""
        end = time.monotonic() + seconds
        while not self._over and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
        return self._over


@dataclass(frozen=True, slots=True)
class Bytes:
    """Reads a descriptor in whole pieces, and looks up now and then whether to stop. ``head``: what was read of it
    already."""

    handle: int
    stop: Stop
    head: bytearray

    def __call__(self, count: int) -> bytes:
        """``count`` bytes, fewer at the end of the stream or when it is to stop. Raises :class:`DamagedInput` when
        reading fails."""
        out = bytearray(self.head[:count])
        del self.head[: len(out)]
        while len(out) < count and not self.stop:
            if not select.select([self.handle], [], [], _POLL)[0]:
                continue
            try:
                piece = os.read(self.handle, min(count - len(out), _PIECE))
            except OSError as error:
                raise DamagedInput(f"reading the stream failed ({error.strerror}); start it again.") from error
            if not piece:
                break
            out += piece
        return bytes(out)


class PipeSource:
    """YUV4MPEG2 or raw frames from a descriptor. ``raw``: what raw frames are like, ``None`` for YUV4MPEG2. ``handle``
    is this object's to close unless it is standard input."""

    live = False

    def __init__(
        self, handle: int, name: str, stop: Stop, raw: Layout | None, max_height: int | None = None,
        head: bytes = b"",
    ) -> None:  # fmt: skip
        self._handle, self._stop = handle, stop
        self.notes: list[str] = []
        self._read = Bytes(handle, stop, bytearray(head))
        self._marked = raw is None
        if raw is None:
            line = pipes.read_line(self._read)
            if line is None:
                raise NoVideoStream(f"{name} holds nothing: there is nothing to de-identify.")
            raw = pipes.parse_header(line)
        self._layout = raw
        self._first = pipes.read_picture(self._read, raw, self._marked)
        if self._first is None:
            raise NoVideoStream(f"{name} holds not a single frame: there is nothing to de-identify.")
        look = Look({True: "pc", False: "tv", None: "unknown"}[raw.full_range], "unknown")
        self._plan, look = plan_pixels(name, self._first, look, Turn(), lossless_rgb=False, max_height=max_height)
        self.info = _info(name, self._plan, look, raw, "yuv4mpegpipe" if self._marked else "rawvideo")
        self.layout: Layout | None = raw

    def __iter__(self) -> Iterator[Frame]:
        planes, index = PlaneReader(self._plan), 0
        picture, self._first = self._first, None
        while picture is not None:
            yield Frame(
                index, index, self.info.time_base, 1, planes.planes(picture), self.info.format,
            )  # fmt: skip
            index += 1
            if self._stop:
                return
            try:
                picture = pipes.read_picture(self._read, self._layout, self._marked)
            except DamagedInput:
                if self._stop:  # which is why there is no more of it
                    return
                raise

    def close(self) -> None:
        if self._handle > 2:
            os.close(self._handle)


def _info(name: str, plan: PixelPlan, look: Look, layout: Layout, container: str) -> MediaInfo:
    width, height = plan.upright
    return MediaInfo(
        path=name, kind="video", container=container, codec="rawvideo", width=width, height=height, rotation=0,
        mirrored=False, sample_aspect_ratio=layout.aspect, format=plan.format, color_range=look.range,
        color_space=look.space, color_primaries="unknown", color_transfer="unknown", time_base=1 / layout.rate,
        average_rate=layout.rate, frames=None, seconds=None, interlaced=False, streams=(), chapters=0,
        notes=plan.notes, first_pts=0,
    )  # fmt: skip


class FileSource:
    """A file, read once and as fast as it is taken."""

    live = False
    layout: Layout | None = None

    def __init__(self, path: str, stop: Stop, max_height: int | None, threads: int) -> None:
        self._reader = Reader(path, max_height=max_height, threads=threads)
        self._stop, self.info = stop, self._reader.info
        self.notes: list[str] = []
        if self.info.kind != "video":
            raise UsageError(f"{path} is no video; deid run takes pictures.")

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._reader:
            yield frame
            if self._stop:
                return

    def close(self) -> None:
        """Nothing to close: reading does."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for. ``words``: the source as it was given. ``form``: ``y4m``, ``raw``, a name of one of FFmpeg's
    input formats or ``""``. ``raw``: of raw frames. ``live``: frames that are not taken in time are dropped; ``None``
    where the source says so itself. ``retries``: how often a source that failed is opened again."""

    words: str
    form: str = ""
    raw: Layout | None = None
    live: bool | None = None
    retries: int = 5
    max_height: int | None = None
    threads: int = 0
    sound: bool = True


def open_source(wanted: Wanted, stop: Stop) -> Source:
    """Open what was asked for, and wait for its first frame. Raises the input errors of :mod:`deid.errors`."""
    from deid.stream.capture import AvSource, Dropping

    source: Source
    name = wanted.words
    if wanted.form == "raw" and wanted.raw is None:
        raise UsageError("raw frames do not say what they are; give --width and --height, too.")
    if name == "-" or (not _is_address(name) and _is_pipe(name)):
        source = _piped(wanted, stop)
    elif not wanted.form and not _is_address(name) and not _is_device(name):
        source = FileSource(name, stop, wanted.max_height, wanted.threads)
    elif wanted.form in ("raw", "y4m"):
        if _is_address(name):
            raise UsageError(f"--from {wanted.form} is for files and pipes; leave it out for an address.")
        source = PipeSource(_opened(name), name, stop, wanted.raw if wanted.form == "raw" else None, wanted.max_height)
    else:
        source = AvSource(name, wanted, stop)
    live = source.live if wanted.live is None else wanted.live
    return Dropping(source, stop) if live else source


def _piped(wanted: Wanted, stop: Stop) -> Source:
    """A pipe: what it holds is told by what it was said to, or by how it begins."""
    from deid.stream.capture import AvSource

    name = "standard input" if wanted.words == "-" else wanted.words
    handle = 0 if wanted.words == "-" else _opened(wanted.words)
    if wanted.form == "raw":
        return PipeSource(handle, name, stop, wanted.raw, wanted.max_height)
    if wanted.form == "y4m":
        return PipeSource(handle, name, stop, None, wanted.max_height)
    head = Bytes(handle, stop, bytearray())(10)
    if not head:
        raise NoVideoStream(f"{name} holds nothing: there is nothing to de-identify.")
    if not wanted.form and head.startswith(b"YUV4MPEG2 "):
        return PipeSource(handle, name, stop, None, wanted.max_height, head)
    return AvSource(name, replace(wanted, live=wanted.live or False), stop, Bytes(handle, stop, bytearray(head)))


def _is_address(name: str) -> bool:
    return "://" in name


def _mode(name: str) -> int:
    try:
        return os.stat(name).st_mode
    except OSError:
        return 0


def _is_pipe(name: str) -> bool:
    mode = _mode(name)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_device(name: str) -> bool:
    return stat.S_ISCHR(_mode(name))


def _opened(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY)
    except OSError as error:
        raise InputNotFound(f"{name} cannot be opened ({error.strerror}): check the name.") from error


def rate_or(info: MediaInfo, usual: Fraction = Fraction(25)) -> Fraction:
    """Frames a second as a pipe may state them."""
    rate = Fraction(info.average_rate or usual).limit_denominator(1_000_000)
    return rate if 0 < rate <= 1000 else usual


__all__ = ["FileSource", "PipeSource", "Source", "Stop", "Wanted", "open_source", "rate_or"]
