"""Arrays that every frame needs and none keeps: each thread has its own, and uses them again.

A crop of a large face fills eight megabytes a copy. Asked for anew, the system finds and clears such memory page by
page, several times a frame: a twentieth of the work of painting.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

_OURS = threading.local()
_ROOM = 1.25  # faces come nearer by and by: growing by a few pixels each time would ask for new memory every time
_MOST = 64 << 20  # bytes that are kept; what is larger is rare, and goes back at once


def lent(name: str, shape: tuple[int, ...], kind: type[np.generic] = np.float32) -> np.ndarray:
    """An array of any content, which this thread gets again, with other content, when it next asks for ``name``."""
    count = math.prod(shape)
    kept: dict[str, np.ndarray[Any, Any]] = _OURS.__dict__.setdefault("kept", {})
    flat = kept.get(name)
    if flat is None or flat.size < count or flat.dtype != kind:
        flat = np.empty(round(count * _ROOM), kind)
        if flat.nbytes > _MOST:
            return flat[:count].reshape(shape)
        kept[name] = flat
    return flat[:count].reshape(shape)
