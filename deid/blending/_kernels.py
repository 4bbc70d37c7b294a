"""Compiled inner loops of the compositor: directions around a face, its reach in each, and the pixels.

Directions are counted by the diamond angle, which grows steadily around the circle as the true angle does and costs one
division: 0 to the right, then clockwise on screen, :data:`BINS` steps in all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

BINS = 256
_QUARTER = BINS // 4


@lru_cache(maxsize=1)
def directions() -> np.ndarray:
    """float32 (BINS, 2): the unit vector of every step."""
    step = np.arange(BINS) / _QUARTER
    x = np.abs(np.mod(step, 4) - 2) - 1
    y = 1 - np.abs(np.mod(step - 1, 4) - 2)
    y = np.where(step <= 2, 1 - np.abs(step - 1), np.abs(step - 3) - 1)
    unit = np.stack([x, y], axis=1)
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    unit.setflags(write=False)
    return unit


@njit(cache=True, nogil=True, inline="always")
def _step(x, y):
    """The diamond angle of (x, y) in steps, 0 <= step < BINS."""
    total = abs(x) + abs(y)
    if total < 1e-9:
        return 0.0
    along = y / total
    if x >= 0:
        turn = along if y >= 0 else 4.0 + along
    else:
        turn = 2.0 - along
    turn *= 64.0
    return turn if turn < 256.0 else 0.0


@njit(cache=True, nogil=True)
def reach(segments, unit):
    """How far line segments reach from the origin: float32 (BINS,), 0 where none lies in that direction.

    ``segments``: float32 (s, 2, 2). ``unit``: float32 (BINS, 2).
    """
    bins = unit.shape[0]
    far = np.zeros(bins, np.float32)
    for s in range(segments.shape[0]):
        ax, ay = segments[s, 0, 0], segments[s, 0, 1]
        ex, ey = segments[s, 1, 0] - ax, segments[s, 1, 1] - ay
        first, last = _step(ax, ay), _step(ax + ex, ay + ey)
        span = last - first
        if span > bins / 2:
            span -= bins
        elif span < -bins / 2:
            span += bins
        if span < 0:
            first, span = last, -span
        for k in range(int(np.ceil(first - 1e-3)), int(np.floor(first + span + 1e-3)) + 1):
            i = k % bins
            across = unit[i, 0] * ey - unit[i, 1] * ex
            if abs(across) < 1e-9:
                continue
            distance = (ax * ey - ay * ex) / across
            if distance > far[i]:
                far[i] = distance
    return far


@njit(cache=True, nogil=True, inline="always")
def _at(table, step):
    """A table over all steps, read between two of them."""
    low = int(step)
    part = step - low
    return table[low] * (1 - part) + table[(low + 1) % table.shape[0]] * part


@njit(cache=True, nogil=True, inline="always")
def _grid_at(grid, step, level):
    """A (BINS / 2, levels) grid, read between its nodes; ``level`` is held inside."""
    half = step * 0.5
    i = int(half)
    u = half - i
    level = min(max(level, 0.0), grid.shape[1] - 1.001)
    j = int(level)
    v = level - j
    k = (i + 1) % grid.shape[0]
    near = grid[i, j] * (1 - v) + grid[i, j + 1] * v
    far = grid[k, j] * (1 - v) + grid[k, j + 1] * v
    return near * (1 - u) + far * u


@njit(cache=True, nogil=True, inline="always")
def _bilinear(picture, x, y, out):
    """Colour of ``picture`` (h, w, 3) at x, y, held inside, into ``out``."""
    h, w = picture.shape[0], picture.shape[1]
    x = min(max(x, 0.0), w - 1.001)
    y = min(max(y, 0.0), h - 1.001)
    i, j = int(y), int(x)
    v, u = np.float32(y - i), np.float32(x - j)
    a, b, c, d = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
    for k in range(3):
        out[k] = (
            a * picture[i, j, k] + b * picture[i, j + 1, k] + c * picture[i + 1, j, k] + d * picture[i + 1, j + 1, k]
        )


@njit(cache=True, nogil=True, inline="always")
def _smooth(x):
    """0 below 0, 1 above 1, smooth in between."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


@njit(cache=True, nogil=True)
def polar_colours(picture, cx, cy, unit, reach_of, first, pitch, levels, step):
    """Colours on a polar grid: float32 (BINS / 2, levels, 3); nodes lie at ``first + pitch * level`` of the reach.

    ``step``: what one sample of ``picture`` measures in the pixels that ``cx, cy`` and ``reach_of`` are in.
    """
    out = np.empty((unit.shape[0] // 2, levels, 3), np.float32)
    for i in range(out.shape[0]):
        for j in range(levels):
            r = reach_of[2 * i] * (first + pitch * j)
            x, y = cx + unit[2 * i, 0] * r, cy + unit[2 * i, 1] * r
            _bilinear(picture, (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5, out[i, j])
    return out


@njit(cache=True, nogil=True)
def polar_values(picture, cx, cy, unit, reach_of, first, pitch, levels):
    """The same of one channel, nearest sample: float32 (BINS / 2, levels); 0 outside the picture."""
    h, w = picture.shape
    out = np.zeros((unit.shape[0] // 2, levels), np.float32)
    for i in range(out.shape[0]):
        for j in range(levels):
            r = reach_of[2 * i] * (first + pitch * j)
            x, y = cx + unit[2 * i, 0] * r, cy + unit[2 * i, 1] * r
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            if 0 <= column < w and 0 <= row < h:
                out[i, j] = picture[row, column]
    return out


@njit(cache=True, nogil=True)
def blend(
    picture, face, cover, centre, tables, gate, skin, hair, fill, occluder, first, pitch, out, touched
):
    """Lay a face over a frame whose surroundings are drawn to the face's outline.

    ``picture``: float32 (h, w, 3), the frame. ``face``: float32 (h, w, 3), what is laid over it, and ``cover``: float32
    (h, w), where it has something to show. ``tables``: float32 (8, BINS): anchor (frame content nearer to the centre is
    never shown), edge (where the frame is shown from), fade (over what distance beyond the edge the frame comes back to
    its place), inner and outer (where the face begins to fade, and has faded), stretch (of the face near its rim), rim
    (the anchor without its margin), mirror (how far inwards, beside the face, frame content is mirrored).
    ``gate``: float32 (BINS / 2, levels), where hair may lie before the face. ``skin``: float32 (BINS, 3), what skin
    would look like. ``hair``: float32 (4,): colour and how much it may be trusted. ``fill``: float32 (3,), skin where
    nothing else is known. ``occluder``: float32 (h, w) or (1, 1) for none. Writes ``out`` and ``touched``.
    """
    h, w = picture.shape[0], picture.shape[1]
    cx, cy = centre[0], centre[1]
    anchor, edge, fade, inner, outer, stretch, rim = (
        tables[0], tables[1], tables[2], tables[3], tables[4], tables[5], tables[6],
    )
    hidden = occluder.shape[0] == h and occluder.shape[1] == w
    ground = np.empty(3, np.float32)
    front = np.empty(3, np.float32)
    strand = np.empty(3, np.float32)
    for y in range(h):
        for x in range(w):
            dx, dy = x - cx, y - cy
            r = np.sqrt(dx * dx + dy * dy)
            step = _step(dx, dy)
            e, d, far = _at(edge, step), _at(fade, step), _at(outer, step)
            if r >= e + d and r >= far:
                touched[y, x] = False
                for k in range(3):
                    out[y, x, k] = picture[y, x, k]
                continue
            touched[y, x] = True
            a0 = _at(anchor, step)
            shift = a0 - e
            inverse = 1.0 / max(r, 1e-6)
            ux, uy = dx * inverse, dy * inverse
            near = _at(inner, step)
            weight = 1.0 - _smooth((r - near) / max(far - near, 1e-3))
            gain = _at(stretch, step)
            fx, fy = float(x), float(y)
            if gain < 0.999 and r > 0.6 * e:
                part = min((r / e - 0.6) / 0.4, 1.0)
                q = r * (1.0 - (1.0 - gain) * part)
                fx, fy = cx + ux * q, cy + uy * q
                _bilinear(face, fx, fy, front)
                row, column = min(max(int(fy + 0.5), 0), h - 1), min(max(int(fx + 0.5), 0), w - 1)
                known = cover[row, column]
            else:
                for k in range(3):
                    front[k] = face[y, x, k]
                known = cover[y, x]
            alpha = weight * known
            if alpha < 0.999:
                if r >= e:
                    s = (r - e) / d
                    rho = r + shift * (1 - s) * (1 - s) * (1 + 2 * s) if s < 1 else r
                else:
                    rho = a0 + 0.5 * (e - r)
                px, py = cx + ux * rho, cy + uy * rho
                if px < 0 or py < 0 or px > w - 1 or py > h - 1:
                    qx, qy = min(max(px, 0.0), w - 1.0), min(max(py, 0.0), h - 1.0)
                    back = _step(qx - cx, qy - cy)
                    if (qx - cx) ** 2 + (qy - cy) ** 2 < _at(anchor, back) ** 2:
                        for k in range(3):
                            ground[k] = fill[k]
                    else:
                        _bilinear(picture, qx, qy, ground)
                else:
                    _bilinear(picture, px, py, ground)
                for k in range(3):
                    front[k] = alpha * front[k] + (1 - alpha) * ground[k]
            if hair[3] > 0:
                if r >= e:
                    s = (r - e) / d
                    bend = (1 - s) * (1 - s) * (1 + 2 * s) if s < 1 else 0.0
                else:
                    s = (e - r) / (0.4 * e)
                    bend = (1 - s) * (1 - s) * (1 + 2 * s) if s < 1 else 0.0
                rho = r + shift * bend
                passing = _grid_at(gate, step, (rho / _at(rim, step) - first) / pitch)
                if passing > 0.004:
                    _bilinear(picture, cx + ux * rho, cy + uy * rho, strand)
                    along, size = 0.0, 1e-6
                    for k in range(3):
                        tone = _at(skin[:, k], step)
                        along += (tone - strand[k]) * (tone - hair[k])
                        size += (tone - hair[k]) ** 2
                    kept = passing * _smooth((along / size - 0.3) / 0.4)
                    for k in range(3):
                        front[k] = kept * strand[k] + (1 - kept) * front[k]
            if hidden:
                o = occluder[y, x]
                for k in range(3):
                    front[k] = o * picture[y, x, k] + (1 - o) * front[k]
            for k in range(3):
                out[y, x, k] = front[k]
