"""The front of the analysis: decode, find cuts, search key frames ahead of the tracker.

Three kinds of work run side by side: one thread decodes and looks for cuts, two search key frames, and the
tracker (the caller's thread) takes finished chunks in order. Queues are bounded, so memory does not grow with length.
What comes out depends only on the frames, never on timing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from deid import imaging
from deid.detection.centerface import CenterFace
from deid.detection.shots import ShotDetector
from deid.media.convert import bgr, luma8
from deid.memory import return_memory
from deid.tracking.deep import SecondOpinion, search_deep
from deid.tracking.schedule import ChangeMeter, Schedule, may_search
from deid.types import Detection, Frame

LOW_SCORE = 0.1
"""Detections below the user's threshold but above this can continue a track, never begin one."""

_AHEAD = 2  # chunks decoded and searched ahead of the tracker
_SMALL_WIDTH = 160


@dataclass(slots=True, eq=False)
class View:
    """One decoded frame on its way through the analysis. ``found``: a pending search or ``None``."""

    frame: Frame
    luma: np.ndarray
    scale: float = 0.0
    found: Future[list[Detection]] | None = None

    @property
    def index(self) -> int:
        return self.frame.index


@dataclass(slots=True, eq=False)
class Chunk:
    """Frames from one searched frame to the next, both included; ``cut``: a new shot begins with its first frame."""

    views: list[View]
    cut: bool


@dataclass(slots=True)
class _End:
    error: BaseException | None = None


@dataclass(slots=True)
class ScanResult:
    """What the scan knows when it is through."""

    frames: int = 0
    searches: int = 0
    damaged: list[int] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Searchers:
    """Searches by networks of one thread each, ``workers`` side by side at most.

    Networks of one thread share two cores better than one network of two, whose threads wait for each other after every
    layer, badly so when something else wants a core. Networks of the full size take most of a run's memory, so there
    are two and no more, or one where something else keeps the cores busy.
    """

    def __init__(self, threads: int, workers: int = 2) -> None:
        workers = min(workers, threads)
        each = max(1, threads // 2)
        self._exact = CenterFace.for_doubts(each)
        self._detectors = [
            CenterFace(threshold=LOW_SCORE, threads=each, coarse=True, exact=self._exact) for _ in range(workers)
        ]
        self._free: queue.SimpleQueue[CenterFace] = queue.SimpleQueue()
        for detector in self._detectors:
            self._free.put(detector)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="search")
        self._second = SecondOpinion()

    def submit(
        self, frame: Frame, scale: float, threshold: float = LOW_SCORE, *, deep: bool = False
    ) -> Future[list[Detection]]:
        """Search a frame at ``scale`` times its size as soon as a network is free; ``deep``: enlarged too."""
        return self._pool.submit(self._search, frame, scale, threshold, deep)

    def _search(self, frame: Frame, scale: float, threshold: float, deep: bool) -> list[Detection]:
        detector = self._free.get()
        try:
            return search_frame(detector, frame, scale, threshold, self._second if deep else None)
        finally:
            self._free.put(detector)

    def keep_one(self) -> None:
        """Free what a single search of a frame's full size can do without; nothing may be under way."""
        for detector in (*self._detectors[1:], self._exact):
            detector.close()
        self._detectors[0].keep_largest()

    def close(self) -> None:
        """Wait for the searches under way, drop the others, and free the networks."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for detector in (*self._detectors, self._exact):
            detector.close()

    def __enter__(self) -> Searchers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def search_frame(
    detector: CenterFace,
    frame: Frame,
    scale: float,
    threshold: float | None = None,
    second: SecondOpinion | None = None,
) -> list[Detection]:
    """Faces of a frame that is searched at ``scale`` times its size, in frame pixels. ``second``: search it thoroughly,
    with this one's help."""

    def search(picture: np.ndarray) -> list[Detection]:
        if second is not None:
            return search_deep(detector, second, picture, detector.threshold if threshold is None else threshold)
        return detector.detect(picture, threshold=threshold)

    if scale == 1.0:
        return search(bgr(frame))
    picture = bgr(frame, size=(max(1, round(frame.width * scale)), max(1, round(frame.height * scale))))
    factor = np.array([frame.width / picture.shape[1], frame.height / picture.shape[0]], np.float32)

    def whole(xy: np.ndarray) -> np.ndarray:
        return ((xy + 0.5) * factor - 0.5).astype(np.float32)

    return [
        replace(d, box=whole(d.box.reshape(2, 2)).reshape(4), points=None if d.points is None else whole(d.points))
        for d in search(picture)
    ]


def _thumbnail(frame: Frame) -> np.ndarray:
    """A small BGR copy for cut detection, uint8; from every second sample and the like, which costs a tenth of an exact
    conversion and differs by less than noise."""
    width = min(_SMALL_WIDTH, frame.width)
    height = min(max(1, round(frame.height * width / frame.width)), 4 * _SMALL_WIDTH)
    parts = []
    for plane in frame.planes if len(frame.planes) == 3 else frame.planes[:1] * 3:
        skip = max(1, min(plane.shape[1] // (2 * width), plane.shape[0] // (2 * height)))
        part = imaging.resize(plane[::skip, ::skip], (width, height), interpolation=imaging.INTER_AREA)
        parts.append(part if frame.format.depth == 8 else (part >> (frame.format.depth - 8)).astype(np.uint8))
    if len(frame.planes) < 3:
        return np.dstack(parts)
    y, cb, cr = parts
    return imaging.cvt_color(np.dstack([y, cr, cb]), imaging.COLOR_YCRCB2BGR)


class Scanner:
    """Iterate over the :class:`Chunk` s of a clip. Use as a context manager; ``result`` is complete at the end.
    ``searchers``: others' to use; by default it has its own."""

    def __init__(
        self, frames: Iterable[Frame], schedule: Schedule, *, threads: int, searchers: Searchers | None = None
    ) -> None:
        self.result = ScanResult()
        self._frames = frames
        self._schedule = schedule
        # on two cores decoding, following and the landmark model keep the other one busy
        self._searchers, self._lent = searchers or Searchers(threads, 1 if threads <= 2 else 2), searchers is not None
        self._queue: queue.Queue[Chunk | _End] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decode", daemon=True)
        self._cuts = ShotDetector()
        self._meter = ChangeMeter()
        self._open: list[View] = []
        self._new_shot = True
        self._coarse = schedule.step < schedule.interval
        self._last_full = 0

    def __enter__(self) -> Scanner:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()
        if not self._lent:
            self._searchers.close()
            return_memory()  # what comes next would come on top of what the networks took

    def __iter__(self) -> Iterator[Chunk]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._decode()
        except BaseException as e:  # handed to the caller's thread, where it is raised again
            error = e
        self._put(_End(error))

    def _put(self, item: Chunk | _End) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _decode(self) -> None:
        waiting: list[tuple[View, np.ndarray]] = []
        starts: set[int] = {0}
        for frame in self._frames:
            if self._stop.is_set():
                return
            small = _thumbnail(frame)
            starts.update(self._cuts.feed(small))
            waiting.append((View(frame, luma8(frame)), small))
            self.result.frames += 1
            self.result.seconds.append(frame.seconds)
            if frame.damaged:
                self.result.damaged.append(frame.index)
            # a cut may be announced late: hold frames back until it can no longer happen, and one to know the last
            while len(waiting) > max(1, self._cuts.delay):
                self._settle(*waiting.pop(0), starts, last=False)
        starts.update(self._cuts.finish())
        while waiting:
            self._settle(*waiting.pop(0), starts, last=not waiting)

    def _settle(self, view: View, small: np.ndarray, starts: set[int], *, last: bool) -> None:
        """Decide about one frame whose shot is known, and pass on the chunk that it completes."""
        if view.index in starts:
            if len(self._open) > 1:
                self._close_chunk()
            self._new_shot, self._open = True, [view]
            self.result.shots.append(view.index)
            self._search(view, small, self._schedule.full_scale)
            self._emit([view])
            return
        self._open.append(view)
        since = view.index - self._open[0].index
        full = view.index - self._last_full >= self._schedule.interval
        if last or full:
            self._search(view, small, self._schedule.full_scale)
        elif since >= self._schedule.step or (may_search(since) and self._meter.changed(small)):
            self._search(view, small, self._schedule.full_scale * (0.5 if self._coarse else 1.0))
        else:
            return
        self._emit(self._open)
        self._open = [view]

    def _close_chunk(self) -> None:
        """Search the last frame before a cut, so that nothing that was there only at the end of a shot is missed."""
        self._submit(self._open[-1], self._schedule.full_scale)
        self.result.searches += 1
        self._emit(self._open)

    def _search(self, view: View, small: np.ndarray, scale: float) -> None:
        self._meter.mark(small)
        if scale == self._schedule.full_scale:
            self._last_full = view.index
        self._submit(view, scale)
        self.result.searches += 1

    def _submit(self, view: View, scale: float) -> None:
        deep = self._schedule.deep and scale == self._schedule.full_scale
        view.scale, view.found = scale, self._searchers.submit(view.frame, scale, deep=deep)

    def _emit(self, views: list[View]) -> None:
        self._put(Chunk(list(views), self._new_shot))
        self._new_shot = False
