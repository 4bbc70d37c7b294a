"""The people of a key: a file that knows who was seen before, and which face each of them was given.

An SQLite database with one sealed blob a person (AES-256-GCM, a nonce each), all of one length, under random names: it
tells without the key how many people there are, and nothing else. It holds no times, no names of people or files. What
is in a blob: up to eight recognition codes, and the engine's own words for the surrogate.

A registry is written once a run, when the output gets its name; a run that fails or is killed leaves it as it was. Who
means to add people holds it for themselves until then.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid.database import told
from deid.errors import DamagedRegistry, OutputError, OutputExists, UsageError, WrongKey
from deid.keys import Key
from deid.media.target import Staged

CODES = 8
"""Recognition codes that are kept of a person, at most."""
_WIDTH = 128
_VERSION = 1
_PERSONA = 4096  # bytes: room for the surrogate's words, so that all blobs have one length
_NONCE = 12
_CHECK = b"deid registry"
_POLL = 0.2  # seconds
_HEAD = struct.Struct("<BBH")
_SCHEMA = """
CREATE TABLE about (salt BLOB NOT NULL, proof BLOB NOT NULL);
CREATE TABLE people (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Somebody. ``name``: 16 random bytes. ``codes``: float32 (n, 128), n 1 to 8, best first. ``persona``: what the
    engine needs to make the same surrogate again, at most 4,096 bytes."""

    name: bytes
    codes: np.ndarray
    persona: bytes

    @classmethod
    def of(cls, codes: np.ndarray, persona: bytes) -> Entry:
        """Somebody new. Raises :class:`ValueError` without codes, or for a persona that is too long."""
        codes = np.ascontiguousarray(codes[:CODES], np.float32)
        if codes.ndim != 2 or codes.shape[1] != _WIDTH or len(codes) == 0 or not np.isfinite(codes).all():
            raise ValueError(f"an entry needs codes (n, {_WIDTH}), not {codes.shape}")
        if len(persona) > _PERSONA:
            raise ValueError(f"{len(persona)} bytes of persona; {_PERSONA} is the most")
        return cls(secrets.token_bytes(16), codes, persona)

    @property
    def template(self) -> np.ndarray:
        """Mean code, float32 (128,)."""
        mean: np.ndarray = self.codes.mean(0)
        return mean


class Registry:
    """The registry of ``key`` at ``path``, which need not exist yet. A context manager: leaving it without
    :meth:`commit` changes nothing.

    Raises :class:`WrongKey` when it belongs to another key, :class:`DamagedRegistry` when it is no registry.
    """

    def __init__(self, path: Path, key: Key, key_file: Path | None = None) -> None:
        self.path = path
        self._key, self._key_file = key, key_file
        self._base: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._added: list[Entry] = []
        self._prepared: Staged | None = None
        _refuse_impossible(path)
        self.entries: tuple[Entry, ...] = ()
        """Who is registered, by name: not in the order in which they came."""
        self.read()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self) -> None:
        """See who is registered now."""
        self.entries = ()
        if self._base is None and not _exists(self.path):
            return
        if self._base is not None:
            self.entries = _load(self._base, self._key, self.path)
            return
        with _opened(self.path) as base:
            self.entries = _load(base, self._key, self.path)

    def hold(self, wait: Callable[[bool], None] = lambda first: None) -> None:
        """Keep others from adding people until this registry is closed, and see who is registered by now. ``wait`` is
        called, every 0.2 s, while another run holds it (with ``True`` for the first time); it may raise.

        Raises :class:`OutputError` when the registry cannot be written.
        """
        first = True
        while not self._try_hold():
            wait(first)
            first = False
            time.sleep(_POLL)
        self.read()

    def _try_hold(self) -> bool:
        # Where there is no registry yet there is nothing to lock but the key, which every such run has.
        if self._key_file is not None and self._lock is None:
            self._lock = _locked(self._key_file)
            if self._lock is None:
                return False
        if self._base is None and _exists(self.path):
            self._base = _connect(self.path)
        if self._base is not None and not self._base.in_transaction:
            with _told(self.path):
                try:
                    self._base.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if "locked" in str(error) or "busy" in str(error):
                        return False
                    raise
        return True

    def add(self, entry: Entry) -> None:
        """Somebody to be registered with :meth:`commit`; call :meth:`hold` before."""
        self._added.append(entry)

    def prepare(self) -> None:
        """Do everything of a commit that may fail. Without :meth:`commit` nothing of it lasts."""
        if not self._added:
            return
        with _told(self.path):
            if self._base is not None:
                self._insert(self._base)
                return
            with _fresh() as base:
                _create(base, self._key)
                self._insert(base)
                base.commit()
                whole = _image(base)
            self._prepared = Staged(str(self.path), overwrite=False)
            with open(self._prepared.path, "wb") as file:
                file.write(whole)

    def _insert(self, base: sqlite3.Connection) -> None:
        box = _Box(self._key, _salt(base, self.path))
        rows = [(entry.name, box.seal(entry.name, _packed(entry))) for entry in self._added]
        base.executemany("INSERT OR REPLACE INTO people VALUES (?, ?)", rows)

    def commit(self) -> None:
        """What was added lasts. Raises :class:`OutputError` and :class:`DiskFull`, and then it does not."""
        if not self._added:
            return
        with _told(self.path):
            if self._prepared is not None:
                try:
                    self._prepared.commit()
                except OutputExists:
                    raise OutputError(f"{self.path} was made by another run meanwhile; run again.") from None
                os.chmod(self.path, 0o600)
            elif self._base is not None:
                self._base.commit()
        self._added.clear()

    def close(self) -> None:
        """Let others go on; what was not committed is forgotten."""
        if self._base is not None:
            with suppress(sqlite3.Error):
                self._base.rollback()
            self._base.close()
            self._base = None
        if self._prepared is not None:
            self._prepared.discard()
            self._prepared = None
        self._added.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _Box:
    """Seals and opens. The subkey is the registry's own, by its salt; a blob opens under its own name only."""

    def __init__(self, key: Key, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key.subkey("registry", salt))

    def seal(self, name: bytes, content: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, content, name)

    def open(self, name: bytes, sealed: bytes) -> bytes | None:
        """``None`` when the key is another, or the blob was changed."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name)
        except (InvalidTag, ValueError):
            return None


def _packed(entry: Entry) -> bytes:
    codes = np.zeros((CODES, _WIDTH), "<f4")
    codes[: len(entry.codes)] = entry.codes
    head = _HEAD.pack(_VERSION, len(entry.codes), len(entry.persona))
    return head + codes.tobytes() + entry.persona.ljust(_PERSONA, b"\0")


def _unpacked(name: bytes, content: bytes) -> Entry | None:
    size = CODES * _WIDTH * 4
    if len(content) != _HEAD.size + size + _PERSONA:
        return None
    version, count, length = _HEAD.unpack_from(content)
    if version != _VERSION or not 1 <= count <= CODES or length > _PERSONA:
        return None
    codes = np.frombuffer(content, "<f4", CODES * _WIDTH, _HEAD.size).reshape(CODES, _WIDTH)[:count]
    start = _HEAD.size + size
    return Entry(name, codes.astype(np.float32), content[start : start + length])


def _create(base: sqlite3.Connection, key: Key) -> None:
    salt = secrets.token_bytes(32)
    base.executescript(_SCHEMA)
    base.execute("BEGIN IMMEDIATE")
    base.execute(f"PRAGMA user_version = {_VERSION}")
    base.execute("INSERT INTO about VALUES (?, ?)", (salt, _Box(key, salt).seal(b"", _CHECK)))


@contextmanager
def _fresh() -> Iterator[sqlite3.Connection]:
    """A database in memory."""
    base = sqlite3.connect(":memory:", isolation_level=None)
    try:
        yield base
    finally:
        base.close()


def _image(base: sqlite3.Connection) -> bytes:
    """The file that would hold a database."""
    if hasattr(base, "serialize"):  # from Python 3.11 on
        whole: bytes = base.serialize()
        return whole
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.sqlite"
        copy = sqlite3.connect(path)
        base.backup(copy)
        copy.close()
        return path.read_bytes()


def _salt(base: sqlite3.Connection, path: Path) -> bytes:
    row = base.execute("SELECT salt FROM about").fetchone()
    if row is None or not isinstance(row[0], bytes):
        raise _damaged(path)
    return row[0]


def _load(base: sqlite3.Connection, key: Key, path: Path) -> tuple[Entry, ...]:
    try:
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise DamagedRegistry(f"{path} was written by a later version of deid; update this one.")
        about = base.execute("SELECT salt, proof FROM about").fetchone()
        rows = base.execute("SELECT name, sealed FROM people ORDER BY name").fetchall()
    except sqlite3.DatabaseError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise OutputError(f"{path} is held by another program; try again.") from error
        raise _damaged(path) from error
    if version < 1 or about is None or not all(isinstance(v, bytes) for row in (about, *rows) for v in row):
        raise _damaged(path)
    box = _Box(key, about[0])
    if box.open(b"", about[1]) != _CHECK:
        raise WrongKey(f"{path} belongs to another key; name its own with --key, or another file with --registry.")
    entries = []
    for name, sealed in rows:
        content = box.open(name, sealed)
        entry = None if content is None else _unpacked(name, content)
        if entry is None:
            raise _damaged(path)
        entries.append(entry)
    return tuple(entries)


def _damaged(path: Path) -> DamagedRegistry:
    return DamagedRegistry(f"{path} is no registry of people, or is damaged; restore a copy, or name another file.")


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _refuse_impossible(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give --registry the name of a file.")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"the folder of {path} does not exist; make it, or choose another place for the registry.")


def _connect(path: Path) -> sqlite3.Connection:
    """Nothing is made where nothing is. Only one thread uses it at a time, though not always the same."""
    with _told(path):
        base = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        base.execute("PRAGMA synchronous = FULL")
        return base


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    base = _connect(path)
    try:
        base.execute("PRAGMA busy_timeout = 5000")
        yield base
    finally:
        base.close()


def _told(path: Path) -> AbstractContextManager[None]:
    return told(path, "the registry", lambda: _damaged(path))


def _locked(path: Path) -> int | None:
    """A descriptor that holds ``path`` until it is closed; ``None`` while somebody else does."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:  # file systems without such locks: the database's own must do
        pass
    return handle


def known(people: Sequence[np.ndarray | None], entries: Sequence[Entry], threshold: float) -> dict[int, Entry]:
    """Who of ``people`` (mean codes (128,), ``None`` where there is none) is registered, by place in ``people``.
    Nearest pairs first, and nobody twice: two people of a clip are never one of the registry."""
    pairs = []
    for place, template in enumerate(people):
        if template is not None:
            for entry in entries:
                apart = float(np.linalg.norm(template - entry.template))
                if apart < threshold:
                    pairs.append((apart, entry.name, place))
    by_name = {entry.name: entry for entry in entries}
    out: dict[int, Entry] = {}
    taken: set[bytes] = set()
    for _, name, place in sorted(pairs):
        if place not in out and name not in taken:
            out[place] = by_name[name]
            taken.add(name)
    return out
