"""Independent pieces of work on two cores, between the passes, when nothing else runs.

Results come in the order of the pieces and depend on nothing else. What a piece hands out itself is worked on where it
is: it would wait for what it keeps from starting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_MOST = 2  # threads
_NAME = "beside"
_LOCK = threading.Lock()
_ALLOWED = [_MOST]
_POOL: list[ThreadPoolExecutor] = []

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def allow(threads: int) -> None:
    """How many threads the run that begins now may use; with one, pieces are worked on where they are handed out."""
    _ALLOWED[0] = min(threads, _MOST)


def side_by_side(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """``work`` of every piece, in order; on several threads all are begun at once. Raises what the first that fails
    raises."""
    if _ALLOWED[0] < 2 or threading.current_thread().name.startswith(_NAME):  # whose work waits for the same threads
        return map(work, pieces)
    with _LOCK:
        if not _POOL:
            _POOL.append(ThreadPoolExecutor(_MOST, thread_name_prefix=_NAME))
        return _POOL[0].map(work, pieces)  # which begins them all


def rest() -> None:
    """End the threads, once they are through, and with them the memory that each keeps for pictures. Whoever has work
    again gets new ones."""
    with _LOCK:
        pools = _POOL[:]
        _POOL.clear()
    for pool in pools:
        pool.shutdown(wait=True)


def halves(count: int) -> tuple[slice, ...]:
    """``count`` rows as two slices, the first no longer than the second; one where there are few."""
    return (slice(0, count // 2), slice(count // 2, count)) if count > 3 else (slice(0, count),)
