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
STILL = np.float32(0.03)  # pixels: surroundings that would move by less stay
ANCHOR, EDGE, END, INNER, OUTER, RIM, CORE, STRETCH, HASTE, SKIN, HAIR = (*range(10), 12)
"""Columns of the tables that :func:`blend` reads; ``SKIN`` and ``HAIR`` are the first of three."""


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


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _step(x, y):  # type: ignore[no-untyped-def]
    """The diamond angle of (x, y) in steps, 0 <= step < BINS."""
    total = abs(x) + abs(y)
    if total < np.float32(1e-9):
        return np.float32(0)
    along = y / total
    if x >= 0:
        turn = along if y >= 0 else np.float32(4) + along
    else:
        turn = np.float32(2) - along
    turn *= np.float32(64)
    return turn if turn < np.float32(256) else np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def reach(segments, unit):  # type: ignore[no-untyped-def]
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


def closed(tables: np.ndarray) -> np.ndarray:
    """Tables over all steps, (n, BINS), as the kernels read them: float32 (BINS + 1, n), the first row again at the
    end."""
    return np.ascontiguousarray(np.concatenate([tables, tables[:, :1]], axis=1).T, dtype=np.float32)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _at(tables, row, part, column):  # type: ignore[no-untyped-def]
    """A table, read between ``row`` and the next."""
    low = tables[row, column]
    return low + part * (tables[row + 1, column] - low)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _grid_at(grid, step, level):  # type: ignore[no-untyped-def]
    """A (BINS / 2 + 1, levels) grid, read between its nodes; ``level`` is held inside."""
    half = step * np.float32(0.5)
    i = int(half)
    u = half - i
    level = min(max(level, np.float32(0)), np.float32(grid.shape[1] - 1.001))
    j = int(level)
    v = level - j
    near = grid[i, j] + v * (grid[i, j + 1] - grid[i, j])
    far = grid[i + 1, j] + v * (grid[i + 1, j + 1] - grid[i + 1, j])
    return near + u * (far - near)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _bilinear(picture, x, y):  # type: ignore[no-untyped-def]
    """Colour of ``picture`` (h, w, 3) at x, y, held inside: three numbers."""
    x = min(max(x, np.float32(0)), np.float32(picture.shape[1] - 1.001))
    y = min(max(y, np.float32(0)), np.float32(picture.shape[0] - 1.001))
    i, j = np.uintp(y), np.uintp(x)
    below, right = i + np.uintp(1), j + np.uintp(1)
    v, u = y - np.float32(i), x - np.float32(j)
    d = u * v
    c, b = v - d, u - d
    a = np.float32(1) - u - c
    red, green, blue = np.uintp(0), np.uintp(1), np.uintp(2)
    return (
        a * picture[i, j, red]
        + b * picture[i, right, red]
        + c * picture[below, j, red]
        + d * picture[below, right, red],
        a * picture[i, j, green]
        + b * picture[i, right, green]
        + c * picture[below, j, green]
        + d * picture[below, right, green],
        a * picture[i, j, blue]
        + b * picture[i, right, blue]
        + c * picture[below, j, blue]
        + d * picture[below, right, blue],
    )


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _held(place, size):  # type: ignore[no-untyped-def]
    """The sample nearest to ``place``, held inside."""
    return min(max(int(place + np.float32(0.5)), 0), size - 1)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _smooth(x):  # type: ignore[no-untyped-def]
    """0 below 0, 1 above 1, smooth in between."""
    x = min(max(x, np.float32(0)), np.float32(1))
    return x * x * (np.float32(3) - np.float32(2) * x)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _bend(s):  # type: ignore[no-untyped-def]
    """How much of the shift is left at ``s`` of the way out: 1 to 0, flat at both ends, steepest -1.5."""
    left = max(np.float32(1) - s, np.float32(0))
    return left * left * (np.float32(3) - np.float32(2) * left)


@njit(cache=True, nogil=True, error_model="numpy")
def seam_weight(picture, cover, cx, cy, tables, beside, gate, first, pitch):  # type: ignore[no-untyped-def]
    """Where the frame's skin and the rendered skin are to agree along the seam: float32 (h, w).

    All in the pixels of a reduced picture. ``picture``: float32 (h, w, 3). ``cover``: float32 (h, w). ``tables``: as
    :func:`blend` reads them. ``beside``: float32 (BINS + 1, 1), how much a direction's seam lies in skin. ``gate``: as
    :func:`blend` reads it. Pixels unlike the skin that is expected there count little.
    """
    h, w = picture.shape[0], picture.shape[1]
    out = np.zeros((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            dx, dy = np.float32(x) - cx, np.float32(y) - cy
            r = np.sqrt(dx * dx + dy * dy)
            step = _step(dx, dy)
            row = int(step)
            part = step - row
            place = r / _at(tables, row, part, RIM)
            if place < np.float32(0.82) or place > np.float32(1.14) or cover[y, x] < np.float32(0.5):
                continue
            away = np.float32(0)
            for k in range(3):
                away += (picture[y, x, k] - _at(tables, row, part, SKIN + k)) ** 2
            ring = min((place - np.float32(0.82)) / np.float32(0.1), (np.float32(1.14) - place) / np.float32(0.05), 1)
            free = 1 - _grid_at(gate, step, (place - first) / pitch)
            out[y, x] = ring * free * _at(beside, row, part, 0) * np.exp(-away / np.float32(0.03))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def without_arms(picture, clean, cx, cy, tables, arms, reach):  # type: ignore[no-untyped-def]
    """Copy into ``clean`` what of ``picture`` lies beside the eyes, at the face's rim and outside, without thin lines
    that run away from it: the arms of glasses, which would end at the new face's edge.

    ``tables``: as :func:`blend` reads them. ``arms``: float32 (BINS + 1, 1), where arms may be. ``reach``: pixels to
    each side, along the circle, beyond which a line has ended: what is unlike both sides, where they are alike, is one.
    """
    h, w = picture.shape[0], picture.shape[1]
    ends, between = np.empty((2, 3), np.float32), np.empty(3, np.float32)
    farthest, nearest = np.float32(0), np.float32(1e9)
    for i in range(tables.shape[0]):
        if arms[i, 0] > 0:
            farthest = max(farthest, tables[i, ANCHOR] * np.float32(1.3))
            nearest = min(nearest, tables[i, ANCHOR] * np.float32(0.75))
    for y in range(max(int(cy - farthest), 0), min(int(cy + farthest) + 1, h)):
        for x in range(max(int(cx - farthest), 0), min(int(cx + farthest) + 1, w)):
            dx, dy = np.float32(x) - cx, np.float32(y) - cy
            square = dx * dx + dy * dy
            if square < nearest * nearest or square > farthest * farthest:
                continue
            step = _step(dx, dy)
            row = int(step)
            wanted = _at(arms, row, step - row, 0)
            if wanted <= 0:
                continue
            r = np.sqrt(square)
            place = r / _at(tables, row, step - row, ANCHOR)
            if place < np.float32(0.75) or place > np.float32(1.3):
                continue
            tone = picture[y, x, 0] + 2 * picture[y, x, 1] + picture[y, x, 2]
            best = np.float32(0)
            for scale in range(1, 3):  # thin lines, then thick ones
                for side in range(2):
                    for c in range(3):
                        ends[side, c] = 0
                    for k in range(2):
                        away = reach * np.float32(scale) * np.float32((k + 3) * (2 * side - 1)) / np.float32(8) / r
                        ex, ey = dx - away * dy, dy + away * dx
                        turned = _step(ex, ey)  # as far out in the outline's terms: never nearer to the face
                        far = place * _at(tables, int(turned), turned - int(turned), ANCHOR)
                        far /= np.sqrt(ex * ex + ey * ey)
                        row_at, column = _held(cy + far * ey, h), _held(cx + far * ex, w)
                        for c in range(3):
                            ends[side, c] += picture[row_at, column, c] / 2
                before = tone - (ends[0, 0] + 2 * ends[0, 1] + ends[0, 2])
                after = tone - (ends[1, 0] + 2 * ends[1, 1] + ends[1, 2])
                unlike = min(abs(before), abs(after)) - np.float32(1.5) * abs(before - after)
                if before * after > 0 and unlike > best:
                    best = unlike
                    for c in range(3):
                        between[c] = (ends[0, c] + ends[1, c]) / 2
            if best <= 0:
                continue
            edge = min((np.float32(1.3) - place) / np.float32(0.15), np.float32(1))
            taken = wanted * edge * _smooth((best / np.float32(4) - np.float32(0.015)) / np.float32(0.04))
            for c in range(3):
                clean[y, x, c] += taken * (between[c] - picture[y, x, c])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _surroundings(picture, tables, cx, cy, x, y, fill):  # type: ignore[no-untyped-def]
    """Colour of the frame at x, y, three numbers; ``fill`` where that lies beyond its border and the border is face."""
    qx = min(max(x, np.float32(0)), np.float32(picture.shape[1] - 1))
    qy = min(max(y, np.float32(0)), np.float32(picture.shape[0] - 1))
    if qx != x or qy != y:
        back = _step(qx - cx, qy - cy)
        limit = _at(tables, int(back), back - int(back), ANCHOR)
        if (qx - cx) * (qx - cx) + (qy - cy) * (qy - cy) < limit * limit:
            return fill[0], fill[1], fill[2]
    return _bilinear(picture, qx, qy)


@njit(cache=True, nogil=True, error_model="numpy")
def blend(picture, clean, face, cover, corner, centre, tables, gate, fill, occluder, first, pitch, out, touched):  # type: ignore[no-untyped-def]
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
    Writes into ``out``, which holds the frame, and ``touched``, which holds ``False``.
    """
    h, w = picture.shape[0], picture.shape[1]
    top, left = corner
    cx, cy = centre[0], centre[1]
    farthest, nearest = np.float32(0), tables[0, CORE]
    for i in range(tables.shape[0]):
        farthest = max(farthest, tables[i, END], tables[i, OUTER])
        nearest = min(nearest, tables[i, CORE])
    hidden = occluder.shape[0] == h and occluder.shape[1] == w
    ground, front, strand = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    for y in range(max(int(cy - farthest), 0), min(int(cy + farthest) + 2, h)):
        for x in range(max(int(cx - farthest), 0), min(int(cx + farthest) + 2, w)):
            dx, dy = np.float32(x) - cx, np.float32(y) - cy
            r = np.sqrt(dx * dx + dy * dy)
            step, e, far, part = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            row = 0
            outside = r >= farthest
            if not outside and r > nearest:
                step = _step(dx, dy)
                row = int(step)
                part = step - row
                e, far = _at(tables, row, part, EDGE), _at(tables, row, part, OUTER)
                outside = r >= far and r >= _at(tables, row, part, END)
            o = occluder[y, x] if hidden else np.float32(0)
            touched[y, x] = not outside
            if outside or o >= 1:
                continue
            if r <= nearest:
                alpha = cover[y - top, x - left]
                for k in range(3):
                    front[k] = face[y - top, x - left, k]
                if alpha < 1:
                    for k in range(3):
                        front[k] = alpha * front[k] + (1 - alpha) * fill[k]
            else:
                start = _at(tables, row, part, ANCHOR)
                shift = start - e
                haste = _at(tables, row, part, HASTE)
                inverse = np.float32(1) / r
                ux, uy = dx * inverse, dy * inverse
                if r >= far:  # nothing but surroundings, out of their place
                    moved = shift * _bend((r - e) * haste)
                    touched[y, x] = abs(moved) > STILL
                    if touched[y, x]:
                        px, py = np.float32(x) + ux * moved, np.float32(y) + uy * moved
                        red, green, blue = _surroundings(clean, tables, cx, cy, px, py, fill)
                        out[y, x, 0] = red + o * (picture[y, x, 0] - red)
                        out[y, x, 1] = green + o * (picture[y, x, 1] - green)
                        out[y, x, 2] = blue + o * (picture[y, x, 2] - blue)
                    continue
                gain = _at(tables, row, part, STRETCH)
                still = min(np.float32(0.8), np.float32(0.85) * gain) * far
                if abs(gain - 1) > np.float32(0.001) and r > still:
                    q = still + (r - still) * (gain * far - still) / (far - still)
                    fx, fy = cx + ux * q - left, cy + uy * q - top
                    front[0], front[1], front[2] = _bilinear(face, fx, fy)
                    alpha = cover[_held(fy, cover.shape[0]), _held(fx, cover.shape[1])]
                else:
                    alpha = cover[y - top, x - left]
                    for k in range(3):
                        front[k] = face[y - top, x - left, k]
                near = _at(tables, row, part, INNER)
                fading = 1 - _smooth((r - near) / max(far - near, np.float32(1e-3)))
                alpha *= fading
                if alpha < np.float32(0.999):
                    rho = r + shift * _bend((r - e) * haste) if r >= e else start + np.float32(0.5) * (e - r)
                    ground[0], ground[1], ground[2] = _surroundings(
                        clean, tables, cx, cy, cx + ux * rho, cy + uy * rho, fill
                    )
                    for k in range(3):
                        front[k] = alpha * front[k] + (1 - alpha) * ground[k]
                if r < far and r > _at(tables, row, part, CORE):
                    bend = _bend((r - e) * haste) if r >= e else _bend((e - r) / (np.float32(0.4) * e))
                    rho = r + shift * bend
                    passing = _grid_at(gate, step, (rho / _at(tables, row, part, RIM) - first) / pitch)
                    px, py = cx + ux * rho, cy + uy * rho
                    if passing > np.float32(0.004) and px >= 0 and py >= 0 and px <= w - 1 and py <= h - 1:
                        strand[0], strand[1], strand[2] = _bilinear(clean, px, py)
                        along, size, apart = np.float32(0), np.float32(1e-6), np.float32(0)
                        for k in range(3):
                            skin = _at(tables, row, part, SKIN + k)
                            line = skin - _at(tables, row, part, HAIR + k)
                            along += (skin - strand[k]) * line
                            size += line * line
                            apart += (skin - strand[k]) ** 2
                        share = min(along / size, np.float32(1))
                        kept = passing * _smooth((share - np.float32(0.35)) / np.float32(0.5))
                        # what is far from every mixture of skin and hair is something else
                        kept *= 1 - _smooth((apart - along * along / size - np.float32(0.02)) / np.float32(0.05))
                        pure = fading if r >= e else np.float32(1)
                        skinny = pure * (1 - share) * _smooth((np.float32(0.95) - share) / np.float32(0.2))
                        for k in range(3):  # what of the pixel is not hair is the frame's own skin: taken out
                            line = _at(tables, row, part, SKIN + k) - _at(tables, row, part, HAIR + k)
                            front[k] += kept * (strand[k] - skinny * line - front[k])
            for k in range(3):
                out[y, x, k] = front[k] + o * (picture[y, x, k] - front[k])
