"""Frames on their way out: finished, checked beside their originals and searched again, put right, and handed on.

The check comes before anybody sees a frame, so what it finds is obscured in the frames at hand, all of them where it
cannot be told when it began; there is no second rendering as in a run over a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deid.compare import Comparer, replaced_faces
from deid.config import RunConfig
from deid.models.engine import Engine
from deid.models.morphable.replacing import AROUND_DOUBT, AROUND_MATCH
from deid.plan import FaceAt, Plan, Replacement, make_plan, rate_of
from deid.recognition.thresholds import FAR_1E3
from deid.redaction import Region, regions_of
from deid.released import beyond
from deid.render import Finisher, finished, painters
from deid.stream.window import Batch
from deid.tracking.scan import Searchers
from deid.types import Detection, Frame, Track
from deid.verify import Verifier, weakness

_COMPARED_EVERY = 8  # frames, of every face
_ALARM = 1.0  # seconds for which the place of a face that was found bare stays covered
_WIDER = 1.3  # of a detection's sides: the box that is covered for it


@dataclass(slots=True)
class Found:
    """What the checks of a stream came to."""

    checked: int = 0
    compared: int = 0
    recognised: int = 0
    doubts: int = 0
    bare: int = 0
    nearest: float | None = None
    faces: int = 0
    replaced: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class _Alarm:
    """A place that is covered up to a time, since a bare face was found there."""

    until: float
    region: Region


@dataclass(slots=True)
class Leaving:
    """``write``: hands a finished frame on. ``refuse``: told of (track, frame, seconds around it) that are not to be
    replaced. ``recognised``: told, by track, of rows and originals in which somebody still is. ``threads``: that
    paint."""

    config: RunConfig
    seed: int
    engine: Engine | None
    searchers: Searchers
    write: Callable[[Frame], None]
    refuse: Callable[[int, int, float], None]
    recognised: Callable[[Mapping[int, Sequence[tuple[int, np.ndarray]]]], None] | None = None
    threads: int = 1
    found: Found = field(default_factory=Found)
    _alarms: list[_Alarm] = field(default_factory=list)

    def __call__(self, batch: Batch, plan: Plan) -> None:
        """Finish, check and hand on the frames of a batch, in order."""
        plan = self._with_alarms(plan, batch)
        tracks = {t.id: t for t in batch.analysis.tracks}
        finish = Finisher(batch.analysis, plan, self.config, self.seed, self.engine)
        done = self._painted(batch, plan, finish)
        worse = self._judged(batch, plan, done, tracks)
        if worse:
            plan = _obscuring(plan, worse, tracks, rate_of(batch.analysis.media), self.config.cover)
        plan, bare = self._searched(batch, plan, done, worse)
        again = {frame for frame, _ in worse} | ({f.index for f in batch.frames} if bare else set())
        finish = Finisher(batch.analysis, plan, self.config, self.seed, self.engine)
        for place, frame in enumerate(batch.frames):
            self.write(finish(frame) if frame.index in again else done[place])
        if self.engine is not None:
            self.engine.doubts()  # of what was painted again
        self._count(batch, plan)

    def _painted(self, batch: Batch, plan: Plan, finish: Finisher) -> list[Frame]:
        return [done for _, done in finished(batch.frames, finish, painters(self.threads, plan.replaces))]

    def _judged(
        self, batch: Batch, plan: Plan, done: Sequence[Frame], tracks: Mapping[int, Track]
    ) -> set[tuple[int, int]]:
        """(frame, track) that are still recognised, or in doubt, with what lies around them."""
        if self.engine is None or not plan.replaces:
            return set()
        shown = replaced_faces(plan)
        sample = _sample(shown)
        with Comparer(sample, self.engine, FAR_1E3, shown) as comparer:
            for frame, finished_one in zip(batch.frames, done, strict=True):
                comparer.submit(frame, finished_one)
        near = [s.place for s in comparer.seen if s.distance < FAR_1E3 + beyond(s.place.height)]
        out: set[tuple[int, int]] = set()
        if near and self.recognised is not None:
            self.recognised(comparer.pictures(p.face.track for p in near))
        for at, track in sorted({(p.frame, p.face.track) for p in near}):
            out |= self._around(batch, tracks[track], at, AROUND_MATCH)
        doubts = self.engine.doubts()
        for at, face in doubts:
            out |= self._around(batch, tracks[face.track], at, AROUND_DOUBT)
        self.found.compared += len(comparer.seen)
        self.found.recognised += len(near)
        self.found.doubts += len(doubts)
        if comparer.nearest is not None:
            self.found.nearest = min(comparer.nearest, self.found.nearest or np.inf)
        return out

    def _around(self, batch: Batch, track: Track, frame: int, seconds: float) -> set[tuple[int, int]]:
        self.refuse(track.id, frame, seconds)
        times = batch.seconds
        return {(f.index, track.id) for f in batch.frames if abs(times[f.index] - times[frame]) <= seconds}

    def _searched(
        self, batch: Batch, plan: Plan, done: Sequence[Frame], worse: set[tuple[int, int]]
    ) -> tuple[Plan, bool]:
        """The plan with what a search of the most doubtful finished frame finds bare, and whether it found any."""
        weak = weakness(batch.analysis.tracks, batch.begin, batch.end)
        place = int(np.argmax(weak))
        frame = batch.frames[place].index
        known = [t for t in batch.analysis.tracks if any(f.track == t.id for f in plan.faces.get(frame, ()))]
        known += [t for t in batch.analysis.tracks if (frame, t.id) in worse]
        with Verifier(1, known, self.config.threshold, self.searchers) as verifier:
            verifier.submit(done[place], plan.regions.get(frame, ()))
        self.found.checked += 1
        bare = verifier.leaks.get(frame, [])
        if not bare:
            return plan, False
        self.found.bare += len(bare)
        until = float(batch.seconds[batch.end - 1]) + _ALARM
        self._alarms += [_Alarm(until, _over(d)) for d in bare]
        return self._with_alarms(plan, batch), True

    def _with_alarms(self, plan: Plan, batch: Batch) -> Plan:
        begin = float(batch.seconds[batch.begin])
        self._alarms = [a for a in self._alarms if a.until >= begin]
        if not self._alarms:
            return plan
        regions = {f.index: list(plan.regions.get(f.index, ())) for f in batch.frames}
        for frame, here in regions.items():
            here += [a.region for a in self._alarms if a.until >= batch.seconds[frame] and a.region not in here]
        return replace(plan, regions={**plan.regions, **regions})

    def _count(self, batch: Batch, plan: Plan) -> None:
        for frame in batch.frames:
            self.found.faces += sum(t.covers(frame.index) for t in batch.analysis.tracks)
            self.found.replaced += len(plan.faces.get(frame.index, ()))
        self.found.damaged += len(batch.analysis.damaged)


def plan_of(
    batch: Batch, config: RunConfig, replacements: Mapping[int, Replacement] | None = None
) -> Plan:
    """What happens to every face in the frames of a batch, and only in those. Damaged ones are obscured whole, so that
    no face is replaced there."""
    plan = make_plan(batch.analysis, config, dict(replacements or {})).among(range(batch.begin, batch.end))
    damaged = set(batch.analysis.damaged)
    return replace(plan, faces={f: here for f, here in plan.faces.items() if f not in damaged}) if damaged else plan


def _sample(shown: Mapping[int, Sequence[FaceAt]]) -> dict[int, list[FaceAt]]:
    """Of every face the middle one, and one in so many: by frame."""
    by_track: dict[int, list[tuple[int, FaceAt]]] = {}
    for frame in sorted(shown):
        for face in shown[frame]:
            by_track.setdefault(face.track, []).append((frame, face))
    out: dict[int, list[FaceAt]] = {}
    for of in by_track.values():
        for frame, face in of[min(len(of) // 2, _COMPARED_EVERY // 2) :: _COMPARED_EVERY]:
            out.setdefault(frame, []).append(face)
    return out


def _obscuring(
    plan: Plan, worse: set[tuple[int, int]], tracks: Mapping[int, Track], rate: float, cover: str
) -> Plan:
    """``plan`` with the faces ``worse``, (frame, track), obscured."""
    regions = {track: regions_of(tracks[track], rate, cover) for track in {track for _, track in worse}}
    faces, veils, over = dict(plan.faces), dict(plan.veils), dict(plan.regions)
    for frame, track in sorted(worse):
        if any(f.track == track for f in faces.get(frame, ())):
            region = regions[track][frame - tracks[track].first]
            faces[frame] = [f for f in faces[frame] if f.track != track]
            over[frame] = [*over.get(frame, ()), region]
            veils[frame] = [v for v in veils.get(frame, ()) if v.region != region]
    return replace(plan, faces={f: here for f, here in faces.items() if here}, veils=veils, regions=over)


def _over(found: Detection) -> Region:
    """A region over a face that a search found."""
    x0, y0, x1, y1 = (float(v) for v in found.box)
    return Region((x0 + x1) / 2, (y0 + y1) / 2, _WIDER * (x1 - x0), _WIDER * (y1 - y0) * 0.9)
