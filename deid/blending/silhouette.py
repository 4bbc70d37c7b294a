"""Where the frame's own face ends before a background, read off the picture.

A landmark model's outline is off by a few percent where a head turns away, and a margin that makes up for it eats ears
and strips of hair, or leaves a rim of wall drawn over by a forehead. Where the picture shows one clear edge along
neighbouring directions, that is where the face ends; found by dynamic programming around the face, as the contours of
A. Amini, T. Weymouth and R. Jain, *Using Dynamic Programming for Solving Variational Problems in Vision*, 1990.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import directions
from ._polar import polar_colours
from .rings import doubled, smoothed

_FIRST, _PITCH = 0.8, 0.0125
FIRST, PITCH, LEVELS = np.float32(_FIRST), np.float32(_PITCH), 38
"""Nodes at 0.8, 0.8125 ... 1.2625 of the outline's reach."""
_LOW, _HIGH = 6, 29  # levels an edge may have: 0.875 to 1.15
_MOST = (1.045, 1.16, 1.1)  # of the outline, beside a face, above it and below the ears: how far out it may end
_ALIKE = (0.13, 0.2)  # difference of colours from the face's own up to which what lies within such an edge is jaw
_REST = 16 - _LOW  # the outline itself
_LAST = 23  # the level up to which no other edge may lie beyond one: 1.0875
_EVEN = (0.01, 0.025)  # middle change from level to level of a wall, and of hair however bright
_SKIN = 5  # levels, from the first on, that are the face's own
_GAP = 3  # double directions: narrower gaps between clear pieces, as where glasses pass, are closed
_TOLD = (0.08, 0.2)  # strength of an edge, code values, from which on it is believed, and certain


def silhouette(
    picture: np.ndarray, centre: np.ndarray, rim: np.ndarray, above: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the face ends, float32 (BINS,), as a fraction of ``rim``, and how sure that is, float32 (BINS,), 0 to 1.

    ``picture``: float32 (h, w, 3), code values. ``rim``: float32 (BINS,), the outline's reach from ``centre``.
    ``above``, ``below``: float32 (BINS,), how much a direction is forehead, and jaw below the ears: only there may it
    lie far beyond the outline, which elsewhere is where ears begin; and beside a jaw, only if all within is skin.
    """
    cx, cy = np.float32(centre[0]), np.float32(centre[1])
    colours = polar_colours(picture, cx, cy, directions(), rim, FIRST, PITCH, LEVELS)
    strength = _edges(colours, _LOW, _HIGH, _SKIN, _LAST)
    most = _MOST[0] + (_MOST[1] - _MOST[0]) * above[::2]
    uneven = np.linalg.norm(np.diff(colours[:, _LAST:], axis=1), axis=2)
    uneven = np.median(uneven, axis=1)
    strength *= (1 - above[::2] * np.clip((smoothed(uneven, 3.0) - _EVEN[0]) / (_EVEN[1] - _EVEN[0]), 0, 1))[:, None]
    places = FIRST + PITCH * (_LOW + np.arange(_HIGH - _LOW))
    jaw = below[::2, None] * _jaw(colours) * np.clip((_MOST[2] - places) / 0.02, 0, 1)
    strength *= np.maximum(np.clip((most[:, None] - places) / 0.02, 0, 1), jaw)
    level = _contour(strength, _REST)
    at = np.arange(len(level))
    inside = np.clip(level, 1, strength.shape[1] - 2)
    before, peak, after = (strength[at, inside + k] for k in (-1, 0, 1))
    bow = np.maximum(2 * peak - before - after, 1e-4)
    part = np.where(level == inside, np.clip((after - before) / (2 * bow), -0.5, 0.5), 0)
    sure = np.clip((strength[at, level] - _TOLD[0]) / (_TOLD[1] - _TOLD[0]), 0, 1)
    place = FIRST + PITCH * (_LOW + level + part)
    weight = sure + 1e-3
    found = smoothed(np.stack([place * weight, weight], axis=1).astype(np.float64), 1.0)
    wide = np.max([np.roll(sure, k) for k in range(-_GAP, _GAP + 1)], axis=0)
    sure = smoothed(np.min([np.roll(wide, k) for k in range(-_GAP, _GAP + 1)], axis=0), 4.0)
    place, sure = doubled(np.stack([found[:, 0] / found[:, 1], sure], axis=1)).T
    return place.astype(np.float32), sure.astype(np.float32)


def _jaw(colours: np.ndarray) -> np.ndarray:
    """float32 (n, _HIGH - _LOW): how surely all within an edge at each level, of ``colours``, is the face's own skin,
    neither a strip of hair nor an ear."""
    apart = np.linalg.norm(colours - colours[:, :_SKIN].mean(axis=1, keepdims=True), axis=2)
    apart = np.maximum.accumulate(apart, axis=1)[:, _LOW - 2 : _HIGH - 2]
    return np.asarray(np.clip((_ALIKE[1] - apart) / (_ALIKE[1] - _ALIKE[0]), 0, 1), np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _edges(colours, low, high, skin, last):  # type: ignore[no-untyped-def]
    """float32 (n, high - low): how clearly the face ends at each level: the step of the colour, where skin lies within
    and something that is no skin, nor skin in shade, lies beyond."""
    n, levels = colours.shape[:2]
    out, steps = np.zeros((n, high - low), np.float32), np.zeros(levels)
    own, beyond = np.empty(3), np.empty(3)
    for i in range(n):
        own[:] = 0
        for j in range(skin):
            for c in range(3):
                own[c] += colours[i, j, c] / skin
        bright = own.sum() + 1e-3
        for j in range(low, high):
            step = near = far = hue = level = 0.0
            for c in range(3):
                inner = (colours[i, j - 1, c] + colours[i, j - 2, c]) / 2
                outer = (colours[i, j + 1, c] + colours[i, j + 2, c]) / 2
                step += (inner - outer) ** 2
                within = (colours[i, j - 2, c] + colours[i, j - 3, c] + colours[i, j - 4, c]) / 3
                near += (within - own[c]) ** 2
                beyond[c] = (colours[i, j + 2, c] + colours[i, j + 3, c] + colours[i, j + 4, c]) / 3
                far += (beyond[c] - own[c]) ** 2
                level += beyond[c]
            for c in range(3):
                hue += (beyond[c] / (level + 0.05) - own[c] / bright) ** 2
            share = min(max((np.sqrt(far) - 0.07) / 0.12, 0.0), 1.0)
            share *= 1 - min(max((np.sqrt(near) - 0.2) / 0.25, 0.0), 1.0)
            if level < bright:  # darker and of one hue: skin in shade, unless it lies where the face must have ended
                other = min(max((np.sqrt(hue) - 0.04) / 0.06, 0.0), 1.0)
                place = _FIRST + _PITCH * j
                share *= max(other, min(max((place - 0.985) / 0.02, 0.0), 1.0))
            steps[j] = np.sqrt(step)
            out[i, j - low] = steps[j] * share
        # an edge with another one not far beyond lies within the face, as a lip's does, and glasses' before it
        farther = 0.0
        for j in range(min(last, high - 1), low - 1, -1):
            if j + 3 <= last:
                farther = max(farther, steps[j + 3])
            out[i, j - low] = max(out[i, j - low] - 0.8 * farther, 0.0)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _contour(strength, rest):  # type: ignore[no-untyped-def]
    """int64 (n,): the closed contour, a level for each direction, along which ``strength`` is greatest; ``rest``: the
    level to prefer."""
    n, levels = strength.shape
    total, back = np.zeros((2 * n, levels)), np.zeros((2 * n, levels), np.int64)
    for i in range(2 * n):
        for j in range(levels):
            own = min(strength[i % n, j], 0.35) - (0.0002 if j > rest else 0.0006) * (j - rest) ** 2
            best, where = -1e9, j
            if i:
                for k in range(max(j - 4, 0), min(j + 5, levels)):
                    value = total[i - 1, k] - 0.012 * abs(j - k)
                    if value > best:
                        best, where = value, k
            else:
                best = 0.0
            total[i, j], back[i, j] = best + own, where
    out = np.empty(n, np.int64)
    j = int(total[2 * n - 1].argmax())
    for i in range(2 * n - 1, -1, -1):
        if i < n + n // 2 and i >= n // 2:
            out[i % n] = j
        j = back[i, j]
    return out
