"""What the first pass saw of each face in each frame, in a file that no name leads to.

Landmarks of a face are biometric data, and ten minutes of them would fill memory: they go to a temporary file that is
unlinked as soon as it is made, so that even a killed run leaves nothing.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deid.errors import OutputError
from deid.types import Track

POINTS = 478
_STEPS = 12000.0  # quantisation steps across a face: a fortieth of a pixel on the largest faces
_SAME_PLACE = 0.45  # of the box's height: how far a record may lie from the track's box and still be of that face


@dataclass(frozen=True, slots=True, eq=False)
class FaceRecord:
    """One face in one frame: its mesh, how sure the landmark model was, and what photometry noted.

    ``points``: float32 (478, 3), as in :class:`deid.detection.FaceLandmarks`. ``photo``: a scalar of the engine's own
    structured dtype.
    """

    frame: int
    points: np.ndarray
    presence: float
    photo: np.void


class Records(ABC):
    """Records in the order of :meth:`append`, found again by frame and place. ``photo``: dtype of what rides along."""

    def __init__(self, photo: np.dtype) -> None:
        self._dtype = np.dtype(
            [
                ("frame", "<i4"),
                ("origin", "<f4", (3,)),
                ("step", "<f4"),
                ("presence", "<f4"),
                ("points", "<i2", (POINTS, 3)),
                ("photo", photo),
            ]
        )

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    @abstractmethod
    def append(self, record: FaceRecord) -> None:
        """Add one record."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[int, int, tuple[float, float]]]:
        """Number, frame and place of every record."""

    @abstractmethod
    def frames(self, numbers: np.ndarray) -> np.ndarray:
        """Frame numbers of the records ``numbers``, int32."""

    @abstractmethod
    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Records ``numbers`` as a structured array; :meth:`points` makes its landmarks readable. From any
        thread, while nothing is appended."""

    def packed(self, record: FaceRecord) -> np.ndarray:
        """A record as it is kept: one row of the structured array that :meth:`read` returns."""
        points = record.points
        middle = (points.min(0) + points.max(0)) / 2
        step = max(float(np.ptp(points[:, :2], axis=0).max()) / _STEPS, 1e-6)
        row = np.zeros((), self._dtype)
        row["frame"], row["presence"], row["origin"], row["step"] = record.frame, record.presence, middle, step
        row["points"] = np.clip(np.rint((points - middle) / step), -32767, 32767)
        row["photo"] = record.photo
        return row

    def match(self, tracks: Sequence[Track]) -> dict[int, np.ndarray]:
        """The numbers of the records that belong to each track, in order of frames, at most one a frame and no record
        twice: by track id, int64 (n,)."""
        by_frame: dict[int, list[Track]] = {}
        for track in tracks:
            for frame in range(track.first, track.last + 1):
                by_frame.setdefault(frame, []).append(track)
        best: dict[tuple[int, int], tuple[float, int]] = {}
        for number, frame, place in self.entries():
            owner, distance = None, _SAME_PLACE
            for track in by_frame.get(frame, ()):
                box = track.box_at(frame)
                apart = float(np.hypot(box[0] - place[0], box[1] - place[1])) / max(float(box[3]), 1.0)
                if apart < distance:
                    owner, distance = track.id, apart
            if owner is not None and distance < best.get((owner, frame), (np.inf, 0))[0]:
                best[owner, frame] = (distance, number)
        out: dict[int, list[int]] = {track.id: [] for track in tracks}
        for (owner, _), (_, number) in sorted(best.items(), key=lambda item: item[0][1]):
            out[owner].append(number)
        return {owner: np.array(numbers, np.int64) for owner, numbers in out.items()}

    @staticmethod
    def points(rows: np.ndarray) -> np.ndarray:
        """Landmarks of records read: float32 (n, 478, 3), frame pixels."""
        return (rows["points"].astype(np.float32) * rows["step"][:, None, None] + rows["origin"][:, None, :]).astype(
            np.float32
        )


class RecordFile(Records):
    """In a file without a name."""

    def __init__(self, photo: np.dtype) -> None:
        super().__init__(photo)
        try:
            self._file = tempfile.TemporaryFile(prefix="deid-")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise OutputError(
                f"there is no place for temporary files ({error.strerror}); set TMPDIR to a folder with space."
            ) from error
        self._frames: list[int] = []
        self._places: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self._frames)

    def close(self) -> None:
        self._file.close()

    def append(self, record: FaceRecord) -> None:
        """Add one record. Raises :class:`OutputError` when the disk is full."""
        try:
            self._file.write(self.packed(record).tobytes())
        except OSError as error:
            raise OutputError(
                f"temporary files find no room ({error.strerror}); free some, or set TMPDIR to a folder with space."
            ) from error
        points = record.points
        middle = (points.min(0) + points.max(0)) / 2
        self._frames.append(record.frame)
        self._places.append((float(middle[0]), float(middle[1])))

    def entries(self) -> Iterator[tuple[int, int, tuple[float, float]]]:
        for number, (frame, place) in enumerate(zip(self._frames, self._places, strict=True)):
            yield number, frame, place

    def frames(self, numbers: np.ndarray) -> np.ndarray:
        return np.array([self._frames[n] for n in numbers], np.int32)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        self._file.flush()
        size = self._dtype.itemsize
        out = np.empty(len(numbers), self._dtype)
        for start, count in _runs(numbers):
            data = os.pread(self._file.fileno(), count * size, int(numbers[start]) * size)
            out[start : start + count] = np.frombuffer(data, self._dtype)
        return out


def _runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Stretches of consecutive numbers: (position, length)."""
    if len(numbers) == 0:
        return
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    for a, b in zip(edges, edges[1:], strict=False):
        yield a, b - a
