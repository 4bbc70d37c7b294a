"""Keep start-up chatter of native libraries off the terminal, and nothing else."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NOISE = re.compile(
    rb"^(INFO: Created TensorFlow Lite"
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} .*(inference_feedback_manager|gl_context)\.cc)"
)
_one_at_a_time = threading.Lock()


@contextmanager
def native_noise_dropped() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and let through all but the known lines of noise.

    The descriptor belongs to the whole process: what other threads write meanwhile comes out at the end, late but
    complete, also when the block raises.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        original = os.dup(2)
        try:
            os.dup2(held.fileno(), 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _NOISE.match(line):
                    os.write(2, line)
