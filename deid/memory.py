"""How the C library's allocator keeps memory: by its own rules a run takes a third more than it uses.

Frames are made in one thread and freed in another. glibc gives every thread an arena of its own and, once a large block
has been freed, cuts later ones of up to 32 MB out of these arenas, where what lives longer keeps the holes between from
being used or returned. One arena, and blocks of their own for what is large, cost a fiftieth of the time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE, _KEPT = 6 << 20, 64 << 20
_LARGE_AT_EASE, _KEPT_AT_EASE = 32 << 20, 160 << 20  # a search's tensors are used again instead of mapped anew
_PLENTY = 4 << 30  # bytes free, three times what a run takes
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""A container's limit and what it uses already: control groups, version 2 and 1."""


def keep_memory_together(*, at_ease: bool = False) -> None:
    """Set glibc's allocator up for a run; elsewhere nothing happens. It holds for the whole process, so only the
    command does it, before it makes threads. ``at_ease``: the run has memory to spare; larger blocks are kept, which
    saves the system half of its work on them for some 30 MB."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _LARGE_AT_EASE if at_ease else _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT_AT_EASE if at_ease else _KEPT)


def keep_blas_to_one_thread() -> None:
    """For products of small matrices: every copy of OpenBLAS starts a thread a core where it is loaded, and these spin
    for work that one thread does sooner. Limits set afterwards reach only what is loaded by then. What the user has set
    stays. Only the command does it, before NumPy is loaded."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def return_memory() -> None:
    """Give freed memory back to the system: glibc keeps what a large network took, and what follows would come on top
    of it. Where memory is plenty it is kept and used again: the system would have to clear all of it once more, a
    twentieth of a short run's time."""
    free = free_memory()
    if free is not None and free >= _PLENTY:
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int | None:
    """Bytes that this process may take without anything else having to go; ``None`` where nobody tells."""
    found: list[int] = []
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    for limit, used in _CONTAINER:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(min(found), 0) if found else None


def peak_memory() -> int:
    """Most resident memory of this process so far, in bytes. Linux's ``ru_maxrss`` would count what the process held
    that started this one, so it is asked only where nothing better exists."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
