"""Small pictures of output faces, for a report: never of the source, and never of a face that leaks."""

from __future__ import annotations

import base64

import numpy as np

from deid import imaging
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip

CROP = 112
"""Pixels a side."""

_WIDER = 1.5  # than a recogniser's chip: hair, ears and neck are in the picture too
_SQUARES = 7  # across a picture that must not show who it is
_QUALITY = 82


def crop_of(output: np.ndarray, points: np.ndarray, *, hidden: bool) -> np.ndarray:
    """The face about ``points`` (478, 2 or more) of ``output``, uint8 (H, W, 3) RGB, as uint8 (112, 112, 3) RGB.
    ``hidden``: in coarse squares, because it may be the very person."""
    transform = chip_from_picture(points)
    scale = CROP / (_WIDER * CHIP)
    transform = transform * scale
    transform[:, 2] += CROP / 2 * (1 - 1 / _WIDER)
    crop = cut_chip(output, transform, CROP)
    if not hidden:
        return crop
    small = imaging.resize(crop, (_SQUARES, _SQUARES), interpolation=imaging.INTER_AREA)
    return imaging.resize(small, (CROP, CROP), interpolation=imaging.INTER_NEAREST)


def data_uri(picture: np.ndarray) -> str:
    """``picture``, uint8 (H, W, 3) RGB, as a JPEG inside an address."""
    return "data:image/jpeg;base64," + base64.b64encode(imaging.jpeg(picture[..., ::-1], _QUALITY)).decode("ascii")
