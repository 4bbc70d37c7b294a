"""Outputs that appear complete or not at all.

Work goes to a file without a name on the target's own file system; only :meth:`Staged.commit` gives it the target's
name, after its bytes have reached the disk. So a run that is killed leaves nothing at all. Where the system has no such
files (and for folders) it is a hidden file beside the target, whose name carries the owner's process number, so that a
later run can tell what a killed one left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DeidError, DiskFull, OutputError, OutputExists, UsageError
from ..types import MediaInfo

VIDEO_KINDS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "mkv",
    ".webm": "webm",
    ".avi": "avi",
    ".gif": "gif",
}
IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def target_kind(target: str, info: MediaInfo) -> str:
    """``mp4``, ``mov``, ``mkv``, ``webm``, ``avi``, ``gif``, ``image`` or ``folder``. Raises :class:`UsageError` for an
    extension that is not known and for a kind that ``info`` cannot become."""
    extension = os.path.splitext(target.rstrip("/\\"))[1].lower()
    is_folder = info.kind == "folder" and (not extension or os.path.isdir(target))
    kind = "folder" if is_folder else VIDEO_KINDS.get(extension)
    if kind is None and extension in IMAGE_EXTENSIONS:
        kind = "image"
    if kind is None:
        known = ", ".join([*VIDEO_KINDS, *IMAGE_EXTENSIONS])
        raise UsageError(f"{target} has no extension that names a format: use one of {known}.")
    if info.kind == "image" and kind != "image":
        raise UsageError(
            f"{info.path} is an image and cannot become {target}: use one of {', '.join(IMAGE_EXTENSIONS)}."
        )
    if info.kind != "image" and kind == "image":
        raise UsageError(
            f"{info.path} holds many frames and {target} is one image: use one of {', '.join(VIDEO_KINDS)}"
            + (", or a folder." if info.kind == "folder" else ".")
        )
    return kind


def check_target(target: str | os.PathLike[str], overwrite: bool, info: MediaInfo) -> None:
    """Find out before any work whether ``target`` can be written.

    Raises :class:`UsageError` (unknown extension, or the target is the source, also through a link),
    :class:`OutputExists`, or :class:`OutputError` (no such folder, not writable)."""
    name = os.fspath(target)
    kind = target_kind(name, info)
    _refuse_source(name, info.path)
    folder = _folder_of(name)
    if not os.path.isdir(folder):
        raise OutputError(f"{folder} is not a folder: create it first, or choose another target.")
    if os.path.lexists(name):
        if os.path.isdir(name) != (kind == "folder"):
            what = "a folder" if os.path.isdir(name) else "a file"
            raise OutputError(f"{name} is {what} already: choose another target.")
        if not overwrite:
            raise OutputExists(f"{name} exists already: choose another target, or use --overwrite.")
        if kind == "folder":
            _require_only_images(name)
    with output_errors(name):
        nameless = open_nameless(folder)  # where there are such files, a probe leaves nothing even if killed
        if nameless is not None:
            os.close(nameless)
            return
        probe = os.path.join(folder, f".deid-{secrets.token_hex(6)}")
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.unlink(probe)


def _refuse_source(target: str, source: str) -> None:
    try:
        same = os.path.samefile(target, source)
    except OSError:
        same = False
    if same:
        raise UsageError(f"{target} is the source itself: choose another target, the source is never changed.")
    if os.path.isdir(source):
        inside = os.path.realpath(target).startswith(os.path.realpath(source) + os.sep)
        if inside:
            raise UsageError(f"{target} lies inside the source folder {source}: choose a target outside of it.")


def _require_only_images(folder: str) -> None:
    for name in os.listdir(folder):
        if not name.lower().endswith(IMAGE_EXTENSIONS):
            raise OutputError(
                f"{folder} holds more than images ({name}), so it is not replaced: empty it, or choose another target."
            )


def _folder_of(name: str) -> str:
    return os.path.dirname(os.path.abspath(name.rstrip("/\\") or name))


@contextmanager
def output_errors(target: str) -> Iterator[None]:
    """Turn errors of writing into :class:`DiskFull` and :class:`OutputError`."""
    try:
        yield
    except DeidError:
        raise
    except OSError as e:
        raise as_output_error(target, e) from e


def as_output_error(target: str, error: Exception) -> DeidError:
    """The error of this package for a failed write."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return DiskFull(f"no space is left for {target}: free some, or choose a target on another disk.")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"{target} cannot be written: its folder is read-only or not yours, choose another target.")
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"{target} cannot be written ({reason}): choose another target.")


class Staged:
    """A file without a name, or a hidden file or folder beside ``target``, to write to: ``path``. Its extension may not
    be the target's. ``named``: a hidden file in any case, for another process to write to."""

    def __init__(self, target: str, *, overwrite: bool, folder: bool = False, named: bool = False) -> None:
        self.target = os.path.abspath(target.rstrip("/\\") or target)
        self._overwrite = overwrite
        self._is_folder = folder
        self._done = False
        home, name = os.path.split(self.target)
        stem, extension = os.path.splitext(name)
        self._prefix = f".{stem[:80]}.deid-"
        remove_leftovers(home, self._prefix, extension)
        self._hidden = os.path.join(home, f"{self._prefix}{owner_mark()}{extension}")
        self.path = self._hidden
        self._nameless: int | None = None
        with output_errors(self.target):
            if folder:
                os.mkdir(self.path, 0o700)
                return
            self._nameless = None if named else open_nameless(home)
            if self._nameless is not None:
                self.path = f"/proc/self/fd/{self._nameless}"
            else:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def commit(self) -> None:
        """Bring everything to the disk and give it the target's name in one step."""
        with output_errors(self.target):
            mask = os.umask(0)
            os.umask(mask)
            if self._is_folder:
                for name in os.listdir(self.path):
                    os.chmod(os.path.join(self.path, name), 0o666 & ~mask)
                    _sync(os.path.join(self.path, name))
            os.chmod(self.path, (0o777 if self._is_folder else 0o666) & ~mask)
            _sync(self.path)
            self._rename()
            self._done = True
            self._let_go()
            _sync(os.path.dirname(self.target))

    def _rename(self) -> None:
        if self._is_folder:
            old = None
            if os.path.lexists(self.target):
                self._refuse_existing()
                _require_only_images(self.target)
                old = self.path + ".old"
                os.rename(self.target, old)
            os.rename(self.path, self.target)
            if old is not None:
                shutil.rmtree(old)
        elif self._nameless is not None:
            self._link_nameless(self._nameless)
        elif self._overwrite:
            os.replace(self.path, self.target)
        else:
            try:
                os.link(self.path, self.target)  # unlike a rename, never takes the place of what appeared meanwhile
            except FileExistsError:
                self._refuse_existing()
            except OSError:  # file systems without hard links
                if os.path.lexists(self.target):
                    self._refuse_existing()
                os.rename(self.path, self.target)
            else:
                os.unlink(self.path)

    def _link_nameless(self, handle: int) -> None:
        """The target's name for the file without one; where that name is taken, by way of the hidden one."""
        if not self._overwrite:
            try:
                _give_name(handle, self.target)
            except FileExistsError:
                self._refuse_existing()
            return
        _give_name(handle, self._hidden)
        try:
            os.replace(self._hidden, self.target)
        except BaseException:
            os.unlink(self._hidden)
            raise

    def _refuse_existing(self) -> None:
        if not self._overwrite:
            raise OutputExists(f"{self.target} exists already: choose another target, or use --overwrite.")

    def discard(self) -> None:
        """Remove what was written, unless it was committed. Never raises."""
        if self._done:
            return
        if self._is_folder:
            shutil.rmtree(self.path, ignore_errors=True)
        elif self._nameless is None:
            try:
                os.unlink(self.path)
            except OSError:
                pass
        self._let_go()

    def _let_go(self) -> None:
        handle, self._nameless = self._nameless, None
        if handle is not None:
            os.close(handle)


def open_nameless(folder: str) -> int | None:
    """A file of ``folder``'s file system without a name, open for writing, readable by its owner alone; ``None`` where
    there is no such thing. Raises :class:`OSError` where no file can be made at all."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        handle = os.open(folder, flag | os.O_RDWR, 0o600)
    except OSError as e:
        if e.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            return None
        raise
    try:
        if os.path.samestat(os.stat(f"/proc/self/fd/{handle}"), os.fstat(handle)):
            return handle
    except OSError:
        pass  # no /proc: nothing leads back to the file
    os.close(handle)
    return None


def _give_name(handle: int, name: str) -> None:
    """linkat(2) with AT_SYMLINK_FOLLOW, which Python calls only where it is given a folder to start from."""
    root = os.open("/", os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=root, follow_symlinks=True)
    finally:
        os.close(root)


def owner_mark() -> str:
    """What tells :func:`remove_leftovers` whose a name is."""
    return f"{os.getpid()}-{_host()}-{secrets.token_hex(4)}"


def remove_leftovers(folder: str, prefix: str, extension: str) -> None:
    """Remove what runs that were killed left beside the same target: their process is gone. Never raises."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)-([0-9a-f]+)-[0-9a-f]+" + re.escape(extension) + r"$")
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        match = pattern.match(name)
        if match is None or match[2] != _host() or _alive(int(match[1])):
            continue
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                os.unlink(path)
            except OSError:
                pass


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    """Process numbers mean something on one machine, in one container only."""
    namespace = ""
    if sys.platform.startswith("linux"):
        try:
            namespace = os.readlink("/proc/self/ns/pid")
        except OSError:
            pass
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # folders on some network file systems
            raise
    finally:
        os.close(handle)
