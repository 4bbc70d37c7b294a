"""The packet loop: pictures in presentation order with a presentation time each, and every sign of damage noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import av
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import DamagedInput, UnsupportedInput
from .order import Order
from .source import MOST_PIXELS, RAW_DEMUXERS, main_video, opened
from .structure import avi_empty_frames, extent

_BACK_JUMP = 1.0
"""Seconds by which timestamps may step back before the file counts as spliced rather than merely untidy."""
_FORWARD_JUMP = 3600.0
"""The same forwards; a counter that starts anew shows as a jump of hours in formats whose counters wrap around."""
_TRACKED = frozenset({"h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "prores", "dnxhd", "ffv1"})
"""Codecs with one shown picture for each packet (VP8 tells which are not), so that a packet without one is a loss."""
_STRICT = {"mjpeg": {"err_detect": "explode"}, "ffv1": {"err_detect": "crccheck+explode"}}
"""Decoders that can check what they otherwise make the best of. Others would refuse sound files made by sloppy
encoders."""
_EARLY, _EARLY_SAMPLES = 64, 1 << 27
"""Most pictures, and most samples, to hold while no timestamp has come yet."""
SALVAGE_SECONDS = Fraction(1, 2)
_MOST_HELD = 32
_MOST_NUMBERS = 1024
_LEAST_HELD = 5
"""Pictures to hold where gaps between them are told a few pictures late."""
SHOW_DAMAGED = {"hevc": {"flags": "+output_corrupt"}}
"""Decoders that would leave out in silence, up to the next key frame, what refers to lost pictures."""


@dataclass(slots=True)
class Picture:
    """One decoded picture before its planes are taken: ``pts`` and ``duration`` (or ``None``) in stream time base."""

    frame: VideoFrame
    pts: int
    duration: int | None
    damaged: bool = False


class Decoder:
    """Decodes the main video stream of ``path``.

    Without ``salvage`` the first sign of damage raises :class:`DamagedInput`; with it the pictures around the damage
    come marked, and decoding runs in one thread so that an error belongs to the packet that caused it.
    ``seek`` (in stream time base) starts at a key frame safely before that time where the container has an index."""

    def __init__(self, path: str, *, salvage: bool = False, threads: int = 0, seek: int | None = None) -> None:
        self.path = path
        self.salvage = salvage
        self.threads = threads
        self.seek = seek
        self.rewritten = 0
        """Presentation times that had to be moved because they did not increase."""
        self.time_base = Fraction(1)
        self.end: int | None = None
        """Where the container says that the stream ends, in stream time base."""

    def pictures(self) -> Iterator[Picture]:
        """Decode from the start (or ``seek``); may be called again."""
        return self._pictures(marked=True)

    def head(self, count: int) -> list[Picture]:
        """The first ``count`` pictures, and no more than those are decoded; damage beside them stays unmarked."""
        return list(islice(self._pictures(marked=False), count))

    def _pictures(self, *, marked: bool) -> Iterator[Picture]:
        with opened(self.path, generate_pts=not _is_avi(self.path)) as container:
            stream = main_video(container, self.path)
            # With slice threads the H.264 decoder gives up telling errors; with frame threads they surface later.
            stream.codec_context.thread_count = 1 if self.salvage else self.threads
            stream.codec_context.thread_type = "FRAME"
            checks = _STRICT.get(stream.codec_context.codec.canonical_name, {})
            shown = SHOW_DAMAGED.get(stream.codec_context.codec.canonical_name, {})
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS), **checks, **shown}
            clock = _clock_for(container.format.name, stream)
            self.time_base = clock.time_base
            self.end = _claimed_end(container.format.name, stream)
            self.rewritten = 0
            if self.seek is not None:
                container.seek(self.seek, stream=stream, backward=True)
            run = _Run(self, stream, clock)
            if container.format.name in ("avi", "gif") and self.seek is None:
                run.announced = stream.frames - (avi_empty_frames(self.path) if container.format.name == "avi" else 0)
            if self.salvage:
                run.holes = extent(self.path).holes
            pictures = run.pictures(container.demux(stream))
            yield from run.mark_neighbours(pictures) if marked else pictures


def _is_avi(path: str) -> bool:
    with open(path, "rb") as f:
        head = f.read(12)
    return head[:4] == b"RIFF" and head[8:11] == b"AVI"


def _claimed_end(container: str, stream: VideoStream) -> int | None:
    if not container.startswith("mov") or stream.duration is None or stream.start_time is None:
        return None
    return stream.start_time + stream.duration


class _Run:
    """The state of one pass over the packets."""

    def __init__(self, decoder: Decoder, stream: VideoStream, clock: _StoredClock) -> None:
        self.decoder = decoder
        self.stream = stream
        self.clock = clock
        self.first: int | None = None
        self.last: int | None = None
        self.clean_since_key = False
        self.hole = False
        self.numbers: dict[int, int] = {}
        """Which packet, by its number, has which time."""
        self.doubted = 0
        """Number of the last packet that damage may have reached: a key frame in it, or before it, is not believed."""
        self.bad_until: int | None = None
        """End of the half second behind the damage; until then, and until a clean key frame, pictures are marked."""
        self.waiting: set[int] = set()
        self.seen = 0
        self.announced = 0
        """Packets that the container's header counts, where that is reliable."""
        self.holes: tuple[tuple[float, float], ...] = ()
        self.early: list[VideoFrame] = []
        self.codec = stream.codec_context.codec.canonical_name
        self.order = Order.of(stream, early=decoder.salvage)
        self.counted = isinstance(clock, _CountClock)
        self.tracked = self.codec in _TRACKED and not self.counted

    def pictures(self, packets: Iterator[Packet]) -> Iterator[Picture]:
        packets = iter(packets)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as e:
                self.damage(f"reading fails ({e.strerror})")
                return
            if packet is None:
                yield from self.timeless()
                if self.order is not None and (wrong := self.order.end()):
                    self.damage(wrong)
                if self.waiting or self.seen < self.announced:
                    self.damage("a frame is missing")
                return
            self.seen += 1
            if packet.is_corrupt and packet.size:
                self.damage("a packet is damaged or cut short")
            if self.order is not None:
                if self.counted:
                    packet.pts = self.seen  # tells which picture came of it
                if wrong := self.order.packet(packet):
                    self.damage(wrong, self.seen - 1)
            if packet.pts is not None:
                self.numbers[packet.pts] = self.seen
                if len(self.numbers) > _MOST_NUMBERS:
                    del self.numbers[next(iter(self.numbers))]
            if self.must_show(packet):
                self.waiting.add(packet.pts)
            try:
                frames = self.stream.decode(packet)
            except FFmpegError as e:
                self.waiting.discard(packet.pts)
                if self.first is not None or packet.is_keyframe:
                    self.damage(f"a frame cannot be decoded ({e.strerror})")
                continue
            for frame in frames:
                yield from self.accept(frame)

    def must_show(self, packet: Packet) -> bool:
        """Whether a picture at this packet's time is owed. Those before the first key frame are not."""
        if not (self.tracked and packet.size and self.first is not None and packet.pts is not None):
            return False
        if packet.is_discard or packet.pts <= self.first:
            return False
        return self.codec != "vp8" or bool(memoryview(packet)[0] & 0x10)

    def accept(self, frame: VideoFrame) -> Iterator[Picture]:
        if self.order is not None and (wrong := self.order.picture(frame.pts)):
            self.damage(wrong, self.number(frame))
        if self.first is None and frame.is_corrupt and not frame.key_frame:
            return  # leading pictures of a stream that was cut out of a longer one: their references are not here
        pts = self.clock.time(frame)
        if pts is None and len(self.early) < min(_EARLY, _EARLY_SAMPLES // (frame.width * frame.height)):
            self.early.append(frame)
            return
        yield from self.timeless(pts)
        yield self.picture(frame, pts if pts is not None else self.clock.next or 0)

    def timeless(self, until: int | None = None) -> Iterator[Picture]:
        """Pictures before the first timestamp, one after the other up to ``until``."""
        early, self.early = self.early, []
        begin = 0 if until is None else until - len(early) * self.clock.step
        for number, frame in enumerate(early):
            yield self.picture(frame, begin + number * self.clock.step)

    def picture(self, frame: VideoFrame, time: int) -> Picture:
        pts = self.in_order(time)
        if self.first is None:
            self.first = pts
        if self.tracked:
            lost = {p for p in self.waiting if p < pts}
            self.waiting -= lost
            self.waiting.discard(pts)
            if lost and not frame.interlaced_frame:
                self.damage("a frame is missing")
        seconds = float(pts * self.clock.time_base)
        if frame.is_corrupt:
            self.damage("a frame decodes with errors", 0)
        elif any(a - SALVAGE_SECONDS <= seconds <= b for a, b in self.holes):
            inside = any(a <= seconds < b for a, b in self.holes)
            self.damage("the container is broken", self.number(frame) if inside else 0)
        self.last = pts
        return Picture(frame, pts, frame.duration or None, self.is_marked(frame, pts))

    def in_order(self, pts: int) -> int:
        if self.last is None:
            return pts
        jump = (pts - self.last) * self.clock.time_base
        if not -_BACK_JUMP <= jump <= _FORWARD_JUMP:
            raise UnsupportedInput(
                f"{self.decoder.path} has timestamps that jump at {self.seconds():.2f} s (spliced recordings?): split "
                "it there, or re-mux it with continuous timestamps."
            )
        if pts > self.last:
            return pts
        self.decoder.rewritten += 1
        return self.last + 1

    def is_marked(self, frame: VideoFrame, pts: int) -> bool:
        if self.hole:
            self.hole = False
            self.bad_until = pts + int(SALVAGE_SECONDS / self.clock.time_base)
        if self.bad_until is None:
            return False
        if frame.key_frame and not frame.is_corrupt and self.number(frame) > self.doubted:
            self.clean_since_key = True
        if frame.is_corrupt:
            self.clean_since_key = False
        if pts >= self.bad_until and self.clean_since_key:
            self.bad_until = None
            return False
        return True

    def number(self, frame: VideoFrame) -> int:
        """Of the packet that a picture came of."""
        return self.seen if frame.pts is None else self.numbers.get(frame.pts, self.seen)

    def damage(self, what: str, reached: int | None = None) -> None:
        """There is damage, up to the packet of that number: the last one unless it is told."""
        if not self.decoder.salvage:
            raise DamagedInput(
                f"{self.decoder.path} is damaged at about {self.seconds():.2f} s ({what}): get an intact copy, or use "
                "--salvage, which obscures whole frames around the damage."
            )
        self.hole = True
        self.clean_since_key = False
        self.doubted = max(self.doubted, self.seen if reached is None else reached)

    def seconds(self) -> float:
        if self.first is None or self.last is None:
            return 0.0
        return float((self.last - self.first) * self.clock.time_base)

    def mark_neighbours(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Mark the pictures of the half second before damage too: those that look ahead to it were decoded after it.
        Costs as much delay, so only where damage is accepted at all."""
        if not self.decoder.salvage:
            yield from pictures
            return
        held: deque[Picture] = deque()
        for picture in pictures:
            held.append(picture)
            if picture.damaged and not held[0].damaged or self.hole:
                self.mark(held)
            least = 0 if self.order is None else _LEAST_HELD
            while len(held) > least and (
                (picture.pts - held[0].pts) * self.clock.time_base > SALVAGE_SECONDS or len(held) > _MOST_HELD
            ):
                yield held.popleft()
        if self.hole:
            self.mark(held)
        yield from held

    @staticmethod
    def mark(pictures: Iterable[Picture]) -> None:
        for picture in pictures:
            picture.damaged = True


class _StoredClock:
    """Presentation times as the container stores them; a missing one continues the last by its duration."""

    def __init__(self, stream: VideoStream) -> None:
        self.time_base = stream.time_base or Fraction(1, 90000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.step = max(1, round(1 / (rate * self.time_base)))
        self.next: int | None = None

    def time(self, frame: VideoFrame) -> int | None:
        """In stream time base; ``None`` before the first timestamp."""
        pts = frame.pts if frame.pts is not None else self.next
        if pts is not None:
            self.next = pts + (frame.duration or self.step)
        return pts


class _DecodingClock(_StoredClock):
    """For AVI, which stores decoding times only: a picture is shown when the packet that releases it is due, as players
    of that format do (FFmpeg's "best effort" time)."""

    def time(self, frame: VideoFrame) -> int:
        due = frame.dts
        if due is None or (self.next is not None and due < self.next - self.step + 1):
            due = self.next or 0
        self.next = due + self.step
        return due


class _CountClock(_StoredClock):
    """For bare codec streams: constant rate, one tick a picture."""

    def __init__(self, stream: VideoStream) -> None:
        super().__init__(stream)
        self.time_base = 1 / Fraction(raw_rate(stream))
        self.count = 0

    def time(self, frame: VideoFrame) -> int:
        self.count += 1
        return self.count - 1


def raw_rate(stream: VideoStream) -> Fraction:
    """The rate of a stream without timestamps: what its headers say, else FFmpeg's 25."""
    return stream.codec_context.framerate or stream.guessed_rate or Fraction(25)


def _clock_for(container: str, stream: VideoStream) -> _StoredClock:
    if container in RAW_DEMUXERS:
        return _CountClock(stream)
    if container == "avi":
        return _DecodingClock(stream)
    return _StoredClock(stream)


class Deinterlacer:
    """Makes interlaced pictures whole with FFmpeg's bwdif, one picture out for each one in, at the same times; pictures
    that are not flagged pass as they are. Fields a moment apart would leave combed faces that detectors miss and a
    compositor tears."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._queue: deque[Picture] = deque()

    def run(self, pictures: Iterator[Picture], time_base: Fraction) -> Iterator[Picture]:
        for picture in pictures:
            if self._graph is None and not picture.frame.interlaced_frame:
                yield picture
                continue
            if self._graph is None:
                self._graph = self._build(picture.frame, time_base)
            picture.frame.pts = picture.pts
            picture.frame.time_base = time_base
            self._queue.append(picture)
            try:
                self._graph.push(picture.frame)
            except (FFmpegError, ValueError):
                yield picture  # a picture of another size: the reader refuses it in its own words
                return
            yield from self._ready()
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _ready(self) -> Iterator[Picture]:
        graph = self._graph
        while self._queue and graph is not None:
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            picture = self._queue.popleft()
            picture.frame = frame
            yield picture

    def _build(self, frame: VideoFrame, time_base: Fraction) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
        bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        return graph
