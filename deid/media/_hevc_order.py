"""Where HEVC's pictures belong, by parameter sets and the heads of slices (ITU-T H.265)."""

from __future__ import annotations

from dataclasses import dataclass

from ._nal_bits import EVEN, Bits, Place, Unreadable, next_msb, whole_unit


@dataclass(frozen=True, slots=True)
class _HevcSequence:
    raw: bytes
    planes: bool
    poc_lsb: int


def _hevc_sequence(unit: bytes) -> tuple[int, _HevcSequence]:
    """7.3.2.2.1 and 7.3.3."""
    b = Bits(unit[2:])
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
    b = Bits(unit[2:])
    number, sequence = b.ue(63), b.ue(15)
    b.u(1)
    return number, (sequence, bool(b.u(1)), b.u(3))


class Hevc:
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
                number, sequence = _hevc_sequence(whole_unit(data, begin))
                self.sequences[number] = sequence
            elif kind == 34:
                number, picture = _hevc_picture(whole_unit(data, begin))
                self.pictures[number] = picture
            elif kind in (36, 37):
                self.begins = True
        except Unreadable:
            pass
        return False

    def leave(self, data: memoryview) -> None:
        """Look at the end of a packet, where the end of its sequence may stand."""
        self.begins |= bytes(data[-5:]) in (b"\0\0\1\x48\1", b"\0\0\1\x4a\1")

    def slice(self, unit: bytes) -> Place | None:
        """Where the picture that begins with this slice belongs, ``None`` where that cannot be told."""
        try:
            return self._place(unit)
        except (Unreadable, KeyError):
            return None

    def _place(self, unit: bytes) -> Place | None:
        kind, layer = unit[0] >> 1 & 0x3F, unit[1] & 7
        entry = 16 <= kind <= 23
        b = Bits(unit[2:])
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
        msb = 0 if fresh else next_msb(lsb, self.lsb, self.msb, 1 << sequence.poc_lsb)
        if entry:
            self.begins = False
        leading = 6 <= kind <= 9
        passing = kind < 16 and not kind & 1
        if layer == 1 and not leading and not passing:
            self.msb, self.lsb = msb, lsb
        return Place(msb + lsb, fresh, entry, False, False, EVEN, sequence.raw)
