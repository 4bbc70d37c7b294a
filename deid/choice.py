"""Who is replaced, obscured or kept: plans that a person wrote, and people kept because a photo shows them.

A plan names people by the numbers that ``deid analyze`` gives them, and carries the fingerprint of that analysis, so
that it is never applied to another clip. When in doubt nobody is kept.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deid.config import OBSCURING
from deid.errors import InputError, InputNotFound, UsageError
from deid.people import Person
from deid.types import Analysis, Track

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEDS = ("replace", "obscure", "keep")
"""What a plan can say of somebody."""
LIKE_PHOTO = 0.44
"""Mean distance between a photo and a face's pictures up to which it is kept by that photo: one pair of strangers in a
thousand comes within 0.545 (:mod:`deid.recognition.thresholds`), and far fewer than that within this."""
_ALIKE = 0.1  # somebody else in the same frames who resembles the photo nearly as much makes the choice doubtful
_LARGEST = 1 << 20  # bytes of a plan file
_AS_PLANNED = "as asked by the plan"


@dataclass(frozen=True, slots=True)
class Choice:
    """``deed``: one of :data:`DEEDS`. ``by``: how it is obscured, where the run is not to choose. ``seed``: of the
    surrogate, where it is not to be drawn from what the person looks like."""

    deed: str = "replace"
    by: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class PlanFile:
    """``fingerprint``: of the analysis it was written for. ``people``: by number; ``everybody``: those without an entry
    of their own; ``unknown``: faces that belong to nobody who could be recognised."""

    fingerprint: str
    people: Mapping[int, Choice]
    everybody: Choice = Choice()
    unknown: Choice = Choice("obscure")

    def check(self, fingerprint: str, people: Sequence[Person]) -> None:
        """Raise :class:`UsageError` unless it was written for this clip and names nobody who is not there."""
        if fingerprint != self.fingerprint:
            raise UsageError(
                "the plan was written for another clip, or for another part or size of it; write a new one with "
                "'deid analyze --plan-out'."
            )
        missing = sorted(set(self.people) - {p.id for p in people})
        if missing:
            raise UsageError(f"the plan names person {missing[0]}, but the clip has {len(people)}; see 'deid analyze'.")


@dataclass(frozen=True, slots=True)
class Fate:
    """What was decided for a track: ``kept`` or obscured ``by`` some mode (empty: the run's), and why."""

    kept: bool
    why: str
    by: str = ""


@dataclass(slots=True)
class Decisions:
    """``fates``: by track, of those that are not simply replaced. ``surrogates``: asked-for seeds by person. ``words``:
    what was decided for a person, and ``distances``: from the photo, where one decided it. ``warnings``: for the
    report."""

    fates: dict[int, Fate] = field(default_factory=dict)
    surrogates: dict[int, int] = field(default_factory=dict)
    words: dict[int, str] = field(default_factory=dict)
    distances: dict[int, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def spared(self, person: Person) -> bool:
        """Whether nothing of ``person`` is to be replaced."""
        return all(track in self.fates for track in person.tracks)


def fingerprint(analysis: Analysis, seconds: Sequence[float], people: Sequence[Person]) -> str:
    """32 hexadecimal digits that stand for a clip and what was found in it. Places count in steps of eight pixels, so
    that the rounding errors of another machine rarely matter; when they do, the plan is refused."""
    words = hashlib.sha256(b"deid analysis 1")
    info = analysis.media
    words.update(repr((analysis.frames, info.width, info.height, [(s.first, s.last) for s in analysis.shots])).encode())
    words.update(np.rint(np.asarray(seconds, np.float64) * 100).astype("<i8").tobytes())
    by_id = {t.id: t for t in analysis.tracks}
    for person in people:
        words.update(b"person %d" % person.id)
        for track in person.tracks:
            words.update(_sketch(by_id[track]))
    words.update(b"tracks %d" % len(by_id))
    return words.hexdigest()[:32]


def _sketch(track: Track) -> bytes:
    box = np.rint(np.median(track.boxes[:, :4], axis=0) / 8).astype(int)
    return np.array([track.id, track.first, track.last, *box], "<i4").tobytes()


def read_plan(path: Path) -> PlanFile:
    """The plan in a TOML file. Raises :class:`InputNotFound`, :class:`InputError`, and :class:`UsageError` for what
    makes no sense, each with one sentence."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise InputNotFound(f"there is no plan {path}; write one with 'deid analyze CLIP --plan-out {path}'.") from None
    except OSError as error:
        raise InputError(f"the plan {path} cannot be read ({error.strerror}).") from error
    try:
        table = tomllib.loads(text.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no plan: {error}.") from error
    try:
        return _plan_of(table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _plan_of(table: dict[str, Any]) -> PlanFile:
    odd = sorted(set(table) - {"analysis", "people", "all", "unknown"})
    if odd:
        raise UsageError(f"there is no {odd[0]!r} in a plan; it holds analysis, people, all and unknown.")
    mark = table.get("analysis")
    if not isinstance(mark, str) or not mark:
        raise UsageError("the line 'analysis = …' is missing, which says what clip the plan is for.")
    entries = table.get("people", {})
    if not isinstance(entries, dict):
        raise UsageError("people must be tables like [people.1].")
    people = {}
    for name, entry in entries.items():
        if not (name.isascii() and name.isdigit()):
            raise UsageError(f"people.{name} is no person; people have numbers, as in [people.1].")
        people[int(name)] = _choice(f"people.{name}", entry)
    everybody = _choice("all", table["all"]) if "all" in table else Choice()
    if everybody.seed is not None:
        raise UsageError("all.surrogate would give everybody one face; name surrogates person by person.")
    unknown = _choice("unknown", table["unknown"]) if "unknown" in table else Choice("obscure")
    if unknown.deed == "replace":
        raise UsageError("unknown.do cannot be 'replace': nobody knows these faces well enough; use obscure or keep.")
    seeds = [c.seed for c in people.values() if c.seed is not None]
    if len(set(seeds)) < len(seeds):
        raise UsageError("two people have the same surrogate; give each a number of their own.")
    return PlanFile(mark, people, everybody, unknown)


def _choice(name: str, entry: object) -> Choice:
    if not isinstance(entry, dict):
        raise UsageError(f"{name} must be a table with a line 'do = …'.")
    odd = sorted(set(entry) - {"do", "with", "surrogate"})
    if odd:
        raise UsageError(f"there is no {odd[0]!r} for {name}; there are do, with and surrogate.")
    deed, by, seed = entry.get("do", "replace"), entry.get("with", ""), entry.get("surrogate")
    if deed not in DEEDS:
        raise UsageError(f"{name}.do is {deed!r}; it must be one of {', '.join(DEEDS)}.")
    if by and (by not in OBSCURING or deed != "obscure"):
        raise UsageError(f"{name}.with is {by!r}; it goes with do = 'obscure' and is one of {', '.join(OBSCURING)}.")
    whole = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63
    if seed is not None and (not whole or deed != "replace"):
        raise UsageError(f"{name}.surrogate is {seed!r}; it goes with do = 'replace' and is a whole number from 0.")
    return Choice(deed, by, seed)


def decide(
    analysis: Analysis,
    people: Sequence[Person],
    codes: Mapping[int, np.ndarray],
    plan: PlanFile | None,
    photos: Sequence[np.ndarray],
) -> Decisions:
    """What happens to whom. ``codes``: float32 (n, 128) by track; ``photos``: a code (128,) of each photo of somebody
    to keep. The plan's own entry for a person goes before photos, photos before what it says of all."""
    out = Decisions()
    named = plan.people if plan is not None else {}
    by_id = {t.id: t for t in analysis.tracks}
    alike = _alike(people, codes, photos)
    out.warnings += [
        f"nobody in the clip is surely like photo {number + 1} of --keep-like, so it kept nobody"
        for number, photo in enumerate(photos)
        if not any(len(p.codes) and _apart(photo, p.codes) < LIKE_PHOTO for p in people)
    ]
    for person in people:
        if person.id in named or person.id not in alike:
            choice = named.get(person.id, plan.everybody if plan is not None else Choice())
            _as_chosen(out, person, choice)
            continue
        photo, tracks, distance = alike[person.id]
        if _doubtful(person, alike, photo, people, codes, photos, by_id):
            out.warnings.append(f"more than one person is like photo {photo + 1} of --keep-like: none of them was kept")
            _as_chosen(out, person, plan.everybody if plan is not None else Choice())
            continue
        why = f"like photo {photo + 1} of --keep-like, distance {distance:.2f}"
        _as_chosen(out, person, plan.everybody if plan is not None else Choice())
        out.fates.update({track: Fate(True, why) for track in tracks})
        out.words[person.id] = f"kept: {why}"
        out.distances[person.id] = round(distance, 3)
        out.warnings.append(
            f"person {person.id} was kept because a recogniser found them {why}: look whether it is them"
        )
    if plan is not None:
        owned = {track for person in people for track in person.tracks}
        rest = Fate(plan.unknown.deed == "keep", f"{_AS_PLANNED} for unknown faces", plan.unknown.by)
        out.fates.update({t.id: rest for t in analysis.tracks if t.id not in owned})
    out.warnings = list(dict.fromkeys(out.warnings))
    return out


def _as_chosen(out: Decisions, person: Person, choice: Choice) -> None:
    if choice.deed != "replace":
        fate = Fate(choice.deed == "keep", _AS_PLANNED, choice.by)
        out.fates.update(dict.fromkeys(person.tracks, fate))
        out.words[person.id] = f"{'kept' if fate.kept else 'obscured'}: {_AS_PLANNED}"
    elif choice.seed is not None:
        out.surrogates[person.id] = choice.seed
        out.words[person.id] = f"surrogate {choice.seed}: {_AS_PLANNED}"


def _alike(
    people: Sequence[Person], codes: Mapping[int, np.ndarray], photos: Sequence[np.ndarray]
) -> dict[int, tuple[int, list[int], float]]:
    """By person whom a photo shows: which photo, the tracks that are like it by themselves, and how far the person is
    from it. A track that only its neighbours speak for is not kept."""
    out = {}
    for person in people:
        if not len(person.codes):
            continue
        apart = [_apart(photo, person.codes) for photo in photos]
        best = int(np.argmin(apart)) if apart else 0
        if not apart or apart[best] >= LIKE_PHOTO:
            continue
        own = [t for t in person.tracks if len(codes.get(t, ())) and _apart(photos[best], codes[t]) < LIKE_PHOTO]
        if own:
            out[person.id] = best, own, apart[best]
    return out


def _doubtful(
    person: Person,
    alike: Mapping[int, tuple[int, list[int], float]],
    photo: int,
    people: Sequence[Person],
    codes: Mapping[int, np.ndarray],
    photos: Sequence[np.ndarray],
    by_id: Mapping[int, Track],
) -> bool:
    """Whether somebody else, who is there at the same time, resembles the photo nearly as much."""
    distance = alike[person.id][2]
    for other in people:
        if other.id == person.id or not len(other.codes):
            continue
        together = any(
            by_id[a].first <= by_id[b].last and by_id[b].first <= by_id[a].last
            for a in person.tracks
            for b in other.tracks
        )
        if together and _apart(photos[photo], other.codes) < max(distance + _ALIKE, LIKE_PHOTO):
            return True
    return False


def _apart(photo: np.ndarray, codes: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(codes) - photo, axis=1).mean())
