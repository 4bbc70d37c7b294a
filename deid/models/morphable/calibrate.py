"""Closing the loop: does the landmark model read the same off the new face as off the old one?

Noses and chins differ, and a landmark model that has learned average proportions reads a long nose as a head that
tilts; thin lips that are hardly parted it reads as shut. Anyone who measures the output would get that bias; it is
measured once a surrogate and taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.morphable import face_points
from deid.models.morphable.codes import Camera, Light, head_rotation
from deid.models.morphable.echo import Echo, Make, before_wall, listen, read_off, telling_rows
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.held import COVERED
from deid.models.morphable.inversion import TrackCodes
from deid.models.morphable.lids import with_lower_lids
from deid.models.morphable.mouths import with_teeth
from deid.models.morphable.painter import Sitter
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.surrogate import Likeness, Recognise, in_place, seen_in_places
from deid.models.morphable.tracks import AttributeTrack
from deid.recognition.thresholds import FAR_1E3

_SHARES = (1.0, 0.5, 0.0)  # of an echo that are tried
_STRANGER = 0.05  # beyond the match threshold: an echo that brings a surrogate nearer to its subject is too much
_MOST = 6.0  # degrees: a larger bias is a landmark model that has lost the face
_PRESENCE = 0.5
_YAW_SEEN = 1.4  # degrees by which a face seems to turn for one that it is turned: its outline goes along (1.4 to 1.7)
_ONCE_MORE = 0.7  # degrees of a bias from which on what its correction did is read, too
_BEFORE_WALL = 0.7  # of what a bare head before a wall seems turned by: heads in their pictures are read as turned less


@dataclass(frozen=True, slots=True)
class PoseBias:
    """How far the new face seems turned from the old one, in degrees, and over how many pictures it was measured."""

    yaw: float
    pitch: float
    roll: float
    pictures: int

    def correction(self) -> np.ndarray:
        """float64 (3, 3): multiplied to camera_from_head from the right, takes the bias out."""
        return head_rotation(-self.yaw / _YAW_SEEN, -self.pitch, -self.roll)


def pose_bias(landmarker: FaceLandmarker, pairs: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> PoseBias:
    """``pairs``: uint8 (h, w, 3) RGB pictures before and after, and the mesh (478, 3) of the face in the first."""
    apart = []
    for before, after, points in pairs:
        roi = roi_from_landmarks(points)
        seen = [landmarker.run(np.ascontiguousarray(p), roi, rgb=True) for p in (before, after)]
        if any(s is None or s.presence < _PRESENCE for s in seen):
            continue
        angles = [(s.yaw, s.pitch, float(np.degrees(s.roll))) for s in seen if s is not None]
        apart.append(np.subtract(angles[1], angles[0]))
    if not apart:
        return PoseBias(0.0, 0.0, 0.0, 0)
    yaw, pitch, roll = (float(v) for v in np.clip(np.median(apart, axis=0), -_MOST, _MOST))
    return PoseBias(yaw, pitch, roll, len(apart))


LIP_GAPS = np.array([0.0, 0.05, 0.1, 0.17, 0.27, 0.42, 0.65, 1.0, 1.5, 2.2])
"""Centimetres between the lips at which a surrogate's mouth is shown to the landmark model."""

_SIDE, _HEAD = 256, 30.0  # pixels of the pictures it is shown in; centimetres that they are high
_LEAST_RISE = 0.02  # of the reading per centimetre, so that every reading has one gap


def lip_readings(
    geometry: Geometry, sitter: Sitter, landmarker: FaceLandmarker, light: Light, expressions: np.ndarray
) -> np.ndarray | None:
    """What the landmark model makes of the sitter's lips: centimetres apart, float64 (n,), never falling, or ``None``
    when it does not find the face. ``expressions``: (n, E), mouths that open further and further, the first shut."""
    camera = Camera(np.eye(3), _SIDE / _HEAD, np.array([_SIDE * 0.5, _SIDE * 0.47]), 90.0)
    gaze = np.zeros((2, 2), np.float32)
    pairs, out = face_points.INNER_LIP_PAIRS, []

    def shown(expression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vertices = geometry.pose(sitter.neutral, expression, gaze)
        face = sitter.renderer.render(vertices, camera, light, _SIDE, _SIDE, expression=expression)
        return before_wall(face), camera.project(surface_points(geometry, vertices))

    for picture, truth in side_by_side(shown, expressions.astype(np.float32)):
        points = read_off(landmarker, picture, truth)
        if points is None:
            return None
        near = camera.scale / (1 - truth[face_points.LIPS, 2].mean() / camera.distance)
        out.append(float((points[pairs[:, 1], 1] - points[pairs[:, 0], 1]).mean()) / near)
    rising = np.maximum.accumulate(np.maximum(out, 0.0))
    return np.asarray(rising + _LEAST_RISE * LIP_GAPS[: len(rising)])


def echoed(
    geometry: Geometry, landmarker: FaceLandmarker, recognise: Recognise, of: TrackCodes,
    points: Callable[[int], np.ndarray], retarget: Retargeter, sitter: Sitter, bias: PoseBias,
    likenesses: Sequence[tuple[Likeness, int]],
) -> tuple[AttributeTrack, Sitter]:  # fmt: skip
    """The attributes and the head of a track, so that they read as the subject does (:mod:`.echo`). ``points``: the
    mesh (478, 3) of a row. ``likenesses``: the subject's pictures that are of this track, and their rows."""
    placed = sitter.in_place_of(geometry, geometry.neutral(of.identity.shape))
    size = float(np.ptp(placed.neutral[:, 1]) / np.ptp(sitter.neutral[:, 1]))

    def made(echo: Echo) -> tuple[AttributeTrack, Sitter]:
        retarget.heed(echo)
        turned = retarget(of.attributes)
        turned = turned.with_values(rotation=turned.rotation @ bias.correction())
        neutral = echo.at_rest(geometry, placed.neutral) + _held(geometry, size * retarget.brows_held)
        neutral = with_lower_lids(geometry, neutral, size * retarget.lids_rise)
        neutral = with_teeth(geometry, neutral, size * retarget.teeth_lower)
        return turned, replace(placed, neutral=neutral)

    rows = telling_rows(of.attributes, of.trust.trusted)
    lights = [of.lights.light(int(row)) for row in rows]
    seen = np.array([points(int(row)) for row in rows])
    echo = listen(geometry, landmarker, made, seen, rows, lights)
    return settled(geometry, landmarker, recognise, made, echo, of.attributes, likenesses)


def _held(geometry: Geometry, weights: np.ndarray) -> np.ndarray:
    """float32 (V, 3): what expressions of ``weights`` (E,) add to a head."""
    used = np.flatnonzero(weights)
    return np.asarray(np.tensordot(weights[used].astype(np.float32), geometry.expression[used], 1), np.float32)


def settled(
    geometry: Geometry, landmarker: FaceLandmarker, recognise: Recognise, make: Make, echo: Echo,
    source: AttributeTrack, likenesses: Sequence[tuple[Likeness, int]],
) -> tuple[AttributeTrack, Sitter]:  # fmt: skip
    """What ``make`` makes of as much of ``echo`` as leaves the surrogate a stranger to its subject, with the head
    turned as the landmark model reads it in the subject's pictures. ``source``: the subject's attributes.
    ``likenesses``: those of the same track, and their rows."""
    if not likenesses:
        return make(echo)

    def dressed(track: AttributeTrack) -> list[Likeness]:
        return [_dressed(of, source, track, row) for of, row in likenesses]

    before = recognise(np.stack([likeness.chip for likeness, _ in likenesses]))
    for share in _SHARES:
        track, sitter = make(echo.weaker(share))
        pictures, after = seen_in_places(geometry, sitter, dressed(track), recognise)
        apart = np.linalg.norm(before - after, axis=1)
        if float(apart.min()) > FAR_1E3 + _STRANGER:
            break
    bias = _bias_of(landmarker, likenesses, source, pictures)
    if not bias.pictures:  # what was read before a wall tells most of it, but not where the sides of the face end
        _, pitch, roll = (float(v) for v in np.clip(_BEFORE_WALL * echo.turned, -_MOST, _MOST))
        bias = PoseBias(0.0, pitch, roll, 0)
    track = track.with_values(rotation=track.rotation @ bias.correction())
    if bias.pictures and max(abs(bias.yaw), abs(bias.pitch), abs(bias.roll)) > _ONCE_MORE:
        again = side_by_side(lambda likeness: in_place(geometry, sitter, likeness), dressed(track))
        bias = _bias_of(landmarker, likenesses, source, again)
        track = track.with_values(rotation=track.rotation @ bias.correction())
    return track, sitter


def _bias_of(
    landmarker: FaceLandmarker, likenesses: Sequence[tuple[Likeness, int]], source: AttributeTrack,
    pictures: Iterable[np.ndarray],
) -> PoseBias:  # fmt: skip
    """How far the face in ``pictures``, each (h, w, 3), seems turned, where nothing lies before it: what a landmark
    model makes of a face with a hand before it says nothing of the face."""
    pairs = [
        (of.chip, after, of.points)
        for (of, row), after in zip(likenesses, pictures, strict=True)
        if source.presence[row] > COVERED
    ]
    return pose_bias(landmarker, pairs)


def _dressed(likeness: Likeness, source: AttributeTrack, track: AttributeTrack, row: int) -> Likeness:
    """``likeness`` with the attributes that ``track`` has in ``row`` in place of those of ``source``."""
    camera = likeness.attributes.camera
    turn = source.rotation[row].T @ track.rotation[row]
    attributes = replace(
        likeness.attributes, expression=track.expression[row], gaze=track.gaze[row],
        camera=replace(camera, rotation=camera.rotation @ turn),
    )  # fmt: skip
    return replace(likeness, attributes=attributes)
