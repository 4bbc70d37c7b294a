"""Coding, softness, grain and the seam."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable.finish import (
    CODE_TO_LINEAR8,
    SEAM_LIMIT,
    add_grain,
    seam_correction,
    soften,
    to_code,
    to_linear,
)
from deid.models.morphable.photo_quality import _immerkaer

_SIDE = 200


def ring(side: int = _SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A disc, and the rim of it."""
    y, x = np.mgrid[0:side, 0:side]
    r = np.hypot(y - side / 2, x - side / 2) / side
    return ((r < 0.42) & (r > 0.35)).astype(np.float32), r < 0.42


@settings(deadline=None)
@given(st.floats(0, 1, width=32))
def test_coding_and_back(value: float) -> None:
    code = to_code(np.array([value], np.float32), shoulder=False)
    assert to_linear(code)[0] == pytest.approx(value, abs=2e-5)


def test_coding_is_srgb() -> None:
    codes = np.arange(256, dtype=np.float32) / 255
    np.testing.assert_allclose(to_linear(codes), CODE_TO_LINEAR8, atol=1e-6)
    np.testing.assert_allclose(to_code(CODE_TO_LINEAR8, shoulder=False), codes, atol=1e-4)
    assert to_code(np.array([-1, np.nan, 9], np.float32), shoulder=False).tolist() == [0, 0, 1]


def test_highlights_roll_off() -> None:
    light = np.linspace(0, 4, 4001, dtype=np.float32)
    code = to_code(light)
    assert (np.diff(code) >= 0).all() and code[-1] <= 1
    low = light < 0.65
    np.testing.assert_allclose(code[low], to_code(light, shoulder=False)[low], atol=1e-3)
    assert to_code(np.array([1.0], np.float32))[0] < 0.98


@pytest.mark.parametrize("blur", [0.5, 1.0, 2.0])
def test_soften_blurs_as_told(blur: float) -> None:
    picture = np.zeros((61, 61), np.float32)
    picture[30, 30] = 1
    out = soften(picture, blur)
    x = np.arange(61) - 30
    assert out.sum() == pytest.approx(1, abs=1e-4)
    assert np.sqrt((out.sum(axis=0) * x**2).sum()) == pytest.approx(blur, rel=0.1)
    assert soften(picture, 0.1) is picture


@pytest.mark.parametrize(("grain", "size"), [(1.0, 0.0), (3.0, 0.5), (6.0, 1.0)])
def test_grain_has_the_deviation_asked_for(grain: float, size: float) -> None:
    flat = np.full((_SIDE, _SIDE, 3), 0.5, np.float32)
    out = add_grain(flat, grain, seed=3, frame=7, size=size)
    luma = out @ np.array([0.299, 0.587, 0.114], np.float32) * 255
    assert luma.std() == pytest.approx(grain, rel=0.1)
    assert np.ptp(out - out[..., :1]) < 1e-6
    neighbours = np.corrcoef(luma[:, 1:].ravel(), luma[:, :-1].ravel())[0, 1]
    expected = 0.0 if size == 0 else np.exp(-0.25 / size**2)
    assert neighbours == pytest.approx(expected, abs=0.12)


def test_grain_is_measured_as_it_was_made() -> None:
    flat = np.full((_SIDE, _SIDE, 3), 0.5, np.float32)
    out = np.round(255 * add_grain(flat, 4.0, 1, 1)[..., 1]).astype(np.float64)
    assert _immerkaer(out) == pytest.approx(4, rel=0.1)


def test_grain_is_fresh_and_repeatable() -> None:
    flat = np.full((64, 64, 3), 0.4, np.float32)
    one, two = (add_grain(flat, 4, 1, frame, chroma=1) for frame in (1, 2))
    np.testing.assert_array_equal(one, add_grain(flat, 4, 1, 1, chroma=1))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.1
    other = add_grain(flat, 4, 2, 1, chroma=1)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    assert add_grain(flat, 0, 1, 1) is flat


def test_grain_stays_in_range_and_leaves_black_and_white_nearly_alone() -> None:
    for value in (0.0, 1.0):
        out = add_grain(np.full((64, 64, 3), value, np.float32), 20, 1, 1, chroma=5)
        assert out.min() >= 0 and out.max() <= 1
        assert np.abs(out - value).max() < 0.06


def test_seam_meets_the_source() -> None:
    weight, inside = ring()
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE - 0.5
    source = np.full((_SIDE, _SIDE, 3), 0.55, np.float32)
    error = np.stack([0.03 * x / 0.4, 0.03 * x / 0.4, 0.03 * x / 0.4], axis=2) + (0.03, 0.02, 0.02)
    rendered = (source - error).astype(np.float32)
    field = seam_correction(rendered, source, weight, inside)
    on_rim = weight > 0
    assert np.abs((rendered + field - source)[on_rim]).max() < 0.012
    assert np.abs((rendered + field - source)[on_rim]).mean() < 0.2 * np.abs(error[on_rim]).mean()
    assert field.shape == rendered.shape and field.dtype == np.float32
    assert np.abs(field[~inside & (np.hypot(y, x) > 0.5)]).max() < 1e-3


def test_hair_and_background_on_the_ring_do_not_bleed_in() -> None:
    weight, inside = ring()
    source = np.full((_SIDE, _SIDE, 3), 0.55, np.float32)
    rendered = source - np.float32(0.02)
    source[: _SIDE // 3] = 0.08  # a fringe across a third of the ring's height
    field = seam_correction(rendered, source, weight, inside)
    assert np.abs(field[inside] - 0.02).max() < 0.03


def test_features_do_not_pass() -> None:
    weight, inside = ring()
    y, x = np.mgrid[0:_SIDE, 0:_SIDE]
    rendered = np.full((_SIDE, _SIDE, 3), 0.5, np.float32)
    source = rendered + (0.2 * np.sin(x * 2.1) * np.sin(y * 1.9))[..., None].astype(np.float32)
    assert np.abs(seam_correction(rendered, source, weight, inside)).max() < 0.02


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 90), st.integers(8, 90))
def test_seam_correction_is_bounded(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    rendered, source = rng.random((2, height, width, 3), np.float32)
    weight = (rng.random((height, width)) < 0.3).astype(np.float32)
    field = seam_correction(rendered, source, weight, np.ones((height, width), bool))
    assert np.isfinite(field).all() and np.abs(field).max() <= SEAM_LIMIT + 1e-6


def test_nothing_on_the_seam_changes_nothing() -> None:
    rendered, source = np.random.default_rng(0).random((2, 50, 60, 3), np.float32)
    assert not seam_correction(rendered, source, np.zeros((50, 60)), np.ones((50, 60))).any()


def test_quick() -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((360, 360, 3)).astype(np.float32)
    weight, inside = ring(360)
    for call, limit in (
        (lambda: to_code(picture), 0.002),
        (lambda: add_grain(picture, 2, 1, 1, 0.5, 0.5), 0.002),
        (lambda: seam_correction(picture, picture, weight, inside), 0.004),
    ):
        took = []
        for _ in range(8):
            start = time.thread_time()
            call()
            took.append(time.thread_time() - start)
        assert min(took) < limit
