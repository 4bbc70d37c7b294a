"""Compiled loops of :mod:`deid.blending.hair`, on its polar grid: every second direction, and levels of distance."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ._polar import follow

_ALIKE = 0.012  # squared difference of colour, with little of that of brightness, from node to node of one head of hair


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _ramp(x, low, width):  # type: ignore[no-untyped-def]
    return min(max((x - low) / width, 0.0), 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _bell(sigma):  # type: ignore[no-untyped-def]
    """A Gaussian's weights to four standard deviations, from the middle outwards; all of them add up to 1."""
    out = np.empty(int(4 * sigma + 0.5) + 1)
    for k in range(len(out)):
        out[k] = math.exp(-0.5 * (k / sigma) ** 2)
    return out / (2 * out.sum() - out[0])


@njit(cache=True, nogil=True, error_model="numpy")
def around(values, sigma):  # type: ignore[no-untyped-def]
    """``values``, (n, columns), smoothed by a Gaussian of ``sigma`` rows; the last row and the first are neighbours."""
    bell = _bell(sigma)
    n, columns = values.shape
    out = np.empty_like(values)
    for i in range(n):
        for c in range(columns):
            total = bell[0] * values[i, c]
            for k in range(1, len(bell)):
                total += bell[k] * (values[(i + k) % n, c] + values[(i - k) % n, c])
            out[i, c] = total
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def outwards(values, sigma):  # type: ignore[no-untyped-def]
    """``values``, (n, levels), smoothed by a Gaussian of ``sigma`` levels; mirrored at both ends."""
    bell = _bell(sigma)
    n, levels = values.shape
    out = np.empty_like(values)
    for i in range(n):
        for j in range(levels):
            total = bell[0] * values[i, j]
            for k in range(1, len(bell)):
                low, high = j - k, j + k
                low = -1 - low if low < 0 else low
                high = 2 * levels - 1 - high if high >= levels else high
                total += bell[k] * (values[i, low] + values[i, high])
            out[i, j] = total
    return out


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _along(seen, i, j, skin, hair):  # type: ignore[no-untyped-def]
    """How far a node lies on the way from skin, 0, to hair, 1."""
    size, along = 0.0, 0.0
    for c in range(3):
        line = skin[i, c] - hair[i, c]
        size += line * line
        along += (skin[i, c] - seen[i, j, c]) * line
    return along / max(size, 1e-4)


@njit(cache=True, nogil=True, error_model="numpy")
def counted(limit, rim, unit, cx, cy, width, height, first, pitch, low, high):  # type: ignore[no-untyped-def]
    """float32 (n, high - low): how much the nodes from level ``low`` to ``high`` count: those in the picture, in
    directions where anything may pass. ``limit``, ``rim``: (BINS,)."""
    n = len(limit) // 2
    out = np.zeros((n, high - low), np.float32)
    for i in range(n):
        share = _ramp(1.05 - limit[2 * i], 0.0, 0.1)
        for j in range(low, high):
            r = rim[2 * i] * (first + pitch * j)
            x, y = cx + unit[2 * i, 0] * r, cy + unit[2 * i, 1] * r
            if x >= 0 and y >= 0 and x <= width - 1 and y <= height - 1:
                out[i, j - low] = share
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _first_run(seen, weight, skin):  # type: ignore[no-untyped-def]
    """Let what lies beyond hair, farther out, count little in ``weight``, (levels,): from the first dark node on, what
    is like those before it is hair. ``seen``: float32 (levels, 3). ``skin``: (3,)."""
    mean, total, darkest = np.zeros(3), 0.0, 1e9
    light = skin.sum()
    for j in range(len(weight)):
        if weight[j] > 0.5:
            darkest = min(darkest, seen[j].sum())
    for j in range(len(weight)):
        if total > 0:
            level = hue = 0.0
            for c in range(3):
                level += (seen[j, c] - mean[c] / total) / 3.0
            for c in range(3):
                hue += (seen[j, c] - mean[c] / total - level) ** 2
            # strands shine: light and dark of one hue go together
            weight[j] *= math.exp((hue + 0.75 * level * level) / -_ALIKE)
        elif weight[j] <= 0 or light - seen[j].sum() < 0.6 * (light - darkest):  # skin that is dark where hair begins
            continue
        total += weight[j]
        for c in range(3):
            mean[c] += weight[j] * seen[j, c]


@njit(cache=True, nogil=True, error_model="numpy")
def hair_colours(seen, skin, counts, above, least):  # type: ignore[no-untyped-def]
    """float32 (n, 3): mean colour, in every direction, of what is darker than skin around the face, and (n,), how sure
    it is. Hair beside the face must not be lighter than all of that above: it may be a wall.

    ``seen``: float32 (n, levels, 3), nodes of a ring around the face. ``skin``: float32 (n, 3). ``counts``: float32 (n,
    levels), how much a node counts. ``above``: float32 (n,), how much a direction is forehead. ``least``: contrast
    between skin and hair, code values, below which neither can be told."""
    n, levels = counts.shape
    weight, sums, mean = np.zeros((n, levels)), np.zeros((n, 6)), np.zeros(3)
    dark = np.zeros((n, levels))
    part = top = 0.0
    for i in range(n):
        for j in range(levels):
            apart = darker = 0.0
            for c in range(3):
                apart += (seen[i, j, c] - skin[i, c]) ** 2
                darker += skin[i, c] - seen[i, j, c]
            weight[i, j] = counts[i, j] * _ramp(math.sqrt(apart), 0.08, 0.12) * _ramp(darker, 0.0, 0.2) ** 2
        for j in range(levels):
            dark[i, j] = weight[i, j]
        _first_run(seen[i], weight[i], skin[i])
        for j in range(levels):
            part += counts[i, j] * above[i]
            top += weight[i, j] * above[i]
            for c in range(3):
                mean[c] += weight[i, j] * above[i] * seen[i, j, c]
    mean /= max(top, 1e-6)
    crown = _ramp(top / max(part, 1e-6), 0.08, 0.12)
    grey = mean.sum() / 3
    for i in range(n):
        for j in range(levels):
            # what lies beside the cheeks is hair when it is like, or darker than, the hair above
            level = (seen[i, j, 0] + seen[i, j, 1] + seen[i, j, 2]) / 3.0
            hue = 0.0
            for c in range(3):
                hue += ((seen[i, j, c] - level) - (mean[c] - grey)) ** 2
            alike = _ramp(0.5 - 3 * (level - grey), 0.0, 0.3) * _ramp(0.2 - math.sqrt(hue), 0.0, 0.1)
            w = weight[i, j] * (above[i] + (1 - above[i]) * alike)
            for c in range(3):
                sums[i, c] += w * seen[i, j, c]
            sums[i, 3] += w
            sums[i, 4] += counts[i, j]
            sums[i, 5] += dark[i, j] * (above[i] + (1 - above[i]) * alike)
    inside = sums[:, 4].copy()
    sums = around(sums, 3.0)
    colour, trust = np.empty((n, 3), np.float32), np.empty(n, np.float32)
    for i in range(n):
        contrast, level = 0.0, 0.0
        for c in range(3):
            colour[i, c] = (sums[i, c] + 0.1 * mean[c]) / (sums[i, 3] + 0.1)
            contrast += (skin[i, c] - colour[i, c]) ** 2
            level += colour[i, c] / 3.0
        share = _ramp(sums[i, 5] / max(sums[i, 4], 1e-6), 0.15, 0.15)
        # beyond the picture's border nothing was seen: what neighbours say is hair there if it is like the rest
        seen_here = _ramp(inside[i] / levels, 0.0, 0.3)
        share *= max(seen_here, _ramp(0.5 - 3 * (level - grey), 0.0, 0.3))
        trust[i] = share * _ramp(math.sqrt(contrast), least, 0.07) * crown
    return colour, trust


@njit(cache=True, nogil=True, error_model="numpy")
def own_skin(rim, hair, near):  # type: ignore[no-untyped-def]
    """float32 (n, 3): the rendered skin ``rim``, (n, 3), and where the frame's own rim, nodes ``near``, (n, levels, 3),
    is not far from that and is no ``hair``, (n, 3), its own."""
    n, levels = near.shape[:2]
    sums = np.zeros((n, 4))
    for i in range(n):
        for j in range(levels):
            apart = 0.0
            for c in range(3):
                apart += (near[i, j, c] - rim[i, c]) ** 2
            weight = math.exp(apart / -0.03) * _ramp(0.6 - _along(near, i, j, rim, hair), 0.0, 0.25)
            for c in range(3):
                sums[i, c] += weight * near[i, j, c]
            sums[i, 3] += weight
    sums = around(sums, 4.0)
    out = np.empty((n, 3), np.float32)
    for i in range(n):
        for c in range(3):
            out[i, c] = (sums[i, c] + 0.5 * rim[i, c]) / (sums[i, 3] + 0.5)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def gate_of(seen, skin, hair, trust, limit, first, pitch, certain):  # type: ignore[no-untyped-def]
    """float32 (n + 1, levels): where hair is joined to certain hair further out; the first row comes again at the end.

    ``seen``: float32 (n, levels, 3), all nodes. ``skin``, ``hair``: float32 (n, 3). ``trust``: float32 (n,), how sure
    hair is. ``limit``: float32 (BINS,), fraction of the reach below which nothing passes. ``certain``: the level from
    which hair is followed inwards."""
    n, levels = seen.shape[:2]
    share, like = np.empty((n, levels)), np.empty((n, levels), np.float32)
    for i in range(n):
        for j in range(levels):
            share[i, j] = _ramp(_along(seen, i, j, skin, hair), 0.35, 0.25)
        for j in range(levels):
            total = share[i, max(j - 1, 0)] + share[i, j] + share[i, min(j + 1, levels - 1)]
            like[i, j] = min(1.6 * total / 3, 1.0)
    gate = np.empty((n, levels), np.float32)
    follow(like, gate, certain)
    gate = outwards(around(gate, 1.0), 0.8)
    out = np.empty((n + 1, levels), np.float32)
    for i in range(n + 1):
        for j in range(levels):
            free = _ramp(first + pitch * j, limit[2 * (i % n)], 0.06)
            out[i, j] = gate[i % n, j] * free * trust[i % n]
    return out
