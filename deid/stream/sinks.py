"""Where finished frames go: a pipe, a file that appears when the stream ends, or an address."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.error import FFmpegError
from av.video.frame import VideoFrame

from deid.errors import OutputError, OutputExists, UsageError
from deid.files import write_all
from deid.media import EncodeSettings, Writer, colour, pipes
from deid.media.codecs import choose_encoder
from deid.media.mark import container_tags
from deid.media.pipes import Layout
from deid.media.pixels import plane_view
from deid.media.target import VIDEO_KINDS, Staged, as_output_error
from deid.stream.capture import AvSource, Dropping, without_password
from deid.stream.sources import Source, rate_or
from deid.types import Frame, MediaInfo

_BASE = Fraction(1, 90000)
_MOST_REPEATED = 10.0  # seconds for which one frame may stand in for those that were dropped
_SCHEMES = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts", "srt": "mpegts",
            "rtp": "rtp_mpegts", "unix": "mpegts", "http": "matroska", "https": "matroska"}  # fmt: skip
_MUXERS = {"mkv": "matroska", "mpegts": "mpegts", "flv": "flv", "nut": "nut"}
FORMATS = ("y4m", "raw", *_MUXERS)
"""What ``--to`` may name."""


class Sink(Protocol):
    """Takes finished frames in order. ``close`` lets go of everything; what was not finished is gone, or broken off."""

    def write(self, frame: Frame) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class PipeSink:
    """YUV4MPEG2, or raw samples (``marked`` is false), into a descriptor. ``repeats``: the last frame comes again for
    those that were dropped, so that the time line, which a pipe does not have, holds. ``done``: called at the end."""

    def __init__(
        self, handle: int, name: str, layout: Layout, *, marked: bool, repeats: bool,
        done: Callable[[bool], None] | None = None,
    ) -> None:  # fmt: skip
        self._handle, self._name, self._layout, self._marked, self._repeats = handle, name, layout, marked, repeats
        self._done, self._count, self._start = done, 0, 0.0
        self._last = b""
        if marked:
            self._put(pipes.header_of(layout))

    def write(self, frame: Frame) -> None:
        """Raises :class:`OutputError` when nobody reads any more."""
        if self._count == 0:
            self._start = frame.seconds
        if self._repeats and self._last:
            due = round((frame.seconds - self._start) * float(self._layout.rate))
            for _ in range(min(due - self._count, round(_MOST_REPEATED * float(self._layout.rate)))):
                self._one(self._last)
        data = pipes.bytes_of(frame, self._layout)
        self._one(data)
        self._last = data if self._repeats else b""

    def _one(self, data: bytes) -> None:
        if self._marked:
            self._put(b"FRAME\n")
        self._put(data)
        self._count += 1

    def _put(self, data: bytes) -> None:
        try:
            write_all(self._handle, data)
        except BrokenPipeError as error:
            raise OutputError(
                f"whoever read {self._name} has gone after {self._count} frames: the stream ends there."
            ) from error
        except OSError as error:
            raise as_output_error(self._name, error) from error

    def finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(True)

    def close(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(False)


class FileSink:
    """A file of any kind that ``deid run`` writes, with the source's sound where that is a file, too. It gets its name
    when the stream ends."""

    def __init__(self, target: str, source: Source, settings: EncodeSettings, overwrite: bool) -> None:
        from deid.stream.sources import FileSource

        sound = source.info.path if isinstance(source, FileSource) else None
        self._writer = Writer(target, source.info, source=sound, settings=settings, overwrite=overwrite)
        self.notes = self._writer.notes

    def write(self, frame: Frame) -> None:
        self._writer.write(frame)

    def finish(self) -> None:
        self._writer.commit()

    def close(self) -> None:
        self._writer.abort()


class AvSink:
    """A container that is written as the frames come: to an address, or to a pipe. The encoder holds nothing back.
    ``sound``: the source whose packets of sound go along."""

    def __init__(self, target: Any, form: str, name: str, source: Source, settings: EncodeSettings) -> None:
        self._name = name
        info = source.info
        inner = source.source if isinstance(source, Dropping) else source
        self._sound = inner if isinstance(inner, AvSource) and settings.audio == "copy" else None
        choice = choose_encoder("mkv", settings, info)
        options = dict(choice.options)
        if choice.encoder in ("libx264", "libx265"):
            options["tune"] = "zerolatency"
        options["g"] = str(max(1, round(2 * float(rate_or(info)))))
        self._first: Fraction | None = None
        self._base = info.time_base if form != "flv" else Fraction(1, 1000)
        self._last = self._heard = -1
        try:
            self._out = av.open(target, "w", format=form)
            self._stream: Any = self._out.add_stream(choice.encoder, rate=rate_or(info), options=options)
            context = self._stream.codec_context
            self._stream.width, self._stream.height, self._stream.pix_fmt = info.width, info.height, choice.pixel_format
            context.time_base = self._base
            context.sample_aspect_ratio = info.sample_aspect_ratio
            context.color_range = colour.code(colour.RANGES, info.color_range)
            context.colorspace = colour.code(colour.SPACES, info.color_space)
            context.flags |= CodecFlags.bitexact.value
            context.thread_count = settings.threads
            template = self._sound.sound_template if self._sound is not None else None
            self._voice = None if template is None else self._out.add_stream_from_template(template)
            if settings.mark is not None and form == "matroska":
                self._out.metadata.update(container_tags(settings.mark, "mkv"))
        except (FFmpegError, ValueError, OSError) as error:
            raise self._explained(error) from error

    def write(self, frame: Frame) -> None:
        """Encode one frame, and mux it with the sound up to its time."""
        begin = frame.pts * frame.time_base
        self._first = begin if self._first is None else self._first
        picture = VideoFrame(frame.width, frame.height, frame.format.name)
        for i, plane in enumerate(frame.planes):
            plane_view(picture, i, np.uint8 if frame.format.depth == 8 else np.uint16)[:] = plane
        at = max(round((begin - self._first) / self._base), self._last + 1)
        picture.pts, picture.time_base, self._last = at, self._base, at
        try:
            self._out.mux(self._stream.encode(picture))
            self._pump(begin)
        except (FFmpegError, ValueError, OSError) as error:
            raise self._explained(error) from error

    def _pump(self, until: Fraction) -> None:
        """Packets of sound whose time has come; those of before the first frame are left out."""
        if self._sound is None or self._voice is None or self._first is None:
            return
        while self._sound.sound and self._sound.sound[0][0] <= until:
            at, packet = self._sound.sound.popleft()
            if at < self._first:
                continue
            base = packet.time_base
            packet.pts = packet.dts = round((at - self._first) / base)
            if packet.pts <= self._heard:
                continue
            self._heard = packet.pts
            packet.stream = self._voice
            self._out.mux(packet)

    def finish(self) -> None:
        try:
            self._out.mux(self._stream.encode(None))
            self._out.close()
        except (FFmpegError, ValueError, OSError) as error:
            raise self._explained(error) from error

    def close(self) -> None:
        with suppress(FFmpegError, ValueError, OSError):
            self._out.close()

    def _explained(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(f"{self._name} cannot be written ({reason}): check that somebody reads it.")


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for. ``words``: the target as it was given. ``form``: one of :data:`FORMATS` or ``""``.
    ``pixels``: the pixel format in a pipe, ``None`` for the source's."""

    words: str
    form: str = ""
    pixels: str | None = None
    overwrite: bool = False

    @property
    def is_pipe(self) -> bool:
        """Whether frames go to standard output."""
        return self.words == "-"


def open_sink(target: Target, source: Source, settings: EncodeSettings) -> Sink:
    """Open what was asked for. Raises the output errors of :mod:`deid.errors`, and :class:`UsageError` for what does
    not go together."""
    name, form = target.words, target.form
    if "://" in name:
        scheme = name.split("://")[0].lower()
        muxer, shown = _MUXERS.get(form) or _SCHEMES.get(scheme), without_password(name)
        if muxer is None or form in ("y4m", "raw"):
            raise UsageError(f"{shown} is no address that can be written to as {form or 'video'}; give --to mpegts.")
        return AvSink(name, muxer, shown, source, settings)
    piped = target.is_pipe or _is_special(name)
    if not form:
        form = _form_of(name, source, piped)
    if form in ("y4m", "raw"):
        layout = _layout(source.info, source.layout, target.pixels)
        handle, done = _handle(target, piped)
        shown = "standard output" if target.is_pipe else name
        return PipeSink(handle, shown, layout, marked=form == "y4m", repeats=source.live, done=done)
    if target.pixels is not None:
        raise UsageError("--pixel-format is for raw and y4m pipes; leave it out.")
    if form in _MUXERS:
        if target.is_pipe:
            return AvSink(_Writable(1), _MUXERS[form], "standard output", source, settings)
        if not piped and os.path.lexists(name) and not target.overwrite:
            raise OutputExists(f"{name} exists already: choose another target, or use --overwrite.")
        return AvSink("file:" + os.path.abspath(name), _MUXERS[form], name, source, settings)
    return FileSink(name, source, settings, target.overwrite)


def _form_of(name: str, source: Source, piped: bool) -> str:
    ending = os.path.splitext(name)[1].lower()
    if ending == ".y4m":
        return "y4m"
    if ending in (".yuv", ".raw", ".rgb"):
        return "raw"
    if piped:
        return "raw" if source.layout is not None and source.info.container == "rawvideo" else "y4m"
    if ending == ".ts":
        return "mpegts"
    if ending not in VIDEO_KINDS:
        known = ", ".join([*VIDEO_KINDS, ".ts", ".y4m", ".yuv"])
        raise UsageError(f"{name} has no ending that names a format: use one of {known}, or --to.")
    return ""


def _layout(info: MediaInfo, layout: Layout | None, pixels: str | None) -> Layout:
    size = (info.width, info.height)
    if layout is None:
        name = info.format.name if info.format.name in pipes.PLANES else "yuv420p"
        layout = Layout(*size, rate_or(info), name, info.sample_aspect_ratio, info.format.full_range)
    return pipes.layout_for(layout, info.format, size, pixels)


def _is_special(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _handle(target: Target, piped: bool) -> tuple[int, Callable[[bool], None] | None]:
    """A descriptor to write to, and what is to be done at the end, told whether all went well."""
    if target.is_pipe:
        return 1, None
    if piped:
        handle = os.open(target.words, os.O_WRONLY)
        return handle, lambda well: os.close(handle)
    if os.path.lexists(target.words) and not target.overwrite:
        raise OutputExists(f"{target.words} exists already: choose another target, or use --overwrite.")
    staged = Staged(target.words, overwrite=target.overwrite)
    handle = os.open(staged.path, os.O_WRONLY)

    def done(well: bool) -> None:
        os.close(handle)
        staged.commit() if well else staged.discard()

    return handle, done


class _Writable:
    """A descriptor as PyAV writes to one."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, data: Any) -> int:
        write_all(self._handle, data)
        return len(data)
