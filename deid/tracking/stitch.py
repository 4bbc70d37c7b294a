"""From tracklets to tracks: pieces of one face joined, holes filled, ends held for safety."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import numpy as np

from deid.tracking import boxes, flow
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Evidence, Shot, Track

BRIDGE_SECONDS = 2.0  # a face that comes back near where it went within this time was there all along
_BRIDGE_UNLIKE_SECONDS = 0.3  # and if it does not look as it did, within this
_STILL_LIKE = 0.3  # correlation of templates
_HOLD_AFTER_SECONDS = 0.3
_HOLD_BEFORE_SECONDS = 0.16
_SURE = 0.5
_LONELY_SECONDS = 0.16
_SHRUNK, _MOST_CUT = 0.8, 10
_TURN_SECONDS = 0.5  # how far ahead a known angle of the head reaches
_REFUSED = 1e6


def stitch(tracklets: list[Tracklet], shots: list[Shot], rate: float) -> list[Track]:
    """Join, fill and hold. ``rate``: frames a second, used for the lengths of gaps and holds.

    Every tracklet ends up in exactly one track; no track crosses a cut; tracks are numbered by shot, first frame and
    place from left to right, so that numbers do not depend on the order of the work.
    """
    for tracklet in tracklets:
        _steady(tracklet, forward=True)
        _steady(tracklet, forward=False)
    joined: list[Tracklet] = []
    for number in sorted({t.shot for t in tracklets}):
        joined += _join([t for t in tracklets if t.shot == number], rate)
    joined.sort(key=lambda t: (t.shot, t.first, float(t.rows[t.first].box[0])))
    return [_track(i + 1, t, shots[t.shot], rate) for i, t in enumerate(joined)]


def _join(pieces: list[Tracklet], rate: float) -> list[Tracklet]:
    """Join ends to beginnings, the likeliest pair first; every piece has at most one before it and one after."""
    pieces = sorted(pieces, key=lambda t: (t.first, t.last, float(t.rows[t.first].box[0])))
    starts = [t.first for t in pieces]
    longest, unlike = max(2, round(rate * BRIDGE_SECONDS)), max(2, round(rate * _BRIDGE_UNLIKE_SECONDS))
    pairs = []
    for i, a in enumerate(pieces):
        for j in range(bisect_right(starts, a.first), bisect_right(starts, a.last + longest + 1)):
            cost = _bridge_cost(a, pieces[j], longest, unlike)
            if cost < _REFUSED:
                pairs.append((cost, i, j))
    after: dict[int, int] = {}
    before: dict[int, int] = {}
    for _, i, j in sorted(pairs):
        if i not in after and j not in before:
            after[i], before[j] = j, i
    return [_chained(pieces, i, after) for i in range(len(pieces)) if i not in before]


def _chained(pieces: list[Tracklet], index: int, after: dict[int, int]) -> Tracklet:
    whole = pieces[index]
    while index in after:
        index = after[index]
        part = pieces[index]
        for frame, row in part.rows.items():
            whole.put(frame, row)
        whole.confirmed |= part.confirmed
        whole.ends, whole.tint = part.ends, part.tint
    return whole


def _bridge_cost(a: Tracklet, b: Tracklet, longest: int, unlike: int) -> float:
    """Cost of holding that the face ``a`` that was lost is the face ``b`` that appeared later (or just before), at most
    ``longest`` frames, or ``unlike`` if it does not look as it did: among many people somebody else comes by."""
    if b.last <= a.last or b.first <= a.first:
        return _REFUSED
    gap = b.first - a.last - 1
    if gap > longest:
        return _REFUSED
    if gap < 0:  # they overlap in time: one face only if they also overlap in place wherever both are known
        both = [boxes.iou(a.rows[f].box, b.rows[f].box)[0, 0] for f in a.rows if f in b.rows]
        return float(1 - np.mean(both)) if both and min(both) > 0.3 else _REFUSED
    end, begin = a.rows[a.last].box, b.rows[b.first].box
    apart = min(boxes.distance(a.predict(b.first), begin), boxes.distance(end, begin))
    if apart > 0.7 + 0.04 * min(gap, 20) or boxes.size_ratio(end, begin) > 1.6:
        return _REFUSED
    likeness = max((flow.similarity(end, begin) for end in a.ends for begin in b.begins), default=None)
    tint = 0.0 if a.tint is None or b.tint is None else float(np.hypot(*(a.tint - b.tint)))
    if tint > 18 or (gap > unlike and likeness is not None and likeness < _STILL_LIKE):
        return _REFUSED
    return apart + 0.01 * gap + 0.02 * tint - 0.3 * (likeness or 0.0)


def _steady(tracklet: Tracklet, *, forward: bool) -> None:
    """Undo the shrinking at an end of a tracklet.

    When something passes before a face the detector's box shrinks to what is still seen and slides along its edge;
    followed from there, the face would seem to run away. The last whole boxes, carried on, know better.
    """
    frames = sorted(tracklet.rows, reverse=forward)  # from this end inwards
    whole = [tracklet.rows[f].box[2:4] for f in frames[4:15]]
    if len(whole) < 4:
        return
    reference = np.median(whole, axis=0)
    cut = 0
    while cut < min(_MOST_CUT, len(frames) - 8) and (tracklet.rows[frames[cut]].box[2:4] < _SHRUNK * reference).any():
        cut += 1
    if cut == 0:
        return
    dropped = [(f, tracklet.rows[f]) for f in frames[:cut]]
    tracklet.keep({f: tracklet.rows[f] for f in frames[cut:]})
    carried = [tracklet.predict(f) for f, _ in dropped]
    for (frame, row), box in zip(dropped, carried, strict=True):
        box[2:4] = np.maximum(box[2:4], reference)
        tracklet.set(frame, Row(box, Evidence.FILLED, row.score, row.yaw))


def _fill(rows: dict[int, Row]) -> dict[int, Row]:
    known = sorted(rows)
    out = dict(rows)
    for a, b in zip(known, known[1:], strict=False):
        for frame in range(a + 1, b):
            weight = (frame - a) / (b - a)
            out[frame] = Row(boxes.blend(rows[a].box, rows[b].box, weight), Evidence.FILLED, 0.0)
    return out


def _hold(tracklet: Tracklet, shot: Shot, rate: float) -> None:
    """Keep the ends covered a little longer: the last frames of a face that turns away or walks out show it still."""
    lonely = is_lonely(tracklet)
    after = 2 if lonely else max(2, round(rate * _HOLD_AFTER_SECONDS))
    before = 1 if lonely else max(2, round(rate * _HOLD_BEFORE_SECONDS))
    last, first = tracklet.last, tracklet.first
    ends = {f: tracklet.predict(f) for f in range(last + 1, min(shot.last, last + after) + 1)}
    ends |= {f: tracklet.predict(f) for f in range(max(shot.first, first - before), first)}
    for frame, box in ends.items():
        tracklet.set(frame, Row(box, Evidence.HELD, 0.0))


def is_lonely(tracklet: Tracklet) -> bool:
    """Seen by one search only, unsure, and not confirmed: mostly not a face, so obscured where it was seen, briefly."""
    return tracklet.searched <= 1 and not tracklet.confirmed and tracklet.best_search() < _SURE


def _track(number: int, tracklet: Tracklet, shot: Shot, rate: float) -> Track:
    if is_lonely(tracklet):
        seen = min(tracklet.rows, key=lambda f: (tracklet.rows[f].evidence, f))
        reach = max(2, round(rate * _LONELY_SECONDS))
        tracklet.keep({f: r for f, r in tracklet.rows.items() if abs(f - seen) <= reach})
    tracklet.keep(_fill(tracklet.rows))
    _hold(tracklet, shot, rate)
    frames = sorted(tracklet.rows)
    rows = [tracklet.rows[f] for f in frames]
    return Track(
        id=number,
        shot=tracklet.shot,
        first=frames[0],
        boxes=np.stack([r.box for r in rows]).astype(np.float32),
        evidence=np.array([r.evidence for r in rows], np.uint8),
        scores=np.array([r.score for r in rows], np.float32),
        yaw=_between(np.array([r.yaw for r in rows], np.float32), max(1, round(rate * _TURN_SECONDS))),
        confirmed=tracklet.confirmed,
    )


def _between(values: np.ndarray, reach: int) -> np.ndarray:
    """NaN gaps filled; all NaN stays so. Short gaps are interpolated. In longer ones the value before is carried on,
    and ends ``reach`` frames before the next one is reached, so that no frame depends on what comes long after it."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) == 0:
        return values
    at, level = [float(known[0])], [float(values[known[0]])]
    if known[0] > reach:
        at, level = [0.0, float(known[0] - reach), *at], [0.0, 0.0, *level]
    for a, b in pairwise(known.tolist()):
        if b - a > reach:
            at.append(float(b - reach))
            level.append(float(values[a]))
        at.append(float(b))
        level.append(float(values[b]))
    return np.interp(np.arange(len(values)), at, level).astype(np.float32)
