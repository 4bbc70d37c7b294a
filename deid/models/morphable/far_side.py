"""Whether the far side of a turned face is there to be seen: a profile is one where it is not.

Landmark models know few profiles. On a face seen wholly from the side they answer with one turned by fifty degrees, as
sure as ever, and lay its far eye and brow on what is behind the head. The angle tells nothing then; colours do: what
should be the far side, by the fitted pose, is no skin under the light that the near side is in.
"""

from __future__ import annotations

import numpy as np

from .finish import CODE_TO_LINEAR8
from .geometry import Geometry
from .light import LUMINANCE, LightTrack
from .photo_reference import load_reference
from .photo_samples import TRIPLES
from .photo_shading import basis
from .photo_surface import sample_normals
from .photometry import valid_samples
from .tracks import AttributeTrack
from .trust import FAR_FROM

_FACING = 0.15  # least z of a normal of a place that still shows
_BESIDE = 0.3  # centimetres from the middle of the face
_BRIGHT, _TINT = 0.35, 0.12  # logarithms: how far skin is from what is told of it, in brightness and in colour
_LEAST = 4.0  # samples, by how squarely they face the camera, without which nothing is said


def far_side(
    records: np.ndarray,
    geometry: Geometry,
    neutral: np.ndarray,
    track: AttributeTrack,
    lights: LightTrack,
    hidden: np.ndarray | None = None,
) -> np.ndarray:
    """float32 (n,): how much more seldom than the near side the far side of the face shows skin, as a share from 0 to
    1; 1 of faces that are turned by less than ``FAR_FROM`` degrees, and where too little is seen to tell.

    ``records``: (n,) of :data:`.photometry.RECORD`. ``neutral``: float32 (V, 3), the subject's head at rest.
    ``track``, ``lights``: n rows. ``hidden``: bool (n, N), samples that something is known to lie before.
    """
    yaw = track.yaw_pitch_roll()[:, 0]
    out = np.ones(len(track), np.float32)
    rows = np.flatnonzero(np.abs(yaw) > FAR_FROM)
    if not len(rows):
        return out
    reference = load_reference()
    side = _across(geometry, neutral)[None] * np.sign(yaw[rows])[:, None]
    turned = track.rotation[rows].transpose(0, 2, 1).astype(np.float32)
    normals = sample_normals(geometry, neutral).at(track.expression[rows]) @ turned
    weights = np.where(normals[..., 2] > _FACING, normals[..., 2], 0) * valid_samples(records[rows])
    if hidden is not None:
        weights = weights * ~hidden[rows]
    skin = np.maximum(CODE_TO_LINEAR8[records["skin"][rows]] - lights.veil[rows, None], 1e-4)
    shade = np.maximum(np.einsum("nij,njc->nic", basis(normals), lights.sh[rows]), 0.05)
    told = shade * reference.albedo * np.maximum(lights.tone[rows] - lights.veil[rows], 1e-4)[:, None]
    belief = _likeness(np.log(skin), np.log(np.maximum(told, 1e-4)), weights * (side < 0))
    near, far = weights * (side < -_BESIDE), weights * (side > _BESIDE)
    on_near = (near * belief).sum(axis=1) / np.maximum(near.sum(axis=1), 1e-6)
    on_far = (far * belief).sum(axis=1) / np.maximum(far.sum(axis=1), 1e-6)
    enough = (near.sum(axis=1) > _LEAST) & (far.sum(axis=1) > _LEAST)
    out[rows] = np.where(enough, np.clip(on_far / np.maximum(on_near, 0.05), 0, 1), 1.0)
    return out


def _across(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    """float32 (N,): how far to the viewer's right of a frontal face the samples lie, centimetres."""
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (neutral[corners] * geometry.landmark_weights[..., None]).sum(axis=1)
    out: np.ndarray = mesh[TRIPLES].mean(axis=1)[:, 0]
    return out


def _likeness(seen: np.ndarray, told: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, N), 0 to 1: how much each colour is as told, beside the middle of those with ``weights`` (n, N). ``seen``,
    ``told``: (n, N, 3), logarithms of linear colours."""
    off = seen - told
    grey = off @ LUMINANCE.astype(np.float32)
    tint = off[..., (0, 2)] - grey[..., None]
    some = weights > 0
    grey = grey - _median(grey, some)[:, None]
    tint = tint - np.stack([_median(tint[..., c], some) for c in range(2)], axis=-1)[:, None]
    error = (grey / _BRIGHT) ** 2 + ((tint / _TINT) ** 2).sum(axis=-1)
    out: np.ndarray = 1 / (1 + error) ** 2
    return out


def _median(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n,): the median of ``values`` (n, N) where ``mask``, 0 where that is nowhere."""
    found = [np.median(row[there]) if there.any() else 0.0 for row, there in zip(values, mask, strict=True)]
    return np.array(found)
