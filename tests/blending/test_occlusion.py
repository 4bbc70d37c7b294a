"""A drawn hand before a drawn face: the mask follows the hand's colour and never the face's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deid import imaging
from deid.blending.occlusion import _LIPS, _NOSTRILS, hands_before, plausible
from deid.blending.outline import CORE_RING, OVAL
from deid.detection.hands import FINGERS, Hand, HandFinder
from deid.detection.landmarks import FaceLandmarker, roi_from_box

CLIP = Path(__file__).parents[3] / "shared/clips/expr_glasses_man_512x480.mp4"
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


def mesh(centre: tuple[float, float] = (20, 20), width: float = 70) -> np.ndarray:
    """float32 (478, 3): a face's outline and core; the rest lies in its middle. By default out of the hand's way."""
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    around = np.stack([np.sin(turn) * width / 2, -np.cos(turn) * width * 0.65], axis=1)
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = centre
    points[OVAL, :2] += around
    points[CORE_RING, :2] += 0.66 * around
    return points


def mask_of(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    mask, doubt = hands_before([Hand(points, 1.0)], seen, mesh())
    assert mask is not None and doubt == 0
    return mask


def drawn(points: np.ndarray, thick: int = 12) -> np.ndarray:
    canvas = np.zeros((H, W), np.uint8)
    whole = np.round(points[:, :2]).astype(np.int32)
    for chain in FINGERS:
        imaging.polylines(canvas, [whole[list(chain)]], False, 1, thick)
    imaging.fill_convex_poly(canvas, whole[[0, 1, 5, 9, 13, 17]], 1)
    return canvas > 0


def picture(hand: np.ndarray, hand_colour: tuple, face_colour: tuple) -> np.ndarray:
    out = np.broadcast_to(np.array(face_colour, np.float32), (H, W, 3)).copy()
    out[hand] = hand_colour
    return out + np.random.default_rng(0).normal(0, 0.01, out.shape).astype(np.float32)


def test_a_hand_of_another_colour_is_cut_out_exactly():
    points = hand_points()
    hand = drawn(points)
    mask = mask_of(points, picture(hand, (0.8, 0.6, 0.5), (0.3, 0.2, 0.2)))
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
    mask = mask_of(points, picture(hand, (0.7, 0.5, 0.4), (0.7, 0.5, 0.4)))
    assert mask[hand][: hand[:110].sum()].mean() > 0.5
    clear = imaging.dilate(hand.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert mask[:110][clear[:110]].max() < 0.05


def test_no_hands_no_mask():
    assert hands_before([], np.zeros((20, 30, 3), np.float32), mesh()) == (None, 0.0)


def test_a_hand_beyond_the_picture_does_no_harm():
    points = hand_points()
    points[:, :2] += (150, 90)
    assert np.isfinite(mask_of(points, np.zeros((H, W, 3), np.float32))).all()


def test_a_small_hand_within_the_face_is_none():
    """A puckered mouth is taken for one, with a presence of 0.95."""
    points = hand_points()
    inside = points.copy()
    inside[:, :2] = (97, 70) + 0.35 * (points[:, :2] - points[:, :2].mean(axis=0))
    outline = mesh((97, 70), 60)[OVAL, :2]
    assert not plausible(Hand(inside, 1.0), outline)
    assert not plausible(Hand(points, 0.8), outline)
    assert plausible(Hand(points, 1.0), outline)
    assert hands_before([Hand(inside, 1.0)], np.zeros((H, W, 3), np.float32), mesh((97, 70), 60)) == (None, 0.0)


def test_what_has_not_the_hands_colour_over_the_core_does_not_stay():
    points = hand_points()
    face = mesh((100, 62), 70)
    seen = picture(drawn(points), (0.8, 0.6, 0.5), (0.6, 0.4, 0.35))
    seen[66:80, 100:112] = (0.5, 0.1, 0.15)  # lips, where a finger is said to be
    seen[50:60, 104:110] = (0.05, 0.05, 0.05)
    mask, doubt = hands_before([Hand(points, 1.0)], seen, face)
    assert doubt == 0 and mask is not None
    lips = (np.abs(seen - (0.5, 0.1, 0.15)) < 1e-6).all(axis=-1)
    assert lips.any() and mask[lips].max() == 0
    assert mask[110:135, 95:105].mean() > 0.95  # the palm, clear of the core


def test_a_hand_over_most_of_the_core_is_doubted_and_does_not_stay():
    points = hand_points()
    points[:, :2] = (100, 105) + 1.9 * (points[:, :2] - (100, 105))
    face = mesh((100, 85), 80)
    hand = drawn(points, 24)
    mask, doubt = hands_before([Hand(points, 1.0)], picture(hand, (0.8, 0.6, 0.5), (0.3, 0.2, 0.2)), face)
    assert mask is None and doubt > 0.45


@pytest.mark.skipif(not CLIP.exists(), reason="shared clips are not here")
def test_a_puckered_mouth_is_no_hand():
    """Eight seconds into a real clip, the network sees a hand over the mouth, and is sure of it."""
    av = pytest.importorskip("av")
    taken = 0
    with av.open(str(CLIP)) as container, FaceLandmarker() as landmarker, HandFinder() as finder:
        for index, frame in enumerate(container.decode(video=0)):
            if index > 246:
                break
            if index not in (242, 244, 246):
                continue
            seen = frame.to_ndarray(format="bgr24")
            found = landmarker.run(seen, roi_from_box(np.array([130.0, 120.0, 372.0, 405.0])))
            assert found is not None and found.presence > 0.5
            hands = finder.run(seen)
            taken += len(hands)
            assert hands_before(hands, seen[..., ::-1].astype(np.float32) / 255, found.points)[0] is None
    assert taken  # otherwise nothing was tested


def test_a_dark_nostril_and_red_lips_under_a_finger_do_not_stay():
    points, hand = mesh((100, 62), 70), hand_points()
    at = hand[7, :2]  # the index finger runs over it
    for ring, way in ((_NOSTRILS, (0, 0)), (_LIPS, (11, 4))):
        turn = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
        points[list(ring), :2] = at + way + 4 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    seen = picture(drawn(hand), (0.8, 0.6, 0.5), (0.6, 0.4, 0.35))
    y, x = int(at[1]), int(at[0])
    seen[y - 2 : y + 3, x - 2 : x + 3] = (0.1, 0.05, 0.05)
    mask, _ = hands_before([Hand(hand, 1.0)], seen, points)
    assert mask is not None
    assert mask[y - 1 : y + 2, x - 1 : x + 2].max() < 0.1
