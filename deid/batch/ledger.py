"""What a batch knows of its files: one SQLite database, written by one process at a time, never ahead of the truth.

An output is finished in three steps: it lies complete in a hidden folder; the ledger says so, with its checksum; it
gets its name. Whatever step a kill comes after, the next run can tell, and goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from deid.database import told
from deid.errors import InputError, OutputError

_VERSION = 2
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    target TEXT PRIMARY KEY, source TEXT NOT NULL, state TEXT NOT NULL,
    stamp TEXT, content TEXT, settings TEXT, version TEXT, inputs TEXT,
    attempts INTEGER NOT NULL, stops INTEGER NOT NULL, code INTEGER, message TEXT,
    begun REAL, seconds REAL, output TEXT, output_stamp TEXT, summary TEXT, judged TEXT
) WITHOUT ROWID;
CREATE TABLE reports (target TEXT PRIMARY KEY, report BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE people (content TEXT, settings TEXT, sealed BLOB NOT NULL, PRIMARY KEY (content, settings)) WITHOUT ROWID;
CREATE TABLE personas (home TEXT, person BLOB, sealed BLOB NOT NULL, PRIMARY KEY (home, person)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One file. ``target``: below DST, with slashes. ``state``: ``waiting``, ``running``, ``naming`` (finished, about
    to get its name), ``done`` or ``failed`` (given up).

    ``stamp`` and ``content``: of the source, cheap and SHA-256; ``settings``, ``version``: of the last attempt;
    ``inputs``: of the people's faces it was made with. ``attempts``: that failed with these; ``stops``: runs that were
    stopped meanwhile. ``code``, ``message``: of the last failure. ``begun``: seconds since 1970; ``seconds``: it took.
    ``output``, ``output_stamp``: of the copy that this batch last made. ``summary``: numbers of its report, as JSON.
    ``judged``: the settings that the copy was audited with, if it was."""

    target: str
    source: str
    state: str = "waiting"
    stamp: str | None = None
    content: str | None = None
    settings: str | None = None
    version: str | None = None
    inputs: str | None = None
    attempts: int = 0
    stops: int = 0
    code: int | None = None
    message: str | None = None
    begun: float | None = None
    seconds: float | None = None
    output: str | None = None
    output_stamp: str | None = None
    summary: str | None = None
    judged: str | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """The summary."""
        told: dict[str, Any] = json.loads(self.summary) if self.summary else {}
        return told


_COLUMNS = tuple(f.name for f in fields(Row))


class Ledger:
    """The ledger at ``path``, made where there is none. A context manager; nobody else has it meanwhile.

    Raises :class:`OutputError` when another run has it or it cannot be written, :class:`InputError` when the file is
    no ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            with _told(path):
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.close(handle)
                self._base = sqlite3.connect(path, isolation_level=None)
                self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        base = self._base
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA secure_delete = ON")
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not base.execute("SELECT 1 FROM sqlite_master").fetchone():
            with self.change():
                for statement in _SCHEMA.split(";"):
                    base.execute(statement)
                base.execute(f"PRAGMA user_version = {_VERSION}")
                base.execute("INSERT INTO about VALUES ('secret', ?)", (secrets.token_bytes(32),))
        elif version == 1:  # before copies were audited by themselves
            with self.change():
                base.execute("ALTER TABLE files ADD COLUMN judged TEXT")
                base.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise InputError(f"{self.path} is no ledger of this version; choose another with --ledger.")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(sqlite3.Error):
            self._base.close()
        os.close(self._lock)

    @contextmanager
    def change(self) -> Iterator[None]:
        """What is written inside the block lasts together, or not at all."""
        if self._base.in_transaction:
            yield
            return
        with _told(self.path):
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.rollback()
                raise
            self._base.commit()

    def about(self, name: str) -> bytes | None:
        """A value of the whole batch."""
        row = self._base.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_about(self, name: str, value: bytes | None) -> None:
        with self.change():
            self._base.execute("DELETE FROM about WHERE name = ?", (name,))
            if value is not None:
                self._base.execute("INSERT INTO about VALUES (?, ?)", (name, value))

    @property
    def secret(self) -> bytes:
        """32 bytes that seeds follow from, where no seed is given."""
        found = self.about("secret")
        assert found is not None
        return found

    def rows(self) -> dict[str, Row]:
        """Everything that is known, by target."""
        found = self._base.execute(f"SELECT {', '.join(_COLUMNS)} FROM files").fetchall()
        return {values[0]: Row(*values) for values in found}

    def put(self, row: Row, **changes: Any) -> Row:
        """Keep ``row`` with ``changes``; returns what was kept."""
        row = replace(row, **changes)
        with self.change():
            marks = ", ".join("?" * len(_COLUMNS))
            values = [getattr(row, name) for name in _COLUMNS]
            self._base.execute(
                f"INSERT OR REPLACE INTO files VALUES ({marks})".replace("VALUES", f"({', '.join(_COLUMNS)}) VALUES"),
                values,
            )
        return row

    def keep_report(self, target: str, report: dict[str, Any]) -> None:
        packed = zlib.compress(json.dumps(report).encode(), 6)
        with self.change():
            self._base.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (target, packed))

    def report(self, target: str) -> dict[str, Any] | None:
        row = self._base.execute("SELECT report FROM reports WHERE target = ?", (target,)).fetchone()
        if row is None:
            return None
        told: dict[str, Any] = json.loads(zlib.decompress(row[0]))
        return told

    # -- people, sealed: see deid.batch.people ----------------------------------------------------------------------

    def people(self, settings: str) -> dict[str, bytes]:
        """Who is in which file, sealed, by the file's content."""
        found = self._base.execute("SELECT content, sealed FROM people WHERE settings = ?", (settings,))
        return {content: bytes(sealed) for content, sealed in found}

    def keep_people(self, content: str, settings: str, sealed: bytes) -> None:
        with self.change():
            self._base.execute("INSERT OR REPLACE INTO people VALUES (?, ?, ?)", (content, settings, sealed))

    def personas(self) -> dict[tuple[str, bytes], bytes]:
        """Surrogates, sealed, by the file that they were chosen for and a person in it."""
        found = self._base.execute("SELECT home, person, sealed FROM personas")
        return {(home, bytes(person)): bytes(sealed) for home, person, sealed in found}

    def keep_persona(self, home: str, person: bytes, sealed: bytes) -> None:
        with self.change():
            self._base.execute("INSERT OR REPLACE INTO personas VALUES (?, ?, ?)", (home, person, sealed))

    def forget_people(self) -> None:
        """Nothing of what faces look like stays."""
        with self.change():
            self._base.execute("DELETE FROM people")
            self._base.execute("DELETE FROM personas")
            self._base.execute("DELETE FROM about WHERE name = 'plan'")


def peek(path: Path) -> dict[str, Row]:
    """What a ledger says, without having it; nothing where there is none."""
    if not path.exists():
        return {}
    with _told(path):
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            there = {row[1] for row in base.execute("PRAGMA table_info(files)")}
            names = [name if name in there else "NULL" for name in _COLUMNS]  # one of an earlier version
            found = base.execute(f"SELECT {', '.join(names)} FROM files").fetchall()
        finally:
            base.close()
    return {values[0]: Row(*values) for values in found}


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(
            f"another run works with {path.with_suffix('')}; wait for it, or give this one --ledger and -o of its own."
        ) from None
    except OSError:  # file systems without such locks: the database's own must do
        pass
    return handle


def _told(path: Path) -> AbstractContextManager[None]:
    none = InputError(f"{path} is no ledger, or is damaged; choose another with --ledger.")
    return told(path, "the ledger", lambda: none, "; choose another place")
