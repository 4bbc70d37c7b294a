"""Skin textures as mip pyramids (Williams, *Pyramidal Parametrics*, 1983), free of what lies between the islands.

Three levels an octave, so that the nearest one will do: one look-up a pixel instead of two, and no step that shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from deid import imaging
from deid.models.morphable.side_by_side import side_by_side

LEVELS = 3  # an octave
_SMALLEST = 4
_LARGE = 512  # texels a side from which on two threads are worth it
_AROUND_PORES = 3.0  # texels of 1024
_PITTED, _UNEVEN = 3.0, 0.18  # see `oil`
_HAIR = np.float32(0.3), np.float32(0.7)  # relative red reflectance of hair, and from which on skin is bare


STEPS = 128  # places between two texels
_BITS = 17  # of a colour channel in a packed texel: 10 of its value, and 7 that weights add; gloss has 6 and 7
_COLOUR, _GLOSS = 1023.0, 63.0  # largest values


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """``texels``: uint64 (N,), the levels one after another, finest first, rows top to bottom; each holds four channels
    with room between them for :func:`blend`. ``units``: float32 (2,), what :func:`blend`'s colour and gloss are to be
    multiplied by. ``offsets``: int64 (L,), where a level starts. ``sizes``: int64 (L,), its width and height."""

    texels: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def build_pyramid(texture: np.ndarray, covered: np.ndarray) -> Pyramid:
    """Pyramid of ``texture``, float32 (T, T, 4), T a power of two, 4 or more.

    ``covered``: bool (T, T), where the texture means anything; see :func:`fill_holes`.
    """
    base = fill_holes(texture, covered)
    sides = [base.shape[0]]
    while sides[-1] > _SMALLEST:
        k = len(sides)
        sides.append(max(sides[k - LEVELS] // 2, _SMALLEST) if k >= LEVELS else _near(base.shape[0], k))
    sizes = np.array(sides, np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes**2)[:-1]]).astype(np.int64)
    top = _highest(base.reshape(-1, 4))
    most = np.array([_COLOUR, _GLOSS])
    texels = np.empty(int((sizes**2).sum()), np.uint64)
    scales = np.repeat(most / top, (3, 1)).astype(np.float32)

    def packed(first: int) -> None:
        """Every third level from ``first`` on, each made of the one before."""
        level = base
        for k in range(first, len(sides), LEVELS):
            if k:
                level = imaging.resize(level, (sides[k], sides[k]), interpolation=imaging.INTER_AREA)
            _pack(level.reshape(-1, 4), scales, texels[offsets[k] : offsets[k] + sides[k] ** 2])

    list((side_by_side if base.shape[0] >= _LARGE else map)(packed, range(LEVELS)))
    return Pyramid(texels, (top / most / STEPS).astype(np.float32), offsets, sizes)


def _near(size: int, number: int) -> int:
    """Side of the ``number``-th level within the first octave: halved often, it stays whole, and halving is fast."""
    side = size * 2.0 ** (-number / LEVELS)
    grain = max(size // 64, 1)
    return max(round(side / grain) * grain, _SMALLEST)


@njit(cache=True, nogil=True)
def _highest(level: np.ndarray) -> np.ndarray:
    """float64 (2,), above 0: the largest colour and gloss in ``level``, float32 (n, 4)."""
    colour = gloss = np.float32(0.0)
    for i in range(level.shape[0]):
        colour = max(colour, level[i, 0], level[i, 1], level[i, 2])
        gloss = max(gloss, level[i, 3])
    top = np.empty(2)
    top[0], top[1] = max(1e-6, colour), max(1e-6, gloss)
    return top


@njit(cache=True, nogil=True)
def _pack(level: np.ndarray, scales: np.ndarray, texels: np.ndarray) -> None:
    """``level``, float32 (n, 4), times ``scales`` (4,), rounded, into ``texels``, uint64 (n,)."""
    red, green, blue, gloss = scales[0], scales[1], scales[2], scales[3]
    half, zero, colour = np.float32(0.5), np.float32(0.0), np.float32(_COLOUR)
    for i in range(level.shape[0]):
        r = np.uint64(np.int32(min(max(level[i, 0] * red + half, zero), colour)))
        g = np.uint64(np.int32(min(max(level[i, 1] * green + half, zero), colour)))
        b = np.uint64(np.int32(min(max(level[i, 2] * blue + half, zero), colour)))
        s = np.uint64(np.int32(min(max(level[i, 3] * gloss + half, zero), np.float32(_GLOSS))))
        texels[i] = r | g << np.uint64(_BITS) | b << np.uint64(2 * _BITS) | s << np.uint64(3 * _BITS)


def fill_holes(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """``texture``, float32 (T, T, C), with what is not ``covered``, bool (T, T), filled from around.

    Lids, lips and nostrils are holes; no filter may draw their colour into the skin. ("Push-pull": Gortler et al.,
    *The Lumigraph*, 1996, section 3.4.)
    """
    levels = [np.array(texture, np.float32, order="C")]
    weights = [covered.astype(np.float32)]
    while levels[-1].shape[0] > 1:
        half = levels[-1].shape[0] // 2
        levels.append(np.empty((half, half, texture.shape[2]), np.float32))
        weights.append(np.empty((half, half), np.float32))
        _push(levels[-2], weights[-2], levels[-1], weights[-1])
    for k in range(len(levels) - 2, -1, -1):
        _pull(levels[k], weights[k], levels[k + 1])
    return levels[0]


def oil(skin: np.ndarray, patchy: float = 1.0) -> np.ndarray:
    """float32 (T, T), near 1: how much of a highlight each texel of ``skin``, float32 (T, T, 3), keeps. Pores and
    creases, which are dark, hold less, brows least; between them the film of oil is uneven at the scale of pores, by a
    share ``patchy``."""
    size = skin.shape[0]
    luma = np.log(np.maximum(skin[..., 1], np.float32(1e-3)))
    sigma = _AROUND_PORES * size / 1024
    relief = luma - imaging.gaussian_blur(luma, (0, 0), max(sigma, 0.8))
    bare = np.clip((skin[..., 0] - _HAIR[0]) / (_HAIR[1] - _HAIR[0]), np.float32(0.1), np.float32(1.0))
    uneven = np.float32(1.0) + np.float32(_PITTED) * relief + np.float32(patchy) * film(size)
    uneven = np.clip(uneven, np.float32(0.2), np.float32(2.2))
    return uneven * bare


@lru_cache(maxsize=4)
def film(size: int) -> np.ndarray:
    """float32 (T, T): noise between the sizes of pores and of the patches between creases, the same for everybody."""
    noise = np.random.default_rng(5).standard_normal((size, size), np.float32)
    fine, coarse = (max(s * size / 1024, 0.5) for s in (1.0, 2.6))
    band = imaging.gaussian_blur(noise, (0, 0), fine) - imaging.gaussian_blur(noise, (0, 0), coarse)
    fade = min(size / 1024, 1.0)  # coarse textures cannot hold pores
    out: np.ndarray = band * np.float32(_UNEVEN * fade / max(float(band.std()), 1e-6))
    return out


@njit(cache=True, nogil=True)
def _push(fine: np.ndarray, weight: np.ndarray, coarse: np.ndarray, less: np.ndarray) -> None:
    """Weighted means of 2 x 2 samples into ``coarse``, and how sure they are into ``less``."""
    for y in range(coarse.shape[0]):
        for x in range(coarse.shape[1]):
            total = np.float32(0.0)
            coarse[y, x] = 0.0
            for j in range(2 * y, 2 * y + 2):
                for i in range(2 * x, 2 * x + 2):
                    w = weight[j, i]
                    if w > 0.0:
                        total += w
                        for c in range(fine.shape[2]):
                            coarse[y, x, c] += w * fine[j, i, c]
            for c in range(fine.shape[2]):
                coarse[y, x, c] /= max(total, np.float32(1e-8))
            less[y, x] = min(total, np.float32(1.0))


@njit(cache=True, nogil=True)
def _pull(fine: np.ndarray, weight: np.ndarray, coarse: np.ndarray) -> None:
    """What ``fine`` is not sure of from ``coarse``, in place."""
    for y in range(fine.shape[0]):
        for x in range(fine.shape[1]):
            w = weight[y, x]
            if w < 1.0:
                for c in range(fine.shape[2]):
                    fine[y, x, c] = fine[y, x, c] * w + coarse[y // 2, x // 2, c] * (np.float32(1.0) - w)


@njit(cache=True, nogil=True, inline="always")
def blend(texels, i, size, fx, fy):  # type: ignore[no-untyped-def]
    """Four channels between texel ``i`` and those to the right and, ``size`` further, below; ``fx, fy``: uint64, in
    ``STEPS`` of the way. All four are weighed in one multiplication: no sum reaches into the next channel's bits."""
    d = (fx * fy) >> np.uint64(7)
    b, c = fx - d, fy - d
    a = np.uint64(STEPS) + d - fx - fy
    one, mask = np.uint64(1), np.uint64((1 << _BITS) - 1)
    t = a * texels[i] + b * texels[i + one] + c * texels[i + size] + d * texels[i + size + one]
    red = np.float32(np.int32(t & mask))
    green = np.float32(np.int32((t >> np.uint64(_BITS)) & mask))
    blue = np.float32(np.int32((t >> np.uint64(2 * _BITS)) & mask))
    return red, green, blue, np.float32(np.int32(t >> np.uint64(3 * _BITS)))


@njit(cache=True, nogil=True)
def look_up(texels, offsets, sizes, u, v, level):  # type: ignore[no-untyped-def]
    """:func:`blend` at ``u, v`` in [0, 1] of the level next to ``level`` (0 finest)."""
    k = np.uint64(min(max(level + np.float32(0.5), np.float32(0.0)), np.float32(sizes.shape[0] - 1)))
    wide = np.float32(sizes[k])
    last = wide - np.float32(1.001)
    x = min(max(u * wide - np.float32(0.5), np.float32(0.0)), last)
    y = min(max(v * wide - np.float32(0.5), np.float32(0.0)), last)
    x0, y0 = np.int32(x), np.int32(y)
    fx, fy = (np.int32((x - np.float32(x0)) * np.float32(STEPS)), np.int32((y - np.float32(y0)) * np.float32(STEPS)))
    size = np.uint64(sizes[k])
    i = np.uint64(offsets[k]) + np.uint64(y0) * size + np.uint64(x0)
    return blend(texels, i, size, np.uint64(fx), np.uint64(fy))
