"""What lies before a face and is to stay: hands.

A hand's skeleton says roughly where it is; colour says where exactly it ends. Between what is hand for certain and what
lies clear of it, each pixel goes to the nearer of two local colours, that of the hand and that of what is behind it.
Where they do not differ the skeleton decides, and it is drawn tight: a strip of hand that is painted over looks odd, a
strip of the original face that stays would give it away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import imaging
from ..detection.hands import FINGERS, PALM, Hand

_TIGHT, _WIDE = 0.12, 0.22  # half widths of a finger, in palm sizes: inside for certain, outside for certain
_ARM = 1.3  # palm sizes of forearm beyond the wrist
_LOCAL = 0.45  # reach of a local colour, in palm sizes
_GRID = 96  # longest side of the grid that masks are worked out on; palms are at least a sixth of it


def hand_mask(hands: Sequence[Hand], picture: np.ndarray) -> np.ndarray:
    """float32 (h, w), 0 to 1: how much of each pixel is hand.

    ``hands``: in the picture's pixels. ``picture``: float32 (h, w, 3), the crop in code values.
    """
    h, w = picture.shape[:2]
    out = np.zeros((h, w), np.float32)
    for hand in hands:
        np.maximum(out, _one(hand, picture), out=out)
    return out


def _one(hand: Hand, picture: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    scale = min(1.0, 2 * _GRID / max(h, w))
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    small = imaging.resize(picture, size, interpolation=imaging.INTER_AREA)
    points = (hand.points[:, :2] + 0.5) * (size[0] / w, size[1] / h) - 0.5
    palm = hand.palm_size * scale
    sure, near = (_drawn(points, size, width * palm, palm) for width in (_TIGHT, _WIDE))
    like = _likeness(small, sure, 1 - near, max(3, int(_LOCAL * palm)))
    softness = max(0.8, 0.05 * palm)
    prior = (_blurred(sure, softness) + _blurred(near, softness)) / 2
    belief = np.clip(1.6 * (prior - 0.5) + 1.4 * (like - 0.5) + 0.5, 0, 1) * near
    belief = _blurred(np.maximum(belief, sure), 0.6)
    belief = np.clip((belief - 0.52) / 0.33, 0, 1)
    return np.clip(imaging.resize(belief, (w, h), interpolation=imaging.INTER_LINEAR), 0, 1)


def _drawn(points: np.ndarray, size: tuple[int, int], width: float, palm: float) -> np.ndarray:
    """float32 (h, w), 0 or 1: fingers as capsules of half ``width``, the palm and a piece of the arm as wider ones."""
    canvas = np.zeros(size[::-1], np.uint8)
    thick = max(1, round(2 * width))
    whole = np.round(points).astype(np.int32)
    for chain in FINGERS:
        imaging.polylines(canvas, [whole[list(chain)]], False, 255, thick)
    imaging.fill_convex_poly(canvas, whole[_hull(points[list(PALM)], PALM)], 255)
    imaging.polylines(canvas, [whole[[0, 5, 9, 13, 17]]], True, 255, thick)
    away = points[0] - points[9]
    away = away / max(float(np.hypot(*away)), 1e-6)
    across = np.array([-away[1], away[0]])
    wrist = 0.28 * palm
    corners = ((-1, 0), (-1, _ARM), (1, _ARM), (1, 0))
    arm = [points[0] + side * wrist * across + far * palm * away for side, far in corners]
    imaging.fill_convex_poly(canvas, np.round(arm).astype(np.int32), 255)
    imaging.polylines(canvas, [np.round(arm).astype(np.int32)], True, 255, thick)
    return canvas.astype(np.float32) / 255


def _hull(points: np.ndarray, names: Sequence[int]) -> list[int]:
    """``names`` in the order of their angle about the points' middle."""
    middle = points - points.mean(axis=0)
    return [names[i] for i in np.argsort(np.arctan2(middle[:, 1], middle[:, 0]), kind="stable")]


def _likeness(picture: np.ndarray, sure: np.ndarray, clear: np.ndarray, reach: int) -> np.ndarray:
    """float32 (h, w): 1 where a pixel has the colour of ``sure`` pixels around it, 0 where that of ``clear`` ones."""
    window = (2 * reach + 1, 2 * reach + 1)

    def apart(weight: np.ndarray) -> np.ndarray:
        total = imaging.box_filter(weight, -1, window) + np.float32(1e-4)
        mean = imaging.box_filter(picture * weight[..., None], -1, window) / total[..., None]
        return ((picture - mean) ** 2).sum(axis=2)

    hand, rest = apart(sure), apart(clear)
    unsure = np.float32(2e-3)
    return (rest + unsure) / (hand + rest + 2 * unsure)


def _blurred(mask: np.ndarray, sigma: float) -> np.ndarray:
    return imaging.gaussian_blur(mask, (0, 0), sigma)
