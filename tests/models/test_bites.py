"""Teeth are seen where the subject shows them, lips have the colour that the subject's have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.models.morphable import mouths, photo_mouth
from deid.models.morphable.appearance import lip_parts
from deid.models.morphable.bites import Bites, Teeth, bites_of
from deid.models.morphable.codes import head_rotation
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Part, load_geometry
from deid.models.morphable.photometry import RECORD
from deid.models.morphable.retarget import Retargeter, _parted
from deid.models.morphable.tracks import AttributeTrack

NOTHING = np.zeros((2, 2), np.float32)
SKIN, WHITE = np.array([0.45, 0.28, 0.2]), np.array([0.8, 0.8, 0.75])
LIP, TOOTH, DARK = (150, 85, 85), (200, 190, 175), (18, 8, 8)


def mesh(gap: float) -> np.ndarray:
    """(478, 3) of which only the lips' middles count: they are ``gap`` pixels apart around (50, 50)."""
    points = np.zeros((478, 3), np.float32)
    columns = ((82, 87, 37, 84), (13, 14, 0, 17), (312, 317, 267, 314))
    for x, (upper, lower, top, bottom) in zip((44, 50, 56), columns, strict=True):
        points[upper, :2], points[lower, :2] = (x, 50 - gap / 2), (x, 50 + gap / 2)
        points[top, :2], points[bottom, :2] = (x, 50 - gap / 2 - 10), (x, 50 + gap / 2 + 10)
    return points


def picture(gap: int, rows: list[tuple[int, int, int]]) -> np.ndarray:
    """Lips with ``rows`` of colours between them, of equal heights."""
    out = np.empty((100, 100, 3), np.uint8)
    out[:] = LIP
    start = 50 - gap // 2
    for y in range(gap):
        out[start + y] = rows[y * len(rows) // gap]
    return out


def track(n: int, gap: float, scale: float = 12.0) -> AttributeTrack:
    values = {name: np.zeros(n, np.float32) for name in AttributeTrack.__slots__}
    values |= {
        "frames": np.arange(n, dtype=np.int32), "rotation": np.tile(np.eye(3), (n, 1, 1)),
        "scale": np.full(n, scale), "translation": np.zeros((n, 2)), "distance": np.full(n, np.inf),
        "expression": np.zeros((n, len(load_geometry().expression_names)), np.float32),
        "mouth": np.full(n, gap, np.float32), "aperture": np.full((n, 2), 0.25, np.float32),
        "sight": np.zeros((n, 2, 2), np.float32), "facing": np.ones((n, 2), np.float32),
        "openness": np.ones((n, 2), np.float32), "gaze": np.zeros((n, 2, 2), np.float32),
        "presence": np.ones(n, np.float32),
    }  # fmt: skip
    return AttributeTrack(**values)


def seen(rows: list[tuple[int, int, int]], gap: int = 24) -> Bites:
    view, points = picture(gap, rows), mesh(gap)
    records = np.zeros(3, RECORD)
    records["mouth"], records["lips"] = photo_mouth.between_lips(view, points), photo_mouth.of_lips(view, points)
    return bites_of(records, track(3, gap / 12.0), np.tile(SKIN, (3, 1)), np.tile(WHITE, (3, 1)))


def test_colours_between_the_lips_and_of_them_are_noted() -> None:
    view, points = picture(24, [TOOTH, DARK]), mesh(24)
    rows = photo_mouth.between_lips(view, points)
    assert rows[2].tolist() == list(TOOTH) and rows[9].tolist() == list(DARK)
    assert photo_mouth.of_lips(view, points).tolist() == [list(LIP), list(LIP)]


@pytest.mark.parametrize("gap", [0.0, 1.5])
def test_nothing_is_noted_of_lips_that_touch_or_lie_outside(gap: float) -> None:
    view = picture(2, [DARK])
    assert not photo_mouth.between_lips(view, mesh(gap)).any()
    assert not photo_mouth.between_lips(view, mesh(20) - np.float32(60)).any()
    assert not photo_mouth.of_lips(view, mesh(20) - np.float32(60)).any()


def test_both_rows_of_teeth_are_told_from_what_is_between_them() -> None:
    bites = seen([TOOTH, TOOTH, DARK, TOOTH])
    assert bites.known.min() == 1
    assert bites.upper[0] == pytest.approx(0.5, abs=0.1)
    assert bites.free[0] == pytest.approx(0.25, abs=0.1)
    assert bites.lower[0] == pytest.approx(0.25, abs=0.1)


def test_a_dark_mouth_and_a_tongue_are_no_teeth() -> None:
    for rows in ([DARK], [DARK, LIP]):
        bites = seen(rows)
        assert bites.upper.max() == 0 and bites.lower.max() == 0 and bites.free.min() == 1
    assert seen([DARK]).lit[0, 1] < 0.8 * seen([DARK, LIP]).lit[0, 1]


def test_lower_teeth_that_get_more_light_are_lighter_than_upper_ones() -> None:
    dim, bright = (150, 140, 130), (250, 245, 235)
    even, lit = (seen([dim] * 4 + [DARK] * 4 + [below] * 4) for below in (dim, bright))
    assert lit.lit[0, 2] > 1.3 * even.lit[0, 2]
    np.testing.assert_allclose(lit.lit[:, 0], even.lit[:, 0], rtol=1e-3)
    assert lit.light(0) == tuple(float(v) for v in lit.lit[0])


def test_a_lip_below_upper_teeth_is_no_gap_and_the_dark_is() -> None:
    found = seen([TOOTH] * 8 + [LIP] * 4)
    assert found.upper[0] > 0.9 and found.free[0] == 0 and found.lower[0] == 0
    assert seen([TOOTH] * 8 + [DARK] * 4).free[0] > 0.25


def test_teeth_before_a_tongue_are_shown_and_its_light_is_its_own() -> None:
    tongue = (235, 200, 195)
    found = seen([TOOTH] * 2 + [DARK] * 3 + [tongue] * 4 + [TOOTH] * 3, gap=26)
    assert found.lower[0] > 0.5
    assert found.lit[0, 1] > 1.3  # the dark above it is no tongue's


def test_lips_hardly_parted_tell_nothing() -> None:
    assert seen([TOOTH], 3).known.max() == 0


def edges(expression: np.ndarray) -> tuple[float, float, float]:
    """Centimetres between the rows of front teeth, between the lips, and of upper teeth below the upper lip."""
    geometry = load_geometry()
    neutral = mouths.relaxed(geometry, geometry.vertices)
    posed = geometry.pose(neutral, expression, NOTHING)
    teeth = np.unique(geometry.triangles[geometry.parts == Part.TEETH])
    teeth = teeth[np.abs(neutral[teeth, 0]) < 0.8]
    drop = geometry.expression[geometry.expression_names.index("jawOpen")][teeth, 1]
    low = drop < -0.5
    upper, lower = posed[teeth[~low], 1].min(), posed[teeth[low], 1].max()
    middle = slice(*np.round(geometry.motion.lip_upper.shape[1] * np.array([0.4, 0.6])).astype(int))
    lips = posed[geometry.motion.lip_upper[:, middle], 1], posed[geometry.motion.lip_lower[:, middle], 1]
    top, bottom = float(lips[0].min(axis=0).mean()), float(lips[1].max(axis=0).mean())
    return float(upper - lower), top - bottom, top - float(upper)


def shown(free: float, lower: float, upper: float, gap: float = 0.9) -> tuple[float, float, float]:
    geometry = load_geometry()
    nobody = np.zeros(len(geometry.identity), np.float32)
    turn = Retargeter(geometry, nobody, nobody)
    n = 9
    ones = np.ones(n, np.float32)
    turn.show_teeth(Bites(ones, upper * ones, free * ones, lower * ones, np.ones((n, 2)), np.zeros((n, 2, 3))))
    return edges(turn(track(n, gap)).expression[n // 2])


def test_the_jaw_opens_by_what_is_between_the_teeth_and_lips_by_what_is_between_them() -> None:
    bitten, apart = shown(0.0, 0.4, 0.6), shown(0.45, 0.25, 0.3)
    assert bitten[0] < 0.1
    assert apart[0] > bitten[0] + 0.25
    assert abs(bitten[1] - apart[1]) < 0.2


def test_upper_teeth_are_seen_where_the_subject_shows_them() -> None:
    assert shown(0.2, 0.2, 0.6)[2] > shown(1.0, 0.0, 0.0)[2] + 0.1


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 2.0), st.floats(-0.3, 0.3))
def test_weights_stay_within_their_bounds(upper: float, share: float, gap: float, slant: float) -> None:
    geometry = load_geometry()
    teeth = Teeth(geometry, mouths.relaxed(geometry, geometry.vertices))
    n = 4
    values = [np.full(n, v, np.float32) for v in (1.0, upper, share * (1 - upper), (1 - share) * (1 - upper))]
    bites = Bites(*values, np.ones((n, 2), np.float32), np.zeros((n, 2, 3), np.float32))
    of = track(n, gap)
    angle = np.arctan(slant)
    turned = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    of = of.with_values(rotation=np.tile(turned, (n, 1, 1)))
    expression, gaps = np.zeros(of.expression.shape), np.full(n, gap)
    lower = teeth.lower(expression, gaps, of, bites)
    jaw, raised = teeth.part(expression, gaps, of, bites, lower)
    assert -0.1 <= lower <= 0.25
    assert jaw.min() >= 0 and jaw.max() <= 1.2 and raised.min() >= 0 and raised.max() <= 1


def test_teeth_move_behind_lips_that_stay() -> None:
    geometry = load_geometry()
    moved = mouths.with_teeth(geometry, geometry.vertices, 0.2) - geometry.vertices
    teeth = np.unique(geometry.triangles[geometry.parts == Part.TEETH])
    skin = np.unique(geometry.triangles[geometry.parts <= Part.HEAD])
    assert np.allclose(moved[teeth, 1], -0.2, atol=1e-6)
    assert not moved[geometry.lips_inner].any() and not moved[skin].any()


def test_an_opening_ends_before_the_corners() -> None:
    geometry = load_geometry()
    weights = np.zeros(len(geometry.expression_names), np.float32)
    weights[geometry.expression_names.index("jawOpen")] = 0.4
    posed = geometry.pose(geometry.vertices, weights, NOTHING)
    gap = posed[geometry.motion.lip_upper, 1].min(axis=0) - posed[geometry.motion.lip_lower, 1].max(axis=0)
    middle, near = len(gap) // 2, round(0.06 * len(gap))
    assert gap[middle] > 0.6
    assert gap[near] < 0.12 * gap[middle] and gap[-1 - near] < 0.12 * gap[middle]


def test_a_kiss_narrows_the_mouth_and_half_of_one_is_left_alone() -> None:
    geometry = load_geometry()
    nobody = np.zeros(len(geometry.identity), np.float32)
    turn = Retargeter(geometry, nobody, nobody)
    at = geometry.expression_names.index("mouthPucker")
    out = []
    for weight in (0.2, 0.8):
        of = track(3, 0.0)
        of.expression[:, at] = weight
        out.append(float(turn(of).expression[1, at]))
    assert out[0] == pytest.approx(0.2) and 0.95 < out[1] < 1.35


def test_lips_are_apart_on_the_tile_and_cover_nothing_else() -> None:
    parts = lip_parts(256)
    upper, lower = parts[..., 0], parts[..., 1]
    assert upper.max() > 0.9 and lower.max() > 0.9
    assert float((upper * lower).max()) < 0.3
    assert float((parts.max(axis=2) > 0.05).mean()) < 0.08
    rows = np.arange(256)
    assert (upper.sum(1) @ rows) / upper.sum() < (lower.sum(1) @ rows) / lower.sum()


def test_lips_that_open_without_the_jaw_make_no_laugh() -> None:
    geometry = load_geometry()
    names = geometry.expression_names
    retarget = Retargeter(geometry, np.zeros(len(geometry.identity)), np.zeros(len(geometry.identity)))
    jaw = np.zeros((1, len(names)))
    jaw[0, names.index("jawOpen")] = 0.35
    lips = np.zeros_like(jaw)
    retarget._open_mouth(lips, np.array([0.9]), np.array([1e-3, 0.5, 0.5, 1e-2, 1e-2]))

    def rise(weights: np.ndarray) -> float:
        points = surface_points(geometry, geometry.pose(geometry.vertices, weights[0].astype(np.float32), NOTHING))
        return float(points[[61, 291], 1].mean() - points[[13, 14], 1].mean())

    held = lips.copy()
    retarget._hold_corners(jaw, held)
    assert rise(lips) > rise(jaw) + 0.05
    assert abs(rise(held) - rise(jaw)) < 0.8 * (rise(lips) - rise(jaw))
    untouched = jaw.copy()
    retarget._hold_corners(jaw, untouched)
    np.testing.assert_array_equal(untouched, jaw)


def test_lips_are_not_parted_by_what_is_less_than_a_pixel_and_sooner_believed_from_the_front() -> None:
    assert _parted(track(3, 0.1, scale=4.0)).max() == 0
    assert _parted(track(3, 0.3, scale=12.0)).min() == 1
    aside = track(3, 0.3, scale=6.0)
    front = _parted(aside)
    aside.rotation[:] = head_rotation(45.0, 0.0, 0.0)
    assert (_parted(aside) < front - 0.3).all()


def test_teeth_whose_colour_is_blurred_with_the_lips_are_seen_in_small_mouths_only() -> None:
    faded = (178, 128, 122)  # half a tooth's colour, half a lip's
    small, large = seen([faded, faded, DARK], gap=9), seen([faded, faded, DARK], gap=24)
    assert small.upper[1] > 0.4 and large.upper[1] == 0
    assert seen([(120, 66, 66), (110, 60, 60), DARK], gap=9).upper[1] == 0  # flesh is none


def test_few_rows_of_teeth_are_as_bright_as_the_brightest() -> None:
    edge = (150, 125, 118)
    assert seen([edge, TOOTH, edge, DARK, DARK, DARK], gap=12).lit[1, 0] > seen([edge, DARK], gap=12).lit[1, 0] * 1.3


def test_teeth_below_gums_are_upper_ones_and_teeth_below_a_dark_gap_lower_ones() -> None:
    gum = (150, 80, 80)
    laugh = seen([gum, gum, TOOTH, TOOTH])
    assert laugh.upper[1] > 0.9 and laugh.free[1] == 0 and laugh.lower[1] == 0
    speech = seen([DARK, DARK, TOOTH, TOOTH])
    assert speech.upper[1] == 0 and speech.lower[1] > 0.3
