"""What is noted of faces while two clips are watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from deid.audit.appearance import Touched
from deid.audit.faces import Followed
from deid.tracking.records import POINTS, RecordFile

STATES = tuple(state.value for state in Touched)
RECOGNISED = 40.0
"""Pixels of a face's height from which a recogniser is asked."""
GALLERY = 24
"""Codes kept of each track, spread over it."""

_WORST, _WORST_APART = 8, 0.4

NOTES = np.dtype(
    [
        ("output", "<i2", (POINTS, 3)),
        ("presence", "<f4"),
        ("box", "<f4", (5,)),
        ("pose", "<f4", (3,)),
        ("state", "u1"),
        ("kept", "u1"),
        ("tone", "<f4"),
        ("left", "<f4"),
        ("seam", "<f4"),
        ("softness", "<f4"),
        ("likeness", "<f4"),
        ("skin", "<f4"),
        ("distance", "<f4"),
        ("other", "<f4"),
        ("again", "u1"),
        ("code", "<f2", (128,)),
    ]
)
"""What is noted of a face beside the source's mesh. ``output``: the output's mesh in the units of the source's record.
``state``: index into :data:`STATES`; ``kept``: left as it was because the user said so. ``skin``: typology angle of the
source, degrees. ``distance``, ``other``: between source and output by dlib and by the user's recogniser, NaN where not
asked. ``again``: the second detector saw a face there in the output. ``code``: dlib's, of the output."""


class Thinned:
    """Up to ``most`` things out of any number, evenly spread, whatever the number turns out to be."""

    def __init__(self, most: int) -> None:
        self._most, self._every, self._met = most, 1, 0
        self.kept: list[np.ndarray] = []

    def add(self, thing: np.ndarray) -> None:
        if self._met % self._every == 0:
            if len(self.kept) == 2 * self._most:
                self.kept, self._every = self.kept[::2], 2 * self._every
            if self._met % self._every == 0:
                self.kept.append(thing)
        self._met += 1


@dataclass(frozen=True, slots=True, eq=False)
class Bad:
    """An output face worth looking at. ``crop``: uint8 (112, 112, 3) RGB of the output; of a face that leaks, coarse
    squares."""

    badness: float
    frame: int
    seconds: float
    why: str
    crop: np.ndarray


@dataclass(slots=True, eq=False)
class Seen:
    """One face of the source. ``records``: its places in the record file, in order of time. ``source``, ``output``:
    codes of a few of its faces, by recogniser, that are neither too dark nor too blurred to tell people apart;
    ``dim``: dlib's codes of the source's others. ``worst``: at most eight."""

    face: Followed
    frames: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    source: dict[str, Thinned] = field(default_factory=dict)
    output: dict[str, Thinned] = field(default_factory=dict)
    dim: Thinned = field(default_factory=lambda: Thinned(GALLERY))
    worst: list[Bad] = field(default_factory=list)

    def offer(self, bad: Bad) -> None:
        """Keep ``bad`` if it is among the worst, no two of them within four tenths of a second."""
        near = [b for b in self.worst if abs(b.seconds - bad.seconds) < _WORST_APART]
        if any(b.badness >= bad.badness for b in near):
            return
        rest = [b for b in self.worst if b not in near]
        self.worst = sorted([*rest, bad], key=lambda b: (-b.badness, b.frame))[:_WORST]


@dataclass(frozen=True, slots=True, eq=False)
class Stray:
    """A place that the second detector takes for a face and that is as it was, away from all followed faces. ``sure``:
    the landmark model and CenterFace see a face there too, in the source."""

    frame: int
    box: np.ndarray
    score: float
    sure: bool


@dataclass(slots=True, eq=False)
class Watched:
    """Everything one pass noted. ``seconds``: each frame's time from the first, of the source. ``slips``: the largest
    difference between the two clips' frame times. ``counts``: frames of source and output."""

    records: RecordFile
    faces: list[Seen] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slip: float = 0.0
    counts: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    together: set[tuple[int, ...]] = field(default_factory=set)

    def close(self) -> None:
        """Forget what lies in the record file."""
        self.records.close()


Kept = Callable[[int, np.ndarray], bool]
"""Whether the face of a frame and a box ``cx cy w h roll`` was left on purpose."""
