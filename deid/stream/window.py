"""The frames at hand: which faces are where in them, and which of them are ready to leave.

What happens to a face in a frame follows from what is seen up to the window's newest frame: a face that is found is
followed back to where it came from, a gap is bridged, a region grows before it must. What would be known later still
cannot be waited for; where a face was lost that may have been there all along, its place stays covered for as long as
the window is too short to tell (:func:`held_on`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deid.ahead import since
from deid.errors import UsageError
from deid.media.decode import SALVAGE_SECONDS
from deid.stream.sources import Stop
from deid.tracking import boxes
from deid.tracking.scan import Chunk
from deid.tracking.schedule import Schedule
from deid.tracking.stitch import BRIDGE_SECONDS, stitch
from deid.tracking.tracker import Tracker
from deid.types import Analysis, Evidence, Frame, MediaInfo, Shot, Track

_BATCH_SECONDS = 0.32  # frames that leave together
_LEAST_SECONDS = 0.12  # to look ahead, at least
_CUT_DELAY = 2  # frames by which cuts are known late
_PAST_SECONDS = 1.2  # what is seen of the time before
_KEPT_SECONDS = 4.0  # of what is followed
_INSIDE = 0.3  # share of a box within the picture from which on a lost face is still held to be there


@dataclass(frozen=True, slots=True)
class Timing:
    """How a delay is spent. ``delay``: seconds. ``rate``: frames a second, about. ``ahead``: seconds that are looked
    ahead of a frame before it leaves. ``batch``: frames that leave together. ``under_way``: frames that are read before
    those are looked at that come first."""

    delay: float
    rate: float
    ahead: float
    batch: int
    under_way: int

    @classmethod
    def of(cls, delay: float, rate: float, schedule: Schedule) -> Timing:
        """Raises :class:`UsageError` when so short a delay leaves nothing to look ahead."""
        batch = max(1, round(rate * _BATCH_SECONDS))
        # frames that are read before the tracker has a frame's successor: cuts are late, and searches are steps apart
        under_way = _CUT_DELAY + schedule.step + batch + 2
        ahead = delay - under_way / rate
        if ahead < _LEAST_SECONDS:
            raise UsageError(
                f"a delay of {delay:g} s is too short at {rate:.4g} frames a second; give --delay "
                f"{_LEAST_SECONDS + under_way / rate + 0.05:.1f} or more."
            )
        return cls(delay, rate, ahead, batch, under_way - batch)

    @property
    def settled(self) -> float:
        """Seconds from the first of a batch to what must have been looked at for it to leave."""
        return self.ahead + self.batch / self.rate


class Gate:
    """Lets frames in as long as the oldest that has not left is not older than the delay, and measures. From the
    thread that reads and the one that writes."""

    def __init__(self, timing: Timing, stop: Stop) -> None:
        self._timing, self._stop = timing, stop
        self._inside: deque[tuple[float, float]] = deque()  # time of the frame, time of day when it came
        self._moved = threading.Condition()
        self._newest = 0.0
        self._closed = False
        self.came = self.left = 0
        self.longest = 0.0
        """Seconds of the stream's own time that a frame has stayed, at most."""
        self.waits: list[float] = []
        """Seconds of the clock that frames have stayed, thinned out."""
        self._every = 1

    def passing(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """``frames``, each when there is room for it."""
        for frame in frames:
            at = frame.seconds
            with self._moved:
                while self._is_full(at) and not self._closed:
                    self._moved.wait(0.2)
                if self._closed:
                    return
                self._inside.append((at, time.monotonic()))
                self.came += 1
                self._newest = at
            yield frame

    def _is_full(self, at: float) -> bool:
        """Whether a frame of this time has to wait: never while what is inside could not leave without it."""
        needed = self._timing.under_way
        if len(self._inside) <= needed or at - self._inside[0][0] <= self._timing.delay + 1e-6:
            return False
        return self._inside[-needed][0] - self._inside[0][0] >= self._timing.settled

    def leave(self) -> None:
        """The oldest frame has left."""
        with self._moved:
            at, came = self._inside.popleft()
            self.longest = max(self.longest, self._newest - at)
            if self.left % self._every == 0:
                self.waits.append(time.monotonic() - came)
                if len(self.waits) > 4096:
                    self.waits, self._every = self.waits[::2], 2 * self._every
            self.left += 1
            self._moved.notify()

    def close(self) -> None:
        """Nothing more comes in."""
        with self._moved:
            self._closed = True
            self._moved.notify()


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Frames that are ready to leave, and what is known of the faces in them and around them. ``analysis``: its tracks
    begin and end where the window does. ``seconds``: times of all frames so far."""

    frames: Sequence[Frame]
    analysis: Analysis
    seconds: np.ndarray

    @property
    def begin(self) -> int:
        return self.frames[0].index

    @property
    def end(self) -> int:
        return self.frames[-1].index + 1


class Times:
    """Seconds of all frames so far, as an array that grows."""

    def __init__(self) -> None:
        self._values = np.zeros(1024)
        self._count = 0

    def append(self, value: float) -> None:
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.zeros(len(self._values))])
        self._values[self._count] = value
        self._count += 1

    def array(self) -> np.ndarray:
        """float64 (n,), a view."""
        return self._values[: self._count]


class Window:
    """Feed it every chunk after the tracker has seen it; it gives what is ready to leave."""

    def __init__(self, info: MediaInfo, timing: Timing) -> None:
        self._info, self._timing = info, timing
        self._waiting: deque[Frame] = deque()
        self._shots: list[int] = []
        self._times = Times()

    def __len__(self) -> int:
        return len(self._waiting)

    def feed(self, chunk: Chunk, tracker: Tracker) -> Iterator[Batch]:
        """Take the frames of a chunk, and give those that have been looked ahead of for long enough."""
        new = chunk.views if chunk.cut else chunk.views[1:]
        if chunk.cut:
            self._shots.append(new[0].index)
        for view in new:
            self._waiting.append(view.frame)
            self._times.append(view.frame.seconds)
        limit = self._ready()
        if limit - self._waiting[0].index >= self._timing.batch or self._is_late():
            yield from self._given(limit, tracker)
            tracker.forget(self._since(round(self._timing.rate * _KEPT_SECONDS)))

    def rest(self, tracker: Tracker) -> Iterator[Batch]:
        """All that is left at the end of the stream, after the tracker has finished."""
        while self._waiting:
            limit = min(self._waiting[0].index + self._timing.batch, self._waiting[-1].index + 1)
            yield from self._given(limit, tracker)

    def _ready(self) -> int:
        """The first frame that is not ready."""
        newest = self._waiting[-1].seconds
        ready = 0
        for frame in self._waiting:
            if newest - frame.seconds < self._timing.ahead - 1e-6:
                break
            ready += 1
        return self._waiting[0].index + ready

    def _is_late(self) -> bool:
        """Whether a whole batch would come too late: frames were dropped, and the next ones are far apart."""
        span = self._waiting[-1].seconds - self._waiting[0].seconds
        return span >= self._timing.settled - 1e-6

    def _since(self, frames: int) -> int:
        first = self._waiting[0].index if self._waiting else len(self._times.array())
        return max(0, first - frames)

    def _given(self, limit: int, tracker: Tracker) -> Iterator[Batch]:
        begin = self._waiting[0].index
        if limit <= begin:
            return
        past = self._since(round(self._timing.rate * _PAST_SECONDS))
        newest = self._waiting[-1].index
        pieces = [since(t, past) for t in tracker.tracklets() if t.last >= past]
        shots = tuple(Shot(a, b - 1) for a, b in pairwise([*self._shots, newest + 1]))
        tracks = stitch(pieces, list(shots), self._timing.rate)
        tracks = held_on(tracks, shots, self._timing, (self._info.width, self._info.height))
        hurt = [frame.seconds for frame in self._waiting if frame.damaged]
        frames = [self._waiting.popleft() for _ in range(limit - begin)]
        # those before damage that look ahead to it were decoded after it
        damaged = tuple(f.index for f in frames if any(0 <= at - f.seconds <= SALVAGE_SECONDS for at in hurt))
        analysis = Analysis(self._info, newest + 1, shots, tuple(tracks), damaged, 0)
        yield Batch(frames, analysis, self._times.array())


def held_on(
    tracks: Sequence[Track], shots: Sequence[Shot], timing: Timing, size: tuple[int, int]
) -> list[Track]:
    """``tracks``, and for faces that were lost within the picture tracks that hold their places: were they found again
    a little later, the gap would be bridged, which cannot be known here. As long as the window falls short of that."""
    longer = round((BRIDGE_SECONDS - timing.ahead) * timing.rate)
    out = list(tracks)
    for track in tracks:
        seen = np.flatnonzero(track.evidence != Evidence.HELD)
        if not len(seen) or not track.confirmed:
            continue
        last = track.first + int(seen[-1])
        end = min(last + longer, shots[track.shot].last)
        box = track.boxes[-1]
        if end <= track.last or boxes.visible_share(box, *size) < _INSIDE:
            continue
        count = end - track.last
        out.append(
            replace(
                track, id=len(out) + 1, first=track.last + 1, boxes=np.repeat(box[None], count, axis=0),
                evidence=np.full(count, Evidence.HELD, np.uint8), scores=np.zeros(count, np.float32),
                yaw=np.repeat(track.yaw[-1:], count), confirmed=False,
            )  # fmt: skip
        )
    return out
