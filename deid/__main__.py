"""``python -m deid`` and the command ``deid``."""

from __future__ import annotations

import gc
import signal
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
    finally:
        gc.freeze()  # the process ends: nobody needs its garbage sorted


if __name__ == "__main__":
    main()
