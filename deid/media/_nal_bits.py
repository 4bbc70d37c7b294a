"""Bits of NAL units (ITU-T H.264 and H.265, Annex B), and where their pictures belong in the order of a stream."""

from __future__ import annotations

from dataclasses import dataclass

EVEN = 16
"""Equal steps in a row after which a gap counts as a loss."""
EVEN_FIXED = 4
"""The same where the stream says that its rate is fixed (H.264 E.2.1, which makes steps equal)."""
PARAMETERS, MESSAGES = 1024, 8192
"""Bytes of a parameter set, and of a unit of messages, that are read."""


class Unreadable(Exception):
    """The bits are not what the standard allows, or end too early."""


class Bits:
    """Bits of a NAL unit's payload, its emulation prevention bytes taken out."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        self.left -= count
        if self.left < 0:
            raise Unreadable
        return (self.value >> self.left) & ((1 << count) - 1)

    def ue(self, most: int = 1 << 31) -> int:
        """An unsigned Exp-Golomb number, ``most`` at the most."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise Unreadable
        value = (1 << zeros) - 1 + self.u(zeros)
        if value > most:
            raise Unreadable
        return value

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)


@dataclass(frozen=True, slots=True)
class Place:
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


def next_msb(lsb: int, last_lsb: int, last_msb: int, most: int) -> int:
    """The high part of an order count from its low part and both parts of the last (H.264 8.2.1.1, H.265 8.3.1)."""
    if lsb < last_lsb and last_lsb - lsb >= most // 2:
        return last_msb + most
    if lsb > last_lsb and lsb - last_lsb > most // 2:
        return last_msb - most
    return last_msb


def whole_unit(data: memoryview, begin: int, most: int = PARAMETERS) -> bytes:
    """A small unit up to the next start code."""
    unit = bytes(data[begin : begin + most])
    end = unit.find(b"\0\0\1")
    return (unit if end < 0 else unit[:end]).rstrip(b"\0")
