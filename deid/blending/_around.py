"""Compiled loops over what lies along a face's edge: colour along the seam, and the arms of glasses beside it."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import ANCHOR, RIM, SKIN, _at, _grid_at, _held, _smooth, _step

_ZERO, _HALF, _ONE, _TWO, _EIGHTH = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2), np.float32(0.125)
_IN, _OUT = np.float32(0.82), np.float32(1.14)  # of the rim: the ring in which colours are compared
_TINTED = np.float32(0.004)  # squared difference of colour, without that of brightness, of skin from what is not
_GREY = np.float32(0.68)  # of the depth of the rendered skin's colour, below which what lies beside it is no skin
_NEAR, _FAR = np.float32(0.75), np.float32(1.3)  # of the anchor: the ring in which arms are looked for
_EAR = np.float32(1.2)  # of the anchor: how far out arms are looked for where an ear may lie
_OWN = np.float32(0.82)  # of the anchor: where the face's own skin is looked at
_THICK = np.float32(1.08)  # of the anchor: how far out arms are thick


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _depth(colour):  # type: ignore[no-untyped-def]
    """How far a colour is from grey of its brightness, 0 to 1."""
    most = max(colour[0], colour[1], colour[2])
    return (most - min(colour[0], colour[1], colour[2])) / max(most, np.float32(0.02))


@njit(cache=True, nogil=True, error_model="numpy")
def seam_cells(picture, coded, cover, corner, cx, cy, tables, beside, gate, first, pitch, side, rows, columns):  # type: ignore[no-untyped-def]
    """How the frame's skin differs from the rendered skin along the seam: float32 (rows, columns, 3), weighted means
    over the cells of a coarse grid on the face's box, and the weights, (rows, columns).

    ``picture``: float32 (h, w, 3), the frame. ``coded``: float32 (a, b, 3), the face, and ``cover``, its cover, from
    row and column ``corner`` on. ``tables``, ``gate``, ``first``, ``pitch``: as :func:`._kernels.blend` reads them.
    ``beside``: float32 (BINS + 1, 2), how much a direction's seam lies in skin, and that of what lies within the rim
    lies in it besides: below a chin is shade. ``side``: pixels to a side of the
    squares that are compared. Squares unlike the skin that is expected there count little.
    """
    h, w = min(cover.shape[0], picture.shape[0] - corner[0]), min(cover.shape[1], picture.shape[1] - corner[1])
    sums, total = np.zeros((rows, columns, 3), np.float32), np.zeros((rows, columns), np.float32)
    squares = np.zeros((rows, columns), np.float32)
    seen, made = np.empty(3, np.float32), np.empty(3, np.float32)
    share = _ONE / np.float32(side * side)
    middle = np.float32(0.5) * np.float32(side - 1)
    for top in range(0, h - side + 1, side):
        row_of = min((top + side // 2) * rows // h, rows - 1)
        for left in range(0, w - side + 1, side):
            column_of = min((left + side // 2) * columns // w, columns - 1)
            squares[row_of, column_of] += _ONE
            dx, dy = np.float32(left + corner[1]) + middle - cx, np.float32(top + corner[0]) + middle - cy
            step = _step(dx, dy)
            row = int(step)
            part = step - np.float32(row)
            place = np.sqrt(dx * dx + dy * dy) / _at(tables, row, part, RIM)
            skin = _at(beside, row, part, 0)
            if place < _ONE:
                skin += _at(beside, row, part, 1)
            if skin <= _ZERO or place < _IN or place > _OUT:
                continue
            there = _ZERO
            for k in range(3):
                seen[k] = made[k] = _ZERO
            for y in range(top, top + side):
                for x in range(left, left + side):
                    there += cover[y, x] * share
                    for k in range(3):
                        seen[k] += picture[y + corner[0], x + corner[1], k] * share
                        made[k] += coded[y, x, k] * share
            if there < np.float32(0.5):
                continue
            away, mean = _ZERO, _ZERO
            for k in range(3):
                mean += (seen[k] - _at(tables, row, part, SKIN + k)) / np.float32(3)
            tinted = _ZERO
            for k in range(3):
                apart = seen[k] - _at(tables, row, part, SKIN + k)
                away += apart * apart
                tinted += (apart - mean) * (apart - mean)
            ring = min((place - _IN) * np.float32(10), (_OUT - place) * np.float32(20), _ONE)
            free = _ONE - _grid_at(gate, step, (place - first) / pitch)
            weight = ring * free * skin * np.exp(-away / np.float32(0.03) - tinted / _TINTED)
            # beards, shaved or not, and what white collars throw on necks, are greyer than skin
            weight *= _smooth((_depth(seen) / max(_depth(made), np.float32(1e-3)) - _GREY) / np.float32(0.2))
            total[row_of, column_of] += weight
            for k in range(3):
                sums[row_of, column_of, k] += weight * (seen[k] - made[k])
    for i in range(rows):
        for j in range(columns):
            for k in range(3):
                sums[i, j, k] /= max(total[i, j], np.float32(1e-4))
            total[i, j] /= max(squares[i, j], _ONE)
    return sums, total


@njit(cache=True, nogil=True, error_model="numpy")
def without_arms(picture, clean, cx, cy, tables, arms, reach, side):  # type: ignore[no-untyped-def]
    """Copy into ``clean`` what of ``picture`` lies beside the eyes, at the face's rim and outside, without thin lines
    that run away from it: the arms of glasses, which would end at the new face's edge.

    ``tables``: as :func:`._kernels.blend` reads them. ``arms``: float32 (BINS + 1, 2), where arms may be, and
    where they, or the corners of rims, may be thick far out. ``reach``:
    pixels to each side, along the circle, beyond which a line has ended: what is unlike both sides, where they are
    alike, is one. ``side``: pixels from node to node of the grid that lines are looked for on.
    """
    h, w = picture.shape[0], picture.shape[1]
    farthest, nearest = _ZERO, np.float32(1e9)
    for i in range(tables.shape[0]):
        if arms[i, 0] > 0:
            farthest = max(farthest, tables[i, ANCHOR] * _FAR)
            nearest = min(nearest, tables[i, ANCHOR] * _NEAR)
    if farthest <= 0:
        return
    top, left = max(int(cy - farthest), 0), max(int(cx - farthest), 0)
    rows = (min(int(cy + farthest) + 1, h) - top + side - 1) // side
    columns = (min(int(cx + farthest) + 1, w) - left + side - 1) // side
    if rows < 2 or columns < 2:
        return
    nodes, wide = np.zeros((rows, columns, 4), np.float32), np.zeros((rows, columns), np.bool_)
    ends = np.empty((2, 3), np.float32)
    for i in range(rows):
        for j in range(columns):
            y, x = min(top + i * side, h - 1), min(left + j * side, w - 1)
            dx, dy = np.float32(x) - cx, np.float32(y) - cy
            square = dx * dx + dy * dy
            if square < nearest * nearest or square > farthest * farthest:
                continue
            step = _step(dx, dy)
            row = int(step)
            wanted = _at(arms, row, step - np.float32(row), 0)
            if wanted <= 0:
                continue
            r = np.sqrt(square)
            place = r / _at(tables, row, step - np.float32(row), ANCHOR)
            if place >= _NEAR and place <= _FAR:
                thick = arms[row, 1] > _HALF
                last = _FAR if thick else _EAR
                edge = wanted * max(min((last - place) / np.float32(0.12), _ONE), _ZERO)
                wide[i, j] = thick
                if edge <= _ZERO:
                    continue
                _arm(picture, cx, cy, tables, reach, side // 2, y, x, dx, dy, r, place, edge, thick, ends, nodes[i, j])
    _taken_out(picture, clean, _widened(nodes, wide), top, left, side)


@njit(cache=True, nogil=True, error_model="numpy")
def _arm(picture, cx, cy, tables, reach, blur, y, x, dx, dy, r, place, edge, thick, ends, out):  # type: ignore[no-untyped-def]
    """Whether a line passes through a pixel: how much of it is to go, and that much of the colour between its sides,
    into ``out``, float32 (4,)."""
    h, w = picture.shape[0], picture.shape[1]
    tone, count = _ZERO, 0
    for a in range(max(y - blur, 0), min(y + blur + 1, h)):
        for b in range(max(x - blur, 0), min(x + blur + 1, w)):
            tone += picture[a, b, 0] + _TWO * picture[a, b, 1] + picture[a, b, 2]
            count += 1
    tone /= np.float32(count)
    best = _ZERO
    for scale in range(
        1, 4 if thick else (3 if place < _THICK else 2)
    ):  # thin lines, then thick ones, which further out are ears
        uneven = _ZERO  # how much a side differs in itself
        for side in range(2):
            for c in range(3):
                ends[side, c] = _ZERO
            tilt = _ZERO
            for k in range(2):
                away = reach * np.float32(scale * (k + 3) * (2 * side - 1)) * _EIGHTH / r
                ex, ey = dx - away * dy, dy + away * dx
                turned = _step(ex, ey)  # as far out in the outline's terms: never nearer to the face
                far = place * _at(tables, int(turned), turned - np.float32(int(turned)), ANCHOR)
                far /= np.sqrt(ex * ex + ey * ey)
                row_at, column = _held(cy + far * ey, h), _held(cx + far * ex, w)
                for c in range(3):
                    ends[side, c] += picture[row_at, column, c] * np.float32(0.5)
                bright = picture[row_at, column, 0] + _TWO * picture[row_at, column, 1] + picture[row_at, column, 2]
                tilt += bright if k == 0 else -bright
            uneven = max(uneven, abs(tilt))
        before = tone - (ends[0, 0] + _TWO * ends[0, 1] + ends[0, 2])
        after = tone - (ends[1, 0] + _TWO * ends[1, 1] + ends[1, 2])
        unlike = min(abs(before), abs(after)) - np.float32(1.5) * abs(before - after) - uneven
        if before * after > 0 and unlike > best:
            best = unlike
            for c in range(3):
                out[c + 1] = (ends[0, c] + ends[1, c]) * np.float32(0.5)
    out[0] = edge * _smooth((best * np.float32(0.25) - np.float32(0.015)) / np.float32(0.04))
    if thick and out[0] > 0:  # on the far side sides of skin are the face's own edge, not what glasses stand out before
        step = _step(dx, dy)
        inside = _OWN * _at(tables, int(step), step - np.float32(int(step)), ANCHOR) / r
        row_at, column, apart = _held(cy + inside * dy, h), _held(cx + inside * dx, w), _ZERO
        for c in range(3):
            apart += (picture[row_at, column, c] - out[c + 1]) ** 2
        out[0] *= _smooth((apart - np.float32(0.01)) / np.float32(0.03))
    for c in range(3):
        out[c + 1] *= out[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _widened(nodes, wide):  # type: ignore[no-untyped-def]
    """Where lines may be ``wide``, every node as strong as the strongest beside it: of a corner of a rim, whose colours
    differ, no crumbs are to stay."""
    rows, columns = wide.shape
    out = nodes.copy()
    for i in range(rows):
        for j in range(columns):
            if not wide[i, j]:
                continue
            most, total = _ZERO, _ZERO
            for k in range(1, 4):
                out[i, j, k] = _ZERO
            for a in range(max(i - 2, 0), min(i + 3, rows)):
                for b in range(max(j - 2, 0), min(j + 3, columns)):
                    most = max(most, nodes[a, b, 0])
                    total += nodes[a, b, 0]
                    for k in range(1, 4):
                        out[i, j, k] += nodes[a, b, k]
            out[i, j, 0] = most
            for k in range(1, 4):
                out[i, j, k] *= most / max(total, np.float32(1e-6))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _taken_out(picture, clean, nodes, top, left, side):  # type: ignore[no-untyped-def]
    """Lay what the ``nodes`` of a grid say over ``clean``."""
    h, w = picture.shape[0], picture.shape[1]
    rows, columns = nodes.shape[:2]
    fraction = _ONE / np.float32(side)
    for i in range(rows - (1 if side > 1 else 0)):
        for j in range(columns - (1 if side > 1 else 0)):
            n, m = min(i + 1, rows - 1), min(j + 1, columns - 1)
            if max(nodes[i, j, 0], nodes[n, j, 0], nodes[i, m, 0], nodes[n, m, 0]) <= 0:
                continue
            for y in range(top + i * side, min(top + (i + 1) * side, h)):
                v = np.float32(y - top - i * side) * fraction
                for x in range(left + j * side, min(left + (j + 1) * side, w)):
                    u = np.float32(x - left - j * side) * fraction
                    share = _mean(nodes, i, j, n, m, u, v, 0)
                    if share > _ZERO:
                        for k in range(3):
                            clean[y, x, k] += _mean(nodes, i, j, n, m, u, v, k + 1) - share * picture[y, x, k]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _mean(nodes, i, j, n, m, u, v, k):  # type: ignore[no-untyped-def]
    upper = nodes[i, j, k] + u * (nodes[i, m, k] - nodes[i, j, k])
    return upper + v * (nodes[n, j, k] + u * (nodes[n, m, k] - nodes[n, j, k]) - upper)
