"""How a run tells how far it is: a bar on a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


def seconds_text(seconds: float) -> str:
    """``"4 s"``, ``"1:05"`` or ``"2:03:09"``."""
    whole = max(0, int(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """What a run reports to. This base class shows nothing; it is also the one to subclass.

    A run calls :meth:`stage` when a stage begins, :meth:`advance` for each unit done (frames, unless the name of the
    stage says otherwise), :meth:`note` for what a watching person should know, and :meth:`close` at the end.

    ``check`` is called by :meth:`stage` and :meth:`advance` and may raise to stop the run. It makes a request to stop
    sure to be seen: an exception raised by a signal handler is lost if it strikes inside a destructor.
    """

    def __init__(self, check: Callable[[], None] | None = None) -> None:
        self._check = check
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began = time.monotonic()

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; ``total`` is the number of its units, or ``None`` if nobody knows."""
        if self._check is not None:
            self._check()
        if self._name:
            self._end()
        self._name, self._total, self._done, self._began = name, total, 0, time.monotonic()
        self._begin()

    def advance(self, n: int = 1) -> None:
        """``n`` more units of the stage are done."""
        if self._check is not None:
            self._check()
        self._done += n
        self._update()

    def note(self, text: str) -> None:
        """Something worth telling a person who watches."""

    def close(self) -> None:
        """The run is over, well or not; may be called more than once."""
        if self._name:
            self._end()
            self._name = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None: ...

    def _update(self) -> None: ...

    def _end(self) -> None: ...


class QuietProgress(Progress):
    """Shows nothing."""


class PlainProgress(Progress):
    """Whole lines, for logs and pipes: at most one every ``interval`` seconds, so that a short run writes none."""

    def __init__(
        self, stream: TextIO | None = None, interval: float = 5.0, check: Callable[[], None] | None = None
    ) -> None:
        super().__init__(check)
        self._stream = sys.stderr if stream is None else stream
        self._interval = interval
        self._written = time.monotonic()

    def note(self, text: str) -> None:
        self._line(text)

    def _update(self) -> None:
        now = time.monotonic()
        if now - self._written < self._interval:
            return
        self._written = now
        rate = self._done / max(now - self._began, 1e-9)
        parts = [f"{self._done} done", f"{rate:.1f}/s"]
        if self._total:
            # The total is the container's claim, which the decoder may prove too low.
            total = max(self._total, self._done)
            parts[0] = f"{self._done} of {total} ({100 * self._done // total} %)"
            parts.append(f"{seconds_text((total - self._done) / max(rate, 1e-9))} left")
        self._line(f"{self._name}: {', '.join(parts)}")

    def _line(self, text: str) -> None:
        _write(self._stream, f"{text}\n")


class TerminalProgress(Progress):
    """A bar with rate and time left, drawn by rich on standard error."""

    def __init__(self, stream: TextIO | None = None, check: Callable[[], None] | None = None) -> None:
        super().__init__(check)
        self._stream = sys.stderr if stream is None else stream
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        if self._bars is None:
            _write(self._stream, f"{text}\n")
        else:
            self._bars.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        super().close()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _begin(self) -> None:
        if self._bars is None:
            self._bars = _rich_bars(self._stream)
            self._bars.start()
        self._task = self._bars.add_task(self._name, total=self._total)

    def _update(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._done)

    def _end(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.stop_task(self._task)


def _rich_bars(stream: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:6.1f}/s" if speed else "", style="progress.data.speed")

    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}" + "/" + "{task.total}"),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left,"),
        TimeElapsedColumn(),
    ]
    return Bars(*columns, console=Console(file=stream), refresh_per_second=5, expand=True)


def _write(stream: TextIO, text: str) -> None:
    """Nobody reading the progress is no reason to stop the run."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        pass


def progress_for(stream: TextIO, *, quiet: bool, check: Callable[[], None] | None = None) -> Progress:
    """The progress display that suits ``stream``: a bar if it is a terminal, else plain lines; nothing if ``quiet``."""
    if quiet:
        return QuietProgress(check)
    return TerminalProgress(stream, check) if stream.isatty() else PlainProgress(stream, check=check)
