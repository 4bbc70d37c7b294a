"""What lies before a face and is to stay, from what a network believes of it: microphones, cups, masks, phones, hands.

The network (:mod:`deid.detection.things`) says roughly where something is, followed over time
(:mod:`deid.models.morphable.photo_things`); the picture's local colours and edges say where exactly it ends. Keeping
what is no such thing would show the person, so rules that no belief overrides hold in the face's own space: a piece
must come from outside the face, those on the forehead from a wide front; eyes and brows never stay; what has the
colour of skin stays only where the hand model sees the hand itself; about nose and mouth, nothing stays that could be
their own; and of a thing of which little can stay, nothing does. Where too much of a face is covered, or an eye is,
nothing stays and the face is in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import imaging
from ..detection.hands import FINGERS, PALM, Hand
from ..detection.things import grid_from_picture
from ._masks import along_edges, blurred, disc, filled, likeness
from .occlusion import plausible
from .outline import OVAL

_SIZE = 110  # pixels to a face's width of the grid that masks are worked out on
_SKIN_POINTS = np.array((50, 280, 205, 425, 4, 5, 195, 101, 330, 117, 346, 36, 266, 151, 9, 108, 337))
_EYES = (
    (70, 63, 105, 66, 107, 55, 133, 155, 154, 153, 145, 144, 163, 7, 33),
    (300, 293, 334, 296, 336, 285, 362, 382, 381, 380, 374, 373, 390, 249, 263),
)  # with their brows
_LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
_NOSE = (168, 417, 456, 363, 360, 279, 278, 294, 327, 2, 98, 64, 48, 49, 131, 134, 236, 193)
_MOUTH = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_BROW_LINE = (70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300)
_SURE, _CLEAR = 0.65, 0.12  # belief
_SEED, _LOOSE = 0.5, 0.25  # belief that a piece must have somewhere; with which it hangs together with what is outside
_LOCAL, _EDGE = 0.12, 0.03  # face widths: reach of a local colour, and of the edge's smoothing
_COLOUR = 0.9  # how much local colours say where the network is unsure
_LEAST = (0.012, 0.006)  # of the outline's area; the second where belief is sure
_MOST = 0.62  # of the outline's area: more is a covered face
_CROSSING = 0.08  # face widths of the outline over which a thing comes in
_FOREHEAD = (0.5, 0.3)  # share of a piece above the brows from which on it must come in over so many face widths
_BESIDE = 0.07  # face widths
_EYE_COVERED = 0.45  # share of an eye, or of an eye and its brow
_EYE_ROOM, _ROOM = 0.05, 0.03  # face widths around eyes with brows, and around nose and mouth
_HUE, _SHADE = 0.07, (0.25, 4.0)  # difference of hue, and shares of the skin's brightness, that skin may have
_RED, _LIT = 0.02, 0.4  # more red among the colours than the skin has: lips, flushed cheeks; shares of its brightness
_PROFILE = 1.0  # of the way from ear to ear, see _turned(): beyond, the network is not believed
_MEAN = 0.42  # belief over a piece
_CLUMP = 0.05  # face widths over which it is asked whether most of a place looks like skin
_HAND_ROOM = (0.24, 0.15)  # palm sizes around a hand's joints: where it may be, and where it is for certain
_AGREED = 0.35  # mean belief over a hand's mask in the face from which on the network is heard about its edge
_CLOSE = (0.5, 0.75)  # belief from which a hand's mask counts about mouth and eyes, and fully
_BONE = 0.08  # palm sizes around a hand's joints that are hand whatever is believed
_CLOSE_ROOM = 0.06  # face widths
_CERTAIN = 0.85  # belief in a thing that no portrait without one was seen to have below the nose
_GROWN = 0.55  # belief with which what hangs together with that belongs to it
_HELD = (0.15, 0.04)  # share of it that is no skin, from which on the rest may be the hand that holds it; of large ones
_LARGE = 0.02  # of the outline's area that is certain
_CRUMBS = 0.35  # of what is told to lie before the face; where less than that can stay, nothing does
_UNDER_NOSE = 2
_THORN = 0.03  # face widths: half of how wide what stays must be
_NOTCH = 0.02  # face widths: half of how wide what is let in must be
_FRAYED = 0.8  # pixels, over which a mask's edge is averaged
_TIGHT = 0.4  # belief at the mask's edge


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What is looked at, on the grid: a part of the crop that holds the face.

    ``picture``: float32 (h, w, 3), code values. ``at``: float64 (468, 2), the mesh. ``prior``: float32 (h, w), belief 0
    to 1. ``face``: float32 (h, w), 0 or 1, the outline's inside; ``area``: of all of it, in the grid's pixels, and
    ``width``. ``skin``: float32 (3,) code values, ``None`` where none is seen. ``hand``: float32 (h, w), 0 or 1, where
    the hand model sees hands, and ``core``, for certain. ``skinny``: bool (h, w), see :func:`_like_skin`.
    """

    picture: np.ndarray
    at: np.ndarray
    prior: np.ndarray
    face: np.ndarray
    area: float
    width: float
    skin: np.ndarray | None
    hand: np.ndarray
    core: np.ndarray
    skinny: np.ndarray

    def zone(self, ring: Sequence[int], room: float) -> np.ndarray:
        """bool (h, w): inside the ``ring`` of mesh points, and up to ``room`` face widths around it."""
        inside = filled(self.at[list(ring)], self.face.shape).astype(np.uint8)
        return imaging.dilate(inside, disc(room * self.width)) > 0


def things_before(
    picture: np.ndarray, points: np.ndarray, belief: np.ndarray, hands: Sequence[Hand] = ()
) -> tuple[np.ndarray | None, float]:
    """float32 (h, w), 0 to 1, how much of each pixel is something before the face and is to stay, ``None`` for nothing;
    and the share of the face, 0 to 1, under things that cannot stay.

    ``picture``: float32 (h, w, 3), the crop in code values 0 to 1. ``points``: (468 or more, 2 or more), the face's
    mesh in its pixels. ``belief``: uint8 (n, n), as :meth:`deid.detection.things.ThingFinder.run` makes it. ``hands``:
    those that the hand model sees, in the same pixels.
    """
    found = _view(picture, points, belief, hands) if _turned(points) < _PROFILE else None
    if found is None:
        return None, 0.0
    view, (x0, y0, x1, y1) = found
    told = _edged(view.picture, view.prior, view.width)
    holding = _holding(view)
    kept = _pieces(view, told > 0.5, holding)
    share = float((kept * view.face).sum()) / view.area
    whole = float(((told > 0.5) * (view.prior > _SEED) * view.face).sum()) / view.area
    if share < max(_LEAST[1], _CRUMBS * whole):
        return None, 0.0
    eyes = [view.zone(ring, 0) for ring in (*_EYES, *_LIDS)]
    hidden = max(float(kept[eye].mean()) if eye.any() else 0.0 for eye in eyes)
    if share > _MOST or hidden > _EYE_COVERED:
        return None, max(share, hidden, _MOST)
    never = view.zone(_EYES[0], _EYE_ROOM) | view.zone(_EYES[1], _EYE_ROOM) | _may_be_features(view, holding)
    mask = np.where(imaging.dilate(kept, np.ones((3, 3), np.uint8)) > 0, told, 0).astype(np.float32)
    mask *= 1 - blurred(never.astype(np.float32), 0.8)
    mask[never] = 0
    out = np.zeros(picture.shape[:2], np.float32)
    out[y0:y1, x0:x1] = imaging.resize(mask, (x1 - x0, y1 - y0), interpolation=imaging.INTER_LINEAR)
    return out, 0.0


def doubled(mask: np.ndarray, points: np.ndarray, belief: np.ndarray, hands: Sequence[Hand] = ()) -> np.ndarray:
    """``mask``, float32 (h, w), of hands that stay, without what of it about mouth and eyes the network for things does
    not believe to be before the face, but for the fingers' very bones; as it is where the network does not see the
    hands at all. ``points``, ``belief``, ``hands``: as for :func:`things_before`."""
    h, w = mask.shape
    wide = max(float(np.ptp(points[OVAL, 0])), 1.0)
    prior = _prior(points, belief, (0, 0, w, h), min(1.0, _SIZE / wide))
    prior = imaging.resize(prior, (w, h), interpolation=imaging.INTER_LINEAR)
    inside = mask * filled(points[OVAL, :2], (h, w))
    if float((inside * prior).sum()) < _AGREED * float(inside.sum()):
        return mask
    rings = sum(filled(points[list(ring), :2], (h, w)) for ring in (*_LIDS, _MOUTH))
    close = imaging.dilate((np.asarray(rings) > 0).astype(np.uint8), disc(_CLOSE_ROOM * wide)) > 0
    told = np.clip((prior - _CLOSE[0]) / (_CLOSE[1] - _CLOSE[0]), 0, 1)
    told = np.maximum(told, _drawn(hands, (0, 0, w, h), (h, w), _BONE))
    return np.asarray(mask * np.where(close, told, 1), np.float32)


def smoothed(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``mask``, float32 (h, w), without thorns: what sticks out of a hand, or a thing, no wider than a lip is more
    likely the face beside it; and without notches, for a hand before a face of its own colour frays into both.
    ``points``: the face's mesh."""
    wide = max(float(np.ptp(points[OVAL, 0])), 1.0)
    thorn, notch = disc(_THORN * wide), disc(_NOTCH * wide)
    solid = imaging.dilate(imaging.erode((mask > 0.5).astype(np.uint8), thorn), thorn)
    whole = imaging.erode(imaging.dilate(solid, notch), notch)
    even = blurred(np.maximum(mask, (whole > solid).astype(np.float32)), _FRAYED)
    soft = blurred(whole.astype(np.float32), max(0.8, 0.4 * _THORN * wide))
    soft = np.clip((soft - 0.5) / 0.6 + 0.5, 0, 1)
    face = filled(points[OVAL, :2], (mask.shape[0], mask.shape[1]))
    return np.asarray(np.where(face > 0, np.minimum(even, soft), mask), np.float32)


def _turned(points: np.ndarray) -> float:
    """How far a head is turned: 0 from the front, 1 where the nose lies over an ear."""
    nose, left, right = (points[i, :2].astype(np.float64) for i in (1, 234, 454))
    across = right - left
    place = float((nose - left) @ across) / max(float(across @ across), 1e-9)
    return abs(2 * place - 1)


def _view(
    picture: np.ndarray, points: np.ndarray, belief: np.ndarray, hands: Sequence[Hand]
) -> tuple[_View, tuple[int, int, int, int]] | None:
    """What there is to be looked at, and which part of the crop that is, x and y of its corners; ``None`` where the
    face has nothing before it. Only what lies near something believed is looked at."""
    h, w = picture.shape[:2]
    outline = points[OVAL, :2]
    wide = max(float(np.ptp(outline[:, 0])), 1.0)
    around = np.array([-1, -1, 1, 1]) * (2 * _BESIDE * wide) + np.r_[outline.min(axis=0), outline.max(axis=0)]
    whole = _held(around, w, h)
    scale = min(1.0, _SIZE / wide)
    prior = _prior(points, belief, whole, scale)
    inside = filled(_on_grid(points, whole, prior.shape)[OVAL], prior.shape)
    if (prior * inside).max() < _SEED:
        return None
    rows, columns = (np.flatnonzero((prior > _CLEAR).any(axis=axis)) for axis in (1, 0))
    room, step = 2 * _LOCAL * wide, (np.array(whole[2:]) - whole[:2]) / prior.shape[::-1]
    low = np.array([columns[0], rows[0]]) * step + whole[:2] - room
    high = np.array([columns[-1] + 1, rows[-1] + 1]) * step + whole[:2] + room
    place = _held(np.r_[np.maximum(low, whole[:2]), np.minimum(high, whole[2:])], w, h)
    prior = _prior(points, belief, place, scale)
    size = prior.shape
    at = _on_grid(points, place, size)
    part = picture[place[1] : place[3], place[0] : place[2]]
    if scale < 1:
        skip = max(1, int(0.5 / scale))  # two samples a side to a pixel of the grid are enough
        part = imaging.resize(
            np.ascontiguousarray(part[skip // 2 :: skip, skip // 2 :: skip]),
            size[::-1],
            interpolation=imaging.INTER_AREA,
        )
    sure = [hand for hand in hands if plausible(hand, np.ascontiguousarray(outline, np.float32))]
    drawn = [_drawn(sure, place, size, room) for room in _HAND_ROOM]
    skin = _skin(picture, points, belief)
    area = max(float(inside.sum()) * float(np.prod(step)) * scale * scale, 1.0)
    face, skinny = filled(at[OVAL], size), _like_skin(part, skin)
    return _View(part, at, prior, face, area, wide * scale, skin, drawn[0], drawn[1], skinny), place


def _held(corners: np.ndarray, w: int, h: int) -> tuple[int, int, int, int]:
    """``corners``, x and y of two, whole and inside a crop, at least 8 pixels apart."""
    x0, y0 = (min(max(int(np.floor(v)), 0), end - 8) for v, end in zip(corners[:2], (w, h), strict=True))
    x1, y1 = (
        min(max(int(np.ceil(v)), low + 8), end) for v, low, end in zip(corners[2:], (x0, y0), (w, h), strict=True)
    )
    return x0, y0, x1, y1


def _on_grid(points: np.ndarray, place: tuple[int, int, int, int], size: tuple[int, ...]) -> np.ndarray:
    """float64 (468, 2): the mesh ``points`` on a grid of ``size``, rows and columns, that covers ``place``."""
    x0, y0, x1, y1 = place
    gain = np.array([size[1] / (x1 - x0), size[0] / (y1 - y0)])
    return np.asarray((points[:468, :2].astype(np.float64) + 0.5 - (x0, y0)) * gain - 0.5)


def _prior(points: np.ndarray, belief: np.ndarray, place: tuple[int, int, int, int], scale: float) -> np.ndarray:
    """float32 (h, w): belief, 0 to 1, on a grid that covers ``place``."""
    x0, y0, x1, y1 = place
    size = (max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale)))
    there = grid_from_picture(_on_grid(points, place, size[::-1]), len(belief))
    return np.asarray(
        imaging.warp_affine(
            belief.astype(np.float32) / 255, there, size, flags=imaging.INTER_LINEAR | imaging.WARP_INVERSE_MAP,
            borderMode=imaging.BORDER_REPLICATE,
        )
    )  # fmt: skip


def _skin(picture: np.ndarray, points: np.ndarray, belief: np.ndarray) -> np.ndarray | None:
    """float32 (3,): the median colour of the face where nothing is believed to lie before it."""
    there = points[_SKIN_POINTS, :2]
    x, y = np.clip(np.round(there).astype(int), 0, np.array(picture.shape[1::-1]) - 1).T
    linear = grid_from_picture(points, len(belief))
    on = np.clip(np.round(there @ linear[:, :2].T + linear[:, 2]).astype(int), 0, len(belief) - 1)
    clear = belief[on[:, 1], on[:, 0]] < 128
    return np.median(picture[y[clear], x[clear]], axis=0) if clear.sum() >= 4 else None


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


def _pieces(view: _View, solid: np.ndarray, holding: np.ndarray) -> np.ndarray:
    """float32 (h, w), 0 or 1: those pieces of ``solid`` that can be things before the face. ``holding``: as
    :func:`_holding` tells."""
    near = imaging.dilate(view.face, disc(_BESIDE * view.width)) > 0
    border = near & (view.face == 0)
    skinny = _mostly(view.skinny, view.width) & (view.hand == 0) & ~holding
    solid = solid & near & ~(skinny & (view.face > 0))
    solid = imaging.dilate(imaging.erode(solid.astype(np.uint8), disc(1)), disc(1)) > 0
    pieces, count = imaging.pieces_of(solid)
    loose, _ = imaging.pieces_of((view.prior > _LOOSE) & near)
    above = _above_brows(view)
    out = np.zeros(view.face.shape, np.float32)
    for number in range(1, count + 1):
        piece = pieces == number
        inside = piece & (view.face > 0)
        mean = float(view.prior[inside].mean()) if inside.any() else 0.0
        if mean < _MEAN or inside.sum() < _LEAST[mean > _SURE] * view.area:
            continue
        joined = np.isin(loose, np.unique(loose[piece & (loose > 0)])) & border
        crossing = float(joined.sum()) / (_BESIDE * view.width)
        forehead = float(above[inside].mean()) > _FOREHEAD[0]
        if crossing >= (_FOREHEAD[1] if forehead else _CROSSING) * view.width:
            out[piece] = 1
    return out


def _holding(view: _View) -> np.ndarray:
    """bool (h, w): what may have the colour of skin below the nose, because the network is certain of a thing there,
    some of which is no skin: a hand that holds a microphone or a cup, too small or too bent for the hand model."""
    up = view.at[10] - view.at[152]
    y, x = np.mgrid[: view.face.shape[0], : view.face.shape[1]]
    below = x * up[0] + y * up[1] < view.at[_UNDER_NOSE] @ up
    grown = (view.prior > _GROWN) & below
    pieces, count = imaging.pieces_of(grown)
    out = np.zeros(grown.shape, bool)
    for number in range(1, count + 1):
        piece = pieces == number
        certain = float((piece & (view.prior > _CERTAIN)).sum())
        bare = float((~view.skinny)[piece].mean())
        if certain > _LEAST[1] * view.area and bare > _HELD[certain > _LARGE * view.area]:
            out |= piece
    return out & ((view.prior > _CERTAIN) | ~_redder(view.picture, view.skin))


def _above_brows(view: _View) -> np.ndarray:
    """bool (h, w): what lies above the brows' upper line, as the head is turned."""
    top = view.at[10] - view.at[152]
    up = top / max(float(np.hypot(*top)), 1e-6)
    y, x = np.mgrid[: view.face.shape[0], : view.face.shape[1]]
    return np.asarray(x * up[0] + y * up[1] > (view.at[list(_BROW_LINE)] @ up).mean())


def _may_be_features(view: _View, holding: np.ndarray) -> np.ndarray:
    """bool (h, w): places about the nose and the mouth that have the colour of skin, or are redder, and that the hand
    model sees no hand at."""
    own = _like_skin(view.picture, view.skin, redder=True)
    about = view.zone(_NOSE, _ROOM) | view.zone(_MOUTH, _ROOM)
    held = holding & ~_mostly(_redder(view.picture, view.skin), view.width)
    return about & _mostly(own, view.width) & (view.core == 0) & ~held


def _mostly(mask: np.ndarray, width: float) -> np.ndarray:
    """bool (h, w): where ``mask`` is true for more than half of what is around."""
    side = 2 * max(1, round(_CLUMP * width / 2)) + 1
    return np.asarray(imaging.box_filter(mask.astype(np.float32), -1, (side, side)) > 0.5)


def _drawn(hands: Sequence[Hand], place: tuple[int, int, int, int], size: tuple[int, ...], room: float) -> np.ndarray:
    """float32 (h, w), 0 or 1: where the hand model sees hands, up to ``room`` palm sizes around joints."""
    out = np.zeros((size[0], size[1]), np.uint8)
    x0, y0, x1, y1 = place
    gain = size[1] / (x1 - x0)
    for hand in hands:
        joints = np.round((hand.points[:, :2] - (x0, y0)) * gain).astype(np.int32)
        thick = max(1, round(2 * room * hand.palm_size * gain))
        for chain in (*FINGERS, PALM):
            imaging.polylines(out, [joints[list(chain)]], False, 1, thick)
        imaging.fill_poly(out, [joints[[0, 1, 5, 9, 13, 17]]], 1)
    return out.astype(np.float32)


def _redder(colours: np.ndarray, skin: np.ndarray | None) -> np.ndarray:
    """bool (...): which ``colours``, (..., 3), are redder than ``skin``, (3,), if only by little, as lips are."""
    if skin is None:
        return np.ones(colours.shape[:-1], bool)
    red, own = (c[..., 0] / np.maximum(_summed(c), 0.02) for c in (colours, skin))
    return np.asarray(red > own + _RED / 2)


def _like_skin(colours: np.ndarray, skin: np.ndarray | None, *, redder: bool = False) -> np.ndarray:
    """bool (...): which ``colours``, (..., 3), may be those of ``skin``, (3,), in another light, or flushed, or, if so
    asked, those of lips in shade; code values."""
    if skin is None:
        return np.ones(colours.shape[:-1], bool)
    total = _summed(colours)
    floor, hue = np.maximum(total, 0.02), skin / max(skin.sum(), 0.02)
    bright = total / 3 / max(float(skin.mean()), 0.02)
    hues = [colours[..., k] / floor for k in range(3)]
    apart = [np.abs(ours - own) for ours, own in zip(hues, hue, strict=True)]
    like = np.maximum(np.maximum(apart[0], apart[1]), apart[2]) < _HUE
    like |= (hues[0] > hue[0] + _RED) & (redder | (bright > _LIT))
    return np.asarray(like & (bright > _SHADE[0]) & (bright < _SHADE[1]))


def _summed(colours: np.ndarray) -> np.ndarray:
    """(...): the sum of three channels, (..., 3), in a tenth of the time that a sum over so short an axis takes."""
    found: np.ndarray = colours[..., 0] + colours[..., 1] + colours[..., 2]
    return found
