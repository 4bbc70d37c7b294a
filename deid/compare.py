"""The run's check that a replaced face is no longer the person: finished frames beside their originals, by recogniser.

Both pictures are cut out by the original's landmarks, so that nothing depends on how the new face would be aligned.
A sample of every track is compared, and where a distance comes near the limit also what lies between, by halves, as far
as it stays near: where the margin is thin every frame, elsewhere hardly any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from deid.models.engine import Painter
from deid.people import detail
from deid.plan import FaceAt, Plan, State
from deid.recognition.chips import chip_from_picture
from deid.released import LEGIBLE, Compared, Place, beyond, caution, cut, region_of
from deid.types import Analysis, Frame

_EACH, _EVERY, _MOST = 5, 12, 120  # crops of every track that are looked at, at least; one in so many frames; at most
# beyond the limit, how near is near enough to look at what lies between: in 99 of 100 steps from frame to frame the
# distance changes by less than 0.07, half of the time by less than 0.01
_THIN, _THIN_FOR_EACH, _THIN_MOST = 0.07, 0.006, 0.13
_STEP = 0.05  # beyond what encoding may change: nine in ten steps are smaller
_CLOSE, _THINNER = 0.05, 0.1  # a track that came this near the limit is watched more closely from there on: so much
_WAIT = 24  # faces of a track that wait for the next of its sample, at most; then one of them joins the sample
_KEPT_AREA = 900_000  # pixels of a face's surroundings, up to which they wait as they are
_DOUBTFUL = 8
_PENDING = 4
_SHOWN = 3  # pictures of a track in which it was recognised that are kept for choosing somebody else
_BETWEEN = 4  # rows between them
_LEFT = 0.45  # share of a face's texture that may pass for the source's: a hand before it, which stays, is texture too


def choose_faces(analysis: Analysis, plan: Plan) -> dict[int, list[FaceAt]]:
    """Replaced faces of every track, spread over it, five at least and one in twelve, those in and beside a
    change-over, and doubtful ones: by frame."""
    at: dict[int, dict[int, FaceAt]] = {}
    for frame, faces in plan.faces.items():
        for face in faces:
            at.setdefault(face.track, {})[frame] = face
    out: dict[int, list[FaceAt]] = {}
    for track in analysis.tracks:
        states = plan.states.get(track.id)
        if states is None or track.id not in at:
            continue
        whole = np.flatnonzero(states == State.REPLACED)
        if len(whole) == 0:
            continue
        edges = whole[np.flatnonzero(np.diff(whole) > 1)]
        doubtful = whole[plan.doubtful[track.id][whole]] if track.id in plan.doubtful else whole[:0]
        spread = min(max(_EACH, len(whole) // _EVERY), _MOST)
        changing = np.flatnonzero(states == State.CHANGING)
        picked = {*_spread(whole, spread), *_spread(doubtful, _DOUBTFUL), *(int(i) for i in edges[:_EACH])}
        picked |= _spread(changing, _DOUBTFUL)
        for row in sorted(picked):
            out.setdefault(track.first + row, []).append(at[track.id][track.first + row])
    return out


def _spread(rows: np.ndarray, count: int) -> set[int]:
    """Up to ``count`` of ``rows``, evenly."""
    return {int(i) for i in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]} if len(rows) else set()


def replaced_faces(plan: Plan) -> dict[int, list[FaceAt]]:
    """All faces that are replaced, wholly or in a change-over, by frame: who is half obscured shows, too."""
    return {frame: list(faces) for frame, faces in plan.faces.items() if faces}


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One face before and after, cut out of its frames, and the aligned face from these pictures' pixels."""

    place: Place
    source: Frame
    done: Frame
    transform: np.ndarray


class Comparer:
    """Compares in the background. A context manager: leaving it waits.

    ``faces``: the sample, by frame. ``between``: others that may be looked at, by frame, where the sample comes near
    ``limit``. ``matches``: (frame, face) that are still the same person to the recogniser, or show too much of the
    original. ``seen``: those that were looked at. ``compared``: how many they are. ``nearest``: the least distance
    between an original and its replacement, ``None`` when none was looked at.
    """

    def __init__(
        self,
        faces: dict[int, list[FaceAt]],
        engine: Painter | None,
        limit: float,
        between: Mapping[int, Sequence[FaceAt]] | None = None,
    ) -> None:
        self._faces, self._between = faces, between or {}
        self._engine = engine
        self._limit = limit
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="compare")
        self._pending: list[Future[list[Compared]]] = []
        self._waiting: dict[int, list[_Pair]] = {}  # by track, in order; only for the thread that compares
        self._last: dict[int, float] = {}
        self._least: dict[int, float] = {}
        self.matches: list[tuple[int, FaceAt]] = []
        self._known: dict[int, list[tuple[float, int, np.ndarray]]] = {}
        self.seen: list[Compared] = []
        self.nearest: float | None = None

    @property
    def compared(self) -> int:
        return len(self.seen)

    def __enter__(self) -> Comparer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self._pending.append(self._pool.submit(self._rest))
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is not None:
            return
        found = [seen for job in self._pending for seen in job.result()]
        self.seen = sorted(found, key=lambda seen: (seen.place.frame, seen.place.face.track))
        self.matches = [s.place.key for s in self.seen if s.distance < self._limit + caution(s.place.height)]
        self.nearest = min((seen.distance for seen in self.seen), default=None)

    def pictures(self, tracks: Iterable[int]) -> dict[int, list[tuple[int, np.ndarray]]]:
        """By track, of ``tracks``: rows of codes and aligned originals, uint8 (150, 150, 3), of some of those that come
        nearest to their originals, which may be recognised after encoding only."""
        kept = {track: self._known[track] for track in sorted(set(tracks)) if track in self._known}
        return {track: [(row, picture) for _, row, picture in found] for track, found in kept.items()}

    @property
    def remembered(self) -> Mapping[int, Sequence[tuple[float, int, np.ndarray]]]:
        """For :meth:`add` of another one."""
        return self._known

    def add(
        self, seen: Sequence[Compared], remembered: Mapping[int, Sequence[tuple[float, int, np.ndarray]]]
    ) -> None:
        """What another one saw, of other tracks."""
        done: Future[list[Compared]] = Future()
        done.set_result(list(seen))
        self._pending.append(done)
        self._known.update({track: list(found) for track, found in remembered.items()})

    def submit(self, source: Frame, done: Frame) -> None:
        """Queue one finished frame with its source, if any of its faces was chosen, or may be."""
        sample = self._faces.get(source.index, [])
        others = [face for face in self._between.get(source.index, ()) if face not in sample]
        if not (sample or others) or self._engine is None:
            return
        if len(self._pending) >= _PENDING:
            self._pending[-_PENDING].result()
        pairs = [self._cut(face, source, done) for face in (*sample, *others)]
        self._pending.append(self._pool.submit(self._look, pairs, len(sample)))

    def _cut(self, face: FaceAt, source: Frame, done: Frame) -> _Pair:
        assert self._engine is not None
        place = Place.of(source.index, face, self._engine.source_points(face))
        region = region_of(source, place.transform)
        if region is None or (region[2] - region[0]) * (region[3] - region[1]) > _KEPT_AREA:
            return _Pair(place, source, done, place.transform)
        moved = place.transform.copy()
        moved[:, 2] += moved[:, :2] @ region[:2]
        return _Pair(place, _part(source, region), _part(done, region), moved)

    def _look(self, pairs: Sequence[_Pair], sampled: int) -> list[Compared]:
        """Compares the first ``sampled`` of ``pairs``, and of those that wait between each of these and the one before
        it what it must; the others wait."""
        out = []
        for number, pair in enumerate(pairs):
            track = pair.place.face.track
            waiting = self._waiting.setdefault(track, [])
            small = pair.source.width * pair.source.height <= _KEPT_AREA
            if number >= sampled and small and len(waiting) < _WAIT:
                waiting.append(pair)
                continue
            seen = self._compare(pair)
            out.append(seen)
            out.extend(self._halved(waiting, self._last.get(track, seen.distance), seen.distance))
            self._last[track] = seen.distance
            waiting.clear()
        return out

    def _rest(self) -> list[Compared]:
        """What waits after the last of the sample."""
        out: list[Compared] = []
        for track, pairs in self._waiting.items():
            last = self._last.get(track, 0.0)
            out.extend(self._halved(pairs, last, last))
        return out

    def _halved(self, pairs: Sequence[_Pair], before: float, after: float) -> Iterator[Compared]:
        """Those of ``pairs``, in order between two that lie ``before`` and ``after`` from their originals, that need to
        be looked at, and how far from their originals they are."""
        if not pairs:
            return
        middle = len(pairs) // 2
        place = pairs[middle].place
        close = self._least.get(place.face.track, np.inf) < self._limit + _CLOSE
        thin = min(_THIN + _THIN_FOR_EACH * len(pairs), _THIN_MOST) + (_THINNER if close else 0.0)
        if min(before, after) >= self._limit + max(thin, beyond(place.height) + _STEP):
            return
        seen = self._compare(pairs[middle])
        yield seen
        yield from self._halved(pairs[:middle], before, seen.distance)
        yield from self._halved(pairs[middle + 1 :], seen.distance, after)

    def _compare(self, pair: _Pair) -> Compared:
        """How far the face is from its original to the recogniser; 0 where too much of the original is left."""
        from deid.audit.appearance import Look, left_alone  # not for runs that only obscure

        assert self._engine is not None
        chips = np.stack([cut(pair.source, pair.transform), cut(pair.done, pair.transform)])
        before, after = self._engine.recognise(chips)
        left = left_alone(Look.of(chips[0]), Look.of(chips[1]))
        distance = float(np.linalg.norm(before - after))
        face = pair.place.face
        lit = False
        if left > _LEFT:
            distance = 0.0
        elif distance < self._limit + beyond(pair.place.height) and pair.place.height >= LEGIBLE:
            lit = all(detail(chip, sharp=False) > 0 for chip in chips)
            if lit:
                self._remember(face, distance, chips[0])
        self._least[face.track] = min(distance, self._least.get(face.track, np.inf))
        return Compared(pair.place, distance, before, after, detail(chips[1]), lit)

    def _remember(self, face: FaceAt, distance: float, picture: np.ndarray) -> None:
        """Keep the nearest of those that lie some way apart in time."""
        known = self._known.setdefault(face.track, [])
        known.append((distance, face.row, picture))
        known.sort(key=lambda found: found[:2])
        kept: list[tuple[float, int, np.ndarray]] = []
        for found in known:
            if all(abs(found[1] - other[1]) >= _BETWEEN for other in kept):
                kept.append(found)
        known[:] = kept[:_SHOWN]


def chip(frame: Frame, points: np.ndarray) -> np.ndarray:
    """The aligned face, uint8 (150, 150, 3) RGB, of landmarks (478, 3) in frame pixels; black beyond the picture."""
    return cut(frame, chip_from_picture(points))


def _part(frame: Frame, region: tuple[int, int, int, int]) -> Frame:
    """A copy of a part of a frame that begins on the grid of its chroma."""
    x0, y0, x1, y1 = region
    sx, sy = frame.format.chroma_shift
    planes = []
    for number, plane in enumerate(frame.planes):
        a, b = (sx, sy) if number else (0, 0)
        planes.append(plane[y0 >> b : -(-y1 >> b), x0 >> a : -(-x1 >> a)].copy())
    return replace(frame, planes=tuple(planes))
