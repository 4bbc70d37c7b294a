"""Looking twice: what is asked of the models at one place of one frame when a track is in doubt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid.detection.centerface import CenterFace
from deid.detection.landmarks import FaceLandmarker, crop_for, roi_from_box
from deid.detection.mtcnn import Mtcnn
from deid.media.convert import bgr
from deid.tracking import boxes
from deid.tracking.scan import View
from deid.tracking.tracklet import Row
from deid.types import Detection, Evidence

PRESENCE = 0.6
"""Presence from which a mesh counts as evidence of a face by itself."""

_REGION_SCORE = 0.12
_SMALLEST_MESH = 22.0  # pixels; below this the mesh fits to noise


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A cut-out of a frame: ``bgr`` uint8, and where its top-left sample lies."""

    bgr: np.ndarray
    x: int
    y: int


class Examiner:
    """Landmark model, region search and second opinion, each loaded when first needed. Not thread-safe."""

    def __init__(self) -> None:
        self._landmarker: FaceLandmarker | None = None
        self._search: CenterFace | None = None
        self._mtcnn: Mtcnn | None = None
        self.doubts = 0

    def close(self) -> None:
        if self._landmarker is not None:
            self._landmarker.close()
        if self._search is not None:
            self._search.close()

    def _part(self, view: View, box: np.ndarray, reach: float) -> _Part | None:
        frame = view.frame
        half = reach * float(max(box[2], box[3]))
        x0, y0 = max(0, int(box[0] - half)), max(0, int(box[1] - half))
        x1, y1 = min(frame.width, int(box[0] + half) + 2), min(frame.height, int(box[1] + half) + 2)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return None
        return _Part(bgr(frame, region=(x0, y0, x1, y1)), x0, y0)

    def mesh(self, view: View, box: np.ndarray) -> Row | None:
        """The landmark model's own box at this place, or ``None`` when it sees no face there."""
        if box[3] < _SMALLEST_MESH:
            return None
        roi = roi_from_box(box)
        x0, y0, x1, y1 = crop_for(roi, view.frame.width, view.frame.height)
        if x0 == x1:
            return None
        if self._landmarker is None:
            self._landmarker = FaceLandmarker(threads=1)
        seen = self._landmarker.run(bgr(view.frame, region=(x0, y0, x1, y1)), roi.shifted(-x0, -y0))
        if seen is None or seen.presence < PRESENCE:
            return None
        seen = seen.shifted(x0, y0)
        found = seen.box.astype(np.float32)
        if boxes.distance(found, box) > 0.6 or boxes.size_ratio(found, box) > 1.8:
            return None
        return Row(found, Evidence.LANDMARKS, float(seen.presence), float(seen.yaw))

    def search(self, view: View, box: np.ndarray) -> Row | None:
        """CenterFace once more around this place, resampled to a comfortable size and at a low threshold."""
        part = self._part(view, box, 1.6)
        if part is None:
            return None
        if self._search is None:
            self._search = CenterFace(threshold=_REGION_SCORE)
        found = self._search.detect_region(part.bgr, _local_corners(box, part), target_px=64, threshold=_REGION_SCORE)
        return _best(found, box, part)

    def second_opinion(self, view: View, box: np.ndarray) -> Row | None:
        """MTCNN at this place: asked before a face that was there is given up."""
        part = self._part(view, box, 1.6)
        if part is None:
            return None
        if self._mtcnn is None:
            self._mtcnn = Mtcnn()
        return _best(self._mtcnn.detect_region(part.bgr, _local_corners(box, part)), box, part)

    def doubt(self, view: View, box: np.ndarray, *, last_word: bool = False) -> Row | None:
        """Is there a face at this place? The cheapest answer first; ``last_word`` asks everyone."""
        self.doubts += 1
        row = self.mesh(view, box) or self.search(view, box)
        if row is None and last_word:
            row = self.second_opinion(view, box)
        return row


def _local_corners(box: np.ndarray, part: _Part) -> np.ndarray:
    return boxes.corners(box) - np.array([part.x, part.y, part.x, part.y], np.float32)


def roll_of(points: np.ndarray | None) -> float:
    """Roll in radians from a detector's five points; 0 where there are none or they contradict themselves."""
    if points is None:
        return 0.0
    eye = points[1] - points[0]
    down = (points[3] + points[4]) / 2 - (points[0] + points[1]) / 2
    if np.hypot(*eye) < 1 or np.hypot(*down) < 1:
        return 0.0
    from_eyes, from_axis = np.arctan2(eye[1], eye[0]), np.arctan2(-down[0], down[1])
    # in profile the eye line shrinks to noise: trust the face's long axis then, and nothing when the two disagree
    narrow = np.hypot(*eye) < 0.5 * np.hypot(*down)
    if not narrow and abs(boxes.wrap(from_eyes - from_axis)) > 0.6:
        return 0.0
    if narrow:
        return float(from_axis)
    return float(np.arctan2(np.sin(from_eyes) + np.sin(from_axis), np.cos(from_eyes) + np.cos(from_axis)))


def row_of(detection: Detection) -> Row:
    """A detection as a track row."""
    return Row(boxes.from_corners(detection.box, roll_of(detection.points)), Evidence.SEARCHED, float(detection.score))


def _best(found: list[Detection], box: np.ndarray, part: _Part) -> Row | None:
    best: Row | None = None
    offset = np.array([part.x, part.y], np.float32)
    for d in found:
        row = row_of(d)
        row.box[:2] += offset
        if boxes.distance(row.box, box) > 0.6 or boxes.size_ratio(row.box, box) > 1.8:
            continue
        if best is None or row.score > best.score:
            best = row
    return best
