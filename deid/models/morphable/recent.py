"""What a stream saw of faces lately: in memory, and gone as soon as nobody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator

import numpy as np

from deid.tracking.records import FaceRecord, Records


class RecentRecords(Records):
    """In memory. Records keep their numbers when others are forgotten. Thread-safe."""

    def __init__(self, photo: np.dtype) -> None:
        super().__init__(photo)
        self._rows: dict[int, np.ndarray] = {}
        self._entries: dict[int, tuple[int, tuple[float, float]]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        with self._lock:
            self._rows.clear()
            self._entries.clear()

    def append(self, record: FaceRecord) -> None:
        row = self.packed(record)
        middle = (record.points.min(0) + record.points.max(0)) / 2
        with self._lock:
            self._rows[self._next] = row
            self._entries[self._next] = (record.frame, (float(middle[0]), float(middle[1])))
            self._next += 1

    def forget(self, before: int, kept: Collection[int]) -> None:
        """Let go of records of frames before this one, but for those of the numbers ``kept``."""
        with self._lock:
            for number in [n for n, (frame, _) in self._entries.items() if frame < before and n not in kept]:
                del self._rows[number], self._entries[number]

    def entries(self) -> Iterator[tuple[int, int, tuple[float, float]]]:
        with self._lock:
            found = [(number, frame, place) for number, (frame, place) in self._entries.items()]
        return iter(found)

    def frames(self, numbers: np.ndarray) -> np.ndarray:
        with self._lock:
            return np.array([self._entries[int(n)][0] for n in numbers], np.int32)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        out = np.empty(len(numbers), self._dtype)
        with self._lock:
            for place, number in enumerate(np.asarray(numbers).tolist()):
                out[place] = self._rows[number]
        return out
