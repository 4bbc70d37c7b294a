"""Eyes framed as the subject's are: the dark line of the lashes, and what is on the lids.

How dark eyes are framed is make-up as much as anatomy, and make-up is like clothing: who wears it has it in the new
face, and who does not has none. Lashes of one kind for everybody made eyes that looked washed out, most of all shut
ones. Some frames are rendered as they are going to be shown, with lashes of two strengths, and what the line at the lid
and the lid itself differ by from the subject's in the same frames (:mod:`.photo_lids`) is put right for the most part,
within bounds. Two coarse numbers are taken from the subject: a strength, and a colour.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from deid import imaging
from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.photo_lids import LEAST, of_lids
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.tracks import AttributeTrack, evenly
from deid.models.morphable.trial import coded8, tried

if TYPE_CHECKING:
    from deid.models.morphable.inversion import TrackCodes
    from deid.models.morphable.painter import Sitter

_ROWS = 5
_MOST_YAW = 30.0  # degrees
_EYE = 2.9  # centimetres that an eye is wide
_FINEST, _HEAD = 12.0, 22.0  # pixels a centimetre of the pictures at most; centimetres that they are high
_TRIED = (1.0, 3.0)  # strengths
_LEAST_GAIN = 0.05  # logarithm between the lines of these: below, lashes are hidden
_RANGE = np.log((0.65, 1.8))  # of the usual for who is drawn: men without, women with a lot
_KEPT, _TINT_KEPT = 0.85, 0.6  # shares that are made up for
_MOST_TINT = (-0.55, 0.2)  # logarithm of a lid's colour
_THIN, _THICK = 4.0, 7.0  # pixels a centimetre: from telling nothing of lids to telling all
_TILE = 256
_SOFT = 3.5  # texels of such a tile, standard deviation: how softly a lid's tint ends
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_EDGE = np.array([[33, 246, 161, 160, 159, 158, 157, 173, 133], [263, 466, 388, 387, 386, 385, 384, 398, 362]])
_CREASE = np.array([[130, 247, 30, 29, 27, 28, 56, 190, 243], [359, 467, 260, 259, 257, 258, 286, 414, 463]])
_UNDER = np.array([[113, 225, 225, 224, 223, 222, 221, 189, 244], [342, 445, 445, 444, 443, 442, 441, 413, 464]])
"""Points of MediaPipe's mesh along an upper lid, its fold, and below the brow, the viewer's left eye first."""
_UP = 0.35  # of the way from the fold towards the brow: where a lid's tint ends


def lids_like(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack) -> Sitter:
    """``sitter`` with eyes framed as the subject's in ``of``. ``track``: the attributes that it is to be shown with,
    one row for each of the subject's."""
    seen = of.lids
    if sitter.skin is None or len(seen) != len(of.witnessed):
        return sitter
    angles = np.abs(of.attributes.yaw_pitch_roll())
    usable = (seen.min(axis=(1, 2, 3)) > 0) & of.trust.trusted & (angles[:, 0] < _MOST_YAW)
    usable &= of.attributes.scale * _EYE > LEAST
    rows = np.flatnonzero(usable & ~np.isin(np.arange(len(usable)), list(of.things)))
    if not len(rows):
        return sitter
    rows = evenly(rows, _ROWS)
    sure = float(np.clip((np.median(of.attributes.scale[rows]) - _THIN) / (_THICK - _THIN), 0.0, 1.0))
    if not sure:
        return sitter

    def apart_in(row: int) -> np.ndarray:
        """Logarithms (2, 2, 4): with each strength tried, by eye, luminance of the line and colour of the lid, the
        subject's over ours."""
        theirs = _told(seen[row])
        return theirs - np.stack([_told(_lids(geometry, sitter.with_lashes(s), of, track, row)) for s in _TRIED])

    found = np.array(list(side_by_side(apart_in, rows.tolist())))
    first, second = np.median(found[..., 0], axis=(0, 2))
    strength = sitter.lashes
    if second - first > _LEAST_GAIN:
        low, high = np.log(_TRIED)
        wanted = low - first / (second - first) * (high - low) - np.log(strength)
        strength *= float(np.exp(_KEPT * sure * np.clip(wanted, *_RANGE)))
    tint = np.clip(_TINT_KEPT * sure * np.median(found[:, 1, :, 1:], axis=(0, 1)), *_MOST_TINT)
    factors = np.exp(_lid_part(geometry, sitter.size)[..., None] * tint.astype(np.float32))
    return sitter.recoloured(factors).with_lashes(strength)


def _told(lids: np.ndarray) -> np.ndarray:
    """Logarithms (2, 4) of linear colours ``lids``, (2, 2, 3): luminance of the line, and the lid's colour, by eye."""
    safe = np.maximum(lids.astype(np.float64), 1e-3)
    return np.log(np.concatenate([(safe[:, 0] @ _LUMINANCE)[:, None], safe[:, 1]], axis=1))


def _lids(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, row: int) -> np.ndarray:
    """float32 (2, 2, 3): :func:`.photo_lids.of_lids` of ``sitter`` in a row, as the footage would show it, linear."""
    near = float(of.attributes.scale[row])
    scale = min(near, _FINEST)
    trial = tried(geometry, sitter, of, track, row, scale, round(_HEAD * scale))
    picture = coded8(of.lights.filmed(row, trial.linear, scale, scale / near))
    return CODE_TO_LINEAR8[of_lids(picture, trial.mesh)]


def _lid_part(geometry: Geometry, size: int) -> np.ndarray:
    """float32 (size, size), 0 to 1: both upper lids up to their folds and a little beyond, on the face's tile."""
    return imaging.resize(_lid_tile(geometry), (size, size), interpolation=imaging.INTER_LINEAR)


@lru_cache(maxsize=2)
def _lid_tile(geometry: Geometry) -> np.ndarray:
    corners = geometry.triangles[geometry.landmark_triangles]
    uv = (geometry.uv[corners] * geometry.landmark_weights[..., None]).sum(axis=1) * _TILE - 0.5
    out = np.zeros((_TILE, _TILE), np.uint8)
    for eye in range(2):
        top = uv[_CREASE[eye]] + _UP * (uv[_UNDER[eye]] - uv[_CREASE[eye]])
        for k in range(_EDGE.shape[1] - 1):
            quad = [uv[_EDGE[eye, k]], uv[_EDGE[eye, k + 1]], top[k + 1], top[k]]
            imaging.fill_convex_poly(out, np.rint(quad).astype(np.int32), 1)
    return imaging.gaussian_blur(out.astype(np.float32), (0, 0), _SOFT)
