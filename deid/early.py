"""Frames that the second pass need not wait for: the first, decoded while surrogates are chosen, when one core has
little to do, and the last, kept from the first pass."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType

from deid.memory import free_memory
from deid.types import Frame, MediaInfo

MOST = 64 << 20
"""Bytes of planes that may wait for the second pass to begin; the first pass's networks, which took more, are gone."""
KEPT = 64 << 20
"""Bytes of planes that are kept from the first pass."""
WHOLE = 224 << 20
"""Bytes of planes of a clip so short that all of it is kept: it is decoded once."""
_SPARE = 8  # times as much must be free
_BESIDE = 3  # frames that may wait once it has begun


class Early:
    """Iterate over ``frames``, once; they are read in a thread of its own, which begins at once and reads at most
    ``most`` bytes ahead, and only a few frames once they are asked for. What reading raises is raised where that frame
    is asked for. Use as a context manager: leaving it ends the thread."""

    def __init__(self, frames: Iterable[Frame], most: int = MOST) -> None:
        self._frames = frames
        self._most = most
        self._held: deque[Frame] = deque()
        self._bytes = 0
        self._begun = self._stopped = self._through = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="early", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        with self._changed:
            self._begun = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._through)
                if not self._held:
                    if self._error is not None:
                        raise self._error
                    return
                frame = self._held.popleft()
                self._bytes -= _size(frame)
                self._changed.notify_all()
            yield frame

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._changed:
                    self._held.append(frame)
                    self._bytes += _size(frame)
                    self._changed.notify_all()
                    self._changed.wait_for(self._wanted)
                    if self._stopped:
                        return
        except BaseException as error:  # raised again where the frame is asked for
            self._error = error
        finally:
            with self._changed:
                self._through = True
                self._changed.notify_all()

    def _wanted(self) -> bool:
        if self._stopped:
            return True
        return len(self._held) < _BESIDE if self._begun else self._bytes < self._most

    def __enter__(self) -> Early:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._held.clear()
            self._changed.notify_all()
        self._thread.join()


def room(info: MediaInfo, start: float | None = None, end: float | None = None) -> int:
    """Bytes of planes to keep of the first pass over the frames from ``start`` to ``end`` seconds: all where that is
    little and memory is plenty, else :data:`KEPT`."""
    if info.seconds is None:
        return KEPT
    seconds = max(0.0, min(info.seconds, end or info.seconds) - (start or 0.0))
    frames = info.frames or round(info.seconds * float(info.average_rate or 0))
    count = frames * seconds / max(info.seconds, 1e-6) + 1
    chroma = 0.0 if info.format.grey else 2 * 0.5 ** sum(info.format.chroma_shift)
    whole = count * info.width * info.height * (1 + chroma) * (1 if info.format.depth == 8 else 2)
    free = free_memory()
    # what is not kept is decoded while surrogates are chosen
    return WHOLE if free is not None and whole <= WHOLE + MOST and free >= _SPARE * WHOLE else KEPT


class Tail:
    """Keeps the last frames of a pass, of ``most`` bytes, so that the next one need not decode them again."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._held: deque[Frame] = deque()

    def passing(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """``frames``, the last of which are kept."""
        self._held.clear()
        held = 0
        for frame in frames:
            self._held.append(frame)
            held += _size(frame)
            while held > self._most:
                held -= _size(self._held.popleft())
            yield frame

    def after(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """``frames``, the same again; they are read as far as none is kept, and what is kept is let go one by one."""
        first = self._held[0].index if self._held else None
        if first != 0:
            for frame in frames:
                yield frame
                if first is not None and frame.index + 1 == first:
                    break
        while self._held:
            yield self._held.popleft()


def _size(frame: Frame) -> int:
    return sum(plane.nbytes for plane in frame.planes)
