"""One face while it is being followed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deid.tracking import boxes
from deid.types import Evidence

_LOOKS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What is known of a face in one frame; ``yaw`` in degrees, NaN where unknown."""

    box: np.ndarray
    evidence: Evidence
    score: float
    yaw: float = float("nan")


@dataclass(slots=True, eq=False)
class Tracklet:
    """Rows by frame, with the state that following needs. Holes are allowed until the tracklet is stitched.

    ``rows`` is read by anyone and changed by the methods here only, which keep ``first``, ``last`` and ``searched``
    (the number of frames in which a detector found the face) up to date: clips are long, and these are asked for often.
    ``begins``, ``ends``: three templates each (:mod:`.flow`) of when it was first and last found, three because
    something may already lie before part of it.
    """

    shot: int
    rows: dict[int, Row] = field(default_factory=dict)
    first: int = 1 << 62
    last: int = -1
    searched: int = 0
    begins: tuple[np.ndarray, ...] = ()
    ends: tuple[np.ndarray, ...] = ()
    tint: np.ndarray | None = None
    misses: int = 0
    lost_at: int | None = None
    confirmed: bool = False

    @property
    def template(self) -> np.ndarray | None:
        """What the face looked like when it was last found."""
        return self.ends[-1] if self.ends else None

    def looks(self, template: np.ndarray) -> None:
        """Remember what it looks like now."""
        if len(self.begins) < _LOOKS:
            self.begins += (template,)
        self.ends = (*self.ends, template)[-_LOOKS:]

    def set(self, frame: int, row: Row) -> None:
        """Store a row in the place of any other."""
        known = self.rows.get(frame)
        self.searched += (row.evidence == Evidence.SEARCHED) - (
            known is not None and known.evidence == Evidence.SEARCHED
        )
        self.rows[frame] = row
        self.first, self.last = min(self.first, frame), max(self.last, frame)

    def put(self, frame: int, row: Row) -> None:
        """Store a row unless the frame already has stronger evidence."""
        known = self.rows.get(frame)
        if known is None or row.evidence <= known.evidence:
            self.set(frame, row)

    def keep(self, rows: dict[int, Row]) -> None:
        """Hold exactly these rows from now on; at least one."""
        self.rows = rows
        self.first, self.last = min(rows), max(rows)
        self.searched = sum(row.evidence == Evidence.SEARCHED for row in rows.values())

    def forget(self, before: int) -> None:
        """Let go of the rows before this frame, but for the last; how often a detector found the face stays known."""
        left = {frame: row for frame, row in self.rows.items() if frame >= before}
        if left and len(left) < len(self.rows):
            searched = self.searched
            self.keep(left)
            self.searched = searched

    def best_search(self) -> float:
        """Highest score of a detector, 0 when only flow or the mesh vouch for the face."""
        return max((row.score for row in self.rows.values() if row.evidence == Evidence.SEARCHED), default=0.0)

    def velocity(self, frame: int, *, forward: bool = True, span: int = 6) -> np.ndarray:
        """Mean motion of the centre per frame, pixels (2,), over the ``span`` rows before (or after) ``frame``."""
        step = -1 if forward else 1
        here = self.rows.get(frame)
        if here is None:
            return np.zeros(2)
        for k in range(span, 0, -1):
            other = self.rows.get(frame + step * k)
            if other is not None:
                return (here.box[:2] - other.box[:2]).astype(np.float64) / k
        return np.zeros(2)

    def predict(self, frame: int) -> np.ndarray:
        """Where the face should be in ``frame``, from the nearest row and the motion there, slowing down with time."""
        if frame in self.rows:
            return self.rows[frame].box
        nearest = self.last if frame > self.last else self.first
        ahead = abs(frame - nearest)
        motion = self.velocity(nearest, forward=frame > self.last)
        box = self.rows[nearest].box.copy()
        reach = min(ahead, 6) if ahead <= 6 else 6 + 0.3 * min(ahead - 6, 20)
        limit = boxes.size(box)
        box[:2] += np.clip(motion * reach, -limit, limit)
        return box
