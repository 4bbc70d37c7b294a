"""One audit, top to bottom: watch both clips, tell people apart, score, and tell.

>>> from deid.audit.run import audit
>>> found = audit(Path("ward.mkv"), Path("public.mkv"))                                   # doctest: +SKIP
>>> found.passed, found.report["criteria"]                                                # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from deid.audit import report, signals
from deid.audit.contract import contract
from deid.audit.html import page
from deid.audit.notes import Bad, Kept
from deid.audit.people import group
from deid.audit.score import Material
from deid.audit.series import series_of
from deid.audit.sheet import data_uri
from deid.audit.tell import lines
from deid.audit.watch import watch
from deid.errors import AuditFailed
from deid.progress import Progress, QuietProgress
from deid.recognition.custom import load
from deid.recognition.thresholds import FAR_1E3


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """What an audit found. ``report``: JSON-able, without paths, pictures and templates. ``html``: a page to read and
    print, with small pictures of the output."""

    report: dict[str, Any]
    html: str

    @property
    def passed(self) -> bool:
        """Whether every criterion that decides is met."""
        return bool(self.report["passed"])

    def require(self) -> None:
        """Raise :class:`~deid.errors.AuditFailed` unless the audit passed."""
        if not self.passed:
            failed = ", ".join(c["name"] for c in self.report["criteria"] if c["met"] is False)
            raise AuditFailed(f"the audit failed ({failed}): read its report, and look at the moments it names.")

    def lines(self) -> list[str]:
        """A summary for people, a fact a line."""
        return lines(self.report)


def audit(
    source: Path,
    output: Path,
    *,
    recogniser: Path | None = None,
    threshold: float | None = None,
    raw: bool = False,
    start: float | None = None,
    end: float | None = None,
    kept: Kept | None = None,
    salvage: bool = False,
    progress: Progress | None = None,
    signals_to: TextIO | None = None,
    name: str | None = None,
    chose: tuple[str, ...] = ("dlib",),
    threads: int = 1,
) -> Audit:
    """Judge ``output``, which a run made of ``source``, or of its part from ``start`` to ``end`` (seconds).

    ``recogniser``: weights of a second judge, see :mod:`deid.recognition.custom`; ``threshold`` is its distance for one
    person, ``raw`` as there. ``kept``: which faces were left on purpose. ``salvage``: ``source`` may be damaged.
    ``signals_to``: gets the table of :mod:`deid.audit.signals`. ``name``: what the report calls the output. ``chose``:
    recognisers that had a part in the run. Raises :class:`~deid.errors.InputError` and
    :class:`~deid.errors.ModelError` as reading does, and :class:`~deid.errors.UsageError` when the two clips do not
    show the same picture.
    """
    progress = progress or QuietProgress()
    second = load(recogniser, raw=raw, threshold=threshold) if recogniser is not None else None
    watched = watch(source, output, second, progress, start=start, end=end, kept=kept, salvage=salvage, threads=threads)
    try:
        progress.stage("scoring", len(watched.faces) or None)
        series = []
        for seen in watched.faces:
            series.append(series_of(watched.records, seen, watched.seconds))
            progress.advance()
        people = group(watched.faces, series, watched.together)
        thresholds = {"dlib": FAR_1E3} | ({second.name: second.threshold} if second else {})
        material = Material(watched, series, people, thresholds)
        table = _signals(material, signals_to)
        told = report.build(
            material,
            contract(source, output, watched, start, end),
            table,
            name=name or output.name,
            output=output,
            chose=chose,
        )
        pictures = {p.id: [(b, data_uri(b.crop)) for b in _worst(material, p.faces)] for p in people}
        return Audit(told, page(told, pictures))
    finally:
        watched.close()


def _worst(material: Material, faces: tuple[int, ...]) -> list[Bad]:
    every = [bad for k in faces for bad in material.watched.faces[k].worst]
    return sorted(every, key=lambda b: (-b.badness, b.frame))[:8]


def _signals(material: Material, stream: TextIO | None) -> list[dict[str, Any]]:
    from deid.models.morphable.geometry import load_geometry

    geometry = load_geometry()
    watched = material.watched
    found = [
        signals.signals_of(geometry, watched.records, seen, series, watched.size)
        for seen, series in zip(watched.faces, material.series, strict=True)
    ]
    if stream is not None:
        faces = {seen.face.number: k + 1 for k, seen in enumerate(watched.faces)}
        owner = {watched.faces[k].face.number: p.id for p in material.people for k in p.faces}
        signals.write_csv(stream, found, owner, faces)
    return signals.agreement(list(zip(found, material.series, strict=True)))
