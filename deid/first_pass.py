"""The first pass: every face found and followed, and what was missed followed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deid.ahead import Ahead
from deid.config import RunConfig
from deid.early import Tail
from deid.media import Reader
from deid.plan import rate_of
from deid.progress import Progress
from deid.tracking.examine import Examiner
from deid.tracking.observe import Observer
from deid.tracking.patch import follow_sightings
from deid.tracking.scan import Scanner, Searchers
from deid.tracking.schedule import Schedule
from deid.tracking.stitch import stitch
from deid.tracking.tracker import Tracker
from deid.types import Analysis, Detection, Shot


def analyse(
    source: Path,
    config: RunConfig,
    progress: Progress,
    observer: Observer | Callable[[], Observer | None] | None = None,
    ahead: Ahead | None = None,
    tail: Tail | None = None,
    searchers: Searchers | None = None,
) -> tuple[Analysis, list[float]]:
    """Find and follow every face. Returns the analysis, and each frame's time in seconds from the source's first.
    ``observer``: watches every face of every frame; or makes, while the first frames are searched, what does.
    ``ahead``: renders what the analysis is through with. ``tail``: keeps the last frames. ``searchers``: others' to
    use; by default it has its own, or those of ``ahead``."""
    examiner = Examiner()
    try:
        with open_reader(source, config) as reader:
            info = reader.info
            rate = rate_of(info)
            schedule = Schedule.plan(info.width, info.height, rate, config.detect)
            progress.stage("finding faces", info.frames)
            searchers = ahead.searchers if ahead else searchers
            frames = tail.passing(reader) if tail is not None else reader
            with Scanner(frames, schedule, threads=config.threads, searchers=searchers) as scanner:
                watching = observer() if callable(observer) else observer
                tracker = Tracker(examiner, threshold=config.threshold, observer=watching)
                for chunk in scanner:
                    tracker.feed(chunk)
                    if ahead is not None:
                        ahead.feed(chunk, tracker)
                    progress.advance(len(chunk.views) - (0 if chunk.cut else 1))
            scan = scanner.result
            tracklets = tracker.finish()
    finally:
        examiner.close()
    starts = [*scan.shots, scan.frames]
    shots = [Shot(a, b - 1) for a, b in zip(starts, starts[1:], strict=False)]
    tracks = stitch(tracklets, shots, rate)
    found = Analysis(info, scan.frames, tuple(shots), tuple(tracks), tuple(scan.damaged), scan.searches)
    begin = scan.seconds[0] if info.first_pts is None else float(info.first_pts * info.time_base)
    return found, [s - begin for s in scan.seconds]


def patch(
    source: Path, config: RunConfig, analysis: Analysis, leaks: dict[int, list[Detection]], progress: Progress
) -> Analysis:
    """The analysis with tracks added for faces that were found bare in the finished frames ``leaks``."""
    progress.stage("following what was missed")
    with open_reader(source, config) as reader:
        more = follow_sightings(
            reader,
            leaks,
            analysis.shots,
            rate_of(analysis.media),
            threshold=config.threshold,
            first_id=len(analysis.tracks) + 1,
        )
    return replace(analysis, tracks=(*analysis.tracks, *more))


def open_reader(source: Path, config: RunConfig) -> Reader:
    """The frames of a run, as often as needed."""
    return Reader(
        source,
        start=config.start,
        end=config.end,
        max_height=config.max_height,
        salvage=config.salvage,
        threads=config.threads,
    )
