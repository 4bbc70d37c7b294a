"""What a run did, in a form that people and programs can read. Holds no paths, no pictures and no templates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from deid.plan import Plan, State
from deid.types import Analysis, Evidence, StreamInfo, Track


@dataclass(frozen=True, slots=True)
class TrackReport:
    """One followed face. Times in seconds from the source's first frame; ``evidence`` counts frames by
    :class:`~deid.types.Evidence`; ``height`` is the median face height in pixels. ``states``: what was done, as runs
    of (state, frames) from the first frame on; ``obscured_because``: frames by reason, where an engine could not
    replace."""

    id: int
    shot: int
    first_frame: int
    last_frame: int
    start: float
    end: float
    height: float
    score: float
    confirmed: bool
    evidence: dict[str, int]
    outcome: str
    reason: str
    states: tuple[tuple[str, int], ...] = ()
    obscured_because: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PersonReport:
    """Someone in the clip. ``tracks``: the ids of theirs. ``distance``: of the surrogate from the person, as the
    recognisers ``chosen_by`` see it, the mean over the pictures compared when the surrogate was chosen; ``nearest``:
    the least; ``None`` when there was no picture to compare. ``stranger``: the distance that half of all pairs of
    strangers exceed. ``draws``: how many surrogates were looked at. ``decision``: what was asked for this person, and
    how; empty when nothing was. ``photo_distance``: from the photo that decided it. ``remembered``: the surrogate is
    the one of the registry."""

    id: int
    tracks: tuple[int, ...]
    distance: float | None
    nearest: float | None
    stranger: float
    chosen_by: tuple[str, ...]
    draws: int
    decision: str = ""
    photo_distance: float | None = None
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """``frames``: numbers of the finished frames that were searched again. ``rounds``: how often the clip was rendered;
    more than one means that the check found an uncovered or recognisable face, which was then obscured. ``compared``:
    how many replaced faces were compared with their originals; ``nearest``: the least distance among them.
    ``decoded``: how many faces were looked at once more in the finished file, since they had come near a limit."""

    frames: tuple[int, ...]
    rounds: int
    compared: int = 0
    nearest: float | None = None
    decoded: int = 0


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcome of one run. ``timing``: seconds of wall time by stage. ``peak_memory``: bytes, of this process.
    ``audit``: what the audit found, as :func:`deid.audit.report.build` tells it; ``None`` without one."""

    version: str
    source: str
    target: str | None
    engine: str
    seed: int
    frames: int
    seconds: float
    width: int
    height: int
    shots: int
    searches: int
    tracks: tuple[TrackReport, ...]
    people: tuple[PersonReport, ...]
    faces_per_frame: float
    damaged_frames: int
    streams: tuple[StreamInfo, ...]
    mark: str | None
    verify: VerifyReport | None
    timing: dict[str, float]
    peak_memory: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    audit: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able copy."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A summary for people, a fact a line."""
        count = {o: sum(t.outcome == o for t in self.tracks) for o in ("replaced", "obscured", "kept")}
        done = [f"{n} {outcome}" for outcome, n in count.items() if n] or ["none"]
        speed = self.frames / max(sum(self.timing.values()), 1e-9)
        out = [
            f"{self.frames} frames of {self.width} x {self.height} in {self.shots} shot{_s(self.shots)}, "
            f"{self.seconds:.2f} s; {speed:.1f} frames a second",
            f"{len(self.tracks)} face track{_s(len(self.tracks))}"
            + (" (planned)" if self.target is None else "")
            + f": {', '.join(done)} (engine {self.engine})",
        ]
        for p in self.people:
            who = f"  person {p.id} (track {', '.join(map(str, p.tracks))})"
            if p.decision:
                out.append(f"{who}: {p.decision}")
            if p.distance is not None:
                out.append(
                    f"{who}: the surrogate {'of the registry ' if p.remembered else ''}is {p.distance:.2f} away, "
                    f"strangers are {p.stranger:.2f} apart at the median (by {', '.join(p.chosen_by)}, which chose it)"
                )
        for t in self.tracks:
            out.append(
                f"  track {t.id}: {t.start:.2f} to {t.end:.2f} s, about {t.height:.0f} px tall, {t.outcome}"
                + (f" ({t.reason})" if t.reason else "")
                + _partly(t)
            )
        if self.damaged_frames:
            out.append(f"{self.damaged_frames} damaged frame{_s(self.damaged_frames)} obscured whole")
        fates = [f"{s.kind} {s.index} ({s.codec}) {s.fate}" + (f": {s.why}" if s.why else "") for s in self.streams]
        out += [f"  stream {f}" for f in fates]
        out += [f"note: {n}" for n in self.notes]
        if self.audit is not None:
            from deid.audit.tell import lines

            out += lines(self.audit)
        return out


def _partly(track: TrackReport) -> str:
    frames = {state: sum(n for s, n in track.states if s == state) for state in ("replaced", "changing", "obscured")}
    if track.outcome != "replaced" or not frames["obscured"]:
        return ""
    why = ", ".join(f"{reason} {n}" for reason, n in track.obscured_because.items())
    return f", {frames['obscured']} of {len_of(track)} frames obscured" + (f" ({why})" if why else "")


def len_of(track: TrackReport) -> int:
    """Frames from its first to its last."""
    return track.last_frame - track.first_frame + 1


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def track_reports(analysis: Analysis, seconds: list[float], plan: Plan) -> tuple[TrackReport, ...]:
    """One :class:`TrackReport` a track; ``seconds`` are the frames' times."""
    return tuple(_track_report(t, seconds, plan) for t in analysis.tracks)


def _track_report(track: Track, seconds: list[float], plan: Plan) -> TrackReport:
    outcome, reason = plan.outcomes[track.id]
    return TrackReport(
        id=track.id,
        shot=track.shot,
        first_frame=track.first,
        last_frame=track.last,
        start=round(seconds[track.first], 4),
        end=round(seconds[track.last], 4),
        height=round(float(np.median(track.boxes[:, 3])), 1),
        score=round(float(track.scores.max()), 3),
        confirmed=track.confirmed,
        evidence={e.name.lower(): int((track.evidence == e).sum()) for e in Evidence},
        outcome=outcome,
        reason=reason,
        states=_runs(plan.states[track.id]),
        obscured_because=plan.reasons.get(track.id, {}),
    )


def _runs(states: np.ndarray) -> tuple[tuple[str, int], ...]:
    edges = np.flatnonzero(np.diff(states)) + 1
    parts = np.split(states, edges)
    return tuple((State(int(part[0])).name.lower(), len(part)) for part in parts)
