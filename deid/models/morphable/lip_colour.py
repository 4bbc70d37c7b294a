"""Lips whose colour belongs to the light and to the skin around them, because the subject's do.

A surrogate's lips come from bare ones of portraits. How red lips are beside the skin depends on the skin's own tone, on
make-up, which is like clothing, and on the light; of all that the subject's are the best witness. Some frames are
rendered as they are going to be shown, and what the lips differ by from the subject's in the same frames is put right
for the most part, within bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deid.models.morphable.appearance import lip_parts
from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.photo_mouth import of_lips
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.tracks import AttributeTrack, evenly
from deid.models.morphable.trial import coded8, tried

if TYPE_CHECKING:
    from deid.models.morphable.inversion import TrackCodes
    from deid.models.morphable.painter import Sitter

_ROWS = 4
_MOST_YAW, _MOST_OPEN = 38.0, 1.2  # degrees; centimetres between the lips
_SIDE, _HEAD = 192, 24.0  # pixels of the pictures; centimetres that they are high
_KEPT, _MOST = 0.9, np.array([[0.85], [0.7]])  # share that is made up for; most, of the upper and the lower lip
_LESS, _MORE = 1.1, 0.55  # by how much more than red green and blue may darken, or brighten: lipstick swallows these
_THIN, _THICK = 1.5, 3.0  # pixels a centimetre: from telling nothing of lips to telling their colour
_RUN_TOGETHER = 6.0  # pixels a centimetre: smaller lips are blurred with skin, and one step is not enough


def lips_like(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack) -> Sitter:
    """``sitter`` with lips that look beside its skin as the subject's do in ``of``. ``track``: the attributes that it
    is to be shown with, one row for each of the subject's."""
    if of.bites is None:
        return sitter
    seen = of.bites.lips
    angles = np.abs(of.attributes.yaw_pitch_roll())
    usable = (seen.min(axis=(1, 2)) > 0) & of.trust.trusted & (angles[:, 0] < _MOST_YAW)
    rows = np.flatnonzero(usable & (of.attributes.mouth < _MOST_OPEN))
    if not len(rows):
        return sitter
    rows = evenly(rows, _ROWS)
    near = float(np.median(of.attributes.scale[rows]))
    kept = _KEPT * float(np.clip((near - _THIN) / (_THICK - _THIN), 0.0, 1.0))
    change, shown = np.zeros((2, 3)), sitter
    for _ in range(2 if near < _RUN_TOGETHER else 1):

        def apart_in(row: int, shown: Sitter = shown) -> np.ndarray:
            return np.log(np.maximum(seen[row], 1e-3) / np.maximum(_lips(geometry, shown, of, track, row), 1e-3))

        apart = np.median(list(side_by_side(apart_in, rows.tolist())), axis=0)
        change = _bounded(change + kept * apart)
        shown = sitter.recoloured(np.exp(lip_parts(sitter.size) @ change.astype(np.float32)))
    return shown


def _bounded(change: np.ndarray) -> np.ndarray:
    """Logarithms (2, 3) of factors on the upper and the lower lip's RGB, within bounds. A lip that is darker in all
    colours may be in a moustache's shadow; one that is as bright in red and darker in the others is painted."""
    red = np.clip(change[:, :1], -_MOST, _MOST)
    return np.asarray(red + np.clip(change - change[:, :1], -_LESS, _MORE))


def _lips(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, row: int) -> np.ndarray:
    """float32 (2, 3): linear RGB of the lips of ``sitter`` in a row, as the footage would show them."""
    scale = _SIDE / _HEAD
    trial = tried(geometry, sitter, of, track, row, scale, _SIDE)
    picture = coded8(of.lights.filmed(row, trial.linear, scale, scale / float(of.attributes.scale[row])))
    return CODE_TO_LINEAR8[of_lips(picture, trial.mesh)]
