"""Which of the measured places of a face lie behind a hand, so that the hand's colour is not taken for the face's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deid.blending.occlusion import plausible
from deid.blending.outline import OVAL
from deid.detection.hands import FINGERS, PALM, Hand

from .photo_samples import TRIPLES

_REACH = 0.3  # palm sizes from the middle of a finger or the rim of the palm: its own width and its shadow's
_LASTS = 6  # frames for which a hand that is not looked for is held to be there
_FOREARM = 1.5  # palm sizes


def hidden_samples(
    frames: np.ndarray, points: np.ndarray, hands: Mapping[int, Sequence[Hand]],
    triples: np.ndarray = TRIPLES,
) -> np.ndarray | None:  # fmt: skip
    """bool (n, N): samples behind a hand, or ``None`` where there are no hands. ``triples``: (N, 3), mesh points around
    each sample.

    ``frames``: int (n,). ``points``: float32 (n, 478, 3), the face's mesh in frame pixels. ``hands``: by frame, in the
    same pixels; in the frames between, the hand of the nearest one counts, moved as the face moved.
    """
    if not hands:
        return None
    known = np.array(sorted(hands))
    row_of = {int(frame): row for row, frame in enumerate(frames)}
    places = points[:, triples, :2].mean(axis=2)
    middles = points[:, :468, :2].mean(axis=1)
    out = np.zeros((len(frames), len(triples)), bool)
    for row, frame in enumerate(frames.tolist()):
        nearest = int(known[np.abs(known - frame).argmin()])
        if abs(nearest - frame) > _LASTS or nearest not in row_of:
            continue
        shift = middles[row] - middles[row_of[nearest]]
        outline = np.ascontiguousarray(points[row_of[nearest]][OVAL, :2], np.float32)
        for hand in hands[nearest]:
            if plausible(hand, outline):
                out[row] |= _behind(places[row] - shift, hand)
    return out


def _behind(places: np.ndarray, hand: Hand) -> np.ndarray:
    """bool (N,) for places (N, 2)."""
    reach = _REACH * hand.palm_size
    near = np.zeros(len(places), bool)
    for a, b in _bones(hand.points[:, :2].astype(np.float64), hand.palm_size):
        along = b - a
        share = np.clip((places - a) @ along / max(float(along @ along), 1e-9), 0, 1)
        near |= np.linalg.norm(places - a - share[:, None] * along, axis=1) < reach
    return near


def _bones(points: np.ndarray, palm: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for chain in FINGERS:
        yield from ((points[i], points[j]) for i, j in zip(chain, chain[1:], strict=False))
    yield from ((points[0], points[i]) for i in PALM[1:])
    away = points[0] - points[9]
    yield points[0], points[0] + _FOREARM * palm * away / max(float(np.hypot(*away)), 1e-6)
