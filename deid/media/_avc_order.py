"""Where H.264's pictures belong, by parameter sets, recovery points and the heads of slices (ITU-T H.264)."""

from __future__ import annotations

from dataclasses import dataclass

from ._nal_bits import EVEN, EVEN_FIXED, MESSAGES, Bits, Place, Unreadable, next_msb, whole_unit

_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""H.264 profiles whose parameter sets tell about chroma (7.3.2.1.1)."""


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
    b = Bits(unit[1:])
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


def _scaling_list(b: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + b.se()) % 256
        last = following or last


def _fixed_rate(b: Bits) -> bool:
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
    b = Bits(unit[1:])
    number, sequence = b.ue(255), b.ue(31)
    b.u(1)
    bottom = bool(b.u(1))
    if b.ue(7):
        raise Unreadable
    references = b.ue(31) + 1, b.ue(31) + 1
    weighted, both = b.u(1), b.u(2)
    b.se(), b.se(), b.se()
    b.u(2)
    return number, _AvcPicture(sequence, bottom, references, weighted, both, bool(b.u(1)))


class Avc:
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
                number, sequence = _avc_sequence(whole_unit(data, begin))
                self.sequences[number] = sequence
            elif kind == 8:
                number, picture = _avc_picture(whole_unit(data, begin))
                self.pictures[number] = picture
            elif kind == 6:
                self.recovery |= _tells_recovery(whole_unit(data, begin, MESSAGES))
        except (Unreadable, IndexError):
            pass
        return False

    def leave(self, data: memoryview) -> None:
        """Nothing: what follows the end of a sequence is an IDR picture, which says so itself."""

    def slice(self, unit: bytes) -> Place | None:
        """Where the picture that begins with this slice belongs, ``None`` where that cannot be told."""
        recovery, self.recovery = self.recovery, False
        try:
            return self._place(unit, recovery)
        except (Unreadable, KeyError):
            self.frame_num = self.field = None
            return None

    def _place(self, unit: bytes, recovery: bool) -> Place | None:
        reference, idr = unit[0] >> 5 & 3, unit[0] & 0x1F == 5
        b = Bits(unit[1:])
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
        msb = next_msb(lsb, self.lsb, self.msb, 1 << sequence.poc_lsb) if not spliced else 0
        poc = msb + lsb + min(0, delta)
        reset = bool(reference) and not idr and self._resets(b, picture, sequence, kind)
        if reference:
            self.frame_num = 0 if reset else frame_num
            self.msb, self.lsb = (0, 0 if bottom else max(0, -delta)) if reset else (msb, lsb)
        if reset:
            poc = 0
        even = (EVEN_FIXED if sequence.fixed else EVEN) if sequence.poc_type == 0 else 0
        fresh = (idr and not second) or reset or spliced
        return Place(poc, fresh, recovery or kind == 2, second, lost and not spliced, even, sequence.raw)

    @staticmethod
    def _resets(b: Bits, picture: _AvcPicture, sequence: _AvcSequence, kind: int) -> bool:
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
