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

from ._hair import around, counted, gate_of, hair_colours, own_skin
from ._kernels import BINS, directions
from ._polar import polar_colours

FIRST, PITCH, LEVELS = np.float32(0.4), np.float32(0.025), 43
"""The polar grid: nodes at 0.4, 0.425 ... 1.45 of the outline's reach."""
_RIM = slice(14, 25)  # 0.75 to 1.0 of the reach
_RING = slice(27, 36)  # 1.075 to 1.275: around the face, hair if there is any
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
    """``gate``: float32 (BINS / 2 + 1, LEVELS), 0 to 1, where hair may lie. ``colours``: float32 (6, BINS), skin and
    hair in every direction, code values."""

    gate: np.ndarray
    colours: np.ndarray


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
    made = polar_colours(
        face.coded, cx - np.float32(left), cy - np.float32(top), unit, rim,
        FIRST + PITCH * np.float32(_RIM.start), PITCH, _RIM.stop - _RIM.start,
    )  # fmt: skip
    rim_skin = _rendered_skin(picture, face, points, made)
    height, width = picture.shape[:2]
    counts = counted(limit, rim, unit, cx, cy, width, height, FIRST, PITCH, _RING.start, _RING.stop)
    ring, half = np.ascontiguousarray(seen[:, _RING]), np.ascontiguousarray(above[::2])
    hair, _ = hair_colours(ring, rim_skin, counts, half, _LEAST_CONTRAST)
    skin = own_skin(rim_skin, hair, np.ascontiguousarray(seen[:, _RIM]))
    hair, trust = hair_colours(ring, skin, counts, half, _LEAST_CONTRAST)
    gate = gate_of(seen, skin, hair, trust, limit, FIRST, PITCH, _CERTAIN)
    both = np.concatenate([skin, hair], axis=1)
    whole = np.empty((6, BINS), np.float32)
    whole[:, ::2], whole[:, 1::2] = both.T, (0.5 * (both + np.roll(both, -1, axis=0))).T
    return HairModel(gate, whole)


def _rendered_skin(picture: np.ndarray, face: Part, points: np.ndarray, made: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, 3): the rendered rim, smooth, in the tone that cheeks and nose have in the frame."""
    at = np.round(points[_SKIN_POINTS, :2]).astype(np.intp)
    at = np.clip(at, face.corner[::-1], np.array(face.coded.shape[1::-1]) + face.corner[::-1] - 1)
    at = np.clip(at, 0, np.array(picture.shape[1::-1]) - 1)
    own = face.coded[at[:, 1] - face.corner[0], at[:, 0] - face.corner[1]]
    ratio = picture[at[:, 1], at[:, 0]] / np.maximum(own, 0.02)
    gain = np.clip(np.sort(ratio, axis=0)[len(at) // 2], 0.6, 1.6)
    return np.asarray(around(made.mean(axis=1), 6.0) * gain, np.float32)
