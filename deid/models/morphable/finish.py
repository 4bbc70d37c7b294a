"""Making a rendering look filmed by the same camera: coding, softness, grain, and colour at the seam."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit

from deid import imaging

from .photo_membrane import membrane

GLOW_REACH = 0.9
"""Centimetres of the head, standard deviation: how far :func:`glowing` spreads light."""
_STEPS = 4096
_SHOULDER = 0.86
"""Code value above which :func:`to_code` bends towards 1."""
_LEAST_BLUR = 0.25  # pixels; less does not show
_TILE = 256
SEAM_LIMIT = 0.14
"""Largest correction of :func:`seam_correction`, of the code range: a light that was told 14 % wrong, no more."""
_SEAM_GRID = 40
_DARKER, _GREYER = (0.10, 0.06), (0.05, 0.04)  # code values: what light may be told wrong by, and over what that ends
_SEAM_TINT = 0.08
"""Largest part of the correction in which channels differ."""


def _decode(code: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1 (sRGB): linear light of code values 0..1."""
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _encode(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


CODE_TO_LINEAR8 = _decode(np.arange(256) / 255).astype(np.float32)
"""float32 (256,): linear light of 8-bit code values."""
CODE_TO_LINEAR8.setflags(write=False)


def to_linear(coded: np.ndarray) -> np.ndarray:
    """float32 linear light of sRGB-coded values 0..1, any shape (clipped to that range)."""
    values = np.ascontiguousarray(coded, np.float32)
    return _look_up(values.ravel(), _decode_table(), np.float32(_STEPS), False).reshape(values.shape)


def to_code(linear: np.ndarray, shoulder: bool = True) -> np.ndarray:
    """float32 sRGB code values 0..1 of ``linear`` light, any shape, negative light counting as none.

    ``shoulder``: code values above 0.86 bend towards 1, which linear light of 2.5 reaches, as cameras roll off
    highlights; otherwise what exceeds 1 is cut off. To a thousandth of the exact curve.
    """
    values = np.ascontiguousarray(linear, np.float32)
    return _look_up(values.ravel(), _encode_table(shoulder), np.float32(_STEPS), True).reshape(values.shape)


@lru_cache(maxsize=1)
def _decode_table() -> np.ndarray:
    return _decode(np.arange(_STEPS + 2) / _STEPS).astype(np.float32)


@lru_cache(maxsize=2)
def _encode_table(shoulder: bool) -> np.ndarray:
    """Code values at the squares of equal steps up to light 4: a root straightens the curve's steep beginning."""
    code = _encode((2 * np.arange(_STEPS + 2) / _STEPS) ** 2)
    if shoulder:
        rest = 1 - _SHOULDER
        over = np.maximum(code - _SHOULDER, 0) / rest
        code = np.where(code > _SHOULDER, _SHOULDER + rest * np.tanh(over), code)
    return np.minimum(code, 1.0).astype(np.float32)


@njit(cache=True, nogil=True)
def _look_up(values: np.ndarray, table: np.ndarray, steps: np.floating, root: bool) -> np.ndarray:  # pragma: no cover
    """``table`` at each of ``values`` (or at half their root), between its entries linearly."""
    out = np.empty_like(values)
    last = np.float32(steps)
    for i in range(values.size):
        v = values[i]
        if not v > 0:
            out[i] = table[0]
            continue
        place = min((np.float32(math.sqrt(v)) * np.float32(0.5) if root else v) * last, last)
        k = int(place)
        part = place - np.float32(k)
        out[i] = table[k] + part * (table[k + 1] - table[k])
    return out


def veiled(linear: np.ndarray, veil: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """float32: ``linear`` light (..., 3), rendered under a light of ``tone`` (3,), behind a ``veil`` (3,) of stray
    light that is part of the tone: skin keeps its mean, blacks are lifted, contrast sinks."""
    keep, add = veil_of(veil, tone)
    out: np.ndarray = linear * keep + add
    return out


def thicker(veil: np.ndarray, tone: np.ndarray, haze: float) -> np.ndarray:
    """A ``veil``, (3,) or (n, 3), that takes ``haze``, 0 to 1, more of what it leaves of the ``tone`` of skin."""
    out: np.ndarray = veil + veil.dtype.type(haze) * np.maximum(tone - veil, 0)
    return out


def veil_of(veil: np.ndarray, tone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (3,) twice: what :func:`veiled` multiplies light by, and what it adds."""
    share = np.clip(veil / np.maximum(tone, 1e-6), 0, 0.9).astype(np.float32)
    return 1 - share, (share * tone).astype(np.float32)


def soften(picture: np.ndarray, blur: float) -> np.ndarray:
    """``picture``, float32 (h, w) or (h, w, c), blurred by a Gaussian of standard deviation ``blur`` pixels;
    itself when that would not show. The rim repeats. Linear light blurs like a lens, code values like a codec."""
    side = soft_side(blur)
    if not side:
        return picture
    return imaging.gaussian_blur(picture, (side, side), blur, borderType=imaging.BORDER_REPLICATE)


def soft_side(blur: float) -> int:
    """Pixels to a side of the kernel of :func:`soften`; 0 when nothing would show."""
    return 0 if blur < _LEAST_BLUR else 2 * max(1, math.ceil(2.5 * blur)) + 1


def glowing(coded: np.ndarray, share: float, sigma: float, out: np.ndarray | None = None) -> np.ndarray:
    """``coded``, float32 (h, w, 3), with ``share`` of its light spread over ``sigma`` pixels (standard deviation), into
    ``out`` or a new array. What is spread varies slowly, and is made on a smaller grid."""
    out = np.empty_like(coded) if out is None else out
    return np.asarray(imaging.add_weighted(coded, 1.0 - share, scattered(coded, sigma), share, 0.0, out))


def scattered(coded: np.ndarray, sigma: float) -> np.ndarray:
    """The light of ``coded``, float32 (h, w, 3), that :func:`glowing` adds a share of."""
    height, width = coded.shape[:2]
    step = max(int(sigma / 1.5), 1)
    small = (max(-(-width // step), 1), max(-(-height // step), 1))
    wide = imaging.resize(coded, small, interpolation=imaging.INTER_AREA) if step > 1 else coded
    wide = imaging.gaussian_blur(wide, (0, 0), sigma / step, borderType=imaging.BORDER_REPLICATE)
    if step > 1:
        wide = imaging.resize(wide, (width, height), interpolation=imaging.INTER_LINEAR)
    return np.asarray(wide)


def add_grain(
    coded: np.ndarray, grain: float, seed: int, frame: int, size: float = 0.0, chroma: float = 0.0
) -> np.ndarray:
    """``coded``, float32 (h, w, 3) RGB 0..1, with noise: fresh in each ``frame``, the same for the same ``seed``.

    ``grain``, ``chroma``: standard deviation in 8-bit code values of luma, and of the two colour differences, which are
    twice as coarse as cameras and 4:2:0 make them. ``size``: standard deviation in pixels of the Gaussian that makes
    luma's noise as coarse as the footage's. Near black and white noise fades out, as clipping cuts it there.
    """
    if grain <= 0.05 and chroma <= 0.05:
        return coded
    tiles = _grain_tiles(seed, round(8 * min(max(size, 0.0), 2.0)))
    return _grained(
        np.ascontiguousarray(coded, np.float32),
        tiles,
        grain_place(seed, frame),
        np.float32(grain / 255),
        np.float32(chroma / 255),
    )


@lru_cache(maxsize=16)
def _grain_tiles(seed: int, eighths: int) -> np.ndarray:
    """float32 (3, 256, 256): noise of unit variance that repeats without a seam; luma, blue and red difference."""
    rng = np.random.default_rng([seed & 0xFFFFFFFF, 0x677261])
    frequency = np.fft.fftfreq(_TILE)
    square = frequency[:, None] ** 2 + frequency[None, :] ** 2
    out = np.empty((3, _TILE, _TILE), np.float32)
    for plane, sigma in enumerate((eighths / 8, max(eighths / 8, 0.8), max(eighths / 8, 0.8))):
        spectrum = np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * np.exp(-2 * (np.pi * sigma) ** 2 * square)
        spectrum[0, 0] = 0
        noise = np.fft.ifft2(spectrum).real
        out[plane] = noise / noise.std()
    out.setflags(write=False)
    return out


def grain_place(seed: int, frame: int) -> np.ndarray:
    """int64 (3, 2): where in its tiles of noise a frame begins. The finalizer of MurmurHash3 (A. Appleby) of seed and
    frame, twice, cut into bytes."""
    state = (seed * 0x9E3779B1 + frame * 0x85EBCA77 + 0x6772) & 0xFFFFFFFF
    out = 0
    for _ in range(2):
        state = ((state ^ state >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
        state = ((state ^ state >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
        state ^= state >> 16
        out = out << 32 | state
    return np.array([(out >> 8 * k) & (_TILE - 1) for k in range(6)]).reshape(3, 2)


@lru_cache(maxsize=16)
def grain_tiles(seed: int, size: float) -> np.ndarray:
    """float32 (2, 256, 768): the noise of :func:`add_grain`, of luma and of both colour differences together, as what
    it adds to red, green and blue. ``size``: in pixels."""
    luma, cb, cr = _grain_tiles(seed, round(8 * min(max(size, 0.0), 2.0)))
    colour = np.stack([1.402 * cr, -0.344 * cb - 0.714 * cr, 1.772 * cb], axis=2)
    out = np.stack([np.repeat(luma[..., None], 3, axis=2), colour]).astype(np.float32).reshape(2, _TILE, 3 * _TILE)
    out.setflags(write=False)
    return out


@njit(cache=True, nogil=True)
def _grained(
    coded: np.ndarray, tiles: np.ndarray, places: np.ndarray, grain: np.floating, chroma: np.floating
) -> np.ndarray:  # pragma: no cover - compiled
    height, width = coded.shape[:2]
    out = np.empty_like(coded)
    for y in range(height):
        for x in range(width):
            red, green, blue = coded[y, x, 0], coded[y, x, 1], coded[y, x, 2]
            level = np.float32(0.3) * red + np.float32(0.59) * green + np.float32(0.11) * blue
            room = min(np.float32(1.0), np.float32(25.0) * min(level, np.float32(1.0) - level) + np.float32(0.1))
            room = max(room, np.float32(0.0))
            luma = room * grain * tiles[0, (y + places[0, 0]) & 255, (x + places[0, 1]) & 255]
            cb = room * chroma * tiles[1, (y + places[1, 0]) & 255, (x + places[1, 1]) & 255]
            cr = room * chroma * tiles[2, (y + places[2, 0]) & 255, (x + places[2, 1]) & 255]
            out[y, x, 0] = min(max(red + luma + np.float32(1.402) * cr, np.float32(0)), np.float32(1))
            out[y, x, 1] = min(
                max(green + luma - np.float32(0.344) * cb - np.float32(0.714) * cr, np.float32(0)), np.float32(1)
            )
            out[y, x, 2] = min(max(blue + luma + np.float32(1.772) * cb, np.float32(0)), np.float32(1))
    return out


def seam_correction(
    rendered: np.ndarray, source: np.ndarray, boundary_weight: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """What to add to ``rendered`` so that its colour meets ``source``'s along the boundary: float32 (h, w, 3).

    ``rendered``, ``source``: float32 (h, w, 3), code values 0..1. ``boundary_weight``: (h, w), 0..1, where and how much
    the two are to agree: skin along the seam, 0 on hair or background as far as known. ``inside``: (h, w), truthy or
    0..1, where the correction is wanted (it is 0 elsewhere but for a soft rim).

    The field is a membrane over a grid of 40 cells (Perez et al., *Poisson Image Editing*, 2003, with weights), held by
    the differences on the boundary and drawn to 0 away from it. Differences that stand out from the others along the
    boundary (hair, background, a collar) count little. The result stays within 0.14 of the code range, channels within
    0.08 of each other, and varies over no less than a fortieth of the picture: light and cast pass, features do not.
    """
    height, width = rendered.shape[:2]
    rows, columns = seam_grid(height, width)
    weight = np.ascontiguousarray(boundary_weight, np.float32)
    shrink = (columns, rows)
    cell_weight = imaging.resize(weight, shrink, interpolation=imaging.INTER_AREA)
    difference = (source - rendered) * weight[..., None]
    cell_sum = imaging.resize(np.ascontiguousarray(difference, np.float32), shrink, interpolation=imaging.INTER_AREA)
    field = seam_field(cell_sum / np.maximum(cell_weight, 1e-4)[..., None], cell_weight)
    region = imaging.resize(np.ascontiguousarray(inside, np.float32), shrink, interpolation=imaging.INTER_AREA)
    region = imaging.dilate(region, np.ones((3, 3), np.uint8))
    field *= np.minimum(region, 1.0)[..., None]
    return imaging.resize(field.astype(np.float32), (width, height), interpolation=imaging.INTER_LINEAR)


def seam_field(cells: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The field of :func:`seam_correction` on its grid, float32 (rows, columns, 3), from the differences ``cells``
    (rows, columns, 3) and their ``weight`` (rows, columns)."""
    trust = weight * _agreement(cells, weight) * _plausible(cells)
    return _bounded(membrane(np.ascontiguousarray(cells, np.float32), trust.astype(np.float32))).astype(np.float32)


def seam_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the seam's grid on a picture."""
    longest = max(height, width)
    cells = min(_SEAM_GRID, longest)
    return max(2, round(height * cells / longest)), max(2, round(width * cells / longest))


def _agreement(cells: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(rows, columns), 0..1: how alike a boundary cell's difference is to the boundary's others."""
    out = np.ones_like(weight)
    used = weight > 0.02
    values = cells[used]
    if len(values) < 3:
        return out
    away = np.sqrt(((values - _median(values)) ** 2).sum(axis=1))
    usual = max(float(_median(away)), 0.02)
    square = (away / (2.5 * usual)) ** 2
    out[used] = 1 / ((1 + square) * (1 + square))
    return out


def _plausible(cells: np.ndarray) -> np.ndarray:
    """(rows, columns), 0..1: how far a difference can be the light's: not that of a beard, which is darker and greyer
    all along a chin."""
    grey = cells.mean(axis=2)
    tinted = np.sqrt(((cells - grey[..., None]) ** 2).sum(axis=2))
    dark = np.maximum(-grey - _DARKER[0], 0) / _DARKER[1]
    other = np.maximum(tinted - _GREYER[0], 0) / _GREYER[1] * np.clip(-grey / _DARKER[0], 0, 1)
    return np.asarray(np.exp(-dark * dark - other * other))


def _median(values: np.ndarray) -> np.ndarray:
    middle = len(values) // 2
    return np.asarray(np.partition(values, middle, axis=0)[middle])


def _bounded(field: np.ndarray) -> np.ndarray:
    grey = field.mean(axis=2, keepdims=True)
    return _limited(grey, SEAM_LIMIT - _SEAM_TINT) + _limited(field - grey, _SEAM_TINT)


def _limited(values: np.ndarray, limit: float) -> np.ndarray:
    """``values`` while well below ``limit``, which they never exceed."""
    square = (values * (1 / limit)) ** 2
    return np.asarray(values / np.sqrt(np.sqrt(1 + square * square)))
