"""How much of the teeth a mouth shows: seen between the lips of a subject, and reached by a surrogate's jaw.

A mesh of lips says how far they are apart, not what parts them. In speech lips mostly open over teeth that nearly meet
(the jaw drops by a few millimetres where lips part by ten); a jaw that opened for all of it would leave a dark hole
beneath the upper teeth. So what is between the teeth is measured in the picture, and the jaw opens by that; lips do
the rest. Upper teeth belong to the skull: how much of them is seen is up to the upper lip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.geometry import Geometry, Part
from deid.models.morphable.tracks import AttributeTrack

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_LEAST, _ENOUGH = 4.0, 8.0  # pixels between the lips from which rows tell something, and all of it
_BRIGHT, _BRIGHT_SOFT = 0.24, 0.05  # luminance of teeth behind lips beside skin's: least
_PALE, _PALE_SOFT = (0.27, 0.48), 0.1  # share of the way from the lips' redness to a white surface's: least,
_PALE_PIXELS = (7.0, 16.0)  # between so many pixels between the lips: in few, colours are those of lips beside teeth
_USUAL_LIPS = 0.45  # logarithm by which lips are redder than skin, where theirs is not known
_USUAL = (0.9, 0.22, 1.0)  # luminance of upper teeth, a tongue, lower teeth beside skin's, as they are rendered
_FLESH = 1  # of these
_LIT_RANGE = ((-0.9, 0.3), (-1.4, 1.5), (-0.9, 0.7))  # logarithms
_LIT_FRAMES = 1.5  # standard deviation
_DOUBT = 0.7  # frames' weight of the track as a whole, and of what is usual
_BORDER, _ASTRAY = 3, 3.0  # rows at each end, and pixels, that may show the lip itself
_USUAL_LIP, _LIKE_LIP, _MOST_LIP = 0.5, (0.6, 0.3), 5  # luminance, shares of it (mean, least), rows
_LEAST_GUM, _EDGE, _LIT_GUM = 4, 1, 0.3  # rows, of these in the lip's own shade, and luminance beside skin's
_LIT_PIXELS = np.array([5.0, 12.0])  # between the lips: in fewer, nothing is told about the light
_BLURRED = np.array([2.5, 7.0])  # pixels of teeth: in few they are blurred with what is around, and the peak tells
_SHARPER = 1.12  # by how much brighter than its peak a blurred row of teeth is


@dataclass(frozen=True, slots=True, eq=False)
class Bites:
    """What n frames of a track show between the lips. ``known``: float32 (n,), 0 to 1, how far the rest is to be
    believed. ``upper``, ``free``, ``lower``: float32 (n,), shares of the lips' gap: upper teeth, from their edge to the
    lower teeth or to the lower lip, lower teeth. ``lit``: float32 (n, 3), factors on the light that upper teeth, flesh
    and lower teeth in the mouth get, as in :class:`.codes.Light`. ``lips``: float32 (n, 2, 3), linear RGB of the upper
    and the lower lip, 0 where they were not seen."""

    known: np.ndarray
    upper: np.ndarray
    free: np.ndarray
    lower: np.ndarray
    lit: np.ndarray
    lips: np.ndarray

    def light(self, row: int) -> tuple[float, float, float]:
        """Factors on the light in the mouth in one row."""
        return float(self.lit[row, 0]), float(self.lit[row, 1]), float(self.lit[row, 2])

    def __len__(self) -> int:
        return len(self.known)


def bites_of(records: np.ndarray, track: AttributeTrack, tone: np.ndarray, white: np.ndarray) -> Bites:
    """``records``: (n,) of :data:`.photometry.RECORD`. ``tone``, ``white``: (n, 3), as in :class:`.codes.Light`."""
    rows = CODE_TO_LINEAR8[records["mouth"]].astype(np.float64)  # (n, R, 3)
    n, count = rows.shape[:2]
    pixels = track.mouth * track.scale
    known = np.clip((pixels - _LEAST) / (_ENOUGH - _LEAST), 0.0, 1.0) * (records["mouth"].max(axis=(1, 2)) > 0)
    lips = CODE_TO_LINEAR8[records["lips"]] * (records["lips"].min(axis=(1, 2)) > 0)[:, None, None]
    tooth = _like_teeth(rows, lips, np.asarray(tone, np.float64), np.asarray(white, np.float64), pixels) > 0.5
    border = np.clip(_ASTRAY / np.maximum(pixels, 1.0) * count, _BORDER, count / 2).round().astype(int)
    upper, free, lower = np.zeros(n), np.ones(n), np.zeros(n)
    below_rows = np.zeros((n, count), bool)
    skin = np.maximum(np.asarray(tone, np.float64) @ _LUMINANCE, 1e-4)
    grey = rows @ _LUMINANCE / skin[:, None]
    lip = np.where(lips[:, 1].min(axis=1) > 0, lips[:, 1] @ _LUMINANCE / skin, _USUAL_LIP)
    for i in np.flatnonzero(known > 0):
        at = np.flatnonzero(tooth[i])
        if not len(at):
            continue
        first, last = int(at[0]), int(at[-1])
        breaks = np.flatnonzero(np.diff(at) > 1)
        if _gums(grey[i, :first]):
            first = 0
        if first <= border[i] + 1:
            end = int(at[breaks[0]]) if len(breaks) else last
            upper[i] = (end + 1 - first) / count
            below = at[breaks[0] + 1 :] if len(breaks) else at[:0]
        else:
            below = at
            end = first - 1
        if len(below) and below[-1] >= count - 1 - border[i]:
            lower[i] = (below[-1] + 1 - below[0]) / count
            free[i] = (int(below[0]) - end - 1) / count
            below_rows[i, below] = True
        elif upper[i] and not first and last >= count - 1 - border[i] and not tooth[i, 0]:
            upper[i], free[i] = 1.0, 0.0  # gums, and teeth that reach the lower lip
        elif upper[i] and first <= _BORDER and last >= count - 2:
            free[i] = 0.0  # teeth from lip to lip
            below_rows[i, first + round(0.6 * upper[i] * count) :] = tooth[i, first + round(0.6 * upper[i] * count) :]
            upper[i], lower[i] = 0.6 * upper[i], 0.4 * upper[i]
        elif upper[i] and _is_lip(grey[i, last + 1 :], float(lip[i])):
            upper[i], free[i] = 1 - first / count, 0.0  # landmarks lie on the lip that those teeth reach
        else:
            free[i] = 1 - upper[i] - first / count
    tongue = lower * track.mouth > _MOST_LOWER_TEETH
    from_lip = (count - 0.5 - np.arange(count)) / count * track.mouth[:, None]  # centimetres above the lower lip
    behind = below_rows & tongue[:, None] & (from_lip > _BEFORE_TONGUE)
    clear = known * np.clip((pixels - _LIT_PIXELS[0]) / (_LIT_PIXELS[1] - _LIT_PIXELS[0]), 0.0, 1.0)
    lit = _lit(rows, tooth, below_rows, behind, clear, pixels, track.frames, np.asarray(tone, np.float64))
    return Bites(*(np.asarray(values, np.float32) for values in (known, upper, free, lower, lit, lips)))


def _gums(above: np.ndarray) -> bool:
    """Whether what is seen above teeth, luminance (k,) beside skin's, is what they grow from: flesh in the light, and
    no dark gap that leaves them lower ones."""
    return len(above) >= _LEAST_GUM and bool(above[_EDGE:].min() > _LIT_GUM)


def _is_lip(below: np.ndarray, lip: float) -> bool:
    """Whether what is seen below upper teeth, luminance (k,) beside skin's, is the lower ``lip`` itself, and not what
    lies behind it: not dark, and not much of it."""
    return 0 < len(below) <= _MOST_LIP and below.mean() > _LIKE_LIP[0] * lip and below.min() > _LIKE_LIP[1] * lip


def _lit(
    rows: np.ndarray, tooth: np.ndarray, below: np.ndarray, tongue: np.ndarray, known: np.ndarray, pixels: np.ndarray,
    frames: np.ndarray, tone: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(n, 3): how much brighter upper teeth, flesh in the lower half of the mouth, and lower teeth are beside skin than
    usual. ``tooth``, ``below``, ``tongue``: bool (n, R), rows like teeth, of them those at the lower lip, and of these
    those that lie too high for teeth. ``pixels``: (n,), between the lips. Frames that do not tell have what frames
    around them and the track as a whole have."""
    count = rows.shape[1]
    grey = rows @ _LUMINANCE / np.maximum(tone @ _LUMINANCE, 1e-4)[:, None]
    low = np.arange(count) >= count // 3
    ends = (np.arange(count) >= _BORDER - 1) & (np.arange(count) <= count - _BORDER)
    flesh = np.where(tongue.any(axis=1, keepdims=True), tongue, ~tooth & low & ends)
    out = np.ones((len(rows), len(_USUAL)))
    for k, (chosen, usual) in enumerate(zip((tooth & ~below, flesh, below & ~tongue), _USUAL, strict=True)):
        seen = chosen.sum(axis=1)
        weight = known * np.minimum(seen / 2, 1.0)
        mean = (grey * chosen).sum(axis=1) / np.maximum(seen, 1)
        if k != _FLESH:
            sharp = np.clip((seen / count * pixels - _BLURRED[0]) / (_BLURRED[1] - _BLURRED[0]), 0.0, 1.0)
            mean += (1 - sharp) * (_SHARPER * (grey * chosen).max(axis=1) - mean)
        logs = np.clip(np.log(np.maximum(mean, 1e-3) / usual), *_LIT_RANGE[k])
        overall = (weight @ logs) / (weight.sum() + _DOUBT)
        near = np.exp(-0.5 * ((frames[:, None] - frames[None]) / _LIT_FRAMES) ** 2) * weight
        out[:, k] = np.exp((near @ logs + _DOUBT * overall) / (near.sum(axis=1) + _DOUBT))
    return out


def _like_teeth(
    rows: np.ndarray, lips: np.ndarray, tone: np.ndarray, white: np.ndarray, pixels: np.ndarray
) -> np.ndarray:
    """(n, R) in [0, 1]: how much colours ``rows`` (n, R, 3) are those of teeth, beside ``lips`` (n, 2, 3) that are
    ``pixels`` (n,) apart: footage keeps one colour for every two pixels, and less of it where it is compressed."""
    grey = rows @ _LUMINANCE / np.maximum(tone @ _LUMINANCE, 1e-4)[:, None]
    skin = _paleness(tone)
    red = np.where(lips.min(axis=(1, 2)) > 0, np.minimum(_paleness(lips).mean(axis=1), skin), skin - _USUAL_LIPS)
    span = np.maximum(_paleness(white) - red, 0.3)
    pale = (_paleness(rows) - red[:, None]) / span[:, None]
    bright = np.clip((grey - _BRIGHT) / _BRIGHT_SOFT + 0.5, 0.0, 1.0)
    least = np.interp(pixels, _PALE_PIXELS, _PALE)[:, None]
    return np.asarray(bright * np.clip((pale - least) / _PALE_SOFT + 0.5, 0.0, 1.0))


def _paleness(colour: np.ndarray) -> np.ndarray:
    """Logarithm of green and blue to red of ``colour`` (..., 3)."""
    safe = np.maximum(colour, 1e-4)
    return np.asarray(np.log((safe[..., 1] + safe[..., 2]) / (2 * safe[..., 0])))


_MIDDLE = 0.28  # of the lips' columns at either end that are not looked at
_FRONT = 1.0  # cm from the middle: front teeth
_MOST_LOWER_TEETH = 0.7  # cm; what is bright beyond that is a tongue
_BEFORE_TONGUE = 0.45  # cm of lower teeth that are seen before such a tongue
_OPENED = np.array([0.12, 0.3])  # cm between the lips: from none to all of what teeth ask for
_TEETH_RANGE = (-0.02, 0.25)  # cm by which a surrogate's teeth may stand lower than they are; hidden ones are missed
_TYPICAL = 0.7  # quantile: teeth are overlooked more often than seen where there are none
_LIFT_RANGE = (-0.2, 0.2)  # cm by which its upper lip may be raised in one frame
_HIDDEN_BY = 0.04  # cm by which lower teeth that are not seen lie below the lower lip's edge
_JAWS = 1.2  # largest weight
_DARK = 0.3  # share of a gap below upper teeth from which it is dark or a tongue
_KEPT = 0.9


class Teeth:
    """Where a surrogate's front teeth are, and what opens the lips before them. ``neutral``: float32 (V, 3), its head
    at rest."""

    def __init__(self, geometry: Geometry, neutral: np.ndarray) -> None:
        names, motion = geometry.expression_names, geometry.motion
        self._jaw = names.index("jawOpen")
        self._close = names.index("mouthClose")
        self._raisers = np.array([names.index(f"mouthUpperUp_{side}") for side in "LR"])
        self._edges, self._moves = [], []
        for ring, pick in ((motion.lip_upper, np.argmin), (motion.lip_lower, np.argmax)):
            skip = round(_MIDDLE * ring.shape[1])
            ring = ring[:, skip:-skip]
            edge = ring[pick(neutral[ring, 1], axis=0), np.arange(ring.shape[1])]
            self._edges.append(neutral[edge].mean(axis=0).astype(np.float64))
            self._moves.append(geometry.expression[:, edge, 1].mean(axis=1).astype(np.float64))
        self._rows: list[np.ndarray] = []
        drop = geometry.expression[self._jaw]
        front = np.unique(geometry.triangles[geometry.parts == Part.TEETH])
        front = front[np.abs(neutral[front, 0] - neutral[motion.lip_upper, 0].mean()) < _FRONT]
        low = drop[front, 1] < 0.5 * drop[front, 1].min()
        for members, sign in ((front[~low], -1), (front[low], 1)):
            edge = members[np.argsort(-sign * neutral[members, 1], kind="stable")[: max(4, len(members) // 12)]]
            self._rows.append(neutral[edge].mean(axis=0).astype(np.float64))
        self._drop = -float(drop[front[low], 1].mean())

    def shown(self, expression: np.ndarray, slant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights (n,) at which the lips' edges are seen before the upper and before the lower teeth. ``slant``: (n,),
        how much higher what lies a centimetre behind is than what hides it."""
        out = []
        for edge, moves, row in zip(self._edges, self._moves, self._rows, strict=True):
            out.append(edge[1] + expression @ moves - (edge[2] - row[2]) * slant)
        return out[0], out[1]

    def lower(self, expression: np.ndarray, gap: np.ndarray, track: AttributeTrack, bites: Bites) -> float:
        """Centimetres by which the surrogate's teeth stand lower than they are, so that as much of them is seen as of
        the subject's, in the frames that tell."""
        slant = _slant(track)
        upper, _ = self.shown(expression, slant)
        weight = bites.known * np.clip((gap - _OPENED[0]) / (_OPENED[1] - _OPENED[0]), 0.0, 1.0)
        if weight.sum() < 2:
            return 0.0
        missing = bites.upper * gap - np.maximum(upper - self._rows[0][1], 0.0)
        order = np.argsort(missing, kind="stable")
        total = np.cumsum(weight[order])
        typical = float(missing[order][np.searchsorted(total, _TYPICAL * total[-1])])
        return float(np.clip(_KEPT * typical, *_TEETH_RANGE))

    def part(
        self, expression: np.ndarray, gap: np.ndarray, track: AttributeTrack, bites: Bites, lowered: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the jaw and of the upper lip's raisers, float64 (n,) each, by which lips ``gap`` (n,) centimetres
        apart show what ``bites`` says. ``expression``: (n, E), as it is without them; ``lowered``: as of
        :meth:`lower`."""
        slant = _slant(track)
        sure = bites.known * np.clip((gap - _OPENED[0]) / (_OPENED[1] - _OPENED[0]), 0.0, 1.0)
        edge = self._rows[0][1] - lowered
        upper, _ = self.shown(expression, slant)
        lift = np.clip(bites.upper * gap - (upper - edge), *_LIFT_RANGE) * sure
        per_weight = float(self._moves[0][self._raisers].sum())
        before = expression[:, self._raisers].mean(axis=1)
        raised = np.clip(before + lift / per_weight, 0.0, 1.0)
        upper = upper + (raised - before) * per_weight
        top = np.minimum(upper, edge)
        hidden = bites.lower < 0.08
        tongue = np.where(bites.lower * gap > _MOST_LOWER_TEETH, bites.lower * gap - _BEFORE_TONGUE, 0.0)
        wanted = (self._rows[1][1] - lowered - top + bites.free * gap + tongue) / self._drop
        wanted += np.where(hidden, _HIDDEN_BY / self._drop, 0.0)
        jaw = expression[:, self._jaw] - expression[:, self._close]
        # upper teeth that reach the lower lip: where the surrogate's do not, lower ones come before a dark gap
        wanted = np.where(hidden & (bites.free > _DARK), np.maximum(wanted, jaw), wanted)
        aim = jaw + sure * (np.clip(wanted, 0.0, _JAWS) - jaw)
        return np.asarray(aim), raised


def _slant(track: AttributeTrack) -> np.ndarray:
    """(n,): what lies a centimetre behind a lip's edge and is just hidden by it lies so much lower."""
    seen = track.rotation[:, 2]
    return np.clip(seen[:, 1] / np.maximum(seen[:, 2], 0.3), -0.6, 0.6)
