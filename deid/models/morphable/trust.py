"""Which frames of a track can be replaced, why the others cannot, and how replacing gives way to obscuring.

A face is obscured where a replacement could show the original beside itself: extreme profile, tiny, covered, off the
frame, or where the mesh does not fit a head. Nothing flickers: a doubt must pass clearly before it is dropped,
obscuring begins before the doubt does, and replacing returns late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from deid.models.morphable.tracks import AttributeTrack


class Reason(IntEnum):
    """Why a face is not replaced in a frame; ``TRUSTED`` where it is."""

    TRUSTED = 0
    PRESENCE = 1  # the landmark model doubts that this is a face
    PROFILE = 2  # turned too far
    SMALL = 3  # too few pixels
    MISFIT = 4  # the mesh is no head in any expression
    JUMP = 5  # the mesh jumps against its neighbours in time
    BORDER = 6  # much of the face lies outside the frame
    LIGHT = 7  # no light could be measured on it
    OVERHEAD = 8  # it lies on somebody else's head


FAR_FROM = 38.0
"""Degrees of yaw from which on the far side of a face must be there to be seen."""
_REACH, _FOR_GOOD = 6, 1 << 30  # frames for which what is no longer quite doubtful stays doubted


@dataclass(frozen=True, slots=True)
class Limits:
    """Pairs: where a doubt begins, and where it ends again. ``yaw``, ``pitch`` degrees; ``presence`` in [0, 1];
    ``height`` of the face in pixels; ``residual`` in outer eye distances; ``jump`` in eye distances; ``outside``: share
    of the mesh beyond the border; ``confidence`` of the light in [0, 1]; ``far``: how much of what should be the far
    side of a face looks like it, see :mod:`.far_side`."""

    yaw: tuple[float, float] = (66.0, 62.0)
    pitch: tuple[float, float] = (50.0, 46.0)
    presence: tuple[float, float] = (0.5, 0.65)
    height: tuple[float, float] = (38.0, 42.0)
    residual: tuple[float, float] = (0.055, 0.045)
    jump: tuple[float, float] = (0.16, 0.10)
    outside: tuple[float, float] = (0.42, 0.36)
    confidence: tuple[float, float] = (0.02, 0.05)
    far: tuple[float, float] = (0.36, 0.8)


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """``trusted``: bool (n,). ``reasons``: uint8 (n,), of :class:`Reason`, the gravest where several hold. ``weights``:
    float32 (n,), 1 where the face is replaced, 0 where it is obscured, between in the change-over."""

    trusted: np.ndarray
    reasons: np.ndarray
    weights: np.ndarray

    def without(self, rows: np.ndarray, reason: Reason, rate: float, frames: np.ndarray) -> Trust:
        """The same without ``rows``, bool (n,), for ``reason``. ``rate``: frames a second; ``frames``: (n,) of rows."""
        reasons = np.where(rows & self.trusted, np.uint8(reason), self.reasons)
        return _trust(reasons, rate, frames)

    @property
    def words(self) -> tuple[str, ...]:
        """Why each row is not trusted, for people; empty where it is."""
        return tuple(_WORDS[Reason(int(reason))] for reason in self.reasons)


_WORDS = {
    Reason.TRUSTED: "",
    Reason.PRESENCE: "covered or blurred",
    Reason.PROFILE: "turned too far",
    Reason.SMALL: "too small",
    Reason.MISFIT: "landmarks fit no head",
    Reason.JUMP: "landmarks jump",
    Reason.BORDER: "cut off by the border",
    Reason.LIGHT: "light cannot be measured",
    Reason.OVERHEAD: "on another's head",
}


def judge(
    track: AttributeTrack,
    rate: float,
    *,
    confidence: np.ndarray | None = None,
    far: np.ndarray | None = None,
    limits: Limits | None = None,
) -> Trust:
    """Trust in each row of ``track`` (not smoothed). ``rate``: frames a second. ``confidence``: (n,) in [0, 1],
    how well the light could be measured. ``far``: (n,), see :func:`.far_side.far_side`. Frames without a row are not
    trusted, which their neighbours' change-over heeds."""
    limits = limits or Limits()
    n = len(track)
    if not n:
        return Trust(np.zeros(0, bool), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    angles = np.abs(track.yaw_pitch_roll())
    measures: list[tuple[Reason, np.ndarray, tuple[float, float]]] = [
        (Reason.PRESENCE, -track.presence, _negative(limits.presence)),
        (Reason.PROFILE, angles[:, 0], limits.yaw),
        (Reason.PROFILE, angles[:, 1], limits.pitch),
        (Reason.SMALL, -track.height, _negative(limits.height)),
        (Reason.MISFIT, track.residual, limits.residual),
        (Reason.JUMP, track.jump, limits.jump),
        (Reason.BORDER, track.outside, limits.outside),
    ]
    if confidence is not None:
        measures.append((Reason.LIGHT, -confidence, _negative(limits.confidence)))
    if far is not None:
        turned = np.where(angles[:, 0] > FAR_FROM, _steady(far), 1.0)
        measures.append((Reason.PROFILE, -turned, _negative(limits.far)))
    reasons = np.zeros(n, np.uint8)
    for reason, value, (begin, end) in measures:
        # a profile stays one until it turns back: what is behind it may look like skin meanwhile
        reach = _FOR_GOOD if reason == Reason.PROFILE else _REACH
        doubted = hysteresis(value.astype(np.float64), begin, end, track.frames, reach)
        reasons[doubted & (reasons == 0)] = reason
    return _trust(reasons, rate, track.frames)


def _trust(reasons: np.ndarray, rate: float, frames: np.ndarray) -> Trust:
    place = frames - frames[0]
    trusted = np.zeros(int(place[-1]) + 1, bool)
    trusted[place] = reasons == 0
    return Trust(reasons == 0, reasons, coverage(trusted, rate)[place])


def _steady(values: np.ndarray) -> np.ndarray:
    """``values`` (n,), each the median of the five rows around it: one frame's background tells little."""
    padded = np.pad(values.astype(np.float64), 2, mode="edge")
    return np.asarray(np.median(np.stack([padded[k : k + len(values)] for k in range(5)]), axis=0))


def _negative(pair: tuple[float, float]) -> tuple[float, float]:
    return -pair[0], -pair[1]


def hysteresis(value: np.ndarray, begin: float, end: float, frames: np.ndarray, reach: int = _REACH) -> np.ndarray:
    """bool (n,): above ``begin``, and around there as long as above ``end``, up to ``reach`` frames either way."""
    high, low = value > begin, value > end
    out = high.copy()
    for order in (slice(None), slice(None, None, -1)):
        since, before = reach + 1, None
        for row in np.arange(len(value))[order]:
            gap = 0 if before is None else abs(int(frames[row]) - int(frames[before]))
            since = 0 if high[row] else since + max(gap, 1)
            out[row] |= bool(low[row] and since <= reach)
            if not low[row]:
                since = reach + 1
            before = row
    return out


def coverage(
    trusted: np.ndarray, rate: float, *, fade: float = 0.16, shortest: float = 0.4, lead: float = 0.08
) -> np.ndarray:
    """float32 (n,) for consecutive frames: 1 replaced, 0 obscured, between in the change-over.

    ``trusted``: bool (n,). ``rate``: frames a second. A doubted frame always gets exactly 0. Obscuring is complete
    ``lead`` seconds before a doubt and lasts as long after it; replacing that would last less than ``shortest`` seconds
    is not begun; a change takes ``fade`` seconds, all of it on the trusted side.
    """
    trusted = np.asarray(trusted, bool)
    n = len(trusted)
    if not n or trusted.all():
        return np.ones(n, np.float32)
    margin = max(1, round(lead * rate))
    safe = ~near(~trusted, margin)
    safe = _without_short(safe, max(2, round(shortest * rate)))
    steps = max(1, round(fade * rate))
    out = np.where(safe, 1.0, 0.0)
    wall = ~safe
    for step in range(1, steps):
        grown = near(wall, 1)
        ring = grown & ~wall
        out[ring] = np.minimum(out[ring], step / steps)
        wall = grown
    return out.astype(np.float32)


def changing_with(weights: np.ndarray, place: int) -> np.ndarray:
    """bool (n,): the frames of the change-over, of :func:`coverage`, that ``place`` lies in."""
    changing = (weights > 0) & (weights < 1)
    out = np.zeros(len(weights), bool)
    for way in (slice(place, None), slice(place, None, -1)):
        part = changing[way]
        out[way][: int(np.argmin(np.r_[part, False]))] = True
    return out


def near(mask: np.ndarray, reach: int) -> np.ndarray:
    """bool (n, ...): where ``mask``, bool (n, ...), is true within ``reach`` rows."""
    sums, at = np.concatenate([np.zeros((1, *mask.shape[1:]), int), np.cumsum(mask, axis=0)]), np.arange(len(mask))
    return np.asarray(sums[np.minimum(at + reach + 1, len(mask))] > sums[np.maximum(at - reach, 0)])


def _without_short(mask: np.ndarray, shortest: int) -> np.ndarray:
    """``mask`` without runs of true shorter than ``shortest`` that lie between two false ones."""
    out = mask.copy()
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < shortest and first > 0 and last < len(mask):
            out[first:last] = False
    return out
