"""The second pass: decode, replace, obscure, encode."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from deid.config import RunConfig
from deid.models.engine import Met, Painter
from deid.plan import FaceAt, Plan, Veil
from deid.redaction import Obscurer
from deid.released import Alike
from deid.types import Analysis, Detection, Frame, StreamInfo

if TYPE_CHECKING:
    from deid.compare import Comparer
    from deid.verify import Verifier


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One rendering and what its check found. ``leaks``: bare faces by frame; ``checked``: the frames that were
    searched; ``matches``: (frame, face) that are still recognised, of ``compared``, the ``nearest`` at this distance;
    ``hopeless``: those of them that no other face would help; ``doubts``: (frame, face) with something before the
    face. ``recognised``: pictures of who is recognised, see :meth:`deid.compare.Comparer.pictures`.
    ``alike``, ``codes``, ``met``, ``decoded``: people who look like one another in the finished file, the codes of
    their faces, what else is known of who is to change, and how many faces were looked at there, see
    :class:`deid.released.Released`.
    ``streams``, ``notes``: the writer's."""

    leaks: dict[int, list[Detection]]
    checked: tuple[int, ...]
    matches: tuple[tuple[int, FaceAt], ...] = ()
    hopeless: frozenset[tuple[int, FaceAt]] = frozenset()
    compared: int = 0
    nearest: float | None = None
    doubts: tuple[tuple[int, FaceAt], ...] = ()
    recognised: Mapping[int, Sequence[tuple[int, np.ndarray]]] = field(default_factory=dict)
    alike: tuple[Alike, ...] = ()
    codes: Mapping[int, np.ndarray] = field(default_factory=dict)
    met: Mapping[int, Met] = field(default_factory=dict)
    decoded: int = 0
    streams: tuple[StreamInfo, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the output may be kept."""
        return not (self.leaks or self.matches or self.doubts or self.alike)


class Finisher:
    """Turns source frames into finished ones. Thread-safe, deterministic. ``engine`` may be ``None`` when the plan
    replaces nothing."""

    def __init__(self, analysis: Analysis, plan: Plan, config: RunConfig, seed: int, engine: Painter | None) -> None:
        self._obscurer = Obscurer(config.obscures_by, seed)
        self._plan = plan
        self._engine = engine
        self._damaged = frozenset(analysis.damaged)

    def __call__(self, frame: Frame) -> Frame:
        if frame.index in self._damaged:
            return self._obscurer.obscure_frame(frame)
        # new faces go over what is obscured: who walks behind somebody else is no blot on that one's new face
        frame = self._obscurer.apply(frame, self._plan.regions.get(frame.index, ()))
        faces = self._plan.faces.get(frame.index, ())
        if not faces:
            return frame
        assert self._engine is not None
        return self._veiled(frame, self._engine.paint(frame, faces), self._plan.veils.get(frame.index, ()))

    def _veiled(self, frame: Frame, done: Frame, veils: Sequence[Veil]) -> Frame:
        """Obscured versions of the source laid over finished faces, partly transparent."""
        for veil in veils:
            covered = self._obscurer.apply(frame, (veil.region,))
            planes = []
            for source, ours, theirs in zip(frame.planes, done.planes, covered.planes, strict=True):
                if theirs is source:
                    planes.append(ours)
                    continue
                rows, columns = np.nonzero((theirs != source).any(1))[0], np.nonzero((theirs != source).any(0))[0]
                if len(rows) == 0:
                    planes.append(ours)
                    continue
                area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                mixed = ours.copy()
                blend = ours[area].astype(np.float32) * (1 - veil.opacity) + theirs[area] * np.float32(veil.opacity)
                mixed[area] = np.rint(blend).astype(ours.dtype)
                planes.append(mixed)
            done = replace(done, planes=tuple(planes))
        return done


def painters(threads: int, replaces: bool) -> int:
    """How many workers finish frames: none where faces are only obscured, which takes little."""
    # while one has its turn in Python, two are in compiled loops (deid.turns)
    return (3 if threads > 1 else 1) if replaces else 0


def checked(
    frames: Iterable[Frame],
    finish: Finisher,
    workers: int,
    plan: Plan,
    sampled: Collection[int],
    verifier: Verifier,
    comparer: Comparer,
) -> Iterator[Frame]:
    """Finished frames, in order, each after the checks have it: ``comparer`` is handed all, with their sources,
    ``verifier`` those ``sampled``."""
    for frame, done in finished(frames, finish, workers):
        if frame.index in sampled:
            verifier.submit(done, plan.regions.get(frame.index, ()))
        comparer.submit(frame, done)
        yield done


def finished(frames: Iterable[Frame], finish: Finisher, threads: int) -> Iterator[tuple[Frame, Frame]]:
    """Pairs of source and finished frames, in order; the work is done by ``threads`` workers, a few frames ahead, or
    by the caller when there are none."""
    if threads == 0:
        yield from ((frame, finish(frame)) for frame in frames)
        return
    waiting: deque[tuple[Frame, Future[Frame]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="finish")
    try:
        for frame in frames:
            waiting.append((frame, pool.submit(finish, frame)))
            if len(waiting) > threads + 1:
                source, job = waiting.popleft()
                yield source, job.result()
        while waiting:
            source, job = waiting.popleft()
            yield source, job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
