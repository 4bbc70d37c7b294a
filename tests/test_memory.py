"""What is freed goes back to the system, though small things that live on lie between."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from deid.memory import keep_memory_together
{call}
def rss():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) / 1024
def work(_):
    frames = [np.ones(7 << 20, np.uint8) for _ in range(3)]
    return frames, np.ones(60000, np.uint8)
kept = []
before = rss()
with ThreadPoolExecutor(4) as pool:
    for _ in range(6):
        done = list(pool.map(work, range(8)))
        kept += [small for _, small in done]
        del done
print(rss() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_frames_leave_no_holes() -> None:
    program = _PROGRAM.format(call="keep_memory_together()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
