"""Where hair hangs before a face: which of the frame's pixels inside the face's region stay.

Two colours explain a pixel: skin, as the rendered face predicts it for this light, and hair, as it is seen above the
face (the linear matting of A. Smith and J. Blinn, *Blue Screen Matting*, 1996, with both colours known). The pixel's
place on the line between them is its opacity. What only looks like hair (a brow, a shadow, a beard) is kept out by
following the hair inwards from where it is hair for certain: on a polar grid around the face, where inwards is one
direction, that is a running minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ._kernels import BINS, directions
from ._polar import follow, polar_colours

FIRST, PITCH, LEVELS = np.float32(0.4), np.float32(0.025), 43
"""The polar grid: nodes at 0.4, 0.425 ... 1.45 of the outline's reach."""
_RIM = slice(14, 25)  # 0.75 to 1.0 of the reach
_RING = slice(26, 35)  # 1.05 to 1.25: above the face, hair if there is any
_CERTAIN = 36  # the level from which hair is followed inwards
_LEAST_CONTRAST = 0.13  # code values between skin and hair below which neither can be told
_SKIN_POINTS = np.array((50, 280, 205, 425, 4, 5, 195, 101, 330, 117, 346, 36, 266, 118, 347))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of a crop. ``coded``: float32 (a, b, 3), code values; ``cover``: float32 (a, b), where it counts;
    ``corner``: the row and column of the crop that it starts at."""

    coded: np.ndarray
    cover: np.ndarray
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class HairModel:
    """``gate``: float32 (BINS / 2 + 1, LEVELS), 0 to 1, where hair may lie. ``skin``: float32 (3, BINS), skin in every
    direction. ``colour``: float32 (4,), hair's colour and how much it is trusted, 0 to 1. All in code values."""

    gate: np.ndarray
    skin: np.ndarray
    colour: np.ndarray


def hair_model(
    picture: np.ndarray,
    face: Part,
    points: np.ndarray,
    centre: np.ndarray,
    rim: np.ndarray,
    limit: np.ndarray,
    above: np.ndarray,
) -> HairModel:
    """Find hair before a face.

    ``picture``: float32 (h, w, 3), the crop. ``face``: the rendered face. Both code values.
    ``points``: (478, 2 or more), the source's mesh. ``rim``: float32 (BINS,), the source outline's reach from
    ``centre``. ``limit``: float32 (BINS,), fraction of the reach below which nothing passes. ``above``: float32
    (BINS,), how much a direction counts as forehead, 0 to 1.
    """
    unit = directions()
    cx, cy = np.float32(centre[0]), np.float32(centre[1])
    grid = (FIRST, PITCH, LEVELS)
    seen = polar_colours(picture, cx, cy, unit, rim, *grid)
    top, left = face.corner
    made = polar_colours(face.coded, cx - np.float32(left), cy - np.float32(top), unit, rim, *grid)
    skin = _skin(picture, face, points, made, seen)
    shown = _inside(picture, centre, rim)
    colour = _hair_colour(seen, skin, above[::2, None] * shown[:, _RING])
    gate = _gate(seen, skin, colour, limit[::2])
    steps = np.arange(BINS) / 2
    whole = np.stack([np.interp(steps, np.arange(BINS // 2), skin[:, k], period=BINS // 2) for k in range(3)])
    gate = np.concatenate([gate, gate[:1]])
    return HairModel(gate, np.ascontiguousarray(whole, dtype=np.float32), colour)


def _skin(picture: np.ndarray, face: Part, points: np.ndarray, made: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, 3): the rendered rim, smooth, in the tone that cheeks and nose have in the frame, and where
    the frame's own rim is not far from that, its own."""
    at = np.round(points[_SKIN_POINTS, :2]).astype(np.intp)
    at = np.clip(at, face.corner[::-1], np.array(face.coded.shape[1::-1]) + face.corner[::-1] - 1)
    at = np.clip(at, 0, np.array(picture.shape[1::-1]) - 1)
    own = face.coded[at[:, 1] - face.corner[0], at[:, 0] - face.corner[1]]
    gain = np.clip(np.median(picture[at[:, 1], at[:, 0]] / np.maximum(own, 0.02), axis=0), 0.6, 1.6)
    rim = gaussian_filter1d(made[:, _RIM].mean(axis=1), 6.0, axis=0, mode="wrap") * gain
    near = seen[:, _RIM]
    weight = np.exp(((near - rim[:, None]) ** 2).sum(axis=2) / -0.03)[..., None]
    total = gaussian_filter1d((near * weight).sum(axis=1), 4.0, axis=0, mode="wrap")
    share = gaussian_filter1d(weight.sum(axis=1), 4.0, axis=0, mode="wrap")
    return np.asarray((total + 0.5 * rim) / (share + 0.5), np.float32)


def _inside(picture: np.ndarray, centre: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """bool (BINS / 2, LEVELS): which nodes lie in the picture."""
    place = FIRST + PITCH * np.arange(LEVELS, dtype=np.float32)
    xy = centre + directions()[::2, None] * (rim[::2, None] * place)[..., None]
    return np.asarray(((xy >= 0) & (xy <= np.array(picture.shape[1::-1]) - 1)).all(axis=2))


def _hair_colour(seen: np.ndarray, skin: np.ndarray, above: np.ndarray) -> np.ndarray:
    """float32 (4,): mean colour of what is not skin above the forehead, and how sure it is.

    ``above``: (BINS / 2, ring), how much a node counts.
    """
    ring = seen[:, _RING]
    apart = np.linalg.norm(ring - skin[:, None], axis=2)
    darker = skin[:, None].sum(axis=2) - ring.sum(axis=2)
    weight = above * np.clip((apart - 0.08) / 0.12, 0, 1) * np.clip(darker / 0.2, 0, 1)
    total = float(weight.sum())
    share = total / max(float(above.sum()), 1e-6)
    colour = (ring * weight[..., None]).sum(axis=(0, 1)) / max(total, 1e-6)
    part = above.sum(axis=1, keepdims=True)
    contrast = float(np.linalg.norm((skin * part).sum(axis=0) / max(float(part.sum()), 1e-6) - colour))
    trust = np.clip((share - 0.08) / 0.12, 0, 1) * np.clip((contrast - _LEAST_CONTRAST) / 0.07, 0, 1)
    return np.array([*colour, trust], np.float32)


def _gate(seen: np.ndarray, skin: np.ndarray, colour: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, LEVELS): where hair is joined to certain hair further out."""
    line = skin - colour[:3]
    along = ((skin[:, None] - seen) * line[:, None]).sum(axis=2) / np.maximum((line**2).sum(axis=1), 1e-4)[:, None]
    like = np.clip((along - 0.35) / 0.25, 0, 1)
    like = np.minimum(1.6 * uniform_filter1d(like, 3, axis=1), 1)
    gate = np.empty(like.shape, np.float32)
    follow(np.ascontiguousarray(like, np.float32), gate, _CERTAIN)
    gate = gaussian_filter1d(gaussian_filter1d(gate, 1.0, axis=0, mode="wrap"), 0.8, axis=1)
    place = FIRST + PITCH * np.arange(LEVELS)
    free = np.clip((place[None] - limit[:, None]) / 0.06, 0, 1)
    return np.ascontiguousarray(gate * free * colour[3], dtype=np.float32)
