"""From one person's attributes to another's: the same openings on a face of other proportions.

Expression weights move points by centimetres, whoever's face it is; so a weight that shuts one person's eye leaves
another's ajar. What must match is relative: the lids' gap as a fraction of the person's own open eye, the lips' gap in
proportion to the face. Both are calibrated per identity on the geometry itself: monotone curves from weight to gap,
which are inverted frame by frame. Gaze keeps its angles, once what the landmark model made of them is undone
(:func:`~deid.models.morphable.gaze.as_rendered`).
"""

from __future__ import annotations

import numpy as np

from deid.models.morphable import face_points
from deid.models.morphable.apertures import open_and_closed
from deid.models.morphable.bites import Bites, Teeth
from deid.models.morphable.echo import Echo
from deid.models.morphable.fit_basis import FitBasis, fit_basis
from deid.models.morphable.gaze import as_rendered, straight
from deid.models.morphable.geometry import LIPS_APART, OPENERS, Geometry
from deid.models.morphable.lids import downcast, lid_curves, lower_lids_rise, rest_apertures, set_lids
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.smoothing import parabolas
from deid.models.morphable.tracks import AttributeTrack

_OPENERS = ("jawOpen", "mouthLowerDown_L", "mouthLowerDown_R", "mouthUpperUp_L", "mouthUpperUp_R")
_MOBILITY = np.array([1.0, 0.5, 0.5, 0.35, 0.35])  # shares in which those open lips
_LIPS_ALONE = np.array([1e-3, 0.5, 0.5, 1e-2, 1e-2])  # where the jaw and the upper lip are set by the teeth
_HABIT, _HABIT_RANGE = 0.85, (0.6, 1.06)
"""How much of a habit of holding the eyes wider or narrower than the surrogate's own is kept, and its limits."""
_OFTEN_WIDE = 0.9  # quantile of openness that tells how narrow eyes stay
_STARE = np.array([0.72, 0.95])
"""Centimetres of the lids' mean gap from which they open less than they are told to, and that they never reach: irises
are alike in everybody, and lids that stand off them are a stare."""
_LASTING = (
    "mouthFrown", "mouthStretch", "mouthShrug", "mouthRoll", "mouthPress", "mouthDimple", "mouthLeft", "mouthRight",
    "jawLeft", "jawRight", "jawForward", "cheekPuff", "noseSneer",
)  # fmt: skip
_LASTING_MOST = 0.3  # beyond that weight it is a grimace that is held
_BROWS = ("browDown", "browInnerUp", "browOuterUp")
_HELD_QUANTILE, _HELD_SHARE = 0.35, 0.9  # of a track's weights, which faces hardly leave; of that, what is at rest
_BROWS_DRAWN = 0.45  # cm that drawn brows look higher above the eyes than their points: hairs grow upwards
_MOST_LOWER, _MOST_DOWN = 1.6, 1.6  # how many times further a surrogate's brows go down, and their largest weight
_WHOLE_FROWN, _OUTER_HELD = 0.6, 0.8  # weight of a frown that takes this share off a rise of the brows' outer ends
_PURSED, _PURSE, _MOST_PURSED = (0.25, 0.6), 0.4, 1.35  # weights of a pucker, what is added to it, and its largest
_NOT_PURSED = ("mouthRollLower", "mouthRollUpper", "mouthPress_L", "mouthPress_R")  # take lips in
_MOUTH_CORNERS, _LIPS_MIDDLE = ((291, 308), (61, 78)), (13, 14)  # mesh points
_CORNERS_KEPT, _MOST_LOWERED, _MOST_FROWN = 0.8, 0.35, 1.2  # share, centimetres, weight
_FAST = np.array([0.08, 0.22])  # cm that a gap differs from what is steady about it: from noise to motion
_CLOSED_LIPS = 0.15  # cm; a track whose lips come no closer than twice this has no closed state of its own
_PARTED, _ASIDE = (0.5, 2.0), (22.0, 42.0)  # pixels between the lips, none and all believed; degrees: twice as many
_MEASURED = 0.8  # weight of a surrogate's own readings beside the usual: at rest only, and readings vary
_GAP_SEEN = np.array([0.0, 0.03, 0.12, 0.31, 0.57, 0.76, 1.00, 1.26, 1.71, 2.32, 4.00])
_GAP_TRUE = np.array([0.0, 0.004, 0.09, 0.21, 0.38, 0.62, 0.90, 1.17, 1.52, 2.00, 3.40])
"""Centimetres between the lips as MediaPipe reads them, and what they are over closed ones: nearly closed lips read as
shut, parted ones as wider. Up to 1.3 medians over the renderings of ``tools/calibrate_expressions.py``, beyond from the
output of one clip read again."""


def _lip_gap(points: np.ndarray) -> np.ndarray:
    pairs = face_points.INNER_LIP_PAIRS
    return (points[..., pairs[:, 0], 1] - points[..., pairs[:, 1], 1]).mean(axis=-1)


class Retargeter:
    """Turns attributes measured on ``subject`` into those that show the same on ``surrogate``; both (K,) shapes.

    Making one measures the surrogate's lids (about 40 ms); using it costs microseconds a frame.
    """

    def __init__(self, geometry: Geometry, subject: np.ndarray, surrogate: np.ndarray, rate: float = 25.0) -> None:
        self._rate = rate
        self._names = geometry.expression_names
        self._basis: FitBasis = fit_basis(geometry)
        self._lids = lid_curves(geometry, surrogate)
        self._straight = straight(geometry, surrogate)
        own, other = (self._points(shape) for shape in (subject, surrogate))
        self._eye_width = float(_eye_widths(own).mean())
        self._own_width = float(_eye_widths(other).mean())
        self._open_gap = float((rest_apertures(other) * _eye_widths(other)).mean())
        self._mouth_ratio = _face_height(other) / _face_height(own)
        lower = (_brow_height(other) + _BROWS_DRAWN) / _brow_height(own)
        self._lower = float(np.clip(lower, 1.0, _MOST_LOWER))
        self._lip_effects = _lip_gap(self._basis.expression)  # (E,) cm a weight
        self._corners, self._width = _corner_effects(self._basis)
        self._opens = np.array([name.startswith(OPENERS) for name in self._names])
        self._readings: tuple[np.ndarray, np.ndarray] | None = None
        self._echo = Echo()
        self._geometry, self._surrogate = geometry, surrogate
        self._teeth: Teeth | None = None
        self._bites: Bites | None = None
        self.teeth_lower = 0.0
        self.lids_rise = 0.0
        """Centimetres by which the surrogate's lower lids are to lie higher than at rest, for the track that was
        retargeted last (:func:`~deid.models.morphable.lids.with_lower_lids`)."""
        self._usual_brows = np.zeros(len(self._names))
        self._settled = False

    @property
    def brows_held(self) -> np.ndarray:
        """Weights of expressions that the face has at rest, float32 (E,), for the track that was retargeted last."""
        return self._usual_brows.astype(np.float32)

    def settle(self) -> None:
        """From now on the face at rest stays as it is for the track that was retargeted last: of a stream's windows
        each is a track, and the head that all of them move is made once."""
        self._settled = True

    def mouths(self, gaps: np.ndarray) -> np.ndarray:
        """float64 (n, E): expressions of a face at rest whose lips are ``gaps`` (n,) centimetres apart."""
        out = np.zeros((len(gaps), len(self._names)))
        self._open_mouth(out, np.asarray(gaps, np.float64))
        return out

    def know_lips(self, gaps: np.ndarray, readings: np.ndarray) -> None:
        """From now on lips open so far that the landmark model reads what it read on the subject. ``gaps``: (n,)
        rising centimetres between the surrogate's lips, from 0. ``readings``: (n,) what is read off them, rising."""
        self._readings = gaps, readings

    def show_teeth(self, bites: Bites | None) -> None:
        """From now on the jaw opens, and the upper lip is raised, by what of the teeth the subject shows."""
        self._bites = bites
        if bites is not None and self._teeth is None:
            neutral = self._geometry.neutral(np.asarray(self._surrogate, np.float32))
            self._teeth = Teeth(self._geometry, relaxed(self._geometry, neutral))

    def heed(self, echo: Echo) -> None:
        """From now on eyes are as wide, and look where, ``echo`` says."""
        self._echo = echo

    def __call__(self, track: AttributeTrack) -> AttributeTrack:
        """``track`` with ``expression`` for the surrogate."""
        if not len(track):
            return track
        expression = self._without_lasting(track.expression.astype(np.float64))
        self._knit(expression)
        self._purse(expression)
        # what a landmark model hardly tells apart from shut lips are gaps far apart: its noise grows on the way
        wanted = self._wanted_gap(track)
        gap = parabolas(wanted[:, None], track.frames / self._rate)[:, 0]
        # noise is no more than that: lips that part and shut within a frame or two do
        gap += np.clip((np.abs(wanted - gap) - _FAST[0]) / (_FAST[1] - _FAST[0]), 0.0, 1.0) * (wanted - gap)
        gap = np.maximum(gap, 0.0)
        before = expression.copy()
        self._open_mouth(expression, gap)
        self._part_teeth(expression, gap, track)
        self._hold_corners(before, expression)
        track = track.with_values(openness=downcast(track.frames, self._habitual(track), self._rate))
        gaze = self._echo.looking(as_rendered(track)) + self._straight
        track = track.with_values(gaze=gaze.astype(np.float32))
        self._hold_brows(expression)
        if not self._settled:
            self.lids_rise = self._lids_rise(track)
        set_lids(expression, self._names, self._lids, track, self.lids_rise / self._open_gap)
        return track.with_values(expression=expression.astype(np.float32))

    def _part_teeth(self, expression: np.ndarray, gap: np.ndarray, track: AttributeTrack) -> None:
        """Change in place what opens a mouth, but not how far: as much of it by the jaw as the subject's teeth say."""
        if self._teeth is None or self._bites is None or len(self._bites) != len(track):
            return
        if not self._settled:
            self.teeth_lower = self._teeth.lower(expression, gap, track, self._bites)
        jaw, raised = self._teeth.part(expression, gap, track, self._bites, self.teeth_lower)
        times = track.frames / self._rate
        at, close = self._names.index("jawOpen"), self._names.index("mouthClose")
        before = expression[:, at] - expression[:, close]
        turn = parabolas((jaw - before)[:, None], times)[:, 0]
        expression[:, at] = np.clip(expression[:, at] + turn, 0.0, 1.2)
        raisers = [self._names.index(f"mouthUpperUp_{side}") for side in "LR"]
        lift = parabolas((raised - expression[:, raisers].mean(axis=1))[:, None], times)
        expression[:, raisers] = np.clip(expression[:, raisers] + lift, 0.0, 1.0)
        self._open_mouth(expression, gap, _LIPS_ALONE)

    def _hold_corners(self, before: np.ndarray, after: np.ndarray) -> None:
        """Change in place the corners of the mouth in ``after`` (n, E), so that they lie as far above the middle of the
        opening, and as far apart, as in ``before``. A jaw that drops takes them down and together; lips that are
        drawn apart leave them where they are, and an opening that is round below and level above is a laugh's."""
        change = after - before
        rise = np.clip(_CORNERS_KEPT * change @ self._corners.T, 0.0, _MOST_LOWERED)  # (n, 2)
        for side, mark in enumerate("LR"):
            at = self._names.index(f"mouthFrown_{mark}")
            after[:, at] = np.minimum(after[:, at] + rise[:, side] / -self._corners[side, at], _MOST_FROWN)
        wider = np.clip((after - before) @ self._width, 0.0, _MOST_LOWERED)
        at = self._names.index("mouthPucker")
        after[:, at] = np.minimum(after[:, at] - _CORNERS_KEPT * wider / self._width[at], _MOST_PURSED)

    def _without_lasting(self, expression: np.ndarray) -> np.ndarray:
        """``expression`` (n, E) without what the lower face does in nearly all of it. That is how somebody's mouth lies
        at rest, and how the landmark model sees it: as an expression of another face, to whose own rest it would be
        added, thin lips become rolled ones and long corners a frown. What of it is to be seen at rest the loop finds
        (:mod:`.echo`)."""
        return _without(expression, self._usual(expression, _LASTING, _LASTING_MOST))

    def _usual(self, expression: np.ndarray, names: tuple[str, ...], most: float = np.inf) -> np.ndarray:
        """(E,): what those expressions whose names begin with one of ``names`` are in nearly all of ``expression``
        (n, E), but no more than of weight ``most``; 0 for all others."""
        held = np.array([name.startswith(names) for name in self._names])
        usual = _HELD_SHARE * np.minimum(np.quantile(expression, _HELD_QUANTILE, axis=0), most)
        return np.where(held, usual, 0.0)

    def _knit(self, expression: np.ndarray) -> None:
        """Frowns, in place: they bring brows down to the eyes, however far that is, and outer ends hardly rise."""
        for side in "LR":
            down, outer, inner = (self._names.index(f"brow{n}_{side}") for n in ("Down", "OuterUp", "InnerUp"))
            frown = (expression[:, down] - expression[:, outer] - expression[:, inner]) / _WHOLE_FROWN
            frown = np.clip(frown, 0.0, 1.0)  # brows that are drawn together while they rise are none
            expression[:, outer] *= 1 - _OUTER_HELD * frown
            expression[:, down] *= 1 + (self._lower - 1) * frown
            np.minimum(expression[:, down], _MOST_DOWN, out=expression[:, down])

    def _hold_brows(self, expression: np.ndarray) -> None:
        """Take what brows do all the time off ``expression`` (n, E), in place, and keep it (``brows_held``). Low brows
        are read as drawn ones, high ones as raised ones; that is how a face is at rest, where brows lie so without a
        fold."""
        if not self._settled:
            self._usual_brows = self._usual(expression, _BROWS)
        expression[:] = _without(expression, self._usual_brows)

    def _purse(self, expression: np.ndarray) -> None:
        """Kisses and blown cheeks, in place. Scanned lips that are pursed come forward, which a camera before them does
        not see, and narrow and swell by less than those of people who are told to: half a pucker is a flat mouth."""
        pucker = expression[:, self._names.index("mouthPucker")]
        t = np.clip((pucker - _PURSED[0]) / (_PURSED[1] - _PURSED[0]), 0.0, 1.0)
        pucker *= 1 + _PURSE * t * t * (3 - 2 * t)
        np.minimum(pucker, _MOST_PURSED, out=pucker)
        for name in _NOT_PURSED:
            expression[:, self._names.index(name)] *= 1 - t

    def _habitual(self, track: AttributeTrack) -> np.ndarray:
        """Openness (n, 2) for the surrogate. How wide somebody usually holds the eyes is in part who it is and in part
        what the face does; without the latter the lids of large eyes move further than those of small ones did."""
        usual = [open_and_closed(track.aperture[:, eye].astype(float), track.facing[:, eye])[0] for eye in range(2)]
        wider = float(np.clip(np.mean(usual) * self._eye_width / self._open_gap, *_HABIT_RANGE)) ** _HABIT
        gap = track.openness.astype(np.float64) * wider * self._open_gap * self._echo.lids
        low, span = _STARE[0], _STARE[1] - _STARE[0]
        gap = np.where(gap > low, low + span * np.tanh((gap - low) / span), gap)
        return (gap / self._open_gap).astype(np.float32)

    def _lids_rise(self, track: AttributeTrack) -> float:
        """Centimetres, of ``track`` with the surrogate's openness. Lids that rise once and for all leave eyes that also
        open wide less to open by: what counts is how wide they get."""
        held = float(np.quantile(track.openness.max(axis=1), _OFTEN_WIDE)) * self._open_gap
        return self._own_width * lower_lids_rise(self._open_gap / self._own_width, held / self._own_width)

    def _points(self, shape: np.ndarray) -> np.ndarray:
        return self._basis.mean + np.tensordot(np.asarray(shape, np.float64), self._basis.identity[: len(shape)], 1)

    def _wanted_gap(self, track: AttributeTrack) -> np.ndarray:
        """(n,): centimetres by which the surrogate's lips are to be apart, 0 where they are to touch."""
        least = float(np.quantile(track.mouth, 0.05))
        closed = float(np.clip(2 * _CLOSED_LIPS - least, 0.0, min(least, _CLOSED_LIPS)))
        seen = np.maximum(track.mouth.astype(np.float64) - closed, 0.0) * _parted(track) * self._echo.lips
        usual = np.interp(seen, _GAP_SEEN, _GAP_TRUE) * self._mouth_ratio
        if self._readings is None:
            return usual
        gaps, readings = self._readings
        aim = readings[0] + seen * self._mouth_ratio
        beyond = np.maximum(aim - readings[-1], 0.0)  # wider than was shown: as wide as it is read
        measured = np.interp(aim, readings, gaps) + beyond
        return _MEASURED * measured + (1 - _MEASURED) * usual

    def _open_mouth(self, expression: np.ndarray, wanted: np.ndarray, mobility: np.ndarray = _MOBILITY) -> None:
        """Change the openers' weights in place, as little as gives the ``wanted`` gap.

        Lips that are hardly opened hold together (``Geometry.pose``): they part with the square of what opens them,
        and what else moves one of them takes the other along.
        """
        close, jaw = self._names.index("mouthClose"), self._names.index("jawOpen")
        expression[:, close] = np.minimum(expression[:, close], expression[:, jaw])
        openers = np.array([self._names.index(name) for name in _OPENERS])
        effects = self._lip_effects[openers]
        goal = np.where(wanted < LIPS_APART, np.sqrt(LIPS_APART * wanted), wanted)
        apart = np.clip(goal / LIPS_APART, 0.0, 1.0)
        others = np.where(self._opens, 0.0, self._lip_effects)
        goal = goal - apart * (expression @ others)
        for _ in range(6):
            missing = goal - expression @ np.where(self._opens, self._lip_effects, 0.0)
            free = np.where(missing[:, None] > 0, expression[:, openers] < 1.2, expression[:, openers] > 0)
            push = free * effects * mobility
            share = push / np.maximum((push * effects).sum(axis=1, keepdims=True), 1e-6)
            expression[:, openers] = np.clip(expression[:, openers] + missing[:, None] * share, 0.0, 1.2)


def _without(expression: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """``expression`` (n, E) less ``usual`` (E,), where there is any, but not below 0."""
    return np.where(usual > 0, np.maximum(expression - usual, 0.0), expression)


def _parted(track: AttributeTrack) -> np.ndarray:
    """(n,) in [0, 1]: how far lips are believed to be parted at all. In a pixel or two landmarks do not tell, least of
    all from the side, and a dark slit is seen at once."""
    turned = np.clip((np.abs(track.yaw_pitch_roll()[:, 0]) - _ASIDE[0]) / (_ASIDE[1] - _ASIDE[0]), 0.0, 1.0)
    low, high = (limit * (1 + turned) for limit in _PARTED)
    t = np.clip((track.mouth * track.scale - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def _corner_effects(basis: FitBasis) -> tuple[np.ndarray, np.ndarray]:
    """Centimetres a weight by which each corner of the mouth, left first, rises above the middle between the lips,
    (2, E), and by which the mouth is wider, (E,)."""
    moves = basis.expression
    middle = moves[:, list(_LIPS_MIDDLE), 1].mean(axis=1)
    left, right = (moves[:, list(points)].mean(axis=1) for points in _MOUTH_CORNERS)
    return np.stack([left[:, 1] - middle, right[:, 1] - middle]), left[:, 0] - right[:, 0]


def _eye_widths(points: np.ndarray) -> np.ndarray:
    """(2,) centimetres from corner to corner, of mesh points (468, 3)."""
    corners = points[face_points.EYE_CORNERS]
    return np.asarray(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1))


def _brow_height(points: np.ndarray) -> float:
    """Centimetres of the inner halves of the brows over the corners of the eyes."""
    brows = face_points.BROW_TO_EYE_PAIRS[[0, 1, 3, 4], 0]
    return float(points[brows, 1].mean() - points[face_points.EYE_CORNERS.ravel(), 1].mean())


def _face_height(points: np.ndarray) -> float:
    """Centimetres from between the eyes to the chin."""
    return float(np.linalg.norm(points[168] - points[152]))
