"""One run, top to bottom: analyse, plan, render, verify, commit.

Two passes over the source. The first finds and follows every face and keeps nothing but their places; the second
obscures and encodes. Frames picked from the second pass are searched again after they are finished; when a face is
found uncovered, it is followed both ways from there, and the second pass repeated. The output appears under its name
only when all of that has gone well.
"""

from __future__ import annotations

import resource
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deid import __version__
from deid.config import RunConfig
from deid.errors import PrivacyError, UsageError
from deid.media import EncodeSettings, Reader, Writer, check_target, probe
from deid.progress import Progress
from deid.redaction import Obscurer, Region, regions_of
from deid.report import RunReport, VerifyReport, track_reports
from deid.tracking.examine import Examiner
from deid.tracking.patch import follow_sightings
from deid.tracking.scan import Scanner
from deid.tracking.schedule import Schedule
from deid.tracking.stitch import stitch
from deid.tracking.tracker import Tracker
from deid.types import Analysis, Detection, MediaInfo, Shot, StreamInfo, Track
from deid.verify import Verifier, choose_frames

_ROUNDS = 3


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


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What happens to each track (outcome, reason), and the regions to obscure in each frame."""

    outcomes: dict[int, tuple[str, str]]
    regions: dict[int, list[Region]]
    kept: tuple[Track, ...]


def run(source: Path, target: Path | None, config: RunConfig, progress: Progress) -> RunReport:
    """De-identify ``source`` into ``target`` (``None`` only with ``config.dry_run``).

    Raises the errors of :mod:`deid.errors`; whatever is raised, no output and no temporary file is left behind.
    """
    clock = _Clock()
    info = probe(source)
    if target is not None:
        check_target(target, config.overwrite, info)
    seed = secrets.randbits(32) if config.seed is None else config.seed
    with clock.stage("analyse"):
        analysis, seconds = analyse(source, config, progress)
    plan = make_plan(analysis, config)
    if target is None or config.dry_run:
        return _report(config, info, analysis, plan, seconds, clock, seed, None, None, info.streams, ())
    sampled = choose_frames(analysis)
    for attempt in range(1, _ROUNDS + 1):
        with clock.stage("render"), _writer(source, target, info, config) as writer:
            with Verifier(config.threads, plan.kept, config.threshold) as verifier:
                render(source, writer, analysis, plan, config, seed, sampled, verifier, progress)
            if not verifier.leaks:
                writer.commit()
        if not verifier.leaks:
            verified = VerifyReport(tuple(verifier.frames), attempt)
            return _report(
                config, info, analysis, plan, seconds, clock, seed, target, verified, writer.streams, writer.notes
            )
        when = ", ".join(f"{seconds[frame]:.2f} s" for frame in verifier.leaks)
        progress.note(f"a face was found uncovered at {when}: following it and rendering again")
        with clock.stage("patch"):
            analysis = patch(source, config, analysis, verifier.leaks, progress)
        plan = make_plan(analysis, config)
    raise PrivacyError(
        "an uncovered face was still found in the finished picture after several repairs, so no output was made; "
        "run again with a lower --threshold."
    )


def analyse(source: Path, config: RunConfig, progress: Progress) -> tuple[Analysis, list[float]]:
    """Find and follow every face. Returns the analysis, and each frame's time in seconds from the source's first."""
    examiner = Examiner()
    try:
        with _reader(source, config) as reader:
            info = reader.info
            rate = _rate(info)
            schedule = Schedule.plan(info.width, info.height, rate)
            progress.stage("finding faces", info.frames)
            tracker = Tracker(examiner, threshold=config.threshold)
            with Scanner(reader, schedule, threads=config.threads) as scanner:
                for chunk in scanner:
                    tracker.feed(chunk)
                    progress.advance(len(chunk.views) - (0 if chunk.cut else 1))
            scan = scanner.result
    finally:
        examiner.close()
    starts = [*scan.shots, scan.frames]
    shots = [Shot(a, b - 1) for a, b in zip(starts, starts[1:], strict=False)]
    tracks = stitch(tracker.finish(), shots, rate)
    found = Analysis(info, scan.frames, tuple(shots), tuple(tracks), tuple(scan.damaged), scan.searches)
    begin = scan.seconds[0] if info.first_pts is None else float(info.first_pts * info.time_base)
    return found, [s - begin for s in scan.seconds]


def patch(
    source: Path, config: RunConfig, analysis: Analysis, leaks: dict[int, list[Detection]], progress: Progress
) -> Analysis:
    """The analysis with tracks added for faces that were found bare in the finished frames ``leaks``."""
    progress.stage("following what was missed")
    with _reader(source, config) as reader:
        more = follow_sightings(
            reader,
            leaks,
            analysis.shots,
            _rate(analysis.media),
            threshold=config.threshold,
            first_id=len(analysis.tracks) + 1,
        )
    return replace(analysis, tracks=(*analysis.tracks, *more))


def make_plan(analysis: Analysis, config: RunConfig) -> Plan:
    """Decide for every track, and lay out the regions of every frame."""
    known = {t.id for t in analysis.tracks}
    unknown = sorted(set(config.keep) - known)
    if unknown:
        there = f"tracks 1 to {len(known)}" if known else "no tracks"
        raise UsageError(
            f"--keep names track {unknown[0]}, but the clip has {there}; list them with --dry-run."
        )
    outcomes: dict[int, tuple[str, str]] = {}
    regions: dict[int, list[Region]] = {}
    for track in analysis.tracks:
        if track.id in config.keep:
            outcomes[track.id] = ("kept", "as asked with --keep")
            continue
        outcomes[track.id] = ("obscured", "" if track.confirmed else "not confirmed as a face by the landmark model")
        for offset, region in enumerate(regions_of(track, _rate(analysis.media))):
            regions.setdefault(track.first + offset, []).append(region)
    kept = tuple(t for t in analysis.tracks if t.id in config.keep)
    return Plan(outcomes, {frame: _outermost(here) for frame, here in regions.items()}, kept)


def _outermost(regions: list[Region]) -> list[Region]:
    """Without those that lie wholly inside another: drawn over it they would show as a disc upon a disc. Smaller ones
    come first, so that of two that overlap the larger, which is the nearer face, lies on top."""
    by_size = sorted(regions, key=lambda r: r.ax * r.ay)
    return [
        r
        for i, r in enumerate(by_size)
        if not any(bool(other.contains(r.outline(24)).all()) for other in by_size[i + 1 :])
    ]


def render(
    source: Path,
    writer: Writer,
    analysis: Analysis,
    plan: Plan,
    config: RunConfig,
    seed: int,
    sampled: frozenset[int],
    verifier: Verifier,
    progress: Progress,
) -> None:
    """Second pass: obscure, encode, and hand the finished frames ``sampled`` to the verifier."""
    obscurer = Obscurer(config.engine, seed)
    damaged = set(analysis.damaged)
    progress.stage("rendering", analysis.frames)
    count = 0
    with _reader(source, config) as reader:
        for frame in reader:
            if frame.index in damaged:
                done = obscurer.obscure_frame(frame)
            else:
                done = obscurer.apply(frame, plan.regions.get(frame.index, ()))
            if frame.index in sampled:
                verifier.submit(done, plan.regions.get(frame.index, ()))
            writer.write(done)
            count += 1
            progress.advance()
    if count != analysis.frames:
        raise PrivacyError(
            f"the two passes read {analysis.frames} and {count} frames, so faces cannot be placed safely; "
            "copy the source to a local disk and run again."
        )


def _reader(source: Path, config: RunConfig) -> Reader:
    return Reader(
        source,
        start=config.start,
        end=config.end,
        max_height=config.max_height,
        salvage=config.salvage,
        threads=config.threads,
    )


def _writer(source: Path, target: Path, info: MediaInfo, config: RunConfig) -> Writer:
    settings = EncodeSettings(
        codec=config.codec,
        crf=config.crf,
        preset=config.preset,
        keep_metadata=config.keep_metadata,
        mark="obscured" if config.mark else None,
        watermark=config.watermark,
        threads=config.threads,
    )
    return Writer(
        target,
        info,
        source=source,
        settings=settings,
        start=config.start,
        end=config.end,
        overwrite=config.overwrite,
    )


def _rate(info: MediaInfo) -> float:
    if info.average_rate:
        return float(info.average_rate)
    if info.frames and info.seconds:
        return info.frames / info.seconds
    return 25.0


def _peak_memory() -> int:
    """Most resident memory of this process so far, in bytes. Linux's ``ru_maxrss`` would count what the process held
    that started this one, so it is asked only where nothing better exists."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _report(
    config: RunConfig,
    info: MediaInfo,
    analysis: Analysis,
    plan: Plan,
    seconds: list[float],
    clock: _Clock,
    seed: int,
    target: Path | None,
    verified: VerifyReport | None,
    streams: tuple[StreamInfo, ...],
    notes: tuple[str, ...],
) -> RunReport:
    warnings = []
    if not analysis.tracks:
        warnings.append("no face was found: every picture is as it was, so look through the result before you share it")
    if plan.kept:
        names = ", ".join(str(t.id) for t in plan.kept)
        warnings.append(f"kept as asked, and recognisable: track {names}")
    faces = np.zeros(max(analysis.frames, 1))
    for t in analysis.tracks:
        faces[t.first : t.last + 1] += 1
    return RunReport(
        version=__version__,
        source=Path(info.path).name,
        target=target.name if target else None,
        engine=config.engine,
        seed=seed,
        frames=analysis.frames,
        seconds=round(seconds[-1] - seconds[0], 4) if seconds else 0.0,
        width=analysis.media.width,
        height=analysis.media.height,
        shots=len(analysis.shots),
        searches=analysis.searches,
        tracks=track_reports(analysis, seconds, plan.outcomes),
        faces_per_frame=round(float(faces.mean()), 3),
        damaged_frames=len(analysis.damaged),
        streams=streams,
        mark="obscured" if config.mark and target else None,
        verify=verified,
        timing={k: round(v, 3) for k, v in clock.seconds.items()},
        peak_memory=_peak_memory(),
        notes=(*info.notes, *notes),
        warnings=tuple(warnings),
    )
