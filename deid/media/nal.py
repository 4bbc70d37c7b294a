"""Encoder comments inside an H.264 stream: x264 writes its version and options into the first access unit."""

from __future__ import annotations

import re

_SEI, _USER_DATA_UNREGISTERED = 6, 5


def without_encoder_comment(data: bytes) -> bytes:
    """``data`` (Annex B, ITU-T H.264) without SEI units that hold nothing but unregistered user data."""
    starts = [m.start() for m in re.finditer(rb"\x00?\x00\x00\x01", data)]
    if not starts or starts[0] != 0:
        return data
    kept = []
    for begin, end in zip(starts, [*starts[1:], len(data)], strict=True):
        unit = data[begin:end]
        at = unit.index(b"\x01") + 1
        if unit[at] & 0x1F == _SEI and len(unit) > at + 1 and unit[at + 1] == _USER_DATA_UNREGISTERED:
            continue
        kept.append(unit)
    return b"".join(kept)
