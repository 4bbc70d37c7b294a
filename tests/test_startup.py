"""What it costs to begin: processor time, which does not depend on what else a machine is doing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deid.progress import Progress


def _seconds(*words: str) -> float:
    """Processor time of ``deid`` with these words: the least of three, the first of which may write caches."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "deid", *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


class _Watching(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_says_when_it_has_to_compile_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a bar stands still for a minute, and nobody knows why."""
    from deid.models.morphable import fit_kernel
    from deid.pipeline import _Later

    name = fit_kernel.fit_sequence._cache._cache_file._index_name
    stand_in = SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path)))
    monkeypatch.setattr(fit_kernel, "fit_sequence", stand_in)
    first, later, obscuring = _Watching(), _Watching(), _Watching()
    _Later(lambda: SimpleNamespace(observer=None), first).observer()  # type: ignore[arg-type, return-value]
    _Later(lambda: None, obscuring).observer()
    (tmp_path / name).touch()
    _Later(lambda: SimpleNamespace(observer=None), later).observer()  # type: ignore[arg-type, return-value]
    assert len(first.notes) == 1 and "compiled" in first.notes[0]
    assert later.notes == [] and obscuring.notes == []


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("run", "--help"), ("batch", "--help")])
def test_help_is_there_at_once(words: tuple[str, ...]) -> None:
    assert _seconds(*words) < 0.3
