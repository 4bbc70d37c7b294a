"""A close-up shows what converting every pixel would, and places keep their meaning in it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.media.convert import bgr
from deid.tracking.closeup import Closeup
from deid.types import Frame, PixelFormat


def frame_of(depth: int = 8, matrix: str = "bt709", full: bool = False, side: int = 900) -> Frame:
    rng = np.random.default_rng(3)
    low, high = (0, 255) if full else (16, 235)
    coarse = rng.uniform(low + 30, high - 30, (3, 12, 12)).astype(np.float32)
    smooth = [imaging.resize(c, (side, side), interpolation=imaging.INTER_CUBIC) for c in coarse]
    chroma = [96 + 0.25 * imaging.resize(s, (side // 2, side // 2)) for s in smooth[1:]]
    kind, unit = (np.uint8, 1) if depth == 8 else (np.uint16, 1 << (depth - 8))
    luma = smooth[0] + rng.normal(0, 2.0, smooth[0].shape)
    planes = tuple(np.clip(np.rint(p * unit), 0, 256 * unit - 1).astype(kind) for p in (luma, *chroma))
    name = "yuv420p" if depth == 8 else f"yuv420p{depth}le"
    return Frame(0, 0, Fraction(1, 25), 1, planes, PixelFormat(name, depth, (1, 1), full, matrix))


@pytest.mark.parametrize(
    ("depth", "matrix", "full"), [(8, "bt709", False), (8, "bt601", False), (10, "bt2020", False), (8, "bt601", True)]
)
def test_colours_are_the_frames_means(depth: int, matrix: str, full: bool) -> None:
    frame = frame_of(depth, matrix, full)
    view = Closeup.of(frame, (101, 60, 801, 790), 700.0)
    assert view.factor == 3 and view.origin == (100, 60)
    whole = bgr(frame, region=(0, 0, 900, 900))[..., ::-1].astype(np.float32)
    h, w = view.rgb.shape[:2]
    means = whole[60 : 60 + 3 * h, 100 : 100 + 3 * w].reshape(h, 3, w, 3, 3).mean(axis=(1, 3))
    inside = (view.rgb.astype(np.float32) - means)[2:-2, 2:-2]
    assert np.abs(inside.mean((0, 1))).max() < 0.5
    assert np.abs(inside).mean() < 0.8 and np.abs(inside).max() < 5


@settings(max_examples=30, deadline=None)
@given(
    x=st.integers(0, 300), y=st.integers(0, 300), size=st.floats(40, 600), px=st.floats(0, 900), py=st.floats(0, 900)
)
def test_places_there_and_back(x: int, y: int, size: float, px: float, py: float) -> None:
    view = Closeup.of(FRAME, (x, y, x + 500, y + 501), size)
    points = np.array([[px, py, 5.0]], np.float32)
    assert np.allclose(view.outside(view.inside(points)), points, atol=1e-2)
    assert view.rgb.shape[0] * view.factor <= 502 and view.rgb.flags.c_contiguous


FRAME = frame_of()


def test_grey_and_full_colour_frames_have_colours_only() -> None:
    planes = (FRAME.planes[0],)
    grey = Frame(0, 0, Fraction(1, 25), 1, planes, PixelFormat("gray", 8, (0, 0), True, "bt601", grey=True))
    view = Closeup.of(grey, (10, 10, 410, 410), 390.0)
    assert view.luma is None and view.factor == 1 and view.rgb.shape == (400, 400, 3)
