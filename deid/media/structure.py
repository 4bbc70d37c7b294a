"""How files are put together: what a container says about its own end, read from its outermost boxes alone.

FFmpeg reads a file that was cut off without complaint: the demuxer meets the end and stops. Only the sizes written in the
outermost boxes tell that more was meant to follow.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Extent:
    """``missing``: bytes that the container announces beyond the end of the file (0 when it is whole, or does not say).
    ``index_missing``: a QuickTime or MP4 file without its ``moov`` box, which nothing can read."""

    missing: int = 0
    index_missing: bool = False


@dataclass(frozen=True, slots=True)
class GifStructure:
    """``loops`` as stored (0 is for ever, ``None`` when the file says nothing: play once); ``last_control``: byte offset
    of the last graphic control block, or ``None``; ``end``: offset of the trailer byte or of the end of the last whole
    block; ``cut``: a block runs past the end of the file."""

    frames: int
    loops: int | None
    last_control: int | None
    end: int
    cut: bool


def extent(path: str) -> Extent:
    """What the container of ``path`` says about its own end. Knows QuickTime/MP4, Matroska/WebM, AVI and GIF; anything
    else counts as whole."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(16)
        f.seek(0)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return _boxes(f, size)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return Extent(max(0, _matroska_end(f, size) - size))
        if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
            return Extent(max(0, _riff_end(f, size) - size))
        if head[:4] == b"GIF8":
            return Extent(int(gif_structure(path).cut))
    return Extent()


def _boxes(f: BinaryIO, size: int) -> Extent:
    at, index = 0, False
    while at + 8 <= size:
        f.seek(at)
        length, kind = struct.unpack(">I4s", f.read(8))
        if length == 1 and at + 16 <= size:
            length = struct.unpack(">Q", f.read(8))[0]
        elif length == 0:
            length = size - at
        if length < 8 or not all(32 <= c < 127 or c == 0xA9 for c in kind):
            break  # rubbish after the last box: players ignore it, so do we
        index = index or kind in (b"moov", b"moof")
        at += length
    return Extent(max(0, at - size), not index)


def _vint(f: BinaryIO, keep_marker: bool) -> int | None:
    first = f.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = f.read(length - 1)
    if len(rest) < length - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    return value if keep_marker else value & ((1 << (7 * length)) - 1)


def _matroska_end(f: BinaryIO, size: int) -> int:
    f.read(4)
    header = _vint(f, keep_marker=False)
    if header is None:
        return size
    f.seek(header, os.SEEK_CUR)
    if f.read(4) != b"\x18\x53\x80\x67":
        return size
    at = f.tell()
    f.seek(at)
    first = f.read(1)
    if not first or not first[0]:
        return size
    length = 9 - first[0].bit_length()
    f.seek(at)
    body = _vint(f, keep_marker=False)
    if body is None or body == (1 << (7 * length)) - 1:
        return size  # a live recording: its length was never filled in
    return at + length + body


def _riff_end(f: BinaryIO, size: int) -> int:
    at = 0
    while at + 12 <= size:
        f.seek(at)
        kind, length, form = struct.unpack("<4sI4s", f.read(12))
        if kind != b"RIFF" or form not in (b"AVI ", b"AVIX"):
            break
        if not length:
            return size  # the recorder never came back to fill it in
        at += 8 + length
        if at > size:
            return at
        at += at & 1
    return min(at, size)


def gif_structure(path: str) -> GifStructure:
    """Walk the blocks of a GIF file (GIF89a specification, W3C) without decoding it."""
    with open(path, "rb") as f:
        data = f.read()
    frames, loops, control = 0, None, None
    if len(data) < 13:
        return GifStructure(0, None, None, len(data), True)
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while at < len(data) and data[at] != 0x3B:
        start = at
        if data[at] == 0x21 and at + 2 <= len(data):
            if data[at + 1 : at + 3] == b"\xf9\x04":
                control = at
            if data[at + 2 : at + 14] == b"\x0bNETSCAPE2.0" and at + 18 <= len(data):
                loops = struct.unpack_from("<H", data, at + 16)[0]
            at = _skip_blocks(data, at + 2)
        elif data[at] == 0x2C and at + 10 <= len(data):
            table = 3 << ((data[at + 9] & 7) + 1) if data[at + 9] & 0x80 else 0
            at = _skip_blocks(data, at + 11 + table)
            frames += 1
        else:
            return GifStructure(frames, loops, control, start, False)
        if at > len(data):
            return GifStructure(frames - 1, loops, control, start, True)
    return GifStructure(frames, loops, control, at, False)


def _skip_blocks(data: bytes, at: int) -> int:
    while at < len(data):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    return len(data) + 1
