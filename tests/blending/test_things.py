"""What is believed to lie before a drawn face stays where the picture agrees; what could show the person does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.blending._masks import filled
from deid.blending.occlusion import kept_of_core
from deid.blending.outline import OVAL
from deid.blending.things import _MOUTH, doubled, smoothed, things_before
from deid.detection.hands import Hand
from deid.detection.things import GRID, grid_from_picture
from deid.models.morphable.geometry import load_geometry

SIDE = 200
SKIN = np.array([0.78, 0.56, 0.46], np.float32)


def mesh() -> np.ndarray:
    """float32 (468, 2): the mean head's mesh points, seen from the front."""
    geometry = load_geometry()
    corners = geometry.vertices[geometry.triangles[geometry.landmark_triangles]]
    points = (corners * geometry.landmark_weights[..., None]).sum(axis=1)[:, :2] * (1, -1)
    low, high = points[OVAL].min(axis=0), points[OVAL].max(axis=0)
    return ((points - (low + high) / 2) * 110 / (high - low)[0] + (100, 95)).astype(np.float32)


def scene(area: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    out = np.full((SIDE, SIDE, 3), 0.6, np.float32)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(canvas, [np.round(mesh()[OVAL]).astype(np.int32)], 1)
    out[canvas > 0] = SKIN
    out[area] = colour
    return out


def face() -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(canvas, [np.round(mesh()[OVAL]).astype(np.int32)], 1)
    return canvas > 0


def believed(area: np.ndarray) -> np.ndarray:
    """As coarse as the network's."""
    there = grid_from_picture(mesh())
    fine = imaging.gaussian_blur(area.astype(np.float32), (0, 0), 3)
    return (255 * imaging.warp_affine(fine, there, (GRID, GRID))).astype(np.uint8)


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    out = np.zeros((SIDE, SIDE), bool)
    out[y0:y1, x0:x1] = True
    return out


@pytest.mark.parametrize("colour", [(0.1, 0.1, 0.12), (0.9, 0.92, 0.95), (0.2, 0.35, 0.8)])
@pytest.mark.parametrize("area", [box(85, 130, 115, 200), box(0, 100, 80, 150)], ids=["cup", "phone"])
def test_things_stay_to_their_edges(area: np.ndarray, colour: tuple[float, float, float]) -> None:
    mask, doubt = things_before(scene(area, colour), mesh(), believed(area))
    assert mask is not None and doubt == 0
    inside = imaging.erode((area & face()).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    clear = imaging.dilate(area.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert mask[inside].mean() > 0.9
    assert mask[clear & face()].mean() < 0.01


def test_nothing_stays_where_nothing_is_believed() -> None:
    assert things_before(scene(box(0, 0, 1, 1), (0, 0, 0)), mesh(), np.zeros((GRID, GRID), np.uint8)) == (None, 0.0)


def test_skin_within_a_face_does_not_stay() -> None:
    area = box(85, 95, 125, 125)
    mask, _ = things_before(scene(area, tuple(0.8 * SKIN)), mesh(), believed(area))
    assert mask is None


def test_eyes_never_stay_for_a_thing_that_touches_them() -> None:
    points = mesh()
    x, y = points[[33, 133]].mean(axis=0).astype(int)
    area = box(0, y - 1, x + 4, y + 70)
    mask, _ = things_before(scene(area, (0.1, 0.1, 0.1)), points, believed(area))
    assert mask is not None
    assert mask[y - 3 : y + 4, x - 8 : x + 9].max() < 0.5


@pytest.mark.parametrize("area", [box(40, 70, 160, 110), box(30, 60, 170, 160)], ids=["both eyes", "nearly all"])
def test_a_covered_face_is_in_doubt(area: np.ndarray) -> None:
    mask, doubt = things_before(scene(area, (0.1, 0.1, 0.1)), mesh(), believed(area))
    assert mask is None and doubt > 0.5


def test_a_mask_over_mouth_and_nose_stays() -> None:
    area = box(30, 100, 170, 170) & face()
    mask, doubt = things_before(scene(area, (0.8, 0.88, 0.92)), mesh(), believed(area))
    assert mask is not None and doubt == 0
    assert mask[105:140, 70:130].mean() > 0.95


def test_share_of_the_core() -> None:
    assert kept_of_core(None, mesh()) == 0
    assert kept_of_core(np.ones((SIDE, SIDE), np.float32), mesh()) == pytest.approx(1)


boxes = st.builds(
    lambda x, y, w, h: box(x, y, x + w, y + h),
    *(st.integers(a, b) for a, b in ((0, 150), (30, 150), (15, 90), (15, 90))),
)


@settings(max_examples=25, deadline=None)
@given(boxes, st.sampled_from([(0.1, 0.1, 0.12), (0.9, 0.92, 0.95), (0.2, 0.35, 0.8), (0.5, 0.35, 0.3)]))
def test_whatever_is_believed_eyes_and_brows_never_stay(area: np.ndarray, colour: tuple[float, float, float]) -> None:
    points = mesh()
    mask, _ = things_before(scene(area, colour), points, believed(area))
    if mask is not None:
        for x, y in points[[70, 105, 55, 33, 159, 145, 133, 300, 334, 285, 263, 386, 374, 362]].round().astype(int):
            assert mask[y, x] == 0


@pytest.mark.parametrize("area", [box(85, 35, 115, 58), box(92, 40, 104, 70)], ids=["patch", "lock"])
def test_a_dark_patch_on_the_forehead_does_not_stay(area: np.ndarray) -> None:
    assert things_before(scene(area, (0.25, 0.15, 0.12)), mesh(), believed(area))[0] is None


def test_lips_beside_a_cup_do_not_stay() -> None:
    points = mesh()
    cup = box(100, 125, 130, 200)
    picture = scene(cup, (0.1, 0.1, 0.12))
    lips = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(
        lips, [np.round(points[[61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91]]).astype(np.int32)], 1
    )
    red = (lips > 0) & ~cup
    picture[red] = (0.6, 0.25, 0.25)
    mask, _ = things_before(picture, points, believed(cup | (lips > 0)))
    clear = red & (imaging.dilate(cup.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0)
    assert mask is not None and clear.any()
    assert mask[clear].max() < 0.1
    assert mask[150:, 110:120][face()[150:, 110:120]].mean() > 0.9


@pytest.mark.parametrize("shift", [(-90, 0), (95, 30), (0, -80), (0, 120)])
def test_a_face_that_leaves_the_picture_does_no_harm(shift: tuple[int, int]) -> None:
    area = box(85, 130, 115, 200)
    mask, doubt = things_before(scene(area, (0.1, 0.1, 0.1)), mesh() + np.array(shift, np.float32), believed(area))
    assert (mask is None or mask.shape == (SIDE, SIDE)) and np.isfinite(doubt)


def test_a_flushed_cheek_is_no_thing_even_where_the_skin_that_is_seen_is_pale() -> None:
    area = box(45, 85, 100, 200)
    picture = scene(area, (0.75, 0.5, 0.45))
    pale = face() & ~area
    picture[pale] = (0.7, 0.66, 0.7)
    mask, _ = things_before(picture, mesh(), believed(area))
    assert mask is None or mask[face()].max() < 0.1


def test_nothing_stays_of_a_profile() -> None:
    area, points = box(60, 120, 115, 170), mesh()
    points[1, 0] = points[454, 0] + 4
    assert things_before(scene(area, (0.1, 0.1, 0.1)), points, believed(area)) == (None, 0.0)


def test_a_cheek_that_is_taken_for_a_hand_does_not_stay() -> None:
    """No forearm leads out of the face, so it is none, however sure the hand model is."""
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = (78, 120) + np.stack([np.arange(21) % 5 * 8.0, np.arange(21) // 5 * 9.0], axis=1)
    area = box(60, 100, 125, 165)
    hand = Hand(points, 1.0)
    mask, _ = things_before(scene(area, tuple(0.9 * SKIN)), mesh(), believed(area), [hand])
    assert mask is None or mask[face()].max() < 0.1


def test_of_a_hand_only_what_the_network_sees_stays_about_the_mouth() -> None:
    hand = box(0, 110, 100, 200)  # reaches into the mouth
    mask = hand.astype(np.float32)
    sees_less = believed(box(0, 110, 80, 200))
    told = doubled(mask, mesh(), sees_less)
    assert (told <= mask).all() and np.array_equal(told[~face()], mask[~face()])
    lips = filled(mesh()[list(_MOUTH)], (SIDE, SIDE)) > 0
    assert mask[lips].mean() > 0.3 and told[lips & box(88, 0, SIDE, SIDE)].max() < 0.1
    assert np.array_equal(told[box(0, 0, 60, SIDE)], mask[box(0, 0, 60, SIDE)])
    assert told[face() & box(0, 0, 70, SIDE) & hand].mean() > 0.9
    assert np.array_equal(doubled(mask, mesh(), believed(box(150, 0, 200, 60))), mask)  # it does not see the hand


def test_thorns_do_not_stay() -> None:
    mask = (box(0, 100, 80, 160) | box(80, 128, 110, 131)).astype(np.float32)
    smooth = smoothed(mask, mesh())
    widened = imaging.dilate(mask, np.ones((5, 5), np.uint8))
    assert (smooth <= widened).all() and smooth[face() & box(86, 120, 120, 140)].max() < 0.05
    assert smooth[face() & box(55, 110, 70, 150)].min() > 0.9


def test_a_frayed_edge_is_drawn_even() -> None:
    straight = box(0, 100, 80, 160)
    frayed = straight.copy()
    frayed[104:156:6, 77:80] = False  # notches of a pixel or three
    frayed[106:156:6, 80:82] = True
    smooth = smoothed(frayed.astype(np.float32), mesh())
    inner = smooth[112:148]
    assert inner[:, 60:76].min() > 0.9 and inner[:, 83:].max() < 0.05
    assert np.abs(np.diff(inner[:, 76:83].sum(axis=1))).max() < 1.0  # the edge runs straight


def test_a_hand_that_holds_a_thing_stays_with_it_but_no_lips() -> None:
    area = box(70, 130, 130, 200)
    picture = scene(area, (0.08, 0.08, 0.1))
    fingers = box(70, 130, 130, 152)
    picture[fingers] = 0.85 * SKIN
    mask, _ = things_before(picture, mesh(), believed(area))
    inside = imaging.erode((fingers & face()).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert mask is not None and mask[inside].mean() > 0.8
    unsure, _ = things_before(picture, mesh(), (0.8 * believed(area)).astype(np.uint8))
    assert unsure is None or unsure[inside].mean() < 0.2
    lips = filled(mesh()[list(_MOUTH)], (SIDE, SIDE)) > 0
    picture[lips] = (0.7, 0.3, 0.3)
    mask, _ = things_before(picture, mesh(), believed(area))
    well_inside = imaging.erode(lips.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert mask is None or mask[well_inside].max() < 0.1


def test_of_a_thing_that_is_mostly_skin_no_crumbs_stay() -> None:
    """A hand that nothing vouches for, with a dark ring on it."""
    area = box(60, 120, 130, 200)
    picture = scene(area, tuple(0.85 * SKIN))
    picture[box(85, 165, 100, 200)] = (0.08, 0.08, 0.1)
    unsure = (0.8 * believed(area)).astype(np.uint8)
    assert things_before(picture, mesh(), unsure) == (None, 0.0)
