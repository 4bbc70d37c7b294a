"""Compiled loops behind :meth:`Geometry.pose`: sparse expression shapes, lids that close and lie on the eyeball, lips
that meet and do not cross, tears and lashes that hang on the lids.

Blendshapes add up linearly, so that lids cross or stay open as soon as the head is not the one that they were sculpted
on, and cut through the eyeball on their way, a chord. The correctives put that right (J. P. Lewis et al., *Practice and
Theory of Blendshape Facial Models*, 2014, section on corrective shapes), from constraints and not from sculpting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

_LOOK = 0.5  # radians of gaze at which the lids' look shapes are whole
_TEAR_HEIGHT = 0.004  # centimetres over the eyeball
_LOWER_FOLLOWS = np.float32(0.7)  # share of a gap that the lower lip closes
_LIP_LINE = np.float32(0.02)  # centimetres left between lips that close
_SOFT = 0.7  # of a vertex's clearance, over which contact with the eyeball sets in


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Tables of the correctives; left eye first. Columns of the lids run from the outer corner over the upper lid to
    the inner corner and back below (L = 42); columns of the lips from corner to corner, the viewer's left to right
    (M = 37); R = 3 and C rings.

    ``start`` int64 (E + 1,), ``index`` int32 (n,), ``delta`` float32 (n, 3): which vertices an expression shape moves,
    and by how much. ``lid_rings`` int32 (2, R, L), from inside out; ``lid_region`` int32 (2, n), vertices that follow
    the outermost ring by ``lid_weights`` float32 (2, n, L) and keep ``lid_clearance`` float32 (2, n) centimetres off
    the eyeball; ``blinks`` float32 (2, n, 3): an eye's blink there; ``lid_looks`` float32 (2, 4, n, 3): deltas for
    gaze in, out, up, down. ``eye_profile`` float32 (B,): radius over the equator's at cosines -1 to 1 from the optical
    axis. ``eye_equator`` int32 (2, n). ``tears`` int32 (2, 2 L): a row at the lid, a row on the eyeball, ``tear_width``
    float32 (L,). ``lashes`` int32 (2, 3 N): root, middle and tip for each of ``lash_columns`` int32 (N,),
    ``lash_length``, ``lash_side`` float32 (N,): 1 on the upper lid. ``lip_lower``, ``lip_upper`` int32 (C, M): rings
    that can touch; ``lip_region`` int32 (n,) follows by ``lip_weights`` float32 (n, 2 M), lower then upper."""

    start: np.ndarray
    index: np.ndarray
    delta: np.ndarray
    blinks: np.ndarray
    lid_rings: np.ndarray
    lid_region: np.ndarray
    lid_weights: np.ndarray
    lid_clearance: np.ndarray
    lid_looks: np.ndarray
    eye_profile: np.ndarray
    eye_equator: np.ndarray
    tears: np.ndarray
    tear_width: np.ndarray
    lashes: np.ndarray
    lash_columns: np.ndarray
    lash_side: np.ndarray
    lash_length: np.ndarray
    lip_lower: np.ndarray
    lip_upper: np.ndarray
    lip_region: np.ndarray
    lip_weights: np.ndarray


def sparse_shapes(expression: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``start``, ``index``, ``delta`` of :class:`Motion` from dense shapes (E, V, 3)."""
    moved = [np.flatnonzero(np.abs(shape).max(axis=1) > 0) for shape in expression]
    start = np.concatenate([[0], np.cumsum([len(m) for m in moved])]).astype(np.int64)
    delta = np.concatenate([shape[m] for shape, m in zip(expression, moved, strict=True)])
    return start, np.concatenate(moved).astype(np.int32), np.ascontiguousarray(delta, np.float32)


@njit(cache=True, nogil=True)
def add_shapes(out, start, index, delta, weights):  # type: ignore[no-untyped-def]
    """Add every expression shape times its weight to ``out`` (V, 3)."""
    for e in range(len(weights)):
        w = weights[e]
        if w != 0:
            for k in range(start[e], start[e + 1]):
                i = index[k]
                out[i, 0] += w * delta[k, 0]
                out[i, 1] += w * delta[k, 1]
                out[i, 2] += w * delta[k, 2]


@njit(cache=True, nogil=True)
def radius_at(profile, cosine):  # type: ignore[no-untyped-def]
    """Radius of the eyeball, over the equator's, at a cosine from its optical axis."""
    bins = len(profile) - 1
    x = (min(max(cosine, -1.0), 1.0) + 1.0) * 0.5 * bins
    i = min(int(x), bins - 1)
    return profile[i] + (x - i) * (profile[i + 1] - profile[i])


@njit(cache=True, nogil=True)
def _lift(out, i, centre, axis, profile, radius, clearance):  # type: ignore[no-untyped-def]
    """Move vertex ``i`` away from the eye's centre until it clears the eyeball; what nearly touches it gives way a
    little, so that no edge shows where the lid begins to lie on the eyeball."""
    x, y, z = out[i, 0] - centre[0], out[i, 1] - centre[1], out[i, 2] - centre[2]
    far = max(np.sqrt(x * x + y * y + z * z), 1e-6)
    reach = radius * radius_at(profile, (x * axis[0] + y * axis[1] + z * axis[2]) / far) + clearance
    band = _SOFT * clearance
    over = far - reach
    if over < band:
        if over > -band:
            reach += (over + band) ** 2 / (4 * band)
        s = reach / far
        out[i, 0], out[i, 1], out[i, 2] = centre[0] + s * x, centre[1] + s * y, centre[2] + s * z


@njit(cache=True, nogil=True)
def _upward(rings, neutral):  # type: ignore[no-untyped-def]
    """Unit vector across the slit of an eye: at a right angle to the line through its corners, seen from the front."""
    half = rings.shape[1] // 2
    a, b = rings[1, 0], rings[1, half]
    dx, dy = neutral[b, 0] - neutral[a, 0], neutral[b, 1] - neutral[a, 1]
    if dx < 0:
        dx, dy = -dx, -dy
    size = np.sqrt(dx * dx + dy * dy)
    return -dy / size, dx / size


@njit(cache=True, nogil=True)
def close_lids(out, full, rings, region, weights, up_x, up_y, blink):  # type: ignore[no-untyped-def]
    """Lids ``blink`` of the way shut.

    ``out`` (V, 3): without the blink; gets it. ``full`` (n, 3): the blink shape over ``region`` (n,). Each pair of
    columns of ``rings`` (3, L) closes on one point of its own, which the region around follows. Lids that cross before
    any blink meet first.
    """
    count, half = rings.shape[1], rings.shape[1] // 2
    slot = np.full(out.shape[0], -1, np.int32)
    for n in range(len(region)):
        slot[region[n]] = n
    before = np.empty((rings.shape[0], count, 3), np.float32)
    goal = np.empty((rings.shape[0], count, 3), np.float32)
    for r in range(rings.shape[0]):
        for c in range(count):
            i = rings[r, c]
            n = slot[i]
            for k in range(3):
                before[r, c, k] = out[i, k] + blink * full[n, k]
                goal[r, c, k] = before[r, c, k]
        for c in range(1, half):
            u, w = rings[r, c], rings[r, count - c]
            nu, nw = slot[u], slot[w]
            apart = (out[u, 0] - out[w, 0]) * up_x + (out[u, 1] - out[w, 1]) * up_y
            for k in range(3):
                meet = np.float32(0.5) * (out[u, k] + full[nu, k] + out[w, k] + full[nw, k])
                pu, pw = out[u, k], out[w, k]
                if apart < 0:
                    pu = pw = np.float32(0.5) * (pu + pw)
                goal[r, c, k] = pu + blink * (meet - pu)
                goal[r, count - c, k] = pw + blink * (meet - pw)
    outer = rings.shape[0] - 1
    for n in range(len(region)):
        i = region[n]
        for k in range(3):
            out[i, k] += blink * full[n, k]
        for c in range(count):
            w = weights[n, c]
            if w != 0:
                for k in range(3):
                    out[i, k] += w * (goal[outer, c, k] - before[outer, c, k])
    for r in range(rings.shape[0]):
        for c in range(count):
            for k in range(3):
                out[rings[r, c], k] = goal[r, c, k]


@njit(cache=True, nogil=True)
def look_with_lids(out, region, looks, inwards, up, share):  # type: ignore[no-untyped-def]
    """Lids follow the eyeball; ``inwards`` and ``up`` in radians, ``looks`` (4, n, 3)."""
    amounts = (max(inwards, 0.0), max(-inwards, 0.0), max(up, 0.0), max(-up, 0.0))
    for way in range(4):
        w = np.float32(min(amounts[way] / _LOOK, 1.3) * share)
        if w > 0:
            for n in range(len(region)):
                for k in range(3):
                    out[region[n], k] += w * looks[way, n, k]


@njit(cache=True, nogil=True)
def move_lids(  # type: ignore[no-untyped-def]
    out, neutral, rings, region, weights, clearance, looks, full, blink, outwards, up, centre, axis, profile, radius,
    tears, width, lashes, columns, side, length,
):  # fmt: skip
    """All that lids and what hangs on them do in one eye, in order. A blink leaves less to gaze."""
    up_x, up_y = _upward(rings, neutral)
    look_with_lids(out, region, looks, -outwards, up, 1.0 - 0.8 * blink)
    close_lids(out, full, rings, region, weights, up_x, up_y, blink)
    lay_on_eyeball(out, region, clearance, centre, axis, profile, radius)
    _meet(out, rings, up_x, up_y)
    hang_tears(out, rings, tears, width, centre, axis, profile, radius)
    hang_lashes(out, rings, lashes, columns, side, length, centre, up_x, up_y)


@njit(cache=True, nogil=True)
def _meet(out, rings, up_x, up_y):  # type: ignore[no-untyped-def]
    """Columns of lids that were pushed off the eyeball past each other meet half-way, across the slit."""
    count, half = rings.shape[1], rings.shape[1] // 2
    for r in range(rings.shape[0]):
        for c in range(1, half):
            u, w = rings[r, c], rings[r, count - c]
            apart = (out[u, 0] - out[w, 0]) * up_x + (out[u, 1] - out[w, 1]) * up_y
            if apart < 0:
                out[u, 0] -= np.float32(0.5) * apart * up_x
                out[u, 1] -= np.float32(0.5) * apart * up_y
                out[w, 0] += np.float32(0.5) * apart * up_x
                out[w, 1] += np.float32(0.5) * apart * up_y


@njit(cache=True, nogil=True)
def lay_on_eyeball(out, region, clearance, centre, axis, profile, radius):  # type: ignore[no-untyped-def]
    """Push what lies inside the eyeball out of it."""
    for n in range(len(region)):
        _lift(out, region[n], centre, axis, profile, radius, clearance[n])


@njit(cache=True, nogil=True)
def hang_tears(out, rings, tears, width, centre, axis, profile, radius):  # type: ignore[no-untyped-def]
    """The wet rim: from the lid's inner edge a little way over the eyeball, all the way across in the corner."""
    count = rings.shape[1]
    half = count // 2
    for c in range(count):
        i = rings[0, c]
        other = rings[0, (count - c) % count] if c != half else i
        gap = np.float32(0.0)
        for k in range(3):
            gap += (out[other, k] - out[i, k]) ** 2
        gap = np.sqrt(gap)
        share = min(width[c] / max(gap, np.float32(1e-4)), np.float32(0.5))
        for k in range(3):
            out[tears[c], k] = out[i, k]
            out[tears[count + c], k] = out[i, k] + share * (out[other, k] - out[i, k])
        _lift(out, tears[count + c], centre, axis, profile, radius, np.float32(_TEAR_HEIGHT))


@njit(cache=True, nogil=True)
def hang_lashes(out, rings, lashes, columns, side, length, centre, up_x, up_y):  # type: ignore[no-untyped-def]
    """Lashes leave the lid's outer edge away from the eye's centre and curl: upper ones up, lower ones down."""
    outer = rings.shape[0] - 1
    for n in range(len(columns)):
        i = rings[outer, columns[n]]
        rx, ry, rz = out[i, 0] - centre[0], out[i, 1] - centre[1], out[i, 2] - centre[2]
        far = np.sqrt(rx * rx + ry * ry + rz * rz)
        rx, ry, rz = rx / far, ry / far, rz / far
        along = rx * up_x + ry * up_y
        tx, ty, tz = up_x - along * rx, up_y - along * ry, -along * rz
        size = np.sqrt(tx * tx + ty * ty + tz * tz)
        bend = side[n] / size
        tx, ty, tz = tx * bend, ty * bend, tz * bend
        for row in range(3):
            a = length[n] * (0.0, 0.50, 0.80)[row]
            b = length[n] * (0.0, 0.02, 0.45)[row]
            j = lashes[3 * n + row]
            out[j, 0] = out[i, 0] + a * rx + b * tx
            out[j, 1] = out[i, 1] + a * ry + b * ty
            out[j, 2] = out[i, 2] + a * rz + b * tz


@njit(cache=True, nogil=True)
def _height_at(x, xs, ys):  # type: ignore[no-untyped-def]
    """Piecewise linear ``ys`` over rising ``xs`` at ``x``, level beyond the ends; where xs turn back, the first hit."""
    if x <= xs[0]:
        return ys[0]
    for m in range(len(xs) - 1):
        if xs[m] <= x < xs[m + 1]:
            return ys[m] + (ys[m + 1] - ys[m]) * (x - xs[m]) / (xs[m + 1] - xs[m])
    return ys[-1]


@njit(cache=True, nogil=True)
def seal_lips(out, lower, upper, region, weights, shares):  # type: ignore[no-untyped-def]
    """Close ``shares`` (columns,) of the gap between the lips; the lower lip, the looser one, goes most of the way."""
    rings, count = lower.shape
    move = np.zeros(2 * count, np.float32)
    for m in range(1, count - 1):
        top, bottom = np.float32(-1e9), np.float32(1e9)
        for r in range(rings):
            top = max(top, out[lower[r, m], 1])
            bottom = min(bottom, out[upper[r, m], 1])
        gap = shares[m] * max(bottom - top - _LIP_LINE, np.float32(0.0))
        move[m] = _LOWER_FOLLOWS * gap
        move[count + m] = (_LOWER_FOLLOWS - np.float32(1.0)) * gap
    for n in range(len(region)):
        shift = np.float32(0.0)
        for c in range(2 * count):
            shift += weights[n, c] * move[c]
        out[region[n], 1] += shift


@njit(cache=True, nogil=True)
def part_lips(out, lower, upper, region, weights):  # type: ignore[no-untyped-def]
    """Where the lower lip stands higher than the upper lip, both give way by half."""
    rings, count = lower.shape
    xs, ys = np.empty((2, count), np.float32), np.empty((2, count), np.float32)
    move, step = np.zeros(2 * count, np.float32), np.zeros(2 * count, np.float32)
    for m in range(count):
        top, bottom = lower[0, m], upper[0, m]
        for r in range(1, rings):
            top = lower[r, m] if out[lower[r, m], 1] > out[top, 1] else top
            bottom = upper[r, m] if out[upper[r, m], 1] < out[bottom, 1] else bottom
        xs[0, m], ys[0, m] = out[top, 0], out[top, 1]
        xs[1, m], ys[1, m] = out[bottom, 0], out[bottom, 1]
    for m in range(1, count):  # a lip that folds back on itself counts by its first pass
        for k in range(2):
            xs[k, m] = max(xs[k, m], xs[k, m - 1])
    found = False
    for _ in range(3):  # one side's step changes what the other side meets
        for m in range(1, count - 1):
            below = ys[0, m] - _height_at(xs[0, m], xs[1], ys[1])
            above = _height_at(xs[1, m], xs[0], ys[0]) - ys[1, m]
            step[m] = np.float32(0.5) * max(below, np.float32(0.0))
            step[count + m] = np.float32(0.5) * max(above, np.float32(0.0))
            found = found or below > 0 or above > 0
        for m in range(count):
            ys[0, m] -= step[m]
            ys[1, m] += step[count + m]
            move[m] -= step[m]
            move[count + m] += step[count + m]
    if found:
        for n in range(len(region)):
            shift = np.float32(0.0)
            for c in range(2 * count):
                shift += weights[n, c] * move[c]
            out[region[n], 1] += shift
