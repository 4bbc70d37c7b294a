"""The run's check of what is released: the finished file read again, after encoding and before it has its name.

Encoding changes small faces enough to matter. Of 327 faces of 45 to 90 pixels, codes of the recogniser lay up to 0.09
nearer to the original's after H.264 at the default quality than before (standard deviation 0.025); of 200 of 140 to 150
pixels up to 0.023 (0.010). So what comes near a limit before encoding is looked at again in the file itself, where
people of the clip are compared with one another, too; nothing is decoded where nothing comes near.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np

from deid.detection.pose import face_box, head_pose
from deid.errors import PrivacyError
from deid.media import Reader
from deid.media.convert import bgr
from deid.models.engine import Engine
from deid.plan import FaceAt
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip
from deid.types import Frame

_LARGEST, _LEAST, _PIXELS = 0.10, 0.02, 6.4  # of what encoding does to a distance: at most, at least, times height
FACE = 60.0
"""Height in pixels of a face from which on two people's are compared, and somebody else is looked for who is
recognised: smaller ones are like one another by themselves."""
_TURNED = 45.0  # degrees of yaw to which they are
_NEAR_OTHERS = 0.08  # beyond the limit, how near the sample of two people may come before more of them is looked at
_OF_EACH = 120  # faces of a person that are compared with another's, at most
_SHARE = 0.0005  # of pairs of two people's faces that may be alike after one rendering; after each more, twice that
_BEYOND = 0.015  # beyond the limit, what counts as alike where too much is: the next encoding will be another
_CAUTION, _AGAIN = 0.25, 0.25  # of what encoding may do to a distance: what other landmarks may, and another encoding
_FEW = 0.2  # share of a track's faces up to which those recognised are obscured: somebody else may be nearer elsewhere
_BATCH = 16
_HANDED_ON = 12  # codes of a person by which the surrogate of another is chosen


Key = tuple[int, FaceAt]
"""A frame, and a face in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a face lies. ``height``: in pixels; ``yaw``: in degrees. ``transform``: float64 (2, 3), the aligned face
    from the frame."""

    frame: int
    face: FaceAt
    height: float
    yaw: float
    transform: np.ndarray

    @classmethod
    def of(cls, frame: int, face: FaceAt, points: np.ndarray) -> Place:
        """``points``: the mesh of the original, float32 (478, 3), frame pixels."""
        roll, yaw, _ = head_pose(points)
        return cls(frame, face, float(face_box(points, roll)[3]), yaw, chip_from_picture(points))

    @property
    def key(self) -> Key:
        return self.frame, self.face


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One replaced face as it was before encoding. ``distance``: from its original to the recogniser. ``before``,
    ``after``: float32 (128,), codes of the original and of what is in its place."""

    place: Place
    distance: float
    before: np.ndarray
    after: np.ndarray


@dataclass(frozen=True, slots=True)
class Alike:
    """Two people, by number, whose new faces are alike: without ``faces``, (frame, face), they would not be."""

    people: tuple[int, int]
    faces: tuple[Key, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """``matches``: (frame, face) that are still recognised in the finished file. ``tracks``: those of whom somebody
    else might not be. ``alike``: people who came to look like one another. ``codes``: by person, float32 (n, 128), of
    their new faces. ``looked``: how many faces were looked at again; ``nearest``: the least distance from an original
    among them."""

    matches: tuple[Key, ...] = ()
    tracks: frozenset[int] = frozenset()
    alike: tuple[Alike, ...] = ()
    codes: Mapping[int, np.ndarray] = field(default_factory=dict)
    looked: int = 0
    nearest: float | None = None


def reach(height: float) -> float:
    """How much nearer to its original encoding may bring a face of so many pixels, to the recogniser."""
    return float(np.clip(_PIXELS / max(height, 1.0), _LEAST, _LARGEST))


def beyond(height: float) -> float:
    """How far beyond a limit a face of so many pixels may be before encoding that is taken for a match after it."""
    return caution(height) + reach(height)


def caution(height: float) -> float:
    """What is so little beyond a limit is taken for a match, in faces of so many pixels: other landmarks cut them out
    otherwise."""
    return _CAUTION * reach(height)


class Check:
    """``shown``: all faces that are replaced, by frame. ``limit``: distance up to which two faces are one person's.
    ``attempt``: which rendering it is, from 1."""

    def __init__(
        self, engine: Engine, shown: Mapping[int, Sequence[FaceAt]], limit: float, *, threads: int, attempt: int
    ) -> None:
        self._engine, self._shown, self._limit, self._threads = engine, shown, limit, threads
        self._share = _SHARE * 2 ** (attempt - 1)
        self._again = _AGAIN * 2 ** (attempt - 1)
        self._people = {track: person.id for person in engine.people() for track in person.tracks}
        self._compared = 0

    def __call__(self, path: Callable[[], Path], compared: Sequence[Compared]) -> Released:
        """What came near the limit of ``compared``, in the finished file that ``path`` gives, which is asked for only
        then. Raises :class:`~deid.errors.PrivacyError` when the file does not show what was written."""
        limit = self._limit
        near = {c.place.key: c for c in compared if c.distance < limit + beyond(c.place.height)}
        pairs = self._suspects(compared)
        places = {person: self._all_of(person) for person in sorted({p for pair in pairs for p in pair})}
        wanted = {p.key: p for p in (*(c.place for c in near.values()), *(p for of in places.values() for p in of))}
        if not wanted:
            return Released()
        codes = self._codes(path(), sorted(wanted.values(), key=lambda p: _order(p.key)))
        apart = {
            key: float(np.linalg.norm(codes[key] - c.before)) if c.distance > 0 else 0.0 for key, c in near.items()
        }
        matches = _still(apart, wanted, limit, self._again)
        met = Counter(key[1].track for key in matches if apart[key] > 0 and wanted[key].height >= FACE)
        faces = Counter(face.track for here in self._shown.values() for face in here)
        tracks = frozenset(track for track, count in met.items() if count > _FEW * faces[track])
        left = {person: [p.key for p in of if p.key not in matches] for person, of in places.items()}
        alike = self._alike(pairs, {person: of for person, of in left.items() if of}, codes)
        told = {p: np.array([codes[place.key] for place in _thinned(of, _HANDED_ON)]) for p, of in places.items()}
        least = min(apart.values(), default=None)
        return Released(tuple(sorted(matches, key=_order)), tracks, tuple(alike), told, len(wanted), least)

    def _suspects(self, compared: Sequence[Compared]) -> list[tuple[int, int]]:
        """Pairs of people of whom some faces come near one another, as far as was seen."""
        groups: dict[int, list[np.ndarray]] = {}
        for c in compared:
            if c.place.face.track in self._people and _judged(c.place):
                groups.setdefault(self._people[c.place.face.track], []).append(c.after)
        codes = {person: np.array(_thinned(of, _OF_EACH)) for person, of in sorted(groups.items())}
        self._compared = self._all_pairs(list(codes))
        near = self._limit + _NEAR_OTHERS
        return [(a, b) for a, b in combinations(codes, 2) if float(_between(codes[a], codes[b]).min()) < near]

    def _all_of(self, person: int) -> list[Place]:
        """Faces of somebody that can be compared with others', spread over the clip."""
        own = [
            (frame, face)
            for frame, faces in sorted(self._shown.items())
            for face in faces
            if self._people.get(face.track) == person
        ]
        places = [Place.of(*key, self._engine.source_points(key[1])) for key in _thinned(own, _OF_EACH)]
        return [place for place in places if _judged(place)]

    def _all_pairs(self, people: Sequence[int]) -> int:
        """How many pairs of faces of two people there are, of :data:`_OF_EACH` faces of each at most."""
        count = dict.fromkeys(people, 0)
        for faces in self._shown.values():
            for face in faces:
                person = self._people.get(face.track)
                if person in count:
                    count[person] = min(count[person] + 1, _OF_EACH)
        return sum(count[a] * count[b] for a, b in combinations(count, 2))

    def _codes(self, path: Path, places: Sequence[Place]) -> dict[Key, np.ndarray]:
        out = {}
        for start, chips in _read(path, places, self._threads):
            for place, code in zip(places[start:], self._engine.recognise(chips), strict=False):
                out[place.key] = code
        return out

    def _alike(
        self, pairs: Sequence[tuple[int, int]], left: Mapping[int, Sequence[Key]], codes: Mapping[Key, np.ndarray]
    ) -> list[Alike]:
        """Of ``pairs``, those who are like one another, where too many faces of the clip are."""
        apart = {
            (a, b): _between(np.array([codes[k] for k in left[a]]), np.array([codes[k] for k in left[b]]))
            for a, b in pairs
            if a in left and b in left
        }
        found = {pair: int((d < self._limit).sum()) for pair, d in apart.items()}
        if sum(found.values()) <= self._share * self._compared:
            return []
        out = []
        for (a, b), distances in apart.items():
            if found[a, b]:
                keys = [(left[a], left[b])[side][at] for side, at in cover(distances < self._limit + _BEYOND)]
                out.append(Alike((a, b), tuple(sorted(keys, key=_order))))
        return out


def _judged(place: Place) -> bool:
    return place.height >= FACE and abs(place.yaw) <= _TURNED


def _still(apart: Mapping[Key, float], places: Mapping[Key, Place], limit: float, again: float) -> set[Key]:
    """Who is still recognised. Where there is anybody, what comes nearly as near counts, too: the next encoding will be
    another. ``again``: how near, in what encoding may do; more with every rendering, so that there is an end to it
    before somebody has to be obscured throughout."""
    if not any(distance < limit + caution(places[key].height) for key, distance in apart.items()):
        return set()
    return {
        key
        for key, distance in apart.items()
        if distance < limit + caution(places[key].height) + again * reach(places[key].height)
    }


def _order(key: Key) -> tuple[int, int]:
    return key[0], key[1].track


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of codes (n, d) and (m, d): (n, m)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    found: np.ndarray = np.sqrt(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T, 0))
    return found


T = TypeVar("T")


def _thinned(things: Sequence[T], most: int) -> list[T]:
    if len(things) <= most:
        return list(things)
    return [things[i] for i in np.linspace(0, len(things) - 1, most).round().astype(int)]


def cover(alike: np.ndarray) -> list[tuple[int, int]]:
    """Rows (0, number) and columns (1, number) of bool (n, m) without which none of it is true: always the next with
    the most."""
    left, out = alike.copy(), []
    while left.any():
        counts = left.sum(axis=1), left.sum(axis=0)
        side = int(counts[1].max() > counts[0].max())
        at = int(counts[side].argmax())
        out.append((side, at))
        left[(at, slice(None)) if side == 0 else (slice(None), at)] = False
    return out


def _read(path: Path, places: Sequence[Place], threads: int) -> Iterator[tuple[int, np.ndarray]]:
    """The aligned faces at ``places``, in order of frames, as the file shows them: where a batch begins, and it, uint8
    (n, 150, 150, 3) RGB."""
    start = 0
    waiting: list[np.ndarray] = []
    with Reader(path, threads=threads) as reader:
        for frame in reader:
            while start + len(waiting) < len(places) and places[start + len(waiting)].frame == frame.index:
                waiting.append(cut(frame, places[start + len(waiting)].transform))
            done = start + len(waiting) == len(places)
            if waiting and (done or len(waiting) >= _BATCH):
                yield start, np.stack(waiting)
                start, waiting = start + len(waiting), []
            if done:
                return
    raise PrivacyError(
        "the finished file shows fewer frames than were written to it, so its faces cannot be checked and no output "
        "was made; try another --codec or another format of the target."
    )


def cut(frame: Frame, transform: np.ndarray) -> np.ndarray:
    """The aligned face, uint8 (150, 150, 3) RGB, by ``transform``, (2, 3) from frame pixels; black beyond the frame."""
    region = region_of(frame, transform)
    if region is None:
        return np.zeros((CHIP, CHIP, 3), np.uint8)
    picture = np.ascontiguousarray(bgr(frame, region=region)[..., ::-1])
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ region[:2]
    return cut_chip(picture, shifted)


def region_of(frame: Frame, transform: np.ndarray) -> tuple[int, int, int, int] | None:
    """What of a frame an aligned face shows, on the grid of its chroma: x0, y0, x1, y1; ``None`` when hardly any."""
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    corners = np.array([[0, 0], [CHIP, 0], [CHIP, CHIP], [0, CHIP]]) @ inverse[:, :2].T + inverse[:, 2]
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + 3, (frame.width, frame.height))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    sx, sy = frame.format.chroma_shift
    return int(x0) >> sx << sx, int(y0) >> sy << sy, int(x1), int(y1)
