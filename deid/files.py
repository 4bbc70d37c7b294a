"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from deid.errors import OutputError, OutputExists, UsageError


def check_places(paths: Sequence[Path | None], taken: Sequence[Path | None], overwrite: bool) -> None:
    """Find out before any work whether ``paths`` can be written.

    Raises :class:`UsageError` when one of them is named twice or is one of ``taken``, :class:`OutputExists`, or
    :class:`OutputError`.
    """
    met = {os.path.realpath(p) for p in taken if p is not None}
    for path in paths:
        if path is None:
            continue
        if os.path.realpath(path) in met:
            raise UsageError(f"{path} is named twice; choose another file for one of them.")
        met.add(os.path.realpath(path))
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file.")
        if os.path.lexists(path) and not overwrite:
            raise OutputExists(f"{path} exists; choose another name, or add --overwrite.")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"{path} lies in a folder that does not exist; create it first.")


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` to an open descriptor, which may take it in pieces. Raises :class:`OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def put(path: Path, text: str, overwrite: bool) -> None:
    """Write ``text`` to ``path``. Raises as :func:`written`."""
    with written(path, overwrite) as stream:
        assert stream is not None
        stream.write(text)


def put_bytes(path: Path, data: bytes, overwrite: bool) -> None:
    """Write ``data`` to ``path``. Raises :class:`OutputExists` and :class:`OutputError`."""
    from deid.media.target import Staged

    staged = Staged(str(path), overwrite=overwrite)
    try:
        try:
            Path(staged.path).write_bytes(data)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place.") from error
        staged.commit()
    finally:
        staged.discard()


@contextmanager
def written(path: Path | None, overwrite: bool) -> Iterator[TextIO | None]:
    """A text file that gets its name when the block ends well. ``None`` for no path.

    Raises :class:`OutputExists` and :class:`OutputError` before anything is done.
    """
    if path is None:
        yield None
        return
    if os.path.lexists(path) and not overwrite:
        raise OutputExists(f"{path} exists; choose another name, or add --overwrite.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    try:
        with open(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
