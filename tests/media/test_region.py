"""Regions of a frame as floating-point RGB, and back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from deid.media.convert import bgr, ycbcr
from deid.media.region import read_region, write_region
from deid.types import Frame, PixelFormat

FORMATS = [
    PixelFormat("yuv420p", 8, (1, 1), False, "bt709"),
    PixelFormat("yuvj420p", 8, (1, 1), True, "bt601"),
    PixelFormat("yuv422p", 8, (1, 0), False, "bt601"),
    PixelFormat("yuv420p10le", 10, (1, 1), False, "bt2020"),
    PixelFormat("yuv444p10le", 10, (0, 0), True, "bt601"),
    PixelFormat("gray", 8, (0, 0), False, "bt601", grey=True),
]


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours, 0 to 255."""
    y, x = np.mgrid[:height, :width]
    return np.stack([60 + x * 2.0, 200 - y * 2.0, 90 + x + y * 1.0], axis=2)


def framed(rgb: np.ndarray, fmt: PixelFormat) -> Frame:
    return Frame(0, 0, Fraction(1, 25), 1, ycbcr(rgb, fmt), fmt)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("region", [(0, 0, 40, 30), (6, 4, 33, 27), (10, 8, 40, 30)])
def test_reads_what_libswscale_reads(fmt: PixelFormat, region: tuple[int, int, int, int]) -> None:
    frame = framed(picture(31, 41), fmt)
    ours = read_region(frame, region) * 255
    theirs = bgr(frame, region=region)[..., ::-1].astype(np.float32)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    inner = np.s_[2:-2, 2:-2]  # at a region's edge libswscale repeats chroma
    assert np.abs(ours - theirs)[inner].max() < 2.5
    assert abs((ours - theirs)[inner].mean()) < 0.6


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_what_is_read_and_written_is_the_same(fmt: PixelFormat) -> None:
    frame = framed(picture(31, 41), fmt)
    planes = tuple(np.zeros_like(p) for p in frame.planes)
    whole = read_region(frame, (0, 0, 41, 31))
    write_region(planes, fmt, (0, 0), whole, np.ones((31, 41), bool))
    for new, old in zip(planes, frame.planes, strict=True):
        assert np.abs(new.astype(int) - old).max() <= 1 << (fmt.depth - 8)
    assert np.array_equal(planes[0], frame.planes[0])


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_only_touched_samples_are_written(fmt: PixelFormat) -> None:
    frame = framed(picture(31, 41), fmt)
    planes = tuple(p.copy() for p in frame.planes)
    touched = np.zeros((12, 13), bool)
    touched[5, 7] = touched[11, 12] = True
    colour = np.broadcast_to(np.array([1, 0, 0], np.float32), (12, 13, 3))
    write_region(planes, fmt, (8, 6), colour, touched)
    for i, (new, old) in enumerate(zip(planes, frame.planes, strict=True)):
        sx, sy = fmt.chroma_shift if i else (0, 0)
        wanted = {((6 + y) >> sy, (8 + x) >> sx) for y, x in ((5, 7), (11, 12))}
        assert set(zip(*map(np.ndarray.tolist, np.nonzero(new != old)), strict=True)) == wanted


def test_blacks_below_black_come_back() -> None:
    fmt = FORMATS[0]
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    neutral = np.full((8, 8), 128, np.uint8)
    frame = Frame(0, 0, Fraction(1, 25), 1, (luma, neutral, neutral), fmt)
    planes = tuple(np.zeros_like(p) for p in frame.planes)
    write_region(planes, fmt, (0, 0), read_region(frame, (0, 0, 16, 16)), np.ones((16, 16), bool))
    assert all(np.array_equal(a, b) for a, b in zip(planes, frame.planes, strict=True))


@pytest.mark.parametrize("region", [(1, 0, 20, 20), (0, 3, 20, 20), (0, 0, 42, 20), (8, 8, 8, 20)])
def test_regions_off_the_grid_are_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="chroma grid"):
        read_region(framed(picture(31, 41), FORMATS[0]), region)
