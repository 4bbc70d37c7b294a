"""The sample aspect ratio of Matroska and WebM files.

PyAV cannot tell the muxer the stream's aspect ratio, and VP9 and AV1 carry none of their own. The track is therefore
written with a name of a known length; afterwards the name's bytes become the two elements that hold the display size.
Nothing moves, so no offset in the file changes."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from ..errors import OutputError

PLACEHOLDER = "\x7e" * 7
"""Track name to write: with its header, ten bytes, as long as the two elements that replace it."""
_NAME = b"\x53\x6e\x87" + PLACEHOLDER.encode()
_VIDEO = 0xE0


def set_display_size(path: str, width: int, height: int, ratio: Fraction) -> None:
    """Replace the placeholder name of the video track of ``path`` by DisplayWidth and DisplayHeight for pixels of
    ``ratio`` (RFC 9559, section 5.1.4.1.28). Needs a file written without checksums."""
    with open(path, "r+b") as f:
        head = f.read(1 << 16)
        name = head.find(_NAME)
        at = name + len(_NAME)
        while name >= 0 and at < len(head) - 10 and head[at] != _VIDEO:
            at = _after_element(head, at)
        if name < 0 or at >= len(head) - 10 or not 0x80 <= head[at + 1] <= 0xFE - 10:
            raise OutputError(f"the pixel shape could not be stored in {path}: choose an .mp4 target.")
        end = at + 2 + (head[at + 1] & 0x7F)
        shown_width, shown_height = _display_size(width, height, ratio)
        size = b"\x54\xb0\x82" + shown_width.to_bytes(2, "big") + b"\x54\xba\x82" + shown_height.to_bytes(2, "big")
        # Without a display size FFmpeg declares its unit unknown (4); ours counts pixels (0).
        rest = head[at + 2 : end].replace(b"\x54\xb2\x81\x04", b"\x54\xb2\x81\x00")
        video = bytes((_VIDEO, head[at + 1] + len(size))) + rest + size
        f.seek(name)
        f.write(head[name + len(_NAME) : at] + video)


def _after_element(data: bytes, at: int) -> int:
    id_length = 9 - data[at].bit_length()
    at += id_length
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ((1 << (7 * length)) - 1)
    return at + length + size


def _display_size(width: int, height: int, ratio: Fraction) -> tuple[int, int]:
    """The smallest size of exactly the right shape that is no lower than the picture, within 16 bits."""
    w, h = width * ratio.numerator, height * ratio.denominator
    common = gcd(w, h)
    w, h = w // common, h // common
    times = max(1, -(-height // h))
    if max(w, h) * times > 0xFFFF:
        return min(0xFFFF, max(1, round(height * Fraction(w, h)))), min(0xFFFF, height)
    return w * times, h * times
