"""Eyebrows drawn hair by hair into the face's UV tile.

A mean of photographed brows is a smear, because no two lie alike; hairs laid along a known direction field are sharp at
any size and nobody's. Roots fill a band whose middle line and width come from the landmarks' place in the tile;
directions turn from upright at the nose to outwards, upper hairs lean down and lower hairs up, as anatomy has it. A
hair is a line of Gaussian profile; optical depths add, so that dense places saturate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from deid import imaging

COUNT = 8  # numbers that describe brows; see :meth:`BrowStyle.of`
TILE = 768  # texels a side in which lengths here are measured
_INNER, _OUTER = 350.0, 196.0  # where a brow begins and ends in the tile's left half
_KNOTS = (0.0, 0.15, 0.4, 0.65, 0.85, 1.0)
_MIDDLE = (174.5, 169.0, 163.0, 160.0, 162.5, 168.5)  # of the band's roots, at the knots from the nose outwards
_HALF_WIDTH = (12.5, 16.0, 15.5, 13.5, 10.0, 6.0)
_DEPTH = 1.5  # optical depth through the middle of a hair
_HAIR_WIDTH = 0.36
_HAIRS = 900  # a side, before thinning
_STRAY = 0.10  # share of hairs outside the band
_ROWS = (105, 225)  # of the tile, that hold every brow
# tints of hair beside the skin's: black, brown and fair hair of such reflectances, and grey
_TINTS = (0.06, 0.22, 0.5), ((0.95, 1.13, 1.06), (1.0, 1.0, 1.0), (1.08, 0.88, 0.88))
_COOL = np.array((0.95, 1.0, 1.06), np.float32)


@dataclass(frozen=True, slots=True)
class BrowStyle:
    """``rise``, ``tilt``, ``arch``: texels by which the middle line moves up, its outer end rises, its outer third
    bends up; ``thick``, ``dense``: factors; ``inner``: texels towards the nose; ``dark``: reflectance of a hair
    relative to the skin's; ``grey``: share of grey hairs, 0 to 1."""

    rise: float
    tilt: float
    arch: float
    thick: float
    inner: float
    dense: float
    dark: float
    grey: float

    @classmethod
    def of(cls, numbers: np.ndarray, gender: float = 0.0) -> BrowStyle:
        """From :data:`COUNT` standard normal numbers; ``gender``: -1 (a man's: lower, thicker) to 1."""
        n = np.clip(np.asarray(numbers, np.float64), -2.5, 2.5)
        return cls(
            rise=3.3 * n[0] - 0.5 + 1.7 * gender,
            tilt=2.8 * n[1],
            arch=3.0 * n[2] + 1.0,
            thick=float(np.clip((0.60 - 0.05 * gender) * np.exp(0.22 * n[3]), 0.42, 0.76 - 0.08 * gender)),
            inner=5.0 * n[4],
            dense=float(np.clip(np.exp(0.25 * n[5]), 0.95, 1.4)),
            dark=float(np.clip(0.20 * np.exp(0.5 * n[6]), 0.06, 0.6)),
            grey=float(np.clip(0.10 + 0.16 * n[7], 0.0, 0.7)),
        )


def lay_brows(albedo: np.ndarray, rows: slice, cover: np.ndarray, hair: np.ndarray) -> None:
    """Lays what :func:`brows` has made over the skin, in place. ``albedo``: float32 (T, T, 3), the face's tile."""
    skin = albedo[rows]
    skin += cover[..., None] * (hair - skin)


def brows(style: BrowStyle, seed: int, size: int) -> tuple[slice, np.ndarray, np.ndarray]:
    """Rows of the tile of ``size`` texels a side that brows lie in; there, cover by hair, float32 (h, size) in [0, 1],
    and the hairs' relative reflectance, float32 (h, size, 3)."""
    rng = np.random.default_rng((seed, 5))
    scale = size / TILE
    rows = slice(int(_ROWS[0] * scale), int(_ROWS[1] * scale))
    depth, light = (np.zeros((rows.stop - rows.start, size), np.float32) for _ in range(2))
    for side in (0, 1):
        hairs = _hairs(style, rng, side) * np.float32(scale)
        hairs[:, 1:6:2] -= rows.start
        _splat(hairs, _tones(style, rng), depth, light)
    cover = 1 - np.exp(-depth)
    tone = light / np.maximum(depth, 1e-6)
    below = imaging.gaussian_blur(cover, (0, 0), 6.0 * scale)  # stubs and skin that the hairs shade
    cover = 1 - (1 - cover) * (1 - 0.26 * below)
    own = np.array([np.interp(style.dark, _TINTS[0], channel) for channel in _TINTS[1]], np.float32)
    tint = np.where(tone[..., None] > 0.62, _COOL, own)
    return rows, cover, np.where(depth > 0.02, tone, np.float32(style.dark * 1.3))[..., None] * tint


def _tones(style: BrowStyle, rng: np.random.Generator) -> np.ndarray:
    tones = style.dark * np.exp(rng.normal(0, 0.32, _HAIRS))
    grey = rng.random(_HAIRS) < style.grey
    return np.where(grey, np.maximum(tones, rng.uniform(0.45, 0.9, _HAIRS)), tones).astype(np.float32)


def _hairs(style: BrowStyle, rng: np.random.Generator, side: int) -> np.ndarray:
    """Root, middle and tip in texels of the tile, and width (0: left out), float32 (n, 7)."""
    count = _HAIRS
    own = rng.normal(0, 0.7, 3)  # no face is quite symmetric
    t = np.clip(rng.beta(1.0, 1.2, count) * 1.06 - 0.03, -0.03, 1.03)
    across = np.clip(rng.normal(0.1, 0.55, count), -1.5, 1.1)  # thinning out upwards
    stray = rng.random(count) < _STRAY
    across = np.where(stray, rng.uniform(-1.9, 1.5, count), across)
    x = _INNER + style.inner - (_INNER + style.inner - _OUTER) * t
    middle = np.interp(t, _KNOTS, _MIDDLE) - style.rise - own[0] - (style.tilt + own[1]) * (t - 0.4)
    middle -= (style.arch + own[2]) * np.exp(-(((t - 0.66) / 0.25) ** 2))
    half = np.interp(t, _KNOTS, _HALF_WIDTH) * style.thick
    y = middle + across * half + 0.12 * half * np.exp(-np.abs(t) / 0.1)
    rise = np.deg2rad(72 * np.exp(-t / 0.13) + 10 - 22 * t + across * (15 - 4 * t) + rng.normal(0, 12, count))
    length = (15 + 11 * np.sin(np.pi * np.clip(t + 0.12, 0, 1))) * np.exp(rng.normal(0, 0.2, count))
    length *= (0.75 + 0.25 * style.thick) * np.where(stray, rng.uniform(0.35, 0.8, count), 1)
    bend = rise * (0.35 + 0.4 * np.exp(-np.abs(t) / 0.15)) - np.deg2rad(6 + 10 * t)
    mx, my = x - 0.5 * length * np.cos(rise), y - 0.5 * length * np.sin(rise)
    tx, ty = mx - 0.5 * length * np.cos(bend), my - 0.5 * length * np.sin(bend)
    patches = rng.normal(0, 0.22, (9, 3))  # hairs stand in tufts
    tuft = patches[np.clip((t * 9).astype(int), 0, 8), np.clip(((across + 1.3) * 1.15).astype(int), 0, 2)]
    keep = rng.random(count) < np.clip(
        style.dense * (0.66 + tuft) * np.clip(0.2 + t / 0.2, 0.1, 1) * np.clip((1.06 - t) / 0.3, 0.2, 1), 0, 1
    )
    width = np.where(keep, _HAIR_WIDTH * np.exp(rng.normal(0, 0.25, count)) * np.where(stray, 0.7, 1), 0)
    if side:
        x, mx, tx = TILE - x, TILE - mx, TILE - tx
    return np.column_stack([x, y, mx, my, tx, ty, width]).astype(np.float32)


@njit(cache=True, nogil=True)
def _splat(hairs: np.ndarray, tones: np.ndarray, depth: np.ndarray, light: np.ndarray) -> None:
    """Adds each hair's optical depth, and the same times its tone. ``hairs``: as :func:`_hairs`, in output texels."""
    height, width = depth.shape
    for k in range(hairs.shape[0]):
        x0, y0, x1, y1, x2, y2, w = hairs[k]
        if w <= 0:
            continue
        span = np.hypot(x1 - x0, y1 - y0) + np.hypot(x2 - x1, y2 - y1)
        steps = max(4, int(span / 0.5))
        step = span / steps
        for i in range(steps):
            t = (i + 0.5) / steps
            a, b, c = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
            x = a * x0 + b * (2 * x1 - 0.5 * (x0 + x2)) + c * x2 - 0.5
            y = a * y0 + b * (2 * y1 - 0.5 * (y0 + y2)) + c * y2 - 0.5
            taper = 1 - 0.75 * t * t
            spread = max(w * taper * 0.5, 0.5)
            amount = _DEPTH * w * taper * step / (2 * np.pi * spread * spread)
            reach = 2
            for j in range(max(0, int(y) - reach + 1), min(height, int(y) + reach + 1)):
                for n in range(max(0, int(x) - reach + 1), min(width, int(x) + reach + 1)):
                    gap = ((n - x) ** 2 + (j - y) ** 2) / (2 * spread * spread)
                    if gap < 5:
                        value = amount * np.exp(-gap)
                        depth[j, n] += value
                        light[j, n] += value * tones[k]
