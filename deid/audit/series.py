"""From what was noted of one face, frame by frame, to series of numbers over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deid.audit import attributes
from deid.audit.appearance import Touched
from deid.audit.notes import NOTES, STATES, Seen
from deid.detection.pose import face_scale
from deid.tracking.records import RecordFile

WINDOW = 1500
"""Meshes in memory at once."""

MIN_FACE = 64.0
"""Pixels of a face's height from which its expression, pose and steadiness are judged."""
MOST_YAW = 45.0

_CALM = 2  # frames either side of a changeover that steadiness leaves out

MEASURES = {
    "eye left": "eye",
    "eye right": "eye",
    "mouth": "mouth",
    "gaze x": "gaze_x",
    "gaze y": "gaze_y",
    "smile left": "smile",
    "smile right": "smile",
    "brow left": "brow",
    "brow right": "brow",
    "mouth width": "width",
}
"""Measures of expression, sides as the viewer sees them, and the target each belongs to."""


def measures(points: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of :data:`MEASURES`, float64 (n,) each, of meshes (n, 478, 3)."""
    eyes, look = attributes.eye_opening(points), attributes.gaze(points)
    lips, brows = attributes.mouth_shape(points), attributes.brow_height(points)
    return {
        "eye left": eyes[:, 0],
        "eye right": eyes[:, 1],
        "mouth": attributes.mouth_opening(points),
        "gaze x": look[:, 0],
        "gaze y": look[:, 1],
        "smile left": lips[:, 1],
        "smile right": lips[:, 2],
        "brow left": brows[:, 0],
        "brow right": brows[:, 1],
        "mouth width": lips[:, 0],
    }


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One face of the source over ``n`` frames, and what the output shows in its place.

    ``frames``: int (n,). ``seconds``: float64 (n,). ``notes``: (n,), the fields of :data:`deid.audit.notes.NOTES` but
    for meshes and codes. ``before``, ``after``: :func:`measures` of source and output. ``poses``: float64 (n, 2, 3),
    yaw, pitch, roll of both. ``bends``: float64 (m, 2, 1 + parts), squared fast movement of both, where the face is
    replaced, over ``sizes``, the median scale of each.
    """

    number: int
    frames: np.ndarray
    seconds: np.ndarray
    notes: np.ndarray
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    poses: np.ndarray
    bends: np.ndarray
    sizes: tuple[float, float]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def heights(self) -> np.ndarray:
        """Pixels, of the face's box."""
        return self.notes["box"][:, 3]

    @property
    def turned(self) -> np.ndarray:
        """Degrees of yaw to either side."""
        return np.abs(self.notes["pose"][:, 0])

    @property
    def counted(self) -> np.ndarray:
        """Rows that are not kept on purpose."""
        return self.notes["kept"] == 0

    def is_state(self, *states: Touched) -> np.ndarray:
        """Rows in one of ``states``, those kept on purpose left out."""
        return np.isin(self.notes["state"], [STATES.index(s.value) for s in states]) & self.counted

    @property
    def judged(self) -> np.ndarray:
        """Rows whose expression and pose mean something: replaced, large enough, not turned far."""
        usable = (self.heights >= MIN_FACE) & (self.turned <= MOST_YAW) & (self.notes["presence"] >= 0.5)
        return self.is_state(Touched.REPLACED, Touched.KEPT) & usable


def windows(records: RecordFile, seen: Seen, overlap: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, source meshes, output meshes) of a face, some rows at a time; each window repeats the last ``overlap``
    rows of the one before."""
    numbers = np.array(seen.records, np.int64)
    for start in range(0, len(numbers), WINDOW):
        rows = np.arange(max(0, start - overlap), min(start + WINDOW, len(numbers)))
        data = records.read(numbers[rows])
        yield rows, RecordFile.points(data), output_points(data)


def output_points(data: np.ndarray) -> np.ndarray:
    """The output's meshes of records read, float32 (n, 478, 3)."""
    units = data["photo"]["output"].astype(np.float32)
    return units * data["step"][:, None, None] + data["origin"][:, None, :]


def series_of(records: RecordFile, seen: Seen, seconds: list[float]) -> Series:
    """Read everything about one face."""
    n = len(seen.frames)
    frames = np.array(seen.frames)
    small = [name for name in NOTES.names or () if name not in ("output", "code")]
    notes = np.zeros(n, np.dtype([(name, NOTES[name]) for name in small]))
    before = {name: np.zeros(n) for name in MEASURES}
    after = {name: np.zeros(n) for name in MEASURES}
    poses, scales, bends = np.zeros((n, 2, 3)), np.zeros((n, 2)), []
    numbers = np.array(seen.records, np.int64)
    for rows, source, output in windows(records, seen, overlap=2):
        data = records.read(numbers[rows])["photo"]
        for name in small:
            notes[name][rows] = data[name]
        for side, (points, into) in enumerate(((source, before), (output, after))):
            for name, values in measures(points).items():
                into[name][rows] = values
            scales[rows, side] = face_scale(points)
        poses[rows, 0], poses[rows, 1] = data["pose"], attributes.head_poses(output)
        calm = _calm(data, frames[rows])
        pair = [attributes.bend_energy(points[calm], frames[rows][calm]) for points in (source, output)]
        bends.append(np.stack(pair, axis=1))
    sizes = np.median(scales, axis=0)
    return Series(
        seen.face.number, frames, np.array([seconds[f] for f in frames]), notes, before, after, poses,
        np.concatenate(bends), (float(sizes[0]), float(sizes[1])),
    )  # fmt: skip


def _calm(notes: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Rows that show a large face, as do those two frames either side."""
    shown = np.isin(notes["state"], [STATES.index(s.value) for s in (Touched.REPLACED, Touched.KEPT)])
    shown &= (notes["presence"] >= 0.5) & (notes["kept"] == 0)
    good = shown & (notes["box"][:, 3] >= MIN_FACE)
    if shown.all():
        return good
    near = np.abs(frames[:, None] - frames[~shown][None]).min(1) <= _CALM
    return good & ~near
