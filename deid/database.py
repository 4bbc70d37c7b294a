"""What goes wrong with a database file, in one sentence each."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deid.errors import DeidError, DiskFull, OutputError


@contextmanager
def told(path: Path, what: str, damaged: Callable[[], DeidError], hint: str = "") -> Iterator[None]:
    """Errors of the database ``path``, which is ``what``, and of the disk. ``damaged``: makes the error for a file that
    is no such database. ``hint``: what to do where it cannot be written."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise DiskFull(f"no space is left for {path}: free some.") from error
        raise OutputError(f"{what} {path} cannot be used ({error}); check who may write it.") from error
    except sqlite3.DatabaseError as error:
        raise damaged() from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space is left for {path}: free some.") from error
        raise OutputError(f"{what} {path} cannot be written ({error.strerror}){hint}.") from error
