"""Where in a track its face is replaced, and what a refusal takes off that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from deid.models.morphable.inversion import TrackCodes
from deid.models.morphable.overhead import on_other_heads
from deid.models.morphable.trust import Reason, changing_with, coverage
from deid.plan import Replacement
from deid.types import Track

MATCHED = "still recognised after it was replaced"
IN_DOUBT = "covered"
_UNSEEN = "no landmarks"
_BRIEF = "beside a doubt, or too short"
_UNSAFE = "no surrogate was unlike the person"
AROUND_DOUBT = 0.5  # seconds: what lies so near a face that something covers is obscured with it
AROUND_MATCH = 0.1  # the same of a face that is still recognised: its neighbours were compared, too
_FADING = 100.0  # pixels: faces from which on fade where they are obscured since they are recognised


def leave_out_heads(tracks: Sequence[Track], codes: dict[int, TrackCodes], rate: float) -> None:
    """Take from ``codes``, by track, the trust in faces that lie on somebody else's head. ``rate``: frames a second."""
    by_id = {t.id: t for t in tracks}
    for number, over in on_other_heads(tracks).items():
        if number in codes:
            of, frames = codes[number], codes[number].witnessed.frames
            rows = over[frames - by_id[number].first]
            codes[number] = replace(of, trust=of.trust.without(rows, Reason.OVERHEAD, rate, frames))


def replacement_of(track: Track, codes: TrackCodes, hands: Collection[int], rate: float, *, safe: bool) -> Replacement:
    """Where ``track`` can be replaced as its ``codes`` are trusted. ``hands``: rows with hands before the face.
    ``rate``: frames a second. ``safe``: whether the surrogate is a stranger to the person."""
    rows = np.full(len(track), -1, np.int32)
    trusted = np.zeros(len(track), bool)
    reasons = [_UNSEEN] * len(track)
    words = codes.trust.words
    for row, frame in enumerate(codes.witnessed.frames.tolist()):
        place = frame - track.first
        rows[place] = row
        trusted[place] = safe and codes.trust.trusted[row]
        reasons[place] = words[row] if safe else _UNSAFE
    weights = np.where(rows >= 0, coverage(trusted, rate), 0).astype(np.float32)
    why = tuple("" if w >= 1 else r or _BRIEF for w, r in zip(weights, reasons, strict=True))
    doubtful = np.zeros(len(track), bool)
    for row in hands:
        doubtful[int(codes.witnessed.frames[row]) - track.first] = True
    return Replacement(rows, weights, why, doubtful)


def refused(
    old: Replacement,
    track: Track,
    times: np.ndarray,
    place: int,
    why: str,
    rate: float,
    *,
    before: np.ndarray | None = None,
    everywhere: bool = False,
) -> tuple[Replacement, np.ndarray]:
    """``old`` without the face in the track's frame number ``place`` and what lies around it, for the reason ``why``;
    and all that was refused so far, bool (n,), which is ``before`` next time. ``times``: float64 (n,), seconds."""
    around = AROUND_DOUBT if why == IN_DOUBT else AROUND_MATCH
    near = everywhere | (np.abs(times - times[place]) <= around)
    gone = np.zeros(len(near), bool) if before is None else before
    if 0 < old.weights[place] < 1 and not everywhere:
        # half of either: another change-over a little farther on would be no better, so there is none here
        weights = np.where(changing_with(old.weights, place), np.float32(0), old.weights)
    else:
        gone = near | gone
        # small faces that are half obscured are like everybody's: theirs change over at once
        small = why != IN_DOUBT and float(np.median(track.boxes[:, 3])) < _FADING
        weights = np.minimum(old.weights, coverage(~gone, rate, **({"fade": 0.0} if small else {})))
    reasons = tuple(why if n and not r else r for n, r in zip(weights < old.weights, old.reasons, strict=True))
    return replace(old, weights=weights, reasons=reasons), gone
