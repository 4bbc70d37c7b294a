"""Who was filmed, as far as an audit can tell, and rates over people with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deid.audit.identity import people
from deid.audit.notes import GALLERY, Seen
from deid.audit.series import Series

SKINS = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))
"""Least individual typology angle of each band, degrees (S. Del Bino and F. Bernerd, 2013); below the last is
``dark``."""
AGES = ((20, "under 20"), (40, "20 to 39"), (60, "40 to 59"))
"""Years up to which each band reaches; from the last on it is ``60 and over``."""

_SURE_GENDER = 0.25
_DRAWS, _SEED = 2000, 20
_LEVELS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One person. ``faces``: indices into what was seen. ``codes``: of the source where it is clear enough to know
    somebody by, float32 (n, 128). ``gender``,
    ``age``, ``skin``: bands, of apparent gender and age by recognition codes, and of the skin's typology angle;
    ``unknown`` where nothing could be read. ``angle``: that angle."""

    id: int
    faces: tuple[int, ...]
    codes: np.ndarray
    gender: str
    age: str
    skin: str
    angle: float


def group(seen: Sequence[Seen], series: Sequence[Series], together: set[tuple[int, ...]]) -> list[Group]:
    """People in order of appearance, numbered from 1. ``together``: numbers of faces seen in one frame."""
    from deid.people import SAME_PERSON, describe

    index = {s.face.number: k for k, s in enumerate(seen)}
    codes = [stacked(s.source["dlib"].kept if "dlib" in s.source else []) for s in seen]
    dim = [stacked(s.dim.kept) for s in seen]
    pairs = [[index[n] for n in numbers if n in index] for numbers in sorted(together)]
    labels = people(codes, pairs, SAME_PERSON)
    out: list[Group] = []
    for label in dict.fromkeys(labels):
        faces = tuple(k for k, found in enumerate(labels) if found == label)
        own = np.concatenate([codes[k] for k in faces])
        shown = own if len(own) else np.concatenate([dim[k] for k in faces])
        female, age = describe(shown)
        angles = np.concatenate([series[k].notes["skin"] for k in faces])
        angle = float(np.median(angles)) if len(angles) else float("nan")
        out.append(Group(len(out) + 1, faces, own, _gender(female, len(shown)), _age(age), _skin(angle), angle))
    return out


def stacked(codes: Sequence[np.ndarray], most: int | None = None) -> np.ndarray:
    """float32 (n, 128), ``most`` of them at most, evenly."""
    every = np.array(codes, np.float32).reshape(len(codes), -1) if len(codes) else np.zeros((0, 128), np.float32)
    if most is None or len(every) <= most:
        return every
    return every[np.linspace(0, len(every) - 1, most).astype(int)]


def gallery(of: Group) -> np.ndarray:
    """A few codes of a person's source faces, over all their faces."""
    return stacked(list(of.codes), GALLERY)


def _gender(female: float, count: int) -> str:
    if not count:
        return "unknown"
    return "female" if female > _SURE_GENDER else "male" if female < -_SURE_GENDER else "unclear"


def _age(years: float) -> str:
    if not np.isfinite(years):
        return "unknown"
    return next((name for limit, name in AGES if years < limit), "60 and over")


def _skin(angle: float) -> str:
    if not np.isfinite(angle):
        return "unknown"
    return next((name for least, name in SKINS if angle > least), "dark")


@dataclass(frozen=True, slots=True)
class Rate:
    """``hits`` of ``count`` frames of faces, and the interval in which 95 of 100 rates lie when the people are drawn
    anew (percentile bootstrap, 2,000 draws, fixed seed); ``None`` with fewer than two people or no frames."""

    hits: int
    count: int
    people: int
    low: float | None
    high: float | None

    @property
    def value(self) -> float | None:
        return self.hits / self.count if self.count else None

    @classmethod
    def over(cls, pairs: Sequence[tuple[int, int]]) -> Rate:
        """From (hits, count) of each person; people without frames do not count."""
        table = np.array([p for p in pairs if p[1]], float).reshape(-1, 2)
        hits, count = int(table[:, 0].sum()), int(table[:, 1].sum())
        if len(table) < 2:
            return cls(hits, count, len(table), None, None)
        drawn = np.random.default_rng(_SEED).integers(0, len(table), (_DRAWS, len(table)))
        sums = table[drawn].sum(1)
        low, high = np.percentile(sums[:, 0] / sums[:, 1], _LEVELS)
        return cls(hits, count, len(table), float(low), float(high))

    def as_dict(self) -> dict[str, float | int | list[float] | None]:
        """JSON-able."""
        interval = None if self.low is None or self.high is None else [round(self.low, 5), round(self.high, 5)]
        value = None if self.value is None else round(self.value, 5)
        return {"rate": value, "interval": interval, "frames": self.count, "hits": self.hits, "people": self.people}
