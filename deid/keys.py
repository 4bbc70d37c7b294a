"""Key files: 32 random bytes, and what is derived from them.

Nothing is encrypted or drawn with the key itself: every purpose has a subkey of its own, by HKDF-SHA256 (RFC 5869), so
that what one of them gives away says nothing about the others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from deid.errors import InputError, InputNotFound, OutputError, OutputExists, WrongKey

_BYTES = 32
_LONGEST = 4096  # bytes of a file that may be a key


@dataclass(frozen=True, slots=True)
class Key:
    """``secret``: 32 bytes. Never shown: ``repr`` leaves it out."""

    secret: bytes = field(repr=False)

    def subkey(self, purpose: str, salt: bytes = b"") -> bytes:
        """32 bytes for one ``purpose``; others, and other salts, give unrelated ones."""
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), _BYTES, salt or None, f"deid {purpose}".encode()).derive(self.secret)


def seed_from(subkey: bytes, content: bytes) -> int:
    """A seed, 0 to 2**63 - 1, that follows from ``content`` and cannot be told without ``subkey``: HMAC-SHA256."""
    return int.from_bytes(hmac.new(subkey, content, hashlib.sha256).digest()[:8], "big") >> 1


def new_key(path: Path) -> None:
    """Write a fresh key to ``path``, for its owner's eyes only.

    Raises :class:`OutputExists` when something has that name, :class:`OutputError` when it cannot be written.
    """
    text = base64.b64encode(secrets.token_bytes(_BYTES)) + b"\n"
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise OutputExists(f"{path} exists, and keys are never overwritten; choose another name.") from None
    except OSError as error:
        raise OutputError(f"the key cannot go to {path} ({error.strerror}); choose another place.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError):
            raise OutputError(f"the key cannot be written to {path} ({error.strerror}).") from error
        raise


def read_key(path: Path) -> Key:
    """The key in a file that :func:`new_key` wrote.

    Raises :class:`InputNotFound` when there is none, :class:`InputError` when it cannot be read, :class:`WrongKey` when
    it holds no key.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST)
    except FileNotFoundError:
        raise InputNotFound(f"there is no key file {path}; make one with 'deid key new {path}'.") from None
    except OSError as error:
        raise InputError(f"the key file {path} cannot be read ({error.strerror}).") from error
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != _BYTES:
        raise WrongKey(f"{path} holds no key of this program; make one with 'deid key new FILE'.")
    return Key(secret)


def is_exposed(path: Path) -> bool:
    """Whether others than its owner may read or change a key file."""
    try:
        return bool(os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False
