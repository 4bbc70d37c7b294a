"""Everybody of a clip gets somebody who stands in for them: those whom the registry knows, then those with a surrogate
that was asked for, then the others by what they look like. Who comes in first, or is seen first, plays no part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deid.choice import Decisions
from deid.models.engine import Met
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.persona import from_bytes, model_mark, to_bytes
from deid.models.morphable.shifted import FEW, aim_of, shifted
from deid.models.morphable.surrogate import Likeness, Recognise, Surrogate, again, choose
from deid.people import Person, kept_traits
from deid.personas import Personas
from deid.progress import Progress
from deid.recognition.thresholds import FAR_1E3, STRANGERS
from deid.report import PersonReport

if TYPE_CHECKING:
    from deid.models.editing.video import SurrogateEdits

_OTHER_MODEL = "the registry was made with another version of the face model, so its people look different from now on"
JUDGED = 4
"""Pictures of a person that a surrogate is tried on at first."""
_TRIES, _SURELY = 3, 0.09  # seeds, unless one is so far beyond the threshold: frames come out nearer than first looks
_MIDDLE = 0.7  # between two people's new faces in the finished clip: frames lie 0.045 around it (standard deviation)
_APART = 0.03  # beyond the match threshold, from other surrogates of the clip


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A likeness, and the track and row of codes that it is of."""

    likeness: Likeness
    track: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Role:
    """``shown``: the person's best pictures. ``matching``: those in which a surrogate of the registry is too like them.
    ``remembered``: the surrogate is the registry's; ``asked``: or that of a seed that was asked for. ``seed``: what it
    was drawn with. ``change``: float64 (128,), by how much codes of its faces in the finished clip are taken to differ
    from those of who stood in before, where that is known."""

    person: Person
    surrogate: Surrogate
    shown: tuple[Shown, ...]
    matching: tuple[Shown, ...] = ()
    remembered: bool = False
    asked: bool = False
    seed: int = 0
    change: np.ndarray | None = None


@dataclass(slots=True)
class Casting:
    """``match``: what surrogates share with people, as in :class:`deid.config.RunConfig`. ``show``: gives the best
    pictures of somebody. ``edits``: what those who are drawn are to be; those who are known keep their faces."""

    geometry: Geometry
    appearance: Appearance
    match: str
    show: Callable[[Person], list[Shown]]
    recognise: Recognise
    personas: Personas
    decisions: Decisions
    edits: SurrogateEdits | None = None
    _taken: tuple[IdentityCode, ...] = ()
    _mark: bytes = b""

    def roles(self, people: Sequence[Person], progress: Progress, before: Sequence[Role] = ()) -> list[Role]:
        """For everybody of whom something is to be replaced, by number. Surrogates that are new are remembered, and
        unlike those of ``before``, which come back with them."""
        free = [p for p in people if not self.decisions.spared(p)]
        asked = self.decisions.surrogates
        progress.stage("choosing surrogates", len(free))
        met = self.personas.meet([p for p in free if p.id not in asked], progress)
        mark = model_mark(self.geometry, self.appearance) if self.personas.book is not None else b""
        stored = {number: self._read(entry.persona, mark) for number, entry in met.items() if entry.persona}
        taken = [self._read(words, mark) for words in self.personas.others(list(met.values()))]
        self._taken, self._mark = tuple(taken), mark
        out = list(before)
        for person in sorted(free, key=lambda p: (p.id not in stored, p.id not in asked, p.content, p.id)):
            shown = tuple(self.show(person))
            if person.id in stored:
                out.append(self._again(person, shown, stored[person.id]))
            else:
                entry = met.get(person.id)
                seed = asked[person.id] if person.id in asked else self.personas.seed_of(person, entry)
                chosen = self._choose(person, seed, shown, out)
                out.append(Role(person, chosen, shown, asked=person.id in asked, seed=seed))
                if person.id not in asked and chosen.safe and shown:
                    self.personas.remember(person, to_bytes(chosen.code, mark), entry)
            progress.advance()
        return sorted(out, key=lambda role: role.person.id)

    def another(
        self,
        role: Role,
        shown: Sequence[Shown],
        roles: Sequence[Role],
        seen: Mapping[int, np.ndarray] | None = None,
        met: Met | None = None,
        alike: Collection[int] = (),
    ) -> Role | None:
        """Somebody else in ``role``, one of ``roles``, who is a stranger in all pictures ``shown``, among them those in
        which the first one was not, and unlike all others. ``None`` where that one was asked for or is known elsewhere,
        and where there is nobody better than the first. ``seen``: by person, codes, float32 (n, 128), of new faces as
        the finished clip has them: nobody is to be like these either. ``met``: what else it tells of the first one, who
        is then moved on if that will do; ``alike``: numbers of people who are too like that one."""
        if role.asked or role.remembered:
            return None
        if met is not None and len(met.after) and shown:
            return self._shifted(role, shown, roles, seen or {}, met, alike)
        others = [r for r in roles if r is not role]
        beside = [_as_seen(r, seen or {}) for r in others]
        elsewhere = [seen[r.person.id] for r in others if r.person.id in seen] if seen else []
        own = seen.get(role.person.id) if seen else None
        matched = len(shown) > len(role.shown)
        best = min(-_SURELY if matched else np.inf, _room(own, elsewhere)) if own is not None else -np.inf
        chosen: Surrogate | None = None
        for turn in range(_TRIES):
            found = self._choose(role.person, role.seed + turn, shown, beside)
            if not found.safe or any(_alike(found, r.surrogate, len(role.shown)) for r in others):
                continue
            worth = min((found.nearest or 0) - FAR_1E3 - _SURELY, _room(found.codes, elsewhere))
            if worth > best:
                chosen, best = found, worth
            if best > 0:
                break
        if chosen is None:
            return None
        self.personas.remember(role.person, to_bytes(chosen.code, self._mark))
        return replace(role, surrogate=chosen, shown=tuple(shown))

    def _shifted(
        self,
        role: Role,
        shown: Sequence[Shown],
        roles: Sequence[Role],
        seen: Mapping[int, np.ndarray],
        met: Met,
        alike: Collection[int],
    ) -> Role | None:
        """``role`` with its surrogate moved on, or with another if that is better."""
        others = [_as_seen(r, seen) for r in roles if r is not role]
        codes = [(r.person.id, seen.get(r.person.id, r.surrogate.codes)) for r in roles if r is not role]
        person = replace(kept_traits(role.person, self.match), id=0)
        turns = 0 if role.change is not None and met.share < FEW else _TRIES - 1  # what nearly did is not given up
        tried = role.shown[:JUDGED] if met.share < FEW else shown  # draws are moved as far as their pictures ask
        chosen = shifted(
            self.geometry, self.appearance, person, role.surrogate, [s.likeness for s in shown],
            [r.surrogate for r in others], self.recognise, met.after, aim_of(met, codes, alike),
            lambda turn: self._choose(role.person, role.seed + turn, tried, others), turns, met.share,
        )  # fmt: skip
        if chosen is None:
            return None
        found, change = chosen
        self.personas.remember(role.person, to_bytes(found.code, self._mark))
        return replace(role, surrogate=found, shown=tuple(shown), change=change)

    def _choose(self, person: Person, seed: int, shown: Sequence[Shown], roles: Sequence[Role]) -> Surrogate:
        if self.edits is None or not self.edits.changes:
            return self._drawn(person, seed, shown, roles)
        return self.edits.chosen(
            self.geometry, self.appearance, lambda turn: self._drawn(person, seed + turn, shown, roles),
            [s.likeness for s in shown], [role.surrogate for role in roles], self.recognise,
        )  # fmt: skip

    def _drawn(self, person: Person, seed: int, shown: Sequence[Shown], roles: Sequence[Role]) -> Surrogate:
        return choose(
            self.geometry, self.appearance, seed, replace(kept_traits(person, self.match), id=0),
            [s.likeness for s in shown], [role.surrogate for role in roles], self.recognise, self._taken,
        )  # fmt: skip

    def _again(self, person: Person, shown: tuple[Shown, ...], code: IdentityCode) -> Role:
        found, match = again(self.geometry, self.appearance, code, [s.likeness for s in shown], self.recognise)
        return Role(person, found, shown, tuple(shown[i] for i in match), remembered=True)

    def _read(self, words: bytes, mark: bytes) -> IdentityCode:
        code, made_with = from_bytes(words, self.geometry, self.appearance)
        if made_with != mark and _OTHER_MODEL not in self.decisions.warnings:
            self.decisions.warnings.append(_OTHER_MODEL)
        return code


def urgency(
    person: Person, matches: Mapping[int, Sequence[object]], alike: Sequence[tuple[int, int]], met: Mapping[int, Met]
) -> tuple[bool, float, bool, int, int]:
    """Whom another face helps most come first: those still recognised, by track in ``matches``, in most of their faces,
    then who is the first, less well seen, of two who are ``alike``, and of these who is like most others."""
    firsts, all_of = [pair[0] for pair in alike], [number for pair in alike for number in pair]
    known = any(t in matches for t in person.tracks)
    share = met[person.id].share if known and person.id in met else 0.0
    return not known, -round(share, 3), person.id not in firsts, -all_of.count(person.id), person.id


def _room(codes: np.ndarray, elsewhere: Sequence[np.ndarray]) -> float:
    """How much farther than they must be codes (n, 128) are from the nearest of other people's in the middle."""
    middles = [float(np.median(np.linalg.norm(codes[:, None] - other[None], axis=-1))) for other in elsewhere]
    return min(middles, default=np.inf) - _MIDDLE


def _as_seen(role: Role, seen: Mapping[int, np.ndarray]) -> Role:
    """``role`` with what was made of the surrogate in the finished clip among its codes."""
    if role.person.id not in seen:
        return role
    codes = np.concatenate([role.surrogate.codes, seen[role.person.id]])
    return replace(role, surrogate=replace(role.surrogate, codes=codes))


def _alike(one: Surrogate, other: Surrogate, best: int) -> bool:
    """Whether the recogniser takes two surrogates for one person in any of the ``best`` first pictures of ``one``:
    others are poor, and in these everybody is like everybody."""
    between = np.linalg.norm(one.codes[:best, None] - other.codes[None], axis=-1)
    return bool(between.size) and float(between.min()) <= FAR_1E3 + _APART


def reports(people: Sequence[Person], roles: Sequence[Role], decisions: Decisions) -> list[PersonReport]:
    """What is told of everybody."""
    by_number = {role.person.id: role for role in roles}
    out = []
    for person in people:
        role = by_number.get(person.id)
        seen = role.surrogate if role is not None else None
        out.append(
            PersonReport(
                person.id,
                person.tracks,
                None if seen is None or seen.distance is None else round(seen.distance, 3),
                None if seen is None or seen.nearest is None else round(seen.nearest, 3),
                STRANGERS,
                ("dlib",),
                0 if seen is None else seen.draws,
                decisions.words.get(person.id, ""),
                decisions.distances.get(person.id),
                role is not None and role.remembered,
            )
        )
    return out
