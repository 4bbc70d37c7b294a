"""Whom a photo shows: the recognition code of the one face in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deid.errors import UsageError

_SURE = 0.5  # of the detector
_PRESENCE = 0.6  # of the landmark model
_LEAST = 60.0  # pixels that a face must be tall


def codes_of_photos(photos: Sequence[Path], recognise: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """A recognition code, float32 (128,), of each photo. Raises :class:`UsageError` for one with no face in it, or
    several, and the errors of reading."""
    return [recognise(chip_of_photo(photo)[None])[0] for photo in photos]


def chip_of_photo(photo: Path) -> np.ndarray:
    """The aligned face, uint8 (150, 150, 3) RGB."""
    from deid.detection.centerface import CenterFace
    from deid.detection.landmarks import FaceLandmarker, roi_from_box
    from deid.media import Reader
    from deid.media.convert import bgr
    from deid.recognition.chips import chip_from_picture, cut_chip

    with Reader(photo) as reader:
        if reader.info.kind != "image":
            raise UsageError(f"--keep-like {photo} is no picture; give it a photo.")
        picture = bgr(next(iter(reader)))
    with FaceLandmarker() as landmarker:
        meshes = [landmarker.run(picture, roi_from_box(f.box)) for f in CenterFace().detect(picture) if f.score > _SURE]
    faces = [mesh for mesh in meshes if mesh is not None and mesh.presence > _PRESENCE]
    if not faces:
        raise UsageError(f"no face was found in --keep-like {photo}; give it a photo with one clear face.")
    if len(faces) > 1:
        raise UsageError(f"--keep-like {photo} shows {len(faces)} faces; cut out the one that is meant.")
    if float(faces[0].box[3]) < _LEAST:
        raise UsageError(f"the face in --keep-like {photo} is under {_LEAST:.0f} pixels tall; give it a larger one.")
    rgb = np.ascontiguousarray(picture[..., ::-1])
    return cut_chip(rgb, chip_from_picture(faces[0].points))
