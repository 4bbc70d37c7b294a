"""The compiled loop that lays a face over a frame: row by row, in passes over few arrays each.

Arrays are handed from function to function once a row, not once a pixel: counting their references would cost more
than the arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import (
    ANCHOR,
    BINS,
    CORE,
    EDGE,
    END,
    HAIR,
    HASTE,
    INNER,
    OUTER,
    RIM,
    SKIN,
    STILL,
    STRETCH,
    _at,
    _bend,
    _bilinear,
    _grid_at,
    _held,
    _smooth,
    _step,
)

_ALONG = 24  # pixels along the frame's border that are looked at for something that is no face
_BORDER = np.float32(3)  # pixels beyond the frame's border at which hair goes on as it is on the border
_SIDE = 8  # pixels: squares of this size are told apart first
_STAYS, _FACE, _MOVED, _MIXED = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(3)
_FADE, _FX, _FY, _GX, _GY, _HX, _HY, _PASS, _PURE = range(9)
"""Columns of a row's plan: how much of the face, where in it; where in the frame the ground lies; where hair would lie,
how much of that passes, and how much of what is below is the new face."""
_DIRECT, _FILL = np.float32(-1e6), np.float32(-1e6)  # as places: the pixel itself; nothing known
_FAST = {"contract", "nsz", "reassoc"}  # the order of sums is free, the same in every run
_ZERO, _ONE = np.float32(0), np.float32(1)
_WHOLE = np.float32(0.999)  # of cover: no hole
_DARKEST, _LEAST = np.float32(0.5), np.float32(0.01)  # shade on skin; squared contrast that can be told
_THIN, _THICK = np.float32(0.2), _ONE / np.float32(0.65)
"""Opacity of hair that is skin's own shade, and the reciprocal of how much more is hair alone: steeper, and the edge of
hair before a cheek would be a cut-out's."""
HAIR_SHOWS = np.float32(0.004)
"""Less hair than this does not show."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def blend(picture, clean, face, cover, corner, centre, tables, gate, fill, occluder, first, pitch, place, out, touched):  # type: ignore[no-untyped-def]
    """Lay a face over a frame whose surroundings are drawn to the face's outline.

    ``picture``: float32 (h, w, 3), the frame; ``clean``: the same as it is to be drawn around the face. ``face``:
    float32 (a, b, 3), what is laid over it from the row and column ``corner`` on, and ``cover``: float32 (a, b), where
    it has something to show; they hold all that is nearer than ``outer`` (below). ``tables``: float32 (BINS + 1, 15),
    distances from ``centre`` in each direction: anchor (frame content nearer to the centre is never shown), edge (where
    the frame is shown from), end (where it is in its place), inner and outer (where the face begins to fade, and has
    faded), rim (the anchor without its margin), core (inside, there is nothing but the face); then how much of outer
    the face reaches by itself, the reciprocal of the way from edge to end, the colour of skin and that of hair.
    ``gate``: float32 (BINS / 2 + 1, levels), where hair may hang.
    ``fill``: float32 (3,), skin where nothing else is known. ``occluder``: float32 (h, w) or (1, 1) for none. All
    colours are code values.
    Writes ``out``, float32 (m, n, 3), the frame from the row and column ``place`` on, and ``touched``, bool (m, n);
    everything that may change lies there.
    """
    top, left = place
    count = out.shape[1]
    cx, cy = centre[0], centre[1]
    hidden = occluder.shape[0] == picture.shape[0] and occluder.shape[1] == picture.shape[1]
    r, step = np.empty(count, np.float32), np.empty(count, np.float32)
    squares = np.empty((count + _SIDE - 1) // _SIDE, np.uint8)
    kind, plan = np.empty(count, np.uint8), np.empty((count, 9), np.float32)
    nearest, hairy = tables[:, CORE].min(), _hairy(gate)
    size = (np.float32(picture.shape[0] - 1), np.float32(picture.shape[1] - 1))
    at = (np.float32(corner[0]), np.float32(corner[1]))
    for y in range(out.shape[0]):
        if y % _SIDE == 0:
            _squares(tables, cx, cy, top + y, left, squares)
        _polar_row(np.float32(top + y) - cy, np.float32(left) - cx, r, step)
        _plan_row(
            tables, gate, hairy, first, pitch, cx, cy, nearest, top + y, left, size, at, r, step, squares, kind, plan
        )
        _draw_row(picture, clean, face, cover, corner, fill, top + y, left, kind, plan, out[y])
        if hairy.any():
            _strands_row(clean, tables, step, kind, plan, out[y])
        if hidden:
            _covered_row(picture[top + y], occluder[top + y], left, out[y])
        for x in range(count):
            touched[y, x] = kind[x] != _STAYS


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _hairy(gate):  # type: ignore[no-untyped-def]
    """bool (BINS + 1,): between which directions hair may hang."""
    out = np.zeros(BINS + 1, np.bool_)
    for i in range(gate.shape[0] - 1):
        for j in range(gate.shape[1]):
            if max(gate[i, j], gate[i + 1, j]) > HAIR_SHOWS:
                out[2 * i] = out[2 * i + 1] = True
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _polar_row(y, x, r, step):  # type: ignore[no-untyped-def]
    """Distance and direction, in steps, of a row of pixels from ``x, y`` on, relative to the centre. One loop without
    branches, which is turned into vector instructions."""
    for i in range(len(r)):
        dx = x + np.float32(i)
        r[i] = np.sqrt(dx * dx + y * y)
        along = np.float32(64) * y / max(abs(dx) + abs(y), np.float32(1e-9))
        turn = np.float32(128) - along if dx < 0 else (along if y >= 0 else np.float32(256) + along)
        step[i] = turn if turn < np.float32(256) else _ZERO


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _squares(tables, cx, cy, y, left, out):  # type: ignore[no-untyped-def]
    """What squares of ``_SIDE`` pixels, from row ``y`` and column ``left`` on, are: surroundings that stay, face alone,
    or anything."""
    half = np.float32(0.5 * (_SIDE - 1))
    radius = np.float32(0.7072) * np.float32(_SIDE)
    for n in range(len(out)):
        dx, dy = np.float32(left + n * _SIDE) + half - cx, np.float32(y) + half - cy
        r = np.sqrt(dx * dx + dy * dy)
        spread = _ONE + np.float32(64) * radius / max(r - radius, _ONE)
        out[n] = _MIXED
        if spread > np.float32(100):
            continue
        step = _step(dx, dy)
        nearest, farthest = np.float32(1e9), _ZERO
        for i in range(int(np.floor(step - spread)), int(np.ceil(step + spread)) + 1):
            row = i & (BINS - 1)
            nearest = min(nearest, tables[row, CORE])
            farthest = max(farthest, tables[row, END], tables[row, OUTER])
        if r - radius >= farthest:
            out[n] = _STAYS
        elif r + radius < nearest:
            out[n] = _FACE


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _plan_row(tables, gate, hairy, first, pitch, cx, cy, nearest, y, left, size, corner, r, step, squares, kind, plan):  # type: ignore[no-untyped-def]
    """What every pixel of a row shows, into ``kind``, and from where, into ``plan``."""
    for x in range(len(kind)):
        kind[x] = squares[x // _SIDE]
        if kind[x] != _MIXED:
            continue
        row, far_off = int(step[x]), r[x]
        part = step[x] - np.float32(row)
        e, far = _at(tables, row, part, EDGE), _at(tables, row, part, OUTER)
        if far_off <= nearest:
            kind[x] = _FACE
            continue
        if far_off >= far and far_off >= _at(tables, row, part, END):
            kind[x] = _STAYS
            continue
        start = _at(tables, row, part, ANCHOR)
        shift = start - e
        inverse = _ONE / far_off
        ux, uy = (np.float32(left + x) - cx) * inverse, (np.float32(y) - cy) * inverse
        if far_off >= e:
            bend = _bend((far_off - e) * _at(tables, row, part, HASTE))
            moved = far_off + shift * bend
            under = moved
        else:
            bend = _bend((e - far_off) / (np.float32(0.4) * e))
            moved = far_off + shift * bend
            under = start
        gx, gy = cx + ux * under, cy + uy * under
        qx, qy = min(max(gx, _ZERO), size[1]), min(max(gy, _ZERO), size[0])
        if qx != gx or qy != gy:  # beyond the frame's border: fill where the border is face
            qx, qy = _beside(tables, cx, cy, qx, qy, qx != gx, size)
        plan[x, _GX], plan[x, _GY] = qx, qy
        if far_off >= far:  # nothing but surroundings, out of their place
            kind[x] = _MOVED if abs(shift * bend) > STILL else _STAYS
            continue
        gain, near = _at(tables, row, part, STRETCH), _at(tables, row, part, INNER)
        still = min(np.float32(0.8), np.float32(0.85) * gain) * far
        fading = _ONE - _smooth((far_off - near) / max(far - near, np.float32(1e-3)))
        plan[x, _FADE], plan[x, _FX] = fading, _DIRECT
        if abs(gain - _ONE) > np.float32(0.001) and far_off > still:
            q = still + (far_off - still) * (gain * far - still) / (far - still)
            plan[x, _FX], plan[x, _FY] = cx + ux * q - corner[1], cy + uy * q - corner[0]
        plan[x, _PASS] = _ZERO
        if hairy[row] and far_off > _at(tables, row, part, CORE):
            hx, hy = cx + ux * moved, cy + uy * moved
            if min(hx, hy) >= -_BORDER and hx <= size[1] + _BORDER and hy <= size[0] + _BORDER:
                plan[x, _HX], plan[x, _HY] = hx, hy
                plan[x, _PASS] = _grid_at(gate, step[x], (moved / _at(tables, row, part, RIM) - first) / pitch)
                plan[x, _PURE] = fading if far_off >= e else _ONE


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _beside(tables, cx, cy, qx, qy, upright, size):  # type: ignore[no-untyped-def]
    """The place on the frame's border nearest to ``qx, qy``, which lies on it, up or down if ``upright``, else to the
    sides, where there is no face; :data:`_FILL` where that is far."""
    for n in range(_ALONG):
        for side in range(-1, 2, 2):
            x = qx if upright else qx + np.float32(side * n)
            y = qy + np.float32(side * n) if upright else qy
            if x < _ZERO or y < _ZERO or x > size[1] or y > size[0]:
                continue
            back = _step(x - cx, y - cy)
            limit = _at(tables, int(back), back - np.float32(int(back)), ANCHOR)
            if (x - cx) * (x - cx) + (y - cy) * (y - cy) >= limit * limit:
                return x, y
    return _FILL, qy


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _draw_row(picture, clean, face, cover, corner, fill, y, left, kind, plan, out):  # type: ignore[no-untyped-def]
    """A row as planned, but for hair, into ``out``, float32 (n, 3). Runs of one kind are copied whole."""
    i, x = y - corner[0], 0
    while x < len(kind):
        what, start = kind[x], x
        while x < len(kind) and kind[x] == what:
            x += 1
        j = left + start - corner[1]
        if what == _STAYS:
            _copied(picture[y, left + start : left + x], out[start:x])
        elif what == _FACE:
            _copied(face[i, j : j + x - start], out[start:x])
            _filled(cover[i, j : j + x - start], fill, out[start:x])
        else:
            _mixed_run(clean, face, cover, fill, i, j, what == _MOVED, plan[start:x], out[start:x])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _copied(line, out):  # type: ignore[no-untyped-def]
    for x in range(len(out)):
        for k in range(3):
            out[x, k] = line[x, k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _filled(cover, fill, out):  # type: ignore[no-untyped-def]
    for x in range(len(out)):
        if cover[x] < _WHOLE:
            for k in range(3):
                out[x, k] = fill[k] + cover[x] * (out[x, k] - fill[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _mixed_run(clean, face, cover, fill, i, j, bare, plan, out):  # type: ignore[no-untyped-def]
    """Pixels of the face's edge and around it; ``i``, ``j``: the first one's place in ``face``. ``bare``: no face."""
    for x in range(len(out)):
        if bare:
            alpha, red, green, blue = _ZERO, _ZERO, _ZERO, _ZERO
        elif plan[x, _FX] == _DIRECT:
            alpha, red, green, blue = cover[i, j + x], face[i, j + x, 0], face[i, j + x, 1], face[i, j + x, 2]
            alpha *= plan[x, _FADE]
        else:
            fx, fy = plan[x, _FX], plan[x, _FY]
            red, green, blue = _bilinear(face, fx, fy)
            alpha = cover[_held(fy, cover.shape[0]), _held(fx, cover.shape[1])] * plan[x, _FADE]
        if alpha < _WHOLE:
            a, b, c = fill[0], fill[1], fill[2]
            if plan[x, _GX] != _FILL:
                a, b, c = _bilinear(clean, plan[x, _GX], plan[x, _GY])
            red, green, blue = a + alpha * (red - a), b + alpha * (green - b), c + alpha * (blue - c)
        out[x, 0], out[x, 1], out[x, 2] = red, green, blue


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _strands_row(clean, tables, step, kind, plan, out):  # type: ignore[no-untyped-def]
    """Lay the hair that the frame shows over a row: what of a pixel is not hair is the frame's own skin, and is taken
    out where there is nothing but the new face below."""
    line, seen = np.empty(3, np.float32), np.empty(3, np.float32)
    for x in range(len(kind)):
        if kind[x] != _MIXED or plan[x, _PASS] <= HAIR_SHOWS:
            continue
        row = int(step[x])
        part = step[x] - np.float32(row)
        seen[0], seen[1], seen[2] = _bilinear(clean, plan[x, _HX], plan[x, _HY])
        along, size, apart, lit, there = _ZERO, _LEAST, _ZERO, _ZERO, _ZERO
        for k in range(3):
            lit += _at(tables, row, part, SKIN + k)
            there += out[x, k]
        # skin in shade, where the new face is, too, is no hair
        shade = _ONE - plan[x, _FADE] * (_ONE - min(max(there / max(lit, _LEAST), _DARKEST), _ONE))
        for k in range(3):
            skin = shade * _at(tables, row, part, SKIN + k)
            line[k] = skin - _at(tables, row, part, HAIR + k)
            away = skin - seen[k]
            along += away * line[k]
            size += line[k] * line[k]
            apart += away * away
        share = min(along / size, _ONE)
        kept = plan[x, _PASS] * min(max((share - _THIN) * _THICK, _ZERO), _ONE)
        # what is far from every mixture of skin and hair is something else
        kept *= _ONE - _smooth((apart - along * along / size - np.float32(0.02)) / np.float32(0.05))
        skinny = plan[x, _PURE] * (_ONE - share) * _smooth((np.float32(0.95) - share) / np.float32(0.2))
        for k in range(3):
            out[x, k] += kept * (seen[k] - skinny * line[k] - out[x, k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _covered_row(picture, occluder, left, out):  # type: ignore[no-untyped-def]
    """What lies before the face, over a row."""
    for x in range(len(out)):
        o = occluder[left + x]
        if o > _ZERO:
            for k in range(3):
                seen = picture[left + x, k]
                out[x, k] = seen if o >= _ONE else out[x, k] + o * (seen - out[x, k])
