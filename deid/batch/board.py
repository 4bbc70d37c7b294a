"""How a batch tells how far it is: a table on a terminal, plain lines in a log, or nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from deid.progress import seconds_text

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_ROWS = 24
_OFTEN, _SELDOM = 0.25, 30.0  # seconds between two pictures of the table, and two lines that only say how far it is


@dataclass(slots=True)
class Line:
    """One file. ``state``: as people read it."""

    state: str = "waiting"
    stage: str = ""
    total: int | None = None
    done: int = 0
    began: float = 0.0
    text: str = ""
    order: float = 0.0


class Board:
    """Shows nothing; keeps what there is to show."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.what = ""
        self._began = time.monotonic()

    def begin(self, what: str, names: list[str]) -> None:
        """A pass over ``names`` begins."""
        self.what = what
        self._began = time.monotonic()
        self.lines = {name: self.lines.get(name, Line()) for name in names}
        for line in self.lines.values():
            line.state, line.stage = "waiting", ""

    def started(self, name: str) -> None:
        line = self.lines[name]
        line.state, line.began, line.stage, line.text = "working", time.monotonic(), "", ""
        line.order = line.began

    def told(self, name: str, message: dict[str, Any]) -> None:
        """What a worker said."""
        line = self.lines[name]
        if message["t"] == "stage":
            line.stage, line.total, line.done = message["name"], message["total"], 0
        elif message["t"] == "done":
            line.done = message["n"]

    def ended(self, name: str, state: str, text: str = "") -> None:
        line = self.lines[name]
        line.state, line.text, line.order = state, text, time.monotonic()

    def say(self, text: str) -> None:
        """Something worth telling a person who watches."""

    def turn(self) -> None:
        """Called again and again."""

    def close(self) -> None: ...

    def count(self, *states: str) -> int:
        return sum(line.state in states for line in self.lines.values())

    def standing(self) -> str:
        """How far it is, in a few words."""
        over = self.count("done", "as it was", "audited", "failed")
        parts = [f"{over} of {len(self.lines)} files"]
        if failed := self.count("failed"):
            parts.append(f"{failed} failed")
        if over and over < len(self.lines):
            left = (time.monotonic() - self._began) / over * (len(self.lines) - over)
            parts.append(f"about {seconds_text(left)} left")
        return f"{self.what}: {', '.join(parts)}"


class PlainBoard(Board):
    """Whole lines: one for each file that is through, and one now and then."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        self._said = time.monotonic()
        with suppress(OSError, ValueError):
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def ended(self, name: str, state: str, text: str = "") -> None:
        super().ended(name, state, text)
        took = seconds_text(time.monotonic() - self.lines[name].began)
        self.say(f"{name}: {state}{f' ({text})' if text else ''}, {took}; {self.standing()}")

    def turn(self) -> None:
        if time.monotonic() - self._said >= _SELDOM:
            working = [n for n, line in self.lines.items() if line.state == "working"]
            self.say(f"{self.standing()}; at work: {', '.join(working[:4])}")


class LiveBoard(Board):
    """A table that is drawn again and again, by rich: who is at work, who failed, who is through, who waits."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._live: Live | None = None
        self._drawn = 0.0

    def begin(self, what: str, names: list[str]) -> None:
        super().begin(what, names)
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._stream), auto_refresh=False, transient=False)
            self._live.start()

    def say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            with suppress(OSError, ValueError):
                self._stream.write(f"{text}\n")

    def turn(self) -> None:
        if self._live is not None and time.monotonic() - self._drawn >= _OFTEN:
            self._drawn = time.monotonic()
            self._live.update(self.table(), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._live.stop()
            self._live = None

    def table(self) -> Table:
        """What there is to see now."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.standing(), title_justify="left", expand=True, box=None, pad_edge=False)
        for heading, share in (("file", 3), ("", 1), ("", 3), ("time", 1)):
            table.add_column(heading, ratio=share, no_wrap=True, overflow="ellipsis")
        height = _ROWS if self._live is None else max(4, self._live.console.height - 4)
        rank = {"working": 0, "failed": 1, "again": 2, "done": 3, "audited": 3, "as it was": 4, "waiting": 5}
        shown = sorted(self.lines.items(), key=lambda item: (rank.get(item[1].state, 5), -item[1].order, item[0]))
        styles = {"working": "bold", "failed": "red", "done": "green", "audited": "green", "waiting": "dim"}
        for name, line in shown[:height]:
            end = time.monotonic() if line.state == "working" else line.order
            took = seconds_text(end - line.began) if line.began else ""
            what = _bar(line) if line.state == "working" else line.text
            table.add_row(Text(name), Text(line.state, styles.get(line.state, "")), Text(what), Text(took))
        if len(shown) > height:
            table.add_row(Text(f"and {len(shown) - height} more", "dim"), Text(""), Text(""), Text(""))
        return table


def _bar(line: Line) -> str:
    if not line.total:
        return line.stage
    share = min(1.0, line.done / line.total)
    return f"{'━' * round(12 * share):<12} {100 * share:3.0f} % {line.stage}"


def board_for(stream: TextIO, *, quiet: bool) -> Board:
    """What suits ``stream``: a table if it is a terminal, else plain lines; nothing if ``quiet``."""
    if quiet:
        return Board()
    return LiveBoard(stream) if stream.isatty() else PlainBoard(stream)
