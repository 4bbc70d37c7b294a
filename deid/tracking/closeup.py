"""The surroundings of one face in a frame: small in colour, for networks and mean colours, and whole in its planes.

A face of 500 pixels has ten times the pixels that a landmark model or a mean colour needs. Means over squares of
pixels are taken in the frame's own planes, which costs a fraction of converting every pixel; only noise and sharpness
need those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.media.convert import bgr
from deid.types import Frame, PixelFormat

_ENOUGH = 192.0
"""Pixels a side that a face's square keeps at least: what the landmark model reads."""
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Luma weights of red and blue: ITU-R BT.601, BT.709, BT.2020."""


@dataclass(frozen=True, slots=True, eq=False)
class Closeup:
    """``rgb``: uint8 (h, w, 3), R first, means over ``factor`` x ``factor`` pixels of the frame from ``origin`` (x, y)
    on. ``luma``, ``blue``, ``red``: the same part of the planes, uint8, all pixels, colour differences of half the size
    each way; ``None`` where the frame is not of that kind. ``full_range`` tells 0..255 from studio swing."""

    rgb: np.ndarray
    origin: tuple[int, int]
    factor: int
    luma: np.ndarray | None
    blue: np.ndarray | None
    red: np.ndarray | None
    full_range: bool

    @classmethod
    def of(cls, frame: Frame, region: tuple[int, int, int, int], size: float) -> Closeup:
        """``region``: ``x0 y0 x1 y1`` inside the frame, ends excluded. ``size``: side of the face's square, pixels."""
        x0, y0, x1, y1 = region
        fmt = frame.format
        if fmt.grey or fmt.chroma_shift != (1, 1):
            return cls(_rgb(frame, region), (x0, y0), 1, None, None, None, fmt.full_range)
        x0, y0 = x0 & ~1, y0 & ~1
        factor = max(1, int(size / _ENOUGH))
        if factor > 1:
            x1, y1 = x0 + (x1 - x0) // factor * factor, y0 + (y1 - y0) // factor * factor
        luma, blue, red = _parts(frame, (x0, y0, x1, y1))
        if factor == 1:
            rgb = _rgb(frame, (x0, y0, x1, y1))
        else:
            rgb = _reduced((luma, blue, red), fmt, ((x1 - x0) // factor, (y1 - y0) // factor))
        return cls(rgb, (x0, y0), factor, luma, blue, red, fmt.full_range)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """float32 ``points`` (n, 3) of the frame, in pixels of ``rgb``."""
        out = self.within(points)
        if self.factor > 1:
            out[:, :2] = (out[:, :2] + 0.5) / self.factor - 0.5
            out[:, 2] /= self.factor
        return out

    def within(self, points: np.ndarray) -> np.ndarray:
        """float32 ``points`` (n, 3) of the frame, in pixels of ``luma``."""
        out = points.astype(np.float32)
        out[:, :2] -= self.origin
        return out

    def outside(self, points: np.ndarray) -> np.ndarray:
        """``points`` (n, 3) of ``rgb``, in pixels of the frame: the inverse of :meth:`inside`."""
        out = points.astype(np.float32)
        out[:, :2] = (out[:, :2] + 0.5) * self.factor - 0.5 + self.origin
        out[:, 2] *= self.factor
        return out


def _rgb(frame: Frame, region: tuple[int, int, int, int]) -> np.ndarray:
    return imaging.cvt_color(bgr(frame, region=region), imaging.COLOR_BGR2RGB)


def _parts(frame: Frame, region: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """The region of the three planes, uint8, colour differences of half the size (rounded up)."""
    x0, y0, x1, y1 = region
    bits = frame.format.depth - 8
    out = [frame.planes[0][y0:y1, x0:x1]]
    out += [plane[y0 >> 1 : (y1 + 1) >> 1, x0 >> 1 : (x1 + 1) >> 1] for plane in frame.planes[1:3]]
    if bits == 0:
        return tuple(out)
    half = 1 << (bits - 1)
    return tuple(np.minimum((part.astype(np.uint16) + half) >> bits, 255).astype(np.uint8) for part in out)


def _reduced(parts: tuple[np.ndarray, ...], fmt: PixelFormat, size: tuple[int, int]) -> np.ndarray:
    """uint8 RGB of ``size`` (width, height) from planes, each averaged over the pixels that a sample stands for."""
    small = [imaging.resize(np.ascontiguousarray(part), size, interpolation=imaging.INTER_AREA) for part in parts]
    kr, kb = _WEIGHTS[fmt.matrix]
    kg = 1 - kr - kb
    gain, chroma, black = (1.0, 1.0, 0.0) if fmt.full_range else (255 / 219, 255 / 224, 16.0)
    red, blue = 2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma
    rows = np.array([[gain, 0, red], [gain, -blue * kb / kg, -red * kr / kg], [gain, blue, 0]])
    matrix = np.column_stack([rows, -rows @ (black, 128, 128)])
    return imaging.transform(imaging.merge(small), matrix)
