"""What all commands share with the shell: signals, messages, results, and native libraries' chatter."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO, TypeVar

import click

from deid.config import parse_time
from deid.errors import OutputError

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Stopped(BaseException):
    """A signal asked the program to stop. Like :class:`KeyboardInterrupt`, no :class:`Exception`; unlike it, click
    leaves it alone."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.left = "and left no output"
        """How things stand now, for the message."""

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class StopRequest:
    """Turns the first SIGINT, SIGTERM or SIGHUP into :class:`Stopped`, so that every context manager cleans up.

    Later signals are ignored: a second Ctrl-C must not break the clean-up that the first one began.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._armed = True

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self._armed and self._signum is None:
            self._signum = signum
            raise Stopped(signum)

    def check(self) -> None:
        """Raise again what an earlier handler raised where nobody could catch it."""
        if self._armed and self._signum is not None:
            raise Stopped(self._signum)

    def disarm(self) -> None:
        """The work is done and stays: too late to stop."""
        self._armed = False

    @contextmanager
    def installed(self, *, until_exit: bool) -> Iterator[None]:
        """Handle the signals inside the block. Afterwards they are ignored if the process ends then (``until_exit``: a
        late Ctrl-C must not disturb the interpreter's own clean-up), or handled as before."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # nohup and background jobs start with signals ignored, and mean it
                if signal.getsignal(signum) is not signal.SIG_IGN:
                    before[signum] = signal.signal(signum, self.handle)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, signal.SIG_IGN if until_exit else handler)


def open_standard_streams() -> None:
    """Open those of the three standard descriptors that the caller closed: the next file opened would take their
    number, and messages would be written into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


@contextmanager
def quiet_libraries(debug: bool) -> Iterator[None]:
    """Keep what native libraries write to file descriptor 2 away from the terminal; ``sys.stderr`` stays.

    Their notes (codec warnings, delegate start-up) are no messages of ours, and standard error promises one sentence a
    failure. With ``debug`` everything shows.
    """
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(name)s: %(message)s" if debug else "deid: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    logging.getLogger("numba").setLevel(logging.WARNING)  # at DEBUG it prints every function it compiles
    if debug:
        yield
        return
    for noisy in ("absl", "jax", "matplotlib", "libav", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    original = sys.stderr
    hooks = threading.excepthook, sys.unraisablehook
    shown = os.dup(2)
    with os.fdopen(shown, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as stream:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        if _is_descriptor(original, 2):
            sys.stderr = stream
            logging.basicConfig(level=logging.WARNING, format="deid: %(message)s", stream=stream, force=True)
        # what fails in a thread reaches the main thread as an error with a sentence of its own
        threading.excepthook = lambda failure: None
        sys.unraisablehook = lambda failure: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            threading.excepthook, sys.unraisablehook = hooks
            sys.stderr = original
            os.dup2(shown, 2)


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False


def say(text: str) -> None:
    """One line on standard error; nobody listening there is no reason to fail."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"deid: {' '.join(text.split())}\n")
        sys.stderr.flush()


def emit(text: str) -> None:
    """Write a result to standard output. A reader that has gone away (``| head``) is not an error.

    Raises :class:`~deid.errors.OutputError` when the text cannot be written.
    """
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        raise OutputError(f"the result cannot be written to standard output ({error.strerror}).") from error


def emit_json(value: dict[str, Any]) -> None:
    emit(json.dumps(value, indent=2, ensure_ascii=False))


def _discard_stdout() -> None:
    """So that the interpreter's last flush does not fail a second time."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), sys.stdout.fileno())


class TimeParam(click.ParamType):
    """Seconds, ``M:SS.s`` or ``H:MM:SS.s``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else parse_time(value)


def _noted(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Where settings come from has been seen to already (:mod:`deid.settings`); some commands want to know it."""
    context.meta[f"deid.{option.name}"] = value


def common_options(command: _Command) -> _Command:
    """``--json``, ``--quiet`` and ``--debug``, and where settings come from: the same for every command."""
    for option in (
        click.option("--no-config", is_flag=True, expose_value=False, callback=_noted,
                     help="Take no settings from files."),
        click.option("--config", metavar="FILE", expose_value=False, callback=_noted,
                     help="Take settings from this file alone.  [default: every deid.toml beside the input, "
                     "here, and in the user's folder]"),
        click.option("--debug", is_flag=True, help="Show tracebacks and everything the libraries log."),
        click.option("--quiet", is_flag=True, help="No progress and no summary; warnings and errors still show."),
        click.option("--json", "as_json", is_flag=True, help="Print the result, or the error, as JSON on stdout."),
    ):  # fmt: skip
        command = option(command)
    return command
