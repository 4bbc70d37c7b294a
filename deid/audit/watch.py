"""Goes through a source and its output side by side, once, and notes what became of every face.

Memory does not grow with the clip but by a few numbers a face and frame: meshes and codes, which are biometric data,
lie in a file that no name leads to (:class:`deid.tracking.records.RecordFile`).

Three networks look: CenterFace follows the source's faces, MediaPipe's mesh measures both, and MTCNN, which was trained
otherwise and has no part in a run, searches every output frame for faces that are as they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deid.audit.appearance import Look, Touched, compare, looks, seam_steps, typology_angle
from deid.audit.faces import PRESENT, SEARCH_PIXELS, Followed, Follower, Sighting, overlap, upright
from deid.audit.sheet import crop_of
from deid.detection.landmarks import FaceLandmarker, roi_from_box
from deid.detection.mtcnn import Mtcnn
from deid.errors import UsageError
from deid.media import Reader
from deid.media.convert import bgr
from deid.progress import Progress
from deid.recognition.custom import Dlib, Recogniser
from deid.tracking.records import POINTS, FaceRecord, RecordFile
from deid.types import Detection, Frame

STATES = tuple(state.value for state in Touched)
RECOGNISED = 40.0
"""Pixels of a face's height from which a recogniser is asked."""
GALLERY = 24
"""Codes kept of each track, spread over it."""
SECOND_SCORE = 0.6
"""Score of MTCNN's last network from which a finding counts; its own default is 0.7."""

_STEPS = 12000.0
_WORST, _WORST_APART = 8, 0.4
_PENDING = 6
_SECOND_STAGES = (0.5, 0.6, SECOND_SCORE)

NOTES = np.dtype(
    [
        ("output", "<i2", (POINTS, 3)),
        ("presence", "<f4"),
        ("box", "<f4", (5,)),
        ("pose", "<f4", (3,)),
        ("state", "u1"),
        ("kept", "u1"),
        ("tone", "<f4"),
        ("left", "<f4"),
        ("seam", "<f4"),
        ("softness", "<f4"),
        ("likeness", "<f4"),
        ("skin", "<f4"),
        ("distance", "<f4"),
        ("other", "<f4"),
        ("again", "u1"),
        ("code", "<f2", (128,)),
    ]
)
"""What is noted of a face beside the source's mesh. ``output``: the output's mesh in the units of the source's record.
``state``: index into :data:`STATES`; ``kept``: left as it was because the user said so. ``skin``: typology angle of the
source, degrees. ``distance``, ``other``: between source and output by dlib and by the user's recogniser, NaN where not
asked. ``again``: the second detector saw a face there in the output. ``code``: dlib's, of the output."""


class Thinned:
    """Up to ``most`` things out of any number, evenly spread, whatever the number turns out to be."""

    def __init__(self, most: int) -> None:
        self._most, self._every, self._met = most, 1, 0
        self.kept: list[np.ndarray] = []

    def add(self, thing: np.ndarray) -> None:
        if self._met % self._every == 0:
            if len(self.kept) == 2 * self._most:
                self.kept, self._every = self.kept[::2], 2 * self._every
            if self._met % self._every == 0:
                self.kept.append(thing)
        self._met += 1


@dataclass(frozen=True, slots=True, eq=False)
class Bad:
    """An output face worth looking at. ``crop``: uint8 (112, 112, 3) RGB of the output; of a face that leaks, coarse
    squares."""

    badness: float
    frame: int
    seconds: float
    why: str
    crop: np.ndarray


@dataclass(slots=True, eq=False)
class Seen:
    """One face of the source. ``records``: its places in the record file, in order of time. ``source``, ``output``:
    codes of a few of its faces, by recogniser; ``worst``: at most eight."""

    face: Followed
    frames: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    source: dict[str, Thinned] = field(default_factory=dict)
    output: dict[str, Thinned] = field(default_factory=dict)
    worst: list[Bad] = field(default_factory=list)

    def offer(self, bad: Bad) -> None:
        """Keep ``bad`` if it is among the worst, no two of them within four tenths of a second."""
        near = [b for b in self.worst if abs(b.seconds - bad.seconds) < _WORST_APART]
        if any(b.badness >= bad.badness for b in near):
            return
        rest = [b for b in self.worst if b not in near]
        self.worst = sorted([*rest, bad], key=lambda b: (-b.badness, b.frame))[:_WORST]


@dataclass(frozen=True, slots=True, eq=False)
class Stray:
    """A place that the second detector takes for a face and that is as it was, away from all followed faces. ``sure``:
    the landmark model sees a face there too."""

    frame: int
    box: np.ndarray
    score: float
    sure: bool


@dataclass(slots=True, eq=False)
class Watched:
    """Everything one pass noted. ``seconds``: each frame's time from the first, of the source. ``slips``: the largest
    difference between the two clips' frame times. ``counts``: frames of source and output."""

    records: RecordFile
    faces: list[Seen] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slip: float = 0.0
    counts: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    together: set[tuple[int, ...]] = field(default_factory=set)

    def close(self) -> None:
        """Forget what lies in the record file."""
        self.records.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Noted:
    """One face judged. ``codes``: source's and output's, by recogniser."""

    sighting: Sighting
    record: FaceRecord
    codes: dict[str, tuple[np.ndarray, np.ndarray]]
    bad: Bad


Kept = Callable[[int, np.ndarray], bool]
"""Whether the face of a frame and a box ``cx cy w h roll`` was left on purpose."""


class _Judge:
    """Looks at one face after the other, in a thread of its own."""

    def __init__(self, recognisers: Sequence[Recogniser], kept: Kept) -> None:
        self._recognisers, self._is_kept = recognisers, kept
        self._mesh = FaceLandmarker()

    def close(self) -> None:
        self._mesh.close()

    def faces(
        self, frame: int, seconds: float, pair: tuple[np.ndarray, np.ndarray], seen: Sequence[Sighting]
    ) -> list[_Noted]:
        a, b = (np.ascontiguousarray(picture[..., ::-1]) for picture in pair)
        return [self._face(frame, seconds, a, b, sighting) for sighting in seen]

    def _face(self, frame: int, seconds: float, a: np.ndarray, b: np.ndarray, sighting: Sighting) -> _Noted:
        points, note = sighting.mesh.points, np.zeros((), NOTES)
        found = self._mesh.run(b, sighting.roi, rgb=True)
        middle = (points.min(0) + points.max(0)) / 2
        step = max(float(np.ptp(points[:, :2], axis=0).max()) / _STEPS, 1e-6)  # as the record file has it
        if found is not None:
            note["output"] = np.clip(np.rint((found.points - middle) / step), -32767, 32767)
            note["presence"] = found.presence
        before, after = looks(a, b, points)
        seen = compare(before, after, seam_steps(a, b, points))
        note["box"], note["pose"] = sighting.mesh.box, _pose(sighting)
        note["state"] = STATES.index(seen.touched.value)
        note["kept"] = self._is_kept(frame, sighting.mesh.box)
        note["tone"], note["left"], note["seam"] = seen.tone, seen.left, max(seen.seams)
        note["softness"], note["likeness"] = seen.softness, seen.likeness
        note["skin"] = typology_angle(before.rgb)
        codes = self._codes(a, b, points, float(sighting.mesh.box[3]), (before, after))
        note["distance"] = note["other"] = np.nan
        for name, (own, new) in codes.items():
            note["distance" if name == "dlib" else "other"] = float(np.linalg.norm(own - new))
        if "dlib" in codes:
            note["code"] = codes["dlib"][1]
        return _Noted(
            sighting,
            FaceRecord(frame, points, sighting.mesh.presence, note),  # type: ignore[arg-type]
            codes,
            self._badness(frame, seconds, b, points, note),
        )

    def _codes(
        self, a: np.ndarray, b: np.ndarray, points: np.ndarray, height: float, pair: tuple[Look, Look]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        if height < RECOGNISED:
            return {}
        out = {}
        for r in self._recognisers:
            chips = [look.rgb for look in pair] if r.name == "dlib" else [r.cut(a, points), r.cut(b, points)]
            codes = r.codes(np.stack(chips))
            out[r.name] = codes[0], codes[1]
        return out

    def _badness(self, frame: int, seconds: float, b: np.ndarray, points: np.ndarray, note: np.ndarray) -> Bad:
        state = Touched(STATES[int(note["state"])])
        limits = [(r.threshold, float(note["distance" if r.name == "dlib" else "other"])) for r in self._recognisers]
        nearness = max((1 - d / limit for limit, d in limits if np.isfinite(d)), default=0.0)
        if note["kept"]:
            score, why = 0.0, "kept as asked"
        elif state is Touched.KEPT:
            score, why = 10.0, "as it was"
        elif nearness > 0:
            score, why = 5.0 + nearness, "still recognised"
        elif state is Touched.OBSCURED:
            score, why = 0.05, "obscured"
        else:
            parts = {
                "no clear face": 1 - float(note["presence"]),
                "source shows through": float(note["left"]),
                "edge": float(note["seam"]) / 12,
                "tone": float(note["tone"]) / 15,
                "near the source": 0.5 + nearness,
            }
            why = max(parts, key=lambda k: parts[k])
            score = parts[why]
            why = why if score > 0.25 else "nothing special"
        return Bad(score, frame, seconds, why, crop_of(b, points, hidden=score >= 5.0 or bool(note["kept"])))


def _pose(sighting: Sighting) -> tuple[float, float, float]:
    mesh = sighting.mesh
    return mesh.yaw, mesh.pitch, float(np.degrees(mesh.roll))


class _Second:
    """The second detector, in a thread of its own."""

    def __init__(self, kept: Kept) -> None:
        self._is_kept = kept
        self._detector = Mtcnn(thresholds=_SECOND_STAGES, threads=1)
        self._mesh = FaceLandmarker()

    def close(self) -> None:
        self._detector.close()
        self._mesh.close()

    def search(
        self, frame: int, pair: tuple[np.ndarray, np.ndarray], seen: Sequence[Sighting]
    ) -> tuple[list[bool], list[Stray]]:
        """Which of ``seen`` show a face in the output, and what else is as it was."""
        source, output = pair
        scale = min(1.0, (SEARCH_PIXELS / (output.shape[0] * output.shape[1])) ** 0.5)
        found = self._detector.detect(output, scale=scale)
        boxes = [upright(s.mesh) for s in seen]
        again = [any(_touch(box, d.box) for d in found) for box in boxes]
        away = [d for d in found if not any(_touch(box, d.box) for box in boxes)]
        bare = [d for d in away if not self._is_kept(frame, _centred(d.box)) and _unchanged(source, output, d)]
        strays = [self._stray(frame, source, d) for d in bare]
        return again, strays

    def _stray(self, frame: int, source: np.ndarray, d: Detection) -> Stray:
        mesh = self._mesh.run(source, roi_from_box(d.box))
        sure = mesh is not None and mesh.presence >= PRESENT and overlap(upright(mesh), d.box) > 0.25
        return Stray(frame, d.box, d.score, sure)


def _centred(box: np.ndarray) -> np.ndarray:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1], 0.0])


def _touch(a: np.ndarray, b: np.ndarray) -> bool:
    apart = float(np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2)))
    return overlap(a, b) > 0.2 or apart < 0.35 * float(max(a[3] - a[1], b[3] - b[1]))


def _unchanged(source: np.ndarray, output: np.ndarray, d: Detection) -> bool:
    """Whether the place is as it was."""
    if d.points is None or float(np.ptp(d.points, axis=0).max()) < 3:
        return False
    x0, y0, x1, y1 = np.r_[np.floor(1.5 * d.box[:2] - 0.5 * d.box[2:]), np.ceil(1.5 * d.box[2:] - 0.5 * d.box[:2])]
    x0, y0 = max(int(x0), 0), max(int(y0), 0)
    a, b = (np.ascontiguousarray(p[y0 : int(y1), x0 : int(x1), ::-1]) for p in (source, output))
    if min(a.shape[:2]) < 8:
        return False
    return compare(*looks(a, b, d.points - (x0, y0))).touched is Touched.KEPT


def watch(
    source: Path,
    output: Path,
    recogniser: Recogniser | None,
    progress: Progress,
    *,
    start: float | None = None,
    end: float | None = None,
    kept: Kept | None = None,
    threads: int = 1,
) -> Watched:
    """Look at both clips, frame by frame. ``recogniser``: the user's, beside dlib's. ``start``, ``end``: the part of
    the source that the output shows.

    Raises :class:`UsageError` when the pictures cannot be laid over each other, and what reading raises. The caller
    closes the result.
    """
    dlib = Dlib()
    watched = Watched(RecordFile(NOTES))
    judge = _Judge([dlib, *([recogniser] if recogniser else [])], kept or _none)
    follower, second = Follower(), _Second(kept or _none)
    pool, search_pool = ThreadPoolExecutor(1, "judge"), ThreadPoolExecutor(1, "second")
    faces: dict[int, Seen] = {}
    waiting: deque[tuple[Future[list[_Noted]], Future[tuple[list[bool], list[Stray]]]]] = deque()
    try:
        for frame, pair in _pairs(source, output, watched, progress, start, end, threads):
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
                _note(watched, faces, *(f.result() for f in waiting.popleft()))
        while waiting:
            _note(watched, faces, *(f.result() for f in waiting.popleft()))
    except BaseException:
        watched.close()
        raise
    finally:
        for p in (pool, search_pool):
            p.shutdown(wait=True, cancel_futures=True)
        follower.close()
        for thing in (judge, second, dlib):
            thing.close()
    watched.faces = _whole(faces)
    return watched


def _none(frame: int, box: np.ndarray) -> bool:
    return False


def _note(
    watched: Watched, faces: dict[int, Seen], noted: Sequence[_Noted], second: tuple[list[bool], list[Stray]]
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
            of.source.setdefault(name, Thinned(GALLERY)).add(own)
            if STATES[int(one.record.photo["state"])] in (Touched.REPLACED.value, Touched.KEPT.value):
                of.output.setdefault(name, Thinned(GALLERY)).add(new)
        of.offer(one.bad)


def _whole(faces: dict[int, Seen]) -> list[Seen]:
    """Those that were faces, without what was followed beyond the last search that saw them."""
    from deid.audit.faces import LEAST_SIGHTINGS

    out = []
    for seen in faces.values():
        count = seen.face.kept
        if count >= LEAST_SIGHTINGS:
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
    threads: int,
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Both clips side by side, as BGR pictures; counts, times and sizes go to ``watched``."""
    with Reader(output, threads=threads) as b:
        height = b.info.height
        with Reader(source, start=start, end=end, max_height=height, threads=threads) as a:
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
