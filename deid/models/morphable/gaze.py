"""Gaze from the irises: where the line of sight through an iris meets the fitted eyeball.

The eyeball of the fitted head is moved with the corners of the eye as they are seen, so that an error of the fit at the
eyes does not become a glance. Both eyes look at one thing: the turn they share is measured by both, weighted by how
well each is seen. What they differ by all the time is no vergence that could be known: corners of eyes behind glasses,
or under a fold of skin, lie elsewhere than the fitted ones by more. It is left out, and a new face's irises lie in its
own eyes where people's lie (:func:`straight`); what is left of momentary differences is bounded.
Nothing is measured while the lids are closed: gaze goes straight from before a blink to after it.

A landmark model sees an iris move by less than it does, above all up and down, where the lids hide it and its own
expectation holds it to the middle of the slit. :func:`as_rendered` makes up for that.
"""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.tracks import AttributeTrack, Observations

LIMITS = np.radians([40.0, 32.0])
"""Largest turn sideways, and up or down."""

_SIDEWAYS = 0.65
"""Radians of iris that MediaPipe reads for each radian that an eye turns sideways. Of renderings 0.5
(``tools/calibrate_gaze.py``); of portraits, whose eyes hold the camera while heads turn, 0.75 or more."""
_UPRIGHT = (0.10, 0.32)
"""The same for up and down: a constant, and what is added for each unit of openness. Of renderings 0.05 and 0.18, which
would make of what is left of real eyes' noise glances that are not there: chosen between that and none."""
_REST = np.radians(-1.2)
"""Read off an eye that looks level: -1.5 degrees of rendered heads held straight, 0 over all poses and of portraits."""
_LID = np.radians(2.4)  # how much lower an iris seems for each unit of openness less
_HEAD = np.array([0.13, 0.16])  # yaw, pitch: how much the iris seems to stay behind a turning head, of its turn
_USUAL = 0.6  # how much of a person's median gaze up or down is believed: the rest is an eyeball fitted too high or low
_SOFT = np.radians([32.0, 20.0, 28.0])  # sideways, up, down: what no rendered eye exceeds, and nears slowly

_SHUT, _OPEN = 0.25, 0.5  # openness below which an iris is guessed, and from which it is seen
_OWN = np.array([0.25, 0.0])  # how much of an eye's own deviation from the shared gaze is believed: sideways, up
_APART = np.radians(1.5)  # the most that is rendered of it
_OUTWARD = 0.044
"""How far beside the middle between an eye's corners, away from the nose and in widths of the eye, the iris of somebody
lies who looks at a camera: median over 323 frontal portraits, tenth and ninetieth percentile 0.005 and 0.075."""
_MOST_STRAIGHT = np.radians([-2.0, 7.0])  # outwards: eyeballs whose places are odd are not made up for without end


def with_sight(
    geometry: Geometry, shape: np.ndarray, neutral: np.ndarray, track: AttributeTrack, observations: Observations
) -> AttributeTrack:
    """``track`` (at least one row) with ``sight`` measured: where each eye looks by itself.

    ``neutral``: (468, 3), the person's mesh points at rest.
    """
    return track.with_values(sight=eye_angles(geometry, shape, neutral, track, observations).astype(np.float32))


def with_gaze(track: AttributeTrack) -> AttributeTrack:
    """``track`` with ``gaze``, from ``sight``, ``facing`` and ``openness``."""
    is_open = np.clip((track.openness.astype(np.float64) - _SHUT) / (_OPEN - _SHUT), 0.0, 1.0)
    trust = track.facing * is_open
    gaze = conjugate(track.sight.astype(np.float64), trust)
    return track.with_values(gaze=through_blinks(track.frames, gaze, trust.max(axis=1)).astype(np.float32))


def as_rendered(track: AttributeTrack) -> np.ndarray:
    """(n, 2, 2): angles for a rendered face off which the landmark model reads the gaze of ``track``.

    The inverse of a linear model of that reading: it grows with the eye's turn, less so the more the lids are closed;
    it sinks as they close, and lags behind the head.
    """
    gaze = track.gaze.astype(np.float64)
    seen = track.openness.max(axis=1) >= _OPEN
    if not seen.any():
        return _softened(gaze[..., 0], gaze[..., 1])
    openness = np.empty((len(track), 2))
    for eye in range(2):  # where gaze was bridged, so is what the lids did to it
        openness[:, eye] = np.interp(track.frames, track.frames[seen], track.openness[seen, eye])
    openness = np.clip(openness, _OPEN, 1.3)
    turned = np.radians(track.yaw_pitch_roll())[:, None, :2]
    yaw = (gaze[..., 0] + _HEAD[0] * turned[..., 0]) / _SIDEWAYS
    level = _REST + _LID * (openness - 1.0) - _HEAD[1] * turned[..., 1]
    pitch = (gaze[..., 1] - level) / (_UPRIGHT[0] + _UPRIGHT[1] * openness)
    pitch -= (1 - _USUAL) * np.median(pitch[seen])
    shared = yaw.mean(axis=1, keepdims=True)
    return _softened(shared + _APART * np.tanh((yaw - shared) / _APART), pitch)


def straight(geometry: Geometry, shape: np.ndarray) -> np.ndarray:
    """(2, 2): what is added to both eyes' angles, to the left and up, on a head of ``shape``, so that eyes that look
    straight ahead lie between their corners as people's do. Angles count from the eyeball's fitted axis, and how far
    that is from the middle of the slit differs between heads by more than a squint takes."""
    shape = np.asarray(shape, np.float32)
    centres, radii = eyeballs(geometry, shape)
    corners = surface_points(geometry, geometry.neutral(shape))[face_points.EYE_CORNERS][..., 0]
    width = np.abs(corners[:, 1] - corners[:, 0])
    off = (centres[:, 0] - corners.mean(axis=1)) * (1, -1) / width
    missing = np.clip((_OUTWARD - off) * width / radii, -0.5, 0.5).mean()
    turn = np.clip(np.arcsin(missing), *_MOST_STRAIGHT)
    return np.array([[turn, 0.0], [-turn, 0.0]])


def _softened(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """(n, 2, 2), from (n, 2) each: held within what looks natural."""
    limits = np.where(pitch > 0, _SOFT[1], _SOFT[2])
    return np.stack([_SOFT[0] * np.tanh(yaw / _SOFT[0]), limits * np.tanh(pitch / limits)], axis=-1)


def eyeballs(geometry: Geometry, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (2, 3) of the eyeballs of identity ``shape``, left first, and how far before them the irises lie (2,)."""
    shape = np.asarray(shape, np.float32)
    neutral, centres = geometry.neutral(shape), geometry.eyeball_centres(shape).astype(np.float64)
    radii = np.empty(2)
    for eye, members in enumerate((geometry.eye_left, geometry.eye_right)):
        from_axis = np.hypot(*(geometry.uv[members] - 0.5).T)  # eyes are laid out around their optical axis
        radii[eye] = np.linalg.norm(neutral[members[from_axis.argmin()]] - centres[eye])
    return centres, radii


def eye_angles(
    geometry: Geometry, shape: np.ndarray, neutral: np.ndarray, track: AttributeTrack, observations: Observations
) -> np.ndarray:
    """Each eye by itself: angles (n, 2, 2), left eye first."""
    centres, radii = eyeballs(geometry, shape)
    n = len(track)
    points = observations.points[..., :2].astype(np.float64) * (1, -1)
    place = track.translation * (1, -1)
    angles = np.empty((n, 2, 2))
    for eye in range(2):
        centre, radius = track.rotation @ centres[eye], radii[eye]  # (n, 3), camera space
        corners = face_points.EYE_CORNERS[eye]
        modelled = np.einsum("nij,pj->npi", track.rotation, neutral[corners])
        near = track.scale[:, None] / (1 - modelled[..., 2] / track.distance[:, None])
        slip = (points[:, corners] - modelled[..., :2] * near[..., None]).mean(axis=1) - place  # (n, 2) pixels
        iris = points[:, face_points.IRISES[eye]].mean(axis=1) - place - slip
        sight = np.zeros((n, 3))
        sight[:, 2] = 1.0
        for _ in range(3):  # how much perspective magnifies depends on where the iris turns out to be
            near = track.scale / (1 - (centre[:, 2] + radius * sight[:, 2]) / track.distance)
            flat = (iris / near[:, None] - centre[:, :2]) / radius
            length = np.linalg.norm(flat, axis=1, keepdims=True)
            flat *= np.minimum(1.0, 0.95 / np.maximum(length, 1e-9))
            sight = np.column_stack([flat, np.sqrt(1 - (flat**2).sum(axis=1))])
        own = np.einsum("nij,ni->nj", track.rotation, sight)  # head space
        angles[:, eye, 0] = np.arctan2(own[:, 0], own[:, 2])
        angles[:, eye, 1] = np.arcsin(np.clip(own[:, 1], -1, 1))
    return np.clip(angles, -1.5 * LIMITS, 1.5 * LIMITS)


def conjugate(raw: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Shared gaze and a little of what each eye deviates from it for a moment, (n, 2, 2), from each eye's own (n, 2, 2)
    and trust (n, 2)."""
    both = trust.min(axis=1) > 0.5
    half = np.median(raw[both, 0] - raw[both, 1], axis=0) / 2 if both.sum() >= 5 else np.zeros(2)
    levelled = raw - half * np.array([[1.0], [-1.0]])
    weight = np.maximum(trust, 1e-4)[..., None]
    shared = (levelled * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    out = shared + _OWN * trust[..., None] * (levelled - shared)
    return np.clip(out, -LIMITS, LIMITS)


def through_blinks(frames: np.ndarray, gaze: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """``gaze`` (n, 2, 2) with rows of low ``trust`` (n,) replaced by a straight line between their neighbours."""
    good = trust >= 0.5
    if good.all():
        return gaze
    if not good.any():
        return np.zeros_like(gaze) if trust.max() < 0.1 else np.broadcast_to(np.median(gaze, axis=0), gaze.shape).copy()
    flat = gaze.reshape(len(gaze), -1).copy()
    for k in range(flat.shape[1]):
        flat[~good, k] = np.interp(frames[~good], frames[good], flat[good, k])
    return flat.reshape(gaze.shape)
