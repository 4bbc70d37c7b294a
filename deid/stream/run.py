"""One stream, top to bottom: read, find, follow, decide, finish, check, hand on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from deid.config import OBSCURING, RunConfig
from deid.errors import DeidError, InputError, UsageError
from deid.media import EncodeSettings
from deid.models.engine import COMPILES, compiles_first
from deid.models.morphable.live import LiveEngine
from deid.plan import Plan, rate_of
from deid.progress import Progress
from deid.stream.capture import AvSource, Dropping
from deid.stream.leaving import Found, Leaving, plan_of
from deid.stream.sinks import FileSink, Sink, Target, open_sink
from deid.stream.sources import FileSource, Source, Stop, Wanted, open_source
from deid.stream.window import Batch, Gate, Timing, Window
from deid.tracking.examine import Examiner
from deid.tracking.scan import Scanner, Searchers
from deid.tracking.schedule import Schedule
from deid.tracking.tracker import Tracker

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds between which a delay may be."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a stream did. ``frames``: how many left; ``dropped``: of a live source, those that came too fast.
    ``delay``: what was asked for, and ``longest``: the longest that a frame stayed, in the stream's own time;
    ``waited``: by the clock, in the middle and at most. ``rate``: frames a second by the clock; ``wanted``: of the
    source. ``faces``, ``replaced``: faces in frames, and those of them that were replaced rather than obscured.
    ``checked``: finished frames that were searched again; ``bare``: faces found in them; ``compared``: faces that were
    compared with their originals, ``recognised`` and obscured for it, ``nearest`` the least distance; ``doubts``: faces
    that something lay before; ``damaged``: frames around damage of a source, which are obscured whole. ``stopped``:
    whether somebody asked for the end."""

    source: str
    target: str
    engine: str
    seed: int
    width: int
    height: int
    frames: int
    dropped: int
    reconnects: int
    seconds: float
    delay: float
    longest: float
    waited: tuple[float, float]
    rate: float
    wanted: float
    people: int
    faces: int
    replaced: int
    checked: int
    bare: int
    compared: int
    recognised: int
    doubts: int
    nearest: float | None
    stopped: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: str = ""
    damaged: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        share = f"{self.replaced} of {self.faces} faces replaced" if self.engine not in OBSCURING else "all obscured"
        out = [
            f"{self.frames} frames of {self.width} x {self.height} in {self.seconds:.1f} s: {self.rate:.1f} a second"
            f" (the source has {self.wanted:.4g})",
            f"delay {self.longest:.2f} s of the stream at most ({self.delay:g} asked for); by the clock "
            f"{self.waited[0]:.2f} s in the middle, {self.waited[1]:.2f} s at most",
            f"faces: {share}; {self.checked} finished frames searched again, {self.bare} bare faces covered; "
            f"{self.compared} compared, {self.recognised} still recognised and obscured",
        ]
        if self.dropped or self.reconnects:
            out.append(f"{self.dropped} frames dropped; the source was opened again {self.reconnects} times")
        if self.damaged:
            out.append(f"{self.damaged} damaged frame{'s' if self.damaged > 1 else ''} obscured whole")
        return out + list(self.notes)


@dataclass(slots=True)
class _Stream:
    """What one stream is made of, while it runs."""

    config: RunConfig
    source: Source
    sink: Sink
    timing: Timing
    gate: Gate
    leaving: Leaving
    engine: LiveEngine | None
    progress: Progress
    stop: Stop
    pool: ThreadPoolExecutor
    under_way: Future[None] | None = None
    began: float = field(default_factory=time.monotonic)

    def go(self, searchers: Searchers, schedule: Schedule) -> None:
        """From the first frame to the last; raises what the source raised after the frames before it have left."""
        examiner = Examiner()
        failure: DeidError | None = None
        try:
            failures: list[DeidError] = []
            frames = self.gate.passing(_ending(self.source, failures))
            with Scanner(frames, schedule, threads=self.config.threads, searchers=searchers) as scanner:
                observer = self.engine.observer if self.engine is not None else None
                tracker = Tracker(examiner, threshold=self.config.threshold, observer=observer)
                window = Window(self.source.info, self.timing)
                try:
                    for chunk in scanner:
                        tracker.feed(chunk)
                        self._send(window.feed(chunk, tracker))
                        scanner.result.seconds.clear()
                        scanner.result.damaged.clear()
                        self.progress.advance(len(chunk.views) - (0 if chunk.cut else 1))
                    tracker.finish()
                    self._send(window.rest(tracker))
                    self._wait()
                except BaseException:
                    self.stop.failed()
                    raise
                finally:
                    self.gate.close()
            failure = failures[0] if failures else None
        finally:
            examiner.close()
        if failure is not None:
            raise failure

    def _send(self, batches: Iterator[Batch]) -> None:
        """Decide about each batch, and have it finished while the next frames are looked at."""
        for batch in batches:
            self._wait()
            if self.engine is not None:
                batch, replacements = self.engine.look(batch)
                plan = plan_of(batch, self.config, replacements)
            else:
                plan = plan_of(batch, self.config)
            self.under_way = self.pool.submit(self._leave, batch, plan)

    def _leave(self, batch: Batch, plan: Plan) -> None:
        try:
            self.leaving(batch, plan)
        except BaseException:
            self.gate.close()  # nothing leaves any more, so nothing that waits to come in ever could
            raise

    def _wait(self) -> None:
        if self.under_way is not None:
            self.under_way.result()
            self.under_way = None


def _ending(source: Source, failures: list[DeidError]) -> Iterator[Any]:
    """The source's frames; an error of its own ends them, and is kept for later."""
    try:
        yield from source
    except DeidError as failure:
        failures.append(failure)


def run(
    wanted: Wanted, target: Target, config: RunConfig, delay: float, progress: Progress, stop: Stop
) -> StreamReport:
    """De-identify a stream. ``delay``: seconds between a frame's coming and its leaving, at most, in its own time.
    ``stop``: asks for the end; what came until then is finished.

    Raises the errors of :mod:`deid.errors`. Where the source fails on the way, what came until then is finished first;
    the error then has the report as its ``report``."""
    if config.engine not in (*OBSCURING, "morphable"):
        raise UsageError(f"engine {config.engine} is not for streams; use morphable, blur, pixelate or solid.")
    if not SHORTEST <= delay <= LONGEST:
        raise UsageError(f"delay is {delay:g}; it must be from {SHORTEST:g} to {LONGEST:g} seconds.")
    seed = secrets.randbits(32) if config.seed is None else config.seed
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        source = open_source(wanted, stop)
        stack.callback(source.close)
        return _run(stack, source, target, config, delay, seed, progress, stop)


def _run(
    stack: ExitStack, source: Source, target: Target, config: RunConfig, delay: float, seed: int, progress: Progress,
    stop: Stop,
) -> StreamReport:  # fmt: skip
    info = source.info
    rate = rate_of(info)
    # where frames may be dropped those that are left lie farther apart, and are searched more often
    schedule = Schedule.plan(info.width, info.height, rate / 2 if source.live else rate, config.detect)
    timing = Timing.of(delay, rate, schedule)
    engine = None
    if config.engine not in OBSCURING:
        engine = LiveEngine(config, seed, timing.ahead, waits=not source.live)
        stack.callback(engine.close)
        if compiles_first():
            progress.note(COMPILES)
    sink = stack.enter_context(_opened(target, source, _settings(config, source, seed)))
    inner = source.source if isinstance(source, Dropping) else source
    if isinstance(sink, FileSink) and isinstance(inner, AvSource) and inner.sound_template is not None:
        source.notes.append("the source's sound is not in this file; with --to mkv it would be")
    searchers = stack.enter_context(Searchers(config.threads, 1 if config.threads <= 2 else 2))
    gate = Gate(timing, stop)

    def write(frame: Any) -> None:
        sink.write(frame)
        gate.leave()

    refuse: Callable[[int, int, float], None] = engine.refuse_around if engine is not None else lambda *_: None
    leaving = Leaving(
        config, seed, engine, searchers, write, refuse, engine.recognised if engine is not None else None,
        config.threads,
    )  # fmt: skip
    pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="leave"))
    stream = _Stream(config, source, sink, timing, gate, leaving, engine, progress, stop, pool)
    progress.stage("streaming", info.frames)
    failure: DeidError | None = None
    try:
        stream.go(searchers, schedule)
    except DeidError as error:
        if stream.under_way is not None or gate.left == 0 or not isinstance(error, InputError):
            raise
        failure = error
    if engine is not None:
        engine.prepare()
    sink.finish()
    if engine is not None:
        engine.commit()
    took = time.monotonic() - stream.began
    report = _report(source, target, config, seed, delay, gate, leaving.found, engine, took, stop, failure)
    if failure is not None:
        failure.args = (f"{str(failure).rstrip('.')}; the {gate.left} frames before that are finished.",)
        failure.report = report  # type: ignore[attr-defined]
        raise failure
    return report


@contextmanager
def _opened(target: Target, source: Source, settings: EncodeSettings) -> Iterator[Sink]:
    sink = open_sink(target, source, settings)
    try:
        yield sink
    finally:
        sink.close()


def _settings(config: RunConfig, source: Source, seed: int) -> EncodeSettings:
    if config.audio == "mask" and not isinstance(source, FileSource):
        raise UsageError("voices of a live source are not masked; give --audio drop, or mask them in a file later.")
    return EncodeSettings(
        codec=config.codec, crf=config.crf, preset=config.preset, keep_metadata=config.keep_metadata,
        mark=("obscured" if config.engine in OBSCURING else "synthetic") if config.mark else None,
        threads=config.threads, audio=config.audio, voice_seed=seed,
    )  # fmt: skip


def _report(
    source: Source, target: Target, config: RunConfig, seed: int, delay: float, gate: Gate, found: Found,
    engine: LiveEngine | None, took: float, stop: Stop, failure: DeidError | None,
) -> StreamReport:  # fmt: skip
    inner = source.source if isinstance(source, Dropping) else source
    waits = sorted(gate.waits) or [0.0]
    info = source.info
    warnings = []
    if not found.faces:
        warnings.append("no face was found: every picture is as it was, so look at the result before you share it")
    return StreamReport(
        source=info.container, target=target.form or "video", engine=config.engine, seed=seed, width=info.width,
        height=info.height, frames=gate.left, dropped=source.dropped if isinstance(source, Dropping) else 0,
        reconnects=inner.reconnects if isinstance(inner, AvSource) else 0, seconds=round(took, 3), delay=delay,
        longest=round(gate.longest, 3), waited=(round(waits[len(waits) // 2], 3), round(waits[-1], 3)),
        rate=round(gate.left / max(took, 1e-6), 2), wanted=round(rate_of(info), 3),
        people=engine.people_met if engine is not None else 0, faces=found.faces, replaced=found.replaced,
        checked=found.checked, bare=found.bare, compared=found.compared, recognised=found.recognised,
        doubts=found.doubts, nearest=None if found.nearest is None else round(found.nearest, 3), stopped=stop.asked,
        notes=tuple(dict.fromkeys((*info.notes, *source.notes))), warnings=tuple(warnings),
        failure=str(failure) if failure is not None else "", damaged=found.damaged,
    )  # fmt: skip
