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
from deid.models.morphable.photo_things import believed
from deid.models.morphable.rotations import matrices_of, mean_rotation, vectors_of
from deid.models.morphable.tracks import AttributeTrack
from deid.models.morphable.trust import hysteresis, near

_LEFT_EYE = np.concatenate([face_points.LID_RIMS[0], face_points.BROW_TO_EYE_PAIRS[:3, 0]])
_RIGHT_EYE = np.concatenate([face_points.LID_RIMS[1], face_points.BROW_TO_EYE_PAIRS[3:, 0]])
_PARTS = (face_points.LIPS, _LEFT_EYE, _RIGHT_EYE)
_FACE = np.concatenate([*_PARTS, [1, 4, 5, 195, 197, 6, 168, 50, 280, 152, 205, 425]])
_DOUBT, _WHOLE = 0.6, 0.55  # shares of a part, and of the face, that are hidden from which it is guessed
_HALF = 0.25  # share of the mouth from which on the side that is seen speaks for the other
_SOME = 0.12  # of the face: where so much is hidden nothing is learned of the person
_MOST = 0.55  # of the face; where more is covered for longer than can be bridged, there is no face to be replaced
_GONE = (0.56, 0.5)  # the same of what is covered or beyond the frame's border, together, to begin and to end
_TURNED = (22.0, 42.0)  # degrees of yaw from which on a mouth is seen from the side, and wholly so
_PULLED, _SIDEWAYS = 0.85, 0.3  # how much of a pull to the side goes then, and how much of a one-sided pull stays
_AROUND = 2  # rows either side of a cover: the landmark model feels a hand that is near
_BRIDGED = 1.2  # seconds
_CALM = 0.5  # of what is guessed most often of a part that is never seen
_STAYS, _STAY_SHARE = 5, 0.3  # rows either side, and of those: hidden in so many, a point is hidden
_SEEN_THERE, _THING = 0.3, 0.75  # belief in something: where a hand is, that it is there; elsewhere, that it is
COVERED = 0.7
"""Presence, at most, of a face that is covered in part: enough to be replaced, not to be learned from."""


def hidden_points(
    frames: np.ndarray, points: np.ndarray, hands: Mapping[int, Sequence[Hand]] | None, things: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    """bool (n, 468): mesh points behind a hand or another thing, ``None`` where there is neither.

    ``frames``: (n,). ``points``: (n, 478, 3), pixels. ``hands``: by frame, in the same pixels. ``things``: by row, see
    :func:`.photo_things.followed`. A hand's skeleton is wider than the hand where fingers are bent: where the network
    for things sees something of it, only that counts. What is hidden in the frames around stays so where the hand model
    fails: it does just where least of a hand is seen.
    """
    every = np.repeat(np.arange(face_points.MESH_POINTS)[:, None], 3, axis=1)
    behind = hidden_samples(frames, points, hands or {}, every)
    if behind is None and not things:
        return None
    out = np.zeros((len(frames), face_points.MESH_POINTS), bool) if behind is None else behind
    for row, belief in things.items():
        if row < len(out):
            there = believed(points[row, : face_points.MESH_POINTS], belief)
            seen = there > _SEEN_THERE
            if (out[row] & seen).sum() > 0.3 * out[row].sum():
                out[row] &= seen
            out[row] |= there > _THING
    if not out.any():
        return None
    sums = np.concatenate([np.zeros((1, out.shape[1]), np.int32), np.cumsum(out, axis=0, dtype=np.int32)])
    at = np.arange(len(out))
    low, high = np.maximum(at - _STAYS, 0), np.minimum(at + _STAYS + 1, len(out))
    return np.asarray(out | (sums[high] - sums[low] >= _STAY_SHARE * (high - low)[:, None]))


def covered(hidden: np.ndarray | None, count: int) -> np.ndarray:
    """float64 (n, 4): shares of the mouth, the left eye, the right eye and the whole face that are ``hidden``, see
    :func:`hidden_points`, in ``count`` rows."""
    parts = (*_PARTS, _FACE)
    if hidden is None:
        return np.zeros((count, len(parts)))
    return np.stack([hidden[:, part].mean(axis=1) for part in parts], axis=1)


def clear_rows(share: np.ndarray) -> np.ndarray:
    """bool (n,): rows in which the whole face is seen. ``share``: (n, 4), see :func:`covered`."""
    return np.asarray(share[:, 3] < _SOME)


def held(track: AttributeTrack, names: Sequence[str], share: np.ndarray, times: np.ndarray) -> AttributeTrack:
    """``track``, not yet finished, with what hands cover kept as it was. ``names``: of the expressions. ``share``:
    (n, 4), see :func:`covered`. ``times``: (n,) seconds."""
    limits = np.array([_DOUBT] * 3 + [_WHOLE])
    doubt = near(share > limits, _AROUND)
    doubt[:, :3] |= doubt[:, 3:]
    half = near(share[:, 0] > _HALF, _AROUND) | doubt[:, 0]
    unsure = near(share[:, 3] > _SOME, _AROUND)
    if not (doubt.any() or half.any() or unsure.any()):
        return track
    expression, mouth, aperture = track.expression.copy(), track.mouth.copy(), track.aperture.copy()
    facing, sight, rotation, presence = track.facing.copy(), track.sight.copy(), track.rotation, track.presence.copy()
    _even(expression, names, half)
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
    presence[unsure] = np.minimum(presence[unsure], COVERED)
    gone = 1 - (1 - share[:, 3]) * (1 - np.clip(track.outside, 0, 1))
    lost = (share[:, 3] > _MOST) | hysteresis(gone, *_GONE, track.frames)
    presence[_beyond(lost & (share[:, 3] > _SOME), times)] = 0.0
    return track.with_values(
        expression=expression, mouth=mouth, aperture=aperture, facing=facing, sight=sight, rotation=rotation,
        presence=presence,
    )  # fmt: skip


def turned_away(track: AttributeTrack, names: Sequence[str]) -> AttributeTrack:
    """``track``, not yet finished, without what a landmark model makes up of a mouth that it sees from the side: half
    of it is guessed, its corner lies on the outline, and what fits both best is often no face that anybody makes. A
    jaw or a mouth pulled to the side is taken back, and the side that is not seen does as the other one."""
    yaw = track.yaw_pitch_roll()[:, 0]
    away = np.clip((np.abs(yaw) - _TURNED[0]) / (_TURNED[1] - _TURNED[0]), 0, 1)
    if not away.any():
        return track
    expression = track.expression.astype(np.float64)
    index = {name: i for i, name in enumerate(names)}
    for name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        expression[:, index[name]] *= 1 - _PULLED * away
    for left, i in index.items():
        if not left.startswith(("mouth", "jaw", "cheekPuff")) or not left.endswith(("_L", "Left")):
            continue
        right = left[:-1] + "R" if left.endswith("_L") else left[:-4] + "Right"
        if left in ("jawLeft", "mouthLeft") or right not in index:
            continue
        pair = expression[:, [i, index[right]]]
        least = pair.min(axis=1, keepdims=True)
        expression[:, [i, index[right]]] = pair + away[:, None] * (least + _SIDEWAYS * (pair - least) - pair)
    return track.with_values(expression=expression.astype(np.float32))


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
