"""Faces of a source clip, found and followed by a pass of its own: what the scripts beside this one judge against.

The pass is that of :mod:`deid.audit.faces`; here its tracks are kept whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid.audit.faces import LEAST_SIGHTINGS, Follower
from deid.detection.landmarks import FaceLandmarks, Roi
from deid.media import Reader
from deid.media.convert import bgr
from deid.types import Frame

_VERSION = 2
_Row = tuple[int, Roi, FaceLandmarks]


@dataclass(slots=True, eq=False)
class FaceTrack:
    """One face of the source over consecutive frames, one row a sighting.

    ``frames``: int (n,), increasing. ``rois``: float64 (n, 4), the place each mesh was measured in. ``points``: float32
    (n, 478, 3). ``presence``: float32 (n,). ``poses``: float32 (n, 3), yaw, pitch, roll in degrees. ``boxes``: float32
    (n, 5), ``cx cy w h roll``.
    """

    id: int
    frames: np.ndarray
    rois: np.ndarray
    points: np.ndarray
    presence: np.ndarray
    poses: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def observe(
    source: Path, *, every: int = 3, cache: Path | None = None, least: int = LEAST_SIGHTINGS
) -> list[FaceTrack]:
    """Every face of ``source`` that CenterFace finds and MediaPipe confirms, by track; tracks of ``least`` frames on.

    ``every``: frames between searches. ``cache``: folder that keeps the result for the same file (it holds landmarks
    of the people in it).
    """
    kept = None
    if cache is not None:
        stat = source.stat()
        key = f"{_VERSION}:{source.resolve()}:{stat.st_size}:{stat.st_mtime_ns}:{every}:{least}"
        kept = cache / f"{source.stem}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
        if kept.is_file():
            return _read(kept)
    follower = Follower(every)
    rows: dict[int, list[_Row]] = {}
    with Reader(source, threads=1) as reader:
        for frame in reader:
            for seen in follower.feed(frame.index, bgr(frame)):
                rows.setdefault(seen.face.number, []).append((frame.index, seen.roi, seen.mesh))
    found = [rows[face.number][: face.kept] for face in follower.close() if face.kept >= least]
    found.sort(key=lambda track: (track[0][0], -track[0][2].box[3]))
    tracks = [_packed(number, track) for number, track in enumerate(found)]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _write(kept, tracks)
    return tracks


def _packed(number: int, rows: list[_Row]) -> FaceTrack:
    faces = [face for _, _, face in rows]
    return FaceTrack(
        number,
        np.array([index for index, _, _ in rows]),
        np.array([roi for _, roi, _ in rows]),
        np.stack([face.points for face in faces]),
        np.array([face.presence for face in faces], np.float32),
        np.array([(face.yaw, face.pitch, np.degrees(face.roll)) for face in faces], np.float32),
        np.stack([face.box for face in faces]),
    )


_FIELDS = ("frames", "rois", "points", "presence", "poses", "boxes")


def _write(path: Path, tracks: list[FaceTrack]) -> None:
    np.savez(path, count=len(tracks), **{f"{t.id}.{name}": getattr(t, name) for t in tracks for name in _FIELDS})


def _read(path: Path) -> list[FaceTrack]:
    with np.load(path) as store:
        return [FaceTrack(n, *(store[f"{n}.{name}"] for name in _FIELDS)) for n in range(int(store["count"]))]


def by_frame(tracks: list[FaceTrack]) -> dict[int, list[tuple[FaceTrack, int]]]:
    """For each frame number the tracks seen there, with the row."""
    out: dict[int, list[tuple[FaceTrack, int]]] = {}
    for track in tracks:
        for row, index in enumerate(track.frames):
            out.setdefault(int(index), []).append((track, row))
    return out


def frame_pairs(source: Path, output: Path) -> Iterator[tuple[int, Frame, Frame]]:
    """Both clips side by side. Raises ``ValueError`` when one has more frames, or another size."""
    index = -1
    with Reader(source, threads=1) as a, Reader(output, threads=1) as b:
        left, right = iter(a), iter(b)
        for index, frame in enumerate(left):
            other = next(right, None)
            if other is None:
                raise ValueError(f"{output} ends after {index} frames, before {source} does")
            if (frame.width, frame.height) != (other.width, other.height):
                raise ValueError(f"{output} is {other.width} x {other.height}, not {frame.width} x {frame.height}")
            yield index, frame, other
        if next(right, None) is not None:
            raise ValueError(f"{output} has more than the {index + 1} frames of {source}")
