"""A drawn hand before a drawn face: the mask follows the hand's colour and never the face's."""

from __future__ import annotations

import numpy as np

from deid import imaging
from deid.blending.occlusion import hand_mask
from deid.detection.hands import FINGERS, Hand

H, W = 160, 200
PALM = 40.0


def hand_points() -> np.ndarray:
    """float32 (21, 3): an open hand, fingers up, wrist at (100, 140)."""
    points = np.zeros((21, 3), np.float32)
    points[0, :2] = (100, 140)
    for f, x in enumerate((72, 86, 97, 108, 119)):
        chain = [i for i in FINGERS[f] if i]
        knuckle = np.array([x, 108 if f else 124], np.float32)
        for j, i in enumerate(chain):
            points[i, :2] = knuckle + np.array([(x - 97) * 0.12, -14.0], np.float32) * j
    return points


def drawn(points: np.ndarray) -> np.ndarray:
    canvas = np.zeros((H, W), np.uint8)
    whole = np.round(points[:, :2]).astype(np.int32)
    for chain in FINGERS:
        imaging.polylines(canvas, [whole[list(chain)]], False, 1, 12)
    imaging.fill_convex_poly(canvas, whole[[0, 1, 5, 9, 13, 17]], 1)
    return canvas > 0


def picture(hand: np.ndarray, hand_colour: tuple, face_colour: tuple) -> np.ndarray:
    out = np.broadcast_to(np.array(face_colour, np.float32), (H, W, 3)).copy()
    out[hand] = hand_colour
    return out + np.random.default_rng(0).normal(0, 0.01, out.shape).astype(np.float32)


def test_a_hand_of_another_colour_is_cut_out_exactly():
    points = hand_points()
    hand = drawn(points)
    mask = hand_mask([Hand(points, 1.0)], picture(hand, (0.8, 0.6, 0.5), (0.3, 0.2, 0.2)))
    assert mask.dtype == np.float32 and mask.shape == (H, W) and mask.min() >= 0 and mask.max() <= 1
    upper = np.s_[:120]  # below comes the arm, which was not drawn
    inner = imaging.erode(hand.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert mask[upper][inner[upper]].mean() > 0.95
    clear = imaging.dilate(hand.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    assert mask[upper][clear[upper]].mean() < 0.02


def test_in_doubt_the_mask_is_tight():
    """Where hand and face look alike, next to nothing beyond the hand stays."""
    points = hand_points()
    hand = drawn(points)
    mask = hand_mask([Hand(points, 1.0)], picture(hand, (0.7, 0.5, 0.4), (0.7, 0.5, 0.4)))
    assert mask[hand][: hand[:110].sum()].mean() > 0.5
    clear = imaging.dilate(hand.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert mask[:110][clear[:110]].max() < 0.05


def test_no_hands_no_mask():
    assert not hand_mask([], np.zeros((20, 30, 3), np.float32)).any()


def test_a_hand_beyond_the_picture_does_no_harm():
    points = hand_points()
    points[:, :2] += (150, 90)
    assert np.isfinite(hand_mask([Hand(points, 1.0)], np.zeros((H, W, 3), np.float32))).all()
