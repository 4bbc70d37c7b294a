"""One file, in a process of its own: a crash, a kill or a hang is that file's failure and nobody else's.

The task comes as JSON on standard input, messages go as JSON lines to what standard output was. The copy is finished in
a folder that nobody looks into; the process that started this one gives it its name. A source by URL is fetched into a
file without a name, a copy for a URL goes to a hidden place there.

Messages, by ``t``: ``content`` (``is``: the source's SHA-256, ``stamp``), ``same`` (it is what it was when the work was
done before), ``stage`` (``name``, ``total``), ``done`` (``n``), ``note`` (``text``), ``end`` (``report``, ``output``,
``personas``, ``page``), ``people`` (``people``), ``audit`` (``audit``, ``page``), ``fail`` (``code``, ``message``).
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deid.batch.files import content_of, stamp_of
from deid.config import RunConfig
from deid.errors import DeidError, InputError, UsageError
from deid.progress import Progress
from deid.remote import Url, fetched, place_of, private_folder, put_and_forget

if TYPE_CHECKING:
    from deid.batch.people import Planned

_PR_SET_PDEATHSIG = 1  # prctl.h
_OFTEN = 0.2  # seconds between two messages about how far it is


class Channel:
    """Where messages go, a JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, kind: str, **values: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps({"t": kind, **values}) + "\n")
            self._stream.flush()


class _Told(Progress):
    """Progress that another process shows."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._sent = 0.0

    def note(self, text: str) -> None:
        self._channel.send("note", text=text)

    def _begin(self) -> None:
        self._channel.send("stage", name=self._name, total=self._total)

    def _update(self) -> None:
        now = time.monotonic()
        if now - self._sent >= _OFTEN:
            self._sent = now
            self._channel.send("done", n=self._done)


def main() -> None:
    """Do the task on standard input; the exit code is that of :mod:`deid.errors`."""
    die_with_parent()
    # Native libraries print: what they print must not pass for a message.
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()
    code = 0
    try:
        _work(task, channel)
    except Exception as failure:
        from deid.cli import explain

        if task.get("debug"):
            import traceback

            traceback.print_exc()
        message, code = explain(failure)
        channel.send("fail", code=code, message=message)
    finally:
        sys.stderr.flush()
    os._exit(code)  # nothing is left to be tidied, and native libraries' threads have hung at exit before


def die_with_parent() -> None:
    """Whatever kills the process that started this one kills this one; the system may kill this one first."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")


def _watch_parent() -> None:
    """Standard input ends when the batch does, however it does."""
    with suppress(OSError, ValueError):
        while os.read(0, 1):
            pass
    os._exit(1)


def _work(task: dict[str, Any], channel: Channel) -> None:
    source = place_of(task["source"])
    progress = _Told(channel)
    progress.stage("reading")
    require_same_place(task)
    with ExitStack() as stack:
        try:
            stamp = stamp_of(source)
            if isinstance(source, Url):
                local, content = stack.enter_context(fetched(source, progress.advance))
            else:
                local, content = source, content_of(source, progress.advance)
        except OSError as error:
            raise InputError(f"{source} cannot be read ({error.strerror}); check who may read it.") from error
        channel.send("content", **{"is": content, "stamp": stamp})
        if content == task["unless"]:
            channel.send("same")
            return
        if task["planned"] is not None and content != task["planned"]:
            raise DeidError(f"{source} changed since people were looked for; run the batch again.")
        from deid.memory import keep_memory_together

        keep_memory_together(at_ease=True)
        config = RunConfig(**task["config"])
        if task["kind"] == "people":
            channel.send("people", people=_people(local, config, progress))
        elif task["kind"] == "audit":
            _audit(task, local, config, progress, channel, stack)
        else:
            seeded = replace(config, seed=_seed(task, content))
            _run(task, local, seeded, progress, channel, _unchanged(source, stamp), stack)
        _unchanged(source, stamp)()


def _unchanged(source: Path | Url, stamp: str) -> Callable[[], None]:
    def check() -> None:
        if stamp_of(source) != stamp:
            raise DeidError(f"{source} changed while it was read; let whatever writes it finish first.")

    return check


def require_same_place(task: dict[str, Any]) -> None:
    """Whether DST is, on this machine, the folder that the batch gives names in."""
    if task.get("proof") is None:
        return
    path, text = task["proof"]
    with suppress(OSError):
        if Path(path).read_text() == text:
            return
    raise UsageError(
        f"{Path(path).parent.parent.parent} is not the same folder on {socket.gethostname()}; put sources and DST "
        "where every machine sees them under one name, or name both by URL."
    )


def _seed(task: dict[str, Any], content: str) -> int:
    """The one that was asked for, or one that follows from the batch's secret and the file."""
    from deid.keys import seed_from

    if task["seed"] is not None:
        return int(task["seed"])
    return seed_from(base64.b64decode(task["secret"]), content.encode())


def _people(source: Path, config: RunConfig, progress: Progress) -> list[dict[str, Any]]:
    """Who is in a file, as a run sees it."""
    from deid.batch.people import as_words
    from deid.listing import find_in

    return as_words(find_in(source, config, progress).people)


def _run(
    task: dict[str, Any], source: Path, config: RunConfig, progress: Progress, channel: Channel,
    unchanged: Callable[[], None], stack: ExitStack,
) -> None:  # fmt: skip
    from deid.pipeline import run

    staging = place_of(task["staging"])
    folder = stack.enter_context(private_folder()) if isinstance(staging, Url) else staging
    folder.mkdir(parents=True, mode=0o700, exist_ok=isinstance(staging, Url))
    target = folder / task["name"]
    page = folder.with_name(f"{folder.name}.html") if folder is staging else folder / "page.html"
    if task["pages"]:
        config = replace(config, html=page)
    book: Planned | None = None
    if task["plan"] is not None:
        from deid.batch.people import Planned

        book = Planned.of_words(task["plan"])
    with progress:
        report = run(source, target, config, progress, book)
    unchanged()
    output = content_of(target)
    if isinstance(staging, Url):
        progress.stage("sending")
        put_and_forget(target, staging / task["name"], may_replace=True)
    told = page.read_text("utf-8") if task["pages"] and isinstance(staging, Url) else None
    personas = book.words() if book is not None else []
    channel.send("end", report=report.as_dict(), output=output, personas=personas, page=told)


def _audit(
    task: dict[str, Any], source: Path, config: RunConfig, progress: Progress, channel: Channel, stack: ExitStack
) -> None:
    """Judge the copy that is there."""
    from threadpoolctl import threadpool_limits

    from deid.audit.run import audit
    from deid.config import OBSCURING

    target = place_of(task["target"])
    if isinstance(target, Url):
        output, content = stack.enter_context(fetched(target, progress.advance))
    else:
        output, content = target, content_of(target, progress.advance)
    if content != task["output"]:
        raise DeidError(f"{target} is not what this batch made any more.")
    chose = () if config.engine in OBSCURING else ("dlib",)
    with progress, threadpool_limits(1, user_api="blas"):
        found = audit(
            source, output, recogniser=config.recogniser, threshold=config.recogniser_threshold,
            raw=config.recogniser_bgr, start=config.start, end=config.end, salvage=config.salvage, progress=progress,
            name=target.name, chose=chose, threads=max(1, config.threads // 2),
        )  # fmt: skip
    channel.send("audit", audit=found.report, page=found.html if task["pages"] else None)


if __name__ == "__main__":
    main()
