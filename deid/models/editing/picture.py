"""A face in a picture, found and cut as the generator's pictures are."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from deid.detection.centerface import CenterFace
from deid.detection.landmarks import FaceLandmarker, roi_from_box, roi_from_landmarks
from deid.errors import InputError
from deid.models.stylegan import alignment
from deid.recognition.chips import cut_chip

_THRESHOLD, _PRESENCE = 0.5, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """``aligned``: uint8 (S, S, 3) RGB, cut as FFHQ's pictures are; ``points``: float32 (478, 3), the mesh in the
    pixels of the whole picture; ``picture_from_aligned``: float64 (2, 3)."""

    aligned: np.ndarray
    points: np.ndarray
    picture_from_aligned: np.ndarray


def aligned_face(picture: np.ndarray, side: int, name: str = "the picture") -> Found:
    """The largest face of ``picture``, uint8 (h, w, 3) BGR. Raises :class:`InputError` where there is none."""
    with closing(CenterFace(threshold=_THRESHOLD)) as detector, FaceLandmarker(threads=1) as landmarker:
        boxes = sorted((face.box for face in detector.detect(picture)), key=lambda box: box[3] - box[1])
        mesh = landmarker.run(picture, roi_from_box(boxes[-1])) if boxes else None
        if mesh is not None:  # once more about the mesh itself, which lies better than a box
            mesh = landmarker.run(picture, roi_from_landmarks(mesh.points))
    if mesh is None or mesh.presence < _PRESENCE:
        raise InputError(f"there is no clear face in {name}; give a picture of one face, seen from ahead.")
    centres, ways = alignment.squares(mesh.points[None])
    place = alignment.frame_from_crop(centres[0], ways[0], side)
    rgb = np.ascontiguousarray(picture[..., ::-1])
    return Found(cut_chip(rgb, alignment.inverse(place), side), mesh.points, place)
