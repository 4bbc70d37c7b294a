"""What a face does behind a hand: nobody sees it, and the landmark model guesses.

Its guesses jump: a mouth behind fingers opens and shuts, a covered eye blinks. Where a hand covers a part of the face,
that part keeps the expression it had before, on a straight line to the one it has after; a part that is never seen
keeps still; one hidden eye does as the other does. Where most of a face stays covered for longer than can be bridged it
is not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deid.detection.hands import Hand
from deid.models.morphable import face_points
from deid.models.morphable.photo_hidden import hidden_samples
from deid.models.morphable.rotations import matrices_of, mean_rotation, vectors_of
from deid.models.morphable.tracks import AttributeTrack
from deid.models.morphable.trust import near

_LEFT_EYE = np.concatenate([face_points.LID_RIMS[0], face_points.BROW_TO_EYE_PAIRS[:3, 0]])
_RIGHT_EYE = np.concatenate([face_points.LID_RIMS[1], face_points.BROW_TO_EYE_PAIRS[3:, 0]])
_PARTS = (face_points.LIPS, _LEFT_EYE, _RIGHT_EYE)
_FACE = np.concatenate([*_PARTS, [1, 4, 5, 195, 197, 6, 168, 50, 280, 152, 205, 425]])
_DOUBT, _WHOLE = 0.25, 0.3  # shares of a part, and of the face, under a hand from which it is guessed
_MOST = 0.55  # of the face; where more is covered for longer than can be bridged, there is no face to be replaced
_AROUND = 2  # rows either side of a cover: the landmark model feels a hand that is near
_BRIDGED = 1.2  # seconds
_CALM = 0.5  # of what is guessed most often of a part that is never seen
_UNSURE = 0.7  # presence of a face that is covered in large part: enough to be replaced, not to be learned from


def covered(frames: np.ndarray, points: np.ndarray, hands: Mapping[int, Sequence[Hand]] | None) -> np.ndarray:
    """float64 (n, 4): shares of the mouth, the left eye, the right eye and the whole face that lie under a hand.

    ``frames``: (n,). ``points``: (n, 478, 3), pixels. ``hands``: by frame, in the same pixels."""
    parts = (*_PARTS, _FACE)
    behind = hidden_samples(frames, points, hands or {}, np.repeat(np.concatenate(parts)[:, None], 3, axis=1))
    if behind is None:
        return np.zeros((len(frames), len(parts)))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.stack([some.mean(axis=1) for some in np.split(behind, ends, axis=1)], axis=1)


def held(track: AttributeTrack, names: Sequence[str], share: np.ndarray, times: np.ndarray) -> AttributeTrack:
    """``track``, not yet finished, with what hands cover kept as it was. ``names``: of the expressions. ``share``:
    (n, 4), see :func:`covered`. ``times``: (n,) seconds."""
    limits = np.array([_DOUBT] * 3 + [_WHOLE])
    doubt = near(share > limits, _AROUND)
    doubt[:, :3] |= doubt[:, 3:]
    if not doubt.any():
        return track
    expression, mouth, aperture = track.expression.copy(), track.mouth.copy(), track.aperture.copy()
    facing, sight, rotation, presence = track.facing.copy(), track.sight.copy(), track.rotation, track.presence.copy()
    _even(expression, names, doubt[:, 0])
    lower = [i for i, name in enumerate(names) if name.startswith(("jaw", "mouth", "cheekPuff", "tongue"))]
    expression[:, lower] = _across(expression[:, lower], doubt[:, 0], times)
    mouth = _across(mouth[:, None], doubt[:, 0], times)[:, 0]
    both = doubt[:, 1] & doubt[:, 2] & ~(doubt[:, 1] & doubt[:, 2]).all()
    for eye, side in enumerate("LR"):
        upper = [
            i for i, n in enumerate(names) if n.endswith(side) and n.startswith(("brow", "eye", "cheekSq", "nose"))
        ]
        expression[:, upper] = _across(expression[:, upper], doubt[:, 1 + eye], times)
        aperture[:, eye] = _across(aperture[:, eye : eye + 1], both, times)[:, 0]
        sight[:, eye] = _across(sight[:, eye], both, times)
        facing[doubt[:, 1 + eye] & ~both, eye] = 0.0
    if not doubt[:, 3].all():
        mean = mean_rotation(rotation)
        turns = vectors_of(mean.T @ rotation)
        rotation = mean @ matrices_of(_across(turns, doubt[:, 3], times))
    presence[doubt[:, 3]] = np.minimum(presence[doubt[:, 3]], _UNSURE)
    presence[_beyond(share[:, 3] > _MOST, times)] = 0.0
    return track.with_values(
        expression=expression, mouth=mouth, aperture=aperture, facing=facing, sight=sight, rotation=rotation,
        presence=presence,
    )  # fmt: skip


def _even(expression: np.ndarray, names: Sequence[str], doubt: np.ndarray) -> None:
    """In place: in rows in ``doubt`` (n,), both sides of the mouth do what the calmer one does; half a mouth tells
    nothing of a pull to the side."""
    ends = {"_L": "_R", "Left": "Right"}
    for end, other in ends.items():
        for i, name in enumerate(names):
            if name.startswith(("mouth", "jaw", "cheekPuff")) and name.endswith(end):
                k = names.index(name[: -len(end)] + other)
                least = np.minimum(expression[doubt, i], expression[doubt, k]) if end == "_L" else 0.0
                expression[doubt, i] = expression[doubt, k] = least


def _across(values: np.ndarray, doubt: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``values`` (n, k) with those of rows in ``doubt`` (n,) on straight lines between the others."""
    if not doubt.any():
        return values
    if doubt.all():
        return np.broadcast_to(_CALM * np.median(values, axis=0), values.shape).astype(values.dtype)
    out = values.copy()
    for k in range(values.shape[1]):
        out[doubt, k] = np.interp(times[doubt], times[~doubt], values[~doubt, k])
    return out


def _beyond(mask: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rows of ``mask`` (n,) farther from the nearest row that is not in it than can be bridged from both sides."""
    if not mask.any() or mask.all():
        return mask.copy()
    clear = times[~mask]
    after = np.searchsorted(clear, times)
    gaps = np.minimum(
        np.abs(times - clear[np.minimum(after, len(clear) - 1)]), np.abs(times - clear[np.maximum(after - 1, 0)])
    )
    out: np.ndarray = mask & (gaps > _BRIDGED / 2)
    return out
