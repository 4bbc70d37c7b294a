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
    made = polar_colours(face.coded, cx - np.float32(left), cy - np.float32(top), unit, rim, *grid)
    rim_skin = _rendered_skin(picture, face, points, made)
    counts = (np.clip((1.05 - limit[::2]) / 0.1, 0, 1)[:, None] * _inside(picture, centre, rim)[:, _RING]).astype(
        np.float32
    )
    hair, _ = _hair_colours(seen, rim_skin, counts, above[::2])
    skin = _own_skin(rim_skin, hair, seen)
    hair, trust = _hair_colours(seen, skin, counts, above[::2])
    gate = _gate(seen, skin, hair, trust, limit[::2])
    steps = np.arange(BINS) / 2
    both = np.concatenate([skin, hair], axis=1)
    whole = np.stack([np.interp(steps, np.arange(BINS // 2), column, period=BINS // 2) for column in both.T])
    gate = np.concatenate([gate, gate[:1]])
    return HairModel(gate, np.ascontiguousarray(whole, dtype=np.float32))


def _rendered_skin(picture: np.ndarray, face: Part, points: np.ndarray, made: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, 3): the rendered rim, smooth, in the tone that cheeks and nose have in the frame."""
    at = np.round(points[_SKIN_POINTS, :2]).astype(np.intp)
    at = np.clip(at, face.corner[::-1], np.array(face.coded.shape[1::-1]) + face.corner[::-1] - 1)
    at = np.clip(at, 0, np.array(picture.shape[1::-1]) - 1)
    own = face.coded[at[:, 1] - face.corner[0], at[:, 0] - face.corner[1]]
    gain = np.clip(np.median(picture[at[:, 1], at[:, 0]] / np.maximum(own, 0.02), axis=0), 0.6, 1.6)
    rim = gaussian_filter1d(made[:, _RIM].mean(axis=1), 6.0, axis=0, mode="wrap") * gain
    return np.asarray(rim, np.float32)


def _own_skin(rim: np.ndarray, hair: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, 3): the rendered skin ``rim``, and where the frame's own rim is not far from that and is no
    ``hair``, its own."""
    near = seen[:, _RIM]
    weight = np.exp(((near - rim[:, None]) ** 2).sum(axis=2) / -0.03)
    weight = (weight * np.clip((0.6 - _along(near, rim, hair)) / 0.25, 0, 1))[..., None]
    sums = np.concatenate([(near * weight).sum(axis=1), weight.sum(axis=1)], axis=1)
    sums = gaussian_filter1d(sums, 4.0, axis=0, mode="wrap")
    return np.asarray((sums[:, :3] + 0.5 * rim) / (sums[:, 3:] + 0.5), np.float32)


def _along(seen: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """(BINS / 2, n): how far each of ``seen`` lies on the way from skin, 0, to hair, 1."""
    line = skin - hair
    size = np.maximum((line**2).sum(axis=1), 1e-4)[:, None]
    return np.asarray(((skin[:, None] - seen) * line[:, None]).sum(axis=2) / size)


def _inside(picture: np.ndarray, centre: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """bool (BINS / 2, LEVELS): which nodes lie in the picture."""
    place = FIRST + PITCH * np.arange(LEVELS, dtype=np.float32)
    xy = centre + directions()[::2, None] * (rim[::2, None] * place)[..., None]
    return np.asarray(((xy >= 0) & (xy <= np.array(picture.shape[1::-1]) - 1)).all(axis=2))


def _hair_colours(
    seen: np.ndarray, skin: np.ndarray, counts: np.ndarray, above: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """float32 (BINS / 2, 3): mean colour, in every direction, of what is darker than skin around the face, and (BINS
    / 2,) how sure it is. Hair beside the face must not be lighter than all of that above: it may be a wall.

    ``counts``: (BINS / 2, ring), how much a node counts.
    """
    ring = seen[:, _RING]
    apart = np.linalg.norm(ring - skin[:, None], axis=2)
    darker = skin[:, None].sum(axis=2) - ring.sum(axis=2)
    weight = counts * np.clip((apart - 0.08) / 0.12, 0, 1) * np.clip(darker / 0.2, 0, 1) ** 2
    part = (counts * above[:, None]).sum()
    top = weight * above[:, None]
    mean = (ring * top[..., None]).sum(axis=(0, 1)) / max(float(top.sum()), 1e-6)
    crown = np.clip((float(top.sum()) / max(float(part), 1e-6) - 0.08) / 0.12, 0, 1)
    # what lies beside the cheeks is hair when it is like, or darker than, the hair above
    lighter = ring.sum(axis=2) - mean.sum()
    hue = np.linalg.norm((ring - ring.mean(axis=2, keepdims=True)) - (mean - mean.mean()), axis=2)
    alike = np.clip((0.5 - lighter) / 0.3, 0, 1) * np.clip((0.2 - hue) / 0.1, 0, 1)
    weight *= above[:, None] + (1 - above[:, None]) * alike
    sums = np.empty((len(ring), 5))
    sums[:, :3] = (ring * weight[..., None]).sum(axis=1)
    sums[:, 3], sums[:, 4] = weight.sum(axis=1), counts.sum(axis=1)
    sums = gaussian_filter1d(sums, 3.0, axis=0, mode="wrap")
    total, size, every = sums[:, :3], sums[:, 3], sums[:, 4]
    colour = (total + 0.1 * mean) / (size + 0.1)[:, None]
    contrast = np.linalg.norm(skin - colour, axis=1)
    trust = np.clip((size / np.maximum(every, 1e-6) - 0.15) / 0.15, 0, 1)
    trust = trust * np.clip((contrast - _LEAST_CONTRAST) / 0.07, 0, 1) * crown
    return colour.astype(np.float32), trust.astype(np.float32)


def _gate(seen: np.ndarray, skin: np.ndarray, hair: np.ndarray, trust: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """float32 (BINS / 2, LEVELS): where hair is joined to certain hair further out."""
    like = np.clip((_along(seen, skin, hair) - 0.35) / 0.25, 0, 1)
    like = np.minimum(1.6 * uniform_filter1d(like, 3, axis=1), 1)
    gate = np.empty(like.shape, np.float32)
    follow(np.ascontiguousarray(like, np.float32), gate, _CERTAIN)
    gate = gaussian_filter1d(gaussian_filter1d(gate, 1.0, axis=0, mode="wrap"), 0.8, axis=1)
    place = FIRST + PITCH * np.arange(LEVELS)
    free = np.clip((place[None] - limit[:, None]) / 0.06, 0, 1)
    return np.ascontiguousarray(gate * free * trust[:, None], dtype=np.float32)
