"""Worker processes: started, listened to, and ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Protocol

_ENTRY = "import sys; sys.path[:] = sys.argv[1].split(chr(10)); from deid.batch.worker import main; main()"
_PATIENCE = 5.0  # seconds that a process has to end when asked to
_BUSY = 0.05  # of a core
_FAR_LONGER = 8


@dataclass(slots=True, eq=False)
class Worker:
    """One process. ``name``: what its task is called. ``heard``: when it last told something, by the monotonic clock.
    ``hung``: it was killed because it no longer did."""

    name: str
    process: subprocess.Popen[bytes]
    heard: float
    began: float
    hung: bool = False
    _used: float | None = field(default=None, repr=False)
    _rest: bytes = field(default=b"", repr=False)

    @property
    def code(self) -> int | None:
        """The exit code of a process that has ended, below zero for a signal."""
        return self.process.returncode

    def how_it_ended(self) -> tuple[int, str]:
        """(exit code, sentence) for a process that ended without saying why."""
        return how_it_ended(self.process.returncode, self.hung)

    def is_stuck(self, stall: float) -> bool:
        """Whether it has said nothing for ``stall`` seconds and did next to nothing, or for far longer: a long shot
        is worked on for minutes without a word."""
        silent = time.monotonic() - self.heard
        if silent < min(1.0, stall / 2):
            self._used = None
        elif self._used is None:
            self._used = _processor_time(self.process.pid)
        if silent <= stall:
            return False
        used = _processor_time(self.process.pid)
        busy = used is not None and self._used is not None and used - self._used > _BUSY * silent
        return not busy or silent > _FAR_LONGER * stall

    def lines(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Whole messages out of what arrived."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            with suppress(ValueError):
                yield json.loads(line)


class Hand(Protocol):
    """Who does a task, on this machine or another. As :class:`Worker`."""

    @property
    def name(self) -> str: ...

    @property
    def began(self) -> float: ...

    @property
    def hung(self) -> bool: ...

    @property
    def code(self) -> int | None: ...

    def how_it_ended(self) -> tuple[int, str]: ...


class Crew(Protocol):
    """Where tasks go. As :class:`Pool`."""

    def __enter__(self) -> Crew: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def has_room(self) -> bool: ...

    def start(self, name: str, task: dict[str, Any]) -> None: ...

    def listen(self, seconds: float) -> Iterator[tuple[str, dict[str, Any] | None, Hand]]: ...


class Pool:
    """At most ``size`` processes at a time; what is stuck for ``stall`` seconds is killed. A context manager:
    leaving it ends all of them.

    ``debug``: what they print to standard error shows."""

    def __init__(self, size: int, stall: float, debug: bool = False) -> None:
        self._size, self._stall, self._debug = size, stall, debug
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        limit = time.monotonic() + _PATIENCE
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._close(worker)
        self._workers.clear()
        self._selector.close()

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._workers)

    @property
    def has_room(self) -> bool:
        """Whether one more may start."""
        return len(self._workers) < self._size

    def start(self, name: str, task: dict[str, Any]) -> None:
        """Give ``task`` to a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-c", _ENTRY, "\n".join(path or os.getcwd() for path in sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self._debug else subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the batch, which ends its workers itself
        )
        now = time.monotonic()
        worker = Worker(name, process, now, now)
        self._workers.append(worker)
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        with suppress(BrokenPipeError):  # a process that ends before it reads says so by its exit code
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()

    def listen(self, seconds: float) -> Iterator[tuple[str, dict[str, Any] | None, Worker]]:
        """What arrives within ``seconds``: (name, message, worker); ``None`` once the process has ended and everything
        it said was told."""
        ready = self._selector.select(seconds) if self._workers else []
        for key, _ in ready:
            worker: Worker = key.data
            data, ended = _read(key.fileobj)
            if data:
                worker.heard = time.monotonic()
            for message in worker.lines(data):
                yield worker.name, message, worker
            if ended:
                self._finish(worker)
                yield worker.name, None, worker
        for worker in self._workers:
            if worker.is_stuck(self._stall):
                worker.hung = True
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)

    def _finish(self, worker: Worker) -> None:
        try:
            worker.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        self._close(worker)
        self._workers.remove(worker)

    def _close(self, worker: Worker) -> None:
        stdout, stdin = worker.process.stdout, worker.process.stdin
        if stdout is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(stdout)
            stdout.close()
        if stdin is not None:
            with suppress(OSError):
                stdin.close()


def _processor_time(pid: int) -> float | None:
    """Seconds that a process has used, ``None`` where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _read(stream: Any) -> tuple[bytes, bool]:
    """What is there to be read, and whether that was all."""
    parts: list[bytes] = []
    reader: IO[bytes] = stream
    while True:
        try:
            part = os.read(reader.fileno(), 1 << 16)
        except BlockingIOError:
            return b"".join(parts), False
        if not part:
            return b"".join(parts), True
        parts.append(part)


def how_it_ended(code: int, hung: bool) -> tuple[int, str]:
    """See :meth:`Worker.how_it_ended`."""
    if hung:
        return 1, "it told nothing for so long that it was taken for hung, and killed; --stall SECONDS waits longer."
    if code == -signal.SIGKILL:
        return 1, "its process was killed, probably for want of memory; fewer --jobs or --max-height need less."
    if code < 0:
        return 1, f"its process crashed ({signal.Signals(-code).name}); run the file by itself with --debug."
    return 1, f"its process ended with code {code} and said nothing; run the file by itself with --debug."
