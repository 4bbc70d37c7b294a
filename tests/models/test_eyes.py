"""Eyes that neither stare nor fall shut: irises, lids over them, and the light that lids leave."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable import lids, raster_lashes, shade_eyes
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


def test_eyes_held_narrow_are_narrowed_by_both_lids(geometry: Geometry) -> None:
    from deid.models.morphable import face_points, fit_basis

    def heights(neutral: np.ndarray) -> tuple[float, float, float]:
        still = np.zeros(len(geometry.expression_names), np.float32)
        posed = geometry.pose(neutral, still, np.zeros((2, 2), np.float32))
        points = fit_basis.surface_points(geometry, posed)
        middle = face_points.LID_PAIRS[:, 2]
        return tuple(points[p, 1].mean() for p in (middle[:, 0], middle[:, 1], face_points.EYE_CORNERS.ravel()))  # type: ignore[return-value]

    before = heights(geometry.vertices)
    after = heights(lids.with_lower_lids(geometry, geometry.vertices, 0.15))
    assert after[1] - before[1] == pytest.approx(0.15, abs=0.04)
    assert abs(after[0] - before[0]) < 0.02 and abs(after[2] - before[2]) < 0.03
    risen = [lids.lower_lids_rise(0.27, held) for held in (0.3, 0.27, 0.22, 0.16, 0.05)]
    assert risen == sorted(risen) and risen[0] < 0.02 and risen[-1] <= 0.08 < 0.2


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
    assert middles[2] > 0.5 * middles[4], "half-shut eyes are no holes"


def fold(geometry: Geometry, blink: float, scale: float = 20.0) -> np.ndarray:
    """float64 (h,): the share of light that folds take, along a column through the middle of the left eye."""
    weights = np.zeros(len(geometry.expression_names), np.float32)
    for side in "LR":
        weights[geometry.expression_names.index(f"eyeBlink_{side}")] = blink
    vertices = geometry.pose(geometry.vertices, weights, np.zeros((2, 2), np.float32))
    centres = geometry.eyeball_centres(np.zeros(len(geometry.identity), np.float32))
    cover = np.zeros((200, 400), np.float32)
    depth = np.full_like(cover, -1e9)
    middle = float(centres[0, 1]) * scale
    raster_lashes.draw_folds(
        *raster_lashes.lid_folds(geometry), vertices, centres, np.eye(3, dtype=np.float32), scale,
        200.0, 100.0 + middle, 0, 0, 0.0, depth, cover,
    )  # fmt: skip
    return 1 - np.exp(-cover[:, 200 + round(float(centres[0, 0]) * scale)].astype(np.float64))


def test_a_fold_over_the_lid_stays_while_the_lid_comes_down(geometry: Geometry) -> None:
    open_, half, shut = (fold(geometry, blink) for blink in (0.0, 0.5, 1.0))
    at = [int(f.argmax()) for f in (open_, half, shut)]  # rows, downwards
    assert at[0] <= at[1] <= at[2] < at[0] + 12
    assert 0.35 < open_.max() < 0.5 and 0.15 < shut.max() < open_.max()


def test_folds_are_as_dark_at_any_size(geometry: Geometry) -> None:
    lost = [fold(geometry, 0.3, scale).sum() / scale for scale in (6.0, 12.0, 24.0)]
    assert max(lost) < 1.35 * min(lost)
