"""Keys: made once, never overwritten, for one's own eyes; what is derived from them tells nothing about them."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from deid.cli import cli
from deid.errors import InputNotFound, OutputError, OutputExists, WrongKey
from deid.keys import Key, is_exposed, new_key, read_key, seed_from


def test_a_key_is_32_bytes_of_text_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_text().strip(), validate=True)) == 32
    assert read_key(path).secret not in (bytes(32), read_key_again(tmp_path))
    assert not is_exposed(path)
    path.chmod(0o640)
    assert is_exposed(path)


def read_key_again(folder: Path) -> bytes:
    new_key(folder / "b.key")
    return read_key(folder / "b.key").secret


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    new_key(path)
    before = path.read_bytes()
    with pytest.raises(OutputExists):
        new_key(path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        new_key(tmp_path / "link")
    assert path.read_bytes() == before
    with pytest.raises(OutputError):
        new_key(tmp_path / "no" / "folder.key")


@pytest.mark.parametrize("text", [b"", b"hello", b"\xff" * 40, base64.b64encode(bytes(31)), b"a" * 10000])
def test_what_is_no_key_is_refused(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(text)
    with pytest.raises(WrongKey, match="deid key new"):
        read_key(path)
    with pytest.raises(InputNotFound, match="deid key new"):
        read_key(tmp_path / "missing")


def test_subkeys_are_apart_and_repeatable() -> None:
    key, other = Key(bytes(32)), Key(b"\1" * 32)
    assert key.subkey("registry") == key.subkey("registry")
    derived = [
        key.subkey("registry"),
        key.subkey("surrogates"),
        key.subkey("registry", b"salt"),
        other.subkey("registry"),
    ]
    assert len(set(derived)) == 4
    assert all(len(d) == 32 for d in derived)
    assert "00" not in repr(key)
    # HKDF-SHA256 of RFC 5869 by the standard library
    import hashlib
    import hmac

    extracted = hmac.new(b"salt", bytes(32), hashlib.sha256).digest()
    assert key.subkey("x", b"salt") == hmac.new(extracted, b"deid x\1", hashlib.sha256).digest()


def test_seeds_follow_from_content_and_secret() -> None:
    assert seed_from(b"k", b"a") == seed_from(b"k", b"a") != seed_from(b"k", b"b")
    assert seed_from(b"k", b"a") != seed_from(b"l", b"a")
    assert 0 <= seed_from(b"k", b"a") < 2**63


def test_the_command_writes_one_and_refuses_a_second(tmp_path: Path) -> None:
    words = ["key", "new", str(tmp_path / "study.key")]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert isinstance(CliRunner().invoke(cli, words).exception, OutputExists)
    assert read_key(tmp_path / "study.key")
