"""The same tasks on other machines: Ray carries them there and their messages back.

What runs there is the same process that runs here (:mod:`deid.batch.worker`), started by a Ray task and killed with it.
Ray is told to try nothing again: how often a file is tried, and that its copy gets a name once, is the ledger's, which
only the batch's own process writes. Each attempt finishes its copy in a place of its own, so that one that was given up
for lost and lives on can spoil nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from deid import __version__
from deid.batch import pool
from deid.batch.pool import how_it_ended
from deid.config import available_cores
from deid.errors import DeidError, UsageError

_PATIENCE = 5.0  # seconds
_STORE = 128 << 20  # bytes
_LOST = "the machine or process that it ran on was lost."


@dataclass(slots=True, eq=False)
class Errand:
    """One task somewhere. As :class:`deid.batch.pool.Worker`. ``lost``: nothing came back."""

    name: str
    began: float
    messages: Any
    hung: bool = False
    code: int | None = None
    lost: bool = False

    def how_it_ended(self) -> tuple[int, str]:
        if self.lost or self.code is None:
            return 1, _LOST
        return how_it_ended(self.code, self.hung)


class Cluster:
    """A Ray cluster: the one at ``address`` (``auto`` or HOST:PORT), or a new one of this machine alone. A context
    manager.

    ``cores`` and ``gpus``: what each task takes. ``size``: tasks at a time; ``None``: as many as there is room for.
    Raises :class:`UsageError` where Ray is not installed or the address is none of those, and :class:`DeidError` where
    the cluster cannot be reached."""

    def __init__(
        self, address: str | None, size: int | None, stall: float, *, cores: int, gpus: float = 0.0, debug: bool = False
    ) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._size, self._stall, self._debug = size, stall, debug
        self._cores, self._gpus = cores, gpus

    def __enter__(self) -> Cluster:
        ray = _ray()
        if self._address is not None and self._address.startswith("ray://"):
            raise UsageError(
                "--address takes auto or HOST:PORT, from a machine of the cluster; ray:// cannot bring messages back."
            )
        _require_answer(self._address)
        own: dict[str, Any] = {"address": self._address}
        if self._address is None:  # messages are small
            cores = max(available_cores(), self._cores)
            own = {"address": "local", "num_cpus": cores, "object_store_memory": _STORE, "include_dashboard": False}
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                **own, log_to_driver=self._debug, configure_logging=True,
                logging_level=logging.DEBUG if self._debug else logging.CRITICAL,
            )  # fmt: skip
        except Exception as error:
            raise _none_there(self._address or "a new one of this machine", error) from error
        finally:
            with suppress(ValueError, TypeError):
                signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ray().shutdown()

    def crew(self) -> Errands:
        """For the tasks of one pass over the files."""
        ray = _ray()
        there = ray.cluster_resources()
        if self._gpus and there.get("GPU", 0) < self._gpus:
            raise UsageError(f"no machine of the cluster has the {self._gpus:g} GPUs of --gpus; leave it out.")
        room = int(there.get("CPU", 1) // self._cores)
        if self._gpus:
            room = min(room, int(there["GPU"] // self._gpus))
        cores = min(self._cores, int(there.get("CPU", 1)))
        task = ray.remote(
            num_cpus=cores, num_gpus=self._gpus, max_retries=0, num_returns="streaming", max_calls=1
        )(serve)  # fmt: skip
        return Errands(task, self._size or max(1, room), self._stall, self._debug)


class Errands:
    """Tasks at work on a cluster, at most ``size``. As :class:`deid.batch.pool.Pool`."""

    def __init__(self, task: Any, size: int, stall: float, debug: bool) -> None:
        self._task, self._size, self._stall, self._debug = task, size, stall, debug
        self._errands: list[Errand] = []

    def __enter__(self) -> Errands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray = _ray()
        for errand in self._errands:
            with suppress(Exception):  # whatever it was doing, nobody waits for it any more
                ray.cancel(errand.messages, force=True)
        self._errands.clear()

    @property
    def has_room(self) -> bool:
        return len(self._errands) < self._size

    def start(self, name: str, task: dict[str, Any]) -> None:
        messages = self._task.remote(task, self._stall, self._debug, pool._ENTRY, __version__)
        self._errands.append(Errand(name, time.monotonic(), messages))

    def listen(self, seconds: float) -> Iterator[tuple[str, dict[str, Any] | None, Errand]]:
        """As :meth:`deid.batch.pool.Pool.listen`."""
        if not self._errands:
            return
        ray = _ray()
        by_messages = {errand.messages: errand for errand in self._errands}
        ready, _ = ray.wait(list(by_messages), timeout=seconds, num_returns=1)
        for messages in ready:
            errand = by_messages[messages]
            message: dict[str, Any] | None = None
            try:
                message = ray.get(next(messages))
            except StopIteration:
                errand.lost = errand.code is None
            except ray.exceptions.RayError:
                errand.lost = True
            if message is not None and message["t"] != "over":
                yield errand.name, message, errand
                continue
            if message is not None:
                errand.code, errand.hung = message["code"], message["hung"]
            self._errands.remove(errand)
            yield errand.name, None, errand


def serve(task: dict[str, Any], stall: float, debug: bool, entry: str, version: str) -> Iterator[dict[str, Any]]:
    """What runs on a machine of the cluster: a worker's messages, and at last how it ended."""
    if version != __version__:
        told = f"a machine of the cluster has deid {__version__}, and the batch is of {version}; install one version."
        yield {"t": "fail", "code": UsageError.exit_code, "message": told}
        yield {"t": "over", "code": UsageError.exit_code, "hung": False}
        return
    pool._ENTRY = entry
    with pool.Pool(1, stall, debug) as crew:
        crew.start("", task)
        while True:
            for _, message, worker in crew.listen(0.2):
                if message is not None:
                    yield message
                    continue
                yield {"t": "over", "code": worker.code, "hung": worker.hung}
                return


def _require_answer(address: str | None) -> None:
    """Ray itself waits minutes for a machine that does not answer, and then ends the process."""
    if address is None or ":" not in address:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _none_there(address, error) from error


def _none_there(where: str, error: Exception) -> DeidError:
    reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
    return DeidError(f"there is no Ray cluster at {where} ({reason}); check --address, and that it runs.")


def _ray() -> Any:
    # a run tells nobody anything, and a variable that hides no GPU from tasks without one is not worth a warning
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--executor ray needs a package that is not installed: pip install 'deid-video[ray]'."
        ) from error
    return ray
