"""The run's check of its own output: finished frames are searched again, full size, before anything is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import numpy as np

from deid.redaction import Region
from deid.tracking.scan import Searchers
from deid.tracking.schedule import MAX_SEARCH_PIXELS
from deid.types import Analysis, Detection, Evidence, Frame, Track

EVERY = 120  # frames a sample: keeps the check near a twentieth of the run's time
_LEAST = 1
_SURE = 0.35  # a face that the first pass may not have missed; weaker sightings are mostly not faces
_COVERED = 0.5  # share of a face's centre that a region must cover for it to count as obscured


def choose_frames(analysis: Analysis) -> frozenset[int]:
    """Frames to check: where the evidence is weakest, and spread over the clip."""
    count = min(analysis.frames, max(_LEAST, analysis.frames // EVERY))
    if count == 0:
        return frozenset()
    weak = weakness(analysis.tracks, 0, analysis.frames)
    # one frame of each stretch, the most doubtful
    edges = np.linspace(0, analysis.frames, count + 1).astype(int)
    return frozenset(int(a + np.argmax(weak[a:b])) for a, b in zip(edges, edges[1:], strict=False) if b > a)


def weakness(tracks: Sequence[Track], first: int, end: int) -> np.ndarray:
    """How little is known about the faces in each of the frames ``first`` to ``end``, excluded: float64."""
    weak = np.zeros(end - first)
    for track in tracks:
        a, b = max(track.first, first), min(track.last + 1, end)
        if a < b:
            evidence = track.evidence[a - track.first : b - track.first]
            weak[a - first : b - first] += np.where(evidence == Evidence.SEARCHED, 0.0, 0.2 + 0.2 * evidence)
        for beyond in (track.first - 1, track.last + 1):  # where a track ends a face may go on
            if first <= beyond < end:
                weak[beyond - first] += 2.0
    return weak


class Verifier:
    """Searches finished frames in the background. ``frames``: those checked; ``leaks``: the bare faces found, by frame.

    A context manager: leaving it waits for the searches. ``searchers``: others' to use; by default it has its own.
    """

    def __init__(
        self, threads: int, kept: Sequence[Track], threshold: float, searchers: Searchers | None = None
    ) -> None:
        self._kept = kept
        self._threshold = max(threshold, _SURE)
        self._searchers, self._lent = searchers or Searchers(threads, 1), searchers is not None
        self._pending: list[tuple[int, Future[list[Detection]], tuple[Region, ...]]] = []
        self.frames: list[int] = []
        self.leaks: dict[int, list[Detection]] = {}
        self._elsewhere: list[tuple[tuple[int, ...], Mapping[int, list[Detection]]]] = []

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if not self._lent:
                self._searchers.close()

    def submit(self, frame: Frame, regions: Sequence[Region]) -> None:
        """Queue one finished frame; waits when too many are queued, so that memory stays flat."""
        if len(self._pending) >= 3:
            self._pending[-3][1].result()
        scale = min(1.0, (MAX_SEARCH_PIXELS / (frame.width * frame.height)) ** 0.5)
        job = self._searchers.submit(frame, scale, self._threshold)
        self._pending.append((frame.index, job, tuple(regions)))

    def add(self, frames: Sequence[int], leaks: Mapping[int, list[Detection]]) -> None:
        """What another one searched and found."""
        self._elsewhere.append((tuple(frames), leaks))

    def finish(self) -> None:
        """Wait for the searches, and tell what they found."""
        self.frames = [index for index, _, _ in self._pending]
        self.leaks = {}
        for frames, leaks in self._elsewhere:
            self.frames += frames
            self.leaks |= leaks
        for index, job, regions in self._pending:
            bare = [d for d in job.result() if not self._covered(d, index, regions)]
            if bare:
                self.leaks[index] = bare

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
