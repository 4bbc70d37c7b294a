"""URLs: fetched privately, delivered whole or not at all, and told about in a sentence."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deid.errors import DeidError, InputError, InputNotFound, OutputError, OutputExists, UsageError
from deid.remote import Url, delivered, fetched, is_url, place_of, private_folder


@pytest.fixture(autouse=True)
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def memory() -> Iterator[Url]:
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    yield Url("memory://shelf")
    system.store.clear()


def test_what_is_a_url() -> None:
    assert is_url("s3://b/c.mp4") and is_url("https://x/y")
    assert not is_url("ward/clip.mp4") and not is_url("C:\\clip.mp4") and not is_url("a:b")
    assert place_of("a.mp4") == Path("a.mp4") and place_of("s3://b/a.mp4") == Url("s3://b/a.mp4")
    url = Url("s3://b/day/a.mp4?X-Signature=secret")
    assert (url.name, str(url), url.scheme) == ("a.mp4", "s3://b/day/a.mp4", "s3")
    assert Url("s3://b/day/").folder / "c" == Url("s3://b/c")
    for wrong in ("s3://", "simplecache::s3://b/a", "sftp://me:word@host/a"):
        with pytest.raises(UsageError):
            Url(wrong)


def test_a_source_is_fetched_without_a_name_and_gone_afterwards(memory: Url, own_tmp: Path, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(data)
    (memory / "day/a.mp4").put(tmp_path / "a", may_replace=False)
    with fetched(memory / "day/a.mp4") as (local, content):
        assert local.read_bytes() == data and content == hashlib.sha256(data).hexdigest() and local.name == "a.mp4"
        assert (memory / "day/a.mp4").content() == content
        sizes = [p.lstat().st_size for p in own_tmp.rglob("*") if not p.is_dir()]
        assert max(sizes) < 100  # a link; the bytes have no name
        assert (own_tmp.stat().st_mode | local.parent.stat().st_mode) & 0o777 == own_tmp.stat().st_mode & 0o777 | 0o700
    assert list(own_tmp.iterdir()) == []


def test_what_a_killed_process_fetched_is_gone(own_tmp: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(os.urandom(1 << 20))
    code = f"""
import os, signal, tempfile
tempfile.tempdir = {str(own_tmp)!r}
from deid.remote import Url, fetched
with fetched(Url("file://{tmp_path}/a.mp4")) as (local, content):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    left = [p for p in own_tmp.rglob("*") if not p.is_dir()]
    assert all(p.is_symlink() and not p.exists() for p in left)  # leads nowhere
    with private_folder():
        pass
    assert list(own_tmp.iterdir()) == []


def test_a_target_appears_whole_or_not_at_all(memory: Url, own_tmp: Path) -> None:
    target = memory / "out/b.mp4"
    with pytest.raises(DeidError, match="broken at memory://shelf/out/b.mp4"):
        with delivered(target, overwrite=False) as local:
            local.write_bytes(b"half")
            raise DeidError(f"broken at {local}")
    assert not target.exists() and list(own_tmp.iterdir()) == []
    with delivered(target, overwrite=False) as local:
        local.write_bytes(b"whole")
    assert target.exists() and target.content() == hashlib.sha256(b"whole").hexdigest()
    assert list(memory.walk()) == ["out/b.mp4"] and list(own_tmp.iterdir()) == []
    with pytest.raises(OutputExists):
        with delivered(target, overwrite=False) as local:
            raise AssertionError
    before = target.stamp()
    with delivered(target, overwrite=True) as local:
        local.write_bytes(b"another")
    assert target.content() == hashlib.sha256(b"another").hexdigest() and target.stamp() != before


def test_a_failed_transfer_leaves_nothing(memory: Url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def fails(*args: object, **more: object) -> None:
        raise OSError(5, "the line is dead")

    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setattr(MemoryFileSystem, "mv", fails)
    with pytest.raises(OutputError, match="cannot be reached .*the line is dead"):
        (memory / "a.mp4").put(tmp_path / "a", may_replace=True)
    assert list(memory.walk()) == []


def test_moving_and_removing(memory: Url, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    one, two = memory / "x/one", memory / "y/two"
    one.put(tmp_path / "a", may_replace=False)
    one.move(two, may_replace=False)
    assert not one.exists() and two.exists() and [str(u) for u in (memory / "*/two").matches()] == ["memory:///shelf/y/two"]
    one.put(tmp_path / "a", may_replace=False)
    with pytest.raises(OutputExists):
        one.move(two, may_replace=False)
    memory.remove()
    assert not two.exists()
    memory.remove()


def test_errors_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(InputNotFound, match="there is no file:///"):
        with fetched(Url(f"file://{tmp_path}/nothing.mp4")):
            pass
    with pytest.raises(InputNotFound):
        Url(f"file://{tmp_path}/nothing.mp4").stamp()
    with pytest.raises(UsageError, match="no kind of URL"):
        Url("gopher://old/clip.mp4").exists()
    with pytest.raises(UsageError, match="pip install 'deid-video\\[cloud\\]'"):
        with _without("gcsfs"):
            Url("gs://bucket/clip.mp4").exists()
    with pytest.raises(InputError, match="localhost:1.clip.mp4 cannot be reached"):
        Url("https://localhost:1/clip.mp4").stamp()


def test_from_the_web(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="no aiohttp: pip install 'deid-video[cloud]'")
    (tmp_path / "a.mp4").write_bytes(b"a clip")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = Url(f"http://127.0.0.1:{server.server_port}")
        with fetched(base / "a.mp4?signature=secret") as (local, _):
            assert local.read_bytes() == b"a clip" and local.name == "a.mp4"
        with pytest.raises(InputNotFound, match="there is no http://127.0.0.1:[0-9]+/b.mp4; "):
            with fetched(base / "b.mp4?signature=secret"):
                pass
        with pytest.raises(UsageError, match="http:// is only read"):
            with delivered(base / "c.mp4", overwrite=True) as local:
                raise AssertionError
        server.shutdown()
    with pytest.raises(InputError, match="a.mp4 cannot be reached"):
        with fetched(base / "a.mp4"):
            pass


class _without:
    """No such package."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = sys.modules.get(self._name)
        sys.modules[self._name] = None  # type: ignore[assignment]

    def __exit__(self, *exc: object) -> None:
        del sys.modules[self._name]
        if self._before is not None:
            sys.modules[self._name] = self._before
