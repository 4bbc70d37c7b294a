"""Faces of a stream, people who were in it, and who stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from deid.models.morphable.casting import Role
from deid.models.morphable.fit import IdentityFit
from deid.models.morphable.light_track import LightTrack
from deid.models.morphable.painter import Sitter
from deid.models.morphable.retarget import Retargeter
from deid.models.morphable.surrogate import Likeness
from deid.models.morphable.tracks import evenly

_PAST_SHARE, _PAST_ROWS = 0.5, 40  # rows of the past beside those of the window: share of these, and at most


@dataclass(slots=True, eq=False)
class Part:
    """What stands in for somebody in the place of one face. ``turn``: multiplied to rotations from the right. ``haze``,
    ``glow``: as they are shown. ``safe``: whether it is a stranger to the person."""

    person: int
    identity: IdentityFit
    retarget: Retargeter
    sitter: Sitter
    turn: np.ndarray
    haze: float
    glow: float
    safe: bool


@dataclass(slots=True, eq=False)
class Face:
    """A face that is followed from window to window. ``numbers``: of its records, by frame. ``past``: some of them, of
    what is behind the window, one in ``every``. ``held``: numbers that a ``job`` reads. ``tries``, ``next_try``:
    attempts to find somebody, and the frame of the next. ``planned``: how far it was replaced in the last frame that
    was planned, ``None`` before the first. ``ready``: the first frame that may be replaced. ``refused``: (seconds,
    around). ``recognised``: pictures in which it still was after it had been replaced.
    ``person``: who it is of, 0 before that is known. ``wanting``: whether somebody else is to stand in; ``changed``:
    how often that was so."""

    id: int
    first: int
    last: int
    numbers: dict[int, int] = field(default_factory=dict)
    past: list[int] = field(default_factory=list)
    every: int = 1
    taken: int = -1
    part: Part | None = None
    job: Future[Part | None] | None = None
    held: frozenset[int] = frozenset()
    tries: int = 0
    next_try: int = 0
    ready: int = 0
    planned: tuple[int, float] | None = None
    refused: list[tuple[float, float]] = field(default_factory=list)
    lights: tuple[np.ndarray, LightTrack] | None = None
    recognised: list[Likeness] = field(default_factory=list)
    person: int = 0
    wanting: bool = False
    changed: int = 0

    def past_of(self, own: Sequence[int]) -> list[int]:
        """Frames of before those of the window, ``own``, that go along, at most so many as leave it the greater
        part."""
        begin = own[0] if own else 1 << 40
        for frame in sorted(f for f in self.numbers if self.taken < f < begin):
            self.taken = frame
            if frame % self.every == 0:
                self.past.append(frame)
        while len(self.past) > 2 * _PAST_ROWS:
            self.every *= 2
            self.past = [frame for frame in self.past if frame % self.every == 0]
        most = min(_PAST_ROWS, int(_PAST_SHARE * len(own)))
        behind = np.array([frame for frame in self.past if frame < begin])
        return [int(f) for f in evenly(behind, most)] if most and len(behind) else []


@dataclass(slots=True, eq=False)
class Known:
    """Somebody who was in the stream. ``codes``: float32 (n, 128). ``role``: who stands in."""

    id: int
    codes: np.ndarray
    role: Role
