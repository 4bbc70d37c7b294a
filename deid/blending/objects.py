"""What else lies before a face and is to stay: microphones, cups, phones.

Keeping what belongs to the person would show them, so an object must be certain, by colour and by where it lies. Its
colour is one that this person's skin has in no light, dark without red, and that hair over skin does not have either.
It comes from outside: it reaches the outline below the nose, or meets a hand there, over no more than a part of the
jaw's width. Lips and mouths, nostrils and brows do not reach the outline; hair comes from above. The eyes' part of a
face is never kept. Whether there is anything of the kind at all is told over time, so that it does not come and go with
single frames (:mod:`deid.models.morphable.photo_covered`).
"""

from __future__ import annotations

import numpy as np

from .. import imaging
from .outline import OVAL

_SIZE = 96  # pixels to a face's width of the grid that objects are looked for on
_SKIN_POINTS = np.array((50, 280, 205, 425, 4, 5, 195, 101, 330, 117, 346, 36, 266, 151, 9, 108, 337))
_EYES, _CHIN, _BRIDGE = (33, 263), 152, 0.3  # mesh points; share of the way from eyes to chin above which nothing stays
_SURE = (0.42, 0.5, 0.1)  # of skin's redness, and of its brightness, plainly and whatever the hue: less has no skin
LIKELY = (0.72, 0.62, 0.16)  # the same for what is beside such places
_COLD = (0.45, 0.2)  # of what skin has more of red than of green, and than of blue: less has no beard
_SEEDS = 0.3  # share of an object that must be sure
_HUE = -0.03  # redness that no skin has
_CROSSING = (0.07, 0.5)  # of the face's width, where an object enters
_NEAR, _LOW = 0.04, 0.45  # face widths from the outline; how far down, as for the bridge, an object enters
_LEAST, _MOST = 0.012, 0.25  # of the outline's area
_ALIKE = 0.1  # code values
_OUTSIDE = 0.1  # face widths beyond the outline to which an object is followed
_SOFT = 1.2  # pixels of the grid


def objects_before(
    picture: np.ndarray, points: np.ndarray, hands: np.ndarray | None = None
) -> tuple[np.ndarray | None, float]:
    """float32 (h, w), 0 to 1, how much of each pixel is an object before the face and is to stay, ``None`` for nothing;
    and the share of the face, 0 to 1, under objects of which too much would stay.

    ``picture``: float32 (h, w, 3), the crop in code values 0 to 1. ``points``: (468 or more, 2 or more), the face's
    mesh in its pixels. ``hands``: float32 (h, w), 1 where hands stay.
    """
    h, w = picture.shape[:2]
    width = float(np.ptp(points[OVAL, 0]))
    scale = min(1.0, _SIZE / max(width, 1.0))
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    at = (points[:, :2] + 0.5) * (size[0] / w, size[1] / h) - 0.5
    small = imaging.resize(picture, size, interpolation=imaging.INTER_AREA) if scale < 1 else picture
    face = np.zeros(small.shape[:2], np.uint8)
    imaging.fill_poly(face, [np.round(at[OVAL]).astype(np.int32)], 1)
    x, y = np.clip(np.round(at[_SKIN_POINTS]).astype(int), 0, np.array(size) - 1).T
    skin = skin_of(small[y, x])
    sure, odd = (no_skin(small, skin, *limits) for limits in (_SURE, LIKELY))
    low = _below(at, face.shape)
    inside = odd & (face > 0) & (low > _BRIDGE)
    area = float(face.sum())
    opened = imaging.dilate(imaging.erode(inside.astype(np.uint8), _disc(1)), _disc(1)) > 0
    inside &= opened
    if inside.sum() < _LEAST * area:
        return None, 0.0
    held = None if hands is None else imaging.resize(hands, size, interpolation=imaging.INTER_AREA) > 0.5
    kept = _entering(small, skin, inside, sure, face, low, max(width * scale, 1.0), held)
    share = float(kept.sum()) / max(area, 1.0)
    reach = imaging.dilate(kept.astype(np.uint8), _disc(_OUTSIDE * width * scale))
    if share < _LEAST:
        return None, 0.0
    alike = np.abs(small - np.median(small[kept], axis=0)).max(axis=2) < _ALIKE
    kept |= (reach > 0) & odd & alike & (face == 0)  # as far as the new face's edge may reach
    if share > _MOST:
        return None, share
    soft = imaging.gaussian_blur(imaging.dilate(kept.astype(np.float32), np.ones((3, 3), np.uint8)), (0, 0), _SOFT)
    mask = imaging.resize(soft, (w, h), interpolation=imaging.INTER_LINEAR) if scale < 1 else soft
    return np.clip(1.6 * mask - 0.4, 0, 1).astype(np.float32), 0.0


def skin_of(colours: np.ndarray) -> np.ndarray:
    """float32 (3,): a person's skin where it is lit, of ``colours`` (n, 3) at places of their skin."""
    return np.asarray(np.median(colours[np.argsort(colours.sum(axis=1))[len(colours) // 3 :]], axis=0))


def redness(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much more red than green, and than blue, there is in colours (..., 3), as shares of all, and the mean."""
    grey = colour.mean(axis=-1)
    total = np.maximum(3 * grey, 0.02)
    return (colour[..., 0] - colour[..., 1]) / total, (colour[..., 0] - colour[..., 2]) / total, grey


def no_skin(picture: np.ndarray, skin: np.ndarray, neutral: float, darkest: float, black: float) -> np.ndarray:
    """bool (h, w): what ``skin`` cannot look like in any light."""
    (red, blue, grey), (own_red, own_blue, usual) = redness(picture), redness(skin)
    dark = (red < neutral * own_red) & (blue < neutral * own_blue) & (grey < darkest * usual)
    hue = (red < _HUE) & (blue < neutral * own_blue) & (grey > 0.12)
    return np.asarray(dark | hue | (grey < black * usual))


def no_beards(colours: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """bool (...): which ``colours`` (..., 3) the hair of a beard, through which ``skin`` shows, does not have."""
    (red, blue, grey), (own_red, own_blue, usual) = redness(colours), redness(skin)
    return np.asarray((red < _COLD[0] * own_red) & (blue < _COLD[1] * own_blue) & (grey > 2 * _SURE[2] * usual))


def _below(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """float32 (h, w): 0 at the eyes, 1 at the chin."""
    eyes = points[list(_EYES)].mean(axis=0)
    down = points[_CHIN] - eyes
    down = down / max(float(down @ down), 1e-6)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    return np.asarray((x - eyes[0]) * down[0] + (y - eyes[1]) * down[1], np.float32)


def _entering(
    picture: np.ndarray,
    skin: np.ndarray,
    inside: np.ndarray,
    sure: np.ndarray,
    face: np.ndarray,
    low: np.ndarray,
    width: float,
    hands: np.ndarray | None,
) -> np.ndarray:
    """bool (h, w): those pieces of ``inside`` that come from outside the ``face``."""
    border = (imaging.dilate(face, np.ones((3, 3), np.uint8)) > 0) & (face == 0)
    pieces, count = imaging.pieces_of(inside)
    out = np.zeros_like(inside)
    for number in range(1, count + 1):
        piece = pieces == number
        if piece.sum() < _LEAST * 0.5 * face.sum() or (piece & sure).sum() < _SEEDS * piece.sum():
            continue
        touch = imaging.dilate(piece.astype(np.uint8), _disc(_NEAR * width)) > 0
        crossing = touch & border
        length = float(crossing.sum()) / width
        held = hands is not None and bool((touch & hands & ~piece).sum() > _CROSSING[0] * width)
        if (piece & (low < _BRIDGE + 0.05)).any() or length > _CROSSING[1] or (length < _CROSSING[0] and not held):
            continue
        if length >= _CROSSING[0] and float(low[crossing].min()) < _LOW:
            continue
        if not no_beards(np.median(picture[piece], axis=0), skin):
            continue
        out |= piece
    return out


def _disc(radius: float) -> np.ndarray:
    reach = max(1, round(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return (x * x + y * y <= reach * reach + 0.5).astype(np.uint8)
