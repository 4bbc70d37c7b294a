"""Makes faces unrecognisable in the planes of a frame, and leaves every other sample as it was.

All that a mode ever sees of a face is a coarse lattice of cell means, at most :data:`CELLS` across the region's longer
side and never finer than :data:`LEAST_CELL` pixels, averaged once more over neighbouring cells. ``pixelate`` paints the
cells, ``blur`` paints them smoothed further, so that even a perfect deconvolution of the blur ends at the mosaic;
``solid`` does not look at the face at all. The coarseness is what counts: mosaics and blurs are deterministic, and
finer ones have been undone (S. Hill et al., *On the (In)effectiveness of Mosaicing and Blurring as Tools for Document
Redaction*, PoPETs 2016) or recognised (R. McPherson et al., *Defeating Image Obfuscation with Deep Learning*, 2016).

``benchmarks/attack_obscuring.py`` chose the numbers. Faces obscured so are matched to clear ones no better than by
chance. Galleries obscured in the same way are matched a few times better than by chance, and someone who holds the very
photograph recognises its colours in blur and pixelate, however strong: against that only ``solid`` helps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .. import imaging
from ..errors import UsageError
from ..types import Frame, PixelFormat
from .region import Region, radius

CELLS = 7.75
"""Cells across the longer side of a region, at most. A region is about 1.45 times as tall as the face inside it."""
LEAST_CELL = 8.0
"""The least side of a cell, in frame pixels: small faces get fewer cells, never weaker ones."""
FEATHER = 0.16
"""Width of the soft edge outside the region, in units of its half axes."""
_LEAST_FEATHER = 2.5  # pixels: below, the edge of a small region would be jagged
_SOFTENING = 1.0  # standard deviation, in cells, of the Gaussian average over neighbouring cells in every mode
_SIGMA = 1.15  # of what blur adds: 20 % of the region's longer side all in all, 30 % of the face's height
_SUBSAMPLES = 4  # along each side of a cell
_FINE = 4  # points along a cell that blur draws from
_POINTS = 12  # the same for pixelate
_NOISE = 2.0  # largest offset of a cell, in 1/255 of full scale: the most that undoing the softening would start from
_TONE = 0.45  # of the solid colour, between black and white
_TEXELS = 192
_SMEAR = 0.03  # how far, in units of the half axes, drawing the edge coarsely may smear its ends
_WHOLE = (8, 5)  # cells of a whole picture

_MODES = ("blur", "pixelate", "solid")


def modes() -> tuple[str, ...]:
    """The names that :class:`Obscurer` takes."""
    return _MODES


def feather(region: Region) -> float:
    """Where the soft edge of ``region`` ends, in units of its half axes: samples whose centre lies further out keep
    their value. In steps of 1/32, so that few edges need to be kept."""
    least = _LEAST_FEATHER / min(region.ax, region.ay)
    return 1 + math.ceil(32 * min(max(FEATHER, least), 32.0)) / 32


@dataclass(frozen=True, slots=True, eq=False)
class _Lattice:
    """The cells laid over a region, turning with it and tied to its centre, so that they do not swim over the face.

    ``frame_from_lattice``, ``lattice_from_frame``: 3 x 3; a cell is a unit square, the first one's corner the origin.
    ``weights``: float32 (rows s, columns s, 1), how much each of s x s sub-samples of a cell counts: 1 inside the
    region and the picture, else 0.
    """

    pitch: float
    columns: int
    rows: int
    frame_from_lattice: np.ndarray
    lattice_from_frame: np.ndarray
    weights: np.ndarray


def _lattice(region: Region, width: int, height: int) -> _Lattice:
    pitch = max(2 * max(region.ax, region.ay) / CELLS, LEAST_CELL)
    reach = feather(region)
    columns, rows = (2 * math.ceil(axis * reach / pitch) for axis in (region.ax, region.ay))
    cos, sin = math.cos(region.roll), math.sin(region.roll)
    frame_from_lattice = _affine(cos * pitch, -sin * pitch, region.cx, sin * pitch, cos * pitch, region.cy)
    frame_from_lattice = frame_from_lattice @ _shifted(-columns / 2, -rows / 2)
    lattice_from_frame = _affine(cos / pitch, sin / pitch, columns / 2, -sin / pitch, cos / pitch, rows / 2)
    lattice_from_frame = lattice_from_frame @ _shifted(-region.cx, -region.cy)
    u = ((np.arange(columns * _SUBSAMPLES) + 0.5) / _SUBSAMPLES)[None]
    v = ((np.arange(rows * _SUBSAMPLES) + 0.5) / _SUBSAMPLES)[:, None]
    (a, b, c), (d, e, f), _ = frame_from_lattice
    x, y = a * u + b * v + c, d * u + e * v + f
    seen = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    inside = radius((u - columns / 2) * (pitch / region.ax), (v - rows / 2) * (pitch / region.ay)) <= 1
    weights = (inside & seen).astype(np.float32)[..., None]
    return _Lattice(pitch, columns, rows, frame_from_lattice, lattice_from_frame, weights)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Planes of one size that are worked on together: their numbers in the frame, and their subsampling. A subsampled
    plane's samples sit in the middle of those they stand for."""

    planes: tuple[int, ...]
    shift: tuple[int, int]

    def window(self, region: Region, grow: float, frame: Frame) -> tuple[int, int, int, int] | None:
        """``x0 y0 x1 y1``, the samples that ``region`` scaled by ``grow`` may touch, end exclusive; ``None``: none."""
        height, width = frame.planes[self.planes[0]].shape
        left, top, right, bottom = region.bounds(grow)
        (sx, _, ox), (_, sy, oy), _ = _plane_from_frame(self.shift).tolist()
        x0, y0, x1, y1 = sx * left + ox, sy * top + oy, sx * right + ox, sy * bottom + oy
        if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
            return None
        x0, y0 = max(0, math.floor(x0)), max(0, math.floor(y0))
        return x0, y0, min(width, math.ceil(x1) + 1), min(height, math.ceil(y1) + 1)


def _layers(frame: Frame) -> list[_Layer]:
    luma = _Layer((0,), (0, 0))
    if len(frame.planes) == 1:
        return [luma]
    return [luma, _Layer(tuple(range(1, len(frame.planes))), frame.format.chroma_shift)]


@lru_cache(maxsize=16)
def _plane_from_frame(shift: tuple[int, int]) -> np.ndarray:
    sx, sy = (0.5**by for by in shift)
    return _affine(sx, 0, (sx - 1) / 2, 0, sy, (sy - 1) / 2)


@lru_cache(maxsize=16)
def _frame_from_plane(shift: tuple[int, int]) -> np.ndarray:
    sx, sy = (2.0**by for by in shift)
    return _affine(sx, 0, (sx - 1) / 2, 0, sy, (sy - 1) / 2)


def _affine(a: float, b: float, c: float, d: float, e: float, f: float) -> np.ndarray:
    return np.array([[a, b, c], [d, e, f], [0, 0, 1]], np.float64)


def _shifted(x: float, y: float) -> np.ndarray:
    return _affine(1, 0, x, 0, 1, y)


def _resized(width: float, height: float, to_width: float, to_height: float) -> np.ndarray:
    """3 x 3: from the samples of a picture of one size to those of its copy in another."""
    fx, fy = to_width / width, to_height / height
    return _affine(fx, 0, (fx - 1) / 2, 0, fy, (fy - 1) / 2)


def _samples(frame: Frame, region: Region, layer: _Layer, lattice: _Lattice) -> np.ndarray | None:
    """The layer's planes at every sub-sample of the lattice: float32 (rows s, columns s, planes); ``None`` when the
    region lies outside the picture."""
    window = layer.window(region, 1.0, frame)
    if window is None:
        return None
    x0, y0, x1, y1 = window
    spacing = lattice.pitch / _SUBSAMPLES
    width, height = (
        max(1, size // max(1, int(spacing * 0.5**shift)))
        for size, shift in zip((x1 - x0, y1 - y0), layer.shift, strict=True)
    )
    reduced = [
        imaging.resize(frame.planes[number][y0:y1, x0:x1], (width, height), interpolation=imaging.INTER_AREA)
        for number in layer.planes
    ]
    size = lattice.columns * _SUBSAMPLES, lattice.rows * _SUBSAMPLES
    reduced_from_frame = _resized(x1 - x0, y1 - y0, width, height) @ _shifted(-x0, -y0) @ _plane_from_frame(layer.shift)
    # Lattice units put the origin at a corner; samples put it at the first one's centre.
    scale = 1 / _SUBSAMPLES
    lattice_from_samples = _affine(scale, 0, scale / 2, 0, scale, scale / 2)
    return imaging.warp_affine(
        np.dstack(reduced).astype(np.float32),
        (reduced_from_frame @ lattice.frame_from_lattice @ lattice_from_samples)[:2],
        size,
        flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
        borderMode=imaging.BORDER_REPLICATE,
    ).reshape(size[1], size[0], -1)


def _means(frame: Frame, region: Region, lattice: _Lattice) -> np.ndarray | None:
    """The cells' colours, means over what lies in region and picture, softened: float32 (rows, columns, planes).

    Cells with little or nothing of that take their neighbours' colour, so that the background never bleeds in.
    ``None`` when no sub-sample lies in both.
    """
    samples = [_samples(frame, region, layer, lattice) for layer in _layers(frame)]
    if not lattice.weights.any() or any(part is None for part in samples):
        return None
    weighted = np.concatenate([part * lattice.weights for part in samples] + [lattice.weights], axis=2)
    sums = imaging.resize(weighted, (lattice.columns, lattice.rows), interpolation=imaging.INTER_AREA)
    sums = imaging.gaussian_blur(sums, (7, 7), _SOFTENING, borderType=imaging.BORDER_REPLICATE)
    sums += 1e-3 * sums.mean((0, 1))
    return sums[..., :-1] / sums[..., -1:]


@lru_cache(maxsize=64)
def _edge(reach: float) -> np.ndarray:
    """Opacity over a square of half side ``reach`` about a unit region: float32 (texels, texels), above 1 all over the
    region and below 0 from ``reach`` on, with room for interpolation, so that clipping gives exactly 1 and 0 there."""
    texel = 2 * reach / _TEXELS
    at = (np.arange(_TEXELS) + 0.5) * texel - reach
    smear = 1.5 * texel + _SMEAR
    t = np.clip((reach - smear - radius(at[None], at[:, None])) / (reach - 1 - 2 * smear), 0, 1)
    return (t * t * (3 - 2 * t) * 1.02 - 0.01).astype(np.float32)


def _drawn(
    texture: np.ndarray, texture_from_plane: np.ndarray, window: tuple[int, int, int, int], step: int, **border: float
) -> np.ndarray:
    """``texture`` seen through a transform over a window: float32 (h, w) or (h, w, c). Every ``step``-th sample is
    computed, and those between them interpolated: a resize costs a twentieth of a warp."""
    x0, y0, x1, y1 = window
    size = (x1 - x0, y1 - y0)
    coarse = (-(-size[0] // step), -(-size[1] // step))
    plane_from_coarse = _shifted(x0, y0) @ _resized(*coarse, *size)
    drawn = imaging.warp_affine(
        texture,
        (texture_from_plane @ plane_from_coarse)[:2],
        coarse,
        flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
        **border,
    )
    return drawn if step == 1 else imaging.resize(drawn, size, interpolation=imaging.INTER_LINEAR)


def _opacity(region: Region, layer: _Layer, window: tuple[int, int, int, int]) -> np.ndarray:
    """Float32 of the window's shape: 1 inside the region, 0 beyond its feather."""
    reach = feather(region)
    cos, sin = math.cos(region.roll), math.sin(region.roll)
    unit_from_frame = _affine(cos / region.ax, sin / region.ax, 0, -sin / region.ay, cos / region.ay, 0)
    scale, middle = _TEXELS / (2 * reach), _TEXELS / 2 - 0.5
    texture_from_unit = _affine(scale, 0, middle, 0, scale, middle)
    texture_from_frame = texture_from_unit @ unit_from_frame @ _shifted(-region.cx, -region.cy)
    # A sample between computed ones mixes four that lie up to a diagonal of the step away.
    step = max(1, int(_SMEAR / math.sqrt(2) * min(region.ax, region.ay) * 0.5 ** max(layer.shift)))
    opacity = _drawn(
        _edge(reach),
        texture_from_frame @ _frame_from_plane(layer.shift),
        window,
        step,
        borderMode=imaging.BORDER_CONSTANT,
        borderValue=-0.01,
    )
    return np.clip(opacity, 0, 1, out=opacity)


def _blend(target: np.ndarray, patch: np.ndarray, opacity: np.ndarray) -> None:
    """Lays ``patch``, whole numbers in float32, over ``target`` in place. Sums of whole numbers this small are exact in
    float32: full opacity leaves no trace of the target, and none leaves it as it was."""
    below = target.astype(np.float32)
    mixed = (patch - below) * opacity
    mixed += below
    mixed += 0.5
    target[...] = mixed  # truncates: together with the half, rounds


def _solid_values(pixels: PixelFormat) -> tuple[float, ...]:
    top = 255 << (pixels.depth - 8)
    black, white = (0, (1 << pixels.depth) - 1) if pixels.full_range else (top * 16 // 255, top * 235 // 255)
    neutral = float(1 << (pixels.depth - 1))
    return float(round(black + _TONE * (white - black))), neutral, neutral


@dataclass(frozen=True, slots=True, eq=False)
class _Cover:
    """What is laid over a region: ``points`` float32 (rows d, columns d, planes), ``detail`` d points along a cell; d
    is 0 for a flat colour."""

    points: np.ndarray
    detail: int
    lattice: _Lattice

    def drawn(self, layer: _Layer, window: tuple[int, int, int, int]) -> np.ndarray:
        """Whole numbers, float32 (h, w, layer's planes), or a shape that broadcasts to it."""
        points = self.points[..., layer.planes]
        if not self.detail:
            return points
        points_from_lattice = _affine(self.detail, 0, -0.5, 0, self.detail, -0.5)
        points_from_plane = points_from_lattice @ self.lattice.lattice_from_frame @ _frame_from_plane(layer.shift)
        step = max(1, int(self.lattice.pitch / max(self.detail, 6) * 0.5 ** max(layer.shift)))
        patch = _drawn(points, points_from_plane, window, step, borderMode=imaging.BORDER_REPLICATE)
        x0, y0, x1, y1 = window
        return np.rint(patch, out=patch).reshape(y1 - y0, x1 - x0, -1)


class Obscurer:
    """Obscures regions of frames, always at full strength.

    ``mode``: one of :func:`modes`. ``seed``: of a small offset given to each cell of ``blur`` and ``pixelate``, the
    same in every frame and for every face, so that it neither flickers nor averages out; the last levels of the cell
    means, which a deconvolution or a comparison with a known photograph would start from, drown in it. Raises
    :class:`UsageError` for an unknown mode.

    ``solid`` paints one calm grey on everybody: a tone taken from the face would tell the colour of the skin and the
    light on it, and would flicker.
    """

    def __init__(self, mode: str = "blur", seed: int = 0) -> None:
        if mode not in _MODES:
            raise UsageError(f"unknown way to obscure {mode!r}: choose one of {', '.join(_MODES)}")
        self.mode = mode
        most = 2 * math.ceil(CELLS * (1 + FEATHER) / 2) + 2
        self._noise = np.random.default_rng(seed).uniform(-_NOISE, _NOISE, (most, most, 3)).astype(np.float32)

    def apply(self, frame: Frame, regions: Sequence[Region]) -> Frame:
        """A frame in which every region shows nothing of the original; the same frame where none touches it.

        Outside the regions and their soft edges (:func:`feather`) every sample keeps its bits. Planes that are changed
        are copies. Regions may overlap, and may lie partly or wholly outside the picture.
        """
        planes = list(frame.planes)
        for region in regions:
            cover = None
            for layer in _layers(frame):
                window = layer.window(region, feather(region), frame)
                if window is None:
                    continue
                cover = cover or self._cover(frame, region)
                patch = cover.drawn(layer, window)
                opacity = _opacity(region, layer, window)
                x0, y0, x1, y1 = window
                for channel, number in enumerate(layer.planes):
                    if planes[number] is frame.planes[number]:
                        planes[number] = planes[number].copy()
                    _blend(planes[number][y0:y1, x0:x1], patch[..., channel], opacity)
        if all(new is old for new, old in zip(planes, frame.planes, strict=True)):
            return frame
        return replace(frame, planes=tuple(planes))

    def obscure_frame(self, frame: Frame) -> Frame:
        """See :func:`obscure_frame`: the same in every mode."""
        return obscure_frame(frame)

    def _middle(self, count: int) -> np.ndarray:
        """Which ``count`` lines of the noise, from its middle; again and again for regions that are far longer than
        wide, whose soft edges reach farther than any face's."""
        most = len(self._noise)
        return (np.arange(count) + (most - count) // 2) % most

    def _cover(self, frame: Frame, region: Region) -> _Cover:
        # Always of the untouched frame: cells that averaged another region's would depend on the regions' order.
        mode = region.by or self.mode
        lattice = _lattice(region, frame.width, frame.height)
        cells = None if mode == "solid" else _means(frame, region, lattice)
        if cells is None:
            return _Cover(np.array([[_solid_values(frame.format)]], np.float32), 0, lattice)
        rows, columns, planes = cells.shape
        white = (1 << frame.format.depth) - 1
        cells += white / 255 * self._noise[np.ix_(self._middle(rows), self._middle(columns))][..., :planes]
        np.clip(cells, 0, white, out=cells)
        if mode == "blur":
            return _Cover(_smoothed(cells), _FINE, lattice)
        # Some twelve points a cell, so that interpolation softens the cells' edges and no more.
        return _Cover(cells.repeat(_POINTS, 0).repeat(_POINTS, 1), _POINTS, lattice)


def _smoothed(cells: np.ndarray) -> np.ndarray:
    rows, columns = cells.shape[:2]
    fine = imaging.resize(cells, (columns * _FINE, rows * _FINE), interpolation=imaging.INTER_LINEAR)
    fine = imaging.gaussian_blur(fine, (0, 0), _SIGMA * _FINE, borderType=imaging.BORDER_REPLICATE)
    return fine.reshape(rows * _FINE, columns * _FINE, -1)


def obscure_frame(frame: Frame) -> Frame:
    """The whole picture, reduced to at most 8 x 5 cells (5 x 8 when upright) and smoothed: colour and light, no shapes.

    For frames in which no face can be placed because the source is damaged there.
    """
    wide, high = _WHOLE if frame.width >= frame.height else _WHOLE[::-1]
    planes = []
    for plane in frame.planes:
        height, width = plane.shape
        size = (max(1, min(wide, width // 8)), max(1, min(high, height // 8)))
        cells = imaging.resize(plane, size, interpolation=imaging.INTER_AREA).astype(np.float32)
        cells = imaging.gaussian_blur(cells, (3, 3), 0.7, borderType=imaging.BORDER_REPLICATE)
        fine = imaging.resize(cells, (width, height), interpolation=imaging.INTER_CUBIC)
        planes.append(np.clip(np.rint(fine), 0, (1 << frame.format.depth) - 1).astype(plane.dtype))
    return replace(frame, planes=tuple(planes))
