"""How the command's process ends: at once where all went well, and with everything that was to be said or done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_COMMAND = """
import atexit, os, sys, threading, time
import deid.__main__, deid.cli

leave = os._exit

def at_once(code):
    os.write(1, b"left at once")
    leave(code)

os._exit = at_once

def run():
    sys.stdout.write("said ")  # and not flushed
    {before}
    sys.exit({code})

deid.cli.main = run
atexit.register(lambda: sys.stdout.write("tidied "))
deid.__main__.main()
"""
_WAITED = 'threading.Thread(target=lambda: (time.sleep(0.3), sys.stdout.write("worked ")), daemon={}).start()'


def _run(code: str, before: str = "pass") -> tuple[int, str]:
    words = [sys.executable, "-c", _COMMAND.format(code=code, before=before)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_success_ends_at_once_but_says_and_tidies_everything() -> None:
    for code in ("0", ""):
        assert _run(code) == (0, "said tidied left at once")


def test_failure_ends_as_ever_and_keeps_its_code() -> None:
    code, words = _run("7")
    assert code == 7
    assert words == "said tidied "


def test_threads_at_work_are_waited_for() -> None:
    code, words = _run("0", _WAITED.format(False))
    assert code == 0
    assert words == "said worked tidied "


def test_output_that_cannot_be_written_is_no_success() -> None:
    full = Path("/dev/full")
    if not full.exists():
        return
    with full.open("w") as out:
        words = [sys.executable, "-c", _COMMAND.format(code="0", before="pass")]
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode != 0
