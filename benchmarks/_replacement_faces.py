"""Faces of a source clip, found and followed by a pass of its own: what the scripts beside this one judge against.

It shares the networks with the product (CenterFace, MediaPipe's mesh), not the tracker: CenterFace searches every few
frames, and in between each mesh is looked for where the one before was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deid import imaging
from deid.detection import CenterFace
from deid.detection.boxes import iou
from deid.detection.landmarks import FaceLandmarker, FaceLandmarks, Roi, roi_from_box, roi_from_landmarks
from deid.media import Reader
from deid.media.convert import bgr
from deid.types import Detection, Frame

_SEARCH_PIXELS = 0.55e6  # a face of 64 pixels at 1080p is 33 there, which CenterFace finds
_PRESENT = 0.5
_SURE = 0.35  # score of a detection that begins a track
_MISSES = 2  # searches in a row that see nothing where the mesh sees a face: it is none
_CUT = 28.0  # mean absolute change of a thumbnail's luma, 8-bit levels
_VERSION = 2


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


@dataclass(slots=True, eq=False)
class _Live:
    rows: list[tuple[int, Roi, FaceLandmarks]] = field(default_factory=list)
    misses: int = 0
    confirmed: int = 0  # rows up to the last search that saw the face

    @property
    def last(self) -> FaceLandmarks:
        return self.rows[-1][2]


def upright(face: FaceLandmarks) -> np.ndarray:
    """``x0 y0 x1 y1`` of a mesh's face box, roll ignored."""
    cx, cy, w, h = (float(v) for v in face.box[:4])
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


class _Follower:
    def __init__(self, every: int) -> None:
        self.every, self.live, self.done = every, list[_Live](), list[_Live]()
        self._search = CenterFace()
        self._mesh = FaceLandmarker()
        self._thumb: np.ndarray | None = None

    def feed(self, frame: Frame, picture: np.ndarray) -> None:
        cut = self._is_cut(picture)
        if cut:
            self._end(self.live)
        self.live = [track for track in self.live if self._follow(track, frame.index, picture)]
        if cut or frame.index % self.every == 0:
            self._look(frame.index, picture)

    def close(self) -> list[_Live]:
        self._end(self.live)
        self._search.close()
        self._mesh.close()
        return self.done

    def _end(self, tracks: list[_Live]) -> None:
        for track in tracks:
            track.rows = track.rows[: track.confirmed] if track.misses else track.rows
        self.done += [track for track in tracks if track.rows]
        self.live = [track for track in self.live if track not in tracks]

    def _is_cut(self, picture: np.ndarray) -> bool:
        thumb = imaging.resize(picture, (64, 36), interpolation=imaging.INTER_AREA).astype(np.float32).mean(2)
        before, self._thumb = self._thumb, thumb
        return before is None or float(np.abs(thumb - before).mean()) > _CUT

    def _measure(self, picture: np.ndarray, roi: Roi) -> tuple[Roi, FaceLandmarks] | None:
        """Twice: the second look is from a place that depends on this frame only."""
        first = self._mesh.run(picture, roi)
        if first is None or first.presence < _PRESENT:
            return None
        again = roi_from_landmarks(first.points)
        second = self._mesh.run(picture, again)
        return None if second is None or second.presence < _PRESENT else (again, second)

    def _follow(self, track: _Live, index: int, picture: np.ndarray) -> bool:
        found = self._measure(picture, roi_from_landmarks(track.last.points))
        others = [t.last for t in self.live if t is not track and t.rows[-1][0] == index]
        if found is None or any(_same(found[1], other) for other in others):
            self._end([track])
            return False
        track.rows.append((index, *found))
        return True

    def _look(self, index: int, picture: np.ndarray) -> None:
        scale = min(1.0, (_SEARCH_PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5)
        detections = self._search.detect(picture, scale=scale)
        for track in list(self.live):
            hit = any(_overlap(upright(track.last), d.box) > 0.25 for d in detections)
            track.misses = 0 if hit else track.misses + 1
            track.confirmed = len(track.rows) if hit else track.confirmed
            if track.misses >= _MISSES:
                self._end([track])
        for d in detections:
            if d.score >= _SURE and not any(_overlap(upright(t.last), d.box) > 0.25 for t in self.live):
                self._begin(index, picture, d)

    def _begin(self, index: int, picture: np.ndarray, d: Detection) -> None:
        found = self._measure(picture, roi_from_box(d.box))
        if found and not any(_same(found[1], t.last) for t in self.live) and _overlap(upright(found[1]), d.box) > 0.25:
            self.live.append(_Live([(index, *found)], 0, 1))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(iou(a, b)[0, 0])


def _same(a: FaceLandmarks, b: FaceLandmarks) -> bool:
    return _overlap(upright(a), upright(b)) > 0.5


def observe(source: Path, *, every: int = 3, cache: Path | None = None, least: int = 3) -> list[FaceTrack]:
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
    follower = _Follower(every)
    with Reader(source, threads=1) as reader:
        for frame in reader:
            follower.feed(frame, bgr(frame))
    found = [track for track in follower.close() if len(track.rows) >= least]
    found.sort(key=lambda track: (track.rows[0][0], -track.rows[0][2].box[3]))
    tracks = [_packed(number, track) for number, track in enumerate(found)]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _write(kept, tracks)
    return tracks


def _packed(number: int, track: _Live) -> FaceTrack:
    faces = [face for _, _, face in track.rows]
    return FaceTrack(
        number,
        np.array([index for index, _, _ in track.rows]),
        np.array([roi for _, roi, _ in track.rows]),
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
