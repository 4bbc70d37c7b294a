"""Which of the hands and things that the first pass saw lie before the face of a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deid.detection.hands import Hand, steadied
from deid.models.morphable.inversion import TrackCodes
from deid.tracking.observe import SeenHands, SeenThings
from deid.types import Track

_HANDS_LAST = 4  # frames for which a hand that is not found is still held to be there


def hands_of(track: Track, seen: Sequence[SeenHands]) -> dict[int, tuple[Hand, ...]]:
    """The hands found before or beside the face, by frame."""
    return {found.frame: found.hands for found in seen if _is_of(track, found)}


def things_of(track: Track, seen: Sequence[SeenThings]) -> dict[int, bytes]:
    """Looks for what else lies before the face, by frame."""
    return {found.frame: found.likely for found in seen if _is_of(track, found)}


def hands_by_row(codes: TrackCodes, seen: Mapping[int, tuple[Hand, ...]]) -> dict[int, tuple[Hand, ...]]:
    """The hands before the face, ``seen`` by frame, by row; where none was found although one was there just before or
    after, that one, moved as the face moved."""
    frames = codes.witnessed.frames
    found: dict[int, tuple[Hand, ...]] = {}
    for frame, hands in seen.items():
        row = codes.attributes.row_of(frame)
        if row is not None:
            found[row] = hands
    out = dict(found)
    places = codes.attributes.translation
    for row in range(len(frames)):
        near = [r for r in range(row - _HANDS_LAST, row + _HANDS_LAST + 1) if r in found]
        if row not in found and near:
            nearest = min(near, key=lambda r: (abs(int(frames[r]) - int(frames[row])), r))
            shift = np.append(places[row] - places[nearest], 0).astype(np.float32)
            out[row] = tuple(replace(hand, points=hand.points + shift) for hand in found[nearest])
    return steadied(out)


def _is_of(track: Track, seen: SeenHands | SeenThings) -> bool:
    """Whether what was looked at is the face of ``track``."""
    if not track.covers(seen.frame):
        return False
    box = track.box_at(seen.frame)
    return bool(np.hypot(box[0] - seen.place[0], box[1] - seen.place[1]) < 0.5 * box[3])
