"""Sources that come through FFmpeg, cameras and addresses among them, and what happens when they are too fast."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deid.errors import DamagedInput, DeidError, InputNotFound, NoVideoStream, UnsupportedInput
from deid.media import colour
from deid.media.decode import SALVAGE_SECONDS, SHOW_DAMAGED
from deid.media.order import Order
from deid.media.pixels import Look, PixelPlan, PlaneReader, plan_pixels, turn_of
from deid.media.source import MOST_PIXELS, codec_name, main_video, stream_kind
from deid.types import Frame, MediaInfo, StreamInfo

if TYPE_CHECKING:
    from deid.media.pipes import Layout
    from deid.stream.sources import Bytes, Source, Stop, Wanted

_OPENING, _READING = 10.0, 5.0  # seconds after which a source that says nothing has failed
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds before a source that failed is opened again: each time twice as long
_QUEUE = 3  # frames that wait in front of the work; more are too old when their turn comes
_BASE = Fraction(1, 90000)
_FAR = "udp,rtp,rtsp,rtsps,rtmp,rtmps,tcp,tls,http,https,httpproxy,hls,crypto,srt,unix"
_NEAR = "file,pipe"  # what is here may name nothing that is elsewhere, and the other way round
_MOST_NOTES = 20
_MOST_SOUND = 4000  # packets of sound that wait for their picture
_PASSWORD, _QUERY = re.compile(r"(://[^/@:]*):[^/]*@"), re.compile(r"(://[^?]*\?).*")


class AvSource:
    """What PyAV opens: an address, a device, or a container in a pipe (``piped``). Opened again, a bounded number of
    times, when it fails; its time line goes on from there. Pictures of another size than the first are scaled to it.
    What was lost on the way smears whatever is predicted from it, faces too, so pictures are marked as damaged from
    there to the next whole one.

    ``sound``: packets of the first sound track as they come, with their times in seconds of this time line."""

    layout: Layout | None = None

    def __init__(self, name: str, wanted: Wanted, stop: Stop, piped: Bytes | None = None) -> None:
        self._address, self._wanted, self._stop, self._piped = name, wanted, stop, piped
        self._name = without_password(name)
        self.live = piped is None
        self.notes: list[str] = []
        self.sound: deque[tuple[Fraction, Packet]] = deque(maxlen=_MOST_SOUND)
        self.reconnects = 0
        self._attempts, self._heard = 0, time.monotonic()
        self._damage = _Damage()
        self._last: Fraction | None = None
        self._container = self._opened()
        self._pictures = self._decoded()
        first = next(self._pictures, None)
        if first is None:
            raise NoVideoStream(f"{self._name} gave not a single frame: there is nothing to de-identify.")
        self._head: tuple[VideoFrame, Fraction, bool] | None = first
        self._plan, self.info = self._described(first[0])

    # -- opening ------------------------------------------------------------------------------------------------------

    def _opened(self) -> InputContainer:
        form = self._wanted.form or ("v4l2" if self._address.startswith("/dev/video") else None)
        options: dict[str, Any] = {"options": {"rtsp_transport": "tcp"} if self._address.startswith("rtsp") else {}}
        if self._piped is None:
            options["timeout"] = (_OPENING, _READING)
        if form != "lavfi" and self._piped is None:
            options["options"]["protocol_whitelist"] = _FAR if "://" in self._address else _NEAR
        try:
            file: Any = self._address if self._piped is None else _Readable(self._piped)
            return av.open(file, format=form, metadata_errors="replace", **options)
        except (FFmpegError, ValueError, OSError) as error:
            raise InputNotFound(
                f"{self._name} cannot be opened ({_reason(error, _OPENING)}): check that it is there and sends video."
            ) from error

    def _described(self, first: VideoFrame) -> tuple[PixelPlan, MediaInfo]:
        stream = main_video(self._container, self._name)
        context = stream.codec_context
        if first.width * first.height > MOST_PIXELS:
            raise UnsupportedInput(f"{self._name} has pictures of more than {MOST_PIXELS >> 20} megapixels.")
        look = Look(colour.RANGES.get(context.color_range, "unknown"), colour.SPACES.get(context.colorspace, "unknown"))
        turn = turn_of(first, self._name)
        plan, look = plan_pixels(
            self._name, first, look, turn, lossless_rgb=False, max_height=self._wanted.max_height
        )
        ratio = Fraction(stream.sample_aspect_ratio or 1)
        streams = tuple(
            StreamInfo(s.index, stream_kind(s), codec_name(s), s.language, "processed" if s is stream else "dropped")
            for s in self._container.streams
        )
        return plan, MediaInfo(
            path=self._name, kind="video", container=self._container.format.name, codec=codec_name(stream),
            width=plan.upright[0], height=plan.upright[1], rotation=turn.degrees, mirrored=turn.mirrored,
            sample_aspect_ratio=1 / ratio if turn.transpose else ratio, format=plan.format, color_range=look.range,
            color_space=look.space, color_primaries=colour.PRIMARIES.get(context.color_primaries, "unknown"),
            color_transfer=colour.TRANSFERS.get(context.color_trc, "unknown"), time_base=_BASE,
            average_rate=stream.average_rate or stream.guessed_rate, frames=None, seconds=None, interlaced=False,
            streams=streams, chapters=0, notes=plan.notes, first_pts=0,
        )  # fmt: skip

    @property
    def sound_template(self) -> av.audio.stream.AudioStream | None:
        """The sound track whose packets come, ``None`` without one."""
        return self._container.streams.audio[0] if self._container.streams.audio and self._wanted.sound else None

    # -- frames -------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Frame]:
        plan, readers = self._plan, {}
        index = 0
        while not self._stop:
            at = self._head or next(self._pictures, None)
            self._head = None
            if at is None:
                return
            picture, seconds, damaged = at
            key = (picture.width, picture.height, picture.format.name)
            if key not in readers:
                readers[key] = PlaneReader(self._plan_for(picture, plan))
            yield Frame(
                index, round(seconds / _BASE), _BASE, None, readers[key].planes(picture), plan.format, damaged,
            )  # fmt: skip
            index += 1

    def _plan_for(self, picture: VideoFrame, plan: PixelPlan) -> PixelPlan:
        """How pictures that are not like the first become like it."""
        if (picture.width, picture.height) == plan.size and picture.format.name == plan.source:
            return plan
        other, _ = plan_pixels(
            self._name, picture, Look(self.info.color_range, self.info.color_space), plan.turn, lossless_rgb=False,
            max_height=None,
        )  # fmt: skip
        if other.format != plan.format or other.expand != plan.expand:
            raise UnsupportedInput(
                f"{self._name} changed from {plan.source} to {picture.format.name} on the way: start it again."
            )
        self._note(
            f"pictures changed from {plan.size[0]} x {plan.size[1]} to {picture.width} x {picture.height}, and were "
            "scaled to the first size"
        )
        return replace(other, scaled=plan.scaled)

    def _decoded(self) -> Iterator[tuple[VideoFrame, Fraction, bool]]:
        """Pictures with their times from 0, and whether they are damaged, over all attempts."""
        while not self._stop:
            failure: Exception | None = None
            try:
                yield from self._once(_Clock(self._last))
            except (FFmpegError, OSError, ValueError) as error:
                failure = error
            if self._stop or self._is_finite():
                if failure is not None and not self._stop:
                    raise DamagedInput(
                        f"{self._name} cannot be read on ({_reason(failure)}): get an intact copy."
                    ) from failure
                return
            if not self._again(failure):
                return

    def _is_finite(self) -> bool:
        """Whether what ends has ended; what is live has only failed."""
        return not self.live or self._wanted.form == "lavfi" or bool(self._container.duration)

    def _once(self, clock: _Clock) -> Iterator[tuple[VideoFrame, Fraction, bool]]:
        stream = main_video(self._container, self._name)
        # frame threads would wait for further frames; with slice threads the H.264 decoder does not tell errors
        context = stream.codec_context
        context.thread_type, context.thread_count = "SLICE", 1 if context.codec.canonical_name == "h264" else 0
        context.options = {"max_pixels": str(MOST_PIXELS), **SHOW_DAMAGED.get(context.codec.canonical_name, {})}
        voice = self.sound_template
        early: list[Packet] = []  # sound before the first picture, which sets the time
        self._damage = _Damage(Order.of(stream))
        for packet in self._container.demux([s for s in (stream, voice) if s is not None]):
            if self._stop:
                return
            if voice is not None and packet.stream.index == voice.index:
                if packet.pts is not None and packet.size:
                    early.append(packet)
                if clock.shift is not None:
                    self.sound.extend((clock.sound(sound), sound) for sound in early)
                    early.clear()
                continue
            with self._damage.met(packet):
                for frame in packet.decode():
                    assert isinstance(frame, VideoFrame)
                    if self._damage.is_cut_off(frame):
                        continue
                    self._last = clock.picture(frame, stream)
                    self._came()
                    yield frame, self._last, self._damage.is_on(frame, self._last)

    def _came(self) -> None:
        """There is a picture: the source is well."""
        now = time.monotonic()
        if self._attempts:
            self._attempts = 0
            self.reconnects += 1
            self._note(f"the source was gone for {now - self._heard:.0f} s, and opened again")
        self._heard = now

    def _note(self, sentence: str) -> None:
        """A camera that comes and goes for days is told of by ``reconnects``, not by thousands of sentences."""
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(sentence)

    def _again(self, failure: Exception | None) -> bool:
        """Open a source that failed or ended once more; whether that was done. Attempts count until a picture comes.
        Raises :class:`InputNotFound` when it stays away."""
        reason = f" ({_reason(failure)})" if failure is not None else ""
        if self._last is None:
            raise NoVideoStream(f"{self._name} gave not a single frame{reason}: check that it sends video.")
        while self._attempts < self._wanted.retries:
            with suppress(FFmpegError, OSError, ValueError):
                self._container.close()
            if self._stop.wait(min(_FIRST_WAIT * 2**self._attempts, _LONGEST_WAIT)):
                return False
            self._attempts += 1
            try:
                self._container = self._opened()
            except DeidError:
                continue
            return True
        if self._wanted.retries == 0 and failure is None:
            return False
        count = self._wanted.retries
        tried = f" and did not come back in {count} attempt{'s' if count > 1 else ''}" if count else ""
        raise InputNotFound(f"{self._name} stopped sending{reason}{tried}: check it, and start again.")

    def close(self) -> None:
        with suppress(FFmpegError, OSError, ValueError):
            self._container.close()


class _Readable:
    """A pipe as PyAV reads one."""

    def __init__(self, read: Bytes) -> None:
        self._read = read

    def read(self, count: int) -> bytes:
        return self._read(min(count, 1 << 16))


@dataclass(slots=True)
class _Clock:
    """Times of one attempt, put after all before it. ``last``: seconds of the last picture of the attempt before."""

    last: Fraction | None
    shift: Fraction | None = None
    began: float = 0.0

    def picture(self, frame: VideoFrame, stream: VideoStream) -> Fraction:
        step = 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
        base = frame.time_base or stream.time_base or _BASE
        own = frame.pts * base if frame.pts is not None else None
        if own is None:
            own = (self.last or Fraction(0)) + step - (self.shift or 0)
        if self.shift is None:
            self.shift = (Fraction(0) if self.last is None else self.last + step) - own
        at = own + self.shift
        if self.last is not None and (at <= self.last or at > self.last + 60):
            at = self.last + step  # a counter that went back, or wrapped around
            self.shift = at - own
        self.last = at
        return at

    def sound(self, packet: Packet) -> Fraction:
        return packet.pts * (packet.time_base or _BASE) + (self.shift or 0)


@dataclass(slots=True)
class _Damage:
    """Whether the pictures of one attempt can be believed. ``order``: tells of pictures that never came. ``begun``: one
    has come; what cannot be decoded before that, where a stream was joined, is no loss. ``since``: the time of the
    damage, in seconds, ``None`` when there is none; ``hole``: damage that no picture has told yet; ``whole``: a whole
    picture that needs no other has come since."""

    order: Order | None = None
    begun: bool = False
    hole: bool = False
    whole: bool = False
    since: Fraction | None = None

    @contextmanager
    def met(self, packet: Packet) -> Iterator[None]:
        """Around decoding ``packet``: what cannot be decoded is left out, and noted."""
        self.hole |= self.begun and bool(packet.size) and packet.is_corrupt
        if self.order is not None:
            self.hole |= self.order.packet(packet) is not None
        try:
            yield
        except InvalidDataError:
            self.hole |= self.begun

    def is_cut_off(self, frame: VideoFrame) -> bool:
        """Whether a picture refers to what came before the stream was joined."""
        return not self.begun and frame.is_corrupt and not frame.key_frame

    def is_on(self, frame: VideoFrame, at: Fraction) -> bool:
        """Whether this picture, which comes at ``at``, may be smeared: from the damage to the next whole picture, for
        half a second at least."""
        self.begun = True
        if self.order is not None:
            self.hole |= self.order.picture(frame.pts) is not None
        if self.hole or frame.is_corrupt:
            self.hole, self.since, self.whole = False, at, False
        elif self.since is not None:
            self.whole |= bool(frame.key_frame)
            if self.whole and at >= self.since + SALVAGE_SECONDS:
                self.since = None
        return self.since is not None


def without_password(address: str) -> str:
    """``address`` as it may be shown: without a password, and without a query, which may hold one."""
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", address))


def _reason(error: Exception, limit: float = _READING) -> str:
    if isinstance(error, ExitError):
        return f"nothing came for {limit:g} s"
    if getattr(error, "errno", None) == errno.EPROTONOSUPPORT:
        return "it does not send over TCP"
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".")


class Dropping:
    """A source whose frames come when they come. A thread takes them; when more than a few wait, the oldest of these
    is dropped: it would be too late. What is dropped was never looked at and never leaves. ``dropped``: how many."""

    live = True

    def __init__(self, source: Source, stop: Stop) -> None:
        self._source, self._stop = source, stop
        self.info, self.layout, self.notes = source.info, source.layout, source.notes
        self.dropped = 0
        self._waiting: deque[Frame] = deque()
        self._come = threading.Condition()
        self._end: BaseException | bool = False
        self._thread = threading.Thread(target=self._take, name="capture", daemon=True)

    @property
    def source(self) -> Source:
        """What the frames come from."""
        return self._source

    def _take(self) -> None:
        end: BaseException | bool = True
        try:
            for frame in self._source:
                with self._come:
                    if len(self._waiting) >= _QUEUE:
                        self._waiting.popleft()
                        self.dropped += 1
                    self._waiting.append(frame)
                    self._come.notify()
                if self._stop:
                    break
        except BaseException as error:  # raised again where the frames are taken
            end = error
        with self._come:
            self._end = end
            self._come.notify()

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        index = 0
        while True:
            with self._come:
                while not self._waiting and self._end is False and not self._stop:
                    self._come.wait(0.1)
                if not self._waiting or self._stop:
                    if isinstance(self._end, BaseException) and not self._stop:
                        raise self._end
                    return
                frame = self._waiting.popleft()
            yield replace(frame, index=index)
            index += 1

    def close(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(2 * _READING)
        if not self._thread.is_alive():
            self._source.close()


__all__ = ["AvSource", "Dropping", "without_password"]
