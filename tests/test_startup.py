"""What it costs to begin: processor time, which does not depend on what else a machine is doing."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest


def _seconds(*words: str) -> float:
    """Processor time of ``deid`` with these words: the least of three, the first of which may write caches."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "deid", *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("run", "--help"), ("batch", "--help")])
def test_help_is_there_at_once(words: tuple[str, ...]) -> None:
    assert _seconds(*words) < 0.3
