"""Goes through a source and its output side by side and measures every face: the part of ``replacement.py`` that looks
at pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _replacement_faces import FaceTrack, by_frame, frame_pairs
from _replacement_recogniser import Recogniser

from deid.audit.appearance import Comparison, Look, Step, compare, looks, seam_steps
from deid.detection import CenterFace
from deid.detection.landmarks import FaceLandmarker, Roi
from deid.media.convert import bgr

LEAST_HEIGHT = 40.0  # pixels; smaller faces are counted by their detector only
_BATCH = 32
_DETECTED = 5  # every so many sightings the detector is asked whether it still sees a face
_AGAIN = ((0.02, 0.01, 1.04), (-0.02, 0.015, 0.97))
"""Where a face is read once more: shifts and size of the place, of its size. A single reading of an iris is off by a
third of what people do with their eyes: two readings of one picture agree to 0.82 to 0.88 up and down."""


@dataclass(slots=True, eq=False)
class TrackMeasures:
    """What was measured of one track; one row a sighting of at least :data:`LEAST_HEIGHT`.

    ``rows``: int (n,), rows of ``track``. ``points``: float32 (n, 478, 3), the output's mesh, looked for in the place
    of the source's. ``readings``: n times float32 (2, 3, 478, 3), source and output each read three times, in places a
    little apart, the first as in ``track`` and ``points``. ``presence``: float32 (n,). ``comparisons``: n. ``steps``:
    by row, source's and output's change from the frame before. ``codes``: by recogniser, (rows, source codes, output
    codes). ``scores``: rows, and the detector's scores for source and output.
    """

    track: FaceTrack
    rows: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    steps: dict[int, tuple[Step, Step]] = field(default_factory=dict)
    codes: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    scores: list[tuple[int, float, float]] = field(default_factory=list)
    readings: list[np.ndarray] = field(default_factory=list)

    @property
    def frames(self) -> np.ndarray:
        return self.track.frames[self.rows]


class _Codes:
    """Chips wait here until a batch is full."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._chips: list[np.ndarray] = []
        self._found: list[np.ndarray] = []
        self._rows: dict[int, list[int]] = {}
        self._at: dict[int, list[int]] = {}
        self._count = 0

    def add(self, track: int, row: int, source: np.ndarray, output: np.ndarray, points: np.ndarray) -> None:
        self._chips += [self._recogniser.cut(source, points), self._recogniser.cut(output, points)]
        self._rows.setdefault(track, []).append(row)
        self._at.setdefault(track, []).append(self._count)
        self._count += 1
        if len(self._chips) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._chips:
            self._found.append(self._recogniser.codes(np.stack(self._chips)))
            self._chips = []

    def finish(self, measures: dict[int, TrackMeasures]) -> None:
        self._flush()
        if self._found:
            pairs = np.concatenate(self._found).reshape(self._count, 2, -1)
            for track, at in self._at.items():
                rows = np.array(self._rows[track])
                measures[track].codes[self._recogniser.name] = (rows, pairs[at, 0], pairs[at, 1])


def measure(
    source: Path, output: Path, tracks: Sequence[FaceTrack], recognisers: Sequence[Recogniser], *, every: int = 2
) -> list[TrackMeasures]:
    """Measure each sighting; codes every ``every``-th. Raises ``ValueError`` when the clips do not correspond."""
    places = by_frame(list(tracks))
    measures = {track.id: TrackMeasures(track) for track in tracks}
    codes = [_Codes(recogniser) for recogniser in recognisers]
    before: dict[int, tuple[int, Look, Look]] = {}
    detector = CenterFace()
    with FaceLandmarker() as landmarker:
        for index, left, right in frame_pairs(source, output):
            here = [(t, row) for t, row in places.get(index, []) if t.boxes[row][3] >= LEAST_HEIGHT]
            if not here:
                continue
            a, b = bgr(left), bgr(right)
            rgb_a, rgb_b = (np.ascontiguousarray(picture[..., ::-1]) for picture in (a, b))
            for track, row in here:
                m, points = measures[track.id], track.points[row]
                mesh = landmarker.run(b, Roi(*track.rois[row]))
                m.rows.append(row)
                m.points.append(points if mesh is None else mesh.points)
                m.readings.append(_again(landmarker, (a, b), (points, m.points[-1]), Roi(*track.rois[row])))
                m.presence.append(0.0 if mesh is None else mesh.presence)
                pair = looks(rgb_a, rgb_b, points)
                m.comparisons.append(compare(*pair, seam_steps(rgb_a, rgb_b, points)))
                last = before.get(track.id)
                if last is not None and last[0] == index - 1:
                    m.steps[row] = Step.of(last[1], pair[0]), Step.of(last[2], pair[1])
                before[track.id] = (index, *pair)
                if row % every == 0:
                    for waiting in codes:
                        waiting.add(track.id, row, rgb_a, rgb_b, points)
                if row % _DETECTED == 0:
                    m.scores.append((row, *(_score(detector, picture, track.boxes[row]) for picture in (a, b))))
    for waiting in codes:
        waiting.finish(measures)
    detector.close()
    return [m for m in measures.values() if m.rows]


def _again(
    landmarker: FaceLandmarker, pictures: Sequence[np.ndarray], first: Sequence[np.ndarray], place: Roi
) -> np.ndarray:
    """float32 (2, 3, 478, 3): the ``first`` readings of both pictures, and others; where none is found, the first."""
    out = []
    for picture, points in zip(pictures, first, strict=True):
        found = [landmarker.run(picture, _moved(place, *by)) for by in _AGAIN]
        out.append([points, *(points if mesh is None else mesh.points for mesh in found)])
    return np.array(out, np.float32)


def _moved(place: Roi, right: float, down: float, size: float) -> Roi:
    by = place.size
    return place._replace(cx=place.cx + right * by, cy=place.cy + down * by, size=by * size)


def _score(detector: CenterFace, picture: np.ndarray, box: np.ndarray) -> float:
    """The best score of a detection about where the face is; 0 without one."""
    corners = np.array([box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2, box[1] + box[3] / 2])
    found = detector.detect_region(picture, corners)
    near = [d.score for d in found if np.hypot(*((d.box[:2] + d.box[2:]) / 2 - box[:2])) < 0.4 * box[3]]
    return max(near, default=0.0)
