"""What the first pass keeps of each face for the StyleGAN engine: the photometric note, and a small picture of it.

The picture is cut a little wider than the networks want it, by the mesh of its own frame; once the whole track is known
it is cut again along the square that was made steady over time.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from deid.models.morphable import photometry
from deid.models.stylegan.alignment import frame_from_crop, inverse, squares
from deid.recognition.chips import cut_chip
from deid.tracking.closeup import Closeup

SIDE = 80
AROUND = 1.25
"""How many times as wide as the aligned square a look is: room for the steady square to lie elsewhere."""

RECORD = np.dtype(
    [(name, photometry.RECORD[name]) for name in photometry.RECORD.names or ()]
    + [("look", np.uint8, (SIDE, SIDE, 3)), ("frame_from_look", np.float32, (2, 3))]
)
"""``look``: RGB code values. ``frame_from_look``: from its pixel centres to those of the frame."""


def note(view: Closeup, points: np.ndarray) -> np.void:
    """A scalar of :data:`RECORD`. ``points``: float32 (478, 3), MediaPipe's mesh in the frame."""
    out = np.zeros((), RECORD)
    photo = photometry.note(view, points)
    for name in photometry.RECORD.names or ():
        out[name] = photo[name]
    centres, ways = squares(view.inside(points)[None])
    picture_from_look = frame_from_crop(centres[0], AROUND * ways[0], SIDE)
    out["look"] = cut_chip(view.rgb, inverse(picture_from_look), SIDE)
    corner = np.zeros((3, 3), np.float32)
    corner[:, :2] = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1.0]]) @ picture_from_look.T
    seen = view.outside(corner)[:, :2]
    out["frame_from_look"] = np.column_stack([seen[1] - seen[0], seen[2] - seen[0], seen[0]])
    return cast(np.void, out[()])


def recut(notes: np.ndarray, centres: np.ndarray, ways: np.ndarray, side: int) -> np.ndarray:
    """The looks of ``notes``, (n,) of :data:`RECORD`, along other squares: uint8 (n, side, side, 3). ``centres``,
    ``ways``: float64 (n, 2), as :func:`~deid.models.stylegan.alignment.squares` gives them."""
    out = np.empty((len(notes), side, side, 3), np.uint8)
    for row, (seen, centre, way) in enumerate(zip(notes, centres, ways, strict=True)):
        look_from_crop = _after(inverse(seen["frame_from_look"].astype(np.float64)), frame_from_crop(centre, way, side))
        out[row] = cut_chip(seen["look"], inverse(look_from_crop), side)
    return out


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine transform, (2, 3), that does ``first`` and then ``second``."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])
