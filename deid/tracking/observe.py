"""The landmark model on every face of every frame, beside the tracker: what an engine needs to invert a face.

The tracker hands over a frame's faces as soon as it is through with them, mostly in the order of the frames; those of a
face that is followed back come when it is. The meshes are found in a thread of their own, in the order in which they
are handed over, so that what is recorded depends on the frames only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from deid.detection.hands import Hand, HandFinder
from deid.detection.landmarks import (
    FaceLandmarker,
    FaceLandmarks,
    Roi,
    crop_for,
    roi_from_box,
    roi_from_landmarks,
)
from deid.detection.things import ThingFinder, packed
from deid.recognition.chips import chip_from_picture, cut_chip
from deid.tracking import boxes
from deid.tracking.closeup import Closeup
from deid.tracking.records import FaceRecord, Records
from deid.tracking.scan import View
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Frame

LEAST_HEIGHT = 36.0
"""Pixels: smaller faces are never replaced, so nothing is noted of them."""
_PRESENCE = 0.5
_RECENT = 3  # frames after which the last mesh no longer says where to look
_CHIPS = 6  # pictures of a face kept for recognition
_HANDS_EVERY = 6  # frames between looks for hands; doubtful frames are looked at anyway
_DOUBTFUL = 0.9  # presence
_THINGS_EVERY, _THINGS_LAST = 3, 12  # frames between looks for other things; frames after one that are all looked at
_PENDING = 4  # frames that may wait: each holds its planes


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """A face cut out for recognition: uint8 (150, 150, 3) RGB, from where, and how well it shows the face."""

    frame: int
    place: tuple[float, float]
    quality: float
    picture: np.ndarray
    yaw: float


@dataclass(frozen=True, slots=True, eq=False)
class SeenHands:
    """Hands before or beside the face at ``place`` (x, y of its middle), in frame pixels."""

    frame: int
    place: tuple[float, float]
    hands: tuple[Hand, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SeenThings:
    """What may lie before the face at ``place`` (x, y of its middle, frame pixels): :func:`things.packed`."""

    frame: int
    place: tuple[float, float]
    likely: bytes


@dataclass(slots=True)
class _Memory:
    """Of one tracklet, from frame to frame."""

    frame: int
    points: np.ndarray
    box: np.ndarray


class Observer:
    """Feed it frames with their faces, each face once, then :meth:`finish`.

    ``note``: makes the engine's photometric note from a close-up and landmarks in the frame's pixels.
    ``hands``: those that were seen before or beside a face.
    ``things``: what was seen before one.
    """

    def __init__(
        self,
        records: Records,
        note: Callable[[Closeup, np.ndarray], np.void],
    ) -> None:
        self.records = records
        self._note = note
        self._chips: dict[int, list[Chip]] = {}
        self._known: dict[int, _Memory] = {}
        self.hands: list[SeenHands] = []
        self._handled: dict[int, int] = {}
        self.things: list[SeenThings] = []
        self._thing_finder: ThingFinder | None = None
        self._things_looked: dict[int, int] = {}
        self._things_seen: dict[int, int] = {}
        self._landmarker: FaceLandmarker | None = None
        self._hand_finder: HandFinder | None = None
        self._looked: dict[int, int] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="landmarks")
        self._pending: list[Future[None]] = []

    def see(self, view: View, faces: Sequence[tuple[Tracklet, Row]]) -> None:
        """Note the faces of one frame; waits while too many frames are queued. Raises what noting earlier ones did."""
        work = [(id(t), row.box.copy()) for t, row in faces if t.confirmed and row.box[3] >= LEAST_HEIGHT]
        if not work:
            return
        self._pending.append(self._pool.submit(self._look, view.frame, work))
        if len(self._pending) > _PENDING:
            self._pending.pop(0).result()

    def finish(self) -> list[Chip]:
        """Wait for everything, and return the best pictures of every face."""
        for job in self._pending:
            job.result()
        self._pending.clear()
        return [chip for chips in self._chips.values() for chip in chips]

    def forget(self, before: int) -> None:
        """Let go of what was seen before this frame, so that memory does not grow; after :meth:`finish`."""
        self.hands = [seen for seen in self.hands if seen.frame >= before]
        self.things = [seen for seen in self.things if seen.frame >= before]
        left = {key: [chip for chip in chips if chip.frame >= before] for key, chips in self._chips.items()}
        self._chips = {key: chips for key, chips in left.items() if chips}
        self._known = {key: known for key, known in self._known.items() if known.frame >= before}
        for frames in (self._handled, self._things_looked, self._things_seen, self._looked):
            for key in [key for key, frame in frames.items() if frame < before]:
                del frames[key]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._landmarker is not None:
            self._landmarker.close()
        if self._hand_finder is not None:
            self._hand_finder.close()
        if self._thing_finder is not None:
            self._thing_finder.close()

    @property
    def landmarker(self) -> FaceLandmarker:
        """The landmark model; others may use it once :meth:`finish` has returned."""
        if self._landmarker is None:
            self._landmarker = FaceLandmarker(threads=1)
        return self._landmarker

    def _look(self, frame: Frame, faces: list[tuple[int, np.ndarray]]) -> None:
        for key, box in faces:
            self._one(frame, key, box)

    def _one(self, frame: Frame, key: int, box: np.ndarray) -> None:
        known = self._known.get(key)
        rois = [roi_from_box(box)]
        if known is not None and abs(frame.index - known.frame) <= _RECENT:
            rois.insert(0, roi_from_landmarks(known.points).shifted(*(box[:2] - known.box[:2])))
        for roi in rois:
            found = self._mesh(frame, roi, box)
            if found is not None:
                view, seen = found
                points = view.inside(seen.points)
                self._keep_chip(key, frame.index, view.rgb, points, seen)
                self._look_for_hands(key, frame.index, view, points, seen)
                self._look_for_things(key, frame.index, view, points, seen)
                note = self._note(view, seen.points)
                self.records.append(FaceRecord(frame.index, seen.points, seen.presence, note))
                self._known[key] = _Memory(frame.index, seen.points, box)
                return

    def _mesh(self, frame: Frame, roi: Roi, box: np.ndarray) -> tuple[Closeup, FaceLandmarks] | None:
        """What was looked at, and the mesh in frame pixels; ``None`` when there is no face like ``box``."""
        region = crop_for(roi, frame.width, frame.height)
        if region[2] - region[0] < 16 or region[3] - region[1] < 16:
            return None
        view = Closeup.of(frame, region, roi.size)
        (cx, cy, _), size = view.inside(np.array([[roi.cx, roi.cy, 0]]))[0], roi.size / view.factor
        seen = self.landmarker.run(view.rgb, Roi(float(cx), float(cy), size, roi.roll), rgb=True)
        if seen is None or seen.presence < _PRESENCE:
            return None
        seen = seen.scaled(view.factor, *view.origin)
        if boxes.distance(seen.box, box) > 0.6 or boxes.size_ratio(seen.box, box) > 1.9:
            return None
        return view, seen

    def _look_for_hands(self, key: int, frame: int, view: Closeup, points: np.ndarray, seen: FaceLandmarks) -> None:
        """Note the hands near the face: now and then, when the landmark model has a doubt, and in every frame for a
        while after one was seen."""
        since = abs(frame - self._looked.get(key, -_HANDS_EVERY))
        lately = abs(frame - self._handled.get(key, -_HANDS_EVERY - 1)) <= _HANDS_EVERY
        if since < _HANDS_EVERY and seen.presence >= _DOUBTFUL and not lately:
            return
        self._looked[key] = frame
        if self._hand_finder is None:
            self._hand_finder = HandFinder()
        low, high = points[:468, :2].min(0), points[:468, :2].max(0)
        near = []
        for hand in self._hand_finder.run(view.rgb, rgb=True):
            if ((hand.points[:, :2] > low) & (hand.points[:, :2] < high)).all(1).any():
                near.append(replace(hand, points=view.outside(hand.points)))
        if near:
            self._handled[key] = frame
            self.hands.append(SeenHands(frame, (float(seen.box[0]), float(seen.box[1])), tuple(near)))

    def _look_for_things(self, key: int, frame: int, view: Closeup, points: np.ndarray, seen: FaceLandmarks) -> None:
        """Note what lies before the face: now and then, and in every frame for a while after something was seen."""
        since = abs(frame - self._things_looked.get(key, -_THINGS_EVERY))
        if since < _THINGS_EVERY and abs(frame - self._things_seen.get(key, -_THINGS_LAST - 1)) > _THINGS_LAST:
            return
        self._things_looked[key] = frame
        if self._thing_finder is None:
            self._thing_finder = ThingFinder()
        likely = packed(self._thing_finder.run(view.rgb, points))
        if likely:
            self._things_seen[key] = frame
        self.things.append(SeenThings(frame, (float(seen.box[0]), float(seen.box[1])), likely))

    def _keep_chip(self, key: int, frame: int, crop: np.ndarray, points: np.ndarray, seen: FaceLandmarks) -> None:
        frontal = max(0.05, 1 - abs(seen.yaw) / 60) * max(0.3, 1 - abs(seen.pitch) / 60)
        quality = float(seen.presence * frontal * min(1.0, float(seen.box[3]) / 150))
        kept = self._chips.setdefault(key, [])
        near = next((c for c in kept if abs(c.frame - frame) < 8), None)
        worst = near or (min(kept, key=lambda c: c.quality) if len(kept) >= _CHIPS else None)
        if worst is not None and quality <= worst.quality * 1.05:
            return
        picture = cut_chip(crop, chip_from_picture(points))
        if worst is not None:
            kept.remove(worst)
        place = (float(seen.box[0]), float(seen.box[1]))
        kept.append(Chip(frame, place, quality, picture, float(seen.yaw)))
