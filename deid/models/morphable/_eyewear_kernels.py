"""Compiled inner loops of :mod:`.eyewear_draw`."""

from __future__ import annotations

import numpy as np
from numba import njit

NOWHERE = np.float32(-1e9)
_BARE = (0.17, 0.25)  # code values from the skin's tone within which the head is taken for bare, and for hair


@njit(cache=True, nogil=True, error_model="numpy")
def tubes(ends, half, share, behind, depth, step, cover, sides):  # type: ignore[no-untyped-def]
    """Cover of a picture by tubes. ``ends``: float32 (n, 2, 3), pixels and camera z. ``half``: float32 (n,), pixels.
    ``share``: float32 (n,). ``behind``: how far a tube may lie behind the head and be seen. ``depth``: float32 (a, b),
    camera z of the head, one a ``step`` pixels. Fills ``cover``, float32 (h, w), and ``sides``, float32 (h, w, 2): the
    tube's normal on screen, x right, y down."""
    h, w = cover.shape
    for i in range(ends.shape[0]):
        ax, ay, bx, by = ends[i, 0, 0], ends[i, 0, 1], ends[i, 1, 0], ends[i, 1, 1]
        wide = max(half[i], np.float32(0.5))
        strength = share[i] * min(half[i] / wide, np.float32(1))
        reach = wide + np.float32(1)
        # a pixel shows the mean of all ways that a thin tube faces
        round_ = min(max((wide - np.float32(0.5)) / np.float32(1.8), np.float32(0.05)), np.float32(1))
        dx, dy = bx - ax, by - ay
        square = max(dx * dx + dy * dy, np.float32(1e-6))
        for y in range(max(0, int(min(ay, by) - reach)), min(h, int(max(ay, by) + reach) + 2)):
            for x in range(max(0, int(min(ax, bx) - reach)), min(w, int(max(ax, bx) + reach) + 2)):
                px, py = np.float32(x) - ax, np.float32(y) - ay
                t = min(max((px * dx + py * dy) / square, np.float32(0)), np.float32(1))
                ox, oy = px - t * dx, py - t * dy
                d = np.sqrt(ox * ox + oy * oy)
                c = min(max(wide + np.float32(0.5) - d, np.float32(0)), np.float32(1)) * strength
                scale = round_ / max(wide, d)
                old = sides[y, x, 0] * sides[y, x, 0] + sides[y, x, 1] * sides[y, x, 1]
                nearer = d * d * scale * scale < old  # where pieces meet, the one whose side this is
                if c <= 0 or c < cover[y, x] or (c == cover[y, x] and not nearer):
                    continue
                z = ends[i, 0, 2] + t * (ends[i, 1, 2] - ends[i, 0, 2])
                row, column = min(int(y / step), depth.shape[0] - 1), min(int(x / step), depth.shape[1] - 1)
                if z + behind < depth[row, column]:
                    continue
                cover[y, x] = c
                sides[y, x, 0] = ox * scale
                sides[y, x, 1] = oy * scale


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(points, triangles, depth):  # type: ignore[no-untyped-def]
    """Into ``depth``, float32 (h, w): the greatest z of the triangles over each sample. ``points``: float32 (V, 3)."""
    h, w = depth.shape
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= np.float32(-1e-6):  # y points down: what faces the camera turns the other way
            continue
        x0, x1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(w - 1, int(np.floor(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.ceil(min(ay, by, cy)))), min(h - 1, int(np.floor(max(ay, by, cy))))
        if x0 > x1 or y0 > y1:
            continue
        inverse = np.float32(1) / area
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                u = ((bx - x) * (cy - y) - (cx - x) * (by - y)) * inverse
                v = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) * inverse
                t = np.float32(1) - u - v
                if u >= 0 and v >= 0 and t >= 0:
                    z = u * points[a, 2] + v * points[b, 2] + t * points[c, 2]
                    if z > depth[y, x]:
                        depth[y, x] = z


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _bare(picture, y, x, tone):  # type: ignore[no-untyped-def]
    """1 where the picture has about the colour of skin, 0 where hair would hide what runs over the head."""
    h, w = picture.shape[0], picture.shape[1]
    away = np.float32(0)
    for k in range(3):
        total = np.float32(0)
        for i in range(-1, 2):
            for j in range(-1, 2):
                total += picture[min(max(y + 2 * i, 0), h - 1), min(max(x + 2 * j, 0), w - 1), k]
        away = max(away, abs(total / np.float32(9) - tone[k]))
    return min(max((np.float32(_BARE[1]) - away) / np.float32(_BARE[1] - _BARE[0]), np.float32(0)), np.float32(1))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _light(table, k, x, y, z):  # type: ignore[no-untyped-def]
    """Harmonics ``table``, float32 (9, 3), of colour ``k`` at a direction."""
    return (
        table[0, k]
        + table[1, k] * x
        + table[2, k] * y
        + table[3, k] * z
        + table[4, k] * x * y
        + table[5, k] * x * z
        + table[6, k] * y * z
        + table[7, k] * (x * x - y * y)
        + table[8, k] * (np.float32(3) * z * z - np.float32(1))
    )


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _noise(x, y, seed):  # type: ignore[no-untyped-def]
    """About normal, of unit variance; by place and seed."""
    a = (x * 374761393 + y * 668265263 + seed * 974634599) & 0xFFFFFFFF
    a = ((a ^ (a >> 13)) * 1274126177) & 0xFFFFFFFF
    a = a ^ (a >> 16)
    total = (a & 255) + ((a >> 8) & 255) + ((a >> 16) & 255) + ((a >> 24) & 255)
    return np.float32(total - 510) / np.float32(147.8)


@njit(cache=True, nogil=True, error_model="numpy")
def lay(  # type: ignore[no-untyped-def]
    picture, touched, rims, stubs, backs, sides, glass, shadow, free, depth, step, gleams,
    scattered, mirrored, key, glint, lens, shine, veil, tone, grain, seed,
):  # fmt: skip
    """Lay glasses over ``picture``, float32 (h, w, 3) code values, and note what changes in ``touched``, bool (h, w).

    Cover by ``rims``, by arms that stand out (``stubs``) and by those beside the head (``backs``), by ``glass``, all
    float32 (h, w); ``sides``, ``depth``, ``step`` as in :func:`tubes`; ``shadow``: (h, w) or (1, 1), light taken;
    ``free``: (h, w) or (1, 1), where nothing lies before them. ``gleams`` (2, 4) and what follows to ``veil``: of
    :mod:`.eyewear_draw`. ``tone``: code values of skin. ``grain``: code values. Light is added up in squares of code
    values, nearly linear.
    """
    h, w = glass.shape
    shaded, covered = shadow.shape[0] == h, free.shape[0] == h
    one = np.float32(1)
    for y in range(h):
        for x in range(w):
            cover, back = max(rims[y, x], stubs[y, x]), backs[y, x]
            if back > cover or stubs[y, x] > rims[y, x]:
                on_head = (
                    depth[min(int(y / step), depth.shape[0] - 1), min(int(x / step), depth.shape[1] - 1)] > NOWHERE
                )
                bare = _bare(picture, y, x, tone) if on_head else one
                cover = max(rims[y, x], stubs[y, x] * bare, back * bare if on_head else np.float32(0))
            through = glass[y, x]
            dark = shadow[y, x] if shaded else np.float32(0)
            open_ = free[y, x] if covered else one
            if (cover <= np.float32(0.004) and through <= 0 and dark <= np.float32(0.004)) or open_ <= 0:
                continue
            touched[y, x] = True
            gleam = np.float32(0)
            if through > 0:
                for i in range(2):
                    u = ((x - gleams[i, 0]) + np.float32(0.35) * (y - gleams[i, 1])) * gleams[i, 2]
                    v = (y - gleams[i, 1]) * gleams[i, 3]
                    gleam += one / (one + u * u + v * v) ** 2
            nx, ny, nz, mx, my, mz = np.float32(0), np.float32(0), one, np.float32(0), np.float32(0), one
            peak, noise = np.float32(0), np.float32(0)
            if cover > 0:
                nx, ny = sides[y, x, 0], -sides[y, x, 1]
                nz = np.sqrt(max(one - nx * nx - ny * ny, np.float32(0)))
                mx, my, mz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - one
                peak = max(mx * key[0] + my * key[1] + mz * key[2], np.float32(0)) ** 8
                peak = peak * peak * peak
                noise = grain * _noise(x, y, seed)
            for k in range(3):
                under = picture[y, x, k]
                square = under * under * (one - dark) * (one - through * (one - lens[k]))
                square += through * shine[k] * (np.float32(0.12) + gleam)
                value = np.sqrt(square)
                if cover > 0:
                    lit = max(_light(scattered, k, nx, ny, nz), np.float32(0))
                    lit += max(_light(mirrored, k, mx, my, mz), np.float32(0)) + peak * glint[k] + veil[k]
                    tube = min(np.sqrt(lit) + noise, one)
                    value += cover * (tube - value)
                picture[y, x, k] = under + open_ * (value - under)


@njit(cache=True, nogil=True, error_model="numpy")
def as_bytes(picture, out):  # type: ignore[no-untyped-def]
    """``picture``, float32 (h, w, 3), code values 0 to 1, rounded into ``out``, uint8 (h, w, 3)."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            for k in range(3):
                value = min(max(picture[y, x, k], np.float32(0)), np.float32(1))
                out[y, x, k] = np.uint8(np.int32(np.rint(value * np.float32(255))))


@njit(cache=True, nogil=True, error_model="numpy")
def standing_out(picture, usual, mask, least, out):  # type: ignore[no-untyped-def]
    """How surely each pixel of ``picture``, float32 (h, w, 3), is no part of what is ``usual`` around it, uint8
    (h, w, 3), into ``out``, float32 (h, w), 0 to 1. ``mask``: uint8 (h, w). ``least``: float32 (2,), differences from
    which on something stands out where ``mask`` is 1, and elsewhere."""
    reach = np.float32(0.04)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            apart = np.float32(0)
            for k in range(3):
                apart = max(apart, abs(picture[y, x, k] - np.float32(usual[y, x, k]) / np.float32(255)))
            share = (apart - (least[0] if mask[y, x] == 1 else least[1])) / reach
            out[y, x] = min(max(share, np.float32(0)), np.float32(1))


@njit(cache=True, nogil=True, error_model="numpy")
def taken_off(picture, usual, mask, share, changed):  # type: ignore[no-untyped-def]
    """Let so much ``share``, float32 (h, w), of ``picture``, float32 (h, w, 3), be what is ``usual``, uint8 (h, w, 3),
    where ``mask``, uint8 (h, w), is above 0; in place. Notes it in ``changed``, bool (h, w)."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            if mask[y, x] > 0 and share[y, x] > np.float32(0.01):
                changed[y, x] = True
                for k in range(3):
                    own = picture[y, x, k]
                    picture[y, x, k] = own + share[y, x] * (np.float32(usual[y, x, k]) / np.float32(255) - own)
