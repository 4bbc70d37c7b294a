"""A surrogate that came near its subject, or somebody else's, in the finished clip is moved on, away from what was met.

Who stands in is chosen by a few good pictures; a clip shows the two in hundreds, some of them poor. What lies too near
there is known frame by frame once a clip has been rendered, encoding and all. So the face is moved as :mod:`.farther`
moves draws, but by all of these frames at once: a few pictures tell what a step changes, and what it changes is taken
to be the same in every frame. It stays the same person, a little farther on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deid.models.engine import Met
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.farther import AT_WORST, WITHIN, Aim, moved
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.sampling import apparent
from deid.models.morphable.setting import Setting
from deid.models.morphable.surrogate import Likeness, Recognise, Surrogate, rejudged, sketched, toned
from deid.people import Person
from deid.recognition.thresholds import FAR_1E3

_NEAREST = 0.05  # share of the pairs of two people's faces that count: those that are most alike
_APART = 0.045  # beyond the match threshold, what these are to be on average
_SPARE = 0.02  # of distance, what is asked of a step beyond enough: frames do not all go the same way
_UNSURE = 0.02  # of distance, what frames may differ by from what is told of quite another face
_LOOKED_AT = 3  # pictures by which is told what a step changes, the last: those in which somebody was recognised
_SMALL = 0.08  # of distance, what encoding may lose of faces so small that nobody sees how unusual a head is
FEW, _SOME = 0.25, 0.5  # shares of somebody's faces for whose sake the others become no less usual, or little
_BETTER = 0.6  # of what lacks now, more than which is not worth another face


@dataclass(frozen=True, slots=True, eq=False)
class Frames(Aim):
    """An :class:`~.farther.Aim` for the frames of a clip, all of which count, by what each lacks. ``before``: float
    (n, 128), codes of the originals; ``each``: float64 (n,), how far from these those of the new faces are to be.
    ``others``: codes of other people's new faces, from which the nearest are to be as far as ``between``, float64 (m,),
    says of each."""

    each: np.ndarray
    between: np.ndarray

    def lacks(self, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`.farther.Aim.lacks`."""
        off = after - self.before
        sizes = np.maximum(np.linalg.norm(off, axis=1), 1e-6)
        values, slopes = [sizes - self.each], [off / sizes[:, None]]
        for other, apart in zip(self.others, self.between, strict=True):
            nearest, way = _nearest(after, other)
            values.append(np.array([nearest - apart]))
            slopes.append(way[None])
        return np.concatenate(values), np.concatenate(slopes)

    def score(self, after: np.ndarray) -> float:
        """At least 0 where all is as asked; below, the root of the mean square of what frames lack, and of what is
        lacking to others."""
        values = self.lacks(after)[0]
        least = float(values.min(initial=np.inf))
        return least if least >= 0 else -float(np.sqrt(self._shares() @ np.minimum(values, 0) ** 2))

    def way(self, after: np.ndarray) -> np.ndarray:
        """float64 (128,), of length 1: the way in which what lacks shrinks most."""
        values, slopes = self.lacks(after)
        short = self._shares() * np.maximum(_SPARE - values, 0)
        pull = short @ slopes
        found: np.ndarray = pull / max(float(np.linalg.norm(pull)), 1e-9)
        return found

    def _shares(self) -> np.ndarray:
        return np.r_[np.full(len(self.each), 1 / max(len(self.each), 1)), np.ones(len(self.others))]


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean distance of the nearest pairs of codes (n, d) and (m, d), and what it gains with a change of the first."""
    off = (one[:, None] - other[None]).reshape(-1, one.shape[1])
    sizes = np.maximum(np.linalg.norm(off, axis=1), 1e-6)
    count = max(1, round(_NEAREST * len(sizes)))
    at = np.argpartition(sizes, count - 1)[:count]
    return float(sizes[at].mean()), (off[at] / sizes[at, None]).mean(axis=0)


def aim_of(met: Met, others: Sequence[tuple[int, np.ndarray]], alike: Collection[int]) -> Frames:
    """``others``: people's numbers, and codes (m, 128) of their new faces. ``alike``: those of them who are too like
    this one; from everybody else it is enough to stay as far as now."""
    between, codes = [], []
    for number, other in others:
        if len(other) and len(met.after):
            now = _nearest(met.after.astype(np.float64), other)[0]
            between.append(FAR_1E3 + _APART if number in alike else min(now, FAR_1E3 + _APART))
            codes.append(other.astype(np.float64))
    return Frames(met.before.astype(np.float64), 0.0, 0.0, codes, 0.0, met.least, np.array(between))


def shifted(
    geometry: Geometry,
    appearance: Appearance,
    person: Person,
    surrogate: Surrogate,
    likenesses: Sequence[Likeness],
    others: Sequence[Surrogate],
    recognise: Recognise,
    after: np.ndarray,
    aim: Frames,
    drawn: Callable[[int], Surrogate],
    turns: int,
    share: float = 1.0,
) -> tuple[Surrogate, np.ndarray] | None:
    """``surrogate`` moved on until the codes ``after``, float (n, 128), of its frames are as ``aim`` says, or as far
    towards that as people differ, or one of ``turns`` others as ``drawn`` gives them, whichever comes nearer to it; and
    what the frames' codes change by, float64 (128,). ``None`` where nothing is much better. ``likenesses``: pictures
    that it is tried on, the last those that tell most. ``share``: of the person's faces, how much is at stake: what is
    well seen does not become odd for a few poor frames. Depends on the arguments only."""
    if aim.score(after) >= 0:
        return None
    likenesses = toned(sketched(geometry, appearance, surrogate.code), likenesses)
    seen, few = after.astype(np.float64), likenesses[-_LOOKED_AT:]

    def look(code: IdentityCode, at: Sequence[Likeness]) -> Surrogate:
        return rejudged(geometry, appearance, code, at, others, recognise, surrogate.draws)

    start = look(surrogate.code, likenesses).codes
    tried = [(aim.score(seen), surrogate.code, seen)]

    def told(code: IdentityCode, at: Sequence[Likeness] = few, to: Frames = aim) -> np.ndarray:
        """What the frames' codes become."""
        there: np.ndarray = seen + (look(code, at).codes - start[-len(at) :]).mean(axis=0)
        tried.append((to.score(there), code, there))
        return there

    def best() -> tuple[float, IdentityCode, np.ndarray]:
        return max(tried, key=lambda of: of[0])

    setting = Setting.of(geometry, likenesses[0].neutral)
    small = float(np.median([likeness.loses for likeness in likenesses])) > _SMALL
    for turn in range(1, turns + 1):
        if best()[0] < 0:
            told(drawn(turn).code, likenesses, replace(aim, each=aim.each + _UNSURE))
    odd = AT_WORST[: 0 if share < FEW else 1 if share < _SOME else None]
    for within in 2 * AT_WORST[-1:] if small else (WITHIN, *odd):
        score, code, there = best()
        if score < 0:
            moved(geometry, appearance, code, apparent(person), there, aim, told, setting, within)
    score, code, there = best()
    if code is surrogate.code or score < _BETTER * tried[0][0]:
        return None
    found = look(code, likenesses)
    return (found, there[0] - seen[0]) if found.safe else None
