"""What memory is free, and when it goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from deid import memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux tells")
def test_a_container_s_limit_counts_and_none_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.free_memory()
    assert whole is not None and whole > 0
    limit, used = tmp_path / "limit", tmp_path / "used"
    monkeypatch.setattr(memory, "_CONTAINER", ((str(limit), str(used)),))
    limit.write_text("max\n")
    used.write_text("1000\n")
    assert (memory.free_memory() or 0) > 5000
    limit.write_text("6000\n")
    assert memory.free_memory() == 5000
    used.write_text("7000\n")
    assert memory.free_memory() == 0


@pytest.mark.parametrize(("free", "returned"), [(1 << 50, 0), (1 << 20, 1), (None, 1)])
def test_memory_is_returned_unless_it_is_plenty(free: int | None, returned: int, monkeypatch) -> None:
    trims: list[int] = []

    class Library:
        malloc_trim = staticmethod(trims.append)

    monkeypatch.setattr(memory, "free_memory", lambda: free)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    memory.return_memory()
    assert len(trims) == returned
