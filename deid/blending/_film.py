"""Compiled passes over a rendered face: from light to code values, and colour and grain at the end."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from ..models.morphable import finish

_LEAST = np.float32(2.0**-9)  # light up to which coding is a straight line
_MOST = np.float32(3.999)
_SHIFT, _PART = 16, np.float32(2.0**-16)  # bits of a float32 below a step of the table: 128 steps to a factor of two
_BASE = int(np.array(_LEAST).view(np.int32)) >> _SHIFT
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@lru_cache(maxsize=1)
def code_table() -> np.ndarray:
    """float32: :func:`finish.to_code` at the floats whose lower 16 bits are 0, from ``_LEAST`` to 4. Neighbours differ
    by a hundredth part, so that a number's own bits are the place and no root is taken."""
    steps = np.arange(_BASE, (int(np.array(np.float32(4)).view(np.int32)) >> _SHIFT) + 2, dtype=np.int32)
    return finish.to_code((steps << _SHIFT).view(np.float32))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _coded(light, table):  # type: ignore[no-untyped-def]
    if not light > _LEAST:
        return max(light, _ZERO) * np.float32(12.92)
    bits = np.float32(min(light, _MOST)).view(np.int32)
    k = np.uintp((bits >> _SHIFT) - _BASE)
    low = table[k]
    return low + np.float32(bits & np.int32(0xFFFF)) * _PART * (table[k + np.uintp(1)] - low)


@njit(cache=True, nogil=True, error_model="numpy")
def film(rgb, alpha, head, width, corner, keep, add, table, coded, cover):  # type: ignore[no-untyped-def]
    """Code values of linear light times ``keep`` plus ``add`` (3,) into ``coded``, float32 (h, w, 3), and what there is
    of face and head into ``cover``, float32 (h, w): a piece, from row and column ``corner`` on, of the picture ``rgb``,
    ``alpha``, ``head``, flat, ``width`` pixels a row. Where there is next to nothing it gets the face's mean colour,
    which is returned: float32 (3,), code values."""
    h, w = cover.shape
    top, left = corner
    mean = np.zeros(3, np.float64)
    count = 0
    for y in range(0, h, 4):
        first = (top + y) * width + left
        for i in range(first, first + w, 4):
            if alpha[i] > _HALF:
                count += 1
                for k in range(3):
                    mean[k] += _coded(rgb[3 * i + k] * keep[k] + add[k], table)
    fill = np.full(3, 0.5, np.float32)
    if count:
        for k in range(3):
            fill[k] = mean[k] / count
    keeps, adds = np.empty(3 * w, np.float32), np.empty(3 * w, np.float32)
    for i in range(3 * w):
        keeps[i], adds[i] = keep[i % 3], add[i % 3]
    flat = coded.reshape(h, 3 * w)
    for y in range(h):
        first = (top + y) * width + left
        _sum(alpha[first : first + w], head[first : first + w], cover[y])
        _code_row(rgb[3 * first : 3 * (first + w)], keeps, adds, table, flat[y])
        there, line = cover[y], coded[y]
        for x in range(w):
            if there[x] < np.float32(0.25):  # what is blurred into the rim
                line[x, 0], line[x, 1], line[x, 2] = fill[0], fill[1], fill[2]
    return fill


@njit(cache=True, nogil=True, error_model="numpy")
def _sum(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = min(a[i] + b[i], _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _code_row(line, keeps, adds, table, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        light = line[i] * keeps[i] + adds[i]
        held = max(min(light, _MOST), _LEAST)
        bits = np.float32(held).view(np.int32)
        k = (bits >> _SHIFT) - _BASE
        low = table[np.uintp(k)]
        code = low + np.float32(bits & np.int32(0xFFFF)) * _PART * (table[np.uintp(k + 1)] - low)
        out[i] = code if light > _LEAST else max(light, _ZERO) * np.float32(12.92)


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(line, out):  # type: ignore[no-untyped-def]
    """A row of a coarse field, float32 (columns, 3), read at every pixel of a row: into float32 (3 w,)."""
    w, columns = len(out) // 3, line.shape[0]
    for x in range(w):
        place = min(max((np.float32(x) + _HALF) * np.float32(columns / w) - _HALF, _ZERO), np.float32(columns - 1.001))
        j = int(place)
        u = place - np.float32(j)
        for k in range(3):
            out[3 * x + k] = line[j, k] + u * (line[j + 1, k] - line[j, k])


# The loops below are kept apart, each over few arrays, so that they are turned into vector instructions.


@njit(cache=True, nogil=True, error_model="numpy")
def _added(line, base, slope, v):  # type: ignore[no-untyped-def]
    for i in range(len(line)):
        line[i] += base[i] + v * slope[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _mixed(luma, colour, grain, chroma, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = grain * luma[i] + chroma * colour[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _room(line, room):  # type: ignore[no-untyped-def]
    """How much noise a pixel has room for: near black and white clipping cuts it."""
    for x in range(len(room)):
        level = np.float32(0.3) * line[3 * x] + np.float32(0.59) * line[3 * x + 1] + np.float32(0.11) * line[3 * x + 2]
        free = np.float32(25.0) * min(level, _ONE - level) + np.float32(0.1)
        room[x] = max(min(free, _ONE), _ZERO)


@njit(cache=True, nogil=True, error_model="numpy")
def _grained(line, room, noise):  # type: ignore[no-untyped-def]
    for x in range(len(room)):
        line[3 * x] += room[x] * noise[3 * x]
        line[3 * x + 1] += room[x] * noise[3 * x + 1]
        line[3 * x + 2] += room[x] * noise[3 * x + 2]


@njit(cache=True, nogil=True, error_model="numpy")
def _clipped(line):  # type: ignore[no-untyped-def]
    for i in range(len(line)):
        line[i] = min(max(line[i], _ZERO), _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def finished(coded, field, tiles, place, grain, chroma):  # type: ignore[no-untyped-def]
    """Add to ``coded``, float32 (h, w, 3), in place, a coarse ``field`` of colour, float32 (rows, columns, 3), and
    grain: see :func:`finish.add_grain`. ``tiles``: float32 (2, 256, 768), RGB noise of luma and of colour;
    ``place``: row and column in them of the picture's corner."""
    h, w = coded.shape[:2]
    rows, side = field.shape[0], tiles.shape[1]
    base, slope, noise = np.empty(3 * w, np.float32), np.empty(3 * w, np.float32), np.empty(3 * w, np.float32)
    room = np.empty(w, np.float32)
    flat = coded.reshape(h, 3 * w)
    now = -1
    for y in range(h):
        at = min(max((y + 0.5) * rows / h - 0.5, 0.0), rows - 1.001)
        i = int(at)
        if i != now:
            now = i
            _spread(field[i], base)
            _spread(field[i + 1] - field[i], slope)
        line = flat[y]
        _added(line, base, slope, np.float32(at - i))
        if grain > 0 or chroma > 0:
            row = (y + place[0]) % side
            done, start = 0, place[1] % side
            while done < w:
                n = min(side - start, w - done)
                part = slice(3 * start, 3 * (start + n))
                _mixed(tiles[0, row, part], tiles[1, row, part], grain, chroma, noise[3 * done : 3 * (done + n)])
                done, start = done + n, 0
            _room(line, room)
            _grained(line, room, noise)
        _clipped(line)
