"""Sources and targets that are not on this machine: URLs, through fsspec (``s3://bucket/clip.mp4``, ``https://...``).

A source is fetched into a file of this machine that has no name, so that it is gone with the process, however that
ends; nothing decoded is ever on a disk. A target is finished on this machine, and appears under its name only when all
of it has arrived: stores of objects show an object once it is whole, elsewhere it comes under another name first.

Nothing here is imported, and no network is used, unless a URL is given.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deid.errors import DeidError, DiskFull, InputError, InputNotFound, OutputError, OutputExists, UsageError
from deid.files import write_all

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Kinds of store in which an object appears when its last byte has arrived, and not before."""
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "adlfs", "azure", "google", "fsspec", "paramiko",
     "requests"}
)  # fmt: skip
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "NoAuthTokenError",
     "ProfileNotFound", "TokenRetrievalError", "UnauthorizedSSOTokenError", "DefaultCredentialsError"}
)  # fmt: skip
_NO_BUCKET = frozenset({"NoSuchBucket", "NoSuchKey", "404"})
_DENIED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"})
_PREFIX = "deid-"
_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Whether ``text`` names something by ``scheme://``."""
    return _URL.match(text) is not None


@dataclass(frozen=True, slots=True)
class Url:
    """Something that fsspec reaches. ``text``: the whole of it, without a slash at its end.

    Everything raises :class:`InputError` or :class:`OutputError`, in one sentence: what is not there, who may not read
    it, which credentials are missing, what cannot be reached; and :class:`UsageError` for a kind nobody knows."""

    text: str

    def __post_init__(self) -> None:
        scheme, rest = self.text.split("://", 1)
        if "::" in self.text or not rest.strip("/"):
            raise UsageError(f"{self.text} is no URL of a file or a folder; write one like s3://bucket/clip.mp4.")
        if "@" in rest.split("/", 1)[0] and ":" in rest.split("@", 1)[0]:
            raise UsageError(f"a {scheme}:// URL holds a password, which would be noted; give it in the environment.")
        object.__setattr__(self, "text", self.text.rstrip("/"))

    def __str__(self) -> str:
        """For people: without what stands behind ``?``, which may be a signature."""
        return self.text.split("?", 1)[0]

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    @property
    def scheme(self) -> str:
        return self.text.split("://", 1)[0]

    @property
    def name(self) -> str:
        return PurePosixPath(self.text.split("?", 1)[0]).name

    @property
    def folder(self) -> Url:
        """What it lies in."""
        return Url(self.text[: -len(self.text.rsplit("/", 1)[1]) - 1])

    def _open(self) -> tuple[Any, str]:
        """fsspec's file system, with nothing remembered of what lay there, and the path in it."""
        from fsspec.core import url_to_fs

        system, path = url_to_fs(self.text)
        with suppress(Exception):  # some have no cache
            system.invalidate_cache()
        return system, path

    def require_writable(self) -> None:
        """Raises :class:`UsageError` for places that are only read."""
        if self.scheme in ("http", "https"):
            raise UsageError(f"{self.scheme}:// is only read; let -o name a store, such as s3://, or a file.")

    def exists(self) -> bool:
        return self._info() is not None

    def is_folder(self) -> bool:
        info = self._info()
        return info is not None and info.get("type") == "directory"

    def _info(self) -> dict[str, Any] | None:
        with _explained(self):
            system, path = self._open()
            try:
                found: dict[str, Any] = system.info(path)
            except FileNotFoundError as error:
                if _is_unreachable(error.__cause__):
                    raise
                return None
            return found

    def stamp(self) -> str:
        """What tells cheaply that a file is as it was."""
        info = self._info()
        if info is None:
            raise InputNotFound(f"there is no {self}; check the name, the bucket and the endpoint.")
        return _stamp(info)

    def content(self, tick: Callable[[], None] = lambda: None) -> str:
        """SHA-256 of the file's bytes."""
        with _explained(self):
            system, path = self._open()
            digest = hashlib.sha256()
            with system.open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    tick()
            return digest.hexdigest()

    def walk(self) -> Iterator[str]:
        """Every file in the folder, at any depth: its place there, with slashes, in order."""
        with _explained(self):
            system, path = self._open()
            base = str(path).rstrip("/") + "/"
            names = sorted(str(name) for name in system.find(path))
            yield from (name[len(base) :] for name in names if name.startswith(base) and len(name) > len(base))

    def matches(self) -> list[Url]:
        """What a pattern names, in order."""
        with _explained(self):
            system, path = self._open()
            return [Url(str(system.unstrip_protocol(name))) for name in sorted(system.glob(path))]

    def fetch(self, into: int, tick: Callable[[], None] = lambda: None) -> str:
        """Copy the file into the open file ``into``; returns its SHA-256."""
        digest = hashlib.sha256()
        if not self.exists():
            raise InputNotFound(f"there is no {self}; check the name, the bucket and the endpoint.")
        with _explained(self):
            system, path = self._open()
            with system.open(path, "rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    _write(into, block)
                    tick()
        return digest.hexdigest()

    def put(self, local: Path, *, may_replace: bool) -> None:
        """Copy a whole file there; it appears under its name when all of it has arrived."""
        if not may_replace and self.exists():
            raise OutputExists(f"{self} exists already; choose another target, or use --overwrite.")
        with _explained(self, writing=True):
            system, path = self._open()
            if self.scheme in _WHOLE:
                only_new = {} if may_replace or self.scheme not in ("s3", "s3a") else {"mode": "create"}
                system.put_file(str(local), path, **only_new)
            else:
                place, _, name = str(path).rpartition("/")
                part = f"{place}/.{name}.{_PREFIX}{secrets.token_hex(4)}"
                system.makedirs(place, exist_ok=True)
                try:
                    system.put_file(str(local), part)
                    system.mv(part, path)
                except BaseException:
                    with suppress(Exception):
                        system.rm_file(part)
                    raise
            self._require(system, path, os.stat(local).st_size)

    def _require(self, system: Any, path: str, size: int) -> None:
        with suppress(Exception):
            system.invalidate_cache()
        if system.info(path).get("size") not in (None, size):
            raise OutputError(f"{self} is not what was sent there; check the store, and run again.")

    def move(self, to: Url, *, may_replace: bool) -> None:
        """Give the file another name in the same store."""
        if not may_replace and to.exists():
            raise OutputExists(f"{to} appeared meanwhile; move it away, or add --overwrite.")
        with _explained(to, writing=True):
            system, path = self._open()
            _, goal = to._open()
            size = system.info(path).get("size")
            if self.scheme not in _WHOLE:
                system.makedirs(str(goal).rpartition("/")[0], exist_ok=True)
            system.mv(path, goal)
            to._require(system, goal, size)

    def remove(self) -> None:
        """Take the file or the folder away, if it is there. What cannot be taken away stays."""
        with suppress(Exception):
            system, path = self._open()
            if system.exists(path):
                system.rm(path, recursive=True)


def place_of(text: str) -> Path | Url:
    """A path of this machine, or a URL."""
    return Url(text) if is_url(text) else Path(text)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can look into, gone at the end. What killed processes left is swept away."""
    import shutil

    from deid.media.target import owner_mark, remove_leftovers

    home = tempfile.gettempdir()
    remove_leftovers(home, _PREFIX, ".far")
    folder = Path(home) / f"{_PREFIX}{owner_mark()}.far"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fetched(source: Url, tick: Callable[[], None] = lambda: None) -> Iterator[tuple[Path, str]]:
    """A private copy of a file, under its own name's ending, and its SHA-256. Its bytes have no name, where the system
    knows such files: whatever becomes of this process, they are gone with it."""
    from deid.media.target import open_nameless

    with private_folder() as folder:
        local = folder / (source.name or "source")
        handle = open_nameless(str(folder))
        if handle is not None:
            local.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        else:
            handle = os.open(local, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            content = source.fetch(handle, tick)
            yield local, content
        except DeidError as error:
            # what is wrong with the copy is wrong with the source, which people know by its URL
            error.args = tuple(str(a).replace(str(local), str(source)) for a in error.args)
            raise
        finally:
            os.close(handle)


@contextmanager
def delivered(target: Url, *, overwrite: bool) -> Iterator[Path]:
    """Where to finish a file of this machine, which then goes to ``target``. Nothing goes there if the block fails."""
    target.require_writable()
    if not overwrite and target.exists():
        raise OutputExists(f"{target} exists already; choose another target, or use --overwrite.")
    with private_folder() as folder:
        local = folder / target.name
        try:
            yield local
        except DeidError as error:
            error.args = tuple(str(a).replace(str(local), str(target)) for a in error.args)
            raise
        put_and_forget(local, target, may_replace=overwrite)


def put_and_forget(local: Path, target: Url, *, may_replace: bool) -> None:
    """:meth:`Url.put`; ``local`` has no name meanwhile, where that is possible, and is gone afterwards."""
    with open(local, "rb") as stream:
        path = Path(f"/proc/self/fd/{stream.fileno()}")
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(stream.fileno())):
                local.unlink()
                local = path
        target.put(local, may_replace=may_replace)


def _write(handle: int, block: bytes) -> None:
    try:
        write_all(handle, block)
    except OSError as error:
        place = tempfile.gettempdir()
        raise DiskFull(
            f"{place} cannot hold a copy of the source ({error.strerror}); let TMPDIR name a larger place."
        ) from error


def _stamp(info: dict[str, Any]) -> str:
    told = {key.lower(): value for key, value in info.items()}
    when = next((told[k] for k in ("etag", "lastmodified", "last-modified", "mtime", "md5hash") if told.get(k)), "")
    return f"{told.get('size')}:{str(when).strip(chr(34))}"


@contextmanager
def _explained(url: Url, *, writing: bool = False) -> Iterator[None]:
    try:
        yield
    except DeidError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(url.scheme, "cloud")
        raise UsageError(
            f"{url.scheme}:// needs a package that is not installed: pip install 'deid-video[{extra}]'."
        ) from error
    except Exception as error:
        found = _in_words(url, error, writing)
        if found is None:
            raise
        raise found from error


def _in_words(url: Url, error: Exception, writing: bool) -> DeidError | None:
    kind: type[DeidError] = OutputError if writing else InputError
    told = error.__cause__ if _is_unreachable(error.__cause__) else error
    reason = " ".join(str(told).split()).rstrip(".")[:200] or type(error).__name__
    if isinstance(error, ValueError) and "rotocol not known" in str(error):
        return UsageError(f"{url.scheme}:// is no kind of URL that is known here; use s3://, gs:// or https://.")
    if type(error).__name__ in _NO_CREDENTIALS:
        return kind(
            f"there are no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
            "what your store wants."
        )
    if isinstance(error, FileExistsError):
        return OutputExists(f"{url} exists already; choose another target, or use --overwrite.")
    code = _code(error)
    if code in _NO_BUCKET or (isinstance(error, FileNotFoundError) and not _is_unreachable(error.__cause__)):
        if writing:
            return OutputError(f"{url} cannot be written: there is no such bucket or folder; make it first.")
        return InputNotFound(f"there is no {url}; check the name, the bucket and the endpoint.")
    if code in _DENIED or isinstance(error, PermissionError):
        what = "written" if writing else "read"
        return kind(f"{url} may not be {what} with these credentials ({reason}); check them, and who may.")
    if isinstance(error, NotImplementedError):
        return kind(f"{url.scheme}:// cannot be {'written to' if writing else 'read'}; choose another place.")
    if isinstance(error, (OSError, TimeoutError)) or type(error).__module__.split(".")[0] in _LIBRARIES:
        return kind(f"{url} cannot be reached ({reason}); check the network, the endpoint and the name.")
    return None


def _code(error: BaseException) -> str:
    """S3's own word for what went wrong."""
    for cause in (error, error.__cause__):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _is_unreachable(cause: BaseException | None) -> bool:
    """Whether what is said not to be there was never asked for: of the web, fsspec says so of everything."""
    if cause is None or type(cause).__module__.split(".")[0] not in _LIBRARIES:
        return False
    status = getattr(cause, "status", None)
    return status is None or int(status) >= 500
