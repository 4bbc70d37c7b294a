"""Who is in a clip, for people and programs to read: a list, thumbnails, and a plan to start from.

The list holds times, places and what people seem to be, and no templates; thumbnails show the real faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deid.choice import fingerprint
from deid.config import RunConfig
from deid.errors import ModelError
from deid.media import probe
from deid.models.engine import Found, open_engine
from deid.people import Person
from deid.progress import Progress
from deid.types import Analysis, Track

THUMBNAILS = 3
"""Pictures of a person, at most."""
_AGES = ((13, "child"), (20, "teens"), (40, "20 to 39"), (60, "40 to 59"), (np.inf, "60 and over"))
_CLEARLY = 0.3


@dataclass(frozen=True, slots=True)
class ListedTrack:
    """One followed face: times in seconds from the source's first frame, ``height`` the median in pixels."""

    track: int
    shot: int
    first_frame: int
    last_frame: int
    start: float
    end: float
    height: float


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """``person``: the number that plans use. ``seconds``: how long they are seen. ``gender`` (female, male, unclear)
    and ``age`` (a band) are what a recogniser takes them for."""

    person: int
    seconds: float
    height: float
    gender: str
    age: str
    tracks: tuple[ListedTrack, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """``analysis``: the fingerprint that a plan carries. ``unknown``: faces of nobody who could be recognised: small,
    turned away, or covered. ``thumbnails``: by person, uint8 (150, 150, 3) RGB."""

    analysis: str
    source: str
    frames: int
    seconds: float
    width: int
    height: int
    shots: int
    people: tuple[ListedPerson, ...]
    unknown: tuple[ListedTrack, ...]
    thumbnails: dict[int, list[np.ndarray]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without pictures."""
        return {
            **{name: getattr(self, name) for name in ("analysis", "source", "frames", "seconds")},
            **{name: getattr(self, name) for name in ("width", "height", "shots")},
            "people": [asdict(person) for person in self.people],
            "unknown": [asdict(track) for track in self.unknown],
        }

    def lines(self) -> list[str]:
        """A summary for people, a fact a line."""
        count = len(self.people)
        out = [f"{self.frames} frames of {self.width} x {self.height}, {self.seconds:.2f} s: "
               f"{count} {'person' if count == 1 else 'people'}, {len(self.unknown)} unknown face tracks"]  # fmt: skip
        for person in self.people:
            out.append(f"  person {person.person}: {_words(person)}")
        for track in self.unknown:
            out.append(f"  unknown: track {track.track}, {track.start:.2f} to {track.end:.2f} s, {track.height:.0f} px")
        return out

    def plan(self) -> str:
        """A plan file that does what a run does without one, with notes on what else it may say."""
        out = [
            "# What 'deid run --plan' does with each person of one clip. For each: do = \"replace\" (a fictional",
            '# person\'s face), "obscure" (with = "blur", "pixelate" or "solid") or "keep" (the real face is shown).',
            "# surrogate = 7 chooses another fictional person: any whole number, a different one for each.",
            "",
            f'analysis = "{self.analysis}"  # the clip that this plan is for; do not change it',
            "",
        ]
        for person in self.people:
            out += [f"[people.{person.person}]  # {_words(person)}", 'do = "replace"', ""]
        out += ["[all]  # people without an entry of their own", 'do = "replace"', ""]
        out.append("[unknown]  # faces too small, too far turned or too covered to tell whose they are")
        out += ['# Anybody may be among them, also those above: "keep" shows them all.', 'do = "obscure"', ""]
        return "\n".join(out)


def _words(person: ListedPerson) -> str:
    times = ", ".join(f"{t.start:.2f}-{t.end:.2f} s" for t in person.tracks[:4])
    more = f" and {len(person.tracks) - 4} more times" if len(person.tracks) > 4 else ""
    numbers = ", ".join(str(t.track) for t in person.tracks)
    return f"{times}{more}; about {person.height:.0f} px; gender {person.gender}, age {person.age}; track {numbers}"


def list_people(source: Path, config: RunConfig, progress: Progress) -> Listing:
    """Analyse ``source`` as a run with ``config`` would, and tell who is in it. Writes nothing; raises what a run
    raises."""
    return listing(source.name, *_look(source, config, progress))


def find_in(source: Path, config: RunConfig, progress: Progress) -> Found:
    """Who is in ``source``, as a run with ``config`` sees it. Raises what a run raises."""
    return _look(source, config, progress)[2]


def _look(source: Path, config: RunConfig, progress: Progress) -> tuple[Analysis, list[float], Found]:
    from threadpoolctl import threadpool_limits

    from deid.pipeline import analyse

    probe(source)
    with threadpool_limits(1, user_api="blas"):
        engine = open_engine(config, 0)
        if engine is None:
            raise ModelError(f"engine {config.engine} does not tell people apart; use morphable.")
        try:
            analysis, seconds = analyse(source, config, progress, engine.observer)
            found = engine.identify(analysis, seconds, progress)
        finally:
            engine.close()
    return analysis, seconds, found


def listing(name: str, analysis: Analysis, seconds: Sequence[float], found: Found) -> Listing:
    """``name``: of the source; ``seconds``: the frames' times."""
    by_id = {track.id: track for track in analysis.tracks}
    owned = {track for person in found.people for track in person.tracks}
    return Listing(
        fingerprint(analysis, seconds, found.people),
        name,
        analysis.frames,
        round(seconds[-1] - seconds[0], 4) if seconds else 0.0,
        analysis.media.width,
        analysis.media.height,
        len(analysis.shots),
        tuple(_person(person, by_id, seconds) for person in found.people),
        tuple(_track(track, seconds) for track in analysis.tracks if track.id not in owned),
        {person.id: _best(person, found) for person in found.people},
    )


def _person(person: Person, by_id: dict[int, Track], seconds: Sequence[float]) -> ListedPerson:
    tracks = sorted((_track(by_id[number], seconds) for number in person.tracks), key=lambda t: t.first_frame)
    gender = "female" if person.female > _CLEARLY else "male" if person.female < -_CLEARLY else "unclear"
    age = "unclear" if np.isnan(person.age) else next(name for limit, name in _AGES if person.age < limit)
    long = round(sum(t.end - t.start for t in tracks), 4)
    return ListedPerson(person.id, long, max(t.height for t in tracks), gender, age, tuple(tracks))


def _track(track: Track, seconds: Sequence[float]) -> ListedTrack:
    start, end = round(seconds[track.first], 4), round(seconds[track.last], 4)
    height = round(float(np.median(track.boxes[:, 3])), 1)
    return ListedTrack(track.id, track.shot, track.first, track.last, start, end, height)


def _best(person: Person, found: Found) -> list[np.ndarray]:
    chips = sorted((chip for number in person.tracks for chip in found.chips[number]), key=lambda c: -c.quality)
    return [chip.picture for chip in chips[:THUMBNAILS]]
