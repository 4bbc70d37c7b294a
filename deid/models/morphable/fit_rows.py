"""Which frames of a track tell who somebody is: those in which the face looks as it mostly does, and those that differ
most; and how a mesh lies on a head."""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.fit_basis import FitBasis
from deid.models.morphable.tracks import Observations, evenly

_USUAL = 0.4  # of a track's frames, those that count as the face at rest


def procrustes(neutral: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarity from ``neutral`` (P, 3) to each of ``seen`` (n, P, 3): rotations (n, 3, 3), states (n, 4).

    Kabsch 1976, Umeyama 1991; with MediaPipe's depths, so only a start.
    """
    w = weights / weights.sum()
    centre, places = w @ neutral, np.einsum("p,npk->nk", w, seen)
    model, points = neutral - centre, seen - places[:, None]
    u, s, vt = np.linalg.svd(np.einsum("npi,pj->nij", points, model * w[:, None]))
    sign = np.ones((len(seen), 3))
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotations = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(axis=1) / (w @ (model**2).sum(axis=1))
    place = places - scale[:, None] * (rotations @ centre)
    return np.ascontiguousarray(rotations), np.column_stack([scale, place[:, :2], place[:, 2] / scale])


def usual_frames(basis: FitBasis, observations: Observations, count: int) -> np.ndarray:
    """Rows of up to ``count`` frames in which the face looks as it mostly does, which is nearer to rest than any
    extreme: those that come nearest to the track's median in brows and mouth, evenly in time; sorted."""
    seen = observations.points[:, :468].astype(np.float64) * (1, -1, -1)
    rotations, states = procrustes(basis.mean, seen, basis.weights)
    usable = np.flatnonzero(observations.presence >= min(0.8, float(np.median(observations.presence))))
    frontal = rotations[usable, 2, 2]
    usable = usable[frontal >= min(0.9, float(np.quantile(frontal, 0.4)))]
    telling = np.concatenate([face_points.LIPS, face_points.BROW_TO_EYE_PAIRS[:, 0]])
    placed = (seen[usable] - seen[usable].mean(axis=1, keepdims=True)) @ rotations[usable]
    shape = (placed[:, telling, :2] / states[usable, None, None, 0]).reshape(len(usable), -1)
    apart = np.linalg.norm(shape - np.median(shape, axis=0), axis=1)
    nearest = np.sort(np.argsort(apart, kind="stable")[: max(3, round(_USUAL * len(usable)))])
    return usable[evenly(nearest, count)]


def spread_frames(observations: Observations, count: int) -> np.ndarray:
    """Rows of up to ``count`` frames that differ in pose and expression, the better seen ones first; sorted.

    Farthest-point sampling (Gonzalez 1985) on meshes with place and size removed.
    """
    size = observations.eye_distance()
    usable = np.flatnonzero((observations.presence >= 0.8) & (size >= 0.5 * np.median(size)))
    if len(usable) < min(4, len(observations)):
        usable = np.arange(len(observations))
    if len(usable) <= count:
        return usable
    usable = usable[np.linspace(0, len(usable) - 1, min(len(usable), 400)).astype(int)]
    points = observations.points[usable][:, face_points.LIPS.tolist() + face_points.FACE_OVAL.tolist(), :2]
    points = (points - points.mean(axis=1, keepdims=True)) / size[usable, None, None]
    flat = points.reshape(len(usable), -1)
    taken = [int(np.argmin(np.linalg.norm(flat - np.median(flat, axis=0), axis=1)))]
    nearest = np.linalg.norm(flat - flat[taken[0]], axis=1)
    # half of them the most different, half evenly in time: extremes alone would be the worst seen frames
    while len(taken) < count // 2:
        taken.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(flat - flat[taken[-1]], axis=1))
    even = np.linspace(0, len(usable) - 1, count - len(taken)).astype(int)
    return usable[np.unique(np.r_[taken, even])]
