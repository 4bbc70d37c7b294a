"""Visible text in a bottom corner, drawn on the samples of its own small region only."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UsageError
from ..types import PixelFormat

_HEIGHT = 0.035
"""Text height as a part of the frame's height."""
_SMALLEST = 10
_WIDEST = 0.92
_INK, _PAPER = 0.92, 0.08
"""Luma of the letters and of the box behind them, as parts of white."""
_PAPER_OPACITY = 0.55


class Watermark:
    """``text`` rendered once for frames of ``width`` x ``height`` in ``format``. Raises :class:`UsageError` for text
    with characters that the font does not have."""

    def __init__(self, text: str, width: int, height: int, format: PixelFormat) -> None:
        letters, box = _render(text.strip(), width, height)
        sx, sy = format.chroma_shift
        margin = max(2, round(min(width, height) * 0.02)) >> 1 << 1
        self._x = max(0, width - letters.shape[1] - margin) >> sx << sx
        self._y = max(0, height - letters.shape[0] - margin) >> sy << sy
        self._shift = (sx, sy)
        alpha = letters + (1 - letters) * box * _PAPER_OPACITY
        colour = np.divide(
            letters * _INK + (1 - letters) * box * _PAPER_OPACITY * _PAPER,
            alpha,
            out=np.zeros_like(alpha),
            where=alpha > 0,
        )
        top = (1 << format.depth) - 1
        unit = 1 << (format.depth - 8)
        luma = colour * top if format.full_range else 16 * unit + colour * 219 * unit
        self._alpha, self._luma = alpha, luma
        self._chroma_alpha = _pooled(alpha, sx, sy)
        self._neutral = float(1 << (format.depth - 1))

    def draw(self, planes: list[np.ndarray]) -> None:
        """Blend into writable ``planes``, in place; samples outside the text's box are not touched."""
        _blend(planes[0], self._x, self._y, self._alpha, self._luma)
        for plane in planes[1:]:
            _blend(plane, self._x >> self._shift[0], self._y >> self._shift[1], self._chroma_alpha, self._neutral)


def _blend(plane: np.ndarray, x: int, y: int, alpha: np.ndarray, value: np.ndarray | float) -> None:
    region = plane[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    alpha = alpha[: region.shape[0], : region.shape[1]]
    if isinstance(value, np.ndarray):
        value = value[: region.shape[0], : region.shape[1]]
    region[:] = np.rint(region * (1 - alpha) + value * alpha).astype(plane.dtype)


def _pooled(alpha: np.ndarray, sx: int, sy: int) -> np.ndarray:
    height, width = alpha.shape
    padded = np.pad(alpha, ((0, -height % (1 << sy)), (0, -width % (1 << sx))), mode="edge")
    return padded.reshape(padded.shape[0] >> sy, 1 << sy, padded.shape[1] >> sx, 1 << sx).mean(axis=(1, 3))


def _render(text: str, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Float32 opacity of the letters in [0, 1], and of the box around them."""
    size = max(_SMALLEST, round(height * _HEIGHT))
    font = _font(size)
    missing = sorted({c for c in text if not c.isspace() and not _has_glyph(font, c)})
    if missing or any(not c.isprintable() for c in text):
        raise UsageError(f"the watermark has characters that cannot be drawn ({' '.join(missing)}): use other letters.")
    while size > 4 and font.getlength(text) + size > width * _WIDEST:
        size -= 1
        font = _font(size)
    left, top, right, bottom = font.getbbox(text)
    pad = max(2, size // 3)
    image = Image.new("L", (min(width, right - left + 2 * pad), min(height, bottom - top + 2 * pad)))
    ImageDraw.Draw(image).text((pad - left, pad - top), text, fill=255, font=font)
    letters = np.asarray(image, np.float32) / 255
    return letters, np.ones_like(letters)


@lru_cache(maxsize=1)
def _font_file() -> str | None:
    """DejaVu Sans, which comes with matplotlib (MediaPipe brings it) and knows most alphabets, or ``None``."""
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        return None
    path = os.path.join(os.path.dirname(package.origin), "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
    return path if os.path.isfile(path) else None


def _font(size: int) -> ImageFont.FreeTypeFont:
    path = _font_file()
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _has_glyph(font: ImageFont.FreeTypeFont, character: str) -> bool:
    return bytes(font.getmask(character)) != bytes(font.getmask("\U0010ffff"))
