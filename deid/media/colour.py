"""Colour tags: FFmpeg's numbers (ITU-T H.273 code points) and names, and which matrix they mean."""

from __future__ import annotations

RANGES = {0: "unknown", 1: "tv", 2: "pc"}
SPACES = {
    0: "gbr",
    1: "bt709",
    2: "unknown",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
}
PRIMARIES = {
    1: "bt709",
    2: "unknown",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
TRANSFERS = {
    1: "bt709",
    2: "unknown",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}

# SMPTE 240M and the FCC matrix differ from BT.709 and BT.601 by less than a code value on skin; the tags themselves are
# passed on unchanged.
_MATRIX = {
    "bt709": "bt709",
    "smpte240m": "bt709",
    "bt470bg": "bt601",
    "smpte170m": "bt601",
    "fcc": "bt601",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}


def code(names: dict[int, str], name: str) -> int:
    """The code point of ``name``; 2 ("unspecified") for names outside the table, 0 for an unknown range."""
    for number, known in names.items():
        if known == name:
            return number
    return 0 if names is RANGES else 2


def matrix(space: str, height: int) -> str | None:
    """``bt601``, ``bt709`` or ``bt2020`` for the tag ``space``; untagged video counts as BT.601 below 720 lines and as
    BT.709 from there on. ``None`` for spaces whose planes are not luma and two colour differences of those three."""
    if space in ("unknown", "gbr"):
        return "bt709" if height >= 720 else "bt601"
    return _MATRIX.get(space)
