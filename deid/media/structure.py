"""How files are put together: what a container says about its own end, read from its outermost boxes alone.

FFmpeg reads a file that was cut off without complaint: the demuxer meets the end and stops. Only the sizes written in
the outermost boxes tell that more was meant to follow.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Extent:
    """``missing``: bytes that the container announces beyond the end of the file (0 when it is whole, or does not say).
    ``index_missing``: a QuickTime or MP4 file without its ``moov`` box, which nothing can read. ``holes``: spans in
    seconds of the container's clock in which its inner order is broken, so that demuxers lose frames without a word."""

    missing: int = 0
    index_missing: bool = False
    holes: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class GifStructure:
    """``loops`` as stored (0 is for ever, ``None`` when the file says nothing: play once); ``last_control``: byte
    offset of the last graphic control block, or ``None``; ``end``: offset of the trailer byte or of the end of the last
    whole block; ``cut``: a block runs past the end of the file, or something is no block at all."""

    frames: int
    loops: int | None
    last_control: int | None
    end: int
    cut: bool


def extent(path: str) -> Extent:
    """What the container of ``path`` says about its own end. Knows QuickTime/MP4, Matroska/WebM, AVI and GIF, and of
    MPEG transport streams where their packets are broken; anything else counts as whole."""
    status = os.stat(path)
    return _extent(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _extent(path: str, size: int, changed: int) -> Extent:
    """Cached, because a walk over all blocks of a long file takes a moment; ``changed`` only tells versions apart."""
    with open(path, "rb") as f:
        head = f.read(16)
        f.seek(0)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return _boxes(f, size)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            end = _matroska_end(f, size)
            return Extent(max(0, end - size), holes=_matroska_holes(f, size) if size else ())
        if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"):
            return Extent(max(0, _riff_end(f, size) - size))
        if head[:4] == b"GIF8":
            return Extent(int(gif_structure(path).cut))
        return Extent(holes=_transport_holes(f, size))


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


_CLUSTER, _SEGMENT, _TIMESTAMP, _INFO, _SCALE = 0x1F43B675, 0x18538067, 0xE7, 0x1549A966, 0x2AD7B1
_LEVEL_1 = {0x114D9B74, _INFO, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
_SIMPLE_BLOCK = 0xA3
_IN_CLUSTER = {_TIMESTAMP, _SIMPLE_BLOCK, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854}
_ANYWHERE = {0xEC, 0xBF, 0x1A45DFA3}


def _matroska_holes(f: BinaryIO, size: int) -> tuple[tuple[float, float], ...]:
    """Walk the headers of all clusters and blocks (RFC 9559); where the chain breaks, go on at the next cluster."""
    holes: list[tuple[float, float]] = []
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, now, cluster, broken, scale = 0, 0.0, 0.0, None, 1e-3
        while at < size:
            element = _element(data, at)
            if element is None or not _belongs(element[0], element[1], element[2], size):
                if at + 12 > size:
                    break
                broken = now if broken is None else broken
                at = data.find(_CLUSTER.to_bytes(4, "big"), at + 1)
                if at < 0:
                    break
                continue
            kind, begin, length = element
            if kind == _TIMESTAMP:
                cluster = now = int.from_bytes(data[begin : begin + min(length or 0, 8)], "big") * scale
                if broken is not None:
                    holes.append((min(broken, now), now))
                    broken = None
            elif kind == _SIMPLE_BLOCK:
                now = cluster + int.from_bytes(data[begin + 1 : begin + 3], "big", signed=True) * scale
            elif kind == _INFO and length:
                info = data.find(_SCALE.to_bytes(3, "big"), begin, begin + length)
                if info >= 0 and info + 3 < size and 0x80 < data[info + 3] <= 0x88:
                    scale = int.from_bytes(data[info + 4 : info + 4 + (data[info + 3] & 0x7F)], "big") * 1e-9
            at = begin if kind in (_CLUSTER, _SEGMENT) or length is None else begin + length
        if broken is not None:
            holes.append((broken, float("inf")))
    return tuple(holes)


def _element(data: mmap.mmap, at: int) -> tuple[int, int, int | None] | None:
    """Identifier, begin of the content, and its length (``None``: not said) of the EBML element at ``at``."""
    head = data[at : at + 12]
    id_length = 9 - head[0].bit_length()
    if id_length > 4 or len(head) <= id_length:
        return None
    first = head[id_length]
    size_length = 9 - first.bit_length()
    if size_length > 8 or len(head) < id_length + size_length:
        return None
    value = int.from_bytes(head[id_length : id_length + size_length], "big") & ((1 << (7 * size_length)) - 1)
    unknown = value == (1 << (7 * size_length)) - 1
    return int.from_bytes(head[:id_length], "big"), at + id_length + size_length, None if unknown else value


def _belongs(kind: int, begin: int, length: int | None, size: int) -> bool:
    if kind in (_CLUSTER, _SEGMENT):
        return True
    if kind not in _LEVEL_1 and kind not in _IN_CLUSTER and kind not in _ANYWHERE:
        return False
    # The last element of a file that was cut off runs past its end; that is told by the segment's own length.
    return length is not None and (begin + length <= size or kind in _IN_CLUSTER)


_SYNC, _IN_STEP = 0x47, 8
_PACKETS = (188, 192, 204)
"""Lengths of transport packets: plain, with a time stamp before (M2TS), with error correction behind."""
_LOOK_AROUND = 1 << 22


def _transport_holes(f: BinaryIO, size: int) -> tuple[tuple[float, float], ...]:
    """Where packets of a transport stream (ISO/IEC 13818-1, 2.4.3) do not begin with their sync byte: rubbish, or bytes
    that are gone. What comes before the first packet and behind the last is none, and padding with zeros or ones
    neither: the counters of the packets tell whether it stands for something."""
    f.seek(0)
    head = f.read(1 << 16)
    found = _in_step(head, _PACKETS)
    if found is None or found[0] >= found[1] or head.startswith(b"YUV4MPEG2"):
        return ()
    at, length = found
    holes: list[tuple[int, int]] = []
    many = (1 << 22) // length
    while at + length <= size:
        f.seek(at)
        block = f.read(many * length)
        starts = block[::length]
        if starts.count(_SYNC) == len(starts):
            at += len(starts) * length
            continue
        bad = at + next(i for i, b in enumerate(starts) if b != _SYNC) * length
        good = _next_in_step(f, bad, length)
        if good is None:
            break
        f.seek(bad)
        lost = f.read(min(good - bad, _LOOK_AROUND))
        if lost.strip(lost[:1]) or lost[:1] not in (b"\0", b"\xff"):
            holes.append((bad, good))
        at = good
    return tuple(_span(f, size, length, begin, end) for begin, end in holes)


def _in_step(data: bytes, lengths: tuple[int, ...]) -> tuple[int, int] | None:
    """Where the first of several packets in a row begins, and how long each is."""
    at = data.find(_SYNC)
    while 0 <= at < len(data) - 188:
        for length in lengths:
            row = range(at, at + _IN_STEP * length, length)
            if row[-1] + 4 <= len(data) and all(_is_packet(data[i : i + 4]) for i in row):
                return at, length
        at = data.find(_SYNC, at + 1)
    return None


def _is_packet(head: bytes) -> bool:
    """Whether a packet may begin so, neither broken nor encrypted. Pictures in other files hold rows of one byte."""
    return head[0] == _SYNC and head[1] < 0x80 and 0x10 <= head[3] < 0x40


def _next_in_step(f: BinaryIO, at: int, length: int) -> int | None:
    while True:
        f.seek(at)
        block = f.read(1 << 20)
        found = _in_step(block, (length,))
        if found is not None:
            return at + found[0]
        if len(block) < 1 << 20:
            return None
        at += (1 << 20) - _IN_STEP * length


def _span(f: BinaryIO, size: int, length: int, begin: int, end: int) -> tuple[float, float]:
    """Seconds between the last time of a video packet before a hole and the first behind it."""
    first = max(0, begin - _LOOK_AROUND // length * length)
    f.seek(first + (begin - first) % length)
    before = _video_times(f.read(begin - f.tell()), length)
    f.seek(end)
    behind = _video_times(f.read(_LOOK_AROUND), length)
    since = before[-1] if before else 0
    until = min(behind[:8]) if behind else None
    if until is None:
        return since / 90000, float("inf")
    return min(since, until) / 90000, max(since + 1, until) / 90000  # the last picture before it may be cut off by it


def _video_times(data: bytes, length: int) -> list[int]:
    """Presentation times, in 1/90000 s, of the pictures that begin in ``data``, which begins with a packet."""
    times = []
    for at in range(0, len(data) - 187, length):
        if not data[at + 1] & 0x40 or not data[at + 3] & 0x10:
            continue
        head = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        if head + 14 > at + 188 or data[head : head + 3] != b"\0\0\1" or data[head + 3] & 0xF0 != 0xE0:
            continue
        if data[head + 7] & 0x80:
            a, b, c = data[head + 9], int.from_bytes(data[head + 10 : head + 12], "big"), data[head + 12 : head + 14]
            times.append((a >> 1 & 7) << 30 | b >> 1 << 15 | int.from_bytes(c, "big") >> 1)
    return times


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


def avi_empty_frames(path: str) -> int:
    """How many entries of an AVI file's index (``idx1``) are video chunks without a byte: frames that stay as the one
    before, which demuxers pass over in silence."""
    size = os.stat(path).st_size
    with open(path, "rb") as f:
        head = f.read(12)
        at = 12
        while head[:4] == b"RIFF" and at + 8 <= size:
            f.seek(at)
            kind, length = struct.unpack("<4sI", f.read(8))
            if kind == b"idx1":
                index = f.read(min(length, size - at))
                entries = (index[i : i + 16] for i in range(0, len(index) - 15, 16))
                return sum(e[2:4] in (b"dc", b"db") and e[12:] == bytes(4) for e in entries)
            at += 8 + length + (length & 1)
    return 0


def gif_pixels(path: str) -> int:
    """Pixels of the screen that a GIF file claims, 0 for any other file."""
    with open(path, "rb") as f:
        head = f.read(10)
    if head[:4] != b"GIF8" or len(head) < 10:
        return 0
    width, height = struct.unpack_from("<HH", head, 6)
    return int(width * height)


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
            return GifStructure(frames, loops, control, start, len(data) - start > 1024)
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
