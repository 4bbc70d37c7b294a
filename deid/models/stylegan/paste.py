"""A generated picture laid into the region of a frame, as the compositor takes faces."""

from __future__ import annotations

import numpy as np

from deid import imaging
from deid.blending import FaceOutline
from deid.models.morphable.finish import to_linear
from deid.models.morphable.render import NOTHING, GeneratedFace

_EDGE = 0.012  # of the face's height: softness of the outline that stands in for opacity
_SOFT = 0.55  # pixels of the generated picture: how soft interpolation leaves it
_CONTOUR = 0.5


def laid_in(
    picture: np.ndarray, frame_from_picture: np.ndarray, points: np.ndarray, gain: np.ndarray, size: tuple[int, int]
) -> tuple[GeneratedFace, FaceOutline]:
    """``picture``: float32 (S, S, 3 or 4), code values 0 to 1, the fourth opacity. ``frame_from_picture``: (2, 3) into
    the region, of ``size`` (height, width). ``points``: (478, 3), the frame's own mesh there, whose outline stands in
    where there is no opacity. ``gain``: float32 (3,), for its linear light. And the outline of the new face."""
    height, width = size
    zoom = float(np.sqrt(abs(np.linalg.det(frame_from_picture[:, :2]))))
    placed = imaging.warp_affine(
        np.ascontiguousarray(picture), frame_from_picture, (width, height), flags=imaging.INTER_CUBIC
    )
    rgb = to_linear(np.clip(placed[..., :3], 0, 1)) * gain
    own = FaceOutline.from_mesh(points)
    if picture.shape[2] == 4:
        alpha = np.clip(placed[..., 3], 0, 1)
        target = outline_of(alpha, own)
    else:
        alpha = _filled(own, size)
        target = own
    alpha = np.ascontiguousarray(alpha, np.float32)
    rgb[alpha <= 0] = 0
    part = np.where(alpha > 0, 0, NOTHING).astype(np.uint8)
    face = GeneratedFace(np.ascontiguousarray(rgb, np.float32), alpha, np.zeros_like(alpha), part, _SOFT * zoom)
    return face, target


def outline_of(alpha: np.ndarray, own: FaceOutline) -> FaceOutline:
    """Where a face of opacity ``alpha``, float32 (h, w), ends; ``own`` when it shows nothing."""
    found = imaging.outer_contour(alpha >= _CONTOUR)
    if found is None or len(found) < 8:
        return own
    return FaceOutline.from_polygon(found.astype(np.float32), (float(own.up[0]), float(own.up[1])))


def _filled(outline: FaceOutline, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    imaging.fill_poly(mask, [np.rint(outline.points).astype(np.int32)], 1)
    sigma = max(_EDGE * outline.height, 0.7)
    return imaging.gaussian_blur(mask.astype(np.float32), (0, 0), sigma)
