"""``python -m deid`` and the command ``deid``."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """The command line. Until it handles signals itself there is nothing to clean up, so that Ctrl-C while its modules
    load just ends the process, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deid.cli import main as run

    run()


if __name__ == "__main__":
    main()
