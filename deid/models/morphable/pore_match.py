"""Skin as fine as the footage shows it.

Cameras and codecs smooth away what is faint and fine long before they soften eyes and lips: pores then stand in a
rendered face that are nowhere else in the picture. A frame is rendered as it is going to be shown, its skin measured
as the footage's was (:func:`.photo_quality.measure_noise`, of 2 x 2 means, where grain counts little), and fine detail
that is too strong is taken off the texture; edges, which are stronger, stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deid import imaging
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.photo_quality import Detail, measure_noise
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.tracks import AttributeTrack, evenly
from deid.models.morphable.trial import coded8, tried

if TYPE_CHECKING:
    from deid.models.morphable.inversion import TrackCodes
    from deid.models.morphable.painter import Sitter

_ROWS = 2
_MOST_YAW = 35.0  # degrees
_HEAD = 22.0  # centimetres that the pictures are high
_LARGEST = 512  # pixels of these: faces that are larger show all pores there are
_GRAIN = 0.5  # of white noise is left in means over 2 x 2
_ROUNDED = 0.12  # code values: what contrast rounding hides, or makes
_LEAST, _ENOUGH = 0.25, 0.9  # share of fine detail that is left; from which on nothing is done
_FINE = 1.7  # pixels of the footage, standard deviation: what is finer
_FAINT = 0.10  # logarithm of albedo: what differs by more is an edge, a mole or a hair
_TEXELS = 40 / 768  # a centimetre, as shares of the tile's side


def pores_like(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack) -> Sitter:
    """``sitter`` with skin whose fine detail is no stronger than what ``of`` was measured to show. ``track``: the
    attributes that it is to be shown with, one row for each of the subject's."""
    lights = of.lights
    if sitter.skin is None or not len(lights.coarse):
        return sitter
    usable = of.trust.trusted & (np.abs(of.attributes.yaw_pitch_roll()[:, 0]) < _MOST_YAW) & (lights.coarse > 0)
    rows = np.flatnonzero(usable & (of.attributes.scale * _HEAD < _LARGEST))
    if not len(rows):
        return sitter
    large = rows[np.argsort(of.attributes.scale[rows], kind="stable")][len(rows) // 2 :]

    def share_of(row: int) -> float:
        shown = _shown(geometry, sitter, of, track, row)
        grain = _GRAIN * float(lights.grain[row])
        there = np.sqrt(max(float(lights.coarse[row]) ** 2 - grain**2, _ROUNDED**2))
        return float(there / max(shown, _ROUNDED))

    share = float(np.clip(np.mean(list(side_by_side(share_of, evenly(large, _ROWS).tolist()))), _LEAST, 1.0))
    if share > _ENOUGH:
        return sitter
    return sitter.recoloured(_finer(sitter.skin[0], float(of.attributes.scale[large].max()), share), share)


def _shown(geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, row: int) -> float:
    """What :func:`~.photo_quality.measure_noise` makes of the skin of ``sitter`` in a row, in means over 2 x 2."""
    scale = float(of.attributes.scale[row])
    trial = tried(geometry, sitter, of, track, row, scale, round(_HEAD * scale))
    picture = coded8(of.lights.filmed(row, trial.linear, scale, 1.0))
    mesh = np.zeros((478, 3), np.float32)
    mesh[: len(trial.mesh)] = trial.mesh
    return measure_noise(Detail.of_rgb(picture), mesh, scale)[1]


def _finer(albedo: np.ndarray, scale: float, share: float) -> np.ndarray:
    """float32 (T, T, 3): factors on ``albedo`` that leave ``share`` of its faint detail finer than pixels of ``scale``
    a centimetre show well."""
    grey = np.log(np.maximum(albedo.mean(axis=2), np.float32(1e-3)))
    sigma = max(_FINE * _TEXELS * len(albedo) / scale, 0.8)
    fine = grey - imaging.gaussian_blur(grey, (0, 0), sigma)
    faint = fine * np.exp(-np.square(fine / np.float32(2 * _FAINT)))
    return np.repeat(np.exp(np.float32(share - 1) * faint)[..., None], 3, axis=2)
