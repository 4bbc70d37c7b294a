"""How far eyes are open on the model: curves from the lids' weights to openness, and their inversion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.fit_basis import fit_basis, surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.tracks import AttributeTrack

_LID_STEPS = np.array([-2.6, -1.7, -1.0, -0.5, 0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0])
"""Positive: weight of eyeBlink; negative: of eyeWide, which lids that follow eyes downwards take more than one of."""
_PITCHES = np.array([-0.5, -0.25, 0.0, 0.25])
_SHUT = 0.04  # openness below which an eye is shut whatever else moves it
# openness as read: below which lids may be lowered, and what is left between them then: a line of lashes, no dark slit
_LOWERED, _SLIT = 0.12, 0.065
_BLINK = (0.3, 0.55)  # seconds: no blink is longer, and a blink's length up to which eyes may just be shut
_READ = np.array([0.0, 0.04, 0.10, 0.2, 0.3, 0.41, 0.54, 0.69, 0.79, 0.86, 0.96, 1.02, 1.12, 2.0])
_TRUE = np.array([0.0, 0.06, 0.31, 0.345, 0.37, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 1.00, 1.12, 2.0])
"""Openness as MediaPipe reads it from a picture, and what it is: of a closing eye, lashes hide the last third. Medians
over six rendered people (``tools/calibrate_gaze.py``); up to 0.3 it read as shut. To be measured anew whenever lashes
or the light between lids are drawn differently."""
_HIGHER, _HIGHER_NARROW, _MOST_HIGHER = 0.01, 0.4, 0.08
"""Widths of the eye by which a lower lid lies higher than that of a scan at rest, what of every width by which the eye
is held narrower is added, and the most. Medians over 56 frontal portraits: of eyes held narrower by one, by smile, sun
or nature, lower lids take .37 and upper ones .63."""


@dataclass(frozen=True, slots=True, eq=False)
class LidCurves:
    """How far the eyes of one identity are open. ``openness``: float64 (2, P, S), by eye, pitch of gaze (radians,
    ``pitches``) and lid step (``steps``); 1 at rest looking ahead, 0 shut. ``per_weight``: (2, E), what any other shape
    adds."""

    steps: np.ndarray
    pitches: np.ndarray
    openness: np.ndarray
    per_weight: np.ndarray

    def step(self, eye: int, openness: np.ndarray, pitch: np.ndarray) -> np.ndarray:
        """(n,): the lid step that gives ``openness`` (n,) at gaze ``pitch`` (n,)."""
        place = np.interp(pitch, self.pitches, np.arange(len(self.pitches)))
        low = np.minimum(place.astype(int), len(self.pitches) - 2)
        part = (place - low)[:, None]
        curves = (1 - part) * self.openness[eye, low] + part * self.openness[eye, low + 1]  # (n, S), falling
        curves = np.minimum.accumulate(curves, axis=1) - 1e-6 * np.arange(len(self.steps))
        above = (curves >= openness[:, None]).sum(axis=1)  # steps that leave the eye at least so far open
        right = np.clip(above, 1, len(self.steps) - 1)
        rows = np.arange(len(openness))
        upper, lower = curves[rows, right - 1], curves[rows, right]
        share = np.clip((upper - openness) / (upper - lower), 0.0, 1.0)
        return self.steps[right - 1] + share * (self.steps[right] - self.steps[right - 1])


def lid_curves(geometry: Geometry, shape: np.ndarray) -> LidCurves:
    """Measured on the posed mesh of identity ``shape`` (K,); some 40 poses."""
    names = geometry.expression_names
    neutral = geometry.neutral(np.asarray(shape, np.float32))
    gaps = np.empty((2, len(_PITCHES), len(_LID_STEPS)))
    for p, pitch in enumerate(_PITCHES):
        for s, step in enumerate(_LID_STEPS):
            weights = np.zeros(len(names), np.float32)
            moved = "eyeBlink" if step > 0 else "eyeWide"
            weights[[names.index(f"{moved}_L"), names.index(f"{moved}_R")]] = abs(step)
            gaze = np.array([[0.0, pitch]] * 2, np.float32)
            gaps[:, p, s] = _lid_gaps(surface_points(geometry, geometry.pose(neutral, weights, gaze)))
    rest = int(np.flatnonzero(_LID_STEPS == 0)[0])
    level = int(np.flatnonzero(_PITCHES == 0)[0])
    shut = gaps[:, level].min(axis=1)[:, None, None]
    span = gaps[:, level, rest][:, None, None] - shut
    basis = fit_basis(geometry)
    per_weight = _lid_gaps(basis.expression).T / span[:, :, 0]
    for name in ("eyeBlink_L", "eyeBlink_R", "eyeWide_L", "eyeWide_R"):
        per_weight[:, names.index(name)] = 0.0
    return LidCurves(_LID_STEPS, _PITCHES, (gaps - shut) / span, per_weight)


def rest_apertures(points: np.ndarray) -> np.ndarray:
    """(2,): gap of the lids over the width of the eye, left first, of mesh points (468, 3) at rest."""
    corners = points[face_points.EYE_CORNERS]
    return _lid_gaps(points) / np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)


def _lid_gaps(points: np.ndarray) -> np.ndarray:
    """(..., 2): mean height of the lids' gap, left eye first, of mesh points or their displacements (..., 468, 3)."""
    weights = np.array([0.5, 1.0, 1.0, 1.0, 0.5]) / 4
    pairs = face_points.LID_PAIRS
    return (points[..., pairs[..., 0], 1] - points[..., pairs[..., 1], 1]) @ weights


def downcast(frames: np.ndarray, openness: np.ndarray, rate: float) -> np.ndarray:
    """``openness`` (n, 2) without eyes that stay shut: lids that stay down longer than a blink are most often lowered
    over eyes that look down, and read as shut under their lashes. ``frames``: (n,). ``rate``: frames a second."""
    out = openness.copy()
    shut = openness.min(axis=1) < _LOWERED
    edges = np.flatnonzero(np.diff(np.r_[False, shut, False].astype(np.int8)))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        seconds = (frames[end - 1] - frames[first] + 1) / rate
        least = _SLIT * np.clip((seconds - _BLINK[0]) / (_BLINK[1] - _BLINK[0]), 0.0, 1.0)
        out[first:end] = np.maximum(out[first:end], least)
    return out


def lower_lids_rise(rest: float, held: float) -> float:
    """How much higher the lower lids lie of eyes that are held ``held`` open and would be open ``rest`` if their face
    were a scan; both, and the result, as shares of the eye's width. A blink is the upper lid's; but who narrows the
    eyes for longer does it with both, and pupils stay in the middle of what is left between them."""
    return float(np.clip(_HIGHER + _HIGHER_NARROW * (rest - held), 0.0, _MOST_HIGHER))


def with_lower_lids(geometry: Geometry, neutral: np.ndarray, rise: float) -> np.ndarray:
    """``neutral``, float32 (V, 3), a head at rest, with its lower lids ``rise`` centimetres higher in the middle."""
    moved = np.array(neutral, np.float32)
    for region, share in _lower_lids(geometry):
        moved[region, 1] += np.float32(rise) * share
    return moved


@lru_cache(maxsize=2)
def _lower_lids(geometry: Geometry) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """By eye: int32 (n,), what goes along with the lower lid, and float32 (n,) in [0, 1], how far."""
    motion, out = geometry.motion, []
    for eye in range(2):
        rings, region = motion.lid_rings[eye], motion.lid_region[eye]
        count, half = rings.shape[1], rings.shape[1] // 2
        x = geometry.vertices[rings[-1], 0]
        along = np.clip((x - x[0]) / (x[half] - x[0]), 0.0, 1.0)
        lift = np.where(np.arange(count) > half, np.maximum(np.sin(np.pi * along), 0.0) ** 0.75, 0.0)
        share = np.asarray(motion.lid_weights[eye], np.float64) @ lift
        slot = {int(i): n for n, i in enumerate(region)}
        for ring in rings:  # the rim itself goes as one
            for column, i in enumerate(ring):
                share[slot[int(i)]] = lift[column]
        out.append((region, np.clip(share, 0.0, 1.0).astype(np.float32)))
    return tuple(out)


def set_lids(
    expression: np.ndarray, names: tuple[str, ...], curves: LidCurves, track: AttributeTrack, narrower: float = 0.0
) -> None:
    """Set the lids' weights in ``expression`` (n, E), in place, so that each eye is as far open as ``track`` says.
    ``narrower``: openness that the face at rest has less than ``curves`` know of (:func:`with_lower_lids`)."""
    for eye, side in enumerate("LR"):
        blink, wide = names.index(f"eyeBlink_{side}"), names.index(f"eyeWide_{side}")
        read = track.openness[:, eye].astype(np.float64)
        wanted = np.interp(read, _READ, _TRUE)
        squint = np.clip(expression @ curves.per_weight[eye], -0.5, 0.3) - narrower
        step = curves.step(eye, wanted - squint * np.clip(wanted, 0, 1), track.gaze[:, eye, 1].astype(np.float64))
        step = np.where(read < _SHUT, 1.0, step)
        expression[:, blink] = np.maximum(step, 0.0)
        expression[:, wide] = np.maximum(-step, 0.0)
