"""What lies before a face and is to stay: hands.

Keeping what is no hand would show the person, so a hand must be certain: the network must be sure of it, it must have
the size of a hand beside the face, and it must come from somewhere, its wrist and forearm leading out of the face's
outline. (A puckered mouth is taken for a small hand that lies in the face entirely.) Over eyes, nose and mouth it must
have the colour that it has outside the face, and when it seems to cover much of them nothing stays.

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
from ._masks import along_edges, blurred, disc, filled, likeness
from .outline import CORE_RING, OVAL

_TIGHT, _WIDE = 0.12, 0.22  # half widths of a finger, in palm sizes: inside for certain, outside for certain
_ARM = 1.3  # palm sizes of forearm beyond the wrist
_LOCAL = 0.45  # reach of a local colour, in palm sizes
_PRESENCE = 0.9
_PALM_SIZE = (0.42, 2.6)  # in face sizes: a palm is about 0.7 of a face's width; turned it looks shorter, nearer longer
_OUT = 0.12  # face sizes that the forearm must lead out of the face
_ARM_POINT = 0.8  # palm sizes from the wrist to the point of the forearm that must lie outside
_LEAST_OUTSIDE = 2  # of a hand's 21 points
_MOST_CORE = 0.55  # share of the face's core, cheeks included, that may stay
_UNLIKE = (0.17, 0.27)  # code values from a hand's own colour: kept up to the first, given up from the second on
_CLOSED, _OPENED, _EDGE = 0.14, 0.05, 0.05  # palm sizes: gaps closed, specks removed, reach of the edge's smoothing
_HOLE = 0.25  # palm sizes across: holes up to which are filled
_NOSTRILS = (48, 64, 98, 97, 2, 326, 327, 294, 278, 4)
_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
_HOLE_ROOM = 0.03  # face widths around nostrils and lips
_OWN = 0.4  # of a hand's colour: below, what shows between bones in the face's core is the face
_LEAST_DRAWN = 0.3  # how much hand the skeleton and its colours must see where a gap is closed
_REDDER, _LIP = 2.5, 0.19  # weight of redness, and how much of it no shade of a hand has
_GRID = 96  # longest side of the grid that masks are worked out on; palms are at least a sixth of it


def hands_before(hands: Sequence[Hand], picture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray | None, float]:
    """float32 (h, w), 0 to 1, how much of each pixel is hand and is to stay, ``None`` for nothing; and the share of the
    face's core, 0 to 1, that hands seem to cover but that does not stay because it is too much to be risked.

    ``hands``: in the picture's pixels. ``picture``: float32 (h, w, 3), the crop in code values. ``points``: (468 or
    more, 2 or more), the face's mesh in its pixels.
    """
    outline, core = (np.ascontiguousarray(points[ring, :2], np.float32) for ring in (OVAL, CORE_RING))
    believed = [hand for hand in hands if plausible(hand, outline)]
    if not believed:
        return None, 0.0
    h, w = picture.shape[:2]
    mask = np.zeros((h, w), np.float32)
    inner = filled(core, (h, w))
    face = filled(outline, (h, w))
    room = disc(_HOLE_ROOM * float(np.ptp(outline[:, 0])))
    rings = sum(filled(points[list(ring), :2], (h, w)) for ring in (_NOSTRILS, _LIPS))
    holes = imaging.dilate(np.asarray(rings, np.float32), room) > 0
    for hand in believed:
        drawn = _one(hand, picture)
        told, never = _unlike_the_face(drawn, picture, inner, face)
        spots, _ = imaging.pieces_of(never)  # knuckles have red spots, too, but small ones
        thick = imaging.erode(never.astype(np.uint8), disc(_OPENED * hand.palm_size))
        never = np.isin(spots, np.unique(spots[thick > 0])) & never
        drawn[never] = 0
        # gaps are closed over rings and nails, not over a nostril or a lip that shows beside a finger
        bones = _drawn(hand.points[:, :2], (w, h), _TIGHT * hand.palm_size, hand.palm_size)
        never |= (told < _OWN) & (inner > 0) & ((bones <= 0) | holes)
        whole = _whole(told, drawn, picture, face, hand.palm_size)
        whole[never] = 0
        np.maximum(mask, whole, out=mask)
    share = kept_of_core(mask, points)
    return (None, share) if share > _MOST_CORE else (mask, 0.0)


def kept_of_core(mask: np.ndarray | None, points: np.ndarray) -> float:
    """Share of the core of the face with the mesh ``points`` in which ``mask``, float32 (h, w), keeps the frame."""
    if mask is None:
        return 0.0
    core = filled(points[CORE_RING, :2], (mask.shape[0], mask.shape[1]))
    return float((mask * core).sum() / max(float(core.sum()), 1.0))


def plausible(hand: Hand, outline: np.ndarray) -> bool:
    """Whether a hand can be one that lies before, or beside, the face with this ``outline``, float32 (n, 2)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    size = float(max((high - low).max() * 0.8, 1.0))
    palm = hand.palm_size
    if hand.presence < _PRESENCE or not _PALM_SIZE[0] <= palm / size <= _PALM_SIZE[1]:
        return False
    xy = hand.points[:, :2].astype(np.float32)
    away = xy[0] - xy[9]
    forearm = xy[0] + _ARM_POINT * palm * away / max(float(np.hypot(*away)), 1e-6)
    inwards = np.array([imaging.signed_distance(outline, p) for p in xy])
    if (inwards < 0).sum() < _LEAST_OUTSIDE or inwards[0] >= 0:
        return False
    return imaging.signed_distance(outline, forearm) < -_OUT * size


def _unlike_the_face(
    mask: np.ndarray, picture: np.ndarray, core: np.ndarray, face: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``mask`` without what, in the face's core, has not the colour that the hand has outside the face; and bool (h,
    w), what there is so red that it cannot be the shade of a hand."""
    sure = (mask > 0.9) & (face == 0)
    if sure.sum() < 12:
        return mask * (1 - core), core > 0
    colour = np.median(picture[sure], axis=0).astype(np.float32)
    apart = picture - colour
    grey = apart.mean(axis=2)
    redder = _REDDER * np.maximum(apart[..., 0] - grey, 0)
    # light falls on a hand in many ways, but lips, nostrils, brows and flushed skin are redder or darker than it
    distance = np.hypot(np.maximum(-0.8 * grey, 0), redder)
    like = np.clip((_UNLIKE[1] - distance) / (_UNLIKE[1] - _UNLIKE[0]), 0, 1)
    return np.asarray(mask * np.where(core > 0, like, 1), np.float32), (core > 0) & (redder > _LIP)


def _whole(told: np.ndarray, drawn: np.ndarray, picture: np.ndarray, face: np.ndarray, palm: float) -> np.ndarray:
    """``told``, float32 (h, w), in one piece: small holes (nails, rings, shades) closed where ``drawn`` says hand,
    without what does not hang together with the hand outside the ``face``, its edge laid along the picture's edges."""
    if not told.any():
        return told
    solid = (told > 0.5).astype(np.uint8)
    closed = imaging.erode(imaging.dilate(solid, disc(_CLOSED * palm)), disc(_CLOSED * palm))
    solid = np.maximum(solid, closed & (drawn > _LEAST_DRAWN))
    solid = imaging.dilate(imaging.erode(solid, disc(_OPENED * palm)), disc(_OPENED * palm))
    pieces, count = imaging.pieces_of(solid)
    outside = np.bincount(pieces[face == 0], minlength=count + 1)
    outside[0] = 0
    kept = np.isin(pieces, np.flatnonzero(outside > 0)).astype(np.float32)
    holes, count = imaging.pieces_of(1 - kept)
    size = np.bincount(holes.ravel(), minlength=count + 1)
    size[0] = 1 << 30
    kept[np.isin(holes, np.flatnonzero(size < (_HOLE * palm) ** 2)) & (drawn > 0)] = 1
    soft = along_edges(kept, picture @ np.array([0.3, 0.59, 0.11], np.float32), max(2, round(_EDGE * palm)))
    return np.clip((soft - 0.5) / 0.6 + 0.5, 0, 1)


def _one(hand: Hand, picture: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    scale = min(1.0, 2 * _GRID / max(h, w))
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    small = imaging.resize(picture, size, interpolation=imaging.INTER_AREA)
    points = (hand.points[:, :2] + 0.5) * (size[0] / w, size[1] / h) - 0.5
    palm = hand.palm_size * scale
    sure, near = (_drawn(points, size, width * palm, palm) for width in (_TIGHT, _WIDE))
    like = likeness(small, sure, 1 - near, max(3, int(_LOCAL * palm)))
    softness = max(0.8, 0.05 * palm)
    prior = (blurred(sure, softness) + blurred(near, softness)) / 2
    belief = np.clip(1.6 * (prior - 0.5) + 1.4 * (like - 0.5) + 0.5, 0, 1) * near
    belief = blurred(np.maximum(belief, sure), 0.6)
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
