"""Makes the report of a run out of what its stages know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid import __version__
from deid.config import RunConfig
from deid.keys import is_exposed
from deid.memory import peak_memory
from deid.models.engine import Engine
from deid.plan import Plan
from deid.report import RunReport, VerifyReport, track_reports
from deid.types import Analysis, MediaInfo, StreamInfo


@dataclass(frozen=True, slots=True)
class Teller:
    """Holds what does not change from attempt to attempt. ``timing``: seconds by stage, by the time it is called."""

    config: RunConfig
    info: MediaInfo
    seconds: list[float]
    timing: dict[str, float]
    seed: int
    engine: Engine | None

    def __call__(
        self,
        analysis: Analysis,
        plan: Plan,
        target: Path | None,
        verified: VerifyReport | None,
        streams: tuple[StreamInfo, ...],
        notes: tuple[str, ...],
    ) -> RunReport:
        warnings = []
        if not analysis.tracks:
            warnings.append(
                "no face was found: every picture is as it was, so look through the result before you share it"
            )
        if plan.kept:
            names = ", ".join(str(t.id) for t in plan.kept)
            warnings.append(f"kept as asked, and recognisable: track {names}")
        if self.config.key is not None and is_exposed(self.config.key):
            warnings.append(f"others may read the key: chmod 600 {self.config.key.name}")
        if self.engine is not None:
            warnings += self.engine.decisions().warnings + _not_shown(self.engine, plan)
        faces = np.zeros(max(analysis.frames, 1))
        for t in analysis.tracks:
            faces[t.first : t.last + 1] += 1
        mark = "synthetic" if plan.replaces else "obscured"
        return RunReport(
            version=__version__,
            source=Path(self.info.path).name,
            target=target.name if target else None,
            engine=self.config.engine,
            seed=self.seed,
            frames=analysis.frames,
            seconds=round(self.seconds[-1] - self.seconds[0], 4) if self.seconds else 0.0,
            width=analysis.media.width,
            height=analysis.media.height,
            shots=len(analysis.shots),
            searches=analysis.searches,
            tracks=track_reports(analysis, self.seconds, plan),
            people=self.engine.people() if self.engine else (),
            faces_per_frame=round(float(faces.mean()), 3),
            damaged_frames=len(analysis.damaged),
            streams=streams,
            mark=mark if self.config.mark and target else None,
            verify=verified,
            timing={k: round(v, 3) for k, v in self.timing.items()},
            peak_memory=peak_memory(),
            notes=(*self.info.notes, *notes),
            warnings=tuple(warnings),
        )


def _not_shown(engine: Engine, plan: Plan) -> list[str]:
    """Whose surrogate was named and could not be shown in any of their tracks."""
    out, named = [], engine.decisions().surrogates
    for person in engine.people():
        outcomes = [plan.outcomes[track] for track in person.tracks if track in plan.outcomes]
        if person.id in named and outcomes and all(outcome == "obscured" for outcome, _ in outcomes):
            why = outcomes[0][1]
            out.append(
                f"person {person.id} is obscured instead of replaced by surrogate {named[person.id]}"
                + (f" ({why})" if why else "")
                + ": look at the result, and try another number"
            )
    return out
