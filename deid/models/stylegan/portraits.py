"""Single pictures, read as Nitzan et al. 2020 read them: who is in one, and everything else."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np

from deid.detection.centerface import CenterFace
from deid.detection.landmarks import FaceLandmarker, roi_from_box, roi_from_landmarks
from deid.errors import InputError
from deid.models.stylegan import alignment
from deid.models.stylegan.networks import Networks, normalised
from deid.recognition.chips import cut_chip

_THRESHOLD, _PRESENCE = 0.5, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """``aligned``: uint8 (S, S, 3) RGB, cut as FFHQ's pictures are; ``identity``: float32 (d,), E_id of it;
    ``attributes``: float32 (width,), E_attr of it."""

    aligned: np.ndarray
    identity: np.ndarray
    attributes: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A face found in a picture. ``picture``: uint8 (S, S, 3) RGB, cut as FFHQ's are; ``points``: float32 (478, 3), the
    mesh in the pixels of the whole; ``aligned_from_picture``: float64 (2, 3)."""

    picture: np.ndarray
    points: np.ndarray
    aligned_from_picture: np.ndarray


def aligned_face(picture: np.ndarray, side: int, name: str = "the picture") -> Aligned:
    """The largest face of ``picture``, uint8 (h, w, 3) BGR. Raises :class:`InputError` where there is none."""
    with closing(CenterFace(threshold=_THRESHOLD)) as detector, FaceLandmarker() as landmarker:
        boxes = sorted((face.box for face in detector.detect(picture)), key=lambda box: box[3] - box[1])
        mesh = landmarker.run(picture, roi_from_box(boxes[-1])) if boxes else None
        if mesh is not None:  # once more about the mesh itself, which lies better than a box
            mesh = landmarker.run(picture, roi_from_landmarks(mesh.points))
    if mesh is None or mesh.presence < _PRESENCE:
        raise InputError(f"there is no clear face in {name}; give a picture of one face, seen from ahead.")
    centres, ways = alignment.squares(mesh.points[None])
    back = alignment.inverse(alignment.frame_from_crop(centres[0], ways[0], side))
    rgb = np.ascontiguousarray(picture[..., ::-1])
    return Aligned(cut_chip(rgb, back, side), mesh.points, back)


def read_portrait(networks: Networks, picture: np.ndarray, name: str = "the picture") -> Portrait:
    """The largest face of ``picture``, uint8 (h, w, 3) BGR. Raises :class:`InputError` where there is none."""
    side = max(networks.generator.shape.size, networks.attributes.shape.side)
    face = aligned_face(picture, side, name)
    points, back = face.points[None], face.aligned_from_picture[None]
    identity = networks.identities(np.ascontiguousarray(picture[..., ::-1])[None], points)[0]
    attributes = networks.attribute_codes(face.picture[None], normalised(points, back, side))[0]
    return Portrait(face.picture, identity, attributes)


def composed(networks: Networks, who: list[Portrait], how: list[Portrait]) -> np.ndarray:
    """uint8 (rows, columns, S, S, 3) RGB: the identities of ``who`` under the attributes of ``how``, a row each."""
    out = []
    for look in how:
        codes = networks.mapped(np.stack([p.identity for p in who]), np.repeat(look.attributes[None], len(who), axis=0))
        out.append(shown(networks, codes))
    return np.stack(out)


def between(networks: Networks, one: Portrait, other: Portrait, steps: int, what: str) -> np.ndarray:
    """uint8 (steps, S, S, 3) RGB: from ``one`` to ``other`` in ``what`` alone, ``identity`` or ``attributes``; the rest
    stays that of ``one``."""
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]

    def line(name: str) -> np.ndarray:
        a, b = getattr(one, name), getattr(other, name)
        return a * (1 - share) + b * share if name == what else np.repeat(a[None], steps, axis=0)

    return shown(networks, networks.mapped(line("identity"), line("attributes")))


def shown(networks: Networks, codes: np.ndarray) -> np.ndarray:
    """What the generator makes of ``codes``, float32 (n, width): uint8 (n, S, S, 3) RGB; what is not the face is
    grey."""
    made = networks.pictures(codes)
    if made.shape[-1] == 4:
        opaque = made[..., 3:]
        made = made[..., :3] * opaque + 0.5 * (1 - opaque)
    return np.asarray(np.rint(made * 255), np.uint8)
