"""Faces on top of other people's heads: hair, mostly, that a detector and a landmark model both take for a face.

Nobody's face can be seen where somebody nearer has the top of the head. What is found there is never given a face; it
is obscured like everything that may be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deid.models.morphable.trust import near
from deid.types import Evidence, Track

_BESIDE, _ABOVE, _TOP = 0.5, 0.3, 0.95  # of the lower face's height: how far a head reaches from the face's middle
_LEAST, _MOST = 0.4, 1.15  # of its height: lower ones are seen past the crown, higher ones are nearer
_AROUND = 6  # frames
_MOSTLY = 0.5  # share of its frames from which a face is one nowhere


def on_other_heads(tracks: Sequence[Track]) -> Mapping[int, np.ndarray]:
    """By track id, bool (n,): frames of the track in which its face lies on the head of another of ``tracks`` that
    detectors have found more often. Tracks without such frames are left out."""
    out: dict[int, np.ndarray] = {}
    for upper in tracks:
        on = np.zeros(len(upper), bool)
        for lower in tracks:
            first, last = max(upper.first, lower.first), min(upper.last, lower.last)
            if lower.id == upper.id or first > last or not lower.confirmed:
                continue
            if (lower.evidence == Evidence.SEARCHED).sum() > (upper.evidence == Evidence.SEARCHED).sum():
                over = _lies_on(_between(upper, first, last), _between(lower, first, last))
                on[first - upper.first : last - upper.first + 1] |= over
        if on.any():
            out[upper.id] = np.ones(len(on), bool) if on.mean() > _MOSTLY else near(on, _AROUND)
    return out


def _between(track: Track, first: int, last: int) -> np.ndarray:
    return track.boxes[first - track.first : last - track.first + 1].astype(np.float64)


def _lies_on(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """bool (n,): whether the middles of boxes ``upper``, (n, 5), lie on the heads of faces in boxes ``lower``."""
    height = np.maximum(lower[:, 3], 1.0)
    off = (upper[:, :2] - lower[:, :2]) / height[:, None]
    c, s = np.cos(lower[:, 4]), np.sin(lower[:, 4])
    across, up = c * off[:, 0] + s * off[:, 1], s * off[:, 0] - c * off[:, 1]
    size = upper[:, 3] / height
    there = (np.abs(across) < _BESIDE) & (up > _ABOVE) & (up < _TOP)
    return np.asarray(there & (size > _LEAST) & (size < _MOST))
