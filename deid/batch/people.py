"""One face for one person in all files of a batch, or of a key, whatever order they come in.

Every file is looked through first; people are merged over all of them (:func:`deid.people.across`). A person's
surrogate is chosen on the pictures of one file, the first by content that shows them: files that show them, too, wait
for it. So who gets which face follows from the files alone. What a surrogate must be unlike is everybody of its own
file and of all that come before, but the last few, which may be under way at the same time.

Templates are biometric data. In the ledger they are sealed (AES-256-GCM): with a subkey of ``--key``, or with a key in
a file beside the ledger, which is deleted when the batch is finished; what is left on the disk then opens for nobody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deid.batch.ledger import Ledger
from deid.errors import OutputError
from deid.people import Person, across, codes_of
from deid.personas import SAME_ENTRY
from deid.registry import Entry, known

APART = 4
"""A file's surrogates are unlike those of files that come this much before it, and earlier ones: how many files may be
under way at a time that nobody has been met in."""
_NONCE, _SECRET = 12, 32
_FROM_REGISTRY = "registry "


class Seal:
    """Seals and opens. ``secret``: 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.secret = secret
        self._box = AESGCM(secret)

    def close(self, value: Any, place: bytes) -> bytes:
        """``value`` as JSON, sealed; it opens at ``place`` only."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._box.encrypt(nonce, json.dumps(value).encode(), place)

    def open(self, sealed: bytes, place: bytes) -> Any:
        """``None`` where it was not sealed with this secret at this place."""
        from cryptography.exceptions import InvalidTag

        try:
            return json.loads(self._box.decrypt(sealed[:_NONCE], sealed[_NONCE:], place))
        except InvalidTag:
            return None


def key_beside(ledger: Path) -> Path:
    """Where the key of a batch without ``--key`` is while the batch lasts."""
    return ledger.with_name(f"{ledger.name}.key")


def open_seal(ledger: Path) -> Seal:
    """With the key beside ``ledger``, which is made where there is none. Raises :class:`OutputError`."""
    path = key_beside(ledger)
    try:
        try:
            found = path.read_bytes()
            if len(found) == _SECRET:
                return Seal(found)
        except FileNotFoundError:
            pass
        secret = secrets.token_bytes(_SECRET)
        part = path.with_name(f"{path.name}.part")
        with suppress(FileNotFoundError):
            part.unlink()
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        return Seal(secret)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose another place with --ledger."
        ) from error


def destroy_key(ledger: Path) -> None:
    """Nobody can open what the ledger held. Raises :class:`OutputError`."""
    path = key_beside(ledger)
    try:
        with open(path, "r+b") as file:
            file.write(secrets.token_bytes(_SECRET))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be deleted ({error.strerror}); it opens people's templates.") from error


def as_words(people: Iterable[Person]) -> list[dict[str, Any]]:
    """``people`` as JSON holds them."""
    return [{"codes": _text(p.codes.astype("<f4").tobytes()), "place": _text(p.place)} for p in people]


def of_words(words: Sequence[Mapping[str, Any]]) -> list[Person]:
    """What :func:`as_words` wrote: people numbered from 1, with codes and places alone."""
    nan = float("nan")
    return [
        Person(number, (), _codes(told["codes"]), nan, nan, base64.b64decode(told["place"]))
        for number, told in enumerate(words, 1)
    ]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32).reshape(-1, 128)


class Planned:
    """The people of one file as the plan has them: a :class:`deid.personas.Book` for its run. ``mine``: by what a
    person is in this file, their entry, without a persona where this file chooses it. ``others``: everybody else."""

    def __init__(self, mine: Mapping[bytes, Entry], others: Sequence[Entry]) -> None:
        self._mine = dict(mine)
        self.entries: tuple[Entry, ...] = (*mine.values(), *others)
        self._added: dict[bytes, Entry] = {}
        self._kept: dict[bytes, Entry] = {}

    @classmethod
    def of_words(cls, words: Mapping[str, Any]) -> Planned:
        """What :meth:`Cast.words` wrote."""
        mine = {base64.b64decode(person): _entry(told) for person, told in words["mine"].items()}
        return cls(mine, [_entry(told) for told in words["others"]])

    def words(self) -> list[dict[str, str]]:
        """Whose surrogate this file chose, once it is finished."""
        names = {entry.name: person for person, entry in self._mine.items() if not entry.persona}
        return [{"person": _text(names[name]), **_told(entry)} for name, entry in self._kept.items() if name in names]

    def find(self, people: Sequence[Person]) -> dict[int, Entry]:
        """Who of ``people`` is who, by their number."""
        return {person.id: self._mine[person.content] for person in people if person.content in self._mine}

    def hold(self, wait: Callable[[bool], None] | None = None) -> None:
        """Nobody else is there."""

    def add(self, entry: Entry) -> None:
        self._added[entry.name] = entry

    def prepare(self) -> None:
        """Nothing here can fail."""

    def commit(self) -> None:
        self._kept.update(self._added)

    def close(self) -> None:
        self._added.clear()


def _told(entry: Entry) -> dict[str, str]:
    return {"name": _text(entry.name), "codes": _text(entry.codes.astype("<f4").tobytes()),
            "persona": _text(entry.persona)}  # fmt: skip


def _entry(told: Mapping[str, str]) -> Entry:
    return Entry(base64.b64decode(told["name"]), _codes(told["codes"]), base64.b64decode(told["persona"]))


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Somebody. ``members``: (file's content, what they are there), in the plan's order. ``codes``: their best."""

    members: tuple[tuple[str, bytes], ...]
    codes: np.ndarray


class Cast:
    """Who is who in all files. ``files``: by content, the people in it. ``registered``: who is known from before.

    What is decided is kept in ``ledger``, so that it stays decided."""

    def __init__(
        self, ledger: Ledger, seal: Seal, files: Mapping[str, Sequence[Person]], registered: Sequence[Entry] = ()
    ) -> None:
        self._ledger, self._seal = ledger, seal
        self._order = {content: place for place, content in enumerate(sorted(files))}
        people = [files[content] for content in self._order]
        names = list(self._order)
        self._groups: dict[str, list[tuple[bytes, _Group]]] = {content: [] for content in names}
        for found in across(people):
            shown = [(names[place], people[place][number - 1].content) for place, number in found]
            codes = codes_of(people, found)
            if len(codes):
                group = _Group(tuple(sorted(shown)), codes)
                for content, person in group.members:
                    self._groups[content].append((person, group))
        self._personas: dict[tuple[str, bytes], Entry] = {}
        for (home, person), sealed in ledger.personas().items():
            told = seal.open(sealed, home.encode() + person)
            if told is not None:
                self._personas[home, person] = _entry(told)
        self._meet(registered)
        self._registered = tuple(registered)

    def _meet(self, registered: Sequence[Entry]) -> None:
        """Who is known from before, decided once for everybody in the plan."""
        sealed = self._ledger.about("plan")
        asked = set((self._seal.open(sealed, b"plan") or []) if sealed is not None else [])
        groups = {id(group): group for own in self._groups.values() for _, group in own}
        new = [g for g in groups.values() if not asked & {_mark(*m) for m in g.members}]
        if not new:
            return
        with self._ledger.change():
            for place, entry in known([g.codes.mean(0) for g in new], registered, SAME_ENTRY).items():
                content, person = new[place].members[0]
                self._keep(_FROM_REGISTRY + content, person, entry)
            asked |= {_mark(*m) for g in new for m in g.members}
            self._ledger.set_about("plan", self._seal.close(sorted(asked), b"plan"))

    def _keep(self, home: str, person: bytes, entry: Entry) -> None:
        self._personas[home, person] = entry
        self._ledger.keep_persona(home, person, self._seal.close(_told(entry), home.encode() + person))

    def _of(self, group: _Group) -> tuple[str, Entry] | None:
        """(where their surrogate was chosen, themselves)"""
        for content, person in group.members:
            for home in (_FROM_REGISTRY + content, content):
                if (home, person) in self._personas:
                    return home, self._personas[home, person]
        return None

    def is_ready(self, content: str, finished: Set[str]) -> bool:
        """Whether all that a file has to wait for is among ``finished``, by content."""
        place = self._order[content]
        for other, at in self._order.items():
            if at <= place - APART and other not in finished:
                return False
        for _, group in self._groups[content]:
            if self._of(group) is None:
                waiting = [home for home, _ in group.members if home not in finished or home == content]
                if waiting[0] != content:
                    return False
        return True

    def words(self, content: str) -> dict[str, Any]:
        """What the run of a file is told: see :class:`Planned`."""
        mine: dict[str, dict[str, str]] = {}
        taken: set[bytes] = set()
        for person, group in self._groups[content]:
            found = self._of(group)
            if found is None or found[0] == content:
                name = hmac.new(self._seal.secret, content.encode() + person, hashlib.sha256).digest()[:16]
                entry = Entry(name, group.codes, b"")
            else:
                entry = found[1]
            taken.add(entry.name)
            mine[_text(person)] = _told(entry)
        before = self._order[content] - APART
        others = {entry.name: entry for entry in self._registered}
        for (home, _), entry in self._personas.items():
            if self._order.get(home, len(self._order)) <= before:
                others[entry.name] = entry
        return {"mine": mine, "others": [_told(e) for name, e in sorted(others.items()) if name not in taken]}

    def learned(self, content: str, words: Sequence[Mapping[str, str]]) -> None:
        """A file is finished, and chose these surrogates."""
        for told in words:
            self._keep(content, base64.b64decode(told["person"]), _entry(told))

    def chosen_by(self, content: str) -> list[Entry]:
        """Whose surrogates a file chose."""
        return [entry for (home, _), entry in self._personas.items() if home == content]

    def inputs(self, content: str) -> str:
        """What tells whether a file would be made with the same surrogates again."""
        digest = hashlib.sha256()
        for person, group in sorted(self._groups[content], key=lambda own: own[0]):
            found = self._of(group)
            digest.update(hashlib.sha256(person).digest())
            digest.update(hashlib.sha256(b"" if found is None else found[1].persona).digest())
        return digest.hexdigest()


def _mark(content: str, person: bytes) -> str:
    return hashlib.sha256(content.encode() + person).hexdigest()
