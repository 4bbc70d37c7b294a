"""How threads are scheduled must not depend on an encoder.

SVT-AV1, when it may (as root, in containers for example), gives its threads and the one that opens it real-time
priority, for good: every thread and process begun afterwards inherits it, and two that wait for a third by spinning can
then keep it from ever running.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")


def _threads() -> set[int]:
    return {int(task.name) for task in _TASKS.iterdir()} if _TASKS.is_dir() else set()


@contextmanager
def unchanged() -> Iterator[None]:
    """Gives this thread, and real-time ones begun meanwhile, the scheduling back that this thread had before."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters, before = os.sched_getscheduler(0), os.sched_getparam(0), _threads()
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)
        for thread in _threads() - before:
            with suppress(OSError):  # it may have ended, or be no thread of an encoder's
                if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(thread, policy, parameters)
