"""Rendering that follows the analysis by a few seconds instead of waiting for its end, for runs that only obscure.

What happens to a face in a frame can depend on what is seen up to about four seconds later: a face is followed back,
a gap is bridged, a region grows before it has to. The frames of those seconds are kept, so that nothing is decoded a
second time; what lies further back is planned from what is known by then, obscured and encoded. At the end every frame
rendered so is compared with the plan of the whole clip. Where a face of that plan is not covered as it demands, all of
it is thrown away and the clip is rendered from its beginning: nothing depends on having guessed right but time.

What is rendered when is counted in frames, never in time, so that the same clip gives the same bits.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

from deid.config import RunConfig
from deid.media import Writer
from deid.plan import Plan, make_plan
from deid.progress import Progress
from deid.redaction import Region
from deid.redaction.shape import least_region
from deid.render import Rendered
from deid.tracking.scan import Chunk, Searchers
from deid.tracking.stitch import BRIDGE_SECONDS, is_lonely, stitch
from deid.tracking.tracker import MEMORY, Tracker
from deid.tracking.tracklet import Tracklet
from deid.types import Analysis, Frame, MediaInfo, Shot, Track
from deid.verify import EVERY, Verifier, weakness

_KEPT_BYTES = 288 << 20
"""Frames that wait may take so much memory; larger pictures are rendered in a pass of their own."""
_SETTLE_SECONDS = 1.0  # beyond what following may change: how far ahead regions look
_BACK_SECONDS = 2.0  # of the past that a provisional plan sees
_BATCH_SECONDS = 0.32
_DRAWN_AHEAD = 2  # frames obscured before their turn to be encoded: the encoder need not wait for the next one
_END_SECONDS = 0.6  # before a face is lost its boxes may still be put right
_NARROWER = 0.97  # of a region of the final plan what the rendered one must hold at least
_FAR = 1 << 40


@dataclass(slots=True)
class _Candidate:
    """The most doubtful finished frame of a stretch so far."""

    weak: float
    frame: Frame
    regions: Sequence[Region]


class Ahead:
    """Feed it every chunk after the tracker has seen it, then :meth:`complete` the clip. A context manager: leaving it
    stops the work.

    ``rate``: frames a second, about. ``obscure``: makes the finished frame of a frame and its regions. ``writer``,
    ``verifier`` and ``searchers`` are the caller's to close; the first two are used by a thread of this object's own.
    """

    def __init__(
        self,
        info: MediaInfo,
        rate: float,
        config: RunConfig,
        obscure: Callable[[Frame, Sequence[Region]], Frame],
        writer: Writer,
        verifier: Verifier,
        searchers: Searchers,
    ) -> None:
        self.searchers = searchers
        """For the analysis to use."""
        self.frames = 0
        """How many were rendered."""
        self._info, self._rate, self._config = info, rate, config
        self._obscure, self._writer, self._verifier = obscure, writer, verifier
        self._waiting: deque[Frame] = deque()
        self._shots: list[int] = []
        self._used: list[Sequence[Region]] = []
        self._candidate: _Candidate | None = None
        self._batch = max(8, round(rate * _BATCH_SECONDS))
        self._jobs: queue.Queue[tuple[Frame, Sequence[Region], float] | None] = queue.Queue(self._batch)
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="obscure")
        self._thread = threading.Thread(target=self._work, name="render", daemon=True)

    @staticmethod
    def suits(info: MediaInfo, rate: float, config: RunConfig) -> bool:
        """Whether a run can be rendered so: a video, everybody in it obscured, and not too large to keep."""
        chroma = 0.0 if info.format.grey else 2 * 0.5 ** sum(info.format.chroma_shift)
        size = info.width * info.height * (1 + chroma) * (1 if info.format.depth == 8 else 2)
        seconds = _SETTLE_SECONDS + _BATCH_SECONDS
        fits = size * (MEMORY + rate * seconds) <= _KEPT_BYTES
        return info.kind == "video" and not config.keep and not config.salvage and fits

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()

    # -- while the analysis runs ---------------------------------------------------------------------------------

    def feed(self, chunk: Chunk, tracker: Tracker) -> None:
        """Take the frames of a chunk, and render those that the analysis is through with."""
        new = chunk.views if chunk.cut else chunk.views[1:]
        if chunk.cut:
            self._shots.append(new[0].index)
        self._waiting.extend(view.frame for view in new)
        newest = new[-1].index
        # a cut ends everything before it
        limit = newest - MEMORY - round(self._rate * _SETTLE_SECONDS)
        if len(self._shots) > 1:
            limit = max(limit, self._shots[-1])
        if limit - self._waiting[0].index < self._batch:
            return
        first = max(0, self._waiting[0].index - round(self._rate * _BACK_SECONDS))
        pieces = [since(t, first) for t in tracker.tracklets() if t.last >= first]
        limit = min(limit, self._bridge(pieces, newest))
        if limit > self._waiting[0].index:
            self._release(limit, self._provisional(pieces, newest))

    def _bridge(self, pieces: Iterable[Tracklet], newest: int) -> int:
        """The frame from which a face that went may turn out to have been there all along; but no further back than
        memory allows."""
        waits = newest - round(self._rate * BRIDGE_SECONDS) - MEMORY
        shot = len(self._shots) - 1
        back = round(self._rate * _END_SECONDS)
        gone = [t.last - back for t in pieces if t.shot == shot and waits < t.last < newest]
        first = self._waiting[0]
        size = sum(plane.nbytes for plane in first.planes)
        most = max(1, int(_KEPT_BYTES // size) - self._batch)
        return max(min(gone, default=newest), newest - most)

    def _provisional(self, pieces: list[Tracklet], newest: int) -> Analysis:
        starts = [*self._shots, _FAR]
        shots = tuple(Shot(a, b - 1) for a, b in pairwise(starts))
        return Analysis(self._info, newest + 1, shots, tuple(stitch(pieces, list(shots), self._rate)), (), 0)

    def _release(self, limit: int, analysis: Analysis) -> None:
        plan = make_plan(analysis, self._config)
        begin = self._waiting[0].index
        weak = weakness(analysis.tracks, begin, limit)
        while self._waiting and self._waiting[0].index < limit:
            frame = self._waiting.popleft()
            self._render(frame, plan.regions.get(frame.index, ()), float(weak[frame.index - begin]))

    def _render(self, frame: Frame, regions: Sequence[Region], weak: float) -> None:
        self._used.append(regions)
        self.frames += 1
        while self._error is None:
            try:
                self._jobs.put((frame, regions, weak), timeout=0.1)
                return
            except queue.Full:
                continue
        raise self._error

    def _work(self) -> None:
        drawn: deque[tuple[Future[Frame], Sequence[Region], float]] = deque()
        try:
            while not self._stop.is_set():
                try:
                    job = self._jobs.get(timeout=0.1)
                except queue.Empty:
                    continue
                if job is not None:
                    frame, regions, weak = job
                    drawn.append((self._pool.submit(self._obscure, frame, regions), regions, weak))
                while len(drawn) > (_DRAWN_AHEAD if job is not None else 0):
                    self._one(*drawn.popleft())
                if job is None:
                    return
        except BaseException as error:  # raised again in the caller's thread
            self._error = error

    def _one(self, drawn: Future[Frame], regions: Sequence[Region], weak: float) -> None:
        done = drawn.result()
        if done.index % EVERY == 0:
            self._check()
        if self._candidate is None or weak > self._candidate.weak:
            self._candidate = _Candidate(weak, done, regions)
        self._writer.write(done)

    def _check(self) -> None:
        if self._candidate is not None:
            self._verifier.submit(self._candidate.frame, self._candidate.regions)
            self._candidate = None

    # -- at its end ----------------------------------------------------------------------------------------------

    def agrees(self, analysis: Analysis, plan: Plan) -> bool:
        """Whether every frame rendered so far covers all that the plan of the whole clip covers."""
        if self.frames + len(self._waiting) != analysis.frames:
            return False
        return all(
            _holds(used, plan.regions.get(frame, ()), [t for t in analysis.tracks if t.covers(frame)], frame)
            for frame, used in enumerate(self._used)
        )

    def complete(self, analysis: Analysis, plan: Plan, progress: Progress) -> Rendered | None:
        """Render the rest by the final plan, wait for the check, and give the output its name if that finds nothing.
        ``None`` when what was rendered does not agree with the plan."""
        if not self.agrees(analysis, plan):
            return None
        progress.stage("rendering", len(self._waiting))
        weak = weakness(analysis.tracks, self.frames, analysis.frames)
        begin = self.frames
        while self._waiting:
            frame = self._waiting.popleft()
            self._render(frame, plan.regions.get(frame.index, ()), float(weak[frame.index - begin]))
            progress.advance()
        self._drain()
        if analysis.frames < EVERY or not 0 < analysis.frames % EVERY < EVERY // 2:
            self._check()
        self._verifier.finish()
        rendered = Rendered(self._verifier.leaks, tuple(self._verifier.frames))
        if rendered.passed:
            self._writer.commit()
        return replace(rendered, streams=self._writer.streams, notes=self._writer.notes)

    def _drain(self) -> None:
        """Wait until everything handed over is encoded."""
        while self._error is None and self._thread.is_alive():
            try:
                self._jobs.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join()
        if self._error is not None:
            raise self._error


def since(tracklet: Tracklet, first: int) -> Tracklet:
    """A copy with the rows from frame ``first`` on, at least one, and the turn of the head from before."""
    rows = {f: row for f in range(first, tracklet.last + 1) if (row := tracklet.rows.get(f)) is not None}
    piece = Tracklet(tracklet.shot, begins=tracklet.begins, ends=tracklet.ends, tint=tracklet.tint)
    piece.keep(rows)
    piece.confirmed = tracklet.confirmed or not is_lonely(tracklet)
    if piece.first > tracklet.first and math.isnan(rows[piece.first].yaw):
        before = (tracklet.rows[f].yaw for f in range(piece.first - 1, tracklet.first - 1, -1) if f in tracklet.rows)
        yaw = next((y for y in before if not math.isnan(y)), 0.0)
        piece.set(piece.first, replace(rows[piece.first], yaw=yaw))
    return piece


def _holds(used: Sequence[Region], wanted: Sequence[Region], tracks: Sequence[Track], frame: int) -> bool:
    """Whether each face lies under a rendered region that is hardly smaller than the final plan's."""
    for region in wanted:
        if region not in used and not _inside(region, used, _NARROWER):
            return False
    return all(_inside(least_region(t.box_at(frame)), used, 1.0) for t in tracks)


def _inside(region: Region, used: Sequence[Region], grow: float) -> bool:
    outline = region.outline(24, grow)
    return any(bool(u.contains(outline).all()) for u in used)
