"""Encoding into a video container, with everything beside the picture muxed along in time order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from fractions import Fraction
from math import lcm

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.container.core import Flags
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import OutputError, UsageError
from ..types import Frame, MediaInfo, PixelFormat, StreamInfo
from . import colour, mark, matroska, scheduling
from .codecs import choose_encoder
from .convert import ycbcr
from .nal import without_encoder_comment
from .pixels import carrier_to_rgb, plane_view
from .settings import EncodeSettings
from .sidestreams import SideStreams, passed_disposition, passed_metadata
from .source import main_video, opened
from .watermark import Watermark

_FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi"}
_LARGEST_SCALE = (1 << 31) - 1
_FINE_ENOUGH = 10_000
_FINEST = 60_000  # parts of a second that rates are told in
_MILLISECOND = Fraction(1, 1000)
_AVI_TOLERANCE = Fraction(1, 50)
"""Part of a frame's duration by which a timestamp may miss AVI's grid (Matroska's milliseconds do, at 30 a second)."""


class VideoSink:
    """Writes frames and the side streams of ``source`` (``None`` where frames are all there is) to ``path``."""

    def __init__(
        self,
        path: str,
        kind: str,
        info: MediaInfo,
        source: str | None,
        settings: EncodeSettings,
        start: float | None,
        end: float | None,
    ) -> None:
        self._path, self._kind, self._info, self._settings = path, kind, info, settings
        self._start, self._end = start, end
        self._choice = choose_encoder(kind, settings, info)
        self.notes: list[str] = list(self._choice.notes)
        self._base = _encoder_time_base(kind, info)
        self._durations: dict[int, int] = {}
        self._first: Fraction | None = None
        self._shift = Fraction(0)
        self._last_end = Fraction(0)
        self._last_pts: int | None = None
        self._last_duration = 1
        self._first_dts: int | None = None
        self._first_pts = 0
        self._pending: Packet | None = None
        self._stripped = False
        self._watermark: Watermark | None = None
        self._stack = ExitStack()
        try:
            self._open(source)
        except BaseException:
            self._stack.close()
            raise

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        return self._side.streams if self._side is not None else self._info.streams

    def _open(self, source: str | None) -> None:
        self._out = av.open(self._path, "w", format=_FORMATS[self._kind], container_options=self._muxer_options())
        self._out.flags |= Flags.bitexact.value
        self._stream = self._add_video()
        self._side: SideStreams | None = None
        if source is not None:
            container = self._stack.enter_context(opened(source))
            video = main_video(container, source)
            self._stream.metadata.update(passed_metadata(video, self._settings.keep_metadata))
            self._stream.disposition = passed_disposition(video)
            if self._settings.keep_metadata:
                self._out.metadata.update({k: v for k, v in container.metadata.items() if k.lower() != "timecode"})
            self._side = SideStreams(
                container, self._out, self._kind, self._info.streams, self._settings.keep_metadata,
                audio=self._settings.audio, voice_seed=self._settings.voice_seed, salvage=self._settings.salvage,
            )  # fmt: skip
            self.notes += self._side.notes
        if self._settings.mark is not None:
            self._out.metadata.update(mark.container_tags(self._settings.mark, self._kind))
        if self._shapes_matroska:
            self._stream.metadata["title"] = matroska.PLACEHOLDER
        if self._kind in ("mp4", "mov"):
            self._out.container_options["movie_timescale"] = str(self._movie_scale())

    @property
    def _shapes_matroska(self) -> bool:
        return self._kind in ("mkv", "webm") and self._info.sample_aspect_ratio != 1

    def _muxer_options(self) -> dict[str, str]:
        if self._kind in ("mp4", "mov"):
            flags = "+faststart+use_metadata_tags" if self._settings.keep_metadata else "+faststart"
            return {"movflags": flags, "video_track_timescale": str(self._base.denominator)}
        if self._kind in ("mkv", "webm"):
            # Sound may begin before zero (encoder priming); shifting the whole file for it would move every frame.
            options = {"avoid_negative_ts": "disabled"}
            return options | {"write_crc32": "0"} if self._shapes_matroska else options
        return {}

    def _movie_scale(self) -> int:
        """Offsets of whole tracks count in this unit: one in which all tracks' units are whole numbers, if there is."""
        scale = self._base.denominator
        for rate in self._side.rates if self._side is not None else ():
            if lcm(scale, rate) <= _LARGEST_SCALE:
                scale = lcm(scale, rate)
        return scale

    def _add_video(self) -> VideoStream:
        info, choice = self._info, self._choice
        rate = max((info.average_rate or Fraction(25)).limit_denominator(_FINEST), Fraction(1, _FINEST))
        os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 reports its settings on stderr
        try:
            stream = self._out.add_stream(choice.encoder, rate=rate, options=dict(choice.options))
        except ValueError as e:
            raise UsageError(
                f"a .{self._kind} file cannot hold {self._settings.codec}: use an .mp4 or .mkv target."
            ) from e
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, choice.pixel_format
        context.time_base = stream.time_base = self._base
        context.sample_aspect_ratio = info.sample_aspect_ratio
        converted, space, self._fed = choice.converts, info.color_space, info.format
        if converted:
            shift = (1, 1) if choice.pixel_format == "yuv420p" else (0, 0)
            space, matrix = ("bt709", "bt709") if info.height >= 720 else ("smpte170m", "bt601")
            self._fed = PixelFormat(choice.pixel_format, 8, shift, False, matrix)
        context.color_range = colour.code(colour.RANGES, "tv" if converted else info.color_range)
        context.colorspace = colour.code(colour.SPACES, space)
        context.color_primaries = colour.code(colour.PRIMARIES, info.color_primaries)
        context.color_trc = colour.code(colour.TRANSFERS, info.color_transfer)
        context.flags |= CodecFlags.bitexact.value
        context.thread_count = self._settings.threads
        context.thread_type = "SLICE" if choice.encoder == "mpeg4" else "FRAME"
        if choice.tag is not None:
            context.codec_tag = choice.tag
        if self._settings.watermark is not None:
            self._watermark = Watermark(self._settings.watermark, info.width, info.height, self._fed)
        return stream

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in order of presentation."""
        begin = frame.pts * frame.time_base
        if self._first is None:
            self._begin(begin)
        pts = self._ticks(begin - self._shift, frame)
        if self._last_pts is not None:
            pts = max(pts, self._after(self._last_pts))
            self._durations[self._last_pts] = pts - self._last_pts
        duration = frame.duration or round(1 / (self._info.average_rate or 25) / frame.time_base)
        self._last_duration = max(1, round(duration * frame.time_base / self._base))
        self._durations[pts] = self._last_duration
        self._last_pts = pts
        self._last_end = begin + duration * frame.time_base
        picture = self._picture(frame)
        picture.pts, picture.time_base = pts, self._base
        with scheduling.unchanged() if not self._stream.codec_context.is_open else nullcontext():
            packets = self._stream.encode(picture)
        self._mux(packets)
        if self._side is not None:
            self._side.pump(self._last_end)

    def _after(self, pts: int) -> int:
        """The first time behind ``pts`` that the container tells from it: Matroska counts milliseconds."""
        if self._kind not in ("mkv", "webm") or self._base >= _MILLISECOND:
            return pts + 1
        shown = (2 * pts * self._base / _MILLISECOND + 1) // 2
        return round((shown + 1) * _MILLISECOND / self._base)

    def _begin(self, first: Fraction) -> None:
        self._first = first
        low = high = None
        if self._start:
            low = self._shift = first
        if self._end is not None:
            begin = first if self._info.first_pts is None else self._info.first_pts * self._info.time_base
            high = begin + Fraction(self._end).limit_denominator(1_000_000)
        if not self._start and first < 0:
            self._shift = first
            self.notes.append("the time line began before zero and is moved to zero, sound and picture alike")
        if self._kind == "avi":
            # Moving sound and picture together by less than a frame keeps them in step on AVI's grid.
            at = first - self._shift
            self._shift += at - round(at / self._base) * self._base
            if round(at / self._base) > 0:
                self.notes.append("avi always begins at zero: its first frame shows from there on")
        self._first_pts = round((first - self._shift) / self._base)
        if self._side is not None:
            self._side.begin(self._shift, low, high)

    def _ticks(self, seconds: Fraction, frame: Frame) -> int:
        exact = seconds / self._base
        ticks = round(exact)
        if self._kind == "avi" and abs(exact - ticks) > max(_AVI_TOLERANCE, Fraction(1, 1000) / self._base):
            raise UsageError(
                f"an .avi file holds frames at a constant rate only, and frame {frame.index} does not fit "
                f"{float(1 / self._base):g} a second: use an .mp4 or .mkv target."
            )
        return ticks

    def _picture(self, frame: Frame) -> VideoFrame:
        fmt, planes = self._fed, frame.planes
        if self._choice.converts:
            # not by libswscale, whose dithering from ten bits lifts every chroma sample by 0.4: a tint
            planes = ycbcr(carrier_to_rgb(planes), fmt)
        picture = VideoFrame(frame.width, frame.height, fmt.name)
        targets = [plane_view(picture, i, np.uint8 if fmt.depth == 8 else np.uint16) for i in range(len(planes))]
        for target, plane in zip(targets, planes, strict=True):
            target[:] = plane
        if self._watermark is not None:
            self._watermark.draw(targets)
        return picture

    def _mux(self, packets: Iterable[Packet]) -> None:
        """Write all packets but the newest, whose duration is only known to be the last one's at the end."""
        for packet in packets:
            if self._pending is not None:
                self._write_packet(self._pending)
            self._pending = packet

    def _write_packet(self, packet: Packet) -> None:
        if self._first_dts is None:
            self._first_dts = packet.dts if packet.dts is not None else packet.pts
        packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
        if not self._stripped and self._choice.encoder == "libx264":
            packet = _replaced(packet, without_encoder_comment(bytes(packet)), self._stream)
        self._stripped = True
        self._out.mux(packet)

    def finish(self) -> None:
        """Flush the encoder, write the rest of the side streams and the container's end, and add the mark."""
        if self._first is None:
            raise OutputError(f"nothing was written: {self._info.path} gave no frame.")
        self._mux(self._stream.encode(None))
        if self._pending is not None:
            self._make_up(self._pending)
            self._write_packet(self._pending)
        if self._side is not None:
            self.notes += self._side.finish(self._last_end if self._end is not None else None)
        self._out.close()
        self._stack.close()
        if self._shapes_matroska:
            matroska.set_display_size(self._path, self._info.width, self._info.height, self._info.sample_aspect_ratio)
        if self._settings.mark is not None and self._kind in ("mp4", "mov"):
            mark.append_to_quicktime(self._path, self._settings.mark)

    def _make_up(self, last: Packet) -> None:
        """Demuxers of MP4 sum samples' durations in decoding order: where the last packet is not the last shown, it
        makes up for the reordering of uneven durations."""
        if self._kind not in ("mp4", "mov") or self._first_dts is None or self._last_pts in (None, last.pts):
            return
        end = self._last_pts + self._last_duration
        rest = end - self._first_pts - (last.dts - self._first_dts)
        self._durations[last.pts] = min(max(1, rest), end - last.pts)

    def close(self) -> None:
        """Let go of all files without finishing. Never raises."""
        self._stack.close()
        try:
            self._out.close()
        except (FFmpegError, ValueError, OSError):
            pass


def _replaced(packet: Packet, data: bytes, stream: VideoStream) -> Packet:
    new = Packet(data)
    new.time_base, new.pts, new.dts, new.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    new.is_keyframe = packet.is_keyframe
    new.stream = stream
    return new


def _encoder_time_base(kind: str, info: MediaInfo) -> Fraction:
    """The unit in which the output counts: the source's own, as fine as QuickTime wants it; one frame for AVI."""
    if kind == "avi":
        period = 1 / (info.average_rate or Fraction(25))
        if period.denominator <= _FINEST:
            return period
        return max(period.limit_denominator(_FINEST), Fraction(1, _FINEST))  # a file may claim any rate
    scale = info.time_base.denominator
    while scale < _FINE_ENOUGH and kind in ("mp4", "mov"):
        scale *= 2
    if scale > _LARGEST_SCALE:
        scale = 1_000_000
    return Fraction(1, scale)
