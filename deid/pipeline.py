"""One run, top to bottom: analyse, plan, render, verify, commit.

Two passes over the source. The first finds and follows every face and keeps nothing but their places; the second
replaces or obscures them and encodes. Where faces are only obscured, the second runs a few seconds behind the first, on
the same frames (:mod:`deid.ahead`). Frames picked from the second pass are searched again after they are finished; when
a face is found uncovered, it is followed both ways from there, and the second pass repeated. The output appears under
its name only when all of that has gone well.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from threadpoolctl import threadpool_limits

from deid.ahead import Ahead
from deid.choice import Fate
from deid.compare import Comparer, choose_faces, replaced_faces
from deid.config import OBSCURING, RunConfig
from deid.early import Early, Tail, room
from deid.errors import PrivacyError, UsageError
from deid.files import check_places, written
from deid.first_pass import analyse, open_reader, patch
from deid.media import EncodeSettings, Writer, check_target, probe
from deid.memory import return_memory
from deid.mending import other_faces
from deid.models.engine import COMPILES, Engine, compiles_first, open_engine
from deid.personas import Book
from deid.plan import Plan, Replacement, behind, make_plan, rate_of
from deid.progress import Progress
from deid.recognition.thresholds import FAR_1E3
from deid.redaction import Obscurer
from deid.released import MENDED, Check, Released
from deid.render import Finisher, Rendered, checked, painters
from deid.report import RunReport, VerifyReport
from deid.segments import Segments
from deid.tell import Teller
from deid.tracking.observe import Observer
from deid.tracking.scan import Searchers
from deid.types import Analysis, Frame, MediaInfo
from deid.verify import Verifier, choose_frames

if TYPE_CHECKING:
    from deid.audit.during import RunAudit

_ROUNDS = 5


@dataclass(slots=True)
class _Clock:
    """Wall time by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(slots=True)
class _Later:
    """The engine, which takes half a second to load: it is opened while the first frames are decoded and searched."""

    make: Callable[[], Engine | None]
    progress: Progress
    engine: Engine | None = None

    def observer(self) -> Observer | None:
        """Open it. Raises what opening it raises."""
        self.engine = self.make()
        if self.engine is None:
            return None
        if compiles_first():
            self.progress.note(COMPILES)
        return self.engine.observer


def run(
    source: Path, target: Path | None, config: RunConfig, progress: Progress, book: Book | None = None
) -> RunReport:
    """De-identify ``source`` into ``target`` (``None`` only with ``config.dry_run``). ``book``: where the files of a
    batch keep their people.

    Raises the errors of :mod:`deid.errors`; whatever is raised, no output and no temporary file is left behind.
    """
    clock = _Clock()
    info = probe(source)
    if target is not None:
        check_target(target, config.overwrite, info)
        _refuse_own_files(target, config)
        check_places((config.html, config.signals), (source, target, config.recogniser), config.overwrite)
    seed = secrets.randbits(32) if config.seed is None else config.seed
    # products of small matrices: BLAS's own threads, one for each core in each of ours, would spend their time waiting
    with threadpool_limits(1, user_api="blas"), written(config.signals, config.overwrite) as signals:
        audit = _open_audit(source, target, config, progress, signals)
        later = _Later(lambda: open_engine(config, seed, book), progress)
        try:
            report = _run(source, target, config, progress, clock, info, seed, later, audit)
            return replace(report, audit=audit.found.report) if audit is not None and audit.found else report
        finally:
            if later.engine is not None:
                later.engine.close()


def _open_audit(
    source: Path, target: Path | None, config: RunConfig, progress: Progress, signals: TextIO | None
) -> RunAudit | None:
    if not config.audit or target is None:
        return None
    from deid.audit.during import RunAudit

    return RunAudit(source, target, config, progress, signals)


def _run(
    source: Path,
    target: Path | None,
    config: RunConfig,
    progress: Progress,
    clock: _Clock,
    info: MediaInfo,
    seed: int,
    later: _Later,
    audit: RunAudit | None = None,
) -> RunReport:
    replacements: dict[int, Replacement] = {}
    rendered: Rendered | None = None
    with ExitStack() as stack:
        ahead = early = tail = searchers = None
        if target is not None and config.engine in OBSCURING and not config.dry_run and config.segments < 2:
            ahead = _open_ahead(stack, source, target, config, seed, audit)
        elif target is not None and not config.dry_run and config.threads > 1:
            tail = Tail(room(open_reader(source, config).info, config.start, config.end))
            # the check at the end uses the networks of the search again
            searchers = stack.enter_context(Searchers(config.threads, 1 if config.threads <= 2 else 2))
        with clock.stage("analyse"):
            analysis, seconds = analyse(source, config, progress, later.observer, ahead, tail, searchers)
        engine = later.engine
        apart = Segments.suitable(source, target, config, seed, analysis, seconds, engine)
        if searchers is not None:
            searchers.keep_one()
        if engine is not None:
            return_memory()
            with clock.stage("invert"):
                if tail is not None and apart is None:
                    early = stack.enter_context(Early(tail.after(open_reader(source, config))))
                replacements = engine.invert(analysis, seconds, progress)
            engine.observer.close()  # its networks would stay beside the second pass
            return_memory()
        fates = engine.decisions().fates if engine is not None else {}
        plan, replacements = _planned(analysis, config, replacements, fates, engine)
        tell = Teller(config, info, seconds, clock.seconds, seed, engine)
        if target is None or config.dry_run:
            return tell(analysis, plan, None, None, info.streams, ())
        args = (source, target, config, seed)
        if ahead is not None:
            with clock.stage("render"):
                rendered = ahead.complete(analysis, plan, progress)
        elif early is not None:
            with clock.stage("render"):
                rendered = _attempt(*args, analysis, plan, replacements, progress, engine, audit, 1, searchers, early)
    for attempt in range(1, _ROUNDS + 1):
        if rendered is None:
            with clock.stage("render"):
                rendered = _attempt(*args, analysis, plan, replacements, progress, engine, audit, attempt, apart=apart)
        if rendered.passed:
            compared = rendered.compared, rendered.nearest, rendered.decoded
            verified = VerifyReport(rendered.checked, attempt, *compared)
            return tell(analysis, plan, target, verified, rendered.streams, rendered.notes)
        if attempt == _ROUNDS:
            break
        with clock.stage("patch"):
            analysis, replacements = _repair(
                source, config, analysis, seconds, replacements, rendered, progress, engine, attempt
            )
        plan, replacements = _planned(analysis, config, replacements, fates, engine)
        rendered = None
    raise PrivacyError(
        "an original face was still found in the finished picture after several repairs, so no output was made; "
        "run again with a lower --threshold."
    )


def _planned(
    analysis: Analysis,
    config: RunConfig,
    replacements: dict[int, Replacement],
    fates: Mapping[int, Fate],
    engine: Engine | None,
) -> tuple[Plan, dict[int, Replacement]]:
    """What happens to every face, and the replacements less the faces that an obscured one hides."""
    plan = make_plan(analysis, config, replacements, fates)
    hidden = behind(analysis, plan) if engine is not None else []
    if engine is None or not hidden:
        return plan, replacements
    replacements = {**replacements}
    first = {track.id: track.first for track in analysis.tracks}
    for frame, face in hidden:
        if replacements[face.track].weights[frame - first[face.track]] > 0:  # the one before may have taken it along
            replacements[face.track] = engine.refuse(face.track, face.row, "covered")
    return make_plan(analysis, config, replacements, fates), replacements


def _open_ahead(
    stack: ExitStack, source: Path, target: Path, config: RunConfig, seed: int, audit: RunAudit | None
) -> Ahead | None:
    """What renders while the analysis still runs, where that is possible."""
    info = open_reader(source, config).info
    rate = rate_of(info)
    if not Ahead.suits(info, rate, config):
        return None
    obscurer = Obscurer(config.obscures_by, seed)
    writer = stack.enter_context(_writer(source, target, info, config, "obscured", seed, audit))
    # the encoder keeps the cores busy: one search at a time is enough, and spares the memory of another
    searchers = stack.enter_context(Searchers(config.threads, 1 if config.threads <= 2 else 2))
    verifier = Verifier(config.threads, (), config.threshold, searchers)
    return stack.enter_context(Ahead(info, rate, config, obscurer.apply, writer, verifier, searchers))


def _attempt(
    source: Path,
    target: Path,
    config: RunConfig,
    seed: int,
    analysis: Analysis,
    plan: Plan,
    replacements: dict[int, Replacement],
    progress: Progress,
    engine: Engine | None,
    audit: RunAudit | None = None,
    attempt: int = 1,
    searchers: Searchers | None = None,
    frames: Iterable[Frame] | None = None,
    apart: Segments | None = None,
) -> Rendered:
    """The second pass and its check; the output gets its name when nothing is found. ``searchers``: to check
    with. ``frames``: the source's, where they are being read already. ``apart``: finishes them in parts."""
    if audit is not None:
        audit.kept = plan.kept
    sampled, compared = choose_frames(analysis), choose_faces(analysis, plan)
    known = [*plan.kept, *(t for t in analysis.tracks if t.id in replacements and replacements[t.id].weights.any())]
    shown = replaced_faces(plan)
    kind = "synthetic" if plan.replaces else "obscured"
    with _writer(source, target, analysis.media, config, kind, seed, audit) as writer:
        with (
            Verifier(config.threads, known, config.threshold, searchers) as verifier,
            Comparer(compared, engine, FAR_1E3, shown) as comparer,
        ):
            if apart is not None:
                apart.render(writer, analysis, plan, known, sampled, compared, verifier, comparer, progress, engine)
            else:
                frames = frames if frames is not None else open_reader(source, config)
                render(frames, writer, analysis, plan, config, seed, sampled, verifier, comparer, progress, engine)
        again = Released()
        if engine is not None:
            check = Check(engine, shown, FAR_1E3, threads=config.threads, attempt=attempt)
            again = check(writer.finish, comparer.seen)
        rendered = Rendered(
            leaks=verifier.leaks,
            checked=tuple(verifier.frames),
            matches=again.matches,
            hopeless=again.hopeless,
            recognised=comparer.pictures(again.tracks),
            compared=comparer.compared,
            nearest=min((d for d in (comparer.nearest, again.nearest) if d is not None), default=None),
            doubts=tuple(engine.doubts()) if engine else (),
            alike=again.alike,
            codes=again.codes,
            met=again.met,
            decoded=again.looked,
        )
        if rendered.passed:
            _commit(writer, target, engine)
        return replace(rendered, streams=writer.streams, notes=writer.notes)


def _commit(writer: Writer, target: Path, engine: Engine | None) -> None:
    """The output gets its name, and what has to last with it lasts; both or neither, as far as a disk allows."""
    if engine is None:
        writer.commit()
        return
    engine.prepare()
    writer.commit()
    try:
        engine.commit()
    except BaseException:
        shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        raise


def _refuse_own_files(target: Path, config: RunConfig) -> None:
    for path in (config.key, config.registry, config.plan, *config.keep_like):
        if path is not None and os.path.realpath(path) == os.path.realpath(target):
            raise UsageError(f"{target} is the key, the registry, the plan or a photo of this run; choose another.")


def _repair(
    source: Path,
    config: RunConfig,
    analysis: Analysis,
    seconds: list[float],
    replacements: dict[int, Replacement],
    rendered: Rendered,
    progress: Progress,
    engine: Engine | None,
    attempt: int,
) -> tuple[Analysis, dict[int, Replacement]]:
    """What the check after the ``attempt``-th rendering, from 1, found, taken into the plan: bare faces are followed,
    recognisable ones get another face or are obscured, doubtful ones are obscured, with all of their tracks if this
    repair is the last: a check of samples would go on finding others."""
    last = attempt == _ROUNDS - 1
    if (rendered.matches or rendered.alike) and engine is not None:
        others = other_faces(seconds, rendered, progress, engine, first=attempt <= MENDED, last=last)
        replacements = {**replacements, **others}
    if rendered.doubts and engine is not None:
        progress.note("something lies before a face that could not be told from it: obscuring there, rendering again")
        replacements = {**replacements}
        for _, face in rendered.doubts:
            replacements[face.track] = engine.refuse(face.track, face.row, "covered", everywhere=last)
    if rendered.leaks:
        when = ", ".join(f"{seconds[frame]:.2f} s" for frame in rendered.leaks)
        progress.note(f"a face was found uncovered at {when}: following it and rendering again")
        analysis = patch(source, config, analysis, rendered.leaks, progress)
    return analysis, replacements


def render(
    frames: Iterable[Frame],
    writer: Writer,
    analysis: Analysis,
    plan: Plan,
    config: RunConfig,
    seed: int,
    sampled: frozenset[int],
    verifier: Verifier,
    comparer: Comparer,
    progress: Progress,
    engine: Engine | None,
) -> None:
    """Second pass: replace, obscure, encode, and hand the finished frames ``sampled`` to the verifier."""
    finish = Finisher(analysis, plan, config, seed, engine)
    progress.stage("rendering", analysis.frames)
    count = 0
    workers = painters(config.threads, plan.replaces)
    for done in checked(frames, finish, workers, plan, sampled, verifier, comparer):
        writer.write(done)
        count += 1
        progress.advance()
    if count != analysis.frames:
        raise PrivacyError(
            f"the two passes read {analysis.frames} and {count} frames, so faces cannot be placed safely; "
            "copy the source to a local disk and run again."
        )


def _writer(
    source: Path, target: Path, info: MediaInfo, config: RunConfig, kind: str, seed: int, audit: RunAudit | None = None
) -> Writer:
    """``info``: of the frames as they are read. ``kind``: what the mark says its faces are."""
    settings = EncodeSettings(
        codec=config.codec,
        crf=config.crf,
        preset=config.preset,
        keep_metadata=config.keep_metadata,
        mark=kind if config.mark else None,
        watermark=config.watermark,
        threads=config.threads,
        audio=config.audio,
        voice_seed=seed,
        salvage=config.salvage,
    )
    return Writer(
        target,
        info,
        source=source,
        settings=settings,
        start=config.start,
        end=config.end,
        overwrite=config.overwrite,
        inspect=audit,
    )
