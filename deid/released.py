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
from deid.models.engine import Engine, Met
from deid.people import detail
from deid.plan import FaceAt
from deid.recognition.chips import CHIP, chip_from_picture, cut_chip
from deid.types import Frame

_LARGEST, _LEAST, _PIXELS = 0.10, 0.02, 6.4  # of what encoding does to a distance: at most, at least, times height
FACE = 60.0
"""Height in pixels of a face from which on two people's are compared: smaller ones are like one another by
themselves."""
LEGIBLE = 40.0
"""The same from which on another face is looked for whose original is recognised: smaller ones are obscured."""
_TURNED = 45.0  # degrees of yaw to which they are
_NEAR_OTHERS = 0.08  # beyond the limit, how near the sample of two people may come before more of them is looked at
_OF_EACH = 120  # faces of a person that are compared with another's, at most
_SHARE = 0.0005  # of pairs of two people's faces that may be alike after one rendering; after each more, twice that
_BEYOND = 0.015  # beyond the limit, what counts as alike where too much is: the next encoding will be another
_CAUTION, _AGAIN = 0.25, 0.25  # of what encoding may do to a distance: what other landmarks may, and another encoding
MENDED = 2
"""Renderings after which who is recognised, or like somebody else, gets another face; later ones are obscured."""
_HOPELESS = 0.2  # of distance, how much nearer than the limit a face lies that no other stand-in will help
_MET = 48  # faces of a person by which another stand-in is judged, the nearest
_BATCH = 16
_HANDED_ON = 40  # codes of a person by which the surrogate of another is chosen
_DETAIL = (2.0, 3.0, 4.5, 8.0, 14.0, 20.0)
"""Detail of the better of two pictures, as :func:`deid.people.detail` has it, and"""
_POORER = (0.070, 0.050, 0.037, 0.025, 0.010, 0.0)
"""how much nearer strangers lie in two such pictures: where one pair in a thousand is, of 108 portraits of 40 to 120
pixels in full light down to a thirty-second of it, with noise. A poor picture beside a good one is like no other."""


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
    ``after``: float32 (128,), codes of the original and of what is in its place. ``shows``: the detail
    of the latter's picture, see :func:`deid.people.detail`. ``lit``: whether it came near its original in pictures
    that show so much that another face could help."""

    place: Place
    distance: float
    before: np.ndarray
    after: np.ndarray
    shows: float = _DETAIL[-1]
    lit: bool = True


@dataclass(frozen=True, slots=True)
class Alike:
    """Two people, by number, whose new faces are alike: without ``faces``, (frame, face), they would not be. The first
    of the two is the one less well seen: who gives way."""

    people: tuple[int, int]
    faces: tuple[Key, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """``matches``: (frame, face) that are still recognised in the finished file; ``hopeless``: those of them that no
    other face would help. ``tracks``: those of whom somebody else might not be. ``alike``: people who came to look like
    one another. ``codes``: by person, float32 (n, 128), of their new faces. ``met``: by person, what else is known of
    those of whom something is to change. ``looked``: how many faces were looked at again; ``nearest``: the least
    distance from an original among them."""

    matches: tuple[Key, ...] = ()
    hopeless: frozenset[Key] = frozenset()
    tracks: frozenset[int] = frozenset()
    alike: tuple[Alike, ...] = ()
    codes: Mapping[int, np.ndarray] = field(default_factory=dict)
    met: Mapping[int, Met] = field(default_factory=dict)
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
        self._again, self._lasting = _AGAIN * 2 ** max(attempt - MENDED, 0), attempt > MENDED
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
        codes, shows = self._codes(path(), sorted(wanted.values(), key=lambda p: _order(p.key)))
        apart = {
            key: float(np.linalg.norm(codes[key] - c.before)) if c.distance > 0 else 0.0 for key, c in near.items()
        }
        matches = _still(apart, wanted, limit, self._again, everywhere=self._lasting)
        hopeless = frozenset(key for key in matches if apart[key] < limit - _HOPELESS)
        tracks = frozenset(key[1].track for key in matches - hopeless if near[key].lit)
        clear = {person: [p for p in of if shows[p.key] > 0] for person, of in places.items()}
        left = {person: [p for p in of if p.key not in matches] for person, of in clear.items()}
        alike = self._alike(pairs, {person: of for person, of in left.items() if of}, codes, shows)
        told = {p: np.array([codes[at.key] for at in _thinned(of, _HANDED_ON)]) for p, of in clear.items() if of}
        changing = {self._people[track] for track in tracks} | {person for of in alike for person in of.people}
        bad = {key: wanted[key].height for key in (*matches, *(key for of in alike for key in of.faces))}
        met = {person: self._met(person, compared, codes, bad) for person in sorted(changing)}
        least = min(apart.values(), default=None)
        found = tuple(sorted(matches, key=_order))
        return Released(found, hopeless, tracks, tuple(alike), told, met, len(wanted), least)

    def _met(
        self, person: int, compared: Sequence[Compared], codes: Mapping[Key, np.ndarray], bad: Mapping[Key, float]
    ) -> Met:
        """What was seen of somebody's faces that can be told from others', the nearest to their originals. ``bad``:
        heights of faces that cannot stay as they are."""
        found = []
        for c in compared:
            if self._people.get(c.place.face.track) == person and (c.lit or c.shows > 0) and c.place.height >= LEGIBLE:
                after = codes.get(c.place.key, c.after)
                apart, least = float(np.linalg.norm(after - c.before)), self._limit + beyond(c.place.height)
                if apart >= self._limit - _HOPELESS:
                    found.append((apart - least, _order(c.place.key), c.before, after, least))
        found.sort(key=lambda of: of[:2])
        found = found[:_MET]
        before, after = (np.array([of[i] for of in found], np.float32).reshape(-1, 128) for i in (2, 3))
        heights = [c.place.height for c in compared if self._people.get(c.place.face.track) == person]
        shown = sum(self._people.get(face.track) == person for here in self._shown.values() for face in here)
        lost = sum(height for key, height in bad.items() if self._people.get(key[1].track) == person)
        share = lost / max(float(np.mean(heights)) * shown, 1e-6) if heights else 1.0
        return Met(before, after, np.array([of[4] for of in found]), min(share, 1.0))

    def _suspects(self, compared: Sequence[Compared]) -> list[tuple[int, int]]:
        """Pairs of people of whom some faces come near one another, as far as was seen."""
        groups: dict[int, list[np.ndarray]] = {}
        for c in compared:
            if c.place.face.track in self._people and _judged(c.place) and c.shows > 0:
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

    def _codes(self, path: Path, places: Sequence[Place]) -> tuple[dict[Key, np.ndarray], dict[Key, float]]:
        """What the recogniser makes of the faces at ``places``, and how much detail they show."""
        out, shows = {}, {}
        for start, chips in _read(path, places, self._threads):
            for place, code, chip in zip(places[start:], self._engine.recognise(chips), chips, strict=False):
                out[place.key], shows[place.key] = code, detail(chip)
        return out, shows

    def _alike(
        self,
        pairs: Sequence[tuple[int, int]],
        left: Mapping[int, Sequence[Place]],
        codes: Mapping[Key, np.ndarray],
        shows: Mapping[Key, float],
    ) -> list[Alike]:
        """Of ``pairs``, those who are like one another, where too many faces of the clip are. Of two, those faces are
        in the way that are less well seen."""
        apart = {}
        for a, b in pairs:
            if a in left and b in left:
                between = _between(*(np.array([codes[p.key] for p in left[of]]) for of in (a, b)))
                apart[a, b] = between + nearer(*(np.array([shows[p.key] for p in left[of]]) for of in (a, b)))
        found = {pair: int((d < self._limit).sum()) for pair, d in apart.items()}
        if sum(found.values()) <= self._share * self._compared:
            return []
        long = Counter(self._people.get(face.track) for here in self._shown.values() for face in here)
        worth = {p: np.array([at.height * shows[at.key] for at in of]) * long[p] for p, of in left.items()}
        out = []
        for (a, b), distances in apart.items():
            if found[a, b]:
                alike = cover(distances < self._limit + _BEYOND, worth[a], worth[b])
                keys = [(left[a], left[b])[side][at].key for side, at in alike]
                first = min((a, b), key=lambda p: (float(np.median(worth[p])), p))
                out.append(Alike((first, a + b - first), tuple(sorted(keys, key=_order))))
        return out


def _judged(place: Place) -> bool:
    return place.height >= FACE and abs(place.yaw) <= _TURNED


def _still(
    apart: Mapping[Key, float], places: Mapping[Key, Place], limit: float, again: float, *, everywhere: bool
) -> set[Key]:
    """Who is still recognised. Where there is anybody, what comes nearly as near in the same track, or ``everywhere``,
    counts, too: the next encoding will be another. ``again``: how near, in what encoding may do; once nobody gets
    another face any more it grows with every rendering, so that there is an end to it before somebody has to be
    obscured throughout."""
    over = {key: distance - limit - caution(places[key].height) for key, distance in apart.items()}
    known = {key[1].track for key, by in over.items() if by < 0}
    if not known:
        return set()
    return {
        key
        for key, by in over.items()
        if by < again * reach(places[key].height) and (by < 0 or everywhere or key[1].track in known)
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


def nearer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how much strangers lie nearer than usual in pictures of so much detail, (n,) and (m,): (n, m)."""
    best = np.maximum(one[:, None], other[None])
    found: np.ndarray = np.interp(best, _DETAIL, _POORER)
    return found


def cover(alike: np.ndarray, *worths: np.ndarray) -> list[tuple[int, int]]:
    """Rows (0, number) and columns (1, number) of bool (n, m) without which none of it is true: always the next with
    the most for what it is worth. ``worths``: of rows, (n,), and of columns, (m,); without them all are worth the
    same."""
    left, out = alike.copy(), []
    worth = [np.maximum(of, 1e-6) for of in worths] or [np.ones(size) for size in left.shape]
    while left.any():
        counts = left.sum(axis=1) / worth[0], left.sum(axis=0) / worth[1]
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
