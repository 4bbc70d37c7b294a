"""What faces do, in units that behavioural research uses: ARKit's blendshapes, left and right apart, gaze, and the turn
of the head, of the source and of the output, with how well the one follows the other.

Both clips are read in the same way: MediaPipe's mesh, and the engine's own statistical face model laid into it, with an
identity of its own for the source's face and for the output's. So both columns carry the errors of the same instrument;
neither is the truth.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from deid.audit import attributes
from deid.audit.appearance import Touched
from deid.audit.notes import STATES, Seen
from deid.audit.series import MIN_FACE, Series, windows
from deid.models.morphable import fit
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.tracks import AttributeTrack, Observations
from deid.tracking.records import RecordFile

LEAD = ("time", "frame", "person", "face", "state")
"""The first columns: seconds from the source's first frame, frame number from 0, person and face as in the report, and
what was done to the face there."""

GAZE = ("gazeLeftX", "gazeLeftY", "gazeRightX", "gazeRightY")
"""Degrees relative to the head, of the subject's left and right eye: to the subject's left, and up."""
POSE = ("yaw", "pitch", "roll")
"""Degrees: to the viewer's right, backwards, clockwise as seen on screen."""

_LEAST = {"blend": 0.1, "gaze": 5.0, "pose": 4.0}  # how far a signal must range to count as varying
_IDENTITY_ROWS = 400
_LEAST_ROWS = 5


def blend_names(geometry: Geometry) -> tuple[str, ...]:
    """ARKit's names of the model's expression shapes, with ``Left`` and ``Right`` for the subject's sides."""
    ends = {"_L": "Left", "_R": "Right"}
    return tuple(n[:-2] + ends[n[-2:]] if n[-2:] in ends else n for n in geometry.expression_names)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """Of one face. ``frames``, ``seconds``: (n,). ``states``: words. ``values``: float32 (n, 2, k), source and output,
    in the order of ``names``; NaN where the output shows no face, or a face could not be read."""

    number: int
    frames: np.ndarray
    seconds: np.ndarray
    states: list[str]
    names: tuple[str, ...]
    values: np.ndarray


def signals_of(geometry: Geometry, records: RecordFile, seen: Seen, series: Series, size: tuple[int, int]) -> Signals:
    """Read the signals of one face. ``size``: of the picture."""
    names = (*blend_names(geometry), *GAZE, *POSE)
    values = np.full((len(series), 2, len(names)), np.nan, np.float32)
    shown = series.is_state(Touched.REPLACED, Touched.KEPT) & (series.notes["presence"] >= 0.5)
    for side, usable in enumerate((np.ones(len(series), bool), shown)):
        found = _fitted(geometry, records, seen, usable, side, size)
        if found is not None:
            rows, track = found
            gaze = np.degrees(track.gaze.reshape(len(track), 4))
            values[rows, side] = np.hstack([track.expression, gaze, track.yaw_pitch_roll()])
    words = ["bare" if name == Touched.KEPT.value else name for name in STATES]
    states = ["kept as asked" if kept else words[s] for s, kept in zip(*_words(series), strict=True)]
    return Signals(seen.face.number, series.frames, series.seconds, states, names, values)


def _words(series: Series) -> tuple[list[int], list[int]]:
    return series.notes["state"].tolist(), series.notes["kept"].tolist()


def _fitted(
    geometry: Geometry, records: RecordFile, seen: Seen, usable: np.ndarray, side: int, size: tuple[int, int]
) -> tuple[np.ndarray, AttributeTrack] | None:
    """Rows, and the face model laid into their meshes."""
    rows = np.flatnonzero(usable)
    if len(rows) < _LEAST_ROWS:
        return None
    chosen = set(rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _IDENTITY_ROWS)).astype(int))].tolist())
    some = [_observed(seen, w[0], w[1 + side], usable, size, chosen) for w in windows(records, seen)]
    known = fit.fit_identity(geometry, _joined([s for s in some if len(s)], size))
    parts = []
    for at, *meshes in windows(records, seen):
        now = _observed(seen, at, meshes[side], usable, size)
        if len(now):
            parts.append(
                fit.fit_attributes(
                    geometry, known.shape, known.distance, now, offsets=known.offsets, scale=known.scale, whole=False
                )
            )
    return rows, fit.finish_attributes(geometry, known.shape, AttributeTrack.joined(parts))


def _observed(
    seen: Seen, rows: np.ndarray, points: np.ndarray, usable: np.ndarray, size: tuple[int, int],
    chosen: set[int] | None = None,
) -> Observations:  # fmt: skip
    keep = np.array([usable[r] and (chosen is None or int(r) in chosen) for r in rows], bool)
    frames = np.array(seen.frames)[rows[keep]].astype(np.int32)
    return Observations(frames, points[keep].astype(np.float32), np.ones(len(frames), np.float32), size)


def _joined(parts: Sequence[Observations], size: tuple[int, int]) -> Observations:
    return Observations(
        np.concatenate([p.frames for p in parts]),
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.presence for p in parts]),
        size,
    )


def agreement(faces: Sequence[tuple[Signals, Series]]) -> list[dict[str, Any]]:
    """A row a signal, over all faces of 64 pixels and more: ``r`` and ``gain`` of the output on the source where the
    source varies, means weighted by frames; ``difference``: mean absolute difference, once each face's own mean
    difference is taken off; ``frames``: compared."""
    if not faces:
        return []
    out = []
    for k, name in enumerate(faces[0][0].names):
        kind = "gaze" if name in GAZE else "pose" if name in POSE else "blend"
        fits, apart, count, moving = [], 0.0, 0, 0
        for signals, series in faces:
            rows = np.flatnonzero(series.judged & (series.heights >= MIN_FACE))
            x, y = signals.values[rows, 0, k].astype(float), signals.values[rows, 1, k].astype(float)
            good = np.isfinite(x) & np.isfinite(y)
            if good.sum() < 3:
                continue
            x, y = x[good], y[good]
            least = _LEAST[kind]
            fitted = attributes.agreement(x, y, series.frames[rows][good], least)
            apart += float(np.abs(y - x - np.median(y - x)).sum())
            count += len(x)
            if fitted.varies:
                moving += len(x)
                fits.append((np.nan_to_num(fitted.correlation), fitted.gain, len(x)))
        weight = sum(f[2] for f in fits)
        out.append(
            {
                "signal": name,
                "unit": "0 to 1" if kind == "blend" else "degrees",
                "r": sum(r * n for r, _, n in fits) / weight if weight else None,
                "gain": sum(g * n for _, g, n in fits) / weight if weight else None,
                "difference": apart / count if count else None,
                "frames": count,
                "frames_varying": moving,
            }
        )
    return out


def write_csv(stream: TextIO, faces: Iterable[Signals], person_of: dict[int, int], face_of: dict[int, int]) -> None:
    """A row per frame and face: :data:`LEAD`, then each signal of the source, then each of the output; empty where
    nothing could be read. Faces one after the other, each in order of time."""
    writer = csv.writer(stream, lineterminator="\n")
    header = False
    for signals in faces:
        if not header:
            ends = ("source", "output")
            writer.writerow([*LEAD, *(f"{name}_{end}" for end in ends for name in signals.names)])
            header = True
        lead = (person_of.get(signals.number, ""), face_of[signals.number])
        for i, frame in enumerate(signals.frames):
            numbers = ["" if np.isnan(v) else f"{v:.4f}" for v in signals.values[i].ravel()]
            writer.writerow([f"{signals.seconds[i]:.4f}", int(frame), *lead, signals.states[i], *numbers])
    if not header:
        writer.writerow(LEAD)
