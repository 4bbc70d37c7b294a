"""Which surrogate goes with whom, and for how long: one clip, several files of a batch, or every file of a key.

A surrogate's seed is an HMAC of what is seen of the person (their recognition template, quantised) under a secret: the
run's seed, or the key. Never of a number that tells when somebody came, so neither the order of people in a clip nor
that of files matters. What the seed leads to is stored where it is to last, since the same person's template is never
quite the same twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from deid.config import RunConfig
from deid.keys import Key, read_key, seed_from
from deid.people import Person, canonical
from deid.progress import Progress
from deid.registry import Entry, Registry, known

SAME_ENTRY = 0.46
"""Distance of mean templates up to which somebody is taken for one of the registry's or the batch's people. Tighter
than within a clip, where the same camera, light and clothes help: who gets a stranger's surrogate is linked with them
for good, who gets a second one of their own is not."""


class Book(Protocol):
    """Where people are kept: a :class:`~deid.registry.Registry`, or :class:`Memory`."""

    entries: tuple[Entry, ...]

    def hold(self, wait: Waiting = ...) -> None: ...
    def add(self, entry: Entry) -> None: ...
    def prepare(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Waiting(Protocol):
    def __call__(self, first: bool, /) -> None: ...


class Memory:
    """People of a batch, in memory. ``groups``: the codes, float32 (n, 128), of everybody in it, as
    :func:`deid.people.across` found them; their surrogates are added by the first file that shows them."""

    def __init__(self, groups: Sequence[np.ndarray] = ()) -> None:
        templates = [(canonical(codes.mean(0)), codes) for codes in groups if len(codes)]
        templates.sort(key=lambda pair: pair[0])
        self.entries: tuple[Entry, ...] = tuple(Entry.of(codes, b"") for _, codes in templates)
        self._added: list[Entry] = []

    def hold(self, wait: Waiting | None = None) -> None:
        """Nobody else is there."""

    def add(self, entry: Entry) -> None:
        self._added.append(entry)

    def prepare(self) -> None:
        """Nothing here can fail."""

    def commit(self) -> None:
        """What was added lasts, as long as this object."""
        by_name = {entry.name: entry for entry in (*self.entries, *self._added)}
        self.entries = tuple(by_name.values())
        self._added.clear()

    def close(self) -> None:
        """A run is over; what it did not commit is forgotten."""
        self._added.clear()


@dataclass(slots=True)
class Personas:
    """The surrogates of one run. ``secret``: what seeds are derived with. ``book``: where they last, if they do.
    ``writes``: whether this run may add to it."""

    secret: bytes
    book: Book | None = None
    writes: bool = True
    _new: dict[int, Entry] = field(default_factory=dict)

    @classmethod
    def of_seed(cls, seed: int, book: Book | None = None) -> Personas:
        """For one clip, or a batch."""
        return cls(hashlib.sha256(b"deid surrogates of seed %d" % seed).digest(), book)

    @classmethod
    def of_key(cls, key: Key, registry: Book, *, writes: bool) -> Personas:
        """For every file of a key."""
        return cls(key.subkey("surrogates"), registry, writes)

    def meet(self, people: Sequence[Person], progress: Progress) -> dict[int, Entry]:
        """Who of ``people`` is known, by their number in the clip. Where somebody is not who is to be remembered, other
        runs wait from now on."""
        if self.book is None:
            return {}
        found = self._known(people)
        if self.writes and any(len(p.codes) and p.id not in found for p in people):

            def wait(first: bool) -> None:
                if first:
                    progress.note("another run adds people to the registry: waiting for it")
                progress.advance(0)

            self.book.hold(wait)
            found = self._known(people)
        return found

    def _known(self, people: Sequence[Person]) -> dict[int, Entry]:
        assert self.book is not None
        planned = getattr(self.book, "find", None)  # a book in which it is settled who is who
        if planned is not None:
            settled: dict[int, Entry] = planned(people)
            return settled
        found = known([p.template for p in people], self.book.entries, SAME_ENTRY)
        return {people[place].id: entry for place, entry in found.items()}

    def seed_of(self, person: Person, entry: Entry | None = None) -> int:
        """What the surrogate of somebody new is drawn with. ``entry``: theirs, when it has no surrogate yet."""
        return seed_from(self.secret, person.content if entry is None else canonical(entry.template))

    def others(self, present: Sequence[Entry]) -> list[bytes]:
        """Surrogates of everybody who is remembered and not among ``present``."""
        if self.book is None:
            return []
        here = {entry.name for entry in present}
        return [entry.persona for entry in self.book.entries if entry.persona and entry.name not in here]

    def remember(self, person: Person, persona: bytes, entry: Entry | None = None) -> None:
        """``person`` keeps the surrogate, the last one that this was called with, once the run is committed. Nobody is
        remembered who was not recognised."""
        if self.book is None or not self.writes:
            return
        known = entry or self._new.get(person.id)
        if known is None and not len(person.codes):
            return
        new = Entry.of(person.codes, persona) if known is None else Entry(known.name, known.codes, persona)
        self._new[person.id] = new
        self.book.add(new)

    def prepare(self) -> None:
        """Everything of :meth:`commit` that may fail."""
        if self.book is not None:
            self.book.prepare()

    def commit(self) -> None:
        """What this run added lasts."""
        if self.book is not None:
            self.book.commit()

    def close(self) -> None:
        """Forget what was not committed; let other runs go on."""
        if self.book is not None:
            self.book.close()


def open_personas(config: RunConfig, seed: int, book: Book | None = None) -> Personas:
    """What ``config`` asks for. ``seed``: the run's. ``book``: where a batch keeps its people.

    Raises the errors of reading keys and registries."""
    if config.scope != "key" or config.key is None or config.registry is None:
        return Personas.of_seed(seed, book)
    key = read_key(config.key)
    if book is None:
        book = Registry(config.registry, key, config.key)
    return Personas.of_key(key, book, writes=not config.dry_run)
