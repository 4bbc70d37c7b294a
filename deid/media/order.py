"""What H.264 and HEVC streams say about the order of their pictures, and so about pictures that are gone.

In streams of NAL units behind start codes (ITU-T H.264 and H.265, Annex B) nothing else tells: a decoder that meets the
next whole picture shows it as if nothing had been there. Read are parameter sets and the head of each picture's first
slice, no more. A step of ``frame_num`` that the stream's own parameter sets forbid is a loss for certain. A gap among
picture order counts is one where they came at even steps long enough; encoders are free to leave gaps, so a stream
whose steps vary is not judged by them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

from ._avc_order import Avc
from ._hevc_order import Hevc

_LATE = 2
"""Pictures shown after a gap before it is judged: decoders that learn late how far pictures are reordered show some too
early."""
_MOST_WAITING = 512
_MOST_REORDERED = 16
"""Pictures that may come before one that is shown before them all (H.264 A.3, H.265 A.4)."""
_WINDOW = 1024
"""Bytes of a packet to look at in one piece; its first slice usually begins there."""
_SLICE = 640
"""Bytes that hold the longest slice header that is read."""
_MISSING = "pictures are missing"


@dataclass(slots=True)
class _Series:
    """Pictures from one that begins anew to the next such one. ``start``: the first of these; what is shown before it
    may refer to what was cut off. ``come``: what has come, counts and how many came before, sorted, from the last one
    judged; ``count``: how many in all."""

    start: int
    kind: bytes
    even: int
    come: list[tuple[int, int]]
    count: int = 1


class Order:
    """Watches the packets of one stream go into the decoder, and its pictures come out."""

    def __init__(self, codec: str, early: bool = False) -> None:
        self._early = early
        self._codec: Avc | Hevc = Hevc() if codec == "hevc" else Avc()
        self._series: _Series | None = None
        self._waiting: dict[int, tuple[_Series, int]] = {}
        self._shown: deque[tuple[_Series, int]] = deque()
        self._kind: bytes | None = None
        self._step, self._steps = 0, 0
        self._doubt = self._silent = False
        self._reordered = 0
        """How many pictures came, at most, from one to another that is shown before it."""
        self._ended = False

    @classmethod
    def of(cls, stream: VideoStream, *, early: bool = False) -> Order | None:
        """A watch over ``stream``; ``None`` for other codecs, and for packets that containers store without start
        codes, which have tables of their own to tell losses by. ``early``: tell gaps near the beginning at once, where
        only what follows could show whether such gaps are usual."""
        context = stream.codec_context
        codec, extra = context.codec.canonical_name, context.extradata or b""
        if codec not in ("h264", "hevc") or extra[:1] == b"\1":
            return None
        order = cls(codec, early)
        if extra:
            order._slice(memoryview(extra))
        return order

    def packet(self, packet: Packet) -> str | None:
        """Take in the next packet on its way to the decoder; its time will be its picture's. What is wrong, or
        ``None``."""
        if not packet.size:
            self._ended = True  # what is shown from now on need not wait for more
            return None
        with memoryview(packet) as data:
            return self.taken(data, packet.pts)

    def taken(self, data: memoryview, pts: int | None) -> str | None:
        """:meth:`packet` for bytes."""
        unit = self._slice(data)
        if unit is None:
            return None
        place = self._codec.slice(unit)
        self._codec.leave(data)
        if place is None or (self._series is None and not (place.key or place.fresh)):
            return None
        series, lost = self._series, place.lost
        if series is None or place.fresh:
            self._series = series = _Series(place.poc, place.kind, place.even, [(place.poc, 0)])
        if not place.second and place.poc >= series.start:
            self._add(series, place.poc)
            most = _MOST_REORDERED if pts is None else _MOST_WAITING
            if len(series.come) > most + 1:  # nothing tells what is shown
                lost |= self._judge(series, series.come[-most - 1][0])
            if pts is not None:
                self._waiting[pts] = series, place.poc
                if len(self._waiting) > _MOST_WAITING:
                    del self._waiting[next(iter(self._waiting))]
        return _MISSING if lost else None

    def _add(self, series: _Series, poc: int) -> None:
        at = bisect_left(series.come, (poc, 0))
        if at < len(series.come) and (not at or series.come[at][0] == poc):
            return  # what was judged, or is here already
        for _, number in series.come[at:]:
            self._reordered = max(self._reordered, series.count - number)
        series.come.insert(at, (poc, series.count))
        series.count += 1

    def picture(self, pts: int | None) -> str | None:
        """Take in the next picture that is shown. What is wrong, or ``None``."""
        at = self._waiting.pop(pts, None) if pts is not None else None
        if at is None:
            return None
        self._shown.append(at)
        lost = False
        while len(self._shown) > _LATE:
            series, poc = self._shown.popleft()
            whole = self._shown[0][0] is not series
            lost |= self._judge(series, None if whole else poc)
        return _MISSING if lost else None

    def end(self) -> str | None:
        """No more comes. What is wrong, or ``None``."""
        self._ended = True
        shown, self._shown = self._shown, deque()
        lost = [self._judge(series, poc) for series, poc in shown]
        if self._series is not None:
            lost.append(self._judge(self._series, None))
        return _MISSING if any(lost) else None

    def _judge(self, series: _Series, until: int | None) -> bool:
        """Whether pictures are missing among those of ``series`` up to ``until``, all of them for ``None``."""
        if not series.even:
            return False
        if series.kind != self._kind:
            self._kind, self._step, self._steps, self._doubt, self._silent = series.kind, 0, 0, False, False
        lost, come = False, series.come
        while len(come) > 1 and (until is None or come[1][0] <= until):
            step = come[1][0] - come.pop(0)[0]
            if not self._silent and not (step > self._step and self._may_be_cut_off(series)):
                lost |= self._gap(step, series.even)
        return lost

    def _may_be_cut_off(self, series: _Series) -> bool:
        """Whether what is missing before the first picture that is not judged yet could have come after the last one:
        recordings end anywhere, and are joined there."""
        if series is self._series and not self._ended:
            return False
        behind = series.count - 1 - min(number for _, number in series.come)
        return behind < 2 * self._reordered

    def _gap(self, step: int, even: int) -> bool:
        """Whether a step is a loss. The first one that is unlike the others, before these are enough, waits for as many
        behind it; a second one shows that such steps are usual."""
        small, large = sorted((step, self._step or step))
        if small == large:
            self._step, self._steps = step, self._steps + 1
            if not (self._doubt and self._steps >= even):
                return False
            self._doubt = False
            return not self._early
        trusted = self._steps >= even and not self._doubt
        if trusted and step == large and not large % small:
            return True
        if trusted or self._doubt or large % small:
            self._silent = True
            return False
        self._step, self._steps, self._doubt = small, 0, True
        return self._early

    def _slice(self, data: memoryview) -> bytes | None:
        """The head of the first slice in ``data``, parameter sets before it taken in."""
        for at in _units(data):
            if self._codec.unit(data, at):
                return bytes(data[at : at + _SLICE])
        return None


def _units(data: memoryview) -> Iterator[int]:
    """Where NAL units begin, behind their start codes."""
    at = 0
    while at + 4 < len(data):
        window = bytes(data[at : at + _WINDOW])
        found = window.find(b"\0\0\1")
        at += found + 3 if found >= 0 else len(window) - 2
        if found >= 0 and at + 1 < len(data):
            yield at
