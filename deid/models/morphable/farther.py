"""A drawn face moved away from those whom it must not resemble.

Among a few hundred draws there may be none that is unlike a subject whose glasses, hair and light stay in the picture.
Then the best of them is moved, a little at a time: along what a recogniser tells people apart by, in the metric in
which people differ, so that it is the shortest way for a head and a skin. At first that is what the map of
:mod:`.foretell` says; every look at where a step really led puts the map right for this picture (Broyden 1965), without
which steps lead hardly anywhere under strong glasses or in poor light. A face keeps to the limits of draws, those of
components and proportions, by projection on each that would be passed (Kaczmarz 1937); what reads as gender and age
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.foretell import sensitivity
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.population import load_population
from deid.models.morphable.setting import Setting
from deid.people import traits

_LOOKS = 6
_SKIN = 1.7  # standard deviations of a coefficient of skin, at most, unless the draw was farther out
WITHIN = 0.8  # of the limits of proportions, unless the draw was farther out
AT_WORST = (1.0, 1.4)  # the same where nobody is safe within these
_STEP, _SWEEPS = 0.15, 8  # standard deviations a step in the map, and sweeps over the limits after each
_REACH, _MORE, _LESS, _MOST, _LEAST = 1.5, 1.25, 0.5, 2.0, 0.3  # standard deviations between two looks
_TOTAL = 2.4  # standard deviations from the draw
_SOFT = 0.02  # distance within which shortfalls count alike
_HALF = 0.5
_BEYOND = 0.02  # what is foretold is to be better than enough by


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """``before``: float (m, 128), recognition codes of the subject's pictures; the new face's codes in these are to be
    ``mean`` from them on average and ``least`` each. ``others``: codes (n, 128) of faces from which they are to be
    ``apart`` on average. ``middle``: float (128,), a code from which their mean is to be ``out``; what it lacks of that
    counts half, since nobody is shown by it."""

    before: np.ndarray
    mean: float
    least: float
    others: Sequence[np.ndarray]
    apart: float
    middle: np.ndarray | None = field(default=None, kw_only=True)
    out: float = field(default=0.0, kw_only=True)

    def lacks(self, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By how much codes ``after``, (m, 128), are better than asked, (t,), and what each gains with a common change
        of all of them, (t, 128)."""
        off = after - self.before
        sizes = np.maximum(np.linalg.norm(off, axis=1), 1e-6)
        units = off / sizes[:, None]
        nearest = int(np.argmin(sizes))
        values, slopes = [sizes.mean() - self.mean, sizes[nearest] - self.least], [units.mean(axis=0), units[nearest]]
        for other in self.others:
            between = (after[:, None] - other[None]).reshape(-1, after.shape[1])
            lengths = np.maximum(np.linalg.norm(between, axis=1), 1e-6)
            values.append(lengths.mean() - self.apart)
            slopes.append((between / lengths[:, None]).mean(axis=0))
        if self.middle is not None:
            outwards = after.mean(axis=0) - self.middle
            length = max(float(np.linalg.norm(outwards)), 1e-6)
            values.append(_HALF * (length - self.out))
            slopes.append(_HALF * outwards / length)
        return np.array(values), np.array(slopes)

    def score(self, after: np.ndarray) -> float:
        """At least 0 where all is as asked."""
        return float(self.lacks(after)[0].min())

    def way(self, after: np.ndarray) -> np.ndarray:
        """float64 (128,), of length 1: where to go from codes ``after``, most for what lacks most."""
        values, slopes = self.lacks(after)
        weights = np.exp(-(values - values.min()) / _SOFT)
        pull = weights @ slopes
        found: np.ndarray = pull / max(float(np.linalg.norm(pull)), 1e-9)
        return found


def moved(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    female: float,
    after: np.ndarray,
    aim: Aim,
    look: Callable[[IdentityCode], np.ndarray],
    setting: Setting | None = None,
    within: float = WITHIN,
) -> IdentityCode:
    """``code``, or what it becomes on its way to ``aim``: the best of what was looked at. ``female``: apparent gender,
    -1 to 1. ``after``: float (m, 128), what the recogniser makes of ``code`` in the subject's pictures. ``look``: the
    same of another code. ``setting``: what the head must sit in. ``within``: how much of the limits of proportions it
    may take up; components reach as much farther as that is more than :data:`WITHIN`. Depends on the arguments only."""
    space = _Space(geometry, appearance, code, female, setting, within)
    slopes = space.rows.copy()
    x, seen, reach = np.zeros(len(slopes)), after.astype(np.float64), _REACH
    best = aim.score(seen)
    for _ in range(_LOOKS):
        if best >= 0 or reach < _LEAST:
            break
        tried = _foretold(space, slopes, x, seen, aim, reach)
        step = tried - x
        if np.linalg.norm(step) < _STEP:
            break
        there = look(space.code(tried)).astype(np.float64)
        change = (there - seen).mean(axis=0)
        slopes += np.outer(step, change - step @ slopes) / (step @ step)
        score = aim.score(there)
        if score > best:
            best, x, seen, reach = score, tried, there, min(_MORE * reach, _MOST)
        else:
            reach *= _LESS
    return space.code(x)


def _foretold(space: _Space, slopes: np.ndarray, x: np.ndarray, seen: np.ndarray, aim: Aim, reach: float) -> np.ndarray:
    """(n,): where the map ``slopes`` says it is enough, or as far towards it as ``reach`` allows."""
    at = x
    while True:
        told = seen + (at - x) @ slopes
        if aim.score(told) >= _BEYOND:
            return at
        pull = space.free(slopes @ aim.way(told))
        size = float(np.linalg.norm(pull))
        if size < 1e-9:
            return at
        after = space.held(at + _STEP * pull / size)
        gone = float(np.linalg.norm(after - at))
        if gone < 0.1 * _STEP or np.linalg.norm(after - x) > reach or np.linalg.norm(after) > _TOTAL:
            return at
        at = after


class _Space:
    """Differences from a code in standard deviations: of heads, then of skins without brows. ``rows``: float64
    (n, 128), what a recognition code is foretold to change by with each."""

    def __init__(
        self,
        geometry: Geometry,
        appearance: Appearance,
        code: IdentityCode,
        female: float,
        setting: Setting | None = None,
        within: float = WITHIN,
    ) -> None:
        self._geometry, self._appearance, self._code = geometry, appearance, code
        self._female, self._setting = female, setting
        self._population = load_population()
        self._heads, skins = len(self._population.centre), appearance.modes - COUNT
        self._spread = np.maximum(appearance.spread[:skins].astype(np.float64), 1e-6)
        self._root = self._population.spread
        matrix = sensitivity(self._heads + skins)
        self.rows = np.concatenate(
            [self._root.T @ matrix[: self._heads], self._spread[:, None] * matrix[self._heads :]]
        )
        reads = np.stack([traits()["gender"][:-1], traits()["age"][:-1]], axis=1).astype(np.float64)
        self._fixed, _ = np.linalg.qr(self.rows @ reads)
        self._fixed_heads, _ = np.linalg.qr(self.rows[: self._heads] @ reads)
        self._start = code.shape.astype(np.float64)
        head = np.linalg.solve(self._root, self._start - self._population.mean(female, float("nan")))
        skin = (code.appearance[:skins] - appearance.centre[:skins]) / self._spread
        start = np.concatenate([head, skin])
        most = np.concatenate([np.full(self._heads, self._population.component), np.full(skins, _SKIN)])
        most *= max(within / WITHIN, 1.0)
        self._low, self._high = np.minimum(-most - start, 0), np.maximum(most - start, 0)
        off = self._off(np.zeros((1, self._heads)))[0]
        room = np.ones(len(off))  # of what the setting leaves
        count = self._population.limits.shape[1]
        room[: count + 1] = within
        self._room = np.maximum(off, room)

    def _off(self, x: np.ndarray) -> np.ndarray:
        """(m, R + 1 or more): proportions of heads ``x`` (m, K) away as shares of their limits, all together, and how
        they sit."""
        heads = self._start + x @ self._root.T
        own = self._population.shares(self._geometry, heads, self._female)
        return own if self._setting is None else np.concatenate([own, self._setting.shares(heads)], axis=1)

    def free(self, pull: np.ndarray) -> np.ndarray:
        """``pull``, (n,), without what changes how old, or how much of a woman, the face reads."""
        found: np.ndarray = pull - self._fixed @ (self._fixed.T @ pull)
        return found

    def held(self, x: np.ndarray) -> np.ndarray:
        """``x``, (n,), within all limits, as near as projections bring it."""
        x = np.clip(x, self._low, self._high)
        head, low, high = x[: self._heads], self._low[: self._heads], self._high[: self._heads]
        off = self._off(head[None])[0]
        if (off <= self._room).all():
            return x
        small = 0.05
        slopes = (self._off(head + small * np.eye(self._heads)) - off).T / small
        ways = slopes - (slopes @ self._fixed_heads) @ self._fixed_heads.T  # nobody gets older to be within limits
        sizes = np.maximum((ways**2).sum(axis=1), 1e-9)
        for _ in range(_SWEEPS):
            for row in np.flatnonzero(off > self._room):  # within a sweep as the slopes tell: a look costs 2 ms
                change = ways[row] * (off[row] - self._room[row]) / sizes[row]
                head, off = head - change, off - slopes @ change
            head = np.clip(head, low, high)
            off = self._off(head[None])[0]
            if (off <= self._room + 1e-3).all():
                break
        x[: self._heads] = head
        return x

    def code(self, x: np.ndarray) -> IdentityCode:
        """The identity code that lies ``x`` away."""
        skin = self._code.appearance.copy()
        skin[: len(self._spread)] += self._appearance.ageless(x[self._heads :] * self._spread).astype(np.float32)
        shape = self._start + self._root @ x[: self._heads]
        return replace(self._code, shape=shape.astype(np.float32), appearance=skin)
