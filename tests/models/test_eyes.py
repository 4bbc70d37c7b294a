"""Eyes that neither stare nor fall shut: irises, lids over them, and the light that lids leave."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable import lids, shade_eyes
from deid.models.morphable.geometry import Geometry, load_geometry


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry()


def opened(n: int, first: int, end: int) -> np.ndarray:
    out = np.ones((n, 2), np.float32)
    out[first:end] = 0.0
    return out


@pytest.mark.parametrize("rate", [25.0, 60.0])
def test_a_blink_shuts_the_eyes_and_lowered_lids_stay_ajar(rate: float) -> None:
    frames = np.arange(200)
    blink = opened(200, 50, 50 + round(0.2 * rate))
    assert np.array_equal(lids.downcast(frames, blink, rate), blink)
    lowered = opened(200, 50, 50 + round(1.5 * rate))
    out = lids.downcast(frames, lowered, rate)
    shut = lowered[:, 0] == 0
    assert (out[shut] > 0.05).all() and (out[shut] < 0.2).all() and np.array_equal(out[~shut], lowered[~shut])


def test_frames_that_are_missing_count_as_time() -> None:
    frames = np.array([0, 5, 10, 15, 20, 25])
    openness = np.zeros((6, 2), np.float32)
    assert lids.downcast(frames, openness, 25.0).min() > 0.05
    assert not lids.downcast(np.arange(6), openness, 25.0).any()


def test_irises_are_alike_in_large_and_small_eyes(geometry: Geometry) -> None:
    tables = shade_eyes.eye_tables(geometry)
    radii = []
    for size in (0.9, 1.0, 1.1):
        eyes = shade_eyes.posed_eyes(geometry, tables, geometry.vertices * np.float32(size))
        radii.append(eyes.span[0, 2] * geometry.eye_radius * size)
    assert min(radii) > 0.54 and max(radii) < 0.64 and max(radii) / min(radii) < 1.1


def light_at(upper: float, lower: float, height: float) -> float:
    """What reaches a place ``height`` (radians) in the middle of an eye between level lids."""
    heights = np.empty((2, shade_eyes.BINS), np.float32)
    heights[0], heights[1] = upper, lower
    radius = np.float32(1.5)
    return float(
        shade_eyes._lid_light(
            np.float32(0),
            np.float32(height),
            heights,
            np.float32(-0.8),
            np.float32(0.8),
            radius,
            np.float32(0.6),
            np.float32(0),
        )[0]
    )


def test_lids_shade_what_is_under_them_and_slits_are_dark() -> None:
    assert light_at(0.3, -0.3, 0.27) < 0.7 * light_at(0.3, -0.3, 0.0)
    middles = [light_at(half, -half, 0.0) for half in (0.02, 0.06, 0.12, 0.2, 0.3)]
    assert np.all(np.diff(middles) > 0) and middles[1] < 0.4 * middles[4] and middles[4] < 1.1
