"""Follows the faces of a clip in a pass of its own, so that what a run did is not judged by where the run looked.

It shares networks with the product (CenterFace, MediaPipe's mesh), not the tracker: CenterFace searches every few
frames, and in between each mesh is looked for where the one before was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.detection import CenterFace
from deid.detection.boxes import iou
from deid.detection.landmarks import FaceLandmarker, FaceLandmarks, Roi, roi_from_box, roi_from_landmarks
from deid.types import Detection

SEARCH_PIXELS = 0.55e6
"""A picture is made no larger than this before it is searched: a face of 64 pixels at 1080p is 33 there, which
CenterFace finds."""

LEAST_SIGHTINGS = 3
"""Faces seen in fewer frames are none."""

PRESENT = 0.5
"""Presence from which the landmark model agrees that there is a face."""

_SURE = 0.35  # score of a detection that begins a track
_MISSES = 2  # searches in a row that see nothing where the mesh sees a face: it is none
_CUT = 28.0  # mean absolute change of a thumbnail's luma, 8-bit levels
_UNLIKE, _MOVED = 0.5, 4.0  # its correlation with the one before below which a dark shot is another, and that change


@dataclass(slots=True, eq=False)
class Followed:
    """A face that is or was followed. ``number``: in order of beginning. ``last``: its mesh in frame ``frame``.
    ``seen``: frames so far; ``confirmed``: those up to the last search that saw the face. After its end the first
    ``kept`` of them count."""

    number: int
    frame: int
    last: FaceLandmarks
    seen: int = 1
    misses: int = 0
    confirmed: int = 1

    @property
    def kept(self) -> int:
        return self.confirmed if self.misses else self.seen


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A face in the frame just fed: who, where the mesh was measured, and the mesh."""

    face: Followed
    roi: Roi
    mesh: FaceLandmarks


class Follower:
    """Feed it frames in order; it tells who is seen. Memory does not grow with the clip.

    ``every``: frames between searches. ``ended``: what was followed and is not any more, until the caller clears it.
    """

    def __init__(self, every: int = 3) -> None:
        self.every = every
        self.ended: list[Followed] = []
        self._live: list[Followed] = []
        self._count = 0
        self._search = CenterFace()
        self._mesh = FaceLandmarker()
        self._thumb: np.ndarray | None = None

    def feed(self, index: int, picture: np.ndarray) -> list[Sighting]:
        """Faces of frame ``index``; ``picture``: uint8 (H, W, 3) BGR."""
        cut = self._is_cut(picture)
        if cut:
            self._end(list(self._live))
        sightings: list[Sighting] = []
        for face in list(self._live):
            seen = self._follow(face, index, picture)
            if seen is not None:
                sightings.append(seen)
        if cut or index % self.every == 0:
            sightings += self._look(index, picture)
        live = {face.number for face in self._live}
        return [s for s in sightings if s.face.number in live]

    def close(self) -> list[Followed]:
        """Free the networks; everything that was followed and not yet cleared."""
        self._end(list(self._live))
        self._search.close()
        self._mesh.close()
        return self.ended

    def _end(self, faces: list[Followed]) -> None:
        self.ended += faces
        self._live = [face for face in self._live if face not in faces]

    def _is_cut(self, picture: np.ndarray) -> bool:
        thumb = imaging.resize(picture, (64, 36), interpolation=imaging.INTER_AREA).astype(np.float32).mean(2)
        before, self._thumb = self._thumb, thumb
        if before is None:
            return True
        change = float(np.abs(thumb - before).mean())
        a, b = before - before.mean(), thumb - thumb.mean()
        alike = float((a * b).sum()) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-6)
        return change > _CUT or (change > _MOVED and alike < _UNLIKE)

    def _measure(self, picture: np.ndarray, roi: Roi) -> tuple[Roi, FaceLandmarks] | None:
        """Twice: the second look is from a place that depends on this frame only."""
        first = self._mesh.run(picture, roi)
        if first is None or first.presence < PRESENT:
            return None
        again = roi_from_landmarks(first.points)
        second = self._mesh.run(picture, again)
        return None if second is None or second.presence < PRESENT else (again, second)

    def _follow(self, face: Followed, index: int, picture: np.ndarray) -> Sighting | None:
        found = self._measure(picture, roi_from_landmarks(face.last.points))
        others = [f.last for f in self._live if f is not face and f.frame == index]
        if found is None or any(_same(found[1], other) for other in others):
            self._end([face])
            return None
        face.frame, face.last, face.seen = index, found[1], face.seen + 1
        return Sighting(face, *found)

    def _look(self, index: int, picture: np.ndarray) -> list[Sighting]:
        scale = min(1.0, (SEARCH_PIXELS / (picture.shape[0] * picture.shape[1])) ** 0.5)
        detections = self._search.detect(picture, scale=scale)
        for face in list(self._live):
            hit = any(overlap(upright(face.last), d.box) > 0.25 for d in detections)
            face.misses = 0 if hit else face.misses + 1
            face.confirmed = face.seen if hit else face.confirmed
            if face.misses >= _MISSES:
                self._end([face])
        begun = []
        for d in detections:
            if d.score >= _SURE and not any(overlap(upright(f.last), d.box) > 0.25 for f in self._live):
                begun += self._begin(index, picture, d)
        return begun

    def _begin(self, index: int, picture: np.ndarray, d: Detection) -> list[Sighting]:
        found = self._measure(picture, roi_from_box(d.box))
        if found is None or any(_same(found[1], f.last) for f in self._live):
            return []
        if overlap(upright(found[1]), d.box) <= 0.25:
            return []
        face = Followed(self._count, index, found[1])
        self._count += 1
        self._live.append(face)
        return [Sighting(face, *found)]


def upright(face: FaceLandmarks) -> np.ndarray:
    """``x0 y0 x1 y1`` of a mesh's face box, roll ignored."""
    cx, cy, w, h = (float(v) for v in face.box[:4])
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    return float(iou(a, b)[0, 0])


def _same(a: FaceLandmarks, b: FaceLandmarks) -> bool:
    return overlap(upright(a), upright(b)) > 0.5
