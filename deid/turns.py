"""Turns for threads that paint: one works in Python at a time, the others in compiled loops or not at all.

The interpreter lets one thread at a time work in Python anyway, and every compiled loop gives its lock up. A thread
that waits for that lock is woken each time, some hundred times a frame, mostly to find that the other has it back
already: a sixth of the work of painting. Threads that wait here for their turn sleep until a loop that is worth it
begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_TURN = threading.Lock()
_OURS = threading.local()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for the turn, and keep it but for what is done :func:`aside`. A thread that has it already goes on."""
    if getattr(_OURS, "held", False):
        yield
        return
    with _TURN:
        _OURS.held = True
        try:
            yield
        finally:
            _OURS.held = False


def aside(work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """``work(*args)``, a compiled loop of a tenth of a millisecond or more that does without the interpreter's lock:
    another thread may take its turn meanwhile."""
    if not getattr(_OURS, "held", False):
        return work(*args, **options)
    _OURS.held = False
    _TURN.release()
    try:
        return work(*args, **options)
    finally:
        _TURN.acquire()
        _OURS.held = True
