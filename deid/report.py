"""What a run did, in a form that people and programs can read. Holds no paths, no pictures and no templates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from deid.types import Analysis, Evidence, StreamInfo, Track


@dataclass(frozen=True, slots=True)
class TrackReport:
    """One followed face. Times in seconds from the source's first frame; ``evidence`` counts frames by
    :class:`~deid.types.Evidence`; ``height`` is the median face height in pixels."""

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


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """``frames``: numbers of the finished frames that were searched again. ``rounds``: how often the clip was rendered;
    more than one means that the check found an uncovered face, which was then followed and obscured."""

    frames: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """The outcome of one run. ``timing``: seconds of wall time by stage. ``peak_memory``: bytes, of this process."""

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
    faces_per_frame: float
    damaged_frames: int
    streams: tuple[StreamInfo, ...]
    mark: str | None
    verify: VerifyReport | None
    timing: dict[str, float]
    peak_memory: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able copy."""
        return asdict(self)

    def lines(self) -> list[str]:
        """A summary for people, a fact a line."""
        count = {o: sum(t.outcome == o for t in self.tracks) for o in ("obscured", "kept")}
        done = "would be" if self.target is None else "was" if count["obscured"] == 1 else "were"
        speed = self.frames / max(sum(self.timing.values()), 1e-9)
        out = [
            f"{self.frames} frames of {self.width} x {self.height} in {self.shots} shot{_s(self.shots)}, "
            f"{self.seconds:.2f} s; {speed:.1f} frames a second",
            f"{count['obscured']} face track{_s(count['obscured'])} {done} obscured ({self.engine})"
            + (f", {count['kept']} kept as asked" if count["kept"] else ""),
        ]
        for t in self.tracks:
            out.append(
                f"  track {t.id}: {t.start:.2f} to {t.end:.2f} s, about {t.height:.0f} px tall, {t.outcome}"
                + (f" ({t.reason})" if t.reason else "")
            )
        if self.damaged_frames:
            out.append(f"{self.damaged_frames} damaged frame{_s(self.damaged_frames)} obscured whole")
        fates = [f"{s.kind} {s.index} ({s.codec}) {s.fate}" + (f": {s.why}" if s.why else "") for s in self.streams]
        out += [f"  stream {f}" for f in fates]
        out += [f"note: {n}" for n in self.notes]
        return out


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def track_reports(
    analysis: Analysis, seconds: list[float], outcomes: dict[int, tuple[str, str]]
) -> tuple[TrackReport, ...]:
    """One :class:`TrackReport` a track; ``seconds`` are the frames' times, ``outcomes`` (outcome, reason) by track."""
    return tuple(_track_report(t, seconds, *outcomes[t.id]) for t in analysis.tracks)


def _track_report(track: Track, seconds: list[float], outcome: str, reason: str) -> TrackReport:
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
    )
