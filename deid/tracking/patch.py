"""Following a face that the check of the finished output found: around that moment only, not through the clip again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from deid.media import Reader
from deid.media.convert import luma8
from deid.tracking.examine import Examiner
from deid.tracking.scan import Chunk, View
from deid.tracking.stitch import stitch
from deid.tracking.tracker import Tracker
from deid.tracking.tracklet import Tracklet
from deid.types import Detection, Shot, Track

_REACH_SECONDS = 0.6  # either way: the analysis looked at every face more often than that and did not see this one


@dataclass(slots=True, eq=False)
class _Job:
    """One frame with bare faces, and the views around it within its shot."""

    frame: int
    shot: int
    first: int
    last: int
    views: list[View] = field(default_factory=list)


def follow_sightings(
    reader: Reader,
    sightings: Mapping[int, Sequence[Detection]],
    shots: Sequence[Shot],
    rate: float,
    *,
    threshold: float,
    first_id: int,
) -> list[Track]:
    """Tracks of faces seen in single frames: followed both ways from there until the evidence ends, and held a little.

    ``sightings``: detections by frame. Reads the whole clip once and keeps no more than the frames around each
    sighting. Tracks are numbered from ``first_id``.
    """
    reach = max(2, round(rate * _REACH_SECONDS))
    jobs = deque(_Job(frame, *_window(frame, reach, shots)) for frame in sorted(sightings))
    open_jobs: list[_Job] = []
    found: list[Tracklet] = []
    examiner = Examiner()
    try:
        for frame in reader:
            while jobs and jobs[0].first <= frame.index:
                open_jobs.append(jobs.popleft())
            if not open_jobs:
                if not jobs:
                    break
                continue
            view = View(frame, luma8(frame))
            for job in open_jobs:
                job.views.append(replace(view))
            for job in [j for j in open_jobs if j.last <= frame.index]:
                open_jobs.remove(job)
                found += _follow(job, sightings[job.frame], examiner, threshold)
    finally:
        examiner.close()
    tracks = stitch(found, list(shots), rate)
    return [replace(track, id=first_id + i) for i, track in enumerate(tracks)]


def _window(frame: int, reach: int, shots: Sequence[Shot]) -> tuple[int, int, int]:
    number = next(i for i, shot in enumerate(shots) if shot.first <= frame <= shot.last)
    return number, max(shots[number].first, frame - reach), min(shots[number].last, frame + reach)


def _follow(job: _Job, seen: Sequence[Detection], examiner: Examiner, threshold: float) -> list[Tracklet]:
    tracker = Tracker(examiner, threshold=threshold)
    at = job.frame - job.views[0].index
    key = job.views[at]
    key.scale, key.found = 1.0, Future()
    key.found.set_result(list(seen))
    tracker.feed(Chunk(job.views[: at + 1], cut=True))
    if at + 1 < len(job.views):
        tracker.feed(Chunk(job.views[at:], cut=False))
    tracklets = tracker.finish()
    for tracklet in tracklets:
        tracklet.shot = job.shot
    return tracklets
