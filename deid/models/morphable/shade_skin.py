"""Skin from the light at its vertices and its texture, pixel by pixel."""

from __future__ import annotations

import numpy as np
from numba import njit

from deid.models.morphable.shade import (
    BLUE,
    FOLD,
    GREEN,
    LEVEL,
    RED,
    SHINE_BLUE,
    SHINE_GREEN,
    SHINE_RED,
    U,
    V,
    corner_weights,
)
from deid.models.morphable.shade_texture import STEPS, blend, look_up

# numbers a triangle: eight attributes at a corner, what they gain by a pixel to the right and downwards, the corner's
# place in the picture, the mip level, whether creases fold it, and the same of FOLD, FOLD_U and FOLD_V
PLAN = 40
_PLACE, _CREASED = 24, 28
# how much of its light each channel loses in a groove, and gains on its slopes: red light comes through the flesh
_GROOVE = np.array([0.34, 0.46, 0.50], np.float32)
_SLOPE = np.array([0.8, 1.0, 1.05], np.float32)
_UNSHINY = np.float32(0.6)


@njit(cache=True, nogil=True, error_model="numpy")
def plan_skin(
    front: np.ndarray,
    facing: int,
    skin: np.ndarray,
    triangles: np.ndarray,
    fixed: np.ndarray,
    table: np.ndarray,
    sizes: np.ndarray,
    plan: np.ndarray,
) -> None:
    """What :func:`shade_plain` needs of those of the first ``facing`` triangles of ``front`` that are ``skin``, (F,).

    Fills rows of ``plan``, float32 (F, PLAN): place in texels of the triangle's mip level, scattered and mirrored
    light at its first corner, and their slopes a pixel; where the corner is, in pixels of the picture; the level.
    """
    finest = np.float32(sizes.shape[0] - 1)
    for number in range(facing):
        f = front[number]
        if not skin[f]:
            continue
        a, b, c = (np.uint32(triangles[f, 0]), np.uint32(triangles[f, 1]), np.uint32(triangles[f, 2]))
        mean = (table[a, LEVEL] + table[b, LEVEL] + table[c, LEVEL]) * np.float32(1.0 / 3.0) + np.float32(0.5)
        k = int(min(max(mean, np.float32(0.0)), finest))
        plan[f, _PLACE] = np.float32(fixed[a, 0]) * np.float32(1.0 / 256.0)
        plan[f, _PLACE + 1] = np.float32(fixed[a, 1]) * np.float32(1.0 / 256.0)
        plan[f, _PLACE + 2] = np.float32(k)
        wide = np.float32(sizes[k])
        bx, by = (np.float32(fixed[b, 0] - fixed[a, 0]), np.float32(fixed[b, 1] - fixed[a, 1]))
        cx, cy = (np.float32(fixed[c, 0] - fixed[a, 0]), np.float32(fixed[c, 1] - fixed[a, 1]))
        per_area = np.float32(256.0) / (bx * cy - cx * by)
        bx, by, cx, cy = bx * per_area, by * per_area, cx * per_area, cy * per_area
        for j in range(8):
            source = j if j < 2 else j + 1
            times = wide if j < 2 else np.float32(1.0)
            start = table[a, source]
            to_b, to_c = ((table[b, source] - start) * times, (table[c, source] - start) * times)
            plan[f, j] = start * times - (np.float32(0.5) if j < 2 else np.float32(0.0))
            plan[f, 8 + j] = to_b * cy - to_c * by
            plan[f, 16 + j] = to_c * bx - to_b * cx
        creased = max(table[a, FOLD], table[b, FOLD], table[c, FOLD]) > np.float32(0.02)
        plan[f, _PLACE + 3] = np.float32(1.0) if creased else np.float32(0.0)
        if creased:
            for j in range(3):
                start = table[a, FOLD + j]
                to_b, to_c = table[b, FOLD + j] - start, table[c, FOLD + j] - start
                plan[f, _CREASED + j] = start
                plan[f, _CREASED + 3 + j] = to_b * cy - to_c * by
                plan[f, _CREASED + 6 + j] = to_c * bx - to_b * cx


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def shade_plain(
    owner: np.ndarray,
    slot: np.ndarray,
    part: np.ndarray,
    left: int,
    top: int,
    plan: np.ndarray,
    texels: np.ndarray,
    offsets: np.ndarray,
    sizes: np.ndarray,
    relief: np.ndarray,
    relief_offsets: np.ndarray,
    relief_sizes: np.ndarray,
    whole: bool,
    rgb: np.ndarray,
    alpha: np.ndarray,
    head: np.ndarray,
) -> None:
    """Pixels that one triangle of skin fills, which are most, straight into the picture.

    ``owner``, ``slot``: int32 (h, w), ``part``: uint8 (h, w): see :func:`~deid.models.morphable.raster.nearest` and
    ``find_edges``. ``plan``: see :func:`plan_skin`; the texture is a
    :class:`~deid.models.morphable.shade_texture.Pyramid`. Without ``whole`` the head gets no colour. Fills ``rgb``,
    float32 (h, w, 3), ``alpha`` and ``head``, float32 (h, w). ``relief``: see :class:`.creases.Creases`.
    """
    one, zero, half, fine = np.float32(1.0), np.float32(0.0), np.float32(0.5), np.float32(STEPS)
    unit, least, most = np.float32(1.0 / (1023 * STEPS)), np.float32(0.45), np.float32(1.3)
    shiniest = np.float32(1.7)
    slopes, grooves = (_SLOPE[0], _SLOPE[1], _SLOPE[2]), (_GROOVE[0], _GROOVE[1], _GROOVE[2])
    shift, step = np.uint64(max(sizes.shape[0] - relief_sizes.shape[0], 0)), np.uint64(1)
    width = np.uint64(owner.shape[1])
    for y in range(np.uint64(owner.shape[0])):
        down, x = np.float32(np.int64(y) + top), np.uint64(0)
        while x < width:
            kind = part[y, x]
            if kind > 1 or slot[y, x] >= 0:
                x += step
                continue
            if kind == 1 and not whole:
                head[y, x] = one
                x += step
                continue
            # neighbours in a row mostly show one triangle: what that is like in this row is worked out once
            number = owner[y, x]
            f = np.uint64(number)
            qx, qy = np.float32(np.int64(x) + left) - plan[f, 24], down - plan[f, 25]
            k = np.uint64(np.int32(plan[f, 26]))
            size, start = np.uint64(sizes[k]), np.uint64(offsets[k])
            last = np.float32(sizes[k]) - np.float32(1.001)
            u0, v0 = plan[f, 0] + qy * plan[f, 16], plan[f, 1] + qy * plan[f, 17]
            r0, g0, b0 = plan[f, 2] + qy * plan[f, 18], plan[f, 3] + qy * plan[f, 19], plan[f, 4] + qy * plan[f, 20]
            i0, j0, k0 = plan[f, 5] + qy * plan[f, 21], plan[f, 6] + qy * plan[f, 22], plan[f, 7] + qy * plan[f, 23]
            u1, v1, r1, g1, b1 = plan[f, 8], plan[f, 9], plan[f, 10], plan[f, 11], plan[f, 12]
            i1, j1, k1 = plan[f, 13], plan[f, 14], plan[f, 15]
            creased = plan[f, 27] > zero
            ratio = edge = d0 = d1 = m0 = m1 = n0 = n1 = zero
            small = first = np.uint64(0)
            if creased:
                # the relief's level of the same size: it has fewer finer ones
                c = np.uint64(k - shift) if k > shift else np.uint64(0)
                wide = np.float32(relief_sizes[c])
                ratio, edge = wide / np.float32(sizes[k]), wide - np.float32(1.001)
                small, first = np.uint64(relief_sizes[c]), np.uint64(relief_offsets[c])
                d0, d1 = plan[f, 28] + qy * plan[f, 34], plan[f, 31]
                m0, m1 = plan[f, 29] + qy * plan[f, 35], plan[f, 32]
                n0, n1 = plan[f, 30] + qy * plan[f, 36], plan[f, 33]
            while True:
                if kind == 1:
                    head[y, x] = one
                else:
                    alpha[y, x] = one
                tx, ty = min(max(u0 + qx * u1, zero), last), min(max(v0 + qx * v1, zero), last)
                x0, y0 = np.int32(tx), np.int32(ty)
                fx, fy = (np.int32((tx - np.float32(x0)) * fine), np.int32((ty - np.float32(y0)) * fine))
                i = start + np.uint64(y0) * size + np.uint64(x0)
                red, green, blue, gloss = blend(texels, i, size, np.uint64(fx), np.uint64(fy))
                red *= r0 + qx * r1
                green *= g0 + qx * g1
                blue *= b0 + qx * b1
                if creased:
                    tx = min(max((tx + half) * ratio - half, zero), edge)
                    ty = min(max((ty + half) * ratio - half, zero), edge)
                    x0, y0 = np.int32(tx), np.int32(ty)
                    fx, fy = np.int32((tx - np.float32(x0)) * fine), np.int32((ty - np.float32(y0)) * fine)
                    i = first + np.uint64(y0) * small + np.uint64(x0)
                    su, sv, groove, _ = blend(relief, i, small, np.uint64(fx), np.uint64(fy))
                    slope = (su * unit - half) * (m0 + qx * m1) + (sv * unit - half) * (n0 + qx * n1)
                    groove *= unit * (d0 + qx * d1)
                    red *= min(max(one + slopes[0] * slope, least), most) * (one - grooves[0] * groove)
                    green *= min(max(one + slopes[1] * slope, least), most) * (one - grooves[1] * groove)
                    blue *= min(max(one + slopes[2] * slope, least), most) * (one - grooves[2] * groove)
                    gloss *= min(max(one + slope + slope, least), shiniest) * (one - _UNSHINY * groove)
                red += gloss * (i0 + qx * i1)
                green += gloss * (j0 + qx * j1)
                blue += gloss * (k0 + qx * k1)
                rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2] = max(red, zero), max(green, zero), max(blue, zero)
                x += step
                if x >= width or owner[y, x] != number or slot[y, x] >= 0:
                    break
                qx += one


@njit(cache=True, nogil=True, error_model="numpy")
def shade_skin(
    count: int,
    skin: np.ndarray,
    triangles: np.ndarray,
    triangle: np.ndarray,
    place: np.ndarray,
    fixed: np.ndarray,
    window: np.ndarray,
    table: np.ndarray,
    texels: np.ndarray,
    offsets: np.ndarray,
    sizes: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Colour of the skin among the first ``count`` fragments: float32 (n, 3), linear light.

    ``skin``: bool (F,), which triangles are skin. ``window``: float64 (5,): picture position (x, y in pixels) of the
    buffers' first pixel, of the head's origin, and 1 / (camera distance in pixels). The rest as in
    :func:`~deid.models.morphable.shade.light_vertices` and :class:`~deid.models.morphable.shade_texture.Pyramid`.
    """
    at = np.empty(FOLD, np.float32)
    for n in range(count):
        f = triangle[n]
        if not skin[f]:
            continue
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        px, py = (place[n, 0] + window[0]) * 256.0, (place[n, 1] + window[1]) * 256.0
        wb, wc = corner_weights(fixed, a, b, c, px, py)
        wa = np.float32(1.0) - wb - wc
        for k in range(FOLD):
            at[k] = wa * table[a, k] + wb * table[b, k] + wc * table[c, k]
        red, green, blue, gloss = look_up(texels, offsets, sizes, at[U], at[V], at[LEVEL])
        colour[n, 0] = max(red * at[RED] + gloss * at[SHINE_RED], np.float32(0.0))
        colour[n, 1] = max(green * at[GREEN] + gloss * at[SHINE_GREEN], np.float32(0.0))
        colour[n, 2] = max(blue * at[BLUE] + gloss * at[SHINE_BLUE], np.float32(0.0))
