"""How far eyes and mouth are open: measured on the mesh, in centimetres of the person's own head.

A least-squares fit spreads an error in the lids over brows and cheeks and reads narrow eyes as half closed. So the lids
are measured by themselves: the gap between the rims over the width of the eye, corrected for the pose's foreshortening,
relative to how this person holds the eye open over the whole track.
"""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.tracks import AttributeTrack, Observations

CLOSED = 0.07
"""Gap over width that MediaPipe's rims keep when the eye is shut; less only where a track shows less."""
_OPEN = (
    0.25  # of the eye's width, what people hold open on average (0.22 on portraits, with smiles; 0.22 to 0.31 on film)
)
_OPEN_RANGE = (0.17, 0.42)
_OPEN_EVIDENCE = 4.0  # frames after which a person's own state counts more than the average
_LIFTED, _OF_WIDE = 0.12, 0.8
"""Gap over width from which a lid is not lowered, and what share of the widest is usual at least: somebody who winks
and looks down through most of a clip still holds the eyes open as others do."""
_WIDEST = 1.5
_ALIKE, _APART = 0.15, 0.45  # differences of openness between the eyes that are noise, and that surely are none
_LIPS_SLANT = 0.25  # an opening jaw takes the lower lip backwards, too


def with_apertures(neutral: np.ndarray, track: AttributeTrack, observations: Observations) -> AttributeTrack:
    """``track`` (at least one row) with ``aperture``, ``facing`` and ``mouth`` measured.

    ``neutral``: (468, 3), the person's mesh points at rest.
    """
    aperture, facing = lid_apertures(neutral, track, observations)
    return track.with_values(
        aperture=aperture.astype(np.float32),
        facing=facing.astype(np.float32),
        mouth=mouth_gap(neutral, track, observations).astype(np.float32),
    )


def lid_apertures(
    neutral: np.ndarray, track: AttributeTrack, observations: Observations
) -> tuple[np.ndarray, np.ndarray]:
    """Gap between the lids over the width of the eye, (n, 2), and how well it could be seen, (n, 2) in [0, 1].

    Only the component along the line between the lids counts, divided by how much of that line the camera sees: the
    upper lid lies further out, so the gap looks narrower from above than from below.
    """
    points = observations.points[..., :2].astype(np.float64) * (1, -1)
    out, trust = np.empty((len(track), 2)), np.empty((len(track), 2))
    for eye in range(2):
        pairs, corners = face_points.LID_PAIRS[eye], face_points.EYE_CORNERS[eye]
        axis = (neutral[pairs[:, 0]] - neutral[pairs[:, 1]]).mean(axis=0)
        along = _along(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], track.rotation, axis)
        near = _near(neutral[face_points.LID_RIMS[eye]].mean(axis=0), track)
        width = float(np.linalg.norm(neutral[corners[1]] - neutral[corners[0]]))
        weights = np.array([0.5, 1.0, 1.0, 1.0, 0.5])
        out[:, eye] = (along @ weights) / weights.sum() / near / width
        outward = np.array([0.35 if eye == 0 else -0.35, 0.0, 0.94])  # where an eye faces
        facing = (track.rotation @ outward)[:, 2]
        trust[:, eye] = np.clip((facing - 0.25) / 0.4, 0.0, 1.0)
    return out, trust


def open_and_closed(aperture: np.ndarray, trust: np.ndarray) -> tuple[float, float]:
    """What counts as open and as closed for one eye, from its apertures (n,) over a track."""
    seen = aperture[trust > 0.5]
    if not len(seen):
        return _OPEN, CLOSED
    lifted = seen[seen > _LIFTED] if (seen > _LIFTED).any() else seen
    usual = max(float(np.quantile(lifted, 0.7)), _OF_WIDE * float(np.quantile(lifted, 0.97)))
    kept = len(seen) / (len(seen) + _OPEN_EVIDENCE)
    usual = float(np.clip(kept * usual + (1 - kept) * _OPEN, *_OPEN_RANGE))
    return usual, float(np.clip(np.quantile(seen, 0.005) + 0.03, 0.035, CLOSED))


def relative_openness(aperture: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(n, 2), 0 closed, 1 as this person usually holds the eye, at most 1.5.

    An eye that turns away follows the other: people close both, and the hidden one is guessed by the landmark model.
    So do both where they differ in one frame only, as at the start of a blink behind glasses: winks last longer.
    """
    out = np.empty_like(aperture)
    for eye in range(2):
        usual, closed = open_and_closed(aperture[:, eye], trust[:, eye])
        out[:, eye] = (aperture[:, eye] - closed) / (usual - closed)
    differ = out[:, 0] - out[:, 1]
    out = out - (differ - _without_spikes(differ))[:, None] * (0.5, -0.5) * trust.min(axis=1, keepdims=True)
    apart = (out[:, 0] - out[:, 1])[:, None] * (0.5, -0.5)
    believed = np.clip((np.abs(apart).max(axis=1, keepdims=True) * 2 - _ALIKE) / (_APART - _ALIKE), 0.0, 1.0)
    out = out - (1 - believed) * apart * trust.min(axis=1, keepdims=True)
    weight = np.maximum(trust, 1e-3)
    both = (out * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    return np.clip(trust * out + (1 - trust) * both, 0.0, _WIDEST)


def _without_spikes(values: np.ndarray) -> np.ndarray:
    """``values`` (n,) without what is in one row alone: their running median of three; ends stay."""
    out = values.copy()
    if len(values) > 2:
        out[1:-1] = np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1)
    return out


def mouth_gap(neutral: np.ndarray, track: AttributeTrack, observations: Observations) -> np.ndarray:
    """(n,): centimetres between the inner lips, never negative."""
    points = observations.points[..., :2].astype(np.float64) * (1, -1)
    pairs = face_points.INNER_LIP_PAIRS
    along = _along(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], track.rotation, np.array([0.0, 1.0, _LIPS_SLANT]))
    return np.maximum(along.mean(axis=1) / _near(neutral[face_points.LIPS].mean(axis=0), track), 0.0)


def _along(gaps: np.ndarray, rotation: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(n, p): height in the head of picture vectors ``gaps`` (n, p, 2) that lie along the head's ``axis`` (3,)."""
    axis = np.array([0.0, 1.0, axis[2] / axis[1]])
    seen = (rotation @ axis)[:, :2]
    return np.einsum("npk,nk->np", gaps, seen) / np.maximum((seen**2).sum(axis=1), 0.3)[:, None]


def _near(point: np.ndarray, track: AttributeTrack) -> np.ndarray:
    """(n,): pixels a centimetre at ``point`` (3,) of the head."""
    return track.scale / (1 - (track.rotation @ point)[:, 2] / track.distance)
