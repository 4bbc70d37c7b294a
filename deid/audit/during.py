"""The audit of a run's own output, after it is finished and before it has its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from deid.audit.run import Audit, audit
from deid.config import OBSCURING, RunConfig
from deid.files import put
from deid.progress import Progress
from deid.types import Track


class RunAudit:
    """Called with the finished, hidden file. With ``config.strict`` it raises
    :class:`~deid.errors.AuditFailed` when the audit does, so that there is no output.

    ``kept``: tracks whose faces stay as they are, to be set before. ``found``: what the audit found. ``target``: the
    name that the output will have. ``signals``: gets the table of signals.
    """

    def __init__(
        self, source: Path, target: Path, config: RunConfig, progress: Progress, signals: TextIO | None
    ) -> None:
        self.kept: Sequence[Track] = ()
        self.found: Audit | None = None
        self._source, self._target, self._config = source, target, config
        self._progress, self._signals = progress, signals

    def __call__(self, path: Path) -> None:
        config = self._config
        self.found = audit(
            self._source,
            path,
            recogniser=config.recogniser,
            threshold=config.recogniser_threshold,
            raw=config.recogniser_bgr,
            start=config.start,
            end=config.end,
            kept=self._is_kept,
            salvage=config.salvage,
            progress=self._progress,
            signals_to=self._signals,
            name=self._target.name,
            chose=() if config.engine in OBSCURING else ("dlib",),
            threads=max(1, config.threads // 2),
        )
        if config.html is not None:
            put(config.html, self.found.html, config.overwrite)
        if config.strict:
            self.found.require()

    def _is_kept(self, frame: int, box: np.ndarray) -> bool:
        for track in self.kept:
            if track.covers(frame):
                own = track.box_at(frame)
                if float(np.hypot(*(own[:2] - box[:2]))) < 0.6 * float(own[3]):
                    return True
        return False
