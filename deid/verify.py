"""The run's check of its own output: finished frames are searched again, full size, before anything is committed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from deid.detection.centerface import CenterFace
from deid.redaction import Region
from deid.tracking.scan import search_frame
from deid.tracking.schedule import MAX_SEARCH_PIXELS
from deid.types import Analysis, Detection, Evidence, Frame, Track

_EVERY = 120  # frames a sample: keeps the check near a twentieth of the run's time
_LEAST = 1
_SURE = 0.35  # a face that the first pass may not have missed; weaker sightings are mostly not faces
_COVERED = 0.5  # share of a face's centre that a region must cover for it to count as obscured


def choose_frames(analysis: Analysis) -> frozenset[int]:
    """Frames to check: where the evidence is weakest, and spread over the clip."""
    count = min(analysis.frames, max(_LEAST, analysis.frames // _EVERY))
    if count == 0:
        return frozenset()
    weak = np.zeros(analysis.frames)
    for track in analysis.tracks:
        span = slice(track.first, track.last + 1)
        weak[span] += np.where(track.evidence == Evidence.SEARCHED, 0.0, 0.2 + 0.2 * track.evidence)
        for beyond in (track.first - 1, track.last + 1):  # where a track ends a face may go on
            if 0 <= beyond < analysis.frames:
                weak[beyond] += 2.0
    # one frame of each stretch, the most doubtful
    edges = np.linspace(0, analysis.frames, count + 1).astype(int)
    return frozenset(int(a + np.argmax(weak[a:b])) for a, b in zip(edges, edges[1:], strict=False) if b > a)


class Verifier:
    """Searches finished frames in the background. ``frames``: those checked; ``leaks``: the bare faces found, by frame.

    A context manager: leaving it waits for the searches.
    """

    def __init__(self, threads: int, kept: Sequence[Track], threshold: float) -> None:
        self._kept = kept
        self._threshold = max(threshold, _SURE)
        self._detector: CenterFace | None = None
        self._threads = max(1, threads // 2)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self._pending: list[tuple[int, Future[list[Detection]]]] = []
        self.frames: list[int] = []
        self.leaks: dict[int, list[Detection]] = {}

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if self._detector is not None:
            self._detector.close()
        if kind is None:
            self.frames = [index for index, _ in self._pending]
            self.leaks = {index: bare.result() for index, bare in self._pending if bare.result()}

    def submit(self, frame: Frame, regions: Sequence[Region]) -> None:
        """Queue one finished frame; waits when too many are queued, so that memory stays flat."""
        if len(self._pending) >= 3:
            self._pending[-3][1].result()
        self._pending.append((frame.index, self._pool.submit(self._bare, frame, tuple(regions))))

    def _bare(self, frame: Frame, regions: tuple[Region, ...]) -> list[Detection]:
        if self._detector is None:  # only this pool's one thread comes here
            self._detector = CenterFace(threshold=self._threshold, threads=self._threads, coarse=True)
        scale = min(1.0, (MAX_SEARCH_PIXELS / (frame.width * frame.height)) ** 0.5)
        found = search_frame(self._detector, frame, scale)
        return [d for d in found if not self._covered(d, frame.index, regions)]

    def _covered(self, detection: Detection, frame: int, regions: tuple[Region, ...]) -> bool:
        box = detection.box
        x, y = np.meshgrid(np.linspace(0.25, 0.75, 5), np.linspace(0.25, 0.75, 5))
        points = np.stack([box[0] + x.ravel() * (box[2] - box[0]), box[1] + y.ravel() * (box[3] - box[1])], 1)
        inside = np.zeros(len(points), bool)
        for region in regions:
            inside |= region.contains(points)
        if inside.mean() >= _COVERED:
            return True
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        return any(
            t.covers(frame) and float(np.hypot(*(t.box_at(frame)[:2] - centre))) < 0.6 * float(t.box_at(frame)[3])
            for t in self._kept
        )
