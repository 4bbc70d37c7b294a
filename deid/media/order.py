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

_EVEN = 16
"""Equal steps in a row after which a gap counts as a loss."""
_EVEN_FIXED = 4
"""The same where the stream says that its rate is fixed (H.264 E.2.1, which makes steps equal)."""
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
_PARAMETERS, _MESSAGES = 1024, 8192
"""Bytes of a parameter set, and of a unit of messages, that are read."""
_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""H.264 profiles whose parameter sets tell about chroma (7.3.2.1.1)."""
_MISSING = "pictures are missing"


class _Unreadable(Exception):
    """The bits are not what the standard allows, or end too early."""


class _Bits:
    """Bits of a NAL unit's payload, its emulation prevention bytes taken out."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        self.left -= count
        if self.left < 0:
            raise _Unreadable
        return (self.value >> self.left) & ((1 << count) - 1)

    def ue(self, most: int = 1 << 31) -> int:
        """An unsigned Exp-Golomb number, ``most`` at the most."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise _Unreadable
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > most:
            raise _Unreadable
        return value

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture belongs. ``poc``: its order count; ``fresh``: a new series of counts begins with it, which is
    shown after all before it; ``key``: decoding may begin here; ``second``: the other field of the picture before;
    ``lost``: others are missing before it for certain; ``even``: equal steps after which gaps count, 0 for never;
    ``kind``: the parameter set that governs steps."""

    poc: int
    fresh: bool
    key: bool
    second: bool
    lost: bool
    even: int
    kind: bytes


# -- H.264 ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _AvcSequence:
    raw: bytes
    planes: bool
    chroma: bool
    frame_num: int
    gaps: bool
    poc_type: int
    poc_lsb: int
    delta_zero: bool
    fields: bool
    fixed: bool


@dataclass(frozen=True, slots=True)
class _AvcPicture:
    sequence: int
    bottom: bool
    references: tuple[int, int]
    weighted: int
    weighted_both: int
    redundant: bool


def _avc_sequence(unit: bytes) -> tuple[int, _AvcSequence]:
    """7.3.2.1.1 and E.1.1."""
    b = _Bits(unit[1:])
    profile = b.u(8)
    b.u(16)
    number = b.ue(31)
    planes, chroma = False, True
    if profile in _HIGH:
        form = b.ue(3)
        planes = form == 3 and bool(b.u(1))
        chroma = form != 0 and not planes
        b.ue(6), b.ue(6), b.u(1)
        if b.u(1):
            for i in range(8 if form != 3 else 12):
                if b.u(1):
                    _scaling_list(b, 16 if i < 6 else 64)
    frame_num = b.ue(12) + 4
    poc_type, poc_lsb, delta_zero = b.ue(2), 0, False
    if poc_type == 0:
        poc_lsb = b.ue(12) + 4
    elif poc_type == 1:
        delta_zero = bool(b.u(1))
        b.se(), b.se()
        for _ in range(b.ue(255)):
            b.se()
    b.ue(16)
    gaps = bool(b.u(1))
    b.ue(), b.ue()
    fields = not b.u(1)
    if fields:
        b.u(1)
    b.u(1)
    if b.u(1):
        for _ in range(4):
            b.ue()
    return number, _AvcSequence(
        unit, planes, chroma, frame_num, gaps, poc_type, poc_lsb, delta_zero, fields, bool(b.u(1)) and _fixed_rate(b)
    )  # fmt: skip


def _scaling_list(b: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + b.se()) % 256
        last = following or last


def _fixed_rate(b: _Bits) -> bool:
    if b.u(1) and b.u(8) == 255:
        b.u(32)
    if b.u(1):
        b.u(1)
    if b.u(1):
        b.u(4)
        if b.u(1):
            b.u(24)
    if b.u(1):
        b.ue(), b.ue()
    if not b.u(1):
        return False
    b.u(64)
    return bool(b.u(1))


def _avc_picture(unit: bytes) -> tuple[int, _AvcPicture]:
    """7.3.2.2. Slice groups, which no decoder here knows, make it unreadable."""
    b = _Bits(unit[1:])
    number, sequence = b.ue(255), b.ue(31)
    b.u(1)
    bottom = bool(b.u(1))
    if b.ue(7):
        raise _Unreadable
    references = b.ue(31) + 1, b.ue(31) + 1
    weighted, both = b.u(1), b.u(2)
    b.se(), b.se(), b.se()
    b.u(2)
    return number, _AvcPicture(sequence, bottom, references, weighted, both, bool(b.u(1)))


class _Avc:
    """Order of H.264's pictures: 7.3.3, 7.4.3 and 8.2.1."""

    def __init__(self) -> None:
        self.sequences: dict[int, _AvcSequence] = {}
        self.pictures: dict[int, _AvcPicture] = {}
        self.frame_num: int | None = None
        """Of the last reference picture; ``None`` where there is none to go by."""
        self.msb = self.lsb = 0
        self.field: tuple[int, bool] | None = None
        """``frame_num`` and parity of a field whose other half has not come."""
        self.recovery = False

    def unit(self, data: memoryview, begin: int) -> bool:
        """Take in the unit that starts at ``begin``; whether it is a slice."""
        kind = data[begin] & 0x1F
        if kind in (1, 5):
            return True
        try:
            if kind == 7:
                number, sequence = _avc_sequence(_whole(data, begin))
                self.sequences[number] = sequence
            elif kind == 8:
                number, picture = _avc_picture(_whole(data, begin))
                self.pictures[number] = picture
            elif kind == 6:
                self.recovery |= _tells_recovery(_whole(data, begin, _MESSAGES))
        except (_Unreadable, IndexError):
            pass
        return False

    def leave(self, data: memoryview) -> None:
        """Nothing: what follows the end of a sequence is an IDR picture, which says so itself."""

    def slice(self, unit: bytes) -> _Place | None:
        """Where the picture that begins with this slice belongs, ``None`` where that cannot be told."""
        recovery, self.recovery = self.recovery, False
        try:
            return self._place(unit, recovery)
        except (_Unreadable, KeyError):
            self.frame_num = self.field = None
            return None

    def _place(self, unit: bytes, recovery: bool) -> _Place | None:
        reference, idr = unit[0] >> 5 & 3, unit[0] & 0x1F == 5
        b = _Bits(unit[1:])
        b.ue()
        kind = b.ue(9) % 5
        picture = self.pictures[b.ue(255)]
        sequence = self.sequences[picture.sequence]
        if sequence.planes:
            b.u(2)
        frame_num = b.u(sequence.frame_num)
        field = sequence.fields and bool(b.u(1))
        bottom = field and bool(b.u(1))
        if idr:
            b.ue(65535)
        lsb = delta = 0
        if sequence.poc_type == 0:
            lsb = b.u(sequence.poc_lsb)
            if picture.bottom and not field:
                delta = b.se()
        elif sequence.poc_type == 1 and not sequence.delta_zero:
            b.se()
            if picture.bottom and not field:
                b.se()
        second = field and self.field == (frame_num, not bottom)
        self.field = (frame_num, bottom) if field and not second else None
        lost = spliced = False
        if not idr and self.frame_num is not None and not sequence.gaps:
            lost = frame_num not in (self.frame_num, (self.frame_num + 1) % (1 << sequence.frame_num))
            spliced = lost and recovery  # streams are cut and joined at such pictures
        if idr or spliced:
            self.msb = self.lsb = 0
        msb = _msb(lsb, self.lsb, self.msb, 1 << sequence.poc_lsb) if not spliced else 0
        poc = msb + lsb + min(0, delta)
        reset = bool(reference) and not idr and self._resets(b, unit, picture, sequence, kind, field)
        if reference:
            self.frame_num = 0 if reset else frame_num
            self.msb, self.lsb = (0, 0 if bottom else max(0, -delta)) if reset else (msb, lsb)
        if reset:
            poc = 0
        even = (_EVEN_FIXED if sequence.fixed else _EVEN) if sequence.poc_type == 0 else 0
        fresh = (idr and not second) or reset or spliced
        return _Place(poc, fresh, recovery or kind == 2, second, lost and not spliced, even, sequence.raw)

    @staticmethod
    def _resets(
        b: _Bits, unit: bytes, picture: _AvcPicture, sequence: _AvcSequence, kind: int, field: bool
    ) -> bool:  # fmt: skip
        """Whether memory management operation 5 makes the counts start anew (7.3.3.1 to 7.3.3.3)."""
        if picture.redundant:
            b.ue(127)
        if kind == 1:
            b.u(1)
        counts = list(picture.references)
        if kind in (0, 1, 3) and b.u(1):
            counts[0] = b.ue(31) + 1
            if kind == 1:
                counts[1] = b.ue(31) + 1
        lists = {0: 1, 1: 2, 3: 1}.get(kind, 0)
        for _ in range(lists):
            if b.u(1):
                while b.ue(5) != 3:
                    b.ue()
        if picture.weighted and kind in (0, 3) or picture.weighted_both == 1 and kind == 1:
            b.ue(7)
            if sequence.chroma:
                b.ue(7)
            for count in counts[:lists]:
                for _ in range(count):
                    if b.u(1):
                        b.se(), b.se()
                    if sequence.chroma and b.u(1):
                        b.se(), b.se(), b.se(), b.se()
        reset = False
        if b.u(1):
            while operation := b.ue(6):
                reset |= operation == 5
                if operation in (1, 2, 3, 4, 6):
                    b.ue()
                if operation == 3:
                    b.ue()
        return reset


def _tells_recovery(unit: bytes) -> bool:
    """Whether a message unit holds a recovery point (D.1.8)."""
    unit, at = unit.replace(b"\0\0\3", b"\0\0"), 1
    while at + 2 < len(unit):
        values = []
        for _ in range(2):
            value = 0
            while unit[at] == 255:
                value, at = value + 255, at + 1
            values.append(value + unit[at])
            at += 1
        if values[0] == 6:
            return True
        at += values[1]
    return False


# -- HEVC -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _HevcSequence:
    raw: bytes
    planes: bool
    poc_lsb: int


def _hevc_sequence(unit: bytes) -> tuple[int, _HevcSequence]:
    """7.3.2.2.1 and 7.3.3."""
    b = _Bits(unit[2:])
    b.u(4)
    layers = b.u(3)
    b.u(1)
    b.u(88), b.u(8)
    present = [(b.u(1), b.u(1)) for _ in range(layers)]
    if layers:
        b.u(2 * (8 - layers))
    for profile, level in present:
        b.u(88 * profile + 8 * level)
    number = b.ue(15)
    planes = b.ue(3) == 3 and bool(b.u(1))
    b.ue(), b.ue()
    if b.u(1):
        for _ in range(4):
            b.ue()
    b.ue(8), b.ue(8)
    return number, _HevcSequence(unit, planes, b.ue(12) + 4)


def _hevc_picture(unit: bytes) -> tuple[int, tuple[int, bool, int]]:
    """7.3.2.3.1: the sequence's number, whether slices say if their picture is shown, and the count of extra bits."""
    b = _Bits(unit[2:])
    number, sequence = b.ue(63), b.ue(15)
    b.u(1)
    return number, (sequence, bool(b.u(1)), b.u(3))


class _Hevc:
    """Order of HEVC's pictures: 7.3.6.1 and 8.3.1."""

    def __init__(self) -> None:
        self.sequences: dict[int, _HevcSequence] = {}
        self.pictures: dict[int, tuple[int, bool, int]] = {}
        self.begins = True
        self.msb = self.lsb = 0

    def unit(self, data: memoryview, begin: int) -> bool:
        """Take in the unit that starts at ``begin``; whether it is a slice."""
        kind = data[begin] >> 1 & 0x3F
        if (data[begin] & 1) << 5 | data[begin + 1] >> 3:
            return False  # of another layer
        if kind < 32:
            return True
        try:
            if kind == 33:
                number, sequence = _hevc_sequence(_whole(data, begin))
                self.sequences[number] = sequence
            elif kind == 34:
                number, picture = _hevc_picture(_whole(data, begin))
                self.pictures[number] = picture
            elif kind in (36, 37):
                self.begins = True
        except _Unreadable:
            pass
        return False

    def leave(self, data: memoryview) -> None:
        """Look at the end of a packet, where the end of its sequence may stand."""
        self.begins |= bytes(data[-5:]) in (b"\0\0\1\x48\1", b"\0\0\1\x4a\1")

    def slice(self, unit: bytes) -> _Place | None:
        """Where the picture that begins with this slice belongs, ``None`` where that cannot be told."""
        try:
            return self._place(unit)
        except (_Unreadable, KeyError):
            return None

    def _place(self, unit: bytes) -> _Place | None:
        kind, layer = unit[0] >> 1 & 0x3F, unit[1] & 7
        entry = 16 <= kind <= 23
        b = _Bits(unit[2:])
        if not b.u(1):
            return None  # the head of the picture is gone, which the decoder tells
        if entry:
            b.u(1)
        number, says, extra = self.pictures[b.ue(63)]
        sequence = self.sequences[number]
        b.u(extra)
        b.ue(2)
        b.u(says)
        if sequence.planes:
            b.u(2)
        idr = kind in (19, 20)
        lsb = 0 if idr else b.u(sequence.poc_lsb)
        fresh = entry and (kind < 21 or self.begins)
        msb = 0 if fresh else _msb(lsb, self.lsb, self.msb, 1 << sequence.poc_lsb)
        if entry:
            self.begins = False
        leading = 6 <= kind <= 9
        passing = kind < 16 and not kind & 1
        if layer == 1 and not leading and not passing:
            self.msb, self.lsb = msb, lsb
        return _Place(msb + lsb, fresh, entry, False, False, _EVEN, sequence.raw)


# -- both -------------------------------------------------------------------------------------------------------------


def _msb(lsb: int, last_lsb: int, last_msb: int, most: int) -> int:
    """The high part of an order count from its low part and both parts of the last (H.264 8.2.1.1, H.265 8.3.1)."""
    if lsb < last_lsb and last_lsb - lsb >= most // 2:
        return last_msb + most
    if lsb > last_lsb and lsb - last_lsb > most // 2:
        return last_msb - most
    return last_msb


def _whole(data: memoryview, begin: int, most: int = _PARAMETERS) -> bytes:
    """A small unit up to the next start code."""
    unit = bytes(data[begin : begin + most])
    end = unit.find(b"\0\0\1")
    return (unit if end < 0 else unit[:end]).rstrip(b"\0")


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
        self._codec: _Avc | _Hevc = _Hevc() if codec == "hevc" else _Avc()
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
