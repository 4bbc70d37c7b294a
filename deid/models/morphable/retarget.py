"""From one person's attributes to another's: the same openings on a face of other proportions.

Expression weights move points by centimetres, whoever's face it is; so a weight that shuts one person's eye leaves
another's ajar. What must match is relative: the lids' gap as a fraction of the person's own open eye, the lips' gap in
proportion to the face. Both are calibrated per identity on the geometry itself: monotone curves from weight to gap,
which are inverted frame by frame. Gaze keeps its angles, so that who looks into the camera still does, except that gaze
up and down is seen against the corners and the lids of the eye: where the model's move, that is made up for.
"""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.fit_basis import FitBasis, fit_basis, surface_points
from deid.models.morphable.gaze import LIMITS, eyeballs
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.lids import lid_curves, set_lids
from deid.models.morphable.tracks import AttributeTrack

_OPENERS = ("jawOpen", "mouthLowerDown_L", "mouthLowerDown_R", "mouthUpperUp_L", "mouthUpperUp_R")
_GAZE_PITCHES = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
_FOLLOWED = 0.6  # how much of the corners' own movement with gaze the landmark model sees in renderings
# both chosen on the outputs of two clips, not measured by themselves
_LID_PULL = 0.10  # cm; by how much an iris seems lower when the upper lid comes down on it
_CLOSED_LIPS = 0.15  # cm; a track whose lips never come closer than this has no closed state of its own


def _lip_gap(points: np.ndarray) -> np.ndarray:
    pairs = face_points.INNER_LIP_PAIRS
    return (points[..., pairs[:, 0], 1] - points[..., pairs[:, 1], 1]).mean(axis=-1)


class Retargeter:
    """Turns attributes measured on ``subject`` into those that show the same on ``surrogate``; both (K,) shapes.

    Making one measures the surrogate's lids (about 40 ms); using it costs microseconds a frame.
    """

    def __init__(self, geometry: Geometry, subject: np.ndarray, surrogate: np.ndarray) -> None:
        self._names = geometry.expression_names
        self._basis: FitBasis = fit_basis(geometry)
        self._lids = lid_curves(geometry, surrogate)
        own, other = (self._points(shape) for shape in (subject, surrogate))
        self._mouth_ratio = _face_height(other) / _face_height(own)
        self._closed_lips = float(_lip_gap(other))
        self._lip_effects = _lip_gap(self._basis.expression)  # (E,) cm a weight
        corners = self._basis.expression[:, face_points.EYE_CORNERS, 1].mean(axis=-1)  # (E, 2), likewise
        lids = np.array([name.startswith(("eyeBlink", "eyeWide")) for name in self._names])
        self._corner_effects = np.where(lids[:, None], 0.0, corners)
        self._corner_gaze, self._iris_radii = _corner_gaze(geometry, surrogate), eyeballs(geometry, surrogate)[1]

    def __call__(self, track: AttributeTrack) -> AttributeTrack:
        """``track`` with ``expression`` for the surrogate."""
        if not len(track):
            return track
        expression = track.expression.astype(np.float64)
        self._open_mouth(expression, self._wanted_gap(track))
        set_lids(expression, self._names, self._lids, track)
        track = track.with_values(gaze=self._level_gaze(expression, track.gaze, track.openness))
        set_lids(expression, self._names, self._lids, track)
        return track.with_values(expression=expression.astype(np.float32))

    def _level_gaze(self, expression: np.ndarray, gaze: np.ndarray, openness: np.ndarray) -> np.ndarray:
        """``gaze`` (n, 2, 2) with its pitch such that the irises seem as high over the corners as if these had not
        moved, and as if no lid had come down over them."""
        out = gaze.astype(np.float64)
        sunk = expression @ self._corner_effects + _LID_PULL * np.clip(1.0 - openness, 0.0, 1.0)  # (n, 2) cm
        for eye in range(2):
            wanted, pitch = np.sin(out[:, eye, 1]), out[:, eye, 1]
            for _ in range(4):
                follows = _FOLLOWED * np.interp(pitch, _GAZE_PITCHES, self._corner_gaze[eye])
                rise = wanted + (sunk[:, eye] + follows) / self._iris_radii[eye]
                pitch = np.clip(np.arcsin(np.clip(rise, -0.9, 0.9)), -LIMITS[1], LIMITS[1])
            out[:, eye, 1] = pitch
        return out.astype(np.float32)

    def _points(self, shape: np.ndarray) -> np.ndarray:
        return self._basis.mean + np.tensordot(np.asarray(shape, np.float64), self._basis.identity[: len(shape)], 1)

    def _wanted_gap(self, track: AttributeTrack) -> np.ndarray:
        """(n,): centimetres between the surrogate's lips."""
        closed = min(float(np.quantile(track.mouth, 0.05)), _CLOSED_LIPS)
        return self._closed_lips + np.maximum(track.mouth - closed, 0.0) * self._mouth_ratio

    def _open_mouth(self, expression: np.ndarray, wanted: np.ndarray) -> None:
        """Change the openers' weights in place, as little as gives the ``wanted`` gap."""
        close, jaw = self._names.index("mouthClose"), self._names.index("jawOpen")
        expression[:, close] = np.minimum(expression[:, close], expression[:, jaw])
        openers = np.array([self._names.index(name) for name in _OPENERS])
        effects = self._lip_effects[openers]
        mobility = np.array([1.0, 0.5, 0.5, 0.35, 0.35])
        for _ in range(6):
            missing = wanted - self._closed_lips - expression @ self._lip_effects
            free = np.where(missing[:, None] > 0, expression[:, openers] < 1.2, expression[:, openers] > 0)
            push = free * effects * mobility
            share = push / np.maximum((push * effects).sum(axis=1, keepdims=True), 1e-6)
            expression[:, openers] = np.clip(expression[:, openers] + missing[:, None] * share, 0.0, 1.2)


def _corner_gaze(geometry: Geometry, shape: np.ndarray) -> np.ndarray:
    """(2, P): centimetres by which the corners of each eye rise as it looks up or down by ``_GAZE_PITCHES``."""
    neutral = geometry.neutral(np.asarray(shape, np.float32))
    still = np.zeros(len(geometry.expression_names), np.float32)
    heights = []
    for pitch in _GAZE_PITCHES:
        posed = geometry.pose(neutral, still, np.array([[0.0, pitch]] * 2, np.float32))
        heights.append(surface_points(geometry, posed)[face_points.EYE_CORNERS, 1].mean(axis=1))
    out = np.stack(heights, axis=1).astype(np.float64)
    return out - out[:, _GAZE_PITCHES == 0]


def _face_height(points: np.ndarray) -> float:
    """Centimetres from between the eyes to the chin."""
    return float(np.linalg.norm(points[168] - points[152]))
