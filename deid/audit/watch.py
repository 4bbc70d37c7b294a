"""Goes through a source and its output side by side, once, and notes what became of every face.

Memory does not grow with the clip but by a few numbers a face and frame: meshes and codes, which are biometric data,
lie in a file that no name leads to (:class:`deid.tracking.records.RecordFile`).

Three networks look: CenterFace follows the source's faces, MediaPipe's mesh measures both, and MTCNN, which was trained
otherwise and which a run asks about doubtful places only, searches every output frame for faces that are as they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deid.audit.appearance import Touched
from deid.audit.faces import LEAST_SIGHTINGS, Follower
from deid.audit.judge import Judge, Noted, Second
from deid.audit.notes import GALLERY, NOTES, STATES, Kept, Seen, Stray, Thinned, Watched
from deid.errors import UsageError
from deid.media import Reader
from deid.media.convert import bgr
from deid.progress import Progress
from deid.recognition.custom import Dlib, Recogniser
from deid.tracking.records import RecordFile
from deid.types import Frame

_PENDING = 6


def watch(
    source: Path,
    output: Path,
    recogniser: Recogniser | None,
    progress: Progress,
    *,
    start: float | None = None,
    end: float | None = None,
    kept: Kept | None = None,
    salvage: bool = False,
    threads: int = 1,
) -> Watched:
    """Look at both clips, frame by frame. ``recogniser``: the user's, beside dlib's. ``start``, ``end``: the part of
    the source that the output shows. ``salvage``: the source may be damaged.

    Raises :class:`UsageError` when the pictures cannot be laid over each other, and what reading raises. The caller
    closes the result.
    """
    dlib = Dlib()
    watched = Watched(RecordFile(NOTES))
    judge = Judge([dlib, *([recogniser] if recogniser else [])], kept or _none)
    follower, second = Follower(), Second(kept or _none)
    pool, search_pool = ThreadPoolExecutor(1, "judge"), ThreadPoolExecutor(1, "second")
    faces: dict[int, Seen] = {}
    waiting: deque[tuple[Future[list[Noted]], Future[tuple[list[bool], list[Stray]]]]] = deque()
    try:
        for frame, pair in _pairs(source, output, watched, progress, start, end, salvage, threads):
            seen = follower.feed(frame, pair[0])
            if len(seen) > 1:
                watched.together.add(tuple(sorted(s.face.number for s in seen)))
            waiting.append(
                (
                    pool.submit(judge.faces, frame, watched.seconds[frame], pair, seen),
                    search_pool.submit(second.search, frame, pair, seen),
                )
            )
            while len(waiting) > _PENDING:
                first, other = waiting.popleft()
                _note(watched, faces, first.result(), other.result())
        while waiting:
            first, other = waiting.popleft()
            _note(watched, faces, first.result(), other.result())
    except BaseException:
        watched.close()
        raise
    finally:
        for p in (pool, search_pool):
            p.shutdown(wait=True, cancel_futures=True)
        follower.close()
        for thing in (judge, second, dlib):
            thing.close()
    watched.faces = _whole(faces, min(LEAST_SIGHTINGS, len(watched.seconds)))
    return watched


def _none(frame: int, box: np.ndarray) -> bool:
    return False


def _note(
    watched: Watched, faces: dict[int, Seen], noted: Sequence[Noted], second: tuple[list[bool], list[Stray]]
) -> None:
    again, strays = second
    watched.strays += strays
    for one, seen_again in zip(noted, again, strict=True):
        of = faces.setdefault(one.sighting.face.number, Seen(one.sighting.face))
        one.record.photo["again"] = seen_again
        of.frames.append(one.record.frame)
        of.records.append(len(watched.records))
        watched.records.append(one.record)
        for name, (own, new) in one.codes.items():
            if one.clear[0]:
                of.source.setdefault(name, Thinned(GALLERY)).add(own)
            elif name == "dlib":
                of.dim.add(own)
            shown = STATES[int(one.record.photo["state"])] in (Touched.REPLACED.value, Touched.KEPT.value)
            if shown and one.clear[1]:
                of.output.setdefault(name, Thinned(GALLERY)).add(new)
        of.offer(one.bad)


def _whole(faces: dict[int, Seen], least: int) -> list[Seen]:
    """Those that were faces, without what was followed beyond the last search that saw them."""
    out = []
    for seen in faces.values():
        count = seen.face.kept
        if count >= least:
            seen.frames, seen.records = seen.frames[:count], seen.records[:count]
            seen.worst = [b for b in seen.worst if b.frame <= seen.frames[-1]]
            out.append(seen)
    return sorted(out, key=lambda s: (s.frames[0], s.face.number))


def _pairs(
    source: Path,
    output: Path,
    watched: Watched,
    progress: Progress,
    start: float | None,
    end: float | None,
    salvage: bool,
    threads: int,
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Both clips side by side, as BGR pictures; counts, times and sizes go to ``watched``."""
    with Reader(output, threads=threads) as b:
        height = b.info.height
        with Reader(source, start=start, end=end, max_height=height, salvage=salvage, threads=threads) as a:
            if (a.info.width, a.info.height) != (b.info.width, height):
                raise UsageError(
                    f"the output is {b.info.width} x {height}, but the source would be {a.info.width} x "
                    f"{a.info.height} at that height: give a source and what was made of it."
                )
            watched.size = (a.info.width, height)
            progress.stage("auditing", b.info.frames)
            left, right = iter(a), iter(b)
            counts, origins = [0, 0], [0.0, 0.0]
            while True:
                pair = next(left, None), next(right, None)
                for side, frame in enumerate(pair):
                    counts[side] += frame is not None
                watched.counts = counts[0], counts[1]
                if pair[0] is None and pair[1] is None:
                    return
                if pair[0] is None or pair[1] is None:
                    continue  # only counted: the contract is broken
                yield counts[0] - 1, _timed(pair[0], pair[1], watched, origins)
                progress.advance()


def _timed(a: Frame, b: Frame, watched: Watched, origins: list[float]) -> tuple[np.ndarray, np.ndarray]:
    if not watched.seconds:
        origins[:] = a.seconds, b.seconds
    times = a.seconds - origins[0], b.seconds - origins[1]
    watched.seconds.append(times[0])
    watched.slip = max(watched.slip, abs(times[0] - times[1]))
    return bgr(a), bgr(b)
