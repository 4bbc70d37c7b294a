"""``python -m deid`` and the command ``deid``."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from typing import NoReturn

_GARBAGE = (20_000, 20, 50)
"""When to collect garbage: what loading makes is kept, and to look through it again and again costs half a second."""


def main() -> NoReturn:
    """The command line. Until it handles signals itself there is nothing to clean up, so that Ctrl-C while its modules
    load just ends the process, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(*_GARBAGE)
    from deid.cli import main as run

    try:
        run()
    except SystemExit as end:
        _leave(end)
        raise
    finally:
        gc.freeze()  # the process ends: nobody needs its garbage sorted


def _leave(end: SystemExit) -> None:
    """End the process here where all went well and no thread is left: to take an interpreter with all that a run loads
    apart, piece by piece, takes a tenth of a second. Elsewhere nothing happens."""
    if end.code or threading.active_count() > 1:
        return
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # which the interpreter's own end tells of
        return
    os._exit(0)


if __name__ == "__main__":
    main()
