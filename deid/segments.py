"""The second pass in parts: one analysis, one plan, and its frames finished in several processes.

A clip is cut where its picture is, so that no face, and nothing of what is checked about one, goes on from one part to
the next. Where that is follows from the clip alone, and so what comes out is the same for two processes and for twenty.
Every frame is what it would be otherwise, bit for bit, and so are all times; encoded it differs slightly, since each
encoder begins anew: rate control knows nothing of the part before.

Each process is told what its part takes, through a pipe, and gives back packets in a file without a name. It dies with
the one that started it. Sound and everything else is copied once, when parts are joined (:mod:`deid.media.parts`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deid.compare import Comparer, replaced_faces
from deid.config import RunConfig
from deid.errors import DeidError, PrivacyError
from deid.media import Reader, Writer
from deid.media.parts import Encoding, Part, PartSink
from deid.plan import FaceAt, Plan, rate_of
from deid.progress import Progress
from deid.recognition.thresholds import FAR_1E3
from deid.released import Compared
from deid.render import Finisher, checked, painters
from deid.types import Analysis, Detection, Frame, Track
from deid.verify import Verifier

if TYPE_CHECKING:
    from deid.models.engine import Engine, Painter

LEAST_SECONDS = 10.0
"""A part is at least so long: beginning one costs a process what a second or two of painting does."""
_LEAST_FRAMES = 8  # more than any encoder holds back
_JOINABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_OFTEN = 10  # frames between two messages about how far it is
_ENTRY = "import sys; sys.path[:] = sys.argv[3].split(chr(10)); from deid.segments import main; main()"


@dataclass(frozen=True, slots=True)
class Setup:
    """What every part takes. ``replaces``: whether any face of the whole clip is replaced."""

    source: Path
    config: RunConfig
    seed: int
    encoding: Encoding
    analysis: Analysis
    replaces: bool


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One part: frames ``first`` to ``end``, excluded, which lie between the times ``begins`` and ``ends`` (``None``:
    where the clip does); ``state``: of :mod:`deid.models.morphable.ranges`. The rest is as :func:`deid.pipeline.render`
    and its check have it, of these frames."""

    number: int
    first: int
    end: int
    begins: float | None
    ends: float | None
    plan: Plan
    known: tuple[Track, ...]
    sampled: frozenset[int]
    compared: dict[int, list[FaceAt]]
    state: bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What came of a part: packets, and what its check found, as :class:`Verifier` and :class:`Comparer` tell it."""

    number: int
    part: Part
    searched: tuple[int, ...] = ()
    leaks: Mapping[int, list[Detection]] = field(default_factory=dict)
    seen: tuple[Compared, ...] = ()
    pictures: Mapping[int, Any] = field(default_factory=dict)
    doubts: tuple[tuple[int, FaceAt], ...] = ()


def ranges_of(analysis: Analysis, least: float | None = None) -> list[tuple[int, int]]:
    """The parts of a clip, as (first frame, first frame of the next), each at least ``least`` seconds long."""
    enough = max(_LEAST_FRAMES, round((LEAST_SECONDS if least is None else least) * rate_of(analysis.media)))
    edges = [0]
    for shot in analysis.shots[1:]:
        if shot.first - edges[-1] >= enough and analysis.frames - shot.first >= enough:
            edges.append(shot.first)
    return list(zip(edges, [*edges[1:], analysis.frames], strict=True))


class Segments:
    """``seconds``: the frames' times, from the source's first."""

    def __init__(
        self, source: Path, config: RunConfig, seed: int, ranges: Sequence[tuple[int, int]], seconds: Sequence[float]
    ) -> None:
        self._source, self._config, self._seed = source, config, seed
        self._ranges, self._seconds = ranges, seconds

    @classmethod
    def suitable(
        cls, source: Path, target: Path | None, config: RunConfig, seed: int, analysis: Analysis,
        seconds: Sequence[float], engine: Engine | None,
    ) -> Segments | None:  # fmt: skip
        """For a clip that may be finished in parts, if that was asked for; else ``None``."""
        if config.segments < 2 or analysis.media.kind != "video" or analysis.damaged or config.salvage:
            return None
        if target is None or target.suffix.lower() not in _JOINABLE:
            return None
        if engine is not None and config.engine != "morphable":
            return None
        ranges = ranges_of(analysis)
        return cls(source, config, seed, ranges, seconds) if len(ranges) > 1 else None

    def render(
        self, writer: Writer, analysis: Analysis, plan: Plan, known: Sequence[Track], sampled: frozenset[int],
        compared: Mapping[int, list[FaceAt]], verifier: Verifier, comparer: Comparer, progress: Progress,
        engine: Engine | None,
    ) -> None:  # fmt: skip
        """As :func:`deid.pipeline.render`: what ``verifier`` and ``comparer`` would have found they are told."""
        first = self._first_time()
        encoding = writer.encoding(first)
        if encoding is None:
            raise DeidError(f"{writer.target} cannot be encoded in parts; run again with --segments 1.")
        progress.stage("rendering", analysis.frames)
        slim = replace(analysis, tracks=())
        setup = Setup(self._source, self._config, self._seed, encoding, slim, plan.replaces)

        def task(number: int) -> Task:
            return self._task(number, plan, known, sampled, compared, engine)

        parts = len(self._ranges)
        count = min(self._config.segments, parts)
        with ExitStack() as stack:
            folder = os.path.dirname(os.path.abspath(writer.target))
            files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(count)]
            hands = [stack.enter_context(_Hand(setup, file.fileno())) for file in files]
            found = dict(_shared_out(hands, parts, task, progress))
            told = [found[number] for number in range(parts)]
            writer.join(first, [(files[place].fileno(), of.part) for place, of in told])
        self._tell([of for _, of in told], verifier, comparer, engine)

    def _first_time(self) -> Fraction:
        for frame in _reader(self._source, self._config, self._config.start, self._config.end):
            return frame.pts * frame.time_base
        raise PrivacyError("the source gave no frame when it was read again; copy it to a local disk and run again.")

    def _task(
        self, number: int, plan: Plan, known: Sequence[Track], sampled: frozenset[int],
        compared: Mapping[int, list[FaceAt]], engine: Engine | None,
    ) -> Task:  # fmt: skip
        first, end = self._ranges[number]
        mine = range(first, end)
        part = replace(plan.among(mine), outcomes={}, states={}, reasons={}, doubtful={})  # no more than it needs
        state = None
        if engine is not None and part.faces:
            from deid.models.morphable.ranges import packed, state_of

            state = packed(state_of(engine, part.faces.values()))
        return Task(
            number, first, end, self._between(first, self._config.start), self._between(end, self._config.end), part,
            tuple(t for t in known if t.first < end and t.last >= first), sampled & frozenset(mine),
            {f: compared[f] for f in mine if f in compared}, state,
        )  # fmt: skip

    def _between(self, frame: int, edge: float | None) -> float | None:
        """A time between a frame and the one before it; ``edge`` where there are not both."""
        if not 0 < frame < len(self._seconds):
            return edge
        return (self._seconds[frame - 1] + self._seconds[frame]) / 2

    def _tell(self, found: Sequence[Found], verifier: Verifier, comparer: Comparer, engine: Engine | None) -> None:
        for of in found:
            verifier.add(of.searched, of.leaks)
            comparer.add(of.seen, of.pictures)
            if of.doubts and engine is not None:
                from deid.models.morphable.ranges import take_doubts

                take_doubts(engine, of.doubts)


class _Hand:
    """A process that finishes parts, one after the other. A context manager: leaving it ends the process."""

    def __init__(self, setup: Setup, handle: int) -> None:
        self._setup, self._file = setup, handle

    def __enter__(self) -> _Hand:
        their_in, our_out = os.pipe()
        our_in, their_out = os.pipe()
        os.set_inheritable(self._file, True)
        paths = "\n".join(path or os.getcwd() for path in sys.path)
        words = [f"{their_in} {their_out} {self._file}", str(os.getpid()), paths]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ENTRY, *words], pass_fds=(their_in, their_out, self._file),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(their_in)
            os.close(their_out)
        self.ear = Connection(our_in, writable=False)
        self._mouth = Connection(our_out, readable=False)
        self.say(self._setup)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self.ear.close()
        with suppress(OSError):
            self._mouth.close()

    def say(self, what: object) -> None:
        """Give it its next part."""
        with suppress(BrokenPipeError):  # it has ended, which its silence tells
            self._mouth.send(what)


def _shared_out(
    hands: Sequence[_Hand], parts: int, task: Callable[[int], Task], progress: Progress
) -> Iterator[tuple[int, tuple[int, Found]]]:
    """Give out all parts; (number, (place of the hand, what it found)) as they come."""
    waiting = list(reversed(range(parts)))
    busy = 0
    for hand in hands:
        hand.say(task(waiting.pop()))
        busy += 1
    by_ear = {hand.ear: (place, hand) for place, hand in enumerate(hands)}
    while busy:
        progress.advance(0)  # a signal may want to be heard
        for place, hand in (by_ear[ear] for ear in wait(list(by_ear), 1.0) if isinstance(ear, Connection)):
            try:
                message = hand.ear.recv()
            except (EOFError, OSError):
                raise DeidError(
                    "a process that finished a part of the clip was killed or crashed; run again with fewer --segments."
                ) from None
            if isinstance(message, int):
                progress.advance(message)
            elif isinstance(message, Found):
                busy -= 1
                yield message.number, (place, message)
                if waiting:
                    hand.say(task(waiting.pop()))
                    busy += 1
            else:
                raise message


def main() -> None:
    """Finish parts until there are no more."""
    from threadpoolctl import threadpool_limits

    from deid.batch.worker import die_with_parent
    from deid.memory import keep_memory_together

    die_with_parent()
    if os.getppid() != int(sys.argv[2]):
        os._exit(1)
    keep_memory_together(at_ease=True)
    ear, mouth, file = (int(word) for word in sys.argv[1].split())
    inside, outside = Connection(ear, writable=False), Connection(mouth, readable=False)
    with suppress(EOFError), threadpool_limits(1, user_api="blas"):
        setup: Setup = inside.recv()
        while True:
            task: Task = inside.recv()
            try:
                found: object = _finish(setup, task, file, outside)
            except DeidError as error:
                found = error
            except Exception as error:
                found = RuntimeError(f"{type(error).__name__} in a part: {error}")
            outside.send(found)
    os._exit(0)


def _finish(setup: Setup, task: Task, file: int, outside: Connection) -> Found:
    engine: Painter | None = None
    if task.state is not None:
        from deid.models.morphable.ranges import RangePainter, unpacked

        state = unpacked(task.state)
        assert state is not None
        engine = RangePainter(state)
    config = setup.config
    finish = Finisher(setup.analysis, task.plan, config, setup.seed, engine)
    frames = _numbered(_reader(setup.source, config, task.begins, task.ends), task.first)
    sink = PartSink(setup.encoding, file)
    count = 0
    try:
        with (
            Verifier(config.threads, task.known, config.threshold) as verifier,
            Comparer(task.compared, engine, FAR_1E3, replaced_faces(task.plan)) as comparer,
        ):  # fmt: skip
            workers = painters(config.threads, setup.replaces)
            for done in checked(frames, finish, workers, task.plan, task.sampled, verifier, comparer):
                sink.write(done)
                count += 1
                if count % _OFTEN == 0:
                    outside.send(_OFTEN)
        if count != task.end - task.first:
            raise PrivacyError(
                f"the two passes read {task.end - task.first} and {count} frames of a part, so faces cannot be placed "
                "safely; copy the source to a local disk and run again."
            )
        doubts = tuple(engine.doubts()) if engine is not None else ()
        outside.send(count % _OFTEN)
        return Found(
            task.number, sink.part(), tuple(verifier.frames), verifier.leaks, tuple(comparer.seen),
            comparer.remembered, doubts,
        )  # fmt: skip
    finally:
        sink.close()
        if engine is not None:
            engine.close()


def _reader(source: Path, config: RunConfig, start: float | None, end: float | None) -> Reader:
    return Reader(
        source, start=start, end=end, max_height=config.max_height, salvage=config.salvage, threads=config.threads
    )


def _numbered(frames: Reader, first: int) -> Iterator[Frame]:
    for frame in frames:
        yield replace(frame, index=first + frame.index)
