"""What lies before a face and is to stay, from what a network believes of it: microphones, cups, masks, phones, hands.

The network (:mod:`deid.detection.things`) says roughly where something is, followed over time
(:mod:`deid.models.morphable.photo_things`); the picture's local colours and edges say where exactly it ends. Keeping
what is no such thing would show the person, so a piece must come from outside the face, or be large; what has the
colour of skin must be a hand to the hand model, too; eyes never stay. Where too much of a face is covered, or both eyes
are, nothing stays and the face is in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import imaging
from ..detection.hands import FINGERS, PALM, Hand
from ..detection.things import grid_from_picture
from ._masks import along_edges, blurred, disc, filled, likeness
from .outline import CORE_RING, OVAL

_SIZE = 110  # pixels to a face's width of the grid that masks are worked out on
_SKIN_POINTS = np.array((50, 280, 205, 425, 4, 5, 195, 101, 330, 117, 346, 36, 266, 151, 9, 108, 337))
_EYES = np.array(
    [
        [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
        [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
    ]
)
_SURE, _CLEAR = 0.65, 0.12  # belief
_SEED, _LOOSE = 0.5, 0.25  # belief that a piece must have somewhere; with which it hangs together with what is outside
_LOCAL, _EDGE = 0.12, 0.03  # face widths: reach of a local colour, and of the edge's smoothing
_COLOUR = 0.9  # how much local colours say where the network is unsure
_LEAST = 0.012  # of the outline's area
_LARGE = 0.06  # of the outline's area: need not come from outside, or may have the colour of skin, as hands do
_MOST = 0.62  # of the outline's area: more is a covered face
_CROSSING = 0.06  # face widths of the outline over which a thing comes in
_BESIDE = 0.07  # face widths
_EYE_COVERED = (0.55, 0.85)  # share of an eye that counts as covered, and from which on nothing of it is looked for
_EYE_ROOM = 0.05  # face widths around an eye that never stay
_HUE, _SHADE = 0.07, (0.25, 1.7)  # difference of hue, and shares of the skin's brightness, that skin may have
_SKINNY = 0.9  # share of a piece that looks like skin
_HAND = 0.25  # share of a piece of the colour of skin that the hand model must agree on
_HAND_ROOM = 0.35  # palm sizes around a hand's joints
_TIGHT = 0.4  # belief at the mask's edge


def things_before(
    picture: np.ndarray, points: np.ndarray, belief: np.ndarray, hands: Sequence[Hand] = ()
) -> tuple[np.ndarray | None, float]:
    """float32 (h, w), 0 to 1, how much of each pixel is something before the face and is to stay, ``None`` for nothing;
    and the share of the face, 0 to 1, under things that cannot stay.

    ``picture``: float32 (h, w, 3), the crop in code values 0 to 1. ``points``: (468 or more, 2 or more), the face's
    mesh in its pixels. ``belief``: uint8 (n, n), as :meth:`deid.detection.things.ThingFinder.run` makes it. ``hands``:
    those that the hand model sees, in the same pixels.
    """
    h, w = picture.shape[:2]
    wide = float(np.ptp(points[OVAL, 0]))
    scale = min(1.0, _SIZE / max(wide, 1.0))
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    at = (points[:468, :2] + 0.5) * (size[0] / w, size[1] / h) - 0.5
    there = grid_from_picture(at, len(belief))
    prior = imaging.warp_affine(
        belief.astype(np.float32) / 255, there, size, flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
        borderMode=imaging.BORDER_REPLICATE,
    )  # fmt: skip
    face = filled(at[OVAL], size[::-1])
    area = max(float(face.sum()), 1.0)
    if (prior * face).max() < 0.5:
        return None, 0.0
    small = imaging.resize(picture, size, interpolation=imaging.INTER_AREA) if scale < 1 else picture
    width = max(wide * scale, 1.0)
    told = _edged(small, prior, width)
    kept = _pieces(small, at, told > 0.5, prior, face, width, _drawn(hands, scale, size))
    share = float((kept * face).sum()) / area
    if share < _LEAST:
        return None, 0.0
    eyes = [filled(at[ring], size[::-1]) for ring in _EYES]
    hidden = [float((kept * eye).sum()) / max(float(eye.sum()), 1.0) for eye in eyes]
    if share > _MOST or min(hidden) > _EYE_COVERED[0]:
        return None, max(share, min(hidden))
    mask = np.where(imaging.dilate(kept, np.ones((3, 3), np.uint8)) > 0, told, 0).astype(np.float32)
    for eye, part in zip(eyes, hidden, strict=True):
        if part < _EYE_COVERED[1]:
            mask *= 1 - blurred(imaging.dilate(eye, disc(_EYE_ROOM * width).astype(np.uint8)), 1.0)
    mask = imaging.resize(mask, (w, h), interpolation=imaging.INTER_LINEAR) if scale < 1 else mask
    return mask.astype(np.float32, copy=False), 0.0


def kept_of_core(mask: np.ndarray | None, points: np.ndarray) -> float:
    """Share of the core of the face with the mesh ``points`` in which ``mask``, float32 (h, w), keeps the frame."""
    if mask is None:
        return 0.0
    core = filled(points[CORE_RING, :2], (mask.shape[0], mask.shape[1]))
    return float((mask * core).sum() / max(float(core.sum()), 1.0))


def _edged(picture: np.ndarray, prior: np.ndarray, width: float) -> np.ndarray:
    """float32 (h, w): ``prior``, decided by local colours where it is unsure, and laid along the picture's edges."""
    sure, clear = ((prior > _SURE).astype(np.float32), (prior < _CLEAR).astype(np.float32))
    like = likeness(picture, sure, clear, max(3, round(_LOCAL * width)))
    unsure = 4 * prior * (1 - prior)
    told = np.clip(prior + _COLOUR * unsure * (like - 0.5), 0, 1)
    told = np.clip((told - _TIGHT) / 0.3 + 0.5, 0, 1).astype(np.float32)
    grey = picture @ np.array([0.3, 0.59, 0.11], np.float32)
    soft = along_edges(told, grey, max(2, round(_EDGE * width)))
    return np.asarray(np.clip((soft - 0.5) / 0.7 + 0.5, 0, 1), np.float32)


def _pieces(
    picture: np.ndarray,
    points: np.ndarray,
    solid: np.ndarray,
    prior: np.ndarray,
    face: np.ndarray,
    width: float,
    hands: np.ndarray,
) -> np.ndarray:
    """float32 (h, w), 0 or 1: those pieces of ``solid`` that can be things before the ``face``."""
    near = imaging.dilate(face, disc(_BESIDE * width)) > 0
    border = near & (face == 0)
    solid = imaging.dilate(imaging.erode((solid & near).astype(np.uint8), disc(1)), disc(1)) > 0
    pieces, count = imaging.pieces_of(solid)
    loose, _ = imaging.pieces_of((prior > _LOOSE) & near)
    x, y = np.clip(np.round(points[_SKIN_POINTS]).astype(int), 0, np.array(face.shape[::-1]) - 1).T
    clear = ~solid[y, x]
    skin = np.median(picture[y[clear], x[clear]], axis=0) if clear.sum() >= 4 else None
    out = np.zeros(face.shape, np.float32)
    for number in range(1, count + 1):
        piece = pieces == number
        inside = piece & (face > 0)
        if inside.sum() < _LEAST * face.sum() or float(prior[inside].max()) < _SEED:
            continue
        joined = np.isin(loose, np.unique(loose[piece & (loose > 0)])) & border
        crossing = float(joined.sum()) / (_BESIDE * width)
        large, skinny = inside.sum() > _LARGE * face.sum(), _like_skin(picture[inside], skin).mean() > _SKINNY
        if skinny and (not large or float(hands[inside].mean()) < _HAND):
            continue
        if large or crossing >= _CROSSING * width:
            out[piece] = 1
    return out


def _drawn(hands: Sequence[Hand], scale: float, size: tuple[int, int]) -> np.ndarray:
    """float32 (h, w), 0 or 1: where the hand model sees hands."""
    out = np.zeros(size[::-1], np.uint8)
    for hand in hands:
        joints = np.round(hand.points[:, :2] * scale).astype(np.int32)
        thick = max(1, round(2 * _HAND_ROOM * hand.palm_size * scale))
        for chain in (*FINGERS, PALM):
            imaging.polylines(out, [joints[list(chain)]], False, 1, thick)
    return out.astype(np.float32)


def _like_skin(colours: np.ndarray, skin: np.ndarray | None) -> np.ndarray:
    """bool (n,): which ``colours``, (n, 3), may be those of ``skin``, (3,), in another light; code values."""
    if skin is None:
        return np.ones(len(colours), bool)
    hues, hue = (c / np.maximum(c.sum(axis=-1, keepdims=True), 0.02) for c in (colours, skin))
    bright = colours.mean(axis=1) / max(float(skin.mean()), 0.02)
    return np.asarray((np.abs(hues - hue).max(axis=1) < _HUE) & (bright > _SHADE[0]) & (bright < _SHADE[1]))
